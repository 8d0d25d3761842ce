"""Tables of runs, figures and benchmarks, with the date and versions of what was measured."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from scipy import stats

__all__ = [
    "ENVIRONMENT",
    "agreement",
    "benchmark_table",
    "benchmark_was_run",
    "experiment_table",
    "figure_table",
    "measured_at",
    "one_row",
    "require",
    "run_measured_at",
    "statement_table",
]

#: When and with what something was measured; empty where it is not known.
ENVIRONMENT = ("date", "python", "pytorch", "transformers", "cores")
_ROOT = Path(__file__).parents[2]
_EXPERIMENTS = _ROOT / "paper_repro" / "results"
_STATEMENTS = _ROOT / "sims" / "results"
_FIGURES = _ROOT / "docs" / "results" / "tables"
_BENCHMARKS = _ROOT / "tests" / "benchmarks" / "results"


def experiment_table(preset: str, name: str) -> pd.DataFrame:
    """A table that `python -m paper_repro.experiment --preset PRESET` wrote."""
    return _read(_EXPERIMENTS / preset / f"{name}.csv")


def statement_table(name: str) -> pd.DataFrame:
    """A table that `python -m sims` wrote."""
    return _read(_STATEMENTS / f"{name}.csv")


def figure_table(name: str) -> pd.DataFrame:
    """A table that `python -m figures NAME` wrote, where its computing takes minutes."""
    return _read(_FIGURES / f"{name}.csv")


def benchmark_table(name: str) -> pd.DataFrame:
    """What `python -m tests.benchmarks.bench_... --out tests/benchmarks/results` wrote."""
    return _read(_BENCHMARKS / f"{name}.csv")


def benchmark_was_run(name: str) -> bool:
    """Whether there is such a table."""
    return (_BENCHMARKS / f"{name}.csv").exists()


def _read(path: Path) -> pd.DataFrame:
    # Versions are words: 3.10 is not 3.1.
    return pd.read_csv(path, dtype=dict.fromkeys(ENVIRONMENT, str))


def one_row(table: pd.DataFrame, **where: object) -> pd.Series:
    """The one row with those values.

    Raises:
        ValueError: if none has them, or more than one.
    """
    found = table
    for column, value in where.items():
        found = found[found[column] == value]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows have {where}; a page quotes one")
    return found.iloc[0]


def require(holds: object, claim: str) -> None:
    """Let a page be written only while what it says in words is so.

    Args:
        holds: whether the tables say so.
        claim: the sentence, in short.

    Raises:
        ValueError: if they do not.
    """
    if not holds:
        raise ValueError(f"the tables do not say any more that {claim}; change the page's template")


def run_measured_at(run: str) -> str:
    """`measured_at` of a run of `docs/results/tables/runs.csv`."""
    return measured_at(figure_table("runs"), run=run)


def measured_at(table: pd.DataFrame, **where: object) -> str:
    """ "Measured 2030-01-31 (Python 3.11, PyTorch 2.13.0, 2 cores)", as far as it is known.

    Raises:
        ValueError: if rows of the table were not measured together.
    """
    for column, value in where.items():
        table = table[table[column] == value]
    known = table[list(ENVIRONMENT)].drop_duplicates()
    if len(known) != 1:
        raise ValueError(f"{len(known)} dates and sets of versions stand in one table; measure it in one run")
    date, *rest = known.iloc[0]
    words = ("Python {}", "PyTorch {}", "Transformers {}", "{} cores")
    parts = [word.format(value) for word, value in zip(words, rest, strict=True) if not pd.isna(value)]
    return f"Measured {date} ({', '.join(parts)})."


def agreement(z: pd.Series, claim: str) -> dict[str, float]:
    """How far z scores are from what chance makes of zero.

    Args:
        z: independent, standard normal if the claim is true.
        claim: the sentence that they bear out.

    Returns:
        count, sum of squares, its p-value, the largest |z|, and what the largest is below at 95%.

    Raises:
        ValueError: if the sum of squares or the largest is what chance makes less often than one time in 20.
    """
    count, squares, largest = len(z), float((z**2).sum()), float(z.abs().max())
    p_value = float(stats.chi2.sf(squares, count))
    bound = float(stats.norm.isf((1 - 0.95 ** (1 / count)) / 2))
    require(p_value >= 0.05 and largest <= bound, claim)
    return {"count": count, "squares": squares, "p": p_value, "largest": largest, "bound": bound}
