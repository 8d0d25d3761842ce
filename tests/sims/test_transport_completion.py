"""The statement on completion with the library broken on purpose, and the mean of the race's statistic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import integrate

from sims.report import judge
from sims.statements import STATEMENTS, evaluate
from sims.tools.common import FEWEST
from sims.transport import completion as transport_completion
from sims.transport.completion import race_score
from tests.helpers.support import Z
from tradeoff.decoders import Completed, GumbelMax
from tradeoff.kernels import Algorithm1
from tradeoff.kernels.randomness import SimulatedRandomness
from tradeoff.keyed.prf import Stream
from tradeoff.laws import draft_acceptance

Patch = Callable[[pytest.MonkeyPatch], None]


def rates_of_the_plain_law(patch: pytest.MonkeyPatch) -> None:
    """Gumbel-max: unbiased, but zeta tells nothing."""
    patch.setattr(Completed, "token", lambda self, p, zeta: GumbelMax().token(p, zeta.race))


def argmax_for_a_race(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Completed, "token", lambda self, p, zeta: self.decoder(p, zeta.inner).argmax(axis=-1))


def a_race_of_the_inverse(patch: pytest.MonkeyPatch) -> None:
    honest = Completed.token
    patch.setattr(
        Completed, "token", lambda self, p, zeta: honest(self, p, zeta._replace(race=1 / zeta.race))
    )


def one_key_for_all_streams(patch: pytest.MonkeyPatch) -> None:
    honest = SimulatedRandomness.zeta
    patch.setattr(SimulatedRandomness, "zeta", lambda self, _, decoder: honest(self, Stream.SHARED, decoder))


def coin_left_to_chance(patch: pytest.MonkeyPatch) -> None:
    def accepts(self, p, q, draft, randomness):
        return randomness.uniform() < draft_acceptance(p, q, draft)

    patch.setattr(Algorithm1, "accepts", accepts)


def harmonic_number_of_one_less(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transport_completion, "race_score", lambda law: race_score(law) - 0.5)


MUTANTS = [
    rates_of_the_plain_law,
    argmax_for_a_race,
    a_race_of_the_inverse,
    one_key_for_all_streams,
    coin_left_to_chance,
    harmonic_number_of_one_less,
]


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_mutant_is_caught(mutate: Patch, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(transport_completion, "_draw", lambda *_: None)
    mutate(monkeypatch)
    rows = evaluate("transport_completion", STATEMENTS["transport_completion"], FEWEST, 0, tmp_path)
    # Caught by a prediction that fails, not by an error or by a control that has turned green.
    assert all(row.test != "not evaluated" for row in rows)
    assert [v.row.setting for v in judge(rows) if v.red and not v.row.expected_red]


def test_another_seed_at_the_least_size(tmp_path) -> None:
    """Controls have room enough to be red there."""
    rows = evaluate("transport_completion", STATEMENTS["transport_completion"], FEWEST, 1, tmp_path)
    assert [v.row.setting for v in judge(rows) if not v.as_expected] == []
    assert (tmp_path / "transport_completion.png").read_bytes().startswith(b"\x89PNG")


def test_race_score_is_the_mean_of_the_winners_statistic() -> None:
    """-log(1 - exp(-p t)) with t ~ Exp(1), by quadrature; 1, as without a watermark, for a certain token."""

    def mean(p: float) -> float:
        pieces = ((0, 1), (1, np.inf))
        return sum(
            integrate.quad(lambda t: -np.log(-np.expm1(-p * t)) * np.exp(-t), *ends)[0] for ends in pieces
        )

    for p in (0.05, 0.3, 0.9):
        law = np.array([p] + [(1 - p) / 7] * 7)
        assert float(race_score(law)) == pytest.approx(p * mean(p) + (1 - p) * mean(law[1]), abs=1e-9)
    assert float(race_score(np.array([1.0, 0.0]))) == pytest.approx(1.0, abs=1e-12)


def test_race_score_agrees_with_races() -> None:
    law = np.array([0.62, 0.2, 0.08, 0.06, 0.04])
    race = GumbelMax().draw(np.random.default_rng(0), (100_000,), len(law))
    won = np.take_along_axis(race, GumbelMax().token(law, race)[:, None], axis=-1)[:, 0]
    values = -np.log(-np.expm1(-won))
    assert abs(values.mean() - race_score(law)) < Z * values.std() / np.sqrt(len(values))
