"""The report: one HTML file with every table, picture and setting, and how to repeat it."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tradeoff.errors import FileError
from tradeoff.files import replacing
from tradeoff.visible import visible

__all__ = ["Section", "write_report"]

_STYLE = """
:root { color-scheme: light dark; --holds: #005a8e; --fails: #a84300; }
@media (prefers-color-scheme: dark) { :root { --holds: #56b4e9; --fails: #f0913a; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 3rem; }
li { margin: .3rem 0; }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0; display: block; overflow: auto;
  width: fit-content; max-width: 100%; max-height: 32rem; }
@media print { table { max-height: none; } }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #8886; text-align: right; white-space: nowrap; }
th { position: sticky; top: 0; background: Canvas; }
th:first-child, td:first-child, th.word, td.word { text-align: left; }
img { max-width: 100%; background: white; border: 1px solid #8884; margin: .5rem 0; }
code, pre { background: #8882; padding: .1rem .3rem; border-radius: 3px; }
pre { padding: .6rem; overflow-x: auto; }
.holds { color: var(--holds); font-weight: 600; } .fails { color: var(--fails); font-weight: 600; }
"""


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, tables and pictures under it, and the command that made them.

    Args:
        title: heading.
        paragraphs: plain text.
        tables: (caption, table) pairs.
        pictures: PNG files.
        command: how to repeat it.
        claims: (claim, whether it was seen, numbers).
    """

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[tuple[str, pd.DataFrame]] = ()
    pictures: Sequence[Path] = ()
    command: str = ""
    claims: Sequence[tuple[str, bool, str]] = field(default=())


def write_report(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the report; pictures are embedded, so the file stands alone.

    Raises:
        FileError: if a picture cannot be read or the file cannot be written.
    """
    parts = [
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{_escaped(title)}</title>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<style>{_STYLE}</style></head><body><h1>{_escaped(title)}</h1>",
    ]
    for section in sections:
        parts.append(f"<h2>{_escaped(section.title)}</h2>")
        parts += [f"<p>{_escaped(text)}</p>" for text in section.paragraphs]
        if section.claims:
            parts.append("<ul>")
            for claim, holds, detail in section.claims:
                verdict = "holds" if holds else "fails"
                word = "seen" if holds else "not seen"
                parts.append(
                    f"<li><span class='{verdict}'>{word}</span>: {_escaped(claim)} ({_escaped(detail)})</li>"
                )
            parts.append("</ul>")
        for caption, table in section.tables:
            shown = "<p>not part of this run</p>" if table.empty else _table(table)
            parts.append(f"<p><strong>{_escaped(caption)}</strong></p>{shown}")
        parts += [_picture(picture) for picture in section.pictures]
        if section.command:
            parts.append(f"<pre>{_escaped(section.command)}</pre>")
    parts.append("</body></html>")
    with replacing(path) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")


def _table(table: pd.DataFrame) -> str:
    words = [not pd.api.types.is_numeric_dtype(table[column]) for column in table.columns]

    def cell(tag: str, value: object, word: bool) -> str:
        shown = (
            "" if value is None or value != value else f"{value:.4g}" if isinstance(value, float) else value
        )
        return f"<{tag}{' class=word' if word else ''}>{_escaped(str(shown))}</{tag}>"

    head = "".join(cell("th", column, word) for column, word in zip(table.columns, words, strict=True))
    rows = (
        "".join(cell("td", value, word) for value, word in zip(row, words, strict=True))
        for row in table.itertuples(index=False)
    )
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _picture(path: Path) -> str:
    try:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error}); draw it again") from error
    return f"<img alt='{_escaped(path.stem)}' src='data:image/png;base64,{data}'>"


def _escaped(text: str) -> str:
    """Texts of models and names of presets are others' words."""
    return html.escape(visible(text, keep="\n\t"))
