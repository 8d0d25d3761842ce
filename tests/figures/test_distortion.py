"""The three-way figure: its values are those of the theory, and the committed table is what is computed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from figures.curves import distortion
from tests.helpers.support import P, Q, Z
from tradeoff.curves import biased_efficiency, decompose
from tradeoff.decoders import KGW, Completed, race_diagonal
from tradeoff.laws import entropy, overlap
from tradeoff.llm.readback.next_token import NextTokenPairs, save_pairs


@pytest.fixture(scope="module")
def paper():
    return distortion.compute_paper()


def _point(table: pd.DataFrame, scheme: str, gamma: float, delta: float) -> pd.Series:
    found = table[(table["scheme"] == scheme) & (table["gamma"] == gamma) & (table["delta"] == delta)]
    assert len(found) == 1
    return found.iloc[0]


def test_points_of_the_paper(paper) -> None:
    for gamma, delta in ((0.1, 0.5), (0.25, 2.0), (0.5, 10.0)):
        plain, completed = (_point(paper, f"kgw, {name}", gamma, delta) for name in ("plain", "completed"))
        decoder = KGW(delta, gamma)
        assert plain["strength"] == pytest.approx(decompose(P, decoder).strength.value, abs=1e-12)
        assert completed["strength"] == pytest.approx(
            decompose(P, Completed(decoder)).strength.value, abs=1e-12
        )
        assert plain["efficiency"] == completed["efficiency"] == biased_efficiency(P, Q, decoder).value
        assert plain["distortion"] == decompose(P, decoder).distortion.value


def test_nothing_is_above_the_bound_of_its_distortion(paper) -> None:
    """The bound rises with the distortion from Ent(P); every point lies below it at the next larger one."""
    bound = paper[paper["scheme"] == "bound"]
    assert (np.diff(bound["strength"]) > 0).all()
    assert bound["strength"].iloc[0] >= float(entropy(P))
    for row in paper[paper["scheme"].str.startswith("kgw")].to_dict("records"):
        above = bound[bound["distortion"] >= row["distortion"]].iloc[0]
        assert row["strength"] <= above["strength"]
    assert paper.loc[paper["scheme"] == "optimum", "efficiency"].item() == float(overlap(P, Q))


def test_means_over_positions_are_those_of_the_positions() -> None:
    """Where every position is the paper's pair but one, whose texts say how far means are off."""
    laws = [(P, Q), (P, Q), (Q, P), (P, Q)]
    text = np.array([0, 0, 1, 1])
    found = distortion.compute_positions(lambda k: laws[k], text, seeds=4)
    point = _point(found, "kgw, plain", 0.25, 2.0)
    parts = [decompose(p, KGW(2.0)) for p, _ in laws]
    shares = [biased_efficiency(p, q, KGW(2.0)).value for p, q in laws]
    strengths = [one.strength.value for one in parts]
    assert point["strength"] == pytest.approx(np.mean(strengths), abs=1e-11)
    assert point["efficiency"] == pytest.approx(np.mean(shares), abs=1e-12)
    assert point["efficiency_error"] == 0
    by_text = np.array([np.mean(strengths[:2]), np.mean(strengths[2:])])
    assert point["strength_spread"] == pytest.approx(by_text.std(ddof=1) / np.sqrt(2))
    ends = found[found["scheme"] == "unbiased"]
    assert ends["efficiency"].iloc[0] == pytest.approx(float(overlap(P, Q)))
    assert ends["efficiency"].iloc[1] == pytest.approx(float(race_diagonal(P, Q).sum()))


def test_the_committed_table_is_what_is_computed() -> None:
    found = distortion.check_committed()
    assert len(found) > 150
    for name, committed, computed in found:
        assert computed == pytest.approx(committed, abs=1e-6), name


def test_the_page_says_what_the_committed_table_says() -> None:
    """Its table, row by row, and its sentences on positions of text."""
    page = (distortion.COMMITTED.parents[2] / "theory" / "biased.md").read_text(encoding="utf-8")
    table = pd.read_csv(distortion.COMMITTED)
    real = table[table["where"] == "positions of text"]
    best = real[real["scheme"] == "optimum"].iloc[0]
    assert f"| unbiased optimum | {best['efficiency']:.4f} | | {best['strength']:.3f} | 0 |" in page
    for delta in (1.0, 2.0, 3.0, 5.0, 10.0):
        plain, completed = (_point(real, f"kgw, {name}", 0.25, delta) for name in ("plain", "completed"))
        accepted = f"{plain['efficiency']:.4f} ± {plain['efficiency_error']:.4f}"
        strengths = f"{plain['strength']:.3f} | {completed['strength']:.3f} | {plain['distortion']:.4f} |"
        assert f"| {delta:g} | {accepted} | {strengths}" in page
    low, high = (_point(real, "kgw, plain", 0.25, delta) for delta in (2.0, 5.0))
    assert abs(low["efficiency"] - best["efficiency"]) < 2 * low["efficiency_error"]
    fall = best["efficiency"] - high["efficiency"]
    assert fall > Z * high["efficiency_error"]
    assert fall == pytest.approx(0.01, abs=0.002)
    assert f"from {low['distortion']:.4f} to {high['distortion']:.4f} nats" in page


def test_on_the_papers_pair_more_is_accepted_as_lists_get_stronger(paper) -> None:
    for gamma in distortion.GAMMAS:
        rows = paper[(paper["scheme"] == "kgw, plain") & (paper["gamma"] == gamma)].sort_values("delta")
        for name in ("efficiency", "strength", "distortion"):
            assert (np.diff(rows[name]) > 0).all()
        assert (rows["efficiency"] > float(overlap(P, Q))).all()


def test_files(tmp_path) -> None:
    rng = np.random.default_rng(0)
    target, draft = (np.log(rng.dirichlet(np.ones(40), 4)).astype(np.float32) for _ in range(2))
    source, text = np.repeat(["model", "human"], 2), np.arange(4)
    save_pairs(NextTokenPairs(target, draft, source, text, text, {"target": "T"}), tmp_path / "pairs.npz")
    app = typer.Typer()
    app.command()(distortion.draw)
    out = tmp_path / "new"
    options = ["--pairs", str(tmp_path / "pairs.npz"), "--seeds", "8", "--processes", "1"]
    result = CliRunner().invoke(app, ["--out", str(out), *options])
    assert result.exit_code == 0, result.output
    assert (out / "distortion.pdf").read_bytes().startswith(b"%PDF")
    assert (out / "distortion.png").read_bytes().startswith(b"\x89PNG")
    assert set(pd.read_csv(out / "distortion.csv")["where"]) == {"P and Q of the paper", "positions of text"}


def test_missing_pairs_are_named(tmp_path) -> None:
    app = typer.Typer()
    app.command()(distortion.draw)
    result = CliRunner().invoke(app, ["--pairs", str(tmp_path / "none.npz"), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "figure_1_real" in result.output
    assert "Traceback" not in result.output
