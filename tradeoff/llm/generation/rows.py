"""One text while it is being generated: tokens, used contexts, its own randomness, what each step did."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tradeoff.keyed import PAD, Prf
from tradeoff.llm.models.ngram import NgramIndex
from tradeoff.texts import Prompt

if TYPE_CHECKING:
    # Contexts are for statements that run without PyTorch, too.
    from tradeoff.llm.generation.controls import TextRules

__all__ = ["ContextWindow", "GeneratedText", "Row", "Step", "TrueRandomness", "contexts_ahead"]

_Origins = Callable[[np.ndarray, np.ndarray], np.ndarray | None]


@dataclass(frozen=True)
class GeneratedText:
    """One finished text and how it came about.

    Attributes:
        prompt: what it continues.
        token_ids: generated tokens, the end-of-text token included if it came.
        finish: "eos", "length", or "stop" where the text's own rules ended it.
        accepted: accepted draft tokens of every step, also behind an end of text that came within it, but no
            more than the text wanted: K, and at most the tokens that were left of its longest length.
        sources: one letter a token: d (accepted draft), r (replacement of a rejected one), b (bonus, or no
            speculation).
        unmarked: tokens sampled with true randomness because their context had been used before or was too
            short, because they stand at a beginning that is to be unmarked, or there is no watermark.
        log_p: log P(token) under the target as it was sampled from (temperature, top-k, top-p), a token.
        log_p_model: the same at temperature 1 with nothing cut.
        seconds: wall time from admission to the last token (the whole batch shares the machine).
        entropy: Ent(P) at every token, if asked for.
        overlap: 1 - TV(Q, P) wherever a draft was verified, None at bonus tokens; if asked for.
        efficiency: expected acceptance of the method there, None also where it has no formula; if asked for.
        by_token, by_block: how many drafts of every step are accepted in the mean, given drafts and laws, one
            by one and as a block; if asked for, and the method accepts min(1, P/Q).
    """

    prompt: Prompt
    token_ids: list[int]
    finish: str
    accepted: list[int]
    sources: str
    unmarked: int
    log_p: list[float]
    log_p_model: list[float]
    seconds: float
    entropy: list[float] | None = None
    overlap: list[float | None] | None = None
    efficiency: list[float | None] | None = None
    by_token: list[float] | None = None
    by_block: list[float] | None = None


@dataclass(frozen=True)
class Step:
    """What one step adds to a row; sequences run over the emitted tokens.

    Attributes:
        spent: contexts whose randomness decided something, beside those of the tokens.
        expected: how many drafts are accepted in the mean given drafts and laws, one by one and as a block.
    """

    tokens: Sequence[int]
    sources: str
    contexts: Sequence[bytes]
    masked: Sequence[bool]
    accepted: int
    log_p: Sequence[float]
    log_p_model: Sequence[float]
    entropy: Sequence[float] = ()
    overlap: Sequence[float | None] = ()
    efficiency: Sequence[float | None] = ()
    spent: Sequence[bytes] = ()
    expected: tuple[float, ...] = ()


class TrueRandomness:
    """The true randomness of one text, position by position: a function of seed and prompt alone.

    A position that was looked ahead at and thrown away has the same numbers again when the text gets there;
    nothing that was emitted depends on them. So how far a step looks ahead does not move what is drawn later,
    and a text of fewer tokens is the beginning of a longer one. In a block it does depend on them, and every
    visit has numbers of its own.

    Args:
        seed: of the run.
        prompt: what the text continues.
    """

    def __init__(self, seed: int, prompt: Prompt):
        data = np.array([seed, *prompt.token_ids], dtype=np.int64).tobytes()
        sample = prompt.sample.to_bytes(8, "little") if prompt.sample else b""
        self._hash = hashlib.blake2b(data, digest_size=32, person=b"tradeoff prompt", salt=sample)

    def at(self, position: int, visit: int = 0) -> np.random.Generator:
        """A new generator, at its beginning, for the generated token number `position`, from 0."""
        whole = self._hash.copy()
        whole.update(position.to_bytes(8, "little"))
        if visit:
            whole.update(visit.to_bytes(8, "little"))
        return np.random.Generator(np.random.PCG64(np.frombuffer(whole.digest(), dtype=np.uint32)))


class ContextWindow:
    """Contexts of consecutive positions, and whether each may carry a watermark.

    A context that was used before in the text is not used again (repeated-context masking), and neither is
    one with fewer tokens before it than its width, unless the pseudorandom function pads contexts. Token by
    token, positions further ahead count as used only if what lies before them in the look-ahead is emitted;
    in a block their events have decided something, and they are spent.

    Args:
        width: tokens of a context.
        pads: whether contexts with fewer tokens may be used.
        marked: False if there is no watermark at all.
        memory: as of `Prf`: for how many positions a context is remembered.
        origins: as of `Prf`; None if every context has numbers of its own.
        prompt: tokens before the text that contexts reach into.
        masks: tokens before the text whose contexts are used already, as all are that begin among them; they
            need a window that does not pad.
        unmarked: positions at the beginning of the text that go without a watermark.
    """

    def __init__(
        self,
        width: int,
        pads: bool = False,
        *,
        marked: bool = True,
        memory: int | None = None,
        origins: _Origins | None = None,
        prompt: Sequence[int] = (),
        masks: Sequence[int] = (),
        unmarked: int = 0,
    ):
        self._width, self._pads, self._marked = width, pads, marked
        self._memory, self._origins = memory, origins
        # What a short context holds matters to no number, as it is not marked: but it is one that is used.
        self._tail = [*([PAD] * width), *prompt, *masks][-width:]
        self._known = len(prompt)
        self._first = len(prompt) + unmarked
        self._counts_short = bool(masks)
        self._used: dict[bytes, int] = {}
        for end in range(width, len(masks)):
            before = np.array(masks[end - width : end], dtype=np.int64)
            self._used[self._key(before)] = end - len(masks)

    @classmethod
    def of(cls, prf: Prf, prompt: Sequence[int], unmarked: int = 0) -> ContextWindow:
        """At the beginning of a text, as a function has it; the first `unmarked` positions go without."""
        return cls(
            prf.context_width,
            prf.pads_contexts,
            memory=prf.memory,
            origins=prf.origins,
            prompt=prompt if prf.reads_prompt else (),
            masks=prompt if prf.masks_prompt else (),
            unmarked=unmarked,
        )

    def ahead(self, drafts: Sequence[int]) -> np.ndarray:
        """Contexts of the next positions if `drafts` are emitted: [len(drafts) + 1, width]."""
        return contexts_ahead([self], np.array([drafts], dtype=np.int64))[0]

    def masked(self, contexts: np.ndarray) -> list[bool]:
        """Whether each of the next positions, in order, goes without a watermark."""
        if not self._marked:
            return [True] * len(contexts)
        seen: dict[bytes, int] = {}
        flags = []
        for place, context in enumerate(contexts, self._known):
            key = self._key(context)
            last = seen.get(key, self._used.get(key))
            unusable = place < self._first or self._is_short(place)
            flags.append(unusable or (last is not None and self._remembers(last, place)))
            if self._uses(place):
                seen[key] = place
        return flags

    def commit(self, tokens: Sequence[int], contexts: Sequence[bytes], spent: Sequence[bytes] = ()) -> None:
        """Emit `tokens`, drawn under `contexts`; no more is drawn under these, nor under those `spent`."""
        for used in (spent, contexts):
            for place, context in enumerate(used, self._known):
                if self._uses(place):
                    self._used[self._key(np.frombuffer(context, dtype=np.int64))] = place
        self._tail = [*self._tail, *tokens][-self._width :]
        self._known += len(tokens)

    def _is_short(self, place: int) -> bool:
        return not self._pads and place < self._width

    def _uses(self, place: int) -> bool:
        return self._counts_short or not self._is_short(place)

    def _remembers(self, last: int, place: int) -> bool:
        return self._memory is None or place - last <= self._memory

    def _key(self, context: np.ndarray) -> bytes:
        """Equal for contexts that have the same numbers."""
        if self._origins is None:
            return context.tobytes()
        found = self._origins(context[None], np.zeros(1, dtype=np.int64))
        return context.tobytes() if found is None else found.tobytes()


def contexts_ahead(windows: Sequence[ContextWindow], drafts: np.ndarray) -> np.ndarray:
    """Contexts [rows, m + 1, width] of the next positions of windows of one width, if drafts [rows, m] are
    emitted."""
    tails = np.array([window._tail for window in windows], dtype=np.int64)
    lines = np.concatenate([tails, drafts], axis=1)
    return np.lib.stride_tricks.sliding_window_view(lines, tails.shape[1], axis=1)


@dataclass
class Row:
    """A text in progress. Its place in the batch says which slot holds its key/value entries; `index` is that
    of prompt and text, where drafts are looked up; `rules` are its own."""

    prompt: Prompt
    randomness: TrueRandomness
    window: ContextWindow
    limit: int
    eos: frozenset[int]
    started: float
    index: NgramIndex | None = None
    rules: TextRules | None = None
    tokens: list[int] = field(default_factory=list)
    finish: str | None = None
    _steps: list[Step] = field(default_factory=list)
    _kept: list[int] = field(default_factory=list)
    _accepted: list[int] = field(default_factory=list)

    @property
    def wanted(self) -> int:
        """Tokens up to the longest text."""
        return self.limit - len(self.tokens)

    @property
    def steps(self) -> int:
        """So far."""
        return len(self._steps)

    @property
    def last_step(self) -> Step:
        """The one before."""
        return self._steps[-1]

    @property
    def length(self) -> int:
        """Positions so far, prompt included."""
        return len(self.prompt.token_ids) + len(self.tokens)

    def last(self, count: int) -> list[int]:
        """The last `count` token ids, prompt included; the first one repeated if there are too few."""
        if count <= len(self.tokens):
            return self.tokens[-count:]
        ids = [*self.prompt.token_ids, *self.tokens]
        return [ids[0]] * (count - len(ids)) + ids[-count:]

    def emit(self, step: Step) -> None:
        """Append what a step emitted, up to the end of the text."""
        # A neighbour that wants more tokens has the whole batch draft more than this text wants.
        self._accepted.append(min(step.accepted, self.wanted))
        kept = 0
        for token in step.tokens:
            self.tokens.append(token)
            kept += 1
            if token in self.eos:
                self.finish = "eos"
            elif self.rules is not None and self.rules.end(self.tokens):
                self.finish = "stop"
            elif len(self.tokens) == self.limit:
                self.finish = "length"
            if self.finish:
                break
        if self.index is not None:
            self.index.extend(step.tokens[:kept])
        self.window.commit(step.tokens[:kept], step.contexts[:kept], step.spent)
        self._steps.append(step)
        self._kept.append(kept)

    def result(self, seconds: float, measured: bool) -> GeneratedText:
        """The finished text."""

        def joined(name: str) -> list:
            pairs = zip(self._steps, self._kept, strict=True)
            return [value for step, kept in pairs for value in getattr(step, name)[:kept]]

        expects = measured and all(step.expected for step in self._steps)
        return GeneratedText(
            prompt=self.prompt,
            token_ids=self.tokens,
            finish=self.finish or "length",
            accepted=self._accepted,
            sources="".join(joined("sources")),
            unmarked=sum(joined("masked")),
            log_p=joined("log_p"),
            log_p_model=joined("log_p_model"),
            seconds=seconds,
            entropy=joined("entropy") if measured else None,
            overlap=joined("overlap") if measured else None,
            efficiency=joined("efficiency") if measured else None,
            by_token=[step.expected[0] for step in self._steps] if expects else None,
            by_block=[step.expected[1] for step in self._steps] if expects else None,
        )
