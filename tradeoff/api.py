"""What one does with watermarks, as functions: the command line calls these, and so can you.

import tradeoff as td

key = td.Key.new()
scheme = td.Scheme.of("joint", "gumbel")
texts = td.generate(["Once upon a time"], scheme, key)
td.detect(texts[0], scheme, key)
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tradeoff.errors import DistributionError
from tradeoff.estimate import Estimate
from tradeoff.keyed import PAD, Key, prf_type
from tradeoff.scheme import Scheme, read_watermark
from tradeoff.texts import UNMARKED, Broken, Claims, Record, Text

if TYPE_CHECKING:
    from tradeoff.curves import Curve, OperatingPoint, Setting
    from tradeoff.decoders import Decoder
    from tradeoff.detection import Detector, Forecast
    from tradeoff.kernels import Method
    from tradeoff.keyed import AnyKey, KeyFile, Keyring
    from tradeoff.llm import Controls, DeviceMap, ModelPair, Prompt, ShardedRun, Texts
    from tradeoff.verdicts import CorpusResult, Decoys, Options, Result

__all__ = [
    "Watched",
    "curve",
    "decoys",
    "detect",
    "detect_all",
    "detect_corpus",
    "draw",
    "efficiency",
    "forecast",
    "generate",
    "most_efficient",
    "strength",
    "strongest",
    "tokens_needed",
    "watch",
]

_Report = Callable[[str], None]
#: Keys to look for.
Keys: TypeAlias = "AnyKey | KeyFile | Keyring | Sequence[AnyKey | KeyFile]"
#: The look-ahead that is chosen by measuring.
_AUTO = "auto"


# --- Detection -----------------------------------------------------------------------------------


def detect(
    text: Any,
    scheme: Scheme | Sequence[Scheme] | None = None,
    key: Keys | None = None,
    *,
    fpr: float = 0.01,
    sequential: bool = False,
    detector: Detector | Path | str | None = None,
    tokenizer: str | None = None,
    retokenize: bool = False,
    segments: bool = True,
) -> Result:
    """Whether a text carries the watermark of a key: the verdict, with its p-value.

    Args:
        text: token ids [n] as they were generated; or words, which are tokenised; or a `Record`.
        scheme: of generation, one or several, of which all are tested; if left out, what the profile of the
            key says, else the defaults (`Scheme.of()`), with a warning, and what a record says as well.
        key: that of generation, or several, of which all are tested: keys, key files with their profiles, a
            keyring; if left out, the one in the environment (TRADEOFF_KEY).
        fpr: false-positive rate of the verdict, in (0, 1): for a random key, of a text whose writer has seen
            none of that key.
        sequential: read token by token, and stop as soon as the verdict is certain.
        detector: instead of the scheme's untrained one: a detector, the file of a fitted one, or a name given
            by `register_detector`.
        tokenizer: of the model that wrote the words: a folder, a tokenizer.json or a Hugging Face id; that of
            the key's profile, else the built-in one, if left out.
        retokenize: tokenise the words of a record even where it has token ids.
        segments: look for parts that are watermarked; else the text is judged as a whole.

    Returns:
        A `Result`: `verdict`, `log10_p`, `tokens_scored`, `segments`, `tests`, and what every token said.

    Raises:
        ValueError: for a key that is missing or does not fit, token ids that are none, or options that do not
            go together.
        FileError: for a detector or a tokenizer that is not to be had.
    """
    from tradeoff.verdicts import Examiner, Options

    told: dict[str, Any] = {
        "fpr": fpr,
        "sequential": sequential,
        "detector": detector,
        "tokenizer": tokenizer,
        "retokenize": retokenize,
        "segments": segments,
    }
    options = Options(**told) if scheme is None else Options.of(_schemes(scheme), **told)
    return Examiner(options, _keyring(key, options), _warn, _warn).examine(_as_text(text, "text"))


def detect_all(
    texts: Iterable[Any],
    options: Options | Scheme | Sequence[Scheme],
    key: Keys | None = None,
    *,
    together: int = 1,
    warn: _Report | None = None,
    note: _Report | None = None,
) -> Iterator[Result | Broken]:
    """`detect` for many texts, in order.

    Args:
        texts: as for `detect`, or those of `tradeoff.texts.read_texts`.
        options: what is known of them all, or their scheme or schemes.
        key: as for `detect`.
        together: how many are waited for before they are judged, several times as fast as one by one: 512 is
            good; with 1 every text is judged as it comes.
        warn: called with what a record and the options disagree about; if left out, a warning.
        note: called with what is assumed of texts that say nothing; if left out, a warning.

    Yields:
        For every text a `Result`, or a `Broken` that says why it cannot be read.

    Raises:
        ValueError, FileError: for what is wrong with the options or the key, before any text is read.
    """
    from tradeoff.verdicts import Examiner, Options

    if isinstance(together, bool) or not isinstance(together, int) or together < 1:
        raise ValueError(f"together={together!r} must be a whole number of at least 1; 512 is good")
    told = options if isinstance(options, Options) else Options.of(_schemes(options))
    examiner = Examiner(told, _keyring(key, told), warn or _warn, note or _warn)

    return examiner.examine_all(_each(texts), together)


def detect_corpus(
    texts: Iterable[Any],
    options: Options | Scheme | Sequence[Scheme],
    key: Keys | None = None,
    *,
    correction: str = "holm",
    warn: _Report | None = None,
    note: _Report | None = None,
) -> CorpusResult:
    """`detect` for texts that are judged together.

    Every context counts in the first text alone that has it, so that p-values of different texts are
    independent under a random key, whatever they share; verdicts are corrected for the number of texts.

    Args:
        texts, options, key, warn, note: as for `detect_all`; sequential detection reads texts one by one.
        correction: holm, which keeps the chance of any false alarm at the false-positive rate, or bh
            (Benjamini and Hochberg), which keeps the expected share of false alarms among those called.

    Returns:
        A `CorpusResult`: `results` in order, and `log10_p` of all texts as one.

    Raises:
        ValueError, FileError: as `detect_all`, and for another correction.
    """
    from tradeoff.verdicts import Corpus, Correction, Options

    if correction not in list(Correction):
        raise ValueError(f"correction={correction!r} is unknown; use one of {', '.join(Correction)}")
    told = options if isinstance(options, Options) else Options.of(_schemes(options))
    corpus = Corpus(told, _keyring(key, told), warn or _warn, note or _warn, Correction(correction))
    return corpus.judge(_each(texts))


def decoys(
    texts: Iterable[Any],
    options: Options | Scheme,
    real: AnyKey | KeyFile | None = None,
    *,
    keys: int = 200,
    seed: int = 0,
    note: _Report | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Decoys:
    """What keys that wrote none of the texts do to them: how many each calls watermarked.

    Args:
        texts: as for `detect_all`, that carry no watermark; those of a real key may.
        options: the verdicts to calibrate, or the scheme.
        real: a key to compare with the decoys.
        keys: how many decoys, at least 2.
        seed: gives the decoys, which are no secrets.
        note: called with what is assumed of texts that say nothing; if left out, a warning.
        report: called with how many of the keys are done, of how many.

    Raises:
        FileError: for a text that cannot be read.
        ValueError: for no texts, too few keys, or options of functions with keys of different kinds.
    """
    from tradeoff.keyed import Keyring
    from tradeoff.verdicts import Options
    from tradeoff.verdicts import decoys as judge

    told = options if isinstance(options, Options) else Options.of(_checked(options))
    ring = () if real is None else Keyring.of(real).keys
    if len(ring) > 1:
        raise ValueError(f"real holds {len(ring)} keys; compare one with the decoys")
    known = ring[0] if ring else None
    return judge(_each(texts), told, keys, seed, known, note or _warn, report or (lambda *_: None))


def _each(texts: Iterable[Any]) -> Iterator[Text | Broken]:
    """What was given to be judged, as it comes."""
    for number, given in enumerate(texts, 1):
        if isinstance(given, Broken):
            yield given
            continue
        name = f"text {number}"
        try:
            text = _as_text(given, name)
        except ValueError as error:
            yield Broken(name, str(error))
        else:
            yield text


@dataclass(frozen=True)
class Watched:
    """What is known of a text that is still being written.

    Attributes:
        tokens: how many were read.
        log_e: natural logarithm of the e-value, the wealth of betting on the tokens so far.
        log_p: natural logarithm of the p-value, which holds at any time.
        tokens_needed: after how many tokens the text was called watermarked; None so far.
    """

    tokens: int
    log_e: float
    log_p: float
    tokens_needed: int | None

    @property
    def log10_p(self) -> float:
        """Decimal logarithm of the p-value."""
        return self.log_p / math.log(10)

    @property
    def detected(self) -> bool:
        """Whether the text was called watermarked; once true, it stays so."""
        return self.tokens_needed is not None


def watch(
    tokens: Iterable[int | Sequence[int] | np.ndarray],
    scheme: Scheme,
    key: AnyKey | None = None,
    *,
    alpha: float = 0.01,
    late: bool = False,
) -> Iterator[Watched]:
    """Read a text while it is being written, and stop at any time: Ville's inequality pays for every look.

    Args:
        tokens: token ids as they come, one by one or in parts.
        scheme: of generation.
        key: that of generation; if left out, the one in the environment (TRADEOFF_KEY).
        alpha: the chance, in (0, 1), that a random key ever calls a text watermarked whose writer has seen
            none of that key.
        late: leave half of the wealth to bets that may begin and end at any token, for texts that may be
            marked in a part alone.

    Yields:
        What is known after every item.

    Raises:
        ValueError: for a key that is missing or does not fit, a scheme without a watermark, an alpha outside
            (0, 1), or what are no token ids.
    """
    from tradeoff.detection import Sequential

    function = _checked(scheme).function(_key_for(key)(scheme.prf))
    stream = Sequential(scheme.bets(), late=late).stream(scheme.reads(function), alpha)

    def steps() -> Iterator[Watched]:
        for part in tokens:
            stream.feed(np.atleast_1d(np.asarray(part)))
            yield Watched(stream.tokens, stream.log_wealth, stream.log_p, stream.tokens_needed)

    return steps()


def forecast(
    scheme: Scheme,
    *,
    log_p: Sequence[float] | Sequence[Sequence[float]] | Sequence[np.ndarray] | np.ndarray | None = None,
    entropy: float | Sequence[float] | Sequence[np.ndarray] | np.ndarray | None = None,
    laws: Sequence[Any] | np.ndarray | None = None,
    fpr: float = 0.01,
    report: Callable[[int, int], None] | None = None,
) -> Forecast:
    """How often texts are detected, by their length: `Forecast.power` and `Forecast.tokens_needed`.

    Args:
        scheme: Gumbel-max, SynthID or HeavyWater; but for `laws` drawn by one stream (joint-race, one-race,
            their trees, joint-tournament, single-key, basic, keep-strength), as if there were no speculation.
        log_p: log-probabilities under the model of the tokens of a typical text [k], or of several texts,
            which then differ in how much they can carry (records of `generate(measure=True)` have them).
            SynthID and HeavyWater want `entropy` beside them, of the same positions, as the records have it
            too. Of HeavyWater as much of every law is taken to lie outside its head as its entropy allows, so
            that texts may be detected more often than is told, and not less.
        entropy: instead, entropies of the next token in nats, one or several.
        laws: instead, pairs (P, Q) of the laws of target and draft, [n] each, at positions of a typical text,
            or a list of such pairs for each of several texts: then the forecast is that of the scheme's own
            method, at positions where a draft is verified, with two streams as with one, and without a tree.
            Of Gumbel-max alone.
        fpr: false-positive rate of the test.
        report: called with how many of the laws are read, of how many; full vocabularies take a second each.

    Raises:
        DistributionError: for laws that are none; the message names text and position.
        ValueError: for another scheme, not one of log_p, entropy and laws, or numbers that can be none.
    """
    from tradeoff.detection import Aaronson, Forecast, RankRatio, WeightedMeanBits, probabilities_of_entropy

    if laws is not None and log_p is None and entropy is None:
        return _forecast_of_laws(_checked(scheme), laws, fpr, report)
    told = _checked(scheme).method.detection
    drawn = {told.drafted, told.replaced, told.bonus} if scheme.method.drafts else {told.bonus}
    detector = scheme.detector()
    if not isinstance(detector, Aaronson | RankRatio | WeightedMeanBits) or len(drawn) > 1:
        raise ValueError(
            f"scheme={scheme.label!r} has no forecast; forecasts are for Gumbel-max, SynthID and HeavyWater "
            "drawn by one stream, such as joint-race; pass laws, or simulate others with generate and detect"
        )
    given = [log_p is not None, entropy is not None, laws is not None]
    both = not isinstance(detector, Aaronson)
    if sum(given) != 1 and not (both and given == [True, True, False]):
        raise ValueError("give either log_p, entropy or laws, one of the three")
    if both and entropy is None:
        raise ValueError(
            "entropy is missing; of SynthID and HeavyWater pass entropies of the same positions beside "
            "log_p, as records of generate(measure=True) hold them"
        )
    profiles, entropies = (None if told is None else _profiles(told) for told in (log_p, entropy))
    for name, several in (("log_p", profiles), ("entropy", entropies)):
        if several is not None and not all(len(one) for one in several):
            raise ValueError(f"{name} holds a text without tokens; leave it out")
    # Of every text the probabilities of tokens, entropies of their laws, and how often they occur.
    texts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    for values in entropies or []:
        if not ((values >= 0) & (values <= _MOST_ENTROPY)).all():
            raise ValueError(
                f"entropy={entropy} must hold numbers of nats from 0 to {_MOST_ENTROPY:g}; a vocabulary of "
                "100,000 tokens has at most 11.5"
            )
    if profiles is None:
        assert entropies is not None
        joined = np.concatenate(entropies)
        texts = [(probabilities_of_entropy(joined), joined, np.ones(len(joined)))]
    else:
        for profile in profiles:
            if not (profile <= _ROUNDING).all():
                raise ValueError(
                    f"log_p holds {profile.max():g}; it must hold logarithms of probabilities, at most 0"
                )
        beside = entropies or [-profile for profile in profiles]
        if [len(one) for one in beside] != [len(one) for one in profiles]:
            raise ValueError("entropy must hold one number for every number of log_p, text by text")
        # What is too small for a float is as good as 1e-300.
        texts = [
            (np.exp(np.clip(profile, -690.0, 0.0)), one, np.ones(len(one)))
            for profile, one in zip(profiles, beside, strict=True)
        ]
    if isinstance(detector, Aaronson):
        return Forecast([p for p, *_ in texts], fpr)
    from tradeoff.detection import won_score_law

    if isinstance(detector, RankRatio):
        texts = [_transported(scheme, *text, known=profiles is not None) for text in texts]
    return Forecast.of_scores([won_score_law(detector, *text) for text in texts], detector, fpr)


def _profiles(values: Any) -> list[np.ndarray]:
    """Numbers of one text or several: a list of [k] each."""
    each: Any = values if isinstance(values, Sequence | np.ndarray) else [values]
    several = len(each) > 0 and np.ndim(each[0]) == 1
    return [np.asarray(one, float) for one in (each if several else [each])]


def _transported(
    scheme: Scheme, p: np.ndarray, entropy: np.ndarray, weight: np.ndarray, *, known: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a transport the probabilities within its head; a token of probability 1 carries nothing.

    Args:
        known: whether probabilities are of tokens that were drawn, else of even laws.

    Raises:
        ValueError: for a transport that is tilted, or not exact, whose marks are of another strength.
    """
    from tradeoff.optimal_transport import Exact

    # A transport, as its detector ranks scores.
    decoder: Any = scheme.method.decoder
    if decoder.tilt or decoder.solver != Exact():
        raise ValueError(
            f"scheme={scheme.label!r} has no forecast; of transports it is for exact ones without a tilt"
        )
    if known:
        # A token of the head is drawn as one of probability p / mass of the head. No token outside has a
        # probability above 1 / (head + 1), so that their mass times log(head + 1) is at most the entropy.
        outside = np.minimum(1 - p, entropy / np.log(decoder.head + 1))
        inside = np.minimum(p / np.maximum(1 - outside, p), 1.0)
        # At most `head` tokens are more probable than that.
        return np.where(p > 1 / (decoder.head + 1), inside, 1.0), entropy, weight
    inside = np.minimum(decoder.head * p, 1.0)
    return (
        np.concatenate([np.where(inside < 1, 1 / decoder.head, p), np.ones(len(p))]),
        np.concatenate([entropy, entropy]),
        np.concatenate([inside * weight, (1 - inside) * weight]),
    )


def tokens_needed(
    scheme: Scheme,
    *,
    fpr: float = 0.01,
    power: float = 0.95,
    log_p: Sequence[float] | Sequence[Sequence[float]] | Sequence[np.ndarray] | np.ndarray | None = None,
    entropy: float | Sequence[float] | Sequence[np.ndarray] | np.ndarray | None = None,
    laws: Sequence[Any] | np.ndarray | None = None,
) -> int | None:
    """The fewest tokens that must count for texts to be detected at a rate; None if 100,000 do not suffice.

    Args:
        scheme, fpr, log_p, entropy, laws: as of `forecast`.
        power: the rate of detection wanted, in (0, 1).

    Raises:
        ValueError: as `forecast`, and for a power outside (0, 1).
    """
    if not 0 < power < 1:
        raise ValueError(f"power={power} must be between 0 and 1; 0.95 is usual")
    return forecast(scheme, log_p=log_p, entropy=entropy, laws=laws, fpr=fpr).tokens_needed(power)


def _forecast_of_laws(
    scheme: Scheme, laws: Any, fpr: float, report: Callable[[int, int], None] | None
) -> Forecast:
    from tradeoff.detection import Aaronson, Forecast, RaceScoreLaw, SumOfKeys, race_score_law

    method = scheme.method
    if not scheme.marks or not isinstance(scheme.detector(), Aaronson | SumOfKeys):
        raise ValueError(
            f"scheme={scheme.label!r} has no forecast; laws are for Gumbel-max, as of joint-race"
        )
    try:
        one_text = np.ndim(laws[0][0][0]) == 0
        texts = [list(text) for text in ([laws] if one_text else laws)]
        pairs = [[(p, q) for p, q in text] for text in texts]
    except (TypeError, ValueError, IndexError, KeyError):
        raise ValueError(
            "laws must be pairs (P, Q) of laws at positions of a text, [n] each, or a list of pairs for each "
            f"of several texts, none of them empty; got {type(laws).__name__}"
        ) from None
    total, done = sum(map(len, pairs)), itertools.count(1)

    def score_laws(number: int, text: list[tuple[Any, Any]]) -> Iterator[RaceScoreLaw]:
        for k, (p, q) in enumerate(text):
            try:
                law = race_score_law(method.name, p, q)
            except DistributionError as error:
                place = f"laws[{k}]" if one_text else f"laws[{number}][{k}]"
                raise DistributionError(f"{place}: {error}") from None
            yield law
            if report is not None:
                report(next(done), total)

    return Forecast.of_laws((score_laws(*text) for text in enumerate(pairs)), fpr)


# --- Generation ----------------------------------------------------------------------------------


def draw(
    p: Any,
    scheme: Scheme,
    key: AnyKey | None,
    context: Sequence[int] | np.ndarray,
    *,
    marked: bool | np.ndarray = True,
    rng: np.random.Generator | int | None = None,
) -> Any:
    """A watermarked token drawn from a law of one's own, without a language model or a draft.

    The law of the token is `p` for a random key. Texts stay unbiased only if every context is used once:
    where the same one occurs again, pass marked=False (detectors do not score it).

    Args:
        p: probabilities of the next token, [n] or [..., n].
        scheme: whose stream of bonus tokens draws; a method without a watermark draws truly at random.
        key: the key; None for the one in the environment.
        context: token ids before the position, [c] or [..., c], oldest first; the last `context_width` seed
            it. Fewer are padded, or leave the token without a watermark, as the pseudorandom function has it.
        marked: whether the key decides, for all or [...]; else tokens are drawn truly at random.
        rng: true randomness, for what the key does not decide: a generator or a seed.

    Returns:
        The token, or tokens [...].

    Raises:
        DistributionError: for what is no distribution.
        ValueError: for a key that does not fit, or contexts that do not go with p.
    """
    from tradeoff.kernels import KeyedRandomness
    from tradeoff.laws import distribution

    laws = np.asarray(distribution(p), float)
    before = np.asarray(context)
    if before.size and (before.dtype.kind not in "iu" or before.min() < 0):
        raise ValueError(f"context={context!r} must hold token ids, whole numbers of at least 0")
    before = before.astype(np.int64)
    if before.ndim != laws.ndim or before.shape[:-1] != laws.shape[:-1]:
        raise ValueError(
            f"context has shape {before.shape} and p {laws.shape}; all axes but the last must be those of p"
        )
    width, rows = _checked(scheme).context_width, int(np.prod(laws.shape[:-1], dtype=int))
    before = before.reshape(rows, -1)[:, -width:]
    short = width - before.shape[1]
    unseeded = short > 0 and not prf_type(scheme.prf).pads_contexts
    masked = ~np.broadcast_to(np.asarray(marked, dtype=bool), laws.shape[:-1]).reshape(rows) | unseeded
    contexts = np.concatenate([np.full((rows, short), PAD, dtype=np.int64), before], axis=1)
    generator = np.random.default_rng(rng)
    randomness = KeyedRandomness(
        scheme.function(_key_for(key)(scheme.prf)) if scheme.marks else None,
        contexts,
        masked,
        [lambda: generator] * rows,
        np.arange(laws.shape[-1]),
    )
    tokens = scheme.method.bonus(laws.reshape(rows, -1), randomness)
    return int(tokens[0]) if laws.ndim == 1 else tokens.reshape(laws.shape[:-1])


def generate(
    prompts: str | Path | Sequence[str] | Sequence[tuple[str, str]],
    scheme: Scheme,
    key: AnyKey | None = None,
    *,
    target: str | None = None,
    draft: str | None = None,
    pair: ModelPair | None = None,
    tokens: int = 200,
    lookahead: int | str = 3,
    verify: str = "token",
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    controls: Controls | None = None,
    samples: int = 1,
    unmarked: int | None = None,
    batch: int = 8,
    seed: int = 0,
    chat: bool = False,
    ignore_eos: bool = False,
    measure: bool = False,
    limit: int | None = None,
    output: Path | str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    device_map: DeviceMap | None = None,
    probe: bool = True,
    workers: int | str | None = None,
    gpus_per_worker: float | None = None,
    read_key: Callable[[], AnyKey] | None = None,
    emitted: Callable[[Prompt, list[int]], None] | None = None,
    warn: _Report | None = None,
    note: _Report | None = None,
) -> Texts:
    """Watermarked text from a draft/target pair, by speculative decoding.

    Args:
        prompts: the prompts, or (id, prompt) pairs; or the file of them, or builtin:question or
            builtin:continuation.
        scheme: how to watermark; `Scheme.of("standard")` for no watermark.
        key: the key; if left out, the one in the environment (TRADEOFF_KEY).
        target: builtin (if left out), a folder, a .gguf file or a Hugging Face id.
        draft: the same; or skip:14,16, the target without these layers; or jump, a fast draft of the built-in
            target; or ngram, ngram:3, no model but what followed the last tokens in the text before.
        pair: instead of target and draft, models that are loaded already (`load_pair`).
        tokens: longest text.
        lookahead: K, draft tokens a step; or "auto" for the fastest, by what is accepted and how long rounds
            take here. A run that goes on keeps that of its file.
        verify: token by token, or block, by which more of a step's drafts are accepted.
        temperature, top_k, top_p, min_p: the sampling, of both models; if left out what the target's own
            generation settings say, which is told, else 1 and nothing cut.
        controls: penalties, bans, a least length, stop strings; if left out the target's own.
        samples: texts for every prompt, named by its id and their number, as 3#1.
        unmarked: tokens at the beginning of every text that are drawn truly at random, without a watermark.
            The key alone decides about most texts, so that several of one prompt need some to differ: if left
            out, `tradeoff.texts.UNMARKED` of them for several samples, which is told, and none for one.
        batch: texts at a time; no text depends on it but for rounding.
        seed: of the true randomness.
        chat: ask in the tokenizer's chat format.
        ignore_eos: always go on to `tokens`.
        measure: record 1 - TV, entropy and log P of every token.
        limit: use only so many prompts.
        output: file of JSON lines that every text is appended to as soon as it is finished; the same call
            goes on after a kill.
        device: cpu, cuda or mps; the best there is if left out.
        dtype: float32, bfloat16 or float16; by device if left out.
        device_map: in place of device, how the target is spread over several: auto, balanced, sequential, or
            a mapping from names of its parts to devices (`load_pair`).
        probe: check models outside the table of verified ones first.
        workers: generate in shards of whole batches: 4 by so many processes, "ray" or "ray:8" by actors of
            the Ray cluster that RAY_ADDRESS names or that runs here; 1 writes, in this process, what any
            number writes. Left out, one batch is filled up to the end.
        gpus_per_worker: share of a GPU that an actor takes; 1, where there is any, if left out. A whole
            number above 1 spreads the target over so many, by device_map="auto" if no other is named.
        read_key: with workers, instead of a key, which is never sent: what reads it in every process, such as
            `functools.partial(Key.read, path)`; `Key.from_environment` if left out.
        emitted: called in this process with a prompt and the token ids that its text got, round by round;
            what it raises ends the run.
        warn, note: called with what the caller should and may want to know; if left out, warnings.

    Returns:
        `Texts`: a sequence of `Record`, in the order of the prompts.

    Raises:
        ValueError: for a key that is missing or does not fit, settings out of range, blocks of a method
            without them, or models that are not drawn from rightly.
        FileError: for prompts that cannot be read, or an output that is another run's.
    """
    # A run that cannot start should say so before models are loaded.
    marks = _checked(scheme).marks
    reader = _reader_of(key, read_key, workers, scheme.prf) if marks else None
    function = scheme.function(reader()) if reader is not None else None
    if workers is None and gpus_per_worker is not None:
        raise ValueError(f"gpus_per_worker={gpus_per_worker} is for workers='ray'; pass both")
    if workers is not None and (pair is not None or lookahead == _AUTO or emitted is not None):
        what = "pair" if pair is not None else "emitted" if emitted else f"lookahead={lookahead!r}"
        raise ValueError(
            f"{what} is for this process alone; name the models and a number of draft tokens, or leave "
            "workers out"
        )
    if limit is not None and (not _is_whole(limit) or limit < 1):
        raise ValueError(f"limit={limit} must be a whole number, at least 1 prompt")
    for name, value in (
        ("target", target),
        ("draft", draft),
        ("device", device),
        ("dtype", dtype),
        ("device_map", device_map),
    ):
        if pair is not None and value is not None:
            raise ValueError(f"{name}={value!r} and pair are given; pair holds its models, leave {name} out")
    for name, count in (("tokens", tokens), ("batch", batch), ("seed", seed)):
        if not _is_whole(count):
            raise ValueError(f"{name}={count!r} must be a whole number")
    if lookahead != _AUTO and not _is_whole(lookahead):
        raise ValueError(f"lookahead={lookahead!r} must be a whole number, or {_AUTO!r}")
    from tradeoff.kernels import Verify
    from tradeoff.llm import (
        EngineSettings,
        PairNames,
        Requested,
        SchemeRecipe,
        ShardedRun,
        best_lookahead,
        encode_prompts,
        generate_sharded,
        generate_texts,
        has_chat_format,
        load_pair,
        load_tokenizer,
        spread_of,
    )
    from tradeoff.texts import check_output, named_prompts, several
    from tradeoff.workers import executor_of

    tell = note or _warn
    spread = None if workers is None else spread_of(device_map, device, workers, gpus_per_worker)
    if not _is_whole(samples) or samples < 1:
        raise ValueError(f"samples={samples!r} must be a whole number of texts, at least 1")
    requested = Requested(temperature, top_k, top_p, min_p, controls)
    if unmarked is None:
        unmarked = UNMARKED if samples > 1 and marks else 0
        if unmarked:
            tell(f"the first {unmarked} tokens of a text are drawn truly at random: the {samples} differ")
    settings = EngineSettings(
        method=scheme.method,
        prf=function,
        sampling=requested.sampling({}),
        # That of "auto" is known when there are models.
        lookahead=1 if lookahead == _AUTO else int(lookahead),
        verify=Verify(verify),
        max_tokens=tokens,
        seed=seed,
        ignore_eos=ignore_eos,
        measure=measure,
        unmarked=unmarked,
    )
    if batch < 1:
        raise ValueError(f"batch={batch} must be at least 1 text")
    path = None if output is None else Path(output)
    if path is not None:
        check_output(path)
        if isinstance(prompts, str | Path) and Path(prompts).resolve() == path.resolve():
            raise ValueError(f"{path} holds the prompts; write the texts to another file")
    named = named_prompts(prompts)[:limit]
    if limit is not None and len(named) < limit:
        source = prompts if isinstance(prompts, str | Path) else "the list"
        tell(f"{source} has {len(named)} prompts; using all")
    models = pair
    if models is None and workers is None:
        models = load_pair(
            target or "builtin", draft or "builtin", device=device, dtype=dtype, device_map=device_map
        )
    tokenizer = load_tokenizer(target or "builtin") if models is None else models.tokenizer
    encoded = encode_prompts(tokenizer, named, chat=chat)
    if prompts == "builtin:question" and not chat and has_chat_format(tokenizer):
        tell(f"the questions of {prompts} are meant for --chat")
    equal = len(encoded) - len({prompt.token_ids for prompt in encoded})
    if equal:
        tell(_told_equal(equal, len(encoded), settings.seeded))
    encoded = several(encoded, samples)
    if models is None:
        assert workers is not None
        names = PairNames(str(target or "builtin"), str(draft or "builtin"), device, dtype, spread)
        recipe = SchemeRecipe.of(names, scheme, reader, settings, probe, requested)
        run = ShardedRun(recipe, encoded, path, batch)
        with executor_of(workers, gpus_per_worker, warn or _warn) as executor:
            if executor.size > len(run.shards):
                tell(_told_idle(executor.size, run))
            return generate_sharded(executor, [run], warn or _warn)[0]
    settings = requested.settled(settings, models, tell)
    if lookahead == _AUTO and settings.drafts:
        k = _lookahead_of(path)
        if k is None:
            chosen = best_lookahead(models, settings, encoded, batch, probe=probe, report=warn or _warn)
            tell(chosen.describe())
            k = chosen.best
        settings = replace(settings, lookahead=k)
    report = warn or _warn
    return generate_texts(
        models, settings, encoded, path, batch=batch, probe=probe, report=report, emitted=emitted
    )


def _lookahead_of(path: Path | None) -> int | None:
    """The look-ahead of the run that a file holds; None if it holds none."""
    from tradeoff.texts import read_records

    if path is None or not path.exists() or not path.stat().st_size:
        return None
    records = read_records(path)
    # A file of no speculation is another run's, which is told when it is opened.
    return (records[0].run.lookahead or 1) if records else None


def _reader_of(
    key: AnyKey | None, read_key: Callable[[], AnyKey] | None, workers: int | str | None, prf: str
) -> Callable[[], AnyKey]:
    """How every process comes by the key."""
    from tradeoff.workers import parse_workers

    if read_key is not None:
        if key is not None or workers is None:
            raise ValueError(
                "read_key is for workers, in place of a key; pass it with workers and without key"
            )
        return read_key
    if key is None:
        return partial(_of_environment, [prf])
    if workers is not None and not parse_workers(workers).alone:
        raise ValueError(
            f"a key is never sent to workers (workers={workers}); pass read_key, which reads it in every "
            "process, such as functools.partial(Key.read, path), in place of key"
        )
    return lambda: key


def _told_idle(workers: int, run: ShardedRun) -> str:
    count = len(run.shards)
    return (
        f"{len(run.prompts)} prompts are {count} part{'s' * (count != 1)} of whole batches of {run.size}, so "
        f"that {count} of {workers} workers have work; a smaller batch gives it to more of them"
    )


def _told_equal(equal: int, prompts: int, seeded: bool) -> str:
    other = "another --seed, into another file, gives other texts"
    if not seeded:
        other = (
            "with this method and --prf another --seed changes at most what follows a context that occurs "
            "again; another key, into another file, gives other texts"
        )
    return (
        f"{equal} of {prompts} prompts are equal to earlier ones and get the same texts as those, since "
        "a text depends on nothing but its prompt, the key and the settings of the run; the summary counts "
        f"each once ({other})"
    )


# --- Theory --------------------------------------------------------------------------------------


def strength(p: Any, watermark: str | Decoder, *, seeds: int | None = None, seed: int = 0) -> Estimate:
    """Watermark strength E KL(P_zeta || P) in nats (Definition 3.1), at most Ent(P) (Theorem 3.2).

    Args:
        p: the law, [n].
        watermark: a name that `parse_decoder` reads, or a decoder.
        seeds, seed: of the simulation, where there is no closed form.

    Raises:
        DistributionError: for what is no distribution.
        ValueError: for an unknown watermark.
    """
    from tradeoff.curves import watermark_strength

    return watermark_strength(p, _decoder(watermark), seeds=_seeds(seeds), rng=seed)


def efficiency(
    p: Any,
    q: Any,
    method: str | Method,
    watermark: str | Decoder | None = None,
    *,
    seeds: int | None = None,
    seed: int = 0,
) -> Estimate:
    """Sampling efficiency of a method: the expected share of draft tokens that are accepted.

    1 - TV(Q, P) for every method that is as fast as speculation without a watermark.

    Args:
        p, q: laws of target and draft, [n].
        method: a key of METHODS with a watermark, or a method as it is.
        watermark: a name that `parse_decoder` reads, or a decoder; gumbel if left out.
        seeds, seed: of the simulation, where there is no closed form.

    Raises:
        DistributionError: for what are no distributions of one length.
        ValueError: for an unknown method or watermark, or a method that drafts nothing.
    """
    from tradeoff.kernels import SimulatedRandomness
    from tradeoff.laws import distribution_pair

    p, q = (np.asarray(law, float) for law in distribution_pair(p, q))
    chosen = Scheme.of(method, watermark).method
    if not chosen.drafts:
        raise ValueError(f"method={chosen.name!r} drafts nothing, so that no draft can be accepted")
    exact = chosen.efficiency(p, q)
    if exact is not None:
        return Estimate(float(exact), 0.0)
    count = _seeds(seeds)
    rng, accepted = np.random.default_rng(seed), 0
    for first in range(0, count, _AT_A_TIME):
        batch = (min(_AT_A_TIME, count - first),)
        randomness = SimulatedRandomness(rng, batch, len(p))
        laws, drafts = (np.broadcast_to(law, (*batch, len(law))) for law in (p, q))
        draft = chosen.draft(drafts, randomness)
        kept = chosen.accepts(laws, drafts, draft, randomness)
        rank = chosen.after_rejection(laws, drafts, draft, randomness).rank
        accepted += int(np.count_nonzero(kept | (rank < chosen.width)))
    share = accepted / count
    return Estimate(share, math.sqrt(share * (1 - share) / (count - 1)))


def curve(
    name: str,
    p: Any,
    q: Any = None,
    *,
    watermark: str | Decoder | None = None,
    draft_watermark: str | Decoder | None = None,
    gamma: Any = None,
    seeds: int | None = None,
    seed: int | None = None,
) -> Curve:
    """A trade-off curve of efficiency against strength (Figure 1): `table()`, `plot()`.

    Args:
        name: the class: linear, hu, google or time-sharing.
        p, q: laws of target and draft, [n]; or a `Setting` instead of both.
        watermark: a name that `parse_decoder` reads, or a decoder; gumbel if left out.
        draft_watermark: another one for the draft.
        gamma: where, in [0, 1]; 41 points if left out.
        seeds, seed: of the simulation, where there is no closed form.

    Raises:
        DistributionError: for what are no distributions of one length.
        ValueError: for an unknown class or watermark, or gammas outside [0, 1].
    """
    from tradeoff import curves

    return curves.curve(name, _setting(p, q, watermark, draft_watermark, seeds, seed), gamma)


def strongest(
    p: Any, q: Any = None, *, efficiency: float, watermark: str | Decoder | None = None
) -> OperatingPoint:
    """The largest strength of the linear class under an efficiency requirement (Definition 3.2).

    Args:
        p, q: laws of target and draft, [n]; or a `Setting` instead of both.
        efficiency: the requirement, in [0, 1 - TV(Q, P)].
        watermark: degenerate; gumbel if left out.

    Raises:
        DistributionError: for what are no distributions of one length.
        ValueError: if no scheme is that efficient, or the watermark is not degenerate.
    """
    from tradeoff import curves

    return curves.strongest(_setting(p, q, watermark), efficiency)


def most_efficient(
    p: Any, q: Any = None, *, strength: float, watermark: str | Decoder | None = None
) -> OperatingPoint:
    """The largest efficiency of the linear class under a strength requirement (Eq. 10).

    Args:
        p, q: laws of target and draft, [n]; or a `Setting` instead of both.
        strength: the requirement in nats, in [0, Ent(P)].
        watermark: degenerate; gumbel if left out.

    Raises:
        DistributionError: for what are no distributions of one length.
        ValueError: if the requirement cannot be met, or the watermark is not degenerate.
        SolverError: if the solver fails.
    """
    from tradeoff import curves

    return curves.most_efficient(_setting(p, q, watermark), strength)


#: Entropies in nats that no vocabulary has, and what rounding may add to a log-probability.
_MOST_ENTROPY, _ROUNDING = 40.0, 1e-6
#: Draws of a simulation at a time.
_AT_A_TIME = 1 << 14


def _setting(
    p: Any,
    q: Any,
    watermark: str | Decoder | None,
    draft_watermark: str | Decoder | None = None,
    seeds: int | None = None,
    seed: int | None = None,
) -> Setting:
    """Of laws and what goes with them; or a setting as it is, which holds all of that."""
    from tradeoff.curves import Setting

    if isinstance(p, Setting):
        beside = {
            "q": q,
            "watermark": watermark,
            "draft_watermark": draft_watermark,
            "seeds": seeds,
            "seed": seed,
        }
        given = [name for name, value in beside.items() if value is not None]
        if given:
            raise ValueError(
                f"{given[0]} is given beside a Setting, which holds its own; leave {given[0]} out"
            )
        return p
    if q is None:
        raise ValueError("q is missing; pass the laws of target and draft, or a Setting")
    target = _decoder("gumbel" if watermark is None else watermark)
    draft = target if draft_watermark is None else _decoder(draft_watermark)
    return Setting(p, q, target, draft, _seeds(seeds), 0 if seed is None else seed)


def _seeds(seeds: int | None) -> int:
    from tradeoff.curves import DEFAULT_SEEDS, check_seeds

    if seeds is None:
        return DEFAULT_SEEDS
    check_seeds(seeds)
    return seeds


def _decoder(watermark: str | Decoder) -> Decoder:
    return read_watermark(watermark) if isinstance(watermark, str) else watermark


def _checked(scheme: Scheme) -> Scheme:
    if not isinstance(scheme, Scheme):
        raise ValueError(f"scheme={scheme!r} is no Scheme; make one, as Scheme.of('joint', 'gumbel')")
    return scheme


def _as_text(given: Any, name: str) -> Text:
    """What was given to be judged, under a name for messages."""
    from tradeoff.detection import check_token_ids

    if isinstance(given, Text):
        return given
    if isinstance(given, Record):
        run = given.run
        claims = Claims(
            run.method, run.watermark, run.prf, run.context_width, run.key, run.vocabulary, run.alpha
        )
        pieces = [given.text] if given.text else []
        return Text(given.id, name, f"{name} ({given.id})", given.token_ids, pieces, claims, given.log_p)
    if isinstance(given, str):
        # Of a name that is too long for one this is False, and no error.
        if len(given) < 1000 and "\n" not in given and os.path.isfile(given):
            raise ValueError(
                f"{name} is the name of a file, {given!r}; pass what it holds, or use `tradeoff detect`"
            )
        return Text(name, name, name, None, [given] if given else [])
    if isinstance(given, np.ndarray) or (isinstance(given, Sequence) and not isinstance(given, bytes)):
        # Lists hold one type, as a rule, and asking for each of them takes longer than a verdict.
        if isinstance(given, Sequence) and not (set(map(type, given)) <= {int} or all(map(_is_whole, given))):
            bad = next(one for one in given if not _is_whole(one))
            raise ValueError(f"{name} holds {bad!r}; token ids are whole numbers, at least 0")
        return Text(name, name, name, check_token_ids(given), None)
    raise ValueError(
        f"{name} is {type(given).__name__}; pass token ids, words, or a Record (of a parsed line "
        "Record.of_json(line); of files those of tradeoff.llm.read_records)"
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _key_for(key: AnyKey | None) -> Callable[[str], AnyKey]:
    """The key for a pseudorandom function by its name: the given one, or that of the environment."""

    def asked(name: str) -> AnyKey:
        return _of_environment([name]) if key is None else key

    return asked


def _keyring(keys: Keys | None, options: Options) -> Keyring:
    """The keys to look for: those given, or that of the environment."""
    from tradeoff.keyed import Keyring

    if keys is not None:
        return Keyring.of(keys)
    return Keyring.of(_of_environment([scheme.prf for scheme in options.schemes] or options.prfs))


def _of_environment(prfs: Sequence[str]) -> Key:
    """The key of the environment, for functions of these names."""
    for name in prfs:
        if prf_type(name).key_type is not Key:
            needed = "an integer key" if prf_type(name).key_type is int else prf_type(name).takes
            raise ValueError(f"prf={name!r} needs {needed}; pass key=")
    if not os.environ.get("TRADEOFF_KEY"):
        raise ValueError("key is missing; pass key=, or set TRADEOFF_KEY to its hex digits")
    return Key.from_environment()


def _schemes(given: Scheme | Sequence[Scheme]) -> tuple[Scheme, ...]:
    if isinstance(given, list | tuple):
        if not given:
            raise ValueError("scheme holds no Scheme; make one, as Scheme.of('joint', 'gumbel')")
        return tuple(map(_checked, given))
    return (_checked(given),)  # type: ignore[arg-type]


def _warn(message: str) -> None:
    # At the place of the caller, outside this package, so that it is told once for each.
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("tradeoff."):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, UserWarning, stacklevel=depth - 1)
