"""Laws of scores at the emitted token: the kernels themselves, moments of tails, pairs of every shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings

from tests.detection.races.cases import (
    DISORDERED,
    EXTREME,
    FOUR,
    GREEDY,
    JOINT_FIRST,
    METHODS,
    PAPER,
    RACES,
    THREE,
    TWO,
    emitted,
    scores_of,
    zipf,
)
from tests.helpers.support import Z, distributions, pairs
from tradeoff.detection import (
    expected_race_score,
    hypoexponential_score,
    race_score_law,
    race_score_variance,
)
from tradeoff.detection.forecast import expected_score
from tradeoff.kernels import OneRace
from tradeoff.keyed import Stream


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


def without_speculation(p: np.ndarray) -> float:
    return float(p[p > 0] @ expected_score(p[p > 0]))


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


def test_text_without_a_watermark_scores_one():
    assert expected_race_score("standard", *THREE) == pytest.approx(1)
    assert race_score_variance("standard", *THREE) == pytest.approx(1)
    x = np.array([0.5, 2.0])
    np.testing.assert_allclose(race_score_law("standard", *THREE).sf(x), np.exp(-x))
    np.testing.assert_allclose(race_score_law("standard", *THREE).density(x), np.exp(-x))


@pytest.mark.parametrize("pair", [PAPER, THREE, FOUR, JOINT_FIRST, GREEDY])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_laws_given_the_token_are_those_of_the_kernel(method, pair):
    """Mean and tail of the scores of every token that is drawn a thousand times."""
    rows = 50_000
    tokens, found = emitted(method, *(np.broadcast_to(law, (rows, len(law))) for law in pair), 11)
    for stream, scores in found.items():
        for token in np.flatnonzero(np.bincount(tokens, minlength=len(pair[0])) >= 1000):
            law = race_score_law(method.name, *pair, stream, int(token))
            some = scores[tokens == token]
            assert abs(some.mean() - law.mean) <= Z * math.sqrt(law.variance / len(some))
            if law.scores == 1:
                tail = float(law.sf(2.0))
                assert abs((some >= 2.0).mean() - tail) <= Z * math.sqrt(tail * (1 - tail) / len(some))


@settings(max_examples=50)
@given(pairs())
def test_laws_given_the_token_mix_to_the_law(pair):
    """Weighted by P: every method emits token w with that probability."""
    p, x = pair[0], np.array([0.1, 1.0, 4.0])
    tokens = np.flatnonzero(p)
    for method in [*RACES, "keep-efficiency", "standard"]:
        law = race_score_law(method, *pair)
        given_token = [race_score_law(method, *pair, token=int(token)) for token in tokens]
        mixed = p[tokens] @ np.array([one.mean for one in given_token])
        assert mixed == pytest.approx(law.mean, abs=1e-7)
        np.testing.assert_allclose(p[tokens] @ [one.sf(x) for one in given_token], law.sf(x), atol=1e-7)


@pytest.mark.parametrize(("power", "tokens"), [(0.3, 3000), (1.1, 3000)])
def test_many_components_that_are_alike_are_one(power, tokens):
    """Of no speculation, whose tail is one sum, and of replacements, whose tail is a double sum."""
    p, q = zipf(tokens, power, 4)
    x = np.geomspace(0.01, 12, 25)
    e = -np.log(-np.expm1(-x))[:, None]
    exact = -np.expm1(-e / p) @ p
    np.testing.assert_allclose(race_score_law("basic", p).sf(x), exact, atol=2e-4)
    least, left = np.minimum(p, q), np.maximum(p - q, 0)
    r = left / left.sum()
    some = left > 0
    first, second = q[some], r[some]
    # first - second is nowhere 0 of these laws.
    early = (first * -np.expm1(-e / first) - second * -np.expm1(-e / second)) / (first - second)
    exact = -np.expm1(-e / q) @ least + early @ left[some]
    np.testing.assert_allclose(race_score_law("single-key", p, q).sf(x), exact, atol=2e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: race_score_law("basic", np.ones((2, 1))), "one position"),
        (lambda: race_score_law("algorithm-1", *THREE).sf(1.0), "no closed tail"),
        (lambda: race_score_law("joint-race", *THREE, token=3), "token=3 has no probability"),
        (lambda: race_score_law("joint-race", *JOINT_FIRST, token=0), "token=0 has no probability"),
        (lambda: race_score_law("joint-race", *THREE, Stream.TARGET), "draws no token of joint-race"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
