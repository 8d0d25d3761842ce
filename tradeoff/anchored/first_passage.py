"""How long a test supermartingale takes to reach 1/alpha: first passage of a random walk.

With one anchor p0 and one target q, log E_t of a watermarked text is a random walk S_t whose steps X have the
mean J > 0. For tau the first t with S_t >= b = log(1/alpha), and R_b = S_tau - b the overshoot,

    E tau = (b + E R_b) / J,        E R_b -> rho = E X^2 / (2 E X) - sum_k E max(-S_k, 0) / k

(Theorem 4.3 of "Anchored E-Watermarking"; Wald, Spitzer). Where steps of few values come near that limit
slowly, E tau is computed for any b from the law of the walk that has not yet arrived. Derivation:
docs/theory/e-values.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tradeoff.anchored.coupling import maximal_coupling
from tradeoff.anchored.e_values import log_anchored_matrix

__all__ = ["Walk"]

#: Different values of a step that the exact laws count: their states are counts of all but one.
_MOST_VALUES = 3
#: Mass that exact sums may leave out.
_NEGLIGIBLE = 1e-14
_RARE = -math.log(_NEGLIGIBLE / 10)
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Walk:
    """A random walk with independent steps of finitely many values and positive mean.

    Args:
        values, chances: [k] the values of a step, nats, and their probabilities.

    Raises:
        ValueError: if the mean is not positive: the walk might never arrive.
    """

    values: np.ndarray
    chances: np.ndarray

    def __post_init__(self) -> None:
        if not self.mean > 0:
            raise ValueError(
                f"the mean step is {self.mean:.4g} nats, and must be positive for the walk to arrive; "
                "use an anchor closer to the target, fewer buckets, or another eps"
            )

    @classmethod
    def anchored(cls, p0: Any, q: Any, eps: float) -> Walk:
        """The walk of e* for anchor p0 [n], target q [n] (validated by the caller) and `eps`."""
        p0, q = np.asarray(p0, dtype=float), np.asarray(q, dtype=float)
        w = maximal_coupling(q, p0)
        values, index = np.unique(log_anchored_matrix(p0, eps)[w > 0].round(13), return_inverse=True)
        return cls(values, np.bincount(index, weights=w[w > 0]))

    @cached_property
    def mean(self) -> float:
        """J, nats a step."""
        return float(self.values @ self.chances)

    @cached_property
    def variance(self) -> float:
        """Of a step."""
        return float((self.values - self.mean) ** 2 @ self.chances)

    @cached_property
    def limiting_overshoot(self) -> float:
        """rho, the limit of E R_b for large b, nats.

        Raises:
            ValueError: for steps of more than three values.
        """
        total = (self.mean**2 + self.variance) / (2 * self.mean)
        for k, (height, law) in enumerate(self._laws(math.inf), 1):
            below = float((law * np.maximum(-height, 0.0)).sum())
            total -= below / k
            # E max(-S_k, 0) falls geometrically, once it falls: its rate is that of Chernoff's bound.
            if below < _NEGLIGIBLE and k * self.mean > abs(self.values).max():
                break
        return total

    def mean_passage(self, level: float) -> float:
        """E tau for the level b, exactly but for rounding: sum_t P(tau > t).

        Args:
            level: b = log(1/alpha) > 0, nats.

        Raises:
            ValueError: for a level that is not positive, or steps of more than three values.
        """
        if not level > 0:
            raise ValueError(f"level={level} must be positive: log(1/alpha) for a level alpha below 1")
        total = 1.0
        for _, law in self._laws(level):
            alive = float(law.sum())
            total += alive
            if alive < _NEGLIGIBLE:
                break
        return total

    def passages(self, levels: Any, paths: int, rng: np.random.Generator) -> np.ndarray:
        """Simulated tau for every level on the same paths: [levels] ascending -> [paths, levels] steps."""
        levels = np.asarray(levels, dtype=float)
        edges = np.cumsum(self.chances)[:-1]
        block = 256
        parts = []
        for first in range(0, paths, _BLOCK // block):
            rows = min(_BLOCK // block, paths - first)
            below = np.zeros((rows, len(levels)), dtype=np.int64)
            height, highest = np.zeros(rows), np.full(rows, -np.inf)
            while float(highest.min()) < levels[-1]:
                steps = self.values[np.searchsorted(edges, rng.random((rows, block)), side="right")]
                path = height[:, None] + np.cumsum(steps, axis=1)
                height = path[:, -1]
                running = np.maximum(np.maximum.accumulate(path, axis=1), highest[:, None])
                highest = running[:, -1]
                # A time counts towards every level that has not been reached by then.
                reached = np.searchsorted(levels, running, side="right")
                cells = reached + (len(levels) + 1) * np.arange(rows)[:, None]
                counts = np.bincount(cells.ravel(), minlength=rows * (len(levels) + 1))
                below += np.cumsum(counts.reshape(rows, -1), axis=1)[:, :-1]
            parts.append(below + 1)
        return np.concatenate(parts)

    def _laws(self, level: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """After 1, 2, ... steps: heights below `level` and the mass there of walks that were never above.

        A state counts how often each value but the most probable was taken, [c + 1, c' + 1].
        """
        if len(self.values) > _MOST_VALUES:
            raise ValueError(
                f"the steps take {len(self.values)} values; exact laws are for {_MOST_VALUES} (two tokens), "
                "simulate others with `passages`"
            )
        order = np.argsort(-self.chances)
        value, chance = self.values[order], self.chances[order]
        value, chance = (np.append(x, np.zeros(_MOST_VALUES - len(x))) for x in (value, chance))
        law = np.ones((1, 1))
        for t in itertools.count(1):
            # Counts beyond these have no mass that matters (Bernstein's inequality).
            most = [min(t, int(t * c + math.sqrt(2 * t * c * _RARE) + _RARE)) for c in chance[1:]]
            grown = np.zeros([m + 1 for m in most])
            for j, k, c in ((0, 0, chance[0]), (1, 0, chance[1]), (0, 1, chance[2])):
                part = law[: grown.shape[0] - j, : grown.shape[1] - k]
                grown[j : j + part.shape[0], k : k + part.shape[1]] += c * part
            first, second = np.ogrid[: grown.shape[0], : grown.shape[1]]
            height = value[0] * (t - first - second) + value[1] * first + value[2] * second
            # Rounding must not decide about a height that is the level itself.
            law = np.where(height < level - 1e-12, grown, 0.0)
            yield height, law
