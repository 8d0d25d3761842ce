"""What the tests of the engine share: every method as a case, prompts, texts, and what a detector sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from tradeoff.decoders import Completed, GumbelMax, Identity, SynthID, heavy_water, simplex_water
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
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import PAD, Prf
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.generation.rows import GeneratedText
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.sampling import Sampling
from tradeoff.texts.prompts import Prompt

N, EOS = 8, 2
MakePair = Callable[..., ModelPair]
INFINITE = SynthID(math.inf)
PRF = KeyedPrf(Key(b"the key of the engine's tests"), 2)
VLLM = VllmPhilox(20240229, 2)
#: (method, prf, sampling, lookahead): every method, both functions, laws cut and whole.
CASES: list[tuple[Method, Prf | None, Sampling, int]] = [
    (Basic(Identity()), None, Sampling(), 1),
    (Basic(GumbelMax()), PRF, Sampling(0.8, 6, 0.98), 1),
    (Basic(INFINITE), PRF, Sampling(), 1),
    (Standard(), None, Sampling(), 3),
    (KeepStrength(GumbelMax()), VLLM, Sampling(), 2),
    (KeepStrength(INFINITE), PRF, Sampling(), 2),
    (KeepStrength(SynthID(5)), PRF, Sampling(1.2, 7), 3),
    (KeepEfficiency(GumbelMax()), PRF, Sampling(), 3),
    (KeepEfficiency(SynthID(5)), PRF, Sampling(), 2),
    (KeepEfficiency(heavy_water(k=32)), PRF, Sampling(top_p=0.95), 2),
    (TwoKeys(GumbelMax()), VLLM, Sampling(0.9), 3),
    (TwoKeys(INFINITE), PRF, Sampling(), 2),
    (TwoKeys(SynthID(70)), PRF, Sampling(), 1),
    (TwoKeys(simplex_water(4)), PRF, Sampling(), 2),
    (Algorithm1(GumbelMax()), PRF, Sampling(top_p=0.95), 4),
    (Algorithm1(INFINITE), PRF, Sampling(), 3),
    (Algorithm1(SynthID(5)), PRF, Sampling(), 2),
    (Algorithm1(Completed(heavy_water(k=32))), PRF, Sampling(0.7), 3),
    (SingleKey(), PRF, Sampling(), 3),
    (OneRace(), VLLM, Sampling(), 1),
    (OneRace(), PRF, Sampling(1.1, 7, 0.99), 4),
    (OneRaceTree(width=2), PRF, Sampling(), 3),
    (OneRaceTree(width=3), VLLM, Sampling(0.9, 7), 2),
]
every_case = pytest.mark.parametrize(
    "case",
    CASES,
    ids=lambda c: f"{c[0].name}-{c[0].decoder.name}-{c[1].name if c[1] else 'no key'}-K {c[3]}",
)


def some_prompts(count: int, longest: int = 20, n: int = N, seed: int = 0) -> list[Prompt]:
    """Prompts of lengths 1 to `longest`, no two alike."""
    rng = np.random.default_rng(seed)
    lengths = [1, longest, 2, *rng.integers(2, longest + 1, max(0, count - 3))][:count]
    prompts = [tuple(map(int, rng.integers(0, n, length))) for length in lengths]
    return [Prompt(f"p{i}", "", ids) for i, ids in enumerate(prompts)]


def generate(
    pair: ModelPair, settings: EngineSettings, prompts: Sequence[Prompt], batch: int = 8
) -> dict[str, GeneratedText]:
    """Texts by the id of their prompt; each comes once."""
    texts = list(Engine(pair, settings, batch).generate(prompts))
    by_id = {text.prompt.id: text for text in texts}
    assert sorted(by_id) == sorted(prompt.id for prompt in prompts)
    assert len(texts) == len(prompts)
    return by_id


def essence(text: GeneratedText) -> tuple:
    """What must not depend on batches."""
    return text.token_ids, text.sources, text.accepted, text.unmarked, text.finish


@torch.inference_mode()
def full_logits(model: torch.nn.Module, text: GeneratedText) -> torch.Tensor:
    """Logits before every generated token from one pass over the finished text: [T, N]."""
    ids = [*text.prompt.token_ids, *text.token_ids]
    return model(torch.tensor([ids])).logits[0, len(text.prompt.token_ids) - 1 : -1, :N]


def contexts_of(tokens: Sequence[int], prf: Prf) -> tuple[np.ndarray, np.ndarray]:
    """Contexts [T, width] and masks [T] as a detector has them, from token ids alone."""
    width, seen, contexts, masked = prf.context_width, set(), [], []
    line = [PAD] * width + list(tokens)
    for t in range(len(tokens)):
        context = tuple(line[t : t + width])
        masked.append(context in seen or (not prf.pads_contexts and PAD in context))
        seen.add(context)
        contexts.append(context)
    return np.array(contexts).reshape(-1, width), np.array(masked, dtype=bool)
