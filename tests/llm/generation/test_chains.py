"""Rounds on Markov chains: whole texts have the law of the target under every method, over many more texts
than a model could write."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers.methods import describe
from tests.helpers.support import ALPHA, assert_within, chi_square_p
from tests.llm.generation.chains import AHEAD, BLOCKS, CASES, FAR, LENGTH, NEAR, Laws, N, count, write
from tradeoff.kernels import METHODS, JointRace, Method, Standard, Verify
from tradeoff.llm.generation.rounds import Speculator
from tradeoff.llm.generation.rows import TrueRandomness

TEXTS = 6_000


def check(
    method: Method, texts: int, verify: Verify = Verify.TOKEN, beyond: int = 0, laws: Laws = NEAR
) -> None:
    found = count(method, texts, 0, verify, beyond, laws)
    assert found.texts.sum() == texts
    assert chi_square_p(found.texts, texts * laws.joint()) > ALPHA
    if method.full_efficiency:
        mean, spread = laws.first_step(verify)
        assert_within(found.accepted / texts, mean, spread / math.sqrt(texts))


def test_blocks_let_more_through() -> None:
    assert NEAR.first_step(Verify.BLOCK)[0] > NEAR.first_step(Verify.TOKEN)[0] + 0.02


def test_every_method_is_a_case() -> None:
    assert {method.name for method in CASES} == set(METHODS)


@pytest.mark.parametrize("method", CASES, ids=describe)
def test_texts_have_the_law_of_the_target(method: Method) -> None:
    """The first four tokens of a chain of order two, three drafted a step, each text under its own key.

    Contexts are of one token and repeat in most texts, so that masks keep the law of what is left."""
    check(method, TEXTS)


@pytest.mark.parametrize("method", BLOCKS, ids=describe)
def test_texts_of_blocks_have_the_law_of_the_target(method: Method) -> None:
    """Likewise, with three drafts verified together."""
    check(method, TEXTS, Verify.BLOCK)


@pytest.mark.slow
def test_every_visit_of_a_block_has_true_randomness_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was drafted and dropped at a position says something of the numbers there."""

    def p_value() -> float:
        counts = np.zeros((N,) * LENGTH)
        for row in write(Standard(), TEXTS, 0, Verify.BLOCK, AHEAD, FAR, shared=False):
            counts[tuple(row.tokens[:LENGTH])] += 1
        return chi_square_p(counts, TEXTS * FAR.joint())

    assert p_value() > ALPHA
    honest = TrueRandomness.at
    monkeypatch.setattr(TrueRandomness, "at", lambda self, position, visit=0: honest(self, position))
    assert p_value() < ALPHA


@pytest.mark.slow
def test_a_spent_context_that_is_marked_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts of emitted tokens alone recorded, where those behind them decided too, with all three drafts
    at every step."""
    check(JointRace(), TEXTS, Verify.BLOCK, AHEAD, FAR)
    monkeypatch.setattr(Speculator, "_spent", lambda self, contexts, depth: [])
    with pytest.raises(AssertionError):
        check(JointRace(), TEXTS, Verify.BLOCK, AHEAD, FAR)


@pytest.mark.slow
@pytest.mark.parametrize("method", [m for m in CASES if m.joint], ids=describe)
def test_many_more_texts_have_the_law_of_the_target(method: Method) -> None:
    """The same, over fifty thousand texts."""
    check(method, 50_000)
