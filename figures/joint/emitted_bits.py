"""What a detector of SynthID reads of one step: the bits of the emitted token, simulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tradeoff.kernels import Method, SimulatedRandomness
from tradeoff.keyed import Stream

__all__ = ["EmittedBits", "emitted_bits"]


class EmittedBits(NamedTuple):
    """Of every seed: ones among the bits of the emitted token, whether a draft was accepted: [seeds] each."""

    ones: np.ndarray
    accepted: np.ndarray


def emitted_bits(
    methods: Sequence[Method],
    rounds: int,
    p: np.ndarray,
    q: np.ndarray,
    seeds: int,
    rng: np.random.Generator,
) -> list[EmittedBits]:
    """One step of every method on the same bits, a method after the other.

    Args:
        methods: of one SynthID of so many `rounds`, drawn by one stream.
        p, q: target and draft law, [n].
        seeds: how many steps.
        rng: of the bits and of true randomness.
    """
    targets, drafts = (np.broadcast_to(law, (seeds, len(law))) for law in (p, q))
    randomness = SimulatedRandomness(rng, (seeds,), len(p))
    word = randomness.zeta(Stream.SHARED, methods[0].decoder).word(0)
    found = []
    for method in methods:
        if method.drafts:
            accepted, token = method(targets, drafts, method.draft(drafts, randomness), randomness)
        else:
            accepted, token = np.zeros(seeds, dtype=bool), method.bonus(targets, randomness)
        own = np.take_along_axis(word, token[:, None], axis=-1)
        found.append(EmittedBits(((own >> np.arange(rounds)) & 1).sum(axis=-1), accepted))
    return found
