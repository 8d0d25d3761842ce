"""Every decoder: unbiased, of its stated degeneracy, equal in NumPy and PyTorch."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.support import ALPHA, P, Z, chi_square_p, distributions
from tradeoff.decoders import (
    KGW,
    Completed,
    Decoder,
    DegenerateDecoder,
    DeltaReweight,
    DiPmark,
    GumbelMax,
    Identity,
    InverseTransform,
    SynthID,
    Unigram,
    heavy_water,
    shares_randomness,
    simplex_water,
)
from tradeoff.decoders.synthid import TournamentBits
from tradeoff.laws import entropy
from tradeoff.optimal_transport.solvers import Sinkhorn

ALL = [
    Identity(),
    GumbelMax(),
    *(SynthID(m) for m in (1, 4, 30, math.inf)),
    simplex_water(4),
    heavy_water(k=64),
    heavy_water("gamma", k=64, solver=Sinkhorn()),
    DiPmark(0.3),
    DiPmark(0.5),
    DeltaReweight(),
    InverseTransform(),
    *(Completed(decoder) for decoder in (SynthID(4), simplex_water(4), heavy_water(k=64), DiPmark(0.4))),
    KGW(),
    KGW(math.inf, 0.5),
    KGW(3.0, most=2),
    Unigram(),
    Unigram(math.inf, 0.25),
    Completed(Unigram()),
]
DEGENERATE = [decoder for decoder in ALL if decoder.degenerate and decoder.unbiased]


def by_name(decoder):
    return decoder.name


@pytest.mark.parametrize("decoder", ALL, ids=by_name)
def test_decoders_follow_the_protocol(decoder):
    assert isinstance(decoder, Decoder)
    law = decoder(P, decoder.draw(np.random.default_rng(0), (7,), len(P)))
    assert np.broadcast_to(law, (7, len(P))).sum(axis=-1) == pytest.approx(np.ones(7), abs=1e-12)
    assert np.all(law >= 0)


@pytest.mark.parametrize("decoder", DEGENERATE, ids=by_name)
def test_degenerate_decoders_give_point_masses_on_their_token(decoder):
    assert isinstance(decoder, DegenerateDecoder)
    zeta = decoder.draw(np.random.default_rng(1), (50,), len(P))
    law = decoder(P, zeta)
    assert np.array_equal(law.argmax(axis=-1), decoder.token(P, zeta))
    assert np.array_equal(np.sort(law, axis=-1), np.tile([0.0] * 9 + [1.0], (50, 1)))


def test_finite_tournaments_are_not_degenerate():
    decoder = SynthID(30)
    assert not decoder.degenerate
    with pytest.raises(ValueError, match=r"SynthID\(math.inf\)"):
        decoder.token(P, decoder.draw(np.random.default_rng(0), (), len(P)))


@given(distributions(max_n=5), st.integers(1, 2))
@settings(max_examples=30)
def test_tournaments_are_exactly_unbiased(p, rounds):
    """E_g T_gm o ... o T_g1 (P) = P, by enumeration of all 2^(m n) bit patterns (Eq. 13)."""
    n = len(p)
    if rounds * n > 10:
        rounds = 1
    patterns = np.array(list(itertools.product([0, 1], repeat=rounds * n))).reshape(-1, rounds, n)
    word = (patterns << np.arange(rounds)[:, None]).sum(axis=1)
    law = SynthID(rounds)(p, TournamentBits(lambda _: word))
    assert law.mean(axis=0) == pytest.approx(p, abs=1e-12)


@given(distributions(max_n=5))
@settings(max_examples=20)
def test_one_round_is_the_law_of_a_two_candidate_match(p):
    """Eq. 4 against its meaning: two candidates from p, the larger g wins, ties by a fair coin."""
    n = len(p)
    for bits in itertools.product([0, 1], repeat=n):
        expected = np.zeros(n)
        for u, v in itertools.product(range(n), repeat=2):
            if bits[u] == bits[v]:
                expected[u] += p[u] * p[v] / 2
                expected[v] += p[u] * p[v] / 2
            else:
                expected[u if bits[u] else v] += p[u] * p[v]
        law = SynthID(1)(p, TournamentBits(lambda _, bits=bits: np.array(bits)))
        assert law == pytest.approx(expected, abs=1e-14)


@given(distributions(max_n=6))
@settings(max_examples=12)
def test_sampled_unbiasedness_of_degenerate_decoders(p):
    """Chi-square at level ALPHA each (60 tests)."""
    for k, decoder in enumerate(DEGENERATE):
        zeta = decoder.draw(np.random.default_rng(k), (40_000,), len(p))
        counts = np.bincount(decoder.token(p, zeta), minlength=len(p))
        assert chi_square_p(counts, 40_000 * p) > ALPHA


@pytest.mark.parametrize("decoder", [SynthID(4), SynthID(30), SynthID(100)], ids=by_name)
def test_sampled_unbiasedness_of_finite_tournaments(decoder):
    """Every token within Z standard errors (30 comparisons in all)."""
    law = decoder(P, decoder.draw(np.random.default_rng(3), (60_000,), len(P)))
    error = law.std(axis=0) / math.sqrt(len(law))
    assert np.all(np.abs(law.mean(axis=0) - P) <= Z * error)


def is_ordered(decoder):
    """Whether zeta has an order that an antithesis can turn round; values of side information have none."""
    return "side information" not in decoder.randomness


@pytest.mark.parametrize("decoder", DEGENERATE, ids=by_name)
def test_antithetic_seeds_have_the_same_law_and_are_negatively_dependent(decoder):
    zeta = decoder.draw(np.random.default_rng(5), (100_000,), len(P))
    token, mirrored = decoder.token(P, zeta), decoder.token(P, decoder.antithetic(zeta))
    assert chi_square_p(np.bincount(mirrored, minlength=10), 100_000 * P) > ALPHA
    if not is_ordered(decoder):
        return
    # Independent draws would agree with probability sum P^2.
    agree = float((P**2).sum())
    assert np.mean(token == mirrored) < agree - Z * math.sqrt(agree * (1 - agree) / 100_000)


def test_the_race_is_positive_finite_and_exponential():
    decoder = GumbelMax()
    race = decoder.draw(np.random.default_rng(6), (1000,), 1000)
    assert np.all((race > 0) & np.isfinite(race))
    assert np.all(decoder.antithetic(race) > 0)
    extremes = np.array([2.0**-54, 1e-9, 0.5, np.log(2), 2.0, 37.0, 38.0])
    mirrored = decoder.antithetic(extremes)
    assert np.all((mirrored > 0) & np.isfinite(mirrored))
    assert np.exp(-mirrored) + np.exp(-extremes) == pytest.approx(np.ones(7), abs=1e-12)
    # E is exponential: the mean of 1e6 draws has standard error 1e-3.
    assert abs(race.mean() - 1) < Z * 1e-3


def test_gumbel_max_is_aaronsons_rule():
    """argmin E/P = argmax log(U)/P with U = exp(-E), Eq. 2."""
    race = GumbelMax().draw(np.random.default_rng(7), (1000,), len(P))
    assert np.array_equal(GumbelMax().token(P, race), np.argmax(-race / P, axis=-1))


@given(distributions(zeros=True))
def test_tokens_without_mass_never_win(p):
    for decoder in DEGENERATE:
        token = decoder.token(p, decoder.draw(np.random.default_rng(8), (200,), len(p)))
        assert np.all(p[token] > 0)


@pytest.mark.parametrize("decoder", ALL, ids=by_name)
def test_torch_gives_the_same_laws(decoder):
    rng = np.random.default_rng(9)
    p = rng.dirichlet(np.ones(12), 6)
    zeta = decoder.draw(rng, (6,), 12)
    law = decoder(torch.tensor(p), zeta)
    assert isinstance(law, torch.Tensor)
    assert law.numpy() == pytest.approx(decoder(p, zeta), abs=1e-12)


@pytest.mark.parametrize("decoder", DEGENERATE, ids=by_name)
def test_any_batch_axes_broadcast(decoder):
    rng = np.random.default_rng(10)
    p = rng.dirichlet(np.ones(4), (2, 3))
    zeta = decoder.draw(rng, (5, 2, 3), 4)
    assert decoder.token(p, zeta).shape == (5, 2, 3)
    assert decoder(p, zeta).shape == (5, 2, 3, 4)


def test_more_rounds_than_a_word_use_new_bits():
    """Strength keeps growing past 64 rounds, and rounds 65 to 128 are not a repetition of the first 64."""
    rng = np.random.default_rng(11)
    bits = SynthID(30).draw(rng, (20_000,), len(P))
    left = [entropy(SynthID(m)(P, bits)).mean() for m in (16, 32, 64, 128)]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.1 * left[-2]
    assert not np.array_equal(bits.word(0), bits.word(1))


def test_finite_and_infinite_tournaments_share_bits():
    """The settled token is where P_zeta at large finite m has its mass."""
    bits = SynthID(1).draw(np.random.default_rng(12), (500,), len(P))
    law = SynthID(400)(P, bits)
    assert law.max(axis=-1).min() > 1 - 1e-9
    assert np.array_equal(law.argmax(axis=-1), SynthID(math.inf).token(P, bits))


def test_settling_takes_the_known_rounds():
    """Median 43 rounds to a top mass of 1 - 1e-9 for the paper's P; 47% are below 0.99 at m = 30."""
    bits = SynthID(1).draw(np.random.default_rng(13), (40_000,), len(P))
    top = {m: SynthID(m)(P, bits).max(axis=-1) for m in (30, 42, 43, 44)}
    share = np.mean(top[30] < 0.99)
    assert abs(share - 0.47) < 0.005 + Z * math.sqrt(0.25 / 40_000)
    # The median is the first m at which at least half of the tournaments have settled.
    assert np.mean(top[42] >= 1 - 1e-9) < 0.5 + Z * math.sqrt(0.25 / 40_000)
    assert np.mean(top[44] >= 1 - 1e-9) > 0.5 - Z * math.sqrt(0.25 / 40_000)


def test_constant_bits_are_refused():
    zeros = TournamentBits(lambda _: np.zeros(3, dtype=np.int64))
    with pytest.raises(RuntimeError, match="did not settle"):
        SynthID(math.inf).token(np.array([0.5, 0.25, 0.25]), zeros)


@pytest.mark.parametrize("rounds", [0, -1, 1.5, math.nan, 99_999_999_999])
def test_bad_rounds(rounds):
    with pytest.raises(ValueError, match="rounds="):
        SynthID(rounds)


def test_what_can_share_randomness():
    assert shares_randomness(SynthID(30), SynthID(math.inf))
    assert shares_randomness(GumbelMax(), GumbelMax())
    assert not shares_randomness(GumbelMax(), SynthID(30))
    assert [d.name for d in (SynthID(30), SynthID(math.inf))] == ["SynthID (m = 30)", "SynthID (m = ∞)"]


def test_one_token_vocabularies():
    for decoder in ALL:
        law = decoder(np.ones(1), decoder.draw(np.random.default_rng(0), (3,), 1))
        assert np.broadcast_to(law, (3, 1)).tolist() == [[1.0]] * 3


def test_the_most_extreme_uniforms_give_a_positive_finite_race():
    """numpy draws k / 2^53: its ends are 0 and 1 - 2^-53."""

    class Extreme:
        def random(self, shape):
            return np.array([0.0, 1 - 2.0**-53])

    race = GumbelMax().draw(Extreme(), (), 2)
    assert race == pytest.approx([54 * math.log(2), 2.0**-54], rel=1e-12)


def test_all_64_bits_of_a_word_are_fair_and_the_antithesis_flips_every_one():
    bits = SynthID(1).draw(np.random.default_rng(14), (20_000,), 4)
    mirrored = SynthID(1).antithetic(bits)
    for k in (0, 1):
        rounds = (bits.word(k)[..., None] >> np.arange(64)) & 1
        flipped = (mirrored.word(k)[..., None] >> np.arange(64)) & 1
        assert np.array_equal(rounds + flipped, np.ones_like(rounds))
        assert np.all(np.abs(rounds.mean(axis=(0, 1)) - 0.5) < Z * 0.5 / math.sqrt(80_000))


def test_a_tournament_that_looks_decided_may_still_turn():
    """Bits that favour the second token in every round make it win from a mass of 1e-8, so a tournament
    may stop only within 1e-9 of certainty."""
    uphill = TournamentBits(lambda _: np.array([0, -1]))
    assert SynthID(math.inf).token(np.array([1 - 1e-8, 1e-8]), uphill) == 1
    assert SynthID(math.inf).token(np.array([1 - 1e-10, 1e-10]), uphill) == 0
