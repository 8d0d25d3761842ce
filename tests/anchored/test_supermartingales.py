"""Test supermartingales: products, stopping, p-values, mixtures, and Ville's inequality by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.support import ALPHA, distributions
from tradeoff.anchored.e_values import log_anchored, log_anchored_matrix, log_hedged, plug_in_eps
from tradeoff.anchored.supermartingales import EProcess, first_crossing, log_mixture, log_p_values
from tradeoff.errors import DistributionError

P0 = np.array([0.5, 0.3, 0.2])
log_factors = st.lists(st.one_of(st.floats(-5, 5), st.just(-math.inf)), max_size=30)


@given(log_factors, st.floats(1e-4, 0.9), st.integers(1, 7))
def test_fed_in_pieces_or_at_once(factors, alpha, piece):
    one, many, loop = EProcess(alpha), EProcess(alpha), EProcess(alpha)
    path = one.feed(np.array(factors))
    for k in range(0, len(factors), piece):
        many.feed(np.array(factors[k : k + piece]))
    for factor in factors:
        loop.feed(factor)
    # Sums in another order differ in the last place; -inf stays -inf.
    for other in (many, loop):
        assert other.log_value == pytest.approx(one.log_value, abs=1e-12)
        assert other.log_maximum == pytest.approx(one.log_maximum, abs=1e-12)
        assert other.steps == one.steps == len(factors)
    assert float(one.log_p) == pytest.approx(-max(0.0, *path, 0.0))
    if len(factors):
        assert np.allclose(np.exp(log_p_values(path)[-1]), np.exp(one.log_p))
    crossed = [t for t, value in enumerate(path, 1) if value >= -math.log(alpha)]
    assert one.crossed_at == (crossed[0] if crossed else math.inf)
    assert one.crossed == bool(crossed)
    assert one.crossed_at == first_crossing(path, alpha)


def test_a_batch_of_texts():
    log_e = np.random.default_rng(0).normal(0.1, 1, (4, 2, 50))
    batch = EProcess(0.05, (4, 2))
    path = np.concatenate([batch.feed(log_e[..., :20]), batch.feed(log_e[..., 20])[..., None]], axis=-1)
    assert path.shape == (4, 2, 21)
    batch.feed(log_e[..., 21:])
    for i, j in itertools.product(range(4), range(2)):
        alone = EProcess(0.05)
        alone.feed(log_e[i, j])
        for name in ("log_value", "log_maximum", "crossed_at", "log_p"):
            assert getattr(batch, name)[i, j] == pytest.approx(getattr(alone, name), abs=1e-12)
    assert np.array_equal(batch.crossed_at, first_crossing(np.cumsum(log_e, axis=-1), 0.05))


def test_p_values_never_rise_again_and_ruin_is_final():
    path = np.array([1.0, 3.0, -math.inf, -math.inf])
    assert log_p_values(path).tolist() == [-1.0, -3.0, -3.0, -3.0]
    assert log_p_values([-1.0, -2.0]).tolist() == [0.0, 0.0]
    process = EProcess(0.5)
    assert process.feed([0.1, -math.inf, 5.0]).tolist() == [0.1, -math.inf, -math.inf]
    assert not process.crossed
    assert EProcess(0.5).log_p == 0
    assert first_crossing(np.empty((2, 0)), 0.5).tolist() == [math.inf, math.inf]


@given(st.integers(2, 5).flatmap(lambda n: distributions(n=n, zeros=False)), st.data())
def test_product_has_mean_one_over_all_seeds_for_every_text(p0, data):
    """Three tokens in any order, every eps learnt from the past: the mean over all n^3 seeds is 1."""
    n = len(p0)
    text = data.draw(st.lists(st.integers(0, n - 1), min_size=3, max_size=3))
    total = 0.0
    for seeds in itertools.product(range(n), repeat=3):
        log_e, mismatches = 0.0, 0
        for t, (v, s) in enumerate(zip(text, seeds, strict=True)):
            eps = plug_in_eps(mismatches, t)
            log_e += float(log_anchored(p0[s], v == s, n, eps))
            mismatches += v != s
        total += float(p0[list(seeds)].prod()) * math.exp(log_e)
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("kind", ["anchored", "hedged", "mixture"])
def test_ville(kind):
    """Human text, watched at each of 200 tokens: at most alpha of all texts ever reach 1/alpha."""
    rng = np.random.default_rng(11)
    texts, tokens = 10_000, 200
    # A text that avoids the rare token, as no p0 would.
    v = rng.choice(3, p=[0.2, 0.8, 0.0], size=(texts, tokens))
    s = rng.choice(3, p=P0, size=(texts, tokens))
    log_e = log_hedged(P0[s], v == s, 0.3) if kind == "hedged" else log_anchored_matrix(P0, 0.3)[v, s]
    path = np.cumsum(log_e, axis=1)
    if kind == "mixture":
        other = np.cumsum(log_hedged(P0[s], v == s, 0.9), axis=1)
        path = log_mixture(np.stack([path, other], axis=-1), [0.5, 0.5])
    for alpha in (0.2, 0.05, 0.01):
        crossings = int(np.isfinite(first_crossing(path, alpha)).sum())
        assert stats.binom.sf(crossings - 1, texts, alpha) > ALPHA
        assert crossings > 0
        # The p-value says the same as the crossing.
        assert int((np.exp(log_p_values(path)[:, -1]) <= alpha * (1 + 1e-12)).sum()) == crossings


@given(st.lists(st.floats(-800, 800), min_size=1, max_size=6), st.data())
def test_mixtures(values, data):
    weights = data.draw(distributions(n=len(values)))
    mixed = float(log_mixture(values, weights))
    top = max(values)
    expected = sum(w * math.exp(x - top) for w, x in zip(weights, values, strict=True))
    if expected > 1e-300:
        assert mixed == pytest.approx(top + math.log(expected), rel=1e-12, abs=1e-9)
    best = max((x + math.log(w) for w, x in zip(weights, values, strict=True) if w > 0))
    assert mixed >= best - 1e-9


def test_mixtures_of_ruined_parts():
    assert log_mixture([-math.inf, 0.0], [0.5, 0.5]) == pytest.approx(math.log(0.5))
    assert log_mixture([[-math.inf, -math.inf]], [0.5, 0.5]).tolist() == [-math.inf]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: EProcess(0.0), ValueError, "alpha=0.0 must be a level inside"),
        (lambda: EProcess(0.1).feed(math.nan), ValueError, "log_e holds nan"),
        (lambda: EProcess(0.1).feed([1.0, math.inf]), ValueError, "log_e holds inf"),
        (lambda: EProcess(0.1, (3,)).feed(np.zeros(2)), ValueError, r"log_e has shape \(2,\); feed \(3,\)"),
        (lambda: EProcess(0.1).feed(np.zeros((2, 2))), ValueError, r"log_e has shape \(2, 2\)"),
        (lambda: first_crossing([0.0], 1.0), ValueError, "alpha=1.0"),
        (lambda: first_crossing(0.0, 0.1), ValueError, "log_wealth is a single number"),
        (lambda: log_p_values([math.nan]), ValueError, "log_wealth holds nan"),
        (lambda: log_mixture([0.0, 1.0], [1.0]), ValueError, "log_values has 2 parts and weights has 1"),
        (lambda: log_mixture([0.0, 1.0], [0.5, 0.6]), DistributionError, "weights sums to 1.1"),
    ],
)
def test_bad_input_is_named_with_a_remedy(call, error, words):
    with pytest.raises(error, match=words):
        call()
