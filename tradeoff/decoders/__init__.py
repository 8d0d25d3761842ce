"""Watermark decoders S(P, zeta): one file per scheme, one protocol for all."""

from tradeoff.decoders.base import Decoder, DegenerateDecoder, is_degenerate, shares_randomness
from tradeoff.decoders.gumbel import GumbelMax
from tradeoff.decoders.identity import Identity
from tradeoff.decoders.names import decoder_name, parse_decoder
from tradeoff.decoders.synthid import SynthID

__all__ = [
    "Decoder",
    "DegenerateDecoder",
    "GumbelMax",
    "Identity",
    "SynthID",
    "decoder_name",
    "is_degenerate",
    "parse_decoder",
    "shares_randomness",
]
