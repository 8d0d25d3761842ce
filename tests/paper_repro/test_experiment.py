"""The detection experiment, end to end on a tiny model: tables, pictures, report; resumed, it is the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from scipy import stats
from typer.testing import CliRunner

from paper_repro import experiment
from paper_repro.presets import Cell, PromptSet, load_preset
from paper_repro.quality.by_cell import MEASURES
from paper_repro.report.origin import Origin
from tests.helpers.support import ALPHA
from tradeoff.llm.generation import engine

runner = CliRunner()
#: As reports that are kept.
MOST_BYTES = 2_000_000
PRESET = """
title = "tiny"
[models]
target = "{folder}"
draft = "skip:1"
dtype = "float32"
[generation]
texts = 6
max_tokens = 40
lookahead = [2]
batch = 8
ignore_eos = true
[detection]
null_texts = 200
roc_tokens = 20
replays = 2
anchors = 2
laws = 2
[[prompts]]
name = "a"
source = "{prompts}"
[[prompts]]
name = "b"
source = "{others}"
[[arms]]
watermark = "gumbel"
temperature = 1.0
methods = ["basic", "joint-race", "one-race", "algorithm-1"]
detect = true
[[arms]]
watermark = "gumbel"
temperature = 1.0
methods = ["joint-race"]
verify = ["block"]
detect = true
[[arms]]
watermark = "synthid:6"
temperature = 1.0
methods = ["basic", "joint-tournament", "algorithm-1"]
detect = true
[[arms]]
watermark = "none"
temperature = 1.0
methods = ["basic", "standard"]
"""
DETECTORS = {
    ("basic", "gumbel"): {"Aaronson", "likelihood ratio"},
    ("joint-race", "gumbel"): {"Aaronson", "likelihood ratio"},
    ("joint-race, blocks", "gumbel"): {"Aaronson", "likelihood ratio"},
    ("one-race", "gumbel"): {"Aaronson", "likelihood ratio"},
    ("algorithm-1", "gumbel"): {
        "Ars-τ",
        "Ars-Prior",
        "sum of both keys",
        "likelihood ratio, two keys",
        "oracle",
    },
    ("basic", "synthid:6"): {"mean of bits", "weighted mean of bits", "Bayes"},
    ("joint-tournament", "synthid:6"): {"mean of bits", "weighted mean of bits", "Bayes"},
    ("algorithm-1", "synthid:6"): {
        "weighted mean of bits",
        "Bayes-Prior (per layer)",
        "Bayes-Prior (per token)",
        "Bayes-MLP",
        "oracle",
    },
}


@pytest.fixture(scope="module")
def preset(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    for name, word in (("a", "the man"), ("b", "an ant")):
        (folder / f"{name}.txt").write_text("".join(f"{word} {i}\n" for i in range(8)))
    path = folder / "tiny.toml"
    path.write_text(
        PRESET.format(folder=tiny_folder, prompts=folder / "a.txt", others=folder / "b.txt"),
        encoding="utf-8",
    )
    return path


def invoke(preset: Path, out: Path):
    app = typer.Typer()
    app.command()(experiment.main)
    return runner.invoke(app, ["--preset", str(preset), "--out", str(out)])


@pytest.fixture(scope="module")
def results(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    result = invoke(preset, out)
    assert result.exit_code == 0, result.output
    assert "report.html" in result.output
    return out / "tiny"


def test_every_detector_is_tried_on_every_text_at_every_length(results: Path) -> None:
    tpr = pd.read_csv(results / "tpr.csv")
    for (method, watermark), detectors in DETECTORS.items():
        part = tpr[(tpr["method"] == method) & (tpr["watermark"] == watermark)]
        assert set(part["detector"]) == detectors
        assert set(part["tokens"]) == {10, 20, 30, 40}
        assert set(part["prompts"]) == {"a", "b", "both"}
        assert (part.loc[part["prompts"] == "both", "texts"] == 12).all()
        assert (part.loc[part["prompts"] == "a", "texts"] == 6).all()
    assert ((tpr["tpr_low"] <= tpr["tpr"]) & (tpr["tpr"] <= tpr["tpr_high"])).all()


def test_a_random_model_full_of_entropy_is_detected_and_human_text_is_not(results: Path) -> None:
    """The tiny model's tokens have several nats of entropy: 36 of them show any watermark."""
    tpr = pd.read_csv(results / "tpr.csv")
    longest = tpr[(tpr["tokens"] == 40) & (tpr["prompts"] == "both")]
    assert (longest.loc[longest["watermark"] == "gumbel", "tpr"] >= 0.9).all()
    exact = tpr[tpr["null"].str.startswith("exact") & tpr["fpr"].notna() & (tpr["prompts"] == "both")]
    assert len(exact) > 10
    # Of 200 null texts, each under its own key, more than 17 refute a rate of 1% at the level of the suite.
    assert stats.binom.sf(17, 200, 0.01) < ALPHA
    assert (exact["fpr"] <= 17 / 200).all()


def test_pooled_rates_are_means_of_their_parts(results: Path) -> None:
    tpr = pd.read_csv(results / "tpr.csv")
    keys = ["watermark", "method", "detector", "tokens"]
    parts = tpr[tpr["prompts"] != "both"].groupby(keys)["tpr"].mean()
    both = tpr[tpr["prompts"] == "both"].set_index(keys)["tpr"]
    np.testing.assert_allclose(both.sort_index(), parts.sort_index(), atol=1e-12)


def test_power_is_predicted_beside_what_was_measured(results: Path) -> None:
    power = pd.read_csv(results / "power.csv")
    assert set(power["tokens"]) == {10, 20, 30, 40}
    assert power["predicted"].between(0, 1).all()
    # Twelve texts: their exact 95% intervals, and a little for what the lattice of scores costs.
    inside = (power["low"] - 0.02 <= power["predicted"]) & (power["predicted"] <= power["high"] + 0.02)
    assert inside.mean() > 0.5
    longest = power[power["tokens"] == 40]
    assert (longest["predicted"] > 0.9).all()


def test_methods_stand_beside_each_other_on_the_same_prompts(results: Path) -> None:
    """Every pair of methods with a mark, its difference that of the rates of tpr.csv."""
    paired = pd.read_csv(results / "paired.csv")
    assert (paired["texts"] == 12).all()
    tpr = pd.read_csv(results / "tpr.csv")
    tpr = tpr[tpr["prompts"] == "both"].set_index(["watermark", "method", "detector", "tokens"])["tpr"]
    for row in paired.to_dict("records"):
        ours = tpr[row["watermark"], row["method"], row["detector"], row["tokens"]]
        theirs = tpr[row["watermark"], row["against"], row["against_detector"], row["tokens"]]
        assert row["difference"] == pytest.approx(ours - theirs, abs=1e-12)
        assert row["low"] <= row["difference"] <= row["high"]
    against = set(zip(paired["watermark"], paired["method"], paired["against"], strict=True))
    assert {("gumbel", "joint-race", "one-race"), ("synthid:6", "joint-tournament", "algorithm-1")} <= against


def test_rates_are_predicted_from_both_models_laws(results: Path) -> None:
    predicted = pd.read_csv(results / "predicted.csv")
    assert set(predicted["method"]) == {"basic", "joint-race", "one-race", "algorithm-1"}
    assert set(predicted["tokens"]) == {10, 20, 30, 40}
    assert (predicted["positions"] > 0).all()
    # As in power.csv: six texts a row with exact 95% intervals.
    inside = (predicted["low"] - 0.02 <= predicted["predicted"]) & (
        predicted["predicted"] <= predicted["high"] + 0.02
    )
    assert inside.mean() > 0.5
    assert (predicted.loc[predicted["tokens"] == 40, "predicted"] > 0.8).all()


def test_edits_weaken_and_nothing_is_left_out(results: Path) -> None:
    edits = pd.read_csv(results / "edits.csv")
    assert (edits["texts"] == 12).all()
    assert "oracle" not in set(edits["detector"])
    whole = edits[edits["edit"] == "none"].set_index(["method", "watermark", "detector"])["tpr"]
    for edit in ("substitution", "insertion", "deletion"):
        worst = edits[(edits["edit"] == edit) & (edits["share"] == 0.3)]
        worst = worst.set_index(["method", "watermark", "detector"])["tpr"]
        assert (worst <= whole + 1e-12).all()
    again = edits[edits["edit"] == "tokenised again"]
    assert len(again) == len(whole)


def test_model_aware_hits(results: Path) -> None:
    """Without speculation the key determines every token that counts; with it all but bonus tokens."""
    found = pd.read_csv(results / "model_aware.csv")
    methods = {"basic", "joint-race", "joint-race, blocks", "one-race", "algorithm-1"}
    assert set(found["method"]) == methods
    assert (found.loc[found["method"] == "basic", "hits"] == 1).all()
    assert (found.loc[found["method"] != "basic", "hits"] > 0.5).all()
    assert (found.loc[found["tokens"] == 40, "tpr"] == 1).all()


def test_sequential_tests_are_tried_on_every_cell(results: Path) -> None:
    """With the draft model where the key determines its tokens, on as many texts as were read back."""
    table = pd.read_csv(results / "sequential.csv")
    assert set(table["alpha"]) == {0.01, 0.02}
    for (method, watermark), detectors in DETECTORS.items():
        part = table[(table["method"] == method) & (table["watermark"] == watermark)]
        fixed = {name for name in detectors if "Bayes" not in name and name != "oracle"}
        read = part["test"] == "draft-aware hits"
        assert read.sum() == (4 if watermark == "gumbel" else 0)
        assert (part.loc[read, "texts"] == 4).all()
        for kind in ("fixed length", "Bonferroni over time"):
            assert set(part.loc[(part["kind"] == kind) & ~read, "test"]) == fixed
        (bets,) = part.loc[(part["kind"] == "betting") & (part["alpha"] == 0.01)].to_dict("records")
        assert bets["texts"] == 12
        anchored = part[part["kind"] == "anchored"]
        assert len(anchored) == (10 if watermark == "gumbel" else 0)
        assert (anchored["texts"] == 4).all()
    random = table[(table["kind"] == "betting") & (table["watermark"] == "gumbel")]
    assert (random["median"] < 40).all()
    assert ((table["median_low"] <= table["median"]) & (table["median"] <= table["median_high"])).all()
    shares = pd.read_csv(results / "sequential_shares.csv")
    assert shares["share"].between(0, 1).all()
    assert list(results.glob("sequential_*.png"))


def test_every_detector_has_a_roc_curve_from_corner_to_corner(results: Path) -> None:
    roc = pd.read_csv(results / "roc.csv")
    for (method, watermark), detectors in DETECTORS.items():
        part = roc[(roc["method"] == method) & (roc["watermark"] == watermark) & (roc["prompts"] == "both")]
        assert set(part["detector"]) == detectors
        for _, curve in part.groupby("detector"):
            assert (curve["fpr"].diff().dropna() >= 0).all()
            assert (curve["tpr"].diff().dropna() >= 0).all()
            assert curve["fpr"].iloc[[0, -1]].tolist() == [0, 1]
            assert curve["tpr"].iloc[-1] == 1


def test_quality_is_told_of_every_cell_beside_the_target_alone(results: Path) -> None:
    """Also of what is not tested for a watermark; the target alone has nothing beside it."""
    quality, speed = (pd.read_csv(results / f"{name}.csv") for name in ("quality", "speed"))
    labels = ["prompts", "temperature", "watermark", "method", "lookahead"]
    pd.testing.assert_frame_equal(quality[labels], speed[labels])
    plain = (quality["watermark"] == "none") & (quality["method"] == "basic")
    assert plain.sum() == 2
    assert (quality["tokens"] == 40).all()
    assert (quality["pairs"].isna() == plain).all()
    assert (quality.loc[~plain, "pairs"] == 6).all()
    for name in MEASURES:
        assert quality[name].notna().all()
        assert (quality[f"{name}_difference"].isna() == plain).all()
    report = (results / "report.html").read_text(encoding="utf-8")
    assert "Schemes are compared with the target alone on the same prompts" in report


def test_the_report_stands_alone_and_states_claims(results: Path) -> None:
    """With every picture, and Figure 1, which is drawn here where no run of the main command drew it."""
    report = (results / "report.html").read_text(encoding="utf-8")
    pictures = len(list(results.glob("*.png")))
    assert report.count("src=") == report.count('src="data:image/') == pictures
    assert len(report.encode()) < MOST_BYTES
    origin = Origin.read(results)
    for words in (origin.date, origin.version, origin.commit):
        assert words in report
    assert (results / "figure_1.svg").exists()
    for words in ("Ars-τ detects more than Ars-Prior", "Bayes-MLP detects more", "one-race", "--preset"):
        assert words in report


def test_pictures_are_written(results: Path) -> None:
    names = {path.stem for path in results.glob("*.png")}
    assert {"tpr_a", "tpr_b", "tpr_both", "roc_both", "power", "edits_gumbel", "edits_synthid-6"} <= names


def test_a_second_run_generates_nothing_and_gives_the_same_rates(
    results: Path, preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(results.parent / "texts", tmp_path / "texts")
    head, arms = preset.read_text().split("[[arms]]", 1)
    one = head + '[[arms]]\nwatermark = "gumbel"\ntemperature = 1.0\nmethods = ["one-race"]\ndetect = true\n'
    (tmp_path / "tiny.toml").write_text(one)
    assert "one-race" in arms

    def refuse(*_: object) -> None:
        raise AssertionError("a finished text was generated again")

    monkeypatch.setattr(engine.Engine, "_admit", refuse)
    result = invoke(tmp_path / "tiny.toml", tmp_path)
    assert result.exit_code == 0, result.output
    again = pd.read_csv(tmp_path / "tiny" / "tpr.csv")
    before = pd.read_csv(results / "tpr.csv")
    before = before[before["method"] == "one-race"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, before)


def test_a_preset_without_detection_says_what_to_add(preset: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.toml"
    path.write_text(preset.read_text().replace("detect = true", ""))
    result = invoke(path, tmp_path)
    assert result.exit_code == 2
    assert "detect = true" in result.output


def test_short_human_text_is_refused(preset: Path, tmp_path: Path) -> None:
    (tmp_path / "human.txt").write_text("too short\n")
    app = typer.Typer()
    app.command()(experiment.main)
    arguments = ["--preset", str(preset), "--out", str(tmp_path), "--human", str(tmp_path / "human.txt")]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "pass a longer file" in result.output


def test_small_has_200_texts_of_every_method_on_the_same_prompts() -> None:
    """At the paper's temperatures, all of one length."""
    cells = [cell for cell in load_preset("small").cells() if cell.detect]
    sizes: dict[tuple, int] = {}
    for cell in cells:
        assert cell.max_tokens == 120
        assert cell.temperature == (0.5 if cell.watermark == "gumbel" else 0.7)
        sizes[cell.label, cell.watermark] = sizes.get((cell.label, cell.watermark), 0) + cell.texts
    assert set(sizes.values()) == {200}
    races = {"basic", "joint-race", "joint-race, blocks", "one-race", "algorithm-1"}
    tournaments = {"basic", "joint-tournament", "algorithm-1"}
    assert set(sizes) == {(name, "gumbel") for name in races} | {(name, "synthid:30") for name in tournaments}


def test_cells_carry_the_sizes_of_their_arm() -> None:
    cells = load_preset("small").cells()
    assert {cell.texts for cell in cells} == {100, 50, 16}
    assert all(isinstance(cell, Cell) and isinstance(cell.prompts, PromptSet) for cell in cells)
