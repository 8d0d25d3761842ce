"""The likelihood-ratio test of Gumbel-max that knows which token it is, by a public table.

The token that wins a race with probability p has E = -log U ~ p Exp(1). How large p is when a token is drawn
depends on the token: after its first half a name is certain, an adjective seldom is. So every token v has a
prior w_v over p of its own, and its score is the log likelihood ratio

    s_v(E) = log sum_p w_v(p) 1/p exp(-E (1/p - 1)).

Without a watermark scores are independent given the tokens, and differ in law from token to token. E is put
into cells of known probability, and their scores are whole numbers, so that the law of the sum given the text
is an exact convolution: docs/theory/detection.md.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from tradeoff.decoders import GumbelMax
from tradeoff.detection.detector import Exactness, Readings, given_text, uniform_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.row_sums import RowSum
from tradeoff.errors import FileError
from tradeoff.files import read_at_most, replacing
from tradeoff.kernels import Method
from tradeoff.keyed import Stream

__all__ = ["TokenAware", "TokenPriors", "load_token_aware", "save_token_aware"]

#: Probabilities that priors weigh, and between which others are rounded.
_GRID = np.geomspace(1e-5, 1.0, 41)
_BETWEEN = np.sqrt(_GRID[1:] * _GRID[:-1])
#: Cells of E, fine where it is small: there the watermark shows.
_EDGES = np.concatenate([[0.0], np.geomspace(1e-7, 30.0, 300), [np.inf]])
#: Units of a score in a nat.
_UNITS = 100
#: As many draws as these of a token weigh as much as the prior of rare tokens.
_WEIGHT_OF_RARE = 8.0
#: Tokens seen no more often are rare, and stand for those that were never seen.
_RARE = 2
#: Draws of all tokens that those of rare ones are completed with.
_WEIGHT_OF_ALL = 5.0
#: Share of tokens that a prior takes for certain, or edited.
_FLOOR = 0.02
_FORMAT = "tradeoff-token-aware-v1"
#: Bytes of the largest file.
_LARGEST = 64 << 20


def _cells(p: np.ndarray) -> np.ndarray:
    """Probabilities of the cells of E ~ p Exp(1): [k] to [k, cells]."""
    low, high = _EDGES[:-1] / p[:, None], _EDGES[1:] / p[:, None]
    return np.exp(-low) * -np.expm1(low - high)


#: Without a watermark: [cells].
_NULL = _cells(np.ones(1))[0]
#: With one, for every probability of the grid: [k, cells].
_MARKED = _cells(_GRID)


@dataclass(frozen=True, eq=False)
class TokenPriors:
    """How probable every token is when it is drawn: a `RacePrior` for each, by a table of a model's text.

    Make it by `TokenPriors.fit`. Priors of tokens that were seldom seen are drawn towards that of rare ones,
    which is that of all others.

    Args:
        tokens: [m] ids, ascending.
        counts: [m, 41] how often each was drawn with about which probability, from 1e-5 to 1 in equal steps
            of the logarithm.
    """

    tokens: np.ndarray
    counts: np.ndarray = field(repr=False)

    @classmethod
    def fit(cls, tokens: np.ndarray, probabilities: np.ndarray) -> Self:
        """From text of the model, with or without a watermark.

        Args:
            tokens: [t] ids, of any number of texts.
            probabilities: [t] of each under the model as sampled, given what stood before it: exp of `log_p`
                in measured records.

        Raises:
            ValueError: for none, for ids that are no whole numbers >= 0, or probabilities outside (0, 1].
        """
        ids, p = np.asarray(tokens), np.asarray(probabilities, float)
        if ids.ndim != 1 or ids.shape != p.shape or not len(ids):
            raise ValueError(
                f"tokens of shape {ids.shape} and probabilities of shape {p.shape} must be two lists of one "
                "length, at least 1"
            )
        if ids.dtype.kind not in "iu" or ids.min() < 0:
            raise ValueError(f"tokens of type {ids.dtype} must be whole numbers >= 0; pass token ids")
        # Logarithms that were rounded may be a little above 0.
        if not ((p > 0) & (p <= 1 + 1e-6)).all():
            raise ValueError("probabilities must be in (0, 1]; pass those of the tokens, not logarithms")
        different, which = np.unique(ids.astype(np.int64), return_inverse=True)
        counts = np.zeros((len(different), len(_GRID)), dtype=np.int64)
        np.add.at(counts, (which, np.searchsorted(_BETWEEN, p)), 1)
        return cls(different, counts)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the table."""
        data = self.tokens.astype("<i8").tobytes() + self.counts.astype("<i8").tobytes()
        return hashlib.blake2b(data, digest_size=8).hexdigest()

    @cached_property
    def _rare(self) -> np.ndarray:
        """The prior of tokens that were never seen: [41]."""
        everything = self.counts.sum(axis=0)
        few = self.counts[self.counts.sum(axis=1) <= _RARE].sum(axis=0)
        return (few + _WEIGHT_OF_ALL * everything / everything.sum()) / (few.sum() + _WEIGHT_OF_ALL)

    def weights(self, tokens: np.ndarray) -> np.ndarray:
        """Priors of tokens over the 41 probabilities: [m] to [m, 41]."""
        place = np.minimum(np.searchsorted(self.tokens, tokens), len(self.tokens) - 1)
        counts = np.where((self.tokens[place] == tokens)[:, None], self.counts[place], 0)
        drawn = counts.sum(axis=1, keepdims=True)
        found = (1 - _FLOOR) * (counts + _WEIGHT_OF_RARE * self._rare) / (drawn + _WEIGHT_OF_RARE)
        found[:, -1] += _FLOOR
        return found

    def scores(self, tokens: np.ndarray) -> np.ndarray:
        """Scores of tokens in every cell of E, in hundredths of a nat: [m] to [m, cells].

        Rounded down, so that exp of a score has a mean of at most 1 without a watermark.
        """
        ratio = np.log(self.weights(tokens) @ _MARKED) - np.log(_NULL)
        return np.floor(_UNITS * ratio).astype(np.int64)


@dataclass(frozen=True, eq=False)
class TokenAware:
    """sum s_v(E) in hundredths of a nat, v the token: the best test if tokens are drawn as the priors say.

    p-values depend on the tokens. `detect` knows them; `given_text` makes the detector of one text, whose
    law is exact. Without a text `log_p` is Markov's bound, exp(-sum), which holds for any.

    Args:
        priors: of every token.
        stream: the one that drew all tokens.
        text: [t] the tokens that count of the text that it is for; its beginnings have p-values as well.
    """

    priors: TokenPriors
    stream: Stream = Stream.SHARED
    text: np.ndarray | None = field(default=None, repr=False)
    id: ClassVar[str] = "token-aware"
    name: ClassVar[str] = "token-aware likelihood ratio"
    exactness: ClassVar[Exactness] = Exactness.GIVEN_TEXT
    null: ClassVar[str] = "exact: convolution of the laws of the text's tokens"
    #: The watermark that it reads.
    watermark: ClassVar[str] = GumbelMax.spelling

    @classmethod
    def fit(cls, tokens: np.ndarray, probabilities: np.ndarray, stream: Stream = Stream.SHARED) -> Self:
        """From text of the model; see `TokenPriors.fit`, also for what it raises."""
        return cls(TokenPriors.fit(tokens, probabilities), stream)

    def __repr__(self) -> str:
        return f"TokenAware({self.priors.fingerprint}, {self.stream})"

    def check_reads(self, method: Method) -> None:
        """Raise ValueError unless it reads what a method writes; methods without a watermark are controls."""
        written, decoder = method.detection.streams, method.decoder
        if decoder.marks and (GumbelMax().traces.isdisjoint(decoder.traces) or written != {self.stream}):
            raise ValueError(
                f"detector={self.name!r} reads races of the stream {self.stream}, but {method.name} with "
                f"{decoder.name} draws from {', '.join(sorted(written)) or 'none'}; leave the detector out"
            )

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return uniform_readings(evidence, (self.stream,))

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: whole numbers."""
        return self.scores(evidence.tokens, -np.log(evidence.uniform(self.stream)))

    def scores(self, tokens: np.ndarray, race: np.ndarray) -> np.ndarray:
        """s_v(E) in hundredths of a nat, of tokens v [t] and their E = -log U [t]: whole numbers, [t]."""
        cell = np.searchsorted(_EDGES, race, side="right") - 1
        different, which = np.unique(tokens, return_inverse=True)
        return self.priors.scores(different)[which, cell].astype(float)

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`: of the first `count` tokens of the text, or a bound for any text."""
        if self.text is None:
            return min(0.0, -statistic / _UNITS)
        return _law(self, count).log_sf(statistic)

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`, and `log_p`."""
        if self.text is None:
            return float(math.ceil(-_UNITS * math.log(fpr)))
        return _law(self, count).threshold(math.log(fpr))


@given_text.register
def _(detector: TokenAware, evidence: Evidence) -> TokenAware:
    return replace(detector, text=evidence.tokens)


@lru_cache(maxsize=4)
def _law(detector: TokenAware, count: int) -> RowSum:
    assert detector.text is not None
    tokens, counts = np.unique(detector.text[:count], return_counts=True)
    return RowSum(detector.priors.scores(tokens), counts, _NULL)


def save_token_aware(detector: TokenAware, path: Path) -> None:
    """Write a fitted detector as JSON, which `tradeoff detect --detector FILE` reads; it holds no key.

    Raises:
        FileError: if the file cannot be written.
    """
    priors = detector.priors
    table = {
        str(token): {str(place): int(row[place]) for place in np.flatnonzero(row)}
        for token, row in zip(priors.tokens.tolist(), priors.counts, strict=True)
    }
    about = {"format": _FORMAT, "stream": str(detector.stream), "counts": table}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(about, separators=(",", ":")) + "\n", encoding="utf-8")


def load_token_aware(path: Path) -> TokenAware:
    """Read a fitted detector.

    Raises:
        FileError: if the file is missing or holds something else.
    """
    try:
        about = json.loads(read_at_most(path, _LARGEST))
        if about["format"] != _FORMAT:
            raise ValueError(f"its format is {about['format']}")
        stream, table = Stream(about["stream"]), about["counts"]
        tokens = [int(token) for token in table]
        if not tokens or any(low >= high for low, high in pairwise([-1, *tokens])):
            raise ValueError("its tokens are none, negative or not in order")
        counts = np.zeros((len(tokens), len(_GRID)), dtype=np.int64)
        for row, found in zip(counts, table.values(), strict=True):
            for place, count in found.items():
                if not 0 <= int(place) < len(_GRID) or type(count) is not int or not 0 < count < 1 << 40:
                    raise ValueError(f"it counts {count} at place {place}")
                row[int(place)] = count
        if not counts.any(axis=1).all():
            raise ValueError("it has a token that was never drawn")
        return TokenAware(TokenPriors(np.array(tokens, dtype=np.int64), counts), stream)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise FileError(
            f"{path} is not a fitted token-aware detector ({error}); fit one with TokenAware.fit and keep it "
            "with save_token_aware"
        ) from error
