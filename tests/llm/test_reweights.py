"""Green lists, permutations and uniforms of positions in the engine: detection reads them, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tradeoff as td
from tradeoff.detection import Evidence, ModelAware
from tradeoff.llm import Sampling, replay
from tradeoff.llm.models.pair import ModelPair

KEY = td.Key(bytes(range(32)))
N = 262


@pytest.fixture(scope="module")
def pair(make_pair: Callable[..., ModelPair]) -> ModelPair:
    """Two tiny models that know every byte."""
    return make_pair(N)


def text(pair: ModelPair, method: str, watermark: str, tokens: int = 300) -> tuple[td.Scheme, list[int]]:
    scheme = td.Scheme.of(method, watermark)
    told = {"tokens": tokens, "ignore_eos": True, "probe": False, "temperature": 1.5}
    return scheme, list(td.generate(["the sea"], scheme, KEY, pair=pair, **told)[0].token_ids)


@pytest.mark.parametrize(
    ("method", "watermark"),
    [
        ("basic", "kgw:3"),
        ("keep-strength", "kgw:3"),
        ("keep-strength", "unigram:3"),
        ("algorithm-1", "gamma-reweight"),
        ("algorithm-1", "completed:dipmark:0.4"),
        ("algorithm-1", "inverse-transform"),
        ("keep-strength", "completed:kgw:3"),
    ],
)
def test_texts_of_the_engine_are_found(pair, method, watermark):
    scheme, ids = text(pair, method, watermark, 120)
    assert td.detect(ids, scheme, KEY, segments=False).log10_p < -4
    assert td.detect(ids, scheme, td.Key(bytes(32)), segments=False).log10_p > -3


def test_hard_lists_and_halves_leave_nothing_else(pair):
    """Every token that counts is green, or late: generation and detection have the same numbers."""
    scheme, ids = text(pair, "keep-strength", "kgw:hard,gamma=0.5", 80)
    assert Evidence(ids, scheme.function(KEY)).green(td.Stream.SHARED, 0.5).all()
    scheme, ids = text(pair, "keep-strength", "unigram:hard", 80)
    assert Evidence(ids, scheme.reads(scheme.function(KEY))).listed(0.5).all()


@pytest.mark.parametrize("watermark", ["delta-reweight", "inverse-transform"])
def test_with_the_model_every_token_is_the_one_that_the_key_determines(pair, watermark):
    scheme, ids = text(pair, "basic", watermark, 60)
    prompt = pair.tokenizer("the sea")["input_ids"]
    own, other = (
        replay(pair, scheme.method, scheme.function(key), Sampling(temperature=1.5), prompt, ids)
        for key in (KEY, td.Key(bytes(32)))
    )
    assert own.hits.all()
    score = ModelAware().test(own.hits, own.probability, own.index)
    assert score.log10_p < -6
    other = replay(
        pair, scheme.method, scheme.function(td.Key(bytes(32))), Sampling(temperature=1.5), prompt, ids
    )
    assert np.mean(other.hits) < 0.9
    assert ModelAware().test(other.hits, other.probability, other.index).log10_p > -3
