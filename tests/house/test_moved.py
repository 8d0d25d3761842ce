"""Import paths and commands of version 0.1: they work, warn, and name a place that has the names."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module, util
from pathlib import Path

import pytest

from tradeoff import _moved

ROOT = Path(__file__).parents[2]
#: What the README of version 0.1 imported.
SHOWN = {
    "tradeoff.classes": ["curve"],
    "tradeoff.decoders": ["GumbelMax"],
    "tradeoff.detection": ["Aaronson", "Evidence", "MeanBits", "detect"],
    "tradeoff.detection.bets": ["RaceBets"],
    "tradeoff.detection.sequential": ["Sequential"],
    "tradeoff.evalues": ["anchored_growth", "log_anchored"],
    "tradeoff.keys": ["Key"],
    "tradeoff.pareto": ["strongest"],
    "tradeoff.prf": ["KeyedPrf"],
    "tradeoff.setting": ["Setting"],
    "tradeoff.supermartingales": ["EProcess"],
}


def fresh(name: str):
    sys.modules.pop(name, None)
    return import_module(name)


@pytest.mark.parametrize("name", [name for name in SHOWN if name in _moved._MODULES])
def test_names_that_the_readme_showed(name: str) -> None:
    room = import_module(_moved._MODULES[name].room)
    with pytest.warns(DeprecationWarning, match=f"{name} has moved; import from {room.__name__} "):
        module = fresh(name)
    for shown in SHOWN[name]:
        assert getattr(module, shown) is getattr(room, shown)


@pytest.mark.parametrize("name", [name for name in SHOWN if name not in _moved._MODULES])
def test_paths_that_have_not_moved(name: str, recwarn: pytest.WarningsRecorder) -> None:
    module = import_module(name)
    assert all(hasattr(module, shown) for shown in SHOWN[name])
    assert not recwarn


@pytest.mark.parametrize("name", _moved._MODULES)
def test_every_moved_module_has_its_names(name: str) -> None:
    place = _moved._MODULES[name]
    assert not (ROOT / name.replace(".", "/")).with_suffix(".py").exists()
    with pytest.warns(DeprecationWarning, match="has moved"):
        module = fresh(name)
    for new in map(import_module, place.modules):
        for public in new.__all__:
            assert getattr(module, public) is getattr(new, public)


@pytest.mark.parametrize("name", _moved._COMMANDS)
def test_every_moved_command_is_found(name: str) -> None:
    import_module(name.partition(".")[0])
    assert not (ROOT / name.replace(".", "/")).with_suffix(".py").exists()
    assert util.find_spec(name) is not None
    assert util.find_spec(_moved._COMMANDS[name][0]) is not None
    with pytest.raises(ImportError, match="has moved; the command is: python -m "):
        import_module(name)


@pytest.mark.parametrize(
    ("old", "new"),
    [("figures.figure_1", "figures figure_1"), ("paper_repro.fit_jump", "tradeoff.llm.fitting.fit_jump")],
)
def test_a_moved_command_runs(old: str, new: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", old, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == f"note: {old} has moved; the command is: python -m {new}\n"
    assert f"Usage: python -m {new} " in done.stdout


def test_what_never_was() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'tradeoff\.nothing'"):
        import_module("tradeoff.nothing")
