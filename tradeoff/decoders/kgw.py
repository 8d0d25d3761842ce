"""Red and green lists (Kirchenbauer, Geiping, Wen et al. 2023): a bias for some of the tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from tradeoff._arrays import Array, device_of, namespace
from tradeoff.decoders.base import BaseDecoder
from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.sources import GreenLists, Source
from tradeoff.keyed import Kind, check_gamma

__all__ = ["KGW"]

_KEYWORD = "kgw"
_GAMMA = 0.25


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
        if isinstance(self.delta, bool) or not isinstance(self.delta, int | float) or not self.delta > 0:
            raise ValueError(f"delta={self.delta!r} must be above 0; 2 is usual, and inf for hard lists")
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
        return f"KGW (δ = {'∞' if self.delta == math.inf else f'{self.delta:g}'}, γ = {self.gamma:g}{among})"

    @property
    def spelling(self) -> str:
        """ "kgw:2", "kgw:hard,gamma=0.5", "kgw:2.5,gamma=0.25,most=40"."""
        told = [_KEYWORD + ":" + ("hard" if self.delta == math.inf else f"{self.delta:g}")]
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
        marked = xp.where(green, p, xp.zeros_like(p))
        if self.delta == math.inf:
            share = xp.sum(marked, axis=-1, keepdims=True)
            some = share > 0
            return xp.where(some, marked / xp.where(some, share, 1.0), p)
        tilted = p + math.expm1(self.delta) * marked
        return tilted / xp.sum(tilted, axis=-1, keepdims=True)


def _placed(tokens: Array, values: Array, n: int) -> Array:
    """[..., n] booleans: the values [..., m] of tokens, and False elsewhere."""
    xp = namespace(values)
    tokens = xp.reshape(xp.broadcast_to(tokens, values.shape), (-1, values.shape[-1]))
    placed = xp.zeros(tokens.shape[0] * n, dtype=xp.bool, device=device_of(values))
    first = n * xp.arange(tokens.shape[0], device=device_of(values))[:, None]
    placed[xp.reshape(tokens + first, (-1,))] = xp.reshape(values, (-1,))
    return xp.reshape(placed, (*values.shape[:-1], n))


@register_watermark(_KEYWORD, "kgw[:DELTA]", "kgw:2")
def _read(argument: str) -> KGW:
    delta, *settings = argument.split(",") if argument else ["2"]
    told: dict[str, float | int] = {"delta": math.inf if delta == "hard" else _number("delta", delta)}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if name not in ("gamma", "most") or not equals or name in told:
            raise ValueError(f"its setting {setting!r} is none; write kgw:2,gamma=0.25 or kgw:2,most=40")
        told[name] = _number(name, value) if name == "gamma" else int(_number(name, value))
    return KGW(**told)  # type: ignore[arg-type]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is no number; write kgw:2,gamma=0.25, or kgw:hard") from None
