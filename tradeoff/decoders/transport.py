"""Watermarks by optimal transport (Tsur et al.): what SimplexWater and HeavyWater have in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tradeoff._arrays import Array, like, namespace, on_host, to_numpy
from tradeoff.decoders.base import BaseDecoder
from tradeoff.decoders.sources import Source
from tradeoff.keyed import Kind, Prf
from tradeoff.laws import at
from tradeoff.optimal_transport import (
    Exact,
    Plan,
    Scores,
    Sinkhorn,
    Solver,
    remembered_rows,
    seeded_table,
    written,
)

__all__ = [
    "SETTINGS",
    "SideInformation",
    "Transport",
    "TransportWarning",
    "convert",
    "tilted",
    "transport_of",
]

_Kind = Callable[[str], float]

#: Tokens below this keep their probability whatever s is: they would cost time and carry nothing.
_NEGLIGIBLE = 2.0**-20
#: Values of side information of a watermark that a record names.
_MOST_NAMED = 1024
#: Plans remembered, and how many more of those that take little memory: curves and simulations ask for the
#: same few laws again and again, and to verify a draft takes the plan that it was drawn from.
_PLANS, _SMALL_PLANS = 8, 64
#: Numbers of a small plan: half a megabyte.
_SMALL = 1 << 16
#: Posteriors of s below this, relative to the uniform law, are rounding errors of a plan.
_IMPOSSIBLE = 2.0**-40


class TransportWarning(UserWarning):
    """A transport was stopped before it had converged; the laws are unbiased, the gap is below its best."""


class SideInformation(NamedTuple):
    """What a transport decoder reads.

    Attributes:
        s: [...] integers in 0 .. k-1.
        table: the key under which scores are looked up.
    """

    s: Array
    table: Prf


@dataclass(frozen=True)
class Transport(BaseDecoder):
    """S(P, s) = k pi(., s), pi the optimal transport of P to uniform side information s under a score.

    Unbiased whatever the solver, as the laws are made to fit (docs/theory/transport.md). In general not
    degenerate: tokens that share a value of s are told apart by true randomness, or by a race
    (`tradeoff.decoders.Completed`).

    Only the head of P is transported, conditionally on being in it; the tail keeps its probabilities for
    every s, which costs strength and leaves the mean as it is.

    Args:
        scores: the family of scores, with its k.
        solver: Exact() or Sinkhorn().
        head: how many of the most probable tokens are transported, at least 2.
        tilt: 0, or more to trade text quality for detection: laws are multiplied by exp(tilt f(x, s)) and
            normalised within the head. Biased unless 0; an exact plan is nearly a point mass for every s, and
            leaves little to tilt.
        seed: of the table of scores where no key gives one (simulations, curves).

    Raises:
        ValueError: for a head below 2, a negative tilt, or a seed outside 0 .. 2^63 - 1.
    """

    scores: Scores
    solver: Solver = field(default_factory=Exact)
    head: int = 50
    tilt: float = 0.0
    seed: int = 0

    degenerate = False
    needs: ClassVar[frozenset[Kind]] = frozenset({Kind.SIDE_INFORMATION})

    def __post_init__(self) -> None:
        if not isinstance(self.head, int) or self.head < 2:
            raise ValueError(f"head={self.head!r} must be a whole number of at least 2 tokens; 50 is usual")
        if not 0 <= self.tilt < float("inf"):
            raise ValueError(f"tilt={self.tilt} must be 0 (unbiased) or a positive number")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed={self.seed!r} must be a whole number from 0 to 2^63 - 1")

    @property
    def name(self) -> str:
        """ "SimplexWater (r = 10)", "HeavyWater (lognormal, k = 1024)", with what differs from the usual."""
        solver = "" if self.solver == Exact() else f", {self.solver.name}"
        tilt = f", tilt {self.tilt:g}" if self.tilt else ""
        return f"{self.scores.name.removesuffix(')')}{solver}{tilt})"

    @property
    def randomness(self) -> str:
        """Decoders of one k can share their side information."""
        return f"side information of {self.scores.k} values"

    @property
    def unbiased(self) -> bool:
        """Without tilt."""
        return self.tilt == 0

    @property
    def leaves_little(self) -> bool:
        """An exact plan is nearly a point mass for every s."""
        return self.solver == Exact()

    @property
    def traces(self) -> frozenset[Hashable]:
        """The scores, however they were transported."""
        return frozenset({self.scores})

    @property
    def spelling(self) -> str:
        """ "simplexwater:10,sinkhorn=0.05"."""
        if self.seed:
            raise ValueError(f"decoder={self.name!r} has no name on the command line (seed={self.seed})")
        parts = [self.scores.spelling, self.solver.spelling]
        if self.head != Transport.head:
            parts.append(f"head={self.head}")
        if self.tilt:
            parts.append(f"tilt={written(self.tilt)}")
        return ",".join(filter(None, parts))

    @property
    def excess(self) -> str | None:
        """Values of side information: HeavyWater's authors use 1,024, SimplexWater of R = 10 has 1,023."""
        if self.values <= _MOST_NAMED:
            return None
        return f"{self.values} values of side information, and a record may name {_MOST_NAMED} at most"

    @property
    def values(self) -> int:
        """How many values zeta has, all equally likely."""
        return self.scores.k

    def every(self) -> SideInformation:
        """All values of zeta: a batch [k]."""
        return SideInformation(np.arange(self.scores.k), seeded_table(self.seed))

    def numbers(self, source: Source) -> SideInformation:
        """Side information, uniform on 0 .. k-1, for every position, and the table of scores."""
        return SideInformation(source.side_information(self.scores.k), source.table(self.seed))

    def take(self, zeta: SideInformation, rows: Array) -> SideInformation:
        """Theirs, under the same table; booleans do for integers."""
        return zeta._replace(s=zeta.s[rows])

    def antithetic(self, zeta: SideInformation) -> SideInformation:
        """k - 1 - s: the same law, and no more, as the values of s have no order."""
        return zeta._replace(s=self.scores.k - 1 - zeta.s)

    def plan(self, p: np.ndarray, table: Prf | None = None) -> tuple[np.ndarray, Plan]:
        """The tokens of the head and their coupling with s.

        Args:
            p: law [n].
            table: whose scores; that of `seed` if None.

        Returns:
            (token ids [m], plan with laws [m, k] of the law of the head).
        """
        tokens, mass = self._heads(np.asarray(p)[None])
        kept = mass[0] >= _NEGLIGIBLE
        ids = tokens[0, kept]
        return ids, self._plan(ids, mass[0, kept], seeded_table(self.seed) if table is None else table)

    def __call__(self, p: Array, zeta: SideInformation) -> Array:
        """P_s: `[..., n]`, of p's type."""
        xp, n = namespace(p), p.shape[-1]
        side = to_numpy(zeta.s)
        batch = np.broadcast_shapes(p.shape[:-1], side.shape)
        rows = xp.reshape(p, (-1, n))
        tokens, mass = self._heads(rows)
        of_row = np.arange(rows.shape[0]).reshape(p.shape[:-1])
        of_row, side = (np.broadcast_to(a, batch).ravel() for a in (of_row, side))
        head = np.empty((len(side), tokens.shape[1]))
        for here in _alike(_groups(tokens, mass)[of_row]):
            row = int(of_row[here[0]])
            head[here] = self._at(tokens[row], mass[row], side[here], zeta.table)
        law = _with_heads(xp.reshape(xp.broadcast_to(p, (*batch, n)), (-1, n)), tokens[of_row], head)
        return xp.reshape(law, (*batch, n))

    def coupled_after(self, q: Array, token: Array, target: Array, zeta: SideInformation) -> Array:
        """The law, given s, of what is emitted where S(q, s) gave `token`: given the token alone, `target`.

        Given the token, s has the posterior law S(q, s)_token / (k q_token); the head of `target` is
        transported to that, as that of P is to the uniform law. Its mean over the posterior is `target`, with
        any solver and any head (docs/theory/joint-transport.md). Where s was impossible, it is `target`.

        Args:
            q: [rows, n].
            token: [rows] ids, of positive probability. It has a place in the head.
            target: [rows, n].
            zeta: of the rows.

        Returns:
            [rows, n], of target's type.
        """
        side, drawn = to_numpy(zeta.s), to_numpy(token).astype(np.int64)
        of_draw = self._heads(q)
        tokens, mass = self._heads(target)
        absent = ~(tokens == drawn[:, None]).any(axis=-1)
        tokens[absent, 0] = drawn[absent]
        mass[absent, 0] = to_numpy(at(target, token))[absent]
        head = np.empty(mass.shape)
        # By the token first: of one pair of laws, all else is then the same.
        for alike in _alike(np.unique(drawn, return_inverse=True)[1]):
            parts = (tokens[alike], mass[alike], *(part[alike] for part in of_draw))
            for here in _alike(_groups(*parts)):
                ids, wanted, draft_ids, draft_mass = (part[here[0]] for part in parts)
                posterior = self._posterior(draft_ids, draft_mass, int(drawn[alike[0]]), zeta.table)
                head[alike[here]] = self._at(ids, wanted, side[alike[here]], zeta.table, posterior)
        return _with_heads(target, tokens, head)

    def _heads(self, rows: Array) -> tuple[np.ndarray, np.ndarray]:
        """The most probable tokens of every row, the least probable of them first, and their probabilities:
        [rows, m] each, on the host, probabilities in float64.

        Network simplex takes the tokens of a simplex code several times faster in this order than in the
        opposite one, and of many optimal plans it finds one that depends on the order.
        """
        m, n = min(self.head, rows.shape[-1]), rows.shape[-1]
        if on_host(rows):
            # Shares its memory with a tensor.
            p = to_numpy(rows)
            # From the top: from below it takes 20 times as long to end among a truncated law's zeros.
            top = np.argpartition(-p, m - 1, axis=-1)[:, :m] if m < n else np.arange(n)[None]
            tokens = np.sort(np.broadcast_to(top, (len(p), m)), axis=-1)
            mass = np.take_along_axis(p, tokens, -1)
        else:
            top = namespace(rows).argsort(rows, axis=-1, descending=True)[:, :m]
            tokens = np.sort(to_numpy(top), axis=-1)
            mass = to_numpy(namespace(rows).take_along_axis(rows, like(tokens, rows), axis=-1))
        order = np.argsort(mass, axis=-1, kind="stable")
        return np.take_along_axis(tokens, order, -1), np.take_along_axis(mass, order, -1).astype(np.float64)

    def _posterior(self, tokens: np.ndarray, mass: np.ndarray, token: int, table: Prf) -> np.ndarray | None:
        """The law of s given that S(q, s) gave `token`, q of this head: [k], or None if it is uniform."""
        kept = mass >= _NEGLIGIBLE
        place = np.flatnonzero(tokens[kept] == token)
        # The tail is drawn whatever s is, and so is a head of one token.
        if not len(place) or np.count_nonzero(kept) < 2:
            return None
        row = self._plan(tokens[kept], mass[kept], table).laws[place[0]]
        row = np.where(row > _IMPOSSIBLE * row.mean(), row, 0.0)
        return row / row.sum()

    def _at(
        self,
        tokens: np.ndarray,
        mass: np.ndarray,
        side: np.ndarray,
        table: Prf,
        posterior: np.ndarray | None = None,
    ) -> np.ndarray:
        """What P_s gives the tokens of a head, for many s of a law, uniform if None: [len(side), m]."""
        kept = mass >= _NEGLIGIBLE
        law = np.broadcast_to(mass, (len(side), len(mass))).copy()
        # A one-token support has nothing to couple.
        if np.count_nonzero(kept) < 2:
            return law
        laws = self._plan(tokens[kept], mass[kept], table, posterior).laws[:, side].T
        if self.tilt:
            laws = tilted(laws, remembered_rows(self.scores, table)(tokens[kept])[:, side].T, self.tilt)
        law[:, kept] = mass[kept].sum() * laws
        return law

    def _plan(
        self, tokens: np.ndarray, mass: np.ndarray, table: Prf, posterior: np.ndarray | None = None
    ) -> Plan:
        """The coupling of the law of the head, given that the token is in it, with s, uniform if None."""
        law = mass / mass.sum()
        solved = _solved if len(law) * self.scores.k > _SMALL else _solved_small
        side = None if posterior is None else posterior.tobytes()
        return solved(self.solver, self.scores, table, tokens.tobytes(), law.tobytes(), side)


def tilted(laws: np.ndarray, scores: np.ndarray, tilt: float) -> np.ndarray:
    """Laws times exp(tilt f), normalised: laws and scores [..., m] -> [..., m]."""
    # Relative to the highest score that a law can have, so that no factor overflows and one of them is 1.
    top = np.where(laws > 0, scores, -np.inf).max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        weights = laws * np.exp(tilt * np.minimum(scores - top, 0.0))
    return weights / weights.sum(axis=-1, keepdims=True)


def _groups(*columns: np.ndarray) -> np.ndarray:
    """Numbers of the rows of columns [rows, m] of 64 bits, [rows], equal for equal rows."""
    if all(bool((column == column[:1]).all()) for column in columns):
        return np.zeros(len(columns[0]), dtype=np.int64)
    together = np.concatenate([column.view(np.int64) for column in columns], axis=-1)
    return np.unique(together, axis=0, return_inverse=True)[1].ravel()


def _alike(group: np.ndarray) -> Iterator[np.ndarray]:
    """The places of every group, of numbers [rows]: many seeds of one law share its plan."""
    for here in np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1]):
        if len(here):
            yield here


def _with_heads(laws: Array, tokens: np.ndarray, head: np.ndarray) -> Array:
    """Laws [rows, n] that give tokens [rows, m] the probabilities head [rows, m]."""
    xp = namespace(laws)
    law = xp.asarray(laws, copy=True)
    law[like(np.arange(len(head))[:, None], laws), like(tokens, laws)] = xp.astype(
        like(head, laws), laws.dtype
    )
    return law


#: Settings that names of all transport watermarks may go on with: their kinds, and values to go by.
SETTINGS: dict[str, tuple[_Kind, str]] = {
    "sinkhorn": (float, "0.05"),
    "head": (int, "50"),
    "tilt": (float, "1.5"),
}


def transport_of(
    keyword: str,
    items: list[str],
    scores: Callable[[dict[str, float]], Scores],
    known: dict[str, tuple[_Kind, str]] = SETTINGS,
) -> Transport:
    """The transport watermark of a name: "head=20", "tilt=2" and so on, after its main argument.

    Args:
        keyword: of the name, for messages.
        items: the settings, as written.
        scores: of the settings by name.
        known: settings that there are, with their kinds and values to go by.

    Raises:
        ValueError: for settings that are unknown, come twice or have no value that fits.
    """
    told: dict[str, float] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if name not in known:
            *most, last = known
            raise ValueError(f"unknown setting {name!r}; {keyword} knows {', '.join(most)} and {last}")
        kind, example = known[name]
        if not equals:
            raise ValueError(f"the setting {name!r} has no value; write {name}={example}")
        if name in told:
            raise ValueError(
                f"the setting {name} comes twice, {written(told[name])} and {value}; keep one of them"
            )
        told[name] = convert(name, value, example, kind)
    return Transport(
        scores(told),
        Sinkhorn(told["sinkhorn"]) if "sinkhorn" in told else Exact(),
        int(told.get("head", Transport.head)),
        told.get("tilt", 0.0),
    )


def convert(name: str, value: str, example: str, kind: _Kind = int) -> Any:
    """A number of a name.

    Raises:
        ValueError: for what is none of its kind.
    """
    try:
        return kind(value)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise ValueError(f"{name}={value!r} must be a {what}, as {example}") from None


def _solve(solver: Solver, scores: Scores, table: Prf, tokens: bytes, law: bytes, side: bytes | None) -> Plan:
    p = np.frombuffer(law)
    rows = remembered_rows(scores, table)(np.frombuffer(tokens, dtype=np.int64))
    if side is None:
        plan = solver(p, rows)
    else:
        posterior = np.frombuffer(side)
        possible = posterior > 0
        plan = solver(p, rows[:, possible], posterior[possible])
        laws = np.repeat(p[:, None], scores.k, axis=-1)
        laws[:, possible] = plan.laws
        plan = plan._replace(laws=laws)
    if not plan.converged:
        warnings.warn(
            f"transport by {solver.name} of {len(p)} tokens to {scores.k} values stopped after "
            f"{plan.iterations} iterations with a marginal error of {plan.marginal_error:.1e}; allow more "
            "iterations, or a larger regularisation",
            TransportWarning,
            stacklevel=2,
        )
    return plan


_solved = lru_cache(maxsize=_PLANS)(_solve)
_solved_small = lru_cache(maxsize=_SMALL_PLANS)(_solve)
