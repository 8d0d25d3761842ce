"""Tables of quality: pairs, units and lengths by hand; no difference where there is none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from paper_repro.generate import CellTexts
from paper_repro.presets import Cell, PromptSet
from paper_repro.quality.by_cell import FIVE, MEASURES, quality_row, quality_table
from paper_repro.quality.measures import distinct, self_bleu
from paper_repro.quality.shown import quality_section, quality_words
from tests.helpers.recorded import RECORD, RUN
from tests.helpers.support import Z

PROMPTS = PromptSet(name="a", source="builtin:question")
PLAIN = Cell(PROMPTS, "basic", "none", 1.0, 0, 10, 8, False)
MARKED = Cell(PROMPTS, "joint-race", "gumbel", 1.0, 3, 10, 8, True)


def drawn(texts: int, tokens: int, seed: int, vocabulary: int = 4) -> dict[str, tuple[int, ...]]:
    ids = np.random.default_rng(seed).integers(0, vocabulary, (texts, tokens))
    return {f"p{i}": tuple(row.tolist()) for i, row in enumerate(ids)}


def recorded(texts: dict[str, tuple[int, ...]]) -> CellTexts:
    records = [
        replace(RECORD, id=name, prompt=name, prompt_hash=f"{place:016x}", token_ids=ids, run=RUN)
        for place, (name, ids) in enumerate(texts.items())
    ]
    return CellTexts(records, [])


def test_means_errors_and_paired_differences_by_hand() -> None:
    ours, theirs = drawn(10, 12, 1), drawn(10, 12, 2)
    row = quality_row([ours], [theirs], 10)
    a, b = (np.array([distinct(ids[:10], 2) for ids in texts.values()]) for texts in (ours, theirs))
    assert row["distinct_2"] == pytest.approx(a.mean())
    assert row["distinct_2_error"] == pytest.approx(a.std(ddof=1) / math.sqrt(10))
    assert row["distinct_2_difference"] == pytest.approx((a - b).mean())
    half = stats.t.ppf(0.975, 9) * (a - b).std(ddof=1) / math.sqrt(10)
    assert row["distinct_2_high"] == pytest.approx((a - b).mean() + half)
    assert (row["texts"], row["tokens"], row["pairs"]) == (10, 10, 10)


def test_fives_share_no_text() -> None:
    texts = [ids for ids in drawn(12, 12, 1).values()]
    row = quality_row([drawn(12, 12, 1)], None, 12)
    fives = [self_bleu(texts[:FIVE]), self_bleu(texts[FIVE : 2 * FIVE])]
    assert row["self_bleu_five"] == pytest.approx(np.mean(fives))
    assert row["self_bleu_five_error"] == pytest.approx(abs(fives[0] - fives[1]) / 2)
    assert row["self_bleu_five_difference"] is None
    assert quality_row([drawn(FIVE - 1, 12, 1)], None, 12)["self_bleu_five"] is None


def test_further_runs_are_further_texts_of_their_prompts() -> None:
    """A prompt is one unit, by the mean of its texts, and so are five prompts."""
    first, second = drawn(10, 12, 1), drawn(10, 12, 2)
    row = quality_row([first, second], None, 12)
    means = [(distinct(first[name], 1) + distinct(second[name], 1)) / 2 for name in first]
    assert row["distinct_1_error"] == pytest.approx(np.std(means, ddof=1) / math.sqrt(10))
    fives = [
        np.mean([self_bleu(list(run.values())[part]) for run in (first, second)])
        for part in (slice(0, 5), slice(5, 10))
    ]
    assert row["self_bleu_five"] == pytest.approx(np.mean(fives))
    assert row["self_bleu_five_error"] == pytest.approx(abs(fives[0] - fives[1]) / 2)


def test_short_texts_are_left_out_with_their_pairs() -> None:
    ours, theirs = drawn(6, 12, 1), drawn(6, 12, 2)
    ours["p0"], theirs["p1"] = ours["p0"][:5], theirs["p1"][:5]
    row = quality_row([ours], [theirs], 10)
    assert (row["texts"], row["pairs"]) == (5, 4)
    kept = [name for name in ours if name not in ("p0", "p1")]
    gains = [distinct(ours[name][:10], 2) - distinct(theirs[name][:10], 2) for name in kept]
    assert row["distinct_2_difference"] == pytest.approx(np.mean(gains))


def test_cells_are_compared_at_one_length_with_the_target_alone() -> None:
    """Also where the target alone wrote longer texts; and with nothing where there is no such cell."""
    longer = replace(PLAIN, max_tokens=12)
    texts = {MARKED: recorded(drawn(10, 8, 1)), longer: recorded(drawn(10, 12, 2))}
    table = quality_table(texts)
    assert table["tokens"].tolist() == [8, 8]
    expected = quality_row([drawn(10, 8, 1)], [drawn(10, 12, 2)], 8)
    for name in MEASURES:
        assert table.loc[0, f"{name}_low"] == pytest.approx(expected[f"{name}_low"])
    assert table["distinct_1_difference"].isna().tolist() == [False, True]
    colder = replace(longer, temperature=0.5)
    apart = quality_table({MARKED: texts[MARKED], colder: texts[longer]})
    assert apart["distinct_1_difference"].isna().all()


def test_texts_of_one_law_do_not_differ() -> None:
    """Independent texts of one law: every difference is within Z of its errors."""
    row = quality_row([drawn(200, 20, 1)], [drawn(200, 20, 2)], 20)
    for name in MEASURES:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        degrees = 199 if "five" not in name else 200 // FIVE - 1
        error = (high - low) / 2 / stats.t.ppf(0.975, degrees)
        assert abs(row[f"{name}_difference"]) < Z * error, name


def test_a_law_that_repeats_itself_is_seen_and_named() -> None:
    """Texts over two tokens repeat more than those over fifty, by every measure."""
    texts = {
        MARKED: recorded(drawn(20, 8, 1, vocabulary=2)),
        PLAIN: recorded(drawn(20, 8, 2, vocabulary=50)),
    }
    table = quality_table(texts)
    for name in MEASURES:
        falls = name.startswith("distinct")
        assert table.loc[0, f"{name}_high"] < 0 if falls else table.loc[0, f"{name}_low"] > 0
    words = quality_words(table)
    assert "of 7 differences 7 have 95% intervals without 0" in words
    assert "(joint-race, Gumbel-max, T = 1, a)" in words
    section = quality_section(table)
    assert section.paragraphs[1] == words
    ((_, shown),) = section.tables
    assert len(shown) == 2
    assert shown["distinct-1, difference (95% interval)"].tolist()[1] == ""


def test_what_a_report_says_without_a_table_or_a_reference() -> None:
    assert not quality_section(pd.DataFrame()).tables
    table = quality_table({MARKED: recorded(drawn(10, 8, 1))})
    assert "too few texts without a watermark to compare with" in quality_words(table)
    same = quality_table({MARKED: recorded(drawn(10, 8, 1)), PLAIN: recorded(drawn(10, 8, 1))})
    assert "0 have 95% intervals without 0" in quality_words(same)


def test_tables_survive_being_written(tmp_path) -> None:
    table = quality_table({MARKED: recorded(drawn(10, 8, 1)), PLAIN: recorded(drawn(10, 8, 2))})
    table.to_csv(tmp_path / "quality.csv", index=False)
    assert quality_words(pd.read_csv(tmp_path / "quality.csv")) == quality_words(table)
