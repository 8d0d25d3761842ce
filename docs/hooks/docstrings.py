"""Docstrings as they are written here, in the words of Griffe's parser.

- Comments `#: ...` above a constant are its documentation, as for Sphinx; Griffe reads strings alone.
- Parameters and attributes that share a line (`p, q: laws`) are as many entries of the same words.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from griffe import Attribute, Class, Docstring, Extension, Function, ObjectNode

_JOINT = re.compile(r"^ {4}((?:\*{0,2}\w+, )+\*{0,2}\w+): (.*(?:\n(?: {8}.*|(?=\n {8})))*)", re.MULTILINE)


def _apart(found: re.Match[str]) -> str:
    return "\n".join(f"    {name}: {found[2]}" for name in found[1].split(", "))


class Docstrings(Extension):
    """See the module."""

    def on_attribute_instance(self, *, node: ast.AST | ObjectNode, attr: Attribute, **_: Any) -> None:
        """Read comments upwards from the line of the attribute."""
        if attr.docstring is not None or attr.lineno is None:
            return
        lines = attr.lines_collection[attr.filepath]
        said: list[str] = []
        for line in reversed(lines[: attr.lineno - 1]):
            words = line.strip()
            if not words.startswith("#:"):
                break
            said.insert(0, words.removeprefix("#:").strip())
        if said:
            attr.docstring = Docstring("\n".join(said), lineno=attr.lineno - len(said), parent=attr)

    def on_function_instance(self, *, func: Function, **_: Any) -> None:
        """Tell parameters apart."""
        if func.docstring is not None:
            func.docstring.value = _JOINT.sub(_apart, func.docstring.value)

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Tell parameters and attributes apart."""
        if cls.docstring is not None:
            cls.docstring.value = _JOINT.sub(_apart, cls.docstring.value)
