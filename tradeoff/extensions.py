"""Watermarks, methods and detectors of other packages, found by their entry points.

A package that has some names a module in its pyproject.toml,

    [project.entry-points."tradeoff"]
    mine = "my_package.my_module"

whose import registers them (`register_watermark`, `register_method`, `register_detector`). It is imported
when a name is asked for that this package does not know.
"""

from __future__ import annotations

from functools import cache

__all__ = ["GROUP", "load_extensions"]

#: Of entry points.
GROUP = "tradeoff"


@cache
def load_extensions() -> str:
    """Import what installed packages name, once.

    Returns:
        For messages: which of them cannot be loaded and why, after a semicolon; "" if all can.
    """
    # Takes time that nobody needs who uses what is here.
    from importlib.metadata import entry_points

    failed = []
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            # What another package does when it is imported must not end a run in which nobody may need it.
            failed.append(f"; the extension {entry.name} ({entry.value}) cannot be loaded: {error!r}")
    return "".join(failed)
