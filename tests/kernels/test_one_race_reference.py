"""The reference of one race: the kernel token for token, and texts of the target's law."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.support import ALPHA, chi_square_p, pairs
from tests.kernels.one_race import generate, may_be_keyed, step
from tradeoff.kernels import OneRace
from tradeoff.kernels.keyed_randomness import KeyedRandomness
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Stream

PRF = KeyedPrf(Key(b"the key of the reference"), 2)


def keyed_race(text: list[int], n: int) -> np.ndarray:
    return PRF.race(Stream.SHARED, np.array(text[-2:]), np.arange(n))


def kernel_step(p: np.ndarray, q: np.ndarray, contexts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Draft, acceptance and token of the library's kernel under the key, for laws [rows, n]."""
    randomness = KeyedRandomness.of_key(PRF, contexts, np.arange(p.shape[-1]))
    draft = OneRace().draft(q, randomness)
    return draft, *OneRace()(p, q, draft, randomness)


@given(pair=pairs(), context=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_one_step_is_the_kernels(pair: tuple[np.ndarray, np.ndarray], context: tuple[int, int]) -> None:
    """Any two laws, zeros among them: the same draft, verdict and replacement."""
    p, q = pair
    draft, accepted, token = kernel_step(p[None], q[None], np.array([context]))
    found = step(list(context), lambda _: p, lambda _: q, lambda text: keyed_race(text, len(p)), 1)
    assert found[0] == token[0]
    # A draft that is accepted is followed by one more token.
    assert (len(found) == 2) == bool(accepted[0])
    if accepted[0]:
        assert token[0] == draft[0]


def test_a_thousand_steps_are_the_kernels() -> None:
    """Laws over 40 tokens under a thousand contexts; all three outcomes occur."""
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.full(40, 0.2), 1_000), rng.dirichlet(np.full(40, 0.2), 1_000)
    p = 0.5 * p + 0.5 * q
    contexts = np.stack([np.arange(1_000), np.arange(1_000) ** 2], axis=-1)
    _, accepted, token = kernel_step(p, q, contexts)
    assert 0.3 < accepted.mean() < 0.9
    bonus = OneRace().bonus(p, KeyedRandomness.of_key(PRF, contexts, np.arange(40)))
    for row, context in enumerate(contexts.tolist()):
        target, draft = (lambda _, row=row: p[row]), (lambda _, row=row: q[row])
        found = step(context, target, draft, lambda text: keyed_race(text, 40), 1)
        assert found[0] == token[row]
        assert step(context, target, draft, lambda text: keyed_race(text, 40), 0) == [bonus[row]]


def law_of(text: list[int], seed: int) -> np.ndarray:
    """A next-token law over three tokens, another one after every text."""
    return np.random.default_rng([seed, *text]).dirichlet(np.ones(3))


def test_texts_have_the_law_of_the_target() -> None:
    """Three tokens of three, two drafted a step, contexts of one token that come again: the product
    of the target's laws, enumerated, under ideal numbers."""
    length, texts = 3, 6_000
    known = {
        (seed, *text): law_of(list(text), seed)
        for seed in (0, 1)
        for size in range(length + 2)
        for text in itertools.product(range(3), repeat=size)
    }
    expected = {
        text: np.prod([known[0, *text[:k]][text[k]] for k in range(length)])
        for text in itertools.product(range(3), repeat=length)
    }
    rng = np.random.default_rng(1)
    counts = dict.fromkeys(expected, 0)
    masked = 0
    for _ in range(texts):
        # One race a context where the key draws, and one a position where it must not.
        races: dict[tuple[str, int], np.ndarray] = {}

        def race(text: list[int], races: dict = races) -> np.ndarray:
            place = ("context", text[-1]) if may_be_keyed(text, 1) else ("position", len(text))
            if place not in races:
                races[place] = rng.exponential(size=3)
            return races[place]

        text = generate(lambda t: known[0, *t], lambda t: known[1, *t], race, length, 2)
        counts[tuple(text)] += 1
        masked += not may_be_keyed(text[:2], 1)
    # Otherwise no context came again.
    assert masked > texts / 10
    assert chi_square_p(np.array(list(counts.values())), texts * np.array(list(expected.values()))) > ALPHA


def test_a_context_is_used_once() -> None:
    """Too short, new, repeated; contexts that overlap themselves."""
    assert [may_be_keyed([5, 5, 5, 7, 5, 5][:k], 2) for k in range(7)] == [
        *(False, False, True, False, True, True, False)
    ]
