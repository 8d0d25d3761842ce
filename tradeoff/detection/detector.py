"""What every detector offers: a score for every token that counts, and the law of their sum."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import singledispatch
from typing import Protocol, runtime_checkable

import numpy as np

from tradeoff.detection.evidence import Evidence
from tradeoff.keyed import Stream
from tradeoff.optimal_transport import Scores

__all__ = [
    "Detector",
    "Exactness",
    "Readings",
    "Score",
    "bit_readings",
    "detect",
    "for_parts",
    "given_text",
    "log_p_values",
    "score_readings",
    "uniform_readings",
]


class Exactness(StrEnum):
    """What stands behind a detector's p-values."""

    #: The law of the statistic without a watermark, for every text.
    EXACT = "exact"
    #: That law for one text, whose tokens it depends on.
    GIVEN_TEXT = "exact, given the text"
    #: An inequality: p-values are never too small, and may be larger than they need be.
    BOUND = "bound"
    #: A simulation of that law, which knows nothing of what is rarer than its draws.
    SIMULATED = "simulated"
    #: A law that is not that of the statistic.
    APPROXIMATE = "approximate"
    #: What no detector knows, such as which tokens were drafted: a bound on all detectors.
    ORACLE = "oracle"

    @property
    def holds(self) -> bool:
        """Whether p-values of any size can be trusted."""
        return self in (Exactness.EXACT, Exactness.GIVEN_TEXT, Exactness.BOUND)

    @property
    def of_parts(self) -> bool:
        """Whether they can be trusted for any part of a text as well: all scores have one law."""
        return self in (Exactness.EXACT, Exactness.BOUND)


@dataclass(frozen=True)
class Readings:
    """What the key says at the tokens of a text, for people.

    Attributes:
        kind: what the numbers are: "uniform", "ones" of tournament bits, "f" of a transport's scores.
        columns: for every stream that is read, [t] numbers as they are shown.
    """

    kind: str
    columns: dict[Stream, list[str]]

    def of(self, token: int) -> str:
        """Those of one token: "uniform 0.9712", "ones draft 18 of 30, target 12 of 30"."""
        if len(self.columns) == 1:
            (column,) = self.columns.values()
            return f"{self.kind} {column[token]}"
        told = (f"{stream} {column[token]}" for stream, column in self.columns.items())
        return f"{self.kind} " + ", ".join(told)


@runtime_checkable
class Detector(Hashable, Protocol):
    """A test of "this text carries the watermark of this key" by a sum of token scores.

    Without a watermark all scores have one law, so that p-values depend on how many there are and not on
    which; else `exactness` is `GIVEN_TEXT`. The score of a position depends on its own token and context
    alone, and detectors can be hashed, as thresholds are remembered.
    """

    @property
    def id(self) -> str:
        """Stable, for programs: tables and figures tell detectors apart by it."""

    @property
    def name(self) -> str:
        """For people, as in tables."""

    @property
    def exactness(self) -> Exactness:
        """What stands behind its p-values."""

    @property
    def null(self) -> str:
        """Where p-values come from, for people: the law of the statistic without a watermark."""

    def readings(self, evidence: Evidence) -> Readings:
        """What the key says at the tokens that count."""

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """Scores of the tokens that count: [t], large with a watermark."""

    def log_p(self, statistic: float, count: int) -> float:
        """log p-value (natural) of a sum of `count` scores."""

    def threshold(self, count: int, fpr: float) -> float:
        """The least sum of `count` >= 1 scores whose p-value is at most `fpr`, to the fineness of its law."""


@singledispatch
def log_p_values(detector: Detector, statistics: np.ndarray, count: int) -> np.ndarray:
    """`Detector.log_p` of many sums of `count` scores: [k] to [k].

    Register a faster one with the type of a detector of your own, if there is one.
    """
    # Sums of discrete scores are often the same.
    known, which = np.unique(statistics, return_inverse=True)
    return np.array([detector.log_p(one, count) for one in known.tolist()])[which]


@singledispatch
def given_text(detector: Detector, evidence: Evidence) -> Detector:
    """The detector of one text: another one where p-values depend on its tokens (`Exactness.GIVEN_TEXT`) and
    `detector` is of any text.

    Register what makes it with the type of a detector of your own, if p-values do.
    """
    return detector


@singledispatch
def for_parts(detector: Detector) -> Detector | None:
    """The detector of parts of texts, of the same scores: itself if its p-values hold for any part
    (`Exactness.of_parts`), None if there is none.

    Register another one with the type of a detector of your own, if its whole texts have laws of their own.
    """
    return detector if detector.exactness.of_parts else None


def uniform_readings(evidence: Evidence, streams: Iterable[Stream]) -> Readings:
    """The uniforms of races."""
    return Readings("uniform", {s: [f"{u:.4f}" for u in evidence.uniform(s)] for s in streams})


def bit_readings(evidence: Evidence, streams: Iterable[Stream], rounds: int) -> Readings:
    """How many of the tournament bits are ones."""
    sums = {stream: evidence.bits(stream, rounds).sum(axis=-1) for stream in streams}
    return Readings("ones", {stream: [f"{n} of {rounds}" for n in ones] for stream, ones in sums.items()})


def score_readings(evidence: Evidence, streams: Iterable[Stream], scores: Scores) -> Readings:
    """The scores f(v, s) of a transport."""
    return Readings("f", {s: [f"{value:.2f}" for value in evidence.score(s, scores)] for s in streams})


@dataclass(frozen=True)
class Score:
    """What one detector says of one text.

    Attributes:
        detector: its name.
        statistic: the sum of token scores.
        log_p: natural logarithm of the p-value.
        tokens_scored: how many tokens counted.
        index: their positions, [tokens_scored].
        contributions: their scores, [tokens_scored].
    """

    detector: str
    statistic: float
    log_p: float
    tokens_scored: int
    index: np.ndarray = field(repr=False)
    contributions: np.ndarray = field(repr=False)

    @property
    def log10_p(self) -> float:
        """Decimal logarithm of the p-value: 0 where nothing could be scored."""
        return self.log_p / math.log(10)


def detect(detector: Detector, evidence: Evidence) -> Score:
    """Score a text."""
    scores = detector.contributions(evidence)
    statistic = float(scores.sum())
    log_p = given_text(detector, evidence).log_p(statistic, len(scores)) if len(scores) else 0.0
    return Score(detector.name, statistic, log_p, len(scores), evidence.index, scores)
