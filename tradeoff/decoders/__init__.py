"""Watermark decoders S(P, zeta): one file per scheme, one protocol for all."""

from tradeoff.decoders.base import BaseDecoder, Decoder, DegenerateDecoder, is_degenerate, shares_randomness
from tradeoff.decoders.completed import Completed
from tradeoff.decoders.gumbel import GumbelMax
from tradeoff.decoders.heavywater import heavy_water
from tradeoff.decoders.identity import Identity
from tradeoff.decoders.names import decoder_name, parse_decoder, register_watermark, watermarks
from tradeoff.decoders.simplexwater import SimplexScores, simplex_water
from tradeoff.decoders.synthid import BitsDecoder, SynthID, TournamentBits
from tradeoff.decoders.transport import SideInformation, Transport, TransportWarning

__all__ = [
    "BaseDecoder",
    "BitsDecoder",
    "Completed",
    "Decoder",
    "DegenerateDecoder",
    "GumbelMax",
    "Identity",
    "SideInformation",
    "SimplexScores",
    "SynthID",
    "TournamentBits",
    "Transport",
    "TransportWarning",
    "decoder_name",
    "heavy_water",
    "is_degenerate",
    "parse_decoder",
    "register_watermark",
    "shares_randomness",
    "simplex_water",
    "watermarks",
]
