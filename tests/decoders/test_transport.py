"""SimplexWater and HeavyWater as decoders, and completion: unbiased, of their strength, by name."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from tests.helpers.support import ALPHA, P, Q, assert_within, chi_square_p, distributions
from tradeoff.curves.measures import sampling_efficiency, watermark_strength
from tradeoff.curves.monte_carlo import simulate
from tradeoff.decoders import (
    Completed,
    GumbelMax,
    Identity,
    SideInformation,
    SimplexScores,
    SynthID,
    Transport,
    TransportWarning,
    decoder_name,
    heavy_water,
    parse_decoder,
    shares_randomness,
    simplex_water,
)
from tradeoff.decoders.transport import tilted
from tradeoff.laws import entropy, overlap
from tradeoff.optimal_transport.scores import RandomScores, seeded_table
from tradeoff.optimal_transport.solvers import Exact, Sinkhorn, detection_gap

SOLVERS = [Exact(), Sinkhorn(), Sinkhorn(max_iterations=1)]


@given(distributions(max_n=8), st.sampled_from(SOLVERS), st.sampled_from([2, 3, 50]), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore::tradeoff.decoders.TransportWarning")
def test_the_mean_over_all_side_information_is_p(p, solver, head, seed):
    """Unbiased by enumeration, with any solver, stopped at any time, whatever is left in the tail."""
    for scores in (SimplexScores(3), RandomScores(k=16)):
        decoder = Transport(scores, solver, head, seed=seed)
        law = decoder(p, decoder.every())
        assert law.mean(axis=0) == pytest.approx(p, abs=1e-12)
        assert law.sum(axis=-1) == pytest.approx(np.ones(decoder.values), abs=1e-12)
        assert np.all(law >= 0)


def test_the_law_given_s_is_k_times_the_coupling():
    """Section 1 of the paper: S(P, s) = k pi(., s)."""
    decoder = heavy_water(k=32)
    ids, plan = decoder.plan(P)
    law = decoder(P, decoder.every())
    assert law[:, ids] == pytest.approx(plan.laws.T, abs=1e-12)


def test_strength_is_the_mutual_information_and_exact():
    """WS = H(P) - mean_s H(S(P, s)) = I(X; S), with no standard error."""
    decoder = simplex_water(4)
    law = decoder(P, decoder.every())
    joint = law / decoder.values
    information = float((joint * np.log(np.where(joint > 0, law / P, 1.0))).sum())
    strength = watermark_strength(P, decoder)
    assert strength.value == pytest.approx(float(entropy(P)) - float(entropy(law).mean()), abs=1e-12)
    assert strength.value == pytest.approx(information, abs=1e-12)
    assert strength.standard_error == 0


def test_enumeration_agrees_with_simulation():
    """The exact average over s, s' against drawn ones, for a functional of all three laws."""
    target, draft = heavy_water(k=16), simplex_water(3)

    def functional(p_z, q_z, r_z):
        return np.stack([overlap(p_z, q_z), (p_z * r_z).sum(-1), (q_z * r_z).sum(-1) ** 2], axis=-1)

    exact = simulate(functional, P, Q, target, draft, residual=True)
    assert np.array_equal(exact.standard_error, np.zeros(3))
    rng, seeds = np.random.default_rng(0), 100_000
    rest = np.maximum(P - Q, 0) / np.maximum(P - Q, 0).sum()
    laws = [d(p, d.draw(rng, (seeds,), len(P))) for d, p in ((target, P), (draft, Q), (target, rest))]
    drawn = functional(*laws)
    for column in range(3):
        assert_within(drawn[:, column].mean(), exact.value[column], drawn[:, column].std() / math.sqrt(seeds))


def test_shared_side_information_is_enumerated_together():
    """Equal decoders on equal laws always agree; under independent side information they do not."""
    assert sampling_efficiency(P, P, simplex_water(4)).value == pytest.approx(1.0, abs=1e-12)
    other = sampling_efficiency(P, P, simplex_water(4), simplex_water(3))
    assert other.value < 0.9
    assert other.standard_error == 0
    assert shares_randomness(heavy_water(k=64), heavy_water("gamma", k=64))
    assert not shares_randomness(heavy_water(k=64), heavy_water(k=32))
    assert not shares_randomness(heavy_water(k=64), Completed(heavy_water(k=64)))


def test_only_the_head_is_moved_and_the_tail_keeps_its_probabilities():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.full(400, 0.3))
    decoder = heavy_water(k=64, head=10)
    law = decoder(p, decoder.every())
    head = np.argsort(-p)[:10]
    tail = np.setdiff1d(np.arange(400), head)
    assert np.array_equal(law[:, tail], np.broadcast_to(p[tail], (64, 390)))
    assert law[:, head].sum(axis=-1) == pytest.approx(np.full(64, p[head].sum()), abs=1e-12)
    assert np.ptp(law[:, head], axis=0).min() > 0


def test_negligible_tokens_of_the_head_keep_their_probabilities_too():
    p = np.array([0.6, 0.4 - 1e-9, 1e-9])
    law = heavy_water(k=64)(p, heavy_water(k=64).every())
    assert np.array_equal(law[:, 2], np.full(64, 1e-9))
    assert law.mean(axis=0) == pytest.approx(p, abs=1e-15)


def test_the_head_is_handed_to_the_solver_from_the_least_probable_token_up():
    """In one order for draft and target: of many optimal plans a solver then chooses alike for like laws."""
    rng = np.random.default_rng(6)
    for p in rng.dirichlet(np.full(60, 0.5), 5):
        ids, _ = simplex_water(4, head=20).plan(p)
        assert np.array_equal(ids, np.argsort(p)[-20:])


def test_one_token_supports_pass_through():
    point = np.array([0.0, 1.0, 0.0])
    for decoder in (simplex_water(3), heavy_water(k=8), Completed(heavy_water(k=8))):
        law = decoder(point, decoder.draw(np.random.default_rng(0), (5,), 3))
        assert np.array_equal(law, np.broadcast_to(point, (5, 3)))


def test_rows_of_a_batch_have_their_own_plans_and_equal_rows_share_one():
    """A batch of laws gives what each of them gives alone."""
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(6), 4)[[0, 1, 0, 2, 3, 1]]
    decoder = heavy_water(k=32)
    zeta = decoder.draw(rng, (3, 6), 6)
    law = decoder(p, zeta)
    assert law.shape == (3, 6, 6)
    for i in range(6):
        alone = decoder(p[i], zeta._replace(s=zeta.s[:, i]))
        assert np.array_equal(law[:, i], alone)


def test_large_vocabularies_in_both_libraries():
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.full(5_000, 0.01), 3)
    decoder = heavy_water(k=64, head=20)
    zeta = decoder.draw(rng, (3,), 5_000)
    law = decoder(p, zeta)
    torched = decoder(torch.from_numpy(p), zeta._replace(s=torch.from_numpy(zeta.s)))
    assert np.array_equal(torched.numpy(), law)
    assert law.sum(axis=-1) == pytest.approx(np.ones(3), abs=1e-12)


@pytest.mark.parametrize("decoder", [heavy_water(k=64, head=9), simplex_water(4, solver=Sinkhorn(), head=9)])
def test_laws_of_single_precision_keep_their_type_in_both_libraries(decoder):
    rng = np.random.default_rng(7)
    p = rng.dirichlet(np.full(100, 0.3), 3).astype(np.float32)
    zeta = decoder.draw(rng, (3,), 100)
    law = decoder(p, zeta)
    torched = decoder(torch.from_numpy(p), zeta._replace(s=torch.from_numpy(zeta.s)))
    assert law.dtype == np.float32
    assert torched.dtype == torch.float32
    assert np.array_equal(torched.numpy(), law)
    assert law == pytest.approx(decoder(p.astype(np.float64), zeta), abs=1e-6)
    assert decoder(p[0], decoder.every()).mean(axis=0, dtype=float) == pytest.approx(p[0], abs=1e-6)


def test_scores_come_from_the_table_of_the_key():
    """Another key has other scores; SimplexWater's words of tokens below k are the code's own."""
    one, other = seeded_table(1), seeded_table(2)
    for decoder, same in ((heavy_water(k=16), False), (simplex_water(4), True)):
        laws = [decoder(P, SideInformation(np.arange(decoder.values), table)) for table in (one, other)]
        assert np.array_equal(*laws) == same
        assert np.array_equal(
            Transport(decoder.scores, seed=1)(P, Transport(decoder.scores, seed=1).every()), laws[0]
        )


def test_a_tilt_buys_detection_with_bias():
    """exp(tilt f) on Sinkhorn's law: the mean score rises with the tilt, and the mean law leaves P."""
    gaps, distances = [], []
    for tilt in (0.0, 0.5, 2.0):
        decoder = heavy_water(k=64, solver=Sinkhorn(), tilt=tilt)
        law = decoder(P, decoder.every())
        scores = decoder.scores.rows(np.arange(len(P)), seeded_table(0))
        gaps.append(float((law * scores.T).sum(axis=-1).mean()))
        distances.append(float(np.abs(law.mean(axis=0) - P).sum()))
        assert law.sum(axis=-1) == pytest.approx(np.ones(64), abs=1e-12)
    assert gaps[0] < gaps[1] < gaps[2]
    assert distances[0] < 1e-12 < distances[1] < distances[2]
    ids, plan = heavy_water(k=64, solver=Sinkhorn()).plan(P)
    assert gaps[0] == pytest.approx(
        detection_gap(P[ids], decoder.scores.rows(ids, seeded_table(0)), plan), abs=1e-12
    )


@given(distributions(max_n=8), st.sampled_from([0.0, 0.5, 100.0, 1e5, 1e308]), st.integers(0, 99))
@settings(deadline=None)
def test_tilted_laws_are_laws_on_the_same_tokens(p, tilt, seed):
    """p exp(tilt f), normalised: in exact logarithms, whatever f is where p is 0."""
    scores = np.random.default_rng(seed).lognormal(size=len(p))
    scores[p == 0] *= 1e3
    with np.errstate(over="ignore"):
        logs = np.log(p[p > 0]) + tilt * (scores[p > 0] - scores[p > 0].max())
    law = tilted(p[None], scores[None], tilt)[0]
    assert np.array_equal(law[p == 0], np.zeros(np.count_nonzero(p == 0)))
    assert law[p > 0] == pytest.approx(np.exp(logs - special.logsumexp(logs)), abs=1e-9)


def test_a_tilt_does_not_look_at_tokens_that_cannot_be_drawn():
    law = tilted(np.array([[0.0, 0.6, 0.4]]), np.array([[9.0, 1.0, 0.5]]), 100.0)
    assert law == pytest.approx(np.array([[0.0, 1.0, 0.0]]), abs=1e-15)


def test_a_large_tilt_takes_the_highest_score_of_every_law():
    """Of an exact plan: laws become point masses, wherever the highest score of all lies."""
    decoder = heavy_water(k=64, tilt=1e6)
    law = decoder(P, decoder.every())
    scores = decoder.scores.rows(np.arange(len(P)), seeded_table(0)).T
    unbiased = heavy_water(k=64)(P, heavy_water(k=64).every())
    best = np.where(unbiased > 0, scores, -np.inf).argmax(axis=-1)
    assert law == pytest.approx(np.eye(len(P))[best], abs=1e-6)


def test_a_transport_that_is_stopped_early_says_so():
    decoder = heavy_water(k=61, solver=Sinkhorn(0.005, max_iterations=2))
    with pytest.warns(TransportWarning, match="marginal error of .*more iterations"):
        decoder(P, decoder.every())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converged = heavy_water(k=62, solver=Sinkhorn())
        converged(P, converged.every())


INNER = [SynthID(3), SynthID(30), simplex_water(3), heavy_water(k=16), heavy_water(k=16, solver=Sinkhorn())]


@pytest.mark.parametrize("inner", INNER, ids=lambda decoder: decoder.name)
def test_completion_draws_from_the_inner_law_under_its_own_race(inner):
    """Given zeta the token has the law S(P, zeta) (chi-square), and the strength is Ent(P) (Theorem 3.3)."""
    decoder = Completed(inner)
    rng = np.random.default_rng(4)
    one = inner.draw(rng, (1,), len(P))
    law = np.broadcast_to(inner(P, one), (1, len(P)))[0]
    races = GumbelMax().draw(rng, (50_000,), len(P))
    token = GumbelMax().token(law, races)
    zeta = decoder.draw(rng, (50_000,), len(P))._replace(inner=one, race=races)
    assert np.array_equal(decoder.token(P, zeta), token)
    counts, possible = np.bincount(token, minlength=len(P)), law > 1e-12
    assert counts[~possible].sum() == 0
    if possible.sum() > 1:
        assert chi_square_p(counts[possible], 50_000 * law[possible]) > ALPHA
    assert watermark_strength(P, decoder).value == pytest.approx(float(entropy(P)), abs=1e-12)


def test_what_cannot_be_completed():
    with pytest.raises(ValueError, match="degenerate already"):
        Completed(GumbelMax())
    with pytest.raises(ValueError, match="degenerate already"):
        Completed(SynthID(math.inf))
    with pytest.raises(ValueError, match="use GumbelMax"):
        Completed(Identity())


@pytest.mark.parametrize(
    ("name", "decoder"),
    [
        ("simplexwater:10", simplex_water()),
        ("simplexwater:6,sinkhorn=0.05", simplex_water(6, solver=Sinkhorn())),
        ("heavywater:lognormal", heavy_water()),
        ("heavywater:gamma,k=256,head=20,tilt=1.5", heavy_water("gamma", 256, head=20, tilt=1.5)),
        (
            "heavywater:gamma,sinkhorn=0.0123456789,tilt=1",
            heavy_water("gamma", solver=Sinkhorn(0.0123456789), tilt=1),
        ),
        ("heavywater:gumbel,sinkhorn=0.01", heavy_water("gumbel", solver=Sinkhorn(0.01))),
        ("completed:synthid:30", Completed(SynthID(30))),
        ("completed:heavywater:lognormal,k=64", Completed(heavy_water(k=64))),
    ],
)
def test_names_are_read_back(name, decoder):
    assert parse_decoder(name) == decoder
    assert decoder_name(decoder) == name


def test_short_names():
    assert parse_decoder("simplexwater") == simplex_water(10)
    assert parse_decoder("HeavyWater") == heavy_water("lognormal", 1024)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("heavywater:cauchy", "law='cauchy' is unknown"),
        ("heavywater:gamma,k=1", "k=1 must be"),
        ("heavywater:gamma,width=3", "unknown setting 'width'; heavywater knows k, sinkhorn, head and tilt"),
        ("simplexwater:4,k=15", "unknown setting 'k'; simplexwater knows sinkhorn"),
        ("simplexwater:0", "r=0 must be"),
        ("heavywater:gamma,sinkhorn=-1", "regularisation=-1.0 must be"),
        ("heavywater:gamma,head=1", "head=1 must be"),
        ("heavywater:gamma,tilt=-1", "tilt=-1.0 must be"),
        ("completed:gumbel", "degenerate already"),
        ("completed:what", "decoder='completed:what' is unknown; use gumbel"),
        (
            "completed:none",
            "decoder='completed:none' cannot be read: there is no watermark to complete; use gumbel$",
        ),
        (
            "completed:HeavyWater:gamma,k=1",
            "decoder='completed:HeavyWater:gamma,k=1' cannot be read: k=1 must",
        ),
        ("SimplexWater:x", "decoder='SimplexWater:x' cannot be read: R='x' must be a whole number, as 10$"),
        ("heavywater:gamma,k=abc", "k='abc' must be a whole number, as 1024$"),
        ("heavywater:gamma,k=2.5", "k='2.5' must be a whole number"),
        ("heavywater:gamma,tilt=much", "tilt='much' must be a number, as 1.5$"),
        ("heavywater:lognormal,head", "the setting 'head' has no value; write head=50$"),
        ("heavywater:gamma,k=16,k=32", "the setting k comes twice, 16 and 32; keep one"),
        ("heavywater,k=16", "follow a colon and a main argument: heavywater:lognormal,k=16$"),
    ],
)
def test_names_that_cannot_be_read(name, words):
    with pytest.raises(ValueError, match=words):
        parse_decoder(name)


def test_what_has_no_name_says_so():
    with pytest.raises(ValueError, match="no name"):
        decoder_name(simplex_water(4, seed=1))
    for solver in (Sinkhorn(tolerance=1e-9), Sinkhorn(max_iterations=10)):
        with pytest.raises(ValueError, match="no name"):
            decoder_name(heavy_water(solver=solver))
    with pytest.raises(ValueError, match="seed=-1"):
        simplex_water(4, seed=-1)
