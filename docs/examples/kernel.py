"""A method of one's own, for a draft model that cannot be told of keys: the target alone writes watermarks.

draft         accepted if     replacement          bonus
Q             coin < a        S((P-Q)_+, z_T)      S(P, z_T)
"""

from dataclasses import dataclass

from tradeoff.kernels import (
    Coin,
    Columns,
    Detection,
    Method,
    drawn,
    drawn_from_residual,
    random_coin,
    random_draw,
    register_method,
)
from tradeoff.keyed import Stream


@register_method
@dataclass(frozen=True)
class TargetAlone(Method):
    name = "target-alone"
    full_efficiency = True
    columns = Columns(
        draft=random_draw,
        accept=random_coin,
        replace=drawn_from_residual(Stream.TARGET),
        bonus=drawn(Stream.TARGET),
    )
    detection = Detection(drafted=None, replaced=Stream.TARGET, bonus=Stream.TARGET, coin=Coin.RANDOM)
