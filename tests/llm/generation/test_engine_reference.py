"""The engine writes what sixty lines of NumPy write: one race by `tests/kernels/one_race.py`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.texts import PRF, MakePair, N, generate, some_prompts
from tests.kernels import one_race
from tradeoff.decoders import TrueSource
from tradeoff.kernels import OneRace
from tradeoff.keyed import Stream
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.generation.rows import TrueRandomness
from tradeoff.llm.sampling import Sampling
from tradeoff.texts import Prompt


class Written:
    """One text by the reference: plain passes of the models, and the numbers of the key."""

    def __init__(self, pair, settings: EngineSettings, prompt: Prompt):
        self.pair, self.settings, self.prompt = pair, settings, prompt
        self.true = TrueRandomness(settings.seed, prompt)
        self.known: dict[tuple[torch.nn.Module, tuple[int, ...]], np.ndarray] = {}

    @torch.inference_mode()
    def law(self, model: torch.nn.Module, text: list[int]) -> np.ndarray:
        place = model, tuple(text)
        if place not in self.known:
            logits = model(torch.tensor([[*self.prompt.token_ids, *text]])).logits[0, -1, :N]
            self.known[place] = self.settings.sampling.probabilities(logits).numpy()
        return self.known[place]

    def race(self, text: list[int]) -> np.ndarray:
        if one_race.may_be_keyed(text, PRF.context_width):
            return PRF.race(Stream.SHARED, np.array(text[-PRF.context_width :]), np.arange(N))
        return TrueSource(self.true.at(len(text)), (), N).race()

    def tokens(self) -> list[int]:
        return one_race.generate(
            lambda text: self.law(self.pair.target, text),
            lambda text: self.law(self.pair.draft, text),
            self.race,
            self.settings.max_tokens,
            self.settings.lookahead,
        )


@pytest.mark.parametrize("lookahead", [1, 3])
def test_the_engine_writes_what_the_reference_writes(lookahead: int, make_pair: MakePair) -> None:
    """Two models in float64, texts with repeated contexts: token for token, the batch and the cache are
    nothing but speed."""
    pair, prompts = make_pair(N), some_prompts(3)
    settings = EngineSettings(
        method=OneRace(),
        prf=PRF,
        sampling=Sampling(1.1, 7, 0.99),
        lookahead=lookahead,
        max_tokens=16,
        seed=3,
        ignore_eos=True,
    )
    texts = generate(pair, settings, prompts)
    for prompt in prompts:
        assert texts[prompt.id].token_ids == Written(pair, settings, prompt).tokens()
    # Repeated contexts and rejected drafts are among them.
    assert sum(text.unmarked for text in texts.values()) > PRF.context_width * len(texts)
    assert all("r" in text.sources for text in texts.values())
