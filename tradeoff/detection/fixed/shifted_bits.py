"""The detector of Transformers' SynthID, with the law that its sum of bits has in this text over all keys.

All bits of a token come from one public cyclic sequence T', read at u + k, with u a public function of the
token and its context and k the key of the round (`tradeoff.keyed.SamplingTable`). So the bits of different
tokens are not independent, and no binomial law is right: u may repeat, and the sequence is not balanced. But
given the text the sum of one round, sum_i T'[u_i + k], takes one value for every shift k, and uniform keys
are uniform shifts. Its law is one cyclic correlation of the histogram of u with T', the same for all rounds,
and the total is its convolution over them: exact for every text, however it repeats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy import fft

from tradeoff.detection.choice import register_format
from tradeoff.detection.detector import Exactness, Readings, bit_readings, given_text
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.row_sums import RowSum
from tradeoff.detection.fixed.synthid import bit_weights
from tradeoff.kernels import Method
from tradeoff.keyed import SamplingTable, Stream, ngram_hashes, prf_type

__all__ = ["ShiftedBits"]


@dataclass(frozen=True, eq=False)
class _Places:
    """u of the tokens that count, [t], in their order."""

    u: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class ShiftedBits:
    """Bits weighted by round, from 10 for the first down to 1 for the last, as in `WeightedMeanBits`: a token
    of a peaked law is settled by the first rounds, and later ones tell nothing of it.

    p-values are over keys drawn uniformly, given the text. `detect` knows it; `given_text` makes the detector
    of one text, and of its beginnings.

    Args:
        rounds: m, bits a token.
        table: which is shifted; its size must be a power of two.
        places: of the text that it is for.

    Raises:
        ValueError: for less than one round, or another table.
    """

    rounds: int
    table: SamplingTable = field(default_factory=SamplingTable)
    places: _Places | None = field(default=None, repr=False)
    id: ClassVar[str] = "shifted-bits"
    name: ClassVar[str] = "weighted mean of bits, given the text"
    exactness: ClassVar[Exactness] = Exactness.GIVEN_TEXT
    null: ClassVar[str] = "exact: all shifts of the table, convolved over rounds"

    def __post_init__(self) -> None:
        if type(self.rounds) is not int or self.rounds < 1:
            raise ValueError(f"rounds={self.rounds!r} must be a whole number of at least 1, one a depth key")
        if self.table.cyclic is None:
            raise ValueError(
                f"table={self.table.size} is no power of two: bits then depend on all 64 bits of a hash, "
                "and no exact law of their sum is known here; texts can be generated, not judged"
            )

    @property
    def weights(self) -> np.ndarray:
        """[m] whole numbers from 10 down to 1."""
        return bit_weights(self.rounds)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return bit_readings(evidence, (Stream.SHARED,), self.rounds)

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: whole numbers."""
        scores = np.zeros(len(evidence), dtype=np.int64)
        # Eight rounds are looked up at a time: to unpack their bits would take most of the time.
        for first in range(0, self.rounds, 8):
            weights = self.weights[first : first + 8]
            of_byte = (np.arange(256)[:, None] >> np.arange(len(weights)) & 1) @ weights
            word = evidence.words(Stream.SHARED, first // 64)
            scores += of_byte[(word >> first % 64) & 255]
        return scores.astype(float)

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`: of the first `count` tokens that count of the text.

        Raises:
            ValueError: without a text.
        """
        return self._law(count).log_sf(statistic)

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`, and `log_p`."""
        return self._law(count).threshold(math.log(fpr))

    def _law(self, count: int) -> RowSum:
        if self.places is None:
            raise ValueError(
                f"detector {self.name!r} has p-values of one text; make its detector with given_text, or use "
                "detect"
            )
        return _law(self.table, self.rounds, self.places, count)


@lru_cache(maxsize=8)
def _law(table: SamplingTable, rounds: int, places: _Places, count: int) -> RowSum:
    sums, shifts = _column_law(table, places.u[:count])
    weights, rounds_of = np.unique(bit_weights(rounds), return_counts=True)
    return RowSum(weights[:, None] * sums, rounds_of, shifts)


def _column_law(table: SamplingTable, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of sum_i T'[u_i + k] over all shifts k, and how many shifts have each: [s] whole numbers."""
    histogram = np.bincount(u, minlength=table.size)
    # Sums of at most t ones: the error of a transform is far from a half.
    sums = fft.irfft(np.conj(fft.rfft(histogram)) * _transform(table), table.size)
    shifts = np.bincount(np.rint(sums).astype(np.int64))
    values = np.flatnonzero(shifts)
    return values, shifts[values]


@lru_cache(maxsize=8)
def _transform(table: SamplingTable) -> np.ndarray:
    assert table.cyclic is not None
    return fft.rfft(table.cyclic.astype(float))


@given_text.register
def _(detector: ShiftedBits, evidence: Evidence) -> ShiftedBits:
    hashes = ngram_hashes(evidence.contexts, evidence.tokens)
    return replace(detector, places=_Places(hashes & (detector.table.size - 1)))


@register_format("hf-synthid")
def _of_format(method: Method, prf: str) -> ShiftedBits:
    rounds = method.decoder.tournament
    if rounds is None:
        raise ValueError(
            f"prf={prf!r} has a depth key for every round, and {method.decoder.name} has no fixed number of "
            "them; name synthid:M"
        )
    return ShiftedBits(rounds, prf_type(prf).table)
