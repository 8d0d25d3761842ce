"""Classes of watermarked speculative sampling and their trade-off curves (section 3.2, Fig. 1).

A class is a family of target laws P_zeta^gamma and draft laws Q_zeta^theta; its curve gives efficiency
E sum min(P_zeta^gamma, Q_zeta^theta) and strength E KL(P_zeta^gamma || P) for gamma from 0 to 1:

    linear (Eq. 9)   (1-gamma) P + gamma S(P, zeta)    against   (1-theta) Q + theta S(Q, zeta)
    Hu               (1-gamma) Q_zeta∘A_spec(Q, P) + gamma S(P, zeta)   against   S(Q, zeta)
    Google           Hu's, with the residual drawn as S((P-Q)_+, zeta') under an independent key
    time sharing     a pseudorandom coin picks (S(P), S(Q)) with probability gamma, else (P, Q)

Exact for Gumbel-max, O(n log n) a curve but for the interior of Hu's class. Derivation:
docs/theory/trade-off.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tradeoff.curves.frontier import Curve
from tradeoff.curves.linear import LinearEfficiency, linear_efficiency, linear_strength
from tradeoff.curves.measures import watermark_strength
from tradeoff.curves.monte_carlo import FEWEST_SEEDS, pair_mean, simulate
from tradeoff.curves.pairs import SampledPairs
from tradeoff.curves.setting import Setting
from tradeoff.curves.splicing import GoogleEntropy, HuEntropy, SplicedEntropy, spliced_law
from tradeoff.estimate import Estimate
from tradeoff.laws import entropy, kl_divergence, overlap

__all__ = ["CLASSES", "Setting", "curve", "google", "hu", "linear", "linear_parts", "time_sharing"]

#: Seeds on which theta is optimised when a decoder is not degenerate; the curve itself is then
#: evaluated on other seeds, so that it is not optimistic.
_PILOT_SEEDS = 2_000


def curve(name: str, setting: Setting, gamma: Any = None) -> Curve:
    """The curve of the class called `name` (a key of CLASSES) at the given gammas (default: 41 in [0, 1]).

    Raises:
        ValueError: for an unknown class, or gammas outside [0, 1].
    """
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(f"class {name!r} is unknown; choose one of {', '.join(CLASSES)}")
    return CLASSES[name](setting, _gammas(gamma))


def linear(setting: Setting, gamma: np.ndarray) -> Curve:
    """Linear class (Eq. 9-10): for every gamma the theta of largest efficiency, by exact search."""
    if setting.pairs is None:
        return _linear_of_laws(setting, gamma)
    search = linear_efficiency(setting)
    theta = search.best_thetas(gamma)
    known, gain = linear_parts(setting.p, setting.q, gamma, theta)
    matched = setting.diagonal_mean(gain)
    return Curve(
        f"linear, {setting.decoders}",
        gamma,
        theta,
        known + matched.value,
        linear_strength(setting.p, gamma),
        matched.standard_error,
        np.zeros_like(gamma),
    )


def linear_parts(
    p: np.ndarray, q: np.ndarray, gamma: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """SE(gamma, theta) of the linear class with degenerate decoders is known + sum_i pi_ii gain_i.

    The marginals of the pair law are P and Q, so only its diagonal is left to be summed.

    Args:
        p, q: [n]; gamma, theta: [points].

    Returns:
        known [points] and gain [points, n].
    """
    c, d = 1 - gamma[:, None], 1 - theta[:, None]
    on_p, on_q = gamma[:, None], theta[:, None]
    neither = np.minimum(c * p, d * q)
    only_p, only_q = np.minimum(c * p + on_p, d * q), np.minimum(c * p, d * q + on_q)
    both = np.minimum(c * p + on_p, d * q + on_q)
    known = neither @ (1 - p - q) + only_p @ p + only_q @ q
    return known, both - only_p - only_q + neither


def hu(setting: Setting, gamma: np.ndarray) -> Curve:
    """Hu's class (appendix C.2): the draft's watermark at gamma = 0, the target's at gamma = 1."""
    return _spliced("Hu", setting, gamma, HuEntropy)


def google(setting: Setting, gamma: np.ndarray) -> Curve:
    """Google's class (appendix C.2): Hu's with a watermarked residual."""
    return _spliced("Google", setting, gamma, GoogleEntropy)


def time_sharing(setting: Setting, gamma: np.ndarray) -> Curve:
    """The chord from plain speculative sampling (gamma = 0) to both watermarks on (gamma = 1)."""
    full = setting.agreement
    strength = watermark_strength(setting.p, setting.target, seeds=setting.seeds, rng=setting.seed)
    return Curve(
        f"time sharing, {setting.decoders}",
        gamma,
        gamma.copy(),
        (1 - gamma) * overlap(setting.p, setting.q) + gamma * full.value,
        gamma * strength.value,
        gamma * full.standard_error,
        gamma * strength.standard_error,
    )


#: Every class by the name the command line knows it by.
CLASSES: dict[str, Callable[[Setting, np.ndarray], Curve]] = {
    "linear": linear,
    "hu": hu,
    "google": google,
    "time-sharing": time_sharing,
}


def _gammas(gamma: Any) -> np.ndarray:
    try:
        values = np.linspace(0, 1, 41) if gamma is None else np.atleast_1d(np.asarray(gamma, float))
    except (TypeError, ValueError) as error:
        raise ValueError(f"gamma={gamma!r} must be numbers in [0, 1]") from error
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"gamma={gamma} must be numbers in [0, 1]")
    return values


# --- Hu's and Google's classes ------------------------------------------------------------------


def _spliced(name: str, setting: Setting, gamma: np.ndarray, kind: type[SplicedEntropy]) -> Curve:
    if setting.pairs is None:
        efficiency, strength = _spliced_of_laws(setting, gamma, kind is GoogleEntropy)
    else:
        agreement, sse = setting.agreement, float(overlap(setting.p, setting.q))
        efficiency = Estimate((1 - gamma) * sse + gamma * agreement.value, gamma * agreement.standard_error)
        entropies = _expected_entropy(setting, kind(gamma[:, None], setting.residual))
        strength = Estimate(entropy(setting.p) - entropies.value, entropies.standard_error)
    return Curve(
        f"{name}, {setting.decoders}",
        gamma,
        np.ones_like(gamma),
        efficiency.value,
        strength.value,
        efficiency.standard_error,
        strength.standard_error,
    )


def _expected_entropy(setting: Setting, kernel: SplicedEntropy) -> Estimate:
    """E Ent(P_zeta^gamma) over the pair law: arrays [points]."""
    a, r, pairs = setting.accept, setting.residual, setting.pairs
    if isinstance(pairs, SampledPairs):

        def values(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            return np.where(i == j, kernel.same(a[j]), kernel.apart(a[j], r[i])).T

        return pair_mean(pairs, setting.p, setting.q, values)
    assert pairs is not None
    # Pairs off the diagonal count as if R_i = 0 first; the block of tokens i with R_i > 0 against
    # rejectable tokens j, where r_i > 1 > r_j makes pi_ij = P_i Q_j (row_i - column_j), is then added.
    i, j = r > 0, (a < 1) & (setting.q > 0)
    p_i, r_i, q_j, a_j, same_j = setting.p[i], r[i], setting.q[j], a[j], pairs.diagonal[j]
    value = kernel.same(a_j) @ same_j + kernel.apart(a_j, np.zeros_like(a_j)) @ (q_j - same_j)
    # Tokens that are always accepted leave nothing random but whether i coincides.
    certain = np.ones(1)
    value += kernel.apart(certain, 0 * certain)[:, 0] * (setting.q[~j] - pairs.diagonal[~j]).sum()
    if i.any() and j.any():
        value += kernel.block(p_i * pairs.row[i], r_i, q_j, 1 - a_j)
        value -= kernel.block(p_i, r_i, q_j * pairs.column[j], 1 - a_j)
    return Estimate(value, np.zeros_like(value))


# --- Averages over sampled laws -----------------------------------------------------------------


def _spliced_of_laws(setting: Setting, gamma: np.ndarray, google_residual: bool) -> tuple[Estimate, Estimate]:
    p, accept = setting.p, setting.accept

    def functional(p_z: np.ndarray, q_z: np.ndarray, r_z: np.ndarray) -> np.ndarray:
        spliced = spliced_law(q_z, accept, r_z)
        laws = [(1 - g) * spliced + g * p_z for g in gamma]
        return np.stack(
            [overlap(law, q_z) for law in laws] + [kl_divergence(law, p) for law in laws], axis=-1
        )

    both = simulate(
        functional,
        p,
        setting.q,
        setting.target,
        setting.draft,
        seeds=setting.seeds,
        rng=setting.seed,
        residual=google_residual,
    )
    return _split(both)


def _linear_of_laws(setting: Setting, gamma: np.ndarray) -> Curve:
    p, q = setting.p, setting.q
    theta = _pilot_theta(setting, gamma)

    def functional(p_z: np.ndarray, q_z: np.ndarray, _: np.ndarray) -> np.ndarray:
        laws = [(1 - g) * p + g * p_z for g in gamma]
        drafts = [(1 - t) * q + t * q_z for t in theta]
        return np.stack(
            [overlap(law, draft) for law, draft in zip(laws, drafts, strict=True)]
            + [kl_divergence(law, p) for law in laws],
            axis=-1,
        )

    efficiency, strength = _split(
        simulate(
            functional,
            p,
            q,
            setting.target,
            setting.draft,
            seeds=setting.seeds,
            rng=setting.seed,
        )
    )
    return Curve(
        f"linear, {setting.decoders}",
        gamma,
        theta,
        efficiency.value,
        strength.value,
        efficiency.standard_error,
        strength.standard_error,
    )


def _pilot_theta(setting: Setting, gamma: np.ndarray) -> np.ndarray:
    """The best theta for each gamma on a pilot sample of its own."""
    laws: list[tuple[np.ndarray, np.ndarray]] = []

    def keep(p_z: np.ndarray, q_z: np.ndarray, _: np.ndarray) -> np.ndarray:
        laws.append((p_z.copy(), q_z.copy()))
        return np.zeros((len(p_z), 1))

    n = setting.p.shape[-1]
    seeds = max(FEWEST_SEEDS, min(_PILOT_SEEDS, (1 << 22) // n))
    pilot = np.random.default_rng((setting.seed, 1))
    simulate(keep, setting.p, setting.q, setting.target, setting.draft, seeds=seeds, rng=pilot)
    p_z, q_z = (np.concatenate(side) for side in zip(*laws, strict=True))
    search = LinearEfficiency.of_laws(setting.p, setting.q, p_z, q_z)
    return search.best_thetas(gamma)


def _split(both: Estimate) -> tuple[Estimate, Estimate]:
    """Efficiency and strength columns of one simulation."""
    half = len(both.value) // 2
    return (
        Estimate(both.value[:half], both.standard_error[:half]),
        Estimate(both.value[half:], both.standard_error[half:]),
    )
