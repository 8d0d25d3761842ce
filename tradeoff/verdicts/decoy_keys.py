"""What one key does to texts of one's own: the same test under keys that wrote none of them.

A p-value is exact over keys. Under one fixed key, which is what is used, the share of texts that are called
differs from key to key, by more the more passages the texts share. Keys that nobody uses show how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tradeoff.errors import FileError
from tradeoff.keyed import DEFAULT_PRF, AnyKey, DepthKeys, Key, KeyFile, Keyring, prf_type
from tradeoff.texts import Broken, Text
from tradeoff.verdicts.examine import Examiner
from tradeoff.verdicts.options import Options
from tradeoff.verdicts.result import Result

__all__ = ["Decoys", "decoys"]

_USUAL = 200
_USUAL_ROUNDS = 30


@dataclass(frozen=True)
class Decoys:
    """How many texts every decoy calls watermarked.

    Attributes:
        called: [keys] texts that each calls.
        texts: how many there are.
        fpr: false-positive rate of the verdicts.
        real: how many the real key calls; None if there was none.
    """

    called: np.ndarray = field(repr=False)
    texts: int
    fpr: float
    real: int | None = None

    @property
    def mean(self) -> float:
        """The share of texts that a key calls, on average over keys: at most the false-positive rate, but for
        luck of the decoys."""
        return float(self.called.mean()) / self.texts

    @property
    def standard_error(self) -> float:
        """Of the mean, over keys."""
        return float(self.called.std(ddof=1)) / self.texts / len(self.called) ** 0.5

    def quantile(self, q: float) -> float:
        """The share of texts that all but a part 1 - q of the keys call at most."""
        return float(np.quantile(self.called, q, method="higher")) / self.texts

    @property
    def p(self) -> float | None:
        """The share of keys, decoys and real, that call at least as many texts as the real one: a p-value of
        all texts together, exact whatever they share. None without a real key."""
        if self.real is None:
            return None
        return float(1 + (self.called >= self.real).sum()) / (1 + len(self.called))


def decoys(
    texts: Iterable[Text | Broken],
    options: Options,
    keys: int = _USUAL,
    seed: int = 0,
    real: KeyFile | None = None,
    note: Callable[[str], None] = lambda _: None,
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> Decoys:
    """Judge texts under decoy keys.

    Args:
        texts: their words are tokenised once, and read as they are; all tokens are kept.
        options: the verdicts to calibrate, as texts without a record get them.
        keys: how many decoys.
        seed: gives the decoys, which are no secrets.
        real: a key to compare with them.
        note: called with what is assumed of the texts.
        report: called with how many keys are done, of how many.

    Raises:
        FileError: for a text that cannot be read.
        ValueError: for no texts, fewer than two keys, a negative seed, sequential detection, or options of
            several functions.
    """
    if isinstance(keys, bool) or not isinstance(keys, int) or keys < 2:
        raise ValueError(f"keys={keys!r} must be a whole number of at least 2; {_USUAL} is usual")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={seed!r} must be a whole number of at least 0")
    if options.sequential:
        raise ValueError("sequential detection stops where a key is certain; leave out sequential")
    profile = KeyFile(Key(bytes(32))).profile if real is None else real.profile
    named = [scheme.prf for scheme in options.schemes] or [*options.prfs]
    # Decoys are keys of the function of the real one: those of another would score other positions.
    names = set(named or [profile.prf or (DEFAULT_PRF if real is None else real.default_prf)])
    kinds = {prf_type(name).key_type for name in names}
    if len(kinds) > 1:
        raise ValueError(f"prf={sorted(names)} take keys of different kinds; name one function")
    (kind,) = kinds
    rounds = _rounds(real, [scheme.method.decoder.tournament for scheme in options.schemes])
    rng = np.random.default_rng(seed)

    def decoy() -> KeyFile:
        return KeyFile(_decoy(kind, rng, rounds), profile=profile)

    first = decoy()
    known = _tokenised(texts, Examiner(options, Keyring.of(first), lambda _: None, note))
    if not known:
        raise ValueError("texts holds none; pass texts of your own that carry no watermark")
    called = []
    for done, key in enumerate([first, *(decoy() for _ in range(keys - 1))], 1):
        called.append(_called(known, options, key))
        report(done, keys)
    found = None if real is None else _called(known, options, real)
    return Decoys(np.array(called), len(known), options.fpr, found)


def _rounds(real: KeyFile | None, named: Sequence[int | None]) -> int:
    """How many depth keys decoys have: as many as the real ones, or as the schemes have rounds."""
    if real is not None and isinstance(real.key, DepthKeys):
        return len(real.key)
    return next((rounds for rounds in named if rounds is not None), _USUAL_ROUNDS)


def _decoy(kind: type, rng: np.random.Generator, rounds: int) -> AnyKey:
    if kind is Key:
        return Key(rng.bytes(32))
    if kind is DepthKeys:
        return DepthKeys(rng.integers(1 << 63, size=rounds))
    return int(rng.integers(1 << 63))


def _tokenised(texts: Iterable[Text | Broken], examiner: Examiner) -> list[Text]:
    """The texts as their tokens alone."""
    known = []
    for result in examiner.examine_all(texts):
        if isinstance(result, Broken):
            raise FileError(result.message)
        ids = result.tests[0].reading.form.ids
        known.append(Text(result.text.id, result.text.source, result.text.place, ids, None))
    return known


def _called(texts: Sequence[Text], options: Options, key: KeyFile) -> int:
    examiner = Examiner(options, Keyring.of(key), lambda _: None, lambda _: None)
    found = examiner.examine_all(texts)
    return sum(isinstance(one, Result) and one.detected for one in found)
