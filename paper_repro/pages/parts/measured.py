"""Committed tables of figures and benchmarks, and when and with what something was measured."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from scipy import stats

from paper_repro.pages.parts.tables import require
from paper_repro.presets import load_preset, preset_names

__all__ = [
    "ENVIRONMENT",
    "agreement",
    "benchmark_table",
    "benchmark_was_run",
    "bound_of_largest",
    "figure_table",
    "measured_at",
    "run_measured_at",
]

#: When and with what something was measured; empty where it is not known.
ENVIRONMENT = ("date", "python", "pytorch", "transformers", "cores")
_ROOT = Path(__file__).parents[3]
_FIGURES = _ROOT / "docs" / "results" / "tables"
_BENCHMARKS = _ROOT / "tests" / "benchmarks" / "results"


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


def run_measured_at(run: str) -> str:
    """`measured_at` of a run of `docs/results/tables/runs.csv`, and of a preset its context width."""
    measured = measured_at(figure_table("runs"), run=run)
    if run not in preset_names():
        return measured
    return f"{measured} Positions are seeded by {load_preset(run).context_width} tokens."


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
    bound = bound_of_largest(count)
    require(p_value >= 0.05 and largest <= bound, claim)
    return {"count": count, "squares": squares, "p": p_value, "largest": largest, "bound": bound}


def bound_of_largest(count: int) -> float:
    """What the largest |z| of `count` stays below with probability 95%, and with more if they depend on each
    other (Sidak)."""
    return float(stats.norm.isf((1 - 0.95 ** (1 / count)) / 2))
