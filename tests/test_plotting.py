"""Figures belong to no window: whatever backend the environment names, they are drawn into files."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tradeoff.plotting import new_figure

ROOT = Path(__file__).parents[1]
DOOR = ROOT / "tradeoff" / "plotting.py"
#: What Jupyter puts into the environment; it is not among the packages of this project.
INLINE = "module://matplotlib_inline.backend_inline"


def run(*arguments: str, backend: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": backend}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def imports(path: Path) -> set[str]:
    """Full names of what a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_one_module_imports_matplotlib_and_none_pyplot() -> None:
    """Pyplot looks for a backend, and keeps every figure until it is closed."""
    folders = ("tradeoff", "figures", "sims", "paper_repro", "tests")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    importers = {
        path: names for path in modules if (names := {n for n in imports(path) if "matplotlib" in n})
    }
    assert list(importers) == [DOOR]
    assert not [name for name in importers[DOOR] if "pyplot" in name]


@pytest.mark.parametrize("backend", [INLINE, "module://nowhere.at_all", "TkAgg"])
def test_a_command_draws_under_every_backend(backend: str, tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    arguments = ["curve", "--paper", "--points", "3", "--plot", str(picture)]
    done = run("-m", "tradeoff.cli", *arguments, backend=backend)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("module", ["figures.curves.figure_1", "figures.anchored.growth"])
def test_a_figure_is_drawn_from_a_notebook(module: str, tmp_path: Path) -> None:
    options = ["--seeds", "4"] if module == "figures.curves.figure_1" else []
    done = run("-m", module, "--out", str(tmp_path), *options, backend=INLINE)
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes()[:4] for path in tmp_path.glob("*.png")] == [b"\x89PNG"]


@pytest.mark.parametrize(
    ("before", "backend", "after"),
    [
        ("", "svg", "svg"),
        ("import matplotlib; matplotlib.use('pdf'); ", "svg", "pdf"),
        ("", INLINE, None),
    ],
    ids=["named", "chosen before", "not there"],
)
def test_who_else_draws_keeps_the_backend(before: str, backend: str, after: str | None) -> None:
    """The environment stays as it was, and so does a choice that was made before."""
    asked = f"{before}import os, tradeoff.curves.drawing, matplotlib; print(os.environ['MPLBACKEND'])"
    shown = "" if after is None else "; print(matplotlib.rcParams['backend'])"
    done = run("-c", asked + shown, backend=backend)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [backend, *([] if after is None else [after])]


def test_a_grid_has_rows_and_columns() -> None:
    """Also where there is one of them; a vertical axis can be shared by all or by a row."""
    for rows, columns in ((1, 1), (1, 3), (2, 1), (2, 2)):
        figure, grid = new_figure(rows, columns, size=(4, 3))
        assert grid.shape == (rows, columns)
        assert figure.get_size_inches().tolist() == [4, 3]
    for shared, top in ((False, 1), ("row", 1), (True, 5)):
        _, [[left, right], [below, _]] = new_figure(2, 2, size=(4, 3), sharey=shared)
        left.set_ylim(0, 5)
        assert right.get_ylim()[1] == (5 if shared else 1)
        assert below.get_ylim()[1] == top
