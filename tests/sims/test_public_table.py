"""Transformers' bits in the joint tournament: layer by layer they say what all shifts together give."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sims.joint.public_table import Bits, bits_of_table, drifts
from tests.kernels.all_bits import every_word
from tradeoff.decoders import TournamentBits
from tradeoff.kernels import damped_tournament, martingale
from tradeoff.keyed import DepthKeys, SamplingTable, Stream, parse_prf
from tradeoff.laws import residual

PAIRS = [
    (np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])),
    (np.array([0.66, 0.10, 0.24]), np.array([0.5, 0.02, 0.48])),
]
#: Ids whose bits are less independent than most.
TOKENS = np.array([11, 400, 77])


class Chosen:
    """Stands for a generator that draws these numbers in turn."""

    def __init__(self, numbers):
        self._numbers = list(numbers)

    def integers(self, _):
        return self._numbers.pop(0)


def frequencies(bits: Bits) -> np.ndarray:
    """How likely every pattern is, by its number: [2^n]."""
    n = bits.patterns.shape[1]
    number = (bits.patterns @ (1 << np.arange(n))).astype(int)
    return np.bincount(number, minlength=1 << n) / len(number)


def output(p: np.ndarray, q: np.ndarray, likely: np.ndarray, rounds: int) -> np.ndarray:
    """The law of what the library's joint tournament emits, over all patterns of bits in all layers: [n]."""
    n, words = len(p), every_word(len(p), rounds)
    weight = np.ones(len(words))
    for layer in range(rounds):
        weight *= likely[((words >> layer) & 1) @ (1 << np.arange(n))]
    zeta = TournamentBits(lambda _: words)
    targets, drafts = (np.broadcast_to(law, (len(words), n)) for law in (p, q))
    drafted = damped_tournament.draft_law(drafts, zeta, rounds, 0.0)
    found = (weight[:, None] * drafted)[:, p >= q].sum(axis=0)
    emitted = np.zeros(n)
    emitted[p >= q] = found
    for j in np.flatnonzero(p < q):
        match = damped_tournament.duel(targets, drafts, np.full(len(words), j), zeta, rounds, 0.0)
        for k in np.flatnonzero(residual(p, q) > 0):
            path, layers = damped_tournament.path_of(match, np.full(len(words), k), 0.0)
            moves = martingale.steps(path, layers, martingale.forecast(rounds))
            chance = martingale.walked(np.full(len(words), p[j] / q[j]), moves)
            joint = weight * drafted[:, j] * match.residual[:, k]
            emitted[j] += joint @ chance
            emitted[k] += joint @ (1 - chance)
    return emitted


@pytest.mark.parametrize(("p", "q"), PAIRS)
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_drifts_add_up_to_the_law_of_the_output(p, q, rounds):
    """Over all 65,536 shifts of every layer; with fair, independent bits there are none, and the law is P."""
    bits = bits_of_table(SamplingTable(), TOKENS)
    likely = frequencies(bits)
    emitted = output(p, q, likely, rounds)
    of_pattern = [int(np.flatnonzero(bits.patterns @ (1 << np.arange(3)) == one)[0]) for one in range(8)]
    added = p.copy()
    for past in itertools.product(range(8), repeat=rounds - 1):
        chosen = Chosen([of_pattern[one] for one in past] + [0])
        # The drift of a layer does not depend on what comes behind it, so that all pasts have all of them.
        added += likely[list(past)].prod() * drifts(p, q, bits, rounds, chosen).sum(axis=0)
    np.testing.assert_allclose(added, emitted, atol=1e-12)
    distance = np.abs(emitted - p).sum() / 2
    assert 1e-9 < distance < 1e-3
    fair = Bits(np.array(list(itertools.product([0.0, 1.0], repeat=3))))
    np.testing.assert_allclose(output(p, q, frequencies(fair), rounds), p, atol=1e-12)
    assert np.abs(drifts(p, q, fair, rounds, np.random.default_rng(0))).max() < 1e-12


def test_bits_are_those_of_the_format():
    """Over uniform keys patterns have the frequencies of the function's bits, whatever the context is."""
    table = SamplingTable(16, 3)
    found = np.zeros(8)
    for key in range(16):
        prf = parse_prf("hf-synthid:table=16,seed=3", DepthKeys([key]), 2)
        bits = prf.bits(Stream.SHARED, np.array([5, 6]), TOKENS)
        found[int(bits @ (1 << np.arange(3)))] += 1 / 16
    np.testing.assert_allclose(frequencies(bits_of_table(table, TOKENS)), found)
    with pytest.raises(ValueError, match="no power of two"):
        bits_of_table(SamplingTable(1000), TOKENS)
