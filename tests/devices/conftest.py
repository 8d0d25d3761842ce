"""Tiny models."""

from tests.helpers.tiny import make_pair, make_tokenizer

__all__ = ["make_pair", "make_tokenizer"]
