"""Watermarks for whoever generates with Transformers: `model.generate(custom_generate=...)`, and a processor.

from tradeoff.transformers import watermarked

mark = watermarked(key=key, method="joint-race")
model.generate(**inputs, do_sample=True, max_new_tokens=200, assistant_model=draft, custom_generate=mark)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.transformers.generation import Watermarked, watermarked
    from tradeoff.transformers.processor import WatermarkProcessor

__all__ = ["WatermarkProcessor", "Watermarked", "watermarked"]

_HOMES = {
    "transformers.generation": (
        "Watermarked",
        "watermarked",
    ),
    "transformers.processor": ("WatermarkProcessor",),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
