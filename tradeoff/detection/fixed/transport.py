"""Detectors of transport watermarks (Tsur et al.): sums over tokens, from ranks and from scores.

Without a watermark the rank of f(v, s) in the row of v is uniform on k values, whatever the row. So scores of
ranks have one law for every text and every key, which sums of f have not: for those see
`tradeoff.detection.fixed.row_sums`. With a watermark, log-normal or gamma scores and k = 1,024, the rank of a
token of probability p has nearly the law of the uniform of a token that wins a race, u^(1/p - 1) / p.
Derivation: docs/theory/detection.md and docs/theory/transport.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache, singledispatch
from typing import ClassVar

import numpy as np
from scipy import special

from tradeoff.decoders import Transport
from tradeoff.detection.bets.gumbel import race_log_bets
from tradeoff.detection.choice import detector_of
from tradeoff.detection.detector import Detector, Exactness, Readings, score_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.lattice import LatticeDetector, check_streams, log_ratio
from tradeoff.keyed import Stream
from tradeoff.optimal_transport import Scores

__all__ = ["AuthorsTest", "RankRatio", "detector_of_scores", "rank_log_bets"]


def rank_log_bets(rank: np.ndarray, k: int) -> np.ndarray:
    """Bets that a token of probability p won a race, on its rank in 0 .. k-1: `[...] -> [..., bets]`.

    `race_log_bets` at (rank + 1/2) / k, made to have mean 1 over the k ranks.
    """
    return _rank_bets(k)[rank]


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
        check_streams(self.streams)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return score_readings(evidence, self.streams, self.scores)

    @property
    def lowest(self) -> int:
        """The score of the least rank."""
        return int(self.score_of.min())

    @property
    def law(self) -> np.ndarray:
        """All ranks are equally likely."""
        counts = np.bincount(self.score_of - self.lowest)
        return counts / counts.sum()

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `LatticeDetector.of_stream`."""
        return self.score_of[evidence.rank(stream, self.scores)]

    @cached_property
    def score_of(self) -> np.ndarray:
        """Scores by rank: [k], rising."""
        return log_ratio(_rank_bets(self.scores.k))


@dataclass(frozen=True)
class AuthorsTest:
    """The authors' z-test: sum f / sqrt(T), and (sum f - T/2) / sqrt(T/4) of fair bits, against a normal law.

    To compare with: it convicts more other texts than its level says. Log-normal scores have heavy tails: at
    T = 100 and 1e-3 it convicts 0.6%. Bits of a simplex code have a mean above 1/2, which long texts betray.

    Args:
        scores: of generation; binary, or random, with the moments that the authors presume.
        streams: those that drew tokens.

    Raises:
        ValueError: for other scores, or without streams.
    """

    scores: Scores
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "z-test"
    name: ClassVar[str] = "z-test"
    exactness: ClassVar[Exactness] = Exactness.APPROXIMATE
    null: ClassVar[str] = "approximate: normal, too small p-values"

    def __post_init__(self) -> None:
        check_streams(self.streams)
        if self.scores.presumed is None:
            raise ValueError(f"scores={self.scores.name!r} are none of the authors' test; use SimplexSum")

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return score_readings(evidence, self.streams, self.scores)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: scores in standard deviations."""
        assert self.scores.presumed is not None
        mean, deviation = self.scores.presumed
        total = np.sum([evidence.score(stream, self.scores) for stream in self.streams], axis=0, dtype=float)
        return (total - mean * len(self.streams)) / deviation

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        return float(special.log_ndtr(-statistic / math.sqrt(count * len(self.streams))))

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return float(-special.ndtri(fpr) * math.sqrt(count * len(self.streams)))


@singledispatch
def detector_of_scores(scores: Scores, streams: tuple[Stream, ...]) -> Detector:
    """The detector of a transport under some scores: register that of your own with their type."""
    return RankRatio(scores, streams)


@detector_of.register
def _(decoder: Transport, streams: tuple[Stream, ...]) -> Detector:
    return detector_of_scores(decoder.scores, streams)


@lru_cache(maxsize=8)
def _rank_bets(k: int) -> np.ndarray:
    """[k, bets]."""
    logs = race_log_bets((np.arange(k) + 0.5) / k)
    return logs - special.logsumexp(logs, axis=0) + math.log(k)
