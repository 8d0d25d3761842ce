"""A fixed-length test that owns the draft model: how many tokens are the seeds that the key drew?

As SEAL and its kin do, it compares the tokens of a text with those that the draft model would have proposed
under the key (`tradeoff.detection.AnchorReading`). Without a watermark the seed hits token v with probability
p0(v), independently given the past and whatever v is, so the law of any weighted number of hits is known
exactly given the text. A hit weighs log(1 + 1/p0) and a miss nothing: up to a constant the log-likelihood
ratio against a text half of whose tokens are their seeds. Derivation: docs/theory/detection.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tradeoff.detection.sequential import SequentialResult, bonferroni
from tradeoff.detection.with_models.draft_aware import AnchorReading, check_masses

__all__ = ["SeedHits", "weighted_hits_log_sf"]

#: Weights are whole multiples of 1/_LATTICE nats, so that the law of their sum is on a lattice of its own.
_LATTICE = 10
#: Below this probability tokens weigh no more: it bounds the lattice.
_LEAST_MASS = 1e-6
#: Added to every tail: more than sums of probabilities lose where they fall below the smallest float.
_LEAST_TAIL = 1e-300
#: Below this the ends of a law are cut off; what they hold is added to every tail.
_LEAST_CELL = 1e-308


@dataclass(frozen=True)
class SeedHits:
    """Weighted number of tokens that are their seeds, with exact p-values for every length.

    Args:
        values: vocabulary size.
    """

    values: int
    name: str = field(default="draft-aware hits", init=False)

    def log_p(self, reading: AnchorReading) -> np.ndarray:
        """log p-values of the first 1, 2, ... tokens that count, each for that length alone: [t].

        Raises:
            ValueError: as `AnchorReading.token_hits`.
        """
        mass = reading.token_mass
        weights = np.rint(_LATTICE * np.log1p(1 / np.maximum(mass, _LEAST_MASS))).astype(int)
        return weighted_hits_log_sf(mass, reading.token_hits(self.values), weights)

    def over_time(self, reading: AnchorReading) -> SequentialResult:
        """The test looked at after every token, paid for by Bonferroni's inequality."""
        return bonferroni(self.name, self.log_p(reading), reading.index)


def weighted_hits_log_sf(chances: np.ndarray, hits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """log P(S_k >= s_k) for k = 1 ... t, where S_k is a weighted number of hits and s_k the one observed.

    The law of S_k follows from that of S_(k-1) by one convolution with two points, and sums of products of
    probabilities lose no digits however small they are: tails are right down to 1e-290, and too large by up
    to 1e-300 below. Cells of less than 1e-308 at its ends count as if they were in every tail and are kept no
    longer, so that the law is about as wide as its sum spreads.

    Args:
        chances: [t] probabilities of independent hits, in [0, 1].
        hits: [t] whether there was one.
        weights: [t] integers >= 0; all 1 for the Poisson-binomial law.

    Raises:
        ValueError: for a chance that is no probability, a weight that is no integer >= 0, or other lengths.
    """
    chances, hits, weights = check_masses("chances", chances), np.asarray(hits), np.asarray(weights)
    if not len(chances) == len(hits) == len(weights):
        raise ValueError(
            f"chances, hits and weights are of {len(chances)}, {len(hits)} and {len(weights)} tokens; pass "
            "one of each a token"
        )
    if len(weights) and (weights.dtype.kind not in "iu" or weights.min() < 0):
        least = f"hold {weights.min()}" if weights.dtype.kind in "iuf" else f"are {weights.dtype}"
        raise ValueError(f"weights {least}; pass whole numbers >= 0, as integers")
    # law[i] is P(S_k = first + i), but for what was cut off.
    law, first, lost, reached = np.ones(1), 0, 0.0, 0
    log_sf = np.zeros(len(hits))
    for k, (chance, hit, weight) in enumerate(zip(chances, hits, map(int, weights), strict=True)):
        grown = np.zeros(len(law) + weight)
        grown[: len(law)] = (1 - chance) * law
        grown[weight:] += chance * law
        kept = np.flatnonzero(grown >= _LEAST_CELL)
        low, high = kept[0], kept[-1] + 1
        lost += grown[:low].sum() + grown[high:].sum()
        law, first = grown[low:high], first + low
        reached += weight if hit else 0
        log_sf[k] = np.log(law[max(reached - first, 0) :].sum() + lost + _LEAST_TAIL)
    return np.minimum(log_sf, 0.0)
