"""`python -m sims` as a user runs it, and every statement at its quick size."""

from __future__ import annotations

import pandas as pd
import pytest
from typer.testing import CliRunner

from sims import statements
from sims.__main__ import QUICK_SIZE, app
from sims.statements import STATEMENTS, evaluate
from sims.tools.rows import compare

runner = CliRunner()


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory):
    """One quick run of everything: its output and its folder."""
    out = tmp_path_factory.mktemp("sims")
    return runner.invoke(app, ["--quick", "--out", str(out)]), out


#: One worker runs the statements, and looks at what they found.
in_one_worker = pytest.mark.xdist_group("statements")


@in_one_worker
@pytest.mark.slow
def test_quick_run_is_green_and_its_controls_are_red(quick) -> None:
    result, out = quick
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out / "summary.csv")
    assert (table["red"] == table["expected_red"]).all()
    assert "0 not as expected" in result.output
    assert f"{QUICK_SIZE:,} seeds, seed 0" in result.output


@in_one_worker
@pytest.mark.slow
def test_every_statement_has_rows_a_control_a_table_and_a_figure(quick) -> None:
    result, out = quick
    for name in STATEMENTS:
        if f"Not evaluated: {name}" in result.output:
            continue
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert len(pd.read_csv(out / f"{name}.csv")) > 0
    table = pd.read_csv(out / "summary.csv")
    statement = table["statement"].str.replace(r"\(.\)$", "", regex=True)
    controls = table.groupby(statement)["expected_red"].agg(["any", "all"])
    assert controls["any"].all()
    assert not controls["all"].any()
    for part in ("Definition 3.1", "Theorem 3.1", "Theorem 3.2", "Theorem 3.3", "Lemma 3.1", "Theorem 4.1"):
        assert part in controls.index


@in_one_worker
@pytest.mark.slow
def test_the_built_in_pair_is_evaluated(quick) -> None:
    result, out = quick
    if "Not evaluated: real_pair" in result.output:
        pytest.skip("the built-in model, SmolLM2-135M, is not to be had here (a download of 93 MB)")
    table = pd.read_csv(out / "summary.csv")
    assert (table["statement"] == "Real pair").sum() > 40


@in_one_worker
@pytest.mark.slow
@pytest.mark.parametrize("name", ["definition_3_1", "lemma_3_1"])
def test_only_gives_the_rows_of_the_whole_run(name: str, quick, tmp_path) -> None:
    """A statement's numbers depend on size and seed, not on which others run."""
    result = runner.invoke(app, ["--quick", "--only", name, "--out", str(tmp_path)])
    assert result.exit_code == 0
    alone = pd.read_csv(tmp_path / "summary.csv")
    whole = pd.read_csv(quick[1] / "summary.csv")
    whole = whole[whole["statement"].isin(alone["statement"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, whole)


def test_seed_and_size_matter(tmp_path) -> None:
    run, estimates = STATEMENTS["definition_3_1"], []
    for size, seed in ((5_000, 0), (5_000, 0), (5_000, 1), (6_000, 0)):
        rows = evaluate("definition_3_1", run, size, seed, tmp_path)
        estimates.append(tuple(row.estimate for row in rows))
    assert estimates[0] == estimates[1]
    assert len(set(estimates)) == 3


@pytest.mark.parametrize("broken_control", [False, True])
def test_exit_status_1_when_a_verdict_is_not_as_expected(
    broken_control: bool, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = compare("Theorem 9.9", "pi", 3.14, 3.14 if broken_control else 3.0, control=broken_control)
    monkeypatch.setattr(statements, "STATEMENTS", {"fake": lambda size, seed, out: [wrong]})
    result = runner.invoke(app, ["--quick", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "1 not as expected" in result.output
    assert ("GREEN, though broken" if broken_control else "RED") in result.output


def test_a_statement_that_stops_is_red(tmp_path) -> None:
    def stops(size, seed, out):
        raise RuntimeError("a tournament did not settle")

    (row,) = evaluate("fake", stops, 5_000, 0, tmp_path)
    assert row.p_value == 0
    assert not row.expected_red
    assert "RuntimeError: a tournament did not settle" in row.setting


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "theorem_9_9"], ["'theorem_9_9'", "definition_3_1"]),
        (["--quick", "--size", "50000"], ["--quick", "one of the two"]),
        (["--size", "10"], ["size=10", "at least"]),
        (["--seed", "-1"], ["seed=-1", "at least 0"]),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(arguments: list[str], words: list[str], tmp_path) -> None:
    result = runner.invoke(app, [*arguments, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert all(word in result.output for word in words), result.output
    assert "Traceback" not in result.output


def test_output_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").touch()
    result = runner.invoke(app, ["--quick", "--only", "lemma_3_1", "--out", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "cannot be written" in result.output
