"""The papers' claims, each decided by the tables of a run (see `paper_repro.report.decided`).

"More" is seen if the whole interval of the difference lies above 0; "the same" if all of it lies within a
margin fixed beforehand, so that too few texts never make a claim. Every claim is decided at 95% by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from paper_repro.report.decided import Claim, Unit, half_width, unseen_share
from paper_repro.trials.fixed import Trial

__all__ = ["claims"]


def claims(trials: Sequence[Trial], speed: pd.DataFrame) -> list[Claim]:
    """What a run says about the paper's claims, and about one race.

    Detectors are compared by their TPR averaged over all lengths tried, so that no length is picked;
    texts of the same prompts are paired.
    """
    found = [*_efficiency(speed), *_blocks(speed), *_times(speed), *_perplexity(speed)]
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
            _of_rates(name + setting, first, second)
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
            _of_rates(name + setting, first, second)
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
    margin = Unit.TPR.margin
    for name, ours, theirs in reached:
        found += [
            _of_rates(f"{name}, to within {margin:g} of mean TPR{setting}", first, second, above=-margin)
            for setting, first, second in _matching(trials, ours, theirs)
        ]
    for detector in ("Ars-τ", "Bayes-MLP"):
        ours, bound = ("algorithm-1", detector), ("algorithm-1", "oracle")
        for setting, first, second in _matching(trials, ours, bound):
            longest = max(set.intersection(*(set(trial.lengths) for trial in [*first, *second])))
            length = f"in texts of {longest} tokens, to within {margin:g}"
            name = f"{detector} reaches the oracle {length}{setting}"
            found.append(_of_rates(name, first, second, above=-margin, lengths={longest}))
    return found


def _efficiency(speed: pd.DataFrame) -> list[Claim]:
    """AATPS of every method against standard speculative sampling, same prompts, temperature and K.

    Watermarks are compared with the same texts without one, whose error is shared by all their gaps: a mean
    with weights w has the variance sum w_i^2 e_i^2 + sum_s (sum of the w_i compared with s)^2 e_s^2.
    """
    found = []
    rows: dict[str, list[dict]] = {}
    for row in speed.to_dict("records"):
        row["key"] = tuple(row[name] for name in ("prompts", "temperature", "lookahead"))
        rows.setdefault(row["method"], []).append(row)
    standard = {row["key"]: row for row in rows.get("standard", [])}
    for method in ("algorithm-1", "one-race", "joint-race", "joint-tournament", "single-key"):
        gaps, pairs = [], []
        for row in rows.get(method, []):
            if row["key"] not in standard:
                continue
            other = standard[row["key"]]
            variance = row["aatps_error"] ** 2 + other["aatps_error"] ** 2
            if 0 < variance < np.inf:
                gaps.append(row["aatps"] - other["aatps"])
                pairs.append((row, variance))
        if gaps:
            name = f"AATPS of {method} equals that of standard speculative sampling"
            # Settings have very different numbers of texts.
            weights = 1 / np.array([variance for _, variance in pairs])
            weights /= weights.sum()
            variances, texts, shared = [], [], dict[tuple, float]()
            for weight, (row, _) in zip(weights, pairs, strict=True):
                variances.append((weight * row["aatps_error"]) ** 2)
                texts.append(row["texts"])
                shared[row["key"]] = shared.get(row["key"], 0.0) + weight
            for key, weight in shared.items():
                variances.append((weight * standard[key]["aatps_error"]) ** 2)
                texts.append(standard[key]["texts"])
            half = half_width(variances, texts)
            found.append(_same(name, float(weights @ gaps), half, Unit.STEPS, f"over {len(gaps)} settings"))
    return found


def _blocks(speed: pd.DataFrame) -> list[Claim]:
    """What verifying the same drafts as blocks adds to AATPS, of methods that were run both ways."""
    found = []
    for method, rows in speed.groupby("method", sort=False):
        if not (speed["method"] == f"{method}, blocks").any() or rows["block_gain"].isna().any():
            continue
        variances = (rows["block_gain_error"].to_numpy() / len(rows)) ** 2
        if not 0 < variances.sum() < np.inf:
            continue
        mean, half = float(rows["block_gain"].mean()), half_width(variances.tolist(), rows["texts"].tolist())
        name = f"Blocks give more tokens a step, given the drafts of {method}"
        note = f"over {len(rows)} settings"
        found.append(Claim(name, Unit.STEPS, mean, mean - half, mean + half, note=note))
    return found


def _times(speed: pd.DataFrame) -> list[Claim]:
    """What Algorithm 1 saves of the time that a token takes without speculation, one text at a time.

    The error of a ratio a/b is about a/b times the relative errors of a and of b; ratios to the same b share
    the latter.
    """
    timed = speed[(speed["ptt_texts"] >= 2) & (speed["ptt_ms_error"] > 0)]
    timed = timed.assign(relative=timed["ptt_ms_error"] / timed["ptt_ms"])
    setting = ["prompts", "temperature", "watermark"]
    undrafted = timed[timed["method"] == "basic"]
    plain = {tuple(row[name] for name in setting): row for _, row in undrafted.iterrows()}
    ratios, errors, texts = [], [], []
    shared: dict[tuple, float] = {}
    for _, row in timed[timed["method"] == "algorithm-1"].iterrows():
        key = tuple(row[name] for name in setting)
        if key in plain:
            ratios.append(row["ptt_ms"] / plain[key]["ptt_ms"])
            errors.append(ratios[-1] * row["relative"])
            texts.append(int(row["ptt_texts"]))
            shared[key] = shared.get(key, 0.0) + ratios[-1]
    if not ratios:
        return []
    errors += [total * plain[key]["relative"] for key, total in shared.items()]
    texts += [int(plain[key]["ptt_texts"]) for key in shared]
    half = half_width([(error / len(ratios)) ** 2 for error in errors], texts)
    saved = 1 - float(np.mean(ratios))
    name = "algorithm-1 takes less time a token than no speculation"
    return [Claim(name, Unit.TIME, saved, saved - half, saved + half, note=f"over {len(ratios)} settings")]


def _perplexity(speed: pd.DataFrame) -> list[Claim]:
    """Mean surprise minus entropy is 0 for a method that leaves the law of the model as it is."""
    found = []
    errors = speed["excess_surprise_error"]
    marked = speed[(speed["watermark"] != "none") & (errors > 0) & np.isfinite(errors)]
    for method, rows in marked.groupby("method", sort=False):
        weights = 1 / rows["excess_surprise_error"] ** 2
        weights /= weights.sum()
        mean = float((rows["excess_surprise"] * weights).sum())
        name = f"LOGPPL unchanged by {method}: mean surprise equals the entropy of the target"
        half = half_width(((weights * rows["excess_surprise_error"]) ** 2).tolist(), rows["texts"].tolist())
        found.append(_same(name, mean, half, Unit.SURPRISE))
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


def _difference(
    first: Sequence[Trial], second: Sequence[Trial], lengths: set[int] | None
) -> tuple[float, float]:
    """Difference of mean TPR over `lengths`, or all that both were tried at, and half of its 95% interval.

    The half is never less than what texts of a kind that no text showed could add: at most a share p of them
    (`unseen_share`), which move the difference d of the others by at most p (1 + |d|), since it lies in
    [-1, 1]. Unpaired, of either sample a share p at most; a share that one detects moves by at most a and one
    that the other detects by at most 1 - b if the difference falls, together by 1 + d; by 1 - d if it rises.
    """
    common = lengths or set.intersection(*(set(trial.lengths) for trial in [*first, *second]))
    a, b = _shares(first, common), _shares(second, common)
    # Texts stand in the order of the prompts, which is the same for all methods.
    if [(t.cell.prompts, len(t.margins)) for t in first] == [
        (t.cell.prompts, len(t.margins)) for t in second
    ]:
        parts = [a - b]
    else:
        parts = [a, b]
    texts = [len(part) for part in parts]
    variances = [float(part.var(ddof=1)) / len(part) for part in parts]
    difference = float(a.mean() - b.mean())
    half = half_width(variances, texts) if any(variances) else 0.0
    return difference, max(half, unseen_share(min(texts)) * (1 + abs(difference)))


def _of_rates(
    name: str,
    first: Sequence[Trial],
    second: Sequence[Trial],
    above: float = 0.0,
    lengths: set[int] | None = None,
) -> Claim:
    """That the mean TPR of the first exceeds that of the second by more than `above`."""
    difference, half = _difference(first, second, lengths)
    return Claim(name, Unit.TPR, difference, difference - half, difference + half, above)


def _same(name: str, difference: float, half: float, unit: Unit, note: str = "") -> Claim:
    """That a difference lies within the margin of its unit."""
    margin, words = unit.margin, f"{name}, to within {unit.margin:g}"
    return Claim(words, unit, difference, difference - half, difference + half, -margin, margin, note)
