"""Draft and verify: the rules by which a token is drafted, accepted and replaced."""

from tradeoff.kernels.keyed_randomness import KeyedRandomness
from tradeoff.kernels.method import (
    JOINT,
    METHODS,
    Coin,
    Columns,
    Detection,
    Method,
    Verdict,
    draw,
    drawn,
    drawn_from_residual,
    joint_name,
    keyed_coin,
    make_method,
    method_type,
    random_coin,
    random_draw,
    random_residual,
    register_method,
)
from tradeoff.kernels.methods import Algorithm1, Basic, KeepEfficiency, KeepStrength, Standard, TwoKeys
from tradeoff.kernels.race_methods import (
    WIDEST,
    JointRace,
    JointRaceTree,
    OneRace,
    OneRaceTree,
    SingleKey,
    joint_clocks,
    remaining_race,
    winning_time,
)
from tradeoff.kernels.race_tree import TreeVerdict
from tradeoff.kernels.randomness import Randomness, SimulatedRandomness, open_uniform
from tradeoff.kernels.transport_method import JointTransport

# isort: split
# Methods stand in the order of their imports: this one behind those of one race.
from tradeoff.kernels.joint_tournament import JointTournament

__all__ = [
    "JOINT",
    "METHODS",
    "WIDEST",
    "Algorithm1",
    "Basic",
    "Coin",
    "Columns",
    "Detection",
    "JointRace",
    "JointRaceTree",
    "JointTournament",
    "JointTransport",
    "KeepEfficiency",
    "KeepStrength",
    "KeyedRandomness",
    "Method",
    "OneRace",
    "OneRaceTree",
    "Randomness",
    "SimulatedRandomness",
    "SingleKey",
    "Standard",
    "TreeVerdict",
    "TwoKeys",
    "Verdict",
    "draw",
    "drawn",
    "drawn_from_residual",
    "joint_clocks",
    "joint_name",
    "keyed_coin",
    "make_method",
    "method_type",
    "open_uniform",
    "random_coin",
    "random_draw",
    "random_residual",
    "register_method",
    "remaining_race",
    "winning_time",
]
