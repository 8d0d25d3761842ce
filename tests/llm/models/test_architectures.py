"""Whole texts of many architectures: their law, and how many drafts are accepted, against plain passes.

Tiny random models of four tokens; windows of attention are three positions wide, and so much shorter than the
texts. Laws of the first three tokens are enumerated from `model(ids)` alone.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tests.helpers.support import ALPHA, assert_within, chi_square_p
from tests.llm.models.families import Case, tiny
from tradeoff.kernels import JointRace, Method, Standard, Verify
from tradeoff.keyed import Key, KeyedPrf, Prf
from tradeoff.llm.generation.rounds import Speculator
from tradeoff.llm.generation.rows import ContextWindow, Row, TrueRandomness
from tradeoff.llm.generation.slots import make_feeder
from tradeoff.llm.models.sights import Sight
from tradeoff.llm.sampling import Sampling
from tradeoff.texts import Prompt

N, LENGTH, AHEAD, WINDOW = 4, 3, 2, 3
PROMPT = Prompt("", "", (1, 3, 0, 2, 2, 1, 0, 3, 1))
_KINDS = ["sliding_attention", "full_attention", "sliding_attention"]
_WINDOWS = {"sliding_window": WINDOW, "layer_types": _KINDS}
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_chunk_size": 16}
CASES = [
    Case("llama"),
    Case("gpt2"),
    Case("phi3", {"sliding_window": WINDOW}, "window"),
    Case("mistral", {"sliding_window": WINDOW}, "window"),
    Case("qwen2", {"use_sliding_window": True, **_WINDOWS}, "windows"),
    Case("gemma2", _WINDOWS, "windows"),
    Case("gemma3_text", _WINDOWS, "windows"),
    Case("mixtral", about="mixture of experts"),
    Case("gpt_oss", _WINDOWS, "mixture of experts with windows"),
    Case("llama4_text", {"attention_chunk_size": WINDOW, "intermediate_size_mlp": 96}, "chunks"),
    Case("mamba", about="recurrent"),
    Case("mamba2", {"num_heads": 8, "n_groups": 2, "state_size": 16, "chunk_size": 16}, "recurrent"),
    Case("lfm2", {"layer_types": ["conv", "full_attention", "conv"]}, "convolutions"),
    Case("bamba", _MAMBA | {"attn_layer_indices": [1]}, "hybrid"),
]
WINDOWED = [case for case in CASES if "window" in case.about or "chunk" in case.about]
RECURRENT = [case for case in CASES if case.about in ("recurrent", "convolutions", "hybrid")]
#: Those that only the slow tests take.
LATER = [case for case in CASES if case.family in ("gpt_oss", "llama4_text", "mamba2", "lfm2")]


class Laws(NamedTuple):
    """Next-token laws of both models after the beginnings of texts."""

    target: dict[tuple[int, ...], np.ndarray]
    draft: dict[tuple[int, ...], np.ndarray]

    def joint(self) -> np.ndarray:
        """Of the first LENGTH tokens, [N] * LENGTH."""
        law = np.zeros((N,) * LENGTH)
        for text in itertools.product(range(N), repeat=LENGTH):
            law[text] = math.prod(self.target[text[:k]][text[k]] for k in range(LENGTH))
        return law

    def first_step(self) -> tuple[float, float]:
        """Mean and standard deviation of how many of the first two drafts are accepted."""
        both = np.minimum(self.target[()], self.draft[()])
        after = [1 - np.abs(self.target[x,] - self.draft[x,]).sum() / 2 for x in range(N)]
        one, two = float(both.sum()), float(both @ np.array(after))
        return one + two, math.sqrt(one + 3 * two - (one + two) ** 2)


def model_of(case: Case, seed: int) -> PreTrainedModel:
    return tiny(replace(case, settings={"vocab_size": N, **case.settings}), seed)


def measured(case: Case) -> tuple[PreTrainedModel, PreTrainedModel, Sampling, Laws]:
    """Target, draft, a temperature at which their laws are spread out, and these laws by plain passes."""
    return _measured(str(case))


@cache
def _measured(name: str) -> tuple[PreTrainedModel, PreTrainedModel, Sampling, Laws]:
    (case,) = (case for case in CASES if str(case) == name)
    target, draft = model_of(case, 0), model_of(case, 1)
    with torch.inference_mode():
        spread = float(target(torch.tensor([PROMPT.token_ids])).logits[0, -1].double().std())
    sampling = Sampling(temperature=spread)
    laws = Laws({}, {})
    for length in range(LENGTH):
        for text in itertools.product(range(N), repeat=length):
            ids = torch.tensor([[*PROMPT.token_ids, *text]])
            for model, found in zip((target, draft), laws, strict=True):
                with torch.inference_mode():
                    found[text] = torch.softmax(model(ids).logits[0, -1].double() / spread, -1).numpy()
    return target, draft, sampling, laws


def write(case: Case, texts: int, method: Method, prf: Prf | None, first: int = 0) -> list[Row]:
    """Texts of LENGTH tokens at least, side by side, each with true randomness of its own."""
    target, draft, sampling, _ = measured(case)
    feeders = [make_feeder(model, texts, N) for model in (target, draft)]
    speculator = Speculator(
        method=method,
        prf=prf,
        verify=Verify.TOKEN,
        sampling=sampling,
        target=feeders[0],
        draft=feeders[1],
        lookahead=AHEAD,
        vocabulary=N,
        measure=False,
    )
    rows = [
        Row(
            PROMPT,
            TrueRandomness(first + b, PROMPT),
            ContextWindow.of(prf, PROMPT.token_ids) if prf else ContextWindow(1, marked=False),
            99,
            frozenset(),
            0.0,
        )
        for b in range(texts)
    ]
    ids = np.tile(np.array(PROMPT.token_ids[:-1]), (texts, 1))
    for feeder in feeders:
        feeder.logits(0, ids, np.tile(np.arange(ids.shape[1]), (texts, 1)), 1)
        feeder.filled[:] = ids.shape[1]
    while min(len(row.tokens) for row in rows) < LENGTH:
        speculator.round(rows)
    return rows


def check(case: Case, rows: list[Row]) -> None:
    laws = measured(case)[-1]
    counts = np.zeros((N,) * LENGTH)
    for row in rows:
        counts[tuple(row.tokens[:LENGTH])] += 1
    assert chi_square_p(counts, len(rows) * laws.joint()) > ALPHA
    mean, spread = laws.first_step()
    accepted = np.mean([row._accepted[0] for row in rows])
    assert_within(float(accepted), mean, spread / math.sqrt(len(rows)))


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in LATER)) for case in CASES], ids=str
)
def test_texts_have_the_law_of_the_target(case: Case) -> None:
    """The first three tokens, two drafted a step; and the first step accepts what 1 - TV says."""
    assert 0.1 < measured(case)[-1].first_step()[0] < 1.9
    check(case, write(case, 30 if case in RECURRENT else 600, Standard(), None))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_many_texts_have_the_law_of_the_target(case: Case) -> None:
    """The same, with more texts."""
    check(case, write(case, 1_000 if case in RECURRENT else 10_000, Standard(), None))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_marked_texts_have_the_law_of_the_target(case: Case) -> None:
    """Likewise with the joint race, every text under a key of its own."""
    texts = 100 if case in RECURRENT else 400
    rows = [
        write(
            case, 1, JointRace(), KeyedPrf(Key(f"key of text {text} of the tiny {case}".encode()), 2), text
        )[0]
        for text in range(texts)
    ]
    check(case, rows)


@pytest.mark.parametrize("case", WINDOWED, ids=str)
def test_without_its_windows_a_model_is_another(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the windows decide something here: logits with masks of the whole text are others."""
    target = measured(case)[0]
    ids = np.array([PROMPT.token_ids])
    where = np.arange(ids.shape[1])[None]
    with torch.inference_mode():
        plain = target(torch.from_numpy(ids)).logits[0, -1]
    narrow = make_feeder(target, 1, N).logits(0, ids, where, 1)[0, 0]
    monkeypatch.setattr(Sight, "narrowed", lambda self, reads, where, lies: reads)
    wide = make_feeder(target, 1, N).logits(0, ids, where, 1)[0, 0]
    assert float((narrow - plain).abs().max()) < 1e-4
    assert float((wide - plain).abs().max()) > 1e-2
