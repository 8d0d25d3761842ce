"""Texts judged together: what they share counts once, and the verdicts are corrected for how many they are.

The numbers of a key at a context are the same in every text that has it, so that texts which share passages
share their luck. Where every context counts in the first text alone that has it, p-values of different texts
are independent under a random key, whatever the texts: corrections for many texts hold, and the sum over all
of them has the null law of its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tradeoff.detection import benjamini_hochberg, for_parts, holm
from tradeoff.keyed import Keyring
from tradeoff.texts import Broken, Text
from tradeoff.verdicts.examine import Examiner
from tradeoff.verdicts.options import Options
from tradeoff.verdicts.result import Correction, Result
from tradeoff.verdicts.seen import SeenContexts
from tradeoff.verdicts.settings import Setting

__all__ = ["Corpus", "CorpusResult", "Together"]


_CORRECTED: dict[Correction, Callable[[np.ndarray], np.ndarray]] = {
    Correction.HOLM: holm,
    Correction.BENJAMINI_HOCHBERG: benjamini_hochberg,
}


@dataclass(frozen=True)
class Together:
    """What one test says of all texts as one.

    Attributes:
        setting: key, scheme and detector.
        statistic: the sum of the scores of all contexts, each counted once.
        tokens_scored: how many these are.
        log_p: natural logarithm of its p-value, corrected for all settings (Holm).
    """

    setting: Setting
    statistic: float
    tokens_scored: int
    log_p: float

    @property
    def log10_p(self) -> float:
        """Its decimal logarithm."""
        return self.log_p / math.log(10)


@dataclass(frozen=True)
class CorpusResult:
    """What is said of texts that were judged together.

    Attributes:
        results: of every text, with its verdict corrected for all of them; or why it cannot be read.
        together: what every setting of options and keyring says of all texts as one; empty for detectors
            whose p-values are not exact for any tokens.
        contexts: how many positions the texts have that could count.
        shared: how many of these had a context that a text before had, and counted there.
    """

    results: tuple[Result | Broken, ...] = field(repr=False)
    together: tuple[Together, ...]
    contexts: int
    shared: int

    @property
    def log10_p(self) -> float | None:
        """Decimal logarithm of the p-value of all texts as one: that any of them is watermarked; None for
        detectors whose p-values are not exact for any tokens."""
        return min((one.log10_p for one in self.together), default=None)


class Corpus:
    """Judges texts together. The results of all are kept, some 20 kB for a text of 200 tokens.

    Args:
        options, keyring, warn, note: as of `Examiner`; sequential detection cannot be corrected for texts.
        correction: for the number of texts.

    Raises:
        ValueError: as `Examiner`, and for sequential detection.
    """

    def __init__(
        self,
        options: Options,
        keyring: Keyring,
        warn: Callable[[str], None],
        note: Callable[[str], None],
        correction: Correction = Correction.HOLM,
    ):
        if options.sequential:
            raise ValueError(
                "sequential detection reads every text by itself; leave out sequential, or the corpus"
            )
        self._correction = Correction(correction)
        self._examiner = Examiner(options, keyring, warn, note, SeenContexts())

    def judge(self, texts: Iterable[Text | Broken]) -> CorpusResult:
        """Judge texts, in whose order contexts are counted."""
        found = list(self._examiner.examine_all(texts))
        results = [one for one in found if isinstance(one, Result)]
        corrected = iter(_CORRECTED[self._correction](np.array([one.test_log_p for one in results])).tolist())
        contexts = sum(one.tokens_scored + one.shared for one in results)
        return CorpusResult(
            tuple(
                replace(one, over_texts=next(corrected), correction=self._correction)
                if isinstance(one, Result)
                else one
                for one in found
            ),
            tuple(self._together(results)),
            contexts,
            sum(one.shared for one in results),
        )

    def _together(self, results: Sequence[Result]) -> list[Together]:
        # Those that differ in the tokenizer alone are one test here.
        read_alike = {(one.prf, one.detector): one for one in reversed(self._examiner.settings)}
        # All texts together are read as any part of one is.
        settings = [
            (one, parts)
            for one in reversed(read_alike.values())
            if results and (parts := for_parts(one.detector)) is not None
        ]
        sums = []
        for setting, parts in settings:
            # The words as they are: others are the same ones once more.
            scores = [
                next(
                    tested.reading.score
                    for tested in result.tests
                    if tested.reading.form.normal is None
                    and (tested.reading.prf, tested.reading.detector) == (setting.prf, setting.detector)
                )
                for result in results
            ]
            count = sum(score.tokens_scored for score in scores)
            statistic = math.fsum(score.statistic for score in scores)
            sums.append((statistic, count, parts.log_p(statistic, count) if count else 0.0))
        corrected = holm(np.array([log_p for *_, log_p in sums]))
        return [
            Together(setting, statistic, count, float(log_p))
            for (setting, _), (statistic, count, _), log_p in zip(settings, sums, corrected, strict=True)
        ]
