"""Red and green lists (Kirchenbauer, Geiping, Wen et al. 2023): a bias for some of the tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tradeoff._arrays import Array, device_of, like, namespace
from tradeoff.decoders.base import BaseDecoder
from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.sources import GreenLists, Source
from tradeoff.keyed import Kind, check_gamma

__all__ = ["KGW", "check_delta", "favoured", "read_lists", "spelled_delta"]

_KEYWORD = "kgw"
_GAMMA = 0.25
#: Beyond it exp(delta) is beyond numbers of 32 bits, and red tokens are long gone.
_MOST_DELTA = 80.0


@dataclass(frozen=True)
class KGW(BaseDecoder):
    """P_zeta(w) = P(w) exp(delta g(w)) / sum_v P(v) exp(delta g(v)), g(w) = 1 for green tokens, 0 for others.

    Soft lists (Algorithm 2 of Kirchenbauer et al.), or hard ones (Algorithm 1) for delta = inf, where green
    tokens alone are left if they have any mass.

    Biased: mean P_zeta is nearer to uniform than P. Not degenerate.

    Args:
        delta: what is added to the logits of green tokens, above 0; math.inf for hard lists.
        gamma: share of green tokens, above 0 and below 1.
        most: how many of the most probable tokens may be green (40 in the self-hash of Transformers); None
            for all.

    Raises:
        ValueError: for values out of range.
    """

    delta: float = 2.0
    gamma: float = _GAMMA
    most: int | None = None

    degenerate: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False
    moves_target: ClassVar[bool] = True
    needs: ClassVar[frozenset[Kind]] = frozenset({Kind.LISTS})
    excess: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_delta(self.delta)
        check_gamma(self.gamma)
        if self.most is not None and (type(self.most) is not int or self.most < 1):
            raise ValueError(f"most={self.most!r} must be a whole number of tokens, or None for all")

    @property
    def randomness(self) -> str:
        """Lists of one share are the same numbers."""
        return f"green lists of {self.gamma!r}"

    @property
    def name(self) -> str:
        """ "KGW (delta = 2, gamma = 0.25)"."""
        among = "" if self.most is None else f", among {self.most}"
        return f"KGW (δ = {spelled_delta(self.delta, '∞')}, γ = {self.gamma:g}{among})"

    @property
    def spelling(self) -> str:
        """ "kgw:2", "kgw:hard,gamma=0.5", "kgw:2.5,gamma=0.25,most=40"."""
        told = [f"{_KEYWORD}:{spelled_delta(self.delta, 'hard')}"]
        if self.gamma != _GAMMA:
            told.append(f"gamma={self.gamma!r}")
        if self.most is not None:
            told.append(f"most={self.most}")
        return ",".join(told)

    def numbers(self, source: Source) -> GreenLists:
        """Which tokens are green."""
        return source.lists(self.gamma)

    def take(self, zeta: GreenLists, rows: Array) -> GreenLists:
        """Those of some positions."""
        return zeta.take(rows)

    def antithetic(self, zeta: GreenLists) -> GreenLists:
        """The same lists."""
        return zeta

    def __call__(self, p: Array, zeta: GreenLists) -> Array:
        """P_zeta: `[..., n]`."""
        xp = namespace(p)
        if self.most is None or self.most >= p.shape[-1]:
            green = zeta.every()
        else:
            likely = xp.argsort(p, axis=-1, descending=True, stable=True)[..., : self.most]
            green = _placed(likely, zeta.of(likely), p.shape[-1])
        return favoured(p, green, self.delta)


def favoured(p: Array, green: Array, delta: float) -> Array:
    """P(w) exp(delta g(w)), normalised, of green tokens g(w) = 1, booleans [..., n]: `[..., n]`."""
    xp = namespace(p)
    marked = xp.where(like(green, p) if isinstance(green, np.ndarray) else green, p, xp.zeros_like(p))
    if delta == math.inf:
        share = xp.sum(marked, axis=-1, keepdims=True)
        some = share > 0
        return xp.where(some, marked / xp.where(some, share, 1.0), p)
    tilted = p + math.expm1(delta) * marked
    return tilted / xp.sum(tilted, axis=-1, keepdims=True)


def check_delta(delta: float) -> None:
    """Raise ValueError unless `delta` is a bias above 0; infinite for hard lists."""
    known = isinstance(delta, int | float) and not isinstance(delta, bool)
    if not known or not (0 < delta <= _MOST_DELTA or delta == math.inf):
        raise ValueError(
            f"delta={delta!r} must be above 0 and at most {_MOST_DELTA:g}; 2 is usual, and inf for hard lists"
        )


def spelled_delta(delta: float, infinite: str) -> str:
    """A bias as it is written, the infinite one by its name."""
    return infinite if delta == math.inf else repr(float(delta)).removesuffix(".0")


def _placed(tokens: Array, values: Array, n: int) -> Array:
    """[..., n] booleans: the values [..., m] of tokens, and False elsewhere."""
    xp = namespace(values)
    tokens = xp.reshape(xp.broadcast_to(tokens, values.shape), (-1, values.shape[-1]))
    placed = xp.zeros(tokens.shape[0] * n, dtype=xp.bool, device=device_of(values))
    first = n * xp.arange(tokens.shape[0], device=device_of(values))[:, None]
    placed[xp.reshape(tokens + first, (-1,))] = xp.reshape(values, (-1,))
    return xp.reshape(placed, (*values.shape[:-1], n))


@register_watermark(_KEYWORD, "kgw[:DELTA[,gamma=G]]", "kgw:2")
def _read(argument: str) -> KGW:
    return KGW(**read_lists(_KEYWORD, argument, ("gamma", "most")))


def read_lists(keyword: str, argument: str, known: tuple[str, ...]) -> dict[str, Any]:
    """delta and the settings of a name, such as "2,gamma=0.25", "hard" and "".

    Args:
        keyword: of the name, for messages.
        argument: what follows it.
        known: settings that there are, of gamma (a number) and most (a whole number).

    Raises:
        ValueError: for settings that are unknown or come twice, and for what are no numbers.
    """
    delta, *settings = argument.split(",") if argument else ["2"]
    told: dict[str, Any] = {"delta": math.inf if delta == "hard" else _number(keyword, "delta", delta, float)}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if name not in known or not equals or name in told:
            raise ValueError(f"its setting {setting!r} is none; write {keyword}:2,gamma=0.25")
        told[name] = _number(keyword, name, value, float if name == "gamma" else int)
    return told


def _number(keyword: str, name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = "number" if kind is float else "whole number"
        raise ValueError(
            f"{name}={text!r} is no {what}; write {keyword}:2,gamma=0.25, or {keyword}:hard"
        ) from None
