"""E-values of anchored watermarks; `tradeoff.anchored.supermartingales` multiplies them.

Huang, Xu, Ramchandran, Jiao and Jordan, "Towards Anytime-Valid Statistical Watermarking". Anchor law p0 over
n tokens, target law q, seed S ~ p0 from the key; the generator emits v by the maximal coupling of q and p0.
Against the targets with TV(q, p0) <= eps = delta/2 the best worst case is

    e*(v, s) = (1 - eps) / p0(s) if v = s, else eps / ((n-1) p0(s))
    J* = H(p0) + (1 - eps) log(1 - eps) + eps log(eps / (n-1))                       (Theorem 4.1)

of mean 1 over S for EVERY token v. Valid for all p0 as well, and better for vocabularies: buckets, and

    e(v, s) = (1 - eps) 1{v = s} / p0(s) + eps                                       (`log_hedged`).

Natural logarithms (nats). Proofs: docs/theory/e-values.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tradeoff.laws import distribution, distribution_pair, entropy

__all__ = [
    "anchored_growth",
    "growth_at",
    "hedged_growth",
    "log_anchored",
    "log_anchored_matrix",
    "log_hedged",
    "plug_in_eps",
    "worst_case_eps",
]


def log_anchored(p0_at_seed: Any, matches: Any, n: int, eps: Any) -> np.ndarray:
    """log e*(v, s), from what a detector sees of a token: O(1) a token.

    Args:
        p0_at_seed: p0(s), [...] in (0, 1].
        matches: whether v = s, [...] booleans.
        n: tokens of the vocabulary, or buckets: at least 2. Of a truncated anchor it may be the number of
            tokens that are left, if eps <= 1 - 1/n: the mean is then eps n/(n-1) <= 1 for the others.
        eps: the TV that is played against, in (0, 1), a number or an array [...].

    Returns:
        [...], nats; the three arrays broadcast.

    Raises:
        ValueError: if p0(s) is not a positive probability, `matches` holds no booleans, or n or eps is out
            of range.
    """
    mass, matches, eps = _seed_mass(p0_at_seed), _booleans(matches), _open_share(eps)
    return np.where(matches, np.log1p(-eps), np.log(_spread(eps, _check_n(n)))) - np.log(mass)


def log_hedged(p0_at_seed: Any, matches: Any, eps: Any) -> np.ndarray:
    """log((1 - eps) 1{v = s} / p0(s) + eps): a bet that a mismatch costs log(1/eps), whatever n.

    Its mean over S ~ p0 is (1 - eps) 1{p0(v) > 0} + eps <= 1 for every v.

    Args:
        p0_at_seed, matches, eps: as for `log_anchored`; eps is the share of the wealth that is not bet.

    Returns:
        [...], nats.

    Raises:
        ValueError: as `log_anchored`.
    """
    mass, matches, eps = _seed_mass(p0_at_seed), _booleans(matches), _open_share(eps)
    return np.where(matches, np.log((1 - eps) / mass + eps), np.log(eps))


def log_anchored_matrix(p0: Any, eps: float) -> np.ndarray:
    """log e*(v, s) for all pairs: [..., n] -> [..., n, n], rows v, columns s.

    A seed of p0(s) = 0 is never drawn; its column is +inf.

    Raises:
        DistributionError, ValueError: for a bad p0, or eps outside (0, 1).
    """
    p0 = _anchor(p0)
    n, stake = p0.shape[-1], _open_share(eps)
    stake = np.where(np.eye(n, dtype=bool), np.log1p(-stake), np.log(stake / (n - 1)))
    with np.errstate(divide="ignore"):
        return stake - np.log(p0[..., None, :])


def worst_case_eps(delta: float, n: int) -> float:
    """eps = delta/2: the largest TV(q, p0) of the targets with ||q - p0||_1 <= delta.

    Raises:
        ValueError: unless 0 < delta < 2 (1 - 1/n). From there on a token that equals its seed is no more
            probable than under the null, and nobody can win.
    """
    n = _check_n(n)
    if not 0 < delta < 2 * (1 - 1 / n):
        raise ValueError(
            f"delta={delta} must be in (0, {2 * (1 - 1 / n):g}) for n = {n}: it is the l1 distance between "
            "target and anchor that the watermark must survive; use a smaller one, or more buckets"
        )
    return delta / 2


def anchored_growth(p0: Any, delta: float) -> np.ndarray:
    """J*: the growth of e* against the worst target with ||q - p0||_1 <= delta, [..., n] -> [...].

    It is the value of the game where min p0 >= delta/2 (Theorem 4.1 asks for min p0 > delta); elsewhere e*
    still grows at this rate at least, and another e-value may do better (`tradeoff.anchored.programme`).

    Raises:
        DistributionError, ValueError: for a bad p0 or delta.
    """
    p0 = _anchor(p0)
    eps = worst_case_eps(delta, p0.shape[-1])
    return growth_at(p0, eps, eps)


def growth_at(p0: Any, eps: Any, tv: Any) -> np.ndarray:
    """Growth of e* with `eps` when TV(q, p0) = `tv`: H(p0) + (1-t) log(1-eps) + t log(eps/(n-1)).

    `growth_at(p0, t, t)` is the most that any eps reaches.

    Args:
        p0: [..., n].
        eps, tv: in [0, 1], numbers or arrays [...].

    Returns:
        [...], nats; -inf where something happens that e* excludes (eps = 0 < t, or eps = 1 > t).

    Raises:
        DistributionError, ValueError: for a bad p0, or eps or tv outside [0, 1].
    """
    p0 = _anchor(p0)
    eps, tv = _share("eps", eps), _share("tv", tv)
    n = p0.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        match = np.where(tv < 1, (1 - tv) * np.log1p(-eps), 0.0)
        mismatch = np.where(tv > 0, tv * np.log(_spread(eps, n)), 0.0)
    return np.asarray(entropy(p0) + match + mismatch)


def hedged_growth(p0: Any, q: Any, eps: Any) -> np.ndarray:
    """Growth of `log_hedged` under the maximal coupling of q and p0.

    sum_s min(p0, q) log((1 - eps)/p0 + eps) + TV(q, p0) log(eps). Unlike that of e* it depends on where p0
    and q differ.

    Args:
        p0, q: [..., n]; eps: in (0, 1), a number or an array [...].

    Returns:
        [...], nats.

    Raises:
        DistributionError, ValueError: for bad laws, or eps outside (0, 1).
    """
    p0, q = distribution_pair(np.asarray(p0), np.asarray(q), ("p0", "q"))
    eps = _open_share(eps)
    both = np.minimum(p0, q)
    seen = np.where(p0 > 0, p0, 1.0)
    wins = (both * np.log((1 - eps)[..., None] / seen + eps[..., None])).sum(axis=-1)
    return np.asarray(wins + (1 - both.sum(axis=-1)) * np.log(eps))


def plug_in_eps(mismatches: Any, tokens: Any) -> np.ndarray:
    """(mismatches + 1/2) / (tokens + 1): the best eps = TV, estimated from the tokens so far.

    Computed before each token from those before it, so that the product stays a test supermartingale. By
    Krichevsky and Trofimov it is within log(2 sqrt(T)) nats after T tokens of the best constant eps in
    hindsight, whatever the text.

    Args:
        mismatches, tokens: counts [...], 0 <= mismatches <= tokens.

    Returns:
        [...] in (0, 1).

    Raises:
        ValueError: for counts out of range.
    """
    mismatches, tokens = np.asarray(mismatches), np.asarray(tokens)
    if bool(np.any(mismatches < 0)) or bool(np.any(mismatches > tokens)):
        raise ValueError(
            f"mismatches={mismatches} must be between 0 and tokens={tokens}; count the tokens before this one"
        )
    return np.asarray((mismatches + 0.5) / (tokens + 1.0))


def _anchor(p0: Any) -> np.ndarray:
    p0 = np.asarray(distribution(np.asarray(p0), "p0"))
    _check_n(p0.shape[-1])
    return p0


def _check_n(n: int) -> int:
    if not isinstance(n, int | np.integer) or n < 2:
        raise ValueError(
            f"n={n!r} must be a whole number of at least 2 tokens (or buckets): one has no choice"
        )
    return int(n)


def _share(name: str, value: Any) -> np.ndarray:
    share = np.asarray(value, dtype=float)
    bad = ~((share >= 0) & (share <= 1))
    if bool(bad.any()):
        raise ValueError(f"{name}={share[bad][0]:g} must be a total variation distance, in [0, 1]")
    return share


def _open_share(eps: Any) -> np.ndarray:
    share = np.asarray(eps, dtype=float)
    bad = ~((share > 0) & (share < 1))
    if bool(bad.any()):
        raise ValueError(
            f"eps={share[bad][0]:g} must be inside (0, 1): at 0 one mismatch loses everything, at 1 one match"
        )
    return share


def _seed_mass(p0_at_seed: Any) -> np.ndarray:
    mass = np.asarray(p0_at_seed, dtype=float)
    bad = ~((mass > 0) & (mass <= 1))
    if bool(bad.any()):
        raise ValueError(
            f"p0_at_seed={mass[bad][0]:g} must be in (0, 1]: pass the law that the seed was drawn from, "
            "temperature and truncation included"
        )
    return mass


def _booleans(matches: Any) -> np.ndarray:
    matches = np.asarray(matches)
    if matches.dtype != bool:
        raise ValueError(f"matches hold {matches.dtype} values; pass booleans, as in token == seed")
    return matches


def _spread(eps: np.ndarray, n: int) -> np.ndarray:
    """eps/(n-1), and positive where eps is: the least number there is, divided, would vanish."""
    return np.where(eps > 0, np.maximum(eps / (n - 1), np.nextafter(0.0, 1.0)), 0.0)
