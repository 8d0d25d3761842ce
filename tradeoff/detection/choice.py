"""The detector that needs nothing but a key, for every method."""

from __future__ import annotations

from tradeoff.decoders import Completed, Decoder, GumbelMax, SynthID, Transport
from tradeoff.decoders.names import WATERMARKS
from tradeoff.detection.bets import Bets, RaceBets, TournamentBets, TwoKeyBets
from tradeoff.detection.detector import Detector
from tradeoff.detection.gumbel import Aaronson, SumOfKeys
from tradeoff.detection.synthid import WeightedMeanBits, scored_rounds
from tradeoff.detection.transport import CompletedSum, RankRatio, SimplexSum
from tradeoff.detection.transport_bets import CompletedBets, TransportBets
from tradeoff.kernels import Method
from tradeoff.prf import Stream
from tradeoff.scores import Scores, SimplexScores
from tradeoff.transport import Exact

__all__ = ["default_bets", "default_detector"]

#: After so many rounds most tournaments have settled.
_MANY_ROUNDS = 10


def default_detector(method: Method) -> Detector:
    """The untrained detector of a method's text: no fitting, no coin, an exact null law.

    Args:
        method: as generation used it; its decoder and the streams that drew tokens decide.

    Returns:
        Aaronson's test (Gumbel-max, one stream), the sum of both keys (Gumbel-max, two streams), weighted
        tournament bits (SynthID), the sum of scores (SimplexWater), the likelihood ratio of ranks
        (HeavyWater), or the own statistic and that of the race (completed watermarks). The solver of a
        transport matters to the last alone, and head and tilt to none.

    Raises:
        ValueError: for a method without a watermark, or a decoder that no such detector reads.
    """
    streams, decoder = _streams(method), method.decoder
    if isinstance(decoder, GumbelMax):
        return Aaronson(streams[0]) if len(streams) == 1 else SumOfKeys()
    if isinstance(decoder, SynthID):
        return WeightedMeanBits(scored_rounds(decoder), streams)
    if isinstance(decoder, Completed):
        silent = 0.95 if _leaves_little(decoder.decoder) else 0.7
        return CompletedSum(_read_by(decoder.decoder), streams, silent)
    if isinstance(decoder, Transport):
        if isinstance(decoder.scores, SimplexScores):
            return SimplexSum(decoder.scores, streams)
        return RankRatio(decoder.scores, streams)
    raise ValueError(f"decoder={decoder.name!r} has no untrained detector; use {WATERMARKS}")


def default_bets(method: Method) -> Bets:
    """The bets of sequential detection of a method's text (`tradeoff.detection.sequential`).

    Args:
        method: as generation used it; its decoder, the streams that drew tokens and the coin decide.

    Raises:
        ValueError: as `default_detector`.
    """
    streams, decoder = _streams(method), method.decoder
    coin = len(streams) > 1 and method.detection.coin == "keyed"
    if isinstance(decoder, Completed):
        race = 0.1 if _leaves_little(decoder.decoder) else 0.5
        return CompletedBets(_read_by(decoder.decoder), streams, coin, race)
    if isinstance(decoder, Transport):
        return TransportBets(decoder.scores, streams, coin)
    if not isinstance(decoder, GumbelMax | SynthID):
        raise ValueError(f"decoder={decoder.name!r} has no bets; use {WATERMARKS}")
    rounds = scored_rounds(decoder) if isinstance(decoder, SynthID) else None
    if len(streams) > 1:
        return TwoKeyBets(coin, rounds)
    return RaceBets(streams[0]) if rounds is None else TournamentBets(rounds, streams[0])


def _read_by(decoder: Decoder) -> Scores | int:
    """What a detector must know of a completed decoder."""
    if isinstance(decoder, SynthID):
        return scored_rounds(decoder)
    if isinstance(decoder, Transport):
        return decoder.scores
    raise ValueError(f"decoder={decoder.name!r}, completed, has no untrained detector; use {WATERMARKS}")


def _leaves_little(decoder: Decoder) -> bool:
    """Whether next to nothing is left to the race of a completed decoder, for nearly all tokens."""
    if isinstance(decoder, SynthID):
        return decoder.rounds >= _MANY_ROUNDS
    return isinstance(decoder, Transport) and isinstance(decoder.solver, Exact)


def _streams(method: Method) -> tuple[Stream, ...]:
    """Those that drew tokens, in their order."""
    streams = tuple(stream for stream in Stream if stream in method.detection.streams)
    if not streams or method.decoder.randomness == "none":
        raise ValueError(
            f"method={method.name!r} with {method.decoder.name} leaves no watermark to detect; name the "
            "method and the watermark to look for, such as one-race and gumbel"
        )
    return streams
