"""Growth of the best bets that stay the same from token to token."""

from __future__ import annotations

import numpy as np
from scipy import optimize

__all__ = ["growth_of_classes", "growth_of_stakes"]


def growth_of_classes(law: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Growth at every text of the best bet on a class: its likelihood ratio, of the mean law to the null's.

    Args:
        law: of the class at every text, [texts, classes].
        null: without a watermark, [classes], positive.

    Returns:
        [texts]; the mean is KL(mean law || null), which no bet on the class exceeds.
    """
    mean = law.mean(axis=0)
    log_bet = np.log(np.divide(mean, null, out=np.ones_like(mean), where=mean > 0))
    return law @ log_bet


def growth_of_stakes(weights: list[np.ndarray], scores: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """Growth at every text of the best bet 1 + eta f, and its eta.

    Args:
        weights: of (token, s) at every text, [m, k] each, of sum 1.
        scores: f, [m, k] each, of which every row has mean 0.

    Returns:
        [texts], and eta from 0 to nearly 1/|least f|, beyond which a bet may be lost altogether.
    """
    limit = (1 - 1e-6) / max(-float(f.min()) for f in scores)
    held = [w > 0 for w in weights]
    w, f = (np.concatenate([a[h] for a, h in zip(part, held, strict=True)]) for part in (weights, scores))

    def slope(eta: float) -> float:
        return float(w @ (f / (1 + eta * f)))

    # Growth is concave in eta.
    if slope(0.0) <= 0:
        eta = 0.0
    else:
        eta = limit if slope(limit) >= 0 else float(optimize.brentq(slope, 0, limit, xtol=1e-5 * limit))
    ends = np.cumsum([np.count_nonzero(h) for h in held])[:-1]
    return np.array([part.sum() for part in np.split(w * np.log1p(eta * f), ends)]), eta
