"""Claims: seen where the data say so, the contrary where they say that, undecided with few texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from paper_repro.presets import Cell, PromptSet
from paper_repro.report.claims import claims
from paper_repro.trials.fixed import Trial, roc_table, tpr_table

LENGTHS = (10, 20)
CELL = Cell(PromptSet(name="a", source="builtin:question"), "algorithm-1", "gumbel", 0.5, 3, 125, 200, True)


def trial(detector: str, share: float, texts: int = 400, cell: Cell = CELL, seed: int = 0) -> Trial:
    """A detector that finds a share of the texts, the same ones at both lengths."""
    rng = np.random.default_rng(seed)
    margins = np.where(rng.random((texts, 1)) < share, 1.0, -1.0) * np.ones(len(LENGTHS))
    null = -np.ones((100, len(LENGTHS)))
    return Trial(cell, detector, "exact", LENGTHS, margins, null, -margins[:, 0], np.zeros(100), 1.5)


def speed(gap: float = 0.0, error: float = 0.01, surprise: float = 0.0) -> pd.DataFrame:
    common = {"prompts": "a", "temperature": 0.5, "lookahead": 3}
    return pd.DataFrame(
        [
            common
            | {
                "method": "standard",
                "watermark": "none",
                "aatps": 2.0,
                "aatps_error": error,
                "excess_surprise": 0.0,
                "excess_surprise_error": 0.01,
            },
            common
            | {
                "method": "algorithm-1",
                "watermark": "gumbel",
                "aatps": 2.0 + gap,
                "aatps_error": error,
                "excess_surprise": surprise,
                "excess_surprise_error": 0.01,
            },
        ]
    )


def found(words: str, trials: list[Trial], table: pd.DataFrame | None = None) -> tuple[bool, str]:
    (match,) = [c for c in claims(trials, speed() if table is None else table) if words in c[0]]
    return match[1], match[2]


@pytest.mark.parametrize(
    ("better", "texts", "seen", "words"),
    [(0.9, 400, True, ""), (0.5, 400, False, "few"), (0.1, 400, False, "contrary"), (0.6, 12, False, "few")],
)
def test_more_is_seen_if_the_interval_says_so(better: float, texts: int, seen: bool, words: str) -> None:
    trials = [trial("Ars-τ", better, texts), trial("Ars-Prior", 0.5, texts, seed=1)]
    holds, detail = found("Ars-τ detects more than Ars-Prior", trials)
    assert holds is seen
    assert words in detail
    assert "95% interval" in detail


@pytest.mark.parametrize(
    ("gap", "error", "seen"), [(0.0, 0.01, True), (0.0, 0.2, False), (0.5, 0.01, False), (0.02, 0.01, True)]
)
def test_equal_needs_the_whole_interval_inside_the_margin(gap: float, error: float, seen: bool) -> None:
    assert found("AATPS of algorithm-1", [], speed(gap, error))[0] is seen


@pytest.mark.parametrize(
    ("gain", "error", "seen", "words"),
    [(0.05, 0.01, True, "+0.050"), (0.05, 0.1, False, "few"), (-0.05, 0.01, False, "contrary")],
)
def test_blocks_give_more_where_the_interval_says_so(
    gain: float, error: float, seen: bool, words: str
) -> None:
    table = speed().assign(block_gain=gain, block_gain_error=error)
    blocks = table[table["method"] == "algorithm-1"].assign(method="algorithm-1, blocks")
    holds, detail = found("given the drafts of algorithm-1", [], pd.concat([table, blocks]))
    assert holds is seen
    assert words in detail
    assert not [name for name, *_ in claims([], table) if "Blocks" in name], "it was not run as blocks"


@pytest.mark.parametrize(("surprise", "seen"), [(0.0, True), (0.2, False)])
def test_perplexity(surprise: float, seen: bool) -> None:
    assert found("LOGPPL unchanged by algorithm-1", [], speed(surprise=surprise))[0] is seen


@pytest.mark.parametrize(("share", "seen"), [(0.8, True), (0.4, False)])
def test_one_race_against_the_oracle(share: float, seen: bool) -> None:
    race = replace(CELL, method="one-race")
    trials = [trial("Aaronson", share, 4000, race), trial("oracle", 0.8, 4000, seed=2)]
    assert found("reaches the oracle", trials)[0] is seen


def test_pooling_adds_texts_of_all_prompts() -> None:
    other = replace(CELL, prompts=PromptSet(name="b", source="builtin:continuation"))
    table = tpr_table([trial("Ars-τ", 0.9, 100), trial("Ars-τ", 0.1, 300, other, seed=3)])
    both = table[(table["prompts"] == "both") & (table["tokens"] == 10)].iloc[0]
    parts = table[(table["prompts"] != "both") & (table["tokens"] == 10)]
    assert both["texts"] == parts["texts"].sum() == 400
    assert both["tpr"] == pytest.approx((parts["tpr"] * parts["texts"]).sum() / 400)
    roc = roc_table([trial("Ars-τ", 0.9, 100), trial("Ars-τ", 0.1, 300, other, seed=3)], 10)
    assert set(roc["prompts"]) == {"a", "b", "both"}
