"""`docs/architecture.md` says of rooms what the tests demand of imports, and names what is there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house.test_rooms import MAY_IMPORT

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
TEXT = PAGE.read_text(encoding="utf-8")
_NAMES = re.compile(r"`([\w]+)`|\*(\w+)\*")


def expanded(words: str, groups: dict[str, set[str]]) -> set[str]:
    """Rooms in backticks, and those of groups in italics."""
    found: set[str] = set()
    for room, group in _NAMES.findall(words):
        found |= groups[group] if group else {room}
    return found


def test_the_table_of_rooms_is_the_rule() -> None:
    groups: dict[str, set[str]] = {}
    for name, words in re.findall(r"^- \*(\w+)\* is (.*)[;.]$", TEXT, re.MULTILINE):
        groups[name] = expanded(words, groups)
    assert list(groups) == ["ground", "watermarks", "methods", "schemes"]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)
    assert [room for room, *_ in rows] == list(MAY_IMPORT)
    for room, _, allowed in rows:
        assert (allowed == "nothing") == (not MAY_IMPORT[room]), room
        assert expanded(allowed, groups) == set(MAY_IMPORT[room]), room


def test_names_are_in_the_files_that_they_link_to() -> None:
    links = re.findall(r"\[`([\w.]+)`\]\((\.\./[\w/]+\.py)\)", TEXT)
    assert len(links) > 40
    for name, path in links:
        code = (PAGE.parent / path).read_text(encoding="utf-8")
        last = re.escape(name.split(".")[-1])
        defined = re.search(rf"^\s*(?:def|class) {last}\b|^{last}\b.* = ", code, re.MULTILINE)
        assert defined or name == Path(path).name, (name, path)
