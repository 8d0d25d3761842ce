"""A CUDA device on a machine without one: fake, whose tensors have no data, and played, whose data are here.

On the fake device (PyTorch's FakeTensorMode) whatever must wait for data is an error, and so is an operation
between the device and the host. What does wait is followed on the played device, where data are on the host
and every tensor knows where it would be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

__all__ = [
    "CUDA",
    "WAITS",
    "MixedDevices",
    "Played",
    "ReadBack",
    "fake_device",
    "needs_simulation",
    "on_device",
    "played_device",
]

CUDA = torch.device("cuda:0")
_aten = torch.ops.aten
#: Earlier versions ask for a driver where a fake tensor is moved.
needs_simulation = pytest.mark.skipif(
    not hasattr(torch._C, "_ensureCUDADeviceGuardSet"), reason="PyTorch simulates CUDA from 2.10 on"
)


class ReadBack(RuntimeError):
    """Data of the device were asked for as an array of the host."""


class MixedDevices(RuntimeError):
    """An operation between tensors of the device and of the host."""


#: What code raises on the fake device that waits for data: a number, a shape, an array.
WAITS = (DataDependentOutputException, DynamicOutputShapeException, ReadBack)


class Played(torch.Tensor):
    """A tensor that says it is on the device; what it holds is on the host."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Played:
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=CUDA
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _played(func, args, kwargs or {})


class _Playing(TorchDispatchMode):
    """Factories, too: what is made on the device is played."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _played(func, args, kwargs or {})


def _played(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, torch.Tensor)]
    here = any(isinstance(part, Played) for part in tensors)
    copies = func in (_aten._to_copy.default, _aten.copy_.default)
    # A number of the host, without axes, goes everywhere.
    if here and not copies and any(part.ndim and not isinstance(part, Played) for part in tensors):
        raise MixedDevices(f"{func} of a tensor on {CUDA} and one on the host")
    there = kwargs.get("device")
    if there is not None:
        here = torch.device(there).type == CUDA.type
        kwargs = kwargs | {"device": torch.device("cpu")}
    elif func is _aten.copy_.default:
        here = isinstance(args[0], Played)
    bare = tree_map(lambda part: part.held if isinstance(part, Played) else part, (args, kwargs))
    found = func(*bare[0], **bare[1])
    if args and isinstance(args[0], Played) and found is args[0].held:
        return args[0]
    return tree_map(lambda part: Played(part) if here and isinstance(part, torch.Tensor) else part, found)


class _WithoutGuards(TorchFunctionMode):
    """Operations whose bindings, in builds for CPUs alone, ask for a driver before anything is dispatched.

    Args:
        answers: what `bool` of a tensor gives; None to let the device say it.
    """

    def __init__(self, answers: bool | None = None):
        super().__init__()
        self._answers = answers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(isinstance(part, FakeTensor | Played) for part in args):
            return func(*args, **kwargs)
        if func is torch.Tensor.__bool__ and self._answers is not None:
            return self._answers
        return _BY_DISPATCH.get(func, func)(*args, **kwargs)


def _entry(values: torch.Tensor, key: Any) -> torch.Tensor:
    view, indices = _viewed(values, key)
    return _aten.index.Tensor(view, indices) if indices else view


def _set_entry(values: torch.Tensor, key: Any, new: Any) -> None:
    view, indices = _viewed(values, key)
    if not isinstance(new, torch.Tensor):
        new = torch.full((), new, dtype=values.dtype, device=values.device)
    if indices:
        _aten.index_put_.default(view, indices, new)
    else:
        _aten.copy_.default(view, new)


def _viewed(values: torch.Tensor, key: Any) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """The part that numbers, slices, None and ... leave, and the tensors that index its axes."""
    keys = list(key) if isinstance(key, tuple) else [key]
    wide = [part.ndim if _is_mask(part) else 1 for part in keys if part is not None and part is not ...]
    if ... in [part for part in keys if not isinstance(part, torch.Tensor | np.ndarray)]:
        place = next(i for i, part in enumerate(keys) if part is ...)
        keys[place : place + 1] = [slice(None)] * (values.ndim - sum(wide))
    indices: list[torch.Tensor | None] = []
    axis = 0
    for part in keys:
        if part is None:
            values = _aten.unsqueeze.default(values, axis)
        elif isinstance(part, slice):
            if part != slice(None):
                values = _aten.slice.Tensor(values, axis, part.start, part.stop, part.step or 1)
        elif isinstance(part, torch.Tensor):
            if part.device != values.device:
                raise MixedDevices(f"a tensor on {values.device} is indexed by one on {part.device}")
            places = _nonzero(part, as_tuple=True) if _is_mask(part) else (part,)
            indices += [*[None] * (axis - len(indices)), *places]
            axis += len(places) - 1
        elif isinstance(part, int | np.integer):
            values = _aten.select.int(values, axis, int(part))
            continue
        else:
            raise MixedDevices(f"a tensor on {values.device} is indexed by {type(part).__name__}")
        axis += 1
    return values, indices


def _is_mask(part: Any) -> bool:
    return isinstance(part, torch.Tensor) and part.dtype == torch.bool


def _nonzero(values: torch.Tensor, *, as_tuple: bool = False) -> Any:
    places = _aten.nonzero.default(values)
    return tuple(_aten.unbind.int(places, 1)) if as_tuple else places


def _array(values: torch.Tensor, *_: Any, **__: Any) -> NoReturn:
    where = "a tensor without data" if isinstance(values, FakeTensor) else f"a tensor on {values.device}"
    raise ReadBack(f"{where} is read as an array of the host")


_BY_DISPATCH: dict[Any, Callable[..., Any]] = {
    torch.Tensor.__getitem__: _entry,
    torch.Tensor.__setitem__: _set_entry,
    torch.nonzero: _nonzero,
    torch.Tensor.nonzero: _nonzero,
    torch.Tensor.item: _aten._local_scalar_dense.default,
    torch.Tensor.__int__: lambda values: int(_aten._local_scalar_dense.default(values)),
    torch.Tensor.__float__: lambda values: float(_aten._local_scalar_dense.default(values)),
    torch.Tensor.__bool__: lambda values: bool(_aten._local_scalar_dense.default(values)),
    torch.Tensor.__invert__: _aten.bitwise_not.default,
    torch.Tensor.numpy: _array,
}


@contextmanager
def fake_device(answers: bool | None = None) -> Iterator[None]:
    """Tensors are fake while the context lasts; `answers` stands for what a device says to `bool`."""
    with FakeTensorMode(), _WithoutGuards(answers):
        yield


@contextmanager
def played_device() -> Iterator[None]:
    """Tensors on CUDA are played while the context lasts."""
    # Whoever names the device wakes its driver first.
    if torch.cuda.is_available():
        # Else PyTorch would take the driver for awake, in this process for good.
        torch.cuda.init()
    before = torch._C._only_lift_cpu_tensors()
    # Numbers become a tensor on the host, which is then moved.
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with patch.object(torch.cuda, "_lazy_init"), _Playing(), _WithoutGuards():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def on_device(values: np.ndarray) -> torch.Tensor:
    """A copy of an array on the device that is simulated."""
    return torch.from_numpy(values).to(CUDA)
