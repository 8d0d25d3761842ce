"""Keyed buckets: their hash, their laws, and a coupling that leaves the target's law exactly as it is."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.support import ALPHA, chi_square_p, pairs
from tradeoff.anchored.buckets import bucket_law, couple, seed_bucket
from tradeoff.anchored.e_values import log_anchored_matrix
from tradeoff.errors import DistributionError
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Stream
from tradeoff.laws import overlap, total_variation

PRF = KeyedPrf(Key(bytes(range(32))))
N = 100_000


# The hash.


def test_format_in_plain_integers():
    """Personalisation "buckets", an empty context, and the top 53 of 64 bits."""
    subkey = hashlib.blake2b(bytes(range(32)), digest_size=64, person=b"tradeoff-prf-v1").digest()
    digest = hashlib.blake2b(bytes(8), key=subkey, digest_size=16, salt=b"shared", person=b"buckets").digest()
    k0, k1 = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")

    def mix(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    for token in (0, 1, 7, 151_935):
        bits = mix((mix((token * 0x9E3779B97F4A7C15 + k0) % 2**64) + k1) % 2**64)
        for m in (1, 2, 3, 16, 1000):
            assert PRF.buckets(np.array([token]), m) == [math.floor((bits >> 11) / 2**53 * m)]


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 16, 100])
def test_buckets_are_uniform_and_cover_0_to_m(m):
    h = PRF.buckets(np.arange(N), m)
    assert h.dtype == np.int64
    assert chi_square_p(np.bincount(h, minlength=m), np.full(m, N / m)) > ALPHA
    assert len(np.bincount(h)) == m


def test_the_largest_uniform_is_in_the_last_bucket():
    largest = 1 - 2.0**-53
    m = np.concatenate([np.arange(1, 5_000), 2 ** np.arange(31), 2 ** np.arange(1, 32) - 1])
    assert (np.floor(largest * m) == m - 1).all()


def test_buckets_depend_on_the_key_alone():
    tokens = np.arange(N)
    same = PRF.buckets(tokens, 4)
    assert np.array_equal(KeyedPrf(Key(bytes(range(32))), context_width=1).buckets(tokens, 4), same)
    other = KeyedPrf(Key(bytes(range(1, 33)))).buckets(tokens, 4)
    joint = np.bincount(4 * same + other, minlength=16)
    assert chi_square_p(joint, np.full(16, N / 16)) > ALPHA
    # Another purpose, another number: the race of an empty place is not the hash.
    race = np.floor(4 * PRF.uniform(Stream.SHARED, np.full(PRF.context_width, -1), tokens)).astype(int)
    assert chi_square_p(np.bincount(4 * same + race, minlength=16), np.full(16, N / 16)) > ALPHA
    assert np.array_equal(PRF.buckets(tokens, 8) // 2, same)
    assert np.array_equal(PRF.buckets(tokens[500:510], 4), same[500:510])
    assert np.array_equal(PRF.buckets(torch.arange(N), 4).numpy(), same)


@pytest.mark.parametrize(
    ("tokens", "m", "words"),
    [
        (np.arange(3), 0, "m=0 must be a whole number of buckets"),
        (np.arange(3), 2.0, "m=2.0 must be"),
        (np.arange(3), 2**31 + 1, "must be a whole number of buckets, 1 to 2"),
        (np.array([-1]), 2, "tokens hold the id -1"),
        (np.array([0.5]), 2, "tokens hold float64 values"),
    ],
)
def test_bad_tokens_and_numbers_of_buckets(tokens, m, words):
    with pytest.raises(ValueError, match=words):
        PRF.buckets(tokens, m)


# Laws.


@given(pairs(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_bucket_laws_are_sums_and_closer_than_the_laws(pair, m, random):
    p, q = pair
    h = np.array([random.randrange(m) for _ in p])
    laws = bucket_law(np.stack([p, q]), h, m)
    assert laws.shape == (2, m)
    for law, source in zip(laws, (p, q), strict=True):
        assert law == pytest.approx([sum(source[h == b]) for b in range(m)], abs=1e-15)
    assert float(total_variation(*laws)) <= float(total_variation(p, q)) + 1e-12


def test_a_hash_for_every_law():
    rng = np.random.default_rng(0)
    p, h = rng.dirichlet(np.ones(6), size=(2, 3)), rng.integers(0, 4, (2, 3, 6))
    laws = bucket_law(p, h, 4)
    assert laws.shape == (2, 3, 4)
    assert np.allclose(laws[1, 2], bucket_law(p[1, 2], h[1, 2], 4))


# The coupling.

#: Masses in sixtieths whose acceptance rates and residuals are multiples of 1/60, so that a grid of 60 mid
#: points for each uniform integrates exactly.
_SIXTIETHS = [
    ([20, 10, 5, 25], [20, 20, 15, 5], [0, 0, 1, 1]),
    ([12, 18, 24, 6], [28, 0, 12, 20], [0, 1, 0, 1]),
    ([15, 15, 10, 20], [15, 5, 20, 20], [0, 1, 2, 2]),
    ([15, 15, 10, 20], [15, 15, 10, 20], [0, 1, 2, 2]),
]


@pytest.mark.parametrize(("q", "p0", "h"), _SIXTIETHS)
def test_token_has_the_law_of_the_target_exactly(q, p0, h):
    """All seeds and a grid over all uniforms: the law of the token is q, of kept seeds the overlap."""
    q, p0, h = np.array(q) / 60, np.array(p0) / 60, np.array(h)
    m = h.max() + 1
    grid = (np.arange(60) + 0.5) / 60
    uniforms = np.array(list(itertools.product(grid, repeat=3))).T
    q_law, p0_law = bucket_law(q, h, m), bucket_law(p0, h, m)
    law, kept, joint = np.zeros(len(q)), 0.0, np.zeros((m, m))
    for seed in range(m):
        drawn = couple(q, p0, h, m, np.full(uniforms.shape[1], seed), uniforms)
        assert (h[drawn.token] == drawn.bucket).all()
        assert (drawn.bucket[drawn.kept] == seed).all()
        law += p0_law[seed] * np.bincount(drawn.token, minlength=len(q)) / uniforms.shape[1]
        joint[:, seed] = p0_law[seed] * np.bincount(drawn.bucket, minlength=m) / uniforms.shape[1]
        kept += p0_law[seed] * drawn.kept.mean()
    assert law == pytest.approx(q, abs=1e-12)
    assert kept == pytest.approx(float(overlap(q_law, p0_law)), abs=1e-12)
    assert joint.sum(axis=0) == pytest.approx(p0_law, abs=1e-12)
    assert np.trace(joint) == pytest.approx(kept, abs=1e-12)


@given(pairs(max_n=10), st.integers(1, 4))
def test_token_has_the_law_of_the_target_by_simulation(pair, m):
    q, p0 = pair
    rng = np.random.default_rng(5)
    h, draws = rng.integers(0, m, len(q)), 20_000
    race = rng.exponential(size=(draws, m))
    seed = seed_bucket(np.broadcast_to(bucket_law(p0, h, m), (draws, m)), race)
    laws = [np.broadcast_to(law, (draws, len(q))) for law in (q, p0)]
    drawn = couple(*laws, h, m, seed, np.maximum(rng.random((3, draws)), 2.0**-54))
    assert chi_square_p(np.bincount(seed, minlength=m), draws * bucket_law(p0, h, m)) > ALPHA
    assert chi_square_p(np.bincount(drawn.token, minlength=len(q)), draws * q) > ALPHA


def test_e_star_on_buckets_is_valid_for_every_token():
    """Its mean over seed buckets is 1, whatever token a text has, for every hash."""
    p0 = np.random.default_rng(2).dirichlet(np.ones(50))
    for m in (2, 3, 16):
        h = PRF.buckets(np.arange(50), m)
        law = bucket_law(p0, h, m)
        drawn = law > 0
        means = np.exp(log_anchored_matrix(law, 0.15)[h][:, drawn]) @ law[drawn]
        # Buckets that no token falls into are never drawn: their share of the wealth is not bet.
        assert means == pytest.approx(np.full(50, 1 - 0.15 * (~drawn).sum() / (m - 1)), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: bucket_law(np.full(3, 1 / 3), [0, 1], 2),
            ValueError,
            "one integer for each of the 3 tokens",
        ),
        (lambda: bucket_law(np.full(2, 0.5), [0.0, 1.0], 2), ValueError, "float64"),
        (lambda: bucket_law(np.full(2, 0.5), [0, 2], 2), ValueError, "buckets hold 0 to 2; with m=2"),
        (lambda: bucket_law(np.full(2, 0.5), [-1, 1], 2), ValueError, "buckets hold -1 to 1"),
        (
            lambda: couple(np.full(3, 1 / 3), np.full(2, 0.5), [0, 1], 2, np.array(0), np.full(3, 0.5)),
            DistributionError,
            "q has 3 tokens and p0 has 2",
        ),
    ],
)
def test_bad_input_is_named_with_a_remedy(call, error, words):
    with pytest.raises(error, match=words):
        call()
