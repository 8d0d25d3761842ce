"""The verdict on one text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeoff.detection import Detector, Evidence, Score, Segment, Segments, of_e_values
from tradeoff.keyed import Prf
from tradeoff.scheme import Scheme
from tradeoff.texts import Text
from tradeoff.verdicts.spelling import PART

if TYPE_CHECKING:
    from tradeoff.plotting import Figure

__all__ = ["Outcome", "Reading", "Result"]

#: Stands for a p-value that a simulated null law cannot tell from 0: JSON has no infinity.
_LOWEST_LOG10_P = -1e9
#: Lengths at which the evidence along a text is computed.
_POINTS = 200
#: Of the tokens that count, the share in segments from which a text is called watermarked as a whole.
_WHOLE = 0.9
#: Segments that people are told of; programs are told of all.
_TOLD = 5


class Outcome(StrEnum):
    """What is said of a text."""

    #: p <= the false-positive rate, and nearly all of the text lies in segments.
    WATERMARKED = "watermarked"
    #: p <= the false-positive rate, and less of it does.
    IN_PART = "watermarked in part"
    NOT_DETECTED = "not detected"
    #: Fewer tokens count than a context has.
    TOO_SHORT = "too short"
    #: Its record claims none, and nothing was looked for.
    UNCLAIMED = "no watermark claimed"


@dataclass(frozen=True)
class Reading:
    """What the key says of one text, and by which detector.

    Attributes:
        prf: under which it was read.
        detector, evidence, score: what was read of the whole text, and how.
        segments: where the watermark is; None if nobody looked: by sequential detection, and by detectors
            without p-values of parts.
        tokens_needed: by sequential detection, after how many tokens the verdict was certain.
    """

    prf: Prf
    detector: Detector
    evidence: Evidence
    score: Score
    segments: Segments | None = None
    tokens_needed: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    """What was found of one text.

    Attributes:
        text: the text.
        token_ids: [n] its tokens, as far as they were read.
        scheme: by which it is taken to be generated; None if a fitted detector was told nothing.
        reading: None if its record claims no watermark, so that nothing was looked for.
        fpr: false-positive rate of the verdict.
        sequential: whether it was read token by token.
        spell: gives the words of its tokens.
        length: of its words, in characters; None if it has none.
        tokenised: whether its tokens were made of its words here.
        remarks: what its record and the caller disagree about, as it was warned of.
    """

    text: Text
    token_ids: np.ndarray = field(repr=False)
    scheme: Scheme | None
    reading: Reading | None = field(repr=False)
    fpr: float
    sequential: bool
    spell: Callable[[Result], list[str]]
    length: int | None = None
    tokenised: bool = False
    remarks: tuple[str, ...] = ()

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
        if self.reading is None:
            return Outcome.UNCLAIMED
        score = self.reading.score
        if self.reading.tokens_needed is None and score.tokens_scored < self.reading.prf.context_width:
            return Outcome.TOO_SHORT
        if self.log_p > math.log(self.fpr):
            return Outcome.NOT_DETECTED
        found = self.reading.segments
        return Outcome.IN_PART if found is not None and found.share < _WHOLE else Outcome.WATERMARKED

    @property
    def detected(self) -> bool:
        """Whether the verdict is that the text is watermarked, as a whole or in part."""
        return self.verdict in (Outcome.WATERMARKED, Outcome.IN_PART)

    def __bool__(self) -> bool:
        return self.detected

    @property
    def log_p(self) -> float:
        """Natural logarithm of the p-value of the verdict: that the text, or any part of it, scores so high,
        corrected for all that was looked at; 0 where nothing was looked for or could be scored."""
        if self.reading is None:
            return 0.0
        found = self.reading.segments
        return self.reading.score.log_p if found is None else found.log_p

    @property
    def log10_p(self) -> float:
        """Its decimal logarithm; finite, and 0 where nothing was looked for."""
        return _log10(self.log_p)

    @property
    def whole_log10_p(self) -> float:
        """Decimal logarithm of the p-value of the whole text, had nobody looked at its parts; finite."""
        return 0.0 if self.reading is None else _log10(self.reading.score.log_p)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Where the watermark is, in order: parts whose p-values, corrected for all that were looked at, are
        at most the false-positive rate. Empty where nobody looked."""
        found = None if self.reading is None else self.reading.segments
        return () if found is None else found.found

    @property
    def share(self) -> float | None:
        """Of the tokens that count, how many lie in segments: 0 to 1; None where nobody looked."""
        found = None if self.reading is None else self.reading.segments
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
        """Where a segment stands in the words of the text, from a character up to but not including another;
        None where there are no words, or its tokens do not spell them letter by letter.

        Raises:
            FileError: as `words`.
        """
        if self.length is None:
            return None
        lengths = [0 if word == PART else len(word) for word in self.words]
        if sum(lengths) != self.length:
            return None
        start = sum(lengths[: segment.start])
        return start, start + sum(lengths[segment.start : segment.end])

    @property
    def tokens_scored(self) -> int:
        """How many tokens counted."""
        return 0 if self.reading is None else self.reading.score.tokens_scored

    @property
    def tokens_needed(self) -> int | None:
        """By sequential detection, after how many tokens the verdict was certain."""
        return None if self.reading is None else self.reading.tokens_needed

    @property
    def detector(self) -> str | None:
        """Name of the detector; None where nothing was looked for."""
        return None if self.reading is None else self.reading.score.detector

    @property
    def index(self) -> np.ndarray:
        """Positions of the tokens that counted, [tokens_scored]."""
        return np.zeros(0, dtype=np.int64) if self.reading is None else self.reading.score.index

    @property
    def contributions(self) -> np.ndarray:
        """Their scores, [tokens_scored]."""
        return np.zeros(0) if self.reading is None else self.reading.score.contributions

    def over_time(self) -> tuple[np.ndarray, np.ndarray]:
        """The evidence along the text: (tokens of the text read, decimal logarithm of the p-value), [m] each.

        By sequential detection the p-value that holds at any time; else that of the text if it ended there,
        at up to 200 lengths, of which only one may be looked at.
        """
        if self.reading is None or not self.tokens_scored:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        detector, scores = self.reading.detector, self.contributions
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
        reading, scheme = self.reading, self.scheme
        return {
            "id": self.text.id,
            "source": self.text.source,
            "verdict": str(self.verdict),
            "log10_p": self.log10_p,
            "tokens": len(self.token_ids),
            "tokens_scored": self.tokens_scored,
            "detector": self.detector,
            "method": None if scheme is None else scheme.method.name,
            "watermark": None if scheme is None else scheme.watermark,
            "prf": None if reading is None else reading.prf.name,
            "context_width": None if reading is None else reading.prf.context_width,
            "key": None if reading is None else reading.prf.fingerprint,
            "fpr": self.fpr,
            **self._parts(),
            **({"tokens_needed": self.tokens_needed} if self.sequential else {}),
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
                "characters": self.characters(segment) if self.tokenised else None,
            }
            for segment in self.segments
        ]
        return {"log10_p_whole": self.whole_log10_p, "share": self.share, "segments": told}

    def _told(self) -> str:
        told = f"{self.verdict}, log10 p = {self.log10_p:.2f}"
        return told if self.reading is not None else str(self.verdict)

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
        return table((name, value) for name, value in told.items() if value is not None)


def _log10(log_p: float) -> float:
    """Of a natural logarithm the decimal one, which JSON can hold."""
    return max(log_p / math.log(10), _LOWEST_LOG10_P) if log_p else 0.0
