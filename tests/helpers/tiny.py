"""Tiny random models and tokenizers, made on the spot: fixtures for the folders that run models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tradeoff.llm.models.pair import ModelPair

SPECIAL = ["<unk>", "<s>", "</s>"]
MERGES = [("t", "h"), ("th", "e"), ("a", "n")]
VOCABULARY = [*SPECIAL, *sorted(ByteLevel.alphabet()), *("".join(merge) for merge in MERGES)]
LAYERS, HIDDEN = 4, 32


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    """A byte-level tokenizer with ids in the order of `vocabulary`."""

    def make(
        vocabulary: list[str] = VOCABULARY,
        merges: list[tuple[str, str]] = MERGES,
        chat_template: str | None = None,
    ) -> PreTrainedTokenizerFast:
        ids = {token: index for index, token in enumerate(vocabulary)}
        tokenizer = Tokenizer(BPE(vocab=ids, merges=merges, unk_token="<unk>"))
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.decoder = ByteLevelDecoder()
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token="<s>",
            eos_token="</s>",
            unk_token="<unk>",
            chat_template=chat_template,
        )

    return make


@pytest.fixture(scope="session")
def make_llama() -> Callable[..., LlamaForCausalLM]:
    """A random Llama of 4 layers, in evaluation mode; the same seed gives the same weights."""

    def make(seed: int = 0, tied: bool = True, width: int = len(VOCABULARY)) -> LlamaForCausalLM:
        config = LlamaConfig(
            vocab_size=width,
            hidden_size=HIDDEN,
            intermediate_size=48,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            tie_word_embeddings=tied,
            initializer_range=0.3,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return LlamaForCausalLM(config).eval()

    return make


@pytest.fixture(scope="session")
def make_pair(make_tokenizer: Callable[..., PreTrainedTokenizerFast]) -> Callable[..., ModelPair]:
    """Two different random Llamas in float64 over a vocabulary of any size.

    In float64 the order of additions decides nothing, so texts can be compared token by token.
    """

    def model(seed: int, width: int, layers: int, eos: int | None, positions: int, attention: str):
        config = LlamaConfig(
            vocab_size=width,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=positions,
            initializer_range=0.4,
            eos_token_id=eos,
            bos_token_id=None,
            attn_implementation=attention,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return LlamaForCausalLM(config).eval().requires_grad_(False).double()

    def make(
        vocabulary: int = 8,
        *,
        seed: int = 0,
        padding: tuple[int, int] = (0, 0),
        eos: int | None = None,
        positions: int = 256,
        attention: str = "sdpa",
    ) -> ModelPair:
        return ModelPair(
            draft=model(seed + 100, vocabulary + padding[0], 1, eos, positions, attention),
            target=model(seed, vocabulary + padding[1], 2, eos, positions, attention),
            tokenizer=make_tokenizer(),
            draft_name="draft",
            target_name="target",
            device=torch.device("cpu"),
            dtype=torch.float64,
            vocabulary_size=vocabulary,
        )

    return make


@pytest.fixture(scope="session")
def tiny_folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_llama: Callable[..., LlamaForCausalLM],
    make_tokenizer: Callable[..., PreTrainedTokenizerFast],
) -> Path:
    """A local model folder whose logits are 16 columns wider than its tokenizer."""
    folder = tmp_path_factory.mktemp("tiny")
    make_llama(width=len(VOCABULARY) + 16).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file of the built-in model's architecture and tokenizer type, 100 kB in size."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(len(VOCABULARY))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(VOCABULARY)
    writer.add_token_merges([" ".join(merge) for merge in MERGES])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if token in SPECIAL else normal for token in VOCABULARY])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {"token_embd": (len(VOCABULARY), HIDDEN), "output_norm": (HIDDEN,)}
    for block in (f"blk.{layer}." for layer in range(LAYERS)):
        shapes |= {block + name: (HIDDEN, HIDDEN) for name in ("attn_q", "attn_output")}
        shapes |= {block + name: (HIDDEN // 2, HIDDEN) for name in ("attn_k", "attn_v")}
        shapes |= {block + name: (48, HIDDEN) for name in ("ffn_gate", "ffn_up")}
        shapes |= {block + name: (HIDDEN,) for name in ("attn_norm", "ffn_norm")}
        shapes[block + "ffn_down"] = (HIDDEN, 48)
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(size=shape, scale=0.3).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
