"""Rounds on Markov chains: whole texts have the law of the target under every method, over many more texts
than a model could write."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch

from tests.helpers.methods import SHORT_SYNTHID, describe
from tests.helpers.support import ALPHA, assert_within, chi_square_p
from tradeoff.decoders import Completed, GumbelMax, simplex_water
from tradeoff.kernels import (
    METHODS,
    Algorithm1,
    Basic,
    JointRace,
    JointRaceTree,
    JointTournament,
    JointTransport,
    KeepEfficiency,
    KeepStrength,
    KeyedRandomness,
    Method,
    OneRace,
    OneRaceTree,
    SingleKey,
    Standard,
    TwoKeys,
    Verify,
    block,
)
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.llm.generation.rounds import Speculator
from tradeoff.llm.generation.rows import ContextWindow, Row, TrueRandomness
from tradeoff.llm.sampling import Sampling
from tradeoff.texts import Prompt

N, LENGTH, AHEAD, TEXTS = 4, 4, 3, 6_000
PROMPT = Prompt("", "", (2, 1))
_RNG = np.random.default_rng(5)
#: Next-token laws of target and draft after two tokens, [N, N, N].
TARGET = 0.9 * _RNG.dirichlet(np.full(N, 1.5), (N, N)) + 0.1 / N
DRAFT = 0.5 * TARGET + 0.5 * _RNG.dirichlet(np.full(N, 1.0), (N, N))
PRF = KeyedPrf(Key(b"the key of the chains"), 2)
CASES: list[Method] = [
    Standard(),
    Basic(GumbelMax()),
    KeepStrength(GumbelMax()),
    KeepEfficiency(GumbelMax()),
    TwoKeys(SHORT_SYNTHID),
    Algorithm1(GumbelMax()),
    Algorithm1(Completed(SHORT_SYNTHID)),
    SingleKey(),
    OneRace(),
    OneRaceTree(width=2),
    JointRace(),
    JointRaceTree(width=2),
    JointRaceTree(width=3),
    JointTransport(simplex_water(3)),
    JointTournament(SHORT_SYNTHID),
    JointTournament(Completed(SHORT_SYNTHID)),
]
BLOCKS = [method for method in CASES if method.full_efficiency]


class Chain:
    """A feeder of a model whose logits are a table: they depend on the last two tokens.

    It remembers tokens by slot, as a cache does keys and values, and finds the one before at the position
    before: that of the main branch, for side branches as well.
    """

    def __init__(self, laws: np.ndarray, slots: int):
        self.laws, self.device, self.model = torch.from_numpy(np.log(laws)), torch.device("cpu"), self
        # All but the last token of the prompt.
        self.filled = np.full(slots, len(PROMPT.token_ids) - 1)
        self._tokens = np.zeros((slots, 32), dtype=np.int64)
        self._tokens[:, : self.filled[0]] = PROMPT.token_ids[:-1]

    def logits(
        self,
        first: int,
        tokens: np.ndarray,
        where: np.ndarray,
        keep: int,
        *,
        slots: np.ndarray | None = None,
        reads: np.ndarray | None = None,
    ) -> torch.Tensor:
        rows = np.arange(first, first + len(tokens))[:, None]
        self._tokens[rows, where if slots is None else slots] = tokens
        before = self._tokens[rows, np.maximum(where - 1, 0)]
        return self.laws[before[:, -keep:], tokens[:, -keep:]]

    def keep(self, rows: np.ndarray) -> None:
        """Go on with some of the rows."""
        self._tokens, self.filled = self._tokens[rows], self.filled[rows]


class OwnKeys(Speculator):
    """Every text has a key of its own: its number is one more token of every context. All share one source of
    true randomness."""

    def _randomness(
        self, rows: Sequence[Row], ahead: int, contexts: np.ndarray, masked: np.ndarray
    ) -> KeyedRandomness:
        salt = np.array([[int(row.prompt.id)] for row in rows])
        contexts = np.concatenate([salt, contexts], axis=1)
        return KeyedRandomness(self.prf, contexts, masked, [lambda: _RNG] * len(rows), torch.arange(N))


def write(
    method: Method, texts: int, first: int, verify: Verify = Verify.TOKEN, beyond: int = 0
) -> list[Row]:
    """Texts number `first` and on, `beyond` tokens longer than what is looked at."""
    target, draft = Chain(TARGET, texts), Chain(DRAFT, texts)
    speculator = OwnKeys(
        method=method,
        prf=PRF if method.decoder.marks else None,
        verify=verify,
        sampling=Sampling(),
        target=target,  # type: ignore[arg-type]
        draft=draft if method.drafts else None,  # type: ignore[arg-type]
        lookahead=AHEAD if method.drafts else 0,
        vocabulary=N,
        measure=False,
    )
    unused = TrueRandomness(0, PROMPT)
    written = [
        Row(
            Prompt(str(first + i), "", PROMPT.token_ids),
            unused,
            ContextWindow(1, marked=method.decoder.marks),
            LENGTH + beyond,
            frozenset(),
            0.0,
        )
        for i in range(texts)
    ]
    rows = written
    while rows:
        speculator.round(rows)
        left = np.flatnonzero([row.finish is None for row in rows])
        rows = [rows[i] for i in left]
        target.keep(left)
        draft.keep(left)
    return written


def write_without_a_key(texts: int, first: int) -> list[Row]:
    """Blocks of standard speculation; true randomness of every text is that of the engine."""
    target, draft = Chain(TARGET, texts), Chain(DRAFT, texts)
    speculator = Speculator(
        method=Standard(),
        prf=None,
        verify=Verify.BLOCK,
        sampling=Sampling(),
        target=target,  # type: ignore[arg-type]
        draft=draft,  # type: ignore[arg-type]
        lookahead=AHEAD,
        vocabulary=N,
        measure=False,
    )
    written = [
        Row(
            PROMPT,
            TrueRandomness(first + i, PROMPT),
            ContextWindow(1, marked=False),
            LENGTH + AHEAD,
            frozenset(),
            0.0,
        )
        for i in range(texts)
    ]
    rows = written
    while rows:
        speculator.round(rows)
        left = np.flatnonzero([row.finish is None for row in rows])
        rows = [rows[i] for i in left]
        target.keep(left)
        draft.keep(left)
    return written


def joint_law() -> np.ndarray:
    """Of LENGTH tokens after the prompt, [N] * LENGTH."""
    law = np.zeros((N,) * LENGTH)
    for text in itertools.product(range(N), repeat=LENGTH):
        whole = (*PROMPT.token_ids, *text)
        law[text] = math.prod(TARGET[whole[k], whole[k + 1]][whole[k + 2]] for k in range(LENGTH))
    return law


@cache
def first_step(verify: Verify) -> tuple[float, float]:
    """Mean and standard deviation of how many of the first three drafts are accepted, by enumeration."""
    of = np.zeros(AHEAD + 1)
    for drafts in itertools.product(range(N), repeat=AHEAD):
        whole = (*PROMPT.token_ids, *drafts)
        p, q = ([laws[whole[k], whole[k + 1]] for k in range(AHEAD)] for laws in (TARGET, DRAFT))
        weight = math.prod(law[token] for law, token in zip(q, drafts, strict=True))
        if verify is Verify.BLOCK:
            chances = [float(chance) for chance in block(p, q, [np.array(token) for token in drafts]).chances]
            later = np.cumprod([1.0, *(1 - chance for chance in chances[::-1])])[::-1]
            of += weight * later * np.array([1.0, *chances])
        else:
            ratios = [min(1.0, a[token] / b[token]) for a, b, token in zip(p, q, drafts, strict=True)]
            passed = np.cumprod([1.0, *ratios])
            of += weight * (passed - np.append(passed[1:], 0.0))
    mean = float(of @ np.arange(AHEAD + 1))
    return mean, math.sqrt(float(of @ (np.arange(AHEAD + 1) - mean) ** 2))


def check(method: Method, texts: int, verify: Verify = Verify.TOKEN, beyond: int = 0) -> None:
    counts, accepted = np.zeros((N,) * LENGTH), 0
    for first in range(0, texts, 3_000):
        for row in write(method, min(3_000, texts - first), first, verify, beyond):
            counts[tuple(row.tokens[:LENGTH])] += 1
            accepted += row.result(0.0, False).accepted[0]
    assert counts.sum() == texts
    assert chi_square_p(counts, texts * joint_law()) > ALPHA
    if method.full_efficiency:
        mean, spread = first_step(verify)
        assert_within(accepted / texts, mean, spread / math.sqrt(texts))


def test_blocks_let_more_through() -> None:
    assert first_step(Verify.BLOCK)[0] > first_step(Verify.TOKEN)[0] + 0.02


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


@pytest.fixture
def far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laws of target and draft by which most steps end at their first draft."""
    laws = 0.95 * np.random.default_rng(2).dirichlet(np.full(N, 0.5), (2, N, N)) + 0.05 / N
    for name, law in zip(("TARGET", "DRAFT"), laws, strict=True):
        monkeypatch.setitem(globals(), name, law)
    monkeypatch.setitem(globals(), "first_step", first_step.__wrapped__)


@pytest.mark.usefixtures("far_apart")
def test_every_visit_of_a_block_has_true_randomness_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was drafted and dropped at a position says something of the numbers there."""

    def p_value() -> float:
        counts = np.zeros((N,) * LENGTH)
        for first in range(0, TEXTS, 3_000):
            for row in write_without_a_key(3_000, first):
                counts[tuple(row.tokens[:LENGTH])] += 1
        return chi_square_p(counts, TEXTS * joint_law())

    assert p_value() > ALPHA
    honest = TrueRandomness.at
    monkeypatch.setattr(TrueRandomness, "at", lambda self, position, visit=0: honest(self, position))
    assert p_value() < ALPHA


@pytest.mark.usefixtures("far_apart")
def test_a_spent_context_that_is_marked_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts of emitted tokens alone recorded, where those behind them decided too, with all three drafts
    at every step."""
    check(JointRace(), TEXTS, Verify.BLOCK, AHEAD)
    monkeypatch.setattr(Speculator, "_spent", lambda self, contexts, depth: [])
    with pytest.raises(AssertionError):
        check(JointRace(), TEXTS, Verify.BLOCK, AHEAD)


@pytest.mark.slow
@pytest.mark.parametrize("method", [m for m in CASES if m.joint], ids=describe)
def test_many_more_texts_have_the_law_of_the_target(method: Method) -> None:
    """The same, over fifty thousand texts."""
    check(method, 50_000)
