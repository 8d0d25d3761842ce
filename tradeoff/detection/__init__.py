"""Detection: from token ids and a key to a verdict, with error rates one can rely on."""

from tradeoff.detection.bets import RaceBets, StreamBets, TournamentBets
from tradeoff.detection.choice import (
    bets_of,
    default_bets,
    default_detector,
    detector_of,
    register_detector,
)
from tradeoff.detection.completed import CompletedSum
from tradeoff.detection.completed_bets import CompletedBets
from tradeoff.detection.detector import Detector, Exactness, Readings, Score, detect
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.gumbel import (
    Aaronson,
    ArsPrior,
    ArsTau,
    LikelihoodRatio,
    Oracle,
    RacePrior,
    SumOfKeys,
    fit_tau,
)
from tradeoff.detection.lattice import LatticeDetector
from tradeoff.detection.sequential import Sequential
from tradeoff.detection.simplex_water import SimplexSum
from tradeoff.detection.simplex_water_bets import SimplexBets
from tradeoff.detection.synthid import MeanBits, WeightedMeanBits
from tradeoff.detection.transport import RankRatio
from tradeoff.detection.transport_bets import TransportBets

__all__ = [
    "Aaronson",
    "ArsPrior",
    "ArsTau",
    "CompletedBets",
    "CompletedSum",
    "Detector",
    "Evidence",
    "Exactness",
    "LatticeDetector",
    "LikelihoodRatio",
    "MeanBits",
    "Oracle",
    "RaceBets",
    "RacePrior",
    "RankRatio",
    "Readings",
    "Score",
    "Sequential",
    "SimplexBets",
    "SimplexSum",
    "StreamBets",
    "SumOfKeys",
    "TournamentBets",
    "TransportBets",
    "WeightedMeanBits",
    "bets_of",
    "default_bets",
    "default_detector",
    "detect",
    "detector_of",
    "fit_tau",
    "register_detector",
]
