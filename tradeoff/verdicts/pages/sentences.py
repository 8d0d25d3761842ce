"""Verdicts in sentences, for people who know no statistics: what was found, what it means, and its limits.

No sentence claims more than the p-value: chances are over keys picked at random, for a writer who has seen no
text made with the key, and are rounded to the safe side. Words are "chosen" and keys "picked": "drawn" would
be both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tradeoff.detection import Exactness, Segment
from tradeoff.verdicts.pages.quoting import shortened, spans_of
from tradeoff.verdicts.result import Correction, Outcome, Result
from tradeoff.verdicts.settings import Setting

__all__ = [
    "Grade",
    "Statement",
    "about",
    "chance",
    "chance_in_short",
    "grade",
    "graded",
    "key_name",
    "level_in_words",
    "parts_of",
    "percent",
    "power_of_ten",
    "rarity",
    "share_of_keys",
    "statement",
]

#: Evidence is strong from here on: log10 p.
_STRONG = -6.0
#: Chances that are rarer than one in 10 to the power of this are told as powers of ten.
_POWERS = 6
#: What a logarithm may be wrong by, against the claim.
_SLACK = 1e-9
#: A law may end somewhere, beyond which a logarithm is infinite.
_MOST = 1e9
#: Parts that are quoted, and keys that are named.
_PARTS, _KEYS = 5, 5
#: Chances above this are ordinary: log10 p.
_ORDINARY = -1.0
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
#: Chances below this are smaller than a simulation shows: log10 p.
_SIMULATED = -3.0
#: Where a law that was only simulated, or none at all, stands behind a p-value.
_UNPROVED = {
    Exactness.SIMULATED: "By a simulation, which is no proof",
    Exactness.APPROXIMATE: "By an approximation, which is not proved",
    Exactness.ORACLE: "For a reader who knows what no reader knows",
}


class Grade(StrEnum):
    """How strong the evidence of a verdict is."""

    #: p <= 1e-6, by a law that is proved.
    STRONG = "strong"
    #: p is larger or not proved, and at most the false-positive rate.
    WEAK = "weak"
    #: p is larger than that.
    NONE = "none"


@dataclass(frozen=True)
class Statement:
    """A verdict for people.

    Attributes:
        headline: what was found, in a sentence.
        quotes: the marked parts of a text that is marked in part, in whole words.
        meaning: sentences on what that means.
        chances: sentences on how sure it is.
        limits: what it does not show.
    """

    headline: str
    quotes: tuple[str, ...]
    meaning: tuple[str, ...]
    chances: tuple[str, ...]
    limits: tuple[str, ...]


def about(result: Result) -> str:
    """What a page is, for somebody who has seen none."""
    keys = _fingerprints(result)
    which = "the key that is named below" if len(keys) == 1 else "any of the keys that are named below"
    return (
        "A watermark is an invisible pattern in the choice of words. A text generator that holds a secret "
        f"key puts it in. This page tells whether a text has the pattern of {which}. It cannot tell who "
        "wrote, sent or published the text."
    )


def grade(result: Result) -> Grade:
    """How strong the evidence is, by the p-value that the verdict goes by."""
    if not result.detected:
        return Grade.NONE
    proved = result.reading.detector.exactness.holds
    return Grade.STRONG if proved and result.log10_p <= _STRONG else Grade.WEAK


def graded(result: Result) -> str:
    """The grade and what it goes by, in words: "weak, as every chance above one in a million is called"."""
    strength = grade(result)
    if strength is Grade.NONE:
        return "none that passes the level that was set"
    if not result.reading.detector.exactness.holds:
        return "weak, whatever the chance that is told next: no proof stands behind it"
    if result.correction is Correction.BENJAMINI_HOCHBERG:
        side = "at most" if strength is Grade.STRONG else "above"
        return f"{strength}: the adjusted p-value is {side} one in a million"
    if result.over_texts is not None:
        return (
            f"{strength}: corrected for all texts that were judged together, the chance is "
            f"{chance_in_short(result.log10_p)}; strong begins at one in a million"
        )
    side = "one in a million or less" if strength is Grade.STRONG else "more than one in a million"
    return f"{strength}, the name of a chance of {side}; the chance itself is next"


def chance(log10_p: float) -> str:
    """A p-value as a share of keys, never rarer than it is: "fewer than one in 10⁴⁸ (a 1 with 48 zeros)"."""
    inverse = min(-log10_p - _SLACK, _MOST)
    if inverse >= _POWERS:
        power = math.floor(inverse)
        return f"fewer than one in {power_of_ten(power)} (a 1 with {power:,} zeros)"
    if inverse >= 1:
        return f"fewer than one in {_rounded_down(10**inverse):,}"
    return f"up to {_percent(10**log10_p)} in 100"


def chance_in_short(log10_p: float) -> str:
    """The same for tables: "under 1 in 10⁴⁸"."""
    inverse = min(-log10_p - _SLACK, _MOST)
    if inverse >= 1:
        rare = power_of_ten(math.floor(inverse)) if inverse >= _POWERS else f"{_rounded_down(10**inverse):,}"
        return f"under 1 in {rare}"
    return f"up to {_percent(10**log10_p)} in 100"


def percent(share: float) -> str:
    """A share of something in words: "12%", and "less than 1%" where it is not nothing."""
    return "less than 1%" if 0 < share < 0.01 else f"{share:.0%}"


def power_of_ten(power: int) -> str:
    """10⁴⁸."""
    return f"10{str(power).translate(_SUPERSCRIPTS)}"


def share_of_keys(fpr: float) -> str:
    """A false-positive rate in words: "1 in 100"."""
    inverse = -math.log10(fpr) + _SLACK
    if inverse >= _POWERS:
        return f"1 in {power_of_ten(math.floor(inverse))}"
    return f"1 in {_rounded_down(1 / fpr + _SLACK):,}" if fpr <= 0.1 else f"{_percent(fpr)} in 100"


def level_in_words(fpr: float) -> str:
    """A level that must be reached, never easier than it is: "1 in 100", "1 in 3.4 × 10⁶"."""
    if fpr > 0.1:
        return f"{math.floor(100 * fpr + _SLACK)} in 100"
    power = math.floor(math.log10(1 / fpr) + _SLACK)
    tenths = math.ceil(10 / fpr / 10**power - _SLACK)
    if power < _POWERS:
        return f"1 in {tenths * 10 ** (power - 1):,}"
    if tenths in (10, 100):
        return f"1 in {power_of_ten(power + (tenths == 100))}"
    return f"1 in {tenths / 10:g} × {power_of_ten(power)}"


def key_name(setting: Setting) -> str:
    """A key for people, who may have named it; its fingerprint tells it from others, and is no secret."""
    fingerprint = f"key fingerprint {setting.prf.fingerprint}"
    return f"“{setting.key.name}” ({fingerprint})" if setting.key.name else fingerprint


def statement(result: Result, words: Sequence[str]) -> Statement:
    """What is said of a text.

    Args:
        result: the finding.
        words: [n] its tokens, spelled, as far as they were read.
    """
    verdict = result.verdict
    if verdict.found:
        return _found(result, words)
    if verdict is Outcome.NOT_DETECTED:
        return _not_found(result)
    return _nothing_to_say(result)


def _found(result: Result, words: Sequence[str]) -> Statement:
    in_part, strength = result.verdict is Outcome.IN_PART, grade(result)
    several = len(parts_of(result)) > 1
    if in_part:
        what = "parts of this text carry" if several else "a part of this text carries"
    else:
        what = "this text carries"
    headline = f"{what} the watermark of {_the_key(result.reading.setting)}."
    if strength is Grade.STRONG:
        headline = headline[0].upper() + headline[1:]
    else:
        headline = f"There is weak evidence that {headline}"
    chances = [rarity(result), *_corrections(result)]
    if strength is Grade.WEAK:
        chances.append(
            "This is weak evidence. "
            + _proviso(
                result,
                "It passes the level that was set; at that level up to "
                f"{share_of_keys(result.fpr)} keys picked at random call a text without the watermark.",
            )
            + " It is a reason to look again, not to accuse anyone."
        )
    limits = [
        "It tells that words were chosen with the key, not who wrote, sent or published them. Words that "
        "were copied or quoted from a marked text are marked wherever they stand, and whoever has the key "
        "can mark any text.",
        "The chance is of keys picked at random, for a writer who never saw text made with the key. It is "
        "not the chance that somebody is innocent. Nor is it the share of honest texts that this one key "
        "would call: where texts share passages, that share may be larger.",
    ]
    if in_part:
        limits.append(
            f"It says nothing of the words around the marked part{'s' * several}: they may be a person's, or "
            "come from elsewhere."
        )
    elif result.share is not None and result.share < 1:
        limits.append("Some words lie outside the marked parts, and nothing is said of those.")
    limits.append(
        "Editing and paraphrase remove the mark word by word, so that more may have been chosen with the key "
        "than is found."
    )
    meaning = _meaning(result)
    return Statement(headline, _quotes(result, words), meaning, tuple(chances), tuple(limits))


def _not_found(result: Result) -> Statement:
    settings = {one.reading.prf.fingerprint: one.reading.setting for one in result.tests}
    chances = [rarity(result), *_corrections(result), _not_rare(result)]
    meaning: tuple[str, ...] = ()
    if len(settings) == 1:
        tried = _the_key(result.reading.setting)
    else:
        tried = f"the {len(settings):,} keys tried"
        named = [key_name(setting) for setting in list(settings.values())[:_KEYS]]
        more = len(settings) - len(named)
        last = f"; and {more:,} more, which stand at the end of this page" if more else ""
        meaning = (f"The keys tried: {'; '.join(named)}{last}.",)
    return Statement(
        f"No watermark of {tried} was found.",
        (),
        meaning,
        tuple(chances),
        (
            "That does not show that a person wrote it. It may come from a text generator without this "
            "watermark, or from one with another key, or be too predictable to carry a mark.",
            "It may have been marked once: editing, translation and paraphrase remove the mark word by word.",
            "A short marked passage in a longer text, such as a quote of a sentence or two, can stay unseen.",
            "Only the keys and settings that stand below were tried. With another method, tokenizer or "
            "context width than the text was made with, nothing is found.",
        ),
    )


def _not_rare(result: Result) -> str:
    """Why a chance is no finding, and what it is not."""
    log10_p, level = result.test_log_p / math.log(10), level_in_words(result.fpr)
    if log10_p > _ORDINARY:
        told = "That is an ordinary result, such as texts have that have nothing to do with the key."
    elif result.test_log_p <= math.log(result.fpr):
        told = "That would do for one text by itself, but not among so many texts that were judged together."
    else:
        told = f"That is not rare enough for a finding: the level that was set before is {level}."
    return f"{told} It is not the chance that the text is marked."


def _nothing_to_say(result: Result) -> Statement:
    counted = f"{result.tokens_scored:,} of its {len(result.token_ids):,} tokens count"
    if result.verdict is Outcome.SEEN:
        most = result.shared > len(result.token_ids) / 2
        some = "Nothing" if most and not result.tokens_scored else "Too little"
        return Statement(
            f"{some} of this text is new, so that it says nothing of its own.",
            (),
            (
                f"{'Nearly all' if most else 'Some'} of its words stand in texts that were judged before it, "
                f"and count there; {counted} here (token: a word or a piece of one). Read the verdicts "
                "on those texts.",
            ),
            (),
            ("It shows neither that the text is marked nor that it is not.",),
        )
    return Statement(
        "This text is too short to tell.",
        (),
        (
            "A token (a word or a piece of one) counts if enough words stand before it, and only once where "
            f"words are repeated: {counted}, fewer than a verdict takes.",
        ),
        (),
        (
            "It shows neither that a person wrote it nor that it is marked. More of the same text may tell.",
            "Only the keys and settings that stand below were tried.",
        ),
    )


def rarity(result: Result) -> str:
    """For which share of keys texts without the watermark score as high, in a sentence."""
    reading, keys = result.reading, len(_fingerprints(result))
    # What is corrected for other texts is no chance of this one.
    log10_p = result.test_log_p / math.log(10)
    several = " in any of the tests that were made" if len(result.tests) > 1 else ""
    picked, made = ("keys", "the key") if keys == 1 else (f"sets of {keys:,} keys", "these keys")
    writer = f"a text, whose writer never saw text made with {made},"
    if result.sequential:
        would = f"would ever give {writer} evidence this strong{several}, wherever one stops reading"
    elif result.verdict is Outcome.IN_PART:
        would = f"would give a part of {writer} so high a score{several}"
    elif reading.segments is not None:
        would = f"would give {writer} so high a score, as a whole or in any part{several and ','}{several}"
    else:
        would = f"would give {writer} so high a score{several}"
    return _proviso(result, f"Of {picked} picked at random, {chance(log10_p)} {would}.")


def _proviso(result: Result, sentence: str) -> str:
    """A sentence that goes by a p-value, after what it depends on if the law is not proved."""
    exactness = result.reading.detector.exactness
    if exactness.holds:
        return sentence
    unproved = _UNPROVED[exactness]
    if exactness is Exactness.SIMULATED and result.test_log_p < _SIMULATED * math.log(10):
        unproved = "By a simulation, which proves no chance this small"
    return f"{unproved}: {sentence[0].lower()}{sentence[1:]}"


def _corrections(result: Result) -> list[str]:
    """What was paid for."""
    told = []
    if len(result.tests) > 1:
        told.append(
            f"{len(result.tests):,} tests of this text were made (they stand below), and the chance is "
            "corrected for all of them."
        )
    if result.correction is Correction.HOLM:
        told.append(
            "Many texts were judged together. "
            + _proviso(
                result,
                "The verdict is corrected for their number (Holm): with a key picked at random, the chance "
                f"that any of them is called wrongly is at most {share_of_keys(result.fpr)}.",
            )
        )
    elif result.correction is Correction.BENJAMINI_HOCHBERG:
        told.append(
            "Many texts were judged together. "
            + _proviso(
                result,
                "The verdict is corrected for their number (Benjamini and Hochberg): of the texts that are "
                f"called, at most {share_of_keys(result.fpr)} is expected to be called wrongly.",
            )
            + " That is said of all of them together, not of this one."
        )
    if result.reading.setting.claimed:
        told.append(
            "The setting of the test was named by the file that holds the text, not by whoever asked: it was "
            "tested beside the others, and paid for."
        )
    return told


def _meaning(result: Result) -> tuple[str, ...]:
    """What a find means, openly; of a text that is marked in part, how much of it that is said of."""
    parts = parts_of(result)
    if parts:
        which = f"most of the words of the marked part{'s' * (len(parts) > 1)}"
    else:
        which = (
            "most of these words" if result.reading.segments is not None else "at least some of these words"
        )
    means = "That means" if grade(result) is Grade.STRONG else "If that is so"
    told = [
        f"{means}: {which}, or the source they were copied or quoted from, came from a text generator that "
        "used this key. Words or whole passages among them may have been changed or added since."
    ]
    if parts:
        more = len(parts) - _PARTS
        some = f" {more:,} more parts are marked in the text below." if more > 0 else ""
        plural = "s" * (len(parts) > 1)
        share = (
            ""
            if result.share is None
            else f" {percent(result.share)} of all that counts lies in the marked part{plural}."
        )
        told[0] += f" Nothing is said of the rest of the text.{share}{some}"
        where = "Its edges are" if len(parts) == 1 else "Their edges are"
        told.append(
            f"{where} rough: the true ones may lie a few words further in or out, and more than a few in a "
            "long part. Quotes are in whole words."
        )
    return tuple(told)


def _quotes(result: Result, words: Sequence[str]) -> tuple[str, ...]:
    spans = spans_of(parts_of(result), words)
    return tuple(shortened("".join(words[start:end])) for start, end in spans[:_PARTS])


def _the_key(setting: Setting) -> str:
    return f"the key {key_name(setting)}" if setting.key.name else f"the key with the {key_name(setting)}"


def _fingerprints(result: Result) -> set[str]:
    return {tested.reading.prf.fingerprint for tested in result.tests}


def parts_of(result: Result) -> tuple[Segment, ...]:
    """The marked parts of a text that is marked in part; of others none is told."""
    return result.segments if result.verdict is Outcome.IN_PART else ()


def _rounded_down(number: float) -> int:
    """To two digits."""
    unit = 10 ** max(math.floor(math.log10(number)) - 1, 0)
    return math.floor(number / unit) * unit


def _percent(probability: float) -> int:
    return min(100, math.ceil(100 * probability - _SLACK))
