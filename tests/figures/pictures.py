"""Every committed picture, drawn again from committed tables: no model, no simulation that takes long."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from figures.anchored import growth, stopping
from figures.curves import distortion, figure_1, figure_1_real, transport_curves
from figures.curves.panels import draw_planes
from figures.experiment.bounds import draw_bounds
from figures.experiment.rates import draw_edits, draw_power, draw_roc, draw_steps, draw_tpr
from figures.experiment.shares import draw_shares
from figures.experiment.watermarks import draw_watermarks
from figures.joint import remaining_trade_off
from figures.transport import gaps, tilt
from sims.real_pair.texts import Decay
from sims.statements import STATEMENTS
from sims.tools import common
from tradeoff.curves import PAPER_P, PAPER_Q, Setting
from tradeoff.plotting import Figure

__all__ = ["EXPERIMENTS", "FIGURES", "of_statement"]

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "docs" / "results" / "tables"
RESULTS = ROOT / "paper_repro" / "results"
STATED = ROOT / "sims" / "results"
#: Seeds of the committed run of the statements, and tokens of its simulated texts.
SEEDS, TOKENS = 400_000, 80


def _table(preset: str, name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / preset / f"{name}.csv")


def _planes() -> Any:
    return figure_1.compute(PAPER_P, PAPER_Q, seeds=200)[0]


def _positions() -> Figure:
    table = pd.read_csv(TABLES / "figure_1_real_positions.csv")
    by_temperature = {t: part.reset_index(drop=True) for t, part in table.groupby("temperature", sort=False)}
    source = next(iter(by_temperature.values()))["source"].to_numpy()
    return figure_1_real._draw_positions(source, by_temperature)


def _transport(picture: str) -> Callable[[], Figure]:
    def draw() -> Figure:
        with patch.object(transport_curves, "curve", _straight):
            curves = transport_curves.compute(PAPER_P, PAPER_Q, gamma=np.linspace(0, 1, 3), seeds=4)
        return transport_curves._figure(picture, curves, 4)

    return draw


def _straight(family: str, setting: Setting, gamma: np.ndarray) -> Any:
    """A line in place of a curve, which takes minutes with all these decoders."""
    return figure_1.curve("time-sharing", Setting(PAPER_P, PAPER_Q), gamma)


#: Pictures in docs/pictures, by stem; figure_1_real has the panels of figure_1 three times.
FIGURES: dict[str, Callable[[], Figure]] = {
    "anchored_figure_2": lambda: stopping._figure(stopping.compute(paths=200)),
    "distortion": lambda: distortion._figure(pd.read_csv(TABLES / "distortion.csv")),
    "figure_1": lambda: draw_planes([("", _planes())], "P and Q of the paper. " * 12),
    "figure_1_real": lambda: draw_planes([(f", T = {t:g}", _planes()) for t in (1, 0.7, 0.5)], "note. " * 90),
    "figure_1_real_positions": _positions,
    "remaining_trade_off": lambda: remaining_trade_off._figure(
        pd.read_csv(TABLES / "remaining_trade_off.csv"), 200
    ),
    "sequential_0.3": lambda: draw_shares(_table("sequential", "sequential_shares"), 0.3),
    "sequential_0.7": lambda: draw_shares(_table("sequential", "sequential_shares"), 0.7),
    "sequential_1": lambda: draw_shares(_table("sequential", "sequential_shares"), 1.0),
    "tpr_small": lambda: draw_tpr(_table("small", "tpr"), "both"),
    "tpr_papers": lambda: draw_tpr(_table("papers", "tpr"), "both"),
    "bounds": lambda: draw_bounds(_table("papers", "bounds")),
    "transport_completed": _transport("transport_completed"),
    "transport_curves": _transport("transport_curves"),
    "transport_gaps": lambda: gaps._gap_figure(gaps.compute(9)),
    "transport_tilt": lambda: tilt._figure(
        pd.read_csv(TABLES / "transport_tilt.csv"), "SmolLM2-135M-Instruct", 40
    ),
    "watermarks": lambda: draw_watermarks(_table("transport", "sequential_shares")),
}
#: What is drawn of other tables, and is not committed.
EXPERIMENTS: dict[str, Callable[[], Figure]] = {
    "anchored_figure_1": lambda: growth._figure(growth.compute(4)),
    "edits_gumbel": lambda: draw_edits(_table("small", "edits"), "gumbel"),
    "edits_synthid": lambda: draw_edits(_table("small", "edits"), "synthid:30"),
    "power": lambda: draw_power(_table("sequential", "power")),
    "roc_small": lambda: draw_roc(_table("small", "roc"), "both"),
    "aatps_small": lambda: draw_steps(_table("small", "speed")),
    "tpr_joint": lambda: draw_tpr(_table("joint", "tpr"), "question"),
    "transport_tails": lambda: gaps._tail_figure(gaps.compute(9), gaps.compute_tails(9)),
    "watermarks_small": lambda: draw_watermarks(_table("small", "sequential_shares")),
}


def of_statement(name: str, out: Path) -> Figure:
    """The picture of a statement in sims, from the table of the committed run.

    Args:
        name: of the statement.
        out: folder; nothing is written into it.
    """
    module = importlib.import_module(STATEMENTS[name].__module__)
    table = pd.read_csv(STATED / f"{name}.csv")
    drawn: list[Figure] = []
    with (
        patch.object(common, "save_figure", lambda figure, paths: drawn.append(figure)),
        patch.object(module, "write_table", lambda table, path: None),
    ):
        _STATEMENTS.get(name, _by_size)(module, table, out)
    return drawn[0]


def _by_size(module: Any, table: pd.DataFrame, out: Path) -> None:
    module._draw(table, SEEDS, out)


def _by(size: int) -> Callable[[Any, pd.DataFrame, Path], None]:
    return lambda module, table, out: module._draw(table, size, out)


def _curves(module: Any, table: pd.DataFrame, out: Path) -> None:
    found = {
        (row["class"], row["gamma"]): (
            (row["efficiency"], row["efficiency_error"]),
            (row["strength"], row["strength_error"]),
        )
        for _, row in table.iterrows()
    }
    module._draw(Setting(PAPER_P, PAPER_Q), found, SEEDS, out)


def _lemma(module: Any, table: pd.DataFrame, out: Path) -> None:
    columns = (table[name].to_numpy() for name in ("bound", "random_kernel", "gumbel_max"))
    module._draw(*columns, table["programme"].dropna().to_numpy(), out)


def _sequences(module: Any, table: pd.DataFrame, out: Path) -> None:
    counts = {name: table[name].to_numpy() for name in ("masked", "no masks")}
    module._draw(table["law"].to_numpy(), counts, SEEDS, out)


def _methods(module: Any, table: pd.DataFrame, out: Path) -> None:
    module._draw(common.PAIR_P, common.PAIR_Q, table.to_dict("records"), SEEDS, out)


def _growths(module: Any, table: pd.DataFrame, out: Path) -> None:
    module._draw(*(table[table["part"] == part] for part in ("perturbed", "growth")), SEEDS, out)


def _pairs(module: Any, table: pd.DataFrame, out: Path) -> None:
    module._draw(*(table[table["part"] == part] for part in ("pairs", "laws")), out)


def _tails(module: Any, table: pd.DataFrame, out: Path) -> None:
    few = table["predicted"].isna()
    module._draw(table[~few], table[few], int(table["k"][~few].iloc[0]), out)


def _real_pair(module: Any, table: pd.DataFrame, out: Path) -> None:
    part = table[table["what"] == "-(1/n) log p"]
    decays = {
        name: Decay(
            TOKENS * rows["estimate"].to_numpy(),
            TOKENS * rows["predicted"].to_numpy(),
            (TOKENS * rows["error"].to_numpy()) ** 2,
            np.full(len(rows), TOKENS),
        )
        for name, rows in part.groupby("method")
    }
    caption = (
        "n = 49,152 tokens; 200 positions, 48 seeds each (a third for strength and SynthID), marks of "
        f"{module._GROUPS} groups side by side; 48 simulated texts of {TOKENS} tokens, 24 by the engine. 99% "
        "bars, given the positions; slopes with their 99% intervals (engine and wrong key: through the "
        "origin)."
    )
    module._draw(table, decays, out / "real_pair.png", caption)


_STATEMENTS: dict[str, Callable[[Any, pd.DataFrame, Path], None]] = {
    "impossibility": _by(SEEDS // 10),
    "theorem_3_1": _by(1_000),
    "theorem_3_2": _by(SEEDS // 10),
    "theorem_3_3": _by(SEEDS // 10),
    "curves_3_2": _curves,
    "lemma_3_1": _lemma,
    "sequences_4_1": _sequences,
    "theorem_4_1": _methods,
    "joint_tournament": _by(SEEDS // 4),
    "anchored_validity": lambda module, table, out: module._draw(table, out),
    "anchored_buckets": lambda module, table, out: module._draw(table, out),
    "anchored_stopping": _by(SEEDS // 20),
    "anchored_optimality": _growths,
    "sequential_detectors": _by(SEEDS // 8),
    "transport_gumbel": _by(400),
    "transport_solvers": _by(100),
    "transport_minimax": lambda module, table, out: module._draw(table, 100_000, 0.2143, out),
    "transport_tails": _tails,
    "transport_two_atoms": _pairs,
    "real_pair": _real_pair,
}
