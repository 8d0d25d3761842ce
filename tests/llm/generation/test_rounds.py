"""Rounds: whatever the method, the joint law of the first tokens is the target's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import pytest
import torch

from tests.helpers.support import ALPHA, chi_square_p
from tradeoff.decoders import GumbelMax, Identity, SynthID
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    OneRaceTree,
    SingleKey,
    Standard,
    TwoKeys,
)
from tradeoff.kernels.keyed_randomness import KeyedRandomness
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Prf
from tradeoff.llm.generation import engine
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.generation.rounds import Speculator
from tradeoff.llm.generation.rows import Row, TrueRandomness
from tradeoff.llm.generation.vocabulary import vocabulary_ids
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.sampling import Sampling
from tradeoff.texts.prompts import Prompt

N, LENGTH, TEXTS = 4, 3, 1600
PROMPT = (1, 3, 2)
PLAIN = Sampling()
INFINITE, SHORT = SynthID(math.inf), SynthID(3)


def keyed(width: int) -> Prf:
    """The default function, which leaves the first token unmarked."""
    return KeyedPrf(Key(b"law of the engine"), width)


def padded(width: int) -> Prf:
    """vLLM's function, which marks from the first token on."""
    return VllmPhilox(20240229, width)


def unkeyed(_: int) -> None:
    """Of methods without a watermark."""


CASES = [
    (Standard(), 2, unkeyed, PLAIN),
    (Basic(Identity()), 1, unkeyed, Sampling(0.7, 3, 0.9)),
    (Basic(GumbelMax()), 1, padded, PLAIN),
    (Basic(INFINITE), 1, keyed, Sampling(1.4)),
    (Basic(SHORT), 1, keyed, PLAIN),
    (KeepStrength(GumbelMax()), 2, padded, PLAIN),
    (KeepStrength(INFINITE), 1, keyed, PLAIN),
    (KeepStrength(SHORT), 2, keyed, Sampling(0.8, 0, 0.95)),
    (KeepEfficiency(GumbelMax()), 1, keyed, PLAIN),
    (KeepEfficiency(SHORT), 2, keyed, PLAIN),
    (TwoKeys(GumbelMax()), 2, padded, PLAIN),
    (TwoKeys(INFINITE), 1, keyed, PLAIN),
    (TwoKeys(SHORT), 2, keyed, Sampling(top_k=3)),
    (Algorithm1(GumbelMax()), 1, keyed, PLAIN),
    (Algorithm1(GumbelMax()), 3, keyed, Sampling(1.3, 3, 0.9)),
    (Algorithm1(INFINITE), 2, keyed, PLAIN),
    (SingleKey(), 1, keyed, PLAIN),
    (SingleKey(), 2, keyed, Sampling(0.8, 3)),
    (OneRace(), 1, padded, PLAIN),
    (OneRace(), 2, keyed, PLAIN),
    (OneRace(), 3, padded, Sampling(0.9, 3, 0.97)),
    (OneRaceTree(width=2), 1, padded, PLAIN),
    (OneRaceTree(width=2), 2, keyed, Sampling(1.2, 3)),
    (OneRaceTree(width=3), 2, padded, PLAIN),
    (OneRaceTree(width=3), 3, padded, Sampling(top_p=0.9)),
]


def case_name(case: tuple) -> str:
    method, lookahead, prf, sampling = case
    size = f"-width {method.width}" if isinstance(method, OneRaceTree) else ""
    cut = "" if sampling.plain else "-cut"
    return f"{method.name}{size}-{method.decoder.name}-K {lookahead}-{prf.__name__}{cut}"


@torch.inference_mode()
def joint_law(pair: ModelPair, sampling: Sampling) -> np.ndarray:
    """Law of the first LENGTH tokens after PROMPT, [N] * LENGTH, from full passes of the target."""
    law = np.ones((N,) * LENGTH)
    for length in range(LENGTH):
        for head in itertools.product(range(N), repeat=length):
            logits = pair.target(torch.tensor([[*PROMPT, *head]])).logits[0, -1, :N]
            p = sampling.probabilities(logits).numpy()
            law[head] *= p.reshape((N,) + (1,) * (LENGTH - length - 1))
    return law


@pytest.fixture
def own_keys(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], Prf | None]], None]:
    """Give every text a key and a seed of its own, named by the id of its prompt.

    The id joins each context as one more token: the function then has independent values for every text,
    as under different keys, while masks are made of the real contexts.
    """

    def install(prf: Callable[[int], Prf | None]) -> None:
        def randomness(
            self: Speculator, rows: Sequence[Row], ahead: int, contexts: np.ndarray, masked: np.ndarray
        ) -> KeyedRandomness:
            salt = np.array([[int(row.prompt.id)] for row in rows])
            contexts = np.concatenate([salt, contexts], axis=1)
            sources = [cache(partial(row.randomness.at, len(row.tokens) + ahead)) for row in rows]
            ids = vocabulary_ids(self.vocabulary, self.target.model.device)
            return KeyedRandomness(prf(2), contexts, masked, sources, ids)

        monkeypatch.setattr(Speculator, "_randomness", randomness)
        monkeypatch.setattr(
            engine, "TrueRandomness", lambda _, prompt: TrueRandomness(int(prompt.id), prompt)
        )

    return install


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_joint_law_is_the_targets(
    case: tuple[Method, int, Callable[[int], Prf | None], Sampling],
    make_pair: Callable[..., ModelPair],
    own_keys: Callable[[Callable[[int], Prf | None]], None],
) -> None:
    """The first three tokens of 1,600 texts, each under its own key, have the target's joint law.

    With a context of one token, contexts repeat within most texts: masks alone keep the third token's law.
    """
    method, lookahead, prf, sampling = case
    pair = make_pair(N, seed=3)
    own_keys(prf)
    settings = EngineSettings(
        method=method, prf=prf(1), sampling=sampling, lookahead=lookahead, max_tokens=LENGTH, ignore_eos=True
    )
    prompts = [Prompt(str(i), "", PROMPT) for i in range(TEXTS)]
    counts = np.zeros((N,) * LENGTH)
    for text in Engine(pair, settings, batch=800).generate(prompts):
        counts[tuple(text.token_ids)] += 1
    assert counts.sum() == TEXTS
    assert chi_square_p(counts, TEXTS * joint_law(pair, sampling)) > ALPHA
