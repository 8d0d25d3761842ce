"""DiPmark (Wu et al. 2023) and the gamma-reweight (Hu et al. 2023): the end of a permutation is doubled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff._arrays import Array, device_of, like, namespace
from tradeoff.decoders.names import register_watermark
from tradeoff.decoders.synthid import BitsDecoder, TournamentBits

__all__ = ["DiPmark", "reweighted"]

_KEYWORD = "dipmark"
_ALPHA = 0.4
_HALF = "gamma-reweight"


def reweighted(mass: Array, alpha: float) -> Array:
    """F(x) = max(x - alpha, 0) + max(x - (1 - alpha), 0) of masses x in [0, 1]: of their shape.

    F(x) - F(1 - x) = 2 x - 1, which makes the reweighting unbiased: the mean of a token over a permutation
    and its reverse is its own mass.
    """
    xp = namespace(mass)
    zero = xp.zeros_like(mass)
    return xp.maximum(mass - alpha, zero) + xp.maximum(mass - (1 - alpha), zero)


@dataclass(frozen=True)
class DiPmark(BitsDecoder):
    """P_zeta(w) = F(x + P(w)) - F(x), x the mass of the tokens before w in a permutation of the position.

    F(x) = max(x - alpha, 0) + max(x - (1 - alpha), 0): the first part alpha of the mass is taken away, the
    last part alpha counts double (Wu et al., 2310.07710). With alpha = 1/2 it is the gamma-reweight of Hu et
    al. (2310.10669). The permutation is the order of the tokens' words of 64 bits; these and not a race, so
    that a race can complete the watermark.

    Unbiased for every P: over a permutation and its reverse the mean is P. Not degenerate.

    Args:
        alpha: above 0, and 1/2 at most.

    Raises:
        ValueError: for another alpha.
    """

    alpha: float = _ALPHA

    degenerate: ClassVar[bool] = False
    randomness: ClassVar[str] = "words of tokens"
    excess: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not isinstance(self.alpha, float) or not 0 < self.alpha <= 0.5:
            raise ValueError(
                f"alpha={self.alpha!r} must be a number above 0 and at most 0.5, the gamma-reweight; "
                f"{_ALPHA} is usual"
            )

    @property
    def name(self) -> str:
        """ "DiPmark (alpha = 0.4)", "gamma-reweight"."""
        return "γ-reweight" if self.alpha == 0.5 else f"DiPmark (α = {self.alpha:g})"

    @property
    def spelling(self) -> str:
        """ "dipmark:0.4", "gamma-reweight"."""
        return _HALF if self.alpha == 0.5 else f"{_KEYWORD}:{self.alpha!r}"

    def __call__(self, p: Array, zeta: TournamentBits) -> Array:
        """P_zeta: `[..., n]`."""
        xp = namespace(p)
        words = zeta.word(0)
        p, words = xp.broadcast_arrays(p, like(words, p) if isinstance(words, np.ndarray) else words)
        order = xp.argsort(words, axis=-1)
        inside = xp.take_along_axis(p, order, axis=-1)
        up_to = xp.cumulative_sum(inside, axis=-1)
        after = reweighted(up_to / up_to[..., -1:], self.alpha)
        before = xp.concat([xp.zeros_like(after[..., :1]), after[..., :-1]], axis=-1)
        # Sums in parallel may rise, or even fall, where there is no mass.
        gained = xp.where(inside > 0, xp.maximum(after - before, xp.zeros_like(after)), xp.zeros_like(after))
        n = p.shape[-1]
        rows = xp.reshape(order, (-1, n))
        first = n * xp.arange(rows.shape[0], device=device_of(p))[:, None]
        law = xp.empty(rows.shape[0] * n, dtype=gained.dtype, device=device_of(p))
        law[xp.reshape(rows + first, (-1,))] = xp.reshape(gained, (-1,))
        return xp.reshape(law, p.shape)


@register_watermark(_KEYWORD, "dipmark[:ALPHA]")
def _read(argument: str) -> DiPmark:
    try:
        return DiPmark(float(argument) if argument else _ALPHA)
    except ValueError as error:
        if str(error).startswith("alpha"):
            raise
        raise ValueError(f"alpha={argument!r} is no number; write dipmark:{_ALPHA}") from None


@register_watermark(_HALF, _HALF)
def _read_half(argument: str) -> DiPmark | None:
    return None if argument else DiPmark(0.5)
