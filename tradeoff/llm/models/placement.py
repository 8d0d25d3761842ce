"""Models whose layers lie on several devices, as accelerate places them for Transformers.

Ids go to the device of the input embeddings. Every layer runs where its weights are, with its keys and values
beside them, and what passes between layers is carried over. Logits come back where the ids were, so that laws
are computed on that one device. Layers that find no room are kept on the host or the disk, and fetched for
every pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import torch

from tradeoff.display import INSTALL_LLM

__all__ = [
    "DEVICE_MAPS",
    "DeviceMap",
    "check_device_map",
    "computes_on_cuda",
    "devices_of",
    "held_tensors",
    "input_device",
    "keeps_elsewhere",
    "left_out",
]

#: The package that places layers.
_ACCELERATE = "accelerate"
#: Ways to divide the layers that it knows.
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
#: One of these, or where each part of a model goes, by the names of the parts.
DeviceMap = str | Mapping[str, str | int | torch.device]
#: Where weights may lie that are computed with elsewhere.
_STORES = ("cpu", "disk")


def check_device_map(device_map: DeviceMap, device: object = None) -> None:
    """Refuse what cannot be placed.

    Args:
        device_map: as `load_pair` takes it.
        device: what was asked for beside it.

    Raises:
        ValueError: for a word that is none, an empty map, a device beside it, or if accelerate is missing.
    """
    words = ", ".join(map(repr, DEVICE_MAPS))
    if isinstance(device_map, str) and device_map not in DEVICE_MAPS:
        raise ValueError(
            f"device_map={device_map!r} is not known; use one of {words}, or in Python a mapping from parts "
            "of the model to devices"
        )
    if not device_map or not isinstance(device_map, str | Mapping):
        raise ValueError(f"device_map={device_map!r} places nothing; use one of {words}, or leave it out")
    if device is not None:
        raise ValueError(
            f"device={str(device)!r} and device_map={device_map!r} are given; leave device out to spread the "
            "target over devices, or device_map to use one"
        )
    if find_spec(_ACCELERATE) is None:
        raise ValueError(f"device_map={device_map!r} needs the package {_ACCELERATE}; {INSTALL_LLM}")


def devices_of(model: torch.nn.Module) -> list[str]:
    """The devices that the layers of a model are spread over, in order; empty if all are on one."""
    placed = vars(model).get("hf_device_map") or {}
    names = list(dict.fromkeys(_named(device) for device in placed.values()))
    return names if len(names) > 1 else []


def input_device(model: Any) -> torch.device:
    """Where the ids that a model reads go, and where its logits come back."""
    devices = devices_of(model)
    if not devices:
        return torch.device(model.device)
    device = torch.device(model.get_input_embeddings().weight.device)
    if device.type != "meta":
        return device
    # What is kept elsewhere is computed with on the first device that is no store.
    return torch.device(next((name for name in devices if name not in _STORES), "cpu"))


def held_tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors of a model by their names, those that are kept elsewhere fetched one by one."""
    for name, tensor in model.state_dict().items():
        if not tensor.is_meta:
            yield name, tensor
            continue
        from accelerate.utils import align_module_device

        owner, _, own = name.rpartition(".")
        module = model.get_submodule(owner)
        with align_module_device(module):
            yield name, module.state_dict()[own]


def left_out(model: torch.nn.Module, device_map: DeviceMap) -> list[str]:
    """Parameters that a mapping says nothing of, by their names."""
    if isinstance(device_map, str):
        return []
    parts = tuple("" if part == "" else f"{part}." for part in device_map)
    return [name for name, _ in model.named_parameters() if not f"{name}.".startswith(parts)]


def keeps_elsewhere(model: torch.nn.Module) -> bool:
    """Whether some weights are fetched for every pass."""
    return any(parameter.is_meta for parameter in model.parameters())


def computes_on_cuda(device_map: DeviceMap) -> bool:
    """Whether a model that is placed so computes on a GPU."""
    if isinstance(device_map, str):
        return torch.cuda.is_available()
    return any(_named(device).startswith("cuda") for device in device_map.values())


def _named(device: str | int | torch.device) -> str:
    """`cuda:0` for 0, as Transformers and accelerate number GPUs."""
    return str(torch.device("cuda", device)) if isinstance(device, int) else str(device)
