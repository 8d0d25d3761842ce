"""A setting: P, Q, a decoder for each side, and the joint law of what the two decoders draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tradeoff._arrays import to_numpy
from tradeoff.curves.measures import sampling_efficiency
from tradeoff.curves.monte_carlo import DEFAULT_SEEDS, check_seeds, pair_mean
from tradeoff.curves.pairs import ExactPairs, SampledPairs, exact_pairs, sample_pairs
from tradeoff.decoders import Decoder, GumbelMax, is_degenerate
from tradeoff.estimate import Estimate
from tradeoff.laws import acceptance_probability, distribution_pair, excess

__all__ = ["Setting"]


@dataclass(frozen=True, eq=False)
class Setting:
    """P, Q, a decoder for each side, and how to estimate what has no closed form.

    Args:
        p, q: target and draft distributions, [n]; anything `tradeoff.laws.distribution` accepts.
        target, draft: decoders; they share zeta if they read the same kind of it.
        seeds, seed: number of Monte Carlo seeds, and the seed of their generator.

    Raises:
        DistributionError: if p or q is not a distribution, or they differ in length.
        ValueError: if they are batched, or a decoder, seeds or seed cannot be used.
    """

    p: np.ndarray
    q: np.ndarray
    target: Decoder = field(default_factory=GumbelMax)
    draft: Decoder = field(default_factory=GumbelMax)
    seeds: int = DEFAULT_SEEDS
    seed: int = 0

    def __post_init__(self) -> None:
        p, q = distribution_pair(self.p, self.q)
        if p.ndim != 1 or q.ndim != 1:
            raise ValueError(
                f"P and Q have shapes {tuple(p.shape)} and {tuple(q.shape)}; a curve is drawn for one "
                "pair of distributions [n], loop over the batch"
            )
        check_seeds(self.seeds)
        if not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise ValueError(f"seed={self.seed} must be a whole number of at least 0")
        for name in ("target", "draft"):
            if not isinstance(getattr(self, name), Decoder):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is not a decoder; pass one of tradeoff.decoders, "
                    "such as GumbelMax()"
                )
            decoder: Decoder = getattr(self, name)
            if decoder.degenerate and not decoder.unbiased:
                raise ValueError(
                    f"{name}={decoder.name!r} is a biased decoder of point masses, whose draws do not have "
                    "the laws that the curves of classes go by; use tradeoff.curves.decompose and "
                    "tradeoff.efficiency"
                )
        object.__setattr__(self, "p", to_numpy(p))
        object.__setattr__(self, "q", to_numpy(q))

    @cached_property
    def accept(self) -> np.ndarray:
        """a = min(1, P/Q): [n]."""
        return acceptance_probability(self.p, self.q)

    @cached_property
    def residual(self) -> np.ndarray:
        """(P-Q)_+: [n], zeros where P = Q (it is then never drawn from)."""
        return excess(self.p, self.q, empty="zero")

    @cached_property
    def pairs(self) -> ExactPairs | SampledPairs | None:
        """The joint law of both draws, if both decoders are degenerate."""
        exact = exact_pairs(self.p, self.q, self.target, self.draft)
        if exact is None and is_degenerate(self.target) and is_degenerate(self.draft):
            rng = np.random.default_rng(self.seed)
            return sample_pairs(self.p, self.q, self.target, self.draft, seeds=self.seeds, rng=rng)
        return exact

    @cached_property
    def agreement(self) -> Estimate:
        """SE of both decoders fully on: sum_i pi_ii for degenerate ones."""
        if isinstance(self.pairs, SampledPairs):
            same = self.diagonal_mean(np.ones((1, len(self.p))))
            return Estimate(float(same.value[0]), float(same.standard_error[0]))
        return sampling_efficiency(self.p, self.q, self.target, self.draft, seeds=self.seeds, rng=self.seed)

    @property
    def decoders(self) -> str:
        """Names of the decoders, for legends."""
        if self.target == self.draft:
            return self.target.name
        return f"{self.target.name} on target, {self.draft.name} on draft"

    def diagonal_mean(self, gain: np.ndarray) -> Estimate:
        """sum_i pi_ii gain_i with its standard error, for gain [points, n] and degenerate decoders."""
        if isinstance(self.pairs, SampledPairs):
            return pair_mean(self.pairs, self.p, self.q, lambda i, j: (gain[:, i] * (i == j)).T)
        assert self.pairs is not None
        value = gain @ self.pairs.diagonal
        return Estimate(value, np.zeros_like(value))
