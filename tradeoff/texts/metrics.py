"""What generated texts say about a method: AATPS, acceptance against theory, LOGPPL, time per token.

Every estimate carries the standard error that belongs to its sampling: texts count as independent, the steps
within one do not. Texts under one key are independent only as far as their contexts differ, since a context
draws the same numbers in all of them. Over a large vocabulary and contexts of several tokens few are shared;
over a tiny one, or with contexts of one or two tokens, the errors are too small. Equal prompts of one run
have one text, which counts once: see `distinct_texts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tradeoff.estimate import Estimate
from tradeoff.texts.records import Record, Run

__all__ = [
    "Acceptance",
    "Blocks",
    "aatps",
    "acceptance",
    "blocks",
    "counted_steps",
    "distinct_texts",
    "excess_surprise",
    "interval",
    "log_perplexity",
    "paired_log_perplexity",
    "per_token_time",
]


def distinct_texts(records: Sequence[Record]) -> list[Record]:
    """The records, less those whose prompt (as token ids) an earlier one of the same run has.

    A text depends on its prompt, the key and the settings alone, so theirs are the same texts again, and say
    nothing new.
    """
    first: dict[tuple[str, Run], Record] = {}
    for record in records:
        first.setdefault((record.prompt_hash, record.run), record)
    return list(first.values())


def aatps(records: Sequence[Record], tokens: int | None = None) -> Estimate:
    """Average accepted tokens per step, the token after the drafts included: between 1 and K + 1.

    Of the steps that `counted_steps` counts; with `tokens` only of those that begin within so many tokens,
    because the acceptance rate moves as texts go on, and only equal lengths compare. A ratio of sums over
    texts, with the standard error of a ratio estimator whose independent units are texts.

    Raises:
        ValueError: without records.
    """
    records = _distinct(records)
    emitted, steps = np.zeros(len(records)), np.zeros(len(records))
    for row, record in enumerate(records):
        sizes = counted_steps(record.accepted, record.run.lookahead, record.run.max_tokens)
        counted = sizes if tokens is None else sizes[np.cumsum(sizes) - sizes < tokens]
        emitted[row], steps[row] = counted.sum(), len(counted)
    ratio = emitted.sum() / steps.sum()
    return Estimate(
        float(ratio), Estimate.of_mean(emitted - ratio * steps).standard_error / float(steps.mean())
    )


@dataclass(frozen=True)
class Blocks:
    """AATPS beside what theory says of the same steps, one draft after the other and as a block.

    Attributes:
        found: AATPS.
        by_token, by_block: 1 + mean over the same steps of how many drafts are accepted, given these.
        gain: by_block less by_token, paired by step; independent units are texts.
        z: of found against the rule that was followed, in standard errors: given all before it, what a step
            accepts has that mean, so the differences are uncorrelated.
        steps: their number.
    """

    found: float
    by_token: float
    by_block: float
    gain: Estimate
    z: float
    steps: int


def blocks(records: Sequence[Record]) -> Blocks:
    """AATPS of measured records, and of both rules given their drafts.

    Raises:
        ValueError: without records, or if they were not measured.
    """
    records = _distinct(records)
    sizes, tokens, together, expected = [], [], [], []
    for record in records:
        if record.by_token is None or record.by_block is None:
            raise ValueError(
                "the records do not hold what is accepted in the mean; generate them with measure=True "
                "(--measure) and a method that accepts min(1, P/Q) of its drafts"
            )
        counted = counted_steps(record.accepted, record.run.lookahead, record.run.max_tokens)
        sizes.append(counted - 1)
        tokens.append(np.array(record.by_token[: len(counted)]))
        together.append(np.array(record.by_block[: len(counted)]))
        expected.append(together[-1] if record.run.verify == "block" else tokens[-1])
    steps = np.array([len(counted) for counted in sizes])
    gains = np.array([(b - a).sum() for a, b in zip(tokens, together, strict=True)])
    gain = gains.sum() / steps.sum()
    error = Estimate.of_mean(gains - gain * steps).standard_error / float(steps.mean())
    found, one, all_, followed = map(np.concatenate, (sizes, tokens, together, expected))
    differences = Estimate.of_mean(found - followed)
    return Blocks(
        1 + float(found.mean()),
        1 + float(one.mean()),
        1 + float(all_.mean()),
        Estimate(float(gain), error),
        differences.value / differences.standard_error if differences.standard_error else math.nan,
        int(steps.sum()),
    )


def counted_steps(accepted: Sequence[int], lookahead: int, max_tokens: int) -> np.ndarray:
    """Tokens of the steps that say how many a step emits: [steps], before the text is cut at its end.

    The last steps of a text draft no more than it still wants, so they emit fewer tokens. Those that could
    not draft all K tokens are left out, whatever became of them, as leaving out only what was cut would
    favour short steps. Where K is more than a whole text, the first step counts, as if K were its length.

    Args:
        accepted: drafts accepted in every step of one text.
        lookahead: K.
        max_tokens: longest text.
    """
    sizes = np.array(accepted, dtype=np.int64) + 1
    return sizes[np.cumsum(sizes) - sizes <= max(max_tokens - lookahead, 0)]


@dataclass(frozen=True)
class Acceptance:
    """How often drafts were accepted, and how often they should have been.

    Attributes:
        rate: share of verified drafts that were accepted.
        expected: mean over the same positions of the method's own formula (1 - TV for most); NaN, like the
            standard error, for methods without one.
        overlap: mean over the same positions of 1 - TV(Q, P), the most that is possible.
        standard_error: of rate - expected, if the formula holds: at every position, given all before it,
            acceptance is a coin of the expected probability, so the differences are uncorrelated.
        verified: number of positions.
    """

    rate: float
    expected: float
    overlap: float
    standard_error: float
    verified: int

    @classmethod
    def of(
        cls, sources: Iterable[str], efficiency: Iterable[float | None], overlap: Iterable[float | None]
    ) -> Acceptance:
        """Of the positions of any texts, in columns as records have them.

        Raises:
            ValueError: if nothing was verified at them.
        """
        accepted, expected, overlaps = [], [], []
        for source, probability, most in zip(sources, efficiency, overlap, strict=True):
            if most is not None:
                accepted.append(source == "d")
                expected.append(math.nan if probability is None else probability)
                overlaps.append(most)
        if not accepted:
            raise ValueError(
                "no draft was verified in these records; they come from a method without speculation"
            )
        p = np.array(expected)
        return cls(
            float(np.mean(accepted)),
            float(p.mean()),
            float(np.mean(overlaps)),
            # Probabilities are rounded to 7 digits in records and may exceed 1 by rounding.
            math.sqrt(float(np.maximum(p * (1 - p), 0).sum())) / len(p),
            len(p),
        )

    @property
    def z(self) -> float:
        """(rate - expected) / standard error; NaN where acceptance is certain, or has no formula."""
        return (self.rate - self.expected) / self.standard_error if self.standard_error else math.nan


def acceptance(records: Sequence[Record]) -> Acceptance:
    """Acceptance rate against theory, from measured records with one candidate a level.

    Raises:
        ValueError: without records, if they were not measured, or if nothing was verified.
    """
    records = _distinct(records)
    sources: list[str] = []
    efficiency: list[float | None] = []
    overlap: list[float | None] = []
    for record in records:
        if record.overlap is None or record.efficiency is None:
            raise ValueError("the records hold no overlaps; generate them with measure=True (--measure)")
        sources += record.sources
        efficiency += record.efficiency
        overlap += record.overlap
    return Acceptance.of(sources, efficiency, overlap)


def log_perplexity(records: Sequence[Record], *, model: bool = False) -> Estimate:
    """LOGPPL: mean over texts of the mean -log P(token) under the target.

    Args:
        records: generated texts.
        model: at temperature 1 with nothing cut, instead of as sampled.

    Raises:
        ValueError: without records.
    """
    records = _distinct(records)
    values = np.array([record.logppl_model if model else record.logppl for record in records])
    return Estimate.of_mean(values)


def paired_log_perplexity(records: Sequence[Record], reference: Sequence[Record]) -> Estimate:
    """Mean difference of LOGPPL between two methods on the same prompts (first minus second).

    Prompts are the same if their ids and words are.

    Raises:
        ValueError: if they have no prompt in common.
    """
    known = {(record.id, record.prompt): record.logppl for record in reference}
    common = distinct_texts([r for r in records if (r.id, r.prompt) in known])
    if not common:
        raise ValueError("the two lists of records have no prompt in common; generate them from one file")
    differences = np.array([r.logppl - known[r.id, r.prompt] for r in common])
    return Estimate.of_mean(differences)


def excess_surprise(records: Sequence[Record]) -> Estimate:
    """Mean of -log P(token) - Ent(P) over all tokens of measured records: 0 for an unbiased method.

    Given all before it, every token has mean surprise Ent(P), so the differences are uncorrelated whatever
    the texts are about; this sees a bias that the spread of LOGPPL between texts hides.

    Raises:
        ValueError: without records, or if they were not measured.
    """
    records = _distinct(records)
    values = []
    for record in records:
        if record.log_p is None or record.entropy is None:
            raise ValueError("the records hold no entropies; generate them with measure=True (--measure)")
        values.append(-np.array(record.log_p) - np.array(record.entropy))
    return Estimate.of_mean(np.concatenate(values))


def per_token_time(records: Sequence[Record]) -> Estimate:
    """PTT: milliseconds from admission to the last token, divided by the tokens.

    Raises:
        ValueError: without records, or if they were not generated one at a time.
    """
    records = _distinct(records)
    batches = sorted({record.batch for record in records} - {1})
    if batches:
        raise ValueError(
            f"the records come from batches of {batches[-1]}, which share the machine; time per token needs "
            "batch 1"
        )
    times = np.array([1000 * record.seconds / len(record.token_ids) for record in records])
    return Estimate.of_mean(times)


def interval(estimate: Estimate, texts: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a mean over `texts` different texts, by Student's t; infinite for one."""
    if texts < 2:
        return -math.inf, math.inf
    half = float(stats.t.ppf((1 + level) / 2, texts - 1)) * estimate.standard_error
    return estimate.value - half, estimate.value + half


def _distinct(records: Sequence[Record]) -> list[Record]:
    if not records:
        raise ValueError("there are no records to measure; generate some texts first")
    return distinct_texts(records)
