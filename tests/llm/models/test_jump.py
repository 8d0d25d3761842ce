"""The jump draft: shared weights, and an adapter that is checked before use."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers.jumps import VOCABULARY, disturbed, tiny
from tests.helpers.logits import full_logits, random_ids
from tradeoff.llm.fitting import fit_jump
from tradeoff.llm.fitting.distil import mean_overlap
from tradeoff.llm.models import jump
from tradeoff.llm.models.huggingface import growing_cache, next_logits
from tradeoff.llm.models.jump import (
    adapter_metadata,
    adapter_parameters,
    jump_draft,
    new_jump,
    save_adapter,
)
from tradeoff.llm.models.pair import ModelPair, load_pair, logits_at, skip_layers

SHIPPED = Path(jump.__file__).parents[2] / "data" / "jump.safetensors"


# The draft


@pytest.mark.parametrize("layers", [4, 6])
def test_unfitted_draft_is_the_layer_skip_draft_exactly(layers: int) -> None:
    target = tiny(layers)
    ids = random_ids(2, 12)
    skipping = skip_layers(target, range(2, layers - 2))
    assert torch.equal(full_logits(new_jump(target, 3, 5), ids), full_logits(skipping, ids))


def test_draft_shares_every_weight_of_the_target_and_leaves_it_alone() -> None:
    target, ids = tiny(), random_ids(2, 9)
    before = full_logits(target, ids)
    draft = disturbed(target)
    renamed = {"0": "0", "1": "1", "2": "4", "3": "5"}
    weights, own = dict(target.named_parameters()), adapter_parameters(draft)
    assert type(draft) is type(target)
    assert not draft.training
    for name, weight in draft.named_parameters():
        assert not weight.requires_grad
        if name not in own:
            in_target = re.sub(r"layers\.(\d+)", lambda m: f"layers.{renamed[m[1]]}", name)
            assert weight.data_ptr() == weights[in_target].data_ptr()
    assert draft.lm_head.weight is draft.model.embed_tokens.weight
    # Seven linear maps a layer, two factors each, and the four tensors of the map.
    assert len(own) == 4 * 7 * 2 + 4
    assert torch.equal(full_logits(target, ids), before)
    assert not torch.allclose(full_logits(draft, ids), full_logits(skip_layers(target, [2, 3]), ids))


def test_low_rank_terms_equal_merged_weights() -> None:
    draft, ids = disturbed(tiny().double()), random_ids(2, 9)
    merged = copy.deepcopy(draft)
    for module in merged.modules():
        if isinstance(module, jump.AdaptedLinear):
            module.weight = torch.nn.Parameter(module.weight + module.up @ module.down)
            module.up.data.zero_()
    torch.testing.assert_close(full_logits(merged, ids), full_logits(draft, ids))


def test_map_is_the_formula_of_the_module() -> None:
    draft = disturbed(tiny())
    layer = next(m for m in draft.modules() if isinstance(m, jump.ResidualMap))
    x = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(1))
    scaled = x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    g, u = layer.inner[:5], layer.inner[5:]
    bent = torch.nn.functional.silu(scaled @ g.T) * (scaled @ u.T)
    expected = x + x @ layer.affine.T + layer.offset + bent @ layer.outer.T
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decoding_with_a_cache_equals_the_full_forward_pass(dtype: torch.dtype) -> None:
    draft, ids = disturbed(tiny().to(dtype)), random_ids(2, 10)
    with torch.no_grad():
        cache = growing_cache(draft)
        pieces = [next_logits(draft, ids[:, :4], 4, cache=cache)]
        for t in range(4, 10):
            pieces.append(next_logits(draft, ids[:, t : t + 1], 1, cache=cache))
        kept = draft(ids, logits_to_keep=2).logits
    full = full_logits(draft, ids)
    assert len(cache.layers) == 4
    assert full.dtype == dtype
    # Processors add up in different orders.
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(torch.cat(pieces, dim=1), full, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(kept, full[:, -2:], rtol=tolerance, atol=tolerance)


def test_copied_draft_uses_its_own_map() -> None:
    draft, ids = disturbed(tiny()), random_ids(1, 6)
    before = full_logits(draft, ids)
    copied = copy.deepcopy(draft)
    for parameter in adapter_parameters(copied).values():
        parameter.data.zero_()
    assert torch.equal(full_logits(draft, ids), before)
    assert not torch.equal(full_logits(copied, ids), before)


@pytest.mark.parametrize(
    ("layers", "rank", "width", "message"),
    [
        (3, 1, 1, r"target has 3 layers.*keeps 4.*deeper target"),
        (4, 0, 1, r"rank=0 must be at least 1"),
        (4, 1, 0, r"width=0 must be at least 1"),
    ],
)
def test_impossible_drafts_are_refused(layers: int, rank: int, width: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_jump(tiny(layers), rank, width)


# The adapter file


def test_saved_adapter_comes_back_with_its_metadata(tmp_path: Path) -> None:
    target, path = tiny(), tmp_path / "a.safetensors"
    draft = disturbed(target)
    save_adapter(draft, target, path, "tiny")
    again, ids = jump_draft(target, path), random_ids(2, 9)
    metadata = adapter_metadata(path)
    assert {k: metadata[k] for k in ("model", "kept", "rank", "width", "version")} == {
        "model": "tiny",
        "kept": "[0, 1, -2, -1]",
        "rank": "3",
        "width": "5",
        "version": "1",
    }
    assert list(tmp_path.iterdir()) == [path]
    for name, parameter in adapter_parameters(again).items():
        assert torch.equal(parameter, adapter_parameters(draft)[name].half().float())
    # Half precision keeps 11 bits of what is about 1e-1.
    torch.testing.assert_close(full_logits(again, ids), full_logits(draft, ids), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_adapter_takes_the_dtype_of_the_target(tmp_path: Path, dtype: torch.dtype) -> None:
    target, path = tiny(), tmp_path / "a.safetensors"
    save_adapter(disturbed(target), target, path, "tiny")
    draft = jump_draft(target.to(dtype), path)
    assert {p.dtype for p in draft.parameters()} == {dtype}
    assert logits_at(draft, random_ids(2, 5), None, torch.tensor([[4], [2]])).shape == (2, 1, VOCABULARY)


def missing(path: Path) -> str:
    path.unlink()
    return "does not exist; fit one with"


def damaged(path: Path) -> str:
    path.write_bytes(b"\0" * 100)
    return "cannot be read as safetensors"


def foreign(path: Path) -> str:
    save_file(load_file(path), path)
    return r"has \(format, version, kept layers\) \(None, None, None\).*fit one with"


def later(path: Path) -> str:
    save_file(load_file(path), path, adapter_metadata(path) | {"version": "2"})
    return r"'2', .*reads .*'1'"


def incomplete(path: Path) -> str:
    tensors, metadata = load_file(path), adapter_metadata(path)
    del tensors["model.layers.1.jump.affine"]
    save_file(tensors, path, metadata)
    return r"does not fit the target: tensors \['model.layers.1.jump.affine'\]"


@pytest.mark.parametrize("spoil", [missing, damaged, foreign, later, incomplete])
def test_unusable_adapters_are_named_with_a_remedy(tmp_path: Path, spoil: Callable[[Path], str]) -> None:
    target, path = tiny(), tmp_path / "a.safetensors"
    save_adapter(disturbed(target), target, path, "tiny")
    message = spoil(path)
    with pytest.raises(ValueError, match=message) as caught:
        jump_draft(target, path)
    assert f"adapter={str(path)!r}" in str(caught.value)


@pytest.mark.parametrize("other", [{"layers": 7}, {"hidden": 64}])
def test_adapter_of_another_model_is_refused(tmp_path: Path, other: dict[str, int]) -> None:
    path = tmp_path / "a.safetensors"
    save_adapter(disturbed(tiny()), tiny(), path, "tiny")
    with pytest.raises(
        ValueError, match=r"fitted for tiny \{.*but the target is \{.*fit one for this target"
    ):
        jump_draft(tiny(**other), path)


def test_shipped_adapter_is_for_the_builtin_target_only(tiny_folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"SmolLM2-135M-Instruct.*'num_hidden_layers': 30.*'num_hidden_layers': 6"
    ):
        jump_draft(tiny())
    with pytest.raises(ValueError, match=r"draft='jump'.*target=.*draft='skip:1,3'"):
        load_pair(tiny_folder, "jump", device="cpu", progress=False)


# The shipped adapter


def test_builtin_jump_draft_overlaps_far_more_than_its_layers_alone(builtin_pair: ModelPair) -> None:
    assert SHIPPED.stat().st_size <= 3_000_000
    target = builtin_pair.target
    draft = jump_draft(target)
    texts = fit_jump.held_out_texts(builtin_pair, 12, 1.0, np.random.default_rng(7), length=64)
    fitted, error = mean_overlap(target, draft, texts, every=3)
    bare, _ = mean_overlap(target, skip_layers(target, range(2, 28)), texts, every=3)
    # On these texts 0.39 with a standard error of 0.02, of which 0.33 is 3 below; the map in closed form
    # alone has 0.30, and the four layers without a map 0.01.
    assert error < 0.04
    assert bare < 0.1
    assert fitted > 0.33


def test_builtin_jump_pair_says_what_it_shares(builtin_pair: ModelPair) -> None:
    pair = load_pair(draft="jump", device="cpu", progress=False)
    held = {p.data_ptr() for p in pair.target.parameters()}
    own = adapter_parameters(pair.draft)
    assert all(p.data_ptr() in held for name, p in pair.draft.named_parameters() if name not in own)
    assert sum(p.numel() for p in own.values()) <= 1_500_000
    assert pair.vocabulary_size == builtin_pair.vocabulary_size
    assert "jump (layers 0,1,28,29 + fitted map)" in pair.describe()
    assert re.search(r"sharing the weights of the target except 1\.\dM of its own", pair.describe())
