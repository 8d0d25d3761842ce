"""The one-pass form of the joint race (docs/formats/vllm.md) against the kernel of the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.support import ALPHA, P, Q, assert_within, chi_square_p, pairs
from tests.kernels.fused_joint_race import Partial, drawn, law_of_logits, merged, partial_of_tile, verified
from tests.kernels.test_joint_race import Drawn
from tradeoff.kernels import JointRace
from tradeoff.keyed import Stream, VllmPhilox
from tradeoff.laws import categorical, overlap, residual

ROWS = 400
#: Steps of `test_single_precision_...`, and how many of them may come out otherwise. A million were counted
#: once: no draft differed, and one verdict.
STEPS, OTHERWISE = 200_000, 4


Steps = tuple[np.ndarray, np.ndarray, np.ndarray]


def library(p: np.ndarray, q: np.ndarray, race: np.ndarray) -> Steps:
    """Draft, verdict and token of `JointRace`, [rows] each."""
    p, q = (np.broadcast_to(law, race.shape) for law in (p, q))
    randomness = Drawn(race)
    draft = JointRace().draft(q, randomness)
    return draft, *JointRace()(p, q, draft, randomness)


def fused(p: np.ndarray, q: np.ndarray, race: np.ndarray, tile: int) -> Steps:
    p, q = (np.broadcast_to(law, race.shape) for law in (p, q))
    draft = drawn(q, race, tile)
    return draft, *verified(p, q, draft, race, tile)


def assert_same(p: np.ndarray, q: np.ndarray, race: np.ndarray, tile: int) -> None:
    for one, other in zip(fused(p, q, race, tile), library(p, q, race), strict=True):
        np.testing.assert_array_equal(one, other)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def sparse(rng: np.random.Generator, n: int) -> np.ndarray:
    """Laws as top-k leaves them: 5 tokens of n, [rows, n]."""
    kept = rng.permuted(np.tile(np.arange(n) < 5, (ROWS, 1)), axis=-1)
    weights = kept * rng.standard_exponential((ROWS, n))
    return weights / weights.sum(axis=-1, keepdims=True)


def points(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.eye(n)[rng.integers(n, size=ROWS)]


def halves(n: int, first: bool) -> np.ndarray:
    """Uniform on the even or on the odd tokens."""
    return np.broadcast_to((np.arange(n) % 2 == first) * 2 / n, (ROWS, n))


def _scaled(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A draft above its target at every token, more than rounding makes it."""
    return q * 0.75, q


N = 64
LAWS: dict[str, Callable[[np.random.Generator], Sequence[np.ndarray]]] = {
    "flat": lambda rng: rng.dirichlet(np.ones(N), (2, ROWS)),
    "peaked": lambda rng: rng.dirichlet(np.full(N, 0.05), (2, ROWS)),
    "sparse": lambda rng: (sparse(rng, N), sparse(rng, N)),
    "sparse target": lambda rng: (sparse(rng, N), rng.dirichlet(np.ones(N), ROWS)),
    "point mass drafted": lambda rng: (rng.dirichlet(np.ones(N), ROWS), points(rng, N)),
    "point mass wanted": lambda rng: (points(rng, N), rng.dirichlet(np.ones(N), ROWS)),
    "two point masses": lambda rng: (points(rng, 2), points(rng, 2)),
    "equal": lambda rng: (rng.dirichlet(np.ones(N), ROWS),) * 2,
    "disjoint": lambda rng: (halves(N, True), halves(N, False)),
    "no residual": lambda rng: _scaled(rng.dirichlet(np.ones(N), ROWS)),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("tile", [1, 7, 64, 1000])
def test_draft_verdict_and_token_are_those_of_the_library(name: str, tile: int) -> None:
    """In float64, however the vocabulary is cut."""
    rng = np.random.default_rng(30)
    p, q = LAWS[name](rng)
    assert_same(p, q, rng.standard_exponential(p.shape), tile)


@given(pair=pairs(max_n=12), seed=st.integers(0, 2**32), tile=st.integers(1, 13))
def test_laws_of_every_shape(pair: tuple[np.ndarray, np.ndarray], seed: int, tile: int) -> None:
    p, q = pair
    assert_same(p, q, np.random.default_rng(seed).standard_exponential((50, len(p))), tile)


@pytest.mark.parametrize("tile", [1, 2, 3, 8])
def test_ties_go_to_the_lowest_token_and_to_the_replacement(tile: int) -> None:
    """Laws in eighths, a total variation of 1/2 and whole times are exact: ties of E/Q, of the residual's
    race and of the two clocks are there, and rounding does not part them."""
    p = np.array([0, 0, 1, 1, 1, 1, 2, 2]) / 8
    q = np.array([4, 0, 1, 0, 0, 1, 1, 1]) / 8
    race = np.random.default_rng(31).integers(1, 9, (20_000, 8)) / 8.0
    draft, *_ = fused(p, q, race, tile)
    times = np.divide(race, q, out=np.full(race.shape, np.inf), where=q > 0)
    assert (draft == times.argmin(axis=-1)).all()
    assert ((times == times.min(axis=-1, keepdims=True)).sum(axis=-1) > 1).mean() > 0.1
    assert_same(p, q, race, tile)
    # Clocks that ring together: a = 1/2, so that they do where t = m, which is 2 in the first row.
    p, q = np.array([1, 3]) / 4, np.array([2, 2]) / 4
    together = np.array([[1.0, 3.0], [1.0, 2.5], [1.0, 3.5]])
    _, accepted, token = fused(p, q, together, tile)
    assert accepted.tolist() == [False, False, True]
    assert token.tolist() == [1, 1, 0]
    assert_same(p, q, together, tile)


def test_tiles_may_be_put_together_in_any_grouping() -> None:
    """As ranks that hold a part of the vocabulary each would; sums of eighths are exact."""
    rng = np.random.default_rng(32)
    p, q = (rng.multinomial(8, np.full(12, 1 / 12), ROWS) / 8 for _ in range(2))
    race, time = rng.integers(1, 9, (ROWS, 12)) / 8.0, rng.integers(1, 3, ROWS) / 8.0
    a, b, c = (partial_of_tile(p[:, s], q[:, s], race[:, s], time, s.start) for s in map(_third, range(3)))
    left, right, whole = (
        merged(merged(a, b), c),
        merged(a, merged(b, c)),
        partial_of_tile(p, q, race, time, 0),
    )
    for one in (left, right):
        for name in Partial._fields:
            np.testing.assert_array_equal(getattr(one, name), getattr(whole, name))


def _third(number: int) -> slice:
    return slice(4 * number, 4 * number + 4)


def test_a_draft_that_is_a_point_mass_leaves_the_text_of_no_speculation() -> None:
    """Greedy drafts and n-grams: the token is argmin E/P, and the draft is accepted if it is that."""
    rng = np.random.default_rng(33)
    p, q, race = rng.dirichlet(np.ones(N), ROWS), points(rng, N), rng.standard_exponential((ROWS, N))
    draft, accepted, token = fused(p, q, race, 16)
    plain = (race / p).argmin(axis=-1)
    np.testing.assert_array_equal(token, plain)
    np.testing.assert_array_equal(accepted, plain == draft)


def test_single_precision_emits_the_target_law_and_accepts_one_minus_tv() -> None:
    rows = 500_000
    race = np.random.default_rng(34).standard_exponential((rows, len(P)), dtype=np.float32)
    _, accepted, token = fused(P.astype(np.float32), Q.astype(np.float32), race, 4)
    assert chi_square_p(np.bincount(token, minlength=len(P)), rows * P) > ALPHA
    share = float(overlap(P, Q))
    assert_within(accepted.mean(), share, np.sqrt(share * (1 - share) / rows))


def test_single_precision_hardly_ever_decides_otherwise() -> None:
    """Laws and races from logits and keyed uniforms in float32, by tiles: at most OTHERWISE of STEPS steps
    have another draft, verdict or token than the library in float64."""
    rng, n, otherwise = np.random.default_rng(35), 50, 0
    for _ in range(STEPS // 20_000):
        shared = rng.normal(0, 3, (20_000, n))
        z, y = ((shared + rng.normal(0, 0.5, shared.shape)).astype(np.float32) for _ in range(2))
        uniform = ((rng.integers(0, 1 << 24, shared.shape) + 1) / (2**24 + 1)).astype(np.float32)
        single = fused(law_of_logits(z, 16), law_of_logits(y, 16), -np.log(uniform), 16)
        assert single[1].mean() < 0.9
        p, q = (softmax(logits.astype(float)) for logits in (z, y))
        whole = library(p, q, -np.log(uniform.astype(float)))
        differ = [one != other for one, other in zip(single, whole, strict=True)]
        otherwise += int(np.any(differ, axis=0).sum())
    assert otherwise <= OTHERWISE


def test_races_of_the_format() -> None:
    """Uniforms of vllm-philox-v1 are float32 already, so that a kernel in float32 reads the same; on their
    grid of 24 bits verdicts in float64 are the library's."""
    rng = np.random.default_rng(36)
    contexts, tokens = rng.integers(0, 50_000, (50, 4)), np.arange(2_000)
    prf = VllmPhilox(0x0123456789ABCDEF)
    uniform = prf.uniform(Stream.SHARED, contexts, tokens)
    np.testing.assert_array_equal(uniform.astype(np.float32).astype(float), uniform)
    p, q = rng.dirichlet(np.full(2_000, 0.05), (2, 50))
    assert_same(p, q, prf.race(Stream.SHARED, contexts, tokens), 256)


def test_softmax_by_tiles() -> None:
    logits = np.random.default_rng(37).normal(0, 5, (20, 100))
    logits[:, 90:] = -np.inf
    np.testing.assert_allclose(law_of_logits(logits, 7), softmax(logits), rtol=1e-12)


# What the design warns of.


def test_one_key_under_the_rule_of_true_coins_is_biased() -> None:
    """Draft argmin E/Q, a true coin, replacement argmin E/(P - Q)+ of the same race: not the law P, as who
    lost the draft's race late loses this one too. The remainders E - t Q make the difference."""
    rng, rows = np.random.default_rng(38), 200_000
    race = rng.standard_exponential((rows, len(P)))
    draft = (race / Q).argmin(axis=-1)
    passes = rng.random(rows) < np.minimum(1, P / Q)[draft]
    rest = np.broadcast_to(residual(P, Q), race.shape)
    wrong = np.where(passes, draft, drawn(rest, race, 4))
    assert chi_square_p(np.bincount(wrong, minlength=len(P)), rows * P) < ALPHA


def test_a_draft_that_a_grammar_forbids_is_replaced_from_the_residual() -> None:
    """P = (1/2, 1/2, 0), Q = (1/2, 0, 1/2): rejected tokens 2 become token 1, always. From P they would
    become token 0 half of the time, and the text would have the law (3/4, 1/4, 0)."""
    rng, rows = np.random.default_rng(39), 100_000
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5])
    race = rng.standard_exponential((rows, 3))
    draft, accepted, token = fused(p, q, race, 2)
    np.testing.assert_array_equal(accepted, draft == 0)
    assert (token[draft == 2] == 1).all()
    wrong = np.where(accepted, draft, categorical(np.broadcast_to(p, race.shape), rng.random(rows)))
    counts = np.bincount(wrong, minlength=3)
    assert chi_square_p(counts, rows * np.array([0.75, 0.25, 0.0])) > ALPHA
    assert chi_square_p(counts, rows * p) < ALPHA
