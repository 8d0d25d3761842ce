"""What a key says about a text: its pseudorandom numbers at the positions that count."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from tradeoff.prf import PAD, Prf, Stream
from tradeoff.scores import Scores, remembered_rows

__all__ = ["Evidence", "check_token_ids", "score_and_rank", "scored_positions", "text_contexts"]

#: Scores looked at a time: 8 MiB.
_BLOCK = 1 << 20


class Evidence:
    """Pseudorandom numbers of a text, recomputed from (key, token ids) alone.

    Positions count if generation may have watermarked them: the first occurrence of every context of
    `prf.context_width` tokens, and, unless the function pads contexts, only with that many tokens before
    them. Without a watermark by this key all numbers are independent of the text and of each other, so
    that statistics of them have the same law for every text. Numbers are computed when first asked for.

    Args:
        token_ids: [n] generated tokens, without the prompt.
        prf: the keyed pseudorandom function of the watermark.
        sources: one letter a token as in records (d: accepted draft), for the oracle only.

    Attributes:
        index: [t] positions that count, ascending.
        tokens: [t] their token ids.
        contexts: [t, context width].

    Raises:
        ValueError: for token ids that are not integers >= 0 in one row, or sources of another length.
    """

    def __init__(self, token_ids: Sequence[int] | np.ndarray, prf: Prf, sources: str | None = None):
        ids = check_token_ids(token_ids)
        if sources is not None and len(sources) != len(ids):
            raise ValueError(f"sources name {len(sources)} tokens, the text has {len(ids)}; pass its own")
        self._prf, self._sources = prf, sources
        contexts = text_contexts(ids, prf.context_width)
        self.index = scored_positions(contexts, 0 if prf.pads_contexts else prf.context_width)
        self.tokens, self.contexts = ids[self.index], contexts[self.index]
        self._uniforms: dict[Stream, np.ndarray] = {}
        self._bits: dict[tuple[Stream, int], np.ndarray] = {}
        self._scored: dict[tuple[Stream, Scores], tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.index)

    def uniform(self, stream: Stream) -> np.ndarray:
        """U at the tokens: [t], uniform in (0, 1) without a watermark, large with one."""
        if stream not in self._uniforms:
            self._uniforms[stream] = self._prf.uniform(stream, self.contexts, self.tokens[:, None])[:, 0]
        return self._uniforms[stream]

    def coin(self) -> np.ndarray:
        """The acceptance coin: [t]."""
        return self._prf.coin(self.contexts)

    def bits(self, stream: Stream, rounds: int) -> np.ndarray:
        """Tournament bits g_1 .. g_m at the tokens: [t, rounds] of 0 and 1 (int8)."""
        if (stream, rounds) not in self._bits:
            words = []
            for first in range(0, rounds, 64):
                word = self._prf.bits(stream, self.contexts, self.tokens[:, None], first // 64)
                words.append((word >> np.arange(min(64, rounds - first))) & 1)
            self._bits[stream, rounds] = np.concatenate(words, axis=-1).astype(np.int8)
        return self._bits[stream, rounds]

    def side_information(self, stream: Stream, k: int) -> np.ndarray:
        """s: [t] int64, uniform on 0 .. k-1.

        Raises:
            ValueError: for a function that has none.
        """
        return self._prf.side_information(stream, self.contexts, k)

    def score_rows(self, scores: Scores, tokens: np.ndarray) -> np.ndarray:
        """f(v, .) of tokens [m] in the key's table: [m, k]. Raises as `side_information`."""
        return remembered_rows(scores, self._prf)(tokens)

    def score(self, stream: Stream, scores: Scores) -> np.ndarray:
        """f(v, s) at the tokens: [t]. Raises as `side_information`."""
        return self._scores(stream, scores)[0]

    def rank(self, stream: Stream, scores: Scores) -> np.ndarray:
        """How many values of s score less than the one there is, for the tokens: [t] in 0 .. k-1.

        Uniform without a watermark, whatever the token and the table; of equal scores that of the smaller s
        counts as less. Raises as `side_information`.
        """
        return self._scores(stream, scores)[1]

    def _scores(self, stream: Stream, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
        if (stream, scores) not in self._scored:
            side = self.side_information(stream, scores.k)
            score, rank = np.zeros(len(self)), np.zeros(len(self), dtype=np.int64)
            block = max(1, _BLOCK // scores.k)
            for first in range(0, len(self), block):
                here = slice(first, first + block)
                rows = self.score_rows(scores, self.tokens[here])
                score[here], rank[here] = score_and_rank(rows, side[here])
            self._scored[stream, scores] = score, rank
        return self._scored[stream, scores]

    def restricted(self, keep: np.ndarray) -> Evidence:
        """The same text with only some of its positions counting.

        Args:
            keep: [t] booleans, one a position that counts now.
        """
        part = copy.copy(self)
        part.index, part.tokens, part.contexts = self.index[keep], self.tokens[keep], self.contexts[keep]
        part._uniforms, part._bits, part._scored = {}, {}, {}
        return part

    @property
    def drafted(self) -> np.ndarray:
        """Whether the token is an accepted draft: [t]; known to the oracle only.

        Raises:
            ValueError: without sources.
        """
        if self._sources is None:
            raise ValueError("the oracle needs the true sources of the tokens; pass sources from the record")
        return (np.frombuffer(self._sources.encode("ascii"), dtype="S1") == b"d")[self.index]


def score_and_rank(rows: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores [m, k] at s [m], and how many values of s score less there; see `Evidence.rank`: [m] each."""
    s = side[:, None]
    own = np.take_along_axis(rows, s, -1)
    less = (rows < own) | ((rows == own) & (np.arange(rows.shape[-1]) < s))
    return own[:, 0], np.count_nonzero(less, axis=-1)


def scored_positions(contexts: np.ndarray, warm_up: int) -> np.ndarray:
    """Positions of the first occurrence of every context, from `warm_up` on: [t], ascending.

    Args:
        contexts: [n, width] int64.
        warm_up: number of positions at the start that never count.
    """
    rows = np.ascontiguousarray(contexts[warm_up:])
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    whole = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]
    return np.sort(np.unique(whole, return_index=True)[1]) + warm_up


def text_contexts(ids: np.ndarray, width: int) -> np.ndarray:
    """The tokens before every position, padded on the left: [n, width]."""
    padded = np.concatenate([np.full(width, PAD), ids])
    return np.lib.stride_tricks.sliding_window_view(padded, width)[: len(ids)]


def check_token_ids(token_ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """`token_ids` as int64, [n]; ValueError for what are no token ids."""
    ids = np.asarray(token_ids)
    if ids.size == 0:
        return np.zeros(0, dtype=np.int64)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(
            f"token_ids have shape {ids.shape} and type {ids.dtype}; pass one row of integer token ids"
        )
    if ids.dtype.kind == "u" and ids.max() >= 1 << 63:
        raise ValueError(f"token_ids hold {ids.max()}, which is no token id; pass ids below 2^63")
    if ids.min() < 0:
        raise ValueError(f"token_ids hold {ids.min()}; pass ids >= 0 and drop padding first")
    return ids.astype(np.int64)
