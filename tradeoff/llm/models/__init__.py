"""Pairs of draft and target: the built-in one, any of Hugging Face's, checked before they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.llm.models.builtin import ModelDownloadError, ModelUnavailableError
    from tradeoff.llm.models.layer_skip import skip_layers
    from tradeoff.llm.models.pair import (
        BUILTIN_DRAFT_SKIPPED_LAYERS,
        ModelPair,
        TokenizerMismatchError,
        check_tokenizers,
        load_pair,
        logits_at,
        weights_fingerprint,
    )

__all__ = [
    "BUILTIN_DRAFT_SKIPPED_LAYERS",
    "ModelDownloadError",
    "ModelPair",
    "ModelUnavailableError",
    "TokenizerMismatchError",
    "check_tokenizers",
    "load_pair",
    "logits_at",
    "skip_layers",
    "weights_fingerprint",
]

_HOMES = {
    "llm.models.builtin": ("ModelDownloadError", "ModelUnavailableError"),
    "llm.models.layer_skip": ("skip_layers",),
    "llm.models.pair": (
        "BUILTIN_DRAFT_SKIPPED_LAYERS",
        "ModelPair",
        "TokenizerMismatchError",
        "check_tokenizers",
        "load_pair",
        "logits_at",
        "weights_fingerprint",
    ),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
