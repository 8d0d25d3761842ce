"""Faster products of weights with the tokens of a round, in float32 on CPUs.

Libraries compute x W^T for 2 to 7 tokens up to twice as slowly as W x^T, although both read the same weights,
and for 16 to 96 tokens in five quarters of the time; to verify the drafts of one text, or of many, is such a
product. Inside `skinny_products` the linear maps of a model take the second way where it is the faster one.
Results differ by rounding only, and the model is left as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.nn import functional

__all__ = ["SkinnyMap", "skinny_maps", "skinny_products"]

#: A linear map, and what stands in for its forward pass.
SkinnyMap = tuple[nn.Linear, Callable[[torch.Tensor], torch.Tensor]]
#: The most tokens for which W x^T is faster, and which of them it is for once zeros fill them up to 16.
_MOST, _FILLED = 96, range(8, 16)


def skinny_maps(model: nn.Module) -> list[SkinnyMap]:
    """What gains in `model`: its linear maps in float32 on a CPU; nothing elsewhere."""
    return [
        (module, partial(_product, module))
        for module in model.modules()
        if type(module) is nn.Linear
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        # Those that somebody else has given a forward pass keep it.
        and "forward" not in vars(module)
    ]


@contextmanager
def skinny_products(replaced: Sequence[SkinnyMap]) -> Iterator[None]:
    """Compute with `replaced` the faster way while the context lasts."""
    for module, forward in replaced:
        vars(module)["forward"] = forward
    try:
        yield
    finally:
        for module, _ in replaced:
            del vars(module)["forward"]


def _product(module: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """x W^T + b: [..., in] -> [..., out]."""
    shape = (*x.shape[:-1], module.out_features)
    tokens = math.prod(x.shape[:-1])
    # One matrix: of some shapes `linear` makes a batch of products, each of which reads the weights.
    flat = x.reshape(tokens, x.shape[-1])
    if not 1 <= tokens <= _MOST:
        return functional.linear(flat, module.weight, module.bias).reshape(shape)
    if tokens == 1:
        flat = torch.cat([flat, flat])
    elif tokens in _FILLED:
        flat = functional.pad(flat, (0, 0, 0, _FILLED.stop - tokens))
    product = torch.mm(module.weight, flat.t()).t()[:tokens].reshape(shape).contiguous()
    return product if module.bias is None else product + module.bias
