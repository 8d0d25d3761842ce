"""How many tokens a Gumbel-max watermark needs: expected scores, power, and length for a wanted power.

The token that wins a race with probability p has U = exp(-p t), t ~ Exp(1), so that -log(1 - U) has the
distribution function (1 - exp(-h))^(1/p): mean digamma(1 + 1/p) + gamma (= sum_k 1/(k (1 + k p))),
variance pi^2/6 - trigamma(1 + 1/p). Without a watermark it is Exp(1), the same with p = 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from tradeoff.detection.tails import LatticeSum

__all__ = ["expected_score", "power", "probabilities_of_entropy", "score_variance", "tokens_needed"]

_LONGEST = 100_000
#: Scores beyond this have probability below 1e-15 for every p above 1e-9.
_HIGHEST = 56.0


def expected_score(p: np.ndarray | float) -> np.ndarray:
    """Mean of -log(1 - U) of a token won with probability `p`: [...]; 1 at p = 1."""
    return special.digamma(1 + 1 / np.asarray(p, float)) + np.euler_gamma


def score_variance(p: np.ndarray | float) -> np.ndarray:
    """Variance of -log(1 - U) of a token won with probability `p`: [...]; 1 at p = 1."""
    return np.pi**2 / 6 - special.polygamma(1, 1 + 1 / np.asarray(p, float))


def probabilities_of_entropy(entropy: np.ndarray) -> np.ndarray:
    """exp(-H): [...] the probabilities of typical tokens of positions with entropy H in nats.

    A first guess for planning without logged probabilities: it ignores how tokens of one position differ.
    """
    return np.exp(-np.asarray(entropy, float))


def power(profiles: Sequence[np.ndarray], tokens: int, fpr: float = 0.01) -> float:
    """The expected TPR of Aaronson's test on texts of `tokens` scored tokens.

    Args:
        profiles: for every kind of text, [k] probabilities under the model of the tokens it generates;
            a text draws its tokens' probabilities from one profile. Texts differ in entropy, so one profile
            a text, not one for all, predicts their rate.
        tokens: at least 1.
        fpr: false-positive rate of the test.

    Returns:
        The mean over profiles of the probability of detection.
    """
    laws = _laws(profiles, fpr)
    return _power(laws, tokens, fpr)


def tokens_needed(profiles: Sequence[np.ndarray], tpr: float = 0.95, fpr: float = 0.01) -> int:
    """The fewest scored tokens with which the expected TPR reaches `tpr`; see `power`.

    Raises:
        ValueError: if a hundred thousand tokens do not, or for rates outside (0, 1).
    """
    if not 0 < tpr < 1:
        raise ValueError(f"tpr={tpr} must be between 0 and 1; 0.95 is usual")
    laws = _laws(profiles, fpr)
    high = 1
    while _power(laws, high, fpr) < tpr:
        high *= 2
        if high > _LONGEST:
            raise ValueError(
                f"tpr={tpr} is not reached with {_LONGEST} tokens; the profile has too little entropy"
            )
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if _power(laws, middle, fpr) < tpr:
            low = middle
        else:
            high = middle
    return high


def _laws(profiles: Sequence[np.ndarray], fpr: float) -> list[LatticeSum]:
    if not 0 < fpr < 1:
        raise ValueError(f"fpr={fpr} must be between 0 and 1; 0.01 is usual")
    if not len(profiles):
        raise ValueError("profiles are empty; pass at least one list of token probabilities")
    return [_score_law(np.asarray(profile, float)) for profile in profiles]


def _score_law(probability: np.ndarray) -> LatticeSum:
    if probability.ndim != 1 or not len(probability) or not ((probability > 0) & (probability <= 1)).all():
        raise ValueError("a profile must be a list of token probabilities in (0, 1]")
    # Distinct probabilities are few enough once they are binned finely.
    logs = np.clip(np.log(probability), np.log(1e-9), 0.0)
    bins, counts = np.unique(np.round(logs, 2), return_counts=True)
    edges = np.concatenate([[0.0], np.geomspace(1e-4, _HIGHEST, 1500)])
    cdf = np.exp(np.log1p(-np.exp(-edges[1:]))[:, None] * np.exp(-bins)) @ counts / counts.sum()
    return LatticeSum((edges[:-1] + edges[1:]) / 2, np.diff(np.concatenate([[0.0], cdf])))


def _power(laws: Sequence[LatticeSum], tokens: int, fpr: float) -> float:
    threshold = float(special.gammainccinv(tokens, fpr))
    return float(np.mean([np.exp(law.log_sf(threshold, tokens)) for law in laws]))
