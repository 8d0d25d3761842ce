"""KGW, Unigram, DiPmark, delta-reweight and inverse transform: their laws over all of their randomness."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tradeoff as td
from tests.helpers.support import P, Q, assert_within, distributions
from tradeoff.decoders import (
    KGW,
    Completed,
    DeltaReweight,
    DiPmark,
    GreenLists,
    InverseTransform,
    PermutedPosition,
    TournamentBits,
    Unigram,
    parse_decoder,
    reweighted,
)
from tradeoff.kernels import METHODS, KeepStrength, KeyedRandomness, joint_name, make_method
from tradeoff.keyed import Key, KeyedPrf, Stream

ALPHAS = (0.05, 0.2, 1 / 3, 0.4, 0.5)


def orders(n: int) -> np.ndarray:
    """All permutations: [n!, n], row by row the place of every token."""
    return np.array(list(itertools.permutations(range(n))), dtype=np.int64)


def lists(n: int, gamma: float) -> tuple[GreenLists, np.ndarray]:
    """All green lists [2^n], and their probabilities."""
    green = np.array(list(itertools.product([False, True], repeat=n)))

    def look(tokens, rows):
        some = green if rows is None else green[rows]
        if tokens is None:
            return some
        return np.take_along_axis(some, np.broadcast_to(tokens, (len(some), tokens.shape[-1])), axis=-1)

    size = green.sum(axis=1)
    return GreenLists(look), gamma**size * (1 - gamma) ** (n - size)


def over_intervals(p: np.ndarray, token) -> np.ndarray:
    """The law over u of a token that changes at sums of P alone, in some order: exact, by the middles of all
    intervals between sums of some of P."""
    sums = {
        float(p[list(some)].sum())
        for k in range(len(p) + 1)
        for some in itertools.combinations(range(len(p)), k)
    }
    edges = np.unique(np.clip([0.0, *sums, 1.0], 0, 1))
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    law = np.zeros(len(p))
    np.add.at(law, token(middle), width)
    return law


# --- Unbiased ones --------------------------------------------------------------------------------


@given(distributions(max_n=6), st.sampled_from(ALPHAS))
@settings(max_examples=25, deadline=None)
def test_dipmark_is_exactly_unbiased_over_all_permutations(p, alpha):
    """Theorem of Wu et al.: E P_zeta = P; with alpha = 1/2 the gamma-reweight of Hu et al."""
    laws = DiPmark(alpha)(p, TournamentBits(lambda _: orders(len(p))))
    assert np.abs(laws.sum(axis=-1) - 1).max() < 1e-12
    assert laws.min() >= 0
    assert not laws[:, p == 0].any()
    assert laws.mean(axis=0) == pytest.approx(p, abs=1e-12)


@given(distributions(max_n=6), st.sampled_from(ALPHAS))
@settings(max_examples=25, deadline=None)
def test_dipmark_over_a_permutation_and_its_reverse_has_the_mean_p(p, alpha):
    """F(x) - F(1 - x) = 2 x - 1: already two permutations are unbiased, so that antithetic pairs are."""
    decoder, zeta = DiPmark(alpha), TournamentBits(lambda _: orders(len(p)))
    pairs = (decoder(p, zeta) + decoder(p, decoder.antithetic(zeta))) / 2
    assert pairs == pytest.approx(np.broadcast_to(p, pairs.shape), abs=1e-12)


def test_dipmark_against_its_definition():
    """(.5, .3, .2) in the order 2, 0, 1 with alpha = .4: masses up to .2, .7, 1 have F = 0, .4, 1."""
    law = DiPmark(0.4)(np.array([0.5, 0.3, 0.2]), TournamentBits(lambda _: np.array([5, 9, -7])))
    assert law == pytest.approx([0.4, 0.6, 0.0], abs=1e-12)
    assert reweighted(np.array([0.0, 0.4, 0.6, 0.7, 1.0]), 0.4) == pytest.approx([0, 0, 0.2, 0.4, 1.0])


@given(distributions(max_n=6))
@settings(max_examples=25, deadline=None)
def test_delta_reweight_is_exactly_unbiased(p):
    assert over_intervals(p, lambda u: DeltaReweight().token(p, u)) == pytest.approx(p, abs=1e-12)


@given(distributions(max_n=5))
@settings(max_examples=15, deadline=None)
def test_inverse_transform_is_exactly_unbiased_under_every_permutation(p):
    """So over all of them: given the order, the law over u is P."""
    for places in orders(len(p)):
        race = 1.0 + places
        token = over_intervals(p, lambda u, race=race: InverseTransform().token(p, PermutedPosition(u, race)))
        assert token == pytest.approx(p, abs=1e-12)


def test_the_tokens_of_inverse_distribution_functions():
    p = np.array([0.5, 0.0, 0.3, 0.2])
    u = np.array([1e-9, 0.49, 0.51, 0.79, 0.81, 1 - 2.0**-53])
    assert DeltaReweight().token(p, u).tolist() == [0, 0, 2, 2, 3, 3]
    # Tokens come in the order of U = exp(-E): 3, 2, 1, 0 here.
    assert InverseTransform().token(p, PermutedPosition(u, np.arange(1.0, 5.0))).tolist() == [
        3,
        2,
        0,
        0,
        0,
        0,
    ]


@given(distributions(max_n=6), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_relabelling_tokens_relabels_laws(p, random):
    """Names of tokens mean nothing to all but the delta-reweight, which goes by their order."""
    n = len(p)
    names = np.array(random.sample(range(n), n), dtype=np.int64)
    rng = np.random.default_rng(random.randrange(1 << 30))
    words, race, green = rng.integers(-(1 << 63), 1 << 63, n), rng.exponential(size=n), rng.random(n) < 0.5
    fixed = TournamentBits(lambda _: words), TournamentBits(lambda _: words[names])
    assert DiPmark(0.4)(p[names], fixed[1]) == pytest.approx(DiPmark(0.4)(p, fixed[0])[names], abs=1e-12)
    u = np.asarray(rng.random())
    moved = InverseTransform()(p[names], PermutedPosition(u, race[names]))
    assert moved == pytest.approx(InverseTransform()(p, PermutedPosition(u, race))[names], abs=0)
    for decoder in (KGW(2.0, 0.5), Unigram(2.0, 0.5)):
        before, after = (GreenLists(lambda *_, some=some: some) for some in (green, green[names]))
        assert decoder(p[names], after) == pytest.approx(decoder(p, before)[names], abs=1e-12)


@pytest.mark.parametrize("decoder", [DiPmark(0.4), DiPmark(0.5)], ids=lambda d: d.name)
def test_large_vocabularies_sum_to_one(decoder):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(50_000, 0.01), 3)
    laws = decoder(p, decoder.draw(rng, (3,), 50_000))
    assert np.abs(laws.sum(axis=-1) - 1).max() < 1e-12
    assert not laws[p == 0].any()


# --- Biased ones ----------------------------------------------------------------------------------


def mean_of_lists(p: np.ndarray, delta: float, gamma: float) -> np.ndarray:
    """E P_zeta(w), given whether w is green, over the green mass G' of the others:
    p_w (gamma e^delta E 1/(1 + (e^delta - 1)(p_w + G')) + (1 - gamma) E 1/(1 + (e^delta - 1) G'))."""
    mean = np.zeros(len(p))
    for w in range(len(p)):
        others = np.delete(p, w)
        for chosen in itertools.product([0, 1], repeat=len(others)):
            chance = math.prod(gamma if g else 1 - gamma for g in chosen)
            rest = float(np.dot(others, chosen))
            extra = math.expm1(delta)
            if_green = math.exp(delta) / (1 + extra * (p[w] + rest))
            mean[w] += chance * p[w] * (gamma * if_green + (1 - gamma) / (1 + extra * rest))
    return mean


@given(distributions(max_n=5), st.sampled_from([0.5, 2.0, 5.0]), st.sampled_from([0.25, 0.5, 0.9]))
@settings(max_examples=20, deadline=None)
def test_the_bias_of_lists_is_that_of_its_formula(p, delta, gamma):
    zeta, chance = lists(len(p), gamma)
    for decoder in (KGW(delta, gamma), Unigram(delta, gamma)):
        laws = decoder(p, zeta)
        assert np.abs(laws.sum(axis=-1) - 1).max() < 1e-12
        assert chance @ laws == pytest.approx(mean_of_lists(p, delta, gamma), abs=1e-12)


def test_hard_lists_leave_green_tokens_alone_if_there_are_any():
    p = np.array([0.5, 0.0, 0.5])
    laws = KGW(math.inf)(p, lists(3, 0.25)[0])
    half, last, first = [0.5, 0, 0.5], [0, 0, 1], [1, 0, 0]
    assert laws.tolist() == [half, last, half, last, first, half, first, half]
    assert Unigram(math.inf)(p, lists(3, 0.25)[0]).tolist() == laws.tolist()
    # Only the two most probable may be green: the third keeps its mass.
    assert KGW(math.log(3), most=2)(np.array([0.5, 0.3, 0.2]), lists(3, 0.5)[0])[-1] == pytest.approx(
        np.array([1.5, 0.9, 0.2]) / 2.6
    )


@given(distributions(n=4), distributions(n=4), st.sampled_from([1.0, 3.0, math.inf]))
@settings(max_examples=25, deadline=None)
def test_keep_strength_emits_the_watermarked_law_under_every_list(p, q, delta):
    """Drafts of law Q_zeta, accepted with probability min(1, P_zeta/Q_zeta), replaced from the residual: what
    is emitted has the law P_zeta, so that the mean is E P_zeta and no other, and E[1 - TV] are accepted."""
    decoder = KGW(delta, 0.5)
    method, (zeta, chance) = KeepStrength(decoder), lists(4, 0.5)
    target, draft = decoder(p, zeta), decoder(q, zeta)

    class Given:
        def __init__(self, u):
            self.u = np.full(len(chance), u)

        def zeta(self, stream, asked):
            return zeta

        def uniform(self):
            return self.u

    laws = [np.broadcast_to(law, target.shape) for law in (p, q)]
    emitted = np.zeros_like(target)
    for w in range(4):
        drafts = np.full(len(chance), w)
        a = np.minimum(1.0, target[:, w] / np.maximum(draft[:, w], 1e-300))
        for u in (0.001, 0.25, 0.5, 0.75, 0.999):
            here = (np.abs(a - u) > 1e-9) & (draft[:, w] > 0)
            assert np.array_equal(method.accepts(*laws, drafts, Given(u))[here], (u < a)[here])
        emitted[:, w] = draft[:, w] * np.where(draft[:, w] > 0, a, 0.0)
    excess = np.maximum(target - draft, 0)
    left = excess.sum(axis=-1)
    for u in (0.01, 0.3, 0.7, 0.99):
        # The replacement goes by the residual's distribution function.
        token = method.replacement(*laws, np.zeros(len(chance), dtype=int), Given(u))
        for row in np.flatnonzero(left > 1e-9):
            cdf = np.cumsum(excess[row]) / left[row]
            if np.abs(cdf - u).min() > 1e-9:
                assert token[row] == np.searchsorted(cdf, u)
    assert emitted + excess == pytest.approx(target, abs=1e-12)
    accepted = float(chance @ np.minimum(target, draft).sum(axis=-1))
    assert accepted == pytest.approx(float(chance @ emitted.sum(axis=-1)), abs=1e-12)


def test_the_efficiency_of_keep_strength_with_lists():
    """E[1 - TV(Q_zeta, P_zeta)] over all 1,024 lists."""
    for decoder in (KGW(), Unigram(2.0, 0.25)):
        zeta, chance = lists(len(P), 0.25)
        exact = float(chance @ np.minimum(decoder(P, zeta), decoder(Q, zeta)).sum(axis=-1))
        found = td.efficiency(P, Q, KeepStrength(decoder), seeds=20_000)
        assert_within(found.value, exact, found.standard_error)


# --- Names and methods ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "decoder"),
    [
        ("kgw:2", KGW()),
        ("kgw:hard,gamma=0.5", KGW(math.inf, 0.5)),
        ("kgw:2.5,most=40", KGW(2.5, most=40)),
        ("unigram:2", Unigram()),
        ("unigram:2,gamma=0.25", Unigram(2.0, 0.25)),
        ("unigram:hard", Unigram(math.inf)),
        ("dipmark:0.4", DiPmark(0.4)),
        ("gamma-reweight", DiPmark(0.5)),
        ("delta-reweight", DeltaReweight()),
        ("inverse-transform", InverseTransform()),
        ("completed:dipmark:0.3", Completed(DiPmark(0.3))),
        ("completed:unigram:1", Completed(Unigram(1.0))),
    ],
)
def test_names_are_read_and_told(name, decoder):
    assert parse_decoder(name) == decoder
    assert decoder.spelling == name
    assert parse_decoder(name.split(":")[0]).spelling if ":" in name and "completed" not in name else True
    assert decoder.excess is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("kgw:0", "delta=0.0 must be above 0"),
        ("kgw:1000", "at most 80"),
        ("kgw:x", "delta='x' is no number"),
        ("kgw:2,most=1.5", "most='1.5' is no whole number"),
        ("kgw:2,gamma=1", "gamma=1.0"),
        ("unigram:2,most=3", "'most=3' is none; write unigram:2"),
        ("unigram:2,gamma=0.2,gamma=0.3", "'gamma=0.3' is none"),
        ("dipmark:0.6", "at most 0.5"),
        ("dipmark:a", "alpha='a' is no number"),
        ("gamma-reweight:1", "is unknown"),
        ("completed:delta-reweight", "degenerate already"),
        ("completed:inverse-transform", "degenerate already"),
    ],
)
def test_names_with_faults_say_what_is_wrong(name, words):
    with pytest.raises(ValueError, match=words):
        parse_decoder(name)


@pytest.mark.parametrize("name", ["dipmark:0.4", "gamma-reweight", "delta-reweight", "inverse-transform"])
def test_unbiased_ones_go_under_every_method_of_any_watermark(name):
    decoder = parse_decoder(name)
    carried = {method for method, kind in METHODS.items() if kind.carries(decoder)}
    assert carried >= {"basic", "keep-strength", "keep-efficiency", "two-keys", "algorithm-1"}
    assert joint_name(decoder) == "algorithm-1"


@pytest.mark.parametrize("name", ["kgw:2", "unigram:2", "completed:unigram:2"])
def test_what_moves_the_target_is_verified_by_its_own_law_alone(name):
    decoder = parse_decoder(name)
    for method in ("keep-efficiency", "two-keys", "algorithm-1"):
        with pytest.raises(ValueError, match="has no place in it"):
            make_method(method, decoder)
    for method in ("basic", "keep-strength"):
        assert make_method(method, decoder).decoder == decoder


# --- Numbers of a key -----------------------------------------------------------------------------


def keyed(masked: list[bool], ids=None) -> KeyedRandomness:
    contexts = np.array([[1, 2], [3, 4], [5, 6]])
    return KeyedRandomness(
        KeyedPrf(Key(bytes(range(32)))),
        contexts,
        np.array(masked),
        [lambda row=row: np.random.default_rng(row) for row in range(3)],
        np.arange(40) if ids is None else ids,
    )


@pytest.mark.parametrize(
    "name",
    ["kgw:2", "unigram:2", "dipmark:0.4", "delta-reweight", "inverse-transform", "completed:dipmark:0.4"],
)
def test_keyed_numbers_are_the_same_in_torch_and_for_some_rows(name):
    decoder = parse_decoder(name)
    p = np.random.default_rng(1).dirichlet(np.full(40, 0.3), 3)
    masked = [False, True, False]
    law = decoder(p, keyed(masked).zeta(Stream.SHARED, decoder))
    in_torch = decoder(torch.tensor(p), keyed(masked, torch.arange(40)).zeta(Stream.SHARED, decoder))
    assert np.asarray(in_torch) == pytest.approx(np.broadcast_to(law, (3, 40)), abs=1e-12)
    numbers = keyed(masked)
    numbers.zeta(Stream.SHARED, decoder)
    rows = np.array([2, 0])
    part = decoder(p[rows], numbers.take(rows).zeta(Stream.SHARED, decoder))
    assert part == pytest.approx(law[rows], abs=1e-12)


def test_one_list_holds_at_all_positions_masked_or_not():
    some, masked = keyed([False] * 3), keyed([True] * 3)
    green = [np.asarray(numbers.zeta(Stream.SHARED, Unigram()).every()) for numbers in (some, masked)]
    assert np.array_equal(*green)
    assert np.array_equal(green[0], np.broadcast_to(green[0][0], (3, 40)))
    assert 0 < green[0].mean() < 1
