"""Watermark decoders S(P, zeta): one file per scheme, one protocol for all."""

from tradeoff.decoders.base import Decoder, DegenerateDecoder, is_degenerate, shares_randomness
from tradeoff.decoders.completed import Completed
from tradeoff.decoders.gumbel import GumbelMax
from tradeoff.decoders.identity import Identity
from tradeoff.decoders.names import WATERMARKS, decoder_name, parse_decoder
from tradeoff.decoders.synthid import SynthID
from tradeoff.decoders.transport import (
    SideInformation,
    Transport,
    TransportWarning,
    heavy_water,
    simplex_water,
)

__all__ = [
    "WATERMARKS",
    "Completed",
    "Decoder",
    "DegenerateDecoder",
    "GumbelMax",
    "Identity",
    "SideInformation",
    "SynthID",
    "Transport",
    "TransportWarning",
    "decoder_name",
    "heavy_water",
    "is_degenerate",
    "parse_decoder",
    "shares_randomness",
    "simplex_water",
]
