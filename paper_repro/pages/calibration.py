"""Nominal level against realised rate of false alarms, of others' statistics and ours."""

from __future__ import annotations

import pandas as pd

from paper_repro.level.__main__ import NOMINAL, POSTERIOR
from paper_repro.level.human import KINDS
from paper_repro.level.statistics import UNTRAINED
from paper_repro.pages.parts.formats import listed, markdown_table, number, percent, percent_between
from paper_repro.pages.parts.measured import figure_table, measured_at
from paper_repro.pages.parts.tables import one_row, require

__all__ = ["values"]

_OURS = "ours"
_CELL = ["software", "statistic"]
#: Rates of these are told in words: of the same bits or lists, how much is called at 1%.
_LEFT = "KGW, lefthash"


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if the table lacks a row, or a sentence of the page has become false.
    """
    return of_table(figure_table("level"))


def of_table(table: pd.DataFrame) -> dict[str, object]:
    """The same of a table as `paper_repro.level` writes it. Raises as `values`."""
    tested = table[table["statistic"] != UNTRAINED].assign(nominal=lambda rows: rows["nominal"].astype(float))
    ours, others = tested[tested["software"] == _OURS], tested[tested["software"] != _OURS]
    # Of so many intervals of 95% some miss by chance: Bonferroni's hold all at once.
    worst = _lowest_p(ours)
    require(worst * len(ours) >= 0.05, "no rate of ours is above its level beyond chance")
    untrained = table[table["nominal"] == POSTERIOR]
    require(len(untrained) == len(KINDS), "the untrained detector was run on every kind of text")
    return {
        "others": _shown(others),
        "ours": _shown(ours),
        "rows_of_ours": len(ours),
        "least_p": number(worst, 3),
        "least_bound": number(min(1.0, worst * len(ours)), 2),
        "lefthash": _of_kinds(tested, "Transformers", _LEFT, NOMINAL[0]),
        "lefthash_rarely": _of_kinds(tested, "Transformers", _LEFT, NOMINAL[-1]),
        "selfhash": _of_kinds(tested, "Transformers", "KGW, selfhash", NOMINAL[0]),
        "synthid": _of_kinds(tested, "Transformers", "SynthID, z-test of the mean", NOMINAL[0]),
        "unmasked": _of_kinds(tested, "Transformers", "SynthID, z-test of the mean, no mask", NOMINAL[0]),
        "markllm_kgw": _of_kinds(tested, "MarkLLM", "KGW", NOMINAL[0]),
        "unigram": _of_kinds(tested, "MarkLLM", "Unigram", NOMINAL[0]),
        "exp": _of_kinds(tested, "MarkLLM", "EXP", NOMINAL[0]),
        "ours_lefthash": _of_kinds(tested, _OURS, _LEFT, NOMINAL[0]),
        "vllm_often": _of_kinds(tested, "vLLM", "gumbel, deduplicate_contexts=False", NOMINAL[0]),
        "vllm_once": _of_kinds(tested, "vLLM", "gumbel, contexts once", NOMINAL[0]),
        "untrained": listed(
            [
                percent_between(row["rate"], row["low"], row["high"])
                for row in (one_row(untrained, kind=kind) for kind in KINDS)
            ]
        ),
        "versions": listed(
            [f"{name} {version}" for name, version in _versions(table).items()],
        ),
        "measured": measured_at(table),
    }


def _lowest_p(rows: pd.DataFrame) -> float:
    """The least p-value of one-sided binomial tests that a rate is at most its level."""
    from scipy import stats

    return min(
        float(stats.binom.sf(row["called"] - 1, row["trials"], row["nominal"]))
        for row in rows.to_dict("records")
    )


def _versions(table: pd.DataFrame) -> dict[str, str]:
    told = table.dropna(subset="version")[["software", "version"]].drop_duplicates()
    return {row["software"]: str(row["version"]) for row in told.to_dict("records")}


def _of_kinds(table: pd.DataFrame, software: str, statistic: str, nominal: float) -> str:
    """ "2.9% on prose, 5.9% on code and 16% on lists and tables"."""
    rows = [
        one_row(table, software=software, statistic=statistic, nominal=nominal, kind=kind) for kind in KINDS
    ]
    return listed([f"{percent(row['rate'], 1)} on {row['kind']}" for row in rows])


def _shown(table: pd.DataFrame) -> str:
    """One row a statistic and kind of text."""
    head = ["software", "statistic", "text", "texts", "trials", *(f"at {_level(level)}" for level in NOMINAL)]
    rows = []
    for (software, statistic, kind), part in table.groupby([*_CELL, "kind"], sort=False):
        cells = [one_row(part, nominal=level) for level in NOMINAL]
        first = cells[0]
        rates = list(map(_rate, cells))
        rows.append([software, statistic, kind, f"{first['texts']}", f"{first['trials']:,}", *rates])
    return markdown_table(head, rows)


def _rate(cell: pd.Series) -> str:
    """In hundredths, with its interval; of none what it is at most."""
    if not cell["called"]:
        return f"0 (to {number(100 * cell['high'], 2)})"
    return percent_between(cell["rate"], cell["low"], cell["high"], 2)


def _level(level: float) -> str:
    """As a share in hundredths, with as few digits as it has."""
    return f"{100 * level:g}%" if level >= 1e-4 else "10⁻⁶"
