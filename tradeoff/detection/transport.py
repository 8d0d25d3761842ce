"""Detectors of SimplexWater and HeavyWater (Tsur et al.): sums over tokens, from ranks and from scores.

Without a watermark the side information s of a token is uniform on k values and independent of the text, of
the key's table of scores and of the s of other tokens: every context counts once. Two things follow.

- The row of a token in a simplex code has the same composition for every token, so that its score has one
  law, whichever tokens repeat. Its mean is 2^(r-1) / (2^r - 1), since no word is the zero word: more than
  the 1/2 that the authors' test takes.
- Rows of random scores differ, but the rank of f(v, s) in the row of v is uniform on k values, whatever the
  row. Scores of ranks thus have one law for every text and every key, which sums of f have not: for those see
  `tradeoff.detection.table`.

Score laws of ranks are nearly free of the table, and of the law that it was drawn from: with k = 1,024 and
transport to log-normal or gamma scores, the rank of a token of probability p is close to u^(1/p - 1) / p, the
law of the uniform of a token that wins a race. (With Gumbel scores and k -> infinity it is that law: the
transport is a race, Theorem 3.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np
from scipy import special

from tradeoff.detection.bets import race_log_bets
from tradeoff.detection.detector import Exactness, Readings, score_readings, uniform_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.synthid import WeightedMeanBits, bits_law
from tradeoff.detection.tails import LatticeSum
from tradeoff.prf import Stream
from tradeoff.scores import RandomScores, Scores, SimplexScores

__all__ = [
    "TILTS",
    "AuthorsTest",
    "CompletedSum",
    "LatticeDetector",
    "RankRatio",
    "SimplexSum",
    "rank_log_bets",
    "value_log_bets",
]

#: Exponential tilts of a score from 0 to 1. With l = 2 atanh(2 D) a bet on fair bits is best at the gap D.
TILTS = (0.04, 0.1, 0.2, 0.4, 0.85, 1.7, 3.7)
#: What the likelihood ratio of ranks takes to be the share of tokens that tell nothing.
_SILENT = 0.7
#: Units of the likelihood ratio in a nat. Beside a race a unit of weighted bits counts 40 and one of a
#: simplex score 600: by the power on simulated text, which is flat around them.
_UNITS, _BIT_UNITS, _VALUE_UNITS = 1000, 40, 600
#: Values to which the uniforms of races are rounded.
_RACE_RANKS = 4096


def rank_log_bets(rank: np.ndarray, k: int) -> np.ndarray:
    """Bets that a token of probability p won a race, on its rank in 0 .. k-1: `[...] -> [..., bets]`.

    `race_log_bets` at (rank + 1/2) / k, made to have mean 1 over the k ranks.
    """
    return _rank_bets(k)[rank]


def value_log_bets(scores: SimplexScores, score: np.ndarray) -> np.ndarray:
    """Bets on whole scores f: exp(l f/(q-1)) over its mean, for every l of `TILTS`: `[...] -> [..., bets]`.

    In binary these are all likelihood ratios (theta/mu)^f ((1-theta)/(1-mu))^(1-f) with theta > mu.
    """
    return _value_bets(scores)[np.rint(score).astype(np.int64)]


class LatticeDetector:
    """A detector whose scores are whole numbers, with one exact law for every token and stream.

    Attributes:
        id, name: as of `Detector`.
        streams: those that drew tokens.
        law: probabilities [m] of the scores lowest, lowest + 1, ... of one token under one stream.
        lowest: the least score.
    """

    id: ClassVar[str]
    name: ClassVar[str]
    streams: tuple[Stream, ...]
    null: ClassVar[str] = "exact: lattice convolution"
    exactness: ClassVar[Exactness] = Exactness.EXACT

    @property
    def lowest(self) -> int:
        raise NotImplementedError

    @property
    def law(self) -> np.ndarray:
        raise NotImplementedError

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """Scores of the tokens under one stream: [t] whole numbers."""
        raise NotImplementedError

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        raise NotImplementedError

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: whole numbers."""
        return np.sum([self.of_stream(evidence, stream) for stream in self.streams], axis=0, dtype=float)

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        return self._sum.log_sf(statistic, count * len(self.streams))

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return self._sum.threshold(math.log(fpr), count * len(self.streams))

    @cached_property
    def _sum(self) -> LatticeSum:
        law = self.law
        return LatticeSum(self.lowest + np.arange(len(law)), law, points=None)


@dataclass(frozen=True)
class SimplexSum(LatticeDetector):
    """sum f of SimplexWater over tokens and streams; binomial in binary, with the true mean.

    Args:
        scores: of generation.
        streams: those that drew tokens.

    Raises:
        ValueError: without streams.
    """

    scores: SimplexScores
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "sum-of-scores"
    name: ClassVar[str] = "sum of scores"

    def __post_init__(self) -> None:
        _check_streams(self.streams)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return score_readings(evidence, self.streams, self.scores)

    @property
    def lowest(self) -> int:
        """0."""
        return 0

    @property
    def law(self) -> np.ndarray:
        """Every nonzero value comes q^(r-1) times in a row, 0 once less."""
        return _composition(self.scores)

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `LatticeDetector.of_stream`."""
        return np.rint(evidence.score(stream, self.scores))


@dataclass(frozen=True)
class RankRatio(LatticeDetector):
    """The likelihood ratio of ranks, in thousandths of a nat, over tokens and streams.

    log(0.7 + 0.3 mean_p h_p(rank)), h_p the bets of `rank_log_bets`: seven tokens in ten are taken to be
    certain. Rounded, so that its law is a lattice's. On simulated text of eight laws from (.99, .01) to a
    Zipf law, for log-normal and gamma scores and levels 1e-2 to 1e-6, it has about the power of the best of
    -log(1 - rank/k), f and u^8 and at times more, where each of these is far behind at some law: f, the
    authors' statistic, at (.9, .1) and above, -log(1 - rank/k) where a token in ten or fewer tells anything.

    Args:
        scores: of generation.
        streams: those that drew tokens.

    Raises:
        ValueError: without streams.
    """

    scores: Scores
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "rank-ratio"
    name: ClassVar[str] = "likelihood ratio of ranks"

    def __post_init__(self) -> None:
        _check_streams(self.streams)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return score_readings(evidence, self.streams, self.scores)

    @property
    def lowest(self) -> int:
        """The score of the least rank."""
        return int(self._score_of.min())

    @property
    def law(self) -> np.ndarray:
        """All ranks are equally likely."""
        counts = np.bincount(self._score_of - self.lowest)
        return counts / counts.sum()

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `LatticeDetector.of_stream`."""
        return self._score_of[evidence.rank(stream, self.scores)]

    @cached_property
    def _score_of(self) -> np.ndarray:
        """By rank: [k], rising."""
        return _log_ratio(_rank_bets(self.scores.k))


@dataclass(frozen=True)
class CompletedSum(LatticeDetector):
    """A completed watermark's own statistic plus that of its race: independent without a watermark.

    In thousandths of a nat. The race is read as `RankRatio` reads ranks, its rank being floor(4096 U).

    How much it says depends on what the decoder left to it. After transport by Sinkhorn's iterations, and
    after few rounds of SynthID, that is as much as the own statistic says: at (.9, .1), 100 tokens and level
    0.01, HeavyWater's ranks have the power .29, its race .26 and the two together .54. An exact transport
    leaves nothing but the tokens outside its head, which are rare, or most of a text of high entropy: reading
    the race as mostly silent (0.95) costs less than .01 of the power there is, and where two in five tokens
    are outside brings it from .50 to .80.

    Args:
        inner: the scores of a transport decoder, or m, the rounds of SynthID.
        streams: those that drew tokens.
        silent: the share of tokens whose race is taken to tell nothing.

    Raises:
        ValueError: without streams, or for a share that is no probability inside (0, 1).
    """

    inner: Scores | int
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    silent: float = _SILENT
    id: ClassVar[str] = "completed-sum"
    name: ClassVar[str] = "own statistic and race"

    def __post_init__(self) -> None:
        _check_streams(self.streams)
        if not 0 < self.silent < 1:
            raise ValueError(f"silent={self.silent} must be inside (0, 1); {_SILENT} is usual")

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`: the race."""
        return uniform_readings(evidence, self.streams)

    @property
    def lowest(self) -> int:
        """The least score."""
        return self._laws[0]

    @property
    def law(self) -> np.ndarray:
        """The convolution of both."""
        return self._laws[1]

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `LatticeDetector.of_stream`."""
        if isinstance(self.inner, int):
            own = _BIT_UNITS * WeightedMeanBits(self.inner, (stream,)).contributions(evidence)
        elif isinstance(self.inner, SimplexScores):
            own = _VALUE_UNITS * np.rint(evidence.score(stream, self.inner))
        else:
            own = RankRatio(self.inner, (stream,)).of_stream(evidence, stream)
        return own + self._race_score_of[(evidence.uniform(stream) * _RACE_RANKS).astype(np.int64)]

    @cached_property
    def _race_score_of(self) -> np.ndarray:
        return _log_ratio(_rank_bets(_RACE_RANKS), self.silent)

    @cached_property
    def _laws(self) -> tuple[int, np.ndarray]:
        if isinstance(self.inner, int):
            lowest, own = 0, _spread(bits_law(self.inner), _BIT_UNITS)
        elif isinstance(self.inner, SimplexScores):
            lowest, own = 0, _spread(_composition(self.inner), _VALUE_UNITS)
        else:
            ranks = RankRatio(self.inner)
            lowest, own = ranks.lowest, ranks.law
        least = int(self._race_score_of.min())
        race = np.bincount(self._race_score_of - least) / _RACE_RANKS
        return lowest + least, np.convolve(own, race)


@dataclass(frozen=True)
class AuthorsTest:
    """The authors' z-test: sum f / sqrt(T), and (sum f - T/2) / sqrt(T/4) of fair bits, against a normal law.

    To compare with: it convicts more other texts than its level says. Log-normal scores have heavy tails: at
    T = 100 and 1e-3 it convicts 0.6%. Bits of a simplex code have a mean above 1/2, which long texts betray.

    Args:
        scores: of generation; binary, or random.
        streams: those that drew tokens.

    Raises:
        ValueError: for other scores, or without streams.
    """

    scores: SimplexScores | RandomScores
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "z-test"
    name: ClassVar[str] = "z-test"
    exactness: ClassVar[Exactness] = Exactness.APPROXIMATE
    null: ClassVar[str] = "approximate: normal, too small p-values"

    def __post_init__(self) -> None:
        _check_streams(self.streams)
        if isinstance(self.scores, SimplexScores) and self.scores.q != 2:
            raise ValueError(f"scores have q={self.scores.q}; the authors' test is for q=2, use SimplexSum")

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return score_readings(evidence, self.streams, self.scores)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: scores in standard deviations."""
        total = np.sum([evidence.score(stream, self.scores) for stream in self.streams], axis=0, dtype=float)
        return 2 * total - len(self.streams) if isinstance(self.scores, SimplexScores) else total

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        return float(special.log_ndtr(-statistic / math.sqrt(count * len(self.streams))))

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return float(-special.ndtri(fpr) * math.sqrt(count * len(self.streams)))


def _log_ratio(log_bets: np.ndarray, silent: float = _SILENT) -> np.ndarray:
    """log(silent + (1 - silent) mean e) of bets [m, bets], in units: [m] whole numbers."""
    ratio = np.exp(log_bets).mean(axis=-1)
    return np.rint(_UNITS * np.log(silent + (1 - silent) * ratio)).astype(np.int64)


def _spread(law: np.ndarray, unit: int) -> np.ndarray:
    """The law of `unit` times what has the law [m] on 0 .. m-1."""
    spread = np.zeros(unit * (len(law) - 1) + 1)
    spread[::unit] = law
    return spread


@lru_cache(maxsize=8)
def _rank_bets(k: int) -> np.ndarray:
    """[k, bets]."""
    logs = race_log_bets((np.arange(k) + 0.5) / k)
    return logs - special.logsumexp(logs, axis=0) + math.log(k)


@lru_cache(maxsize=8)
def _value_bets(scores: SimplexScores) -> np.ndarray:
    """[q, bets]."""
    law = _composition(scores)
    logs = np.arange(scores.q)[:, None] / (scores.q - 1) * np.array(TILTS)
    return logs - special.logsumexp(logs, b=law[:, None], axis=0)


def _composition(scores: SimplexScores) -> np.ndarray:
    """The law of a score without a watermark: [q]."""
    counts = np.full(scores.q, float(scores.q ** (scores.r - 1)))
    counts[0] -= 1
    return counts / scores.k


def _check_streams(streams: tuple[Stream, ...]) -> None:
    if not streams:
        raise ValueError("streams must name at least one stream that drew tokens")
