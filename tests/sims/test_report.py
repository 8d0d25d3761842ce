"""Rows, Holm's procedure, verdicts and the files of a run."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sims.report import LEVEL, judge, print_table, write_summary
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from tradeoff.display.console import stderr


def row(p_value: float, *, control: bool = False) -> Row:
    return Row("Theorem", "setting [with] | marks", 1.0, "=", 1.1, 0.1, "z", 1.0, p_value, control)


@pytest.mark.parametrize(
    ("relation", "estimate", "p_value"),
    [
        ("=", 1.2, 2 * stats.norm.sf(2)),
        ("=", 0.8, 2 * stats.norm.sf(2)),
        ("≤", 1.2, stats.norm.sf(2)),
        ("≤", 0.8, stats.norm.cdf(2)),
        ("≥", 1.2, stats.norm.cdf(2)),
        ("≥", 0.8, stats.norm.sf(2)),
    ],
)
def test_estimates_are_compared_by_z_tests(relation: str, estimate: float, p_value: float) -> None:
    found = compare("s", "t", 1.0, estimate, 0.1, relation=relation)
    assert found.test == "z"
    assert found.p_value == pytest.approx(p_value)


@pytest.mark.parametrize(
    ("relation", "estimate", "p_value"),
    [
        ("=", 1 + 1e-10, 1),
        ("=", 1 + 1e-8, 0),
        ("≤", 1 - 1e-8, 1),
        ("≤", 1 + 1e-8, 0),
        ("≥", 1 + 1e-8, 1),
        ("≥", 1 - 1e-8, 0),
        ("≤", math.nan, 0),
    ],
)
def test_exact_numbers_are_compared_within_the_tolerance(
    relation: str, estimate: float, p_value: float
) -> None:
    assert compare("s", "t", 1.0, estimate, relation=relation).p_value == p_value


@pytest.mark.parametrize(("estimate", "error"), [(math.nan, 0.0), (math.nan, 0.1), (1.5, math.nan)])
@pytest.mark.parametrize("relation", ["=", "≤", "≥"])
def test_what_is_not_a_number_is_expected_of_nothing(relation: str, estimate: float, error: float) -> None:
    rows = [
        compare("s", "t", 1.0, estimate, error, relation=relation, control=control)
        for control in (False, True)
    ]
    assert not any(v.as_expected for v in judge(rows))


def test_unknown_relation_is_refused() -> None:
    with pytest.raises(ValueError, match="use =, ≤ or ≥"):
        compare("s", "t", 1.0, 1.0, relation="<")


def test_rounding_noise_is_no_evidence() -> None:
    assert compare("s", "t", 0.0, 1e-16, 1e-18).p_value == 1


def test_z_tests_have_their_level() -> None:
    """Uniform p-values under the null hypothesis."""
    rng = np.random.default_rng(0)
    p = [compare("s", "t", 0.0, *mean_and_error(rng.normal(size=400))).p_value for _ in range(2_000)]
    assert stats.kstest(p, "uniform").pvalue > 1e-7


def test_goodness_of_fit_has_its_level() -> None:
    rng = np.random.default_rng(1)
    law = np.array([0.5, 0.3, 0.19, 0.009, 0.001])
    rows = [goodness_of_fit("s", "t", rng.multinomial(5_000, law), law) for _ in range(2_000)]
    # Cells that expect 45 counts are kept, the one that expects 5 is a cell of its own below the limit.
    assert {r.predicted for r in rows} == {4.0}
    assert stats.kstest([r.p_value for r in rows], "uniform").pvalue > 1e-7
    assert np.mean([r.estimate for r in rows]) == pytest.approx(4, abs=5 * math.sqrt(8 / 2_000))


def test_counts_where_nothing_can_happen_reject() -> None:
    assert goodness_of_fit("s", "t", np.array([50, 50, 1]), np.array([0.5, 0.5, 0.0])).p_value == 0


def test_holm() -> None:
    """The textbook example: 0.01 and 0.005 are rejected at 0.05, then 0.03 > 0.05/2 stops the procedure."""
    rows = [row(p) for p in (0.01, 0.04, 0.03, 0.005)]
    assert [v.red for v in judge(rows, 0.05)] == [True, False, False, True]
    assert not any(v.red for v in judge([row(1.0)] * 3))
    assert judge([]) == []


def test_true_statements_stay_green() -> None:
    """With uniform p-values the share of runs with a red row is the family-wise level, here 0.1."""
    rng = np.random.default_rng(2)
    red = [any(v.red for v in judge([row(p) for p in rng.random(30)], 0.1)) for _ in range(3_000)]
    assert np.mean(red) < 0.1 + 5 * math.sqrt(0.09 / 3_000)
    assert LEVEL < 1e-4


def test_verdicts_of_statements_and_controls() -> None:
    green, red, kept, broken = judge([row(1.0), row(0.0), row(0.0, control=True), row(1.0, control=True)])
    assert [v.as_expected for v in (green, red, kept, broken)] == [True, False, True, False]
    assert [v.word for v in (green, red, kept, broken)] == [
        "green",
        "RED",
        "red, as it must",
        "GREEN, though broken",
    ]


def test_table_and_summary(tmp_path) -> None:
    verdicts = judge([row(1.0), row(0.0, control=True), compare("s", "exact one", 1.0, 1.0)])
    console = stderr(io.StringIO())
    console.width = 80
    print_table(console, verdicts)
    text = console.file.getvalue()
    assert "setting [with] | marks" in text
    assert len(text.strip().splitlines()) == 4
    paths = write_summary(verdicts, tmp_path, "a note")
    assert [p.name for p in paths] == ["summary.csv", "summary.md"]
    table = pd.read_csv(paths[0])
    assert table["as_expected"].tolist() == [True, True, True]
    assert table["expected_red"].tolist() == [False, True, False]
    lines = paths[1].read_text().splitlines()
    assert lines[2] == "a note"
    assert all(line.replace("\\|", "").count("|") == 8 for line in lines[4:])
