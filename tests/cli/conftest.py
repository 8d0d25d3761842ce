"""A key in a folder of its own, and tiny models."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.detecting import KEY
from tests.helpers.tiny import make_llama, make_pair, make_tokenizer, tiny_folder, tiny_gguf

__all__ = ["make_llama", "make_pair", "make_tokenizer", "tiny_folder", "tiny_gguf"]


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is printed: that of a file, whatever the terminal of the tests."""
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    KEY.write(tmp_path / "key")
    return tmp_path
