"""The detectors of Gumbel-max, each as a case."""

from __future__ import annotations

import numpy as np
import pytest

from tradeoff.detection import (
    Aaronson,
    ArsPrior,
    ArsTau,
    Detector,
    LikelihoodRatio,
    Oracle,
    RacePrior,
    SumOfKeys,
    WeightedSumOfKeys,
)
from tradeoff.keyed.prf import Stream

#: Probabilities with which tokens win, as a model may give them.
PRIOR = RacePrior(np.array([0.02, 0.3, 0.9, 1.0]), np.array([0.1, 0.3, 0.3, 0.3]))

#: By the exactness of their null laws; the oracle alone is told which tokens were drafted.
EXACT: list[Detector] = [
    Aaronson(),
    Aaronson(Stream.DRAFT),
    SumOfKeys(),
    WeightedSumOfKeys(0.1),
    ArsTau(0.3),
    ArsPrior(0.6),
]
ORACLE: list[Detector] = [Oracle()]
RATIOS: list[Detector] = [
    LikelihoodRatio(PRIOR),
    LikelihoodRatio(PRIOR, None, 0.7),
    LikelihoodRatio(PRIOR, None, [0.9, 0.6, 0.1]),
]


def label(detector: Detector) -> str:
    """Its name, with what tells likelihood ratios apart."""
    return detector.name + (f" {detector.share}" if isinstance(detector, LikelihoodRatio) else "")


every_detector = pytest.mark.parametrize("detector", EXACT + ORACLE + RATIOS, ids=label)
