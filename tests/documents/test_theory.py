"""The theory pages: their tables of places are true, the reference is quoted as it is, blocks print what the
page says, and mathematics survives GitHub's Markdown."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from sims.statements import STATEMENTS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "theory").glob("*.md"))
#: `tradeoff/laws.py: overlap, excess`, or a file alone.
PLACE = re.compile(r"`((?:tradeoff|sims|figures|paper_repro|tests)/[\w/.]+)(?:: ([\w, ]+))?`")
MATHEMATICS = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@cache
def defined(path: Path) -> frozenset[str]:
    """What a module defines at its top level, without what it imports."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return frozenset(names)


@every_page
def test_places_are_where_the_page_says(page: Path) -> None:
    places = PLACE.findall(prose(page))
    assert places
    missing = [path for path, _ in places if not (ROOT / path).exists()]
    assert missing == []
    wrong = [
        f"{path}: {name}"
        for path, names in places
        if names
        for name in names.split(", ")
        if name not in defined(ROOT / path)
    ]
    assert wrong == []


def detectors_of(path: Path) -> set[str]:
    """Public classes of a file that give p-values of texts: `log_p` of a statistic, or `test` of a text."""
    classes = {node.name: node for node in ast.parse(path.read_text(encoding="utf-8")).body
               if isinstance(node, ast.ClassDef)}  # fmt: skip

    def is_detector(node: ast.ClassDef) -> bool:
        own = [part for part in node.body if isinstance(part, ast.FunctionDef)]
        bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
        return (
            any(part.name in ("log_p", "test") and len(part.args.args) > 1 for part in own)
            or any(is_detector(classes[base]) for base in bases & set(classes))
        ) and "Protocol" not in bases

    return {name for name, node in classes.items() if not name.startswith("_") and is_detector(node)}


def test_the_index_names_every_detector_and_every_statement() -> None:
    """A detector whose null law stands nowhere, or a statement that no row names, is found by nobody."""
    index = PLACE.findall(prose(ROOT / "docs" / "theory" / "index.md"))
    told = {(path, name) for path, names in index for name in names.split(", ")}
    detectors = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / "tradeoff" / "detection").rglob("*.py")
        for name in detectors_of(path)
    }
    assert ("tradeoff/detection/fixed/gumbel.py", "Aaronson") in detectors
    assert detectors - told == set()
    statements = {
        (path.relative_to(ROOT).as_posix(), "run")
        for path in (ROOT / "sims").glob("*/*.py")
        if "run" in defined(path)
    }
    assert len(statements) == len(STATEMENTS)
    assert statements - told == set()


def test_the_reference_is_quoted_as_it_is() -> None:
    page = (ROOT / "docs/theory/one-race.md").read_text(encoding="utf-8")
    quoted = (ROOT / "tests/kernels/one_race.py").read_text(encoding="utf-8")
    assert f"```python\n{quoted}```\n" in page
    assert len(quoted.splitlines()) <= 60


#: Runs the blocks of every page, each page in a namespace of its own, and tells what they printed.
RUNNER = """
import contextlib, io, json, sys
printed = {}
for page, code in json.load(sys.stdin).items():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, {"__name__": page})
    printed[page] = out.getvalue()
json.dump(printed, sys.stdout)
"""


def test_blocks_print_what_the_pages_say() -> None:
    """All blocks of a page in order; imports of all pages are paid for once."""
    texts = {page.stem: page.read_text(encoding="utf-8") for page in PAGES}
    code = {
        name: "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)) for name, text in texts.items()
    }
    said = {name: "".join(re.findall(r"```text\n(.*?)```", text, re.DOTALL)) for name, text in texts.items()}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        input=json.dumps(code),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == said
    assert all(said[name] for name, block in code.items() if block)


def test_the_code_names_pages_that_there_are() -> None:
    named = {
        name
        for path in (ROOT / "tradeoff").rglob("*.py")
        for name in re.findall(r"docs/theory/[\w-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert named == {f"docs/theory/{page.name}" for page in PAGES if page.stem != "index"}


@every_page
def test_mathematics_survives_markdown(page: Path) -> None:
    """What GitHub or MkDocs would take for markup: a backslash before punctuation, <, and | in a table."""
    text = prose(page)
    assert text.count("$$") % 2 == 0
    for block, inline in MATHEMATICS.findall(text):
        formula = block or inline
        assert re.search(r"\\[^A-Za-z ]|[<>*]", formula) is None, formula
        assert formula.count("{") == formula.count("}"), formula
        # A line that begins like one of a list, a quotation or a heading is taken for it.
        assert re.search(r"^\s*([-+*>#]|\d+[.)])\s", block, re.MULTILINE) is None, formula
    for line in text.splitlines():
        if line.startswith("|"):
            assert all("|" not in formula for _, formula in MATHEMATICS.findall(line)), line
    for _, inline in MATHEMATICS.findall(text):
        assert inline == inline.strip()


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", prose(page)):
        path = (page.parent / target) if target else page
        assert path.is_file(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}
            assert anchor in slugs, (target, anchor)
