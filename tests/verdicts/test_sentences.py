"""Verdicts in sentences: nothing is claimed that the p-value does not give."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import tradeoff as td
from tests.helpers.detecting import KEY, marked, other
from tradeoff.detection import Exactness
from tradeoff.verdicts import Correction, Outcome, Result
from tradeoff.verdicts.pages.sentences import (
    Grade,
    about,
    chance,
    chance_in_short,
    grade,
    graded,
    level_in_words,
    share_of_keys,
    statement,
)

SCHEME = td.Scheme.of("joint-race", "gumbel")
POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def result(ids: list[int], **how) -> Result:
    return td.detect(ids, SCHEME, KEY, **how)


def log10_of(sentence: str) -> float:
    """What a chance in words claims, as a decimal logarithm."""
    if found := re.search(r"fewer than one in 10([⁰¹²³⁴⁵⁶⁷⁸⁹]+) ", sentence):
        return -float(found[1].translate(POWERS))
    if found := re.search(r"fewer than one in ([\d,]*\d)", sentence):
        return -math.log10(int(found[1].replace(",", "")))
    return math.log10(int(re.search(r"up to (\d+) in 100", sentence)[1]) / 100)


@pytest.mark.parametrize(
    "log10_p", [0, -0.004, -0.3, -0.999, -1, -1.001, -2, -3.7, -5.9999, -6, -48.5, -2e3, -1e9]
)
def test_chances_are_rounded_to_the_safe_side(log10_p: float) -> None:
    claimed = log10_of(chance(log10_p))
    assert claimed >= log10_p - 1e-12
    assert claimed <= log10_p + 1.01, "and no more than a power of ten is given away"


def test_a_law_that_ends_has_a_chance_in_words() -> None:
    assert log10_of(chance(-math.inf)) == -1e9


def test_chances_on_a_fine_grid() -> None:
    for log10_p in np.linspace(-9, 0, 2001).tolist():
        assert log10_of(chance(log10_p)) >= log10_p - 1e-12
        # In tables they are as rare as in sentences.
        numbers = re.search(r"1 in (10[⁰-⁹¹²³]+|[\d,]+)|up to \d+", chance_in_short(log10_p))
        assert numbers is not None
        assert numbers[0].removeprefix("1 in ") in chance(log10_p)


@pytest.mark.parametrize(
    ("fpr", "told"),
    [(0.01, "1 in 100"), (0.05, "1 in 20"), (1e-6, "1 in 10⁶"), (3e-7, "1 in 10⁶"), (0.5, "50 in 100")],
)
def test_levels_in_words(fpr: float, told: str) -> None:
    assert share_of_keys(fpr) == told


@pytest.mark.parametrize(
    ("fpr", "told"),
    [
        (0.5, "50 in 100"),
        (0.126, "12 in 100"),
        (0.1, "1 in 10"),
        (0.01, "1 in 100"),
        (0.003, "1 in 340"),
        (1e-5, "1 in 100,000"),
        (1e-6, "1 in 10⁶"),
        (3e-7, "1 in 3.4 × 10⁶"),
        (1.001e-7, "1 in 10⁷"),
        (5e-8, "1 in 2 × 10⁷"),
    ],
)
def test_a_level_is_never_told_easier(fpr: float, told: str) -> None:
    assert level_in_words(fpr) == told


def test_a_strong_verdict() -> None:
    found = result(marked(60))
    told = statement(found, ["w"] * 60)
    assert found.log10_p <= -6
    assert grade(found) is Grade.STRONG
    key = f"the key with the key fingerprint {SCHEME.function(KEY).fingerprint}"
    assert told.headline == f"This text carries the watermark of {key}."
    assert told.meaning[0].startswith(
        "That means: most of these words, or the source they were copied or quoted from, came from a text "
        "generator"
    )
    assert told.quotes == ()
    assert re.fullmatch(
        r"Of keys picked at random, fewer than one in 10\S+ \(a 1 with \d+ zeros\) would give a text, whose "
        r"writer never saw text made with the key, so high a score, as a whole or in any part\.",
        told.chances[0],
    )
    assert log10_of(told.chances[0]) == -math.floor(-found.log10_p)
    limits = " ".join(told.limits)
    for words in ("not who wrote, sent or published", "copied", "picked at random", "innocent", "paraphrase"):
        assert words in limits
    assert "`" not in limits, "commands are for specialists"


def test_a_page_says_what_it_is() -> None:
    one = about(result(marked(60)))
    assert "invisible pattern" in one
    assert "the key that is named below" in one
    assert "cannot tell who wrote, sent or published the text" in one
    keys = [td.Key(bytes([k]) * 32) for k in range(3)]
    assert "any of the keys that are named below" in about(td.detect(other(100), SCHEME, keys))


def test_words_are_chosen_and_keys_are_picked() -> None:
    """No word means both."""
    found = (result(marked(60)), weak(), result(other(100)), result(marked(100), sequential=True))
    for one in found:
        told = statement(one, ["w"] * len(one.token_ids))
        said = " ".join((told.headline, *told.meaning, *told.chances, *told.limits, about(one)))
        assert "draw" not in said


def test_of_a_text_without_parts_not_all_is_claimed() -> None:
    """Where nobody looked for parts, a part of it may be all that is marked."""
    found = result(marked(100), segments=False)
    assert found.verdict is Outcome.WATERMARKED
    assert "at least some of these words" in statement(found, ["w"] * 100).meaning[0]


def weak() -> Result:
    for length in range(4, 20):
        found = result(marked(length))
        if found.verdict is Outcome.WATERMARKED and found.log10_p > -6:
            return found
    raise AssertionError


def test_a_weak_verdict_accuses_nobody() -> None:
    found = weak()
    told = statement(found, ["w"] * len(found.token_ids))
    assert grade(found) is Grade.WEAK
    assert told.headline.startswith("There is weak evidence that this text carries the watermark of the key ")
    assert told.meaning[0].startswith("If that is so: most of these words")
    assert "not to accuse anyone" in " ".join(told.chances)
    assert "up to 1 in 100 keys picked at random call a text without the watermark" in " ".join(told.chances)


def test_a_part_and_its_words() -> None:
    ids = [*other(700), *marked(60), *other(500, seed=2)]
    found = result(ids)
    words = [f" w{k}" for k in range(len(ids))]
    told = statement(found, words)
    (segment,) = found.segments
    assert told.headline.startswith("A part of this text carries the watermark of the key ")
    assert told.quotes == (" ".join(f"w{k}" for k in range(segment.start, segment.end)),)
    assert "most of the words of the marked part" in told.meaning[0]
    assert "Nothing is said of the rest of the text." in told.meaning[0]
    assert f"{found.share:.0%} of all that counts lies in the marked part" in told.meaning[0]
    assert told.meaning[1].startswith("Its edges are rough")
    assert "would give a part of a text, whose writer" in told.chances[0]
    assert "nothing of the words around the marked part" in " ".join(told.limits)


def test_nothing_found_shows_nothing() -> None:
    found = result(other(100))
    told = statement(found, ["w"] * 100)
    assert grade(found) is Grade.NONE
    fingerprint = SCHEME.function(KEY).fingerprint
    assert told.headline == f"No watermark of the key with the key fingerprint {fingerprint} was found."
    assert log10_of(told.chances[0]) > -1
    assert told.chances[-1].startswith("That is an ordinary result")
    assert told.chances[-1].endswith("It is not the chance that the text is marked.")
    assert told.limits[0].startswith("That does not show that a person wrote it.")
    keys = [td.Key(bytes([k]) * 32) for k in range(3)]
    several = statement(td.detect(other(100), SCHEME, keys), ["w"] * 100)
    assert several.headline == "No watermark of the 3 keys tried was found."
    for key in keys:
        assert several.meaning[0].count(f"key fingerprint {SCHEME.function(key).fingerprint}") == 1
    assert several.chances[0].startswith("Of sets of 3 keys picked at random, ")
    assert "in any of the tests that were made" in several.chances[0]
    assert "3 tests of this text were made" in several.chances[1]
    many = td.detect(other(100), SCHEME, [td.Key(bytes([k]) * 32) for k in range(9)])
    assert "; and 4 more, " in statement(many, ["w"] * 100).meaning[0]


def test_a_named_key_is_named() -> None:
    found = result(other(100))
    setting = replace(found.reading.setting, key=replace(found.reading.setting.key, name="letters"))
    named = replace(found, tests=(replace(found.best, reading=replace(found.reading, setting=setting)),))
    fingerprint = SCHEME.function(KEY).fingerprint
    told = statement(named, ["w"] * 100)
    assert told.headline == f"No watermark of the key “letters” (key fingerprint {fingerprint}) was found."


@pytest.mark.parametrize(
    ("p", "together", "told"),
    [
        (0.29, None, "That is an ordinary result"),
        (0.02, None, "That is not rare enough for a finding: the level that was set before is 1 in 100."),
        (0.001, 0.04, "That would do for one text by itself, but not among so many texts"),
        (0.02, 0.8, "That is not rare enough for a finding"),
        (0.005, 1.0, "That would do for one text by itself, but not among so many texts"),
        (0.02, 1.0, "That is not rare enough for a finding"),
    ],
)
def test_no_chance_is_that_of_a_mark(p: float, together: float | None, told: str) -> None:
    """Of a text alone or judged with others its own chance is told, and why it is not enough."""
    found = result(other(100))
    tested = replace(found.best, log_p=math.log(p))
    over_texts = None if together is None else math.log(together)
    said = statement(replace(found, tests=(tested,), over_texts=over_texts), ["w"] * 100)
    assert 10 ** log10_of(said.chances[0]) == pytest.approx(p, rel=0.1)
    assert 10 ** log10_of(said.chances[0]) >= p
    assert said.chances[-1].startswith(told)
    assert said.chances[-1].endswith("It is not the chance that the text is marked.")


def test_too_short_says_neither() -> None:
    told = statement(result(marked(3)[:1]), ["w"])
    assert told.headline == "This text is too short to tell."
    assert "neither" in told.limits[0]


@pytest.mark.parametrize(
    ("correction", "controlled"),
    [
        (Correction.HOLM, "the chance that any of them is called wrongly is at most 1 in 100"),
        (
            Correction.BENJAMINI_HOCHBERG,
            "of the texts that are called, at most 1 in 100 is expected to be called",
        ),
    ],
)
def test_of_many_texts_it_is_said_what_is_controlled(correction: Correction, controlled: str) -> None:
    texts = [marked(60), other(60), marked(60)[:58]]
    found = td.detect_corpus(texts, SCHEME, KEY, correction=correction).results
    told = statement(found[0], ["w"] * 60)
    assert controlled in " ".join(told.chances)
    # The chance in words is the text's own: what is corrected by this procedure is no chance of a text.
    assert log10_of(told.chances[0]) >= found[0].test_log_p / math.log(10)
    seen = found[2]
    assert seen.verdict is Outcome.SEEN
    assert "Nearly all of its words stand in texts that were judged" in statement(seen, ["w"] * 58).meaning[0]
    few = statement(replace(seen, shared=5), ["w"] * 58)
    assert few.meaning[0].startswith("Some of its words stand in texts that were judged before it")


def test_stopping_at_any_time_is_said() -> None:
    found = result(marked(100), sequential=True)
    told = statement(found, ["w"] * len(found.token_ids))
    assert re.search(r"would ever give .* evidence this strong, wherever one stops reading", told.chances[0])


def test_an_approximation_is_called_one() -> None:
    exact = result(marked(60))
    approximate = SimpleNamespace(exactness=Exactness.APPROXIMATE)
    reading = replace(exact.reading, setting=replace(exact.reading.setting, detector=approximate))
    found = replace(exact, tests=(replace(exact.best, reading=reading),), correction=Correction.HOLM)
    told = statement(found, ["w"] * 60)
    assert told.chances[0].startswith("By an approximation, which is not proved: of keys picked at random")
    assert found.log10_p <= -6
    assert grade(found) is Grade.WEAK
    assert "no proof" in graded(found)
    assert " ".join(told.chances).count("By an approximation, which is not proved: ") == 3


@pytest.mark.parametrize(("p", "told"), [(0.002, "is no proof"), (0.0005, "proves no chance this small")])
def test_a_simulation_is_called_one(p: float, told: str) -> None:
    exact = result(marked(60))
    simulated = SimpleNamespace(exactness=Exactness.SIMULATED)
    reading = replace(exact.reading, setting=replace(exact.reading.setting, detector=simulated))
    tested = replace(exact.best, reading=reading, log_p=math.log(p))
    chances = statement(replace(exact, tests=(tested,)), ["w"] * 60).chances
    assert all(f"By a simulation, which {told}: " in sentence for sentence in chances)


def test_a_grade_goes_by_the_chance_beside_it() -> None:
    """Of texts that were judged together the corrected one, which the sentences do not tell."""
    alone = result(marked(60))
    assert graded(alone).endswith("the chance itself is next")
    tested = (replace(alone.best, log_p=math.log(1e-7)),)
    found = replace(alone, tests=tested, over_texts=math.log(1e-4), correction=Correction.HOLM)
    told = graded(found)
    assert told.startswith(
        "weak: corrected for all texts that were judged together, the chance is under 1 in 9"
    )
    assert "next" not in told
    by_share = graded(replace(found, correction=Correction.BENJAMINI_HOCHBERG))
    assert by_share == "weak: the adjusted p-value is above one in a million"


def test_words_outside_the_parts_of_a_marked_text() -> None:
    found = result(marked(60))
    assert found.verdict is Outcome.WATERMARKED
    segments = found.reading.segments
    assert segments is not None
    for share, said in ((0.95, True), (1.0, False)):
        reading = replace(found.reading, segments=SimpleNamespace(share=share, found=segments.found))
        told = statement(replace(found, tests=(replace(found.best, reading=reading),)), ["w"] * 60)
        assert any("outside the marked parts" in limit for limit in told.limits) == said


def test_a_setting_that_the_record_named_is_told() -> None:
    exact = result(marked(60))
    reading = replace(exact.reading, setting=replace(exact.reading.setting, claimed=True))
    told = statement(replace(exact, tests=(replace(exact.best, reading=reading),)), ["w"] * 60)
    assert "named by the file that holds the text" in " ".join(told.chances)
