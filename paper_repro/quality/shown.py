"""What a report says of quality: a sentence on what differs, and a table."""

from __future__ import annotations

import math

import pandas as pd

from figures.experiment.names import watermark_name
from paper_repro.quality.by_cell import FIVE, MEASURES
from paper_repro.report.page import Section
from paper_repro.report.wording import labels, with_interval

__all__ = ["quality_section", "quality_words"]

#: Measures as they are headed, and the digits that are shown.
_HEADINGS = {
    "distinct_1": ("distinct-1", 3),
    "distinct_2": ("distinct-2", 3),
    "distinct_3": ("distinct-3", 3),
    "repeated_4": ("repeated 4-grams (share)", 4),
    "longest_repeat": ("longest repeat (tokens)", 2),
    "distinct_2_five": (f"distinct-2 of {FIVE} texts", 3),
    "self_bleu_five": (f"self-BLEU of {FIVE} texts", 2),
}
#: Of differences that are named in words.
_NAMED = 3


def quality_section(table: pd.DataFrame) -> Section:
    """The section of a report; empty if the run has no such table."""
    if table.empty:
        return Section("Quality", "quality")
    return Section(
        "Quality",
        "quality",
        [
            "Distinct-n: different n-grams among all of a text. Repeated: 4-grams that stood in the text "
            "before; the longest repeat is the most tokens in a row of which all 4-grams have. Of "
            f"{FIVE} texts of different prompts together: distinct-2, and self-BLEU, the mean BLEU-4 of each "
            "with the others as references (0 to 100).",
            quality_words(table),
        ],
        [("Quality by method, ± one standard error, and difference from no watermark", _rows(table))],
    )


def quality_words(table: pd.DataFrame) -> str:
    """What is compared, what differs, and by how much, in a sentence.

    A difference is seen where its 95% interval leaves 0 out, which chance makes of one in twenty.
    """
    compared = "Schemes are compared with the target alone on the same prompts, all texts cut to one length"
    found = []
    for row in table.to_dict("records"):
        for name in MEASURES:
            difference, low, high = (row[f"{name}_{end}"] for end in ("difference", "low", "high"))
            if _is_told(row, name):
                half = (high - low) / 2
                # Where nothing varies a difference has no error.
                found.append((abs(difference) / half if half else math.inf * bool(difference), row, name))
    if not found:
        return f"{compared}; this run has too few texts without a watermark to compare with."
    seen = sorted((one for one in found if one[0] > 1), key=lambda one: -one[0])
    words = f"{compared}: of {len(found)} differences {len(seen)} have 95% intervals without 0"
    words += f", where chance makes {len(found) / 20:.1f} on average"
    if not seen:
        return f"{words}."
    named = "; ".join(_told(row, name) for _, row, name in seen[:_NAMED])
    return f"{words}, the clearest {named}."


def _told(row: dict, name: str) -> str:
    heading, digits = _HEADINGS[name]
    scheme = f"{row['method']}, {watermark_name(str(row['watermark']))}, T = {row['temperature']:g}"
    return f"{heading} {_difference(row, name, digits)} ({scheme}, {row['prompts']})"


def _rows(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for row in table.to_dict("records"):
        shown = labels(row) | {"texts": row["texts"], "tokens a text": row["tokens"]}
        for name, (heading, digits) in _HEADINGS.items():
            shown[heading] = _value(row, name, digits)
            told = _is_told(row, name)
            shown[f"{heading}, difference (95% interval)"] = _difference(row, name, digits) if told else ""
        rows.append(shown)
    found = pd.DataFrame(rows)
    return found[[column for column in found.columns if (found[column] != "").any()]]


def _is_told(row: dict, name: str) -> bool:
    """Whether there is a difference with an interval: one pair has none."""
    return bool(pd.notna(row[f"{name}_difference"])) and math.isfinite(row[f"{name}_low"])


def _value(row: dict, name: str, digits: int) -> str:
    if pd.isna(row[name]):
        return ""
    error = row[f"{name}_error"]
    return f"{row[name]:.{digits}f}" + (f" ± {error:.{digits}f}" if math.isfinite(error) else "")


def _difference(row: dict, name: str, digits: int) -> str:
    value, low, high = (row[f"{name}_{end}"] for end in ("difference", "low", "high"))
    return with_interval(value, low, high, f"+.{digits}f")
