"""A verdict as an answer to anybody who asks: what it is, where the watermark is, and what it rests on.

No score of any token stands in it: whoever has those can look for words that remove the watermark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tradeoff.display import environment, parts
from tradeoff.errors import FileError
from tradeoff.verdicts.pages.facts import day_and_time, facts, tests_made
from tradeoff.verdicts.pages.quoting import spans_of
from tradeoff.verdicts.pages.sentences import grade, graded, statement
from tradeoff.verdicts.result import Result
from tradeoff.verdicts.spelling import numbers

__all__ = ["Stretch", "answer_html", "stretches", "technique"]

#: Characters of a text that are shown.
_SHOWN = 200_000
#: What the key does to words, by the first word of a watermark's name.
_TECHNIQUES = {
    "gumbel": "the key gives every word that might come next a number, as of a race, and the generator takes "
    "the word that wins; who reads with the key sees winners again and again",
    "synthid": "the key gives every word a row of bits, by which words play a tournament in the generator; "
    "who reads with the key sees more of the winning bits than chance has",
    "kgw": "the key parts the words that might come next into green and red ones, and the generator prefers "
    "green; who reads with the key counts more green words than chance has",
    "unigram": "the key parts all words once into green and red ones, and the generator prefers green; who "
    "reads with the key counts more green words than chance has",
}
_ANY = (
    "the key gives every word that might come next a number, and the generator chooses by it; who reads with "
    "the key sees numbers that are higher than chance has"
)


class Stretch(NamedTuple):
    """A piece of a text: its words, and the number of the marked part that it is, from 1; else 0."""

    words: str
    part: int


def answer_html(result: Result, text: str | None, name: str, number: int = 1) -> str:
    """What is said of a text, as a part of a page.

    Args:
        result: the finding.
        text: the words as they were given; None where there were tokens alone.
        name: of the text.
        number: of the text among those of the page, from 1.

    Raises:
        FileError: as `Result.words`.
    """
    spelled = _spelled(result)
    shown, cut = _cut(stretches(result, text, spelled))
    pieces = parts(
        environment("tradeoff").get_template("answer.html"),
        "answer",
        name=name,
        number=number,
        told=statement(result, spelled),
        found=result.detected,
        strength=str(grade(result)),
        graded=graded(result),
        technique=technique(result),
        stretches=shown,
        parts=len(result.segments),
        cut=cut,
        tests=tests_made(result),
        facts=facts(result, None, name, day_and_time(None)),
    )
    return "".join(pieces)


def technique(result: Result) -> str:
    """What a verdict rests on, for people who know no statistics."""
    scheme = result.scheme
    family = "" if scheme is None else scheme.watermark.partition(":")[0]
    what = _TECHNIQUES.get(family, _ANY)
    width = result.reading.prf.context_width
    before = f"from the key and the {width} tokens before" if width else "from the key alone"
    named = "" if scheme is None else f" It is called {scheme.label}."
    return (
        f"How this mark works: {what}. All of it follows {before} (token: a word or a piece of one), so that "
        f"whoever has the key can compute it again, and nobody else can.{named}"
    )


def stretches(result: Result, text: str | None, words: Sequence[str]) -> list[Stretch]:
    """A text with its marked parts, in whole words.

    Args:
        result: the finding.
        text: the words as they were given; None where there were tokens alone.
        words: [n] the tokens, spelled.
    """
    spans = spans_of(result.segments, words)
    places = [None if text is None else _place(result, words, span) for span in spans]
    if text is not None and None not in places:
        return _between(text, [place for place in places if place is not None])
    whole, ends = "".join(words), [0]
    for word in words:
        ends.append(ends[-1] + len(word))
    return _between(whole, [(ends[start], ends[end]) for start, end in spans])


def _place(result: Result, words: Sequence[str], span: tuple[int, int]) -> tuple[int, int] | None:
    return result.reading.form.characters(words, *span)


def _between(text: str, places: Sequence[tuple[int, int]]) -> list[Stretch]:
    found, before = list[Stretch](), 0
    for number, (start, end) in enumerate(places, 1):
        found += [Stretch(text[before:start], 0), Stretch(text[start:end], number)]
        before = end
    found.append(Stretch(text[before:], 0))
    return [one for one in found if one.words]


def _cut(found: Sequence[Stretch]) -> tuple[list[Stretch], int]:
    """The beginning of a long text, and how many characters are left out."""
    room, shown = _SHOWN, list[Stretch]()
    for one in found:
        if room > 0:
            shown.append(Stretch(one.words[:room], one.part))
        room -= len(one.words)
    return shown, max(0, -room)


def _spelled(result: Result) -> list[str]:
    try:
        return result.words
    except FileError:
        return numbers(result.token_ids.tolist())
