"""Strength of a decoder that moves the law in the mean: what the key says of the token, plus the distortion.

    E KL(P_zeta || P) = I(w; zeta) + KL(E P_zeta || P),

for any decoder (docs/theory/biased.md). Exact for red and green lists that are soft and independent, whatever
the vocabulary; for any lists on few tokens; where zeta has few values; and for unbiased decoders of a known
strength. Else estimated, with standard errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradeoff._arrays import to_numpy
from tradeoff.curves.biased.green_mass import (
    Lists,
    draw_lists,
    every_list,
    kgw_of,
    lists_of,
    mean_over_lists,
)
from tradeoff.curves.monte_carlo import DEFAULT_SEEDS, check_seeds, simulate
from tradeoff.decoders import KGW, Decoder, FiniteDecoder, Identity, shares_randomness
from tradeoff.estimate import Estimate
from tradeoff.laws import distribution, distribution_pair, entropy, kl_divergence, overlap, total_variation

__all__ = ["MEASURES", "Decomposition", "biased_efficiency", "decompose", "distortion", "mutual_information"]

#: Distances of the mean law from P.
MEASURES = ("kl", "tv")
#: Probabilities that are held at once, where all values of zeta are gone through, and where they are drawn.
_MOST_LAWS = 1 << 24
_BATCH = 1 << 20


@dataclass(frozen=True, eq=False)
class Decomposition:
    """What the strength of a decoder is made of, in nats.

    Attributes:
        strength: E KL(P_zeta || P).
        information: I(w; zeta), the strength of the token's law given zeta against its own mean.
        distortion: KL(E P_zeta || P).
        mean: E P_zeta, [n]; an average over seeds where `exact` is False.
        exact: whether there are no random numbers behind it.
    """

    strength: Estimate
    information: Estimate
    distortion: Estimate
    mean: np.ndarray
    exact: bool


def decompose(
    p: Any,
    decoder: Decoder,
    *,
    lists: str = Lists.INDEPENDENT,
    seeds: int = DEFAULT_SEEDS,
    rng: np.random.Generator | int = 0,
) -> Decomposition:
    """Strength, mutual information and distortion of a decoder.

    A completed decoder has the mean of its own; its token is a function of the key, so that the information
    is Ent(E P_zeta) and the strength the cross-entropy -sum E P_zeta log P.

    Estimates of I and KL are plug-in ones, less their bias of order 1/seeds; errors are by the delta method.

    Args:
        p: distribution [n].
        decoder: any.
        lists: of red and green lists, how green tokens are chosen: "independent", or "fixed" in number.
        seeds, rng: where there is no exact way.

    Raises:
        DistributionError: if p is not a distribution.
        ValueError: for a batch, a way to choose lists that is none, or one for a decoder without lists.
    """
    p = _single(distribution(p))
    lists = _checked(lists, decoder)
    check_seeds(seeds)
    if decoder.unbiased:
        return _unbiased(p, decoder, seeds, rng)
    inner = decoder.completes or decoder
    found = _exact_means(p, inner, lists)
    if found is None:
        return _estimated(p, inner, decoder.completes is not None, lists, seeds, rng)
    strength, mean = found
    if decoder.completes is not None:
        information = float(entropy(mean))
        return _of_numbers(information + float(kl_divergence(mean, p)), information, mean, p)
    if decoder.degenerate:
        return _of_numbers(strength, float(entropy(mean)), mean, p)
    return _of_numbers(strength, max(strength - float(kl_divergence(mean, p)), 0.0), mean, p)


def mutual_information(p: Any, decoder: Decoder, **options: Any) -> Estimate:
    """I(w; zeta) in nats: what the key says of a token to who knows E P_zeta. Arguments as of `decompose`."""
    return decompose(p, decoder, **options).information


def distortion(p: Any, decoder: Decoder, measure: str = "kl", **options: Any) -> Estimate:
    """How far the mean of P_zeta is from P; 0 for unbiased decoders.

    Args:
        p, decoder: as of `decompose`, and so the options.
        measure: "kl" for KL(E P_zeta || P) in nats, "tv" for TV(E P_zeta, P).

    Raises:
        ValueError: for another measure, and for "tv" where the mean is not known exactly: an average of laws
            is always further away than what it estimates.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure={measure!r} is unknown; use one of {', '.join(MEASURES)}")
    found = decompose(p, decoder, **options)
    if measure == "kl":
        return found.distortion
    if not found.exact:
        raise ValueError(
            f"measure='tv' needs the exact mean, which {decoder.name} has for few tokens only; use "
            "measure='kl', or soft independent lists"
        )
    return Estimate(float(total_variation(found.mean, _single(distribution(p)))), 0.0)


def biased_efficiency(
    p: Any,
    q: Any,
    target: Decoder,
    draft: Decoder | None = None,
    *,
    lists: str = Lists.INDEPENDENT,
    seeds: int = DEFAULT_SEEDS,
    rng: np.random.Generator | int = 0,
) -> Estimate:
    """E[1 - TV(Q_zeta, P_zeta)]: what speculation towards the watermarked target accepts, and no kernel more.

    Exact for red and green lists on few tokens, and where zeta has few values. At most
    1 - TV(E Q_zeta, E P_zeta), which may be more than 1 - TV(Q, P).

    Args:
        p, q: target and draft distributions [n].
        target, draft: decoders; `draft` defaults to `target`, without a watermark it is `Identity()`.
        lists, seeds, rng: as of `decompose`.

    Raises:
        DistributionError: if p or q is not a distribution, or they differ in length.
        ValueError: as `decompose`.
    """
    laws = distribution_pair(p, q)
    p, q = _single(laws[0]), _single(laws[1])
    draft = target if draft is None else draft
    lists = _checked(lists, target, draft)
    check_seeds(seeds)
    kgw, shared = kgw_of(target), shares_randomness(target, draft) or not draft.marks
    if kgw is not None and kgw is target and shared:
        every = every_list(kgw.gamma, (p > 0) | (q > 0), lists)
        if every is not None:
            green, weight = every
            of_both = overlap(_under(target, p, green), _under(draft, q, green))
            return Estimate(float(weight @ of_both), 0.0)
        return _efficiency_of_drawn(p, q, kgw, draft, lists, seeds, rng)
    if lists is Lists.FIXED:
        raise ValueError(
            f"lists='fixed' is for {target.name} against itself or a draft without a watermark; leave it out"
        )
    found = simulate(
        lambda law, draft_law, _: overlap(law, draft_law)[:, None], p, q, target, draft, seeds=seeds, rng=rng
    )
    return Estimate(float(found.value[0]), float(found.standard_error[0]))


def _checked(lists: str, *decoders: Decoder) -> Lists:
    if lists not in list(Lists):
        raise ValueError(f"lists={lists!r} is unknown; use one of {', '.join(Lists)}")
    if lists != Lists.INDEPENDENT and kgw_of(decoders[0].completes or decoders[0]) is None:
        raise ValueError(f"lists={lists!r} is for red and green lists; leave it out with {decoders[0].name}")
    return Lists(lists)


def _single(p: Any) -> np.ndarray:
    if p.ndim != 1:
        raise ValueError(f"P has shape {tuple(p.shape)}; pass one distribution [n], and loop over the batch")
    return to_numpy(p)


def _unbiased(p: np.ndarray, decoder: Decoder, seeds: int, rng: np.random.Generator | int) -> Decomposition:
    if decoder.degenerate or not decoder.marks:
        strength = Estimate(float(entropy(p)) if decoder.degenerate else 0.0, 0.0)
    else:
        found = simulate(
            lambda law, *_: kl_divergence(law, p)[:, None], p, p, decoder, Identity(), seeds=seeds, rng=rng
        )
        strength = Estimate(float(found.value[0]), float(found.standard_error[0]))
    return Decomposition(strength, strength, Estimate(0.0, 0.0), p, strength.standard_error == 0)


def _of_numbers(strength: float, information: float, mean: np.ndarray, p: np.ndarray) -> Decomposition:
    moved = float(kl_divergence(mean, p))
    return Decomposition(
        Estimate(strength, 0.0), Estimate(information, 0.0), Estimate(moved, 0.0), mean, True
    )


def _under(decoder: Decoder, p: np.ndarray, green: np.ndarray) -> np.ndarray:
    """P_zeta under lists [batch, n]; p itself without a watermark."""
    spread = np.broadcast_to(p, green.shape)
    return decoder(spread, lists_of(green)) if decoder.marks else spread


def _exact_means(p: np.ndarray, decoder: Decoder, lists: Lists) -> tuple[float, np.ndarray] | None:
    """E KL(P_zeta || P) and E P_zeta of a decoder that is not completed."""
    kgw = kgw_of(decoder)
    if kgw is not None:
        every = every_list(kgw.gamma, p > 0, lists)
        if every is not None:
            green, weight = every
            laws = _under(kgw, p, green)
            return float(weight @ kl_divergence(laws, p)), weight @ laws
        if lists is Lists.FIXED:
            return None
        found = mean_over_lists(p, kgw.gamma, [kgw.delta], kgw.most)
        return None if found is None else (float(found.strength[0]), found.mean[0])
    if isinstance(decoder, FiniteDecoder) and decoder.values * len(p) <= _MOST_LAWS:
        laws = np.broadcast_to(decoder(p, decoder.every()), (decoder.values, len(p)))
        return float(kl_divergence(laws, p).mean()), laws.mean(axis=0)
    return None


def _draws(
    p: np.ndarray, decoder: Decoder, lists: Lists, seeds: int, seed: int
) -> Callable[[], Iterator[np.ndarray]]:
    """P_zeta of `seeds` seeds in batches [batch, n], the same ones at every call."""
    batch = max(1, _BATCH // len(p))

    def drawn() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(seed)
        for start in range(0, seeds, batch):
            size = min(batch, seeds - start)
            if lists is Lists.FIXED:
                kgw = kgw_of(decoder)
                assert kgw is not None
                yield _under(decoder, p, draw_lists(kgw.gamma, rng, size, len(p), lists))
            else:
                zeta = decoder.draw(rng, (size,), len(p))
                yield np.broadcast_to(decoder(np.broadcast_to(p, (size, len(p))), zeta), (size, len(p)))

    return drawn


def _estimated(
    p: np.ndarray,
    decoder: Decoder,
    completed: bool,
    lists: Lists,
    seeds: int,
    rng: np.random.Generator | int,
) -> Decomposition:
    drawn = _draws(p, decoder, lists, seeds, int(np.random.default_rng(rng).integers(2**63)))
    total, squares = np.zeros_like(p), np.zeros_like(p)
    for laws in drawn():
        total += laws.sum(axis=0)
        squares += ((laws - p) ** 2).sum(axis=0)
    mean = total / seeds
    held = mean > 0
    variance = np.maximum(squares / seeds - (mean - p) ** 2, 0.0)
    # What the noise of the mean adds to the plug-in divergence, and takes from the information.
    noise = float((variance[held] / mean[held]).sum()) / (2 * seeds)
    log_mean = np.log(np.where(held, mean, 1.0))
    log_p = np.log(np.where(p > 0, p, 1.0))
    if bool((mean[p == 0] > 0).any()):
        raise ValueError(f"{decoder.name} gives tokens that P rules out; its strength is infinite")
    columns = []
    for laws in drawn():
        moved, against = laws @ (log_mean - log_p), laws @ log_mean
        if completed:
            columns.append((-(laws @ log_p), -against, moved))
        else:
            columns.append((kl_divergence(laws, p), -entropy(laws) - against, moved))
    strength, information, moved = (
        Estimate.of_mean(np.concatenate(parts)) for parts in zip(*columns, strict=True)
    )
    return Decomposition(
        strength,
        Estimate(information.value + noise, information.standard_error),
        Estimate(moved.value - noise, moved.standard_error),
        mean,
        False,
    )


def _efficiency_of_drawn(
    p: np.ndarray,
    q: np.ndarray,
    target: KGW,
    draft: Decoder,
    lists: Lists,
    seeds: int,
    rng: np.random.Generator | int,
) -> Estimate:
    generator, batch, found = np.random.default_rng(rng), max(1, _BATCH // len(p)), []
    for start in range(0, seeds, batch):
        green = draw_lists(target.gamma, generator, min(batch, seeds - start), len(p), lists)
        found.append(overlap(_under(target, p, green), _under(draft, q, green)))
    return Estimate.of_mean(np.concatenate(found))
