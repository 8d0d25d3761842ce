"""Tail probabilities of sums of independent scores, in logarithms: right down to 1e-300 and below.

Sums on a lattice are convolved under an exponential tilt, weighted sums of two Gamma variables come from
their transform: docs/theory/detection.md.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
from scipy import fft, optimize, special

__all__ = [
    "SCORE_POINTS",
    "SCORE_RANGE",
    "LatticeSum",
    "binomial_log_sf",
    "gamma_log_sf",
    "gamma_log_sfs",
    "score_lattice",
    "score_middles",
    "weighted_log_sfs",
    "weighted_threshold",
]

#: Points that scores -log(1 - U) are rounded to, in steps of 0.03 up to the highest, which has probability
#: below 1e-15 for tokens that win a race with a probability above 1e-9.
SCORE_POINTS, SCORE_RANGE = 2048, 56.0

#: Half-width, in standard deviations, of the window in which a tilted sum is computed: the mass outside is
#: below 1e-30 of the probability asked for.
_WINDOW = 12.0
#: Of smaller probabilities SciPy's digits are lost.
_UNDERFLOWS = 1e-250
#: Step and reach of the trapezoidal rule along the path of `weighted_log_sfs`, and the least bend of the path
#: in its own units: of the error rounding is left.
_PATH_STEP, _PATH_REACH, _LEAST_BEND = 0.08, 8.0, 0.3
#: Halvings of the bracket of the point where that path begins.
_HALVINGS = 50
#: Sums whose paths are in memory at a time.
_PATHS = 1024
#: Sums that are smaller differ from 0 by no digit of a probability.
_NOTHING = 1e-30
#: Fourier coefficients of a tilted sum that are smaller change no digit of its law.
_VANISHED = 1e-40


def gamma_log_sf(x: float, shape: int) -> float:
    """log P(Gamma(shape, 1) >= x), natural logarithm, for a whole number `shape` >= 0.

    P is the probability that a Poisson process of rate 1 has fewer than `shape` points in [0, x]:
    exp(-x) sum_{k < shape} x^k / k!, whose logarithm never underflows. Shape 0 is the point mass at 0.
    """
    if x <= 0:
        return 0.0
    if shape == 0:
        return -math.inf
    if (tail := float(special.gammaincc(shape, x))) > _UNDERFLOWS:
        return math.log(tail)
    # Terms rise up to k = x; those further from the largest than this are below 1e-30 of it.
    largest, reach = min(x, shape - 1), _WINDOW * math.sqrt(x) + 100
    k = np.arange(max(0, math.floor(largest - reach)), min(shape, math.ceil(largest + reach)))
    return min(0.0, float(special.logsumexp(k * math.log(x) - special.gammaln(k + 1)) - x))


def gamma_log_sfs(x: np.ndarray, shape: int) -> np.ndarray:
    """`gamma_log_sf` of many x: [k] to [k]."""
    tail = special.gammaincc(shape, np.maximum(x, 0.0))
    tiny = tail <= _UNDERFLOWS
    log_sf = np.log(np.where(tiny, 1.0, tail))
    log_sf[tiny] = [gamma_log_sf(one, shape) for one in x[tiny].tolist()]
    return log_sf


def weighted_log_sfs(x: np.ndarray, shape: int, first: float, second: float) -> np.ndarray:
    """log P(first G + second G' >= x), natural, for independent G, G' ~ Gamma(shape, 1): [k] to [k].

    Bromwich's integral of the transform (1 - first s)^-shape (1 - second s)^-shape, along a path through its
    saddle point that bends around the poles, by the trapezoidal rule, whose error falls geometrically there.
    The size of the probability is a factor in front: docs/theory/detection.md.

    Args:
        x: [k] sums.
        shape: a whole number, at least 1.
        first, second: weights, both above 0.
    """
    parts = [x[i : i + _PATHS] for i in range(0, len(x), _PATHS)]
    found = [_along_paths(np.maximum(part, _NOTHING), shape, first, second) for part in parts]
    return np.where(x > 0, np.minimum(np.concatenate([np.zeros(0), *found]), 0.0), 0.0)


def _along_paths(x: np.ndarray, shape: int, first: float, second: float) -> np.ndarray:
    """`weighted_log_sfs` of x > 0."""
    # Above the mean the path passes between 0 and the other poles and gives the tail; below it passes to the
    # left of 0 and gives what is left of 1.
    above = x >= shape * (first + second)
    low = np.where(above, 0.0, -(2 * shape + 1) / x)
    high = np.where(above, 1 / max(first, second), 0.0)
    for _ in range(_HALVINGS):
        s = (low + high) / 2
        rising = shape * (first / (1 - first * s) + second / (1 - second * s)) - 1 / s > x
        low, high = np.where(rising, low, s), np.where(rising, s, high)
    s = (low + high) / 2
    tilted = [weight / (1 - weight * s) for weight in (first, second)]
    curvature = shape * sum(one**2 for one in tilted) + s**-2
    skew = 2 * (shape * sum(one**3 for one in tilted) - s**-3)
    # Along the path s + bend (cosh w - 1) + i across sinh w the integrand falls from w = 0 as a Gaussian at
    # first, and doubly exponentially in the end. Its other half is the conjugate of this one.
    across = curvature**-0.5
    bend = np.maximum(skew * across**4 / 3, _LEAST_BEND * across)
    w = np.arange(_PATH_STEP / 2, _PATH_REACH, _PATH_STEP)
    moved = bend[:, None] * (np.cosh(w) - 1) + 1j * across[:, None] * np.sinh(w)
    slope = bend[:, None] * np.sinh(w) + 1j * across[:, None] * np.cosh(w)
    logs = -shape * sum(np.log1p(-one[:, None] * moved) for one in tilted)
    logs = logs - np.log1p(moved / s[:, None]) - x[:, None] * moved
    integral = (np.exp(logs) * slope).imag.sum(axis=1) * (_PATH_STEP / math.pi)
    size = -shape * (np.log1p(-first * s) + np.log1p(-second * s)) - np.log(np.abs(s)) - x * s
    tail = np.log(integral) + size
    return np.where(above, tail, np.log1p(-np.exp(np.where(above, -1.0, tail))))


def weighted_threshold(fpr: float, shape: int, first: float, second: float) -> float:
    """The x at which `weighted_log_sfs` is log `fpr`, for `fpr` in (0, 1)."""
    # Between the sums of which both weights are the smaller, or the larger.
    middle, goal = float(special.gammainccinv(2 * shape, fpr)), math.log(fpr)
    ends = (0.99 * min(first, second) * middle, 1.01 * max(first, second) * middle)
    return float(
        optimize.brentq(
            lambda x: float(weighted_log_sfs(np.array([x]), shape, first, second)[0]) - goal,
            *ends,
            rtol=1e-14,
        )
    )


def binomial_log_sf(successes: int, trials: int) -> float:
    """log P(Binomial(trials, 1/2) >= successes), natural logarithm."""
    if successes <= 0:
        return 0.0
    if successes > trials:
        return -math.inf
    k = np.arange(successes, trials + 1)
    logs = special.gammaln(trials + 1) - special.gammaln(k + 1) - special.gammaln(trials - k + 1)
    return min(0.0, float(special.logsumexp(logs) - trials * math.log(2)))


class LatticeSum:
    """The law of S_n = X_1 + ... + X_n for independent copies of a discrete X, far into its upper tail.

    X is put on a lattice of `points` points, every value shared between its two neighbours so that the
    mean stays (an exact lattice law is not changed). The n-fold convolution is computed by fast Fourier
    transform under the exponential tilt that moves the mean of S_n to the value asked for, so that the
    probability is a sum of the largest terms there are, whatever its size.

    Args:
        values: [k] values of X.
        weights: [k] their probabilities, any positive multiple.
        points: size of the lattice; None for integer values, which are their own lattice.

    Raises:
        ValueError: for weights that are negative or all zero, or values that are not finite.
    """

    def __init__(self, values: np.ndarray, weights: np.ndarray, points: int | None = 2048):
        values, weights = np.asarray(values, float), np.asarray(weights, float)
        if not np.isfinite(values).all() or (weights < 0).any() or not weights.sum() > 0:
            raise ValueError("values must be finite and weights >= 0 with a positive sum")
        low, high = float(values.min()), float(values.max())
        # A continuous law has half of what rounds to a lattice point below it.
        self._shift = 0.0 if points is None else 0.5
        if points is None:
            self._step, points = 1.0, round(high - low) + 1
        else:
            self._step = (high - low) / (points - 1) or 1.0
        place = (values - low) / self._step
        left = np.minimum(np.floor(place + 1e-9).astype(int), points - 1)
        share = np.clip(place - left, 0.0, 1.0)
        pmf = np.bincount(left, weights * (1 - share), points)
        pmf += np.bincount(np.minimum(left + 1, points - 1), weights * share, points)
        self._low, self._pmf = low, pmf / pmf.sum()
        with np.errstate(divide="ignore"):
            self._log_pmf = np.log(self._pmf)
        self._support = np.arange(points) * self._step + low
        self.mean = float(self._pmf @ self._support)
        self._cached = lru_cache(maxsize=4096)(self._at)
        # A search for a threshold asks for the tilt of every point twice.
        self._tilt = lru_cache(maxsize=16)(self._tilt_of)

    def log_sf(self, total: float, count: int) -> float:
        """log P(S_count >= total), natural logarithm; between lattice points by interpolation."""
        if count == 0:
            return 0.0 if total <= 0 else -math.inf
        place = (total - count * self._low) / self._step + self._shift
        below = math.floor(place + 1e-9)
        share = max(0.0, place - below)
        first = self._cached(below, count)
        if share < 1e-6 or first == -math.inf:
            return first
        second = self._cached(below + 1, count)
        return first if second == -math.inf else (1 - share) * first + share * second

    def threshold(self, log_p: float, count: int) -> float:
        """The smallest total whose log_sf is at most `log_p`, to a lattice step."""
        low, high = 0, count * (len(self._pmf) - 1) + 1
        place = (self.mean - self._low) * count / self._step
        spread = math.sqrt(float(self._pmf @ (self._support - self.mean) ** 2) * count) / self._step
        # First where a normal law would have it; then by Newton's method, as log P falls by the tilt a unit.
        guess = round(place + spread * math.sqrt(max(-2 * log_p - 2, 0.0)))
        for attempt in itertools.count():
            if high - low <= 1:
                break
            k = min(max(guess, low + 1), high - 1)
            value = self._cached(k, count)
            if value <= log_p:
                high = k
            else:
                low = k
            slope = self._tilt(self._low + k * self._step / count) * self._step
            if attempt < 10 and slope > 0 and value > -math.inf:
                guess = k + math.ceil((value - log_p) / slope)
            else:
                guess = (low + high) // 2
        return count * self._low + (high - self._shift) * self._step

    def _cumulant(self, theta: float) -> tuple[float, float]:
        """log E exp(theta X) and its derivative."""
        logs = self._log_pmf + theta * self._support
        most = float(logs.max())
        weights = np.exp(logs - most)
        total = float(weights.sum())
        return most + math.log(total), float(weights @ self._support) / total

    def _tilt_of(self, mean: float) -> float:
        """The theta >= 0 whose tilted mean is `mean`."""
        if mean <= self.mean:
            return 0.0
        high = 1.0
        while self._cumulant(high)[1] < mean:
            high *= 2
            if high * self._step > 700:
                return high
        return float(optimize.brentq(lambda t: self._cumulant(t)[1] - mean, 0.0, high, xtol=1e-10))

    def _at(self, k: int, count: int) -> float:
        """log P(S >= the k-th lattice point)."""
        top = count * (len(self._pmf) - 1)
        if k <= 0:
            return 0.0
        if k > top:
            return -math.inf
        theta = self._tilt(self._low + k * self._step / count)
        log_total, mean = self._cumulant(theta)
        tilted = np.exp(self._log_pmf + theta * self._support - log_total)
        deviation = math.sqrt(max(float(tilted @ (self._support - mean) ** 2), 0.0) * count) / self._step
        # A tilted sum lies within the window around its mean; whatever lies outside wraps around.
        reach = math.ceil(_WINDOW * deviation) + 2 + abs(round(count * (mean - self._low) / self._step) - k)
        size = fft.next_fast_len(min(2 * reach + len(tilted), top + 1), real=True)
        folded = np.bincount(np.arange(len(tilted)) % size, tilted, size)
        spectrum = fft.rfft(folded)
        # Of long sums nearly all of it vanishes, and complex powers would take most of the time.
        kept = np.abs(spectrum) > _VANISHED ** (1 / count)
        spectrum[~kept] = 0.0
        spectrum[kept] **= count
        law = fft.irfft(spectrum, size)
        ahead = np.arange(min(reach + 1, top - k + 1, size))
        terms = np.maximum(law[(k + ahead) % size], 0.0)
        total = float(terms @ np.exp(-theta * self._step * ahead))
        if total <= 0:
            return -math.inf
        exponent = count * log_total - theta * (count * self._low + k * self._step)
        return min(0.0, math.log(total) + exponent)


def score_middles() -> np.ndarray:
    """Between the points that scores are rounded to: [SCORE_POINTS - 1]."""
    return (np.arange(SCORE_POINTS - 1) + 0.5) * (SCORE_RANGE / (SCORE_POINTS - 1))


def score_lattice(mass: np.ndarray, mean: float, variance: float) -> LatticeSum:
    """The law of a score, or of a sum of two, that was rounded to the points of `score_middles`.

    Rounding widens a law by a twelfth of a squared step, and moves its mean a little as scores begin at 0.
    Over many tokens that would add up: the lattice is shifted and shrunk so that mean and variance are right.

    Args:
        mass: of every point, from 0 on, any positive multiple, [points].
        mean, variance: of the law before it was rounded.
    """
    mass = mass / mass.sum()
    lattice = np.arange(len(mass)) * (SCORE_RANGE / (SCORE_POINTS - 1))
    rounded = mass @ lattice
    scale = math.sqrt(variance / (mass @ (lattice - rounded) ** 2))
    return LatticeSum(mean + (lattice - rounded) * scale, mass, len(mass))
