"""Tiny models for servers that generate."""

from __future__ import annotations

from tests.helpers.tiny import make_llama, make_pair, make_tokenizer, tiny_folder

__all__ = ["make_llama", "make_pair", "make_tokenizer", "tiny_folder"]
