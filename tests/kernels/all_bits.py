"""The joint tournament, exactly: every pattern of bits of a few tokens and layers, with its probability."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tradeoff.decoders import TournamentBits
from tradeoff.kernels import damped_tournament, martingale
from tradeoff.kernels.martingale import Forecast
from tradeoff.laws import draft_acceptance, residual

#: Of u and d that the tables choose, and of u and d by constants.
CHOICES = ("tables", "constants")


class Case(NamedTuple):
    """P, Q, the number of layers, and the cut."""

    p: np.ndarray
    q: np.ndarray
    rounds: int
    cut: float


def tables(choice: str, rounds: int) -> Forecast:
    """Those of the library; or the same delta everywhere, and a variance of 0.2 a step."""
    found = martingale.forecast(rounds)
    if choice == "tables":
        return found
    layers = np.arange(rounds + 1)[:, None]
    return Forecast(np.full_like(found.gain, 0.6), 0.2 * layers * np.ones_like(found.variance))


def every_word(n: int, rounds: int) -> np.ndarray:
    """All patterns of bits, [2^(n m), n] words; those that agree in the first layers are neighbours."""
    pattern = np.arange(1 << (n * rounds), dtype=np.int64)
    words = np.zeros((len(pattern), n), dtype=np.int64)
    for layer in range(rounds):
        for token in range(n):
            words[:, token] |= ((pattern >> (n * (rounds - 1 - layer) + token)) & 1) << layer
    return words


def largest_miss(case: Case, choice: str) -> dict[str, float]:
    """How far every statement of the theorem is from true, at worst."""
    p, q, rounds, cut = case
    words, n = every_word(len(p), rounds), len(p)
    size = len(words)
    targets, drafts = (np.broadcast_to(law, (size, n)) for law in (p, q))
    zeta = TournamentBits(lambda _: words)
    drafted = damped_tournament.draft_law(drafts, zeta, rounds, cut)
    miss = dict.fromkeys(("draft", "replacement", "acceptance", "pi", "pi'", "output"), 0.0)

    def saw(what: str, off: np.ndarray) -> None:
        # Unlike max, which would lose what is no number.
        miss[what] = float(np.maximum(miss[what], np.abs(off).max()))

    saw("draft", drafted.mean(axis=0) - q)
    output = np.minimum(p, q)
    for j in np.flatnonzero(p < q):
        draft = np.full(size, j)
        match = damped_tournament.duel(targets, drafts, draft, zeta, rounds, cut)
        weight = drafted[:, j] / size
        a, r = float(draft_acceptance(p, q, np.array(j))), residual(p, q)
        layers = match.layers
        for layer in range(rounds):
            past = np.arange(size) >> (n * (rounds - layer))
            saw("pi", _sums(past, weight * (layers.bit - damped_tournament.draft_bit(layers.mass))[:, layer]))
        for k in np.flatnonzero(r > 0):
            path, own = damped_tournament.path_of(match, np.full(size, k), cut)
            moves = martingale.steps(path, own, tables(choice, rounds))
            joint = weight * match.residual[:, k]
            accepted = joint * martingale.walked(np.full(size, a), moves)
            saw("replacement", joint.sum() - q[j] * r[k])
            saw("acceptance", accepted.sum() - q[j] * a * r[k])
            output[k] += (joint - accepted).sum()
            expected = damped_tournament.replacement_bit(path, own)
            for layer in range(rounds):
                past = np.arange(size) >> (n * (rounds - layer))
                seen = 2 * past + layers.bit[:, layer].astype(int)
                saw("pi'", _sums(seen, joint * (path.bit - expected)[:, layer]))
    saw("output", output - p)
    return miss


def cases(seed: int, count: int) -> list[Case]:
    """Small cases of every kind, most of them degenerate in some way."""
    rng = np.random.default_rng(seed)
    return [_KINDS[i % len(_KINDS)](rng) for i in range(count)]


def _sums(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(group, values)


def _random(rng: np.random.Generator, least: int = 2) -> Case:
    n = int(rng.integers(least, 5))
    rounds = int(rng.integers(1, 4 if n < 4 or rng.random() < 0.2 else 3))
    p, q = rng.dirichlet(np.full(n, rng.choice([0.4, 1.0, 4.0])), 2)
    return Case(p, q, rounds, 0.0)


def _zeros(rng: np.random.Generator) -> Case:
    case = _random(rng, 3)
    p, q = case.p.copy(), case.q.copy()
    p[0] = 0
    q[int(rng.integers(0, 3))] = 0
    return case._replace(p=p / p.sum(), q=q / q.sum())


def _ties(rng: np.random.Generator) -> Case:
    """Two tokens alike, and a third with P = Q."""
    case = _random(rng, 3)
    p, q = case.p.copy(), case.q.copy()
    p[1], q[1] = p[0], q[0]
    p[2] = q[2] = 0.25
    for law in (p, q):
        law[[0, 1, *range(3, len(p))]] *= 0.75 / (law.sum() - 0.25)
    return case._replace(p=p, q=q)


def _one_left(rng: np.random.Generator) -> Case:
    """One token has all of the residual."""
    case = _random(rng)
    p = 0.6 * case.q
    p[-1] += 0.4
    return case._replace(p=p)


def _sure(rng: np.random.Generator) -> Case:
    """The draft is nearly sure of one token."""
    case = _random(rng)
    rest = 10.0 ** rng.integers(-14, -1)
    q = rest * case.q
    q[0] += 1 - rest
    return case._replace(q=q / q.sum())


def _point_masses(rng: np.random.Generator) -> Case:
    case = _random(rng)
    q = np.eye(len(case.p))[0]
    return case._replace(q=q)


def _nearly_accepted(rng: np.random.Generator) -> Case:
    """a near 0 or 1."""
    case = _random(rng)
    p = case.q * (1 - 1e-9) if rng.random() < 0.5 else 1e-9 * case.q
    p[-1] += 1 - p.sum()
    return case._replace(p=p)


def _cut(rng: np.random.Generator) -> Case:
    """Tokens that do not play, at times the draft token or all of them."""
    return _random(rng, 3)._replace(cut=float(rng.choice([0.1, 0.2, 0.3, 0.45, 2.0])))


def _equal(rng: np.random.Generator) -> Case:
    case = _random(rng)
    return case._replace(p=case.q)


_KINDS = (_random, _zeros, _ties, _one_left, _sure, _cut, _point_masses, _nearly_accepted, _cut, _equal)
