"""The anchored statements with the library broken on purpose: every mistake turns one of them red.

That they are green without one is checked with all the others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sims.anchored import buckets as anchored_buckets
from sims.anchored import detectors as sequential_detectors
from sims.anchored import optimality as anchored_optimality
from sims.anchored import validity as anchored_validity
from sims.anchored.buckets import zipf_pair
from sims.report import judge
from sims.statements import STATEMENTS, evaluate
from tradeoff import laws
from tradeoff.anchored import buckets, e_values
from tradeoff.anchored.e_values import growth_at
from tradeoff.anchored.first_passage import Walk
from tradeoff.detection.with_models import draft_aware as anchored
from tradeoff.detection.with_models import hits
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.laws import total_variation

SIZE = 10_000
Patch = Callable[[pytest.MonkeyPatch], None]


def n_in_place_of_n_minus_1(patch: pytest.MonkeyPatch) -> None:
    honest = e_values.log_anchored_matrix

    def matrix(p0, eps):
        n = np.asarray(p0).shape[-1]
        return honest(p0, eps) + np.where(np.eye(n, dtype=bool), 0.0, np.log((n - 1) / n))

    for module in (anchored_validity, anchored_optimality):
        patch.setattr(module, "log_anchored_matrix", matrix)


def match_pays_too_much(patch: pytest.MonkeyPatch) -> None:
    honest = e_values.log_anchored
    for module in (anchored_validity, anchored_optimality):
        patch.setattr(
            module, "log_anchored", lambda p0, match, n, eps: honest(p0, match, n, eps) + 0.5 * match
        )


def growth_without_the_mismatches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(anchored_buckets, "growth_at", lambda p0, eps, tv: growth_at(p0, eps, 0 * np.asarray(tv)))


def overshoot_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Walk, "mean_passage", lambda self, level: level / self.mean)


def passage_one_token_late(patch: pytest.MonkeyPatch) -> None:
    honest = Walk.passages
    patch.setattr(Walk, "passages", lambda self, *arguments: honest(self, *arguments) + 1)


def residual_of_the_wrong_side(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(buckets, "residual", lambda p, q: laws.residual(q, p))


def token_without_its_bucket(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(buckets, "bucket_law", lambda p, h, m: np.full((*p.shape[:-1], m), 1 / m))


def one_bucket(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeyedPrf, "buckets", lambda self, tokens, m: np.zeros(len(tokens), dtype=int))


def stakes_that_have_seen_the_token(patch: pytest.MonkeyPatch) -> None:
    """All wealth on the better half of the bets, chosen after the token is known."""
    honest = sequential_detectors.log_e_values
    patch.setattr(
        sequential_detectors,
        "log_e_values",
        lambda log_bets, prior: honest(
            np.maximum(log_bets, np.median(log_bets, axis=-1, keepdims=True)), prior
        ),
    )


def bets_that_are_not_fair(patch: pytest.MonkeyPatch) -> None:
    honest = sequential_detectors.race_log_bets
    patch.setattr(sequential_detectors, "race_log_bets", lambda uniform: honest(uniform) + 0.001)


def seeds_ten_times_as_likely_as_told(patch: pytest.MonkeyPatch) -> None:
    honest = hits.weighted_hits_log_sf
    patch.setattr(hits, "weighted_hits_log_sf", lambda chances, *rest: honest(chances / 10, *rest))


def losers_of_a_race_read_as_losers_of_another(patch: pytest.MonkeyPatch) -> None:
    honest = anchored.missed_race_log_bets
    patch.setattr(anchored, "missed_race_log_bets", lambda uniform, mass: honest(uniform, np.sqrt(mass)))


MUTANTS: list[tuple[Patch, tuple[str, ...]]] = [
    (n_in_place_of_n_minus_1, ("anchored_validity", "anchored_optimality")),
    (match_pays_too_much, ("anchored_validity", "anchored_optimality")),
    (growth_without_the_mismatches, ("anchored_buckets",)),
    (overshoot_forgotten, ("anchored_stopping",)),
    (passage_one_token_late, ("anchored_stopping",)),
    (residual_of_the_wrong_side, ("anchored_buckets",)),
    (token_without_its_bucket, ("anchored_buckets",)),
    (one_bucket, ("anchored_buckets",)),
    (stakes_that_have_seen_the_token, ("sequential_detectors",)),
    (bets_that_are_not_fair, ("sequential_detectors",)),
    (seeds_ten_times_as_likely_as_told, ("sequential_detectors",)),
    (losers_of_a_race_read_as_losers_of_another, ("sequential_detectors",)),
]


def wrong(name: str, folder) -> list[str]:
    rows = evaluate(name, STATEMENTS[name], SIZE, 0, folder)
    return [v.row.setting for v in judge(rows) if not v.as_expected]


@pytest.mark.parametrize(
    ("mutate", "name"),
    [(mutate, name) for mutate, names in MUTANTS for name in names],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_mutant_is_caught(mutate: Patch, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    mutate(monkeypatch)
    assert wrong(name, tmp_path)


def test_the_zipf_pair_is_at_its_distance():
    p0, q = zipf_pair(32_000, 0.15)
    assert float(total_variation(p0, q)) == pytest.approx(0.15, abs=1e-12)
    assert q.min() > 0
    assert q.sum() == pytest.approx(1, abs=1e-12)
    assert p0[0] / p0[1] == pytest.approx(4)
