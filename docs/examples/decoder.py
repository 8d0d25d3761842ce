"""A watermark of one's own: tournaments of two draws from P; of those the one with the larger number wins.

T_g(P)(w) = P(w) (P(w) + 2 P(g < g(w))), with g uniform where SynthID has bits."""

from dataclasses import dataclass

from array_api_compat import array_namespace

from tradeoff.decoders import BitsDecoder, register_watermark


@dataclass(frozen=True)
class UniformTournament(BitsDecoder):
    rounds: int = 10
    name = "uniform tournament"
    degenerate = False
    randomness = "numbers of uniform tournaments"
    excess = None  # with at most 32 rounds always quick to read, so that records may name it

    def __post_init__(self):
        if not 1 <= self.rounds <= 32:
            raise ValueError(f"rounds={self.rounds} must be from 1 to 32")

    @property
    def spelling(self):
        return f"uniform-tournament:{self.rounds}"

    def __call__(self, p, zeta):
        xp = array_namespace(p)
        for k in range(self.rounds):
            order = xp.argsort(zeta.word(k), axis=-1)
            p = xp.broadcast_to(p, order.shape)
            up_to = xp.cumulative_sum(xp.take_along_axis(p, order, axis=-1), axis=-1)
            p = p * (2 * xp.take_along_axis(up_to, xp.argsort(order, axis=-1), axis=-1) - p)
        return p


@register_watermark("uniform-tournament", "uniform-tournament[:M]")
def read(argument):
    return UniformTournament(int(argument or 10))
