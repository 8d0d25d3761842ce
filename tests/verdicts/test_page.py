"""Evidence pages: words of others as words, whole or not at all, errors that name the page and the remedy."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from tests.helpers.pages import HOSTILE, SHOWN, read_page
from tradeoff.display.html import environment, parts
from tradeoff.errors import FileError
from tradeoff.verdicts.page import EvidencePage
from tradeoff.verdicts.views import SHADES, Shown

TOKENS = [Shown(" word", 1, "score 1.00")]


class Full:
    """A stream on a full disk."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, _: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def write(path: Path, name: str) -> None:
    with EvidencePage(path) as page:
        page.add(name, "watermarked", {"tokens": 1}, TOKENS)


def test_words_of_others_are_words(tmp_path: Path) -> None:
    """Wherever they stand: the name of a text, its verdict, facts, tokens and what these say."""
    path = tmp_path / "page.html"
    with EvidencePage(path) as page:
        page.add(HOSTILE, HOSTILE, {HOSTILE: HOSTILE, "two": 2}, [Shown(HOSTILE, 4, HOSTILE)])
    read = read_page(path)
    # A name for every shade, and the token.
    assert read.tags[read.tags.index("body") :] == (
        ["body", "h1", "p", "p", *["span"] * len(SHADES), "section", "h2", "p", "p", "span"]
    )
    assert f"{SHOWN}: {SHOWN}" in read.words
    assert f"{SHOWN} {SHOWN} · two 2" in read.words
    assert SHOWN in read.words
    assert read.attributes["title"] == [SHOWN]


def test_a_text_is_its_tokens(tmp_path: Path) -> None:
    """With their blanks and line ends, and none of the page's."""
    words = ["Two", "  words", " ", "\n\n", "\t", " <b> &", "", "."]
    path = tmp_path / "page.html"
    with EvidencePage(path) as page:
        page.add("name", "watermarked", {}, [Shown(word, None, "not scored") for word in words])
    read = read_page(path)
    start = read.words.index("name: watermarked")
    assert "".join(read.words[start + 1 :]).strip("\n") == "".join(words)
    assert read.attributes["title"] == ["not scored"] * len(words)


def test_every_shade_has_a_style(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with EvidencePage(path) as page:
        page.add("name", "watermarked", {}, [Shown("word", shade, "") for shade in SHADES])
    read = read_page(path)
    marks = {mark for mark in read.attributes["class"] if mark not in ("legend", "about", "text")}
    (style,) = (word for word in read.words if ":root" in word)
    assert len(marks) == len(SHADES)
    assert all(f"\n.{mark} {{" in style for mark in marks)


@pytest.mark.parametrize(
    ("block", "names"), [("begin", {"legend"}), ("text", {"name", "verdict", "facts", "tokens"})]
)
def test_a_page_lacks_nothing_silently(block: str, names: set[str]) -> None:
    template = environment("tradeoff").get_template("evidence.html")
    given: dict[str, Any] = dict.fromkeys(names, "") | {"facts": {}}
    for name in names:
        with pytest.raises(UndefinedError, match=f"'{name}' is undefined"):
            list(parts(template, block, **{key: value for key, value in given.items() if key != name}))


def test_a_page_appears_when_it_is_whole(tmp_path: Path) -> None:
    """And its folder with it. What cannot be encoded is an escape."""
    path = tmp_path / "new" / "page.html"
    with EvidencePage(path) as page:
        page.add("a \ud800 b", "watermarked", {}, TOKENS)
        assert not path.exists()
    content = path.read_text(encoding="utf-8")
    assert r"<h2>a \ud800 b: watermarked</h2>" in content
    assert content.endswith("</html>\n")
    assert list(path.parent.iterdir()) == [path]


def test_two_pages_at_once_do_not_meet(tmp_path: Path) -> None:
    """Also of one process, at one path: the last that ends stays."""
    path = tmp_path / "page.html"
    with EvidencePage(path) as page:
        page.add("first", "watermarked", {}, TOKENS)
        write(path, "second")
        assert "second" in path.read_text(encoding="utf-8")
    content = path.read_text(encoding="utf-8")
    assert "first" in content
    assert "second" not in content
    assert content.endswith("</html>\n")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("when", ["text", "end"])
def test_a_full_disk_is_named(tmp_path: Path, when: str) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")

    def fill() -> None:
        with EvidencePage(path) as page:
            page._stream = Full(page._stream)
            if when == "text":
                page.add("name", "watermarked", {}, TOKENS)

    with pytest.raises(FileError, match=rf"page\.html cannot be written: the disk of {tmp_path} is full"):
        fill()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path, "is a folder; name a file in it"),
        (Path("/dev/null"), "is no file that can be written anew; name another one"),
        (tmp_path / "file" / "page.html", r"page\.html cannot be written \(.*\); choose another place"),
    ):
        with pytest.raises(FileError, match=why):
            EvidencePage(path)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
