"""Of many texts, what a list of their pages says: those that were found first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tradeoff.verdicts.pages.sentences import (
    Grade,
    chance_in_short,
    grade,
    level_in_words,
    percent,
    share_of_keys,
)
from tradeoff.verdicts.result import Correction, Outcome, Result

__all__ = ["Entry", "Listing"]

#: Texts from which on false alarms are to be expected.
_MANY = 20
#: Expected numbers below this are told to two digits.
_FEW = 10
#: In this order they are listed.
_HEADINGS = {
    "found": ("Watermark found", "Strongest evidence first."),
    "not": ("No watermark of the keys tried found", "That does not show that a person wrote them."),
    "nothing": ("Nothing to go by", "Too short, or nothing new beside the texts before them."),
}


@dataclass(frozen=True)
class Entry:
    """One text of a list.

    Attributes:
        number: of the text, from 1, and of its page.
        name: of the text.
        link: to its page.
        verdict: what is said of it.
        strength: how strong the evidence is.
        log10_p: of the verdict.
        chance: of its scores, in words: that of the text alone, whatever others were judged with it; empty
            where there is nothing to go by.
        tokens_scored: how many tokens counted.
        share: of these, how many lie in marked parts; None where nobody looked.
    """

    number: int
    name: str
    link: str
    verdict: Outcome
    strength: Grade
    log10_p: float
    chance: str
    tokens_scored: int
    share: float | None

    @classmethod
    def of(cls, number: int, name: str, link: str, result: Result) -> Entry:
        """That of a result."""
        alone = "" if result.verdict.empty else chance_in_short(result.test_log_p / math.log(10))
        told = result.log10_p, alone, result.tokens_scored, result.share
        return cls(number, name, link, result.verdict, grade(result), *told)

    @property
    def told(self) -> str:
        """Verdict and strength, in a few words."""
        if self.strength is Grade.NONE:
            return str(self.verdict)
        part = f", {percent(self.share)} of it" if self.verdict is Outcome.IN_PART and self.share else ""
        return f"{self.verdict}{part}: {self.strength} evidence"


class Listing:
    """The list, as texts come.

    Attributes:
        entries: of all texts, in their order.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._fpr = 0.0
        self._correction: Correction | None = None

    def add(self, entry: Entry, result: Result) -> None:
        """One more text."""
        self.entries.append(entry)
        self._fpr, self._correction = result.fpr, result.correction

    @property
    def groups(self) -> list[tuple[str, str, str, Sequence[Entry]]]:
        """(id, heading, what it means, texts) of every group that has some."""
        groups: dict[str, list[Entry]] = {name: [] for name in _HEADINGS}
        for entry in self.entries:
            other = "nothing" if entry.verdict.empty else "not"
            groups[other if entry.strength is Grade.NONE else "found"].append(entry)
        groups["found"].sort(key=lambda entry: entry.log10_p)
        return [(name, *_HEADINGS[name], some) for name, some in groups.items() if some]

    @property
    def summary(self) -> list[str]:
        """Sentences on all of them."""
        counted = Counter(str(entry.verdict) for entry in self.entries)
        count, rate, level = len(self.entries), share_of_keys(self._fpr), level_in_words(self._fpr)
        verdicts = ", ".join(f"{number:,} {verdict}" for verdict, number in counted.most_common())
        told = [f"{count:,} texts were examined: {verdicts}."]
        if self._correction is Correction.HOLM:
            told.append(
                "They were judged together, and verdicts are corrected for their number (Holm): with a key "
                f"picked at random, the chance that any of them is called wrongly is at most {rate}."
            )
        elif self._correction is Correction.BENJAMINI_HOCHBERG:
            told.append(
                "They were judged together, and verdicts are corrected for their number (Benjamini and "
                f"Hochberg): of those that are called, at most {rate} is expected to be called wrongly."
            )
        elif count >= _MANY:
            alarms = count * self._fpr
            told.append(
                f"Each was judged by itself, at the level {level}: of as many texts that nobody marked, up "
                f"to about {alarms:{'.2g' if alarms < _FEW else ',.0f'}} would be called all the same, and "
                "several at once where they share passages. `--corpus` corrects for both."
            )
        else:
            told.append(
                f"Each was judged by itself, at the level {level}; nothing is corrected for their number."
            )
        return told
