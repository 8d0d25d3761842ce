"""A processor of logits that watermarks without speculation, for any framework that takes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch

from tradeoff.kernels import Basic, KeyedRandomness
from tradeoff.keyed import AnyKey, Key, Prf
from tradeoff.llm import ContextWindow, Sampling, TrueRandomness, vocabulary_ids
from tradeoff.scheme import Scheme
from tradeoff.texts import Prompt

__all__ = ["WatermarkProcessor"]


@dataclass
class _Row:
    """One text as far as it has been seen."""

    ids: list[int]
    randomness: TrueRandomness
    window: ContextWindow
    tokens: int = 0
    context: bytes = b""
    drawn: int = -1


class WatermarkProcessor:
    """Called with ids and scores at every position, it draws the token itself and leaves no other.

    The token has the law of `Sampling` and the watermark of the method basic: the same tokens as
    `tradeoff generate --method basic` writes. It must come last, whatever samples behind it: temperature and
    cuts are given here, and no others may be applied before it that the text is not to have. Of watermarks
    whose law is no point (KGW, SynthID of few rounds) nothing is left to a processor; those are
    `watermarking_config`, or `watermarked`.

    Args:
        key: the key; if left out the one in the environment (TRADEOFF_KEY).
        watermark, prf, context_width: as of `Scheme.of`.
        temperature, top_k, top_p, min_p: the sampling.
        seed: of the true randomness, under a context that was there before; if left out drawn from PyTorch's
            generator.
        unmarked: tokens at the beginning that are drawn truly at random, so that several texts of one prompt
            differ.
        padding: the token in front of shorter prompts, which is no part of them, so that no prompt may begin
            with it itself; None for none.

    Raises:
        ValueError: for numbers out of range, and for a watermark whose law is no point.
    """

    def __init__(
        self,
        key: AnyKey | None = None,
        watermark: str | None = None,
        *,
        prf: str | None = None,
        context_width: int | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        unmarked: int = 0,
        padding: int | None = None,
    ):
        scheme = Scheme.of("basic", watermark, prf=prf, context_width=context_width)
        if not scheme.method.decoder.degenerate:
            raise ValueError(
                f"watermark={scheme.watermark!r} leaves the token open after the key has spoken, and a "
                "processor has no say then; use watermarked(...), or watermarking_config of Transformers"
            )
        self._method: Basic = scheme.method  # type: ignore[assignment]
        self._prf: Prf = scheme.function(Key.from_environment() if key is None else key)
        self._sampling = Sampling(temperature, top_k, top_p, min_p)
        self._seed = int(torch.randint(0, (1 << 63) - 1, ())) if seed is None else seed
        if not 0 <= self._seed < 1 << 63:
            raise ValueError(f"seed={seed} must be in 0 .. 2^63 - 1")
        if type(unmarked) is not int or unmarked < 0:
            raise ValueError(f"unmarked={unmarked!r} must be a whole number of tokens, at least 0")
        self._unmarked, self._padding = unmarked, padding
        self._rows: list[_Row] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores that leave one token of every row.

        Args:
            input_ids: [rows, length] prompts and texts so far; a call with the tokens that were drawn goes on
                with the texts of the one before, and any other begins new ones. So the rows must stay the
                same from call to call; batches from which rows are taken are not for this.
            scores: [rows, n] logits.
        """
        lines = input_ids.tolist()
        if not self._goes_on(lines):
            self._begin(lines)
        contexts = np.concatenate([row.window.ahead([]) for row in self._rows])
        masked = np.array(
            [row.window.masked(one[None])[0] for row, one in zip(self._rows, contexts, strict=True)]
        )
        # One generator a position, which goes on from one question to the next.
        sources = [cache(partial(row.randomness.at, row.tokens)) for row in self._rows]
        ids = vocabulary_ids(scores.shape[-1], scores.device)
        numbers = KeyedRandomness(self._prf, contexts, masked, sources, ids)
        tokens = self._method.bonus(self._sampling.probabilities(scores), numbers)
        told = zip(self._rows, lines, contexts, tokens.tolist(), strict=True)
        for row, line, context, token in told:
            row.ids, row.context, row.drawn, row.tokens = line, context.tobytes(), token, row.tokens + 1
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None].to(scores.device), 0.0)

    def _goes_on(self, lines: Sequence[list[int]]) -> bool:
        """Whether these are the texts of the call before with one token more, which is entered then."""
        if len(lines) != len(self._rows) or any(
            line[:-1] != row.ids for line, row in zip(lines, self._rows, strict=True)
        ):
            return False
        # A row that has ended is filled up, but not all of them.
        if not any(line[-1] == row.drawn for line, row in zip(lines, self._rows, strict=True)):
            return False
        for line, row in zip(lines, self._rows, strict=True):
            row.window.commit([line[-1]], [row.context])
        return True

    def _begin(self, lines: Sequence[list[int]]) -> None:
        self._rows = []
        before: dict[tuple[int, ...], int] = {}
        for line in lines:
            ids = tuple(self._without_padding(line))
            prompt = Prompt("", "", ids, before.get(ids, 0))
            before[ids] = prompt.sample + 1
            window = ContextWindow.of(self._prf, ids, self._unmarked)
            self._rows.append(_Row(line, TrueRandomness(self._seed, prompt), window))

    def _without_padding(self, line: list[int]) -> list[int]:
        first = 0
        while first < len(line) - 1 and line[first] == self._padding:
            first += 1
        return line[first:]
