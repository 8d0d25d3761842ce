"""Strategies and statistical helpers of the tests.

Statistical tests compare at level ALPHA each. The suite makes fewer than 1,000 such comparisons, so the
probability that any of them fails by chance is below 1e-4.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy import stats

ALPHA = 1e-7
Z = float(stats.norm.isf(ALPHA / 2))

#: The pair of appendix C.1.
P = np.array([0.1, 0.13, 0.155, 0.115, 0.235, 0.065, 0.055, 0.05, 0.06, 0.035])
Q = np.array([0.4, 0.10, 0.12, 0.11, 0.08, 0.06, 0.05, 0.035, 0.025, 0.02])


@st.composite
def distributions(draw, n: int | None = None, zeros: bool = True, max_n: int = 8) -> np.ndarray:
    """Distributions of every shape: flat, peaked over many orders of magnitude, with exact zeros."""
    size = draw(st.integers(1, max_n)) if n is None else n
    logs = draw(st.lists(st.floats(-30, 0), min_size=size, max_size=size))
    weights = np.exp(np.array(logs))
    if zeros:
        keep = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
        if keep.any():
            weights = np.where(keep, weights, 0.0)
    return weights / weights.sum()


@st.composite
def pairs(draw, zeros: bool = True, max_n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Two distributions over one vocabulary."""
    n = draw(st.integers(1, max_n))
    return draw(distributions(n=n, zeros=zeros)), draw(distributions(n=n, zeros=zeros))


def chi_square_p(counts: np.ndarray, expected: np.ndarray) -> float:
    """p-value of a chi-square test; cells that expect less than 10 counts are pooled.

    Counts where nothing can happen give 0.
    """
    counts, expected = np.ravel(counts).astype(float), np.ravel(expected).astype(float)
    if counts[expected == 0].sum() > 0:
        return 0.0
    small = expected < 10
    counts = np.append(counts[~small], counts[small].sum())
    expected = np.append(expected[~small], expected[small].sum())
    used = expected > 0
    counts, expected = counts[used], expected[used]
    if len(counts) < 2:
        return 1.0
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float(stats.chi2.sf(statistic, len(counts) - 1))


def assert_within(value: float, reference: float, error: float) -> None:
    """|value - reference| <= Z standard errors, plus rounding."""
    assert abs(value - reference) <= Z * error + 1e-12, (value, reference, error)
