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
from tradeoff.detection.hits import SeedHits
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
    """Not those whose law is simulated or approximate, nor the oracle, which is no detector."""
    known = not any(word in detector.null for word in ("simulated", "approximate"))
    return known and detector.name != "oracle"


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
    lengths, counts = _lengths(evidence.index)
    return _for_good(lengths, sums[counts] >= limits(counts))


def _lengths(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every fifth length up to the last position of a text that counts, and how many count by then."""
    end = int(index[-1]) + 1 if len(index) else 0
    lengths = np.arange(_STEP, end + _STEP, _STEP)
    return lengths, np.searchsorted(index, lengths)


def _for_good(lengths: np.ndarray, detected: np.ndarray) -> float:
    """The length from which on all are detected."""
    missed = np.flatnonzero(~detected)
    rest = lengths[missed[-1] + 1 :] if len(missed) else lengths
    return float(rest[0]) if len(rest) else math.inf


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
    """Draft-aware hits and bets, and e* on tokens and buckets, its eps from the texts of the other half."""
    if len(readings) < 2:
        return []
    which = np.arange(len(readings))
    hits = SeedHits(vocabulary_size)
    over_time = [hits.over_time(reading) for reading in readings]
    baselines = [
        _of_results(texts, hits.name, BONFERRONI, which, over_time),
        SequentialTrial(texts, hits.name, FIXED, which, _hits_for_good(hits, readings)),
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


def _hits_for_good(hits: SeedHits, readings: Sequence[AnchorReading]) -> dict[float, np.ndarray]:
    """By level, from which length on each text is detected."""
    needed: dict[float, list[float]] = {alpha: [] for alpha in ALPHAS}
    for reading in readings:
        log_p = np.concatenate([[0.0], hits.log_p(reading)])
        lengths, counts = _lengths(reading.index)
        for alpha in ALPHAS:
            needed[alpha].append(_for_good(lengths, log_p[counts] <= math.log(alpha)))
    return {alpha: np.array(found) for alpha, found in needed.items()}


def sequential_table(trials: Sequence[SequentialTrial], seed: int = 0) -> pd.DataFrame:
    """Tokens to detection, one row a test and level; prompts pooled.

    Columns: median with a 95% interval (order statistics), quartiles, share detected, and against a
    fixed-length test over time `reduction` of the median with a 95% bootstrap interval over texts. The
    baseline is the test of the least median on the very texts of the row, of those that were tried on all of
    them: tests that own the draft model are no baseline for rows of texts it has not read. Of a fixed-length
    test the median is the length at which half of the texts are detected for good,
    chosen with hindsight.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for group in _pooled(trials).values():
        over_time = {test: parts for (test, kind), parts in group.items() if kind == BONFERRONI}
        for alpha in ALPHAS:
            for (test, kind), parts in group.items():
                row = _row(parts, test, kind, alpha)
                baselines = {
                    name: _needed(others, alpha, parts)
                    for name, others in over_time.items()
                    if kind != BONFERRONI and _cover(others, parts)
                }
                if baselines:
                    best = min(baselines, key=lambda name: _slowness(baselines[name]))
                    row |= {"baseline": best, **_reduction(_needed(parts, alpha), baselines[best], rng)}
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


def _cover(others: Sequence[SequentialTrial], parts: Sequence[SequentialTrial]) -> bool:
    """Whether a test was tried on all texts of another."""
    tried = {part.texts.cell: part.which for part in others}
    return all(np.isin(part.which, tried.get(part.texts.cell, ())).all() for part in parts)


def _needed(
    parts: Sequence[SequentialTrial], alpha: float, like: Sequence[SequentialTrial] = ()
) -> np.ndarray:
    """Tokens to detection, the length of a text where it was not; of the texts of `like`, if given, all of
    which are among those of `parts`."""
    by_cell = {part.texts.cell: part for part in parts}
    pieces = []
    for wanted in like or parts:
        part = by_cell[wanted.texts.cell]
        place = {text: i for i, text in enumerate(part.which.tolist())}
        chosen = [place[text] for text in wanted.which.tolist()]
        pieces.append(np.minimum(part.needed[alpha][chosen], part.texts.cell.max_tokens))
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
        "median": float(_quantile(needed, 0.5)),
        "median_low": float(ordered[r - 1]),
        "median_high": float(ordered[n - r]),
        "lower_quartile": float(_quantile(needed, 0.25)),
        "upper_quartile": float(_quantile(needed, 0.75)),
        "detected": float(np.isfinite(needed).mean()),
    }


def _quantile(needed: np.ndarray, share: float) -> np.ndarray:
    """The least value `[...]` that this share of the texts `[..., n]` does not exceed, infinite or not."""
    return np.sort(needed, axis=-1)[..., math.ceil(share * needed.shape[-1]) - 1]


def _slowness(needed: np.ndarray) -> tuple[float, float]:
    """By which baselines are ordered: the median, and of those that find few texts at all the mean."""
    return float(_quantile(needed, 0.5)), float(needed.mean())


def _reduction(ours: np.ndarray, theirs: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """1 - ratio of medians, with a 95% interval from resampled texts."""
    texts = rng.integers(len(ours), size=(_RESAMPLES, len(ours)))
    ratios = 1 - _quantile(ours[texts], 0.5) / _quantile(theirs[texts], 0.5)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return {
        "reduction": float(1 - _quantile(ours, 0.5) / _quantile(theirs, 0.5)),
        "reduction_low": float(low),
        "reduction_high": float(high),
    }
