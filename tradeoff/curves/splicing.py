"""Entropy of a spliced law: what Hu's and Google's classes leave random once both draws are known.

Given the draft token j and the target's token i, with a = a_j = min(1, P_j/Q_j), x = 1 - a and
c = 1 - gamma, the law P_zeta^gamma has mass c a on j, gamma on i and c x on the residual R = (P-Q)_+.
R_j = 0 whenever x > 0, so only i can coincide with a residual token. Below, f(m) = -m log m. The table of
entropies: docs/theory/trade-off.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from tradeoff.laws import entropy, plogp

__all__ = ["GoogleEntropy", "HuEntropy", "SplicedEntropy", "spliced_law"]

#: Above this many (i, j) cells the interior of Hu's class is summed by quadrature.
_DIRECT_CELLS = 1 << 16
_NODES = 32


def spliced_law(q_zeta: np.ndarray, accept: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Q_zeta∘A (Eq. 5 and 14): accepted draft mass stays, the rejected mass goes to the residual.

    Args:
        q_zeta: watermarked draft, [..., n].
        accept: min(1, P/Q), [n].
        rest: the residual's law, [n] or [..., n].

    Returns:
        [..., n].
    """
    kept = q_zeta * accept
    return kept + (1 - kept.sum(axis=-1, keepdims=True)) * rest


@dataclass(frozen=True)
class SplicedEntropy:
    """Entropy of P_zeta^gamma given the drawn pair; arrays broadcast against gamma: [points, 1]."""

    gamma: np.ndarray
    residual: np.ndarray

    def same(self, a: np.ndarray) -> np.ndarray:
        """i = j."""
        raise NotImplementedError

    def apart(self, a: np.ndarray, r: np.ndarray) -> np.ndarray:
        """i != j, with r = R_i."""
        raise NotImplementedError

    def block(self, u: np.ndarray, r: np.ndarray, v: np.ndarray, x: np.ndarray) -> np.ndarray:
        """sum_kl u_k v_l (apart(1 - x_l, r_k) - apart(1 - x_l, 0)): [points]."""
        raise NotImplementedError


class HuEntropy(SplicedEntropy):
    """The residual is truly random: it contributes all of R."""

    def same(self, a: np.ndarray) -> np.ndarray:
        c, x = 1 - self.gamma, 1 - a
        return _f(c * a + self.gamma) + _f(c * x) + c * x * entropy(self.residual)

    def apart(self, a: np.ndarray, r: np.ndarray) -> np.ndarray:
        c, x = 1 - self.gamma, 1 - a
        spread = _f(c * x) + c * x * entropy(self.residual)
        return _f(c * a) + spread + _f(self.gamma + c * x * r) - _f(c * x * r)

    def block(self, u: np.ndarray, r: np.ndarray, v: np.ndarray, x: np.ndarray) -> np.ndarray:
        c = 1 - self.gamma[:, 0]
        # f(c x r) = r f(c x) + c x f(r) separates; f(gamma + c x r) is analytic in both variables.
        separable = (u @ r) * (_f((1 - self.gamma) * x) @ v) + (u @ _f(r)) * c * (v @ x)
        if u.size * v.size > _DIRECT_CELLS:
            (r, u), (x, v) = _gauss_rule(r, u), _gauss_rule(x, v)
        on = self.gamma[:, 0] > 0
        gamma = self.gamma[on][:, :, None]
        cells = _f(gamma + (1 - gamma) * r[None, :, None] * x) - _f(gamma)
        merged = np.zeros(len(on))
        merged[on] = np.einsum("k,gkl,l->g", u, cells, v, optimize=True)
        return np.where(on, merged - separable, 0.0)


class GoogleEntropy(SplicedEntropy):
    """The residual is a token drawn from R under an independent key; it equals i with probability R_i."""

    def same(self, a: np.ndarray) -> np.ndarray:
        c = 1 - self.gamma
        return _f(c * a + self.gamma) + _f(c * (1 - a))

    def apart(self, a: np.ndarray, r: np.ndarray) -> np.ndarray:
        c, x = 1 - self.gamma, 1 - a
        return _f(c * a) + r * _f(self.gamma + c * x) + (1 - r) * (_f(c * x) + _f(self.gamma))

    def block(self, u: np.ndarray, r: np.ndarray, v: np.ndarray, x: np.ndarray) -> np.ndarray:
        c = 1 - self.gamma
        merged = _f(self.gamma + c * x) - _f(c * x) - _f(self.gamma)
        return (u @ r) * (merged @ v)


def _f(mass: np.ndarray) -> np.ndarray:
    return -plogp(mass)


def _gauss_rule(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature of the discrete measure sum weight_k delta_{x_k}: (nodes, weights), [_NODES].

    Lanczos iteration with the diagonal matrix of the nodes (Golub and Welsch 1969); exact for
    polynomials of degree below 2 _NODES, so it replaces 1e5 points by 32 for analytic integrands.
    """
    keep = weight > 1e-18 * weight.sum()
    x, weight = x[keep], weight[keep]
    if len(x) <= _NODES:
        return x, weight
    total = weight.sum()
    vector, previous = np.sqrt(weight / total), np.zeros_like(x)
    diagonal, off, beta = [], [], 0.0
    for _ in range(_NODES):
        image = x * vector - beta * previous
        diagonal.append(float(vector @ image))
        image -= diagonal[-1] * vector
        beta = float(np.linalg.norm(image))
        if beta < 1e-14 * float(np.abs(x).max()):
            break
        off.append(beta)
        previous, vector = vector, image / beta
    nodes, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off[: len(diagonal) - 1]))
    return nodes, total * vectors[0] ** 2
