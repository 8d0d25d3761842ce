"""What the tests of the jump draft share: a tiny target, and a draft with something in its map."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from tradeoff.llm.models.jump import adapter_parameters, new_jump

VOCABULARY = 64


class Killed(Exception):
    """Stands for the end of a process."""


def tiny(layers: int = 6, hidden: int = 32, seed: int = 0, spread: float = 0.3) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initializer_range=spread,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval().requires_grad_(False)


def disturbed(target: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """A jump draft whose adapter does something everywhere."""
    draft = new_jump(target, 3, 5)
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapter_parameters(draft).values():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator).to(parameter)
    return draft
