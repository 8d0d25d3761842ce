"""A draft without some layers of the target: the smaller network on the very same weights."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.helpers.logits import full_logits, random_ids
from tradeoff.llm.models.huggingface import growing_cache, next_logits
from tradeoff.llm.models.layer_skip import skip_layers

MakeLlama = Callable[..., LlamaForCausalLM]


@pytest.mark.parametrize("tied", [True, False])
def test_skipping_nothing_changes_no_logit(make_llama: MakeLlama, tied: bool) -> None:
    model = make_llama(tied=tied)
    same = skip_layers(model, [])
    ids = random_ids(2, 12)
    assert same is not model
    assert type(same) is type(model)
    assert torch.equal(full_logits(same, ids), full_logits(model, ids))


@pytest.mark.parametrize("skipped", [(0,), (1, 2), (3,), (2, 0)])
def test_skipping_equals_a_smaller_model_with_the_kept_weights(
    make_llama: MakeLlama, skipped: tuple[int, ...]
) -> None:
    model = make_llama(tied=False)
    kept = [layer for layer in range(4) if layer not in skipped]
    smaller = LlamaForCausalLM(LlamaConfig(**model.config.to_dict() | {"num_hidden_layers": len(kept)}))
    weights = {k: v for k, v in model.state_dict().items() if ".layers." not in k}
    for new, old in enumerate(kept):
        prefix = f"model.layers.{old}."
        weights |= {
            f"model.layers.{new}.{k.removeprefix(prefix)}": v
            for k, v in model.state_dict().items()
            if k.startswith(prefix)
        }
    smaller.load_state_dict(weights)
    ids = random_ids(2, 12)
    draft = skip_layers(model, skipped)
    assert torch.equal(full_logits(draft, ids), full_logits(smaller.eval(), ids))
    assert draft.config.num_hidden_layers == len(kept)
    assert [layer.self_attn.layer_idx for layer in draft.model.layers] == list(range(len(kept)))


@pytest.mark.parametrize("tied", [True, False])
def test_draft_shares_every_weight_and_leaves_the_target_alone(make_llama: MakeLlama, tied: bool) -> None:
    model = make_llama(tied=tied)
    ids = random_ids(1, 8)
    before = full_logits(model, ids)
    draft = skip_layers(model, [1])
    renamed = {"0": "0", "1": "2", "2": "3"}
    target_weights = dict(model.named_parameters())
    for name, weight in draft.named_parameters():
        in_target = re.sub(r"layers\.(\d+)", lambda m: f"layers.{renamed[m[1]]}", name)
        assert weight.data_ptr() == target_weights[in_target].data_ptr()
        assert not weight.requires_grad
    assert (draft.lm_head.weight is draft.model.embed_tokens.weight) == tied
    assert not draft.training
    assert len(model.model.layers) == model.config.num_hidden_layers == 4
    assert [layer.self_attn.layer_idx for layer in model.model.layers] == [0, 1, 2, 3]
    assert all(weight.requires_grad for weight in model.parameters())
    assert torch.equal(full_logits(model, ids), before)


def test_draft_decoding_with_a_cache_equals_the_full_forward_pass(make_llama: MakeLlama) -> None:
    draft = skip_layers(make_llama(), [0, 2])
    ids = random_ids(2, 10)
    with torch.no_grad():
        cache = growing_cache(draft)
        pieces = [next_logits(draft, ids[:, :4], 4, cache=cache)]
        for t in range(4, 10):
            pieces.append(next_logits(draft, ids[:, t : t + 1], 1, cache=cache))
    assert len(cache.layers) == 2
    torch.testing.assert_close(torch.cat(pieces, dim=1), full_logits(draft, ids))


def test_kept_layers_keep_their_kind_of_attention() -> None:
    config = Qwen3Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=3,
        use_sliding_window=True,
        layer_types=["full_attention", "sliding_attention"] * 2,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config).eval()
    ids = random_ids(1, 12) % 64
    with torch.no_grad():
        perturbed = ids.clone()
        perturbed[0, 0] = (perturbed[0, 0] + 1) % 64
        sliding = skip_layers(model, [0, 2])
        full = skip_layers(model, [1, 3])
        reach = {
            name: not torch.equal(m(ids).logits[0, -1], m(perturbed).logits[0, -1])
            for name, m in (("sliding", sliding), ("full", full))
        }
    assert sliding.config.layer_types == ["sliding_attention"] * 2
    assert full.config.layer_types == ["full_attention"] * 2
    # Two windows of 3 see 4 tokens back, not 11; full attention sees the first token.
    assert reach == {"sliding": False, "full": True}
    assert model.config.layer_types == ["full_attention", "sliding_attention"] * 2


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([4], r"contains 4.*layers are 0 to 3"),
        ([-1], r"contains -1.*layers are 0 to 3"),
        ([1.0], r"contains 1\.0"),
        ([True], r"contains True"),
        ([1, 1], r"\[1, 1\] names a layer twice"),
        ([0, 1, 2, 3], r"leaves none of 4 layers; keep at least one"),
    ],
)
def test_bad_layers_are_named(make_llama: MakeLlama, layers: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        skip_layers(make_llama(), layers)


def test_encoder_decoder_models_are_refused() -> None:
    config = T5Config(vocab_size=32, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    with pytest.raises(TypeError, match=r"T5ForConditionalGeneration.*decoder-only"):
        skip_layers(T5ForConditionalGeneration(config), [0])
