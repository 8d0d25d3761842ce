"""What the tests of kernels share: methods as cases, and the example of a tree."""

from __future__ import annotations

import math

import numpy as np

from tradeoff.decoders import Completed, GumbelMax, SynthID, heavy_water, simplex_water
from tradeoff.kernels import (
    Algorithm1,
    JointRace,
    JointRaceMarked,
    JointRaceTree,
    JointTournament,
    JointTransport,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    OneRaceTree,
    SingleKey,
    Standard,
    TargetOnly,
    TwoKeys,
)

SEEDS = 1_000_000
#: An example on which the acceptance of trees is known.
TREE_P = np.array([0.24, 0.35, 0.15, 0.13, 0.13])
TREE_Q = np.array([0.1, 0.2, 0.05, 0.48, 0.17])

SYNTHID = SynthID(math.inf)
SHORT_SYNTHID = SynthID(3)
SPECULATIVE: list[Method] = [
    Standard(),
    KeepStrength(GumbelMax()),
    KeepStrength(SYNTHID),
    KeepStrength(SHORT_SYNTHID),
    KeepEfficiency(GumbelMax()),
    KeepEfficiency(SHORT_SYNTHID),
    TargetOnly(GumbelMax()),
    TargetOnly(SHORT_SYNTHID),
    TwoKeys(GumbelMax()),
    TwoKeys(SYNTHID),
    TwoKeys(SHORT_SYNTHID),
    TwoKeys(heavy_water(k=64)),
    Algorithm1(GumbelMax()),
    Algorithm1(SYNTHID),
    Algorithm1(SHORT_SYNTHID),
    Algorithm1(Completed(simplex_water(3))),
    SingleKey(),
    OneRace(),
    OneRaceTree(width=1),
    OneRaceTree(width=2),
    OneRaceTree(width=3),
    JointRace(),
    JointRaceTree(width=1),
    JointRaceTree(width=2),
    JointRaceTree(width=3),
    JointTransport(simplex_water(3)),
    JointTournament(SHORT_SYNTHID),
    JointTournament(Completed(SHORT_SYNTHID), cut=0.12),
    JointRaceMarked(Completed(SHORT_SYNTHID)),
]
#: Every method without a tree, as texts of tiny models are written with them.
WITHOUT_A_TREE: list[Method] = [
    Standard(),
    KeepStrength(GumbelMax()),
    KeepStrength(SynthID(5)),
    KeepEfficiency(GumbelMax()),
    TargetOnly(GumbelMax()),
    TwoKeys(SynthID(5)),
    Algorithm1(GumbelMax()),
    Algorithm1(Completed(SynthID(5))),
    Algorithm1(Completed(simplex_water(4))),
    SingleKey(),
    OneRace(),
    JointRace(),
    JointTransport(simplex_water(4)),
    JointTournament(SynthID(5)),
    JointTournament(Completed(SynthID(5))),
    JointRaceMarked(Completed(SynthID(5))),
]


def describe(method: Method) -> str:
    width = f" {method.width}" if method.width > 1 else ""
    return f"{method.name}{width}, {method.decoder.name}"


def spread(law: np.ndarray, seeds: int) -> np.ndarray:
    return np.broadcast_to(law, (seeds, len(law)))
