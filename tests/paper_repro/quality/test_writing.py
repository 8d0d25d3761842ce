"""Several texts of a prompt, by what tells them apart: seeds, keys, beginnings; and the tables of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from paper_repro.quality.__main__ import answer_rows, cells, pooled, quality_rows, self_bleu_rows
from paper_repro.quality.measures import self_bleu
from paper_repro.quality.writing import SCHEMES, Cell, Run, Source, Way, write
from tests.helpers.recorded import RECORD
from tradeoff.keyed import KeyedPrf
from tradeoff.llm import ModelPair
from tradeoff.texts import UNMARKED

TOKENS, VOCABULARY = 8, 300
SOURCE = Source("tiny", (("a", "the man"), ("b", "an ant")), False)
#: So cold that some of its pairs of texts begin with the same tokens.
MARKED = Cell(SOURCE, "joint-race", "gumbel", Way.ONE_KEY, 20, TOKENS, 0.3)
WIDTH = KeyedPrf.context_width


def run(**texts: str) -> Run:
    """Texts of words, whose ids are their first letters'."""
    return {
        name: replace(RECORD, id=name, text=text, token_ids=tuple(ord(word[0]) for word in text.split()))
        for name, text in texts.items()
    }


@pytest.fixture(scope="module")
def pair(make_pair: Callable[..., ModelPair]) -> ModelPair:
    return make_pair(VOCABULARY)


def equal_beginnings(runs: Sequence[Run], tokens: int) -> list[bool]:
    """Of pairs of texts of one prompt that begin with the same tokens, and that come to no context again:
    whether they are equal to their end."""
    texts = [run[name].token_ids for name in ("a", "b") for run in runs]
    pairs = [*combinations(texts[: len(runs)], 2), *combinations(texts[len(runs) :], 2)]
    return [one == other for one, other in pairs if one[:tokens] == other[:tokens] and not _returns(one)]


def _returns(ids: tuple[int, ...]) -> bool:
    contexts = [ids[start : start + WIDTH] for start in range(len(ids) - WIDTH)]
    return len(set(contexts)) < len(contexts)


def test_under_one_key_equal_beginnings_have_equal_ends(pair: ModelPair, tmp_path: Path) -> None:
    """What has no context is drawn truly at random, all else by the key; behind other keys it is not so."""
    runs = write(MARKED, tmp_path, pair)
    assert [set(run) for run in runs] == [{"a", "b"}] * MARKED.texts
    found = equal_beginnings(runs, WIDTH)
    assert found
    assert all(found)
    plain = write(replace(MARKED, method="basic", watermark="none", way=Way.SEEDS), tmp_path, pair)
    assert not all(equal_beginnings(plain, WIDTH))


def test_unmarked_beginnings_are_written(pair: ModelPair, tmp_path: Path) -> None:
    apart = write(replace(MARKED, way=Way.UNMARKED, texts=3), tmp_path, pair)
    assert {record.run.unmarked for run in apart for record in run.values()} == {UNMARKED}
    assert len({run["a"].token_ids for run in apart}) == 3


@pytest.mark.parametrize(
    ("scheme", "way"), [(SCHEMES[0], Way.SEEDS), (SCHEMES[1], Way.KEYS), (SCHEMES[2], Way.KEYS)]
)
def test_other_seeds_and_keys_write_other_texts(
    scheme: tuple[str, str], way: Way, pair: ModelPair, tmp_path: Path
) -> None:
    cell = Cell(SOURCE, *scheme, way, 2, TOKENS, 1.0)
    first, second = write(cell, tmp_path, pair)
    assert first["a"].token_ids != second["a"].token_ids
    assert (first["a"].run.key is None) == (way is Way.SEEDS)
    # What is there is read, and nothing is generated again.
    files = {path: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    assert write(cell, tmp_path, pair) == [first, second]
    assert files == {path: path.read_bytes() for path in tmp_path.glob("*.jsonl")}


def test_what_is_written_has_names_of_its_own() -> None:
    names = [cell.name for cell in cells()]
    assert len(set(names)) == len(names)
    assert {cell.way for cell in cells() if cell.watermark == "none"} == {Way.SEEDS}
    assert Way.SEEDS not in {cell.way for cell in cells() if cell.watermark != "none"}


def test_likeness_by_prompt_by_hand() -> None:
    plain = [run(a="b c d e f", b="b c d e f"), run(a="b c d e g", b="h i j k l")]
    same = [plain[0], plain[0]]
    others = Source("others", (), False)
    told = pooled(
        {
            Cell(SOURCE, "basic", "none", Way.SEEDS, 2, 5, 1.0): [{"a": one["a"]} for one in plain],
            Cell(others, "basic", "none", Way.SEEDS, 2, 5, 1.0): [{"b": one["b"]} for one in plain],
            Cell(SOURCE, "joint-race", "gumbel", Way.ONE_KEY, 2, 5, 1.0): same,
        }
    )
    first, second = self_bleu_rows(told)
    of_a = self_bleu(["bcdef", "bcdeg"])
    assert first["self_bleu"] == pytest.approx(of_a / 2)
    assert (first["equal"], first["self_bleu_difference"], first["prompts"]) == (0, None, 2)
    assert second["self_bleu"] == pytest.approx(100)
    assert second["equal"] == 1
    assert second["self_bleu_difference"] == pytest.approx(100 - of_a / 2)


def test_quality_is_of_texts_under_keys_of_their_own() -> None:
    texts = [run(a="b c d e f"), run(a="b b b b b")]
    found = quality_rows(
        {
            ("basic", "none", Way.SEEDS): texts,
            ("joint-race", "gumbel", Way.KEYS): [texts[1], texts[0]],
            ("joint-race", "gumbel", Way.ONE_KEY): texts,
        },
        5,
    )
    table = pd.DataFrame(found)
    assert table["watermark"].tolist() == ["none", "gumbel"]
    assert table["distinct_1"].tolist() == [pytest.approx((1 + 1 / 5) / 2)] * 2
    assert table["distinct_1_difference"].tolist()[1] == 0


def test_answers_by_hand() -> None:
    texts = {
        ("basic", "none", Way.SEEDS): [run(a="Paris", b="no idea"), run(a="Rome", b="no")],
        ("joint-race", "gumbel", Way.KEYS): [run(a="It is Paris.", b="Oslo"), run(a="Paris!", b="no")],
    }
    first, second = answer_rows(texts, {"a": ["Paris"], "b": ["Oslo"]})
    assert (first["questions"], first["texts_a_question"]) == (2, 2)
    # Of a half and none, of b one half and one more: a by 1/2 more, b by 1/2 more.
    assert first["right"] == pytest.approx(0.25)
    assert second["right"] == pytest.approx(0.75)
    assert second["right_difference"] == pytest.approx(0.5)
    assert second["right_low"] == pytest.approx(0.5)
    # "It is Paris" has one of three words: F1 of 1/3 and 1 is 1/2, so a's mean is 3/4.
    assert second["token_f1"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert second["exact"] == pytest.approx((1 / 2 + 1 / 2) / 2)
