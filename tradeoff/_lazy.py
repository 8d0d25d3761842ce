"""Faces whose names are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["lazy"]


def lazy(
    package: str, homes: Mapping[str, Sequence[str]], rooms: Sequence[str] = (), others: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: its name.
        homes: for every module of `tradeoff`, by its name within that, the names that are found there.
        rooms: packages and modules inside that are names themselves.
        others: names that it has anyway.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    known = sorted({*home_of, *rooms, *others})

    def find(name: str) -> Any:
        if name in rooms:
            return import_module(f"{package}.{name}")
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(known)}")
        return getattr(import_module(f"tradeoff.{home_of[name]}"), name)

    return find, lambda: known, known
