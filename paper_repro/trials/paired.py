"""Methods against each other on the same prompts: differences of TPR with paired intervals."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from paper_repro.trials.fixed import Trial
from tradeoff.decoders import parse_decoder
from tradeoff.kernels import make_method

__all__ = ["at_telling_lengths", "paired_difference", "paired_table"]

#: Without speculation: what others are compared with.
_REFERENCE = "basic"
#: It reads the records, as no detector can.
_ORACLE = "oracle"
_LEVEL = 0.95
#: Differences show best where about this share of the texts is detected.
_TELLING = 0.6


def paired_difference(
    first: np.ndarray, second: np.ndarray, level: float = _LEVEL
) -> tuple[float, float, float]:
    """Difference of two rates on the same texts, and its interval: (difference, low, high).

    Bonett and Price (2012, "Adjusted Wald confidence interval for a difference of binomial proportions based
    on paired data"): Wald's interval after one has been added to both numbers of texts that only one of the
    two detects. It covers at about its level from some ten texts on.

    Args:
        first, second: [texts] whether each text was detected.
        level: of the interval.

    Raises:
        ValueError: for no texts, or different numbers of them.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if not len(first) or first.shape != second.shape:
        raise ValueError(
            f"first has {len(first)} texts and second {len(second)}; pass verdicts on the same texts"
        )
    n = len(first)
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    a, b = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = float(stats.norm.isf((1 - level) / 2)) * math.sqrt((a + b - (a - b) ** 2) / (n + 2))
    return (gained - lost) / n, max(-1.0, a - b - half), min(1.0, a - b + half)


def paired_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """Every method beside no speculation, and joint ones beside all others, one row a length.

    Watermark and temperature are the same. Texts are paired by their prompts, those of all sets together. A
    detector is compared with the one of its name where the other method has it, else with each that it has.
    Columns: temperature, watermark, method, detector, against, against_detector, tokens, texts, tpr,
    against_tpr, difference, low, high.
    """
    pooled: dict[tuple, dict[tuple[str, str], np.ndarray]] = {}
    lengths: dict[tuple, tuple[int, ...]] = {}
    joint: set[tuple] = set()
    for trial in trials:
        if trial.detector == _ORACLE:
            continue
        cell = trial.cell
        key = (cell.temperature, cell.watermark, cell.label, trial.detector)
        lengths[key] = trial.lengths
        if make_method(cell.method, parse_decoder(cell.watermark)).joint:
            joint.add(key)
        hits = pooled.setdefault(key, {})
        for name, row in zip(trial.prompts, trial.margins >= 0, strict=True):
            hits[cell.prompts.name, name] = row
    rows: list[dict[str, Any]] = []
    for ours in pooled:
        for theirs in _opponents(ours, list(pooled), joint):
            common = [text for text in pooled[ours] if text in pooled[theirs]]
            if not common:
                continue
            for tokens in lengths[ours]:
                if tokens not in lengths[theirs]:
                    continue
                a, b = (
                    np.array([pooled[key][text][lengths[key].index(tokens)] for text in common])
                    for key in (ours, theirs)
                )
                difference, low, high = paired_difference(a, b)
                rows.append(
                    {
                        "temperature": ours[0],
                        "watermark": ours[1],
                        "method": ours[2],
                        "detector": ours[3],
                        "against": theirs[2],
                        "against_detector": theirs[3],
                        "tokens": tokens,
                        "texts": len(common),
                        "tpr": float(a.mean()),
                        "against_tpr": float(b.mean()),
                        "difference": difference,
                        "low": low,
                        "high": high,
                    }
                )
    return pd.DataFrame(rows)


def _opponents(ours: tuple, keys: Sequence[tuple], joint: Collection[tuple]) -> list[tuple]:
    """What a method with a detector is compared with: others, each with the same detector if it has it."""
    if ours[2] == _REFERENCE:
        return []
    others = [key for key in keys if key[:2] == ours[:2] and key[2] != ours[2]]
    others = [key for key in others if ours in joint or key[2] == _REFERENCE]
    same = {key[2] for key in others if key[3] == ours[3]}
    return [key for key in others if key[3] == ours[3] or key[2] not in same]


def at_telling_lengths(paired: pd.DataFrame) -> pd.DataFrame:
    """The rows of `paired_table` at one length a watermark and temperature.

    It is that at which the texts without speculation (where there are none, those of the method that stands
    first), by the first detector tried on them, are detected at a rate nearest to 0.6: chosen without a look
    at what is compared with them.
    """
    if paired.empty:
        return paired
    kept = []
    for _, part in paired.groupby(["watermark", "temperature"], sort=False):
        plain = part[part["against"] == _REFERENCE]
        first = part if plain.empty else plain
        first = first[first["against_detector"] == first["against_detector"].iloc[0]]
        nearest = (first["against_tpr"] - _TELLING).abs().idxmin()
        kept.append(part[part["tokens"] == first.loc[nearest, "tokens"]])
    return pd.concat(kept, ignore_index=True)
