"""Random numbers of a batch: keyed where the watermark acts, the text's own elsewhere."""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
import pytest
import torch

from tradeoff.decoders import Completed, GumbelMax, Identity, SynthID, heavy_water, simplex_water
from tradeoff.kernels.keyed_randomness import KeyedRandomness
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Prf, Stream
from tradeoff.llm.generation.vocabulary import vocabulary_ids

N = 6
PRF = KeyedPrf(Key(b"0123456789abcdef"), 2)
CONTEXTS = np.array([[1, 2], [3, 4], [5, 0], [2, 2]])
MASKED = np.array([False, True, False, True])
IDS = np.arange(N)


def randomness(
    rows: list[int], masked: np.ndarray = MASKED, prf: Prf | None = PRF, seed: int = 0
) -> KeyedRandomness:
    sources = [cache(partial(np.random.default_rng, [seed, row])) for row in rows]
    ids = vocabulary_ids(N, torch.device("cpu"))
    return KeyedRandomness(prf, CONTEXTS[rows], masked[rows], sources, ids)


def test_unmasked_rows_read_the_key() -> None:
    """Race, bits and coin of unmasked rows are those of the prf; of masked ones they are not."""
    values = randomness([0, 1, 2, 3])
    for stream in (Stream.SHARED, Stream.DRAFT, Stream.TARGET):
        race = values.zeta(stream, GumbelMax()).numpy()
        assert ((race == PRF.race(stream, CONTEXTS, IDS)).all(axis=1) == ~MASKED).all()
        bits = values.zeta(stream, SynthID(math.inf))
        for word in (0, 1):
            expected = PRF.bits(stream, CONTEXTS, IDS, word)
            assert ((bits.word(word).numpy() == expected).all(axis=1) == ~MASKED).all()
        side = values.zeta(stream, heavy_water())
        expected = PRF.side_information(stream, CONTEXTS, 1024)
        assert ((side.s.numpy() == expected) == ~MASKED).all()
        assert side.table == PRF
    assert ((values.coin().numpy() == PRF.coin(CONTEXTS)) == ~MASKED).all()
    assert values.zeta(Stream.SHARED, Identity()) is None


def test_keyed_numbers_do_not_change_and_uniforms_do() -> None:
    """Race, bits and coin are the same at every call, masked or not; `uniform` is new every time."""
    values = randomness([0, 1, 2, 3])
    for _ in range(2):
        first = values.zeta(Stream.DRAFT, GumbelMax()).clone(), values.coin().clone()
        word = values.zeta(Stream.DRAFT, SynthID(3)).word(0).clone()
        uniforms = [values.uniform(), values.uniform()]
        assert (uniforms[0] != uniforms[1]).all()
        assert torch.equal(values.zeta(Stream.DRAFT, GumbelMax()), first[0])
        assert torch.equal(values.coin(), first[1])
        assert torch.equal(values.zeta(Stream.DRAFT, SynthID(3)).word(0), word)


def test_kept_numbers_are_true_ones_that_stay() -> None:
    """One a name and row, the same at every call, from the text's own generator whether masked or not."""
    values, other = randomness([0, 1, 2, 3]), randomness([0, 1, 2, 3], seed=1)
    kept = {name: values.kept(name).clone() for name in ("replacement", "acceptance")}
    values.uniform()
    assert all(torch.equal(values.kept(name), numbers) for name, numbers in kept.items())
    assert (kept["replacement"] != kept["acceptance"]).all()
    assert (kept["replacement"] != other.kept("replacement")).all()


def test_a_completed_decoder_reads_the_numbers_of_its_own_and_the_race_of_its_stream() -> None:
    """Two purposes of one stream: bits or side information as without completion, and Gumbel-max's race."""
    values = randomness([0, 1, 2, 3])
    for stream in (Stream.DRAFT, Stream.TARGET):
        race = values.zeta(stream, GumbelMax())
        for inner in (SynthID(3), simplex_water(3)):
            zeta = values.zeta(stream, Completed(inner))
            assert zeta.inner is values.zeta(stream, inner)
            assert zeta.race is race


def test_race_at_is_the_race() -> None:
    """`race_at` reads the entries that `zeta` has drawn, of masked rows too."""
    values = randomness([0, 1, 2, 3])
    race, token = values.zeta(Stream.SHARED, GumbelMax()), torch.tensor([5, 0, 2, 2])
    assert torch.equal(values.race_at(Stream.SHARED, token), race[torch.arange(4), token])


@pytest.mark.parametrize("prf", [PRF, None], ids=["keyed", "unkeyed"])
@pytest.mark.parametrize("part", [[1, 2], [3], [0, 1, 2, 3]], ids=str)
def test_take(prf: Prf | None, part: list[int]) -> None:
    """The same numbers for some rows; what was not drawn before is drawn as if they had been alone."""
    whole, alone = randomness([0, 1, 2, 3], prf=prf), randomness(part, prf=prf)
    for values in (whole, alone):
        values.zeta(Stream.DRAFT, GumbelMax())
        values.zeta(Stream.DRAFT, SynthID(math.inf))
        values.zeta(Stream.DRAFT, heavy_water())
        values.coin()
        values.uniform()
        values.kept("replacement")
    taken = whole.take(np.array(part))
    for stream in (Stream.DRAFT, Stream.TARGET):
        assert torch.equal(taken.zeta(stream, GumbelMax()), alone.zeta(stream, GumbelMax()))
        sides = [values.zeta(stream, heavy_water()).s for values in (taken, alone)]
        assert torch.equal(*sides)
        for word in (0, 1):
            bits = (values.zeta(stream, SynthID(math.inf)).word(word) for values in (taken, alone))
            assert torch.equal(*bits)
    assert torch.equal(taken.coin(), alone.coin())
    assert torch.equal(taken.kept("replacement"), alone.kept("replacement"))
    assert torch.equal(taken.kept("acceptance"), alone.kept("acceptance"))
    assert torch.equal(taken.uniform(), alone.uniform())


def test_further_words_of_a_tournament_do_not_move_a_texts_randomness() -> None:
    """A neighbour in the batch whose tournament goes on for 64 more rounds changes nothing for a row."""
    short, long = (randomness([1, 3]) for _ in range(2))
    short.zeta(Stream.SHARED, SynthID(math.inf)).word(0)
    long.zeta(Stream.SHARED, SynthID(math.inf)).word(2)
    assert torch.equal(short.uniform(), long.uniform())


@pytest.mark.parametrize(
    ("prf", "masked"), [(None, ~np.ones(4, bool)), (PRF, np.ones(4, bool))], ids=["no key", "all masked"]
)
def test_without_a_watermark_everything_is_the_texts_own(prf: Prf | None, masked: np.ndarray) -> None:
    """Numbers are those of each row's generator: another seed changes all, another batch none."""
    values, alone, other = (
        randomness(rows, masked, prf, seed) for rows, seed in (([0, 1, 2, 3], 0), ([2], 0), ([0, 1, 2, 3], 1))
    )
    drawn = [v.zeta(Stream.SHARED, GumbelMax()) for v in (values, alone, other)]
    assert torch.equal(drawn[0][2], drawn[1][0])
    assert (drawn[0] != drawn[2]).all()
    coins = [v.coin() for v in (values, alone, other)]
    assert torch.equal(coins[0][2], coins[1][0])
    assert (coins[0] != coins[2]).all()
    sides = [v.zeta(Stream.SHARED, heavy_water(k=1 << 16)).s for v in (values, alone, other)]
    assert torch.equal(sides[0][2], sides[1][0])
    assert (sides[0] != sides[2]).all()
    words = [v.zeta(Stream.SHARED, SynthID(3)).word(0) for v in (values, alone, other)]
    assert torch.equal(words[0][2], words[1][0])
    assert (words[0] != words[2]).all()


def test_vocabulary_ids() -> None:
    """0 .. n - 1."""
    assert vocabulary_ids(5, torch.device("cpu")).tolist() == [0, 1, 2, 3, 4]
