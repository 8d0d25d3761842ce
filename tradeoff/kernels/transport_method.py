"""Posterior transport: SimplexWater and HeavyWater under speculation with one key, at full efficiency.

Given the draft token, side information has a posterior law; what is emitted is transported to that. Exact for
every pair of laws, and read as text without speculation is (docs/theory/joint-transport.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

from tradeoff._arrays import Array, namespace
from tradeoff.decoders import Decoder, PosteriorDecoder, has_posterior, one_hot
from tradeoff.kernels.method import Method, Settled, register_method
from tradeoff.kernels.methods import KeepStrength
from tradeoff.kernels.randomness import Randomness
from tradeoff.keyed import Stream
from tradeoff.laws import at, categorical, draft_acceptance, residual

__all__ = ["JointTransport"]


class _Emission(NamedTuple):
    """What is emitted given the draft token and side information.

    Attributes:
        open: where the draft token may be rejected at all, [...] booleans, true in `rows` places.
        kept: how much of the law there is the draft token, [rows].
        others: what is emitted where it is not kept, [rows, n].
    """

    open: Array
    kept: Array
    others: Array


def _emission(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> _Emission:
    xp = namespace(p)
    a = draft_acceptance(p, q, draft)
    open_ = a < 1
    token, target, law = draft[open_], xp.astype(p[open_], xp.float64), xp.astype(q[open_], xp.float64)
    mass = draft_acceptance(target, law, token)[:, None]
    point, rest = one_hot(token, target), residual(target, law)
    # Where there is no residual, nothing replaces the draft token, and side information has no say.
    rest = xp.where(xp.any(rest > 0, axis=-1)[..., None], rest, point)
    wanted = mass * point + (1 - mass) * rest
    decoder = _posterior(method.decoder)
    zeta = decoder.take(randomness.zeta(Stream.SHARED, decoder), open_)
    # The draft law as it was drawn from: its plan is remembered.
    emitted = decoder.coupled_after(q[open_], token, wanted, zeta)
    closed = at(rest, token) > 0
    kept = xp.where(closed, mass[..., 0], at(emitted, token))
    return _Emission(open_, kept, xp.where(closed[..., None], (1 - mass) * point, emitted * (1 - point)))


def _accepted(emission: _Emission, uniform: Array) -> Array:
    open_, kept, others = emission
    rest = namespace(others).sum(others, axis=-1)
    accepted = ~open_
    # The product may round to `kept` where nothing else is left.
    accepted[open_] = (uniform[open_] * (kept + rest) < kept) | (rest == 0)
    return accepted


def _replaced(emission: _Emission, draft: Array, uniform: Array) -> Array:
    token = namespace(draft).asarray(draft, copy=True)
    token[emission.open] = categorical(emission.others, uniform[emission.open])
    return token


def _accepts(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    uniform = randomness.uniform()
    return _accepted(_emission(method, p, q, draft, randomness), uniform)


def _replaces(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    uniform = randomness.uniform()
    return _replaced(_emission(method, p, q, draft, randomness), draft, uniform)


def _posterior(decoder: Decoder) -> PosteriorDecoder:
    """`decoder`, if it couples after a draw.

    Raises:
        ValueError: otherwise.
    """
    if has_posterior(decoder):
        return decoder
    if decoder.unbiased:
        raise ValueError(
            f"decoder={decoder.name!r} has no transport to the posterior of its zeta; joint-transport needs "
            "SimplexWater or HeavyWater (algorithm-1 works with any decoder)"
        )
    raise ValueError(
        f"decoder={decoder.name!r} is biased: its drafts do not have the law Q, which no posterior makes "
        "up for; joint-transport needs SimplexWater or HeavyWater without tilt (or use algorithm-1)"
    )


@final
@register_method
@dataclass(frozen=True)
class JointTransport(Method):
    """One stream for draft, acceptance and replacement: all that is emitted is transported to what the draft
    token leaves open of side information (SimplexWater and HeavyWater, without tilt).

    Given s the draft is accepted with a probability of its own, in the mean a; what replaces it is coupled
    with s too, and of law (P-Q)_+ in the mean. Both draws are truly random.

    Raises:
        ValueError: for another watermark.
    """

    name = "joint-transport"
    joint = True
    full_efficiency = True
    columns = KeepStrength.columns._replace(accept=_accepts, replace=_replaces)
    detection = KeepStrength.detection
    carried = "simplexwater and heavywater without tilt only"

    def __post_init__(self) -> None:
        _posterior(self.decoder)

    def settles(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Settled:
        # One plan for both, and the numbers in the order of the columns.
        decides, replaces = randomness.uniform(), randomness.uniform()
        emission = _emission(self, p, q, draft, randomness)
        return Settled(_accepted(emission, decides), _replaced(emission, draft, replaces))

    @classmethod
    def carries(cls, decoder: Decoder) -> bool:
        return has_posterior(decoder)
