"""The exact law of a kernel's token given everything pseudorandom, for every seed at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sims.tools.common import spread
from tradeoff.decoders import one_hot
from tradeoff.kernels import Method, SimulatedRandomness
from tradeoff.laws import draft_acceptance, residual

__all__ = ["Draws", "law_given_key", "step"]

_LOW, _HIGH = 2.0**-54, 1 - 2.0**-53


class Draws(NamedTuple):
    """One step of every seed: draft token, whether accepted, emitted token, each [seeds], and its numbers.

    A method without drafts emits its bonus token, which stands for the draft, accepted.
    """

    draft: np.ndarray
    accepted: np.ndarray
    token: np.ndarray
    randomness: SimulatedRandomness


class _ScriptedTruth(SimulatedRandomness):
    """Pseudorandom numbers as always; every true uniform number is `value`."""

    value = _LOW

    def uniform(self) -> np.ndarray:
        return np.full(self._batch, self.value)


def step(method: Method, p: np.ndarray, q: np.ndarray, seeds: int, rng: np.random.Generator) -> Draws:
    """Draft and verify once a seed, p and q [n]."""
    randomness = SimulatedRandomness(rng, (seeds,), len(p))
    targets, drafts = spread(p, seeds), spread(q, seeds)
    if not method.drafts:
        token = method.bonus(targets, randomness)
        return Draws(token, np.ones(seeds, dtype=bool), token, randomness)
    draft = method.draft(drafts, randomness)
    verdict = method(targets, drafts, draft, randomness)
    return Draws(draft, verdict.accepted, verdict.token, randomness)


def law_given_key(
    method: Method, p: np.ndarray, q: np.ndarray, seeds: int, rng: np.random.Generator
) -> np.ndarray:
    """P_zeta of the emitted token, [seeds, n], for a degenerate decoder.

    Given zeta, draft and replacement are fixed tokens (or the replacement is truly random, of law (P-Q)_+),
    and only a truly random coin may be left: the kernel is run with the lowest and the highest coin there is,
    and the two outcomes have weights a and 1 - a. A kernel with a keyed coin gives the same token twice.
    """
    randomness = _ScriptedTruth(rng, (seeds,), len(p))
    targets, drafts = spread(p, seeds), spread(q, seeds)
    draft = method.draft(drafts, randomness)
    low = method(targets, drafts, draft, randomness)
    randomness.value = _HIGH
    high = method(targets, drafts, draft, randomness)
    a = draft_acceptance(targets, drafts, draft)[:, None]
    rest = one_hot(high.token, targets)
    if method.detection.replaced is None:
        rest = np.where(high.accepted[:, None], rest, residual(p, q))
    return a * one_hot(low.token, targets) + (1 - a) * rest
