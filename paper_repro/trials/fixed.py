"""Detectors on the texts of a preset: TPR against length, ROC curves.

Detectors that need training are cross-fitted: those fitted on the texts with an even number are tried on
those with an odd number, and the other way round, so that every text is tested and none by a detector that
has seen it. All texts share one key, so a context that occurs in two texts has the same numbers in both:
such positions are left out of training. Thresholds are those of the law of a score without a watermark, for
the number of tokens that count; the false-positive rate is measured on human text under random keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, singledispatch
from typing import Any

import numpy as np
import pandas as pd

from paper_repro.presets import LENGTHS, Cell
from tradeoff.decoders import Completed, Decoder, GumbelMax, SynthID, Transport, parse_decoder
from tradeoff.detection import (
    Aaronson,
    ArsPrior,
    ArsTau,
    AuthorsTest,
    Detector,
    Evidence,
    LikelihoodRatio,
    MeanBits,
    Mixing,
    Oracle,
    RacePrior,
    SumOfKeys,
    WeightedMeanBits,
    default_detector,
    fit_bayes,
    fit_tau,
    rate,
    roc,
    scored_rounds,
)
from tradeoff.kernels import Coin, Method, make_method
from tradeoff.keyed import Prf, Stream
from tradeoff.texts import Record

__all__ = [
    "FPR",
    "CellEvidence",
    "Fold",
    "Limits",
    "Trial",
    "evidence_of",
    "fit_detectors",
    "fit_folds",
    "roc_table",
    "score_sums",
    "tpr_table",
    "try_detectors",
]

FPR = 0.01
_FOLDS = 2


@dataclass(frozen=True)
class CellEvidence:
    """The texts of a cell under their key."""

    cell: Cell
    records: list[Record] = field(repr=False)
    texts: list[Evidence] = field(repr=False)

    @property
    def method(self) -> Method:
        """Kernel and watermark."""
        return make_method(self.cell.method, parse_decoder(self.cell.watermark))

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths at which detectors are tried."""
        return tuple(n for n in LENGTHS if n <= self.cell.max_tokens)


def evidence_of(cell: Cell, records: list[Record], prf: Prf) -> CellEvidence:
    """Recompute the pseudorandom numbers of records; their sources are for the oracle alone."""
    texts = [Evidence(record.token_ids, prf, record.sources) for record in records]
    return CellEvidence(cell, records, texts)


def fit_detectors(method: Method, training: Sequence[Evidence], seed: int = 0) -> list[Detector]:
    """Every detector for a method, fitted where it needs it."""
    return _of_decoder(method.decoder, method, training)


@singledispatch
def _of_decoder(decoder: Decoder, method: Method, training: Sequence[Evidence]) -> list[Detector]:
    return [default_detector(method)]


@_of_decoder.register
def _(decoder: GumbelMax, method: Method, training: Sequence[Evidence]) -> list[Detector]:
    streams, keyed = method.detection.streams, method.detection.coin is Coin.KEYED
    if len(streams) == 1:
        (stream,) = streams
        uniforms = np.concatenate([evidence.uniform(stream) for evidence in training])
        return [Aaronson(stream), LikelihoodRatio(RacePrior.fit(uniforms), stream)]
    found: list[Detector] = [ArsPrior(_drafted_share(training)), SumOfKeys(), Oracle()]
    if keyed:
        found.insert(0, ArsTau(fit_tau(training, FPR)))
    found.insert(-1, LikelihoodRatio.fit(training, coin=keyed))
    return found


@_of_decoder.register
def _(decoder: SynthID, method: Method, training: Sequence[Evidence]) -> list[Detector]:
    streams, rounds = method.detection.streams, scored_rounds(decoder)
    if len(streams) == 1:
        ordered = tuple(streams)
        bayes = fit_bayes(training, rounds, "single", streams=ordered)
        return [MeanBits(rounds, ordered), WeightedMeanBits(rounds, ordered), bayes]
    mixings: list[Mixing] = ["layer", "token", "oracle"]
    if method.detection.coin is Coin.KEYED:
        mixings.insert(2, "mlp")
    share = _drafted_share(training)
    fitted = [fit_bayes(training, rounds, mixing, share=share) for mixing in mixings]
    return [WeightedMeanBits(rounds, (Stream.DRAFT, Stream.TARGET)), *fitted]


@_of_decoder.register
def _(decoder: Transport, method: Method, training: Sequence[Evidence]) -> list[Detector]:
    return _of_transport(method, decoder)


@_of_decoder.register
def _(decoder: Completed, method: Method, training: Sequence[Evidence]) -> list[Detector]:
    return _of_completed(method, decoder)


@cache
def _of_transport(method: Method, decoder: Transport) -> list[Detector]:
    """The test that the key allows, and beside it that of the authors."""
    streams = tuple(stream for stream in Stream if stream in method.detection.streams)
    authors = [] if decoder.scores.presumed is None else [AuthorsTest(decoder.scores, streams)]
    return [default_detector(method), *authors]


@cache
def _of_completed(method: Method, decoder: Completed) -> list[Detector]:
    """The test that the key allows, and beside it the same without the race."""
    return [default_detector(method), default_detector(replace(method, decoder=decoder.decoder))]


def _drafted_share(training: Sequence[Evidence]) -> float:
    return float(np.mean(np.concatenate([evidence.drafted for evidence in training])))


@dataclass(frozen=True)
class Trial:
    """One detector on one cell.

    Attributes:
        cell, detector, null: what was tried, and where its threshold comes from.
        lengths: [l].
        margins: [texts, l] score minus threshold at FPR.
        null_margins: [null texts, l] the same on human text under random keys.
        log_p: [texts] log p-values at the length of the ROC curves; empty without that length.
        null_log_p: [null texts] likewise.
        scores: mean score a token.
        prompts: [texts] names of what the texts continue.
    """

    cell: Cell
    detector: str
    null: str
    lengths: tuple[int, ...]
    margins: np.ndarray = field(repr=False)
    null_margins: np.ndarray = field(repr=False)
    log_p: np.ndarray = field(repr=False)
    null_log_p: np.ndarray = field(repr=False)
    scores: float = math.nan
    prompts: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Fold:
    """Detectors and the texts that they have not seen: positions in the list of texts."""

    tested: list[int]
    detectors: list[Detector] = field(repr=False)


def fit_folds(texts: CellEvidence, report: Callable[[str], None] = lambda _: None) -> list[Fold]:
    """Fit every detector on half of the texts, to be tried on the other half, and the other way round."""
    folds = []
    for fold in range(_FOLDS):
        report(f"fitting detectors, part {fold + 1} of {_FOLDS}")
        tested = list(range(fold, len(texts.texts), _FOLDS))
        known = {context.tobytes() for i in tested for context in texts.texts[i].contexts}
        training = [
            evidence.restricted(np.array([c.tobytes() not in known for c in evidence.contexts], dtype=bool))
            for i, evidence in enumerate(texts.texts)
            if i % _FOLDS != fold
        ]
        folds.append(Fold(tested, fit_detectors(texts.method, training)))
    return folds


def try_detectors(
    texts: CellEvidence,
    folds: Sequence[Fold],
    nulls: Sequence[Evidence],
    roc_tokens: int,
    report: Callable[[str], None] = lambda _: None,
) -> list[Trial]:
    """Test every detector on the texts of a cell, and on `nulls`: human text under random keys."""
    found: dict[str, list[Trial]] = {}
    for number, fold in enumerate(folds):
        tested = [texts.texts[i] for i in fold.tested]
        for detector in fold.detectors:
            report(detector.name)
            found.setdefault(detector.name, []).append(
                replace(
                    _try(detector, texts, tested, nulls[number :: len(folds)], roc_tokens),
                    prompts=tuple(texts.records[i].id for i in fold.tested),
                )
            )
    return [
        replace(
            parts[0],
            margins=np.concatenate([part.margins for part in parts]),
            null_margins=np.concatenate([part.null_margins for part in parts]),
            log_p=np.concatenate([part.log_p for part in parts]),
            null_log_p=np.concatenate([part.null_log_p for part in parts]),
            scores=float(np.mean([part.scores for part in parts])),
            prompts=tuple(name for part in parts for name in part.prompts),
        )
        for parts in found.values()
    ]


def _try(
    detector: Detector,
    texts: CellEvidence,
    tested: Sequence[Evidence],
    nulls: Sequence[Evidence],
    roc_tokens: int,
) -> Trial:
    lengths, limit = texts.lengths, Limits(detector)
    sums, counts, scores = score_sums(detector, tested, lengths)
    null_sums, null_counts, _ = score_sums(detector, nulls, lengths)

    def log_p(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        if roc_tokens not in lengths:
            return np.zeros(0)
        at = lengths.index(roc_tokens)
        pairs = zip(sums[:, at], counts[:, at], strict=True)
        return np.array([detector.log_p(float(x), int(n)) if n else 0.0 for x, n in pairs])

    return Trial(
        texts.cell,
        detector.name,
        detector.null,
        lengths,
        sums - limit(counts),
        null_sums - limit(null_counts),
        log_p(sums, counts),
        log_p(null_sums, null_counts),
        scores,
    )


class Limits:
    """Thresholds by number of scored tokens, each computed once; `level` gives the p-value for a number."""

    def __init__(self, detector: Detector, level: Callable[[int], float] = lambda _: FPR):
        self._detector, self._level = detector, level
        self._known: dict[int, float] = {0: math.inf}

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        for count in map(int, np.unique(counts)):
            if count not in self._known:
                self._known[count] = self._detector.threshold(count, self._level(count))
        return np.vectorize(self._known.__getitem__, otypes=[float])(counts)


def score_sums(
    detector: Detector, texts: Sequence[Evidence], lengths: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Sums of scores and numbers of scored tokens of the first n tokens, [texts, lengths]; mean score."""
    sums = np.zeros((len(texts), len(lengths)))
    counts = np.zeros((len(texts), len(lengths)), dtype=int)
    total = number = 0.0
    for row, evidence in enumerate(texts):
        scores = detector.contributions(evidence)
        running = np.concatenate([[0.0], np.cumsum(scores)])
        counts[row] = np.searchsorted(evidence.index, lengths)
        sums[row] = running[counts[row]]
        total, number = total + float(running[-1]), number + len(scores)
    return sums, counts, total / number if number else math.nan


def tpr_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """TPR and measured FPR with 95% intervals, one row a detector and length; "both" pools the prompts."""
    rows: list[dict[str, Any]] = []
    for parts in _with_pooled(trials):
        first = parts[0]
        margins = np.concatenate([part.margins for part in parts])
        null_margins = np.concatenate([part.null_margins for part in parts])
        for column, tokens in enumerate(first.lengths):
            tpr = rate(margins[:, column] >= 0)
            fpr = rate(null_margins[:, column] >= 0)
            rows.append(
                _labels(parts)
                | {
                    "null": first.null,
                    "tokens": tokens,
                    "texts": tpr.texts,
                    "tpr": tpr.value,
                    "tpr_low": tpr.low,
                    "tpr_high": tpr.high,
                    "fpr": fpr.value,
                    "fpr_low": fpr.low,
                    "fpr_high": fpr.high,
                    "mean_score": float(np.mean([part.scores for part in parts])),
                }
            )
    return pd.DataFrame(rows)


def roc_table(trials: Sequence[Trial], tokens: int) -> pd.DataFrame:
    """ROC curves at a length, texts ranked by p-value, against human text under random keys."""
    tables = []
    for parts in _with_pooled(trials):
        null, marked = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("null_log_p", "log_p")
        )
        if not len(null) or not len(marked):
            continue
        false, true = roc(-null, -marked)
        # Only the corners: the rest of a staircase is implied. Beyond 1% a logarithmic axis does not tell
        # steps of a fiftieth of a decade apart.
        coarse = np.where(false > 0.01, 10 ** (np.ceil(50 * np.log10(np.maximum(false, 1e-9))) / 50), false)
        kept = np.concatenate([[True], np.diff(coarse) > 0]) | np.concatenate([np.diff(coarse) > 0, [True]])
        table = pd.DataFrame({"fpr": false[kept], "tpr": true[kept]})
        tables.append(table.assign(**_labels(parts), tokens=tokens))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _with_pooled(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Every trial alone, then those that differ in their prompts only, together."""
    groups: dict[tuple, list[Trial]] = {}
    for trial in trials:
        cell = trial.cell
        key = (cell.watermark, cell.temperature, cell.label, cell.lookahead, trial.detector)
        groups.setdefault(key, []).append(trial)
    return [[trial] for trial in trials] + [group for group in groups.values() if len(group) > 1]


def _labels(parts: Sequence[Trial]) -> dict[str, Any]:
    cell = parts[0].cell
    return {
        "prompts": cell.prompts.name if len(parts) == 1 else "both",
        "temperature": cell.temperature,
        "watermark": cell.watermark,
        "method": cell.label,
        "lookahead": cell.lookahead,
        "detector": parts[0].detector,
    }
