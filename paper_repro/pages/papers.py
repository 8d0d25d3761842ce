"""The first paper's experiment on prompts of its own kind: preset `papers`."""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd

from paper_repro.pages.parts.formats import between, listed, markdown_table, plus_minus
from paper_repro.pages.parts.measured import run_measured_at
from paper_repro.pages.parts.tables import claims, experiment_table, one_row, require
from paper_repro.presets import load_preset
from paper_repro.report.decided import Claim, Verdict

__all__ = ["values"]

_RUN = "papers"
#: Sets of prompts, and which table of the paper has theirs.
_SETS = {"question": "Table 1", "document": "Table 2"}
#: Rows of a table at every lookahead: a scheme in words, its method, watermark and temperature.
_BASIC = (
    ("Gumbel-max", "basic", "gumbel"),
    ("SynthID", "basic", "synthid:30"),
    ("no watermark, T = 0.5", "basic", "none", 0.5),
    ("no watermark, T = 0.7", "basic", "none", 0.7),
)
_SPECULATIVE = (
    ("Algorithm 1, Gumbel-max", "algorithm-1", "gumbel"),
    ("joint race, Gumbel-max", "joint-race", "gumbel"),
    ("Algorithm 1, SynthID", "algorithm-1", "synthid:30"),
    ("joint tournament, SynthID", "joint-tournament", "synthid:30"),
    ("standard, T = 0.5", "standard", "none", 0.5),
    ("standard, T = 0.7", "standard", "none", 0.7),
)
#: What the paper claims, in its order: its words, and how claims of the run on it begin and end.
_PAPER = (
    ("AATPS of Algorithm 1 is that of standard speculative sampling", "AATPS of algorithm-1"),
    ("Ars-τ detects more than Ars-Prior", "Ars-τ detects more"),
    ("Bayes-MLP detects more than Bayes-Prior", "Bayes-MLP detects more"),
    (
        "both come near the oracle in long texts (here of 100 tokens, there of 200)",
        "Ars-τ reaches the oracle",
        "Bayes-MLP reaches the oracle",
    ),
    ("Algorithm 1 is faster than no speculation (PTT)", "algorithm-1 takes less time"),
    ("LOGPPL stays what it is", "LOGPPL unchanged by algorithm-1"),
)
#: What this library adds.
_OURS = (
    "joint-race with Aaronson detects more than algorithm-1 with Ars-τ",
    "joint-tournament with mean of bits detects more than algorithm-1",
    "joint-tournament with Bayes detects more than algorithm-1",
    "the joint race reaches no speculation",
    "the joint tournament reaches no speculation",
    "AATPS of joint-race",
    "AATPS of joint-tournament",
)


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    speed, preset, found = experiment_table(_RUN, "speed"), load_preset(_RUN), claims(_RUN)
    detected = [cell for cell in preset.cells() if cell.detect]
    of_paper = [one for _, *starts in _PAPER for one in found if one.words.startswith(tuple(starts))]
    counts = Counter(one.verdict for one in of_paper)
    quick = one_row(speed, prompts="question", method="basic", watermark="gumbel")
    return {
        "tables": {name: _table(speed, name) for name in _SETS},
        "paper": markdown_table(["the paper", "here", "difference (95% interval)"], _rows_of_paper(found)),
        "ours": markdown_table(
            ["claim", "here", "difference (95% interval)"],
            [
                [f"{one.words}", one.verdict.value, _interval(one)]
                for one in found
                if one.words.startswith(_OURS)
            ],
        ),
        "counted": listed([f"{counts[verdict]} {verdict.value}" for verdict in Verdict]),
        "claims": len(of_paper),
        "texts": max(cell.texts for cell in detected),
        "tokens": max(cell.max_tokens for cell in detected),
        "others": preset.texts,
        "other_tokens": preset.max_tokens,
        "timed": preset.ptt_texts,
        "timed_tokens": preset.ptt_tokens,
        "first": int(quick["tokens"] / quick["texts"]),
        "measured": run_measured_at(_RUN),
    }


def _table(speed: pd.DataFrame, prompts: str) -> str:
    """As the paper prints it: a block without speculation, and one a lookahead."""
    part, rows = speed[speed["prompts"] == prompts], []
    for lookahead in (0, 2, 3, 4):
        for shown, method, watermark, *temperature in _SPECULATIVE if lookahead else _BASIC:
            where = {"method": method, "watermark": watermark, "lookahead": lookahead}
            row = one_row(part, **where, **({"temperature": temperature[0]} if temperature else {}))
            rows.append(
                [
                    f"K = {lookahead}" if lookahead else "basic",
                    shown,
                    f"{row['texts']}",
                    plus_minus(row["aatps"], row["aatps_error"], 2) if lookahead else "1",
                    plus_minus(row["ptt_ms"], row["ptt_ms_error"], 0),
                    plus_minus(row["logppl"], row["logppl_error"], 2),
                    plus_minus(row["excess_surprise"], row["excess_surprise_error"], 3),
                ]
            )
    head = ["", "method", "texts", "AATPS", "PTT (ms)", "LOGPPL", "LOGPPL less entropy"]
    return markdown_table(head, rows)


def _rows_of_paper(found: list[Claim]) -> list[list[str]]:
    rows = []
    for words, *starts in _PAPER:
        decided = [one for one in found if one.words.startswith(tuple(starts))]
        require(decided, f"the run decides: {words}")
        rows += [[f"{words}: {_setting(one)}", one.verdict.value, _interval(one)] for one in decided]
    return rows


def _setting(one: Claim) -> str:
    """What a claim adds to the paper's words."""
    which = re.search(r"\((per \w+)\)", one.words)
    _, _, rest = one.words.partition(" (algorithm-1)")
    setting = rest.lstrip(", ") or one.words.partition(", ")[2] or one.note
    return f"{which[1]}, {setting}" if which else setting


def _interval(one: Claim) -> str:
    remark = f"; {one.remark}" if one.remark else ""
    return f"{between(one.value, one.low, one.high, one.unit.digits)} {one.unit.words}{remark}"
