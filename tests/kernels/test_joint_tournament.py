"""The joint tournament: its theorem by all bits, its reference values, and each way to get it wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special

from tests.helpers.methods import spread
from tests.helpers.support import ALPHA, assert_within, chi_square_p
from tests.kernels.all_bits import CHOICES, Case, cases, every_word, largest_miss
from tradeoff.curves import PAPER_P, PAPER_Q
from tradeoff.decoders import Completed, SynthID, TournamentBits
from tradeoff.kernels import JointTournament, Standard, damped_tournament, martingale, tournament_method
from tradeoff.kernels.damped_tournament import Layers
from tradeoff.kernels.martingale import Steps, forecast
from tradeoff.kernels.randomness import SimulatedRandomness
from tradeoff.keyed.prf import Stream
from tradeoff.laws import categorical, overlap

CASES = cases(1, 240)
THREE = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
#: Of the mean bit minus 1/2 without speculation and with the joint tournament, and their own standard error.
REFERENCE = [
    (PAPER_P, PAPER_Q, 30, 0.1145, 0.1126),
    (PAPER_P, PAPER_Q, 5, 0.2021, 0.2155),
    (*THREE, 30, 0.0579, 0.0588),
]
REFERENCE_ERROR = 2e-4


def _worst(some: list[Case], choice: str) -> float:
    return float(np.max([list(largest_miss(case, choice).values()) for case in some]))


@pytest.mark.parametrize("choice", CHOICES)
def test_the_theorem_holds_for_every_small_case(choice: str) -> None:
    """Over all bits: the draft's law is Q; given the past, the bits have the probabilities pi and pi'; the
    replacement has the law of the residual; j is accepted with probability a whatever k is; the output is P.

    Among the cases are zeros in P or Q, ties, P = Q, a draft that is sure, one residual token, and tokens
    that do not play.
    """
    assert _worst(CASES, choice) < 1e-12
    # The cases are cases: most have a draft token that may be rejected, some have no residual.
    contested = sum(bool((case.p < case.q).any()) for case in CASES)
    assert 200 <= contested < len(CASES)


def _after(values: np.ndarray) -> np.ndarray:
    """Laws after the layer in place of those before it."""
    return np.concatenate([values[:, 1:], values[:, -1:]], axis=-1)


def _damped_by_bits(residual, bits, ones, corrections, damping):
    """lambda that sees the layer's bits: it damps only where a factor would be negative."""
    factors = np.where(residual > 0, bits - ones + corrections, 0)
    damping = 1 / np.maximum(1.0, -factors.min(axis=-1, keepdims=True))
    return residual * np.maximum(1 + damping * (bits - ones + corrections), 0)


def _unscaled(p, now):
    threshold = special.ndtri(np.clip(p, 1e-12, 1 - 1e-12)) * np.sqrt(1 + now.rise * now.fall)
    return special.ndtr(np.where(now.happened, threshold + now.rise, threshold - now.fall))


def _replacements_bit_without_b(path, layers):
    return _BIT_OF_REPLACEMENT(path, layers._replace(mass=np.ones_like(layers.mass)))


def _of_laws_after(path, layers):
    later = {name: _after(value) for name, value in layers._asdict().items() if name in ("mass", "common")}
    return _BIT_OF_REPLACEMENT(
        path._replace(mass=_after(path.mass), draft_mass=_after(path.draft_mass)), layers._replace(**later)
    )


def _walked_the_other_way(start, moves):
    order = np.arange(moves.good.shape[-1]).reshape(-1, 2)[:, ::-1].ravel()
    return _WALKED(start, Steps(*(part[:, order] for part in moves)))


_BIT_OF_REPLACEMENT = damped_tournament.replacement_bit
_WALKED = martingale.walked

MUTANTS: dict[str, list[tuple[object, str, Callable]]] = {
    "plain tournament on the residual": [
        (damped_tournament, "correction", lambda mass, common, nu: 0 * mass),
        (damped_tournament, "damping", lambda residual, corrections: np.ones(len(residual))),
    ],
    "nu = 1": [(damped_tournament, "tilt", lambda mass, bit: np.ones_like(mass))],
    "lambda from the realised bits": [(damped_tournament, "advanced", _damped_by_bits)],
    "the realised mass of j": [(martingale, "expected_mass", lambda mass, bit: _after(mass))],
    "pi = 1/2": [(martingale, "draft_bit", lambda mass: np.full_like(mass, 0.5))],
    "pi' = 1/2": [(martingale, "replacement_bit", lambda path, layers: np.full_like(path.bit, 0.5))],
    "pi' without b": [(martingale, "replacement_bit", _replacements_bit_without_b)],
    "the bit of k before that of j": [(martingale, "walked", _walked_the_other_way)],
    "pi of the law after the layer": [
        (martingale, "draft_bit", lambda mass: damped_tournament.draft_bit(_after(mass)))
    ],
    "pi' of the laws after the layer": [(martingale, "replacement_bit", _of_laws_after)],
    "u and d whose mean is not p": [(martingale, "target", _unscaled)],
}


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to get it wrong that compiles, runs and looks right."""
    for module, function, mutant in MUTANTS[name]:
        monkeypatch.setattr(module, function, mutant)
    assert _worst(CASES[:60], "tables") > 1e-7


@pytest.mark.parametrize(("p", "q", "rounds", "without", "joint"), REFERENCE)
@pytest.mark.parametrize("completed", [False, True], ids=["as it is", "completed"])
def test_reference_values(p, q, rounds: int, without: float, joint: float, completed: bool) -> None:
    """The mean bit of what is emitted, without speculation and with; and the acceptance, 1 - TV."""
    seeds = 30_000
    decoder = SynthID(rounds)
    method = JointTournament(Completed(decoder) if completed else decoder)
    randomness = SimulatedRandomness(np.random.default_rng(20), (seeds,), len(p))
    targets, drafts = spread(p, seeds), spread(q, seeds)
    accepted, token = method(targets, drafts, method.draft(drafts, randomness), randomness)
    zeta = randomness.zeta(Stream.SHARED, method.decoder)
    word = (zeta.inner if completed else zeta).word(0)
    for emitted, reference in ((method.bonus(targets, randomness), without), (token, joint)):
        bits = np.take_along_axis(word, emitted[:, None], axis=-1) >> np.arange(rounds) & 1
        mean = bits.mean(axis=-1) - 0.5
        error = math.hypot(mean.std() / math.sqrt(seeds), REFERENCE_ERROR)
        assert abs(mean.mean() - reference) < 4 * error
    rate = float(overlap(p, q))
    assert_within(accepted.mean(), rate, math.sqrt(rate * (1 - rate) / seeds))


@pytest.mark.parametrize("completed", [False, True], ids=["as it is", "completed"])
def test_more_rounds_than_a_word_has(completed: bool) -> None:
    """70 rounds read two words: the law is still P, and the method is one function of leading axes."""
    p, q = np.array([0.66, 0.1, 0.24]), np.array([0.5, 0.02, 0.48])
    decoder = SynthID(70)
    method = JointTournament(Completed(decoder) if completed else decoder)
    seeds = 20_000
    randomness = SimulatedRandomness(np.random.default_rng(21), (2, seeds // 2), 3)
    targets, drafts = (np.broadcast_to(law, (2, seeds // 2, 3)) for law in (p, q))
    draft = method.draft(drafts, randomness)
    accepted, token = method(targets, drafts, draft, randomness)
    assert draft.shape == accepted.shape == token.shape == (2, seeds // 2)
    assert chi_square_p(np.bincount(draft.ravel(), minlength=3), seeds * q) > ALPHA
    assert chi_square_p(np.bincount(token.ravel(), minlength=3), seeds * p) > ALPHA


class Kept:
    """Randomness of given bits, a race, and kept numbers."""

    def __init__(self, zeta: object, replacement: object = None, acceptance: object = None):
        self._zeta, self._kept = zeta, {"replacement": replacement, "acceptance": acceptance}

    def zeta(self, stream, decoder):
        assert stream is Stream.SHARED
        return self._zeta

    def kept(self, name):
        return self._kept[name]


def _parts(p: np.ndarray, q: np.ndarray, j: int, uniform: np.ndarray, words: np.ndarray, rounds: int):
    """Replacement and probability of the draft token j, by the parts of the method."""
    size = len(words)
    laws = spread(p, size), spread(q, size)
    match = damped_tournament.duel(*laws, np.full(size, j), TournamentBits(lambda _: words), rounds, 0.05)
    k = categorical(match.residual, uniform)
    path, layers = damped_tournament.path_of(match, k, 0.05)
    moves = martingale.steps(path, Layers(*layers), forecast(rounds))
    return k, martingale.walked(np.full(size, p[j] / q[j]), moves)


def test_the_method_is_its_parts() -> None:
    """The replacement that decides is the one that is emitted, and the last coin falls on the right side."""
    (p, q), rounds = THREE, 3
    words = every_word(3, rounds)
    size = len(words)
    method = JointTournament(SynthID(rounds), cut=0.05)
    uniform = np.random.default_rng(22).random(size)
    k, probability = _parts(p, q, 2, uniform, words, rounds)
    assert ((probability > 0) & (probability < 1)).any()
    for coin, expected in ((probability - 1e-9, True), (probability + 1e-9, False)):
        randomness = Kept(TournamentBits(lambda _: words), uniform, coin)
        draft = np.full(size, 2)
        laws = spread(p, size), spread(q, size)
        assert (method.accepts(*laws, draft, randomness) == expected).all()
        np.testing.assert_array_equal(method.replacement(*laws, draft, randomness), k)


def test_clocks_of_a_completed_tournament() -> None:
    """With p from the bits, j is accepted where t/p < m/(1-p), m = min (E - t q^m)/r^m."""
    (p, q), rounds, size = THREE, 4, 20_000
    decoder = Completed(SynthID(rounds))
    method = JointTournament(decoder)
    randomness = SimulatedRandomness(np.random.default_rng(23), (size,), 3)
    targets, drafts = spread(p, size), spread(q, size)
    draft = method.draft(drafts, randomness)
    bits, race = randomness.zeta(Stream.SHARED, decoder)
    law = SynthID(rounds)(drafts, bits)
    np.testing.assert_array_equal(draft, np.argmin(race / law, axis=-1))
    accepted, token = method(targets, drafts, draft, randomness)
    assert accepted[draft != 2].all()
    over = np.flatnonzero(draft == 2)
    own = SynthID(rounds).take(bits, over)
    match = damped_tournament.duel(targets[over], drafts[over], draft[over], own, rounds, method.cut)
    time = race[over, 2] / law[over, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        clocks = (race[over] - time[:, None] * law[over]) / match.residual
    clocks = np.where(match.residual > 0, clocks, np.inf)
    k, last = clocks.argmin(axis=-1), clocks.min(axis=-1)
    path, layers = damped_tournament.path_of(match, k, method.cut)
    chance = martingale.walked(np.full(len(over), 0.4), martingale.steps(path, layers, forecast(rounds)))
    first = time * (1 - chance) < last * chance
    np.testing.assert_array_equal(accepted[over], first)
    np.testing.assert_array_equal(token[over], np.where(first, 2, k))


def test_the_key_decides_what_is_completed() -> None:
    """Completed, nothing is truly random, and the method says so; as it is, the last draws are."""
    assert JointTournament(Completed(SynthID(3))).determined
    assert not JointTournament(SynthID(3)).determined
    tokens = []
    for true in (0, 1):
        randomness = SimulatedRandomness(np.random.default_rng(24), (5_000,), 10, np.random.default_rng(true))
        method = JointTournament(Completed(SynthID(5)))
        laws = spread(PAPER_P, 5_000), spread(PAPER_Q, 5_000)
        tokens.append(method(*laws, method.draft(laws[1], randomness), randomness).token)
    np.testing.assert_array_equal(*tokens)


def test_rows_do_not_know_each_other() -> None:
    """What becomes of a row is the same alone as in a batch, in PyTorch as in NumPy."""
    rng = np.random.default_rng(25)
    p, q = rng.dirichlet(np.full(50, 0.3), (2, 40))
    p = (p + q) / 2
    words = rng.integers(-(2**63), 2**63 - 1, (40, 50))
    kept = rng.random((2, 40))
    draft = np.argmax(q - p, axis=-1)
    method = JointTournament(SynthID(30), cut=1e-3)

    def numbers(rows: slice, convert: Callable) -> Kept:
        bits = TournamentBits(lambda _: convert(words[rows]))
        return Kept(bits, *(convert(part[rows]) for part in kept))

    whole = numbers(slice(None), np.asarray)
    accepted, token = method(p, q, draft, whole)
    assert 0 < accepted.sum() < 40
    for row in range(40):
        one = slice(row, row + 1)
        alone = method(p[one], q[one], draft[one], numbers(one, np.asarray))
        assert (alone.accepted[0], alone.token[0]) == (accepted[row], token[row])
    tensors = (torch.from_numpy(part) for part in (p, q, draft))
    theirs = method(*tensors, numbers(slice(None), torch.from_numpy))
    assert isinstance(theirs.token, torch.Tensor)
    np.testing.assert_array_equal(theirs.accepted, accepted)
    np.testing.assert_array_equal(theirs.token, token)


def test_a_sure_draft_plays_no_further_tournament(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where P_j >= Q_j in every row nothing is played; where rounding left no residual, j is accepted."""
    (p, q), size = THREE, 4
    rng = np.random.default_rng(26)
    words = rng.integers(-(2**63), 2**63 - 1, (size, 3))
    randomness = Kept(TournamentBits(lambda _: words), rng.random(size), np.full(size, 1 - 1e-9))
    method = JointTournament(SynthID(30))
    less = q.copy()
    less[2] = np.nextafter(q[2], 0)
    draft = np.full(size, 2)
    assert method.accepts(spread(less, size), spread(q, size), draft, randomness).all()
    monkeypatch.setattr(tournament_method, "duel", None)
    assert method.accepts(spread(p, size), spread(q, size), np.array([0, 1, 0, 1]), randomness).all()
    with pytest.raises(TypeError):
        method.accepts(spread(p, size), spread(q, size), draft, randomness)


@pytest.mark.parametrize("cut", [-0.1, math.nan])
def test_a_cut_is_a_probability(cut: float) -> None:
    with pytest.raises(ValueError, match="must be a probability; 0 lets every token play"):
        JointTournament(SynthID(3), cut=cut)


def test_where_a_step_goes() -> None:
    """g u + (1 - g) d = p to the last digit and 0 <= d <= p <= u <= 1, for p from 1e-11 to 1 - 1e-11."""
    p = np.concatenate([10.0 ** np.arange(-11, 0), [0.5], 1 - 10.0 ** np.arange(-1.0, -12.0, -1)])
    p, good, reach = np.meshgrid(p, [1e-15, 0.3, 0.5, 0.75, 1 - 1e-15], [0.0, 0.02, 1.0, 30.0])
    for goes in (martingale.target, martingale.last_target):
        up, down = (
            goes(p, Steps(good, np.full(p.shape, happened), reach * (1 - good), reach * good))
            for happened in (True, False)
        )
        assert (np.abs(good * up + (1 - good) * down - p) < 4e-16).all()
        assert ((down >= 0) & (down <= p + 1e-15) & (p - 1e-15 <= up) & (up <= 1)).all()
        assert (up > down)[(reach == 1) & (p > 0.05) & (p < 0.95)].all()


def test_a_probability_at_the_edge_stays() -> None:
    """Where p is 0 or 1 no step moves it, and nothing is divided by nothing."""
    start = np.array([0.0, 1e-13, 1.0])
    happened = np.array([[True, False, True, False]] * 3)
    moves = Steps(np.full((3, 4), 0.6), happened, np.ones((3, 4)), np.ones((3, 4)))
    np.testing.assert_array_equal(martingale.walked(start, moves), start)


def _expected(mass: float, layers: int) -> tuple[float, float]:
    """Mean and second moment of the ones in so many layers, by going through all bits."""
    if layers == 0:
        return 0.0, 0.0
    likely, mean, square = 0.5 + (1 - mass) / 4, 0.0, 0.0
    for bit, weight in ((1, likely), (0, 1 - likely)):
        inner, inner_square = _expected(mass * (1 + (1 - mass) * (bit - 0.5)), layers - 1)
        mean += weight * (bit + inner)
        square += weight * (bit + 2 * bit * inner + inner_square)
    return mean, square


@pytest.mark.parametrize("mass", [1e-9, 0.01, 0.3, 0.7, 0.99, 1.0])
def test_tables_are_what_they_tabulate(mass: float) -> None:
    """By linear interpolation of a grid: to 1e-3."""
    tables, rows = forecast(6), np.arange(7)
    place = martingale._Place.of(np.full((1, 7), mass))
    variances = place.look(tables.variance, rows)[0]
    for layers in rows:
        mean, square = _expected(mass, layers)
        assert abs(variances[layers] - (square - mean**2)) < 1e-3
    gains = martingale._Place.of(np.full((1, 6), mass)).look(tables.gain, np.arange(6))[0]
    for layers in range(6):
        up, down = (_expected(mass * (1 + (1 - mass) * shift), layers)[0] for shift in (0.5, -0.5))
        assert abs(gains[layers] - (1 + up - down)) < 1e-3


def test_few_rows_are_walked_as_many_are() -> None:
    """A row among many ends where it ends alone, to the last digit; also from 0, 1, and the edges."""
    rng = np.random.default_rng(28)
    rows = 2_000
    good = rng.uniform(0.01, 0.99, (rows, 12))
    reach = rng.uniform(0, 3, (rows, 12))
    reach[:, -1] = 0
    moves = Steps(good, rng.random((rows, 12)) < good, reach * (1 - good), reach * good)
    start = np.concatenate([rng.random(rows - 6), [0, 1, 1e-13, 1 - 1e-13, 1e-11, 1 - 1e-11]])
    together = martingale.walked(start, moves)
    alone = [
        martingale.walked(start[row : row + 1], Steps(*(part[row : row + 1] for part in moves)))[0]
        for row in range(rows)
    ]
    np.testing.assert_array_equal(together, alone)


def test_a_replacement_comes_out_with_the_verdict() -> None:
    """Both at once are both one by one; other methods leave the replacement to be asked for."""
    rng = np.random.default_rng(29)
    p, q = rng.dirichlet(np.full(20, 0.3), (2, 60))
    words = rng.integers(-(2**63), 2**63 - 1, (60, 20))
    numbers = Kept(TournamentBits(lambda _: words), *rng.random((2, 60)))
    draft = np.where(np.arange(60) % 2 == 0, np.argmax(q - p, axis=-1), np.argmax(p - q, axis=-1))
    method = JointTournament(SynthID(30))
    settled = method.settles(p, q, draft, numbers)
    assert 0 < settled.accepted[::2].sum() < 30
    assert settled.accepted[1::2].all()
    np.testing.assert_array_equal(settled.accepted, method.accepts(p, q, draft, numbers))
    replaced = ~settled.accepted
    replacement = method.replacement(p, q, draft, numbers)
    np.testing.assert_array_equal(settled.replacement[replaced], replacement[replaced])
    assert Standard().settles(p, q, draft, SimulatedRandomness(rng, (60,), 20)).replacement is None
