"""Detection against distortion: what is exact, what bounds it, and what a missing file says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import typer
from scipy import optimize
from typer.testing import CliRunner

from figures.transport import tilt as transport_tilt
from figures.transport.tilt import ALPHA, FAMILIES, compute
from tradeoff.curves.measures import watermark_strength
from tradeoff.decoders import heavy_water, simplex_water
from tradeoff.detection.growth import growth_of_classes, growth_of_stakes
from tradeoff.laws import entropy, kl_divergence
from tradeoff.llm.readback.next_token import NextTokenPairs, save_pairs
from tradeoff.optimal_transport.solvers import Sinkhorn

N, TEXTS = 30, 3
SMALL = tuple(
    replace(family, decoder=decoder, tilts=family.tilts[:3])
    for family, decoder in zip(
        FAMILIES,
        (
            simplex_water(5),
            heavy_water("lognormal", 64),
            heavy_water("gamma", 64),
            simplex_water(5, solver=Sinkhorn()),
            heavy_water("lognormal", 64, solver=Sinkhorn()),
            heavy_water("gamma", 64, solver=Sinkhorn()),
        ),
        strict=True,
    )
)


@pytest.fixture(scope="module")
def laws() -> list[np.ndarray]:
    return list(np.random.default_rng(0).dirichlet(np.full(N, 0.2), TEXTS))


@pytest.fixture(scope="module")
def table(laws) -> pd.DataFrame:
    return compute({1.0: laws}, families=SMALL, seeds=400)


def test_without_tilt_there_is_no_distortion(table) -> None:
    untilted = table[table["tilt"] == 0]
    assert len(untilted) == 2 + 2 + 4 * 2
    assert untilted["kl"].abs().max() < 1e-9
    assert untilted["rise"].abs().max() < 1e-9


def test_no_unbiased_watermark_grows_faster_than_its_strength(table) -> None:
    """A bet on a function of (token, s) grows by at most KL to the null, which for them is I(X; S)."""
    untilted = table[table["tilt"] == 0]
    assert (untilted["growth"] <= untilted["strength"] + 1e-9).all()
    assert (untilted["strength"] <= untilted["entropy"] + 1e-9).all()
    assert (untilted["growth"] > 0).all()


def test_tilting_buys_detection_with_distortion(table) -> None:
    for _, part in table[table["watermark"].str.contains("Sinkhorn")].groupby(["watermark", "bet"]):
        assert len(part) == 3
        assert (part["growth"].diff().dropna() > 0).all()
        assert (part["kl"].diff().dropna() > 0).all()


def test_strength_and_rise_are_those_of_the_decoder(laws, table) -> None:
    decoder = SMALL[4].decoder
    part = table[(table["watermark"] == SMALL[4].label) & (table["bet"] == "rank")]
    known = np.mean([watermark_strength(p, replace(decoder, head=N)).value for p in laws])
    # Tokens that transport leaves alone, of mass below 1e-6, are left out.
    assert part["strength"].iloc[0] == pytest.approx(known, abs=1e-4)
    tilt = float(part["tilt"].iloc[2])
    means = [replace(decoder, head=N, tilt=tilt)(p, decoder.every()).mean(axis=0) for p in laws]
    assert part["kl"].iloc[2] == pytest.approx(
        np.mean([kl_divergence(m, p) for m, p in zip(means, laws, strict=True)]), abs=1e-4
    )
    rises = [-(m * np.log(p)).sum() - entropy(p) for m, p in zip(means, laws, strict=True)]
    assert part["rise"].iloc[2] == pytest.approx(np.mean(rises), abs=1e-4)


def test_tokens_are_those_of_the_growth(table) -> None:
    assert table["tokens"].to_numpy() == pytest.approx(-np.log(ALPHA) / table["growth"].to_numpy())


def test_no_bet_on_a_class_beats_the_likelihood_ratio() -> None:
    rng = np.random.default_rng(1)
    law, null = rng.dirichlet(np.ones(6), 4), rng.dirichlet(np.ones(6))
    best = growth_of_classes(law, null)
    assert best.mean() == pytest.approx(float(kl_divergence(law.mean(axis=0), null)))
    for other in rng.dirichlet(np.ones(6), 50):
        assert (law @ np.log(other / null)).mean() <= best.mean() + 1e-12


@pytest.mark.parametrize("shift", [0.3, 3.0])
def test_stakes_are_the_best(shift: float) -> None:
    """Inside the range, and at its end where nothing but high scores comes."""
    rng = np.random.default_rng(2)
    scores = [f - f.mean(axis=-1, keepdims=True) for f in rng.exponential(size=(3, 4, 32))]
    weights = [np.exp(shift * f) / np.exp(shift * f).sum() for f in scores]
    growth, eta = growth_of_stakes(weights, scores)

    def mean(stake: float) -> float:
        return sum(float((w * np.log1p(stake * f)).sum()) for w, f in zip(weights, scores, strict=True)) / 3

    limit = 1 / max(-f.min() for f in scores)
    best = optimize.minimize_scalar(lambda x: -mean(x), bounds=(0, limit), method="bounded")
    assert growth.mean() == pytest.approx(mean(eta))
    assert mean(eta) == pytest.approx(-best.fun, abs=1e-5)
    assert 0 < eta < limit
    assert growth_of_stakes([np.full((4, 32), 1 / 128)] * 3, scores)[0] == pytest.approx(0, abs=1e-12)


def app() -> typer.Typer:
    application = typer.Typer()
    application.command()(transport_tilt.draw)
    return application


def test_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(transport_tilt, "FAMILIES", SMALL)
    monkeypatch.setattr(transport_tilt, "TEMPERATURES", (0.5, 1.0))
    rows = np.log(np.random.default_rng(3).dirichlet(np.ones(80), 8)).astype(np.float32)
    source, text = np.repeat(["model", "human"], 4), np.repeat(np.arange(4), 2)
    pairs = tmp_path / "pairs.npz"
    save_pairs(NextTokenPairs(rows, rows, source, text, np.arange(8), {"target": "T"}), pairs)
    written = transport_tilt.draw_transport_tilt(
        tmp_path / "new", pairs=pairs, texts=3, seeds=16, families=SMALL
    )
    pdf, png, csv = (path.read_bytes() for path in written)
    assert pdf.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")
    assert csv
    table = pd.read_csv(written[2])
    assert set(table["temperature"]) == {0.5, 1.0}
    result = CliRunner().invoke(app(), ["--pairs", str(pairs), "--texts", "5", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "texts=5 must be from 2 to 4" in result.output


def test_missing_pairs_name_the_command_that_makes_them(tmp_path) -> None:
    result = CliRunner().invoke(app(), ["--pairs", str(tmp_path / "none.npz"), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "python -m figures figure_1_real" in result.output
    assert "Traceback" not in result.output
