"""What the seams are for: nothing decides by the type of a watermark, by whether an attribute is there, or by
words that are written for people. A new watermark then has nothing to be added to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    file for room in ("tradeoff", "paper_repro", "sims", "figures") for file in (ROOT / room).rglob("*.py")
)
#: Types that nothing asks a value for.
CLOSED = {
    "Completed",
    "GumbelMax",
    "Identity",
    "SynthID",
    "Transport",
    "UniformTournament",
    "RandomScores",
    "SimplexScores",
    "Algorithm1",
    "Basic",
    "KeepEfficiency",
    "KeepStrength",
    "JointRace",
    "JointRaceTree",
    "JointTournament",
    "OneRace",
    "OneRaceTree",
    "SingleKey",
    "Standard",
    "TargetOnly",
    "TwoKeys",
}
#: Attributes that hold words for people.
WORDS = {"name", "null", "label", "title"}
#: The one place where an attribute is asked for that may be missing: configurations of others' models.
ASKS = {("tradeoff/llm/models/huggingface.py", "setting")}


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Every call or comparison, under the name of the innermost function around it."""

    def walk(node: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            inner = child.name if isinstance(child, ast.FunctionDef) else name
            yield inner, child
            yield from walk(child, inner)

    yield from walk(tree, "")


def called(node: ast.AST) -> str | None:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def asks_for_attributes(tree: ast.Module) -> set[tuple[str, int]]:
    """(function, line) of every hasattr, and of getattr with a default."""
    return {
        (name, node.lineno)
        for name, node in functions(tree)
        if called(node) == "hasattr" or (called(node) == "getattr" and len(node.args) > 2)
    }


def asks_for_types(tree: ast.Module) -> set[tuple[str, int]]:
    """(function, line) of every question whether a value is of a closed type."""
    found = set()
    for name, node in functions(tree):
        if called(node) in ("isinstance", "issubclass"):
            asked = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            if asked & CLOSED:
                found.add((name, node.lineno))
    return found


def decides_by_words(tree: ast.Module) -> set[tuple[str, int]]:
    """(function, line) of comparisons of an attribute for people with words."""
    found = set()
    for name, node in functions(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        attributes = any(
            isinstance(side, ast.Attribute) and side.attr in WORDS and ast.unparse(side) != "os.name"
            for side in sides
        )
        words = any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides)
        if attributes and words:
            found.add((name, node.lineno))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_decides_by_types_attributes_or_words(file):
    place, tree = file.relative_to(ROOT).as_posix(), parsed(file)
    asked = {found for found in asks_for_attributes(tree) if (place, found[0]) not in ASKS}
    assert not asked, f"{place}: hasattr or getattr with a default in {asked}"
    assert not asks_for_types(tree), f"{place}: isinstance of a watermark or method in {asks_for_types(tree)}"
    assert not decides_by_words(tree), f"{place}: words for people decide in {decides_by_words(tree)}"


@pytest.mark.parametrize(
    ("code", "finds"),
    [
        ("def f(x): return hasattr(x, 'bets')", asks_for_attributes),
        ("def f(x): return getattr(x, 'bets', x)", asks_for_attributes),
        ("def f(x): return isinstance(x, GumbelMax)", asks_for_types),
        ("def f(x): return isinstance(x, Identity | tuple)", asks_for_types),
        ("def f(x): return isinstance(x, (int, kernels.Basic, SynthID))", asks_for_types),
        ("def f(x): return issubclass(x, SingleKey)", asks_for_types),
        ("def f(x): return 'simulated' in x.null", decides_by_words),
        ("def f(x): return x.name == 'Aaronson'", decides_by_words),
    ],
)
def test_each_of_them_is_seen(code, finds):
    assert {name for name, _ in finds(ast.parse(code))} == {"f"}


def test_what_is_allowed_is_not_seen():
    code = "def f(x, y): return getattr(x, y) and isinstance(x, Path) and x.name == y.name and 'a' in x.parts"
    for finds in (asks_for_attributes, asks_for_types, decides_by_words):
        assert not finds(ast.parse(code))
