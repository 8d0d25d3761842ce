"""Texts of Transformers' SynthID are found here, and texts of ours by Transformers' statistic, under
speculation too. Its own assisted generation loses the watermark: the processor counts calls, and those for
drafts that are rejected among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, SynthIDTextWatermarkingConfig

import tradeoff as td
from tradeoff.keyed import DepthKeys, SamplingTable
from tradeoff.llm.models.pair import ModelPair
from tradeoff.texts.corpus import builtin_prompts

KEYS = DepthKeys(np.random.default_rng(10).integers(1 << 63, size=30))
CONFIG = SynthIDTextWatermarkingConfig(5, list(KEYS.secret))
PLAIN = td.Scheme.of("basic", "synthid:30", prf="hf-synthid")
JOINT = td.Scheme.of(prf="hf-synthid")
TOKENS = 100
#: Tiny models have more entropy.
FEW = 50
#: log10 p below which a text is found, and above which it is not.
FOUND = -6


@pytest.fixture(scope="module")
def pair(make_pair: Callable[..., ModelPair]) -> ModelPair:
    """Two tiny models that know every byte."""
    return make_pair(262)


def generated(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], tokens: int = TOKENS, **settings: object
) -> list[list[int]]:
    """What Transformers writes behind prompts, one at a time as its assistant wants them."""
    texts = []
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for prompt in prompts:
            ids = torch.tensor([list(prompt)])
            found = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                top_k=0,
                max_new_tokens=tokens,
                watermarking_config=CONFIG,
                pad_token_id=0,
                **settings,
            )
            texts.append(found[0, ids.shape[1] :].tolist())
    return texts


def log10_p(ids: Sequence[int], vocabulary: int) -> float:
    """Of Transformers' mean g-value over its masks, as if bits were independent."""
    processor = CONFIG.construct_processor(vocabulary, "cpu")
    batch = torch.tensor([list(ids)])
    mask = processor.compute_context_repetition_mask(batch)[..., None].bool()
    values = processor.compute_g_values(batch)
    count = int(mask.sum()) * values.shape[-1]
    rate = float(SamplingTable().flips.mean())
    z = (float((values * mask).sum()) - count * rate) / math.sqrt(count * rate * (1 - rate))
    return math.log10(max(math.erfc(z / math.sqrt(2)) / 2, 1e-300))


def test_both_ways_and_what_assistance_loses(pair):
    rng = np.random.default_rng(0)
    prompts = rng.integers(3, 262, (1, 5)).tolist()
    for text in generated(pair.target, prompts, FEW):
        assert td.detect(text, JOINT, KEYS).log10_p < FOUND
        assert log10_p(text, 262) < FOUND
    for scheme in (PLAIN, JOINT):
        written = td.generate(
            ["the sea", "a hill", "then"],
            scheme,
            KEYS,
            pair=pair,
            tokens=TOKENS,
            ignore_eos=True,
            probe=False,
        )
        assert (scheme is JOINT) == any("d" in text.sources for text in written)
        for text in written:
            assert log10_p(text.token_ids, 262) < FOUND
            assert td.detect(text, key=KEYS).log10_p < FOUND
    for text in generated(pair.target, prompts, FEW, assistant_model=pair.target):
        assert td.detect(text, JOINT, KEYS).log10_p > FOUND
        assert log10_p(text, 262) > FOUND


def test_engine_draws_what_the_processor_allows(pair):
    """Without speculation a text of the engine is one that Transformers may write: no token has probability 0
    under the processor, called as generation calls it, and most have more than under the model."""
    text = td.generate(["the sea"], PLAIN, KEYS, pair=pair, tokens=FEW, ignore_eos=True, probe=False)[0]
    processor = CONFIG.construct_processor(262, "cpu")
    ids = [int(one) for one in pair.tokenizer("the sea")["input_ids"]]
    gained = []
    for token in text.token_ids:
        with torch.no_grad():
            scores = pair.target(torch.tensor([ids])).logits[:, -1, :262].float()
        before = torch.log_softmax(scores, -1)
        after = torch.log_softmax(processor(torch.tensor([ids]), scores), -1)
        gained.append(float(after[0, token] - before[0, token]))
        ids.append(token)
    # Under its own laws the mean gain is a divergence, and much above 0; under others it falls without bound.
    assert np.mean(gained) > 1
    assert min(gained) > -20


@pytest.mark.slow
def test_texts_of_the_built_in_model(builtin_pair):
    """20 texts of Transformers on the built-in model, by their tokens and by their words."""
    tokenizer, model = builtin_pair.tokenizer, builtin_pair.target
    prompts = [tokenizer(prompt)["input_ids"] for _, prompt in builtin_prompts("continuation")[:20]]
    texts = generated(model, prompts, suppress_tokens=[tokenizer.eos_token_id])
    for text in texts:
        assert td.detect(text, JOINT, KEYS).log10_p < FOUND
        assert td.detect(tokenizer.decode(text), JOINT, KEYS).log10_p < FOUND
        assert log10_p(text, len(tokenizer)) < FOUND


@pytest.mark.slow
def test_texts_of_the_engine_with_the_built_in_pair(builtin_pair):
    """20 texts without and 20 with speculation."""
    prompts = [prompt for _, prompt in builtin_prompts("continuation")[:20]]
    for scheme in (PLAIN, JOINT):
        for text in td.generate(
            prompts, scheme, KEYS, pair=builtin_pair, tokens=TOKENS, ignore_eos=True, temperature=1.0
        ):
            assert log10_p(text.token_ids, 49152) < FOUND
            assert td.detect(text.token_ids, JOINT, KEYS).log10_p < FOUND
            assert td.detect(text.text, JOINT, KEYS).log10_p < FOUND


@pytest.mark.slow
def test_assistance_on_the_built_in_model(builtin_pair):
    """The model as its own assistant writes text that neither finds."""
    prompts = [prompt for _, prompt in builtin_prompts("continuation")[:1]]
    ids = [builtin_pair.tokenizer(prompt)["input_ids"] for prompt in prompts]
    for text in generated(builtin_pair.target, ids, assistant_model=builtin_pair.target):
        assert td.detect(text, JOINT, KEYS).log10_p > FOUND
        assert log10_p(text, 49152) > FOUND
