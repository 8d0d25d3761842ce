"""The remaining trade-off: its reference values, its table, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from figures.joint.checks import references
from figures.joint.position_checks import position_references
from figures.joint.positions import LEAST, Pairs
from figures.joint.remaining_trade_off import compute, draw_remaining_trade_off
from tradeoff.decoders import race_diagonal
from tradeoff.errors import FileError
from tradeoff.laws import overlap, without_rare


def test_every_reference_value_is_reproduced() -> None:
    missed = [row for row in references(seeds=40_000, races=20_000) if not row.holds]
    assert not missed


def test_where_the_draft_is_the_target_every_race_is_read_alike(tmp_path: Path) -> None:
    """Of races exactly, of tournaments within 5 standard errors; one row for every value given."""
    pytest.importorskip("torch", reason="pairs are loaded with PyTorch")
    from tradeoff.llm import NextTokenPairs, save_pairs

    rng = np.random.default_rng(5)
    law = np.log(rng.dirichlet(np.full(6, 0.5), 16)).astype(np.float32)
    names = np.repeat("model", 16)
    pairs = NextTokenPairs(law, law, names, np.arange(16), np.arange(16), {})
    save_pairs(pairs, tmp_path / "pairs.npz")
    found = position_references(tmp_path / "pairs.npz", positions=16, seeds=100)
    rows = {row.name: row for row in found}
    assert len(rows) == 4 * 4 + 4 + 4 * 2 + 3 * 2
    for temperature in ("1", "0.7", "0.5", "0.3"):
        scores = [rows[f"T = {temperature}: score - 1, {name}"].value for name in ("basic", "joint-race")]
        assert scores[0] == pytest.approx(scores[1], abs=1e-9)
        bits = [rows[f"T = {temperature}: mean bit - 1/2, {name}"] for name in ("basic", "joint-tournament")]
        assert abs(bits[0].value - bits[1].value) < 5 * np.hypot(bits[0].error, bits[1].error)


def laws(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    p = rng.dirichlet(np.full(n, 0.5))
    return p, 0.5 * p + 0.5 * rng.dirichlet(np.full(n, 0.5))


def test_the_table_of_some_positions() -> None:
    """Ends are means of the closed forms; joint race and mixture lie below the limit, which falls."""
    rng = np.random.default_rng(3)
    pairs = Pairs("four", [laws(rng, n) for n in (5, 9, 9, 30)], np.array([0, 0, 1, 1]))
    table = compute(pairs, races=2_000, iterations=30, seed=0)
    kernels = table[table["what"] == "kernel"].set_index("name")
    agreement = np.mean([race_diagonal(p, q).sum() for p, q in pairs.laws])
    fast = np.mean([overlap(p, q) for p, q in pairs.laws])
    assert kernels.loc["keep-strength", "efficiency"] == pytest.approx(agreement, rel=1e-12)
    assert kernels.loc["joint-race", "efficiency"] == pytest.approx(fast, rel=1e-12)
    assert kernels.loc["keep-strength", "score"] == pytest.approx(kernels.loc["basic", "score"], rel=1e-12)
    limit = table[table["what"] == "limit"]
    assert (np.diff(limit["limit"]) <= 1e-12).all()
    assert limit["efficiency"].iloc[-1] == pytest.approx(fast, rel=1e-12)
    assert kernels.loc["joint-race", "score"] <= limit["limit"].iloc[-1]
    mixture = table[table["what"] == "mixture"]
    bound = np.interp(mixture["efficiency"], limit["efficiency"], limit["limit"])
    assert (mixture["score"] <= bound + 1e-9).all()
    assert kernels.loc["two-keys", "score"] == kernels.loc["algorithm-1", "score"]


def test_rare_tokens_are_left_out() -> None:
    p, q, lost = without_rare(
        np.array([0.5, 0.5 - 1e-7, 1e-7, 0.0]), np.array([0.5, 0.25, 1e-8, 0.25]), LEAST
    )
    assert len(p) == 3
    assert lost == pytest.approx(1e-7, rel=1e-6)
    assert p.sum() == pytest.approx(1.0)
    assert q.tolist() == pytest.approx([0.5, 0.25, 0.25])


def test_the_papers_pair_is_drawn(tmp_path: Path) -> None:
    written = draw_remaining_trade_off(tmp_path, pairs=None, races=20)
    assert [path.name for path in written] == [f"remaining_trade_off.{s}" for s in ("pdf", "png", "csv")]
    assert all(path.stat().st_size > 1_000 for path in written)
    table = pd.read_csv(written[-1])
    assert set(table["what"]) == {"kernel", "mixture", "limit"}
    found = table.set_index("name").loc["joint-race", "score"]
    assert found == pytest.approx(1.742585, abs=1e-6)


def test_positions_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="--paper-only"):
        draw_remaining_trade_off(tmp_path, pairs=tmp_path / "none.npz")
