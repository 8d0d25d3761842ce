"""The README is short, its commands are those that CI runs, and its numbers are those of committed tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from paper_repro.pages.parts.tables import one_row
from tests.documents.blocks import parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "paper_repro" / "results"


def claims() -> list[str]:
    """The items of the section on results, each in one line."""
    section = README.split("\n## Results\n")[1].split("\n## ")[0]
    return [" ".join(item.split()) for item in re.findall(r"^- ((?:.|\n(?!\n|- ))*)", section, re.MULTILINE)]


def numbers(claim: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", claim.partition(": [")[0])]


def rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.0f}") for value in values]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 120
    assert len(README.split()) <= 700


def test_its_two_commands_are_those_that_ci_runs() -> None:
    """CI installs quietly, and does other things between installing and running."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace(" --quiet", "").splitlines()
    section = README.split("\n## Two commands\n")[1].split("\n## ")[0]
    (block,) = parse(section, "README.md")
    commands = [line.split(" && ") for line in block.code.splitlines()]
    assert [run for _, run in commands] == ["python -m paper_repro", "pytest"]
    for install, run in commands:
        assert script.index(install) < script.index(run)


def test_every_claim_is_checked() -> None:
    assert len(claims()) == 5
    assert all(re.search(r"\]\(docs/results/\w+\.md\)", claim) for claim in claims())


def test_detection() -> None:
    table = pd.read_csv(RESULTS / "small" / "tpr.csv")
    where = {"prompts": "both", "watermark": "gumbel", "temperature": 0.5, "tokens": 100}
    race = one_row(table, **where, method="joint-race", detector="Aaronson")
    paper = one_row(table, **where, method="algorithm-1", detector="Ars-τ")
    percent = [100 * row[name] for row in (race, paper) for name in ("tpr", "tpr_low", "tpr_high")]
    claim = claims()[0]
    assert numbers(claim) == [1, 100, 0.5, *rounded(percent[:3]), 1, *rounded(percent[3:])]
    assert claim.startswith("At FPR 1%, 100 tokens")


def test_joint_tournament() -> None:
    table = pd.read_csv(RESULTS / "small" / "paired.csv")
    where = {"watermark": "synthid:30", "tokens": 50, "method": "joint-tournament", "against": "algorithm-1"}
    row = one_row(table, **where, detector="weighted mean of bits", against_detector="weighted mean of bits")
    percent = [100 * row[name] for name in ("tpr", "difference", "low", "high")]
    assert numbers(claims()[1]) == [50, row["temperature"], *rounded(percent), 1]


def test_blocks() -> None:
    """Both sets of prompts, and what both rules were tried on."""
    table = pd.read_csv(RESULTS / "blocks" / "table.csv")
    page = (ROOT / "docs" / "results" / "faster.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| 1.0 | `joint-race`, gumbel | 4 |")]
    shown = [float(number) for number in re.findall(r"\d+\.\d+", row.split("|")[-2])]
    assert numbers(claims()[2]) == [*shown, 4, 1]
    here = table[(table["temperature"] == 1) & (table["lookahead"] == 4)]
    gains = here[here["method"].str.startswith("joint-race")].groupby("prompts")["block_gain"].mean()
    assert gains.mean() == pytest.approx(shown[0], abs=5e-4)


def test_stopping() -> None:
    table = pd.read_csv(RESULTS / "sequential" / "sequential.csv")
    cold = table[(table["alpha"] == 0.02) & (table["method"] == "joint-race") & (table["temperature"] == 0.3)]
    bets = one_row(cold, kind="betting")
    over_time = cold[(cold["kind"] == "Bonferroni over time") & (cold["test"] != "draft-aware hits")]
    percent = []
    for share in (bets["detected"], over_time["detected"].max()):
        found = stats.binomtest(round(share * bets["texts"]), int(bets["texts"])).proportion_ci(0.95, "exact")
        percent += [100 * share, 100 * found.low, 100 * found.high]
    tokens = pd.read_csv(RESULTS / "sequential" / "sequential_shares.csv")
    longest = tokens[tokens["temperature"] == 0.3]["tokens"].max()
    assert numbers(claims()[3]) == [2, 0.3, *rounded(percent[:3]), longest, *rounded(percent[3:])]


def test_statements() -> None:
    table = pd.read_csv(ROOT / "sims" / "results" / "summary.csv")
    controls = table[table["expected_red"]]
    assert table["as_expected"].all()
    real = pd.read_csv(RESULTS / "papers" / "bounds.csv")
    wrong = real["control"].notna()
    assert (real["holds"] == ~wrong).all()
    assert numbers(claims()[4]) == [
        len(table) - len(controls), len(controls), len(real) - wrong.sum(), wrong.sum()
    ]  # fmt: skip


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^):]+)\)", README))))
def test_what_it_links_to_is_there(target: str) -> None:
    assert (ROOT / target).is_file()
