"""Scores at the emitted token: closed forms, integrals over tails, series, and the kernels themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import special

from tests.helpers.support import P, Q, Z, distributions, pairs
from tradeoff.decoders import GumbelMax
from tradeoff.detection import (
    Forecast,
    RaceScoreLaw,
    expected_race_score,
    hypoexponential_score,
    predicted_power,
    race_score_law,
    race_score_variance,
)
from tradeoff.detection.forecast import expected_score, score_variance
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    JointRace,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    SimulatedRandomness,
    SingleKey,
    TwoKeys,
)
from tradeoff.keyed import Stream

METHODS: list[Method] = [
    Basic(GumbelMax()),
    KeepStrength(GumbelMax()),
    KeepEfficiency(),
    TwoKeys(),
    Algorithm1(),
    SingleKey(),
    OneRace(),
    JointRace(),
]
RACES = ["basic", "joint-race", "one-race", "single-key"]
PAPER = (P, Q)
THREE = (np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5]))
TWO = (np.array([0.9, 0.1]), np.array([0.6, 0.4]))
FOUR = (np.full(4, 0.25), np.array([0.7, 0.1, 0.1, 0.1]))
#: One race reads better on it than both the joint race and no speculation.
DISORDERED = (np.array([0.11, 0.77, 0.12]), np.array([0.14, 0.7, 0.16]))
#: The joint race reads better on it than no speculation.
JOINT_FIRST = (np.array([0.0, 0.2, 0.8]), np.array([0.6, 0.1, 0.3]))
GREEDY = (np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 0.0]))
#: Probabilities down to 1e-12, laws with next to nothing in common, and nearly all.
EXTREME = [
    (np.array([1 - 3e-12, 1e-12, 2e-12]), np.array([1e-12, 0.6, 0.4 - 1e-12])),
    (np.array([0.4, 0.6 - 1e-12, 1e-12]), np.array([1e-12, 1e-12, 1 - 2e-12])),
    (np.array([0.5, 0.3, 0.2]), np.array([0.5, 0.3 + 1e-9, 0.2 - 1e-9])),
    (np.array([1.0, 0.0]), np.array([0.0, 1.0])),
    # r = Q at a token: its two means agree.
    (np.array([0.75, 0.25]), np.array([0.5, 0.5])),
]
LATTICE = 1e-4


def zipf(n: int, power: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.permutation(np.arange(1.0, n + 1) ** -power)
    q = p * rng.lognormal(0, 1, n)
    return p / p.sum(), q / q.sum()


def scores_of(method: Method, p: np.ndarray, q: np.ndarray, seed: int) -> dict[Stream | None, np.ndarray]:
    """The kernel's scores by stream, for p and q [rows, n]; None is their sum."""
    randomness = SimulatedRandomness(np.random.default_rng(seed), p.shape[:1], p.shape[1])
    if method.drafts:
        token = method(p, q, method.draft(q, randomness), randomness).token
    else:
        token = method.bonus(p, randomness)
    found: dict[Stream | None, np.ndarray] = {
        stream: -np.log(-np.expm1(-randomness.race_at(stream, token)))
        for stream in Stream
        if stream in method.detection.streams
    }
    return found | {None: np.sum(list(found.values()), axis=0)}


@pytest.mark.parametrize(
    ("first", "second", "score"),
    [
        (1.0, 0.5, 1 / 2),
        (1.0, 1.0, 2 - math.pi**2 / 6),
        (0.5, 0.5, 4 - math.pi**2 / 3),
        (0.5, 0.0, 3 / 2),
        (0.0, 1.0, 1.0),
    ],
)
def test_scores_of_sums_that_have_a_closed_form(first, second, score):
    """sum_n 1/(n (1 + n m_1)(1 + n m_2)), as s(E) = sum_n exp(-n E)/n."""
    assert hypoexponential_score(first, second) == pytest.approx(score, rel=1e-13)
    assert hypoexponential_score(second, first) == pytest.approx(score, rel=1e-13)


@pytest.mark.parametrize("first", [1e-3, 0.03, 0.2, 0.9])
@pytest.mark.parametrize("ratio", [1e-3, 0.5, 0.8999, 0.9001, 0.99, 1 - 1e-6, 1 - 1e-9, 1 - 1e-15, 1.0])
def test_scores_of_sums_by_their_series(first, ratio):
    """Whether the means are far apart, close, or equal."""
    second, last = first * ratio, 200_000

    def term(n):
        return 1 / (n * (1 + n * first) * (1 + n * second))

    # Euler and Maclaurin beyond the last term, in u = 1/n.
    nodes, weights = np.polynomial.legendre.leggauss(60)
    u = np.exp(np.log(1 / last) - 20 * (nodes + 1))
    rest = 20 * weights @ (u**2 / ((u + first) * (u + second)))
    series = term(np.arange(1.0, last)).sum() + rest + term(last) / 2
    assert hypoexponential_score(first, second) == pytest.approx(series, rel=1e-10)


def test_score_of_one_mean_is_the_forecasts():
    p = np.array([1e-12, 1e-3, 0.03, 1 / 32, 0.04, 1.0])
    np.testing.assert_allclose(hypoexponential_score(p, 0.0), expected_score(p), rtol=1e-13)


@pytest.mark.parametrize(
    ("pair", "method", "excess", "tolerance"),
    [
        (PAPER, "basic", 1.788965, 1e-6),
        (PAPER, "joint-race", 1.742585, 1e-6),
        (PAPER, "one-race", 1.711861, 1e-6),
        # A published value from simulation, right to .003.
        (PAPER, "single-key", 1.591, 3e-3),
        (THREE, "basic", 0.783793, 1e-6),
        (THREE, "joint-race", 0.743028, 1e-6),
        (THREE, "one-race", 0.711754, 1e-6),
        (TWO, "basic", 0.255242, 1e-6),
        (TWO, "joint-race", 0.255242, 1e-6),
        (TWO, "one-race", 0.246554, 1e-6),
        (FOUR, "basic", 1.083333, 1e-6),
        (FOUR, "joint-race", 1.083333, 1e-6),
        (FOUR, "one-race", 1.010007, 1e-6),
    ],
)
def test_reference_values(pair, method, excess, tolerance):
    assert expected_race_score(method, *pair) - 1 == pytest.approx(excess, abs=tolerance)


@pytest.mark.parametrize("pair", [PAPER, THREE, TWO, FOUR, DISORDERED, JOINT_FIRST, GREEDY])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_kernels_have_this_law(method, pair):
    """Mean, variance and tail of what every stream says of the emitted token."""
    rows = 100_000
    p, q = (np.broadcast_to(law, (rows, len(law))) for law in pair)
    for stream, scores in scores_of(method, p, q, 7).items():
        mean = float(expected_race_score(method.name, *pair, stream))
        variance = float(race_score_variance(method.name, *pair, stream))
        squares = (scores - mean) ** 2
        assert abs(scores.mean() - mean) <= Z * math.sqrt(variance / rows)
        assert abs(squares.mean() - variance) <= Z * squares.std() / math.sqrt(rows)
        if stream is None and len(method.detection.streams) > 1:
            continue
        law = race_score_law(method.name, *pair, stream)
        for x in (0.1, 1.0, 3.0, 6.0):
            tail = float(law.sf(x))
            assert abs((scores >= x).mean() - tail) <= Z * math.sqrt(tail * (1 - tail) / rows)


def test_a_replacement_has_lost_the_race_of_the_draft():
    """Under DRAFT it scores less than text without a watermark: E_k = t Q_k + Exp(1)."""
    p, q = THREE
    accepted = np.minimum(p, q) @ expected_score(q)
    replaced = np.maximum(p - q, 0) @ hypoexponential_score(q, 1.0)
    assert expected_race_score("algorithm-1", p, q, Stream.DRAFT) == pytest.approx(accepted + replaced)
    assert replaced < 0.3


def without_speculation(p: np.ndarray) -> float:
    return float(p[p > 0] @ expected_score(p[p > 0]))


def kinks(method: str, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Scores at which the tail of one race is not smooth: tau_j Q_j of drafts, tau_j Q_k of replacements."""
    over, under = p < q, p > q
    if method != "one-race":
        return np.zeros(0)
    times = np.log(q[over] / (q[over] - p[over]))
    e = np.concatenate([times * q[over], np.outer(times, q[under]).ravel()])
    found = -np.log(-np.expm1(-e[e > 0]))
    return found[(found > 0) & (found < 70)]


@pytest.mark.parametrize(
    "pair", [PAPER, THREE, FOUR, DISORDERED, GREEDY, *EXTREME, zipf(40, 3, 1), zipf(40, 6, 2)]
)
@pytest.mark.parametrize("method", [*RACES, "keep-efficiency"])
def test_tails_integrate_to_the_moments(method, pair):
    """Mean and variance come from closed forms and quadrature over E, tails from another closed form."""
    law = race_score_law(method, *pair)
    panels = [[0.0], np.geomspace(1e-8, 1, 30), np.arange(1.25, 70, 0.25), kinks(method, *pair)]
    edges = np.unique(np.concatenate(panels))
    nodes, weights = np.polynomial.legendre.leggauss(10)
    x = (edges[:-1, None] + np.diff(edges)[:, None] * (nodes + 1) / 2).ravel()
    weight = (np.diff(edges)[:, None] * weights / 2).ravel()
    sf, density = law.sf(x), law.density(x)
    assert weight @ density == pytest.approx(1, abs=1e-8)
    assert weight @ sf == pytest.approx(law.mean, abs=1e-8)
    assert weight @ (x * density) == pytest.approx(law.mean, abs=1e-8)
    assert 2 * weight @ (x * sf) - law.mean**2 == pytest.approx(law.variance, abs=2e-8)
    assert law.mean == pytest.approx(float(expected_race_score(method, *pair)), abs=1e-12)
    assert law.variance == pytest.approx(float(race_score_variance(method, *pair)), abs=1e-12)


@pytest.mark.parametrize("power", [0.3, 1.0, 2.0])
def test_joint_race_of_many_drafts_is_its_double_sum(power):
    """Of more over-drafted tokens than the sum over replacements is evaluated at."""
    p, q = zipf(400, power, 5)
    over, under = p < q, p > q
    assert over.sum() > 48
    rejected, r = ((q - p) / q)[over, None], (p - q)[under] / (p - q)[under].sum()
    first = (1 - rejected) * q[under] + rejected * r
    inner = hypoexponential_score(first, q[under]) @ r
    accepted = np.minimum(p, q)
    exact = accepted @ expected_score(accepted) + (q - p)[over] @ inner
    assert expected_race_score("joint-race", p, q) == pytest.approx(exact, abs=1e-8)

    # Tails of the replacements: drafts in groups.
    x = np.array([0.2, 1.0, 3.0, 6.0, 9.0])
    e = -np.log(-np.expm1(-x))[:, None]
    late = (first * np.exp(-e[..., None] / first) - q[under] * np.exp(-e[..., None] / q[under])) / (
        first - q[under]
    )
    tail = -np.expm1(-e / accepted) @ accepted + (1 - late) @ r @ (q - p)[over]
    np.testing.assert_allclose(race_score_law("joint-race", p, q).sf(x), tail, atol=1e-4)


def test_one_race_of_many_tokens_is_its_series():
    """E s = sum_n E exp(-n E) / n, term by term; replacements of probabilities below 1/256, 100 of each."""
    q_under = np.repeat([2e-4, 5e-4, 1e-3, 4e-4, 9e-4, 2e-3], 100)
    p_under = q_under + np.repeat([1e-3, 2e-4, 6e-4, 1.1e-3, 3e-4, 8e-4], 100)
    p_over, q_over = np.array([0.05, 0.03, 0.02]), np.array([0.2, 0.2, 0.1])
    p, q = np.append(p_over, p_under), np.append(q_over, q_under)
    over = p < q
    tau, r = np.log(q[over] / (q - p)[over]), (p - q)[~over] / (p - q)[~over].sum()
    groups, counts = np.unique(np.stack([q[~over], r]), axis=1, return_counts=True)
    mean = q[~over] @ expected_score(q[~over]) + q[over] @ expected_score(q[over])
    n = np.arange(1.0, 600_000)
    for t, drawn in zip(tau, q[over], strict=True):
        late = np.exp(-t * (1 + n * drawn)) / (n * (1 + n * drawn))
        mean -= drawn * late.sum()
        for (under, residual), count in zip(groups.T, counts, strict=True):
            late = np.exp(-t * (1 + n * under)) / (n * (1 + n * under) * (1 + n * residual))
            mean += drawn * count * residual * late.sum()
    # What the series leaves out.
    assert np.exp(-tau.min() * q[~over].min() * n[-1]) < 1e-8
    assert expected_race_score("one-race", p, q) == pytest.approx(mean, abs=1e-8)


@pytest.mark.parametrize("power", [0.3, 1.0, 2.0])
def test_one_race_of_many_drafts_by_simulation(power):
    """The tail in groups of drafts, and the moments."""
    p, q = zipf(150, power, 6)
    rows = 20_000
    scores = scores_of(OneRace(), np.broadcast_to(p, (rows, 150)), np.broadcast_to(q, (rows, 150)), 8)[None]
    law = race_score_law("one-race", p, q)
    assert abs(scores.mean() - law.mean) <= Z * math.sqrt(law.variance / rows)
    for x in (1.0, 3.0, 6.0):
        tail = float(law.sf(x))
        assert abs((scores >= x).mean() - tail) <= Z * math.sqrt(tail * (1 - tail) / rows) + 1e-4


@given(distributions())
def test_laws_that_agree_have_one_race(p):
    """Everything is accepted: no speculation is as good."""
    for method in RACES:
        assert expected_race_score(method, p, p) == pytest.approx(without_speculation(p), abs=1e-12)
        law = race_score_law(method, p, p)
        np.testing.assert_allclose(law.sf([0.5, 4.0]), race_score_law("basic", p).sf([0.5, 4.0]), atol=1e-12)


@given(distributions())
def test_point_mass_drafts_leave_the_joint_race_as_without_speculation(p):
    q = np.eye(len(p))[0]
    assert expected_race_score("joint-race", p, q) == pytest.approx(without_speculation(p), abs=1e-9)
    assert race_score_variance("joint-race", p, q) == pytest.approx(race_score_variance("basic", p), abs=1e-8)


@given(distributions(n=2), distributions(n=2))
def test_two_tokens_leave_the_joint_race_as_without_speculation(p, q):
    """Where there is but one token to replace a draft, r = 1: M (a Q + 1 - a) + X Q, mixed with min(P, Q)."""
    assert expected_race_score("joint-race", p, q) == pytest.approx(without_speculation(p), abs=1e-9)
    x = np.array([0.3, 1.0, 5.0])
    np.testing.assert_allclose(
        race_score_law("joint-race", p, q).sf(x), race_score_law("basic", p).sf(x), atol=1e-9
    )


@settings(max_examples=50)
@given(pairs())
def test_laws_are_laws(pair):
    """Of any pair: tails fall from 1, and means are those of what can be read."""
    for method in [*RACES, "keep-efficiency"]:
        law = race_score_law(method, *pair)
        tail = law.sf(np.array([-1.0, 0.0, 0.1, 1.0, 5.0, 40.0, 1e4]))
        assert (np.diff(tail) <= 1e-12).all()
        assert tail[:2].tolist() == [1.0, 1.0]
        assert -1e-12 <= tail[-1] <= 1e-12
        assert law.variance > 0
        assert np.isfinite(law.mean)


def test_methods_have_no_order():
    """Most pairs are like the paper's; on others the joint race or one race reads better than either."""
    basic, joint, one = (float(expected_race_score(method, *PAPER)) for method in RACES[:3])
    assert basic > joint > one
    basic, joint, one = (float(expected_race_score(method, *DISORDERED)) for method in RACES[:3])
    assert one > max(basic, joint) + 0.005
    basic, joint, _ = (float(expected_race_score(method, *JOINT_FIRST)) for method in RACES[:3])
    assert joint > basic + 0.001


def test_text_without_a_watermark_scores_one():
    assert expected_race_score("standard", *THREE) == pytest.approx(1)
    assert race_score_variance("standard", *THREE) == pytest.approx(1)
    x = np.array([0.5, 2.0])
    np.testing.assert_allclose(race_score_law("standard", *THREE).sf(x), np.exp(-x))
    np.testing.assert_allclose(race_score_law("standard", *THREE).density(x), np.exp(-x))


def test_positions_are_rows():
    """Batches broadcast, and tokens that no law has do not count."""
    p = np.stack([THREE[0], DISORDERED[0]])
    for method in ["basic", "joint-race", "one-race", "single-key", "algorithm-1", "keep-efficiency"]:
        both = expected_race_score(method, p[:, None], THREE[1])
        assert both.shape == (2, 1)
        assert both[0, 0] == expected_race_score(method, *THREE)
        padded = [np.append(law, [0.0, 0.0]) for law in THREE]
        assert expected_race_score(method, *padded) == expected_race_score(method, *THREE)
    assert race_score_variance("basic", p).shape == (2,)
    uniform = race_score_variance("basic", np.full(3, 1 / 3))
    assert uniform == pytest.approx(score_variance(1 / 3), rel=1e-12)


@pytest.mark.parametrize("method", [Basic(GumbelMax()), JointRace(), OneRace(), Algorithm1()])
def test_power_is_the_rate_at_which_simulated_texts_are_detected(method):
    """Positions drawn from three pairs, tokens by the kernel, Aaronson's sum or that of both keys."""
    texts, tokens, fpr = 20_000, 12, 0.01
    positions = [
        tuple(np.append(law, np.zeros(4 - len(law))) for law in pair) for pair in (THREE, FOUR, DISORDERED)
    ]
    laws = [race_score_law(method.name, *pair) for pair in positions]
    drawn = np.random.default_rng(2).integers(3, size=texts * tokens)
    p, q = (np.stack(part)[drawn] for part in zip(*positions, strict=True))
    sums = scores_of(method, p, q, 9)[None].reshape(texts, tokens).sum(axis=1)
    threshold = special.gammainccinv(tokens * len(method.detection.streams), fpr)
    predicted = predicted_power(laws, tokens, fpr)
    error = math.sqrt(predicted * (1 - predicted) / texts)
    assert abs((sums >= threshold).mean() - predicted) <= Z * error + LATTICE
    assert 0.1 < predicted < 0.9


@pytest.mark.parametrize("tokens", [1, 20, 300])
def test_power_without_speculation_is_the_forecasts(tokens):
    law = race_score_law("basic", FOUR[0])
    assert predicted_power([law], tokens) == pytest.approx(Forecast([FOUR[0]]).power(tokens), abs=2e-5)


@pytest.mark.parametrize("tokens", [1, 300, 10_000])
def test_power_without_a_watermark_is_the_false_positive_rate(tokens):
    assert predicted_power([race_score_law("standard", *THREE)], tokens, 0.05) == pytest.approx(
        0.05, abs=2e-5
    )


def both_streams() -> RaceScoreLaw:
    return race_score_law("algorithm-1", *THREE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hypoexponential_score(-0.1, 1.0), "means >= 0"),
        (lambda: hypoexponential_score(0.0, [0.5, 0.0]), "one of them above 0"),
        (
            lambda: expected_race_score("one-race-tree", *THREE),
            "method='one-race-tree' has no known",
        ),
        (lambda: expected_race_score("one-race", *THREE, Stream.DRAFT), "draws no token of one-race"),
        (lambda: expected_race_score("joint-race", THREE[0]), "q is missing"),
        (lambda: expected_race_score("joint-race", [0.5, 0.4], [0.5, 0.5]), "P sums to 0.9"),
        (lambda: race_score_law("basic", np.ones((2, 1))), "one position"),
        (lambda: both_streams().sf(1.0), "no closed tail"),
        (lambda: predicted_power([], 10), "at least one position"),
        (lambda: predicted_power([both_streams(), race_score_law("basic", P)], 10), "all of one stream"),
        (lambda: predicted_power([both_streams()], 0), "tokens=0"),
        (lambda: predicted_power([both_streams()], 10, 1.0), "fpr=1.0"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
