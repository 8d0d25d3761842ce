"""Joint laws of two degenerate draws, target's and draft's: exact ones in O(n) numbers, and samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tradeoff.decoders import (
    Decoder,
    DegenerateDecoder,
    GumbelMax,
    draw_antithetic,
    race_potential,
    shares_randomness,
)

__all__ = ["ExactPairs", "SampledPairs", "exact_pairs", "sample_pairs"]


@dataclass(frozen=True)
class ExactPairs:
    """Exact joint law of two degenerate draws, in O(n) numbers.

    pi_ij = P_i Q_j (row_i - column_j)_+ for i != j. The race has row = column = F(r); two independent
    draws have row = 1, column = 0.

    Attributes:
        diagonal: pi_ii, [n].
        row, column: [n].
    """

    diagonal: np.ndarray
    row: np.ndarray
    column: np.ndarray

    @classmethod
    def race(cls, p: np.ndarray, q: np.ndarray) -> ExactPairs:
        """One race shared by both draws (Gumbel-max on both sides)."""
        diagonal, potential = race_potential(p, q)
        return cls(diagonal, potential, potential)

    @classmethod
    def independent(cls, p: np.ndarray, q: np.ndarray) -> ExactPairs:
        """Two draws that share no pseudorandomness."""
        return cls(p * q, np.ones_like(p), np.zeros_like(q))


@dataclass(frozen=True)
class SampledPairs:
    """A sample from the joint law of two degenerate draws, in antithetic pairs.

    Attributes:
        target, draft: token ids, [pairs, 2]; the two columns come from a seed and its antithesis.
    """

    target: np.ndarray
    draft: np.ndarray

    def frequencies(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How often each of n tokens is drawn by both decoders, by the target's and by the draft's."""
        same = self.target[self.target == self.draft]
        counts = (np.bincount(ids.ravel(), minlength=n) for ids in (same, self.target, self.draft))
        both, target, draft = (count / self.target.size for count in counts)
        return both, target, draft


def sample_pairs(
    p: np.ndarray,
    q: np.ndarray,
    target: DegenerateDecoder,
    draft: DegenerateDecoder,
    *,
    seeds: int,
    rng: np.random.Generator,
    batch_bytes: int = 1 << 26,
) -> SampledPairs:
    """Draw `seeds` pairs (argmax S(P, zeta), argmax S(Q, zeta)) with zeta shared.

    Memory stays below a few times `batch_bytes` whatever the number of seeds.
    """
    n = p.shape[-1]
    pairs = (seeds + 1) // 2
    batch = max(1, batch_bytes // (8 * n))
    chosen: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, pairs, batch):
        size = min(batch, pairs - start)
        both = []
        for zeta in draw_antithetic(target, rng, (size,), n):
            both.append((target.token(p, zeta), draft.token(q, zeta)))
        chosen.append((np.stack([i for i, _ in both], axis=-1), np.stack([j for _, j in both], axis=-1)))
    return SampledPairs(np.concatenate([i for i, _ in chosen]), np.concatenate([j for _, j in chosen]))


def exact_pairs(p: np.ndarray, q: np.ndarray, target: Decoder, draft: Decoder) -> ExactPairs | None:
    """The exact joint law of both draws where there is one: Gumbel-max on both sides, or any two
    degenerate unbiased decoders that share no randomness. None otherwise."""
    if not (target.degenerate and draft.degenerate and target.unbiased and draft.unbiased):
        return None
    if not shares_randomness(target, draft):
        return ExactPairs.independent(p, q)
    if GumbelMax() == target == draft:
        return ExactPairs.race(p, q)
    return None
