"""Methods and watermarks as pictures name them."""

from __future__ import annotations

__all__ = ["method_name", "watermark_name"]

_METHODS = {
    "algorithm-1": "Algorithm 1",
    "basic": "no speculation",
    "one-race-tree": "one-race tree",
    "joint-race-tree": "joint-race tree",
}
_WATERMARKS = {
    "gumbel": "Gumbel-max",
    "synthid": "SynthID m =",
    "simplexwater": "SimplexWater r =",
    "heavywater": "HeavyWater",
}


def method_name(name: str) -> str:
    """ "one-race" -> "one race"."""
    return _METHODS.get(name, name.replace("-", " "))


def watermark_name(name: str) -> str:
    """ "heavywater:gamma" -> "HeavyWater gamma"; "synthid:inf" -> "SynthID m = ∞"."""
    if name.startswith("completed:"):
        return f"{watermark_name(name.removeprefix('completed:'))}, completed"
    kind, _, rest = name.partition(":")
    settings = rest.replace(",", ", ").replace("=", " ").replace("inf", "∞")
    return f"{_WATERMARKS.get(kind, kind)} {settings}".strip()
