"""Acceptance by a martingale: a probability that moves with bits as they are revealed, and keeps its mean.

It starts at a = min(1, P_j/Q_j). Every layer of the joint tournament moves it twice: up where the bit of the
draft token is 1, and up where that of its replacement is 0. So the draft token is accepted with probability
a, and rather where its bits are ones: docs/theory/joint-tournament.md. In NumPy: many small steps.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.special.cython_special import ndtr, ndtri

from tradeoff.kernels.damped_tournament import Layers, Path, draft_bit, replacement_bit, tilt

__all__ = [
    "Forecast",
    "Steps",
    "expected_mass",
    "forecast",
    "last_target",
    "of_draft_alone",
    "steps",
    "target",
    "walked",
]

#: Where a mass is looked up: logits of -30, -30 + 1/8, ..., 30.
_LOGITS = np.linspace(-30.0, 30.0, 481)
_LEAST_GAIN = 0.02
#: A probability nearer to 0 or 1 stays where it is: so do its mean, and all digits.
_EDGE = 1e-12
#: Bits are never taken to be more certain than that, as rounding would divide by nothing.
_SURE = 1e-15
#: So many rows take longer as arrays than one by one as plain numbers.
_FEW = 32


class Forecast(NamedTuple):
    """What a token's bits are expected to do, by the logit of its mass x, in a tournament that it wins.

    There a bit is 1 with probability 1/2 + (1-x)/4, and moves x to x (1 + (1-x)/2), else to x (1 - (1-x)/2).
    M and W below are the mean and the variance of the ones in so many layers.

    Attributes:
        gain: 1 + M(x up) - M(x down), at least 0.02, with L = 0 .. m-1 layers still to come: [m, logits].
        variance: W with L = 0 .. m layers still to come, [m + 1, logits].
    """

    gain: np.ndarray
    variance: np.ndarray


class Steps(NamedTuple):
    """Every step of the probability: [rows, 2 m], the draft token's and the replacement's in turn.

    With g the probability that it goes up, delta how much further the sum of ones is expected to come out
    then, and V the variance of what is still to come:

    Attributes:
        good: g.
        happened: whether it goes up.
        rise: delta (1 - g) / sqrt(V); 0 in the last step, behind which nothing is to come.
        fall: delta g / sqrt(V); likewise.
    """

    good: np.ndarray
    happened: np.ndarray
    rise: np.ndarray
    fall: np.ndarray


@lru_cache(maxsize=8)
def forecast(rounds: int) -> Forecast:
    """The tables for tournaments of m rounds."""
    x = special.expit(_LOGITS)
    rest = special.expit(-_LOGITS)
    likely = 0.5 + rest / 4
    up = _LOGITS + np.log1p(rest / 2) - np.log1p(-x / 2)
    down = _LOGITS + np.log1p(-rest / 2) - np.log1p(x / 2)
    mean, variance, gains, variances = np.zeros_like(x), np.zeros_like(x), [], [np.zeros_like(x)]
    for _ in range(rounds):
        mean_up, mean_down = np.interp(up, _LOGITS, mean), np.interp(down, _LOGITS, mean)
        gain = 1 + mean_up - mean_down
        variance = (
            likely * (1 - likely) * gain**2
            + likely * np.interp(up, _LOGITS, variance)
            + (1 - likely) * np.interp(down, _LOGITS, variance)
        )
        mean = likely * (1 + mean_up) + (1 - likely) * mean_down
        gains.append(np.maximum(gain, _LEAST_GAIN))
        variances.append(variance)
    return Forecast(np.stack(gains), np.stack(variances))


def expected_mass(mass: np.ndarray, bit: np.ndarray) -> np.ndarray:
    """q_j (1 + (1 - q_j)(b - 1/2)): the mass expected after a layer, given nothing of it but b.

    The mass that comes out has seen the bits of all tokens, the replacement's among them, and would tell.
    """
    return mass * tilt(mass, bit)


def steps(path: Path, layers: Layers, tables: Forecast) -> Steps:
    """The steps of the layers, whose arrays are NumPy's, [rows, m]."""
    m = layers.bit.shape[-1]
    left = m - 1 - np.arange(m)
    draft, residual = _Place.of(layers.mass), _Place.of(path.mass)
    moved = _Place.of(expected_mass(layers.mass, layers.bit))
    gain = _in_turn(draft.look(tables.gain, left), residual.look(tables.gain, left))
    variance = _in_turn(
        draft.look(tables.variance, left) + residual.look(tables.variance, left + 1),
        residual.look(tables.variance, left) + moved.look(tables.variance, left),
    )
    variance[:, -1] = np.inf
    reach = gain / np.sqrt(variance)
    good = _in_turn(draft_bit(layers.mass), 1 - replacement_bit(path, layers))
    good = np.clip(good, _SURE, 1 - _SURE)
    return Steps(good, _in_turn(layers.bit > 0, path.bit == 0), reach * (1 - good), reach * good)


def of_draft_alone(moves: Steps, rows: np.ndarray) -> Steps:
    """`moves` without the replacement's steps in some of the rows, which have no residual: certainties move
    nothing.

    Args:
        rows: [rows] booleans.
    """
    if not rows.any():
        return moves
    good, happened, rise, fall = (part.copy() for part in moves)
    for part, idle in ((good, 1 - _SURE), (happened, True), (rise, 0.0), (fall, 0.0)):
        part[rows, 1::2] = idle
    return Steps(good, happened, rise, fall)


def walked(start: np.ndarray, moves: Steps) -> np.ndarray:
    """Where the probability ends, [rows]: its mean given j and k is `start: [rows]`."""
    if len(start) <= _FEW:
        rows = (Steps(*(part[row].tolist() for part in moves)) for row in range(len(start)))
        return np.array([_walked_alone(p, row) for p, row in zip(start.tolist(), rows, strict=True)])
    p, last = start, moves.good.shape[-1] - 1
    for step, now in enumerate(map(Steps, *(part.T for part in moves))):
        moved = target(p, now) if step < last else last_target(p, now)
        p = np.where((p > _EDGE) & (p < 1 - _EDGE), moved, p)
    return p


def _walked_alone(p: float, moves: Steps) -> float:
    """`walked` for one row, whose steps are lists: the same operations, so the same to the last digit."""
    last = len(moves.good) - 1
    for step, (good, happened, rise, fall) in enumerate(zip(*moves, strict=True)):
        if not _EDGE < p < 1 - _EDGE:
            return p
        if step == last:
            up = min(p / good, 1.0)
            return up if happened else min(max((p - good * up) / (1 - good), 0.0), 1.0)
        threshold = ndtri(p) * math.sqrt(1 + rise * fall)
        up, down = ndtr(threshold + rise), ndtr(threshold - fall)
        mean, aim = down + good * (up - down), up if happened else down
        p = aim * (p / mean) if mean > p else 1 - (1 - aim) * ((1 - p) / (1 - mean))
    return p


def target(p: np.ndarray, now: Steps) -> np.ndarray:
    """Where p: [rows] goes in a step: u if it goes up, else d, with g u + (1 - g) d = p.

    As if what is still to come were normal: j is accepted where a sum comes out above a threshold, and p is
    the probability of that.
    """
    p = np.minimum(np.maximum(p, _EDGE), 1 - _EDGE)
    threshold = special.ndtri(p) * np.sqrt(1 + now.rise * now.fall)
    up, down = special.ndtr(threshold + now.rise), special.ndtr(threshold - now.fall)
    mean = down + now.good * (up - down)
    aim = np.where(now.happened, up, down)
    # Scaled on the side where nothing is lost: 1 - u has all its digits where u is near 1.
    high = mean > p
    ratio = np.where(high, p, 1 - p) / np.where(high, mean, 1 - mean)
    return np.where(high, aim * ratio, 1 - (1 - aim) * ratio)


def last_target(p: np.ndarray, now: Steps) -> np.ndarray:
    """The same for the last step, behind which nothing is open: u and d as far apart as can be."""
    up = np.minimum(p / now.good, 1.0)
    return np.where(now.happened, up, np.clip((p - now.good * up) / (1 - now.good), 0.0, 1.0))


class _Place(NamedTuple):
    """Where masses [rows, m] lie between the columns of a table."""

    column: np.ndarray
    beyond: np.ndarray

    @classmethod
    def of(cls, mass: np.ndarray) -> _Place:
        logit = special.logit(np.clip(mass, 1e-300, 1 - 2.0**-53))
        place = np.interp(logit, _LOGITS, np.arange(len(_LOGITS)))
        column = np.minimum(place.astype(np.int64), len(_LOGITS) - 2)
        return cls(column, place - column)

    def look(self, table: np.ndarray, row: np.ndarray) -> np.ndarray:
        """The table in row `row: [m]`, between its columns."""
        return (1 - self.beyond) * table[row, self.column] + self.beyond * table[row, self.column + 1]


def _in_turn(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[rows, m] twice, as [rows, 2 m]."""
    return np.stack([first, second], axis=-1).reshape(len(first), -1)
