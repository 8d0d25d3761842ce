"""What a watermark costs beside LOGPPL: `python -m paper_repro.quality`."""

from __future__ import annotations

from collections.abc import Sequence

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
from paper_repro.pages.parts.tables import experiment_table, one_row, require
from paper_repro.quality.by_cell import FIVE, MEASURES
from paper_repro.quality.writing import Way
from tradeoff.keyed import KeyedPrf
from tradeoff.texts import UNMARKED

__all__ = ["values"]

_PLAIN = {"method": "basic", "watermark": "none"}
_RUN = "papers"
_OF_FIVE = [name for name in MEASURES if name.endswith("_five")]
_OF_ONE = [name for name in MEASURES if name not in _OF_FIVE]
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
        **_quality(quality, int(one_row(likeness, **_PLAIN)["texts_a_prompt"])),
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
    apart = (keys["self_bleu_low"] > 0) | (keys["self_bleu_high"] < 0)
    require(not apart.any(), "no difference is seen under different keys")
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


def _quality(table: pd.DataFrame, runs: int) -> dict[str, object]:
    """Of texts of different prompts, each in so many runs."""
    head, rows = ["measure"], [[heading] for heading, _ in _SHOWN.values()]
    for scheme in _rows(table):
        plain = scheme["watermark"] == _PLAIN["watermark"]
        head += [_scheme(scheme)] if plain else [_scheme(scheme), "difference"]
        for row, (name, (_, digits)) in zip(rows, _SHOWN.items(), strict=True):
            row.append(plus_minus(scheme[name], scheme[f"{name}_error"], digits))
            row += [] if plain else [_difference(scheme, name, digits)]
    marked = table[table["watermark"] != _PLAIN["watermark"]]
    single, five = _apart(marked, _OF_ONE), _apart(marked, _OF_FIVE)
    require(not any(single), "no difference of single texts leaves 0 out")
    require(not any(five), "none of several texts of different prompts does either")
    race = one_row(table, method="joint-race")
    # Of the larger experiment: every method, with fewer texts of the rarer ones.
    of_papers = experiment_table(_RUN, "quality")
    of_papers = _apart(of_papers[of_papers["watermark"] != _PLAIN["watermark"]], _OF_ONE)
    require(sum(of_papers) < len(of_papers) / 20, "no more than chance makes")
    return {
        "quality": markdown_table(head, rows),
        "single": len(single),
        "five_differences": len(five),
        "five_likeness": _difference(race, "self_bleu_five", 1),
        "fives": int(one_row(table, **_PLAIN)["texts"]) // FIVE // runs,
        "runs": runs,
        "papers_differences": len(of_papers),
        "papers_apart": sum(of_papers),
    }


def _apart(table: pd.DataFrame, names: Sequence[str]) -> list[bool]:
    """Whether intervals of differences leave 0 out; of those that there are."""
    return [
        bool(row[f"{name}_low"] > 0 or row[f"{name}_high"] < 0)
        for row in _rows(table)
        for name in names
        if not pd.isna(row[f"{name}_low"])
    ]


def _answers(table: pd.DataFrame) -> dict[str, object]:
    """Of questions with known answers."""
    rows = []
    for row in _rows(table):
        told = [_scheme(row), percent(row["right"])]
        of_right = [row[f"right_{end}"] for end in ("difference", "low", "high")]
        told.append("" if pd.isna(of_right[0]) else percent_between(*of_right))
        told += [plus_minus(row["token_f1"], row["token_f1_error"], 3), _difference(row, "token_f1", 3)]
        rows.append(told)
    plain = one_row(table, **_PLAIN)
    marked = table[table["watermark"] != _PLAIN["watermark"]]
    half = 100 * float((marked["right_high"] - marked["right_low"]).max()) / 2
    require(
        ((marked["right_low"] <= 0) & (marked["right_high"] >= 0)).all(), "no loss of right answers was seen"
    )
    require((table["token_f1"] == table["rouge_l"]).all(), "ROUGE-L says what F1 says of answers so short")
    head = ["scheme", "right", "difference", "F1 of words", "difference"]
    return {
        "answers": markdown_table(head, rows),
        "questions": int(plain["questions"]),
        "answer_texts": int(plain["texts_a_question"]),
        "answer_tokens": int(plain["tokens"]),
        "right_plain": percent(plain["right"]),
        # Twice the standard error is seen half of the time; four times in five takes 0.84 errors more.
        "right_seen": number(half * (1.96 + 0.84) / 1.96, 0),
    }
