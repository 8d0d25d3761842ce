"""Pages of results on the trade-off, transport watermarks and speed: they say what their tables say, and what
they say is computed again, or counted in another way, in some of their cells."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, sparse, stats

from paper_repro.pages import faster, transport
from paper_repro.pages.__main__ import rendered
from paper_repro.pages.parts import measured, tables
from tradeoff.curves import PAPER_P, PAPER_Q, Setting, curve
from tradeoff.decoders import SynthID, heavy_water
from tradeoff.laws import entropy, overlap
from tradeoff.optimal_transport import seeded_table

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "tests" / "benchmarks" / "results"
EXPERIMENTS = ROOT / "paper_repro" / "results"
NUMBER = re.compile(r"[-−+]?\d+(?:\.\d+)?")


@cache
def page(name: str) -> str:
    return rendered(name)


def words(name: str) -> str:
    """The page in one line."""
    return " ".join(page(name).split())


def rows(name: str, first_cell: str) -> list[list[str]]:
    """Cells of the one table of a page whose heading begins so, row by row, without its heading."""
    blocks = re.findall(r"(?:^\|.*\n)+", page(name), re.MULTILINE)
    tables = [block for block in blocks if block[1:].strip().startswith(first_cell)]
    assert len(tables) == 1, first_cell
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in tables[0].splitlines()[2:]]


def numbers(cell: str) -> list[float]:
    return [float(text.replace("−", "-")) for text in NUMBER.findall(cell)]


def is_printed(values: Sequence[float], cell: str) -> bool:
    """Whether the numbers of a cell are those values, each rounded to as many digits as it shows."""
    shown = NUMBER.findall(cell)
    return len(shown) == len(values) and all(
        abs(value - float(text.replace("−", "-"))) <= 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-12
        for value, text in zip(values, shown, strict=True)
    )


def records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


# The trade-off


def test_the_papers_example() -> None:
    """Exact rows to the last digit; simulated ones, of another seed, within 4 standard errors of both."""
    gumbel, tv = Setting(PAPER_P, PAPER_Q), float(overlap(PAPER_P, PAPER_Q))
    limit, finite, seeds = float(entropy(PAPER_P)), SynthID(30), 20_000
    infinite = Setting(PAPER_P, PAPER_Q, SynthID(math.inf), SynthID(math.inf), seeds, 1).agreement
    google = curve("google", Setting(PAPER_P, PAPER_Q, finite, finite, seeds, 1), [0])
    expected: list[tuple[float, ...]] = [
        (tv,),
        (limit,),
        (gumbel.agreement.value,),
        (infinite.value, infinite.standard_error),
        (curve("google", gumbel, [0]).strength[0],),
        (curve("hu", gumbel, [0]).strength[0],),
        (google.strength[0], google.strength_error[0]),
        (tv, limit),
    ]
    shown = rows("trade_off", "quantity")
    assert len(shown) == len(expected)
    for (name, cell), values in zip(shown, expected, strict=True):
        if "±" in cell:
            value, error = numbers(cell)
            assert abs(value - values[0]) <= 4 * math.hypot(error, values[1]), name
        else:
            assert is_printed(values, cell), name


def test_the_ends_of_the_published_curves() -> None:
    """Hu's at 1.73 and Google's at 1.64, as the published figure has them."""
    assert "ends Hu's class at 1.73 and Google's class with m = 30 at 1.64;" in words("trade_off")


def test_means_over_positions_of_a_real_pair() -> None:
    """By hand: two positions a text, and the spread over texts."""
    there = records(ROOT / "docs" / "results" / "tables" / "figure_1_real_positions.csv")
    shown = rows("trade_off", "temperature")
    assert [row[0] for row in shown] == ["1.0", "0.7", "0.5"]
    for temperature, *cells in shown:
        here = [row for row in there if float(row["temperature"]) == float(temperature)]
        for name, cell in zip(("sse", "agreement", "entropy", "google", "hu"), cells, strict=True):
            by_text: dict[str, list[float]] = {}
            for row in here:
                by_text.setdefault(row["text"], []).append(float(row[name]))
            texts = [sum(values) / len(values) for values in by_text.values()]
            mean = sum(float(row[name]) for row in here) / len(here)
            middle = sum(texts) / len(texts)
            variance = sum((value - middle) ** 2 for value in texts) / (len(texts) - 1)
            assert is_printed([mean, math.sqrt(variance / len(texts))], cell), (temperature, name)


# Joint methods


def joint_rates() -> dict[tuple[float, str, str, str, int], float]:
    """TPR of both sets of prompts by temperature, watermark, method, detector and length."""
    return {
        (
            float(row["temperature"]),
            row["watermark"],
            row["method"],
            row["detector"],
            int(row["tokens"]),
        ): float(row["tpr"])
        for run in ("joint", "joint_long")
        for row in records(EXPERIMENTS / run / "tpr.csv")
        if row["prompts"] == "both"
    }


def test_the_joint_race_is_compared_by_rates() -> None:
    """The rates of tpr.csv, and their differences."""
    tpr, shown = joint_rates(), rows("joint", "T | tokens | texts | no speculation")
    assert [row[0] for row in shown] == ["0.3", "0.5", "0.7", "1.0"]
    for temperature, tokens, _, *cells in shown:
        by = [
            tpr[float(temperature), "gumbel", method, detector, int(tokens)]
            for method, detector in (
                ("basic", "Aaronson"),
                ("joint-race", "Aaronson"),
                ("one-race", "Aaronson"),
                ("single-key", "Aaronson"),
                ("algorithm-1", "likelihood ratio, two keys"),
            )
        ]
        for value, cell in zip(by, cells[:5], strict=True):
            assert is_printed([value], cell)
        for other, cell in zip((by[0], by[2], by[4]), (cells[5], *cells[7:]), strict=True):
            difference, low, high = numbers(cell)
            assert abs(difference - (by[1] - other)) <= 0.0005 + 1e-12
            assert low <= difference <= high


def test_the_joint_tournament_is_read_as_no_speculation_is_and_better_than_algorithm_1() -> None:
    tpr, shown = joint_rates(), rows("joint", "T | tokens | texts | test")
    assert len(shown) == 3 * 4
    weighted = "weighted mean of bits"
    theirs = {"mean of bits": weighted, weighted: weighted, "Bayes": "Bayes-MLP"}
    for temperature, tokens, _, test, *cells in shown:
        at = float(temperature), "synthid:30"
        by = [
            tpr[*at, "basic", test, int(tokens)],
            tpr[*at, "joint-tournament", test, int(tokens)],
            tpr[*at, "algorithm-1", theirs[test], int(tokens)],
        ]
        for value, cell in zip(by, cells[:3], strict=True):
            assert is_printed([value], cell)
        if float(temperature) <= 0.7:
            assert numbers(cells[3])[2] >= 0
            assert numbers(cells[4])[1] > 0


def test_joint_methods_accept_what_theory_says() -> None:
    """By hand: both sets together, weighted by their tokens."""
    there = [row for row in records(EXPERIMENTS / "joint" / "speed.csv") if row["method"] == "joint-race"]
    for temperature, watermark, method, _, accepted, expected, _ in rows("joint", "T | watermark | method"):
        if method != "`joint-race`" or watermark != "gumbel":
            continue
        here = [row for row in there if float(row["temperature"]) == float(temperature)]
        tokens = sum(float(row["tokens"]) for row in here)
        for name, cell in (("acceptance", accepted), ("expected", expected)):
            mean = sum(float(row[name]) * float(row["tokens"]) for row in here) / tokens
            assert abs(mean - numbers(cell)[0]) <= 5e-5 + 1e-12


# Transport watermarks


def test_transport_watermarks() -> None:
    """Mean tokens to the verdict, and how many fewer than Gumbel-max's."""
    table = records(EXPERIMENTS / "transport" / "watermarks.csv")
    names = {
        "Gumbel-max": "gumbel",
        "HeavyWater, log-normal": "heavywater:lognormal",
        "HeavyWater, gamma": "heavywater:gamma",
        "HeavyWater, log-normal, by Sinkhorn": "heavywater:lognormal,sinkhorn=0.05",
        "SynthID, m = 30": "synthid:30",
        "SimplexWater, r = 8": "simplexwater:8",
    }
    shown = rows("transport", "no speculation")
    assert [row[0] for row in shown] == list(names)
    filled = 0
    for name, *cells in shown:
        for heat, mean, fewer in zip(("0.3", "0.5", "1.0"), cells[::2], cells[1::2], strict=True):
            which = {"temperature": heat, "method": "basic", "kind": "betting", "alpha": "0.01"}
            which["watermark"] = names[name]
            found = [row for row in table if all(row[key] == value for key, value in which.items())]
            assert bool(found) == bool(mean), (name, heat)
            for row in found:
                filled += 1
                assert is_printed([float(row["mean"]), float(row["mean_error"])], mean), (name, heat)
                shares = [row[key] for key in ("fewer", "fewer_low", "fewer_high") if row[key]]
                assert is_printed([100 * float(share) for share in shares], fewer), (name, heat)
    assert filled == 16


def laws_given_s(p: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The linear programme of transport by another solver: [n, k], columns sum to 1."""
    n, k = scores.shape
    of_tokens = sparse.kron(sparse.eye(n), np.ones((1, k)))
    of_values = sparse.kron(np.ones((1, n)), sparse.eye(k))
    found = optimize.linprog(
        -scores.ravel(),
        A_eq=sparse.vstack([of_tokens, of_values]),
        b_eq=np.concatenate([p, np.full(k, 1 / k)]),
        method="highs",
    )
    assert found.success
    return k * found.x.reshape(n, k)


def test_a_shared_key_for_heavy_water() -> None:
    """Efficiency of HeavyWater and Gumbel-max where draft and target share one key."""
    found = re.search(r"it accepts ([\d.]+) of the drafts against ([\d.]+)", words("transport"))
    assert found is not None
    decoder = heavy_water()
    scores = decoder.scores.rows(np.arange(len(PAPER_P)), seeded_table(decoder.seed))
    target, draft = laws_given_s(PAPER_P, scores), laws_given_s(PAPER_Q, scores)
    assert is_printed([np.minimum(target, draft).sum(axis=0).mean()], found[1])
    assert is_printed([Setting(PAPER_P, PAPER_Q).agreement.value], found[2])


def test_a_sentence_that_became_false_stops_the_page() -> None:
    """Gumbel-max no longer ahead at temperature 1."""
    table = tables.experiment_table("transport", "watermarks")
    table = table[table["alpha"] == 0.01]
    bets, looks = table[table["kind"] == "betting"].copy(), table[table["kind"] == "fixed length"]
    transport._verdict(bets, looks)
    hot = (bets["watermark"] == "heavywater:gamma") & (bets["temperature"] == 1.0)
    bets.loc[hot, "fewer_high"] = 0.1
    with pytest.raises(ValueError, match=r"that Gumbel-max is ahead at 1\.0"):
        transport._verdict(bets, looks)


# Faster steps


def test_blocks_beside_tokens() -> None:
    """By hand: means over the two sets of prompts; the gain over both runs of each as well."""
    table = records(EXPERIMENTS / "blocks" / "table.csv")
    shown = rows("faster", "T | method | K")
    assert len(shown) * 4 == len(table)
    found = re.search(
        r"Of (\d+) runs .* at most ([\d.]+) standard .*; accepted .* at most ([\d.]+) from", words("faster")
    )
    assert found is not None
    assert int(found[1]) == len(table)
    for name, cell in (("aatps_z", found[2]), ("acceptance_z", found[3])):
        assert is_printed([max(abs(float(row[name])) for row in table if row[name])], cell)
    for heat, method, lookahead, texts, alone, together, gain in shown:
        name, watermark = method.replace("`", "").split(", ")
        here = [
            row
            for row in table
            if (float(row["temperature"]), row["watermark"], row["lookahead"])
            == (float(heat), watermark, lookahead)
            and row["method"].removesuffix(", blocks") == name
        ]
        assert sum(int(row["texts"]) for row in here) == 2 * int(texts)
        for cell, of_blocks in ((alone, False), (together, True)):
            mine = [row for row in here if row["method"].endswith(", blocks") == of_blocks]
            assert {row["prompts"] for row in mine} == {"question", "continuation"}
            error = math.hypot(*(float(row["aatps_error"]) for row in mine)) / 2
            assert is_printed([sum(float(row["aatps"]) for row in mine) / 2, error], cell)
        value = sum(float(row["block_gain"]) for row in here) / 4
        errors = {
            name: sum(float(row["block_gain_error"]) for row in here if row["prompts"] == name) / 2
            for name in ("question", "continuation")
        }
        # Student's t: two means are taken.
        half = stats.t.isf(0.025, int(texts) - 2) * math.hypot(*errors.values()) / 2
        assert is_printed([value, value - half, value + half], gain)


def test_a_million_rounds_of_everything() -> None:
    """Counts and extremes of the table, and that the page is not written of half of it."""
    there = records(ROOT / "docs" / "results" / "tables" / "engine_chains.csv")
    pattern = (
        r"at least ([\d,]+) rounds for each of the (\d+) pairs .* p-values is ([\d.]+), .* Of (\d+) mean "
        r"numbers of drafts that first steps accept none is more than ([\d.]+)"
    )
    found = re.search(pattern, words("faster"))
    assert found is not None
    z = [abs(float(row["z"])) for row in there if row["z"]]
    assert int(found[1].replace(",", "")) == min(int(row["rounds"]) for row in there) >= 1_000_000
    assert (int(found[2]), int(found[4])) == (len(there), len(z))
    assert is_printed([min(float(row["p"]) for row in there)], found[3])
    assert is_printed([max(z)], found[5])
    table = measured.figure_table("engine_chains")
    with pytest.raises(ValueError, match="every method has run"):
        faster._rounds(table[~table["method"].str.startswith("joint-race,")])
    with pytest.raises(ValueError, match="as blocks too"):
        faster._rounds(table[(table["verify"] == "token") | ~table["method"].str.startswith("joint-race,")])
    with pytest.raises(ValueError, match="whole texts have the law of the target"):
        faster._rounds(table.assign(p=1e-3))


def test_what_is_looked_up() -> None:
    there = {(row["prompts"], row["n"]): row for row in records(BENCHMARKS / "ngram.csv")}
    shown = rows("faster", "prompts | n | texts")
    assert len(shown) == len(there)
    for prompts, n, texts, steps, ours, other, ratio in shown:
        row = there[prompts, n]
        assert (row["texts"], row["equal"]) == (texts, texts)
        for name, cell in (("tokens_a_step", steps), ("ours_ms", ours), ("other_ms", other)):
            assert is_printed([float(row[name])], cell)
        assert is_printed([float(row[name]) for name in ("ratio", "ratio_low", "ratio_high")], ratio)


# Speed


def test_acceptance_and_surprise_against_theory() -> None:
    """Sums of squares from the columns that z is made of, and the pooled z of one row."""
    there = [
        row
        for run in ("small", "sequential", "transport")
        for row in records(EXPERIMENTS / run / "speed.csv")
    ]
    z = [
        (float(row["acceptance"]) - float(row["expected"])) / float(row["acceptance_error"])
        for row in there
        if row["acceptance"]
    ]
    surprise = [float(row["excess_surprise"]) / float(row["excess_surprise_error"]) for row in there]
    pattern = (
        r"The (\d+) z scores, .* have a sum of squares of ([\d.]+) .*, and the largest, ([\d.]+), is within"
        r".* (\d+) means of .* have a sum of squares of ([\d.]+) \(p = [\d.]+\); the largest is ([\d.]+)"
    )
    found = re.search(pattern, words("speed"))
    assert found is not None
    for values, (count, squares, largest) in ((z, found.groups()[:3]), (surprise, found.groups()[3:])):
        assert len(values) == int(count)
        assert is_printed([sum(value**2 for value in values)], squares)
        assert is_printed([max(map(abs, values))], largest)
    assert len(rows("speed", "preset")) * 2 == sum(row["lookahead"] != "0" for row in there)
    assert sum(row[-1] != "" for row in rows("speed", "preset")) * 2 == len(z)
    algorithm = [
        row
        for row in there
        if row["method"] == "algorithm-1" and row["texts"] == "100" and row["watermark"] == "gumbel"
    ]
    shown = [row for row in rows("speed", "preset") if row[2] == "`algorithm-1`, gumbel" and row[4] == "200"]
    assert len(algorithm) == 2
    assert len(shown) == 1
    assert is_printed([sum(float(row["acceptance"]) for row in algorithm) / 2], shown[0][8])
    assert is_printed([sum(float(row["expected"]) for row in algorithm) / 2], shown[0][9])


def test_what_chance_does_not_do_stops_the_page() -> None:
    """One z score of 5 among zeros; many of 1.5, none of which is large."""
    for z in (np.r_[np.zeros(50), 5.0], np.full(50, 1.5)):
        with pytest.raises(ValueError, match="that theory holds"):
            measured.agreement(pd.Series(z), "theory holds")
    found = measured.agreement(pd.Series([1.0, -1.0]), "theory holds")
    # Two degrees of freedom: exp(-1).
    assert found["p"] == pytest.approx(math.exp(-1))
    assert found["bound"] == pytest.approx(2.2365, abs=1e-4)


def test_when_it_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not known is left out; two dates in one table are refused."""
    path = tmp_path / "some.csv"
    monkeypatch.setattr(measured, "_BENCHMARKS", tmp_path)
    assert not measured.benchmark_was_run("some")
    path.write_text(
        "what,date,python,pytorch,transformers,cores\na,2030-01-31,3.10,,,2\nb,2030-02-01,3.10,,,2\n",
        encoding="utf-8",
    )
    assert measured.benchmark_was_run("some")
    table = measured.benchmark_table("some")
    assert measured.measured_at(table, what="a") == "Measured 2030-01-31 (Python 3.10, 2 cores)."
    with pytest.raises(ValueError, match="2 dates"):
        measured.measured_at(table)
    with pytest.raises(ValueError, match="0 rows"):
        tables.one_row(table, what="c")


@pytest.mark.parametrize(
    ("page", "table", "rates"),
    [
        ("kgw", "kgw", ["tokens_per_second"]),
        ("synthid", "synthid_speed", ["transformers_per_second", "exact_per_second"]),
    ],
)
def test_speeds_of_formats_are_those_that_were_measured(page: str, table: str, rates: list[str]) -> None:
    text = (ROOT / "docs" / "formats" / f"{page}.md").read_text(encoding="utf-8")
    measured = pd.read_csv(BENCHMARKS / f"{table}.csv")
    for row in measured.to_dict("records"):
        line = next(line for line in text.splitlines() if f"| {row[rates[-1]]:,} |" in line)
        assert all(f"| {row[rate]:,} |" in line for rate in rates)
