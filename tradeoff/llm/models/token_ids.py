"""Which ids are tokens: a vocabulary may have holes, and a model columns that belong to no token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tradeoff.llm.models.huggingface import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["forbid", "token_ids"]


def token_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that stand for a token; not all need to, and not all that do are in the vocabulary by name."""
    ids = set(tokenizer.get_vocab().values())
    return ids | {
        index for index in range(len(tokenizer)) if index not in ids and _is_token(tokenizer, index)
    }


def _is_token(tokenizer: PreTrainedTokenizerBase, index: int) -> bool:
    try:
        return tokenizer.convert_ids_to_tokens(index) is not None
    except (IndexError, KeyError, OverflowError, ValueError):
        return False


def forbid(model: PreTrainedModel, tokens: Sequence[int]) -> None:
    """From now on the model gives these tokens no mass: their logits are -inf, whoever asks."""
    ids = torch.tensor(list(tokens), dtype=torch.long)

    def silence(_: torch.nn.Module, __: Any, output: Any) -> Any:
        output.logits = output.logits.index_fill(-1, ids.to(output.logits.device), -torch.inf)
        return output

    model.register_forward_hook(silence)
