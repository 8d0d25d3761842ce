"""Bets, token by token, that may be stopped at will: e-values. `tradeoff.detection` has all their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.detection.bets.gumbel import RaceBets
    from tradeoff.detection.bets.stream_bets import Bets, StreamBets
    from tradeoff.detection.bets.synthid import TournamentBets

__all__ = ["Bets", "RaceBets", "StreamBets", "TournamentBets"]

_HOMES = {
    "detection.bets.gumbel": ("RaceBets",),
    "detection.bets.stream_bets": ("Bets", "StreamBets"),
    "detection.bets.synthid": ("TournamentBets",),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
