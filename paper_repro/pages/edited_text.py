"""What edits leave of a watermark, and how wide a context should be: `python -m paper_repro.edits`."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from paper_repro.edits import FPR, KEYS, KINDS, MIN_HASH, PARAPHRASED, TEMPERATURES, TOKENS, WIDTHS, Edit
from paper_repro.pages.parts.formats import EDIT_WORDS, between, listed, markdown_table, number, percent
from paper_repro.pages.parts.measured import figure_table, measured_at
from paper_repro.pages.parts.tables import one_row, require
from tradeoff.keyed import KeyedPrf

__all__ = ["values"]

#: The default, and what it was before.
_NARROW, _WIDE = KeyedPrf.context_width, 4
_OURS, _UNDRAFTED, _TWO_KEYS = "joint-race", "basic", "algorithm-1"
_METHODS = (_OURS, "one-race", _TWO_KEYS)
_ALL = "all"
_UNEDITED, _PARAPHRASED = Edit("none", 0.0), Edit("paraphrased", 1.0)
_WORDS = {
    **EDIT_WORDS,
    "none": "none",
    "substitution": "{} of the tokens replaced",
    "insertion": "tokens inserted, {} of its length",
    "deletion": "{} of the tokens deleted",
    "truncation": "the last {} cut off",
    "pasted into human text": "the last {} cut off, the rest pasted into as much human text",
    "paraphrased": "said in other words by the model, sentence by sentence",
}
#: Edits at which widths are told apart, and those beside which other tests stand.
_HARD, _HARDER = ([Edit(name, s) for name in ("substitution", "insertion", "deletion")] for s in (0.2, 0.3))
_MIXED = (
    _UNEDITED,
    Edit("substitution", 0.1),
    Edit("substitution", 0.3),
    Edit("pasted into human text", 0.5),
)


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    table = figure_table("edits")
    require(set(table["temperature"]) == set(TEMPERATURES), "every temperature was tried")
    return {
        "measured": measured_at(table),
        "texts": int(table[table["prompts"] == "both"]["texts"].iloc[0]),
        "tokens": TOKENS,
        "keys": KEYS * len(KINDS),
        "fpr": percent(FPR),
        "temperatures": listed([f"{t:g}" for t in sorted(TEMPERATURES)]),
        "paraphrased": f"{PARAPHRASED:g}",
        "narrow": _NARROW,
        "min_hash": " or ".join(map(str, MIN_HASH)),
        "wide": _WIDE,
        **_widths(figure_table("edits_widths")),
        **_settings(table),
        **_methods(table, figure_table("edits_methods")),
        **_tests(figure_table("edits_detectors")),
        **_price(figure_table("edits_price")),
    }


def _edits(table: pd.DataFrame) -> list[Edit]:
    """In the order of the table."""
    found = table[["edit", "share"]].drop_duplicates()
    return [Edit(*row) for row in found.itertuples(index=False, name=None)]


def _told(edit: Edit) -> str:
    return _WORDS[edit.edit].format(percent(edit.share))


def _points(row: pd.Series, name: str) -> str:
    """A rate or a difference in hundredths, with its interval."""
    value, low, high = (100 * float(row[name + end]) for end in ("", "_low", "_high"))
    return between(value, low, high, 0)


def _widths(table: pd.DataFrame) -> dict[str, object]:
    """Widths on the same prompts, temperatures together."""
    together = table[table["temperature"] == _ALL]

    def compared(method: str, width: int, other: int, edit: Edit) -> pd.Series:
        where = {"method": method, "context_width": width, "other_width": other}
        return one_row(together, **where, **edit._asdict())

    rows = []
    for edit in _edits(together[together["method"] == _OURS]):
        ours, undrafted = (compared(method, _NARROW, _WIDE, edit) for method in (_OURS, _UNDRAFTED))
        one = compared(_UNDRAFTED, 1, _NARROW, edit)
        rows.append(
            [
                _told(edit),
                *(percent(ours[name]) for name in ("first", "second")),
                _points(ours, "difference"),
                *(percent(found) for found in (one["first"], undrafted["first"], undrafted["second"])),
                _points(undrafted, "difference"),
            ]
        )
    gains: dict[str, str] = {}
    for name, edits in (("gain", _HARD), ("harder", _HARDER)):
        found = [compared(_OURS, _NARROW, _WIDE, edit) for edit in edits]
        found += [compared(_UNDRAFTED, _NARROW, _WIDE, edit) for edit in edits]
        require(all(row["difference_low"] > 0 for row in found), "the narrower finds more after hard edits")
        ours = [100 * row["difference"] for row in found[: len(edits)]]
        gains |= {f"{name}_least": number(min(ours), 0), f"{name}_most": number(max(ours), 0)}
    narrow = table[(table["method"] == _OURS) & (table["context_width"] == _NARROW)]
    alone = narrow[narrow["temperature"] != _ALL]
    worst = alone.loc[alone["difference"].idxmin()]
    require(worst["temperature"] == f"{min(TEMPERATURES):g}", "the narrow context loses in cold text")
    anew = one_row(narrow, **_PARAPHRASED._asdict())
    one = compared(_UNDRAFTED, 1, _NARROW, _UNEDITED)
    require(one["difference_high"] < 0, "one token loses, unedited")
    least = together[(together["context_width"] == 1) & (together["other_width"] == _NARROW)]
    require((least["difference_low"] <= 0).all(), "one token is nowhere seen to gain")
    head = ["edit", *(f"`{_OURS}`, {width} tokens" for width in (_NARROW, _WIDE)), "difference"]
    head += [f"no speculation, {_tokens(width)}" for width in (1, _NARROW, _WIDE)]
    return {
        "widths": markdown_table([*head, f"{_NARROW} less {_WIDE}"], rows),
        "clean": _points(compared(_OURS, _NARROW, _WIDE, _UNEDITED), "difference"),
        "clean_undrafted": _points(compared(_UNDRAFTED, _NARROW, _WIDE, _UNEDITED), "difference"),
        "one_clean": _points(one, "difference"),
        **gains,
        "hard_share": percent(_HARD[0].share),
        "harder_share": percent(_HARDER[0].share),
        "worst": _points(worst, "difference"),
        "worst_temperature": worst["temperature"],
        "worst_edit": _told(Edit(worst["edit"], worst["share"])),
        "paraphrase_wide": percent(anew["second"]),
        "paraphrase_points": _points(anew, "difference"),
    }


def _settings(table: pd.DataFrame) -> dict[str, object]:
    """By temperature and kind of prompts, of the default method."""
    ours, hard = table[table["method"] == _OURS], _HARD[0]
    columns = [(edit, width) for edit in (_UNEDITED, hard) for width in (_NARROW, _WIDE)]
    rows = []
    for temperature in sorted(TEMPERATURES):
        for kind in KINDS:
            where = {"temperature": temperature, "prompts": kind}
            found = (one_row(ours, **where, context_width=w, **edit._asdict()) for edit, w in columns)
            rows.append([f"{temperature:g}", f"{kind}s", *(_points(row, "tpr") for row in found)])
    names = {_UNEDITED: "unedited", hard: _told(hard)}
    head = ["T", "prompts", *(f"{names[edit]}, {_tokens(width)}" for edit, width in columns)]
    return {"settings": markdown_table(head, rows)}


def _methods(table: pd.DataFrame, differences: pd.DataFrame) -> dict[str, object]:
    """Methods with the default width beside no speculation."""
    found = table[(table["context_width"] == _NARROW) & (table["temperature"] == PARAPHRASED)]
    found = found[found["prompts"] == "both"]
    narrow = differences[differences["context_width"] == _NARROW]
    here = narrow[narrow["temperature"] == f"{PARAPHRASED:g}"]
    edits = _edits(found)
    rows = []
    for edit in edits:
        undrafted = one_row(found, method=_UNDRAFTED, **edit._asdict())
        told = [percent(undrafted["kept"]), _points(undrafted, "tpr")]
        for method in _METHODS:
            row = one_row(here, method=method, **edit._asdict())
            told += [percent(row["first"]), _points(row, "difference")]
        rows.append([_told(edit), *told])
    head = [
        "edit",
        "kept",
        "no speculation",
        *(cell for name in _METHODS for cell in (f"`{name}`", "difference")),
    ]
    alike = (here["difference_low"] <= 0) & (here["difference_high"] >= 0)
    lost = here[(here["method"] == _TWO_KEYS) & (here["edit"] != _PARAPHRASED.edit)]
    require((lost["difference_high"] < 0).all(), "Algorithm 1 loses after every edit")
    anew = one_row(found, method=_OURS, **_PARAPHRASED._asdict())
    together = narrow[(narrow["method"] == _OURS) & (narrow["temperature"] == _ALL)]
    require((together["difference_high"] >= 0).all(), "no cost of speculation was seen")
    pooled = together["difference"]
    return {
        "methods": markdown_table(head, rows),
        "edits_count": len(edits),
        **{
            f"alike_{name.replace('-', '_')}": int(alike[here["method"] == name].sum())
            for name in _METHODS[:2]
        },
        "pooled_least": number(100 * pooled.min(), 0),
        "pooled_most": number(100 * pooled.max(), 0),
        "lost_least": number(-100 * lost["difference"].max(), 0),
        "lost_most": number(-100 * lost["difference"].min(), 0),
        "paraphrase": _points(anew, "tpr"),
        "paraphrase_kept": percent(anew["kept"]),
        "unedited": _points(one_row(found, method=_OURS, **_UNEDITED._asdict()), "tpr"),
    }


def _tests(table: pd.DataFrame) -> dict[str, object]:
    """Other tests of the same numbers, temperatures together."""
    here = table[(table["method"] == _UNDRAFTED) & (table["context_width"] == _NARROW)]
    rows = [
        [name, *(_points(one_row(part, **edit._asdict()), "difference") for edit in _MIXED)]
        for name, part in here.groupby("test", sort=False)
    ]
    above, below = table["difference_low"] > 0, table["difference_high"] < 0
    require(
        above.sum() <= 0.025 * len(table), "no more tests are above Aaronson's sum than chance puts there"
    )
    return {
        "tests": markdown_table(["test", *map(_told, _MIXED)], rows),
        "tests_count": len(table),
        "tests_above": int(above.sum()),
        "tests_below": int(below.sum()),
    }


def _price(table: pd.DataFrame) -> dict[str, object]:
    """What narrow contexts cost."""
    rows = []
    for temperature in sorted(TEMPERATURES):
        of = [one_row(table, temperature=temperature, context_width=width) for width in WIDTHS]
        hashed = [percent(of[-1][f"min_hash_{width}"]) for width in MIN_HASH]
        told = [*(percent(row["repeated"]) for row in of), *(_points(row, "seen") for row in of)]
        rows.append([f"{temperature:g}", *told, *hashed])
    head = ["T", *_by_width("repeated", WIDTHS), *_by_width("seen", WIDTHS), *_by_width("min-hash", MIN_HASH)]
    return {"price": markdown_table(head, rows), "seen_tokens": f"{int(table['seen_tokens'].iloc[0]):,}"}


def _by_width(what: str, widths: Iterable[int]) -> list[str]:
    return [f"{what}, {_tokens(width)}" for width in widths]


def _tokens(width: int) -> str:
    return f"{width} token{'s' * (width > 1)}"
