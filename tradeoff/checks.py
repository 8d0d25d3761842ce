"""What a decoder and a method of one's own must satisfy, checked by simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tradeoff.decoders import Decoder
from tradeoff.estimate import Estimate
from tradeoff.kernels import Method, SimulatedRandomness
from tradeoff.laws import distribution, distribution_pair

__all__ = ["check_decoder", "check_method"]

#: Standard errors that a mean may be off: two in a million right decoders are told to be wrong, a token.
_MOST_ERRORS = 5.0
_P, _Q = (0.4, 0.3, 0.2, 0.1), (0.1, 0.2, 0.3, 0.4)


def check_decoder(decoder: Decoder, p: Any = _P, *, seeds: int = 20_000, seed: int = 0) -> Estimate:
    """Raise ValueError unless laws P_zeta are distributions, with the mean P.

    Args:
        decoder: the decoder.
        p: the law [n] that it is tried on.
        seeds: draws of zeta, at least 100.
        seed: of their generator.

    Returns:
        Its strength on P in nats, E KL(P_zeta || P).
    """
    law = np.asarray(distribution(p), float)
    zeta = decoder.draw(np.random.default_rng(seed), (_count(seeds),), len(law))
    laws = np.broadcast_to(np.asarray(decoder(law[None], zeta)), (seeds, len(law)))
    off = np.abs(laws.sum(axis=-1) - 1).max()
    if not (laws.min() > -1e-9 and off < 1e-9):
        raise ValueError(
            f"{decoder.name} gives laws of least entry {laws.min():g} whose sums are off by {off:g}"
        )
    _check_mean(decoder.name, "P_zeta", laws, law)
    held = np.clip(laws, 0, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = np.where(held > 0, held * np.log(held / law), 0.0).sum(axis=-1)
    return Estimate(float(divergence.mean()), float(divergence.std(ddof=1) / math.sqrt(seeds)))


def check_method(method: Method, p: Any = _P, q: Any = _Q, *, seeds: int = 40_000, seed: int = 0) -> Estimate:
    """Raise ValueError unless the tokens that a method emits have the law of the target.

    Args:
        method: with a watermark.
        p, q: laws [n] of target and draft that it is tried on.
        seeds: steps of one draft token, at least 100.
        seed: of their generator.

    Returns:
        The share of draft tokens that were accepted; of a method that drafts nothing, 0.
    """
    target, draft = (np.asarray(law, float) for law in distribution_pair(p, q))
    randomness = SimulatedRandomness(np.random.default_rng(seed), (_count(seeds),), len(target))
    laws, drafts = (np.broadcast_to(law, (seeds, len(law))) for law in (target, draft))
    _check_tokens(method, "bonus token", method.bonus(laws, randomness), target)
    if not method.drafts:
        return Estimate(0.0, 0.0)
    # Numbers of their own: a bonus token comes at another position than a draft.
    randomness = SimulatedRandomness(np.random.default_rng((seed, 1)), (seeds,), len(target))
    verdict = method(laws, drafts, method.draft(drafts, randomness), randomness)
    _check_tokens(method, "token", verdict.token, target)
    share = float(np.mean(verdict.accepted))
    return Estimate(share, math.sqrt(share * (1 - share) / (seeds - 1)))


def _check_tokens(method: Method, what: str, tokens: np.ndarray, law: np.ndarray) -> None:
    emitted = np.asarray(tokens)
    if emitted.shape != (emitted.size,) or emitted.dtype.kind not in "iu":
        raise ValueError(f"{method.name} gives {what}s of shape {emitted.shape} and type {emitted.dtype}")
    _check_mean(method.name, what, (emitted[:, None] == np.arange(len(law))).astype(float), law)


def _check_mean(name: str, what: str, values: np.ndarray, law: np.ndarray) -> None:
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(len(values))
    off = np.abs(mean - law) - 1e-9 > _MOST_ERRORS * error
    if off.any():
        token = int(np.argmax(off))
        raise ValueError(
            f"{name} is biased: the mean of the {what} is {mean[token]:.5f} ± {error[token]:.5f} at token "
            f"{token}, where P has {law[token]:.5f}"
        )


def _count(seeds: int) -> int:
    if not isinstance(seeds, int) or seeds < 100:
        raise ValueError(f"seeds={seeds!r} must be a whole number, at least 100")
    return seeds
