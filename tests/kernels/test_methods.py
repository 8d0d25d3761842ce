"""Every kernel: unbiased, as efficient and as strong as its formula says."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.helpers.methods import SEEDS, SHORT_SYNTHID, SPECULATIVE, SYNTHID, TREE_P, TREE_Q, describe, spread
from tests.helpers.support import ALPHA, P, Q, Z, assert_within, chi_square_p, pairs
from tradeoff.curves.measures import google_end_point_strength, hu_end_point_strength, sampling_efficiency
from tradeoff.decoders import Decoder, GumbelMax, Identity, SynthID
from tradeoff.decoders.gumbel import one_hot
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    DualKey,
    JointRace,
    JointRaceMarked,
    JointRaceTree,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    OneRaceTree,
    SingleKey,
    Standard,
    TargetOnly,
    TwoKeys,
)
from tradeoff.kernels.randomness import SimulatedRandomness
from tradeoff.keyed.prf import Stream
from tradeoff.laws import acceptance_probability, categorical, entropy, excess, overlap

#: Methods whose token is a function of the key alone.
DETERMINISTIC: list[Method] = [
    Basic(GumbelMax()),
    Basic(SYNTHID),
    KeepStrength(GumbelMax()),
    KeepStrength(SYNTHID),
    Algorithm1(GumbelMax()),
    Algorithm1(SYNTHID),
    SingleKey(),
    OneRace(),
    OneRaceTree(width=2),
    OneRaceTree(width=3),
    JointRace(),
    JointRaceTree(width=2),
    JointRaceTree(width=3),
]


@pytest.mark.parametrize("method", SPECULATIVE, ids=describe)
@pytest.mark.parametrize(("p", "q"), [(TREE_P, TREE_Q), (TREE_Q, TREE_P)], ids=["spec", "swapped"])
def test_step_is_unbiased_with_the_efficiency_of_its_formula(
    method: Method, p: np.ndarray, q: np.ndarray
) -> None:
    """Draft, verify: the token has law P, and the acceptance rate is the method's formula."""
    # All seeds on one pair: that is what tells a kernel that is a little wrong, wherever it is.
    seeds = SEEDS if p is TREE_P else SEEDS // 10
    rng = np.random.default_rng(1)
    counts, accepted = np.zeros(len(p)), 0
    for _ in range(4):
        chunk = seeds // 4
        randomness = SimulatedRandomness(rng, (chunk,), len(p))
        draft = method.draft(spread(q, chunk), randomness)
        verdict = method(spread(p, chunk), spread(q, chunk), draft, randomness)
        assert (verdict.token[verdict.accepted] == draft[verdict.accepted]).all()
        counts += np.bincount(verdict.token, minlength=len(p))
        accepted += int(verdict.accepted.sum())
    assert chi_square_p(counts, seeds * p) > ALPHA
    formula = method.efficiency(p, q)
    if formula is None and isinstance(method, KeepStrength | JointRaceMarked):
        decoder = method.decoder if isinstance(method, KeepStrength) else method.decoder.decoder
        estimate = sampling_efficiency(p, q, decoder, decoder, seeds=SEEDS // 4, rng=9)
        spread_of_both = math.hypot(math.sqrt(1 / 4 / seeds), estimate.standard_error)
        assert_within(accepted / seeds, estimate.value, spread_of_both)
    else:
        # Of a tree this is its first candidate.
        reference = float(overlap(p, q)) if formula is None else float(formula)
        assert_within(accepted / seeds, reference, math.sqrt(reference * (1 - reference) / seeds))


@pytest.mark.parametrize(
    "method",
    [Basic(Identity()), Basic(GumbelMax()), Basic(SYNTHID), DualKey(), DualKey(alpha=0.6), *SPECULATIVE],
    ids=describe,
)
def test_bonus_token_has_the_law_of_the_target(method: Method) -> None:
    seeds = SEEDS // 4
    randomness = SimulatedRandomness(np.random.default_rng(2), (seeds,), len(P))
    token = method.bonus(spread(P, seeds), randomness)
    assert chi_square_p(np.bincount(token, minlength=len(P)), seeds * P) > ALPHA


def test_true_randomness_routes_tokens_of_the_dual_key() -> None:
    """To the second key below alpha, else to the first."""
    rng, race = np.random.default_rng(4), GumbelMax()
    law, coins = spread(P, 1_000), rng.random(1_000)
    zeta = {stream: race.draw(rng, (1_000,), len(P)) for stream in (Stream.DRAFT, Stream.TARGET)}
    token = DualKey(alpha=0.3).bonus(law, Scripted([coins], coins, zeta))
    first, second = (race.token(law, zeta[stream]) for stream in (Stream.DRAFT, Stream.TARGET))
    np.testing.assert_array_equal(token, np.where(coins < 0.3, second, first))
    assert not DualKey().determined
    assert not DualKey.drafts
    assert DualKey.detection.streams == {Stream.DRAFT, Stream.TARGET}


@pytest.mark.parametrize("method", SPECULATIVE, ids=describe)
def test_draft_token_has_the_law_of_the_draft(method: Method) -> None:
    seeds = SEEDS // 4
    randomness = SimulatedRandomness(np.random.default_rng(3), (seeds,), len(Q))
    token = method.draft(spread(Q, seeds), randomness)
    assert chi_square_p(np.bincount(token, minlength=len(Q)), seeds * Q) > ALPHA


class Scripted:
    """Randomness read from a script: every true uniform, keyed coin and zeta is given."""

    def __init__(self, uniforms: list[np.ndarray], coin: np.ndarray, zeta: dict[Stream, np.ndarray]):
        self._uniforms, self._coin, self._zeta = iter(uniforms), coin, zeta

    def zeta(self, stream, decoder):
        return self._zeta[stream]

    def race_at(self, stream, token):
        return np.take_along_axis(self._zeta[stream], token[..., None], axis=-1)[..., 0]

    def coin(self):
        return self._coin

    def uniform(self):
        return next(self._uniforms)

    def kept(self, name):
        return self._coin if name == "acceptance" else 1 - self._coin


@dataclass(frozen=True)
class InverseCdf:
    """A degenerate decoder whose law can be enumerated: zeta is one uniform number."""

    name = "inverse distribution function"
    degenerate = True
    randomness = "uniform"

    def draw(self, rng, batch, n):
        return rng.random(batch)

    def antithetic(self, zeta):
        return 1 - zeta

    def token(self, p, zeta):
        return categorical(p, zeta)

    def __call__(self, p, zeta):
        return one_hot(self.token(p, zeta), p)


def quantiles(law: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Uniform numbers that `categorical` maps to each token of positive mass, and these masses."""
    end = np.cumsum(law)
    return ((end - law / 2) / end[-1])[law > 0], law[law > 0]


@pytest.mark.parametrize("kind", [Standard, KeepEfficiency, TwoKeys, Algorithm1])
@given(pair=pairs())
def test_exact_law_by_enumeration(kind: type[Method], pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Sum over draft token, coin on both sides of its threshold, and every replacement: exactly P."""
    p, q = pair
    method = kind() if kind is Standard else kind(InverseCdf())
    a, residual = acceptance_probability(p, q), excess(p, q, empty="zero")
    law = np.zeros_like(p)
    for j in np.flatnonzero(q > 0):
        draft = np.array([j])
        cells = [(np.array([a[j] * (1 - 1e-12)]), a[j], True)] if a[j] > 0 else []
        if a[j] < 1:
            cells.append((np.array([a[j]]), 1 - a[j], False))
        for coin, weight, expected in cells:
            for u, mass in zip(*quantiles(residual), strict=True) if not expected else [(0.5, 1.0)]:
                u = np.array([u])
                random_coin = [] if kind is Algorithm1 else [coin]
                residual_is_random = kind in (Standard, KeepEfficiency)
                script = Scripted(
                    random_coin + ([u] if residual_is_random else []),
                    coin,
                    {Stream.TARGET: u, Stream.DRAFT: np.array([0.5])},
                )
                verdict = method(p[None], q[None], draft, script)
                assert bool(verdict.accepted[0]) is expected
                law[verdict.token[0]] += q[j] * weight * mass
    np.testing.assert_allclose(law, p, atol=1e-12)


@given(pair=pairs(), seed=st.integers(0, 2**32))
def test_rejected_token_is_replaced_by_one_with_excess(
    pair: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    """Whatever the method: a replacement has P > 0, and P > Q unless both laws are watermarked."""
    p, q = pair
    assume(overlap(p, q) < 1 - 1e-9)
    for method in SPECULATIVE:
        randomness = SimulatedRandomness(np.random.default_rng(seed), (50,), len(p))
        draft = method.draft(spread(q, 50), randomness)
        assert (q[draft] > 0).all()
        accepted, token = method(spread(p, 50), spread(q, 50), draft, randomness)
        assert (p[token] > 0).all()
        if not isinstance(method, KeepStrength | JointRaceMarked | OneRaceTree | JointRaceTree):
            assert (p[token[~accepted]] > q[token[~accepted]]).all()


@pytest.mark.parametrize("method", DETERMINISTIC, ids=describe)
def test_strongest_methods_are_functions_of_the_key(method: Method) -> None:
    """A degenerate unbiased law given zeta has strength Ent(P) (Theorem 3.2)."""
    tokens = []
    for true_seed in (0, 1):
        randomness = SimulatedRandomness(
            np.random.default_rng(4), (20_000,), len(P), np.random.default_rng(true_seed)
        )
        p, q = spread(P, 20_000), spread(Q, 20_000)
        if isinstance(method, Basic):
            tokens.append(method.bonus(p, randomness))
        else:
            tokens.append(method(p, q, method.draft(q, randomness), randomness).token)
    np.testing.assert_array_equal(tokens[0], tokens[1])


def law_given_zeta(method: Method, seeds: int) -> np.ndarray:
    """Exact law of the token given zeta and a random coin, for two point-mass draws: [seeds, n]."""
    p, q = spread(P, seeds), spread(Q, seeds)
    simulated = SimulatedRandomness(np.random.default_rng(5), (seeds,), len(P))
    zeta = {s: simulated.zeta(s, GumbelMax()) for s in (Stream.DRAFT, Stream.TARGET)}
    draft = method.draft(q, Scripted([], np.empty(0), zeta))
    low, high = np.zeros(seeds), np.full(seeds, 1 - 1e-12)
    fill = np.full(seeds, 0.5)
    kept = method(p, q, draft, Scripted([low, fill], np.empty(0), zeta))
    assert (kept.token == draft).all()
    lost = method(p, q, draft, Scripted([high, fill], np.empty(0), zeta))
    a = acceptance_probability(P, Q)[draft][:, None]
    assert (lost.accepted == (a[:, 0] == 1)).all()
    rest = np.eye(len(P))[lost.token] if isinstance(method, TwoKeys | Algorithm1) else excess(P, Q)
    return a * np.eye(len(P))[draft] + (1 - a) * rest


@pytest.mark.parametrize(
    ("method", "formula"),
    [(KeepEfficiency(GumbelMax()), hu_end_point_strength), (TwoKeys(GumbelMax()), google_end_point_strength)],
    ids=["keep efficiency", "two keys"],
)
def test_strength_of_methods_with_a_random_coin(method: Method, formula) -> None:
    """WS = Ent(P) - E Ent(P_zeta), with the exact law of the token given zeta."""
    law = law_given_zeta(method, 200_000)
    np.testing.assert_allclose(law.mean(axis=0), P, atol=Z * 0.5 / math.sqrt(len(law)))
    lost = entropy(law)
    assert_within(
        float(entropy(P) - lost.mean()), float(formula(P, Q)), float(lost.std() / math.sqrt(len(law)))
    )


@pytest.mark.parametrize("decoder", [SHORT_SYNTHID, SynthID(1)], ids=lambda d: d.name)
def test_keep_strength_keeps_the_law_given_zeta(decoder: SynthID) -> None:
    """Given zeta the token has law P_zeta, hence the decoder's own strength, whatever the draft."""
    draws = 200_000
    zeta_rng = np.random.default_rng(6)
    bits = decoder.draw(zeta_rng, (), len(P))
    law = decoder(P, bits)

    class Fixed(SimulatedRandomness):
        def zeta(self, stream, decoder):
            return bits

    method = KeepStrength(decoder)
    randomness = Fixed(np.random.default_rng(7), (draws,), len(P))
    draft = method.draft(spread(Q, draws), randomness)
    verdict = method(spread(P, draws), spread(Q, draws), draft, randomness)
    assert chi_square_p(np.bincount(verdict.token, minlength=len(P)), draws * law) > ALPHA
    efficiency = float(overlap(law, decoder(Q, bits)))
    assert_within(verdict.accepted.mean(), efficiency, math.sqrt(efficiency * (1 - efficiency) / draws))


def test_coin_of_one_race_is_uniform_and_independent_of_the_winner() -> None:
    seeds = SEEDS
    randomness = SimulatedRandomness(np.random.default_rng(9), (seeds,), len(TREE_Q))
    draft = OneRace().draft(spread(TREE_Q, seeds), randomness)
    coin = 1 - np.exp(-randomness.race_at(Stream.SHARED, draft) / TREE_Q[draft])
    cells = np.histogram2d(draft, coin, bins=[np.arange(6) - 0.5, np.linspace(0, 1, 21)])[0]
    assert chi_square_p(cells, seeds * TREE_Q[:, None] / 20 * np.ones(20)) > ALPHA


def test_one_race_accepts_the_small_entries() -> None:
    """Accepted tokens have E = t Q with small t: the detector's statistic is smaller than in single key."""
    seeds = SEEDS
    scores = {}
    for method in (SingleKey(), OneRace()):
        randomness = SimulatedRandomness(np.random.default_rng(10), (seeds,), len(P))
        draft = method.draft(spread(Q, seeds), randomness)
        token = method(spread(P, seeds), spread(Q, seeds), draft, randomness).token
        scores[method.name] = randomness.race_at(Stream.SHARED, token)
    gap = scores["single-key"] - scores["one-race"]
    assert gap.mean() > Z * gap.std() / math.sqrt(seeds)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "method",
    [
        KeepStrength(GumbelMax()),
        SingleKey(),
        OneRace(),
        OneRaceTree(width=3),
        JointRace(),
        JointRaceTree(width=3),
    ],
    ids=describe,
)
def test_race_methods_are_unbiased_for_random_pairs(method: Method, seed: int) -> None:
    """P and Q drawn at random over seven tokens, two of which one of them lacks."""
    rng = np.random.default_rng(100 + seed)
    p, q = rng.dirichlet(np.full(7, 0.6), 2)
    p[rng.integers(3)], q[3 + rng.integers(3)] = 0.0, 0.0
    p, q = p / p.sum(), q / q.sum()
    seeds = 200_000
    randomness = SimulatedRandomness(rng, (seeds,), 7)
    draft = method.draft(spread(q, seeds), randomness)
    verdict = method(spread(p, seeds), spread(q, seeds), draft, randomness)
    assert chi_square_p(np.bincount(verdict.token, minlength=7), seeds * p) > ALPHA
    formula = method.efficiency(p, q)
    rate = float(overlap(p, q) if formula is None else formula)
    assert_within(verdict.accepted.mean(), rate, math.sqrt(rate * (1 - rate) / seeds))


@pytest.mark.parametrize("method", SPECULATIVE, ids=describe)
def test_torch_agrees_with_numpy(method: Method) -> None:
    """One code path: the same numbers give the same tokens."""
    seeds = 500
    simulated = SimulatedRandomness(np.random.default_rng(15), (seeds,), len(P))
    streams = (Stream.SHARED, Stream.DRAFT, Stream.TARGET)
    zeta = {s: simulated.zeta(s, method.decoder) for s in streams} if method.name != "standard" else {}
    coin, uniforms = simulated.coin(), [simulated.uniform() for _ in range(6)]
    numpy = Scripted(uniforms, coin, zeta)
    races = {s: torch.from_numpy(z) if isinstance(z, np.ndarray) else z for s, z in zeta.items()}

    class ScriptedTorch(Scripted):
        def race_at(self, stream, token):
            return torch.gather(self._zeta[stream], -1, token[..., None])[..., 0]

    pytorch = ScriptedTorch([torch.from_numpy(u) for u in uniforms], torch.from_numpy(coin), races)
    p, q = spread(P, seeds), spread(Q, seeds)
    tp, tq = torch.from_numpy(p.copy()), torch.from_numpy(q.copy())
    draft = method.draft(q, numpy)
    torch_draft = method.draft(tq, pytorch)
    np.testing.assert_array_equal(draft, torch_draft)
    for ours, theirs in itertools.zip_longest(
        method(p, q, draft, numpy), method(tp, tq, torch_draft, pytorch)
    ):
        np.testing.assert_array_equal(ours, theirs)


class GivenRace(SimulatedRandomness):
    """A race [1, n] that is what it is, under every stream."""

    def __init__(self, race: np.ndarray):
        super().__init__(np.random.default_rng(0), (1,), race.shape[-1])
        self._race = race

    def zeta(self, stream: str, decoder: Decoder) -> np.ndarray:
        return self._race


@given(pairs(max_n=6))
def test_target_only_by_enumeration(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Given the key the law is min(P, Q) + TV at the residual's winner, whose law is the residual: the mean
    is P, and the strength Ent(P) less the mean entropy (docs/theory/trade-off.md)."""
    p, q = pair
    assume(1 - overlap(p, q) > 1e-9)
    n, tv = len(p), 1 - float(overlap(p, q))
    rest = excess(p, q) / excess(p, q).sum()
    method, accepted = TargetOnly(GumbelMax()), np.array(acceptance_probability(p, q))
    laws = np.zeros((n, n))
    for k in np.flatnonzero(rest > 0):
        # A key under which k wins the residual's race; every rejected draft is then replaced by k.
        randomness = GivenRace(np.where(np.arange(n) == k, 1e-300, 1.0)[None])
        for j in range(n):
            token = method.replacement(p[None], q[None], np.array([j]), randomness)
            laws[k, j] += q[j] * accepted[j]
            laws[k, token[0]] += q[j] * (1 - accepted[j])
    np.testing.assert_allclose(rest @ laws, p, atol=1e-12)
    held = np.array([float(entropy(laws[k] / laws[k].sum())) if rest[k] > 0 else 0.0 for k in range(n)])

    def f(x: np.ndarray) -> np.ndarray:
        return -x * np.log(np.where(x > 0, x, 1.0))

    least = np.minimum(p, q)
    formula = sum(rest[k] * (f(q[k] + tv) + f(np.delete(least, k)).sum()) for k in np.flatnonzero(rest > 0))
    assert float(rest @ held) == pytest.approx(float(formula), abs=1e-9)
