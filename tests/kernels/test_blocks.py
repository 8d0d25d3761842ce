"""Blocks: what is emitted has the law of the target, and as many drafts are accepted as can be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from tests.helpers.methods import SPECULATIVE, describe, spread
from tests.helpers.support import ALPHA, chi_square_p
from tradeoff.decoders import GumbelMax, TournamentBits
from tradeoff.kernels import (
    Block,
    JointRace,
    JointTournament,
    Method,
    OneRace,
    SimulatedRandomness,
    Standard,
    Verify,
    block,
    blocks,
    clocks,
    expected_accepted,
    settle_block,
)
from tradeoff.laws import at, excess

N, K = 3, 3
METHODS = [method for method in SPECULATIVE if method.full_efficiency]


def chain(rng: np.random.Generator, zeros: bool) -> np.ndarray:
    """Next-token laws after two tokens, [N, N, N]."""
    laws = rng.dirichlet(np.full(N, 0.7), (N, N))
    if zeros:
        laws[rng.random(laws.shape) < 0.2] = 0
        laws[..., 0] += laws.sum(-1) == 0
        laws /= laws.sum(-1, keepdims=True)
    return laws


def along(laws: np.ndarray, text: tuple[int, ...]) -> list[np.ndarray]:
    """The laws of the tokens of a text that follows (0, 1), and of one more."""
    whole = (0, 1, *text)
    return [laws[whole[k], whole[k + 1]] for k in range(len(text) + 1)]


def probability(laws: np.ndarray, text: tuple[int, ...]) -> float:
    return math.prod(law[token] for law, token in zip(along(laws, text), text, strict=False))


def of_drafts(target: np.ndarray, draft: np.ndarray, drafts: tuple[int, ...]) -> Block:
    tokens = [np.array(token) for token in drafts]
    return block(along(target, drafts)[:-1], along(draft, drafts)[:-1], tokens)


def emitted(target: np.ndarray, draft: np.ndarray) -> tuple[np.ndarray, float]:
    """The law of K + 1 tokens, what a step leaves open drawn from the target, and E[tau], by enumeration."""
    law, expected = np.zeros((N,) * (K + 1)), 0.0
    for drafts in itertools.product(range(N), repeat=K):
        weight = probability(draft, drafts)
        if weight == 0:
            continue
        measures, chances = of_drafts(target, draft, drafts)
        later = 1.0
        for tau in range(K, -1, -1):
            mass = weight * later * (float(chances[tau - 1]) if tau else 1.0)
            later *= 1 - float(chances[tau - 1]) if tau else 1.0
            if mass == 0:
                continue
            expected += tau * mass
            following = along(target, drafts)[K]
            if tau < K:
                following = excess(measures[tau], along(draft, drafts)[tau])
            for token in range(N):
                begun = (*drafts[:tau], token)
                for rest in itertools.product(range(N), repeat=K - tau):
                    text = (*begun, *rest)
                    behind = math.prod(
                        known[t] for known, t in zip(along(target, text)[tau + 1 :], rest, strict=False)
                    )
                    law[text] += mass * following[token] * behind
    return law, expected


def one_by_one(target: np.ndarray, draft: np.ndarray) -> float:
    """E[tau] of verification token by token."""
    expected = 0.0
    for drafts in itertools.product(range(N), repeat=K):
        passed = 1.0
        for p, q, token in zip(along(target, drafts), along(draft, drafts), drafts, strict=False):
            passed *= min(1.0, p[token] / q[token]) if q[token] else 0.0
            expected += probability(draft, drafts) * passed
    return expected


@pytest.mark.parametrize("zeros", [False, True])
def test_texts_have_the_law_of_the_target(zeros: bool) -> None:
    """Theorem (Sun et al. 2024), by enumeration of drafts and events; no fewer are accepted than one by one,
    and of chains without zeros more."""
    rng = np.random.default_rng(1)
    for _ in range(12):
        target, draft = chain(rng, zeros), chain(rng, zeros)
        law, expected = emitted(target, draft)
        for text in itertools.product(range(N), repeat=K + 1):
            assert law[text] == pytest.approx(probability(target, text), abs=1e-14)
        least = one_by_one(target, draft)
        assert expected >= least - 1e-14
        assert zeros or expected > least


def test_as_many_are_accepted_as_can_be() -> None:
    """E[tau] = sum over prefixes of Q(prefix) p(prefix), the optimum (Sun et al. 2024, Theorem 2)."""
    rng = np.random.default_rng(2)
    target, draft = chain(rng, False), chain(rng, False)
    _, expected = emitted(target, draft)
    best = sum(
        probability(draft, prefix) * _kept(target, draft, prefix)
        for size in range(1, K + 1)
        for prefix in itertools.product(range(N), repeat=size)
    )
    assert expected == pytest.approx(best, abs=1e-14)


def _kept(target: np.ndarray, draft: np.ndarray, prefix: tuple[int, ...]) -> float:
    p = 1.0
    for law, drafted, token in zip(along(target, prefix), along(draft, prefix), prefix, strict=False):
        p = min(1.0, p * law[token] / drafted[token])
    return p


def test_means_given_drafts_are_those_of_drafts() -> None:
    """Averaged over drafts both means are E[tau], also of rows that have fewer drafts than others."""
    rng = np.random.default_rng(8)
    target, draft = chain(rng, False), chain(rng, False)
    _, whole = emitted(target, draft)
    every = list(itertools.product(range(N), repeat=K))
    weight = np.array([probability(draft, drafts) for drafts in every])
    p, q = (
        [np.array([along(laws, drafts)[k] for drafts in every]) for k in range(K)] for laws in (target, draft)
    )
    tokens = [np.array([drafts[k] for drafts in every]) for k in range(K)]
    found = expected_accepted(p, q, tokens)
    assert weight @ found.by_token == pytest.approx(one_by_one(target, draft), abs=1e-14)
    assert weight @ found.by_block == pytest.approx(whole, abs=1e-14)
    short = expected_accepted(p, q, tokens, np.full(len(every), 2))
    alone = expected_accepted(p[:2], q[:2], tokens[:2])
    np.testing.assert_allclose(short, alone, rtol=1e-14)


def test_a_block_of_one_is_a_token() -> None:
    rng = np.random.default_rng(3)
    p, q = rng.dirichlet(np.ones(5), (2, 4))
    for token in range(5):
        (measure,), (chance,) = block([p], [q], [np.full(4, token)])
        np.testing.assert_allclose(chance, np.minimum(1, p[:, token] / q[:, token]), rtol=1e-15)
        np.testing.assert_allclose(measure, p, rtol=1e-15)


def test_a_row_may_be_shorter_than_its_neighbours() -> None:
    """It is decided as if it were alone."""
    rng = np.random.default_rng(4)
    p, q = rng.dirichlet(np.ones(5), (2, 3, 6))
    drafts = list(rng.integers(0, 5, (3, 6)))
    depth = np.array([1, 2, 3, 1, 2, 3])
    together = block(list(p), list(q), drafts, depth)
    for row, size in enumerate(depth):
        alone = block(*([part[k][row] for k in range(size)] for part in (p, q, drafts)))
        for k in range(size):
            np.testing.assert_array_equal(together.targets[k][row], alone.targets[k])
            assert together.chances[k][row] == alone.chances[k]


def test_near_one_nothing_is_lost() -> None:
    """h = s / (s + 1 - p) where s and 1 - p are both small, which (s + 1) - p, rounded to the digits of 1,
    does not tell; and where p = 1 and nothing is left, h = 1."""
    small = 2.0**-52
    first = np.array([0.5 - 1.5 * small, 0.5 + 1.5 * small])
    law = np.array([0.5, 0.5])
    second = np.array([0.5 + small, 0.5 - small])
    tokens = [np.array(0), np.array(0)]
    chance = float(block([first, second], [law, law], tokens).chances[0])
    p = 1 - 3 * small
    s = max(p * second[0] - 0.5, 0) + max(p * second[1] - 0.5, 0)
    assert s == 0.0
    assert chance == 0.0
    wide = np.array([0.5 + 4 * small, 0.5 - 4 * small])
    s = float(p * wide[0] - 0.5)
    chance = float(block([first, wide], [law, law], tokens).chances[0])
    assert chance == pytest.approx(s / (s + 3 * small), rel=1e-12)
    assert float(block([law, law], [law, law], tokens).chances[0]) == 1.0


class _Same:
    """Randomness given by number, so that both libraries see the same."""

    def __init__(self, race: np.ndarray, coin: np.ndarray):
        self._race, self._coin = race, coin

    def zeta(self, stream: object, decoder: object) -> np.ndarray:
        return self._race

    def race_at(self, stream: object, token: np.ndarray) -> np.ndarray:
        return at(self._race, token)

    def coin(self) -> np.ndarray:
        return self._coin


@pytest.mark.parametrize("method", [OneRace(), JointRace()], ids=describe)
def test_torch_decides_as_numpy_does(method: Method) -> None:
    rng = np.random.default_rng(5)
    p, q = rng.dirichlet(np.full(4, 0.6), (2, K, 200))
    race, coin = rng.exponential(size=(K, 200, 4)), rng.random((K, 200))
    drafts = [GumbelMax().token(q[k], race[k]) for k in range(K)]
    found = []
    for of in (np.asarray, torch.from_numpy):
        laws, tokens = [of(q[k]) for k in range(K)], [of(drafts[k]) for k in range(K)]
        targets = block([of(p[k]) for k in range(K)], laws, tokens).targets
        numbers = [_Same(of(race[k]), of(coin[k])) for k in range(K)]
        found.append(settle_block(method, targets, laws, tokens, numbers).accepted)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found[0], found[1].numpy())
    assert set(found[0]) == {0, 1, 2, 3}


# A position of a block that has a residual, one that replaces what another position leaves of the target, and
# one without residual, where no replacement is ever needed.
P = np.array([0.5, 0.1, 0.25, 0.15])
Q = np.array([0.2, 0.4, 0.15, 0.25])
POSITIONS = {"a residual": (P, 0.8, 0.1), "a rare one": (P, 0.5, 0.6), "no residual": (P, 0.3, 0.35)}
SEEDS = 40_000


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("method", METHODS, ids=describe)
def test_an_event_happens_as_often_as_is_asked(method: Method, position: str) -> None:
    """At every draft token: accepted with probability h, else replaced by a token of (p P - Q)_+. Where there
    is no residual the event still happens with probability h; it never is the place of a replacement."""
    target, kept, chance = POSITIONS[position]
    measure = kept * target
    seeds = SEEDS // (5 if isinstance(method, JointTournament) else 1)
    rng = np.random.default_rng(6)
    randomness = SimulatedRandomness(rng, (seeds,), 4)
    law = spread(Q, seeds)
    draft = method.draft(law, randomness)
    open_ = measure < Q
    asked = np.where(open_, chance * Q, measure)
    wanted = np.where(np.arange(4) == draft[:, None], asked, measure)
    accepted, token = method(wanted, law, draft, randomness)
    rest = excess(measure, Q, empty="zero")
    replaces = rest.sum() > 0
    counts, expected = np.zeros((4, 5)), np.zeros((4, 5))
    for j in range(4):
        here, h = draft == j, chance if open_[j] else 1.0
        counts[j, 4] = np.count_nonzero(here & accepted)
        expected[j, 4] = Q[j] * h
        if replaces:
            counts[j, :4] = np.bincount(token[here & ~accepted], minlength=4)
            expected[j, :4] = Q[j] * (1 - h) * rest
        else:
            counts[j, 0] = np.count_nonzero(here & ~accepted)
            expected[j, 0] = Q[j] * (1 - h)
    assert chi_square_p(counts, seeds * expected) > ALPHA


def test_what_verifies_has_a_name() -> None:
    assert Verify("block") is Verify.BLOCK
    with pytest.raises(ValueError, match="verify='blocks' is unknown; use token or block"):
        Verify("blocks")


def test_standard_speculation_has_blocks_too() -> None:
    assert Standard() in METHODS
    assert {method.name for method in METHODS} >= {
        "standard",
        "algorithm-1",
        "single-key",
        "one-race",
        "joint-race",
        "joint-tournament",
    }


def test_a_tournament_without_residual_moves_with_the_draft_token_alone() -> None:
    """A row whose residual is empty: the event depends on the bits of the draft token and not on those of any
    other, beyond what they say of who won."""
    rng = np.random.default_rng(7)
    size = 400
    words = rng.integers(-(2**63), 2**63 - 1, (size, 4))
    other = np.where(np.arange(4) == 1, words, rng.integers(-(2**63), 2**63 - 1, (size, 4)))

    class Given:
        def __init__(self, bits: np.ndarray):
            self.bits = bits

        def zeta(self, stream: object, decoder: object) -> TournamentBits:
            return TournamentBits(lambda _: self.bits)

        def kept(self, name: str) -> np.ndarray:
            return np.full(size, 0.35)

    measure = np.where(np.arange(4) == 1, 0.35 * Q, 0.3 * P)
    point = np.where(np.arange(4) == 1, 1.0, 0.0)
    laws = spread(point, size)
    targets, draft = spread(np.where(point > 0, 0.35, 0.0 * measure), size), np.full(size, 1)
    method = next(
        m for m in METHODS if isinstance(m, JointTournament) and m.decoder.name.startswith("SynthID")
    )
    one, two = (method.accepts(targets, laws, draft, Given(bits)) for bits in (words, other))  # type: ignore[arg-type]
    np.testing.assert_array_equal(one, two)


def sum_from_the_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(blocks, "_chance", lambda s, p: np.where(p < 1, s / np.maximum((s + 1) - p, 1e-300), 1.0))


def certainty_as_a_ratio(patch: pytest.MonkeyPatch) -> None:
    """Also where p = 1: 0/0 where nothing is left, taken for 0."""
    patch.setattr(blocks, "_chance", lambda s, p: s / np.maximum(s + (1 - p), 1e-300))


def residual_of_the_target(patch: pytest.MonkeyPatch) -> None:
    """(P - Q)_+ in place of (p P - Q)_+."""
    honest = blocks.block

    def wrong(targets, laws, drafts, depth=None):
        return honest(targets, laws, drafts, depth)._replace(targets=list(targets))

    patch.setitem(globals(), "block", wrong)


def accepted_without_residual(patch: pytest.MonkeyPatch) -> None:
    honest = clocks._draft_is_first

    def first(p, q, draft, race):
        return honest(p, q, draft, race) | ~(p > q).any(axis=-1)

    patch.setattr(clocks, "_draft_is_first", first)


@pytest.mark.parametrize(
    ("mistake", "sees"),
    [
        (sum_from_the_left, test_near_one_nothing_is_lost),
        (certainty_as_a_ratio, test_near_one_nothing_is_lost),
        (residual_of_the_target, partial(test_texts_have_the_law_of_the_target, False)),
        (
            accepted_without_residual,
            partial(test_an_event_happens_as_often_as_is_asked, JointRace(), "no residual"),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_mistake_is_seen(
    mistake: Callable[[pytest.MonkeyPatch], None],
    sees: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sees()
    mistake(monkeypatch)
    with pytest.raises(AssertionError):
        sees()
