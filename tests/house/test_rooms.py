"""Who may import whom, what belongs in a room, and what a file is called, so that a new line finds its place.

`docs/architecture.md` says the same in words.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = "tradeoff"
OUTSIDE = ("figures", "paper_repro", "sims")

_GROUND = ("_arrays", "_lazy", "display", "errors", "estimate", "extensions", "files", "laws", "locks")
_WATERMARKS = (*_GROUND, "decoders", "keyed", "optimal_transport")
_KERNELS = (*_WATERMARKS, "anchored", "kernels")
_SCHEMES = (*_KERNELS, "detection", "scheme")
#: What a room, or a file beside the rooms, may import of the library.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "_arrays": (),
    "_lazy": (),
    "_moved": (),
    "errors": (),
    "estimate": (),
    "extensions": (),
    "locks": (),
    "display": ("_lazy",),
    "files": ("errors", "locks"),
    "laws": ("_arrays", "errors"),
    "plotting": ("errors", "files"),
    "workers": ("display",),
    "keyed": ("_arrays", "errors", "files"),
    "optimal_transport": ("_lazy", "estimate", "keyed", "laws"),
    "decoders": ("_arrays", "extensions", "keyed", "laws", "optimal_transport"),
    "anchored": _WATERMARKS,
    "kernels": _WATERMARKS,
    "curves": (*_WATERMARKS, "plotting"),
    "checks": (*_WATERMARKS, "kernels"),
    "detection": _KERNELS,
    "scheme": (*_KERNELS, "detection"),
    "texts": ("_lazy", "display", "errors", "estimate", "files", "locks", "scheme"),
    "llm": (*_SCHEMES, "texts", "workers"),
    "verdicts": (*_SCHEMES, "llm", "plotting", "texts"),
    "transformers": (*_SCHEMES, "llm", "texts", "verdicts"),
    "api": (*_SCHEMES, "curves", "llm", "texts", "verdicts", "workers"),
    "serving": (*_SCHEMES, "api", "llm", "texts", "verdicts", "workers"),
    "cli": (*_SCHEMES, "api", "curves", "llm", "serving", "texts", "verdicts", "workers"),
    "__init__": (*_SCHEMES, "_moved", "api", "curves", "llm", "optimal_transport", "texts", "verdicts"),
}
#: Packages that take seconds to import, or are of an extra, and where they may be.
HEAVY = {
    "torch": ("llm", "detection/fixed/bayes.py", "transformers"),
    "transformers": ("llm",),
    "matplotlib": ("plotting.py",),
    "cvxpy": ("curves/linear.py", "curves/biased/budget.py", "anchored/programme.py"),
    "ot": ("optimal_transport/solvers.py",),
    "pandas": ("curves", "files.py", "cli"),
    "pyarrow": ("texts/tables.py",),
    "ray": ("workers/ray_actors.py",),
    "docx": ("texts/documents.py",),
    "pypdf": ("texts/documents.py",),
    "fastapi": ("serving",),
    "prometheus_client": ("serving",),
    "starlette": ("serving",),
    "uvicorn": ("serving",),
}
MOST_FILES = 15
#: A watermark has one name in every room; a command has the name of what it shows.
WATERMARKS = {
    "completed",
    "delta_reweight",
    "dipmark",
    "gumbel",
    "heavywater",
    "hf_kgw",
    "identity",
    "inverse_transform",
    "kgw",
    "simplexwater",
    "synthid",
    "transport",
    "unigram",
}


class Import(NamedTuple):
    """One `from ... import ...` or `import ...`.

    Attributes:
        file: where it stands.
        line: of the file.
        module: what is imported from.
        names: what is imported.
        deferred: in a function, or for type checkers alone.
    """

    file: Path
    line: int
    module: str
    names: tuple[str, ...]
    deferred: bool

    @property
    def place(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path) -> Iterator[Import]:
    tree = parsed(file)
    at_once = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: a relative import, which no rule sees"
            names = tuple(alias.name for alias in node.names)
            yield Import(file, node.lineno, str(node.module), names, id(node) not in at_once)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, (), id(node) not in at_once)


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    """The room of a module of the library, or its own name if it lies beside the rooms."""
    return (*module.split("."), "__init__")[1]


def is_room(name: str) -> bool:
    return (ROOT / LIBRARY / name).is_dir()


def modules_imported(one: Import) -> list[str]:
    """The modules of this project that an import runs; a face stands for its room."""
    found = []
    for name in one.names or ("",):
        inner = f"{one.module}.{name}"
        path = ROOT / inner.replace(".", "/")
        found.append(inner if path.with_suffix(".py").exists() or path.is_dir() else one.module)
    return found


LIBRARY_IMPORTS = [
    one for file in files(LIBRARY) for one in imports(file) if one.module.split(".")[0] == LIBRARY
]


def test_rooms_are_known() -> None:
    """A new room, or a new file beside the rooms, says what it may import."""
    there = {path.stem for path in (ROOT / LIBRARY).iterdir() if path.suffix == ".py"}
    there |= {path.parent.name for path in (ROOT / LIBRARY).glob("*/__init__.py")}
    assert there == set(MAY_IMPORT)


def test_who_may_import_whom() -> None:
    broken = []
    for one in LIBRARY_IMPORTS:
        mine = room_of(module_of(one.file))
        for module in modules_imported(one):
            other = room_of(module)
            if other != mine and other not in MAY_IMPORT[mine] and module != LIBRARY:
                broken.append(f"{one.place}: {mine} may not import {other}")
    assert not broken


def test_the_rules_draw_no_circle() -> None:
    rules = {room: set(allowed) for room, allowed in MAY_IMPORT.items()}
    assert len(list(TopologicalSorter(rules).static_order())) == len(rules)


def test_files_draw_no_circle() -> None:
    """Not only rooms: what a file imports at once never comes back to it."""
    graph: dict[str, set[str]] = {}
    for one in LIBRARY_IMPORTS:
        if not one.deferred:
            graph.setdefault(module_of(one.file), set()).update(modules_imported(one))
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


def test_rooms_are_entered_through_their_face() -> None:
    """Across rooms `from tradeoff.detection import Evidence`; inside a room by file."""
    broken = []
    for package in (LIBRARY, *OUTSIDE):
        for one in (one for file in files(package) for one in imports(file)):
            parts = one.module.split(".")
            if parts[0] != LIBRARY or len(parts) < 2 or not is_room(parts[1]):
                continue
            inside = package == LIBRARY and room_of(module_of(one.file)) == parts[1]
            face_of_all = one.file in (ROOT / LIBRARY / "__init__.py",)
            started = one.file.stem == "__main__"
            if inside and len(parts) == 2 and module_of(one.file) != one.module and not started:
                broken.append(f"{one.place}: inside {parts[1]} import by file")
            elif not inside and not face_of_all and len(parts) > 2:
                broken.append(f"{one.place}: from {LIBRARY}.{parts[1]} import ...")
    assert not broken


@pytest.mark.parametrize("package", HEAVY)
def test_heavy_packages(package: str) -> None:
    allowed = [ROOT / LIBRARY / place for place in HEAVY[package]]
    found = [one for file in files(LIBRARY) for one in imports(file) if one.module.split(".")[0] == package]
    assert found
    assert [one.place for one in found if not any(one.file.is_relative_to(place) for place in allowed)] == []


def test_the_library_imports_nothing_that_uses_it() -> None:
    users = {*OUTSIDE, "tests"}
    found = [
        one.place for file in files(LIBRARY) for one in imports(file) if one.module.split(".")[0] in users
    ]
    assert found == []


@pytest.mark.parametrize(
    ("package", "others"),
    [("figures", {"paper_repro", "sims"}), ("sims", {"figures", "paper_repro"}), ("paper_repro", {"sims"})],
)
def test_packages_beside_the_library(package: str, others: set[str]) -> None:
    """Sims and figures know nothing of each other; an experiment draws its tables with the figures."""
    forbidden = others | {"tests"}
    # The main job runs the statements by name, so that it imports none of them.
    found = [one for file in files(package) for one in imports(file) if one.module.split(".")[0] in forbidden]
    assert [one.place for one in found] == []


@pytest.mark.parametrize("package", [LIBRARY, *OUTSIDE, "tests"])
def test_no_room_is_crowded(package: str) -> None:
    crowded = Counter(file.parent.relative_to(ROOT) for file in files(package))
    assert {str(room): count for room, count in crowded.items() if count > MOST_FILES} == {}


@pytest.mark.parametrize("package", [LIBRARY, *OUTSIDE])
def test_a_name_means_one_thing(package: str) -> None:
    """A file name returns only where the same watermark, or the command of a subject, does."""
    named = [file for file in files(package) if not file.stem.startswith("__")]
    counted = Counter(file.stem for file in named if file.parent != ROOT / LIBRARY / "cli")
    assert {name for name, count in counted.items() if count > 1} <= WATERMARKS


def test_the_library_prints_nothing() -> None:
    """What there is to say goes to a `report` or `note` of the caller; consoles are of `display`."""
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in files(LIBRARY)
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []
