"""Pairs of laws, methods, and what kernels score on them."""

from __future__ import annotations

import numpy as np

from tests.helpers.support import P, Q
from tradeoff.decoders import GumbelMax
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    JointRace,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    SimulatedRandomness,
    SingleKey,
    TargetOnly,
    TwoKeys,
)
from tradeoff.keyed import Stream

METHODS: list[Method] = [
    Basic(GumbelMax()),
    KeepStrength(GumbelMax()),
    KeepEfficiency(),
    TargetOnly(),
    TwoKeys(),
    Algorithm1(),
    SingleKey(),
    OneRace(),
    JointRace(),
]
RACES = ["basic", "joint-race", "one-race", "single-key"]
PAPER = (P, Q)
THREE = (np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5]))
TWO = (np.array([0.9, 0.1]), np.array([0.6, 0.4]))
FOUR = (np.full(4, 0.25), np.array([0.7, 0.1, 0.1, 0.1]))
#: One race reads better on it than both the joint race and no speculation.
DISORDERED = (np.array([0.11, 0.77, 0.12]), np.array([0.14, 0.7, 0.16]))
#: The joint race reads better on it than no speculation.
JOINT_FIRST = (np.array([0.0, 0.2, 0.8]), np.array([0.6, 0.1, 0.3]))
GREEDY = (np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 0.0]))
#: Probabilities down to 1e-12, laws with next to nothing in common, and nearly all.
EXTREME = [
    (np.array([1 - 3e-12, 1e-12, 2e-12]), np.array([1e-12, 0.6, 0.4 - 1e-12])),
    (np.array([0.4, 0.6 - 1e-12, 1e-12]), np.array([1e-12, 1e-12, 1 - 2e-12])),
    (np.array([0.5, 0.3, 0.2]), np.array([0.5, 0.3 + 1e-9, 0.2 - 1e-9])),
    (np.array([1.0, 0.0]), np.array([0.0, 1.0])),
    # r = Q at a token: its two means agree.
    (np.array([0.75, 0.25]), np.array([0.5, 0.5])),
]


def zipf(n: int, power: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.permutation(np.arange(1.0, n + 1) ** -power)
    q = p * rng.lognormal(0, 1, n)
    return p / p.sum(), q / q.sum()


def emitted(
    method: Method, p: np.ndarray, q: np.ndarray, seed: int
) -> tuple[np.ndarray, dict[Stream | None, np.ndarray]]:
    """The kernel's tokens, and its scores by stream, for p and q [rows, n]; None is their sum."""
    randomness = SimulatedRandomness(np.random.default_rng(seed), p.shape[:1], p.shape[1])
    if method.drafts:
        token = method(p, q, method.draft(q, randomness), randomness).token
    else:
        token = method.bonus(p, randomness)
    found: dict[Stream | None, np.ndarray] = {
        stream: -np.log(-np.expm1(-randomness.race_at(stream, token)))
        for stream in Stream
        if stream in method.detection.streams
    }
    return token, found | {None: np.sum(list(found.values()), axis=0)}


def scores_of(method: Method, p: np.ndarray, q: np.ndarray, seed: int) -> dict[Stream | None, np.ndarray]:
    """The scores of `emitted`."""
    return emitted(method, p, q, seed)[1]
