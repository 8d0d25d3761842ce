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
def load_extensions() -> None:
    """Import what installed packages name, once.

    Raises:
        ImportError: for a module that cannot be imported, by name.
    """
    # Takes time that nobody needs who uses what is here.
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            raise ImportError(
                f"the extension {entry.name} ({entry.value}) cannot be loaded: {error}; repair it, or "
                "uninstall its package"
            ) from error
