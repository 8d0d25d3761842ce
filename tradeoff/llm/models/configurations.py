"""What a model's configuration says of it, and how one of fewer layers or shorter lengths is made of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import torch

from tradeoff.llm.models.huggingface import (
    PreTrainedModel,
    attention_name,
    output_projection,
    random_model,
    setting,
    text_config,
    windows,
)
from tradeoff.llm.models.placement import devices_of
from tradeoff.llm.models.quantised import quantisation

__all__ = ["keep_layers", "model_features", "named_lengths", "small_model"]

#: Names of settings that count positions, and not layers or heads.
_LENGTH = re.compile(
    r"^(?!.*(layer|num_|type|head|pattern|period)).*(window|chunk|position|context|n_ctx|seq)"
)
_FEWEST_LAYERS, _MOST_LAYERS, _SMALL_VOCABULARY = 2, 4, 256
_SWITCHES_WITHOUT_CONSEQUENCE = {"use_cache", "tie_word_embeddings", "return_dict", "output_attentions"}


def keep_layers(config: Any, kept: Sequence[int]) -> None:
    """Make a text configuration that of a model of these layers alone, in place: counts and lists."""
    count = config.num_hidden_layers
    per_layer = {
        name: [values[index] for index in kept]
        for name, values in vars(config).items()
        if "layer" in name and _is_per_layer(values, count)
    }
    config.num_hidden_layers = len(kept)
    for name, values in per_layer.items():
        setattr(config, name, values)


def named_lengths(config: Any) -> dict[str, int]:
    """Numbers of positions that a text configuration names, by name; those of nested settings with a dot."""
    return _lengths_below(vars(config))


def small_model(model: PreTrainedModel, shortest: int, seed: int = 0) -> PreTrainedModel:
    """A model of the same kind with random weights in float32, small enough for a probe.

    It has one layer of every kind (at least two layers in all), at most 256 tokens, and all lengths that its
    configuration names divided by one factor, so that the shortest of them becomes `shortest`. Weights are
    such that attention looks somewhere and tokens differ in probability. In evaluation mode, on the CPU.

    Raises:
        Exception: whatever the model's class raises for such a configuration.
    """
    config = copy.deepcopy(text_config(model))
    if quantisation(config):
        del config.quantization_config
    keep_layers(config, _one_of_every_kind(config))
    config.vocab_size = min(config.vocab_size, _SMALL_VOCABULARY)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(config, name, None)
    least = min(named_lengths(config).values(), default=shortest)
    factor = max(1, least // shortest)
    _divide_lengths(vars(config), factor)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        small = random_model(config, attention_name(model))
        _stir(small)
    return small


def _one_of_every_kind(config: Any) -> list[int]:
    """Indices of the layers that a small model keeps."""
    count = config.num_hidden_layers
    derived = setting(config, "layer_types")
    if derived and "layer_types" not in vars(config) and _is_per_layer(derived, count):
        # Where the kinds follow from other settings, such as a period, only a beginning keeps them.
        most = max(derived.index(kind) for kind in set(derived))
        return list(range(min(count, max(most + 1, _FEWEST_LAYERS))))
    kinds: dict[tuple[Any, ...], int] = {}
    lists = [values for values in vars(config).values() if _is_per_layer(values, count)]
    for index in range(count):
        kinds.setdefault(tuple(str(values[index]) for values in lists), index)
    kept = sorted(kinds.values())[:_MOST_LAYERS]
    rest = [index for index in range(count) if index not in kept]
    return sorted(kept + rest[: max(0, _FEWEST_LAYERS - len(kept))])


def model_features(model: PreTrainedModel) -> list[str]:
    """What sets a model apart from others of its family, apart from sizes: the kinds of attention and of
    positions, and every switch that its configuration turns on. Sorted."""
    config = text_config(model)
    found = {f"attention {attention_name(model)}"}
    found |= {f"layers {kind}" for kind in setting(config, "layer_types") or []}
    quantised = quantisation(config)
    if quantised:
        found.add(f"weights {quantised}")
    devices = devices_of(model)
    if devices:
        found.add(f"layers over {', '.join(devices)}")
    reach = setting(config, "max_position_embeddings")
    if any(size is not None and (reach is None or size < reach) for size in windows(model)):
        found.add("window shorter than texts")
    ropes = setting(config, "rope_parameters") or {}
    nested = [value for value in ropes.values() if isinstance(value, dict)]
    found |= {f"rope {rope.get('rope_type', 'default')}" for rope in (nested or [ropes]) if rope}
    for name, value in vars(config).items():
        if value is True and name not in _SWITCHES_WITHOUT_CONSEQUENCE and not name.startswith("_"):
            found.add(name)
        elif isinstance(value, str) and "position" in name:
            found.add(f"{name} {value}")
    return sorted(found)


def _is_per_layer(values: Any, layers: int) -> bool:
    return isinstance(values, list | tuple) and len(values) == layers


def _lengths_in(settings: dict[Any, Any]) -> dict[str, int]:
    return {
        name: value
        for name, value in settings.items()
        if isinstance(name, str)
        and _LENGTH.search(name)
        and isinstance(value, int)
        and not isinstance(value, bool)
        and value > 1
    }


def _lengths_below(settings: dict[Any, Any]) -> dict[str, int]:
    """Those of the settings, and of the settings nested in them at any depth."""
    found: dict[str, int] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": length for inner, length in _lengths_below(value).items()}
    return found | _lengths_in(settings)


def _divide_lengths(settings: dict[Any, Any], factor: int) -> None:
    for name, length in _lengths_in(settings).items():
        settings[name] = length // factor
    for value in settings.values():
        if isinstance(value, dict):
            _divide_lengths(value, factor)


@torch.no_grad()
def _stir(model: PreTrainedModel) -> None:
    """Weights of unit gain: as they are initialised, attention is even, and so are probabilities."""
    for name, weight in model.named_parameters():
        if weight.ndim >= 2 and "embed" not in name and "norm" not in name:
            weight.normal_(0, weight.shape[-1] ** -0.5)
    projection = output_projection(model).weight
    projection.normal_(0, 2.5 * projection.shape[-1] ** -0.5)
