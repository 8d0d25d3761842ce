"""Claims: seen where the interval says so, contradicted where it says that, else undecided, and why."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from paper_repro.presets import Cell, PromptSet
from paper_repro.report.claims import claims
from paper_repro.report.decided import (
    Claim,
    Unit,
    Verdict,
    half_width,
    read_claims,
    unseen_share,
    write_claims,
)
from paper_repro.trials.fixed import Trial, roc_table, tpr_table
from tests.helpers.support import ALPHA
from tradeoff.errors import FileError

LENGTHS = (10, 20)
CELL = Cell(PromptSet(name="a", source="builtin:question"), "algorithm-1", "gumbel", 0.5, 3, 125, 200, True)
#: Of texts of which no time was taken.
UNTIMED = {"ptt_texts": 0, "ptt_ms": math.nan, "ptt_ms_error": math.nan}
SEEN, CONTRADICTED, UNDECIDED = Verdict.SEEN, Verdict.CONTRADICTED, Verdict.UNDECIDED


def trial(detector: str, share: float, texts: int = 400, cell: Cell = CELL, seed: int = 0) -> Trial:
    """A detector that finds a share of the texts, the same ones at both lengths."""
    rng = np.random.default_rng(seed)
    margins = np.where(rng.random((texts, 1)) < share, 1.0, -1.0) * np.ones(len(LENGTHS))
    null = -np.ones((100, len(LENGTHS)))
    return Trial(cell, detector, "exact", LENGTHS, margins, null, -margins[:, 0], np.zeros(100), 1.5)


def speed(gap: float = 0.0, error: float = 0.01, surprise: float = 0.0, texts: int = 100) -> pd.DataFrame:
    common = {"prompts": "a", "temperature": 0.5, "lookahead": 3, "texts": texts, **UNTIMED}
    return pd.DataFrame(
        [
            common
            | {
                "method": "standard",
                "watermark": "none",
                "aatps": 2.0,
                "aatps_error": error,
                "excess_surprise": 0.0,
                "excess_surprise_error": 0.01,
            },
            common
            | {
                "method": "algorithm-1",
                "watermark": "gumbel",
                "aatps": 2.0 + gap,
                "aatps_error": error,
                "excess_surprise": surprise,
                "excess_surprise_error": 0.01,
            },
        ]
    )


def found(words: str, trials: list[Trial], table: pd.DataFrame | None = None) -> Claim:
    (match,) = [c for c in claims(trials, speed() if table is None else table) if words in c.words]
    return match


# The rule.


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.3, SEEN),
        (-0.3, -0.01, CONTRADICTED),
        (-0.01, 0.3, UNDECIDED),
        (0.0, 0.3, UNDECIDED),
        (-0.3, 0.0, UNDECIDED),
    ],
)
def test_more_is_decided_by_the_side_of_zero(low: float, high: float, verdict: Verdict) -> None:
    assert Claim("", Unit.TPR, (low + high) / 2, low, high).verdict is verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.09, 0.09, SEEN),
        (0.01, 0.09, SEEN),
        (0.11, 0.3, CONTRADICTED),
        (-0.3, -0.11, CONTRADICTED),
        (0.01, 0.2, UNDECIDED),
        (-0.2, 0.2, UNDECIDED),
        (0.1, 0.2, UNDECIDED),
    ],
)
def test_the_same_is_decided_by_the_margin(low: float, high: float, verdict: Verdict) -> None:
    """A difference within the margin does not contradict it, however surely it is one."""
    assert Claim("", Unit.STEPS, (low + high) / 2, low, high, -0.1, 0.1).verdict is verdict


@pytest.mark.parametrize(
    ("claim", "few", "remark"),
    [
        (Claim("", Unit.TPR, 0.0, -0.11, 0.11), True, "too few texts"),
        (Claim("", Unit.TPR, 0.05, -0.04, 0.1312), False, "no difference larger than 0.132"),
        (Claim("", Unit.TPR, -0.05, -0.131, 0.04), False, "no difference larger than 0.131"),
        (Claim("", Unit.SURPRISE, 0.0, -0.051, 0.051, -0.05, 0.05), True, "too few texts"),
        (Claim("", Unit.SURPRISE, 0.05, 0.01, 0.09, -0.05, 0.05), False, "the interval crosses the margin"),
        (Claim("", Unit.TPR, 0.5, 0.1, 0.9), False, ""),
        (Claim("", Unit.TPR, -0.5, -0.9, -0.1), False, ""),
    ],
)
def test_too_few_texts_are_said_only_of_a_wide_interval_that_decides_nothing(
    claim: Claim, few: bool, remark: str
) -> None:
    """Wide is a half-width above the margin of the unit."""
    assert claim.needs_texts is few
    assert claim.remark == remark


def test_verdicts_differ_without_colours() -> None:
    assert len({verdict.symbol for verdict in Verdict}) == len({verdict.value for verdict in Verdict}) == 3


@pytest.mark.parametrize("name", ["value", "low", "high"])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_claim_without_an_interval_is_refused(name: str, number: float) -> None:
    numbers = {"value": 0.0, "low": -0.1, "high": 0.1} | {name: number}
    with pytest.raises(ValueError, match=rf"{name}={number} of the claim 'x' is not finite; leave out"):
        Claim("x", Unit.TPR, **numbers)


# The interval.


@pytest.mark.parametrize("texts", [5, 16, 29, 30, 31, 400])
def test_few_texts_widen_the_interval_as_student_says(texts: int) -> None:
    assert half_width([0.04], [texts]) == pytest.approx(0.2 * stats.t.ppf(0.975, texts - 1))


def test_samples_add_their_degrees_of_freedom_as_welch_says() -> None:
    # Sixteen texts in each of two samples alike: twice the degrees of freedom.
    assert half_width([0.02, 0.02], [16, 16]) == pytest.approx(0.2 * stats.t.ppf(0.975, 30))
    assert half_width([0.02, 0.02], [8, 8]) == pytest.approx(0.2 * stats.t.ppf(0.975, 14))
    # A sample without a part in the variance takes no part in the degrees.
    assert half_width([0.04, 0.0], [8, 100]) == pytest.approx(0.2 * stats.t.ppf(0.975, 7))
    with pytest.raises(ValueError, match="each needs at least 2"):
        half_width([0.04], [1])
    for useless in (0.0, math.nan, math.inf, -1.0):
        with pytest.raises(ValueError, match="give no interval; all must be finite, and one above 0"):
            half_width([useless], [8])


def test_false_claims_are_seen_at_most_as_often_as_the_level_says() -> None:
    """Both detectors find a text alike: "more" is seen at most 2.5% of the time, of few texts or many."""
    rng, runs, empty = np.random.default_rng(1), 300, speed().iloc[:0]
    for texts in (16, 64):
        decided = []
        for _ in range(runs):
            seeds = rng.integers(1 << 30, size=2)
            trials = [
                trial("Ars-τ", 0.5, texts, seed=seeds[0]),
                trial("Ars-Prior", 0.5, texts, seed=seeds[1]),
            ]
            decided.append(found("Ars-τ detects more than Ars-Prior", trials, empty).verdict)
        for verdict in (SEEN, CONTRADICTED):
            # Gaps lie on three points: the normal law and Student's are not exact for them.
            assert stats.binom.sf(decided.count(verdict) - 1, runs, 0.03) > ALPHA


def test_texts_that_are_all_alike_leave_room_for_others() -> None:
    """By the rule of three: n texts agree with a probability of 5% if a share p differs, (1 - p)^n = 5%."""
    few = [trial("Ars-τ", 1.0, 16), trial("Ars-Prior", 1.0, 16)]
    claim = found("Ars-τ detects more than Ars-Prior", few)
    assert (1 - claim.high) ** 16 == pytest.approx(0.05)
    assert claim.low == -claim.high
    assert claim.remark == "too few texts"
    many = [trial("Ars-τ", 1.0), trial("Ars-Prior", 1.0)]
    assert found("Ars-τ detects more than Ars-Prior", many).remark == "no difference larger than 0.008"


def gaps_of(
    gaps: np.ndarray, rng: np.random.Generator, paired: bool = True, texts_of_theirs: int = 0
) -> list[Trial]:
    """Trials of the joint race and of no speculation on texts whose shares of 20 lengths differ by `gaps`.

    Unpaired, the gaps are those of the first, whose texts are else found at 19 lengths of 20, from those of
    the second, which are found at 19 or 20.
    """
    lengths = tuple(range(10, 210, 10))

    def one(detector: str, shares: np.ndarray, cell: Cell) -> Trial:
        found_at = np.arange(20) < np.round(20 * shares)[:, None]
        margins = np.where(found_at, 1.0, -1.0)
        return Trial(
            cell, detector, "exact", lengths, margins, -np.ones((4, 20)), margins[:, 0], np.zeros(4), 1.5
        )

    theirs = np.where(gaps < -0.5, 1.0, 0.5)
    ours = theirs + gaps
    if not paired:
        theirs = rng.choice([0.95, 1.0], texts_of_theirs)
        ours = np.where(gaps < -0.5, 0.0, rng.choice([0.95, 1.0], len(gaps)))
    race, plain = replace(CELL, method="joint-race"), replace(CELL, method="basic", lookahead=0)
    return [one("Aaronson", ours, race), one("Aaronson", theirs, plain)]


@pytest.mark.parametrize(("texts", "others"), [(16, 0), (50, 0), (16, 60)])
def test_a_rare_kind_of_text_makes_no_false_claim(texts: int, others: int) -> None:
    """A tenth of the texts is lost and the others are nearly alike: the true difference is -0.1.

    The claim "reaches, to within 0.1" is false, and may be seen at most 5% of the time. Of 16 texts 18.5%
    show none that is lost.
    """
    rng, runs, empty = np.random.default_rng(4), 400, speed().iloc[:0]
    seen = 0
    for _ in range(runs):
        # Unpaired, a text that is lost loses 0.975; paired, all of 1.
        lost = rng.random(texts) < (0.1 / 0.975 if others else 0.1)
        gaps = np.where(lost, -1.0, rng.choice([-0.05, 0.05], texts))
        trials = gaps_of(gaps, rng, not others, others)
        seen += found("the joint race reaches no speculation", trials, empty).seen
    assert stats.binom.sf(seen - 1, runs, 0.05) > ALPHA


def test_a_hair_of_variance_does_not_make_an_interval_collapse() -> None:
    """One text of sixteen at one length of twenty, all others alike."""
    rng = np.random.default_rng(0)
    for gap in (0.05, -0.05):
        claim = found("the joint race reaches", gaps_of(np.array([gap] + [0.0] * 15), rng), speed().iloc[:0])
        least = unseen_share(16) * (1 + abs(gap) / 16)
        assert claim.high - claim.value == pytest.approx(least)
        assert claim.value - claim.low == pytest.approx(least)


@pytest.mark.parametrize("texts", [2, 16, 400])
def test_a_share_that_no_text_showed(texts: int) -> None:
    assert (1 - unseen_share(texts)) ** texts == pytest.approx(0.05)


# The papers' claims.


@pytest.mark.parametrize(
    ("better", "texts", "verdict", "remark"),
    [
        (0.9, 400, SEEN, ""),
        (0.5, 400, UNDECIDED, "no difference"),
        (0.1, 400, CONTRADICTED, ""),
        (0.6, 12, UNDECIDED, "too few texts"),
    ],
)
def test_more_is_seen_if_the_interval_says_so(
    better: float, texts: int, verdict: Verdict, remark: str
) -> None:
    trials = [trial("Ars-τ", better, texts), trial("Ars-Prior", 0.5, texts, seed=1)]
    claim = found("Ars-τ detects more than Ars-Prior", trials)
    assert claim.verdict is verdict
    assert claim.remark.startswith(remark)
    assert "95% interval" in claim.numbers


@pytest.mark.parametrize(
    ("gap", "error", "verdict"),
    [
        (0.0, 0.01, SEEN),
        (0.0, 0.2, UNDECIDED),
        (0.5, 0.01, CONTRADICTED),
        (-0.5, 0.01, CONTRADICTED),
        (0.05, 0.01, SEEN),
    ],
)
def test_equal_needs_the_whole_interval_inside_the_margin(gap: float, error: float, verdict: Verdict) -> None:
    assert found("AATPS of algorithm-1", [], speed(gap, error)).verdict is verdict


def standards(marks: int, gaps: np.ndarray, errors: np.ndarray, texts: int = 100) -> pd.DataFrame:
    """[settings, 1 + marks] AATPS of the texts without a watermark, and of those with each."""
    rows = [
        {
            "prompts": str(setting),
            "temperature": 0.5,
            "lookahead": 3,
            "texts": texts,
            "method": "algorithm-1" if mark else "standard",
            "watermark": f"synthid:{mark}" if mark else "none",
            "aatps": 2 + gaps[setting, mark],
            "aatps_error": errors[setting, mark],
            "excess_surprise": 0.0,
            "excess_surprise_error": 0.01,
            **UNTIMED,
        }
        for setting in range(len(gaps))
        for mark in range(marks + 1)
    ]
    return pd.DataFrame(rows)


def test_watermarks_share_the_error_of_the_texts_without_one() -> None:
    """Two watermarks, one standard, all of the error e: the mean gap has the variance e^2 / 2 + e^2."""
    table = standards(2, np.zeros((1, 3)), np.full((1, 3), 0.02))
    claim = found("AATPS of algorithm-1", [], table)
    # Welch: (1/4 + 1/4 + 1)^2 / (1/16 + 1/16 + 1) samples of 99 degrees of freedom.
    freedom = 1.5**2 / 1.125 * 99
    assert claim.high == pytest.approx(0.02 * math.sqrt(1.5) * stats.t.ppf(0.975, freedom))
    assert claim.low == -claim.high


def test_intervals_of_aatps_cover_at_their_level() -> None:
    """Eight watermarks against the same two standards."""
    rng, runs = np.random.default_rng(5), 100
    errors = np.tile(np.linspace(0.02, 0.05, 9), (2, 1))
    missed = 0
    for _ in range(runs):
        claim = found("AATPS of algorithm-1", [], standards(8, rng.normal(0, errors), errors))
        missed += not claim.low < 0 < claim.high
    assert stats.binom.sf(missed - 1, runs, 0.05) > ALPHA
    assert missed > 0


def timed(times: np.ndarray, relative: float, texts: int = 30) -> pd.DataFrame:
    """[settings, lookaheads] times of Algorithm 1; without speculation a token takes 50 ms."""
    common = {"temperature": 0.5, "watermark": "gumbel", "texts": texts, "ptt_texts": texts}
    untold = {
        "aatps": math.nan,
        "aatps_error": math.nan,
        "excess_surprise": 0.0,
        "excess_surprise_error": 0.0,
    }
    rows = [
        {**common, **untold, "prompts": str(setting), "method": method, "lookahead": k, "ptt_ms": ms}
        for setting, row in enumerate(times)
        for method, k, ms in [("basic", 0, 50.0), *(("algorithm-1", k + 2, ms) for k, ms in enumerate(row))]
    ]
    table = pd.DataFrame(rows)
    return table.assign(ptt_ms_error=table["ptt_ms"] * relative)


@pytest.mark.parametrize(("ms", "verdict"), [(40.0, SEEN), (60.0, CONTRADICTED), (50.0, UNDECIDED)])
def test_time_saved_by_speculation(ms: float, verdict: Verdict) -> None:
    """The ratio has the variance r^2 (e^2 + e^2) for relative errors e, with one lookahead."""
    claim = found("takes less time", [], timed(np.array([[ms]]), 0.01))
    ratio = ms / 50
    assert claim.verdict is verdict
    assert claim.value == pytest.approx(1 - ratio)
    half = 0.01 * ratio * math.sqrt(2) * stats.t.ppf(0.975, 58)
    assert claim.high - claim.value == pytest.approx(half)


def test_lookaheads_share_the_error_of_the_text_without_any() -> None:
    """Three ratios of 1 to one time: variance e^2 (1/3 + 1)."""
    claim = found("takes less time", [], timed(np.full((1, 3), 50.0), 0.01))
    freedom = (1 / 3 + 1) ** 2 / (3 * (1 / 9) ** 2 + 1) * 29
    half = 0.01 * math.sqrt(4 / 3) * stats.t.ppf(0.975, freedom)
    assert claim.high == pytest.approx(half)


def test_without_times_nothing_is_said_of_them() -> None:
    assert not [one for one in claims([], timed(np.full((1, 1), 50.0), 0.0)) if "time" in one.words]


def test_the_oracle_is_compared_at_the_longest_texts() -> None:
    """At the shorter length a detector may be far from it."""
    ars, oracle = trial("Ars-τ", 1.0), trial("oracle", 1.0)
    ars.margins[:, 0] = -1.0
    claim = found("reaches the oracle in texts of 20 tokens", [ars, oracle])
    assert claim.verdict is SEEN
    assert claim.value == 0.0
    ars.margins[:, 1] = -1.0
    assert found("reaches the oracle in texts", [ars, oracle]).verdict is CONTRADICTED


@pytest.mark.parametrize("useless", [0.0, math.nan, math.inf])
def test_settings_without_an_error_decide_nothing(useless: float) -> None:
    """One setting of two has none; then neither has."""
    gaps, errors = np.array([[0.0, 0.5], [0.0, 0.02]]), np.array([[useless] * 2, [0.02] * 2])
    claim = found("AATPS of algorithm-1", [], standards(1, gaps, errors))
    assert claim.value == pytest.approx(0.02)
    assert claim.note == "over 1 settings"
    errors[1] = useless
    table = standards(1, gaps, errors).assign(excess_surprise_error=useless)
    blocks = table.assign(method="algorithm-1, blocks")
    both = pd.concat([table, blocks]).assign(block_gain=0.1, block_gain_error=useless)
    assert claims([], both) == []


@pytest.mark.parametrize(
    ("gain", "error", "verdict", "words"),
    [
        (0.05, 0.01, SEEN, "+0.050"),
        (0.05, 0.1, UNDECIDED, "too few texts"),
        (0.01, 0.02, UNDECIDED, "no difference larger than 0.050"),
        (-0.05, 0.01, CONTRADICTED, "-0.050"),
    ],
)
def test_blocks_give_more_where_the_interval_says_so(
    gain: float, error: float, verdict: Verdict, words: str
) -> None:
    table = speed().assign(block_gain=gain, block_gain_error=error)
    blocks = table[table["method"] == "algorithm-1"].assign(method="algorithm-1, blocks")
    claim = found("given the drafts of algorithm-1", [], pd.concat([table, blocks]))
    assert claim.verdict is verdict
    assert words in f"{claim.numbers}; {claim.remark}"
    assert not [one for one in claims([], table) if "Blocks" in one.words], "it was not run as blocks"


@pytest.mark.parametrize(("surprise", "verdict"), [(0.0, SEEN), (0.2, CONTRADICTED), (0.05, UNDECIDED)])
def test_perplexity(surprise: float, verdict: Verdict) -> None:
    assert found("LOGPPL unchanged by algorithm-1", [], speed(surprise=surprise)).verdict is verdict


@pytest.mark.parametrize(("share", "verdict"), [(0.8, SEEN), (0.4, CONTRADICTED)])
def test_one_race_against_the_oracle(share: float, verdict: Verdict) -> None:
    race = replace(CELL, method="one-race")
    trials = [trial("Aaronson", share, 4000, race), trial("oracle", 0.8, 4000, seed=2)]
    assert found("reaches the oracle", trials).verdict is verdict


def test_claims_are_kept_as_a_table(tmp_path: Path) -> None:
    decided = [
        *claims([trial("Ars-τ", 0.9), trial("Ars-Prior", 0.5, seed=1)], speed()),
        Claim("fewer, by far", Unit.TOKENS, -0.1, -0.2, -0.05),
    ]
    write_claims(decided, tmp_path / "claims.csv")
    assert read_claims(tmp_path / "claims.csv") == decided
    table = pd.read_csv(tmp_path / "claims.csv")
    assert table["verdict"].tolist() == [one.verdict.value for one in decided]
    assert math.isinf(table["below"].iloc[-1])
    write_claims([], tmp_path / "claims.csv")
    assert read_claims(tmp_path / "claims.csv") == []
    with pytest.raises(FileError, match=r"none\.csv cannot be read .*; run the experiment again"):
        read_claims(tmp_path / "none.csv")


def test_pooling_adds_texts_of_all_prompts() -> None:
    other = replace(CELL, prompts=PromptSet(name="b", source="builtin:continuation"))
    table = tpr_table([trial("Ars-τ", 0.9, 100), trial("Ars-τ", 0.1, 300, other, seed=3)])
    both = table[(table["prompts"] == "both") & (table["tokens"] == 10)].iloc[0]
    parts = table[(table["prompts"] != "both") & (table["tokens"] == 10)]
    assert both["texts"] == parts["texts"].sum() == 400
    assert both["tpr"] == pytest.approx((parts["tpr"] * parts["texts"]).sum() / 400)
    roc = roc_table([trial("Ars-τ", 0.9, 100), trial("Ars-τ", 0.1, 300, other, seed=3)], 10)
    assert set(roc["prompts"]) == {"a", "b", "both"}
