"""Numbers in the README: those that take seconds are computed again, those of committed tables are compared
with them, and those of longer runs carry their date and versions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from figures.anchored.stopping import compute
from tradeoff.anchored.e_values import anchored_growth
from tradeoff.anchored.programme import best_e_value
from tradeoff.curves.example import PAPER_P, PAPER_Q
from tradeoff.curves.families import curve
from tradeoff.curves.setting import Setting
from tradeoff.decoders import SynthID, heavy_water
from tradeoff.laws import entropy, overlap

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "paper_repro" / "results"
NUMBER = re.compile(r"[-−+]?\d+(?:\.\d+)?")
#: Commands that take minutes or hours, or whose figures depend on the machine.
LONG = re.compile(
    r"paper_repro --small|paper_repro\.\w+ --preset|tests\.benchmarks\.bench|figures\.figure_1_real|"
    r"figures\.transport_tilt|python -m sims"
)
#: Sections that quote such a command, but none of its figures.
WITHOUT_FIGURES = {
    "Two commands",
    "Your own distributions",
    "Detection",
    "What is not in the paper",
    "Layout",
}


def rows(first_cell: str) -> list[list[str]]:
    """Cells of the one table whose heading begins with `first_cell`, row by row, without its heading."""
    blocks = re.findall(r"(?:^\|.*\n)+", README, re.MULTILINE)
    tables = [block for block in blocks if block[1:].strip().startswith(first_cell)]
    assert len(tables) == 1, first_cell
    lines = [line.strip().strip("|") for line in tables[0].splitlines()[2:]]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]


def numbers(cell: str) -> list[float]:
    return [float(text.replace("−", "-")) for text in NUMBER.findall(cell)]


def is_printed(values: Sequence[float], cell: str) -> bool:
    """Whether the numbers of a cell are those values, each rounded to as many digits as it shows."""
    shown = NUMBER.findall(cell)
    return len(shown) == len(values) and all(
        abs(value - float(text.replace("−", "-"))) <= 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-12
        for value, text in zip(values, shown, strict=True)
    )


def only(table: pd.DataFrame, **where: object) -> pd.Series:
    """The one row of a table with those values."""
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, where
    return table.iloc[0]


def test_figure_1_on_the_papers_example() -> None:
    """Exact rows to the last digit; simulated ones, of another seed, within 4 standard errors of both."""
    gumbel, tv = Setting(PAPER_P, PAPER_Q), float(overlap(PAPER_P, PAPER_Q))
    limit, finite, seeds = float(entropy(PAPER_P)), SynthID(30), 100_000
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
    shown = rows("quantity")
    assert len(shown) == len(expected)
    for (name, cell), values in zip(shown, expected, strict=True):
        if "±" in cell:
            value, error = numbers(cell)
            assert abs(value - values[0]) <= 4 * math.hypot(error, values[1]), name
        else:
            assert is_printed(values, cell), name


def test_a_shared_key_for_heavy_water() -> None:
    """Efficiency of HeavyWater and Gumbel-max where draft and target share one key."""
    pattern = r"\*?\*?paper's P and Q ([\d.]+) of the drafts \(`[^`]*heavywater`\) against ([\d.]+)"
    shown = re.search(pattern, " ".join(README.split()))
    assert shown is not None
    heavy = Setting(PAPER_P, PAPER_Q, heavy_water(), heavy_water()).agreement
    assert abs(heavy.value - float(shown[1])) <= 4 * heavy.standard_error + 5e-4
    assert is_printed([Setting(PAPER_P, PAPER_Q).agreement.value], shown[2])


def test_anchored_values() -> None:
    """J* by formula and programme, 1/J*, and stopping times: simulated ones within 4 errors of theory."""
    table = compute().set_index(["p", "alpha"])
    shown = rows("p | J*")
    assert [row[0] for row in shown] == ["0.5", "0.7", "0.9"]
    for p, j_star, inverse, early, late in shown:
        anchor = [float(p), 1 - float(p)]
        j = anchored_growth(anchor, 0.01)
        assert is_printed([j, best_e_value(anchor, 0.01).value], j_star)
        assert is_printed([1 / anchored_growth(anchor, 0.1)], inverse)
        for alpha, what, cell in ((1e-2, "exact", early), (1e-120, "wald", late)):
            row = table.loc[(float(p), alpha)]
            simulated, error, theory = numbers(cell)
            assert is_printed([row[what]], cell.split(";")[1])
            assert abs(simulated - theory) <= 4 * error
            assert abs(row["ratio"] - theory) <= 4 * row["ratio_error"]


def test_which_watermark_to_deploy() -> None:
    """Tokens a step, TPR with its interval at 50 and 100 tokens, the length of reading to a verdict."""
    tpr = pd.read_csv(RESULTS / "small" / "tpr.csv")
    verdicts = pd.read_csv(RESULTS / "small" / "sequential.csv")
    names = {"likelihood ratio": "likelihood ratio, two keys", "oracle (a bound)": "oracle"}
    steps = pd.read_csv(RESULTS / "small" / "speed.csv")
    steps = steps[steps["texts"] == 125]
    shown = rows("scheme and detector")
    assert len(shown) == 11
    for scheme, _, step, at_50, at_100, verdict in shown:
        *_, detector = scheme.split(", ")
        detector = re.sub(r" \(the paper\)", "", detector)
        found = re.search(r"`([\w-]+)`", scheme)
        method = "basic" if found is None else found[1]
        watermark = "synthid:30" if scheme.startswith("SynthID") else "gumbel"
        where = {"method": method, "watermark": watermark}
        if method != "basic":
            # Both sets of prompts have as many texts.
            both = steps[(steps["method"] == method) & (steps["watermark"] == watermark)]
            values = [both["aatps"].mean(), math.hypot(*both["aatps_error"]) / 2]
            assert len(both) == 2
            assert is_printed(values, step), scheme
        for tokens, cell in ((50, at_50), (100, at_100)):
            detected = {"detector": names.get(detector, detector), "tokens": tokens, "prompts": "both"}
            row = only(tpr, **where, **detected)
            assert is_printed([row["tpr"], row["tpr_low"], row["tpr_high"]], cell), (scheme, tokens)
        if verdict:
            row = only(verdicts, **where, kind="betting", alpha=0.02)
            assert is_printed([row["median"], row["median_low"], row["median_high"]], verdict), scheme


def test_stopping_at_any_time() -> None:
    """Median tokens to the verdict and the share of texts that get it."""
    table = pd.read_csv(RESULTS / "sequential" / "sequential.csv")
    table = table[table["alpha"] == 0.02]
    lengths = {
        "bets, key alone** (": {"kind": "betting"},
        "bets, key and draft": {"test": "draft-aware bets"},
    }
    fewer = {
        "bets, key alone: fewer": {"kind": "betting"},
        "bets with the draft: fewer": {"test": "draft-aware bets"},
    }
    columns = [(method, heat) for heat in (0.3, 0.7, 1.0) for method in ("one-race", "algorithm-1")]
    matched = 0
    for name, *cells in rows("| one race, T = 0.3"):
        for start, which in (lengths | fewer).items():
            if start in name:
                matched += 1
                for (method, heat), cell in zip(columns, cells, strict=True):
                    row = only(table, method=method, temperature=heat, **which)
                    if start in fewer:
                        shares = [100 * row[f"reduction{part}"] for part in ("", "_low", "_high")]
                        assert not cell or is_printed(shares, cell), (name, cell)
                    else:
                        seen = [] if math.isinf(row["median"]) else [row["median"]]
                        assert is_printed([*seen, 100 * row["detected"]], cell.replace("–", "")), (name, cell)
    assert matched == len(lengths) + len(fewer)


def test_transport_watermarks() -> None:
    """Mean tokens to the verdict, and how many fewer than Gumbel-max's."""
    table = pd.read_csv(RESULTS / "transport" / "watermarks.csv")
    names = {
        "Gumbel-max": "gumbel",
        "HeavyWater, log-normal": "heavywater:lognormal",
        "HeavyWater, gamma": "heavywater:gamma",
        "HeavyWater, log-normal, by Sinkhorn": "heavywater:lognormal,sinkhorn=0.05",
        "SynthID, m = 30": "synthid:30",
        "SimplexWater, r = 8": "simplexwater:8",
    }
    shown = rows("no speculation")
    assert [row[0] for row in shown] == list(names)
    for name, *cells in shown:
        for heat, mean, fewer in zip((0.3, 0.5, 1.0), cells[::2], cells[1::2], strict=True):
            if mean:
                which = {"temperature": heat, "method": "basic", "kind": "betting", "alpha": 0.01}
                row = only(table, watermark=names[name], **which)
                assert is_printed([row["mean"], row["mean_error"]], mean), (name, heat)
                if fewer:
                    percent = 100 * row[["fewer", "fewer_low", "fewer_high"]].astype(float)
                    assert is_printed(percent.tolist(), fewer), (name, heat)


def test_statements() -> None:
    """Predictions, least p, controls of every statement, as the committed run has them."""
    table = pd.read_csv(ROOT / "sims" / "results" / "summary.csv")
    # The parts of Theorem 4.1 stand in one row.
    table["statement"] = table["statement"].str.replace(r"\([abc]\)$", "", regex=True)
    found = {}
    for name, part in table.groupby("statement"):
        predicted, controls = part[~part["expected_red"]], part[part["expected_red"]]
        least = f"{predicted['p_value'].min():.2g}"
        counts = len(predicted), predicted["red"].sum(), len(controls), controls["red"].sum()
        found[re.sub(r"[:,].*", "", name) + str(counts)] = (least, *counts)
    shown = rows("statement")
    assert len(shown) == table["statement"].nunique()
    expected = sorted((least, *map(int, counts)) for least, *counts in found.values())
    assert sorted((cells[1], *map(int, (cells[0], *cells[2:]))) for _, *cells in shown) == expected
    assert sum(int(row[1]) for row in shown) == (~table["expected_red"]).sum()


def test_long_runs_carry_their_date_and_versions() -> None:
    """Every section that quotes such a command says when its figures were measured, and with what."""
    stamp = re.compile(r"[Mm]easured (on )?2\d{3}-\d\d-\d\d\W+Python 3\.\d+")
    stamped = set()
    for section in re.split(r"^#+ ", README, flags=re.MULTILINE)[1:]:
        heading, words = section.splitlines()[0], " ".join(section.split())
        if LONG.search(words) and heading not in WITHOUT_FIGURES:
            stamped.add(heading)
            assert stamp.search(words), heading
    assert len(stamped) == 8
