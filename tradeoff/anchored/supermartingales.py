"""Test supermartingales: products of e-values, in log space, and what may be concluded from them.

E_t = prod_{s<=t} e_s, where e_s >= 0 has conditional mean at most 1 under the null given the past. Ville's
inequality (Theorem 2.4 of "Anchored E-Watermarking"; proof: docs/theory/e-values.md):

    P_H0(sup_t E_t >= 1/alpha) <= alpha,

so min(1, 1/max_{s<=t} E_s) is a p-value at every time t, and at any stopping time, planned or not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tradeoff.laws import distribution

__all__ = ["EProcess", "first_crossing", "log_mixture", "log_p_values"]


def log_p_values(log_wealth: Any) -> np.ndarray:
    """Anytime-valid p-values min(1, 1/max_{s<=t} E_s): log E [..., T] -> log p [..., T].

    By Ville's inequality P_H0(there is a t with p_t <= alpha) <= alpha, so a reader may stop whenever.

    Raises:
        ValueError: if `log_wealth` has no time axis, NaN, or +inf.
    """
    running = np.maximum.accumulate(_log_values("log_wealth", log_wealth), axis=-1)
    # 0 less what was won, which is never -0.0.
    return 0.0 - np.maximum(running, 0.0)


def first_crossing(log_wealth: Any, alpha: Any) -> np.ndarray:
    """tau = the first t >= 1 with E_t >= 1/alpha: log E [..., T] -> [...] float64, inf where there is none.

    Args:
        log_wealth: log E_1 .. log E_T, [..., T].
        alpha: level in (0, 1), a number.

    Raises:
        ValueError: for a bad level, or as `log_p_values`.
    """
    reached = _log_values("log_wealth", log_wealth) >= -math.log(_check_alpha(alpha))
    # Counted, because there is no argmax where T = 0.
    before = (~np.logical_or.accumulate(reached, axis=-1)).sum(axis=-1)
    return np.where(reached.any(axis=-1), before + 1.0, np.inf)


def log_mixture(log_values: Any, weights: Any) -> np.ndarray:
    """log sum_k w_k E_k over the last axis: [..., k] -> [...].

    A mixture of e-values is an e-value, and of test supermartingales (their products, not their factors) a
    test supermartingale: at most log(1/w_k) nats behind the best of them.

    Args:
        log_values: log E of every part, [..., k]; -inf is a part that has lost everything.
        weights: [k] or [..., k], distributions.

    Raises:
        ValueError: for values that are NaN or +inf.
        DistributionError: for bad weights.
    """
    values = _log_values("log_values", log_values)
    weights = np.asarray(distribution(np.asarray(weights), "weights"))
    if weights.shape[-1] != values.shape[-1]:
        raise ValueError(
            f"log_values has {values.shape[-1]} parts and weights has {weights.shape[-1]}; give one weight "
            "for each part of the last axis"
        )
    with np.errstate(divide="ignore"):
        terms = values + np.log(weights)
        top = terms.max(axis=-1, keepdims=True)
        shift = np.where(np.isfinite(top), top, 0.0)
        return np.asarray(np.log(np.exp(terms - shift).sum(axis=-1)) + shift[..., 0])


class EProcess:
    """The product of conditional e-values, fed token by token, for a batch [...] of texts.

    Each factor must have conditional mean at most 1 under the null, given the past; then E_t is a test
    supermartingale with E_0 = 1, and by Ville's inequality P_H0(sup_t E_t >= 1/alpha) <= alpha: watching it
    at every token, and stopping when one likes, costs nothing.

    Args:
        alpha: the level at which crossings are recorded, in (0, 1).
        shape: of the batch; () for one text.

    Attributes:
        alpha: the level.
        steps: factors so far.
        log_value: log E_t, [...].
        log_maximum: max of log E_s over 0 <= s <= t, [...]; at least 0.
        crossed_at: the first t with E_t >= 1/alpha, [...] float64; inf where there is none so far.

    Raises:
        ValueError: for a bad level.
    """

    def __init__(self, alpha: float, shape: tuple[int, ...] = ()):
        self.alpha = _check_alpha(alpha)
        self.steps = 0
        self.log_value = np.zeros(shape)
        self.log_maximum = np.zeros(shape)
        self.crossed_at = np.full(shape, np.inf)

    @property
    def log_p(self) -> np.ndarray:
        """log of the anytime-valid p-value min(1, 1/max_s E_s), [...]."""
        return 0.0 - self.log_maximum

    @property
    def crossed(self) -> np.ndarray:
        """Whether E has reached 1/alpha at any time, [...] booleans."""
        return np.isfinite(self.crossed_at)

    def feed(self, log_e: Any) -> np.ndarray:
        """Multiply by one factor a text, log_e [...], or by T of them in order, [..., T].

        A token that carries no evidence (a repeated context) has log e = 0. A text that ends before others of
        its batch is fed zeros.

        Returns:
            log E after each factor, [...] or [..., T].

        Raises:
            ValueError: for another shape, or factors that are NaN or +inf.
        """
        log_e = np.asarray(log_e, dtype=float)
        shape = self.log_value.shape
        one = log_e.shape == shape
        if not one and log_e.shape[:-1] != shape:
            raise ValueError(
                f"log_e has shape {log_e.shape}; feed {shape} for one token a text, or {(*shape, 'T')} for T"
            )
        log_e = _log_values("log_e", log_e[..., None] if one else log_e)
        path = self.log_value[..., None] + np.cumsum(log_e, axis=-1)
        if path.shape[-1]:
            self.crossed_at = np.minimum(self.crossed_at, first_crossing(path, self.alpha) + self.steps)
            self.log_maximum = np.maximum(self.log_maximum, path.max(axis=-1))
            self.log_value = path[..., -1]
            self.steps += path.shape[-1]
        return path[..., 0] if one else path


def _check_alpha(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha} must be a level inside (0, 1); 0.01 is usual")
    return float(alpha)


def _log_values(name: str, values: Any) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim == 0:
        raise ValueError(f"{name} is a single number ({float(values)}); pass an array [..., T]")
    # -inf is a lost bet. +inf would be evidence without bound, and turn into NaN at the next lost one.
    bad = np.isnan(values) | (values == np.inf)
    if bool(bad.any()):
        raise ValueError(
            f"{name} holds {values[bad][0]:g}; logarithms of e-values are finite, or -inf after a lost bet"
        )
    return values
