"""Draft and verify: the rules by which a token is drafted, accepted and replaced."""

from tradeoff.kernels.keyed_randomness import KeyedRandomness
from tradeoff.kernels.method import (
    METHODS,
    Coin,
    Columns,
    Detection,
    Method,
    Verdict,
    draw,
    drawn,
    drawn_from_residual,
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
    OneRace,
    OneRaceTree,
    SingleKey,
    remaining_race,
    winning_time,
)
from tradeoff.kernels.race_tree import TreeVerdict
from tradeoff.kernels.randomness import Randomness, SimulatedRandomness, open_uniform

__all__ = [
    "METHODS",
    "WIDEST",
    "Algorithm1",
    "Basic",
    "Coin",
    "Columns",
    "Detection",
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
