"""The front door: every name of it, imported when it is asked for and not before."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import tradeoff as td
from tests.house.test_rooms import LIBRARY, files, imports, module_of

HEAVY = ("numpy", "pandas", "scipy", "torch", "transformers", "matplotlib", "cvxpy", "ot", "pydantic", "rich")
VERBS = {
    "generate",
    "detect",
    "watch",
    "draw",
    "curve",
    "strength",
    "efficiency",
    "strongest",
    "most_efficient",
    "tokens_needed",
    "load_pair",
}
NOUNS = {"Key", "Scheme", "Setting", "Curve", "Estimate", "Result", "Evidence", "Record", "Stream", "Method"}
NAMES = (
    VERBS
    | NOUNS
    | {
        "METHODS",
        "GumbelMax",
        "SynthID",
        "simplex_water",
        "heavy_water",
        "Completed",
        "Identity",
        "FileError",
        "SolverError",
        "DistributionError",
    }
)
ROOMS = {"curves", "detection", "decoders", "kernels", "anchored", "optimal_transport", "llm"}


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_it_imports_nothing_heavy():
    loaded = json.loads(
        python("import sys, json, tradeoff; print(json.dumps([m.split('.')[0] for m in sys.modules]))")
    )
    assert not set(HEAVY) & set(loaded)
    assert "tradeoff" in loaded


def test_importing_it_takes_less_than_50_ms():
    """The fastest of several: what else the machine does only ever adds."""
    code = "import time; t = time.perf_counter(); import tradeoff; print(time.perf_counter() - t)"
    assert min(float(python(code)) for _ in range(5)) < 0.05


def test_every_name_is_there():
    assert set(td.__all__) >= NAMES | ROOMS
    assert set(dir(td)) == set(td.__all__)
    for name in td.__all__:
        assert getattr(td, name) is not None


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_every_name_of_a_room_is_there(room):
    module = getattr(td, room)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


def lazy_faces() -> list[ModuleType]:
    """Packages of the library whose names are looked up when they are asked for."""
    inits = [module_of(file) for file in files(LIBRARY) if file.name == "__init__.py"]
    return [face for name in inits if hasattr(face := import_module(name), "_HOMES")]


@pytest.mark.parametrize("face", lazy_faces(), ids=lambda face: face.__name__)
def test_the_faces_agree_with_what_type_checkers_read(face):
    """Where a name is found is written twice, for Python and for what reads without running: type checkers,
    and the builder of the documentation, which shows no name that it doesn't find."""
    assert sorted(face.__all__) == face.__dir__()
    read = {
        one.module.removeprefix("tradeoff."): sorted(one.names)
        for one in imports(Path(face.__file__))
        if one.deferred and one.module not in {"tradeoff", face.__name__}
    }
    assert read == {home: sorted(names) for home, names in face._HOMES.items()}


def test_no_name_is_that_of_its_module():
    """`from room import name` would give one or the other, by what was imported before."""
    for init in (file for file in files(LIBRARY) if file.name == "__init__.py"):
        face = import_module(module_of(init))
        modules = {file.stem for file in init.parent.glob("*.py")}
        assert not modules & set(face.__dict__.get("__all__", ())), init


def test_a_name_that_is_none_is_an_error_that_says_so():
    with pytest.raises(AttributeError, match="has no attribute 'watermark'"):
        td.watermark  # noqa: B018
