"""Text that people wrote and that repeats itself: prose, code, lists and tables; nothing is downloaded."""

from __future__ import annotations

import ast
import builtins
import errno
import html.entities
import http
import keyword
import mimetypes
import opcode
import sysconfig
import token
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from encodings.aliases import aliases
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tradeoff.texts import human_paragraphs, prose_of

__all__ = ["KINDS", "human_texts"]

#: What texts are of.
KINDS = ("prose", "code", "lists and tables")
#: Words of the shortest paragraph.
_WORDS = 20
_NOT_READ = {"site-packages", "test", "tests", "lib2to3", "idlelib"}
#: Letters of a text, which are more than its tokens take.
_LETTERS = 8_000
#: Rows of a table.
_ROWS = 250
_Item = TypeVar("_Item")


def human_texts(kind: str, tokenizer: Any, count: int, tokens: int) -> list[np.ndarray]:
    """The first texts of a kind, [tokens] int64 each; the same on one version of Python and NumPy.

    Args:
        kind: one of KINDS. Prose is paragraphs of the manual of Python and of docstrings of NumPy, code the
            middles of modules of the standard library, lists and tables data of the standard library, each
            written as a list, as a table of Markdown, and as comma-separated values.
        tokenizer: of the built-in model.
        count: how many, fewer if there are not so many.
        tokens: of each.
    """
    if kind == "prose":
        ids = np.array(tokenizer("\n\n".join(_paragraphs()))["input_ids"], dtype=np.int64)
        starts = _mixed(range(0, len(ids) - tokens + 1, tokens))
        return [ids[start : start + tokens] for start in starts[:count]]
    documents = _mixed(_middles()) if kind == "code" else _tables()
    found: list[np.ndarray] = []
    for document in documents:
        ids = np.array(tokenizer(document, add_special_tokens=False)["input_ids"], dtype=np.int64)
        if len(ids) >= tokens:
            found.append(ids[:tokens])
        if len(found) == count:
            break
    return found


def _mixed(items: Iterable[_Item]) -> list[_Item]:
    """In a random order, always the same."""
    held = list(items)
    return [held[k] for k in np.random.default_rng(0).permutation(len(held))]


def _paragraphs() -> list[str]:
    docstrings = _docstrings(Path(np.__file__).parent)
    return list(dict.fromkeys([*human_paragraphs(_WORDS), *prose_of(docstrings, _WORDS)]))


def _modules(folder: Path) -> Iterator[str]:
    """Sources under a folder, in order."""
    for path in sorted(folder.rglob("*.py")):
        if _NOT_READ.isdisjoint(path.relative_to(folder).parts):
            try:
                yield path.read_text(encoding="utf-8")
            except ValueError:
                continue


def _docstrings(folder: Path) -> Iterator[str]:
    for source in _modules(folder):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node) or ""


def _middles() -> Iterator[str]:
    """The middles of modules that are long enough to have one, from a line's beginning."""
    for source in _modules(Path(sysconfig.get_path("stdlib"))):
        if len(source) > 2 * _LETTERS:
            middle = source.find("\n", len(source) // 2) + 1
            yield source[middle : middle + _LETTERS]


def _tables() -> Iterator[str]:
    """Every list of `_data` as a list, as a table of Markdown, and as comma-separated values."""
    for head, rows in _data():
        lines = [tuple(map(str, row)) for row in rows[:_ROWS]]
        yield "\n".join(f"- {row[0]}: {', '.join(row[1:])}" for row in lines)
        rule = tuple("---" for _ in head)
        yield "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *lines))
        yield "\n".join(",".join(row) for row in (head, *lines))


def _data() -> list[tuple[tuple[str, ...], Sequence[tuple[object, ...]]]]:
    """Lists that the standard library holds: (names of columns, rows)."""
    letters = [chr(code) for code in range(0x21, 0x17F) if unicodedata.name(chr(code), "")]
    arrows = [chr(code) for code in range(0x2190, 0x2300) if unicodedata.name(chr(code), "")]
    return [
        (("number", "name"), sorted(errno.errorcode.items())),
        (("entity", "code"), sorted(html.entities.name2codepoint.items())),
        (("suffix", "type"), sorted(mimetypes.MimeTypes().types_map[True].items())),
        (("status", "name", "phrase"), [(int(one), one.name, one.phrase) for one in http.HTTPStatus]),
        (("alias", "encoding"), sorted(aliases.items())),
        (("operation", "number"), sorted(opcode.opmap.items())),
        (("token", "number"), sorted(token.EXACT_TOKEN_TYPES.items())),
        (
            ("character", "name", "category"),
            [(c, unicodedata.name(c), unicodedata.category(c)) for c in letters],
        ),
        (
            ("code", "name", "category"),
            [(f"U+{ord(c):04X}", unicodedata.name(c), unicodedata.category(c)) for c in arrows],
        ),
        (
            ("word", "kind"),
            [
                *((word, "keyword") for word in keyword.kwlist),
                *((word, "soft keyword") for word in keyword.softkwlist),
                *((word, "built-in") for word in sorted(vars(builtins))),
            ],
        ),
    ]
