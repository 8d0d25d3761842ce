"""The statements on optimal transport with the library broken on purpose: every mistake turns one red.

That they are green without one is checked with all the others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import special

from sims.report import judge
from sims.statements import STATEMENTS, evaluate
from sims.tools.common import FEWEST
from sims.transport import minimax as transport_minimax
from sims.transport import tails as transport_tails
from sims.transport import two_atoms as transport_two_atoms
from sims.transport.solvers import LAWS, measured
from tradeoff.decoders import SimplexScores
from tradeoff.optimal_transport import gaps, solvers
from tradeoff.optimal_transport.gaps import ScoreLaw, sorted_gap, two_atom_gap
from tradeoff.optimal_transport.scores import RandomScores
from tradeoff.optimal_transport.solvers import Exact, Plan, Sinkhorn

SIZE = FEWEST
Patch = Callable[[pytest.MonkeyPatch], None]


def a_and_b_exchanged(patch: pytest.MonkeyPatch) -> None:
    """Which the worst pair of a code cannot tell."""
    patch.setattr(transport_two_atoms, "two_atom_gap", lambda lam, a, b: two_atom_gap(lam, b, a))


def the_distance_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gaps, "two_atom_gap", lambda lam, a, b: np.minimum(1 - lam, (a + b) / 2))


def regularised_for_exact(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Exact, "__call__", lambda self, p, scores: Sinkhorn()(p, scores))


def the_lowest_scores(patch: pytest.MonkeyPatch) -> None:
    honest = solvers._cost
    patch.setattr(solvers, "_cost", lambda scores: honest(-scores))


def plans_not_made_to_fit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(solvers, "_fitted", lambda p, pi, side, *rest: Plan(pi * pi.shape[-1], 0.0, *rest))


def null_mean_forgotten(patch: pytest.MonkeyPatch) -> None:
    def gap(p, scores, plan):
        return float((plan.laws * scores).sum() / scores.shape[-1])

    patch.setattr(transport_two_atoms, "detection_gap", gap)


def zero_word_given_out(patch: pytest.MonkeyPatch) -> None:
    honest = SimplexScores.rows
    patch.setattr(SimplexScores, "rows", lambda self, tokens, table: honest(self, tokens - 1, table))


def quantile_of_another_mass(patch: pytest.MonkeyPatch) -> None:
    honest = ScoreLaw.gap
    patch.setattr(ScoreLaw, "gap", lambda self, lam: honest(self, 0.9 * lam + 0.1 * 0.5))


def tail_of_half_a_difference(patch: pytest.MonkeyPatch) -> None:
    for module in (gaps, transport_tails):
        patch.setattr(module, "sorted_gap", lambda lam, heavy, light: sorted_gap(lam, light, heavy) / 2)


def harmonic_number_of_one_more(patch: pytest.MonkeyPatch) -> None:
    def gap(p):
        p = np.asarray(p)
        return (p * (special.psi(2 + 1 / p) + np.euler_gamma)).sum(axis=-1) - 1

    patch.setattr(transport_tails, "gumbel_sampling_gap", gap)


MUTANTS: list[tuple[Patch, tuple[str, ...]]] = [
    (a_and_b_exchanged, ("transport_two_atoms",)),
    (the_distance_alone, ("transport_minimax",)),
    (regularised_for_exact, ("transport_solvers",)),
    (the_lowest_scores, ("transport_two_atoms", "transport_gumbel")),
    (plans_not_made_to_fit, ("transport_solvers",)),
    (null_mean_forgotten, ("transport_two_atoms",)),
    (zero_word_given_out, ("transport_minimax",)),
    (quantile_of_another_mass, ("transport_tails",)),
    (tail_of_half_a_difference, ("transport_tails",)),
    (harmonic_number_of_one_more, ("transport_tails",)),
]


@pytest.mark.parametrize(
    ("mutate", "name"),
    [(mutate, name) for mutate, names in MUTANTS for name in names],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_mutant_is_caught(mutate: Patch, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    mutate(monkeypatch)
    rows = evaluate(name, STATEMENTS[name], SIZE, 0, tmp_path)
    # Caught by a prediction that fails, not by an error or by a control that has turned green.
    assert all(row.test != "not evaluated" for row in rows)
    assert [v.row.setting for v in judge(rows) if v.red and not v.row.expected_red]


def test_another_seed_at_the_least_size(tmp_path) -> None:
    """Controls have room enough to be red there."""
    for name in ("transport_gumbel", "transport_tails", "transport_solvers"):
        verdicts = judge(evaluate(name, STATEMENTS[name], FEWEST, 1, tmp_path))
        assert [v.row.setting for v in verdicts if not v.as_expected] == []


def test_the_codes_that_are_all_codes(tmp_path) -> None:
    """Up to the order of the side information, every code of 3 words at k = 4 is there once."""
    several = transport_minimax._codes_up_to_order(3, 4)
    every = transport_minimax._all_codes(3, 4)
    assert len(every) == 2**12

    def keys(codes: np.ndarray) -> list[tuple]:
        return [tuple(sorted(map(tuple, code.T.tolist()))) for code in codes]

    assert len(set(keys(several))) == len(several) == 330
    assert set(keys(every)) == set(keys(several))


def test_measured_values_are_those_of_one_table() -> None:
    table = measured(RandomScores("gamma", 64), [5])
    pd.testing.assert_frame_equal(table, measured(RandomScores("gamma", 64), [5]))
    assert len(table) == 2 * len(LAWS)
    assert table["bias"].max() < 1e-12
    wide = table.pivot(index="law", columns="solver", values="gap")
    assert (wide["exact"] > wide["sinkhorn"]).all()
