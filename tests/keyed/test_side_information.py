"""Side information and scores of transport watermarks: their format, their laws, and what they depend on."""

import math

import numpy as np
import pytest

from tests.helpers.support import ALPHA, chi_square_p
from tests.keyed.test_prf import plain_bits, plain_keys
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Stream

SECRET = bytes(range(32))
PRF = KeyedPrf(Key(SECRET), 4)
CONTEXTS = np.random.default_rng(0).integers(0, 50_000, (50_000, 4))


def scaled(bits: int, count: int) -> int:
    return math.floor(((bits >> 11) + 1) * (2.0**-53 - 2.0**-106) * count)


@pytest.mark.parametrize("k", [1, 15, 1024, 2**31])
def test_format_in_plain_integers(k):
    """s is floor(k U) of k0 under the purpose "side"; the uniform of (t, s) is that of t k + s under "scores"
    with an empty context and k in place of the word."""
    for stream in Stream:
        side = PRF.side_information(stream, CONTEXTS[:5], k)
        keys = [plain_keys(SECRET, "side", stream.value, row.tolist(), 0)[0] for row in CONTEXTS[:5]]
        assert side.tolist() == [scaled(bits, k) for bits in keys]
    if k > 1024:
        return
    tokens = np.array([0, 1, 49_151])
    wanted = [
        [plain_bits(SECRET, "scores", "shared", [], int(t) * k + s, k) >> 11 for s in range(k)]
        for t in tokens
    ]
    assert np.array_equal(PRF.score_uniforms(tokens, k), (np.array(wanted) + 1) * (2.0**-53 - 2.0**-106))


def test_side_information_is_uniform_and_independent_of_all_else():
    side = PRF.side_information(Stream.SHARED, CONTEXTS, 16)
    assert chi_square_p(np.bincount(side, minlength=16), np.full(16, 50_000 / 16)) > ALPHA
    others = {
        "another stream": PRF.side_information(Stream.TARGET, CONTEXTS, 16),
        "another key": KeyedPrf(Key(bytes(32)), 4).side_information(Stream.SHARED, CONTEXTS, 16),
        "the coin": np.floor(16 * PRF.coin(CONTEXTS)).astype(int),
        "a race": np.floor(16 * PRF.uniform(Stream.SHARED, CONTEXTS, np.zeros(1, dtype=int))[:, 0]).astype(
            int
        ),
    }
    for other in others.values():
        counts = np.bincount(side * 16 + other, minlength=256)
        assert chi_square_p(counts, np.full(256, 50_000 / 256)) > ALPHA


def test_scores_do_not_depend_on_the_context_and_no_two_are_alike():
    tokens = np.arange(100)
    u = PRF.score_uniforms(tokens, 64)
    assert u.shape == (100, 64)
    assert np.array_equal(KeyedPrf(Key(SECRET), 1).score_uniforms(tokens, 64), u)
    assert np.array_equal(PRF.score_uniforms(tokens[40:50], 64), u[40:50])
    assert len(np.unique(u)) == u.size
    assert not np.isin(PRF.score_uniforms(tokens, 32), u).any()
    assert chi_square_p(np.histogram(u, 20, (0, 1))[0], np.full(20, u.size / 20)) > ALPHA


@pytest.mark.parametrize("k", [0, -1, 2**31 + 1, 2.0])
def test_bad_numbers_of_values(k):
    with pytest.raises(ValueError, match=r"k=.* must be a whole number of values, 1 to 2\^31; 1024 is usual"):
        PRF.side_information(Stream.SHARED, CONTEXTS, k)
    with pytest.raises(ValueError, match="must be a whole number of values"):
        PRF.score_uniforms(np.arange(3), k)
