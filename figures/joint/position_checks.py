"""Reference values at the 200 positions of real text that `python -m figures figure_1_real` saves (seed 0).

Scores and rates of races are computed from exact laws; those of tournaments are simulated. The values were
found by simulation, independently of this library, and have the tolerance with which they were given.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy import stats

from figures.joint.emitted_bits import emitted_bits
from figures.joint.positions import TEMPERATURES, saved
from figures.reference import Reference
from tradeoff.decoders import SynthID
from tradeoff.detection import expected_race_score, predicted_power, race_score_law
from tradeoff.kernels import Basic, JointTournament, Method
from tradeoff.laws import without_rare

__all__ = ["position_references"]

#: Mean score less 1 at temperatures 1, 0.7, 0.5, 0.3, simulated elsewhere; for one race at 0.7 once more:
#: 300,000 races of these positions give 1.285 +- .002, where the first simulation gave 1.254. It was low
#: without speculation too, where the exact value is the plain sum of P S(P).
_SCORES = {
    "basic": (2.73, 1.352, 0.782, 0.375),
    "joint-race": (2.68, 1.314, 0.749, 0.360),
    "one-race": (2.64, 1.285, 0.709, 0.322),
    "single-key": (2.47, 1.120, 0.583, 0.239),
}
_SCORE_TOLERANCE = 0.02
#: TPR at FPR 1% of 50 tokens at temperature 0.3.
_RATES = {"basic": 0.515, "joint-race": 0.481, "one-race": 0.403, "single-key": 0.236}
_RATE_TOLERANCE = 0.03
_RATE_TOKENS, _RATE_TEMPERATURE = 50, 0.3
#: Mean bit less 1/2 by temperature: no speculation, joint tournament.
_BITS = {1.0: (0.1223, 0.1252), 0.7: (0.0758, 0.0774), 0.5: (0.0480, 0.0492), 0.3: (0.0251, 0.0271)}
_BITS_ERROR = 3e-4
#: TPR of the mean of bits by temperature: tokens, no speculation, joint tournament.
_BIT_RATES = {0.7: (20, 0.903, 0.915), 0.5: (50, 0.909, 0.926), 0.3: (100, 0.657, 0.738)}
_ROUNDS = 30
_TEXTS = 20_000
_FPR = 0.01


def position_references(
    path: Path, *, positions: int = 200, seeds: int = 200, seed: int = 0
) -> list[Reference]:
    """Every reference value.

    Args:
        path: the saved positions.
        positions: how many of them; the values are those of all 200.
        seeds: of the tournaments, at every position.
        seed: of their generators.

    Raises:
        FileError: if the file is missing or no such file.
        ValueError: if it holds fewer positions.
    """
    panels = dict(zip(TEMPERATURES, saved(path, positions), strict=True))
    rows = []
    for column, temperature in enumerate(TEMPERATURES):
        laws = panels[temperature].laws
        for method, values in _SCORES.items():
            mean = float(np.mean([expected_race_score(method, p, q) for p, q in laws])) - 1
            what = f"T = {temperature:g}: score - 1, {method}"
            rows.append(Reference(what, mean, values[column], _SCORE_TOLERANCE))
    for method, value in _RATES.items():
        of_scores = [race_score_law(method, p, q) for p, q in panels[_RATE_TEMPERATURE].laws]
        found = predicted_power(of_scores, _RATE_TOKENS, _FPR)
        what = f"T = {_RATE_TEMPERATURE:g}: TPR of {_RATE_TOKENS} tokens, {method}"
        rows.append(Reference(what, found, value, _RATE_TOLERANCE))
    for temperature, panel in panels.items():
        rng = np.random.default_rng((seed, round(1000 * temperature)))
        rows += _tournaments(temperature, panel.laws, seeds, rng)
    return rows


def _tournaments(
    temperature: float, laws: list[tuple[np.ndarray, np.ndarray]], seeds: int, rng: np.random.Generator
) -> list[Reference]:
    """Mean bits and rates of no speculation and of the joint tournament, on the same bits."""
    decoder = SynthID(_ROUNDS)
    methods: tuple[Method, ...] = (Basic(decoder), JointTournament(decoder))
    # As the reference values were made.
    least = 1e-4 if temperature >= 0.7 else 1e-5
    steps = [emitted_bits(methods, _ROUNDS, *without_rare(p, q, least)[:2], seeds, rng) for p, q in laws]
    rows = []
    for column, method in enumerate(methods):
        ones = np.array([step[column].ones for step in steps])
        found = ones / _ROUNDS
        error = float(np.std(found.mean(axis=0), ddof=1)) / math.sqrt(seeds)
        rows.append(
            Reference(
                f"T = {temperature:g}: mean bit - 1/2, {method.name}",
                float(found.mean()) - 0.5,
                _BITS[temperature][column],
                4 * math.hypot(error, _BITS_ERROR),
                error,
            )
        )
        if temperature in _BIT_RATES:
            tokens, *values = _BIT_RATES[temperature]
            sums = rng.choice(ones.ravel(), (_TEXTS, tokens)).sum(axis=-1)
            # The least number of ones that is as rare as that without a watermark.
            threshold = stats.binom.isf(_FPR, tokens * _ROUNDS, 0.5) + 1
            rate = float((sums >= threshold).mean())
            error = math.sqrt(rate * (1 - rate) / _TEXTS)
            what = f"T = {temperature:g}: TPR of {tokens} tokens, {method.name}"
            rows.append(Reference(what, rate, values[column], _RATE_TOLERANCE, error))
    return rows
