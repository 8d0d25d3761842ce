"""Texts of a real model pair read by the model-aware test: how fast does its p-value fall?

With a degenerate watermark and a keyed coin the key determines every token. Given the text w, a random key
determines w_t with probability P_t(w_t), so that a text whose tokens are all the key's has the p-value
prod P_t(w_t): -log p is the sum of surprisals, with mean sum Ent(P_t) and variance sum Var log P_t(w).

If each token is replaced with probability 1 - gamma by another draw from P_t (an edit), it has the law of
the linear class at gamma, and given the text -log p = L + 1/2 log(2 pi S) + z^2 / 2 with S the sum of the
variances of the likelihood ratios given the text and z standard normal (Theorem 3.1 and its first
correction). L has the strength of the linear class as its mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tradeoff.curves import linear_strength
from tradeoff.decoders import GumbelMax
from tradeoff.detection import ModelAware, text_contexts
from tradeoff.kernels import Algorithm1, KeyedRandomness, Method, OneRace, TwoKeys, open_uniform
from tradeoff.keyed import Key, KeyedPrf, Prf
from tradeoff.laws import categorical, entropy
from tradeoff.llm import (
    Engine,
    EngineSettings,
    GeneratedText,
    ModelPair,
    NextTokenPairs,
    Replay,
    Sampling,
    encode_prompts,
    replay,
    vocabulary_ids,
)
from tradeoff.texts import Acceptance, builtin_prompts

__all__ = ["GAMMA", "TEMPERATURES", "Decay", "EngineTexts", "engine_texts", "simulated_texts"]

#: Texts take turns: their mean entropies spread, and a slope can be seen.
TEMPERATURES = (0.4, 0.7, 1.0, 1.3)
#: Share of tokens that are left alone in edited texts; the test allows for the rest.
GAMMA = 0.9
_TEST = ModelAware(1 - GAMMA)
_LOOKAHEAD = 3
#: One engine text in so many is read under the wrong key too, one in two where they are few.
_WRONGLY = 4


@dataclass(frozen=True)
class Decay:
    """Texts and their p-values, with what theory predicts of -log p.

    Attributes:
        minus_log_p: [texts].
        predicted: its mean, [texts].
        variance: of each, [texts].
        tokens: in each text, [texts].
    """

    minus_log_p: np.ndarray
    predicted: np.ndarray
    variance: np.ndarray
    tokens: np.ndarray

    @property
    def rate(self) -> np.ndarray:
        """-(1/n) log p: [texts]."""
        return self.minus_log_p / self.tokens

    @property
    def predicted_rate(self) -> np.ndarray:
        """What it should be, the mean entropy of the text if all tokens are the key's: [texts]."""
        return self.predicted / self.tokens

    @property
    def ratio(self) -> tuple[float, float]:
        """Sum of -log p over the sum of predictions, with its standard error: the slope through the origin
        of least squares with weights 1 / prediction."""
        total = float(self.predicted.sum())
        return float(self.minus_log_p.sum()) / total, math.sqrt(float(self.variance.sum())) / total

    @property
    def slope(self) -> tuple[float, float]:
        """Least-squares slope, with an intercept, of -(1/n) log p on its prediction, and its standard error.

        For predictions that do not depend on the tokens.
        """
        x = self.predicted_rate - self.predicted_rate.mean()
        square = float((x**2).sum())
        error = math.sqrt(float(x**2 @ (self.variance / self.tokens**2))) / square
        return float(x @ self.rate) / square, error


@dataclass(frozen=True)
class _Moments:
    """Exact sums over the vocabulary of one law: mean and variance of the surprisal; of the log ratio of the
    linear class at GAMMA; and the mean of the latter's variance given the token."""

    entropy: float
    surprisal_variance: float
    strength: float
    ratio_variance: float
    variance_given_token: float

    @classmethod
    def of(cls, p: np.ndarray) -> _Moments:
        some = p > 0
        mass, surprisal = p[some], -np.log(p[some])
        mean = float(entropy(p))
        # The key hits the token that stands there, given that token; the ratio has two values.
        hit = GAMMA + (1 - GAMMA) * mass
        high, low = np.log(GAMMA / mass + 1 - GAMMA), math.log(1 - GAMMA)
        strength = float(linear_strength(p, GAMMA))
        second = float(mass @ (hit * high**2 + (1 - hit) * low**2))
        given = float(mass @ (hit * (1 - hit) * (high - low) ** 2))
        return cls(mean, float(mass @ surprisal**2) - mean**2, strength, second - strength**2, given)


def simulated_texts(
    pairs: NextTokenPairs, texts: int, tokens: int, rng: np.random.Generator
) -> tuple[dict[str, Decay], tuple[float, float, float]]:
    """Texts whose t-th token has the law of a stored position, under one key, read back.

    Which positions a text has, and its temperature, is drawn beforehand: the predictions are conditional on
    it. Every text has contexts of its own, so that all draws are independent. Kernels, keyed numbers and
    test are those of the engine and of `tradeoff.llm.replay`.

    Args:
        pairs: next-token pairs.
        texts: how many; they take turns in TEMPERATURES.
        tokens: in each.
        rng: key, positions, edits and true randomness.

    Returns:
        Decays by name: "one-race", "algorithm-1", "edited", "wrong key" and "random coin" (both with the
        predictions of an unedited text under the right key); and how many tokens a wrong key hits, how many
        it should, and the standard error of that.
    """
    kind = rng.integers(len(pairs), size=(texts, tokens))
    own, other = (KeyedPrf(Key(rng.bytes(16)), context_width=2) for _ in range(2))
    race, paper, google = OneRace(), Algorithm1(GumbelMax()), TwoKeys(GumbelMax())
    shape = (texts, tokens)
    probability = {name: np.zeros(shape) for name in ("one-race", "algorithm-1", "edited", "random coin")}
    hits = {name: np.ones(shape, bool) for name in probability}
    by_chance = np.zeros(shape, bool)
    moments = np.zeros((*shape, 5))
    for text_temperature, temperature in enumerate(TEMPERATURES):
        mine = np.arange(texts) % len(TEMPERATURES) == text_temperature
        for k in np.unique(kind[mine]):
            where = np.nonzero((kind == k) & mine[:, None])
            contexts = np.stack(where, axis=-1)
            p, q = pairs.probabilities(int(k), temperature)
            draw = _Drawn(p, q, contexts, rng)
            token = {
                "one-race": draw(race, own),
                "algorithm-1": draw(paper, own),
                "random coin": draw(google, own),
            }
            edited = categorical(
                np.broadcast_to(p, (len(contexts), len(p))), open_uniform(rng, (len(contexts),))
            )
            edited = np.where(rng.random(len(contexts)) < GAMMA, token["one-race"], edited)
            # The reader has the key and the laws, and true randomness of its own.
            reread = _Drawn(p, q, contexts, rng)
            explained = {"one-race": reread(race, own), "algorithm-1": reread(paper, own)}
            explained |= {"edited": explained["one-race"], "random coin": explained["algorithm-1"]}
            for name, chosen in (*token.items(), ("edited", edited)):
                probability[name][where] = p[chosen]
                hits[name][where] = chosen == explained[name]
            by_chance[where] = draw(race, other) == token["one-race"]
            m = _Moments.of(p)
            moments[where] = (
                m.entropy,
                m.surprisal_variance,
                m.strength,
                m.ratio_variance,
                m.variance_given_token,
            )
    sums = moments.sum(axis=1).T
    count = np.full(texts, tokens)
    corrected = sums[2] + 0.5 * np.log(2 * np.pi * sums[4]) + 0.5

    def decay(name: str, found: np.ndarray, predicted: np.ndarray, variance: np.ndarray) -> Decay:
        p_values = [_TEST.test(h, p).log_p for h, p in zip(found, probability[name], strict=True)]
        return Decay(-np.array(p_values), predicted, variance, count)

    chance = probability["one-race"]
    return {
        "one-race": decay("one-race", hits["one-race"], sums[0], sums[1]),
        "algorithm-1": decay("algorithm-1", hits["algorithm-1"], sums[0], sums[1]),
        # Half a chi-square of one degree of freedom has variance 1/2.
        "edited": decay("edited", hits["edited"], corrected, sums[3] + 0.5),
        "wrong key": decay("one-race", by_chance, sums[0], sums[1]),
        "random coin": decay("random coin", hits["random coin"], sums[0], sums[1]),
    }, (float(by_chance.sum()), float(chance.sum()), math.sqrt(float((chance * (1 - chance)).sum())))


class _Drawn:
    """Tokens of kernels at positions of one law, [positions], under keys.

    Args:
        p, q: target and draft, [n].
        contexts: [positions, 2].
        rng: true randomness.
    """

    def __init__(self, p: np.ndarray, q: np.ndarray, contexts: np.ndarray, rng: np.random.Generator):
        self._p, self._q = (torch.from_numpy(law).expand(len(contexts), -1) for law in (p, q))
        self._contexts, self._rng = contexts, rng
        self._randomness: dict[Prf, KeyedRandomness] = {}

    def __call__(self, method: Method, prf: Prf) -> np.ndarray:
        """The token of one draft-and-verify step."""
        if prf not in self._randomness:
            rows = len(self._contexts)
            self._randomness[prf] = KeyedRandomness(
                prf,
                self._contexts,
                np.zeros(rows, dtype=bool),
                [lambda: self._rng] * rows,
                vocabulary_ids(self._p.shape[1], torch.device("cpu")),
            )
        randomness = self._randomness[prf]
        draft = method.draft(self._q, randomness)
        return method(self._p, self._q, draft, randomness).token.numpy()


@dataclass(frozen=True)
class EngineTexts:
    """What the engine's own texts show.

    Attributes:
        accepted: acceptance against 1 - TV at the same positions.
        hits: share of verified positions where the text has the token that the key determines.
        right, wrong: decay under the key of the text and under another one.
    """

    accepted: Acceptance
    hits: float
    right: Decay
    wrong: Decay


def engine_texts(models: ModelPair, texts: int, tokens: int, rng: np.random.Generator) -> EngineTexts:
    """Write texts with one race on the real models, and read them back with both.

    A position counts if a draft was verified there (bonus tokens are drawn by another rule, which the
    key's text does not show) and if no earlier text had its context, which would draw the same numbers
    again. Both are decided before its token is drawn; so, text after text, acceptance less its probability
    and surprisal less entropy are sums of martingale differences, whatever the text does to later laws.

    Args:
        models: the pair.
        texts: how many, at temperature 1; some are read under the wrong key too.
        tokens: in each.
        rng: keys, and the seed of the true randomness.
    """
    own, other = (KeyedPrf(Key(rng.bytes(16)), context_width=4) for _ in range(2))
    seed = int(rng.integers(1 << 31))
    settings = EngineSettings(
        method=OneRace(),
        prf=own,
        sampling=Sampling(),
        lookahead=_LOOKAHEAD,
        max_tokens=tokens,
        seed=seed,
        ignore_eos=True,
        measure=True,
    )
    prompts = encode_prompts(models.tokenizer, builtin_prompts("continuation")[:texts])
    written = {text.prompt.id: text for text in Engine(models, settings, texts).generate(prompts)}
    seen: set[bytes] = set()
    checked: dict[str, list[Any]] = {"sources": [], "efficiency": [], "overlap": []}
    right, wrong, hits = [], [], []
    for number, prompt in enumerate(prompts):
        text = written[prompt.id]
        assert text.overlap is not None and text.efficiency is not None  # noqa: PT018
        fresh = _fresh(text, own, seen)
        lists = {"sources": text.sources, "efficiency": text.efficiency, "overlap": text.overlap}
        for name, values in lists.items():
            checked[name] += [value for value, is_fresh in zip(values, fresh, strict=True) if is_fresh]
        counts = fresh & np.array([value is not None for value in text.overlap])
        read = _read(models, own, text)
        right.append(_decay_of(read, counts[read.index]))
        hits.append(read.hits[counts[read.index]])
        if number % min(_WRONGLY, max(texts // 4, 1)) == 0:
            wrong.append(_decay_of(_read(models, other, text), counts[read.index]))
    return EngineTexts(
        Acceptance.of(**checked),
        float(np.concatenate(hits).mean()),
        *(Decay(*np.array(found).T) for found in (right, wrong)),
    )


def _read(models: ModelPair, prf: Prf, text: GeneratedText) -> Replay:
    return replay(models, OneRace(), prf, Sampling(), text.prompt.token_ids, text.token_ids)


def _fresh(text: GeneratedText, prf: Prf, seen: set[bytes]) -> np.ndarray:
    """Which positions have a context that no earlier text had, [t]; adds this text's to `seen`."""
    contexts = [c.tobytes() for c in text_contexts(np.array(text.token_ids), prf.context_width)]
    fresh = np.array([context not in seen for context in contexts])
    seen.update(contexts)
    return fresh


def _decay_of(read: Replay, counts: np.ndarray) -> tuple[float, float, float, int]:
    """-log p of the positions that count, their entropies, the variance of their surprisal, their number.

    The variance is the quadratic variation, sum (surprisal - entropy)^2.
    """
    hits, probability, entropies = read.hits[counts], read.probability[counts], read.entropy[counts]
    deviation = -np.log(probability) - entropies
    log_p = _TEST.test(hits, probability).log_p
    return -log_p, float(entropies.sum()), float((deviation**2).sum()), int(counts.sum())
