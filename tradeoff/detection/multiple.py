"""Several tests at once: p-values corrected for how many there are.

Holm's (1979) keep the chance of any false alarm among all tests at the level, whatever their dependence.
Benjamini and Hochberg's (1995) keep the expected share of false alarms among those who are called, for
independent tests and those that depend positively (Benjamini and Yekutieli 2001).
"""

from __future__ import annotations

import numpy as np

__all__ = ["benjamini_hochberg", "holm"]


def holm(log_p: np.ndarray) -> np.ndarray:
    """Corrected p-values whose comparison with a level keeps the family-wise error.

    Args:
        log_p: [m] natural logarithms of p-values, in any order.

    Returns:
        [m] log of min(1, max over tests j with p_j <= p_i of (m - rank of j) p_j), ranks counted from 0.
    """
    count = len(log_p)
    order = np.argsort(log_p, kind="stable")
    stepped = np.maximum.accumulate(log_p[order] + np.log(count - np.arange(count)))
    corrected = np.empty(count)
    corrected[order] = np.minimum(stepped, 0.0)
    return corrected


def benjamini_hochberg(log_p: np.ndarray) -> np.ndarray:
    """Corrected p-values whose comparison with a level keeps the false-discovery rate.

    Args:
        log_p: [m] natural logarithms of p-values, in any order.

    Returns:
        [m] log of min(1, min over tests j with p_j >= p_i of m p_j / rank of j), ranks counted from 1.
    """
    count = len(log_p)
    order = np.argsort(log_p, kind="stable")
    stepped = log_p[order] - np.log(np.arange(1, count + 1) / max(count, 1))
    corrected = np.empty(count)
    corrected[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 0.0)
    return corrected
