"""The detector of DiPmark and the gamma-reweight: how late tokens come in the permutations of the key.

Only the token's own word is read, which tells its place in the permutation but for chance: nothing but the
key is needed. Without a watermark the word is uniform, whatever the token.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from tradeoff.decoders import DiPmark, reweighted
from tradeoff.detection.bets.gumbel import PROBABILITIES
from tradeoff.detection.choice import detector_of
from tradeoff.detection.detector import Readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.reweights.cell_ratio import CellRatio, fair_log_bets
from tradeoff.keyed import Stream

__all__ = ["LateTokens"]

#: Bits of a word that are read, its highest, and the first of them.
_BITS, _FIRST = 12, 52
#: What they count: words are signed, so that the last counts down.
_WEIGHTS = np.append(1 << np.arange(_BITS - 1), -(1 << _BITS - 1))


@dataclass(frozen=True)
class LateTokens(CellRatio):
    """The likelihood ratio of a token's place u in [0, 1], its word over 2^64, on 4,096 cells.

    A token of probability p among many rare ones has the mass (1 - p) u before it, so that with a watermark
    u has the density (F((1 - p) u + p) - F((1 - p) u)) / p: a bet for every p of `PROBABILITIES`. The law of
    its score is exact, by counting.

    Wu et al. count the tokens in the later half (u > 1/2). On simulated text of seven laws from (.99, .01) to
    a hundred even tokens the ratio has more power at nearly every one, for instance with the gamma-reweight
    at level 1e-6: .84 for .61 at (.6, .4) and 160 tokens, .52 for .28 at a Zipf law over 50 and 30 tokens.

    Args:
        alpha: of generation.
        streams: those that drew tokens.

    Raises:
        ValueError: without streams.
    """

    alpha: float
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "late-tokens"
    name: ClassVar[str] = "likelihood ratio of late tokens"
    silent: ClassVar[float] = 0.4

    @property
    def log_bets(self) -> np.ndarray:
        """See `CellRatio.log_bets`."""
        return _log_bets(self.alpha)

    def cell(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `CellRatio.cell`: the highest bits of the words."""
        highest = evidence.bits(stream, _FIRST + _BITS)[:, _FIRST:]
        return highest @ _WEIGHTS + (1 << _BITS - 1)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`: the places."""
        places = {s: (self.cell(evidence, s) + 0.5) / (1 << _BITS) for s in self.streams}
        return Readings("place", {s: [f"{u:.4f}" for u in place] for s, place in places.items()})


@lru_cache(maxsize=16)
def _log_bets(alpha: float) -> np.ndarray:
    """[cells, bets]."""
    p = np.array(PROBABILITIES)
    before = (1 - p) * ((np.arange(1 << _BITS) + 0.5) / (1 << _BITS))[:, None]
    return fair_log_bets((reweighted(before + p, alpha) - reweighted(before, alpha)) / p)


@detector_of.register
def _(decoder: DiPmark, streams: tuple[Stream, ...]) -> LateTokens:
    return LateTokens(decoder.alpha, streams)
