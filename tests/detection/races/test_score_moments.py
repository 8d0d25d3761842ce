"""Moments of scores at the emitted token: closed forms, integrals, series."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.detection.races.cases import (
    DISORDERED,
    FOUR,
    JOINT_FIRST,
    PAPER,
    RACES,
    THREE,
    TWO,
)
from tradeoff.detection import expected_race_score, hypoexponential_score, race_score_variance
from tradeoff.detection.forecast import expected_score, score_variance
from tradeoff.keyed import Stream


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


def test_a_replacement_has_lost_the_race_of_the_draft():
    """Under DRAFT it scores less than text without a watermark: E_k = t Q_k + Exp(1)."""
    p, q = THREE
    accepted = np.minimum(p, q) @ expected_score(q)
    replaced = np.maximum(p - q, 0) @ hypoexponential_score(q, 1.0)
    assert expected_race_score("algorithm-1", p, q, Stream.DRAFT) == pytest.approx(accepted + replaced)
    assert replaced < 0.3


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


def test_methods_have_no_order():
    """Most pairs are like the paper's; on others the joint race or one race reads better than either."""
    basic, joint, one = (float(expected_race_score(method, *PAPER)) for method in RACES[:3])
    assert basic > joint > one
    basic, joint, one = (float(expected_race_score(method, *DISORDERED)) for method in RACES[:3])
    assert one > max(basic, joint) + 0.005
    basic, joint, _ = (float(expected_race_score(method, *JOINT_FIRST)) for method in RACES[:3])
    assert joint > basic + 0.001


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
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
