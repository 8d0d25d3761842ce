"""The verdict on one text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeoff.detection import (
    Detector,
    Evidence,
    Exactness,
    Score,
    Segment,
    Segments,
    Sequential,
    Switching,
    default_bets,
    given_text,
    of_e_values,
)
from tradeoff.keyed import Prf
from tradeoff.scheme import Scheme
from tradeoff.texts import Text
from tradeoff.verdicts.settings import Setting
from tradeoff.verdicts.tokens import Form

if TYPE_CHECKING:
    from tradeoff.plotting import Figure

__all__ = ["Correction", "Outcome", "Reading", "Result", "Tested"]

#: Stands for a p-value that a simulated null law cannot tell from 0: JSON has no infinity.
_LOWEST_LOG10_P = -1e9
#: Lengths at which the evidence along a text is computed.
_POINTS = 200
#: Of the tokens that count, the share in segments from which a text is called watermarked as a whole.
_WHOLE = 0.9
#: Segments that people are told of; programs are told of all.
_TOLD = 5


def _unknown() -> None:
    return None


class Outcome(StrEnum):
    """What is said of a text."""

    #: p <= the false-positive rate, and nearly all of the text lies in segments.
    WATERMARKED = "watermarked"
    #: p <= the false-positive rate, and less of it does.
    IN_PART = "watermarked in part"
    NOT_DETECTED = "not detected"
    #: Fewer tokens count than a context has.
    TOO_SHORT = "too short"
    #: The same of texts judged together, because its contexts stand in texts before, and count there.
    SEEN = "seen in texts before"

    @property
    def found(self) -> bool:
        """Whether it says that the text is watermarked, as a whole or in part."""
        return self in (Outcome.WATERMARKED, Outcome.IN_PART)

    @property
    def empty(self) -> bool:
        """Whether there was too little to go by, so that nothing could have been found."""
        return self in (Outcome.TOO_SHORT, Outcome.SEEN)


class Correction(StrEnum):
    """How verdicts are corrected for the number of texts."""

    #: The chance of any false alarm is at most the level.
    HOLM = "holm"
    #: The expected share of false alarms among the texts that are called is.
    BENJAMINI_HOCHBERG = "bh"


@dataclass(frozen=True)
class Reading:
    """What one test says of one text.

    Attributes:
        setting: key, scheme and detector.
        form: the tokens, as far as they were read.
        score: of the whole text.
        log_p: natural logarithm of the p-value, corrected for the parts that were looked at, not for other
            tests.
        segments: where the watermark is, corrected for all tests of the text; None if nobody looked: by
            sequential detection, and by detectors without p-values of parts.
        bets: by sequential detection, those that were made.
        tokens_needed: by sequential detection, after how many tokens the verdict was certain.
    """

    setting: Setting
    form: Form
    score: Score
    log_p: float
    segments: Segments | None = None
    bets: Sequential | None = None
    tokens_needed: int | None = None

    @property
    def prf(self) -> Prf:
        """The function under the key."""
        return self.setting.prf

    @property
    def detector(self) -> Detector:
        """What read the text."""
        return self.setting.detector if self.bets is None else self.bets

    @cached_property
    def evidence(self) -> Evidence:
        """What the key says, computed once it is asked for."""
        evidence = Evidence(self.form.ids, self.prf)
        # Contexts that counted in other texts do not here.
        return evidence.restricted(np.isin(evidence.index, self.score.index))


@dataclass(frozen=True)
class Tested:
    """One test of a text, among others.

    Attributes:
        reading: what it says.
        log_p: natural logarithm of its p-value, corrected for all tests of the text (Holm).
    """

    reading: Reading
    log_p: float

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the output of `tradeoff detect --json`."""
        setting = self.reading.setting
        normal = self.reading.form.normal
        return {
            **_facts(setting),
            "named_by_record": setting.claimed,
            "without": list(normal.changes) if normal is not None else [],
            "log10_p": _log10(self.log_p),
            "log10_p_uncorrected": _log10(self.reading.log_p),
        }


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    """What was found of one text.

    Attributes:
        text: the text.
        tests: all that were made of it, one or more.
        fpr: false-positive rate of the verdict.
        sequential: whether it was read token by token.
        spell: gives the words of its tokens.
        shared: how many of its positions have a context that a text before had, and do not count, where texts
            are judged together; else 0.
        over_texts: natural logarithm of its p-value corrected for all texts, where they are judged together.
        correction: how, where texts are judged together.
        remarks: what its record and the caller disagree about, as it was warned of.
        vocabulary: gives the hash of the vocabulary that its tokens are numbers of (`vocabulary_hash`); None
            where that is not known.
        at_one_look: by sequential detection gives what the fixed-length tests say of all its tokens; None
            where the rest cannot be read without waiting for it. Words of a file are there until the next
            text is asked for.
    """

    text: Text
    tests: tuple[Tested, ...]
    fpr: float
    sequential: bool
    spell: Callable[[Result], list[str]] = field(repr=False)
    shared: int = 0
    over_texts: float | None = None
    correction: Correction | None = None
    remarks: tuple[str, ...] = ()
    vocabulary: Callable[[], str | None] = field(default=_unknown, repr=False)
    at_one_look: Callable[[], Result | None] = field(default=_unknown, repr=False)

    @cached_property
    def best(self) -> Tested:
        """The test with the smallest p-value; of equal ones the first."""
        return min(self.tests, key=lambda tested: tested.reading.log_p)

    @property
    def reading(self) -> Reading:
        """What the best test says."""
        return self.best.reading

    @property
    def scheme(self) -> Scheme | None:
        """By which the text is taken to be generated; None if a fitted detector was told nothing."""
        return self.reading.setting.scheme

    @property
    def token_ids(self) -> np.ndarray:
        """Its tokens as far as they were read: [n]."""
        return self.reading.form.ids

    @property
    def words(self) -> list[str]:
        """Its tokens, spelled with the tokenizer of the text; as numbers where there is none: [n].

        Raises:
            FileError: if the tokenizer that was asked for is not to be had.
        """
        return self.spell(self)

    @property
    def verdict(self) -> Outcome:
        """What is said of the text at the false-positive rate."""
        called = self.log_p <= math.log(self.fpr)
        # A record's own setting may convict, and does not make a text long enough.
        readings = [one.reading for one in self.tests if called or not one.reading.setting.claimed]
        if all(one.score.tokens_scored < one.prf.context_width for one in readings) and not any(
            one.tokens_needed is not None for one in readings
        ):
            return Outcome.SEEN if self.shared else Outcome.TOO_SHORT
        if not called:
            return Outcome.NOT_DETECTED
        found = self.reading.segments
        return Outcome.IN_PART if found is not None and found.share < _WHOLE else Outcome.WATERMARKED

    @property
    def detected(self) -> bool:
        """Whether the verdict is that the text is watermarked, as a whole or in part."""
        return self.verdict.found

    def __bool__(self) -> bool:
        return self.detected

    @property
    def log_p(self) -> float:
        """Natural logarithm of the p-value of the verdict: that the text, or any part of it, scores so
        high in any test, corrected for all that was looked at; 0 where nothing could be scored."""
        return self.test_log_p if self.over_texts is None else self.over_texts

    @property
    def test_log_p(self) -> float:
        """The same, not corrected for other texts."""
        return self.best.log_p

    @property
    def log10_p(self) -> float:
        """Its decimal logarithm; finite."""
        return _log10(self.log_p)

    @property
    def uncorrected_log10_p(self) -> float:
        """Decimal logarithm of the p-value of the best test, had it been the only one; finite."""
        return _log10(self.reading.log_p)

    @property
    def whole_log10_p(self) -> float:
        """The same had nobody looked at parts of the text either."""
        return _log10(self.reading.score.log_p)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Where the watermark is, in order: parts whose p-values, corrected for all that were looked at, are
        at most the false-positive rate. Empty where nobody looked."""
        found = self.reading.segments
        return () if found is None else found.found

    @property
    def share(self) -> float | None:
        """Of the tokens that count, how many lie in segments: 0 to 1; None where nobody looked."""
        found = self.reading.segments
        return None if found is None else found.share

    @property
    def where(self) -> str:
        """Its segments for people, who count from 1; empty if there are none.

        Such as "tokens 4,210 to 4,325: 2% of those that count, log10 p = -11.92".
        """
        told = [f"tokens {segment.start + 1:,} to {segment.end:,}" for segment in self.segments[:_TOLD]]
        if (more := len(self.segments) - len(told)) > 0:
            told.append(f"and {more} more")
        if not told:
            return ""
        best = min(segment.corrected_log_p for segment in self.segments)
        return f"{', '.join(told)}: {self.share:.0%} of those that count, log10 p = {_log10(best):.2f}"

    def characters(self, segment: Segment) -> tuple[int, int] | None:
        """Where a segment stands in the words of the text as it was given, from a character up to but not
        including another; None where there are no words, or its tokens do not spell them letter by letter.

        Raises:
            FileError: as `words`.
        """
        if self.reading.form.length is None:
            return None
        return self.reading.form.characters(self.words, segment.start, segment.end)

    @property
    def tokens_scored(self) -> int:
        """How many tokens counted."""
        return self.reading.score.tokens_scored

    @property
    def tokens_needed(self) -> int | None:
        """By sequential detection, after how many tokens the verdict was certain."""
        return self.reading.tokens_needed

    @property
    def detector(self) -> str:
        """Name of the detector."""
        return self.reading.score.detector

    @property
    def index(self) -> np.ndarray:
        """Positions of the tokens that counted, [tokens_scored]."""
        return self.reading.score.index

    @property
    def contributions(self) -> np.ndarray:
        """Their scores, [tokens_scored]."""
        return self.reading.score.contributions

    @cached_property
    def marked(self) -> np.ndarray:
        """Of the tokens that counted the probability that they are marked, [tokens_scored], as bets on parts
        that begin and end anywhere have it after the whole text (`tradeoff.detection.Switching`): for people,
        no p-value. Empty where a fitted detector was told nothing."""
        scheme = self.scheme
        if scheme is None:
            return np.zeros(0)
        # For people, so that tokens whose numbers depend on each other a little are taken as independent.
        return Switching(default_bets(scheme.method)).read(self.reading.evidence).share

    def over_time(self) -> tuple[np.ndarray, np.ndarray]:
        """The evidence along the text: (tokens of the text read, decimal logarithm of the p-value), [m] each.

        By sequential detection the p-value that holds at any time; else that of the text if it ended there,
        at up to 200 lengths, of which only one may be looked at.
        """
        if not self.tokens_scored:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        detector, scores = self.reading.detector, self.contributions
        if detector.exactness is Exactness.GIVEN_TEXT:
            detector = given_text(detector, self.reading.evidence)
        if self.sequential:
            log_p = of_e_values(detector.name, scores, self.index).log_p
            return self.index + 1, log_p / math.log(10)
        counts = np.unique(np.linspace(1, len(scores), min(len(scores), _POINTS)).astype(int))
        sums = np.cumsum(scores)
        log_p = np.array([detector.log_p(float(sums[count - 1]), int(count)) for count in counts])
        return self.index[counts - 1] + 1, np.maximum(log_p / math.log(10), _LOWEST_LOG10_P)

    def plot(self) -> Figure:
        """The evidence along the text, with the level of the verdict."""
        # Pictures are not what detection waits for.
        from tradeoff.plotting import COLORS, new_figure

        figure, ((axes,),) = new_figure(size=(6.4, 3.2))
        tokens, log10_p = self.over_time()
        label = f"{self.detector}, {'at any time' if self.sequential else 'if the text ended there'}"
        if len(tokens):
            axes.plot(tokens, log10_p, color=COLORS["blue"], label=label)
        else:
            axes.set(xlim=(0, 1), ylim=(-3, 0))
        axes.axhline(math.log10(self.fpr), color=COLORS["grey"], ls="--", lw=1, label=f"FPR {self.fpr:g}")
        axes.set(xlabel="tokens read", ylabel="log10 of the p-value", title=self._told())
        axes.legend()
        return figure

    def to_dict(self) -> dict[str, Any]:
        """The finding as `tradeoff detect --json` prints it; None where there is nothing to tell."""
        setting = self.reading.setting
        return {
            "id": self.text.id,
            "source": self.text.source,
            "verdict": str(self.verdict),
            "log10_p": self.log10_p,
            "log10_p_uncorrected": self.uncorrected_log10_p,
            "tokens": len(self.token_ids),
            "tokens_scored": self.tokens_scored,
            "detector": self.detector,
            **_facts(setting),
            "fpr": self.fpr,
            **self._parts(),
            **({"tokens_needed": self.tokens_needed} if self.sequential else {}),
            **({} if self.over_texts is None else self._of_corpus()),
            "tests": [tested.to_dict() for tested in self.tests],
        }

    def _parts(self) -> dict[str, Any]:
        """Where the watermark is, for programs; nothing by sequential detection."""
        if self.sequential:
            return {}
        told = [
            {
                "start": segment.start,
                "end": segment.end,
                "tokens_scored": segment.tokens_scored,
                "log10_p": _log10(segment.corrected_log_p),
                # Of token ids only who asks pays for a tokenizer.
                "characters": self.characters(segment) if self.reading.form.tokenised else None,
            }
            for segment in self.segments
        ]
        return {"log10_p_whole": self.whole_log10_p, "share": self.share, "segments": told}

    def _of_corpus(self) -> dict[str, Any]:
        """What texts that are judged together add, for programs."""
        possible = self.tokens_scored + self.shared
        return {
            "log10_p_of_text": _log10(self.test_log_p),
            "share_of_contexts_seen": self.shared / possible if possible else 0.0,
        }

    def _told(self) -> str:
        return f"{self.verdict}, log10 p = {self.log10_p:.2f}"

    def __repr__(self) -> str:
        how = "" if self.scheme is None else f", {self.scheme.label}"
        scored = f"{self.tokens_scored} of {len(self.token_ids)} tokens scored"
        if self.tokens_needed is not None:
            scored += ", where reading stopped"
        remarks = f"; {len(self.remarks)} remarks" if self.remarks else ""
        return f"<Result: {self._told()}, {scored}{how}{remarks}>"

    def _repr_html_(self) -> str:
        from tradeoff.display import table

        told = self.to_dict() | {"log10_p": f"{self.log10_p:.2f}"}
        del told["tests"]
        return table((name, value) for name, value in told.items() if value is not None)


def _facts(setting: Setting) -> dict[str, Any]:
    """What is looked for, for programs."""
    scheme = setting.scheme
    alpha = None if scheme is None else scheme.method.alpha
    return {
        "method": None if scheme is None else scheme.method.name,
        "watermark": None if scheme is None else scheme.watermark,
        **({} if alpha is None else {"alpha": alpha}),
        "prf": setting.prf.name,
        "context_width": setting.prf.context_width,
        "key": setting.prf.fingerprint,
        "key_name": setting.key.name,
    }


def _log10(log_p: float) -> float:
    """Of a natural logarithm the decimal one, which JSON can hold."""
    return max(log_p / math.log(10), _LOWEST_LOG10_P) if log_p else 0.0
