"""The processor of logits draws the tokens of the engine without speculation, in Transformers' own loop."""

from __future__ import annotations

import pytest
import torch
from transformers import LogitsProcessorList

import tradeoff as td
from tests.helpers.texts import MakePair
from tests.transformers.test_generation import KEY, QUIET, ROWS, N, by_engine, padded
from tradeoff.keyed import KeyFormatError
from tradeoff.llm import Sampling
from tradeoff.scheme import Scheme
from tradeoff.transformers import WatermarkProcessor


@pytest.fixture(scope="module")
def pair(make_pair: MakePair):
    return make_pair(N)


@pytest.mark.parametrize("watermark", ["gumbel", "synthid:inf", "inverse-transform"])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, 12, 0.9, 0.02)], ids=["plain", "cut"])
def test_texts_are_those_of_the_engine(pair, watermark: str, sampling: Sampling) -> None:
    """Side by side, with padding, and again with the same processor: a new call begins new texts."""
    cuts = {
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
    }
    mark = WatermarkProcessor(KEY, watermark, **cuts, seed=3, padding=0)
    inputs = padded()
    expected = by_engine(pair, Scheme.of("basic", watermark), sampling=sampling, max_tokens=60)
    for _ in range(2):
        found = pair.target.generate(
            **inputs, **QUIET, max_new_tokens=60, logits_processor=LogitsProcessorList([mark])
        )
        assert found[:, inputs["input_ids"].shape[1] :].tolist() == expected


def test_greedy_search_behind_it_draws_the_same(pair) -> None:
    """It leaves one token, so that nothing is left to whatever comes after."""
    inputs, texts = padded(), []
    for sampled in (True, False):
        mark = WatermarkProcessor(KEY, seed=3, padding=0)
        arguments = {"do_sample": sampled, "pad_token_id": 0, "max_new_tokens": 20}
        texts.append(pair.target.generate(**inputs, **arguments, logits_processor=[mark]).tolist())
    assert texts[0] == texts[1]


def test_several_texts_of_one_prompt_differ(pair) -> None:
    row = [ROWS[0]] * 4
    mark = WatermarkProcessor(KEY, seed=3, unmarked=8)
    inputs = padded(row)
    found = pair.target.generate(**inputs, **QUIET, max_new_tokens=30, logits_processor=[mark])
    assert len(set(map(tuple, found.tolist()))) == 4


@pytest.mark.parametrize("watermark", ["synthid:30", "simplexwater:4", "dipmark:0.4"])
def test_watermarks_that_leave_the_token_open_are_refused(watermark: str) -> None:
    with pytest.raises(ValueError, match="leaves the token open"):
        WatermarkProcessor(KEY, watermark)


def test_without_a_key_that_of_the_environment(pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEOFF_KEY", bytes(range(32)).hex())
    inputs = padded(ROWS[:1])
    texts = [
        pair.target.generate(**inputs, **QUIET, max_new_tokens=20, logits_processor=[mark]).tolist()
        for mark in (WatermarkProcessor(seed=1), WatermarkProcessor(td.Key(bytes(range(32))), seed=1))
    ]
    assert texts[0] == texts[1]
    monkeypatch.delenv("TRADEOFF_KEY")
    with pytest.raises(KeyFormatError):
        WatermarkProcessor()
    assert torch.is_tensor(inputs["input_ids"])
