"""The joint race: the law of its clocks, of what it emits, and of what a detector reads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.methods import SEEDS, TREE_P, TREE_Q, spread
from tests.helpers.support import ALPHA, P, Q, assert_within, chi_square_p, distributions, pairs
from tradeoff.decoders import GumbelMax
from tradeoff.kernels import Basic, JointRace, JointRaceTree, Method, SimulatedRandomness, clocks
from tradeoff.kernels.clocks import joint_acceptance
from tradeoff.keyed import Stream
from tradeoff.laws import acceptance_probability, residual


class Drawn(SimulatedRandomness):
    """A race that is given."""

    def __init__(self, race: np.ndarray):
        super().__init__(np.random.default_rng(0), race.shape[:-1], race.shape[-1])
        self._race = race

    def zeta(self, stream: Stream, decoder: GumbelMax) -> np.ndarray:
        assert stream is Stream.SHARED
        return self._race


def steps(p: np.ndarray, q: np.ndarray, race: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draft, whether accepted, and token of a race a row."""
    laws, drafts, randomness = spread(p, len(race)), spread(q, len(race)), Drawn(race)
    draft = JointRace().draft(drafts, randomness)
    return draft, *JointRace()(laws, drafts, draft, randomness)


@pytest.mark.parametrize(("p", "q"), [(P, Q), (TREE_P, TREE_Q), (TREE_Q, TREE_P)])
def test_every_token_is_accepted_as_often_as_it_must_be(p: np.ndarray, q: np.ndarray) -> None:
    """Given the draft token j: accepted with probability a_j, and replaced by tokens of law (P-Q)_+."""
    race = np.random.default_rng(20).standard_exponential((SEEDS, len(p)))
    draft, accepted, token = steps(p, q, race)
    for j, a in enumerate(acceptance_probability(p, q)):
        here = draft == j
        count = int(here.sum())
        assert_within(accepted[here].mean(), a, math.sqrt(a * (1 - a) / count))
        replaced = token[here & ~accepted]
        assert chi_square_p(np.bincount(replaced, minlength=len(p)), len(replaced) * residual(p, q)) > ALPHA


def test_accepted_over_drafted_tokens_win_as_they_do_without_speculation() -> None:
    """E_j/P_j ~ Exp(1); and a replacement has E_k = M (a Q_k + (1-a) r_k) + X Q_k, two exponentials."""
    race = np.random.default_rng(21).standard_exponential((SEEDS, len(P)))
    draft, accepted, token = steps(P, Q, race)
    over = accepted & (P < Q)[draft]
    won = race[np.arange(SEEDS), token]
    assert stats.kstest(won[over] / P[draft[over]], "expon").pvalue > ALPHA
    j = int(np.argmax(Q - P))
    a, r = P[j] / Q[j], residual(P, Q)
    for k in np.flatnonzero(r > 0):
        here = won[(draft == j) & ~accepted & (token == k)]
        m1, m2 = a * Q[k] + (1 - a) * r[k], Q[k]

        def cdf(e: np.ndarray, m1: float = m1, m2: float = m2) -> np.ndarray:
            if abs(m1 - m2) < 1e-9:
                return stats.gamma.cdf(e / m1, 2)
            return 1 - (m1 * np.exp(-e / m1) - m2 * np.exp(-e / m2)) / (m1 - m2)

        assert stats.kstest(here, cdf).pvalue > ALPHA


@given(p=distributions(n=6), point=st.integers(0, 5), seed=st.integers(0, 2**32))
def test_a_draft_without_choice_leaves_the_text_as_it_is_without_speculation(
    p: np.ndarray, point: int, seed: int
) -> None:
    """The draft a point mass: token for token Gumbel-max on the target, for any width."""
    race = np.random.default_rng(seed).standard_exponential((200, 6))
    q = np.eye(6)[point]
    laws, drafts, randomness = spread(p, 200), spread(q, 200), Drawn(race)
    plain = Basic(GumbelMax()).bonus(laws, randomness)
    methods: list[Method] = [JointRace(), JointRaceTree(width=2), JointRaceTree(width=4)]
    for method in methods:
        draft = method.draft(drafts, randomness)
        assert (draft == point).all()
        verdict = method(laws, drafts, draft, randomness)
        np.testing.assert_array_equal(verdict.token, plain)
        np.testing.assert_array_equal(verdict.accepted, plain == point)


def test_of_two_tokens_a_detector_reads_what_it_reads_without_speculation() -> None:
    """The law of E at the token is that of Gumbel-max: P_i Exp(1) at token i."""
    p, q = np.array([0.9, 0.1]), np.array([0.6, 0.4])
    race = np.random.default_rng(22).standard_exponential((SEEDS, 2))
    _, _, token = steps(p, q, race)
    for i in (0, 1):
        here = race[token == i, i] / p[i]
        assert stats.kstest(here, "expon").pvalue > ALPHA


@given(pair=pairs(), seed=st.integers(0, 2**32))
def test_under_drafted_tokens_are_accepted_for_sure(pair: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    """Whatever the clocks say: rounding must not decide where a = 1, nor where P = Q."""
    p, q = pair
    race = np.random.default_rng(seed).standard_exponential((200, len(p)))
    draft, accepted, token = steps(p, q, race)
    assert accepted[(p >= q)[draft]].all()
    assert not accepted[(p == 0)[draft]].any()
    assert (p[token] > 0).all()
    same = steps(p, p, race)
    assert same[1].all()


@given(pair=pairs(), seed=st.integers(0, 2**32))
def test_torch_and_numpy_agree(pair: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    p, q = pair
    race = np.random.default_rng(seed).standard_exponential((50, len(p)))
    draft, accepted, _ = steps(p, q, race)
    laws, drafts = (torch.from_numpy(np.array(spread(law, 50))) for law in pair)
    found = joint_acceptance(laws, drafts, torch.from_numpy(draft), torch.from_numpy(race))
    np.testing.assert_array_equal(found.numpy(), accepted)


def test_any_batch_axes() -> None:
    """No batch, one axis, two: the same verdicts."""
    race = np.random.default_rng(23).standard_exponential((6, len(P)))
    draft, accepted, _ = steps(P, Q, race)
    two = joint_acceptance(P, Q, draft.reshape(2, 3), race.reshape(2, 3, -1))
    np.testing.assert_array_equal(two, accepted.reshape(2, 3))
    for row in range(6):
        assert bool(joint_acceptance(P, Q, draft[row], race[row])) == accepted[row]


def test_in_a_tree_the_last_candidate_alone_runs_the_joint_race() -> None:
    """First candidates of a tree of two keep the winning-time coin: given rejection the remainders are fresh,
    so that the second candidate has the law of a draft without the first."""
    method, randomness = JointRaceTree(width=2), SimulatedRandomness(np.random.default_rng(24), (SEEDS,), 5)
    p, q = spread(TREE_P, SEEDS), spread(TREE_Q, SEEDS)
    draft = method.draft(q, randomness)
    rejected = ~method.accepts(p, q, draft, randomness)
    second = method.candidates(q, randomness)[:, 1]
    for j in np.flatnonzero(TREE_P < TREE_Q):
        here = rejected & (draft == j)
        law = np.where(np.arange(5) == j, 0.0, TREE_Q) / (1 - TREE_Q[j])
        assert chi_square_p(np.bincount(second[here], minlength=5), here.sum() * law) > ALPHA


@pytest.mark.parametrize(("rows", "n"), [(20_000, 5), (12, 40_000)], ids=["many rows", "a vocabulary"])
@pytest.mark.parametrize("host", [True, False], ids=["on the host", "as on a device"])
def test_verdicts_are_those_of_the_two_clocks(
    rows: int, n: int, host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """t/a < m/(1 - a), however many rows are looked at together, in NumPy and in PyTorch; also where a = 0,
    and where nothing is left of the residual."""
    rng = np.random.default_rng(25)
    p, q = rng.dirichlet(np.full(n, 0.3), (2, rows))
    p = (p + q) / 2
    draft, here = np.argmax(q - p, axis=-1), np.arange(rows)
    p[0, draft[0]] = 0
    p[1] = q[1] * (1 - 2.0**-40)
    over, a = q - p, p[here, draft] / q[here, draft]
    # As races are whose winner is known: its time, and what comes after it.
    time = rng.standard_exponential(rows)
    race = rng.standard_exponential((rows, n)) + time[:, None] * q
    race[here, draft] = time * q[here, draft]
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.where(over < 0, (race - time[:, None] * q) / np.maximum(-over, 0), np.inf)
        first = times.min(axis=-1) * np.maximum(-over, 0).sum(axis=-1)
    first[1] = np.inf
    expected = time * (1 - a) < a * first
    assert 0 < expected.sum() < rows
    monkeypatch.setattr(clocks, "on_host", lambda _: host)
    np.testing.assert_array_equal(joint_acceptance(p, q, draft, race), expected)
    tensors = (torch.from_numpy(part) for part in (p, q, draft, race))
    np.testing.assert_array_equal(joint_acceptance(*tensors).numpy(), expected)


def test_a_tree_with_and_without_a_choice_in_one_batch() -> None:
    """A first candidate that is the last one runs the joint race beside others that do not."""
    rng = np.random.default_rng(26)
    p = rng.dirichlet(np.ones(5), 40)
    q = np.where(
        np.arange(40)[:, None] % 2 == 0, np.eye(5)[rng.integers(5, size=40)], rng.dirichlet(np.ones(5), 40)
    )
    race = rng.standard_exponential((40, 5))
    method = JointRaceTree(width=2)
    draft = method.draft(q, Drawn(race))
    accepted = method.accepts(p, q, draft, Drawn(race))
    for row in range(40):
        one = slice(row, row + 1)
        assert method.accepts(p[one], q[one], draft[one], Drawn(race[one])) == accepted[row]
    sure = q.max(axis=-1) == 1
    np.testing.assert_array_equal(accepted[sure], joint_acceptance(p, q, draft, race)[sure])
    assert 0 < accepted[sure].sum() < sure.sum()
