"""Watermarking language models under speculative decoding: exact theory, engine, detectors.

    import tradeoff as td

    key = td.Key.new()
    scheme = td.Scheme.of("joint", "gumbel")
    texts = td.generate(["Once upon a time"], scheme, key)
    td.detect(texts[0].token_ids, scheme, key).verdict

Everything is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff import _moved
from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff import anchored, curves, decoders, detection, kernels, llm, optimal_transport
    from tradeoff.api import (
        curve,
        decoys,
        detect,
        detect_all,
        detect_corpus,
        draw,
        efficiency,
        forecast,
        generate,
        most_efficient,
        strength,
        strongest,
        tokens_needed,
        watch,
    )
    from tradeoff.curves import Curve, Setting
    from tradeoff.decoders import Completed, GumbelMax, Identity, SynthID, heavy_water, simplex_water
    from tradeoff.detection import Evidence
    from tradeoff.errors import DistributionError, FileError, SolverError
    from tradeoff.estimate import Estimate
    from tradeoff.kernels import METHODS, Method
    from tradeoff.keyed import DepthKeys, Key, KeyFile, Keyring, Stream
    from tradeoff.llm import load_pair
    from tradeoff.scheme import Scheme
    from tradeoff.texts import Record
    from tradeoff.verdicts import ForeignConfig, Result

__all__ = [
    "METHODS",
    "Completed",
    "Curve",
    "DepthKeys",
    "DistributionError",
    "Estimate",
    "Evidence",
    "FileError",
    "ForeignConfig",
    "GumbelMax",
    "Identity",
    "Key",
    "KeyFile",
    "Keyring",
    "Method",
    "Record",
    "Result",
    "Scheme",
    "Setting",
    "SolverError",
    "Stream",
    "SynthID",
    "anchored",
    "curve",
    "curves",
    "decoders",
    "decoys",
    "detect",
    "detect_all",
    "detect_corpus",
    "detection",
    "draw",
    "efficiency",
    "forecast",
    "generate",
    "heavy_water",
    "kernels",
    "llm",
    "load_pair",
    "most_efficient",
    "optimal_transport",
    "simplex_water",
    "strength",
    "strongest",
    "tokens_needed",
    "watch",
]

#: Where each name is found.
_HOMES = {
    "api": (
        "curve",
        "decoys",
        "detect",
        "detect_all",
        "detect_corpus",
        "draw",
        "efficiency",
        "forecast",
        "generate",
        "most_efficient",
        "strength",
        "strongest",
        "tokens_needed",
        "watch",
    ),
    "curves": ("Curve", "Setting"),
    "decoders": ("Completed", "GumbelMax", "Identity", "SynthID", "heavy_water", "simplex_water"),
    "detection": ("Evidence",),
    "errors": ("DistributionError", "FileError", "SolverError"),
    "estimate": ("Estimate",),
    "kernels": ("METHODS", "Method"),
    "keyed": ("DepthKeys", "Key", "KeyFile", "Keyring", "Stream"),
    "llm": ("load_pair",),
    "scheme": ("Scheme",),
    "texts": ("Record",),
    "verdicts": ("ForeignConfig", "Result"),
}
__getattr__, __dir__, _known = lazy(
    __name__,
    _HOMES,
    ("anchored", "curves", "decoders", "detection", "kernels", "llm", "optimal_transport"),
)
_moved.install()
