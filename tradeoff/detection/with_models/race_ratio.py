"""The likelihood-ratio test on race scores: of a detector that can run the models, but not to the last digit.

Where both laws are known but roughly (another number format, an unknown prompt), the token that the key
determines is not; but the law of the score s = -log(1 - U) at a token barely moves. With f its density under
the method, and an allowance epsilon for edits and positions whose law differs, its likelihood ratio is

    L = (1 - epsilon) f(s) / exp(-s) + epsilon.

Scores are read as the cell of a grid that they fall in, whose probabilities are known with and without the
watermark. Whatever the text and the laws, scores without the watermark are independent and Exp(1), so the
null law of the sum of log L is known exactly; its tail is estimated by exponential tilting. Derivation:
docs/theory/race-scores.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tradeoff.detection.detector import Score
from tradeoff.detection.race_scores import RaceScoreLaw, race_score_law
from tradeoff.detection.with_models.model_aware import (
    DRAWS,
    TiltedTail,
    check_allowance,
    tilt_to,
    tilted_tail,
)
from tradeoff.keyed import Stream

__all__ = ["RaceLawRatio", "emitted_score_laws"]

#: Cells that scores are read by, close together at 0, and where the last one begins.
_CELLS, _LAST = 256, 40.0


@dataclass(frozen=True)
class RaceLawRatio:
    """The test, given the law of the score at every position (`emitted_score_laws`).

    Args:
        epsilon: allowance in (0, 1): a guess of the share of tokens that the laws do not explain.
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        check_allowance(self.epsilon)

    def log_ratio(self, laws: Sequence[RaceScoreLaw]) -> np.ndarray:
        """log L of every cell at every position: [t, cells], at least log epsilon.

        Raises:
            ValueError: for laws of the sum over both streams.
        """
        edges, null = _cells()
        if not len(laws):
            return np.zeros((0, len(null)))
        tails = np.stack([law.sf(edges) for law in laws])
        marked = np.maximum(-np.diff(tails, axis=1, append=0.0), 0.0)
        return np.log((1 - self.epsilon) * marked / null + self.epsilon)

    def tail(self, ratios: np.ndarray, total: float, seed: int = 0) -> TiltedTail:
        """P(statistic >= total) without the watermark, with its relative error.

        Args:
            ratios: log L of every cell at every position, [t, cells].
            total: value of the statistic.
            seed: of the importance sampling.
        """
        least = ratios.min(axis=1)
        gain = ratios - least[:, None]
        needed, most = total - float(least.sum()), float(gain.max(axis=1).sum())
        tolerance = 1e-9 * max(1.0, abs(total))
        if needed <= tolerance:
            return TiltedTail(0.0, 0.0)
        if needed > most + tolerance:
            return TiltedTail(-math.inf, 0.0)
        log_null = np.log(_cells()[1])

        def tilted(theta: float) -> tuple[np.ndarray, float]:
            """Tilted probabilities of the cells, [t, cells], and log E exp(theta S)."""
            logs = log_null + theta * gain
            highest = logs.max(axis=1, keepdims=True)
            weights = np.exp(logs - highest)
            sums = weights.sum(axis=1, keepdims=True)
            return weights / sums, float((highest + np.log(sums)).sum())

        theta = tilt_to(needed, lambda t: float((tilted(t)[0] * gain).sum()), most)
        probability, log_total = tilted(theta)
        rng, sums = np.random.default_rng(seed), np.zeros(DRAWS)
        for shares, gains in zip(probability, gain, strict=True):
            # How many draws fall in every cell, and in which order: faster than one after the other.
            sums += rng.permutation(np.repeat(gains, rng.multinomial(DRAWS, shares)))
        return tilted_tail(sums, needed, theta, log_total)

    def test(
        self, laws: Sequence[RaceScoreLaw], scores: np.ndarray, index: np.ndarray | None = None
    ) -> Score:
        """The verdict on a text.

        Args:
            laws: of the score under the method, one a scored position; any others cost power, never the
                level, as long as they do not depend on the key.
            scores: [t] -log(1 - U) at the tokens, of the same stream as the laws.
            index: [t] positions in the text; 0 .. t - 1 if left out.

        Raises:
            ValueError: for other lengths, scores that are negative or no numbers, or laws of the sum over
                both streams.
        """
        scores = np.asarray(scores, float)
        if scores.shape != (len(laws),):
            raise ValueError(f"scores have shape {scores.shape}; pass one for each of the {len(laws)} laws")
        if not (scores >= 0).all():
            raise ValueError(f"scores hold {scores[~(scores >= 0)][0]}; pass -log(1 - U), at least 0")
        ratios = self.log_ratio(laws)
        cells = np.searchsorted(_cells()[0], scores, side="right") - 1
        each = ratios[np.arange(len(scores)), cells]
        statistic = float(each.sum())
        where = np.arange(len(scores)) if index is None else index
        log_p = self.tail(ratios, statistic).log_p
        return Score("race-law ratio", statistic, log_p, len(scores), where, each)


def emitted_score_laws(
    method: str,
    p: np.ndarray,
    q: np.ndarray | None,
    tokens: np.ndarray,
    stream: Stream | None = None,
) -> list[RaceScoreLaw]:
    """The law of the score at every token of a text, given that the method emitted that token.

    A token that the target never draws was not drawn by the method: it has the law without a watermark.

    Args:
        method, stream: as of `race_score_law`; of methods with two streams one must be named.
        p, q: laws of target and draft at the scored positions, [t, n]; `basic` does without q.
        tokens: [t] ids.

    Raises:
        ValueError: for an unknown method or stream, other lengths, or ids outside 0 .. n - 1.
        DistributionError: for what are no laws.
    """
    p, tokens = np.asarray(p), np.asarray(tokens)
    drafts = None if q is None else np.asarray(q)
    if p.ndim != 2 or tokens.shape != p.shape[:1] or (drafts is not None and drafts.shape != p.shape):
        other = "none" if drafts is None else drafts.shape
        raise ValueError(
            f"p, q and tokens have shapes {p.shape}, {other} and {tokens.shape}; pass [t, n], [t, n] and [t]"
        )
    if tokens.dtype.kind not in "iu" or not ((tokens >= 0) & (tokens < p.shape[1])).all():
        raise ValueError(f"tokens must hold ids from 0 to {p.shape[1] - 1}, as integers")
    laws = []
    for k, token in enumerate(map(int, tokens)):
        if p[k, token] > 0:
            draft = None if drafts is None else drafts[k]
            laws.append(race_score_law(method, p[k], draft, stream, token))
        else:
            laws.append(race_score_law("standard", p[k], p[k]))
    return laws


@lru_cache(maxsize=1)
def _cells() -> tuple[np.ndarray, np.ndarray]:
    """Where the cells begin, and their probabilities under Exp(1): [cells] each."""
    edges = 0.05 * np.expm1(np.linspace(0.0, math.log1p(_LAST / 0.05), _CELLS))
    return edges, np.exp(-edges) * -np.expm1(-np.diff(edges, append=np.inf))
