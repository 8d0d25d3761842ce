"""Likelihood ratios of numbers that are uniform on cells without a watermark, whatever the text."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import ClassVar

import numpy as np

from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.lattice import LatticeDetector, check_streams, log_ratio
from tradeoff.keyed import Stream

__all__ = ["CellRatio", "fair_log_bets"]

#: Wealth of every bet that is kept, so that a token it holds impossible does not ruin it.
_KEPT = 0.05


def fair_log_bets(densities: np.ndarray) -> np.ndarray:
    """log e-values of densities over equally likely cells: [cells, bets] >= 0 to [cells, bets], of mean 1."""
    # Over contiguous numbers sums are pairwise, and right to the last places.
    fair = densities / np.ascontiguousarray(densities.T).mean(axis=-1)
    return np.log((1 - _KEPT) * fair + _KEPT)


class CellRatio(LatticeDetector):
    """The likelihood ratio of cells, in thousandths of a nat, over tokens and streams.

    log(silent + (1 - silent) mean_b e_b(cell)), e_b bets that the token had one probability or another.
    Rounded, so that its law is a lattice's. One of these has `log_bets` and `cell`.

    Attributes:
        silent: share of the ratio that takes the token to tell nothing.
    """

    silent: ClassVar[float]

    def __post_init__(self) -> None:
        check_streams(self.streams)

    @property
    @abstractmethod
    def log_bets(self) -> np.ndarray:
        """log e-values by cell: [cells, bets], each of mean 1 over the cells."""

    @abstractmethod
    def cell(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """The cells of the tokens: [t], uniform on 0 .. cells-1 without a watermark."""

    @property
    def lowest(self) -> int:
        """The score of the least likely cell."""
        return int(self.score_of.min())

    @property
    def law(self) -> np.ndarray:
        """All cells are equally likely."""
        counts = np.bincount(self.score_of - self.lowest)
        return counts / counts.sum()

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `LatticeDetector.of_stream`."""
        return self.score_of[self.cell(evidence, stream)]

    @cached_property
    def score_of(self) -> np.ndarray:
        """Scores by cell."""
        return log_ratio(self.log_bets, self.silent)
