"""The report: words of others as words, numbers to four digits, pictures inside."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError

from paper_repro.report.page import Section, write_report
from tests.helpers.pages import HOSTILE, SHOWN, read_page
from tradeoff.display.html import environment
from tradeoff.errors import FileError


def written(folder: Path, *sections: Section) -> list[str]:
    """The words below the report's title."""
    write_report(folder / "report.html", "title", sections)
    words = [word for word in read_page(folder / "report.html").words if word.strip()]
    return words[words.index("title", 1) + 1 :]


def test_words_of_others_are_words(tmp_path: Path) -> None:
    """Wherever they stand: titles, paragraphs, claims, captions, heads, cells, pictures, commands."""
    # A name of a file has no slash, no NUL and no half of a surrogate pair.
    name = HOSTILE.replace("/", "").replace("\x00", "")[:-1]
    picture = tmp_path / f"{name}.png"
    picture.write_bytes(b"picture")
    section = Section(
        HOSTILE,
        paragraphs=[HOSTILE],
        # As objects: Arrow's strings, which pandas takes where it is installed, have no half of a pair.
        tables=[
            (HOSTILE, pd.DataFrame([[HOSTILE]], columns=pd.Index([HOSTILE], dtype=object), dtype=object))
        ],
        pictures=[picture],
        command=HOSTILE,
        claims=[(HOSTILE, True, HOSTILE)],
    )
    write_report(tmp_path / "report.html", HOSTILE, [section])
    read = read_page(tmp_path / "report.html")
    assert " ".join(read.tags) == (
        "html head meta meta title style body h1 h2 p ul li span p strong table tr th tr td img pre"
    )
    # Both titles, heading, paragraph, caption, head, cell, command.
    assert read.words.count(SHOWN) == 8
    assert f": {SHOWN} ({SHOWN})" in read.words
    assert read.attributes["alt"] == [SHOWN.replace("/", "").replace(r"\u0000", "").removesuffix(r"\ud800")]
    assert read.attributes["src"] == ["data:image/png;base64," + base64.b64encode(b"picture").decode("ascii")]


def test_tables_and_claims(tmp_path: Path) -> None:
    """Floats to four digits, nothing where there is no value, and columns of words to the left."""
    table = pd.DataFrame({"test": ["sum", None], "power": [0.123456, np.nan], "texts": [12345, 2]})
    claims = [("more", np.bool_(True), "2 > 1"), ("less", False, "1 < 2")]
    words = written(tmp_path, Section("one", tables=[("a table", table)], claims=claims))
    said, shown = words[:6], words[6:]
    assert said == ["one", "seen", ": more (2 > 1)", "not seen", ": less (1 < 2)", "a table"]
    assert shown == ["test", "power", "texts", "sum", "0.1235", "12345", "2"]
    read = read_page(tmp_path / "report.html")
    assert read.attributes["class"] == ["holds", "fails", *["word"] * 3]
    assert read.tags.count("td") == 6


def test_what_is_not_there_is_said_or_left_out(tmp_path: Path) -> None:
    empty = Section("two", tables=[("a table", pd.DataFrame(columns=["a"]))])
    assert written(tmp_path, Section("one"), empty) == ["one", "two", "a table", "not part of this run"]
    assert not {"ul", "table", "img", "pre"} & set(read_page(tmp_path / "report.html").tags)


def test_a_report_without_its_pictures_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("before")
    with pytest.raises(FileError, match=r"lost\.png cannot be read \(.*\); draw it again"):
        written(tmp_path, Section("one", pictures=[tmp_path / "lost.png"]))
    assert (tmp_path / "report.html").read_text() == "before"


def test_a_report_lacks_nothing_silently() -> None:
    template = environment("paper_repro").get_template("report.html")
    section = Section("one", tables=[("", pd.DataFrame({"a": [1]}))], pictures=[Path("a.png")])
    given = {"title": "", "sections": [section], "rows": lambda table: [], "base64": str}
    assert template.render(given)
    for name in given:
        with pytest.raises(UndefinedError, match=f"'{name}' is undefined"):
            template.render({key: value for key, value in given.items() if key != name})
