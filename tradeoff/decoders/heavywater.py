"""HeavyWater: the watermark by transport under random scores with a heavy tail (Tsur et al.)."""

from __future__ import annotations

from typing import Any

from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.transport import SETTINGS, Transport, transport_of
from tradeoff.optimal_transport import RandomScores

__all__ = ["heavy_water"]

_USUAL = RandomScores()


def heavy_water(law: str = "lognormal", k: int = 1024, **settings: Any) -> Transport:
    """HeavyWater with scores of a law with a heavy tail; `settings` as of `Transport`."""
    return Transport(RandomScores(law, k), **settings)


@register_watermark(
    "heavywater",
    "heavywater[:LAW[,SETTINGS]] (lognormal, gamma; k, head, sinkhorn, tilt, as heavywater:gamma,k=256)",
    "heavywater:lognormal",
)
def _read(argument: str) -> Transport:
    law, *settings = argument.split(",")
    return transport_of(
        "heavywater",
        settings,
        lambda told: RandomScores(law or _USUAL.law, int(told.get("k", _USUAL.k))),
        {"k": (int, "1024")} | SETTINGS,
    )
