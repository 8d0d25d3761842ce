"""HTML pages as a browser would read them."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

__all__ = ["HOSTILE", "SHOWN", "Page", "read_page"]

#: What would end an attribute, an element or a comment, be read as markup, hide or be obeyed.
_MARKUP = "x\"'--></title></style></p><script>alert(1)</script>&lt;{{ 7 * 7 }}"
HOSTILE = _MARKUP + "\x00\x1b[2J\u202e\u200b\ud800"
#: It as a page shows it.
SHOWN = _MARKUP + r"\u0000\u001b[2J\u202e\u200b\ud800"


class Page(HTMLParser):
    """Names of elements and words between them, both in order, and the values of attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.attributes: dict[str, list[str | None]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page
