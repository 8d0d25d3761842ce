"""Random ids and what tiny models say of them."""

from __future__ import annotations

import torch


def random_ids(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    """[batch, length] ids from 3 to 63: in every tiny vocabulary, and none of them special."""
    return torch.randint(3, 64, (batch, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def full_logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """[batch, length, n]."""
    return model(ids).logits
