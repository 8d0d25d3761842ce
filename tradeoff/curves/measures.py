"""Watermark strength and sampling efficiency: exact where a formula exists, else estimated.

Strength (Definition 3.1) is E_zeta KL(P_zeta || P), for unbiased decoders Ent(P) - E_zeta Ent(P_zeta);
efficiency (Definition 2.1 with the speculative kernel, Lemma 3.1) is E_zeta sum min(P_zeta, Q_zeta). Biased
decoders: `tradeoff.curves.biased`.

What has no closed form is estimated by `tradeoff.curves.monte_carlo`. Proofs: docs/theory/trade-off.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tradeoff._arrays import to_numpy
from tradeoff.curves.biased.decomposition import biased_efficiency, decompose
from tradeoff.curves.monte_carlo import DEFAULT_SEEDS, simulate
from tradeoff.curves.pairs import exact_pairs
from tradeoff.decoders import Decoder, Identity
from tradeoff.estimate import Estimate
from tradeoff.laws import (
    acceptance_probability,
    binary_entropy,
    distribution,
    distribution_pair,
    entropy,
    excess,
    kl_divergence,
    overlap,
    plogp,
)

__all__ = ["google_end_point_strength", "hu_end_point_strength", "sampling_efficiency", "watermark_strength"]


def watermark_strength(
    p: Any,
    decoder: Decoder,
    *,
    seeds: int = DEFAULT_SEEDS,
    rng: np.random.Generator | int = 0,
) -> Estimate:
    """WS = E_zeta KL(P_zeta || P) in nats (Definition 3.1), for unbiased decoders in [0, Ent(P)] (Theorem
    3.2).

    Args:
        p: distribution [n].
        decoder: any decoder; degenerate unbiased ones have strength Ent(P) exactly (Theorem 3.2). What biased
            ones are made of, `tradeoff.curves.decompose` tells.
        seeds, rng: for decoders that need simulation.

    Raises:
        DistributionError: if p is not a distribution.
    """
    p = _single(distribution(p), "P")
    if not decoder.unbiased:
        return decompose(p, decoder, seeds=seeds, rng=rng).strength
    if decoder.degenerate:
        return Estimate(float(entropy(p)), 0.0)
    if not decoder.marks:
        return Estimate(0.0, 0.0)
    return _scalar(
        simulate(
            lambda law, *_: kl_divergence(law, p)[:, None],
            p,
            p,
            decoder,
            Identity(),
            seeds=seeds,
            rng=rng,
        )
    )


def sampling_efficiency(
    p: Any,
    q: Any,
    target: Decoder,
    draft: Decoder | None = None,
    *,
    seeds: int = DEFAULT_SEEDS,
    rng: np.random.Generator | int = 0,
) -> Estimate:
    """SE = E_zeta sum min(P_zeta, Q_zeta): the acceptance rate of the keep-strength kernel.

    At most 1 - TV(Q, P) for unbiased decoders (Lemma 3.1). Exact for Gumbel-max on both sides (the sum
    of the race coupling's diagonal), for decoders without shared randomness where one is degenerate,
    and without watermark.

    Args:
        p, q: target and draft distributions [n].
        target, draft: decoders; `draft` defaults to `target`.
        seeds, rng: for pairs that need simulation.

    Raises:
        DistributionError: if p or q is not a distribution, or they differ in length.
    """
    p, q = distribution_pair(p, q)
    p, q = _single(p, "P"), _single(q, "Q")
    draft = target if draft is None else draft
    if not (target.unbiased and draft.unbiased):
        return biased_efficiency(p, q, target, draft, seeds=seeds, rng=rng)
    pairs = exact_pairs(p, q, target, draft)
    if pairs is not None:
        return Estimate(float(pairs.diagonal.sum()), 0.0)
    if not target.marks and not draft.marks:
        return Estimate(float(overlap(p, q)), 0.0)
    if not (target.marks and draft.marks) and (target.degenerate or draft.degenerate):
        return Estimate(float(p @ q), 0.0)
    return _scalar(
        simulate(
            lambda law, draft_law, _: overlap(law, draft_law)[:, None],
            p,
            q,
            target,
            draft,
            seeds=seeds,
            rng=rng,
        )
    )


def google_end_point_strength(p: Any, q: Any) -> Any:
    """Strength of Google's class at full efficiency: Ent(P) - sum_j Q_j h(a_j), a = min(1, P/Q).

    Holds for any degenerate decoder; what is missing from Ent(P) is the entropy of the truly random
    acceptance coin given the draft token.

    Args:
        p, q: target and draft, [..., n] (NumPy or PyTorch).

    Returns:
        [...] nats. Where P = Q nothing is rejected and it is Ent(P).
    """
    p, q = distribution_pair(p, q)
    coin = q * binary_entropy(acceptance_probability(p, q))
    return entropy(p) - coin.sum(axis=-1)


def hu_end_point_strength(p: Any, q: Any) -> Any:
    """Strength of Hu's class at full efficiency: Google's less TV(P, Q) Ent((P-Q)_+).

    The residual, drawn with probability TV, is truly random in Hu's class.

    Args:
        p, q: target and draft, [..., n] (NumPy or PyTorch).

    Returns:
        [...] nats.
    """
    p, q = distribution_pair(p, q)
    rest = excess(p, q, empty="zero")
    return google_end_point_strength(p, q) - (1 - overlap(p, q)) * -plogp(rest).sum(axis=-1)


def _single(p: Any, name: str) -> np.ndarray:
    if p.ndim != 1:
        raise ValueError(
            f"{name} has shape {tuple(p.shape)}; this measure takes one distribution [n], "
            "loop over the batch or use the closed forms"
        )
    return to_numpy(p)


def _scalar(estimate: Estimate) -> Estimate:
    return Estimate(float(estimate.value[0]), float(estimate.standard_error[0]))
