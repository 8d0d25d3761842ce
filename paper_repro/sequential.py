"""Tokens to detection on the texts of a preset: betting, the anchored e*, and fixed-length tests over time.

A text that is not detected within its length counts as detected at its length where medians are compared,
which favours the slower test. What is fitted (likelihood ratios, tau, the eps of e*) saw other texts than it
is tried on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from paper_repro.detection import CellEvidence, Fold, Limits
from paper_repro.replays import BUCKETS
from tradeoff.detection import Detector, Evidence
from tradeoff.detection.anchored import Anchored, AnchorReading, DraftAware, fit_eps, race_after_miss
from tradeoff.detection.choice import default_bets
from tradeoff.detection.sequential import Sequential, SequentialResult

__all__ = ["ALPHAS", "SequentialTrial", "sequential_table", "sequential_trials", "share_table"]

#: Levels of all tests: those of the paper's experiment, and one of the report's other sections.
ALPHAS = (0.02, 0.01)
BETTING, ANCHORED, BONFERRONI, FIXED = "betting", "anchored", "Bonferroni over time", "fixed length"
_RESAMPLES = 2_000
#: Lengths at which fixed-length tests are tried: every so many tokens.
_STEP = 5


@dataclass(frozen=True)
class SequentialTrial:
    """One test on one cell.

    Attributes:
        texts: that were tested.
        test, kind: name, and one of the four kinds.
        which: [n] numbers of the texts tested, in the order of the cell.
        needed: by level, [n] tokens until the verdict, infinite where there was none.
    """

    texts: CellEvidence
    test: str
    kind: str
    which: np.ndarray = field(repr=False)
    needed: dict[float, np.ndarray] = field(repr=False)


def sequential_trials(
    texts: CellEvidence,
    folds: Sequence[Fold],
    readings: Sequence[AnchorReading] = (),
    vocabulary_size: int = 0,
    report: Callable[[str], None] = lambda _: None,
) -> list[SequentialTrial]:
    """Every sequential test on the texts of a cell.

    Args:
        texts: of the cell.
        folds: fixed-length detectors, and the texts that they have not seen.
        readings: of the first texts by the draft model; none to leave anchored tests out.
        vocabulary_size: of the models, for readings.
        report: called with what is being done.
    """
    everything = np.arange(len(texts.texts))
    bets = Sequential(default_bets(texts.method))
    report(bets.name)
    found = [_of_results(texts, bets.name, BETTING, everything, [bets.test(e) for e in texts.texts])]
    found += _anchored(texts, readings, vocabulary_size)
    names = [d.name for d in folds[0].detectors if _has_small_p_values(d)]
    for name in names:
        report(f"{name}, over time")
        parts = [(fold, next(d for d in fold.detectors if d.name == name)) for fold in folds]
        for kind, needs in ((BONFERRONI, _over_time_needs), (FIXED, _fixed_length_needs)):
            needed = {alpha: np.full(len(everything), np.inf) for alpha in ALPHAS}
            for fold, detector in parts:
                for alpha in ALPHAS:
                    limits = Limits(detector, _level(kind, alpha))
                    for i in fold.tested:
                        needed[alpha][i] = needs(detector, texts.texts[i], limits)
            found.append(SequentialTrial(texts, name, kind, everything, needed))
    return found


def _has_small_p_values(detector: Detector) -> bool:
    """Not those whose law is simulated, nor the oracle, which is no detector."""
    return "simulated" not in detector.null and detector.name != "oracle"


def _level(kind: str, alpha: float) -> Callable[[int], float]:
    """The p-value to reach with a number of scored tokens."""
    return (lambda count: alpha / (count * (count + 1))) if kind == BONFERRONI else (lambda _: alpha)


def _over_time_needs(detector: Detector, evidence: Evidence, limits: Limits) -> float:
    """After how many tokens the score first exceeds its threshold."""
    sums = np.cumsum(detector.contributions(evidence))
    above = np.flatnonzero(sums >= limits(np.arange(1, len(sums) + 1)))
    return float(evidence.index[above[0]]) + 1 if len(above) else math.inf


def _fixed_length_needs(detector: Detector, evidence: Evidence, limits: Limits) -> float:
    """From which length on, of every fifth one, the text is detected at all."""
    sums = np.concatenate([[0.0], np.cumsum(detector.contributions(evidence))])
    end = int(evidence.index[-1]) + 1 if len(evidence) else 0
    lengths = np.arange(_STEP, end + _STEP, _STEP)
    counts = np.searchsorted(evidence.index, lengths)
    below = np.flatnonzero(sums[counts] < limits(counts))
    detected = lengths[below[-1] + 1 :] if len(below) else lengths
    return float(detected[0]) if len(detected) else math.inf


def _of_results(
    texts: CellEvidence, test: str, kind: str, which: np.ndarray, results: Sequence[SequentialResult]
) -> SequentialTrial:
    needed = {
        alpha: np.array([math.inf if (n := r.tokens_needed(alpha)) is None else n for r in results], float)
        for alpha in ALPHAS
    }
    return SequentialTrial(texts, test, kind, which, needed)


def _anchored(
    texts: CellEvidence, readings: Sequence[AnchorReading], vocabulary_size: int
) -> list[SequentialTrial]:
    """Draft-aware bets, and e* on tokens and buckets, its eps from the texts of the other half."""
    if len(readings) < 2:
        return []
    which = np.arange(len(readings))
    aware = DraftAware(vocabulary_size, race_after_miss(texts.method))
    results = [aware.test(e, r) for e, r in zip(texts.texts, readings, strict=False)]
    found = [_of_results(texts, aware.name, ANCHORED, which, results)]
    for values, label in ((vocabulary_size, "tokens"), *((m, f"{m} buckets") for m in BUCKETS)):
        eps = [fit_eps(readings[1 - half :: 2], values) for half in (0, 1)]
        tests = [Anchored(values, eps[i % 2], label) for i in which]
        results = [test.test(reading) for test, reading in zip(tests, readings, strict=True)]
        found.append(_of_results(texts, tests[0].name, ANCHORED, which, results))
    return found


def sequential_table(trials: Sequence[SequentialTrial], seed: int = 0) -> pd.DataFrame:
    """Tokens to detection, one row a test and level; prompts pooled.

    Columns: median with a 95% interval (order statistics), quartiles, share detected, and against the best
    fixed-length test over time on the same texts `reduction` of the median with a 95% bootstrap interval over
    texts. Of a fixed-length test the median is the length at which half of the texts are detected for good,
    chosen with hindsight.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for group in _pooled(trials).values():
        by_test = {(t[0].test, t[0].kind): t for t in group.values()}
        for alpha in ALPHAS:
            baselines = {
                test: np.median(_needed(parts, alpha))
                for (test, kind), parts in by_test.items()
                if kind == BONFERRONI
            }
            best = min(baselines, key=lambda test: baselines[test]) if baselines else None
            for (test, kind), parts in by_test.items():
                row = _row(parts, test, kind, alpha)
                if best is not None and kind != BONFERRONI:
                    other = _needed(by_test[best, BONFERRONI], alpha, parts)
                    row |= {"baseline": best, **_reduction(_needed(parts, alpha), other, rng)}
                rows.append(row)
    return pd.DataFrame(rows)


def share_table(trials: Sequence[SequentialTrial], step: int = _STEP) -> pd.DataFrame:
    """Share of texts detected by each number of tokens; prompts pooled."""
    rows: list[dict[str, Any]] = []
    for group in _pooled(trials).values():
        for parts in group.values():
            longest = max(part.texts.cell.max_tokens for part in parts)
            for alpha in ALPHAS:
                needed = np.concatenate([part.needed[alpha] for part in parts])
                for tokens in range(0, longest + 1, step):
                    share = float((needed <= tokens).mean())
                    rows.append(
                        _labels(parts)
                        | {"test": parts[0].test, "kind": parts[0].kind, "alpha": alpha}
                        | {"tokens": tokens, "share": share, "texts": len(needed)}
                    )
    return pd.DataFrame(rows)


def _pooled(
    trials: Sequence[SequentialTrial],
) -> dict[tuple, dict[tuple[str, str], list[SequentialTrial]]]:
    """By setting, then by test: the trials of all sets of prompts."""
    groups: dict[tuple, dict[tuple[str, str], list[SequentialTrial]]] = {}
    for trial in trials:
        cell = trial.texts.cell
        key = (cell.watermark, cell.temperature, cell.method, cell.lookahead)
        groups.setdefault(key, {}).setdefault((trial.test, trial.kind), []).append(trial)
    return groups


def _needed(
    parts: Sequence[SequentialTrial], alpha: float, like: Sequence[SequentialTrial] = ()
) -> np.ndarray:
    """Tokens to detection, the length of a text where it was not; of the texts of `like`, if given."""
    by_cell = {part.texts.cell: part for part in parts}
    pieces = []
    for part in like or parts:
        cell = part.texts.cell
        needed = np.minimum(by_cell[cell].needed[alpha], cell.max_tokens)
        pieces.append(needed[part.which] if like else needed)
    return np.concatenate(pieces)


def _labels(parts: Sequence[SequentialTrial]) -> dict[str, Any]:
    cell = parts[0].texts.cell
    return {
        "temperature": cell.temperature,
        "watermark": cell.watermark,
        "method": cell.method,
        "lookahead": cell.lookahead,
    }


def _row(parts: Sequence[SequentialTrial], test: str, kind: str, alpha: float) -> dict[str, Any]:
    needed = np.concatenate([part.needed[alpha] for part in parts])
    ordered, n = np.sort(needed), len(needed)
    # The r-th and (n + 1 - r)-th order statistics bracket the median with probability >= 95%.
    r = max(int(stats.binom.ppf(0.025, n, 0.5)), 1)
    return _labels(parts) | {
        "test": test,
        "kind": kind,
        "alpha": alpha,
        "texts": n,
        "median": float(np.quantile(needed, 0.5, method="inverted_cdf")),
        "median_low": float(ordered[r - 1]),
        "median_high": float(ordered[n - r]),
        "lower_quartile": float(ordered[math.ceil(n / 4) - 1]),
        "upper_quartile": float(ordered[math.ceil(3 * n / 4) - 1]),
        "detected": float(np.isfinite(needed).mean()),
    }


def _reduction(ours: np.ndarray, theirs: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """1 - ratio of medians, with a 95% interval from resampled texts."""
    texts = rng.integers(len(ours), size=(_RESAMPLES, len(ours)))
    ratios = 1 - np.median(ours[texts], axis=1) / np.median(theirs[texts], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return {
        "reduction": float(1 - np.median(ours) / np.median(theirs)),
        "reduction_low": float(low),
        "reduction_high": float(high),
    }
