"""Where laws are computed: in float64, so on the host for devices that have none."""

from __future__ import annotations

import torch

__all__ = ["law_device", "on_law_device"]

#: Kinds of devices without float64.
_WITHOUT_FLOAT64 = frozenset(["mps"])


def law_device(device: torch.device) -> torch.device:
    """The device for laws of a model on `device`: the same one if it computes in float64, else the CPU."""
    return torch.device("cpu") if device.type in _WITHOUT_FLOAT64 else device


def on_law_device(logits: torch.Tensor) -> torch.Tensor:
    """Logits where their laws are computed; everything that follows stays there."""
    return logits.to(law_device(logits.device))
