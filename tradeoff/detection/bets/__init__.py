"""Bets, token by token, that may be stopped at will: e-values. `tradeoff.detection` has what is public."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.detection.bets.gumbel import PROBABILITIES, RaceBets, race_log_bets
    from tradeoff.detection.bets.stream_bets import (
        Bets,
        StreamBets,
        either_key,
        keeping_prior,
        with_keeping,
    )
    from tradeoff.detection.bets.synthid import TournamentBets, tournament_log_bets
    from tradeoff.detection.bets.tilts import ScoreBets

__all__ = [
    "PROBABILITIES",
    "Bets",
    "RaceBets",
    "ScoreBets",
    "StreamBets",
    "TournamentBets",
    "either_key",
    "keeping_prior",
    "race_log_bets",
    "tournament_log_bets",
    "with_keeping",
]

_HOMES = {
    "detection.bets.gumbel": ("PROBABILITIES", "RaceBets", "race_log_bets"),
    "detection.bets.stream_bets": ("Bets", "StreamBets", "either_key", "keeping_prior", "with_keeping"),
    "detection.bets.synthid": ("TournamentBets", "tournament_log_bets"),
    "detection.bets.tilts": ("ScoreBets",),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
