"""The library broken on purpose: every mistake turns a statement red."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sims.report import judge
from sims.statements import STATEMENTS, evaluate
from sims.tools.rows import Row
from tradeoff import laws
from tradeoff.curves import measures, pairs
from tradeoff.curves.biased import decomposition
from tradeoff.decoders import races, synthid
from tradeoff.kernels import (
    Algorithm1,
    JointRace,
    OneRace,
    TwoKeys,
    clocks,
    method,
    race_methods,
    race_tree,
    towards_marked,
)
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.prf import Stream
from tradeoff.laws import at, draft_acceptance
from tradeoff.llm.generation.rows import ContextWindow

SIZE = 10_000
Patch = Callable[[pytest.MonkeyPatch], None]


def flipped_comparison(patch: pytest.MonkeyPatch) -> None:
    def accepts(self, p, q, draft, randomness):
        return randomness.coin() > draft_acceptance(p, q, draft)

    patch.setattr(Algorithm1, "accepts", accepts)


def flipped_one_race(patch: pytest.MonkeyPatch) -> None:
    honest = OneRace.accepts
    patch.setattr(OneRace, "accepts", lambda self, *arguments: ~honest(self, *arguments))


def ratio_upside_down(patch: pytest.MonkeyPatch) -> None:
    for module in (method, race_methods, race_tree):
        patch.setattr(module, "draft_acceptance", lambda p, q, draft: draft_acceptance(q, p, draft))


def unnormalised_residual(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(laws, "excess", lambda p, q, empty: np.maximum(p - q, 0))


def residual_of_the_wrong_side(patch: pytest.MonkeyPatch) -> None:
    honest = laws.excess
    patch.setattr(laws, "excess", lambda p, q, empty: honest(q, p, empty=empty))


def coin_from_the_residuals_race(patch: pytest.MonkeyPatch) -> None:
    def accepts(self, p, q, draft, randomness):
        first = randomness.zeta(Stream.TARGET, self.decoder)
        coin = np.exp(-first[..., 0]) if isinstance(first, np.ndarray) else randomness.coin()
        return coin < draft_acceptance(p, q, draft)

    patch.setattr(Algorithm1, "accepts", accepts)


def keyed_coin_from_the_target_stream(patch: pytest.MonkeyPatch) -> None:
    def coin(self, contexts):
        return self.uniform(Stream.TARGET, contexts, np.array([0]))[..., 0]

    patch.setattr(KeyedPrf, "coin", coin)


def streams_not_separated(patch: pytest.MonkeyPatch) -> None:
    honest = KeyedPrf.race
    patch.setattr(
        KeyedPrf, "race", lambda self, _, contexts, tokens: honest(self, Stream.SHARED, contexts, tokens)
    )
    patch.setattr(
        KeyedPrf, "coin", lambda self, contexts: np.exp(-self.race("", contexts, np.arange(1))[..., 0])
    )


def truly_random_coin(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Algorithm1, "columns", TwoKeys.columns)


def dropped_mask(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ContextWindow, "masked", lambda self, contexts: [False] * len(contexts))


def race_run_again(patch: pytest.MonkeyPatch) -> None:
    """The residual races the numbers that the draft was chosen by."""
    patch.setattr(race_methods, "remainders", lambda race, q, draft: race)


def clock_rates_swapped(patch: pytest.MonkeyPatch) -> None:
    """Accepted if t/(1 - a) is before m/a."""
    honest = clocks._draft_is_first

    def swapped(p, q, draft, race):
        over = at(q, draft) - at(p, draft)
        turned = p.copy()
        np.put_along_axis(turned, draft[..., None], over[..., None], axis=-1)
        return honest(turned, q, draft, race)

    patch.setattr(clocks, "_draft_is_first", swapped)


def clock_of_the_unnormalised_residual(patch: pytest.MonkeyPatch) -> None:
    def first(p, q, draft, race):
        time = at(race, draft) / at(q, draft)
        under = np.maximum(p - q, 0)
        times = np.where(under > 0, (race - time[..., None] * q) / np.where(under > 0, under, 1), np.inf)
        return time * (at(q, draft) - at(p, draft)) < times.min(axis=-1) * at(p, draft)

    patch.setattr(clocks, "_draft_is_first", first)


def clock_used_twice(patch: pytest.MonkeyPatch) -> None:
    """The residual's winning time decides acceptance, and then draws the replacement."""

    def replace(self, p, q, draft, randomness):
        race = randomness.zeta(Stream.SHARED, self.decoder)
        rest = laws.residual(p, q)
        left = race - (at(race, draft) / at(q, draft))[..., None] * q
        clock = np.where(rest > 0, left / np.where(rest > 0, rest, 1), np.inf).min(axis=-1)
        return laws.categorical(rest, laws.uniform_of(clock))

    patch.setattr(JointRace, "replacement", replace)


def clocks_at_an_inner_candidate(patch: pytest.MonkeyPatch) -> None:
    for module in (race_methods, race_tree):
        patch.setattr(module, "is_last", lambda q, candidate, *_: np.ones(candidate.shape, dtype=bool))


def candidates_put_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(race_tree, "_without", lambda q, token: q)


def tournament_with_one_bit(patch: pytest.MonkeyPatch) -> None:
    honest = synthid._tournament
    patch.setattr(
        synthid, "_tournament", lambda law, word, level: honest(law, word[..., :1] + 0 * word, level)
    )


def forgotten_coin_entropy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(measures, "binary_entropy", lambda a: 0 * a)


def diagonal_without_the_race(patch: pytest.MonkeyPatch) -> None:
    """Draft and target taken for independent."""
    honest = races.race_potential
    for module in (pairs, races):
        patch.setattr(module, "race_potential", lambda p, q: (p * q, honest(p, q)[1]))


def replaced_by_the_watermarked_law(patch: pytest.MonkeyPatch) -> None:
    """Towards the watermarked law: what replaces a draft has that law, and not the residual's."""
    patch.setattr(towards_marked, "replacing", lambda p, q, draft: p)


def verified_against_other_drafts(patch: pytest.MonkeyPatch) -> None:
    """Drafts of Q_zeta, verified as if they had the law Q."""
    honest = towards_marked._marked

    def marked(method, p, q, randomness):
        return honest(method, p, q, randomness)._replace(q=q)

    patch.setattr(towards_marked, "_marked", marked)


def mean_moved_the_other_way(patch: pytest.MonkeyPatch) -> None:
    """The mean of P_zeta by integrals, mirrored at P."""
    honest = decomposition.mean_over_lists

    def means(p, gamma, deltas, most):
        found = honest(p, gamma, deltas, most)
        return found._replace(mean=2 * p - found.mean)

    patch.setattr(decomposition, "mean_over_lists", means)


MUTANTS: list[tuple[Patch, tuple[str, ...]]] = [
    (flipped_comparison, ("theorem_4_1", "sequences_4_1")),
    (flipped_one_race, ("theorem_4_1", "sequences_4_1")),
    (ratio_upside_down, ("theorem_4_1", "sequences_4_1", "lemma_3_1")),
    (unnormalised_residual, ("theorem_4_1", "lemma_3_1", "curves_3_2")),
    (residual_of_the_wrong_side, ("theorem_4_1", "sequences_4_1", "lemma_3_1")),
    (coin_from_the_residuals_race, ("theorem_4_1", "sequences_4_1")),
    (keyed_coin_from_the_target_stream, ("sequences_4_1",)),
    (streams_not_separated, ("sequences_4_1",)),
    (truly_random_coin, ("theorem_4_1",)),
    (dropped_mask, ("sequences_4_1",)),
    (race_run_again, ("theorem_4_1", "sequences_4_1")),
    (clock_rates_swapped, ("theorem_4_1", "sequences_4_1")),
    (clock_of_the_unnormalised_residual, ("theorem_4_1", "sequences_4_1")),
    (clock_used_twice, ("theorem_4_1", "sequences_4_1")),
    (clocks_at_an_inner_candidate, ("theorem_4_1",)),
    (candidates_put_back, ("theorem_4_1", "sequences_4_1")),
    (tournament_with_one_bit, ("theorem_3_3",)),
    (forgotten_coin_entropy, ("theorem_4_1", "impossibility")),
    (diagonal_without_the_race, ("impossibility",)),
    (replaced_by_the_watermarked_law, ("biased",)),
    (verified_against_other_drafts, ("biased",)),
    (mean_moved_the_other_way, ("biased",)),
]


def red_statements(rows: list[Row]) -> list[str]:
    return [v.row.setting for v in judge(rows) if v.red and not v.row.expected_red]


@pytest.mark.parametrize(
    ("mutate", "name"),
    [(mutate, name) for mutate, names in MUTANTS for name in names],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_mutant_is_caught(mutate: Patch, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    mutate(monkeypatch)
    rows = evaluate(name, STATEMENTS[name], SIZE, 0, tmp_path)
    assert all(row.test != "not evaluated" for row in rows)
    assert red_statements(rows)


@pytest.mark.parametrize("name", sorted({name for _, names in MUTANTS for name in names}))
def test_without_mutation_nothing_is_red(name: str, tmp_path) -> None:
    assert not red_statements(evaluate(name, STATEMENTS[name], SIZE, 0, tmp_path))
