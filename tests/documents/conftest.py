"""Fixtures of tiny models."""

from __future__ import annotations

from tests.helpers.tiny import make_pair, make_tokenizer

__all__ = ["make_pair", "make_tokenizer"]
