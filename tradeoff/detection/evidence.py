"""What a key says about a text: its pseudorandom numbers at the positions that count."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tradeoff.keyed import PAD, Prf, Stream, TokensOnce, listed
from tradeoff.optimal_transport import Scores, remembered_rows

__all__ = ["Evidence", "check_token_ids", "score_and_rank", "scored_positions", "text_contexts"]

#: Scores looked at a time: 8 MiB.
_BLOCK = 1 << 20
#: Positions looked at a time.
_POSITIONS = 1 << 14


class Evidence:
    """Pseudorandom numbers of a text, recomputed from (key, token ids) alone.

    Positions count if generation may have watermarked them: the first occurrence of every context of
    `prf.context_width` tokens (of whatever else their numbers depend on: `Prf.origins`), and, unless the
    function pads contexts, only with that many tokens before them. Without a watermark by this key all
    numbers are independent of the text and of each other, so that statistics of them have the same law for
    every text. Numbers are computed when first asked for.

    Args:
        token_ids: [n] generated tokens, without the prompt; an array of int64 is not copied.
        prf: the keyed pseudorandom function of the watermark.
        sources: one letter a token as in records (d: accepted draft), for the oracle only.

    Attributes:
        index: [t] positions that count, ascending.

    Raises:
        ValueError: for token ids that are not integers >= 0 in one row, or sources of another length.
    """

    def __init__(self, token_ids: Sequence[int] | np.ndarray, prf: Prf, sources: str | None = None):
        ids = check_token_ids(token_ids)
        if sources is not None and len(sources) != len(ids):
            raise ValueError(f"sources name {len(sources)} tokens, the text has {len(ids)}; pass its own")
        self._prf, self._sources, self._ids = prf, sources, ids
        if prf.pads_contexts:
            contexts, before = text_contexts(ids, prf.context_width), 0
        else:
            # Without the padded ones no second copy of the text is made.
            contexts, before = self._whole_contexts, prf.context_width
        origins = prf.origins(contexts, ids[before:])
        self.index = scored_positions(contexts if origins is None else origins[:, None], 0) + before
        self._forget()

    def _forget(self) -> None:
        self._uniforms: dict[Stream, np.ndarray] = {}
        self._words: dict[tuple[Stream, int], np.ndarray] = {}
        self._bits: dict[tuple[Stream, int], np.ndarray] = {}
        self._scored: dict[tuple[Stream, Scores], tuple[np.ndarray, np.ndarray]] = {}

    @classmethod
    def of_texts(cls, texts: Sequence[np.ndarray], prf: Prf) -> tuple[Evidence, np.ndarray]:
        """Many short texts side by side, so that NumPy is called once for all: (evidence, bounds).

        Its positions are those that count in every text by itself, in a row of all texts. Scores of text i
        are those from `bounds[i]` up to `bounds[i + 1]`.

        Args:
            texts: token ids [n_i] each, of int64.
            prf: as of the class.
        """
        width, lengths = prf.context_width, np.array([len(ids) for ids in texts], dtype=np.int64)
        # Padding before each keeps its contexts from reaching into the text before.
        pad = np.full(width, PAD, dtype=np.int64)
        joined = np.concatenate([part for ids in texts for part in (pad, ids)] or [pad])
        starts = np.cumsum(lengths + width) - lengths
        number = np.repeat(np.arange(len(texts)), lengths)
        positions = np.arange(len(number)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        if not prf.pads_contexts:
            inside = positions >= starts[number] + width
            number, positions = number[inside], positions[inside]
        made = cls.__new__(cls)
        made._prf, made._sources, made._ids = prf, None, joined
        contexts = made._whole_contexts[positions - width]
        origins = prf.origins(contexts, joined[positions])
        order, keys = _ordered(contexts if origins is None else origins[:, None])
        # The order is stable, so that equal contexts of one text are side by side too.
        text = number[order]
        first = np.append(True, (keys[1:] != keys[:-1]) | (text[1:] != text[:-1]))[: len(order)]
        kept = np.sort(order[first])
        made.index = positions[kept]
        made._forget()
        return made, np.searchsorted(number[kept], np.arange(len(texts) + 1))

    def under(self, prf: Prf) -> Evidence:
        """The same positions under another key.

        Args:
            prf: of the same `Prf.same_positions`.
        """
        other = copy.copy(self)
        other._prf = prf
        other._forget()
        return other

    def __len__(self) -> int:
        return len(self.index)

    @property
    def tokens(self) -> np.ndarray:
        """Token ids of the positions that count: [t]."""
        return self._ids[self.index]

    @property
    def contexts(self) -> np.ndarray:
        """The tokens before them: [t, context width], made anew each time."""
        return self._contexts_at(self.index)

    @property
    def origins(self) -> np.ndarray:
        """What their numbers depend on: rows that are equal where the numbers are the same, [t, ...]."""
        contexts = self.contexts
        origins = self._prf.origins(contexts, self.tokens)
        return contexts if origins is None else origins[:, None]

    @property
    def _whole_contexts(self) -> np.ndarray:
        """Contexts of the positions that have one without padding, in order: a view."""
        width = self._prf.context_width
        if len(self._ids) <= width:
            return np.zeros((0, width), dtype=np.int64)
        if width == 1:
            # As below, in a fraction of the time, which short texts notice.
            return self._ids[:-1, None]
        return np.lib.stride_tricks.sliding_window_view(self._ids, width)[:-1]

    def _contexts_at(self, positions: np.ndarray) -> np.ndarray:
        """Contexts of ascending positions [m]: [m, context width]."""
        width = self._prf.context_width
        padded = int(np.searchsorted(positions, width))
        whole = self._whole_contexts[positions[padded:] - width]
        if not padded:
            return whole
        return np.concatenate([text_contexts(self._ids[:width], width)[positions[:padded]], whole])

    def _blocks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """(which of [t], their contexts, their tokens [m, 1]), piece by piece: contexts of all of a long text
        at once would take more memory than all else."""
        # A text without any has one empty piece, so that functions say what they lack.
        for first in range(0, max(len(self.index), 1), _POSITIONS):
            here = slice(first, first + _POSITIONS)
            positions = self.index[here]
            yield here, self._contexts_at(positions), self._ids[positions][:, None]

    def _in_pieces(
        self, numbers: Callable[[np.ndarray, np.ndarray], np.ndarray], kind: Any = np.float64
    ) -> np.ndarray:
        """One number a position that counts, [t], from contexts [m, context width] and tokens [m, 1]."""
        found = np.empty(len(self), dtype=kind)
        for here, contexts, tokens in self._blocks():
            found[here] = numbers(contexts, tokens)
        return found

    def uniform(self, stream: Stream) -> np.ndarray:
        """U at the tokens: [t], uniform in (0, 1) without a watermark, large with one."""
        if stream not in self._uniforms:
            self._uniforms[stream] = self._in_pieces(
                lambda contexts, tokens: self._prf.uniform(stream, contexts, tokens)[:, 0]
            )
        return self._uniforms[stream]

    def coin(self) -> np.ndarray:
        """The acceptance coin: [t]."""
        return self._in_pieces(lambda contexts, _: self._prf.coin(contexts))

    def words(self, stream: Stream, k: int) -> np.ndarray:
        """Tournament bits of rounds 64 k + 1 to 64 k + 64 at the tokens, from the last bit on: [t] int64."""
        if (stream, k) not in self._words:
            self._words[stream, k] = self._in_pieces(
                lambda contexts, tokens: self._prf.bits(stream, contexts, tokens, k)[:, 0], kind=np.int64
            )
        return self._words[stream, k]

    def bits(self, stream: Stream, rounds: int) -> np.ndarray:
        """Tournament bits g_1 .. g_m at the tokens: [t, rounds] of 0 and 1 (int8)."""
        if (stream, rounds) not in self._bits:
            found = np.empty((len(self), rounds), dtype=np.int8)
            for first in range(0, rounds, 64):
                word, shifts = self.words(stream, first // 64), np.arange(min(64, rounds - first))
                for here in (slice(p, p + _POSITIONS) for p in range(0, len(self), _POSITIONS)):
                    found[here, first : first + 64] = (word[here, None] >> shifts) & 1
            self._bits[stream, rounds] = found
        return self._bits[stream, rounds]

    def green(self, stream: Stream, gamma: float) -> np.ndarray:
        """Whether the tokens are on the green lists of their positions: [t] booleans.

        Raises:
            ValueError: for a function that has none.
        """
        return self._in_pieces(
            lambda contexts, tokens: self._prf.lists(stream, contexts, tokens, gamma)[:, 0], kind=np.bool_
        )

    def listed(self, gamma: float) -> np.ndarray:
        """Whether the tokens are on the one list of the key: [t] booleans.

        Raises:
            ValueError: unless every token counts once, or for a function that has none.
        """
        if not isinstance(self._prf, TokensOnce):
            raise ValueError(
                "the list of a key says the same of a token wherever it stands, so that each counts once; "
                "make the evidence with scheme.reads(prf), or TokensOnce(prf)"
            )
        return self._in_pieces(lambda _, tokens: listed(self._prf, tokens[:, 0], gamma), kind=np.bool_)

    def position(self, stream: Stream) -> np.ndarray:
        """The uniforms of the positions themselves: [t] in (0, 1).

        Raises:
            ValueError: for a function that has none.
        """
        return self._in_pieces(lambda contexts, _: self._prf.position(stream, contexts))

    def side_information(self, stream: Stream, k: int) -> np.ndarray:
        """s: [t] int64, uniform on 0 .. k-1.

        Raises:
            ValueError: for a function that has none.
        """
        return self._in_pieces(
            lambda contexts, _: self._prf.side_information(stream, contexts, k), kind=np.int64
        )

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
            side, tokens = self.side_information(stream, scores.k), self.tokens
            score, rank = np.zeros(len(self)), np.zeros(len(self), dtype=np.int64)
            block = max(1, _BLOCK // scores.k)
            for first in range(0, len(self), block):
                here = slice(first, first + block)
                rows = self.score_rows(scores, tokens[here])
                score[here], rank[here] = score_and_rank(rows, side[here])
            self._scored[stream, scores] = score, rank
        return self._scored[stream, scores]

    def restricted(self, keep: np.ndarray) -> Evidence:
        """The same text with only some of its positions counting.

        Args:
            keep: [t] booleans, one a position that counts now.
        """
        part = copy.copy(self)
        part.index = self.index[keep]
        part._forget()
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
    order, sorted_ = _ordered(contexts[warm_up:])
    first = np.append(True, sorted_[1:] != sorted_[:-1]) if len(order) else np.zeros(0, dtype=bool)
    return np.sort(order[first]) + warm_up


def _ordered(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(an order of rows [n, width] that puts equal ones side by side, the first of them first; one number a
    row in that order, equal for equal rows): [n] each."""
    # Rows are packed into one number of 63 bits, digit by digit; where that is too short, numbers are first
    # replaced by their ranks, of which there are at most n. No hash: different rows stay different.
    keys, size = np.zeros(len(rows), dtype=np.int64), 1
    if rows.shape[1] == 1:
        keys = rows[:, 0]
        order = np.argsort(keys, kind="stable")
        return order, keys[order]
    for column in rows.T:
        low = int(column.min(initial=0))
        span = int(column.max(initial=0)) - low + 1
        if size * span >= 1 << 63:
            keys, size = _ranks(keys)
        if size * span >= 1 << 63:
            column, span = _ranks(column)
            low = 0
        keys *= span
        keys += column
        keys -= low
        size *= span
    order = np.argsort(keys, kind="stable")
    return order, keys[order]


def _ranks(values: np.ndarray) -> tuple[np.ndarray, int]:
    """(ranks of values [n] among the different ones, how many those are)."""
    different, ranks = np.unique(values, return_inverse=True)
    return ranks.astype(np.int64), len(different)


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
    return ids.astype(np.int64, copy=False)
