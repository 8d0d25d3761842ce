"""Every room and every public name is on a page of `docs/api`, and says what it is."""

from __future__ import annotations

import ast
import re
import zlib
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import tradeoff as td
from tests.documents.inventory import PUBLIC, faces, is_shown, missing, names

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "api"


def modules_shown() -> dict[str, str]:
    """{module: page} of what the pages ask mkdocstrings for."""
    shown = {}
    for page in sorted(PAGES.glob("*.md")):
        for module in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert module not in shown, f"{module} is on {shown[module]} and {page.name}"
            shown[module] = page.name
    return shown


@cache
def source() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tradeoff").rglob("*.py"))


def commented(name: str) -> bool:
    """Whether a constant of that name has a comment `#:` above it, in one file or another."""
    return re.search(rf"^#: .*\n{re.escape(name)}(?:: [^=\n]+)? = ", source(), re.MULTILINE) is not None


def test_every_room_has_a_page() -> None:
    assert set(modules_shown()) == {"tradeoff", *(f"tradeoff.{room}" for room in PUBLIC)}


def test_the_table_of_pages_names_all() -> None:
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\| \[.*?\]\((\w+\.md)\)", index)) == set(modules_shown().values())


def test_every_name_of_the_face_is_on_a_page() -> None:
    """Rooms have their own; the others are shown as what the face imports for type checkers."""
    shown = modules_shown()
    tree = ast.parse(Path(str(td.__file__)).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = {alias.name for node in imports for alias in node.names}
    for name in td.__all__:
        value = getattr(td, name)
        assert value.__name__ in shown if isinstance(value, ModuleType) else name in imported, name


def test_names_that_a_site_lacks_are_told() -> None:
    everything = {f"{face.__name__}.{name}" for face in faces() for name in face.__all__}
    assert missing(everything) == []
    assert missing(everything - {"tradeoff.Scheme", "tradeoff.laws.entropy"}) == [
        "tradeoff.Scheme",
        "tradeoff.laws.entropy",
    ]


def test_inventories_are_read() -> None:
    head = b"# Sphinx inventory version 2\n# Project: it\n# Version: 1\n# compressed\n"
    lines = b"it.one py:function 1 it.html#$ -\nit.Two py:class 1 it.html#$ -\n"
    assert names(head + zlib.compress(lines)) == {"it.one", "it.Two"}


@pytest.mark.parametrize("face", faces(), ids=lambda face: face.__name__)
def test_every_public_name_says_what_it_is(face: ModuleType) -> None:
    silent = []
    for name in face.__all__:
        value = getattr(face, name)
        if not is_shown(value):
            continue
        # Dataclasses without a docstring get their signature as one.
        own = callable(value) and value.__doc__ and not value.__doc__.startswith(f"{name}(")
        if not own and not commented(name):
            silent.append(name)
    assert silent == []
