"""Verdicts and the evidence of every token as one HTML page, without scripts or anything to be fetched."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tradeoff.detection.views import RARITIES, Shown, shade_name
from tradeoff.errors import FileError
from tradeoff.files import refusing, replacing
from tradeoff.visible import visible

__all__ = ["EvidencePage"]

#: How much of the one hue (Okabe and Ito's blue) each shade carries: ink keeps a contrast of at least 4.5
#: on all of them, in light and in dark.
_DEPTHS = (0.0, 0.12, 0.25, 0.42, 0.6)
_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --faint: #6b6b6b; --hue: 0 114 178; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f2f2f2; --paper: #16181c; --faint: #9a9a9a; }
}
body { color: var(--ink); background: var(--paper); font: 16px/1.7 system-ui, sans-serif; margin: 2rem auto;
  max-width: 60rem; padding: 0 1rem; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 0; overflow-wrap: anywhere; }
.about { color: var(--faint); margin: 0 0 0.5rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.text span, .legend span { border-radius: 2px; }
.legend span { padding: 0 0.4em; margin: 0 0.8em 0.3em 0; display: inline-block; }
.u { color: var(--faint); }
"""
_STYLE += "".join(f".s{k} {{ background: rgb(var(--hue) / {depth}); }}\n" for k, depth in enumerate(_DEPTHS))
# The rarest ones are marked by more than a shade.
_STYLE += f".s{len(RARITIES)} {{ font-weight: 600; text-decoration: underline; }}\n"


class EvidencePage:
    """A page that is written text by text; use it as a context manager. It is there only when it is whole.

    Args:
        path: the file to write.

    Raises:
        FileError: if it cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        with ExitStack() as stack:
            with refusing(path):
                if path.is_dir():
                    raise FileError(
                        f"{path} is a folder; name a file in it, such as {path / 'evidence.html'}"
                    )
                path.resolve().parent.mkdir(parents=True, exist_ok=True)
            temporary = stack.enter_context(replacing(path))
            # Surrogates cannot be encoded; nothing else is refused.
            self._stream = stack.enter_context(
                temporary.open("w", encoding="utf-8", errors="replace", newline="\n")
            )
            stack.push(self._end)
            self._begin()
            self._stack = stack.pop_all()

    def __enter__(self) -> EvidencePage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, name: str, verdict: str, facts: Mapping[str, object], tokens: Iterable[Shown]) -> None:
        """One text: its name and verdict, facts below them, and its tokens.

        Raises:
            FileError: if the file cannot be written.
        """
        about = " · ".join(f"{key} {value}" for key, value in facts.items())
        self._write(
            f"<section>\n<h2>{_escaped(name)}: {_escaped(verdict)}</h2>\n"
            f'<p class="about">{_escaped(about)}</p>\n<p class="text">'
        )
        for word, shade, note in tokens:
            # Shade and line belong to the word: its blank may hang over the end of a line.
            bare = word.lstrip(" ") or word
            blank = word[: len(word) - len(bare)]
            self._write(f'{blank}<span{_class(shade)} title="{_escaped(note)}">{_escaped(bare)}</span>')
        self._write("</p>\n</section>\n")

    def _begin(self) -> None:
        legend = "".join(f"<span{_class(k)}>{shade_name(k)}</span>" for k in (None, *range(len(_DEPTHS))))
        self._write(
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>Watermark evidence</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            "<h1>Watermark evidence</h1>\n<p>The bluer a token, the rarer its score without a watermark. "
            "Point at one for its numbers. Tokens too near the start of a text, or whose context occurred in "
            "it before, are not scored. A dot is a token that holds a part of the character after it.</p>\n"
            f'<p class="legend">{legend}</p>\n'
        )

    def _end(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write("</body>\n</html>\n")

    def _write(self, markup: str) -> None:
        with refusing(self.path):
            self._stream.write(markup)


def _class(shade: int | None) -> str:
    return ' class="u"' if shade is None else f' class="s{shade}"'


def _escaped(text: str) -> str:
    return html.escape(visible(text, keep="\n\t"), quote=True)
