"""The draft's tournament and the damped tournament of the residual, over the same bits.

Given that the draft token j won, the bits are tilted. The damped tournament takes the tilt back, so that its
winner k has the law of the residual r = (P-Q)_+, normalised. Names of formulas are those of
docs/theory/joint-tournament.md; q and r are the laws before a layer, b the bit of j in it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tradeoff._arrays import Array, device_of, namespace
from tradeoff.decoders import SynthID, TournamentBits
from tradeoff.laws import at

__all__ = [
    "Duel",
    "Layers",
    "Path",
    "advanced",
    "correction",
    "damping",
    "draft_bit",
    "draft_law",
    "duel",
    "path_of",
    "replacement_bit",
    "tilt",
]

#: Tokens with less of the residual do not decide how much it is damped: else rounding would.
_NEGLIGIBLE = 1e-9
_WORD = 64


def tilt(mass: Array, bit: Array) -> Array:
    """nu = 1 + (1 - q_j)(b - 1/2), the mean of the factor by which j's victory tilts a layer, given b."""
    return 1 + (1 - mass) * (bit - 0.5)


def draft_bit(mass: Array) -> Array:
    """pi = 1/2 + (1 - q_j)/4, the probability of b = 1 given that j won."""
    return 0.5 + (1 - mass) / 4


def correction(draft_mass: Array, common: Array, nu: Array) -> Array:
    """c_k = (q_k - sum_u r_u q_u) / (4 nu): what the victory of j took from the mean of g(k), more than from
    the mean of sum_u r_u g(u)."""
    return (draft_mass - common) / (4 * nu)


def damping(residual: Array, corrections: Array) -> Array:
    """lambda = 1 / max(1, max_k (1 - r_k - c_k)), [rows].

    The factors 1 + lambda (g(k) - sum_u r_u g(u) + c_k) are then not negative, whatever the bits are. It is a
    function of what was there before the layer, and of b: it may not look at the bits of other tokens.
    """
    xp = namespace(residual)
    least = xp.min(xp.where(residual > _NEGLIGIBLE, residual + corrections, 0.0), axis=-1)
    return 1 / (1 - xp.where(least < 0, least, 0.0))


def advanced(residual: Array, bits: Array, ones: Array, corrections: Array, damping: Array) -> Array:
    """The residual after a layer: r_k (1 + lambda (g(k) - sum_u r_u g(u) + c_k)), never below 0."""
    xp = namespace(residual)
    factors = 1 + damping * (bits + corrections - ones)
    return residual * xp.where(factors > 0, factors, 0.0)


class Layers(NamedTuple):
    """What the acceptance reads of the layers, each [rows, m]: sums over tokens, and of the draft token.

    Attributes:
        bit: b.
        mass: q_j.
        ones: sum_u q_u g(u).
        residual_ones: sum_u r_u g(u).
        common: sum_u r_u q_u.
        damping: lambda.
    """

    bit: Array
    mass: Array
    ones: Array
    residual_ones: Array
    common: Array
    damping: Array


class Path(NamedTuple):
    """A replacement k in every layer, each [rows, m].

    Attributes:
        bit: b' = g(k).
        mass: r_k.
        draft_mass: q_k.
    """

    bit: Array
    mass: Array
    draft_mass: Array


def replacement_bit(path: Path, layers: Layers) -> Array:
    """pi', the probability of b' = 1 given b, and that k replaces j: [rows, m].

    With m1 = 1/2 - q_k/(4 nu) and S = sum_{u != k} r_u q_u it is
    m1 (1 + lambda (1 + c_k - r_k - (1 - r_k)/2)) + lambda S / (8 nu).
    """
    nu = tilt(layers.mass, layers.bit)
    of_draft = 0.5 - path.draft_mass / (4 * nu)
    others = layers.common - path.mass * path.draft_mass
    gain = 1 + correction(path.draft_mass, layers.common, nu) - path.mass - (1 - path.mass) / 2
    return of_draft * (1 + layers.damping * gain) + layers.damping * others / (8 * nu)


class Duel(NamedTuple):
    """Both tournaments of every row, played.

    Attributes:
        q, zeta: as they were.
        excess: (P-Q)_+, not normalised, [rows, n].
        enters: who plays for the residual, [rows, n].
        plays: whether j plays for the draft, [rows]; where it does not, Q is the point mass on it.
        share: Q(C_Q), or 1 where j does not play, [rows].
        inside: (P-Q)_+(C_r), [rows].
        residual: r^m, the law of the replacement, [rows, n]; zeros where there is no excess.
        layers: what happened.
    """

    q: Array
    zeta: TournamentBits
    excess: Array
    enters: Array
    plays: Array
    share: Array
    inside: Array
    residual: Array
    layers: Layers


def duel(p: Array, q: Array, draft: Array, zeta: TournamentBits, rounds: int, cut: float) -> Duel:
    """Play both tournaments, the draft's among C_Q = {Q >= cut}, the residual's among C_r = {r >= cut}.

    Each is played at the conditional law; tokens outside keep their mass.

    Args:
        p, q: laws of target and draft, [rows, n].
        draft: j, the winner of the draft's tournament, with P_j < Q_j: [rows].
        zeta: fair bits of [rows, n].
        rounds: m.
        cut: see `draft_law`.
    """
    xp = namespace(p)
    excess = xp.maximum(p - q, xp.zeros_like(p))
    total = xp.sum(excess, axis=-1)
    enters = (excess >= cut * total[:, None]) & (excess > 0)
    own = at(q, draft)
    plays = own >= cut
    others = (q >= cut) & ~enters & plays[:, None]
    others[xp.arange(q.shape[0], device=device_of(q)), draft] = False
    first, rest = _Players.of(enters), _Players.of(others)

    masses = first.gather(q)
    masses = xp.where((masses >= cut) & plays[:, None], masses, xp.zeros_like(masses))
    own = xp.where(plays, own, xp.ones_like(own))
    field = xp.concat([masses, rest.gather(q), own[:, None]], axis=-1)
    share = xp.sum(field, axis=-1)
    left = first.gather(excess)
    inside = xp.sum(left, axis=-1)
    bits = [
        xp.concat([first.gather(word), rest.gather(word), at(word, draft)[:, None]], axis=-1)
        for word in _words(zeta, rounds)
    ]
    after, layers = _play(field / share[:, None], _normalised(left, inside), bits, rounds)
    residual = first.scatter(after * inside[:, None], excess)
    return Duel(q, zeta, excess, enters, plays, share, inside, _normalised(residual, total), layers)


def path_of(match: Duel, token: Array, cut: float) -> tuple[Path, Layers]:
    """The replacement `token: [rows]` in every layer, and the layers as they are for it.

    One outside C_r is the residual's point mass on itself.
    """
    xp = namespace(token)
    bit = _bits(match.zeta, token, match.layers.bit.shape[-1])
    enters = at(match.enters, token)
    mass = xp.where(enters, at(match.excess, token) / _positive(match.inside), xp.ones_like(match.inside))
    start = at(match.q, token)
    start = xp.where((start >= cut) & match.plays, start, xp.zeros_like(start)) / match.share
    draft_mass = _before_layers(start, 1 + bit - match.layers.ones)
    alone = ~enters[:, None]
    layers = match.layers._replace(
        residual_ones=xp.where(alone, bit, match.layers.residual_ones),
        common=xp.where(alone, draft_mass, match.layers.common),
    )
    corrections = correction(draft_mass, layers.common, tilt(layers.mass, layers.bit))
    factors = advanced(xp.ones_like(bit), bit, layers.residual_ones, corrections, layers.damping)
    return Path(bit, _before_layers(mass, factors), draft_mass), layers


def draft_law(q: Array, zeta: TournamentBits, rounds: int, cut: float) -> Array:
    """q^m: Q after the tournament of the tokens with Q >= cut, at their conditional law; others keep theirs.

    It depends on nothing but Q, as the draft token is drawn before P is known.

    Args:
        q: law of the draft, [rows, n].
        zeta: fair bits of [rows, n].
        rounds: m.
        cut: 0 lets everyone play.

    Returns:
        [rows, n].
    """
    xp = namespace(q)
    players = _Players.of(q >= cut)
    field = players.gather(q)
    share = xp.sum(field, axis=-1)
    bits = TournamentBits(lambda k: players.gather(zeta.word(k)))
    return players.scatter(SynthID(rounds)(_normalised(field, share), bits) * share[:, None], q)


class _Players(NamedTuple):
    """Some tokens of every row, side by side and padded with zeros to the longest row, [rows, width].

    `tokens` are their places in [rows, n] and `seats` those in [rows, width], both flattened.
    """

    tokens: Array
    seats: Array
    width: int

    @classmethod
    def of(cls, mask: Array) -> _Players:
        xp = namespace(mask)
        tokens = xp.nonzero(xp.reshape(mask, (-1,)))[0]
        rows = tokens // mask.shape[-1]
        counts = xp.sum(xp.astype(mask, xp.int64), axis=-1)
        before = xp.cumulative_sum(counts, axis=-1) - counts
        # One seat at least: an empty axis has no minimum.
        width = max(1, int(xp.max(counts)))
        places = xp.arange(tokens.shape[0], device=device_of(mask)) - before[rows]
        return cls(tokens, rows * width + places, width)

    def gather(self, values: Array) -> Array:
        xp = namespace(values)
        gathered = xp.zeros(values.shape[0] * self.width, dtype=values.dtype, device=device_of(values))
        gathered[self.seats] = xp.reshape(values, (-1,))[self.tokens]
        return xp.reshape(gathered, (-1, self.width))

    def scatter(self, gathered: Array, values: Array) -> Array:
        """A copy of `values` with theirs from `gathered`."""
        xp = namespace(values)
        scattered = xp.reshape(xp.asarray(values, copy=True), (-1,))
        scattered[self.tokens] = xp.reshape(gathered, (-1,))[self.seats]
        return xp.reshape(scattered, values.shape)


def _play(q: Array, r: Array, words: list[Array], rounds: int) -> tuple[Array, Layers]:
    """All layers: q and words [rows, M] with j as their last token, r [rows, N] of the first N tokens."""
    xp = namespace(q)
    width, whole = r.shape[-1], xp.ones_like(q[:, 0])
    record = xp.zeros((len(Layers._fields), q.shape[0], rounds), dtype=q.dtype, device=device_of(q))
    for level in range(rounds):
        g = xp.astype((words[level // _WORD] >> (level % _WORD)) & 1, q.dtype)
        shared, bits = q[:, :width], g[:, :width]
        # A sum that rounds to just above 1 would make the losers negative.
        ones = xp.minimum(xp.vecdot(q, g), whole)
        residual_ones, common = xp.vecdot(r, bits), xp.vecdot(r, shared)
        nu = tilt(q[:, -1], g[:, -1])
        corrections = correction(shared, common[:, None], nu[:, None])
        factor = damping(r, corrections)
        now = Layers(g[:, -1], q[:, -1], ones, residual_ones, common, factor)
        for place, value in enumerate(now):
            record[place, :, level] = value
        r = advanced(r, bits, residual_ones[:, None], corrections, factor[:, None])
        q = q * ((1 - ones[:, None]) + g)
    return r, Layers(*(record[place] for place in range(len(Layers._fields))))


def _words(zeta: TournamentBits, rounds: int) -> list[Array]:
    return [zeta.word(k) for k in range(math.ceil(rounds / _WORD))]


def _bits(zeta: TournamentBits, token: Array, rounds: int) -> Array:
    """The bits of one token a row, [rows, m] of 0.0 and 1.0."""
    xp = namespace(token)
    shifts = xp.arange(_WORD, device=device_of(token))
    words = (at(word, token)[:, None] for word in _words(zeta, rounds))
    bits = xp.concat([(word >> shifts) & 1 for word in words], axis=-1)
    return xp.astype(bits[:, :rounds], xp.float64)


def _before_layers(start: Array, factors: Array) -> Array:
    """The masses before every layer, [rows, m], of one that starts at [rows] and has these factors."""
    xp = namespace(factors)
    return xp.cumulative_prod(xp.concat([start[:, None], factors[:, :-1]], axis=-1), axis=-1)


def _normalised(values: Array, total: Array) -> Array:
    return values / _positive(total)[:, None]


def _positive(total: Array) -> Array:
    """`total`, and 1 where it is 0."""
    xp = namespace(total)
    return xp.where(total > 0, total, xp.ones_like(total))
