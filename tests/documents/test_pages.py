"""Pages of results: committed as they are rendered, and a few of their numbers found by another way."""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import typer
from scipy import stats

import paper_repro.pages.__main__ as pages
from paper_repro.pages import detection, statements, stopping
from paper_repro.pages.parts import tables
from paper_repro.pages.parts.formats import at_most, between, markdown_table, number, percent, plus_minus
from paper_repro.pages.parts.tables import claim, claims, one_row, require, said
from paper_repro.report.decided import Claim, Unit, write_claims
from sims.statements import STATEMENTS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "paper_repro" / "results"
rendered = cache(pages.rendered)


def cells(page: str, first: str) -> list[list[str]]:
    """Of the first table of a page whose heading begins so: row by row, without the heading."""
    blocks = re.findall(r"(?:^\|.*\n)+", rendered(page), re.MULTILINE)
    table = next(block for block in blocks if block.startswith(f"| {first} |"))
    lines = [line.strip().strip("|") for line in table.splitlines()[2:]]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]


def rows(path: Path, **where: str) -> list[dict[str, str]]:
    """Rows of a csv file with those values."""
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    return [row for row in found if all(row[column] == value for column, value in where.items())]


@pytest.mark.parametrize("name", pages.PAGES)
def test_pages_say_what_the_tables_say(name: str) -> None:
    """If not: `python -m paper_repro.pages`."""
    committed = ROOT / "docs" / "results" / f"{name.replace('_', '-')}.md"
    assert committed.read_text(encoding="utf-8") == rendered(name)


def test_every_page_has_a_place_in_the_list() -> None:
    written = {path.stem for path in (ROOT / "docs" / "results").glob("*.md")}
    assert written == {name.replace("_", "-") for name in pages.PAGES}


def test_a_page_that_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pages, "PAGES", ("statements",))
    monkeypatch.setattr(pages, "_ROOT", tmp_path)
    monkeypatch.setattr(pages, "_OUT", tmp_path)
    with pytest.raises(typer.Exit) as missing:
        pages.write(check=True)
    assert missing.value.exit_code == 1
    assert "statements.md is not what the tables say" in capsys.readouterr().out
    pages.write()
    assert (tmp_path / "statements.md").read_text(encoding="utf-8") == rendered("statements")
    with pytest.raises(typer.Exit) as current:
        pages.write(check=True)
    assert current.value.exit_code == 0


@pytest.mark.parametrize("name", ["detection", "stopping", "statements"])
def test_templates_hold_no_results(name: str) -> None:
    """Decimal fractions and shares in the words of a template are definitions, or lie in code and links."""
    template = (ROOT / "paper_repro" / "templates" / "pages" / f"{name}.md").read_text(encoding="utf-8")
    words = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", template, flags=re.DOTALL)
    # Numbers of theorems; FPR and level of the intervals; the default temperature.
    definitions = {"Theorem 3.1", "FPR 1%", "nominal 1%", "95% intervals", "at 95% each", "temperature\n1.0"}
    for definition in definitions:
        words = words.replace(definition, "")
    assert re.findall(r"\d+\.\d+|\d+%", words) == []


# Formats.


def test_numbers() -> None:
    assert number(-1.25, 1) == "−1.2"
    assert [number(x, 2) for x in (math.inf, -math.inf, math.nan)] == ["–"] * 3
    assert percent(0.0945, 1) == "9.4%"
    assert plus_minus(2.0, 0.25, 2) == "2.00 ± 0.25"
    assert between(-0.5, -1.0, 0.25, 1) == "−0.5 (−1.0 to 0.2)"


def test_bounds_are_rounded_up() -> None:
    assert [at_most(x, 2) for x in (0.061, 0.07, 0.0601, -0.019)] == ["0.07", "0.07", "0.07", "−0.01"]


def test_tables_in_markdown() -> None:
    assert markdown_table(["a", "b"], [["|x|", ""]]) == "| a | b |\n|---|---|\n| \\|x\\| |  |"
    with pytest.raises(ValueError, match="has 1 cells; the heading has 2"):
        markdown_table(["a", "b"], [["x"]])


# What is read, and what is required of it.


def test_claims_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.html").write_text(
        "<html><body><p>Measured on 7 passages &amp; more.</p></body></html>", encoding="utf-8"
    )
    kept = [
        Claim("A is B (for C)", Unit.STEPS, -0.032, -0.05, -0.01, -0.1, 0.1, "over 2 settings"),
        Claim("B is C", Unit.TPR, 0.005, -0.015, 0.025),
    ]
    write_claims(kept, tmp_path / "run" / "claims.csv")
    monkeypatch.setattr(tables, "_EXPERIMENTS", tmp_path)
    assert claims("run") == kept
    assert claim("run", "B is") == kept[1]
    with pytest.raises(ValueError, match="0 claims of run start with 'C'"):
        claim("run", "C")
    assert said("run", r"on (\d+) passages & more")[1] == "7"
    with pytest.raises(ValueError, match="the report of run says 'a' 3 times"):
        said("run", "a")


def test_one_row() -> None:
    table = tables.experiment_table("small", "power")
    assert one_row(table, prompts="question", tokens=20)["scored"] == 16
    with pytest.raises(ValueError, match=r"2 rows have \{'tokens': 20\}"):
        one_row(table, tokens=20)


def test_words_that_became_false() -> None:
    require(True, "all is well")
    with pytest.raises(ValueError, match="the tables do not say any more that all is well"):
        require(False, "all is well")


def test_a_run_that_makes_a_page_false(monkeypatch: pytest.MonkeyPatch) -> None:
    """One page each: a claim that is not seen any more, a test that finds more, a verdict that is wrong."""
    seen, read, listed = detection.claim, stopping.experiment_table, statements.statement_table
    monkeypatch.setattr(detection, "claim", lambda run, start: replace(seen(run, start), low=-1.0, high=1.0))
    with pytest.raises(ValueError, match="joint methods accept as many drafts"):
        detection.values()

    def e_star_wins(run: str, name: str):
        table = read(run, name)
        if name == "sequential":
            table.loc[table["test"].str.startswith("e*"), "detected"] = 1.0
        return table

    monkeypatch.setattr(stopping, "experiment_table", e_star_wins)
    with pytest.raises(ValueError, match=r"e\* finds the fewest texts"):
        stopping.values()

    def one_wrong(name: str):
        return listed(name).assign(as_expected=lambda table: table.index > 0)

    monkeypatch.setattr(statements, "statement_table", one_wrong)
    with pytest.raises(ValueError, match="every verdict is as expected"):
        statements.values()


# The same numbers by another way.


def shown(values: Sequence[float], digits: int) -> list[str]:
    return [f"{value:.{digits}f}" for value in values]


def first_at_half(shares: list[dict[str, str]]) -> tuple[float, float]:
    """Between which of the tabulated numbers of tokens half of the texts are reached."""
    at = [(int(row["tokens"]), float(row["share"])) for row in shares]
    reached = next((tokens for tokens, share in at if share >= 0.5), math.inf)
    return max((tokens for tokens, share in at if share < 0.5), default=0), reached


@pytest.mark.parametrize(
    ("first", "method", "detector"),
    [
        ("**`joint-race`**, Aaronson", "joint-race", "Aaronson"),
        ("`joint-race` by blocks, Aaronson", "joint-race, blocks", "Aaronson"),
        ("`algorithm-1`, Ars-τ (the paper)", "algorithm-1", "Ars-τ"),
    ],
)
def test_tpr_of_both_sets_of_prompts(first: str, method: str, detector: str) -> None:
    """Counted from the two sets, with Clopper and Pearson's interval."""
    (row,) = [row for row in cells("detection", "scheme and detector | fitted?") if row[0] == first]
    for cell, tokens in zip(row[3:5], ("50", "100"), strict=True):
        parts = rows(RESULTS / "small" / "tpr.csv", method=method, detector=detector, tokens=tokens)
        parts = [part for part in parts if part["prompts"] != "both" and part["watermark"] == "gumbel"]
        n = sum(int(part["texts"]) for part in parts)
        k = round(sum(int(part["texts"]) * float(part["tpr"]) for part in parts))
        interval = stats.binomtest(k, n).proportion_ci(0.95, "exact")
        assert len(parts) == 2
        assert re.findall(r"[\d.]+", cell) == shown([k / n, interval.low, interval.high], 2)


def test_tokens_a_step_and_to_a_verdict() -> None:
    where = {"method": "one-race", "watermark": "gumbel", "lookahead": "3"}
    one, two = rows(RESULTS / "small" / "speed.csv", **where)
    mean = (float(one["aatps"]) + float(two["aatps"])) / 2
    error = math.sqrt(float(one["aatps_error"]) ** 2 + float(two["aatps_error"]) ** 2) / 2
    (row,) = [row for row in cells("detection", "scheme and detector | fitted?") if "one-race" in row[0]]
    assert row[2] == f"{mean:.2f} ± {error:.2f}"
    shares = rows(RESULTS / "small" / "sequential_shares.csv", **where, kind="betting", alpha="0.02")
    low, high = first_at_half(shares)
    assert low < int(row[5].split()[0]) <= high


def test_tokens_to_a_verdict_at_any_time() -> None:
    """Medians lie where the curves cross a half; shares are the ends of the curves."""
    columns = [(method, heat) for heat in ("0.3", "0.7", "1.0") for method in ("joint-race", "algorithm-1")]
    alone, aware, *_ = cells("stopping", "")
    tests = ({"kind": "betting"}, {"test": "draft-aware bets"})
    for which, (_, *row) in zip(tests, (alone, aware), strict=True):
        for (method, heat), cell in zip(columns, row, strict=True):
            where = {"method": method, "temperature": heat, "watermark": "gumbel", "alpha": "0.02"} | which
            shares = rows(RESULTS / "sequential" / "sequential_shares.csv", **where)
            median, share = cell.split("; ")
            assert share == f"{100 * float(shares[-1]['share']):.0f}%"
            low, high = first_at_half(shares)
            assert median == "–" if math.isinf(high) else low < int(median) <= high


def test_anchored_growth_by_hand() -> None:
    """J* = H(p0) + (1 - δ/2) log(1 - δ/2) + (δ/2) log(δ/2 / (n - 1)) for n = 2, and simulated times."""

    def growth(p: float, delta: float) -> float:
        share = delta / 2
        kept, moved = (1 - share) * math.log(1 - share), share * math.log(share)
        return -p * math.log(p) - (1 - p) * math.log(1 - p) + kept + moved

    found = cells("stopping", "p")
    assert [row[0] for row in found] == ["0.5", "0.7", "0.9"]
    for p, j_star, inverse, *times in found:
        assert j_star.split("; ") == shown([growth(float(p), 0.01)] * 2, 6)
        assert inverse == f"{1 / growth(float(p), 0.1):.4f}"
        for digits, cell in zip((2, 120), times, strict=True):
            (row,) = rows(ROOT / "sims" / "results" / "anchored_stopping.csv", p=p, digits=str(digits))
            level = digits * math.log(10)
            assert re.findall(r"[\d.]+", cell) == shown(
                [float(row[column]) / level for column in ("mean", "error", "predicted")], 3
            )


def test_statements_against_the_summary_for_readers() -> None:
    """Counts, and least p, from the lines of summary.md."""
    lines = (ROOT / "sims" / "results" / "summary.md").read_text(encoding="utf-8").splitlines()
    split = [re.split(r"(?<!\\)\| ", line.removesuffix(" |"))[1:] for line in lines if line.startswith("| ")]
    found: dict[str, list[list[str]]] = {}
    for name, *rest in split[1:]:
        found.setdefault(re.sub(r"\([abc]\)$", "", name.strip()), []).append([cell.strip() for cell in rest])
    page = cells("statements", "statement")
    assert len(page) == len(found)
    for name, row in zip(statements.STATEMENTS, page, strict=True):
        controls = [line for line in found[name] if line[0].startswith("control: ")]
        predictions = [line for line in found[name] if line not in controls]
        assert row[2] == str(len(predictions))
        assert float(row[3]) == min(float(line[4]) for line in predictions)
        assert row[4] == str(sum(line[5] == "RED" for line in predictions))
        assert row[5:7] == [str(len(controls)), str(sum(line[5] == "red, as it must" for line in controls))]


def test_names_of_statements_are_those_of_the_command() -> None:
    """The page names every statement once, and each by the name under which it writes its rows."""
    named = {only: name for name, one in statements.STATEMENTS.items() for only in one.only}
    assert set(named) == set(STATEMENTS)
    for only, run in STATEMENTS.items():
        written = vars(sys.modules[run.__module__])["NAME"]
        assert re.sub(r"\([abc]\)$", "", written) == named[only]
