"""What edits leave: the tables of a small run with texts that are marked throughout, and other tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import tradeoff as td
from paper_repro import edits
from paper_repro.edits import Cell, Edit, Verdicts, Written
from paper_repro.measuring import Tables
from paper_repro.trials.robustness import EDITS
from paper_repro.trials.uniform_tests import (
    UNIFORM_TESTS,
    higher_criticism,
    minimax,
    tr_gof,
    uniform_threshold,
)
from tests.helpers.detecting import marked
from tests.helpers.support import ALPHA
from tradeoff.detection import null_threshold
from tradeoff.keyed import Stream

KEY = td.Key(bytes(range(32)))
CELLS = [Cell(name, width, t) for name in ("basic", "algorithm-1") for width in (1, 4) for t in (0.5, 1.0)]


def written(cell: Cell) -> list[Written]:
    """Six texts of 60 tokens that win races of a flat model, of the target's stream where there are two."""
    stream = Stream.SHARED if cell.method == "basic" else Stream.TARGET
    prf = cell.scheme.function(KEY)
    kinds = [kind for kind in edits.KINDS for _ in range(3)]
    return [
        Written(f"{kind} {i}", kind, np.array(marked(60, prf, stream, seed=i)), KEY)
        for i, kind in enumerate(kinds)
    ]


class Tokenizer:
    """Words are token ids."""

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return " ".join(map(str, ids))

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}


@cache
def rough_threshold(name: str, tokens: int, fpr: float) -> float:
    """`uniform_threshold` of few draws: texts that are marked throughout are far above it."""
    return null_threshold(UNIFORM_TESTS[name](np.random.default_rng(0).random((1_000, tokens))), fpr)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    out = tmp_path_factory.mktemp("tables")
    human = [np.random.default_rng(i).integers(50, 90, 80) for i in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edits, "load_pair", lambda: SimpleNamespace(tokenizer=Tokenizer()))
        patch.setattr(edits, "cells", lambda: CELLS)
        patch.setattr(edits, "write", lambda cell, folder, pair: written(cell))
        patch.setattr(edits, "paraphrase", lambda cell, texts, *_: [text.ids + 100 for text in texts])
        patch.setattr(edits, "human_chunks", lambda *_: human)
        patch.setattr(edits, "uniform_threshold", rough_threshold)
        edits.measure(out / "texts", Tables(out))
    return {path.stem: pd.read_csv(path) for path in out.glob("*.csv")}


def test_every_cell_and_edit_has_a_row(tables) -> None:
    made = sum(map(len, EDITS.values()))
    table = tables["edits"]
    kinds = len(edits.KINDS) + 1
    # Paraphrases are of the texts of one temperature.
    assert len(table) == kinds * (len(CELLS) * made + len(CELLS) // 2)
    assert not table.duplicated(["method", "context_width", "temperature", "edit", "share", "prompts"]).any()
    both = table[table["prompts"] == "both"]
    assert (both["texts"] == 6).all()
    assert ((table["tpr_low"] <= table["tpr"]) & (table["tpr"] <= table["tpr_high"])).all()


def test_marked_texts_are_found_and_other_words_are_not(tables) -> None:
    table = tables["edits"]
    assert (table[table["edit"] == "none"]["tpr"] == 1).all()
    assert (table[table["edit"] == "tokenised again"]["tpr"] == 1).all()
    assert (table[table["edit"] == "paraphrased"]["tpr"] == 0).all()


def test_a_replaced_token_spoils_as_many_as_its_context_is_wide(tables) -> None:
    """Of tokens that count none vanishes; of those that are marked (1 - share)^(width + 1) are left: a narrow
    context is found more often."""
    widths = tables["edits_widths"]
    replaced = widths[(widths["edit"] == "substitution") & (widths["share"] == 0.3)]
    assert {(1, 4)} == set(zip(replaced["context_width"], replaced["other_width"], strict=True))
    assert (replaced["first"] >= replaced["second"]).all()
    pooled = replaced[replaced["temperature"] == "all"]
    assert (pooled["difference"] > 0).all()


def test_a_token_is_kept_where_its_context_is() -> None:
    """Of 60 tokens 56 follow a whole context of four; one that is changed spoils itself and four more."""
    ids = np.arange(60)
    changed = np.where(ids == 30, 99, ids)
    assert edits._kept(ids, ids, 4) == 1
    assert edits._kept(ids, changed, 4) == pytest.approx(51 / 56)
    assert edits._kept(ids, changed, 1) == pytest.approx(57 / 59)
    assert edits._kept(ids, ids[40:], 4) == pytest.approx(16 / 56)


def test_what_is_kept(tables) -> None:
    table = tables["edits"]
    assert (table.loc[table["edit"] == "none", "kept"] == 1).all()
    assert (table.loc[table["edit"] == "paraphrased", "kept"] == 0).all()
    assert table["kept"].between(0, 1).all()
    # Each kind of prompts has its own mean, and half of the texts.
    cell = ["method", "context_width", "temperature", "edit", "share"]
    means = table.pivot(index=cell, columns="prompts", values="kept")
    np.testing.assert_allclose(means["both"], (means["question"] + means["continuation"]) / 2)
    assert (means["question"] != means["continuation"]).any()


def test_methods_are_compared_with_no_speculation(tables) -> None:
    methods = tables["edits_methods"]
    assert set(methods["method"]) == {"algorithm-1"}
    assert set(methods["other_method"]) == {"basic"}
    assert (methods["context_width"] == methods["other_width"]).all()
    np.testing.assert_allclose(methods["difference"], methods["first"] - methods["second"], atol=1e-12)


def test_other_tests_read_one_stream(tables) -> None:
    others = tables["edits_detectors"]
    assert set(others["method"]) == {"basic"}
    # Marked throughout, all are found but by higher criticism, which leaves out the smallest p-values.
    found = others[(others["edit"] == "none") & (others["test"] != "higher criticism")]
    assert (found["first"] == 1).all()
    assert "Aaronson" not in set(others["test"])


def test_the_price_of_narrow_contexts(tables) -> None:
    """Fifty words repeat soon: nearly every context of one is seen in other texts, of four hardly any."""
    price = tables["edits_price"]
    one, four = (price[price["context_width"] == width] for width in (1, 4))
    assert one["repeated"].min() > four["repeated"].max()
    assert one["seen"].min() > 0.9
    assert four["seen"].max() < 0.1
    assert (price["min_hash_4"] < price["min_hash_2"]).all()
    assert price["min_hash_2"].between(0, 1).all()


def test_contexts_are_counted_as_the_detector_does() -> None:
    cell = Cell("basic", 2, 0.5)
    ids = np.array([1, 2, 3, 1, 2, 4, 1, 2, 5])
    (row,) = edits.price({cell: [Written("a", "question", ids, KEY), Written("b", "question", ids[:5], KEY)]})
    # Contexts 12, 23, 31, 12, 24, 41, 12 and 12, 23, 31: new are 5 of 7 and 3 of 3; seen 5 of 7 and 3 of 3.
    assert row["repeated"] == pytest.approx(1 - (5 / 7 + 1) / 2)
    assert row["seen"] == pytest.approx((5 / 7 + 1) / 2)
    evidence = td.detection.Evidence(ids, cell.scheme.function(KEY))
    assert len(evidence) == 5


@pytest.mark.parametrize("repetitions", [1, 3])
def test_difference_of_equal_verdicts_is_none(repetitions: int) -> None:
    found = np.random.default_rng(0).random((40, repetitions)) < 0.5
    told = edits.difference(found, found)
    assert told["difference"] == 0
    assert told["difference_low"] <= 0 <= told["difference_high"]


def test_repetitions_of_a_prompt_are_one_trial() -> None:
    """The same verdicts four times over tell no more than once."""
    rng = np.random.default_rng(0)
    first, second = rng.random((40, 1)) < 0.6, rng.random((40, 1)) < 0.4
    twice, often = (edits.difference(np.tile(first, n), np.tile(second, n)) for n in (2, 8))
    assert twice == {**often, "repetitions": 2}


def test_sentences() -> None:
    assert edits._sentences("One. Two!\nThree? four\n\n") == ["One.", "Two!", "Three?", "four"]


def test_edits_of_verdicts() -> None:
    verdicts = Verdicts()
    cell = CELLS[0]
    texts = written(cell)
    verdicts.add(cell, Edit("none", 0.0), texts, [text.ids for text in texts])
    assert verdicts.edits() == [Edit("none", 0.0)]
    assert verdicts.found(cell, Edit("deletion", 0.1)) is None
    rows = verdicts.rows([text.kind for text in texts])
    assert [row["texts"] for row in rows] == [3, 3, 6]


@pytest.mark.parametrize("delta", [0.05, 0.1, 0.4, 0.5, 0.6, 0.75])
def test_minimax_scores_are_log_densities(delta: float) -> None:
    """Of the uniform at a token that the least favourable law emits."""
    score = minimax(delta)
    mass, _ = integrate.quad(lambda u: math.exp(float(score(np.array([u])))), 0, 1, epsabs=1e-10)
    assert mass == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize(
    ("delta", "law"), [(0.5, [0.5, 0.5]), (0.4, [0.6, 0.4]), (0.7, [0.3, 0.3, 0.3, 0.1])]
)
def test_minimax_scores_of_their_law(delta: float, law: list[float]) -> None:
    """A token of probability p is emitted with U <= u with probability p u^(1/p)."""
    u = np.array([0.01, 0.3, 0.9])
    density = sum(u ** (1 / p - 1) for p in law)
    np.testing.assert_allclose(minimax(delta)(u[:, None]), np.log(density), atol=1e-12)


def test_higher_criticism_by_hand() -> None:
    p = np.array([0.3, 0.02, 0.55, 0.9])
    # In order .02, .3, .55, .9: the first lies below 1/4, the third and fourth behind t/2.
    expected = 2 * (0.5 - 0.3) / math.sqrt(0.3 * 0.7)
    assert higher_criticism(1 - p) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("member", "divergence"),
    [
        (2.0, lambda u, v: (u - v) ** 2 / (2 * v * (1 - v))),
        (1.0, lambda u, v: u * math.log(u / v) + (1 - u) * math.log((1 - u) / (1 - v))),
        (0.0, lambda u, v: v * math.log(v / u) + (1 - v) * math.log((1 - v) / (1 - u))),
        (0.5, lambda u, v: 4 * (1 - math.sqrt(u * v) - math.sqrt((1 - u) * (1 - v)))),
    ],
)
def test_tr_gof_by_hand(member: float, divergence) -> None:
    p = np.array([0.45, 0.1, 0.21, 0.7, 0.97])
    # In order .1, .21, .45, .7, .97: the first is cut off below 1/5, the last has F = 1.
    places = [(2 / 5, 0.21), (3 / 5, 0.45), (4 / 5, 0.7)]
    assert tr_gof(member)(1 - p) == pytest.approx(5 * max(divergence(u, v) for u, v in places))


@pytest.mark.parametrize("name", UNIFORM_TESTS)
@pytest.mark.parametrize("tokens", [2, 30])
def test_thresholds_keep_their_level(name: str, tokens: int) -> None:
    """The rate differs from the nominal one by chance alone: of the threshold's draws and of ours."""
    uniforms = np.random.default_rng(1).random((20_000, tokens))
    hits = int((UNIFORM_TESTS[name](uniforms) > uniform_threshold(name, tokens, 0.01)).sum())
    # Rates of both are known to sqrt(.01 / 20,000), so that hits have twice the variance.
    limit = 200 + stats.norm.isf(ALPHA) * math.sqrt(2 * 200)
    assert hits <= limit
    if tokens > 2:
        assert hits >= 400 - limit
