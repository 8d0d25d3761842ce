"""Decoy keys: what a key that wrote nothing does to texts, a p-value that is exact whatever they share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.helpers.detecting import KEY, VOCABULARY, marked, other
from tests.helpers.support import ALPHA
from tradeoff.errors import FileError
from tradeoff.keyed import Key, KeyFile
from tradeoff.scheme import Scheme
from tradeoff.texts import Broken, Text
from tradeoff.verdicts import Decoys, Options, decoys

OPTIONS = Options.of(Scheme.of("joint-race"), fpr=0.05, segments=False)
PASSAGE = other(100, seed=9)


def texts(*ids: list[int]) -> list[Text]:
    return [Text(str(n), "x", f"x line {n}", one, None) for n, one in enumerate(ids)]


def sharing(count: int, own: int) -> list[Text]:
    rng = np.random.default_rng(2)
    return texts(*([*PASSAGE, *rng.integers(0, VOCABULARY, own).tolist()] for _ in range(count)))


def test_texts_that_share_passages_share_their_luck() -> None:
    """The mean over keys is the level either way; what single keys do is not."""
    shared = decoys(sharing(40, 60), OPTIONS, keys=120)
    alone = decoys(texts(*(other(160, seed=100 + n) for n in range(40))), OPTIONS, keys=120)
    for found in (shared, alone):
        assert abs(found.mean - 0.05) < stats.norm.isf(ALPHA / 2) * found.standard_error
    assert shared.quantile(0.99) > 2 * alone.quantile(0.99)


def test_the_real_key_among_decoys() -> None:
    """Uniform on the ranks if it wrote none of the texts; the first of all if it did."""
    ps = [
        decoys(sharing(10, 60), OPTIONS, keys=19, seed=n, real=KeyFile(Key(bytes([n + 1]) * 32))).p
        for n in range(40)
    ]
    assert stats.binomtest(sum(p <= 0.25 for p in ps), 40, 0.25, "greater").pvalue > ALPHA
    found = decoys(texts(*(marked(60, seed=n) for n in range(5))), OPTIONS, keys=99, real=KeyFile(KEY))
    assert (found.real, found.p) == (5, 0.01)


def test_decoys_are_keys_of_the_function_of_the_real_one() -> None:
    """An integer is read in its own format, whatever is named: ranks are uniform there as well."""
    ids = texts(*([*other(4, seed=1), *other(30, seed=20 + n)] for n in range(20)))
    options, rng = Options(fpr=0.05, segments=False), np.random.default_rng(7)
    ps = [
        decoys(ids, options, keys=19, seed=n, real=KeyFile(int(rng.integers(1 << 63)))).p for n in range(40)
    ]
    assert stats.binomtest(sum(p <= 0.25 for p in ps), 40, 0.25, "greater").pvalue > ALPHA


def test_numbers() -> None:
    found = Decoys(np.array([0, 1, 1, 2]), 10, 0.05, 2)
    assert found.mean == pytest.approx(0.1)
    assert (found.quantile(0.5), found.quantile(0.99), found.p) == (0.1, 0.2, 0.4)
    assert Decoys(np.array([0, 1]), 10, 0.05).p is None


def test_bad_input() -> None:
    for keys in (1, 2.5, True):
        with pytest.raises(ValueError, match="keys="):
            decoys(sharing(2, 5), OPTIONS, keys=keys)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="texts holds none"):
        decoys([], OPTIONS)
    with pytest.raises(ValueError, match="seed=-1 must be"):
        decoys(sharing(2, 5), OPTIONS, seed=-1)
    with pytest.raises(ValueError, match="leave out sequential"):
        decoys(sharing(2, 5), Options(sequential=True))
    with pytest.raises(FileError, match="x line 2 is no text"):
        decoys([*sharing(2, 5), Broken("x", "x line 2 is no text")], OPTIONS)
    with pytest.raises(ValueError, match="take keys of different kinds"):
        decoys(sharing(2, 5), Options(prf=["vllm-philox-v1", "blake2b-splitmix-v1"]))


def test_decoys_of_the_other_function() -> None:
    found = decoys(sharing(4, 40), Options(prf="vllm-philox-v1"), keys=5)
    assert found.texts == 4
    assert len(found.called) == 5
