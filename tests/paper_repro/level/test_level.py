"""Rates of false alarms: what texts are of, how trials are counted, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from paper_repro.level.__main__ import NOMINAL, POSTERIOR, counted, table_of
from paper_repro.level.human import KINDS, human_texts
from paper_repro.level.statistics import STATISTICS, UNTRAINED, Statistics
from paper_repro.pages.calibration import of_table


class Letters:
    """A tokenizer of one token a character."""

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}


@pytest.mark.parametrize("kind", KINDS[1:])
def test_texts_are_the_same_whatever_their_number(kind: str) -> None:
    few, many = (human_texts(kind, Letters(), count, 200) for count in (2, 5))
    assert [len(ids) for ids in many] == [200] * 5
    np.testing.assert_array_equal(few, many[:2])
    assert len({ids.tobytes() for ids in many}) == 5


def test_trials_are_counted_under_fresh_keys() -> None:
    """A statistic whose p-values are uniform is called as often as a binomial law says."""
    one = Statistics(("uniform", "half"), "ours", "", 1, lambda _, rng: (rng.random(), rng.random() / 2))
    uniform, half = counted(one, np.arange(5), 20_000, [0])
    assert uniform == sorted(uniform, reverse=True)
    for count, level in ((uniform[0], NOMINAL[0]), (half[0], 2 * NOMINAL[0])):
        assert 1e-6 < stats.binom.cdf(count, 20_000, level) < 1 - 1e-6


def lines(rate: float = 0.01) -> list[dict[str, object]]:
    """Of every statistic, with one rate at all levels but those of ours."""
    found = []
    for one in STATISTICS:
        for name in one.names:
            for kind in KINDS:
                called = [0, 0, 0, 0] if one.software == "ours" else [int(1000 * rate)] * 4
                for text in ("a", "b"):
                    found.append(
                        {
                            "software": one.software,
                            "version": "1.0" if one.needs else "",
                            "statistic": name,
                            "kind": kind,
                            "text": text,
                            "keys": 1000,
                            "called": called,
                        }
                    )
    return found


def test_intervals_are_those_of_clopper_and_pearson() -> None:
    """By their definition: at either end what was found is as rare as the level says."""
    table = table_of(lines())
    row = table[(table["software"] == "MarkLLM") & (table["nominal"] == NOMINAL[0])].iloc[0]
    assert (row["texts"], row["trials"], row["called"], row["rate"]) == (2, 2000, 20, 0.01)
    assert stats.binom.sf(19, 2000, row["low"]) == pytest.approx(0.025)
    assert stats.binom.cdf(20, 2000, row["high"]) == pytest.approx(0.025)
    none = table[table["software"] == "ours"].iloc[0]
    assert none["low"] == 0.0
    assert none["high"] == pytest.approx(1 - 0.025 ** (1 / 2000))
    untrained = table[table["statistic"] == UNTRAINED]
    assert set(untrained["nominal"]) == {POSTERIOR}
    assert len(untrained) == len(KINDS)


def test_the_page_says_nothing_that_became_false() -> None:
    """Ours above their level, beyond chance."""
    environment = {"date": "2030-01-31", "python": "3.11", "pytorch": "2", "transformers": "5", "cores": "2"}
    told = of_table(table_of(lines()).assign(**environment))
    assert "1.0% on prose, 1.0% on code and 1.0% on lists and tables" in str(told["lefthash"])
    worse = lines()
    next(line for line in worse if line["software"] == "ours")["called"] = [40, 0, 0, 0]
    with pytest.raises(ValueError, match="no rate of ours is above its level beyond chance"):
        of_table(table_of(worse).assign(**environment))
