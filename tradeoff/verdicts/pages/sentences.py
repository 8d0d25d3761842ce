"""Verdicts in sentences, for people who know no statistics: what was found, what it means, and its limits.

No sentence claims more than the p-value: chances are over keys drawn at random, for a writer who has seen no
text of the key, and are rounded to the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tradeoff.detection import Exactness, Segment
from tradeoff.verdicts.result import Correction, Outcome, Result
from tradeoff.verdicts.settings import Setting

__all__ = [
    "Grade",
    "Statement",
    "chance",
    "chance_in_short",
    "grade",
    "key_name",
    "parts_of",
    "power_of_ten",
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
#: Parts that are told, and words of each end of one.
_PARTS, _WORDS = 5, 5
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
#: Where a law that was only simulated, or none at all, stands behind a p-value.
_UNPROVED = {
    Exactness.SIMULATED: "By a simulation, which proves no chance this small",
    Exactness.APPROXIMATE: "By an approximation, which is not proved",
    Exactness.ORACLE: "For a reader who knows what no reader knows",
}


class Grade(StrEnum):
    """How strong the evidence of a verdict is."""

    #: p <= 1e-6.
    STRONG = "strong"
    #: p is larger, and at most the false-positive rate.
    WEAK = "weak"
    #: p is larger than that.
    NONE = "none"


@dataclass(frozen=True)
class Statement:
    """A verdict for people.

    Attributes:
        headline: what was found, in a sentence.
        meaning: sentences on how sure that is, and where it is.
        limits: what it does not show.
    """

    headline: str
    meaning: tuple[str, ...]
    limits: tuple[str, ...]


def grade(result: Result) -> Grade:
    """How strong the evidence is, by the p-value that the verdict goes by."""
    if not result.detected:
        return Grade.NONE
    return Grade.STRONG if result.log10_p <= _STRONG else Grade.WEAK


def chance(log10_p: float) -> str:
    """A p-value in words, never rarer than it is: "less than once in 10⁴⁸ draws"."""
    inverse = min(-log10_p - _SLACK, _MOST)
    if inverse >= _POWERS:
        power = math.floor(inverse)
        return f"less than once in {power_of_ten(power)} draws (a 1 with {power:,} zeros)"
    if inverse >= 1:
        return f"less than once in {_rounded_down(10**inverse):,} draws"
    return f"in up to {_percent(10**log10_p)} of 100 draws"


def chance_in_short(log10_p: float) -> str:
    """The same for tables: "under 1 in 10⁴⁸"."""
    inverse = min(-log10_p - _SLACK, _MOST)
    if inverse >= 1:
        rare = power_of_ten(math.floor(inverse)) if inverse >= _POWERS else f"{_rounded_down(10**inverse):,}"
        return f"under 1 in {rare}"
    return f"up to {_percent(10**log10_p)} in 100"


def power_of_ten(power: int) -> str:
    """10⁴⁸."""
    return f"10{str(power).translate(_SUPERSCRIPTS)}"


def share_of_keys(fpr: float) -> str:
    """A false-positive rate in words: "1 in 100"."""
    inverse = -math.log10(fpr) + _SLACK
    if inverse >= _POWERS:
        return f"1 in {power_of_ten(math.floor(inverse))}"
    return f"1 in {_rounded_down(1 / fpr + _SLACK):,}" if fpr <= 0.1 else f"{_percent(fpr)} in 100"


def key_name(setting: Setting) -> str:
    """A key for people, who may have named it; its fingerprint tells it from others, and is no secret."""
    fingerprint = setting.prf.fingerprint
    return f"“{setting.key.name}” (fingerprint {fingerprint})" if setting.key.name else fingerprint


def statement(result: Result, words: Sequence[str]) -> Statement:
    """What is said of a text.

    Args:
        result: the finding.
        words: [n] its tokens, spelled, as far as they were read.
    """
    verdict = result.verdict
    if verdict in (Outcome.WATERMARKED, Outcome.IN_PART):
        return _found(result, words)
    if verdict is Outcome.NOT_DETECTED:
        return _not_found(result)
    return _nothing_to_say(result)


def _found(result: Result, words: Sequence[str]) -> Statement:
    in_part, strength = result.verdict is Outcome.IN_PART, grade(result)
    several = len(result.segments) > 1
    key = key_name(result.reading.setting)
    if in_part:
        what = "parts of this text carry" if several else "a part of this text carries"
    else:
        what = "this text carries"
    headline = f"{what} the watermark of key {key}."
    if strength is Grade.STRONG:
        headline = headline[0].upper() + headline[1:]
    else:
        headline = f"There is weak evidence that {headline}"
    meaning = [_rarity(result), *_corrections(result)]
    if strength is Grade.WEAK:
        meaning.append(
            "This is weak evidence. It passes the level that was set; at that level up to "
            f"{share_of_keys(result.fpr)} draws of a key call a text without the watermark. It is a reason "
            "to look again, not to accuse anyone."
        )
    meaning += _where(result, words)
    limits = [
        "It says how the words were drawn, not who published them. Words that were copied or quoted from a "
        "marked text are marked wherever they stand, and whoever has the key can mark any text.",
        "The chance is over keys drawn at random, for a writer who never saw text of this key. It is not the "
        "chance that somebody is innocent, and not the share of honest texts that this one key would find: "
        "where texts share passages that may be larger, and `tradeoff decoys` measures it.",
    ]
    if in_part:
        limits.append(
            "It says nothing of the words around the marked part: they may be a person's, or come from "
            "elsewhere."
        )
    limits.append(
        "Editing and paraphrase remove the mark word by word, so that more may have been drawn with the key "
        "than is found."
    )
    return Statement(headline, tuple(meaning), tuple(limits))


def _not_found(result: Result) -> Statement:
    keys = {tested.reading.prf.fingerprint for tested in result.tests}
    tried = "the key" if len(keys) == 1 else f"the {len(keys):,} keys"
    meaning = [_rarity(result), *_corrections(result)]
    meaning.append(
        f"That is not rare enough: the level that was set before is {share_of_keys(result.fpr)}."
        if result.log10_p < -1
        else "That is what any text looks like that has nothing to do with the key."
    )
    return Statement(
        f"No watermark of {tried} tried was found.",
        tuple(meaning),
        (
            "That does not show that a person wrote it. It may come from a model without this watermark, or "
            "from one with another key, or be too predictable to carry a mark.",
            "It may have been marked once: editing, translation and paraphrase remove the mark word by word.",
            "A short marked passage in a longer text, such as a quote of a sentence or two, can stay unseen.",
            "Only the keys and settings that stand below were tried. With another method, tokenizer or "
            "context width than the text was made with, nothing is found.",
        ),
    )


def _nothing_to_say(result: Result) -> Statement:
    counted = f"{result.tokens_scored:,} of its {len(result.token_ids):,} tokens count"
    if result.verdict is Outcome.SEEN:
        return Statement(
            "Nothing of this text is new, so that it says nothing of its own.",
            (
                "Nearly all of its words stand in texts that were judged before it, and count there; "
                f"{counted} here. Read the verdicts on those texts.",
            ),
            ("It shows neither that the text is marked nor that it is not.",),
        )
    return Statement(
        "This text is too short to tell.",
        (
            "A token counts if enough words stand before it, and only once where words are repeated: "
            f"{counted}, fewer than a verdict takes.",
        ),
        (
            "It shows neither that a person wrote it nor that it is marked. More of the same text may tell.",
            "Only the keys and settings that stand below were tried.",
        ),
    )


def _rarity(result: Result) -> str:
    """How often texts without the watermark score as high, over keys."""
    reading = result.reading
    # What the Benjamini-Hochberg procedure corrects is no chance of this text.
    log10_p = result.test_log_p / math.log(10) if result.log_p else 0.0
    searched = reading.segments is not None
    if result.sequential:
        would = "would ever show evidence this strong, wherever one stops reading,"
    elif result.verdict is Outcome.IN_PART:
        would = "would have a part that scores this high"
    elif searched:
        would = "would score this high, as a whole or in any part,"
    else:
        would = "would score this high"
    several = " in any of the tests that were made" if len(result.tests) > 1 else ""
    keys = {tested.reading.prf.fingerprint for tested in result.tests}
    drawn, of = ("a key", "this key") if len(keys) == 1 else ("keys", "these keys")
    sentence = (
        f"With {drawn} drawn at random, a text whose writer never saw text of {of} {would}{several} "
        f"{chance(log10_p)}."
    )
    unproved = _UNPROVED.get(reading.detector.exactness)
    return sentence if unproved is None else f"{unproved}: {sentence[0].lower()}{sentence[1:]}"


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
            "Many texts were judged together. The verdict is corrected for their number (Holm): with a key "
            "drawn at random, the chance that any of them is called wrongly is at most "
            f"{share_of_keys(result.fpr)}."
        )
    elif result.correction is Correction.BENJAMINI_HOCHBERG:
        told.append(
            "Many texts were judged together. The verdict is corrected for their number (Benjamini and "
            f"Hochberg): of the texts that are called, at most {share_of_keys(result.fpr)} is expected to be "
            "called wrongly. That is said of all of them together, not of this one."
        )
    if result.reading.setting.claimed:
        told.append(
            "The setting of the test was named by the file that holds the text, not by whoever asked: it was "
            "tested beside the others, and paid for."
        )
    return told


def _where(result: Result, words: Sequence[str]) -> list[str]:
    """Where the marked parts are, by their first and last words."""
    parts = parts_of(result)
    if not parts:
        return []
    told = [_in_words(segment, words) for segment in parts[:_PARTS]]
    more = len(parts) - len(told)
    last = f"; and {more:,} more" if more else ""
    what = "The marked part is" if len(parts) == 1 else "The marked parts are"
    share = "" if result.share is None else f" Of the tokens that count, {result.share:.0%} lie there."
    return [f"{what} {'; '.join(told)}{last}.{share}"]


def _in_words(segment: Segment, words: Sequence[str]) -> str:
    """A part for people, who count from 1: "tokens 701 to 758, from “was the first” to “the end.”"."""
    spelled = "".join(words[segment.start : segment.end]).split()
    where = f"tokens {segment.start + 1:,} to {segment.end:,}"
    if len(spelled) <= 2 * _WORDS:
        return f"{where}: “{' '.join(spelled)}”"
    return f"{where}, from “{' '.join(spelled[:_WORDS])}” to “{' '.join(spelled[-_WORDS:])}”"


def parts_of(result: Result) -> tuple[Segment, ...]:
    """The marked parts of a text that is marked in part; of others none is told."""
    return result.segments if result.verdict is Outcome.IN_PART else ()


def _rounded_down(number: float) -> int:
    """To two digits."""
    unit = 10 ** max(math.floor(math.log10(number)) - 1, 0)
    return math.floor(number / unit) * unit


def _percent(probability: float) -> int:
    return min(100, math.ceil(100 * probability - _SLACK))
