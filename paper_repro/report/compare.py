"""Watermarks against each other: tokens until the verdict, on texts of the same prompts and temperature.

Every watermark is read by the test that its key alone allows: the bets of `default_bets`, which may stop
at any token, and the detector of `default_detector` in a single look, for which the number of lengths counts
at which a look does not find the text. A text that is not detected within its length counts as detected at
its end, which favours the slower watermark; all have the same length. What is compared are texts of the same
prompts: of a watermark with fewer texts than Gumbel-max, the prompts that it has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from paper_repro.report.decided import Claim, Unit, unseen_share
from paper_repro.trials.sequential import BETTING, FIXED, SequentialTrial
from tradeoff.detection import default_detector

__all__ = ["REFERENCE", "watermark_claims", "watermark_table"]

#: The watermark that all others are compared with, without speculation.
REFERENCE = "gumbel"
_RESAMPLES = 2_000


def watermark_table(trials: Sequence[SequentialTrial], seed: int = 0) -> pd.DataFrame:
    """One row a temperature, method, watermark, test and level; prompts pooled.

    Columns: `mean` tokens until the verdict, the share of texts `detected` in the end, and against
    Gumbel-max without speculation at the same temperature `fewer`, 1 less the ratio of means, with a 95%
    bootstrap interval over prompts; a wider one where nearly all texts have the same ratio, as those that are
    never detected have. Empty with a single watermark.
    """
    groups: dict[tuple, dict[str, SequentialTrial]] = {}
    for trial in trials:
        kind = _kind(trial)
        cell = trial.texts.cell
        if kind is not None:
            key = (cell.temperature, cell.label, cell.lookahead, cell.watermark, cell.max_tokens, kind)
            groups.setdefault(key, {})[cell.prompts.name] = trial
    if len({watermark for _, _, _, watermark, _, _ in groups}) < 2:
        return pd.DataFrame()
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for (temperature, method, lookahead, watermark, longest, kind), parts in groups.items():
        reference = groups.get((temperature, "basic", 0, REFERENCE, longest, kind), {})
        for alpha in next(iter(parts.values())).detected:
            tokens = _tokens(parts, alpha)
            row: dict[str, Any] = {
                "temperature": temperature,
                "method": method,
                "lookahead": lookahead,
                "watermark": watermark,
                "test": next(iter(parts.values())).test,
                "kind": kind,
                "alpha": alpha,
                "texts": len(tokens),
                "mean": float(tokens.mean()),
                "mean_error": float(tokens.std(ddof=1) / math.sqrt(len(tokens))),
                "detected": float(
                    np.concatenate([part.detected[alpha][:, -1] for part in parts.values()]).mean()
                ),
            }
            if parts is not reference and _covers(reference, parts):
                row |= _fewer(tokens, _tokens(reference, alpha, parts), longest, rng)
            rows.append(row)
    return pd.DataFrame(rows).sort_values(["temperature", "alpha", "kind"], kind="stable", ignore_index=True)


def watermark_claims(table: pd.DataFrame) -> list[Claim]:
    """Whether each watermark without speculation takes fewer tokens than Gumbel-max, by bets.

    Every claim is decided at 95% by itself, as all others are.
    """
    found: list[Claim] = []
    if table.empty or "fewer" not in table:
        return found
    shown = table[(table["kind"] == BETTING) & (table["method"] == "basic") & table["fewer"].notna()]
    for row in shown[shown["alpha"] == shown["alpha"].min()].to_dict("records"):
        words = f"{row['watermark']} takes fewer tokens to detect than {REFERENCE}, temperature "
        words += f"{row['temperature']:g}, alpha {row['alpha']:g}"
        found.append(Claim(words, Unit.TOKENS, row["fewer"], row["fewer_low"], row["fewer_high"]))
    return found


def _kind(trial: SequentialTrial) -> str | None:
    """The two tests that watermarks are compared by."""
    if trial.kind == BETTING:
        return BETTING
    if trial.kind == FIXED and trial.test == default_detector(trial.texts.method).name:
        return FIXED
    return None


def _tokens(
    parts: dict[str, SequentialTrial], alpha: float, like: dict[str, SequentialTrial] | None = None
) -> np.ndarray:
    """Tokens to the verdict, of the texts of `like` if given, all of which are among those of `parts`."""
    pieces = []
    for name, wanted in (like or parts).items():
        place = {text: i for i, text in enumerate(parts[name].which.tolist())}
        pieces.append(parts[name].tokens(alpha)[[place[text] for text in wanted.which.tolist()]])
    return np.concatenate(pieces)


def _covers(reference: dict[str, SequentialTrial], parts: dict[str, SequentialTrial]) -> bool:
    """Whether the reference has a text of every prompt."""
    return all(
        name in reference and np.isin(part.which, reference[name].which).all() for name, part in parts.items()
    )


def _fewer(ours: np.ndarray, theirs: np.ndarray, longest: int, rng: np.random.Generator) -> dict[str, float]:
    """1 - ratio of means; texts of one prompt are drawn together."""
    texts = rng.integers(len(ours), size=(_RESAMPLES, len(ours)))
    low, high = np.quantile(1 - ours[texts].mean(axis=1) / theirs[texts].mean(axis=1), [0.025, 0.975])
    ratios = (ours / theirs)[texts]
    if (ratios == ratios[:, :1]).all(axis=1).mean() > 0.025:
        # So many resamples have no texts but those that are alike that an end of the interval may be theirs,
        # which says nothing of texts of another kind: at most this share, with from one token to all.
        share = unseen_share(len(ours))
        mine, other = (1 - share) * ours.mean(), (1 - share) * theirs.mean()
        low = min(low, 1 - (mine + share * longest) / (other + share))
        high = max(high, 1 - (mine + share) / (other + share * longest))
    return {
        "fewer": float(1 - ours.mean() / theirs.mean()),
        "fewer_low": float(low),
        "fewer_high": float(high),
    }
