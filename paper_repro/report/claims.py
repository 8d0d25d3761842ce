"""The paper's claims, each decided by the tables of a run: seen or not seen, with confidence intervals.

"More" is seen if the whole interval of the difference lies above 0; "the same" if all of it lies within a
margin fixed beforehand, so that too few texts never make a claim. Every claim is decided at 95% by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from paper_repro.trials.fixed import Trial

__all__ = ["MARGINS", "Claim", "claims"]

#: A claim in words, whether it was seen, and the numbers.
Claim = tuple[str, bool, str]

_Z95 = 1.96
#: Differences that count as none: tokens a step, nats a token, mean TPR.
_SAME_AATPS = 0.1
_SAME_SURPRISE = 0.05
_SAME_TPR = 0.1
#: The same in words.
MARGINS = f"{_SAME_AATPS:g} tokens a step, {_SAME_SURPRISE:g} nats a token, {_SAME_TPR:g} of mean TPR"


def claims(trials: Sequence[Trial], speed: pd.DataFrame) -> list[Claim]:
    """What a run says about the paper's claims, and about one race.

    Detectors are compared by their TPR averaged over all lengths tried, so that no length is picked;
    texts of the same prompts are paired.
    """
    found = [*_efficiency(speed), *_blocks(speed), *_perplexity(speed)]
    within = (
        ("algorithm-1", "Ars-τ", "Ars-Prior"),
        ("algorithm-1", "Bayes-MLP", "Bayes-Prior (per layer)"),
        ("algorithm-1", "Bayes-MLP", "Bayes-Prior (per token)"),
        ("algorithm-1", "Bayes-Prior (per token)", "Bayes-Prior (per layer)"),
        ("algorithm-1", "sum of both keys", "Ars-τ"),
        ("algorithm-1", "likelihood ratio, two keys", "sum of both keys"),
        ("one-race", "likelihood ratio", "Aaronson"),
    )
    for method, better, worse in within:
        name = f"{better} detects more than {worse} ({method})"
        found += [
            _above(name + setting, first, second)
            for setting, first, second in _matching(trials, (method, better), (method, worse))
        ]
    across = (
        (("one-race", "Aaronson"), ("algorithm-1", "Ars-τ")),
        (("one-race", "Aaronson"), ("single-key", "Aaronson")),
        (("one-race", "Aaronson"), ("algorithm-1", "likelihood ratio, two keys")),
        (("joint-race", "Aaronson"), ("one-race", "Aaronson")),
        (("joint-race", "Aaronson"), ("algorithm-1", "Ars-τ")),
        (("joint-race", "Aaronson"), ("algorithm-1", "likelihood ratio, two keys")),
        (("joint-tournament", "mean of bits"), ("algorithm-1", "weighted mean of bits")),
        (("joint-tournament", "Bayes"), ("algorithm-1", "Bayes-MLP")),
        (
            ("joint-transport", "likelihood ratio of ranks"),
            ("algorithm-1", "likelihood ratio of ranks"),
        ),
        (("joint-transport", "sum of scores"), ("algorithm-1", "sum of scores")),
    )
    for ours, theirs in across:
        name = f"{ours[0]} with {ours[1]} detects more than {theirs[0]} with {theirs[1]}"
        found += [
            _above(name + setting, first, second)
            for setting, first, second in _matching(trials, ours, theirs)
        ]
    reached = (
        (
            "one race with the plain Aaronson test reaches the oracle of Algorithm 1",
            ("one-race", "Aaronson"),
            ("algorithm-1", "oracle"),
        ),
        ("the joint race reaches no speculation", ("joint-race", "Aaronson"), ("basic", "Aaronson")),
        (
            "the joint race by blocks reaches no speculation",
            ("joint-race, blocks", "Aaronson"),
            ("basic", "Aaronson"),
        ),
        (
            "the joint tournament reaches no speculation (mean of bits)",
            ("joint-tournament", "mean of bits"),
            ("basic", "mean of bits"),
        ),
        (
            "the joint tournament reaches no speculation (Bayes)",
            ("joint-tournament", "Bayes"),
            ("basic", "Bayes"),
        ),
    )
    for name, ours, theirs in reached:
        for setting, first, second in _matching(trials, ours, theirs):
            difference, error = _difference(first, second)
            low, high = difference - _Z95 * error, difference + _Z95 * error
            verdict = _verdict(low > -_SAME_TPR, high < -_SAME_TPR)
            found.append(
                (
                    f"{name}, to within {_SAME_TPR:g} of mean TPR{setting}",
                    low > -_SAME_TPR,
                    _shown(difference, error) + verdict,
                )
            )
    return found


def _efficiency(speed: pd.DataFrame) -> list[Claim]:
    """AATPS of every method against standard speculative sampling, same prompts, temperature and K."""
    found = []
    columns = ["prompts", "temperature", "lookahead"]
    standard = speed[speed["method"] == "standard"].set_index(columns)
    for method in ("algorithm-1", "one-race", "joint-race", "joint-tournament", "single-key"):
        gaps, errors = [], []
        for row in speed[speed["method"] == method].to_dict("records"):
            key = tuple(row[c] for c in columns)
            if key in standard.index:
                other = standard.loc[key]
                gaps.append(row["aatps"] - other["aatps"])
                errors.append(math.hypot(row["aatps_error"], other["aatps_error"]))
        if gaps:
            name = f"AATPS of {method} equals that of standard speculative sampling"
            # Settings have very different numbers of texts.
            weight = 1 / np.array(errors) ** 2
            mean, error = float(weight @ gaps / weight.sum()), 1 / math.sqrt(weight.sum())
            found.append(_same(name, mean, error, _SAME_AATPS, f"tokens a step over {len(gaps)} settings", 3))
    return found


def _blocks(speed: pd.DataFrame) -> list[Claim]:
    """What verifying the same drafts as blocks adds to AATPS, of methods that were run both ways."""
    found = []
    for method, rows in speed.groupby("method", sort=False):
        if not (speed["method"] == f"{method}, blocks").any() or rows["block_gain"].isna().any():
            continue
        mean, error = float(rows["block_gain"].mean()), math.hypot(*rows["block_gain_error"]) / len(rows)
        low, high = mean - _Z95 * error, mean + _Z95 * error
        numbers = _numbers(mean, low, high, f"tokens a step over {len(rows)} settings", 3)
        name = f"Blocks give more tokens a step, given the drafts of {method}"
        found.append((name, low > 0, numbers + _verdict(low > 0, high < 0)))
    return found


def _perplexity(speed: pd.DataFrame) -> list[Claim]:
    """Mean surprise minus entropy is 0 for a method that leaves the law of the model as it is."""
    found = []
    marked = speed[(speed["watermark"] != "none") & (speed["excess_surprise_error"] > 0)]
    for method, rows in marked.groupby("method", sort=False):
        weight = 1 / rows["excess_surprise_error"] ** 2
        mean = float((rows["excess_surprise"] * weight).sum() / weight.sum())
        name = f"LOGPPL unchanged by {method}: mean surprise equals the entropy of the target"
        found.append(_same(name, mean, 1 / math.sqrt(weight.sum()), _SAME_SURPRISE, "nats a token", 4))
    return found


def _matching(
    trials: Sequence[Trial], first: tuple[str, str], second: tuple[str, str]
) -> list[tuple[str, list[Trial], list[Trial]]]:
    """Setting, and trials of both (one a set of prompts) with one watermark, temperature and lookahead."""

    def grouped(wanted: tuple[str, str]) -> dict[tuple, list[Trial]]:
        groups: dict[tuple, list[Trial]] = {}
        for trial in trials:
            cell = trial.cell
            if (cell.label, trial.detector) == wanted:
                groups.setdefault((cell.watermark, cell.temperature, cell.lookahead), []).append(trial)
        return groups

    ours, theirs = grouped(first), grouped(second)
    found = []
    for key, some in ours.items():
        # Without speculation there is no lookahead.
        others = theirs.get(key, theirs.get((*key[:2], 0)))
        if others:
            found.append((f", {key[0]}, temperature {key[1]:g}, K = {key[2]}", some, others))
    return found


def _shares(trials: Sequence[Trial], lengths: set[int]) -> np.ndarray:
    """For every text the share of lengths at which it was detected."""
    return np.concatenate(
        [(t.margins[:, [n in lengths for n in t.lengths]] >= 0).mean(axis=1) for t in trials]
    )


def _difference(first: Sequence[Trial], second: Sequence[Trial]) -> tuple[float, float]:
    """Difference of mean TPR over the lengths that both were tried at, and its standard error."""
    common = set.intersection(*(set(trial.lengths) for trial in [*first, *second]))
    a, b = _shares(first, common), _shares(second, common)
    # Texts stand in the order of the prompts, which is the same for all methods.
    if [(t.cell.prompts, len(t.margins)) for t in first] == [
        (t.cell.prompts, len(t.margins)) for t in second
    ]:
        gaps = a - b
        return float(gaps.mean()), float(gaps.std(ddof=1) / math.sqrt(len(gaps)))
    error = math.hypot(a.std(ddof=1) / math.sqrt(len(a)), b.std(ddof=1) / math.sqrt(len(b)))
    return float(a.mean() - b.mean()), float(error)


def _above(name: str, first: Sequence[Trial], second: Sequence[Trial]) -> Claim:
    difference, error = _difference(first, second)
    seen = difference - _Z95 * error > 0
    return name, seen, _shown(difference, error) + _verdict(seen, difference + _Z95 * error < 0)


def _same(name: str, difference: float, error: float, margin: float, unit: str, digits: int) -> Claim:
    low, high = difference - _Z95 * error, difference + _Z95 * error
    seen = -margin < low and high < margin
    numbers = _numbers(difference, low, high, unit, digits)
    return f"{name}, to within {margin:g}", seen, numbers + _verdict(seen, low > 0 or high < 0)


def _numbers(difference: float, low: float, high: float, unit: str, digits: int) -> str:
    return f"difference {difference:+.{digits}f} {unit}, 95% interval {low:+.{digits}f} to {high:+.{digits}f}"


def _verdict(seen: bool, contrary: bool) -> str:
    return "" if seen else "; the contrary is seen" if contrary else "; too few texts to tell"


def _shown(difference: float, error: float) -> str:
    low, high = difference - _Z95 * error, difference + _Z95 * error
    return f"difference of mean TPR {difference:+.3f}, 95% interval {low:+.3f} to {high:+.3f}"
