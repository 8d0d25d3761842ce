"""The maximal coupling of a target and its anchor, which speculative sampling makes."""

from __future__ import annotations

import numpy as np

__all__ = ["maximal_coupling"]


def maximal_coupling(q: np.ndarray, p0: np.ndarray) -> np.ndarray:
    """The joint law of (v, S) that speculative sampling makes: [..., n], [..., n] -> [..., n, n].

    Rows v, columns s: min(q, p0) on the diagonal, and (q - p0)_+ at v times (p0 - q)_+ at s, divided by
    TV(q, p0).
    """
    more, less = np.maximum(q - p0, 0.0), np.maximum(p0 - q, 0.0)
    moved = less.sum(axis=-1)[..., None, None]
    both = np.minimum(q, p0)[..., None] * np.eye(p0.shape[-1])
    return both + more[..., None] * less[..., None, :] / np.where(moved > 0, moved, 1.0)
