"""Trade-off curves of transport and completed watermarks: what theorems say of every one of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from figures.curves import transport_curves
from figures.curves.transport_curves import GROUPS, compute, curves_table
from tests.helpers.support import P, Q, Z, assert_within
from tradeoff.curves.measures import google_end_point_strength, hu_end_point_strength
from tradeoff.decoders import Completed
from tradeoff.decoders.base import FiniteDecoder, shares_randomness
from tradeoff.decoders.races import race_diagonal
from tradeoff.laws import entropy, overlap

GAMMA = np.array([0.0, 0.5, 1.0])
SSE, MOST = float(overlap(P, Q)), float(entropy(P))
PAIRS = {(group, pair.label): pair for group, pairs in GROUPS.items() for pair in pairs}
#: What simulated values may be off by beside their errors, where the law given zeta has nearly none.
ROUNDING = 1e-9


@pytest.fixture(scope="module")
def curves():
    return compute(P, Q, gamma=GAMMA, seeds=4_000)


def test_all_groups_and_classes_are_there(curves) -> None:
    assert set(curves) == {(*pair, c) for pair in PAIRS for c in ("linear", "time-sharing", "hu", "google")}


def test_unbiased_decoders_keep_to_both_bounds(curves) -> None:
    """Lemma 3.1 and Theorem 3.2."""
    for c in curves.values():
        assert (c.efficiency <= SSE + Z * c.efficiency_error + ROUNDING).all(), c.name
        assert (c.strength <= MOST + Z * c.strength_error + ROUNDING).all(), c.name


def test_only_degenerate_targets_reach_the_entropy(curves) -> None:
    """Theorem 3.2's equality; completion makes every decoder degenerate."""
    for (group, label, _), c in curves.items():
        target = PAIRS[group, label].target
        if target.degenerate:
            assert c.strength[-1] == pytest.approx(MOST, abs=1e-12)
            assert c.strength_error[-1] < ROUNDING
            continue
        if isinstance(target, FiniteDecoder):
            left = float(entropy(target(P, target.every())).mean())
            assert left > 1e-3
            assert_within(c.strength[-1], MOST - left, float(c.strength_error[-1]))
        else:
            assert c.strength[-1] < MOST - Z * c.strength_error[-1]


def test_left_ends(curves) -> None:
    """At gamma = 0 efficiency is whole; linear class and time sharing have no strength, and with a degenerate
    draft Hu's and Google's have that of their closed forms."""
    known = {"hu": float(hu_end_point_strength(P, Q)), "google": float(google_end_point_strength(P, Q))}
    for (group, label, family), c in curves.items():
        assert_within(c.efficiency[0], SSE, float(c.efficiency_error[0]) + ROUNDING)
        pair = PAIRS[group, label]
        if family in ("linear", "time-sharing"):
            assert c.strength[0] == pytest.approx(0, abs=1e-12)
        elif pair.draft.degenerate and (pair.target.degenerate or family == "hu"):
            assert_within(c.strength[0], known[family], float(c.strength_error[0]) + ROUNDING)
        elif pair.target == pair.draft:
            assert c.strength[0] < known[family] - Z * c.strength_error[0]


def test_classes_meet_where_the_target_is_all_watermark(curves) -> None:
    """At gamma = 1 they are one decoder; the linear class may take another draft, and so accept more."""
    for group, label in PAIRS:
        by_class = {family: curves[group, label, family] for family in ("linear", "hu", "google")}
        ends = {
            name: (float(c.efficiency[-1]), float(c.efficiency_error[-1])) for name, c in by_class.items()
        }
        shared = curves[group, label, "time-sharing"]
        end, error = float(shared.efficiency[-1]), float(shared.efficiency_error[-1])
        for name in ("hu", "google"):
            assert_within(ends[name][0], end, np.hypot(ends[name][1], error) + ROUNDING)
        assert ends["linear"][0] >= end - Z * np.hypot(ends["linear"][1], error) - ROUNDING
        for c in by_class.values():
            both = np.hypot(c.strength_error[-1], shared.strength_error[-1])
            assert_within(c.strength[-1], float(shared.strength[-1]), float(both) + ROUNDING)


def test_decoders_of_few_values_are_exact_and_equal_their_definition(curves) -> None:
    seen = 0
    for (group, label), pair in PAIRS.items():
        target, draft = pair.target, pair.draft
        if not (isinstance(target, FiniteDecoder) and isinstance(draft, FiniteDecoder)):
            continue
        seen += 1
        for family in ("linear", "time-sharing", "hu", "google"):
            c = curves[group, label, family]
            assert max(c.efficiency_error.max(), c.strength_error.max()) == 0
        p_s, q_s = target(P, target.every()), draft(Q, draft.every())
        end = curves[group, label, "hu"]
        assert end.efficiency[-1] == pytest.approx(overlap(p_s, q_s).mean(), abs=1e-12)
        assert end.strength[-1] == pytest.approx(MOST - entropy(p_s).mean(), abs=1e-12)
    assert seen >= 6


def test_completed_pairs_agree_as_often_as_races_between_their_laws(curves) -> None:
    """Given s, completed decoders race P_s and Q_s: agreement is the mean of the coupling's diagonal, which
    is at most the overlap that the plain decoders have."""
    seen = 0
    for (group, label), pair in PAIRS.items():
        target = pair.target
        if isinstance(target, Completed) and isinstance(target.decoder, FiniteDecoder):
            inner = target.decoder
            p_s, q_s = inner(P, inner.every()), inner(Q, inner.every())
            agreement = race_diagonal(p_s, q_s).sum(axis=-1).mean()
            c = curves[group, label, "time-sharing"]
            assert_within(c.efficiency[-1], agreement, float(c.efficiency_error[-1]))
            assert agreement <= overlap(p_s, q_s).mean() + 1e-12
            seen += 1
    assert seen == 4


def test_decoders_without_shared_randomness_agree_by_chance(curves) -> None:
    """Then E sum min(P_zeta, Q_zeta) = sum P Q, if one of the two is degenerate."""
    apart = [key for key, pair in PAIRS.items() if not shares_randomness(pair.target, pair.draft)]
    assert len(apart) == 2
    for key in apart:
        c = curves[(*key, "time-sharing")]
        assert_within(c.efficiency[-1], float(P @ Q), float(c.efficiency_error[-1]))


def test_the_table_has_every_point(curves) -> None:
    table = curves_table(curves)
    assert len(table) == len(GAMMA) * len(curves)
    first = curves["one decoder", "SimplexWater, r = 8", "hu"]
    part = table[(table["group"] == "one decoder") & (table["target"] == "SimplexWater (r = 8)")]
    assert part.loc[part["class"] == "hu", "strength"].to_numpy() == pytest.approx(first.strength)


def test_files(tmp_path, monkeypatch, curves) -> None:
    monkeypatch.setattr(transport_curves, "compute", lambda *_, **__: curves)
    app = typer.Typer()
    app.command()(transport_curves.draw)
    result = CliRunner().invoke(app, ["--out", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    stem = tmp_path / "new" / "transport_curves"
    for name in ("transport_curves", "transport_completed"):
        assert stem.with_name(f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert stem.with_name(f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(stem.with_suffix(".csv"))) == len(GAMMA) * len(curves)


def test_bad_input_is_one_line_and_exit_status_2(tmp_path) -> None:
    app = typer.Typer()
    app.command()(transport_curves.draw)
    result = CliRunner().invoke(app, ["--seeds", "2", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "seeds=2" in result.output
    assert "Traceback" not in result.output
