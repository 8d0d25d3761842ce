"""Watermark decoders S(P, zeta): one file per scheme, one protocol for all."""

from tradeoff.decoders.base import (
    BaseDecoder,
    Decoder,
    DegenerateDecoder,
    FiniteDecoder,
    PosteriorDecoder,
    draw_antithetic,
    has_posterior,
    is_degenerate,
    shares_randomness,
)
from tradeoff.decoders.completed import Completed, Completion
from tradeoff.decoders.gumbel import GumbelMax, one_hot
from tradeoff.decoders.heavywater import heavy_water
from tradeoff.decoders.identity import Identity
from tradeoff.decoders.kgw import KGW
from tradeoff.decoders.names import decoder_name, parse_decoder, register_watermark, watermarks
from tradeoff.decoders.race_moments import scaled_score_moments, scaled_score_slopes, sum_score_moments
from tradeoff.decoders.races import race_coupling, race_diagonal, race_potential
from tradeoff.decoders.reweights.delta_reweight import DeltaReweight
from tradeoff.decoders.reweights.dipmark import DiPmark, reweighted
from tradeoff.decoders.reweights.inverse_transform import InverseTransform, PermutedPosition
from tradeoff.decoders.reweights.unigram import Unigram
from tradeoff.decoders.simplexwater import SimplexScores, simplex_water
from tradeoff.decoders.sources import GreenLists, Source, TrueSource
from tradeoff.decoders.synthid import SETTLED, BitsDecoder, SynthID, TournamentBits
from tradeoff.decoders.transport import SideInformation, Transport, TransportWarning, tilted

__all__ = [
    "KGW",
    "SETTLED",
    "BaseDecoder",
    "BitsDecoder",
    "Completed",
    "Completion",
    "Decoder",
    "DegenerateDecoder",
    "DeltaReweight",
    "DiPmark",
    "FiniteDecoder",
    "GreenLists",
    "GumbelMax",
    "Identity",
    "InverseTransform",
    "PermutedPosition",
    "PosteriorDecoder",
    "SideInformation",
    "SimplexScores",
    "Source",
    "SynthID",
    "TournamentBits",
    "Transport",
    "TransportWarning",
    "TrueSource",
    "Unigram",
    "decoder_name",
    "draw_antithetic",
    "has_posterior",
    "heavy_water",
    "is_degenerate",
    "one_hot",
    "parse_decoder",
    "race_coupling",
    "race_diagonal",
    "race_potential",
    "register_watermark",
    "reweighted",
    "scaled_score_moments",
    "scaled_score_slopes",
    "shares_randomness",
    "simplex_water",
    "sum_score_moments",
    "tilted",
    "watermarks",
]
