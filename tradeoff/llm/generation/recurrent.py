"""Rows of a model whose state cannot be rolled back: a cache for every row, and copies to go back to.

A recurrent layer, or a convolution, holds what it has read in one state, of which the last tokens cannot be
taken away. So every row has a cache of its own, as Transformers makes it, and copies of it from before the
tokens that may be taken back; the rows of a batch are run one after another. After a rejection a copy takes
the place of the cache, and reads the tokens that were accepted once more.

Many such models go on from a state by one token at a time only: of several they forget the state, and nothing
tells. `reads_pieces` asks a small model of the same configuration. Where it is so, drafts are verified token
by token, so that speculation has the law of the model and saves no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np
import torch

from tradeoff.llm.models.configurations import small_model
from tradeoff.llm.models.huggingface import (
    Cache,
    PreTrainedModel,
    copied_cache,
    growing_cache,
    next_logits,
    takes_positions,
    text_config,
)
from tradeoff.llm.models.placement import input_device

__all__ = ["RecurrentFeeder", "reads_pieces"]

#: So many tokens are read again together with new ones; more are read first, and a copy is kept.
_MOST_REPEATED = 16
#: Tokens of the text that `reads_pieces` asks with, and where it is cut.
_ASKED, _CUTS = 16, (0, 7, 12, 16)
#: Largest difference of a logit in float32 that is rounding.
_ROUNDING = 1e-3
_KNOWN: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


@dataclass
class _Line:
    """What one row has read.

    Attributes:
        tokens: all of it.
        states: caches by the number of tokens that they have read; none is written to again.
    """

    tokens: list[int] = field(default_factory=list)
    states: dict[int, Cache] = field(default_factory=dict)


class RecurrentFeeder:
    """One model, a cache for every row, and how many positions of every row are filled.

    It is used as `Feeder` is, without trees.

    Args:
        model: a decoder-only model.
        slots: rows that can be held at once.
        vocabulary: tokens to keep of the logits; columns beyond are padding.
    """

    def __init__(self, model: PreTrainedModel, slots: int, vocabulary: int):
        self.model, self.vocabulary, self.device = model, vocabulary, input_device(model)
        self.filled = np.zeros(slots, dtype=np.int64)
        self._pieces = reads_pieces(model)
        self._lines = [_Line() for _ in range(slots)]

    @torch.inference_mode()
    def logits(
        self,
        first: int,
        tokens: np.ndarray,
        where: np.ndarray,
        keep: int,
        *,
        slots: np.ndarray | None = None,
        reads: np.ndarray | None = None,
    ) -> torch.Tensor:
        """Run new tokens of consecutive rows through the model; arguments and result as of `Feeder.logits`.

        Tokens that a row has read already are not read again unless their logits are wanted. Of two at one
        position the first is read.

        Raises:
            ValueError: for side branches of a tree, which one state cannot hold.
        """
        if slots is not None or reads is not None:
            raise ValueError(
                f"{type(self.model).__name__} keeps state that cannot branch; use a method without a tree"
            )
        lines = self._lines[first : first + len(tokens)]
        rows = [self._row(*new, keep) for new in zip(lines, tokens, where, strict=True)]
        return torch.stack(rows)[..., : self.vocabulary]

    def move(self, source: int, target: int) -> None:
        """Move a row into another slot."""
        self._lines[target], self._lines[source] = self._lines[source], _Line()
        self.filled[target] = self.filled[source]

    def _row(self, line: _Line, tokens: np.ndarray, where: np.ndarray, keep: int) -> torch.Tensor:
        """Logits [keep, columns] of one row."""
        text = line.tokens[: int(where[0])]
        for token, place in zip(tokens.tolist(), where.tolist(), strict=True):
            if place == len(text):
                text.append(token)
        asked = int(where[-keep])
        start = min(_common(line.tokens, text), asked)
        line.states = {read: state for read, state in line.states.items() if read <= start}
        wanted = []
        for begin, end in self._passes(max(line.states, default=0), start, len(text)):
            cache = copied_cache(line.states[begin]) if begin else growing_cache(self.model)
            logits = _read(self.model, text[begin:end], begin, max(1, end - max(begin, asked)), cache)
            wanted += [logits] if end > asked else []
            line.states[end] = cache
        line.tokens = text
        least = max(read for read in [0, *line.states] if read <= start)
        line.states = {read: state for read, state in line.states.items() if read >= least}
        index = torch.from_numpy(where[-keep:] - asked).to(self.device)
        return torch.cat(wanted)[index]

    def _passes(self, base: int, start: int, end: int) -> Iterator[tuple[int, int]]:
        """From where to where each pass reads; the tokens up to `start` are known, up to `base` read."""
        if base < start and (base == 0 or (self._pieces and start - base > _MOST_REPEATED)):
            # From nothing every model reads as many as there are.
            yield base, start
            base = start
        if self._pieces or base == 0:
            yield base, end
        else:
            yield from ((place, place + 1) for place in range(base, end))


def reads_pieces(model: PreTrainedModel) -> bool:
    """Whether a model like this one goes on rightly by several tokens at a time; asked once a model."""
    if model not in _KNOWN:
        _KNOWN[model] = _reads_pieces(model)
    return _KNOWN[model]


@torch.inference_mode()
def _reads_pieces(model: PreTrainedModel) -> bool:
    try:
        small = small_model(model, _ASKED)
        n = int(text_config(small).vocab_size)
        ids = np.random.default_rng(2).integers(3, n, _ASKED).tolist()
        cache = growing_cache(small)
        parts = [_read(small, ids[begin:end], begin, end - begin, cache) for begin, end in pairwise(_CUTS)]
        whole = next_logits(small, torch.tensor([ids]), _ASKED)[0]
    except Exception:  # token by token is right whatever a class makes of it, and else the probe will say
        return False
    return bool((torch.cat(parts) - whole).abs().max() <= _ROUNDING)


def _read(model: PreTrainedModel, tokens: list[int], begin: int, keep: int, cache: Cache) -> torch.Tensor:
    """Logits after the last `keep` of tokens that stand at positions from `begin` on: [keep, columns]."""
    ids = torch.tensor([tokens], device=input_device(model))
    positions = torch.arange(begin, begin + len(tokens), device=ids.device)[None]
    given = positions if takes_positions(model) else None
    return next_logits(model, ids, keep, cache=cache, positions=given)[0]


def _common(one: list[int], other: list[int]) -> int:
    """Length of the longest common beginning."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
