"""Kernels of watermarked speculative sampling: one frozen dataclass per method, pure and batched.

A method maps (P, Q, draft token, randomness) to (accepted, token) over arrays [..., n], for millions of seeds
at once or for the rows of a language model's batch; the engine calls the same code that the tests enumerate.
Methods for unbiased watermarks preserve the law of the target; keep strength and the marked joint race
preserve the watermarked law P_z, whatever its mean. With a = min(1, P/Q), t = min E/Q the draft's winning
time:

    method            draft         accepted if       replacement             bonus       efficiency
    standard          Q             coin < a          (P-Q)_+                 P           1 - TV
    keep strength     S(Q, z)       coin < a_z        (P_z-Q_z)_+             S(P, z)     E[1 - TV(Q_z, P_z)]
    keep efficiency   S(Q, z_D)     coin < a          (P-Q)_+                 S(P, z_D)   1 - TV
    target only       Q             coin < a          S((P-Q)_+, z)           S(P, z)     1 - TV
    two keys          S(Q, z_D)     coin < a          S((P-Q)_+, z_T)         S(P, z_T)   1 - TV
    dual key          nothing                                                 S(P, z_T) if coin < alpha,
                                                                              else S(P, z_D)
    Algorithm 1       S(Q, z_D)     G(z_R) < a        S((P-Q)_+, z_T)         S(P, z_T)   1 - TV
    single key        argmin E/Q    G(z_R) < a        argmin (E-tQ)/(P-Q)_+   argmin E/P  1 - TV
    one race          argmin E/Q    1 - e^-t < a      argmin (E-tQ)/(P-Q)_+   argmin E/P  1 - TV
    joint race        argmin E/Q    t/a < m/(1-a)     argmin (E-tQ)/(P-Q)_+   argmin E/P  1 - TV
    joint tournament  S(Q, z)       coin < M_z(j, k)  k: D_z((P-Q)_+)         S(P, z)     1 - TV
    joint transport   S(Q, z)       coin < T_z(j)     T_z, but for j          S(P, z)     1 - TV
    joint race,       argmin E/Q_z  the joint race's  the joint race's,       argmin      E[1 - TV(Q_z, P_z)]
      marked                        of P_z and Q_z    of P_z and Q_z          E/P_z

The first four and Algorithm 1 are the paper's (sections 2 and 4.1), the dual key is vLLM's without
speculation and target only what it does with one key, the others and trees are this project's. m is the
winning time of the residual. D_z is the damped tournament, M_z a martingale that starts at a and moves with
the bits of j and k. T_z is the transport of a on the draft token j and (1-a) (P-Q)_+ on the others to the
posterior of z given j. What a detector that has only the key reads at a token, beyond other text and in
standard deviations of that, on the paper's P and Q: no speculation 1.789, joint race 1.743, one race 1.712,
dual key 1.620, single key 1.592, keep efficiency 1.324, two keys and Algorithm 1 1.211, target only 0.389
(`tradeoff.detection.expected_race_score`; the dual key that of no speculation times the root of
(1 - alpha)^2 + alpha^2).

Derivations: docs/theory/trade-off.md (strengths, Theorem 4.1), docs/theory/one-race.md,
docs/theory/joint-race.md, docs/theory/joint-tournament.md, docs/theory/joint-transport.md,
docs/theory/biased.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import final

from tradeoff._arrays import Array, namespace
from tradeoff.decoders import Decoder, GumbelMax, Identity, is_degenerate, race_diagonal
from tradeoff.kernels.method import (
    Coin,
    Columns,
    Detection,
    Method,
    OfRaces,
    check_alpha,
    draw,
    drawn,
    drawn_from_residual,
    keyed_coin,
    random_coin,
    random_draw,
    random_residual,
    register_method,
)
from tradeoff.kernels.randomness import Randomness
from tradeoff.keyed import Stream

__all__ = [
    "Algorithm1",
    "Basic",
    "DualKey",
    "KeepEfficiency",
    "KeepStrength",
    "Standard",
    "TargetOnly",
    "TwoKeys",
]


def _nothing_drafted(method: Method, *_: object) -> Array:
    raise ValueError(f"method={method.name!r} drafts nothing; ask it for the bonus token")


@final
@register_method
@dataclass(frozen=True)
class Basic(Method):
    """The target alone, without speculation: token ~ S(P, zeta)."""

    name = "basic"
    columns = Columns(_nothing_drafted, _nothing_drafted, _nothing_drafted, drawn(Stream.SHARED))
    detection = Detection(None, None, Stream.SHARED, Coin.NONE)
    drafts = False
    unmarked = True
    verifies_target = False
    carried = "any watermark"


@final
@register_method
@dataclass(frozen=True)
class Standard(Method):
    """Speculative sampling (Leviathan et al. 2023; Chen et al. 2023), Eq. 5: no watermark anywhere."""

    decoder: Decoder = field(default_factory=Identity)
    name = "standard"
    full_efficiency = True
    columns = Columns(random_draw, random_coin, random_residual, random_draw)
    detection = Detection(None, None, None, Coin.RANDOM)
    unmarked = True
    carried = "no watermark"

    @classmethod
    def carries(cls, decoder: Decoder) -> bool:
        return False


def _accepts_watermarked(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    zeta = randomness.zeta(Stream.SHARED, method.decoder)
    if is_degenerate(method.decoder):
        # Two point masses: a_z is 1 where they agree and 0 elsewhere, and the coin is idle.
        return method.decoder.token(p, zeta) == draft
    return random_coin(method, method.decoder(p, zeta), method.decoder(q, zeta), draft, randomness)


def _replaces_watermarked(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    zeta = randomness.zeta(Stream.SHARED, method.decoder)
    if is_degenerate(method.decoder):
        return method.decoder.token(p, zeta)
    return random_residual(method, method.decoder(p, zeta), method.decoder(q, zeta), draft, randomness)


@final
@register_method
@dataclass(frozen=True)
class KeepStrength(Method):
    """Hu and Huang (2024): speculate between the watermarked laws Q_zeta and P_zeta, one zeta for both."""

    name = "keep-strength"
    columns = Columns(drawn(Stream.SHARED), _accepts_watermarked, _replaces_watermarked, drawn(Stream.SHARED))
    detection = Detection(Stream.SHARED, Stream.SHARED, Stream.SHARED, Coin.RANDOM)
    verifies_target = False
    carried = "any watermark"

    @property
    def determined(self) -> bool:
        return is_degenerate(self.decoder)

    def efficiency(self, p: Array, q: Array) -> Array | None:
        """sum_i pi_ii for Gumbel-max (exact); None for other decoders."""
        if self.decoder == GumbelMax():
            return namespace(p).sum(race_diagonal(p, q), axis=-1)
        return None


@final
@register_method
@dataclass(frozen=True)
class KeepEfficiency(Method):
    """Hu and Huang (2024): the draft is watermarked, verification is truly random."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "keep-efficiency"
    full_efficiency = True
    columns = Columns(drawn(Stream.DRAFT), random_coin, random_residual, drawn(Stream.DRAFT))
    detection = Detection(Stream.DRAFT, None, Stream.DRAFT, Coin.RANDOM)


@final
@register_method
@dataclass(frozen=True)
class TargetOnly(Method):
    """vLLM's target-only watermarking: drafts are those of the model, replacements and bonus tokens are
    watermarked, all under one key."""

    decoder: Decoder = field(default_factory=GumbelMax)
    name = "target-only"
    full_efficiency = True
    columns = Columns(random_draw, random_coin, drawn_from_residual(Stream.SHARED), drawn(Stream.SHARED))
    detection = Detection(None, Stream.SHARED, Stream.SHARED, Coin.RANDOM)


@dataclass(frozen=True)
class _OfTwoKeys(Method):
    """Methods of two keys that speculate.

    Args:
        alpha: how a detector weighs them, 1 - alpha and alpha (Gumbel-max alone); None for both alike. The
            text is the same.
    """

    decoder: Decoder = field(default_factory=GumbelMax)
    alpha: float | None = None
    weighed = True

    def __post_init__(self) -> None:
        if self.alpha is not None:
            check_alpha(self.alpha)
            if self.decoder != GumbelMax():
                raise ValueError(
                    f"alpha={self.alpha} weighs the two keys of Gumbel-max; leave it out with "
                    f"{self.decoder.name}, whose keys count alike"
                )


@final
@register_method
@dataclass(frozen=True)
class TwoKeys(_OfTwoKeys):
    """Dathathri et al. (2024), and vLLM's dual key: the replacement is watermarked under a second key."""

    name = "two-keys"
    full_efficiency = True
    columns = Columns(
        drawn(Stream.DRAFT), random_coin, drawn_from_residual(Stream.TARGET), drawn(Stream.TARGET)
    )
    detection = Detection(Stream.DRAFT, Stream.TARGET, Stream.TARGET, Coin.RANDOM)


def _drawn_by_either(method: Method, law: Array, randomness: Randomness) -> Array:
    assert method.alpha is not None
    first, second = (draw(method.decoder, law, s, randomness) for s in (Stream.DRAFT, Stream.TARGET))
    return namespace(law).where(randomness.uniform() < method.alpha, second, first)


@final
@register_method
@dataclass(frozen=True)
class DualKey(OfRaces):
    """vLLM's dual key without speculation: true randomness routes a token to the second key with probability
    alpha, else to the first (Gumbel-max only).

    Args:
        alpha: above 0 and below 1; a detector gives the keys the weights 1 - alpha and alpha.
    """

    decoder: Decoder = field(default_factory=GumbelMax)
    alpha: float = 0.1
    name = "dual-key"
    columns = Columns(_nothing_drafted, _nothing_drafted, _nothing_drafted, _drawn_by_either)
    detection = Detection(None, None, Stream.DRAFT, Coin.NONE, routed=Stream.TARGET)
    drafts = False
    weighed = True
    for_others = "basic"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        super().__post_init__()


@final
@register_method
@dataclass(frozen=True)
class Algorithm1(_OfTwoKeys):
    """Algorithm 1 of the paper: two keys, and a coin G(zeta_R) that the key determines as well."""

    name = "algorithm-1"
    full_efficiency = True
    columns = TwoKeys.columns._replace(accept=keyed_coin)
    detection = replace(TwoKeys.detection, coin=Coin.KEYED)
