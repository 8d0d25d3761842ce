"""The jump draft: the first two and the last two layers of a model, and a fitted map in place of the rest.

Between layers 1 and n - 2 the residual stream x goes through a map that was fitted to what the omitted
layers do to it: x + A x + b + D (silu(G x') * U x') with x' = x / rms(x), an affine map and a narrow gated
perceptron. Every linear map W of the four kept layers becomes W + U V with U V of low rank (LoRA; Hu et al.
2022, arXiv 2106.09685). The weights of the model itself stay the target's own storage: what is fitted is
added in the forward pass and never merged, so draft and target together need little more memory than the
target alone.
"""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from tradeoff.files import replacing
from tradeoff.llm.models.huggingface import PreTrainedModel, setting, text_config
from tradeoff.llm.models.layer_skip import layer_stack, skip_layers

__all__ = ["KEPT_LAYERS", "adapter_metadata", "adapter_parameters", "jump_draft", "new_jump", "save_adapter"]

#: The layers that are kept, counted as a list index is; the map stands between the second and the third.
KEPT_LAYERS = (0, 1, -2, -1)
_MAP_AFTER = 1

_FORMAT = "tradeoff.jump"
_VERSION = 1
_SHIPPED = "jump.safetensors"


class ResidualMap(nn.Module):
    """x + A x + b + D (silu(G x') * U x'), x' = x / rms(x), over the last axis; at first the identity."""

    def __init__(self, hidden: int, width: int, generator: torch.Generator) -> None:
        """`hidden` numbers in and out, `width` gated units between; G and U start random, D at 0."""
        super().__init__()
        self.affine = nn.Parameter(torch.zeros(hidden, hidden))
        self.offset = nn.Parameter(torch.zeros(hidden))
        # G and U in one matrix: a decoding step is bound by the number of operations.
        self.inner = nn.Parameter(torch.randn(2 * width, hidden, generator=generator) * hidden**-0.5)
        self.outer = nn.Parameter(torch.zeros(hidden, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [..., hidden] -> [..., hidden]."""
        scaled = functional.rms_norm(x, x.shape[-1:], eps=1e-5)
        gate, value = functional.linear(scaled, self.inner.to(x.dtype)).chunk(2, dim=-1)
        bent = functional.linear(functional.silu(gate) * value, self.outer.to(x.dtype))
        return x + functional.linear(x, self.affine.to(x.dtype), self.offset.to(x.dtype)) + bent


class AdaptedLinear(nn.Linear):
    """W x + U (V x) on the weight W of another linear map, with its bias if it has one; at first U = 0."""

    def __init__(self, linear: nn.Linear, rank: int, generator: torch.Generator) -> None:
        """Stands in for `linear`, whose parameters it holds as its own; V starts random."""
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        start = torch.randn(rank, self.in_features, generator=generator) * self.in_features**-0.5
        self.down = nn.Parameter(start)
        self.up = nn.Parameter(torch.zeros(self.out_features, rank))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[..., in_features] -> [..., out_features]."""
        low = functional.linear(input, self.down.to(input.dtype))
        return super().forward(input) + functional.linear(low, self.up.to(input.dtype))


def jump_draft(target: PreTrainedModel, adapter: Path | None = None) -> PreTrainedModel:
    """A draft of the target's own class with 4 of its layers, its weights, and a fitted adapter.

    Args:
        target: the model that the adapter was fitted for, in any dtype and on any device.
        adapter: safetensors file written by `save_adapter`; None is the built-in target's, which comes with
            the library.

    Returns:
        The draft in evaluation mode, without gradients; the adapter has the target's dtype and device.

    Raises:
        ValueError: if the file is missing, is no adapter, or was fitted for a model of another shape.
    """
    if adapter is not None:
        return _load(target, adapter)
    with as_file(files("tradeoff") / "data" / _SHIPPED) as path:
        return _load(target, path)


def new_jump(target: PreTrainedModel, rank: int, width: int, seed: int = 0) -> PreTrainedModel:
    """An unfitted jump draft, which equals the target without its middle layers.

    Args:
        target: a decoder-only model of at least 4 layers.
        rank: of U V beside every linear map of the kept layers.
        width: gated units in the map over the omitted layers.
        seed: of V, G and U.

    Raises:
        ValueError: for a rank or width below 1, or a target of fewer than 4 layers.
        TypeError: for a model whose layers cannot be told apart.
    """
    for name, value in (("rank", rank), ("width", width)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    stack, count = layer_stack(target)
    if count < len(KEPT_LAYERS):
        raise ValueError(
            f"target has {count} layers, a jump draft keeps {len(KEPT_LAYERS)} of them; use a deeper target, "
            "or a draft such as 'skip:1'"
        )
    kept = {index % count for index in KEPT_LAYERS}
    draft = skip_layers(target, [index for index in range(count) if index not in kept])
    generator = torch.Generator().manual_seed(seed)
    layers = draft.get_submodule(stack)
    for parent in list(layers.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, AdaptedLinear(child, rank, generator))
    before = layers.get_submodule(str(_MAP_AFTER))
    before.add_module("jump", ResidualMap(text_config(draft).hidden_size, width, generator))
    # A hook reads the map from its module, so that a deep copy of the draft uses its own map.
    before.register_forward_hook(lambda layer, _, x: layer.jump(x))
    for parameter in adapter_parameters(draft).values():
        parameter.requires_grad_(False)
        parameter.data = parameter.data.to(device=target.device, dtype=target.dtype)
    return draft


def adapter_parameters(draft: nn.Module) -> dict[str, nn.Parameter]:
    """What a jump draft has beyond the weights of its target, by name."""
    return {
        f"{name}.{own}": parameter
        for name, module in draft.named_modules()
        if isinstance(module, ResidualMap | AdaptedLinear)
        for own, parameter in module.named_parameters()
        if own not in ("weight", "bias")
    }


def save_adapter(draft: PreTrainedModel, target: PreTrainedModel, path: Path, model: str) -> None:
    """Write the adapter of `draft` as float16 safetensors with what is needed to load it again.

    Args:
        draft: made by `new_jump` or `jump_draft` of `target`.
        target: the model that it was fitted for.
        path: the file; it appears complete or not at all.
        model: name of the target, for people and error messages.
    """
    own = adapter_parameters(draft)
    rank = next(p.shape[0] for name, p in own.items() if name.endswith(".down"))
    width = next(p.shape[1] for name, p in own.items() if name.endswith(".outer"))
    metadata = {
        "format": _FORMAT,
        "version": str(_VERSION),
        "model": model,
        "shape": json.dumps(_shape(target)),
        "kept": json.dumps(list(KEPT_LAYERS)),
        "rank": str(rank),
        "width": str(width),
    }
    with replacing(path) as temporary:
        save_file(
            {name: p.detach().half().cpu().contiguous() for name, p in own.items()}, temporary, metadata
        )


def adapter_metadata(path: Path) -> dict[str, str]:
    """What `save_adapter` recorded beside the tensors: format, version, model, shape, kept, rank, width.

    Raises:
        ValueError: if the file is missing or is not an adapter that this version reads.
    """
    remedy = "fit one with `python -m tradeoff.llm.fitting.fit_jump`, or use a draft such as 'skip:14,16'"
    if not path.is_file():
        raise ValueError(f"adapter={str(path)!r} does not exist; {remedy}")
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"adapter={str(path)!r} cannot be read as safetensors ({error}); {remedy}"
        ) from error
    found = (metadata.get("format"), metadata.get("version"), metadata.get("kept"))
    expected = (_FORMAT, str(_VERSION), json.dumps(list(KEPT_LAYERS)))
    if found != expected:
        raise ValueError(
            f"adapter={str(path)!r} has (format, version, kept layers) {found}, this version of tradeoff "
            f"reads {expected}; {remedy}"
        )
    return dict(metadata)


def _load(target: PreTrainedModel, path: Path) -> PreTrainedModel:
    metadata = adapter_metadata(path)
    fitted, given = json.loads(metadata["shape"]), _shape(target)
    if fitted != given:
        raise ValueError(
            f"adapter={str(path)!r} was fitted for {metadata['model']} {fitted}, but the target is "
            f"{given}; fit one for this target, or use a draft such as 'skip:1'"
        )
    draft = new_jump(target, int(metadata["rank"]), int(metadata["width"]))
    own, tensors = adapter_parameters(draft), load_file(path)
    wrong = [
        k
        for k in own.keys() | tensors.keys()
        if k not in own or k not in tensors or own[k].shape != tensors[k].shape
    ]
    if wrong:
        raise ValueError(
            f"adapter={str(path)!r} does not fit the target: tensors {sorted(wrong)[:3]} are missing, "
            "unknown or of another shape; fit it again with `python -m tradeoff.llm.fitting.fit_jump`"
        )
    for name, parameter in own.items():
        parameter.data.copy_(tensors[name])
    return draft


def _shape(target: PreTrainedModel) -> dict[str, Any]:
    """What must agree between the model that an adapter was fitted for and the one that it is used on."""
    config = text_config(target)
    names = (
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
    )
    return {"architecture": type(target).__name__} | {name: setting(config, name) for name in names}
