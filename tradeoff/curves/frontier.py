"""Sampled trade-off curves, their non-dominated points and their concave hulls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from tradeoff.plotting import Figure

__all__ = ["Curve", "non_dominated", "upper_hull"]


@dataclass(frozen=True, eq=False, repr=False)
class Curve:
    """A sampled trade-off curve of one class; points in order of gamma.

    Attributes:
        name: class and decoders, for legends.
        gamma, theta: parameters of the target and the draft family, [points].
        efficiency, strength: [points]; strength in nats.
        efficiency_error, strength_error: standard errors, 0 where exact.

    Raises:
        ValueError: for numbers that are not finite.
    """

    name: str
    gamma: np.ndarray
    theta: np.ndarray
    efficiency: np.ndarray
    strength: np.ndarray
    efficiency_error: np.ndarray
    strength_error: np.ndarray

    def __post_init__(self) -> None:
        for what in ("efficiency", "strength", "efficiency_error", "strength_error"):
            values = np.asarray(getattr(self, what))
            if not np.isfinite(values).all():
                point = int(np.argmin(np.isfinite(values)))
                raise ValueError(
                    f"curve {self.name!r} has {what.replace('_', ' ')} {values[point]:g} at gamma = "
                    f"{self.gamma[point]:g}: its decoder gives no distributions there; use another one, or "
                    "other settings of it"
                )

    @property
    def frontier(self) -> np.ndarray:
        """Which points no other point of the curve dominates: [points] of bool."""
        return non_dominated(self.efficiency, self.strength)

    def plot(self) -> Figure:
        """The curve in the plane of efficiency and strength: its frontier in full, what it dominates pale."""
        from tradeoff.curves.drawing import draw_curve, style_axes
        from tradeoff.plotting import curve_look, new_figure

        figure, ((axes,),) = new_figure(size=(5.2, 4.2))
        draw_curve(axes, self, color=curve_look(self.name).color, label=self.name)
        style_axes(axes, self.name)
        return figure

    def __repr__(self) -> str:
        ends = (f"({self.efficiency[k]:.4g}, {self.strength[k]:.4g})" for k in (0, -1))
        return f"<Curve: {self.name}, {len(self.gamma)} points, (efficiency, nats) from {' to '.join(ends)}>"

    def _repr_html_(self) -> str:
        return str(self.table().to_html(index=False))

    def table(self) -> pd.DataFrame:
        """The curve as a table: one row a point, in order of gamma."""
        # pandas takes a quarter of a second to import, and most curves are only drawn or asked for numbers.
        import pandas as pd

        names = ("gamma", "theta", "efficiency", "strength", "frontier", "efficiency_error", "strength_error")
        return pd.DataFrame({name: getattr(self, name) for name in names})


def non_dominated(efficiency: np.ndarray, strength: np.ndarray, tolerance: float = 1e-12) -> np.ndarray:
    """The Pareto set: points such that no other is at least as good in both and better in one.

    Equal points are all kept.

    Args:
        efficiency, strength: [points].
        tolerance: differences below it are rounding, not dominance.

    Returns:
        [points] of bool.
    """
    gain = efficiency[:, None] - efficiency, strength[:, None] - strength
    no_worse = (gain[0] >= -tolerance) & (gain[1] >= -tolerance)
    better = (gain[0] > tolerance) | (gain[1] > tolerance)
    return ~np.any(no_worse & better, axis=0)


def upper_hull(efficiency: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Indices of the points on the upper concave hull, by rising efficiency: what time sharing between
    the points of a curve can reach."""
    order = np.lexsort((strength, efficiency))
    hull: list[int] = []
    for k in order:
        while hull and efficiency[hull[-1]] == efficiency[k]:
            hull.pop()
        while len(hull) > 1 and _turn(efficiency, strength, hull[-2], hull[-1], int(k)) >= 0:
            hull.pop()
        hull.append(int(k))
    return np.array(hull)


def _turn(x: np.ndarray, y: np.ndarray, a: int, b: int, c: int) -> float:
    return float((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]))
