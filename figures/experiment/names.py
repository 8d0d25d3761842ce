"""Watermarks as pictures name them, as tables do, and how many series one panel has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["in_parts", "watermark_name"]

_Item = TypeVar("_Item")
#: Series of one panel, at most.
_SERIES = 5
_WATERMARKS = {
    "gumbel": "Gumbel-max",
    "synthid": "SynthID, m =",
    "simplexwater": "SimplexWater, r =",
    "none": "no watermark",
}
_SETTINGS = {"lognormal": "log-normal", "sinkhorn=0.05": "by Sinkhorn", "inf": "∞"}


def watermark_name(name: str) -> str:
    """ "heavywater:gamma" -> "HeavyWater, gamma"; "synthid:inf" -> "SynthID, m = ∞".

    Methods are called by their options.
    """
    if name.startswith("completed:"):
        return f"{watermark_name(name.removeprefix('completed:'))}, completed"
    kind, _, rest = name.partition(":")
    settings = ", ".join(_SETTINGS.get(part, part.replace("=", " = ")) for part in rest.split(","))
    if kind == "heavywater":
        return f"HeavyWater, {settings or 'log-normal'}"
    return f"{_WATERMARKS.get(kind, kind)} {settings}".strip()


def in_parts(series: Sequence[_Item]) -> list[Sequence[_Item]]:
    """Series for panels of about one size, at most five in each."""
    parts = -(-len(series) // _SERIES)
    size = -(-len(series) // max(parts, 1))
    return [series[start : start + size] for start in range(0, len(series), max(size, 1))]
