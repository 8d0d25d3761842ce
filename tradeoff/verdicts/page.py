"""Verdicts and the evidence of every token as one HTML page, without scripts or anything to be fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tradeoff.display import environment, parts
from tradeoff.errors import FileError
from tradeoff.files import refusing, replacing
from tradeoff.verdicts.views import SHADES, Shown, shade_name

__all__ = ["EvidencePage"]


class EvidencePage:
    """A page that is written text by text; use it as a context manager. It is there only when it is whole.

    Args:
        path: the file to write.

    Raises:
        FileError: if it cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._template = environment("tradeoff").get_template("evidence.html")
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
            self._write("begin", legend=[(_mark(shade), shade_name(shade)) for shade in SHADES])
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
        self._write("text", name=name, verdict=verdict, facts=facts, tokens=_marked(tokens))

    def _end(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write("end")

    def _write(self, block: str, /, **values: object) -> None:
        for markup in parts(self._template, block, **values):
            with refusing(self.path):
                self._stream.write(markup)


def _marked(tokens: Iterable[Shown]) -> Iterator[tuple[str, str, str, str]]:
    """Of every token the blanks before its word, its class, what it says, and its word."""
    for word, shade, note in tokens:
        # Shade and line belong to the word: its blank may hang over the end of a line.
        bare = word.lstrip(" ") or word
        yield word[: len(word) - len(bare)], _mark(shade), note, bare


def _mark(shade: int | None) -> str:
    """The class of a shade in the style sheet."""
    return "u" if shade is None else f"s{shade}"
