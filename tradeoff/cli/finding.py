"""What `tradeoff detect` found of one text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradeoff.decoders import decoder_name
from tradeoff.detection import Detector, Evidence, Result
from tradeoff.detection.json_texts import Text
from tradeoff.kernels import Method
from tradeoff.prf import Prf

__all__ = ["VERDICTS", "Finding", "Reading"]

VERDICTS = ("watermarked", "not detected", "too short", "no watermark claimed")
WATERMARKED, NOT_DETECTED, TOO_SHORT, UNCLAIMED = VERDICTS
#: Stands for a p-value that a simulated null law cannot tell from 0: JSON has no infinity.
_LOWEST_LOG10_P = -1e9


@dataclass(frozen=True)
class Reading:
    """What the key says of one text, and by which detector.

    Attributes:
        prf: under which it was read.
        detector, evidence, result: what was read, and how.
        tokens_needed: by sequential detection, after how many tokens the verdict was certain.
    """

    prf: Prf
    detector: Detector
    evidence: Evidence
    result: Result
    tokens_needed: int | None = None


@dataclass(frozen=True)
class Finding:
    """What was found of one text.

    Attributes:
        text: the text.
        token_ids: [n] its tokens, as far as they were read.
        method: by which it is taken to be generated; None if a fitted detector was told nothing.
        reading: None if its record claims no watermark, so that nothing was looked for.
        fpr: false-positive rate of the verdict.
        sequential: whether texts are read token by token.
    """

    text: Text
    token_ids: np.ndarray
    method: Method | None
    reading: Reading | None
    fpr: float
    sequential: bool = False

    @property
    def verdict(self) -> str:
        """One of VERDICTS: too short if fewer tokens count than a context has."""
        if self.reading is None:
            return UNCLAIMED
        result = self.reading.result
        if self.reading.tokens_needed is None and result.tokens_scored < self.reading.prf.context_width:
            return TOO_SHORT
        return WATERMARKED if result.log_p <= math.log(self.fpr) else NOT_DETECTED

    @property
    def log10_p(self) -> float:
        """Decimal logarithm of the p-value; finite, and 0 where nothing was looked for."""
        return 0.0 if self.reading is None else max(self.reading.result.log10_p, _LOWEST_LOG10_P)

    @property
    def tokens_scored(self) -> int:
        """How many tokens counted."""
        return 0 if self.reading is None else self.reading.result.tokens_scored

    def scores(self) -> dict[str, list]:
        """Positions of the tokens that count, and their scores, as --json prints them with --tokens."""
        if self.reading is None:
            return {"index": [], "scores": []}
        result = self.reading.result
        return {"index": result.index.tolist(), "scores": result.contributions.tolist()}

    def as_json(self) -> dict[str, Any]:
        """The finding as `tradeoff detect --json` prints it; None where there is nothing to tell."""
        reading = self.reading
        needed = None if reading is None else reading.tokens_needed
        return {
            "id": self.text.id,
            "source": self.text.source,
            "verdict": self.verdict,
            "log10_p": self.log10_p,
            "tokens": len(self.token_ids),
            "tokens_scored": self.tokens_scored,
            "detector": None if reading is None else reading.result.detector,
            "method": None if self.method is None else self.method.name,
            "watermark": None if self.method is None else decoder_name(self.method.decoder),
            "prf": None if reading is None else reading.prf.name,
            "context_width": None if reading is None else reading.prf.context_width,
            "key": None if reading is None else reading.prf.fingerprint,
            "fpr": self.fpr,
            **({"tokens_needed": needed} if self.sequential else {}),
        }
