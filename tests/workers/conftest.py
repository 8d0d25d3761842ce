"""Tiny models."""

from tests.helpers.tiny import make_llama, make_tokenizer, tiny_folder

__all__ = ["make_llama", "make_tokenizer", "tiny_folder"]
