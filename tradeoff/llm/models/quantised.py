"""Models whose weights are quantised: what they need, and how people are told."""

from __future__ import annotations

from enum import Enum
from importlib.util import find_spec
from typing import Any

from tradeoff.llm.models.huggingface import setting

__all__ = ["check_quantisation", "quantisation"]

#: Packages that read weights quantised with a method, by the names that they are imported under.
_QUANTISERS = {
    "bitsandbytes": {"bitsandbytes": "bitsandbytes", "accelerate": "accelerate"},
    "gptq": {"optimum": "optimum", "gptqmodel": "gptqmodel"},
    "awq": {"gptqmodel": "gptqmodel"},
    "auto-round": {"auto_round": "auto-round"},
    "compressed-tensors": {"compressed_tensors": "compressed-tensors"},
    "hqq": {"hqq": "hqq"},
    "quanto": {"optimum": "optimum-quanto"},
    "torchao": {"torchao": "torchao"},
}


def quantisation(config: Any) -> str | None:
    """What a configuration says that its weights were quantised with, such as "bitsandbytes 4 bits"."""
    found = setting(config, "quantization_config")
    if not found:
        return None
    settings = found if isinstance(found, dict) else found.to_dict()
    eight, four = (settings.get(f"load_in_{bits}bit") for bits in (8, 4))
    bits = settings.get("bits") or (8 if eight else 4 if four else None)
    method = settings.get("quant_method") or ("bitsandbytes" if bits else "an unknown method")
    method = method.value if isinstance(method, Enum) else str(method)
    return f"{method} {bits} bits" if bits else method


def check_quantisation(config: Any) -> str | None:
    """The same, if the packages are there that read such weights.

    Raises:
        ImportError: naming those that are not.
    """
    found = quantisation(config)
    if found is None:
        return None
    wanted = _QUANTISERS.get(found.split()[0], {})
    lacking = [package for module, package in wanted.items() if find_spec(module) is None]
    if lacking:
        raise ImportError(
            f"its weights are quantised ({found}), which needs {' and '.join(lacking)}: "
            f"pip install {' '.join(lacking)}"
        )
    return found
