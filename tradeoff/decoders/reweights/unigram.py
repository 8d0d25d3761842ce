"""Unigram (Zhao, Ananth, Li and Wang 2023): one green list for all positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tradeoff._arrays import Array
from tradeoff.decoders.base import BaseDecoder
from tradeoff.decoders.kgw import check_delta, favoured, read_lists, spelled_delta
from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.sources import GreenLists, Source
from tradeoff.keyed import Kind, check_gamma

__all__ = ["Unigram"]

_KEYWORD = "unigram"
_GAMMA = 0.5


@dataclass(frozen=True)
class Unigram(BaseDecoder):
    """P_zeta(w) = P(w) exp(delta g(w)) / sum_v P(v) exp(delta g(v)), with one list g for all positions.

    KGW without contexts (Zhao et al., 2306.17439): tokens are green with probability gamma, independently, as
    the key says. Edits move no list, so that what a text tells survives them; but every token of the
    vocabulary tells its colour once, however long the text.

    Biased: under one key its mean is P_zeta itself. Not degenerate.

    Args:
        delta: what is added to the logits of green tokens, above 0; math.inf for hard lists.
        gamma: share of green tokens, above 0 and below 1.

    Raises:
        ValueError: for values out of range.
    """

    delta: float = 2.0
    gamma: float = _GAMMA

    degenerate: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False
    moves_target: ClassVar[bool] = True
    by_token: ClassVar[bool] = True
    needs: ClassVar[frozenset[Kind]] = frozenset({Kind.BUCKETS})
    excess: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_delta(self.delta)
        check_gamma(self.gamma)

    @property
    def randomness(self) -> str:
        """Lists of one share are the same numbers."""
        return f"one green list of {self.gamma!r}"

    @property
    def name(self) -> str:
        """ "Unigram (delta = 2, gamma = 0.5)"."""
        return f"Unigram (δ = {spelled_delta(self.delta, '∞')}, γ = {self.gamma:g})"

    @property
    def spelling(self) -> str:
        """ "unigram:2", "unigram:hard,gamma=0.25"."""
        told = f"{_KEYWORD}:{spelled_delta(self.delta, 'hard')}"
        return told if self.gamma == _GAMMA else f"{told},gamma={self.gamma!r}"

    def numbers(self, source: Source) -> GreenLists:
        """Which tokens are green."""
        return source.one_list(self.gamma)

    def take(self, zeta: GreenLists, rows: Array) -> GreenLists:
        """Those of some positions."""
        return zeta.take(rows)

    def antithetic(self, zeta: GreenLists) -> GreenLists:
        """The same list."""
        return zeta

    def __call__(self, p: Array, zeta: GreenLists) -> Array:
        """P_zeta: `[..., n]`."""
        return favoured(p, zeta.every(), self.delta)


@register_watermark(_KEYWORD, "unigram[:DELTA[,gamma=G]]", "unigram:2")
def _read(argument: str) -> Unigram:
    return Unigram(**read_lists(_KEYWORD, argument, ("gamma",)))
