"""Methods compared on the same prompts: the interval covers, and texts are paired by prompt, not by place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from paper_repro.presets import Cell, PromptSet
from paper_repro.trials.fixed import Trial
from paper_repro.trials.paired import at_telling_lengths, paired_difference, paired_table
from tradeoff.kernels import Verify

LENGTHS = (10, 20)
CELL = Cell(PromptSet(name="a", source="builtin:question"), "basic", "gumbel", 0.5, 0, 3, 20, True)
JOINT = replace(CELL, method="joint-race", lookahead=3)
TWO = replace(CELL, method="algorithm-1", lookahead=3)


@pytest.mark.parametrize(
    ("gained", "lost"), [(0.1, 0.1), (0.3, 0.1), (0.05, 0.25), (0.02, 0.02), (0.5, 0.2), (0.0, 0.3)]
)
@pytest.mark.parametrize("n", [20, 64])
def test_the_interval_covers_at_about_its_level(n: int, gained: float, lost: float) -> None:
    """Exactly, over all numbers of texts that only one of the two detects: from 93% up."""
    covered = 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            first = np.arange(n) < a
            second = (np.arange(n) >= a) & (np.arange(n) < a + b)
            _, low, high = paired_difference(first, second)
            if low <= gained - lost <= high:
                covered += stats.multinomial.pmf([a, b, n - a - b], n, [gained, lost, 1 - gained - lost])
    assert covered >= 0.93


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_the_other_way_round_it_is_the_negative(pairs: list[tuple[bool, bool]]) -> None:
    first, second = np.array(pairs, bool).T
    difference, low, high = paired_difference(first, second)
    assert paired_difference(second, first) == pytest.approx((-difference, -high, -low))
    assert difference == pytest.approx(first.mean() - second.mean())
    assert -1 <= low <= high <= 1


def test_other_texts_are_no_pair() -> None:
    for first, second in (([], []), ([True], [True, False])):
        with pytest.raises(ValueError, match="the same texts"):
            paired_difference(np.array(first), np.array(second))


def trial(cell: Cell, detector: str, found: dict[str, tuple[bool, bool]]) -> Trial:
    margins = np.where(np.array(list(found.values())), 1.0, -1.0)
    empty = np.zeros(0)
    return Trial(cell, detector, "exact", LENGTHS, margins, empty, empty, empty, 1.0, tuple(found))


BASIC = trial(CELL, "Aaronson", {"x": (True, True), "y": (False, True), "z": (False, False)})


def test_texts_are_paired_by_prompt() -> None:
    """In another order and with one fewer."""
    joint = trial(JOINT, "Aaronson", {"z": (False, True), "x": (True, True)})
    table = paired_table([BASIC, joint])
    (row,) = table[table["tokens"] == 20].to_dict("records")
    assert (row["method"], row["against"], row["texts"]) == ("joint-race", "basic", 2)
    assert (row["tpr"], row["against_tpr"]) == (1.0, 0.5)
    expected = paired_difference(np.array([True, True]), np.array([True, False]))
    assert (row["difference"], row["low"], row["high"]) == expected


def test_equal_names_of_two_sets_are_two_prompts() -> None:
    other = replace(BASIC, cell=replace(CELL, prompts=PromptSet(name="b", source="builtin:question")))
    joint = trial(JOINT, "Aaronson", {"x": (False, False)})
    assert paired_table([BASIC, other, joint])["texts"].tolist() == [1, 1]


def test_a_detector_meets_its_like_or_else_all() -> None:
    joint = trial(JOINT, "Aaronson", {"x": (True, True)})
    two = [trial(TWO, name, {"x": (False, True)}) for name in ("sum of both keys", "Ars-τ", "oracle")]
    table = paired_table([BASIC, joint, *two])
    met = set(zip(table["method"], table["against"], table["against_detector"], strict=True))
    assert met == {
        ("joint-race", "basic", "Aaronson"),
        ("joint-race", "algorithm-1", "sum of both keys"),
        ("joint-race", "algorithm-1", "Ars-τ"),
        ("algorithm-1", "basic", "Aaronson"),
    }


def test_blocks_meet_all_others_as_the_method_does_one_by_one() -> None:
    found = {"a": (True, True), "b": (False, True)}
    blocks = replace(JOINT, verify=Verify.BLOCK)
    trials = [trial(cell, "Aaronson", found) for cell in (CELL, JOINT, blocks)]
    table = paired_table(trials)
    assert set(zip(table["method"], table["against"], strict=True)) == {
        ("joint-race", "basic"),
        ("joint-race", "joint-race, blocks"),
        ("joint-race, blocks", "basic"),
        ("joint-race, blocks", "joint-race"),
    }


def test_the_telling_length_is_chosen_by_no_speculation_alone() -> None:
    joint = trial(JOINT, "Aaronson", {"x": (True, True), "y": (True, True), "z": (True, True)})
    shown = at_telling_lengths(paired_table([BASIC, joint]))
    # Of 1/3 and 2/3 the second is nearer to 0.6.
    assert shown["tokens"].tolist() == [20]
    assert at_telling_lengths(pd.DataFrame()).empty
