"""Watermark decoders S(P, zeta): one file per scheme, one protocol for all."""

from tradeoff.decoders.base import Decoder, DegenerateDecoder, is_degenerate, shares_randomness
from tradeoff.decoders.gumbel import GumbelMax
from tradeoff.decoders.identity import Identity
from tradeoff.decoders.synthid import SynthID

__all__ = [
    "Decoder",
    "DegenerateDecoder",
    "GumbelMax",
    "Identity",
    "SynthID",
    "is_degenerate",
    "shares_randomness",
]
