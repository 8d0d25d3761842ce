"""Detection gaps of transport watermarks: reference values, files, errors, and that --check can fail."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from figures.reference import Reference
from figures.transport import gaps as transport_gaps
from tradeoff.optimal_transport.solvers import Exact, Sinkhorn

runner = CliRunner()
app = typer.Typer()
app.command()(transport_gaps.draw)
DRAWS = 100_000


def missed() -> list[str]:
    return [row.name for row in transport_gaps.references(DRAWS, 3) if not row.holds]


def test_every_reference_value_is_reproduced():
    rows = transport_gaps.references(DRAWS, 3)
    assert len(rows) == 108
    assert [row.name for row in rows if not row.holds] == []
    # Formulas to 1e-9, tables to their digits, simulations to 4 standard errors.
    assert sum(row.tolerance == 1e-9 for row in rows) == 31
    assert sum(row.tolerance == 5e-4 for row in rows) >= 20
    simulated = [row for row in rows if row.name.endswith("simulated")]
    assert len(simulated) == 24
    assert all(row.tolerance == pytest.approx(4 * row.error) and row.error > 0 for row in simulated)


def test_the_check_notices_other_scores(monkeypatch):
    honest = transport_gaps.GAPS["Gumbel"]
    monkeypatch.setitem(transport_gaps.GAPS, "Gumbel", lambda lam: 1.01 * honest(lam))
    assert {"Gumbel, λ = 0.75", "Gumbel, λ = 0.9"} <= set(missed())


def test_the_check_notices_another_solver(monkeypatch):
    monkeypatch.setattr(Exact, "__call__", lambda self, p, scores: Sinkhorn(0.2)(p, scores))
    names = missed()
    assert any(name.startswith("two atoms") for name in names)
    assert any(name.startswith("simplex code") for name in names)
    for start in ("exact gap; one table", "exact gap - HiGHS's", "exact gap - largest differences'"):
        assert any(name.startswith(f"  HeavyWater, {start}") for name in names)


def test_the_check_notices_another_regularisation(monkeypatch):
    honest = Sinkhorn.__call__
    monkeypatch.setattr(Sinkhorn, "__call__", lambda self, p, f: honest(Sinkhorn(0.06), p, f))
    assert any("Sinkhorn gap - logistic's" in name for name in missed())


def test_no_row_allows_more_than_a_third_of_what_is_printed():
    rows = [row for row in transport_gaps.references(DRAWS, 3) if row.name.startswith("  HeavyWater")]
    assert len(rows) == 27
    printed = [row for row in rows if "; one table against 40: z = " in row.name]
    assert len(printed) == 12
    assert all(0 < row.tolerance <= row.reference / 3 for row in printed)
    # Else formulas, bounds, and a mean over tables.
    assert all(
        row.tolerance <= 2e-4 or row.tolerance == 4 * row.error < 0.02 for row in rows if row not in printed
    )


def test_check_exits_1_when_a_reference_is_missed(monkeypatch):
    for value, status in ((1.0, 0), (2.0, 1)):
        rows = [Reference("one value", value, 1.0, 1e-9)]
        monkeypatch.setattr(transport_gaps, "references", lambda *_, rows=rows: rows)
        result = runner.invoke(app, ["--check"])
        assert result.exit_code == status
        assert f"{1 - status} of 1 reference values" in result.output


def test_files(tmp_path):
    result = runner.invoke(app, ["--out", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    tables = {}
    for name in ("transport_gaps", "transport_tails"):
        stem = tmp_path / "new" / name
        assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        tables[name] = pd.read_csv(stem.with_suffix(".csv"))
    gaps = tables["transport_gaps"].pivot(index="lambda", columns="score", values="gap")
    assert set(gaps.columns) == set(transport_gaps.GAPS)
    assert (gaps > 0).to_numpy().all()
    # D is concave in P, and so along lambda; symmetric about 1/2, and so falling.
    slope = np.diff(gaps, axis=0) / np.diff(gaps.index)[:, None]
    assert (slope < 1e-9).all()
    assert (np.diff(slope, axis=0) < 1e-7).all()
    first, last = gaps.iloc[0], gaps.iloc[-1]
    assert first["Gumbel"] > first["log-normal(0, 1)"] > first["gamma(0.2, 1)"]
    assert last["log-normal(0, 1)"] > last["gamma(0.2, 1)"] > last["Gumbel"] > last["Gaussian"]
    tails = tables["transport_tails"].pivot(index="threshold", columns="score", values="integral")
    assert (np.diff(tails, axis=0) <= 1e-12).all()
    # E |Delta| / 2 at 0: that of normals is 1/sqrt(pi).
    assert tails["Gaussian"].iloc[0] == pytest.approx(np.pi**-0.5)
    assert tails["fair bits (SimplexWater)"].iloc[0] == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "FILE"], "choose another"),
        (["--check", "--draws", "10"], "draws=10 must be at least 10000"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(arguments, words, tmp_path):
    (tmp_path / "file").touch()
    result = runner.invoke(app, [str(tmp_path / "file") if a == "FILE" else a for a in arguments])
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("compute", [transport_gaps.compute, transport_gaps.compute_tails])
def test_a_line_needs_two_points(compute):
    with pytest.raises(ValueError, match="points=1 must be at least 2"):
        compute(1)
