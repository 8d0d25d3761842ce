"""Watermarks against each other: what is averaged, what is paired, and what is claimed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from figures.experiment.names import watermark_name
from figures.experiment.watermarks import draw_watermark_figure, draw_watermarks
from paper_repro.presets import Cell, PromptSet
from paper_repro.report.compare import watermark_claims, watermark_table
from paper_repro.report.decided import Verdict
from paper_repro.trials import fixed
from paper_repro.trials.fixed import CellEvidence, fit_detectors
from paper_repro.trials.sequential import SequentialTrial, share_table
from tradeoff.decoders import Completed, SynthID, heavy_water, simplex_water
from tradeoff.detection import Evidence
from tradeoff.detection.choice import default_bets, default_detector
from tradeoff.detection.fixed.transport import AuthorsTest
from tradeoff.detection.sequential import Sequential
from tradeoff.kernels import Algorithm1, Basic, Method
from tradeoff.keyed import Key
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.plotting import labelled

PROMPTS = [PromptSet(name="a", source="builtin:question"), PromptSet(name="b", source="builtin:continuation")]
LENGTH = 100
RNG = np.random.default_rng(0)


def trial(
    watermark: str,
    needed: list[float],
    prompts: PromptSet = PROMPTS[0],
    kind: str = "betting",
    method: str = "basic",
    temperature: float = 0.5,
    length: int = LENGTH,
) -> SequentialTrial:
    lookahead = 0 if method == "basic" else 3
    cell = Cell(prompts, method, watermark, temperature, lookahead, len(needed), length, True)
    texts = CellEvidence(cell, [], [])
    test = Sequential(default_bets(texts.method)) if kind == "betting" else default_detector(texts.method)
    detected = np.arange(1, length + 1) >= np.array(needed, float)[:, None]
    return SequentialTrial(
        texts, test.name, kind, np.arange(len(needed)), dict.fromkeys((0.02, 0.01), detected)
    )


def row_of(table: pd.DataFrame, watermark: str, kind: str = "betting") -> dict:
    (row,) = table[
        (table["watermark"] == watermark) & (table["kind"] == kind) & (table["alpha"] == 0.01)
    ].to_dict("records")
    return row


def test_means_count_what_was_not_detected_at_its_end() -> None:
    """40, 60 and never within 100 tokens make a mean of 200/3, against 80 of Gumbel-max: 1/6 fewer."""
    table = watermark_table([trial("gumbel", [80, 80, 80]), trial("heavywater", [40, 60, math.inf])])
    row = row_of(table, "heavywater")
    assert row["mean"] == pytest.approx(200 / 3)
    assert row["detected"] == pytest.approx(2 / 3)
    assert row["fewer"] == pytest.approx(1 / 6)
    assert row["mean_error"] == pytest.approx(np.std([40, 60, 100], ddof=1) / math.sqrt(3))
    assert math.isnan(row_of(table, "gumbel")["fewer"])


def test_prompts_are_pooled_and_stay_paired() -> None:
    """Ours takes half of what Gumbel-max takes on every prompt: so it does in every resample.

    Of such texts the interval is that of texts of another kind, of which there may be a share p with
    (1 - p)^5 = 5%, with 1 token under one watermark and 100 under the other.
    """
    theirs = [[20.0, 60.0, 90.0], [10.0, 100.0]]
    trials = [trial("gumbel", part, prompts) for part, prompts in zip(theirs, PROMPTS, strict=True)]
    # In another order of the sets of prompts.
    trials += [trial("synthid:30", [n / 2 for n in theirs[k]], PROMPTS[k]) for k in (1, 0)]
    row = row_of(watermark_table(trials), "synthid:30")
    assert row["texts"] == 5
    share = 1 - 0.05 ** (1 / 5)
    ours, others = 28 * (1 - share), 56 * (1 - share)
    assert row["fewer"] == pytest.approx(0.5)
    assert row["fewer_low"] == pytest.approx(1 - (ours + 100 * share) / (others + share))
    assert row["fewer_high"] == pytest.approx(1 - (ours + share) / (others + 100 * share))


@pytest.mark.parametrize("one", [math.inf, 99.0])
def test_texts_that_are_never_detected_do_not_show_that_nothing_differs(one: float) -> None:
    """Sixteen, and one of them a token before its end."""
    trials = [trial("gumbel", [math.inf] * 16), trial("heavywater", [math.inf] * 15 + [one])]
    (claim,) = watermark_claims(watermark_table(trials))
    assert claim.verdict is Verdict.UNDECIDED
    assert claim.remark == "too few texts"
    # Of 2,000 it is known that there are few of another kind.
    trials = [trial("gumbel", [math.inf] * 2_000), trial("heavywater", [math.inf] * 2_000)]
    (claim,) = watermark_claims(watermark_table(trials))
    assert claim.remark == "no difference larger than 0.01"


def test_nothing_is_compared_across_temperatures_lengths_or_tests() -> None:
    gumbel = trial("gumbel", [50.0] * 4)
    others = [
        trial("synthid:30", [10.0] * 4, temperature=0.3),
        trial("simplexwater:8", [10.0] * 4, length=50),
        trial("heavywater:gamma", [10.0] * 5),
        trial("heavywater:lognormal", [10.0] * 4, PROMPTS[1]),
        trial("heavywater:gumbel", [10.0] * 4, kind="fixed length"),
    ]
    for other in others:
        table = watermark_table([gumbel, other])
        row = row_of(table, other.texts.cell.watermark, other.kind)
        assert math.isnan(row.get("fewer", math.nan))


def test_fewer_texts_are_compared_on_the_prompts_that_they_have() -> None:
    """Gumbel-max took 80 tokens on the first two prompts and 20 on the others, of which ours has none."""
    gumbel = trial("gumbel", [80.0, 80.0, 20.0, 20.0])
    ours = trial("completed:synthid:30", [40.0, 40.0], method="algorithm-1")
    row = row_of(watermark_table([gumbel, ours]), "completed:synthid:30")
    assert row["texts"] == 2
    assert row["fewer"] == pytest.approx(0.5)


def test_lookaheads_stay_apart() -> None:
    cells = [trial("synthid:30", [needed] * 3, method="algorithm-1") for needed in (10.0, 90.0)]
    other = replace(cells[1].texts, cell=replace(cells[1].texts.cell, lookahead=4))
    table = watermark_table([trial("gumbel", [50.0] * 3), cells[0], replace(cells[1], texts=other)])
    rows = table[(table["watermark"] == "synthid:30") & (table["alpha"] == 0.01)]
    assert dict(zip(rows["lookahead"], rows["mean"], strict=True)) == {3: 10, 4: 90}


def test_only_bets_and_the_default_detector_are_compared() -> None:
    """Bonferroni over time, and detectors that are fitted, are for the table of tests."""
    wrong = trial("gumbel", [10.0] * 3, kind="fixed length")
    named = SequentialTrial(wrong.texts, "likelihood ratio", "fixed length", wrong.which, wrong.detected)
    bonferroni = SequentialTrial(wrong.texts, wrong.test, "Bonferroni over time", wrong.which, wrong.detected)
    table = watermark_table([named, bonferroni, trial("gumbel", [1.0, 2.0]), trial("heavywater", [1.0, 2.0])])
    assert set(table["kind"]) == {"betting"}


def test_a_single_watermark_is_not_compared() -> None:
    assert watermark_table([trial("gumbel", [1.0, 2.0])]).empty
    assert watermark_claims(pd.DataFrame()) == []


def test_claims_are_decided_by_the_interval() -> None:
    """Fewer, more, and what cannot be told."""
    theirs = RNG.integers(30, 90, 40).astype(float)
    shuffled = RNG.permutation(theirs)
    trials = [
        trial("gumbel", theirs.tolist()),
        trial("heavywater:lognormal", (theirs * 0.7).tolist()),
        trial("simplexwater:8", np.minimum(theirs * 1.1, 99).tolist()),
        trial("synthid:30", shuffled.tolist()),
    ]
    decided = {claim.words.split()[0]: claim for claim in watermark_claims(watermark_table(trials))}
    assert decided["heavywater:lognormal"].verdict is Verdict.SEEN
    assert decided["simplexwater:8"].verdict is Verdict.CONTRADICTED
    assert decided["synthid:30"].verdict is Verdict.UNDECIDED
    assert decided["synthid:30"].remark == "too few texts"
    assert "gumbel" not in decided


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (Basic(simplex_water(8)), ["sum of scores", "z-test"]),
        (Basic(heavy_water()), ["likelihood ratio of ranks", "z-test"]),
        (Algorithm1(heavy_water()), ["likelihood ratio of ranks", "z-test"]),
        (Algorithm1(Completed(SynthID(30))), ["own statistic and race", "weighted mean of bits"]),
        (Algorithm1(Completed(heavy_water())), ["own statistic and race", "likelihood ratio of ranks"]),
    ],
    ids=lambda value: f"{value.name}, {value.decoder.name}" if isinstance(value, Method) else "",
)
def test_detectors_of_transport_and_completed_watermarks(method: Method, names: list[str]) -> None:
    """The default first, on all streams of the method; z-tests have no exact law, and are no baseline."""
    found = fit_detectors(method, [])
    assert [detector.name for detector in found] == names
    streams = tuple(sorted(method.detection.streams))
    assert all(tuple(sorted(detector.streams)) == streams for detector in found)  # type: ignore[attr-defined]
    assert ["approximate" in detector.null for detector in found] == [
        isinstance(detector, AuthorsTest) for detector in found
    ]


def test_the_picture_has_a_panel_for_every_temperature_and_one_for_speculation(tmp_path: Path) -> None:
    trials = [
        trial(mark, [20.0, 50.0, math.inf], temperature=t)
        for t in (0.3, 1.0)
        for mark in ("gumbel", "heavywater:gamma", "heavywater:gamma,sinkhorn=0.05")
    ]
    trials.append(trial("completed:synthid:30", [30.0, 60.0, 90.0], method="algorithm-1"))
    table = share_table(trials)
    figure = draw_watermarks(table)
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible() and axes.axison]
    assert titles == [
        "basic, T = 0.3",
        "basic, T = 0.3, by Sinkhorn",
        "basic, T = 1",
        "basic, T = 1, by Sinkhorn",
        "with speculation, T = 0.5",
    ]
    labels = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert labels == [
        "Gumbel-max",
        "HeavyWater, gamma",
        "HeavyWater, gamma, by Sinkhorn",
        "SynthID, m = 30, completed, algorithm-1",
    ]
    table.to_csv(tmp_path / "sequential_shares.csv", index=False)
    assert [path.name for path in draw_watermark_figure(tmp_path)] == ["watermarks.png"]
    table[table["watermark"] == "gumbel"].to_csv(tmp_path / "sequential_shares.csv", index=False)
    assert draw_watermark_figure(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("gumbel", "Gumbel-max"),
        ("synthid:inf", "SynthID, m = ∞"),
        ("simplexwater:8", "SimplexWater, r = 8"),
        ("heavywater:gamma,k=256", "HeavyWater, gamma, k = 256"),
        ("heavywater:lognormal,sinkhorn=0.05", "HeavyWater, log-normal, by Sinkhorn"),
        ("completed:synthid:5", "SynthID, m = 5, completed"),
        ("none", "no watermark"),
    ],
)
def test_names_in_pictures(name: str, shown: str) -> None:
    assert watermark_name(name) == shown


def test_methods_of_one_watermark_have_colours_of_their_own() -> None:
    """Where speculation is what differs, a panel has one watermark, and its curves are methods."""
    table = share_table(
        [trial("gumbel", [20.0, 50.0], method=name) for name in ("basic", "one-race", "algorithm-1")]
    )
    figure = draw_watermarks(table)
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles == ["Gumbel-max, T = 0.5"]
    handles = labelled(figure.axes[0])
    assert list(handles) == ["basic", "one-race", "algorithm-1"]
    assert len({handle[0].get_color() for handle in handles.values()}) == 3


def test_shares_have_exact_intervals() -> None:
    """Half of two texts: Clopper and Pearson's interval at 95% is (1 − √0.975, √0.975)."""
    table = share_table([trial("gumbel", [20.0, math.inf])])
    figure = draw_watermarks(table)
    (bars,) = figure.axes[0].containers
    ends = bars[2][0].get_segments()[-1][:, 1]
    assert ends == pytest.approx([1 - math.sqrt(0.975), math.sqrt(0.975)])


def test_detectors_are_tried_on_no_context_that_they_have_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """All texts share one key, so that a context that occurs in two has the same numbers in both."""
    prf = KeyedPrf(Key(bytes(range(32))), 4)
    rng = np.random.default_rng(0)
    shared = rng.integers(0, 9_999, 30)
    ids = [np.concatenate([rng.integers(0, 9_999, 40), shared, rng.integers(0, 9_999, 20)]) for _ in range(6)]
    cell = Cell(PROMPTS[0], "basic", "gumbel", 0.5, 0, len(ids), 90, True)
    texts = CellEvidence(cell, [], [Evidence(one, prf) for one in ids])
    seen: list[list[Evidence]] = []

    def fit(method: Method, training: list[Evidence]) -> list:
        seen.append(list(training))
        return []

    monkeypatch.setattr(fixed, "fit_detectors", fit)
    folds = fixed.fit_folds(texts)
    assert [fold.tested for fold in folds] == [[0, 2, 4], [1, 3, 5]]
    for fold, training in zip(folds, seen, strict=True):
        tested = {context.tobytes() for i in fold.tested for context in texts.texts[i].contexts}
        others = [texts.texts[i] for i in range(len(ids)) if i not in fold.tested]
        for kept, whole in zip(training, others, strict=True):
            # The 27 contexts of four shared tokens are left out, and nothing else.
            assert len(kept) == len(whole) - 27
            assert tested.isdisjoint(context.tobytes() for context in kept.contexts)
