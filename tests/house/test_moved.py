"""Import paths and commands of version 0.1: they work, warn, and name a place that has the names."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module, util
from pathlib import Path
from types import ModuleType

import pytest

from tradeoff import _moved

ROOT = Path(__file__).parents[2]
#: Public names of every public module of version 0.1, as they were when modules moved.
NAMES: dict[str, list[str]] = json.loads(
    (Path(__file__).parent / "names_0_1.json").read_text(encoding="utf-8")
)
#: What the README of version 0.1 imported, and where the names are public now.
SHOWN = {
    ("tradeoff.classes", "tradeoff.curves"): ["curve"],
    ("tradeoff.evalues", "tradeoff.anchored"): ["anchored_growth", "log_anchored"],
    ("tradeoff.keys", "tradeoff.keyed"): ["Key"],
    ("tradeoff.pareto", "tradeoff.curves"): ["strongest"],
    ("tradeoff.prf", "tradeoff.keyed"): ["KeyedPrf"],
    ("tradeoff.setting", "tradeoff.curves"): ["Setting"],
    ("tradeoff.supermartingales", "tradeoff.anchored"): ["EProcess"],
}
UNMOVED = {
    "tradeoff.decoders": ["GumbelMax"],
    "tradeoff.detection": ["Aaronson", "Evidence", "MeanBits", "detect"],
    "tradeoff.detection.bets": ["RaceBets"],
    "tradeoff.detection.sequential": ["Sequential"],
}


def fresh(name: str) -> ModuleType:
    sys.modules.pop(name, None)
    return import_module(name)


@pytest.mark.parametrize(("old", "room"), SHOWN)
def test_names_that_the_readme_showed(old: str, room: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"{old} has moved to .*; what is public is in {room} "):
        module = fresh(old)
    for shown in SHOWN[old, room]:
        assert getattr(module, shown) is getattr(import_module(room), shown)


@pytest.mark.parametrize("name", UNMOVED)
def test_paths_that_have_not_moved(name: str, recwarn: pytest.WarningsRecorder) -> None:
    module = import_module(name)
    assert all(hasattr(module, shown) for shown in UNMOVED[name])
    assert not recwarn


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:tradeoff.* has moved:DeprecationWarning")
def test_every_public_name_of_0_1_is_where_it_was(name: str) -> None:
    module = fresh(name) if name in _moved._MODULES else import_module(name)
    assert [shown for shown in NAMES[name] if not hasattr(module, shown)] == []


def test_nothing_is_said_to_have_moved_that_is_there() -> None:
    assert not [
        name for name in _moved._MODULES if (ROOT / name.replace(".", "/")).with_suffix(".py").exists()
    ]
    assert set(_moved._MODULES) <= set(NAMES)


def test_the_warning_shows_the_line_that_imports() -> None:
    """Also without any option: Python shows what concerns the script that is run."""
    code = "import tradeoff\nfrom tradeoff.keys import Key\n"
    done = subprocess.run(
        [sys.executable, "-"], input=code, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr.startswith(
        "<stdin>:2: DeprecationWarning: tradeoff.keys has moved to tradeoff.keyed.keys;"
    )


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
