"""Tiny pairs."""

from __future__ import annotations

from tests.helpers.tiny import make_llama, make_pair, make_tokenizer

__all__ = ["make_llama", "make_pair", "make_tokenizer"]
