"""The paper's claims, each decided by the tables of a run: seen or not seen, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from paper_repro.detection import Trial

__all__ = ["Claim", "claims"]

#: A claim in words, whether it was seen, and the numbers.
Claim = tuple[str, bool, str]

_Z95 = 1.96
#: Differences between unbiased methods are called the same within this many standard errors.
_SAME = 3.0


def claims(trials: Sequence[Trial], speed: pd.DataFrame) -> list[Claim]:
    """What a run says about the paper's claims, and about one race.

    Detectors are compared by their TPR averaged over all lengths tried, so that no length is picked; on
    the same texts the difference is paired.
    """
    found = [*_efficiency(speed), *_perplexity(speed)]
    pairs = (
        ("algorithm-1", "Ars-τ", "Ars-Prior"),
        ("algorithm-1", "Bayes-MLP", "Bayes-Prior (per layer)"),
        ("algorithm-1", "Bayes-MLP", "Bayes-Prior (per token)"),
        ("algorithm-1", "Bayes-Prior (per token)", "Bayes-Prior (per layer)"),
        ("algorithm-1", "sum of both keys", "Ars-τ"),
        ("algorithm-1", "likelihood ratio, two keys", "sum of both keys"),
        ("one-race", "likelihood ratio", "Aaronson"),
    )
    for method, better, worse in pairs:
        for first, second in _matching(trials, (method, better), (method, worse)):
            found.append(_above(first, second, f"{better} detects more than {worse} ({method})", paired=True))
    across = (
        (("one-race", "Aaronson"), ("algorithm-1", "Ars-τ")),
        (("one-race", "Aaronson"), ("single-key", "Aaronson")),
        (("one-race", "Aaronson"), ("algorithm-1", "likelihood ratio, two keys")),
    )
    for ours, theirs in across:
        for first, second in _matching(trials, ours, theirs):
            name = f"{ours[0]} with {ours[1]} detects more than {theirs[0]} with {theirs[1]}"
            found.append(_above(first, second, name, paired=False))
    for first, second in _matching(trials, ("one-race", "Aaronson"), ("algorithm-1", "oracle")):
        difference, error = _difference(first, second, paired=False)
        found.append(
            (
                "one race with the plain Aaronson test reaches the oracle of Algorithm 1",
                difference + _Z95 * error >= 0,
                _shown(difference, error),
            )
        )
    return found


def _efficiency(speed: pd.DataFrame) -> list[Claim]:
    """AATPS of every method against standard speculative sampling, same prompts, temperature and K."""
    found = []
    columns = ["prompts", "temperature", "lookahead"]
    standard = speed[speed["method"] == "standard"].set_index(columns)
    for method in ("algorithm-1", "one-race", "single-key"):
        rows = speed[speed["method"] == method]
        z, gaps = [], []
        for row in rows.to_dict("records"):
            key = tuple(row[c] for c in columns)
            if key in standard.index:
                other = standard.loc[key]
                error = math.hypot(row["aatps_error"], other["aatps_error"])
                z.append((row["aatps"] - other["aatps"]) / error)
                gaps.append(row["aatps"] - other["aatps"])
        if z:
            pooled = sum(z) / math.sqrt(len(z))
            found.append(
                (
                    f"AATPS of {method} equals that of standard speculative sampling",
                    abs(pooled) < _SAME,
                    f"mean difference {np.mean(gaps):+.3f} over {len(z)} settings, pooled z {pooled:+.1f}",
                )
            )
    return found


def _perplexity(speed: pd.DataFrame) -> list[Claim]:
    """Mean surprise minus entropy is 0 for a method that leaves the law of the model as it is."""
    found = []
    for method, rows in speed[speed["watermark"] != "none"].groupby("method", sort=False):
        weight = 1 / rows["excess_surprise_error"] ** 2
        mean = float((rows["excess_surprise"] * weight).sum() / weight.sum())
        error = float(1 / math.sqrt(weight.sum()))
        found.append(
            (
                f"LOGPPL unchanged by {method}: mean surprise equals the entropy of the target",
                abs(mean) < _SAME * error,
                f"difference {mean:+.4f} ± {error:.4f} nats a token",
            )
        )
    return found


def _matching(
    trials: Sequence[Trial], first: tuple[str, str], second: tuple[str, str]
) -> list[tuple[list[Trial], list[Trial]]]:
    """Pairs of trials lists (one trial a set of prompts) with one watermark and temperature."""

    def grouped(wanted: tuple[str, str]) -> dict[tuple, list[Trial]]:
        groups: dict[tuple, list[Trial]] = {}
        for trial in trials:
            if (trial.cell.method, trial.detector) == wanted:
                groups.setdefault((trial.cell.watermark, trial.cell.temperature), []).append(trial)
        return groups

    ours, theirs = grouped(first), grouped(second)
    return [(ours[key], theirs[key]) for key in ours if key in theirs]


def _shares(trials: Sequence[Trial]) -> np.ndarray:
    """For every text the share of lengths at which it was detected."""
    return np.concatenate([(trial.margins >= 0).mean(axis=1) for trial in trials])


def _difference(first: Sequence[Trial], second: Sequence[Trial], *, paired: bool) -> tuple[float, float]:
    a, b = _shares(first), _shares(second)
    if paired:
        gaps = a - b
        return float(gaps.mean()), float(gaps.std(ddof=1) / math.sqrt(len(gaps)))
    error = math.hypot(a.std(ddof=1) / math.sqrt(len(a)), b.std(ddof=1) / math.sqrt(len(b)))
    return float(a.mean() - b.mean()), float(error)


def _above(first: Sequence[Trial], second: Sequence[Trial], name: str, *, paired: bool) -> Claim:
    difference, error = _difference(first, second, paired=paired)
    return name, difference - _Z95 * error > 0, _shown(difference, error)


def _shown(difference: float, error: float) -> str:
    low, high = difference - _Z95 * error, difference + _Z95 * error
    return f"difference of mean TPR {difference:+.3f}, 95% interval {low:+.3f} to {high:+.3f}"
