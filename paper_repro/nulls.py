"""Texts without a watermark: human prose under random keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tradeoff.detection import Evidence
from tradeoff.errors import FileError
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.texts import human_paragraphs, read_prompts

__all__ = ["human_chunks", "null_evidence"]


def human_chunks(tokenizer: Any, length: int, source: Path | None = None) -> list[np.ndarray]:
    """Human prose in chunks of `length` token ids: [length] each, in order.

    Args:
        tokenizer: of the models.
        length: tokens a chunk.
        source: a text file (one paragraph a line) or JSON lines with `prompt` or `text`; the prose of the
            Python manual if left out.

    Raises:
        FileError: if there is not enough for two chunks.
    """
    if source is None:
        paragraphs = human_paragraphs()
    else:
        paragraphs = [text for _, text in read_prompts(source, ("prompt", "text"))]
    ids = np.array(tokenizer("\n\n".join(paragraphs))["input_ids"], dtype=np.int64)
    chunks = [ids[i : i + length] for i in range(0, len(ids) - length + 1, length)]
    if len(chunks) < 2:
        raise FileError(
            f"human text {source or 'of the Python manual'} has {len(ids)} tokens; at least {2 * length} "
            "are needed, pass a longer file"
        )
    return chunks


def null_evidence(chunks: Sequence[np.ndarray], count: int, seed: int, width: int) -> list[Evidence]:
    """`count` pairs of a chunk (in turn) and a fresh random key, whose contexts have `width` tokens.

    No token has a source; letters in turn let the oracle read either stream, which has the same law.
    """
    rng = np.random.default_rng(seed)
    texts = (chunks[i % len(chunks)] for i in range(count))
    return [
        Evidence(ids, KeyedPrf(Key(rng.bytes(32)), width), ("db" * len(ids))[: len(ids)]) for ids in texts
    ]
