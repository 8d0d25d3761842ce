"""Check that a built site shows every public name: `python -m tests.documents.inventory SITE/objects.inv`."""

from __future__ import annotations

import inspect
import sys
import zlib
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from types import ModuleType

import tradeoff as td
from tests.house.test_rooms import MAY_IMPORT

__all__ = ["PUBLIC", "faces", "is_shown", "missing", "names"]

#: Shown by the face, and by `tradeoff --help`.
_ELSEWHERE = {"api", "cli"}
#: Rooms, and files beside them, that others may import from.
PUBLIC = sorted(room for room in MAY_IMPORT if not room.startswith("_") and room not in _ELSEWHERE)
#: Lines of an inventory before what is compressed.
_HEAD = 4


def faces() -> list[ModuleType]:
    """The package and its rooms."""
    return [td, *(import_module(f"tradeoff.{room}") for room in PUBLIC)]


def is_shown(value: object) -> bool:
    """Whether a face's page shows it: no room, which has a page of its own, and nothing of Matplotlib."""
    others = inspect.isclass(value) and value.__module__.startswith("matplotlib.")
    return not isinstance(value, ModuleType) and not others


def missing(found: Collection[str]) -> list[str]:
    """Public names that are not among those found."""
    public = [(face, name) for face in faces() for name in face.__all__ if is_shown(getattr(face, name))]
    return [full for face, name in public if (full := f"{face.__name__}.{name}") not in found]


def names(inventory: bytes) -> set[str]:
    """The names of an inventory of Sphinx's format, version 2."""
    packed = inventory.split(b"\n", _HEAD)[_HEAD]
    return {line.split()[0] for line in zlib.decompress(packed).decode().splitlines()}


if __name__ == "__main__":
    lacking = missing(names(Path(sys.argv[1]).read_bytes()))
    print("\n".join(f"the site lacks {name}" for name in lacking) or "the site shows every public name")
    sys.exit(1 if lacking else 0)
