"""SynthID under speculation with one key: the same bits draw the draft, its replacement and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, final

import numpy as np

from tradeoff._arrays import Array, as_float64, like, namespace, on_host, to_numpy
from tradeoff.decoders import Decoder, GumbelMax, SynthID, TournamentBits, is_degenerate
from tradeoff.kernels.damped_tournament import Duel, Layers, Path, draft_law, duel, path_of
from tradeoff.kernels.martingale import forecast, of_draft_alone, steps, walked
from tradeoff.kernels.method import (
    Coin,
    Columns,
    Detection,
    Method,
    Settled,
    drawn,
    register_method,
)
from tradeoff.kernels.randomness import Randomness
from tradeoff.keyed import Stream
from tradeoff.laws import at, categorical, draft_acceptance, uniform_of

__all__ = ["CUT", "JointTournament"]

#: Tokens with less of the draft's law, or of the residual, do not play for it. Whatever it is the output has
#: the law P; a larger one is faster and leaves less of the watermark.
CUT = 1e-6
_RACE = GumbelMax()


def _draft(method: Any, q: Array, randomness: Randomness) -> Array:
    """Column: a token of the draft's tournament."""
    bits, race = _numbers(method, randomness)
    shape = np.broadcast_shapes(q.shape, bits.word(0).shape)
    rows = _flat(q, shape, q)
    law = draft_law(rows, _flat_bits(bits, shape, q), method.rounds, method.cut)
    if race is not None:
        token = _RACE.token(law, _flat(race, shape, q))
    else:
        uniform = namespace(q).broadcast_to(randomness.uniform(), shape[:-1])
        token = categorical(law, _nearest(namespace(q).reshape(uniform, (-1,))))
    return namespace(q).reshape(_back(token, q), shape[:-1])


def _accept(method: Any, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: accepted with a probability that moved with the bits of the draft token and its replacement."""
    return _settle(method, p, q, draft, randomness).accepted


def _replace(method: Any, p: Array, q: Array, draft: Array, randomness: Randomness) -> Array:
    """Column: a token of the residual's tournament."""
    return _settle(method, p, q, draft, randomness).replacement


def _settle(method: Any, p: Array, q: Array, draft: Array, randomness: Randomness) -> Settled:
    """Both: whether the draft token is accepted is decided with what replaces it."""
    xp = namespace(p)
    accepted = xp.reshape(xp.ones_like(draft, dtype=xp.bool), (-1,))
    token = xp.asarray(xp.reshape(draft, (-1,)), copy=True)
    contest = _contest(method, p, q, draft, randomness)
    if contest is not None:
        accepted[contest.rows] = _back(contest.coin < _probability(method, contest), p)
        token[contest.rows] = _back(contest.replacement, p)
    return Settled(xp.reshape(accepted, draft.shape), xp.reshape(token, draft.shape))


@final
@register_method
@dataclass(frozen=True)
class JointTournament(Method):
    """SynthID with one key, as efficient as without a watermark: the draft plays a tournament, the residual a
    damped one over the same bits, and a martingale of the bits of both winners decides.

    Derivation: docs/theory/joint-tournament.md.

    Args:
        decoder: SynthID with finitely many rounds, or that completed.
        cut: tokens with less of the draft's law, or of the residual, do not play for it.

    Raises:
        ValueError: for another decoder, or a cut below 0.
    """

    decoder: Decoder = field(default_factory=SynthID)
    cut: float = CUT
    name = "joint-tournament"
    full_efficiency = True
    joint = True
    columns = Columns(_draft, _accept, _replace, drawn(Stream.SHARED))
    detection = Detection(Stream.SHARED, Stream.SHARED, Stream.SHARED, Coin.RANDOM)
    carried = "synthid:M and completed:synthid:M with a finite M"

    def __post_init__(self) -> None:
        if not self.carries(self.decoder):
            raise ValueError(
                f"decoder={self.decoder.name!r} plays no tournament of finitely many rounds; {self.name} "
                "needs synthid:M or completed:synthid:M (algorithm-1 works with any decoder)"
            )
        if not self.cut >= 0:
            raise ValueError(f"cut={self.cut!r} must be a probability; 0 lets every token play")

    @classmethod
    def carries(cls, decoder: Decoder) -> bool:
        return decoder.tournament is not None

    @property
    def rounds(self) -> int:
        """Of the tournaments."""
        assert self.decoder.tournament is not None
        return self.decoder.tournament

    def settles(self, p: Array, q: Array, draft: Array, randomness: Randomness) -> Settled:
        return _settle(self, p, q, draft, randomness)

    @property
    def determined(self) -> bool:
        # Completed, the race that draws the tokens is the coin as well.
        return is_degenerate(self.decoder)


class _Contest(NamedTuple):
    """The rows of a batch whose draft token may be rejected, and what replaces it then.

    Attributes:
        rows: which, of the flattened batch.
        match: their tournaments.
        start: a = P_j/Q_j.
        replacement: k.
        coin: uniform in (0, 1), independent of all bits, j and k.
    """

    rows: Array
    match: Duel
    start: Array
    replacement: Array
    coin: Array


def _contest(method: Any, p: Array, q: Array, draft: Array, randomness: Randomness) -> _Contest | None:
    """None where every draft token is accepted for sure."""
    xp = namespace(p)
    bits, race = _numbers(method, randomness)
    # Asked for whether they are needed or not: what a text draws must not depend on the others of its batch.
    kept = () if race is not None else (randomness.kept("replacement"), randomness.kept("acceptance"))
    shape = (*draft.shape, p.shape[-1])
    target, law, token = _flat(p, shape, p), _flat(q, shape, p), _nearest(xp.reshape(draft, (-1,)))
    rows = namespace(token).nonzero(at(target, token) < at(law, token))[0]
    if rows.shape[0] == 0:
        return None
    target, law, token = as_float64(target[rows]), as_float64(law[rows]), token[rows]
    every = _flat_bits(bits, shape, p)
    own = TournamentBits(lambda k: every.word(k)[rows])
    match = duel(target, law, token, own, method.rounds, method.cut)
    contest = partial(_Contest, _back(rows, p), match, draft_acceptance(target, law, token))
    if race is None:
        uniform, coin = (_nearest(xp.reshape(number, (-1,)))[rows] for number in kept)
        return contest(_or_draft(categorical(match.residual, uniform), match.residual, token), coin)
    # What the draft's race leaves is a race again, and who wins it is independent of both winning times: the
    # first of two such times is a uniform share of their sum. Without residual there is one time alone.
    drafted = draft_law(law, own, method.rounds, method.cut)
    time, clocks = _clocks(_flat(race, shape, p)[rows], drafted, token, match.residual)
    winner = namespace(clocks).argmin(clocks, axis=-1)
    races = at(match.residual, winner) > 0
    coin = namespace(time).where(races, time / (time + at(clocks, winner)), uniform_of(time))
    return contest(_or_draft(winner, match.residual, token), coin)


def _or_draft(token: Array, rest: Array, draft: Array) -> Array:
    """`token` where there is residual, else the draft token, which nothing replaces."""
    return namespace(rest).where(at(rest, token) > 0, token, draft)


def _clocks(race: Array, law: Array, draft: Array, residual: Array) -> tuple[Array, Array]:
    """t = E_j/q_j, [rows], and (E - t q)/r where there is residual, infinite elsewhere: [rows, n]."""
    xp = namespace(race)
    time = at(race, draft) / at(law, draft)
    races = residual > 0
    # A clock that overflows belongs to a token of less than 1e-300, and rings last.
    with np.errstate(over="ignore"):
        clocks = (race - time[:, None] * law) / xp.where(races, residual, xp.ones_like(residual))
    return time, xp.where(races, clocks, xp.inf)


def _probability(method: Any, contest: _Contest) -> Array:
    """With which the draft tokens of a contest are accepted, given all bits."""
    path, layers = path_of(contest.match, contest.replacement, method.cut)
    # Sixty steps on a few numbers a row: an accelerator would take longer to be told of each.
    xp = namespace(contest.start)
    values = to_numpy(xp.stack([*path, *layers]))
    moves = steps(Path(*values[:3]), Layers(*values[3:]), forecast(method.rounds))
    replaces = to_numpy(at(contest.match.residual, contest.replacement) > 0)
    return _back(walked(to_numpy(contest.start), of_draft_alone(moves, ~replaces)), contest.start)


def _numbers(method: Any, randomness: Randomness) -> tuple[TournamentBits, Array | None]:
    """The bits, and the race of a completed decoder."""
    zeta = randomness.zeta(Stream.SHARED, method.decoder)
    return (zeta.inner, zeta.race) if is_degenerate(method.decoder) else (zeta, None)


def _flat(values: Array, shape: tuple[int, ...], reference: Array) -> Array:
    """`values` for every row of a batch [..., n], [rows, n], where `reference` is best worked on."""
    if isinstance(values, np.ndarray):
        values = like(values, reference)
    values = _nearest(values)
    xp = namespace(values)
    return xp.reshape(xp.broadcast_to(values, shape), (-1, shape[-1]))


def _flat_bits(bits: TournamentBits, shape: tuple[int, ...], reference: Array) -> TournamentBits:
    return TournamentBits(lambda k: _flat(bits.word(k), shape, reference))


def _nearest(values: Array) -> Array:
    """As NumPy's on the host, whose calls cost less than PyTorch's on the few tokens that play."""
    return to_numpy(values) if on_host(values) else values


def _back(values: Array, reference: Array) -> Array:
    """In the library of `reference`."""
    return like(values, reference) if isinstance(values, np.ndarray) else values
