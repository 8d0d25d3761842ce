"""What a watermark costs beside LOGPPL: `python -m paper_repro.quality`."""

from __future__ import annotations

import pandas as pd

from figures.experiment.names import watermark_name
from paper_repro.pages.parts.formats import (
    between,
    listed,
    markdown_table,
    number,
    percent,
    percent_between,
    plus_minus,
)
from paper_repro.pages.parts.measured import figure_table, measured_at
from paper_repro.pages.parts.tables import one_row, require
from paper_repro.quality.by_cell import FIVE, MEASURES
from paper_repro.quality.writing import Way
from tradeoff.keyed import KeyedPrf
from tradeoff.texts import UNMARKED

__all__ = ["values"]

_PLAIN = {"method": "basic", "watermark": "none"}
#: Measures of quality.csv that the page shows, as they are headed, and their digits.
_SHOWN = {
    "distinct_1": ("distinct-1", 3),
    "distinct_2": ("distinct-2", 3),
    "repeated_4": ("repeated 4-grams", 3),
    "distinct_2_five": (f"distinct-2 of {FIVE} texts", 3),
    "self_bleu_five": (f"self-BLEU of {FIVE} texts", 1),
}


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    likeness, quality, answers = (figure_table(name) for name in ("self_bleu", "quality", "answers"))
    return {
        "measured": measured_at(likeness),
        "temperature": f"{likeness['temperature'].iloc[0]:g}",
        "unmarked": UNMARKED,
        "width": KeyedPrf.context_width,
        "five": FIVE,
        **_likeness(likeness),
        **_quality(quality),
        **_answers(answers),
    }


def _scheme(row: pd.Series) -> str:
    if row["watermark"] == _PLAIN["watermark"]:
        return "no watermark"
    return f"`{row['method']}`, {watermark_name(row['watermark'])}"


def _rows(table: pd.DataFrame) -> list[pd.Series]:
    return [row for _, row in table.iterrows()]


def _difference(row: pd.Series, name: str, digits: int) -> str:
    """Empty for what others are compared with."""
    value, low, high = (row[f"{name}_{end}"] for end in ("difference", "low", "high"))
    return "" if pd.isna(value) else between(value, low, high, digits)


def _likeness(table: pd.DataFrame) -> dict[str, object]:
    """Of texts of one prompt."""
    rows = [
        [
            _scheme(row),
            row["apart_by"],
            percent(row["equal"]),
            plus_minus(row["self_bleu"], row["self_bleu_error"], 1),
            _difference(row, "self_bleu", 1),
        ]
        for row in _rows(table)
    ]
    plain = one_row(table, **_PLAIN)
    by_way = {way: table[table["apart_by"] == way] for way in (Way.KEYS, Way.ONE_KEY, Way.UNMARKED)}
    one_key, beginnings = by_way[Way.ONE_KEY], by_way[Way.UNMARKED]
    keys = by_way[Way.KEYS]
    require((keys["self_bleu_low"] <= 0).all(), "no likeness is seen under different keys")
    require((one_key["equal"] > plain["equal"]).all(), "under one key more texts are equal")
    require(beginnings["self_bleu"].max() < one_key["self_bleu"].min(), "unmarked beginnings help")
    head = [
        "scheme",
        "texts of a prompt differ by",
        "equal pairs",
        "self-BLEU",
        "difference from no watermark",
    ]
    return {
        "likeness": markdown_table(head, rows),
        "prompts": int(plain["prompts"]),
        "texts": int(plain["texts_a_prompt"]),
        "tokens": int(plain["tokens"]),
        "plain_bleu": number(plain["self_bleu"], 1),
        "plain_equal": percent(plain["equal"]),
        "one_key_equal": listed([percent(share) for share in one_key["equal"]]),
        "one_key_bleu": listed([number(value, 1) for value in one_key["self_bleu"]]),
        "unmarked_bleu": listed([number(value, 1) for value in beginnings["self_bleu"]]),
    }


def _quality(table: pd.DataFrame) -> dict[str, object]:
    """Of texts of different prompts."""
    head = ["scheme"]
    for heading, _ in _SHOWN.values():
        head += [heading, "difference"]
    rows = []
    for row in _rows(table):
        told = [_scheme(row)]
        for name, (_, digits) in _SHOWN.items():
            told += [plus_minus(row[name], row[f"{name}_error"], digits), _difference(row, name, digits)]
        rows.append(told)
    marked = table[table["watermark"] != _PLAIN["watermark"]]
    apart = [row[f"{name}_low"] > 0 or row[f"{name}_high"] < 0 for row in _rows(marked) for name in MEASURES]
    return {"quality": markdown_table(head, rows), "differences": len(apart), "apart": sum(apart)}


def _answers(table: pd.DataFrame) -> dict[str, object]:
    """Of questions with known answers."""
    rows = []
    for row in _rows(table):
        told = [_scheme(row), percent(row["right"])]
        of_right = [row[f"right_{end}"] for end in ("difference", "low", "high")]
        told.append("" if pd.isna(of_right[0]) else percent_between(*of_right))
        for name in ("token_f1", "rouge_l"):
            told += [plus_minus(row[name], row[f"{name}_error"], 3), _difference(row, name, 3)]
        rows.append(told)
    plain = one_row(table, **_PLAIN)
    marked = table[table["watermark"] != _PLAIN["watermark"]]
    require(
        ((marked["right_low"] <= 0) & (marked["right_high"] >= 0)).all(), "no loss of right answers was seen"
    )
    head = ["scheme", "right", "difference", "F1 of words", "difference", "ROUGE-L", "difference"]
    return {
        "answers": markdown_table(head, rows),
        "questions": int(plain["questions"]),
        "answer_texts": int(plain["texts_a_question"]),
        "answer_tokens": int(plain["tokens"]),
        "right_plain": percent(plain["right"]),
        "right_widest": number(100 * float((marked["right_high"] - marked["right_low"]).max()) / 2, 0),
    }
