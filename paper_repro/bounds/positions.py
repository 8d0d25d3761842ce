"""Texts of a cell read back by both models: what theory predicts at every position, and what happened there.

A position is one where a draft was verified, or a bonus position, which is determined before its token is
drawn. Given everything before it, the mean of what is measured there is the prediction, so that differences
are uncorrelated over all positions of all texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from paper_repro.bounds.simulated import simulated_scores
from paper_repro.trials.fixed import CellEvidence
from paper_repro.trials.replays import kept_entries, short
from tradeoff.curves import google_end_point_strength, hu_end_point_strength
from tradeoff.decoders import GumbelMax, is_degenerate
from tradeoff.detection import (
    Aaronson,
    Detector,
    Evidence,
    SumOfKeys,
    default_detector,
    race_score_law,
)
from tradeoff.kernels import KeyedRandomness, Method
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.laws import draft_acceptance, entropy, residual, without_rare
from tradeoff.llm import ModelPair, Sampling, position_laws, skip_layers
from tradeoff.texts import Prompt, Record

__all__ = ["has_formula", "read_cell", "wrong_function", "wrong_pair"]

#: A key that wrote none of the texts.
_WRONG_KEY = Key(b"a key that wrote none of the texts")
#: Tokens that are rarer in both laws are left out of expected scores, and the laws normalised.
LEAST = 1e-7
#: Simulated scores a position, where they have no formula.
DRAWS = 48
#: Methods whose formulas of mean and variance are those of `race_score_law`.
_EXACT = (
    "basic",
    "keep-strength",
    "keep-efficiency",
    "two-keys",
    "algorithm-1",
    "single-key",
    "one-race",
    "joint-race",
)
#: Strength where a draft was verified, of methods whose coin is truly random; of others it is the entropy.
_LEFT_TO_CHANCE = {"two-keys": google_end_point_strength, "keep-efficiency": hu_end_point_strength}


def wrong_pair(pair: ModelPair) -> ModelPair:
    """The pair with a draft that wrote none of the texts: the target without every sixth layer."""
    layers = range(1, pair.target.config.num_hidden_layers, 6)
    return replace(pair, draft=skip_layers(pair.target, layers), draft_name="every sixth layer left out")


def has_formula(method: Method) -> bool:
    """Whether mean and variance of what its default detector reads are formulas, not simulated."""
    return method.decoder == GumbelMax() and method.name in _EXACT


def wrong_function(prf: KeyedPrf) -> KeyedPrf:
    """The function under a key that wrote none of the texts."""
    return KeyedPrf(_WRONG_KEY, prf.context_width)


def read_cell(
    texts: CellEvidence,
    prompts: Sequence[Prompt],
    prf: KeyedPrf,
    pair: ModelPair,
    wrong: ModelPair,
    count: int,
    path: Path,
) -> list[dict[str, Any]]:
    """The first `count` texts of a cell, kept in `path` one JSON object a line; only missing ones are read.

    Args:
        texts: of a method with a watermark, whose drafts were verified one by one.
        prompts: of its set.
        prf: that wrote them.
        pair: that wrote them.
        wrong: `wrong_pair` of it.
        count: how many texts.
        path: of the file.

    Returns:
        For every text its name and lists of one number a position that counts. `verified`: whether a draft
        was verified there. `score`, `wrong_key`: what the default detector reads under the key and under
        another; `mean`, `variance`: of the former as predicted. `surprise`, `entropy`: of the target;
        `shuffled`, `shuffled_entropy`: with the law of another position. `ratio`: log P_zeta(token)/P(token),
        None where that is 0; `wrong_ratio`: under another key; `strength`: its mean as predicted; all three
        empty where the method leaves more than a coin to chance. `accepted`, `efficiency`, `wrong_draft`:
        where a draft was verified, whether it was accepted, and the chance of that with the laws of the draft
        and of a wrong one; empty for a method without a formula.

    Raises:
        FileError: if the file holds something else or cannot be written.
    """
    reader = _Reader(texts.method, prf, pair, wrong, Sampling(texts.cell.temperature))
    return kept_entries(texts, prompts, count, path, "bounds", reader)


@dataclass(frozen=True)
class _Reader:
    method: Method
    prf: KeyedPrf
    pair: ModelPair
    wrong: ModelPair
    sampling: Sampling

    def __call__(self, prompt: Sequence[int], record: Record) -> dict[str, Any]:
        evidence = Evidence(record.token_ids, self.prf)
        index = evidence.index
        p, q = position_laws(self.pair, self.sampling, prompt, record.token_ids, index)
        assert record.overlap is not None
        verified = np.array([record.overlap[at] is not None for at in index], dtype=bool)
        other = evidence.under(wrong_function(self.prf))
        detector = default_detector(self.method)
        mean, variance = self._scores(detector, p, q, verified, record)
        shuffled = np.roll(p, len(p) // 2, axis=0)
        return {
            "verified": verified.astype(int).tolist(),
            "score": short(detector.contributions(evidence)),
            "wrong_key": short(detector.contributions(other)),
            "mean": short(mean),
            "variance": short(variance),
            "surprise": short(-np.log(_at(p, evidence.tokens))),
            "entropy": short(entropy(p)),
            "shuffled": short(-np.log(_at(shuffled, evidence.tokens))),
            "shuffled_entropy": short(entropy(shuffled)),
            **self._strength(evidence, p, q, verified),
            **self._acceptance(prompt, record, index[verified], p[verified], q[verified]),
        }

    def _scores(
        self, detector: Detector, p: np.ndarray, q: np.ndarray, verified: np.ndarray, record: Record
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the detector's score as predicted: [t] each."""
        mean, variance = np.zeros(len(p)), np.zeros(len(p))
        # The same positions of the same text get the same draws.
        rng = np.random.default_rng([*record.prompt_hash.encode()])
        ids = np.arange(p.shape[1])
        for i, (target, draft) in enumerate(zip(p, q, strict=True)):
            kept = np.maximum(target, draft) >= LEAST
            target, draft, _ = without_rare(target, draft, LEAST)
            exact = _exact_moments(self.method, detector, target, draft if verified[i] else None)
            if exact is None:
                drawn = simulated_scores(
                    self.method, detector, target, draft if verified[i] else None, ids[kept], DRAWS, rng
                )
                spread = float(drawn.var(ddof=1))
                # The prediction has an error of its own.
                exact = float(drawn.mean()), spread * (1 + 1 / DRAWS)
            mean[i], variance[i] = exact
        return mean, variance

    def _strength(
        self, evidence: Evidence, p: np.ndarray, q: np.ndarray, verified: np.ndarray
    ) -> dict[str, Any]:
        """Log ratios of the law given the key to that of the target, and their mean as predicted."""
        chance = _LEFT_TO_CHANCE.get(self.method.name)
        if not is_degenerate(self.method.decoder) or not (self.method.determined or chance):
            return {"ratio": [], "wrong_ratio": [], "strength": []}
        predicted = entropy(p)
        if chance is not None and verified.any():
            predicted[verified] = chance(p[verified], q[verified])
        found = {}
        for name, prf in (("ratio", self.prf), ("wrong_ratio", wrong_function(self.prf))):
            given_key = self._given_key(prf, evidence, p, q, verified)
            at = _at(p, evidence.tokens)
            with np.errstate(divide="ignore"):
                found[name] = [None if np.isinf(r) else float(f"{r:.7g}") for r in np.log(given_key / at)]
        return {**found, "strength": short(predicted)}

    def _given_key(
        self, prf: KeyedPrf, evidence: Evidence, p: np.ndarray, q: np.ndarray, verified: np.ndarray
    ) -> np.ndarray:
        """The probability that the key gives the tokens of a text: [t]."""
        method, tokens = self.method, evidence.tokens
        randomness = KeyedRandomness.of_key(prf, evidence.contexts, np.arange(p.shape[1]))
        given = np.zeros(len(p))
        bonus = np.flatnonzero(~verified)
        if len(bonus):
            given[bonus] = method.bonus(p[bonus], randomness.take(bonus)) == tokens[bonus]
        rows = np.flatnonzero(verified)
        if not len(rows):
            return given
        p, q, tokens, randomness = p[rows], q[rows], tokens[rows], randomness.take(rows)
        draft = method.draft(q, randomness)
        if method.determined:
            accepted = method.accepts(p, q, draft, randomness)
            other = method.after_rejection(p, q, draft, randomness).token
            given[rows] = np.where(accepted, draft, other) == tokens
        else:
            a = draft_acceptance(p, q, draft)
            if method.detection.replaced is None:
                rest = _at(residual(p, q), tokens)
            else:
                rest = (method.replacement(p, q, draft, randomness) == tokens).astype(float)
            given[rows] = a * (draft == tokens) + (1 - a) * rest
        return given

    def _acceptance(
        self, prompt: Sequence[int], record: Record, at: np.ndarray, p: np.ndarray, q: np.ndarray
    ) -> dict[str, Any]:
        """Of the positions where a draft was verified."""
        efficiency = self.method.efficiency(p, q) if len(at) else None
        if efficiency is None:
            return {"accepted": [], "efficiency": [], "wrong_draft": []}
        _, other = position_laws(self.wrong, self.sampling, prompt, record.token_ids, at)
        wrong = self.method.efficiency(p, other)
        assert wrong is not None
        return {
            "accepted": [int(record.sources[i] == "d") for i in at],
            "efficiency": short(efficiency),
            "wrong_draft": short(wrong),
        }


def _exact_moments(
    method: Method, detector: Detector, p: np.ndarray, q: np.ndarray | None
) -> tuple[float, float] | None:
    """Mean and variance of the score at one position; None where they have no formula."""
    if not has_formula(method):
        return None
    assert isinstance(detector, Aaronson | SumOfKeys)
    stream = detector.stream if isinstance(detector, Aaronson) else None
    law = race_score_law("basic", p) if q is None else race_score_law(method.name, p, q, stream)
    if q is not None:
        return law.mean, law.variance
    if stream is None:
        # The number under the other key is independent of the token: Exp(1).
        return law.mean + 1, law.variance + 1
    return (law.mean, law.variance) if method.detection.bonus is stream else (1.0, 1.0)


def _at(laws: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Probabilities of tokens: [t]."""
    return np.take_along_axis(laws, tokens[:, None], axis=-1)[:, 0]
