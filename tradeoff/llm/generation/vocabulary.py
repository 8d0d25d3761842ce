"""All token ids of a vocabulary, on the device of a model."""

from __future__ import annotations

from functools import lru_cache

import torch

__all__ = ["vocabulary_ids"]


@lru_cache(maxsize=4)
def vocabulary_ids(n: int, device: torch.device) -> torch.Tensor:
    """All token ids, [n] int64; made once."""
    return torch.arange(n, device=device)
