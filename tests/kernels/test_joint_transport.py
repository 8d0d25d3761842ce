"""Posterior transport: exact by enumeration of side information and drafts, with one key and one stream."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers.methods import spread
from tests.helpers.support import ALPHA, P, Q, assert_within, chi_square_p, pairs
from tradeoff.decoders import (
    Completed,
    GumbelMax,
    SideInformation,
    SimplexScores,
    SynthID,
    Transport,
    heavy_water,
    simplex_water,
)
from tradeoff.kernels import JointTransport, make_method, transport_method
from tradeoff.kernels.keyed_randomness import KeyedRandomness
from tradeoff.kernels.randomness import SimulatedRandomness
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Stream
from tradeoff.laws import acceptance_probability, excess, overlap
from tradeoff.llm.generation.vocabulary import vocabulary_ids
from tradeoff.optimal_transport import Exact, RandomScores, Sinkhorn, solvers
from tradeoff.optimal_transport.scores import seeded_table

#: Where a law leaves less than this to other tokens, nothing is drawn for them.
NOTHING = 1e-15
SETTINGS = [
    Transport(scores, solver, head)
    for scores in (SimplexScores(2), SimplexScores(3), RandomScores(k=8), RandomScores("gamma", 16))
    for solver, head in (
        (Exact(), 50),
        (Exact(), 3),
        (Sinkhorn(), 50),
        (Sinkhorn(max_iterations=1), 2),
        (Sinkhorn(0.005, max_iterations=50), 4),
    )
]


class Scripted:
    """Randomness of one stream: side information and true uniforms are given, and nothing else is there."""

    def __init__(self, side: Any, seed: int, *uniforms: Any):
        self._side, self._seed, self._uniforms = side, seed, iter(uniforms)

    def zeta(self, stream, decoder):
        assert stream is Stream.SHARED
        return SideInformation(self._side, seeded_table(self._seed))

    def uniform(self):
        return next(self._uniforms)


class Step(NamedTuple):
    """All that one step can do.

    Attributes:
        law: of (s, draft, token), [k, n, n].
        accepted: with what probability.
    """

    law: np.ndarray
    accepted: float


def cells(law: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of laws [rows, n], and for every token with mass a uniform that the inverse of the distribution
    function maps to it, and its probability: [cells] each."""
    end = np.cumsum(law, axis=-1)
    row, token = np.nonzero(law > NOTHING)
    return row, ((end - law / 2) / end[:, -1:])[row, token], (law / end[:, -1:])[row, token]


def enumerated(method: JointTransport, p: np.ndarray, q: np.ndarray) -> Step:
    """A step by the kernel, over all side information, drafts, coins on either side of their thresholds, and
    replacements; what is emitted given s and the draft is the decoder's, checked decision by decision."""
    decoder = method.decoder
    k, n = decoder.values, len(p)
    drafted = decoder(q, decoder.every())
    side, draft = np.nonzero(drafted > 0)
    weight = drafted[side, draft] / k
    a, r = acceptance_probability(p, q)[draft, None], excess(p, q, empty="zero")
    own = np.eye(n)[draft]
    table = seeded_table(decoder.seed)
    target = a * own + (1 - a) * r
    given = decoder.coupled_after(spread(q, len(side)), draft, target, SideInformation(side, table))
    given = np.where(a < 1, given, own)
    kept = (given * own).sum(axis=-1) / given.sum(axis=-1)
    others = given * (1 - own)
    law, accepted = np.zeros((k, n, n)), 0.0

    def verdict(rows, coins, uniforms):
        randomness = Scripted(side[rows], decoder.seed, coins, uniforms)
        return method(spread(p, len(rows)), spread(q, len(rows)), draft[rows], randomness)

    rows = np.flatnonzero(kept > 0)
    yes = verdict(rows, kept[rows] * (1 - 1e-9), np.full(len(rows), 0.5))
    assert yes.accepted.all()
    np.add.at(law, (side[rows], draft[rows], yes.token), (weight * kept)[rows])
    accepted += float((weight * kept)[rows].sum())
    rows = np.flatnonzero(others.sum(axis=-1) > NOTHING)
    row, uniforms, mass = cells(others[rows])
    rows = rows[row]
    no = verdict(rows, np.minimum(kept[rows] + 1e-9, (1 + kept[rows]) / 2), uniforms)
    assert not no.accepted.any()
    assert (no.token != draft[rows]).all()
    np.add.at(law, (side[rows], draft[rows], no.token), (weight * (1 - kept))[rows] * mass)
    return Step(law, accepted)


def assert_exact(method: JointTransport, p: np.ndarray, q: np.ndarray) -> None:
    law, accepted = enumerated(method, p, q)
    assert np.abs(law.sum(axis=(0, 1)) - p).max() < 1e-12
    assert np.abs(law.sum(axis=(0, 2)) - q).max() < 1e-12
    assert np.abs(law.sum(axis=(1, 2)) - 1 / method.decoder.values).max() < 1e-12
    assert accepted == pytest.approx(float(overlap(p, q)), abs=1e-12)


@pytest.mark.filterwarnings("ignore::tradeoff.decoders.TransportWarning")
@settings(max_examples=150, deadline=None)
@given(pair=pairs(), decoder=st.sampled_from(SETTINGS))
@example(pair=(P, P), decoder=SETTINGS[0])
@example(pair=(np.full(4, 0.25), np.eye(4)[2]), decoder=SETTINGS[5])
@example(pair=(np.eye(4)[1], np.full(4, 0.25)), decoder=SETTINGS[7])
@example(pair=(np.eye(3)[1], np.eye(3)[0]), decoder=SETTINGS[10])
@example(pair=(np.array([0.4, 0.4, 0.2]), np.array([0.2, 0.4, 0.4])), decoder=SETTINGS[16])
def test_every_step_is_exact(pair, decoder):
    """The token has the law P, the draft the law Q and side information its own, and 1 - TV are accepted:
    for zeros, ties and point masses, any solver, stopped at any time, and any head."""
    assert_exact(JointTransport(decoder), *pair)


def test_a_rejected_draft_is_replaced_by_the_residual_whatever_it_was():
    """Given j the mean over its posterior is the target: a_j for j, (1 - a_j) r for the others."""
    law, _ = enumerated(JointTransport(simplex_water(4)), P, Q)
    a = acceptance_probability(P, Q)[:, None]
    assert law.sum(axis=0) == pytest.approx(Q[:, None] * (a * np.eye(10) + (1 - a) * excess(P, Q)), abs=1e-12)


def test_a_point_mass_draft_is_no_speculation():
    decoder = heavy_water(k=16)
    law, _ = enumerated(JointTransport(decoder), P, np.eye(10)[4])
    assert law.sum(axis=1) == pytest.approx(decoder(P, decoder.every()) / 16, abs=1e-12)


def against_the_uniform_law(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transport, "_posterior", lambda *_: None)


def residual_not_normalised(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transport_method, "residual", lambda p, q: np.maximum(p - q, 0))


def mass_of_the_draft_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transport_method, "one_hot", lambda token, p: np.zeros_like(p))


def columns_made_to_fit_the_uniform_law(patch: pytest.MonkeyPatch) -> None:
    honest = solvers._fitted
    patch.setattr(solvers, "_fitted", lambda p, pi, side, *rest: honest(p, pi, None, *rest))


def posterior_of_another_token(patch: pytest.MonkeyPatch) -> None:
    honest = Transport._posterior
    patch.setattr(
        Transport,
        "_posterior",
        lambda self, tokens, mass, token, table: honest(self, tokens, mass, (token + 1) % len(P), table),
    )


@pytest.mark.parametrize(
    "mutant",
    [
        against_the_uniform_law,
        residual_not_normalised,
        mass_of_the_draft_forgotten,
        columns_made_to_fit_the_uniform_law,
        posterior_of_another_token,
    ],
)
def test_what_is_left_out_is_seen(mutant, monkeypatch):
    # Regularised plans leave no side information impossible; a table of its own for each, so that no plan is
    # remembered from elsewhere.
    decoder = heavy_water(k=16, seed=1 + len(mutant.__name__), solver=Sinkhorn(0.3))
    p, q = np.random.default_rng(4).dirichlet(np.ones(len(P)), 2)
    assert_exact(JointTransport(heavy_water(k=16, solver=Sinkhorn(0.3))), p, q)
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        assert_exact(JointTransport(decoder), p, q)


def score_gaps(scores: Any, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Mean score above that of independent side information, [5], exact: no speculation; posterior transport;
    two keys, the draft's read; two keys, each token's own read; an independent coin and residual instead of
    the transport."""
    decoder = Transport(scores)
    every, n = decoder.every(), len(p)
    score = scores.rows(np.arange(n), seeded_table(0))
    score = (score - score.mean(axis=-1, keepdims=True)).T / decoder.values
    a, r = acceptance_probability(p, q), excess(p, q, empty="zero")
    drafted = decoder(q, every)
    accepted = float((drafted * a * score).sum())
    replaced = float((decoder(r, every) * score).sum()) * float(1 - overlap(p, q))
    independent = accepted + float(((drafted * (1 - a)).sum(axis=-1, keepdims=True) * r * score).sum())
    law, _ = enumerated(JointTransport(decoder), p, q)
    joint = float((law.sum(axis=1) * score).sum()) * decoder.values
    basic = float((decoder(p, every) * score).sum())
    return np.array([basic, joint, accepted, accepted + replaced, independent])


#: By number of tokens, 2^r - 1: mean gaps over 1,000 Dirichlet(1) pairs in the order of `score_gaps`, and the
#: standard deviations over pairs.
TABLE = {
    3: ([0.2952, 0.2599, 0.1823, 0.2262, 0.1426], [0.0707, 0.0881, 0.0737, 0.0784, 0.0871]),
    7: ([0.4254, 0.3576, 0.2295, 0.3836, 0.2104], [0.0161, 0.0576, 0.0570, 0.0517, 0.0661]),
}


@pytest.mark.parametrize("r", [2, 3])
def test_random_pairs_have_the_gaps_of_the_table(r):
    rng = np.random.default_rng(r)
    gaps = np.array([score_gaps(SimplexScores(r), *rng.dirichlet(np.ones(2**r - 1), 2)) for _ in range(40)])
    mean, deviation = TABLE[2**r - 1]
    for column in range(5):
        assert_within(gaps[:, column].mean(), mean[column], deviation[column] * math.sqrt(1 / 40 + 1 / 1000))
    basic, joint, one_read, own_read, independent = gaps.T
    # Pair by pair: the best of all couplings of P and s is no speculation, and the worst that the transport
    # may choose is to ignore s.
    assert (joint <= basic + 1e-12).all()
    assert (joint >= independent - 1e-12).all()
    # Whoever reads both keys has the noise of two scores a token.
    assert joint.mean() > max(one_read.mean(), own_read.mean() / math.sqrt(2))


@pytest.mark.parametrize("solver", [Exact(), Sinkhorn()], ids=["exact", "sinkhorn"])
def test_a_million_tokens(solver):
    method, seeds = JointTransport(heavy_water(k=64, solver=solver)), 1_000_000
    randomness = SimulatedRandomness(np.random.default_rng(3), (seeds,), len(P))
    draft = method.draft(spread(Q, seeds), randomness)
    verdict = method(spread(P, seeds), spread(Q, seeds), draft, randomness)
    assert chi_square_p(np.bincount(verdict.token, minlength=len(P)), seeds * P) > ALPHA
    rate = float(overlap(P, Q))
    assert method.efficiency(P, Q) == pytest.approx(rate)
    assert_within(verdict.accepted.mean(), rate, math.sqrt(rate * (1 - rate) / seeds))
    side = randomness.zeta(Stream.SHARED, method.decoder).s
    assert (verdict.token[verdict.accepted] == draft[verdict.accepted]).all()
    assert (verdict.token[~verdict.accepted] != draft[~verdict.accepted]).all()
    # What a detector with the key reads, against the enumeration.
    score = method.decoder.scores.rows(np.arange(len(P)), seeded_table(0))
    law, _ = enumerated(method, P, Q)
    read = score[verdict.token, side]
    assert_within(read.mean(), float((law.sum(axis=1) * score.T).sum()), read.std() / math.sqrt(seeds))


@pytest.mark.filterwarnings("ignore::tradeoff.decoders.TransportWarning")
@pytest.mark.parametrize("decoder", [simplex_water(3), heavy_water(k=16, solver=Sinkhorn(), head=4)])
def test_torch_agrees_with_numpy(decoder):
    rng, rows = np.random.default_rng(5), 400
    p, q = (rng.dirichlet(np.ones(9), 20)[rng.integers(20, size=rows)] for _ in range(2))
    side, uniforms = rng.integers(decoder.values, size=rows), rng.random((3, rows))
    method = JointTransport(decoder)
    numpy = Scripted(side, 0, *uniforms)
    draft = method.draft(q, numpy)
    verdict = method(p, q, draft, numpy)
    pytorch = Scripted(torch.from_numpy(side), 0, *map(torch.from_numpy, uniforms))
    tp, tq = torch.from_numpy(p), torch.from_numpy(q)
    torch_draft = method.draft(tq, pytorch)
    assert np.array_equal(draft, torch_draft.numpy())
    for ours, theirs in zip(verdict, method(tp, tq, torch_draft, pytorch), strict=True):
        assert np.array_equal(ours, theirs.numpy())
    assert 0.2 < verdict.accepted.mean() < 0.9


def test_batches_of_more_axes_are_their_rows():
    rng = np.random.default_rng(6)
    p, q = rng.dirichlet(np.ones(5), (2, 3, 4))
    side, uniforms = rng.integers(7, size=(3, 4)), rng.random((3, 3, 4))
    method = JointTransport(simplex_water(3))
    whole = Scripted(side, 0, *uniforms)
    draft = method.draft(q, whole)
    flat = Scripted(side.ravel(), 0, *(u.ravel() for u in uniforms[1:]))
    for part, row in zip(
        method(p, q, draft, whole),
        method(p.reshape(12, 5), q.reshape(12, 5), draft.ravel(), flat),
        strict=True,
    ):
        assert np.array_equal(part.ravel(), row)


def keyed(rows: np.ndarray, masked: np.ndarray) -> KeyedRandomness:
    contexts = np.arange(2 * len(masked)).reshape(-1, 2)
    sources = [cache(partial(np.random.default_rng, [7, int(row)])) for row in rows]
    prf = KeyedPrf(Key(b"0123456789abcdef"), 2)
    return KeyedRandomness(prf, contexts[rows], masked[rows], sources, vocabulary_ids(6, torch.device("cpu")))


def test_rejected_rows_alone_are_replaced_as_in_their_batch():
    """As an engine asks: acceptance of all rows, replacement of those that were rejected; and no row depends
    on the others, masked or not."""
    rng, rows = np.random.default_rng(8), 60
    p, q = (torch.from_numpy(rng.dirichlet(np.full(6, 0.5), rows)) for _ in range(2))
    masked = np.arange(rows) % 3 == 0
    method = JointTransport(simplex_water(3))
    together = keyed(np.arange(rows), masked)
    draft = method.draft(q, together)
    accepted = method.accepts(p, q, draft, together)
    rejected = np.flatnonzero(~accepted.numpy())
    token = method.after_rejection(p[rejected], q[rejected], draft[rejected], together.take(rejected)).token
    assert 10 < len(rejected) < 50
    assert (token != draft[rejected]).all()
    assert (p[rejected].gather(1, token[:, None]) > q[rejected].gather(1, token[:, None])).all()
    for row in range(rows):
        one, here = keyed(np.array([row]), masked), slice(row, row + 1)
        assert method.draft(q[here], one) == draft[row]
        assert method.accepts(p[here], q[here], draft[here], one) == accepted[row]
        if not accepted[row]:
            verdict = method.after_rejection(p[here], q[here], draft[here], one.take(np.array([0])))
            assert verdict.token == token[np.flatnonzero(rejected == row)[0]]


def test_a_replacement_comes_out_with_the_verdict():
    """Both at once are both one by one, drawn from the same numbers in the same order."""
    rng = np.random.default_rng(41)
    p, q = rng.dirichlet(np.full(7, 0.4), (2, 200))
    method = JointTransport(simplex_water(3))

    def fresh() -> tuple[SimulatedRandomness, np.ndarray]:
        randomness = SimulatedRandomness(np.random.default_rng(42), (200,), 7)
        return randomness, method.draft(q, randomness)

    randomness, draft = fresh()
    settled = method.settles(p, q, draft, randomness)
    randomness, again = fresh()
    np.testing.assert_array_equal(again, draft)
    np.testing.assert_array_equal(settled.accepted, method.accepts(p, q, draft, randomness))
    replacement = method.replacement(p, q, draft, randomness)
    rejected = ~settled.accepted
    assert 20 < rejected.sum() < 180
    np.testing.assert_array_equal(settled.replacement[rejected], replacement[rejected])


def test_what_it_tells_detectors():
    detection = JointTransport(simplex_water(3)).detection
    assert detection.streams == {Stream.SHARED}
    assert detection.coin == "random"
    assert not JointTransport(heavy_water()).determined


@pytest.mark.parametrize(
    ("decoder", "words"),
    [
        (GumbelMax(), "no transport to the posterior.*SimplexWater or HeavyWater.*algorithm-1"),
        (SynthID(3), "no transport to the posterior"),
        (Completed(simplex_water(3)), "SimplexWater.*completed' has no transport to the posterior"),
        (heavy_water(tilt=1.5), "tilt 1.5.*is biased.*without tilt"),
    ],
)
def test_what_it_does_not_carry_is_refused_with_the_reason(decoder, words):
    assert not JointTransport.carries(decoder)
    with pytest.raises(ValueError, match=words):
        make_method("joint-transport", decoder)
