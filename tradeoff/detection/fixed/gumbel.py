"""Detectors of the Gumbel-max watermark, from the uniforms U at the tokens.

Without a watermark -log(1 - U) ~ Exp(1), so that sums of them are Gamma variables and p-values exact. The
token that wins a race with probability p has E = -log U ~ p Exp(1), so that small p makes U large
(docs/theory/detection.md).

Two streams (keys) drew the tokens of `two-keys` and `algorithm-1`: accepted drafts the first, all others
the second. The detectors differ in how they decide which one to read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy import special

from tradeoff.decoders import GumbelMax
from tradeoff.detection.choice import detector_of
from tradeoff.detection.detector import Detector, Exactness, Readings, log_p_values, uniform_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.tails import (
    LatticeSum,
    gamma_log_sf,
    gamma_log_sfs,
    weighted_log_sfs,
    weighted_threshold,
)
from tradeoff.kernels import check_alpha
from tradeoff.keyed import Stream

__all__ = [
    "Aaronson",
    "ArsPrior",
    "ArsTau",
    "LikelihoodRatio",
    "Oracle",
    "RacePrior",
    "SumOfKeys",
    "WeightedSumOfKeys",
    "fit_tau",
]

_BOTH = (Stream.DRAFT, Stream.TARGET)
#: Candidate thresholds of Ars-tau, as in appendix F.1 of the paper.
_GRID = np.linspace(0.01, 1.0, 100)
#: How many different scores a likelihood ratio has at most, and the smallest of them, in nats.
_SCORES, _LEAST_SCORE = 2048, -12.0


def exponential_scores(uniform: np.ndarray) -> np.ndarray:
    """-log(1 - U): Exp(1) without a watermark; of the shape of `uniform`."""
    return -np.log1p(-uniform)


class _GammaSum:
    """The law that sums of Exp(1) scores share: Gamma(t, 1) for t tokens with one score each."""

    null: ClassVar[str] = "exact: Gamma(t, 1)"
    scores_per_token: ClassVar[int] = 1
    exactness: ClassVar[Exactness] = Exactness.EXACT

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Whose uniforms are read."""
        return _BOTH

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return uniform_readings(evidence, self.streams)

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        return gamma_log_sf(statistic, self.scores_per_token * count)

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return float(special.gammainccinv(self.scores_per_token * count, fpr))


@dataclass(frozen=True)
class Aaronson(_GammaSum):
    """sum -log(1 - U) under one stream (Aaronson 2023): Gamma(t, 1) without a watermark.

    For `basic`, `keep-strength`, `single-key`, `one-race`, `joint-race` and their trees. It knows nothing of
    a model, and is near the best test of the uniforms alone; but the token itself tells how likely it was
    (`TokenAware`), and a model tells more (`ModelAware`).
    """

    stream: Stream = Stream.SHARED
    id: ClassVar[str] = "aaronson"
    name: ClassVar[str] = "Aaronson"

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The one."""
        return (self.stream,)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`."""
        return exponential_scores(evidence.uniform(self.stream))


@dataclass(frozen=True)
class SumOfKeys(_GammaSum):
    """sum -log(1 - U_D) - log(1 - U_T): Gamma(2 t, 1). Needs no choice; weighs both keys alike."""

    id: ClassVar[str] = "sum-of-keys"
    name: ClassVar[str] = "sum of both keys"
    null: ClassVar[str] = "exact: Gamma(2 t, 1)"
    scores_per_token: ClassVar[int] = 2

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`."""
        draft, target = evidence.uniform(Stream.DRAFT), evidence.uniform(Stream.TARGET)
        return exponential_scores(draft) + exponential_scores(target)


@dataclass(frozen=True)
class WeightedSumOfKeys:
    """sum -(1 - alpha) log(1 - U_D) - alpha log(1 - U_T), whose law without a watermark is exact.

    vLLM weighs its keys A and B so, and takes a Gamma law with the same two moments for that of the sum: its
    p-values are too small where they are small. Where a part alpha of the tokens is drawn under the second
    key, and nobody knows which (`dual-key`), no other weights have a larger ratio of signal to noise
    (docs/theory/detection.md). With alpha = 0.5 it is the test of `SumOfKeys`.

    Args:
        alpha: weight of the target's key, above 0 and below 1.
    """

    alpha: float
    id: ClassVar[str] = "weighted-sum-of-keys"
    exactness: ClassVar[Exactness] = Exactness.EXACT

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    @property
    def weights(self) -> tuple[float, float]:
        """Of the draft's key and the target's."""
        return 1 - self.alpha, self.alpha

    @property
    def name(self) -> str:
        """See `Detector.name`."""
        first, second = self.weights
        return f"sum of both keys, weighed {first:g} and {second:g}"

    @property
    def null(self) -> str:
        """See `Detector.null`."""
        first, second = self.weights
        return f"exact: {first:g} Gamma(t, 1) + {second:g} Gamma(t, 1)"

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return uniform_readings(evidence, _BOTH)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`."""
        draft, target = (exponential_scores(evidence.uniform(stream)) for stream in _BOTH)
        return (1 - self.alpha) * draft + self.alpha * target

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        return float(weighted_log_sfs(np.array([statistic]), count, *self.weights)[0])

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return weighted_threshold(fpr, count, *self.weights)


@log_p_values.register
def _(detector: WeightedSumOfKeys, statistics: np.ndarray, count: int) -> np.ndarray:
    return weighted_log_sfs(statistics, count, *detector.weights)


@log_p_values.register(Aaronson)
@log_p_values.register(SumOfKeys)
def _(detector: Aaronson | SumOfKeys, statistics: np.ndarray, count: int) -> np.ndarray:
    return gamma_log_sfs(statistics, detector.scores_per_token * count)


@detector_of.register
def _(decoder: GumbelMax, streams: tuple[Stream, ...]) -> Detector:
    if len(streams) == 1:
        return Aaronson(streams[0])
    if set(streams) != set(_BOTH):
        raise ValueError(
            f"streams={', '.join(streams)} of Gumbel-max have no untrained detector; use one stream, or "
            "draft and target, or register a detector (tradeoff.detection.detector_of)"
        )
    return SumOfKeys()


@dataclass(frozen=True)
class ArsTau(_GammaSum):
    """The draft key where the coin is below tau, else the target key (Eq. 11): Gamma(t, 1).

    Exact because the coin is independent of both uniforms. Algorithm 1 only: other methods lose the coin.
    """

    tau: float
    id: ClassVar[str] = "ars-tau"
    name: ClassVar[str] = "Ars-τ"

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= 1:
            raise ValueError(f"tau={self.tau} must be in [0, 1]; fit it with fit_tau")

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`."""
        draft, target = evidence.uniform(Stream.DRAFT), evidence.uniform(Stream.TARGET)
        return exponential_scores(np.where(evidence.coin() < self.tau, draft, target))


@dataclass(frozen=True)
class ArsPrior(_GammaSum):
    """The draft key with probability `share`, else the target key (Eq. 12): Gamma(t, 1).

    Args:
        share: share of tokens that are accepted drafts, from the empirical acceptance rate.
        seed: of the choices, which are a function of it and the text.
    """

    share: float
    seed: int = 0
    id: ClassVar[str] = "ars-prior"
    name: ClassVar[str] = "Ars-Prior"

    def __post_init__(self) -> None:
        _check_share(self.share)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`."""
        rng = np.random.default_rng([self.seed, *evidence.tokens.tolist()])
        draft, target = evidence.uniform(Stream.DRAFT), evidence.uniform(Stream.TARGET)
        return exponential_scores(np.where(rng.random(len(evidence)) < self.share, draft, target))


@dataclass(frozen=True)
class Oracle(_GammaSum):
    """The key that drew the token, told by the record: Gamma(t, 1). A bound, no detector."""

    id: ClassVar[str] = "oracle"
    name: ClassVar[str] = "oracle"
    exactness: ClassVar[Exactness] = Exactness.ORACLE

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`; ValueError without sources."""
        draft, target = evidence.uniform(Stream.DRAFT), evidence.uniform(Stream.TARGET)
        return exponential_scores(np.where(evidence.drafted, draft, target))


def fit_tau(
    training: Sequence[Evidence], fpr: float = 0.01, lengths: Sequence[int] = (25, 50, 100, 200)
) -> float:
    """The tau of 100 evenly spaced ones with the highest TPR on training texts (appendix F.1).

    Args:
        training: watermarked texts that are not tested later.
        fpr: false-positive rate at which they are to be detected.
        lengths: text lengths over which the TPR is averaged; those beyond every text are left out.

    Raises:
        ValueError: without training texts.
    """
    if not training:
        raise ValueError("fit_tau needs training texts; generate some with the key, and keep them apart")
    longest = max(int(e.index[-1]) + 1 if len(e) else 0 for e in training)
    lengths = [n for n in lengths if n <= longest] or [longest]
    hits, sums = np.zeros(len(_GRID)), np.zeros(len(_GRID))
    for evidence in training:
        draft = exponential_scores(evidence.uniform(Stream.DRAFT))
        target = exponential_scores(evidence.uniform(Stream.TARGET))
        scores = np.where(evidence.coin() < _GRID[:, None], draft, target)
        sums += scores.sum(axis=1)
        for n in lengths:
            count = int(np.searchsorted(evidence.index, n))
            if count:
                # Gamma(count, 1) exceeds this with probability fpr.
                hits += scores[:, :count].sum(axis=1) >= special.gammainccinv(count, fpr)
    # Among equals the one with the largest mean score.
    return float(_GRID[np.lexsort((sums, hits))[-1]])


@dataclass(frozen=True)
class RacePrior:
    """How likely tokens are that win their race: what a detector may know of a model's entropy.

    Args:
        probability: [k] probabilities in (0, 1].
        weight: [k] how often each occurs; normalised.
    """

    probability: np.ndarray
    weight: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        p, w = np.asarray(self.probability, float), np.asarray(self.weight, float)
        if p.ndim != 1 or p.shape != w.shape or not len(p):
            raise ValueError("probability and weight must be two lists of one length, at least 1")
        if not ((p > 0) & (p <= 1)).all() or (w < 0).any() or not w.sum() > 0:
            raise ValueError("probabilities must be in (0, 1] and weights >= 0 with a positive sum")
        object.__setattr__(self, "probability", p)
        object.__setattr__(self, "weight", w / w.sum())

    @classmethod
    def of(cls, probabilities: np.ndarray, points: int = 60) -> RacePrior:
        """From probabilities of generated tokens under the model, binned evenly in their logarithms."""
        logs = np.log(np.clip(np.asarray(probabilities, float), 1e-12, 1.0))
        counts, edges = np.histogram(logs, points, (min(float(logs.min()), -1e-9), 0.0))
        kept = counts > 0
        return cls(np.exp((edges[:-1] + edges[1:]) / 2)[kept], counts[kept].astype(float))

    @classmethod
    def fit(cls, uniforms: np.ndarray, points: int = 40, iterations: int = 300) -> RacePrior:
        """From uniforms of watermarked tokens alone: the mixture of E ~ p Exp(1) of highest likelihood.

        Expectation maximisation over the weights of `points` probabilities from 1e-6 to 1.
        """
        race = -np.log(np.asarray(uniforms, float))
        p = np.geomspace(1e-6, 1.0, points)
        weight = np.full(points, 1 / points)
        density = np.exp(-race[:, None] / p) / p + 1e-300
        for _ in range(iterations):
            joint = density * weight
            weight = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
        return cls(p, weight)

    def log_ratio(self, uniform: np.ndarray) -> np.ndarray:
        """log of the density of E with a watermark over that without: of the shape of `uniform`."""
        race = -np.log(np.asarray(uniform, float))
        terms = np.log(self.weight + 1e-300) - np.log(self.probability)
        return special.logsumexp(terms - race[..., None] * (1 / self.probability - 1), axis=-1)


class LikelihoodRatio:
    """The likelihood-ratio test for a given entropy prior: the best sum of scores if tokens are independent.

    With one stream the score is log f(U), f the density ratio of the prior. With two streams it is
    log(s f(U_D) + (1 - s) f(U_T)), s the probability that a token is an accepted draft, given the coin
    where there is one: a list of shares over equal bins of the coin. E = -log U is read to 1% (8% with two
    streams), and scores are rounded, so that they have a law on a lattice, atoms and all, which is convolved.

    Args:
        prior: of the probabilities of tokens.
        stream: the stream that drew all tokens; None if there are two.
        share: with two streams, s: one number, or [bins] numbers over the coin (Algorithm 1).

    Raises:
        ValueError: for shares outside [0, 1], or missing with two streams.
    """

    null = "lattice convolution of the exact law of a score"
    exactness = Exactness.EXACT

    def __init__(
        self, prior: RacePrior, stream: Stream | None = Stream.SHARED, share: float | Iterable[float] = ()
    ):
        self.prior, self.stream = prior, stream
        self.share = np.atleast_1d(np.asarray(list(share) if isinstance(share, Iterable) else share, float))
        if stream is None and not len(self.share):
            raise ValueError("with two streams, share must say how often tokens are accepted drafts")
        for value in self.share:
            _check_share(float(value))
        self.id = "likelihood-ratio" if stream else "likelihood-ratio-two-keys"
        self.name = "likelihood ratio" if stream else "likelihood ratio, two keys"

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return uniform_readings(evidence, _BOTH if self.stream is None else (self.stream,))

    @classmethod
    def fit(cls, training: Sequence[Evidence], *, coin: bool, bins: int = 10) -> LikelihoodRatio:
        """For two streams, from training texts with sources: the prior, and s in bins of the coin."""
        drafted = np.concatenate([evidence.drafted for evidence in training])
        draft = np.concatenate([evidence.uniform(Stream.DRAFT) for evidence in training])
        target = np.concatenate([evidence.uniform(Stream.TARGET) for evidence in training])
        prior = RacePrior.fit(np.where(drafted, draft, target))
        if not coin:
            return cls(prior, None, float(drafted.mean()))
        coins = np.concatenate([evidence.coin() for evidence in training])
        which = np.minimum((coins * bins).astype(int), bins - 1)
        hits, counts = np.bincount(which, drafted, bins), np.bincount(which, minlength=bins)
        # One pseudo-observation of the mean keeps an empty bin from claiming certainty.
        return cls(prior, None, (hits + drafted.mean()) / (counts + 1))

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`."""
        if self.stream is not None:
            return self._score(self._read(evidence, self.stream))
        share = self.share[0]
        if len(self.share) > 1:
            bins = len(self.share)
            share = self.share[np.minimum((evidence.coin() * bins).astype(int), bins - 1)]
        draft, target = self._read(evidence, Stream.DRAFT), self._read(evidence, Stream.TARGET)
        return self._score(_mixture(share, draft, target))

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        return self._law.log_sf(round((statistic - count * self._lattice[0]) / self._lattice[1]), count)

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return count * self._lattice[0] + self._law.threshold(math.log(fpr), count) * self._lattice[1]

    @cached_property
    def _edges(self) -> np.ndarray:
        """Of the bins of E, which are narrow where E is small: there the watermark shows."""
        return np.geomspace(1e-9, 40.0, 2048 if self.stream else 300)

    @cached_property
    def _ratios(self) -> np.ndarray:
        """log f in every bin of E, of which there is one below the first edge and one above the last."""
        first, last = self._edges[0], self._edges[-1]
        middle = np.sqrt(self._edges[:-1] * self._edges[1:])
        return self.prior.log_ratio(np.exp(-np.concatenate([[first / 2], middle, [last]])))

    def _read(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        race = -np.log(evidence.uniform(stream))
        return self._ratios[np.searchsorted(self._edges, race, side="right")]

    @cached_property
    def _lattice(self) -> tuple[float, float]:
        """The smallest score, and the step between scores."""
        low = max(float(self._ratios.min()), _LEAST_SCORE)
        return low, (float(self._ratios.max()) - low) / (_SCORES - 1) or 1.0

    def _place(self, score: np.ndarray) -> np.ndarray:
        """Which score of the lattice is nearest, from 0 on."""
        low, step = self._lattice
        return np.rint((np.maximum(score, low) - low) / step)

    def _score(self, score: np.ndarray) -> np.ndarray:
        return self._lattice[0] + self._place(score) * self._lattice[1]

    @cached_property
    def _law(self) -> LatticeSum:
        """Of the place of a score."""
        weight = -np.diff(np.exp(-np.concatenate([[0.0], self._edges, [np.inf]])))
        if self.stream is not None:
            return LatticeSum(self._place(self._ratios), weight, points=None)
        pairs = (weight[:, None] * weight).ravel()
        places = [self._place(_mixture(s, self._ratios[:, None], self._ratios)).ravel() for s in self.share]
        return LatticeSum(np.concatenate(places), np.tile(pairs, len(self.share)), points=None)


def _mixture(share: float | np.ndarray, draft: np.ndarray, target: np.ndarray) -> np.ndarray:
    """log(share exp(draft) + (1 - share) exp(target))."""
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(share) + draft, np.log1p(-share) + target)


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} must be in [0, 1]: the share of tokens that are accepted drafts")
