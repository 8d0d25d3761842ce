"""Speculation towards the watermarked law: the joint race between S(Q, zeta) and S(P, zeta), completed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np

from tradeoff._arrays import Array, like
from tradeoff.decoders import KGW, Completed, Decoder, GumbelMax
from tradeoff.kernels.clocks import joint_acceptance
from tradeoff.kernels.method import Columns, Method, Settled, drawn, register_method, replacing
from tradeoff.kernels.race_methods import JointRace, remainders
from tradeoff.kernels.randomness import Randomness
from tradeoff.keyed import Stream

__all__ = ["JointRaceMarked"]

_RACE = GumbelMax()


class _Marked(NamedTuple):
    """P_zeta and Q_zeta, [..., n], and the race between them."""

    p: Array
    q: Array
    race: Array


def _marked(method: Any, p: Array, q: Array, randomness: Randomness) -> _Marked:
    zeta, inner = randomness.zeta(Stream.SHARED, method.decoder), method.decoder.completes
    # True randomness is NumPy's, whatever the laws are.
    race = like(zeta.race, p) if isinstance(zeta.race, np.ndarray) else zeta.race
    return _Marked(inner(p, zeta.inner), inner(q, zeta.inner), race)


def _accepted(laws: _Marked, draft: Array) -> Array:
    return joint_acceptance(laws.p, laws.q, draft, laws.race)


def _replaced(laws: _Marked, draft: Array) -> Array:
    return _RACE.token(replacing(laws.p, laws.q, draft), remainders(laws.race, laws.q, draft))


def _accepts(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    return _accepted(_marked(method, p, q, randomness), draft)


def _replaces(method: Method, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    return _replaced(_marked(method, p, q, randomness), draft)


@final
@register_method
@dataclass(frozen=True)
class JointRaceMarked(Method):
    """Given zeta, the joint race between the laws Q_zeta and P_zeta of a watermark that is completed.

    The token has the law P_zeta given zeta, whether the watermark is biased or not, and is a function of the
    key. Drafts are accepted with probability E[1 - TV(Q_zeta, P_zeta)], which no kernel between these laws
    exceeds (Lemma 3.1). Derivation: docs/theory/biased.md.

    Raises:
        ValueError: for a watermark that is not completed.
    """

    decoder: Decoder = field(default_factory=lambda: Completed(KGW()))
    name = "joint-race-marked"
    columns = Columns(drawn(Stream.SHARED), _accepts, _replaces, drawn(Stream.SHARED))
    detection = JointRace.detection
    verifies_target = False
    carried = "completed watermarks only"

    def __post_init__(self) -> None:
        if not self.carries(self.decoder):
            raise ValueError(
                f"decoder={self.decoder.name!r} is not completed, and leaves no race between its laws; "
                f"{self.name} needs completed:NAME, such as completed:kgw:2"
            )

    @classmethod
    def carries(cls, decoder: Decoder) -> bool:
        return decoder.completes is not None

    def settles(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Settled:
        # The laws given zeta are made once for both.
        laws = _marked(self, p, q, randomness)
        return Settled(_accepted(laws, draft), _replaced(laws, draft))
