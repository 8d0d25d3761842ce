"""The detector of inverse transform sampling: how near the token's uniform is to that of its position.

Without a watermark the two are independent and uniform, whatever the token. Without a permutation, under the
delta-reweight, the key says nothing of a token but with its law, and there is no detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy import stats

from tradeoff.decoders import DeltaReweight, InverseTransform
from tradeoff.detection.choice import detector_of
from tradeoff.detection.detector import Detector, Readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.fixed.reweights.cell_ratio import CellRatio, fair_log_bets
from tradeoff.keyed import Stream

__all__ = ["NearUniforms"]

#: Cells a side, of u and of U.
_SIDE = 256
#: (probability of the token, other tokens; None for countless ones).
_KINDS: tuple[tuple[float, int | None], ...] = (
    *((p, others) for p in (0.9, 0.7, 0.5) for others in (1, 4, None)),
    *((p, others) for p in (0.25, 0.12, 0.05) for others in (8, 24)),
)


@dataclass(frozen=True)
class NearUniforms(CellRatio):
    """The likelihood ratio of (u, U), of the position and of the token, on 256 by 256 cells.

    A token of probability p beside m others of (1 - p)/m has k ~ Binomial(m, U) of them before it, and is
    taken if x <= u < x + p, x = k (1 - p)/m: the density of (u, U) is then E 1{x <= u < x + p} / p, a bet for
    each of fifteen pairs (p, m). The law of its score is exact, by counting cells.

    Kuditipudi et al. read |u - U|. Against Fisher's sum of its p-values, 1 - (1 - |u - U|)^2, the ratio has
    on simulated text the power .55 for .33 at (.9, .1), 400 tokens and level 0.01; .76 for .45 at (.6, .4)
    and 60; .96 for .69 at a Zipf law over 50 and 8.

    Args:
        streams: those that drew tokens.

    Raises:
        ValueError: without streams.
    """

    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "near-uniforms"
    name: ClassVar[str] = "likelihood ratio of near uniforms"
    silent: ClassVar[float] = 0.2

    @property
    def log_bets(self) -> np.ndarray:
        """See `CellRatio.log_bets`."""
        return _log_bets()

    def cell(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        """See `CellRatio.cell`."""
        position, token = evidence.position(stream), evidence.uniform(stream)
        return (position * _SIDE).astype(np.int64) * _SIDE + (token * _SIDE).astype(np.int64)

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`: both uniforms."""
        return Readings(
            "uniforms",
            {
                s: [
                    f"{u:.4f} and {own:.4f}"
                    for u, own in zip(evidence.position(s), evidence.uniform(s), strict=True)
                ]
                for s in self.streams
            },
        )


@lru_cache(maxsize=1)
def _log_bets() -> np.ndarray:
    """[cells, bets]."""
    middle = (np.arange(_SIDE) + 0.5) / _SIDE
    position, token = middle[:, None], middle
    densities = np.empty((_SIDE, _SIDE, len(_KINDS)))
    for i, (p, others) in enumerate(_KINDS):
        if others is None:
            least = (1 - p) * token
            densities[..., i] = (least <= position) & (position < least + p)
        else:
            k = np.arange(others + 1)
            before = k * ((1 - p) / others)
            taken = (before <= position) & (position < before + p)
            densities[..., i] = taken @ stats.binom.pmf(k[:, None], others, token)
    return fair_log_bets(densities.reshape(-1, len(_KINDS)))


@detector_of.register
def _(decoder: InverseTransform, streams: tuple[Stream, ...]) -> NearUniforms:
    return NearUniforms(streams)


@detector_of.register
def _(decoder: DeltaReweight, streams: tuple[Stream, ...]) -> Detector:
    raise ValueError(
        f"decoder={decoder.name!r} cannot be read by the key alone: its uniform is that of the position, and "
        "says something of a token only beside the law of the model; test it with the model "
        "(tradeoff.llm.replay and tradeoff.detection.ModelAware), or write with gumbel or inverse-transform"
    )
