"""Reference values of the joint race, its limit and the joint tournament, and what is computed for them.

Those with six digits were computed independently of this library; simulated ones have the tolerance with
which they were given.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from rich.console import Console

from figures.joint.emitted_bits import emitted_bits
from figures.joint.position_checks import position_references
from figures.reference import Reference, print_references
from tradeoff.curves import PAPER_P, PAPER_Q, race_limit
from tradeoff.decoders import SynthID
from tradeoff.detection import expected_race_score
from tradeoff.kernels import Basic, JointTournament
from tradeoff.laws import overlap

__all__ = ["check_references", "references"]

_PAIRS = {
    "the paper's pair": (PAPER_P, PAPER_Q),
    "(.5, .3, .2) and (.2, .3, .5)": (np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])),
    "(.9, .1) and (.6, .4)": (np.array([0.9, 0.1]), np.array([0.6, 0.4])),
    "uniform on 4 and (.7, .1, .1, .1)": (np.full(4, 0.25), np.array([0.7, 0.1, 0.1, 0.1])),
}
#: Expected score less 1: no speculation, joint race, one race, and the limit.
_SCORES = {
    "the paper's pair": (1.788965, 1.742585, 1.711861, 1.753),
    "(.5, .3, .2) and (.2, .3, .5)": (0.783793, 0.743028, 0.711754, 0.748),
    "(.9, .1) and (.6, .4)": (0.255242, 0.255242, 0.246554, 0.260),
    "uniform on 4 and (.7, .1, .1, .1)": (1.083333, 1.083333, 1.010007, 1.083),
}
#: Mean bit of the emitted token less 1/2: pair, rounds, no speculation, joint tournament.
_BITS = (
    ("the paper's pair", 30, 0.1145, 0.1126),
    ("the paper's pair", 5, 0.2021, 0.2155),
    ("(.5, .3, .2) and (.2, .3, .5)", 30, 0.0579, 0.0588),
)
#: Simulated values were given with a standard error of at most .0002.
_BITS_ERROR = 2e-4
_CHUNK = 20_000


def references(*, seeds: int = 200_000, races: int = 200_000, seed: int = 0) -> list[Reference]:
    """Every reference value.

    Args:
        seeds: of the tournaments.
        races: of the limit's certificate.
        seed: of their generators.
    """
    rows = []
    for name, (basic, joint, one, most) in _SCORES.items():
        p, q = _PAIRS[name]
        for method, value in (("basic", basic), ("joint-race", joint), ("one-race", one)):
            score = float(expected_race_score(method, p, q)) - 1
            rows.append(Reference(f"{name}: score - 1, {method}", score, value, 1e-6))
        found = race_limit(p, q, races=races, seed=seed).dual
        error = float(found.standard_error)
        rows.append(
            Reference(f"{name}: score - 1, limit", float(found.value) - 1, most, 0.003 + 4 * error, error)
        )
    single = float(expected_race_score("single-key", PAPER_P, PAPER_Q)) - 1
    rows.append(Reference("the paper's pair: score - 1, single-key", single, 1.591, 0.003))
    for name, rounds, basic, joint in _BITS:
        p, q = _PAIRS[name]
        rng = np.random.default_rng((seed, rounds))
        bits, accepted = _tournaments(p, q, rounds, seeds, rng)
        for method, value in (("basic", basic), ("joint-tournament", joint)):
            mean = float(bits[method].mean()) - 0.5
            error = float(bits[method].std(ddof=1)) / math.sqrt(seeds)
            what = f"{name}: mean bit - 1/2, m = {rounds}, {method}"
            rows.append(Reference(what, mean, value, 4 * math.hypot(error, _BITS_ERROR), error))
        rate = float(overlap(p, q))
        error = math.sqrt(rate * (1 - rate) / seeds)
        what = f"{name}: acceptance, m = {rounds}, joint-tournament"
        rows.append(Reference(what, accepted / seeds, rate, 4 * error, error))
    return rows


def _tournaments(
    p: np.ndarray, q: np.ndarray, rounds: int, seeds: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], int]:
    """Mean bit of the emitted token, by method, [seeds]; and how many draft tokens were accepted."""
    decoder = SynthID(rounds)
    methods = (JointTournament(decoder), Basic(decoder))
    bits: dict[str, list[np.ndarray]] = {method.name: [] for method in methods}
    accepted = 0
    for first in range(0, seeds, _CHUNK):
        found = emitted_bits(methods, rounds, p, q, min(_CHUNK, seeds - first), rng)
        accepted += int(found[0].accepted.sum())
        for method, part in zip(methods, found, strict=True):
            bits[method.name].append(part.ones / rounds)
    return {name: np.concatenate(parts) for name, parts in bits.items()}, accepted


def check_references(console: Console, *, pairs: Path | None, seed: int = 0) -> bool:
    """Print every reference value beside what is computed; whether all hold.

    Args:
        console: where to.
        pairs: saved positions of real text, or None to leave their values out; where the file is missing, a
            line says that they were not looked at.
        seed: of what is simulated.
    """
    rows = references(seed=seed)
    if pairs is not None and pairs.exists():
        rows += position_references(pairs, seed=seed)
    held = print_references(console, rows)
    if pairs is not None and not pairs.exists():
        console.print(
            f"{pairs} does not exist: values at positions of real text were not checked; "
            "python -m figures figure_1_real saves them",
            soft_wrap=True,
        )
    return held
