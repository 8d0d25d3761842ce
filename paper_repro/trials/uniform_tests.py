"""Tests of the uniforms at the tokens of a text that were proposed for edited or mixed text: comparisons.

Without a watermark the uniforms U are independent and uniform; under Gumbel-max those of marked tokens are
large. All are statistics of a text's uniforms, large with a watermark. None has a null law in closed form, so
that thresholds are simulated, for every number of tokens. Aaronson's sum is their yardstick, and what the
library detects with: `docs/results/edited-text.md` says which finds more.

Sources: Donoho and Jin (2004), "Higher criticism for detecting sparse heterogeneous mixtures"; Li, Ruan,
Wang, Long and Su, "A statistical framework of watermarks for large language models" (2024), for the minimax
score; the same, "Robust detection of watermarks for large language models under human edits" (2024), for
Tr-GoF.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import special

from tradeoff.detection import null_threshold

__all__ = ["DRAWS", "UNIFORM_TESTS", "aaronson", "higher_criticism", "minimax", "tr_gof", "uniform_threshold"]

#: Null texts of every length: a threshold at 1% then stands for a rate of 0.9% to 1.1%.
DRAWS = 20_000
#: Regularity Delta of the minimax scores: no token is more probable than 1 - Delta.
_DELTAS = (0.05, 0.1, 0.2, 0.4)
#: Members s of the family of divergences of Tr-GoF; 2 is a one-sided higher criticism, 1 a divergence of
#: Kullback and Leibler.
_MEMBERS = (0.0, 1.0, 2.0)

Statistic = Callable[[np.ndarray], np.ndarray]


def aaronson(uniforms: np.ndarray) -> np.ndarray:
    """sum -log(1 - U): [..., t] to [...]."""
    return -np.log1p(-uniforms).sum(axis=-1)


def minimax(delta: float) -> Statistic:
    """The sum of the scores that are best against the least favourable law of regularity `delta`.

    Li et al. (2024): that law has floor(1/(1 - Delta)) tokens of probability 1 - Delta and one of the rest r,
    and the score is the logarithm of the density of U under it,
    log(floor(1/(1 - Delta)) U^(Delta/(1 - Delta)) + U^(1/r - 1)).

    Args:
        delta: in (0, 1).
    """
    many = np.floor(1 / (1 - delta) + 1e-12)
    rest = 1 - many * (1 - delta)

    def statistic(uniforms: np.ndarray) -> np.ndarray:
        logs = np.log(uniforms)
        terms = [np.log(many) + logs * delta / (1 - delta)]
        if rest > 1e-12:
            terms.append(logs * (1 / rest - 1))
        return special.logsumexp(terms, axis=0).sum(axis=-1)

    return statistic


def higher_criticism(uniforms: np.ndarray) -> np.ndarray:
    """max over i <= t/2 with p_(i) >= 1/t of sqrt(t) (i/t - p_(i)) / sqrt(p_(i) (1 - p_(i))), p = 1 - U in
    order: [..., t] to [...]."""
    p = np.sort(1 - uniforms, axis=-1)
    t = p.shape[-1]
    share = np.arange(1, t + 1) / t
    gap = np.sqrt(t) * (share - p) / np.sqrt(np.clip(p * (1 - p), 1e-300, None))
    return np.where((p >= 1 / t) & (share <= 0.5), gap, 0.0).max(axis=-1)


def tr_gof(member: float) -> Statistic:
    """Truncated goodness of fit: t max K_s(i/t, p_(i)) over i < t with 1/t <= p_(i) < i/t, p = 1 - U sorted;
    K_s the divergences of Cressie and Read between two Bernoulli laws (Li et al. 2024): [..., t] to [...].

    Args:
        member: s.
    """

    def statistic(uniforms: np.ndarray) -> np.ndarray:
        p = np.sort(1 - uniforms, axis=-1)
        t = p.shape[-1]
        share = np.broadcast_to(np.arange(1, t + 1) / t, p.shape)
        kept = (p >= 1 / t) & (share > p) & (share < 1)
        p = np.where(kept, p, 0.5)
        found = _divergence(member, np.where(kept, share, 0.5), p)
        return t * np.where(kept, found, 0.0).max(axis=-1)

    return statistic


def _divergence(s: float, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """K_s(u, v) = (1 - u^s v^(1-s) - (1-u)^s (1-v)^(1-s)) / (s (1 - s)), by continuity at 0 and 1; u and v in
    (0, 1)."""
    if s == 1:
        return special.rel_entr(u, v) + special.rel_entr(1 - u, 1 - v)
    if s == 0:
        return special.rel_entr(v, u) + special.rel_entr(1 - v, 1 - u)
    return (1 - u**s * v ** (1 - s) - (1 - u) ** s * (1 - v) ** (1 - s)) / (s * (1 - s))


#: By the names of tables.
UNIFORM_TESTS: dict[str, Statistic] = {
    "Aaronson": aaronson,
    **{f"minimax, Δ = {delta:g}": minimax(delta) for delta in _DELTAS},
    "higher criticism": higher_criticism,
    **{f"Tr-GoF, s = {member:g}": tr_gof(member) for member in _MEMBERS},
}


@lru_cache(maxsize=4096)
def uniform_threshold(name: str, tokens: int, fpr: float) -> float:
    """What a test of `UNIFORM_TESTS` exceeds with probability at most `fpr` in other text, simulated."""
    rng = np.random.default_rng([tokens, *name.encode()])
    return null_threshold(UNIFORM_TESTS[name](rng.random((DRAWS, tokens))), fpr)
