"""Layer-skip drafts: a model with some of its own layers left out, on the same weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

import torch

from tradeoff.llm.models.configurations import keep_layers
from tradeoff.llm.models.huggingface import PreTrainedModel, text_config

__all__ = ["layer_stack", "parse_skip", "skip_layers"]

_PREFIX = "skip:"

Model = TypeVar("Model", bound=PreTrainedModel)


def parse_skip(draft: str) -> tuple[int, ...] | None:
    """The layers named by a draft such as "skip:14,16"; None if `draft` is not of that form.

    Raises ValueError if what follows "skip:" is not a list of whole numbers.
    """
    if not draft.startswith(_PREFIX):
        return None
    try:
        return tuple(int(number) for number in draft.removeprefix(_PREFIX).split(","))
    except ValueError as error:
        raise ValueError(
            f"draft={draft!r} must list layer numbers between commas, such as 'skip:14,16'"
        ) from error


def skip_layers(model: Model, layers: Iterable[int]) -> Model:
    """A new model of the same class without `layers` (counted from 0), sharing every weight.

    The kept layers are renumbered from 0, so key/value caches work; parameters are new objects on
    the same storage, so nothing is copied. The result is in evaluation mode and needs no gradients.

    Raises ValueError for a layer that `model` does not have, one named twice, or a choice that
    leaves no layer; TypeError for a model whose layers cannot be told apart.
    """
    stack_name, count = layer_stack(model)
    skipped = _validated_layers(layers, count)
    kept = [index for index in range(count) if index not in skipped]

    # A deep copy that meets ready-made parameters keeps them, so only the module tree is
    # duplicated. Unlike a model rebuilt from a smaller config, its layers keep what depends on
    # their original place (sliding windows, rotary or not). Tied weights stay tied: one parameter
    # has one stand-in.
    stand_ins: dict[int, Any] = {
        id(p): torch.nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()
    }
    shorter = copy.deepcopy(model, stand_ins)

    stack = shorter.get_submodule(stack_name)
    assert isinstance(stack, torch.nn.ModuleList)
    parent_name, _, attribute = stack_name.rpartition(".")
    layers_left = torch.nn.ModuleList([stack[index] for index in kept])
    setattr(shorter.get_submodule(parent_name), attribute, layers_left)
    for index, layer in enumerate(layers_left):
        for module in layer.modules():
            if "layer_idx" in vars(module):
                vars(module)["layer_idx"] = index

    keep_layers(text_config(shorter), kept)
    return shorter.eval()


def layer_stack(model: PreTrainedModel) -> tuple[str, int]:
    """(dotted name, length) of the module list that holds the layers of `model`."""
    count = text_config(model).num_hidden_layers
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList)
        and len(module) == count
        and all(any("layer_idx" in vars(part) for part in layer.modules()) for layer in module)
    ]
    if len(names) != 1:
        raise TypeError(
            f"{type(model).__name__} has {len(names)} lists of {count} numbered layers ({names}); "
            "layers can be left out of decoder-only models with exactly one"
        )
    return names[0], count


def _validated_layers(layers: Iterable[int], count: int) -> frozenset[int]:
    chosen = list(layers)
    for layer in chosen:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < count:
            raise ValueError(
                f"layers={chosen} contains {layer!r}, but this model's layers are 0 to "
                f"{count - 1}; leave it out"
            )
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"layers={chosen} names a layer twice; name each one once")
    if len(chosen) == count:
        raise ValueError(f"layers={chosen} leaves none of {count} layers; keep at least one")
    return frozenset(chosen)
