"""Acceptance and strength of the kernels on next-token pairs (P, Q) of a real model pair, whole vocabulary.

Everything here is conditional on the positions: P and Q are fixed, predictions are exact sums over the
vocabulary, and only pseudorandom numbers are drawn, independently for every position, seed and method.
That positions of one text resemble each other therefore costs no error bar anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sims.tools.common import spread
from sims.tools.kernel_laws import law_given_key, step
from sims.tools.rows import Row, compare
from sims.trade_off.theorem_4_1 import label
from tradeoff.curves import google_end_point_strength, hu_end_point_strength
from tradeoff.decoders import GumbelMax, SynthID
from tradeoff.kernels import (
    Algorithm1,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    SingleKey,
    Standard,
    TwoKeys,
)
from tradeoff.laws import entropy, kl_divergence, overlap

if TYPE_CHECKING:
    from tradeoff.llm import NextTokenPairs

__all__ = ["KEPT", "SYNTHID", "TEMPERATURE", "kernel_rows"]

#: Of the laws that the kernels see.
TEMPERATURE = 1.0
#: A finite tournament: its strength stays below the entropy.
SYNTHID = Algorithm1(SynthID(30))
KEPT = KeepStrength(GumbelMax())
_ACCEPTING: list[Method] = [
    Standard(),
    KeepEfficiency(GumbelMax()),
    Algorithm1(GumbelMax()),
    SYNTHID,
    SingleKey(),
    OneRace(),
    KEPT,
]
#: Seeds are divided by this where one costs more: the law given the key, and tournaments.
_SLOWER, _FEWEST = 3, 8

Laws = list[tuple[np.ndarray, np.ndarray]]
Formula = Callable[[np.ndarray, np.ndarray], Any]


def _largest(p: np.ndarray, _: np.ndarray) -> Any:
    return entropy(p)


_STRENGTHS: list[tuple[Method, Formula, str]] = [
    (Algorithm1(GumbelMax()), _largest, "Ent(P)"),
    (SingleKey(), _largest, "Ent(P)"),
    (OneRace(), _largest, "Ent(P)"),
    (KEPT, _largest, "Ent(P)"),
    (TwoKeys(GumbelMax()), google_end_point_strength, "Ent(P) − Σ Q h(a)"),
    (KeepEfficiency(GumbelMax()), hu_end_point_strength, "Ent(P) − Σ Q h(a) − TV Ent((P−Q)₊)"),
]


@dataclass(frozen=True)
class _Values:
    """One number a position and seed, and its exact expectation at every position.

    Attributes:
        drawn: [positions, seeds].
        predicted: [positions].
        variance: of one number at every position, [positions].
    """

    drawn: np.ndarray
    predicted: np.ndarray
    variance: np.ndarray

    @classmethod
    def coins(cls, drawn: list[np.ndarray], probability: list[Any]) -> _Values:
        """Outcomes of coins, whose variance is known."""
        p = np.array(probability, float)
        # A probability of 1 may exceed it by rounding.
        return cls(np.array(drawn, float), p, np.maximum(p * (1 - p), 0))

    @classmethod
    def numbers(cls, drawn: list[np.ndarray], predicted: list[Any]) -> _Values:
        """Numbers whose variance is estimated within each position."""
        return cls(np.array(drawn), np.array(predicted, float), np.array(drawn).var(axis=1, ddof=1))

    @property
    def mean(self) -> tuple[float, float]:
        """Over positions and seeds, with its standard error given the positions."""
        return float(self.drawn.mean()), float(np.sqrt(self._squared_errors.sum())) / len(self.drawn)

    def slope(self, predicted: np.ndarray) -> tuple[float, float]:
        """Of the numbers on `predicted: [positions]`, with its standard error given the positions."""
        centred = predicted - predicted.mean()
        square = float((centred**2).sum())
        slope = float(centred @ self.drawn.mean(axis=1)) / square
        return slope, float(np.sqrt(centred**2 @ self._squared_errors)) / square

    def table(self, what: str, method: Method) -> pd.DataFrame:
        """One line a position."""
        columns = {
            "what": what,
            "method": label(method),
            "index": np.arange(len(self.drawn)),
            "temperature": TEMPERATURE,
            "predicted": self.predicted,
            "estimate": self.drawn.mean(axis=1),
            "error": np.sqrt(self._squared_errors),
        }
        return pd.DataFrame(columns)

    @property
    def _squared_errors(self) -> np.ndarray:
        return self.variance / self.drawn.shape[1]


def kernel_rows(
    name: str, pairs: NextTokenPairs, seeds: int, rng: np.random.Generator
) -> tuple[list[Row], pd.DataFrame]:
    """Rows on acceptance and strength, and the table of every position.

    Args:
        name: of the statement.
        pairs: next-token pairs; all of them are used.
        seeds: runs of a kernel at every position; a third (at least 8) where one run costs more.
        rng: for everything pseudorandom.
    """
    laws = [pairs.probabilities(k, TEMPERATURE) for k in range(len(pairs))]
    fewer = max(seeds // _SLOWER, _FEWEST)
    parts = (
        _acceptance(name, laws, seeds, fewer, rng),
        _strength(name, laws, fewer, rng),
        _tournaments(name, laws, fewer, rng),
    )
    rows = [row for part, _ in parts for row in part]
    return rows, pd.concat([table for _, tables in parts for table in tables], ignore_index=True)


Part = tuple[list[Row], list[pd.DataFrame]]


def _acceptance(name: str, laws: Laws, seeds: int, fewer: int, rng: np.random.Generator) -> Part:
    """Every kernel accepts with its own formula, on average and from position to position."""
    rows, tables = [], []
    most = np.array([overlap(p, q) for p, q in laws])
    for method in _ACCEPTING:
        count = fewer if method is SYNTHID else seeds
        drawn = [step(method, p, q, count, rng).accepted for p, q in laws]
        values = _Values.coins(drawn, [method.efficiency(p, q) for p, q in laws])
        formula = "Σ π_ii" if method is KEPT else "1 − TV"
        rows += [
            compare(name, f"{label(method)}: acceptance, {formula}", values.predicted.mean(), *values.mean),
            compare(name, f"{label(method)}: slope on {formula}", 1.0, *values.slope(values.predicted)),
        ]
        tables.append(values.table("acceptance", method))
        if method is KEPT:
            what = f"{label(method)}: Σ π_ii is 1 − TV, exactly"
            rows.append(compare(name, what, most.mean(), values.predicted.mean(), control=True))
        elif method == OneRace():
            mixed = np.array([overlap(p, laws[k - 1][1]) for k, (p, _) in enumerate(laws)])
            order = np.argsort(most)
            swapped = np.empty_like(most)
            swapped[order] = most[order[::-1]]
            moved = values.slope(swapped)
            rows += [
                compare(name, "1 − TV with Q of another position", mixed.mean(), *values.mean, control=True),
                compare(name, "slope on 1 − TV, highest and lowest swapped", 1.0, *moved, control=True),
            ]
    return rows, tables


def _strength(name: str, laws: Laws, seeds: int, rng: np.random.Generator) -> Part:
    """Strength of the emitted token's law given everything pseudorandom, in the two ways of Definition 3.1.

    The entropy drop has an error of what randomness is left alone: none with a keyed coin.
    """
    rows, tables = [], []
    most = np.array([entropy(p) for p, _ in laws])
    for method, formula, words in _STRENGTHS:
        divergence, drop = [], []
        for (p, q), whole in zip(laws, most, strict=True):
            law = law_given_key(method, p, q, seeds, rng)
            divergence.append(kl_divergence(law, p))
            drop.append(whole - entropy(law))
        predicted = [formula(p, q) for p, q in laws]
        values, fallen = (_Values.numbers(drawn, predicted) for drawn in (divergence, drop))
        what, expected = f"{label(method)}: strength {words}", values.predicted.mean()
        rows += [
            compare(name, f"{what}, E KL", expected, *values.mean),
            compare(name, f"{what}, entropy drop", expected, *fallen.mean),
        ]
        if formula is not _largest:
            what = f"{label(method)}, truly random coin: strength Ent(P)"
            rows.append(compare(name, what, most.mean(), *fallen.mean, control=True))
        tables.append((values if formula is _largest else fallen).table("strength", method))
    return rows, tables


def _tournaments(name: str, laws: Laws, seeds: int, rng: np.random.Generator) -> Part:
    """SynthID with a finite m: strength below the entropy by what entropy is left given zeta."""
    divergence, left = [], []
    for p, _ in laws:
        law = SYNTHID.decoder(spread(p, seeds), SYNTHID.decoder.draw(rng, (seeds,), len(p)))
        divergence.append(kl_divergence(law, p))
        left.append(entropy(law))
    largest = [entropy(p) for p, _ in laws]
    strength = _Values.numbers(divergence, largest)
    # Ent(P) = E KL + E Ent(P_zeta) for an unbiased decoder (Definition 3.1).
    total = _Values.numbers([k + e for k, e in zip(divergence, left, strict=True)], largest)
    fallen = _Values.numbers([most - e for most, e in zip(largest, left, strict=True)], largest)
    most, decoder = float(np.mean(largest)), SYNTHID.decoder.name
    rows = [
        compare(name, f"{decoder}: strength, at most Ent(P)", most, *strength.mean, relation="≤"),
        compare(name, f"{decoder}: strength and entropy left, Ent(P)", most, *total.mean),
        compare(name, f"{decoder}: strength Ent(P)", most, *fallen.mean, control=True),
    ]
    return rows, [fallen.table("strength", SYNTHID)]
