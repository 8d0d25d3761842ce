"""The detector that needs nothing but a key, for every method."""

from __future__ import annotations

from tradeoff.decoders import GumbelMax, SynthID
from tradeoff.detection.bets import Bets, RaceBets, TournamentBets, TwoKeyBets
from tradeoff.detection.detector import Detector
from tradeoff.detection.gumbel import Aaronson, SumOfKeys
from tradeoff.detection.synthid import WeightedMeanBits, scored_rounds
from tradeoff.kernels import Method
from tradeoff.prf import Stream

__all__ = ["default_bets", "default_detector"]


def default_detector(method: Method) -> Detector:
    """The untrained detector of a method's text: no fitting, no coin, an exact null law.

    Args:
        method: as generation used it; its decoder and the streams that drew tokens decide.

    Returns:
        Aaronson's test (Gumbel-max, one stream), the sum of both keys (Gumbel-max, two streams) or weighted
        tournament bits (SynthID).

    Raises:
        ValueError: for a method without a watermark, or a decoder that no such detector reads.
    """
    streams, decoder = _streams(method), method.decoder
    if isinstance(decoder, GumbelMax):
        return Aaronson(streams[0]) if len(streams) == 1 else SumOfKeys()
    if isinstance(decoder, SynthID):
        return WeightedMeanBits(scored_rounds(decoder), streams)
    raise ValueError(f"decoder={decoder.name!r} has no untrained detector; use gumbel or synthid:M")


def default_bets(method: Method) -> Bets:
    """The bets of sequential detection of a method's text (`tradeoff.detection.sequential`).

    Args:
        method: as generation used it; its decoder, the streams that drew tokens and the coin decide.

    Raises:
        ValueError: as `default_detector`.
    """
    streams, decoder = _streams(method), method.decoder
    if not isinstance(decoder, GumbelMax | SynthID):
        raise ValueError(f"decoder={decoder.name!r} has no bets; use gumbel or synthid:M")
    rounds = scored_rounds(decoder) if isinstance(decoder, SynthID) else None
    if len(streams) > 1:
        return TwoKeyBets(method.detection.coin == "keyed", rounds)
    return RaceBets(streams[0]) if rounds is None else TournamentBets(rounds, streams[0])


def _streams(method: Method) -> tuple[Stream, ...]:
    """Those that drew tokens, in their order."""
    streams = tuple(stream for stream in Stream if stream in method.detection.streams)
    if not streams or method.decoder.randomness == "none":
        raise ValueError(
            f"method={method.name!r} with {method.decoder.name} leaves no watermark to detect; name the "
            "method and the watermark to look for, such as one-race and gumbel"
        )
    return streams
