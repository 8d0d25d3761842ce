"""Completion: any decoder, made degenerate by one more race."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from tradeoff._arrays import Array
from tradeoff.decoders.base import BaseDecoder, Decoder
from tradeoff.decoders.gumbel import GumbelMax, one_hot
from tradeoff.decoders.names import read_name, register_watermark
from tradeoff.decoders.sources import Source
from tradeoff.keyed import Kind

__all__ = ["Completed", "Completion"]

_RACE = GumbelMax()
_KEYWORD = "completed"


class Completion(NamedTuple):
    """What a completed decoder reads: zeta of the decoder itself, and a race [..., n] independent of it."""

    inner: Any
    race: Array


@dataclass(frozen=True)
class Completed(BaseDecoder):
    """The token is drawn from S(P, zeta) by a race under numbers that are independent of zeta.

    A race draws exactly from any law, so given zeta the token has the law S(P, zeta): the result is unbiased,
    statistics of zeta and the token keep their laws, and as the token is a function of (zeta, race) the
    strength is Ent(P) (Theorem 3.2). So Algorithm 1 makes any watermark as strong as can be: SynthID with
    finitely many rounds, SimplexWater, HeavyWater. What the watermark left to true randomness is in the race,
    where a detector finds it by Aaronson's statistic (docs/theory/completion.md).

    Args:
        decoder: not degenerate, and not the identity.

    Raises:
        ValueError: for another decoder.
    """

    decoder: Decoder

    degenerate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.decoder.degenerate:
            raise ValueError(f"decoder={self.decoder.name!r} is degenerate already; use it as it is")
        if not self.decoder.marks:
            raise ValueError("decoder='no watermark' completed is Gumbel-max; use GumbelMax()")

    @property
    def name(self) -> str:
        """ "SynthID (m = 30), completed"."""
        return f"{self.decoder.name}, completed"

    @property
    def randomness(self) -> str:
        """That of the decoder, and a race."""
        return f"{self.decoder.randomness}, and a race"

    @property
    def needs(self) -> frozenset[Kind]:
        """Those of the decoder, and a race."""
        return self.decoder.needs | _RACE.needs

    @property
    def unbiased(self) -> bool:
        """As the decoder."""
        return self.decoder.unbiased

    @property
    def moves_target(self) -> bool:
        """As the decoder."""
        return self.decoder.moves_target

    @property
    def by_token(self) -> bool:
        """As the decoder."""
        return self.decoder.by_token

    @property
    def completes(self) -> Decoder:
        """The decoder."""
        return self.decoder

    @property
    def tournament(self) -> int | None:
        """That of the decoder."""
        return self.decoder.tournament

    @property
    def traces(self) -> frozenset[Hashable]:
        """Those of the decoder, and those of a race."""
        return self.decoder.traces | _RACE.traces

    @property
    def spelling(self) -> str:
        """ "completed:synthid:30"."""
        return f"{_KEYWORD}:{self.decoder.spelling}"

    @property
    def excess(self) -> str | None:
        """That of the decoder."""
        return self.decoder.excess

    def numbers(self, source: Source) -> Completion:
        """Both; numbers of different kinds are independent."""
        return Completion(source.zeta(self.decoder), source.zeta(_RACE))

    def take(self, zeta: Completion, rows: Array) -> Completion:
        """Both of theirs."""
        return Completion(self.decoder.take(zeta.inner, rows), zeta.race[rows])

    def antithetic(self, zeta: Completion) -> Completion:
        """The antitheses of both."""
        return Completion(self.decoder.antithetic(zeta.inner), _RACE.antithetic(zeta.race))

    def token(self, p: Array, zeta: Completion) -> Array:
        """The winner of the race with rates S(P, zeta): `[...]` integers."""
        return _RACE.token(self.decoder(p, zeta.inner), zeta.race)

    def __call__(self, p: Array, zeta: Completion) -> Array:
        """The point mass on the winner: `[..., n]`."""
        law = self.decoder(p, zeta.inner)
        return one_hot(_RACE.token(law, zeta.race), law)


@register_watermark(_KEYWORD, "completed:NAME")
def _read(argument: str) -> Completed | None:
    inner = read_name(argument)
    if inner is None:
        return None
    if not inner.marks:
        raise ValueError("there is no watermark to complete; use gumbel")
    return Completed(inner)
