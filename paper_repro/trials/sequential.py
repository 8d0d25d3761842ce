"""Tokens to detection on the texts of a preset: betting, the anchored e*, and fixed-length tests over time.

A text that is not detected within its length counts as detected at its length where medians are compared,
which favours the slower test. A fixed-length test is looked at once: what counts is at which length a single
look finds half of the texts, whatever it would say of them earlier or later. What is fitted (likelihood
ratios, tau, the eps of e*) saw other texts than it is tried on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from paper_repro.trials.fixed import CellEvidence, Fold, Limits
from paper_repro.trials.replays import BUCKETS
from tradeoff.detection import (
    Anchored,
    AnchorReading,
    Detector,
    DraftAware,
    Evidence,
    LatticeDetector,
    SeedHits,
    Sequential,
    SequentialResult,
    default_bets,
    fit_eps,
    race_after_miss,
)

__all__ = ["ALPHAS", "SequentialTrial", "sequential_table", "sequential_trials", "share_table"]

#: Levels of all tests: those of the paper's experiment, and one of the report's other sections.
ALPHAS = (0.02, 0.01)
BETTING, ANCHORED, BONFERRONI, FIXED = "betting", "anchored", "Bonferroni over time", "fixed length"
_RESAMPLES = 2_000
#: Shares are tabulated every so many tokens.
_STEP = 5


@dataclass(frozen=True)
class SequentialTrial:
    """One test on one cell.

    Attributes:
        texts: that were tested.
        test, kind: name, and one of the four kinds.
        which: [n] numbers of the texts tested, in the order of the cell.
        detected: by level, [n, longest] whether the verdict is there after 1, 2, ... tokens: for good, or of
            a fixed length in a look at just that length.
    """

    texts: CellEvidence
    test: str
    kind: str
    which: np.ndarray = field(repr=False)
    detected: dict[float, np.ndarray] = field(repr=False)

    def tokens(self, alpha: float) -> np.ndarray:
        """Tokens to the verdict, [n], all tokens where there is none; of a fixed length, at how many lengths
        a look does not find the text."""
        return 1 + np.count_nonzero(~self.detected[alpha][:, :-1], axis=1)


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
    names = [d.name for d in folds[0].detectors if d.exactness.holds]
    for name in names:
        report(f"{name}, over time")
        parts = [(fold, next(d for d in fold.detectors if d.name == name)) for fold in folds]
        for kind, looks in ((BONFERRONI, _over_time), (FIXED, _one_look)):
            detected = _nothing(texts, len(everything))
            for fold, detector in parts:
                for alpha in ALPHAS:
                    limits = _limits(detector, kind, alpha)
                    for i in fold.tested:
                        detected[alpha][i] = looks(detector, texts.texts[i], limits, texts.cell.max_tokens)
            found.append(SequentialTrial(texts, name, kind, everything, detected))
    return found


def _limits(detector: Detector, kind: str, alpha: float) -> Limits:
    """Thresholds, of a detector that nothing was fitted to once for all cells: they take their time."""
    if not isinstance(detector, LatticeDetector):
        return Limits(detector, _level(kind, alpha))
    return _lattice_limits(detector, kind, alpha)


@cache
def _lattice_limits(detector: LatticeDetector, kind: str, alpha: float) -> Limits:
    return Limits(detector, _level(kind, alpha))


def _level(kind: str, alpha: float) -> Callable[[int], float]:
    """The p-value to reach with a number of scored tokens."""
    return (lambda count: alpha / (count * (count + 1))) if kind == BONFERRONI else (lambda _: alpha)


def _over_time(detector: Detector, evidence: Evidence, limits: Limits, longest: int) -> np.ndarray:
    """From the first token on at which the score exceeds its threshold: [longest]."""
    return np.logical_or.accumulate(_one_look(detector, evidence, limits, longest))


def _one_look(detector: Detector, evidence: Evidence, limits: Limits, longest: int) -> np.ndarray:
    """Whether a look at each length finds the text: [longest]."""
    sums = np.concatenate([[0.0], np.cumsum(detector.contributions(evidence))])
    counts = np.searchsorted(evidence.index, np.arange(1, longest + 1))
    found: np.ndarray = sums[counts] >= limits(counts)
    return found


def _nothing(texts: CellEvidence, tested: int) -> dict[float, np.ndarray]:
    return {alpha: np.zeros((tested, texts.cell.max_tokens), dtype=bool) for alpha in ALPHAS}


def _of_results(
    texts: CellEvidence, test: str, kind: str, which: np.ndarray, results: Sequence[SequentialResult]
) -> SequentialTrial:
    detected = _nothing(texts, len(which))
    for alpha in ALPHAS:
        for row, result in zip(detected[alpha], results, strict=True):
            needed = result.tokens_needed(alpha)
            if needed is not None:
                row[needed - 1 :] = True
    return SequentialTrial(texts, test, kind, which, detected)


def _anchored(
    texts: CellEvidence, readings: Sequence[AnchorReading], vocabulary_size: int
) -> list[SequentialTrial]:
    """Draft-aware hits and bets, and e* on tokens and buckets, its eps from the texts of the other half."""
    if len(readings) < 2:
        return []
    which = np.arange(len(readings))
    hits = SeedHits(vocabulary_size)
    over_time = [hits.over_time(reading) for reading in readings]
    baselines = [
        _of_results(texts, hits.name, BONFERRONI, which, over_time),
        SequentialTrial(texts, hits.name, FIXED, which, _hits_in_one_look(hits, texts, readings)),
    ]
    aware = DraftAware(vocabulary_size, race_after_miss(texts.method))
    results = [aware.test(e, r) for e, r in zip(texts.texts, readings, strict=False)]
    found = [*baselines, _of_results(texts, aware.name, ANCHORED, which, results)]
    for values, label in ((vocabulary_size, "tokens"), *((m, f"{m} buckets") for m in BUCKETS)):
        eps = [fit_eps(readings[1 - half :: 2], values) for half in (0, 1)]
        tests = [Anchored(values, eps[i % 2], label) for i in which]
        results = [test.test(reading) for test, reading in zip(tests, readings, strict=True)]
        found.append(_of_results(texts, tests[0].name, ANCHORED, which, results))
    return found


def _hits_in_one_look(
    hits: SeedHits, texts: CellEvidence, readings: Sequence[AnchorReading]
) -> dict[float, np.ndarray]:
    """By level, [texts, longest] whether a look at each length finds the text."""
    detected = _nothing(texts, len(readings))
    for i, reading in enumerate(readings):
        log_p = np.concatenate([[0.0], hits.log_p(reading)])
        counts = np.searchsorted(reading.index, np.arange(1, texts.cell.max_tokens + 1))
        for alpha in ALPHAS:
            detected[alpha][i] = log_p[counts] <= math.log(alpha)
    return detected


def sequential_table(trials: Sequence[SequentialTrial], seed: int = 0) -> pd.DataFrame:
    """Tokens to detection, one row a test and level; prompts pooled.

    Columns: median with a 95% interval (order statistics), quartiles, share detected, and against a
    fixed-length test over time `reduction` of the median with a 95% bootstrap interval over texts. The
    baseline is the test of the least median on the very texts of the row, of those that were tried on all of
    them: tests that own the draft model are no baseline for rows of texts it has not read. Of a fixed-length
    test the median is the least length at which a single look finds half of the texts, chosen with hindsight,
    and `detected` the share that a look at the whole texts finds.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for group in _pooled(trials).values():
        over_time = {test: parts for (test, kind), parts in group.items() if kind == BONFERRONI}
        for alpha in ALPHAS:
            for (test, kind), parts in group.items():
                row = _row(parts, test, kind, alpha)
                baselines = {
                    name: _detected(others, alpha, parts)
                    for name, others in over_time.items()
                    if kind != BONFERRONI and _cover(others, parts)
                }
                if baselines:
                    best = min(baselines, key=lambda name: _slowness(baselines[name]))
                    row |= {"baseline": best, **_reduction(_detected(parts, alpha), baselines[best], rng)}
                rows.append(row)
    return pd.DataFrame(rows)


def share_table(trials: Sequence[SequentialTrial], step: int = _STEP) -> pd.DataFrame:
    """Share of texts detected by each number of tokens; prompts pooled."""
    rows: list[dict[str, Any]] = []
    for group in _pooled(trials).values():
        for parts in group.values():
            for alpha in ALPHAS:
                detected = _detected(parts, alpha)
                shares = np.concatenate([[0.0], detected.mean(axis=0)])
                for tokens in range(0, len(shares), step):
                    rows.append(
                        _labels(parts)
                        | {"test": parts[0].test, "kind": parts[0].kind, "alpha": alpha}
                        | {"tokens": tokens, "share": float(shares[tokens]), "texts": len(detected)}
                    )
    return pd.DataFrame(rows)


def _pooled(
    trials: Sequence[SequentialTrial],
) -> dict[tuple, dict[tuple[str, str], list[SequentialTrial]]]:
    """By setting, then by test: the trials of all sets of prompts."""
    groups: dict[tuple, dict[tuple[str, str], list[SequentialTrial]]] = {}
    for trial in trials:
        cell = trial.texts.cell
        key = (cell.watermark, cell.temperature, cell.label, cell.lookahead)
        groups.setdefault(key, {}).setdefault((trial.test, trial.kind), []).append(trial)
    return groups


def _cover(others: Sequence[SequentialTrial], parts: Sequence[SequentialTrial]) -> bool:
    """Whether a test was tried on all texts of another."""
    tried = {part.texts.cell: part.which for part in others}
    return all(np.isin(part.which, tried.get(part.texts.cell, ())).all() for part in parts)


def _detected(
    parts: Sequence[SequentialTrial], alpha: float, like: Sequence[SequentialTrial] = ()
) -> np.ndarray:
    """Whether the verdict is there after 1, 2, ... tokens: [texts, longest].

    Of the texts of `like`, if given, all of which are among those of `parts`; what is said of a text at its
    end is said of it from there on.
    """
    by_cell = {part.texts.cell: part for part in parts}
    longest = max(part.texts.cell.max_tokens for part in parts)
    pieces = []
    for wanted in like or parts:
        part = by_cell[wanted.texts.cell]
        place = {text: i for i, text in enumerate(part.which.tolist())}
        detected = part.detected[alpha][[place[text] for text in wanted.which.tolist()]]
        pieces.append(np.pad(detected, ((0, 0), (0, longest - detected.shape[1])), mode="edge"))
    return np.concatenate(pieces)


def _labels(parts: Sequence[SequentialTrial]) -> dict[str, Any]:
    cell = parts[0].texts.cell
    return {
        "temperature": cell.temperature,
        "watermark": cell.watermark,
        "method": cell.label,
        "lookahead": cell.lookahead,
    }


def _row(parts: Sequence[SequentialTrial], test: str, kind: str, alpha: float) -> dict[str, Any]:
    detected = _detected(parts, alpha)
    counts, n = detected.sum(axis=0), len(detected)
    # The r-th and (n + 1 - r)-th order statistics bracket the median with probability >= 95%.
    r = max(int(stats.binom.ppf(0.025, n, 0.5)), 1)
    return _labels(parts) | {
        "test": test,
        "kind": kind,
        "alpha": alpha,
        "texts": n,
        "median": float(_reach(counts, math.ceil(n / 2))),
        "median_low": float(_reach(counts, r)),
        "median_high": float(_reach(counts, n + 1 - r)),
        "lower_quartile": float(_reach(counts, math.ceil(n / 4))),
        "upper_quartile": float(_reach(counts, math.ceil(3 * n / 4))),
        "detected": float(counts[-1] / n),
    }


def _reach(counts: np.ndarray, texts: int) -> np.ndarray:
    """The fewest tokens at which so many texts are detected, or infinity: `[..., longest] -> [...]`."""
    enough = counts >= texts
    return np.where(enough.any(axis=-1), enough.argmax(axis=-1) + 1.0, math.inf)


def _median(counts: np.ndarray, texts: int) -> np.ndarray:
    """Where half of the texts are detected, the whole length if that is nowhere."""
    return np.minimum(_reach(counts, math.ceil(texts / 2)), counts.shape[-1])


def _slowness(detected: np.ndarray) -> tuple[float, float]:
    """By which baselines are ordered: the median, and of those that find few texts at all the mean."""
    return float(_median(detected.sum(axis=0), len(detected))), float(np.mean(~detected))


def _reduction(ours: np.ndarray, theirs: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """1 - ratio of medians, with a 95% interval from resampled texts."""
    n = len(ours)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).astype(float)
    ratios = 1 - _median(drawn @ ours, n) / _median(drawn @ theirs, n)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return {
        "reduction": float(1 - _median(ours.sum(axis=0), n) / _median(theirs.sum(axis=0), n)),
        "reduction_low": float(low),
        "reduction_high": float(high),
    }
