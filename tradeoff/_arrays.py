"""One code path for NumPy and PyTorch arrays.

PyTorch is never imported here: `array_api_compat` recognises its tensors without it, so the theory
works in an environment that has no PyTorch at all.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_torch_array
from array_api_compat import device as device_of

#: A NumPy array or a PyTorch tensor. Both are used through the array API, which static type checkers
#: cannot express yet; hence `Any`.
Array: TypeAlias = Any

__all__ = ["Array", "as_float64", "device_of", "like", "namespace", "on_host", "to_numpy"]


def namespace(*arrays: Array) -> Any:
    """The array-API namespace that all `arrays` share (TypeError if they are of different libraries)."""
    return array_namespace(*arrays)


def as_float64(values: Any) -> Array:
    """`values` as a float64 array of its own library and device; anything array-like becomes NumPy."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError("expected plain numbers, got a masked array")
    if not is_array_api_obj(values):
        values = np.asarray(values)
        if values.dtype == object or values.dtype.kind in "USV":
            raise TypeError(f"expected numbers, got {values.dtype} values")
    xp = namespace(values)
    if xp.isdtype(values.dtype, "complex floating"):
        raise TypeError("expected real numbers, got complex ones")
    return xp.astype(values, xp.float64)


def like(values: np.ndarray, reference: Array) -> Array:
    """NumPy `values` in the library and on the device of `reference` (no copy for NumPy)."""
    if is_torch_array(reference):
        xp = namespace(reference)
        return xp.asarray(values, device=reference.device)
    return values


def on_host(values: Array) -> bool:
    """Whether `values` can be looked at without waiting for an accelerator."""
    return str(device_of(values)) == "cpu"


def to_numpy(values: Array) -> np.ndarray:
    """`values` as a NumPy array on the host."""
    if is_torch_array(values):
        return values.detach().cpu().numpy()
    return np.asarray(values)
