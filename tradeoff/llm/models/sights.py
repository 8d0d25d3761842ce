"""How far back the attention of each kind of layer sees: all of the text, a window, or its own chunk."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tradeoff.llm.models.huggingface import PreTrainedModel, setting, text_config, windows

__all__ = ["Sight", "sights"]

#: What configurations call layers that attend within blocks of positions.
_CHUNKED = "chunked_attention"
#: What layers are called here where a configuration has one kind alone.
_ALIKE = "attention"


@dataclass(frozen=True)
class Sight:
    """How far back the attention of a layer sees.

    Attributes:
        kind: what the configuration calls such layers.
        window: positions that a token sees, its own among them; None: all.
        chunk: length of the blocks of positions that see nothing outside themselves; None: one block.
    """

    kind: str
    window: int | None = None
    chunk: int | None = None

    def narrowed(self, reads: torch.Tensor, where: torch.Tensor, lies: torch.Tensor) -> torch.Tensor:
        """Which of the entries in `reads` [rows, m, length] tokens at positions `where` [rows, m] see, if the
        entries lie at positions `lies` [rows, length]."""
        token, entry = where[..., None], lies[:, None]
        if self.window is not None:
            reads = reads & (token - entry < self.window)
        if self.chunk is not None:
            reads = reads & (token // self.chunk == entry // self.chunk)
        return reads


def sights(model: PreTrainedModel) -> list[Sight]:
    """How far back the layers of the model see, once for every kind of layer.

    Raises:
        ValueError: for layers of one kind with windows of several sizes.
    """
    config = text_config(model)
    sizes = windows(model)
    kinds = setting(config, "layer_types") or [_ALIKE] * len(sizes)
    found: dict[str, set[Sight]] = {}
    for kind, size in zip(kinds, sizes, strict=True):
        # From where a cache stands windows and chunks are one thing.
        chunked = kind == _CHUNKED or setting(config, "sliding_window") is None
        sight = Sight(kind, chunk=size) if chunked else Sight(kind, window=size)
        found.setdefault(kind, set()).add(sight)
    several = sorted(kind for kind, seen in found.items() if len(seen) > 1)
    if several:
        raise ValueError(
            f"{type(model).__name__} has layers of one kind ({', '.join(several)}) with windows of several "
            "sizes; use another model family"
        )
    return [sight for (sight,) in found.values()]
