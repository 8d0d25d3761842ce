"""Detection: from token ids and a key to a verdict, with error rates one can rely on."""

from tradeoff.detection.choice import default_detector
from tradeoff.detection.detector import Detector, Result, detect
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
from tradeoff.detection.synthid import MeanBits, WeightedMeanBits

__all__ = [
    "Aaronson",
    "ArsPrior",
    "ArsTau",
    "Detector",
    "Evidence",
    "LikelihoodRatio",
    "MeanBits",
    "Oracle",
    "RacePrior",
    "Result",
    "SumOfKeys",
    "WeightedMeanBits",
    "default_detector",
    "detect",
    "fit_tau",
]
