"""The detection gap of optimal transport: closed forms, tail integrals, and where heavy tails win.

Tsur et al., "HeavyWater and SimplexWater". D(P, f) = max E_pi f - E_{P x Unif} f over the couplings pi of P
and Unif[k] (`tradeoff.optimal_transport.solvers`). For two atoms, lambda on the heavy token i and 1 - lambda
on the light token j, it is the mean of Delta = f_j - f_i over its upper 1 - lambda, less
(1 - lambda) E Delta: `two_atom_gap` for binary scores (Proposition 1), and for iid scores and k -> infinity
`ScoreLaw.gap` (Theorem 4),

    D = E[Delta; Delta > q] = min_t E(Delta - t)_+ + (1 - lambda) t,    P(Delta > q) = 1 - lambda.

Over {P: max P <= lambda} two atoms are the worst: `worst_pair_gap`. Proofs: docs/theory/transport.md. Units:
of the score. Those of the score laws are standardised: mean 0, variance 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special

from tradeoff.estimate import Estimate
from tradeoff.laws import entropy
from tradeoff.optimal_transport.scores import SCORE_LAWS

__all__ = [
    "GUMBEL_DEVIATION",
    "LAWS",
    "ScoreLaw",
    "binary_gap",
    "crossing",
    "equal_weight_gap",
    "estimated_gap",
    "gumbel_sampling_gap",
    "gumbel_scores_gap",
    "pair_frequencies",
    "simplex_gap",
    "sorted_gap",
    "two_atom_gap",
    "worst_pair_gap",
    "zero_word_gap",
]

#: Standard deviation of Gumbel(0, 1).
GUMBEL_DEVIATION = math.pi / math.sqrt(6)
#: Trapezoidal rule in the normal quantile: its error falls as exp(-2 pi^2 / step) for integrands that are
#: analytic in a strip of half-width pi; beyond 8.2 deviations there is 2e-16 of the mass.
_Z = np.arange(-8.2, 8.2, 0.04)
_WEIGHT = 0.04 * np.exp(-(_Z**2) / 2) / math.sqrt(2 * math.pi)


def two_atom_gap(lam: Any, a: Any, b: Any) -> np.ndarray:
    """D of binary scores and two atoms: min{(1-l)(1+a-b), (1-l) a + l b, l (1-a+b)} (Proposition 1, derived).

    Args:
        lam: mass l of the heavy token, [...], in [1/2, 1].
        a, b: [...], the share of side information with (f_heavy, f_light) = (1, 0), and with (0, 1).

    Raises:
        ValueError: for `lam` outside [1/2, 1], negative shares, or shares that exceed 1 together.
    """
    lam, a, b = _heavy(lam), np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    least, most = float(np.min([a.min(), b.min()])), float((a + b).max())
    if not (least >= 0 and most <= 1 + 1e-12):
        raise ValueError(
            f"a and b have least value {least:g} and largest sum {most:g}; they are shares of disjoint sets, "
            "see pair_frequencies"
        )
    light = 1 - lam
    return np.minimum(np.minimum(light * (1 + a - b), light * a + lam * b), lam * (1 - a + b))


def equal_weight_gap(lam: Any, distance: Any, k: int) -> np.ndarray:
    """`two_atom_gap` of two words of k bits and equal weight at a Hamming distance: min(1-l, d/(2k)).

    Raises:
        ValueError: for `lam` outside [1/2, 1].
    """
    return np.minimum(1 - _heavy(lam), np.asarray(distance) / (2 * k))


def simplex_gap(lam: Any, k: int) -> np.ndarray:
    """The worst D of the simplex code without its zero word, where all pairs are alike: min(1-l, (k+1)/(4k)).

    Raises:
        ValueError: for `lam` outside [1/2, 1].
    """
    return equal_weight_gap(lam, (k + 1) / 2, k)


def zero_word_gap(lam: Any, m: int) -> np.ndarray:
    """The worst D of the simplex code of m = k + 1 words with its zero word: (1-l)(m-2)/(2(m-1)).

    The worst pair has the zero word on the heavy token, whose score is then always 0.

    Raises:
        ValueError: for `lam` outside [1/2, 1].
    """
    return (1 - _heavy(lam)) * (m - 2) / (2 * (m - 1))


def pair_frequencies(code: np.ndarray) -> np.ndarray:
    """a[..., i, j]: the share of side information with f_i > f_j, of codes [..., m, k]; b is a[..., j, i]."""
    return (code[..., :, None, :] > code[..., None, :, :]).mean(axis=-1)


def worst_pair_gap(lam: float, code: np.ndarray) -> np.ndarray:
    """min D over {P: max P <= lam} of binary codes [..., m, k], m >= 2: the least `two_atom_gap`, [...].

    Raises:
        ValueError: for `lam` outside [1/2, 1], or a code of fewer than two words.
    """
    m = code.shape[-2]
    if m < 2:
        raise ValueError(f"code has {m} words; D is that of two, so give at least 2 rows")
    a = pair_frequencies(code)
    gaps = two_atom_gap(lam, a, np.swapaxes(a, -1, -2))
    return gaps[..., ~np.eye(m, dtype=bool)].min(axis=-1)


def sorted_gap(lam: float, heavy: np.ndarray, light: np.ndarray) -> float:
    """D of any scores [k] of two atoms: the exact transport, which for two tokens takes a partial sort.

    Raises:
        ValueError: for `lam` outside [1/2, 1].
    """
    delta = light - heavy
    k = len(delta)
    share = float(1 - _heavy(lam)) * k
    whole = min(int(share), k - 1)
    upper = np.partition(delta, k - 1 - whole)[k - 1 - whole :]
    # The partition puts the value that is cut first, and behind it what lies above it.
    total = upper[1:].sum() + (share - whole) * upper[0]
    return float(total / k - share / k * delta.mean())


def estimated_gap(lam: float, heavy: np.ndarray, light: np.ndarray) -> Estimate:
    """`sorted_gap` of iid scores [k] as an estimate of the gap for k -> infinity.

    To first order it is the mean of (Delta - q)_+ - (1 - lam) Delta, from which its standard error is taken.

    Raises:
        ValueError: for `lam` outside [1/2, 1].
    """
    delta = light - heavy
    rank = min(int(lam * len(delta)), len(delta) - 1)
    part = np.maximum(delta - np.partition(delta, rank)[rank], 0.0) - (1 - lam) * delta
    return Estimate(sorted_gap(lam, heavy, light), float(part.std(ddof=1) / math.sqrt(len(delta))))


@dataclass(frozen=True)
class ScoreLaw:
    """A law of iid scores, by what the tail integral needs of it.

    Attributes:
        name: as in figures.
        mean, deviation: of the raw score, by which it is standardised.
        quantile: of the raw score, from U in (0, 1).
        excess: x -> E(X - x)_+, raw.
        survival: x -> P(X > x), raw.
    """

    name: str
    mean: float
    deviation: float
    quantile: Callable[[np.ndarray], np.ndarray]
    excess: Callable[[np.ndarray], np.ndarray]
    survival: Callable[[np.ndarray], np.ndarray]

    def exceedance(self, t: Any) -> np.ndarray:
        """P(Delta > t), t [...] >= 0, Delta the difference of two standardised scores."""
        return self._average(self.survival, t)

    def dual(self, t: Any) -> np.ndarray:
        """E(Delta - t)_+, t [...] >= 0."""
        return self._average(self.excess, t) / self.deviation

    def difference_quantile(self, lam: float) -> float:
        """q with P(Delta > q) = 1 - lam.

        Raises:
            ValueError: for `lam` outside [1/2, 1).
        """
        light = 1 - float(_heavy(lam))
        if light == 0:
            raise ValueError("lam=1 has no light token and no finite quantile; use lam < 1")
        if light >= 0.5:
            return 0.0
        top = 1.0
        while self.exceedance(top) > light:
            top *= 2
        return float(optimize.brentq(lambda t: float(self.exceedance(t)) - light, 0.0, top, xtol=1e-13))

    def tail_integral(self, t: Any) -> np.ndarray:
        """E[Delta; Delta > t], t [...] >= 0."""
        return self.dual(t) + np.asarray(t) * self.exceedance(t)

    def gap(self, lam: float) -> float:
        """D for two atoms, k -> infinity: the tail integral at the quantile (Theorem 4, derived).

        Raises:
            ValueError: for `lam` outside [1/2, 1).
        """
        q = self.difference_quantile(lam)
        return float(self.dual(q)) + (1 - lam) * q

    def _average(self, function: Callable[[np.ndarray], np.ndarray], t: Any) -> np.ndarray:
        """E function(X + t), t standardised and X raw."""
        x = self.quantile(special.ndtr(_Z))
        return (function(x + self.deviation * np.asarray(t, dtype=float)[..., None]) * _WEIGHT).sum(axis=-1)


def _gumbel_excess(x: np.ndarray) -> np.ndarray:
    # The integral of (1 - exp(-v))/v from 0 to exp(-x): by its series where the sum below cancels.
    v = np.exp(-x)
    return np.where(v < 1e-4, v - v**2 / 4 + v**3 / 18, special.exp1(v) - x + np.euler_gamma)


#: The four laws of `tradeoff.optimal_transport.scores` with densities; binary scores have `binary_gap`.
LAWS: dict[str, ScoreLaw] = {
    "gaussian": ScoreLaw(
        "Gaussian",
        0.0,
        1.0,
        SCORE_LAWS["gaussian"],
        lambda x: np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) - x * special.ndtr(-x),
        lambda x: special.ndtr(-x),
    ),
    "gumbel": ScoreLaw(
        "Gumbel",
        float(np.euler_gamma),
        GUMBEL_DEVIATION,
        SCORE_LAWS["gumbel"],
        _gumbel_excess,
        lambda x: -np.expm1(-np.exp(-x)),
    ),
    "lognormal": ScoreLaw(
        "log-normal(0, 1)",
        math.exp(0.5),
        math.sqrt(math.e * (math.e - 1)),
        SCORE_LAWS["lognormal"],
        lambda x: math.exp(0.5) * special.ndtr(1 - np.log(x)) - x * special.ndtr(-np.log(x)),
        lambda x: special.ndtr(-np.log(x)),
    ),
    "gamma": ScoreLaw(
        "gamma(0.2, 1)",
        0.2,
        math.sqrt(0.2),
        SCORE_LAWS["gamma"],
        lambda x: 0.2 * special.gammaincc(1.2, x) - x * special.gammaincc(0.2, x),
        lambda x: special.gammaincc(0.2, x),
    ),
}


def binary_gap(lam: Any) -> np.ndarray:
    """The tail integral of iid fair bits, and the limit of `simplex_gap`, in standard deviations of a bit.

    Delta is -2, 0 or 2 with probability 1/4, 1/2 and 1/4: D = min(2 (1-l), 1/2).

    Raises:
        ValueError: for `lam` outside [1/2, 1].
    """
    return np.minimum(2 * (1 - _heavy(lam)), 0.5)


def gumbel_scores_gap(p: Any) -> np.ndarray:
    """D of iid Gumbel scores and any law P [..., n], k -> infinity, in standard deviations (Theorem 3).

    The coupling is argmax(f + log P), the gap of the raw score H(P). P is trusted.
    """
    return np.asarray(entropy(np.asarray(p, dtype=float))) / GUMBEL_DEVIATION


def gumbel_sampling_gap(p: Any) -> np.ndarray:
    """E[-log(1 - U_X)] - 1 for X = argmin -log(U) / P: Gumbel-max as it is usually detected, P [..., n].

    This is not a transport problem: the sampler is the optimal coupling for the score -log(-log U) but the
    statistic is -log(1 - U) of the token's own uniform, Exp(1) without a watermark (mean and deviation 1).
    Given X = x, U_X has the law of U^P(x), so that the mean is the harmonic number psi(1 + 1/P(x)) - psi(1).
    P is trusted; tokens whose mass is not a normal number count as none.
    """
    p = np.asarray(p, dtype=float)
    inverse = np.divide(1.0, p, out=np.ones_like(p), where=p > 1e-300)
    return (p * (special.psi(1 + inverse) + np.euler_gamma)).sum(axis=-1) - 1


def crossing(
    first: Callable[[float], float], second: Callable[[float], float], low: float, high: float
) -> float:
    """The lambda in [low, high] at which two gaps are equal.

    Raises:
        ValueError: if the order of the two is the same at both ends.
    """

    def ahead(lam: float) -> float:
        return first(lam) - second(lam)

    if ahead(low) * ahead(high) > 0:
        raise ValueError(
            f"low={low:g} and high={high:g} see the same score ahead; choose a range in which they change "
            "places"
        )
    return float(optimize.brentq(ahead, low, high, xtol=1e-12))


def _heavy(lam: Any) -> np.ndarray:
    lam = np.asarray(lam, dtype=float)
    if not ((lam >= 0.5) & (lam <= 1)).all():
        raise ValueError(
            f"lam={np.extract(~((lam >= 0.5) & (lam <= 1)), lam)[0]:g} must lie in [1/2, 1]: "
            "it is the mass of the heavier of two tokens"
        )
    return lam
