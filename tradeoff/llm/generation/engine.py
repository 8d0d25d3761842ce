"""Watermarked speculative decoding of many texts at once, on any draft/target pair.

Each round drafts K tokens per text, verifies all of them in one pass of the target, emits what the method
accepts plus one more token, and goes on: every text advances by its own count. Finished texts leave the
batch and new prompts take their slots. The text of a prompt depends on the prompt, the key
and the settings (method, seed, lookahead, sampling) only, not on the batch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from tradeoff.kernels import Coin, Method, Verify, check_verify
from tradeoff.keyed import Kind, Prf, check_supplied
from tradeoff.llm.generation.controls import Rules
from tradeoff.llm.generation.rounds import Speculator
from tradeoff.llm.generation.rows import ContextWindow, GeneratedText, Row, TrueRandomness
from tradeoff.llm.generation.slots import make_feeder
from tradeoff.llm.models.huggingface import end_token_ids, longest_context, text_config
from tradeoff.llm.models.ngram import NgramIndex
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.models.probe import findings
from tradeoff.llm.sampling import Sampling
from tradeoff.texts import Prompt

__all__ = ["Engine", "EngineSettings", "eos_ids", "out_of_memory"]


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How texts are generated.

    Args:
        method: kernel and watermark.
        prf: keyed pseudorandom function; None for methods without a watermark.
        sampling: temperature and cuts, for both models.
        lookahead: K, draft tokens a step; at least 1 (ignored by `basic`, which drafts nothing). A step
            drafts no more than some text of the batch still wants.
        max_tokens: longest text.
        seed: of the true randomness.
        ignore_eos: go on to max_tokens, whatever the model says.
        measure: keep 1 - TV, entropy and expected acceptance of every position.
        verify: token by token, or a step's drafts as a block, of which more are accepted. In a block the last
            tokens of a text depend on how long it may be.
        rules: what applies to the text of a prompt by what stands before, in both models, and where it ends.
        unmarked: tokens at the beginning of every text that are drawn truly at random, without a watermark:
            so several texts of one prompt differ. As many are enough as tell texts apart.
        eos: tokens that end a text; if left out those of the target, or of the tokenizer.

    Raises:
        ValueError: for values out of range, more candidates a level than tokens that top-k keeps, a watermark
            without a key, or blocks of a method that does not accept min(1, P/Q) of its drafts.
    """

    method: Method
    prf: Prf | None
    sampling: Sampling = field(default_factory=Sampling)
    lookahead: int = 3
    max_tokens: int = 200
    seed: int = 0
    ignore_eos: bool = False
    measure: bool = False
    verify: Verify = Verify.TOKEN
    rules: Rules | None = None
    unmarked: int = 0
    eos: frozenset[int] | None = None

    def __post_init__(self) -> None:
        if self.drafts and self.lookahead < 1:
            raise ValueError(
                f"lookahead={self.lookahead} must be at least 1 draft token a step; "
                "for no speculation use the method basic"
            )
        check_verify(self.method, self.verify)
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens={self.max_tokens} must be at least 1")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed={self.seed} must be in 0 .. 2^63 - 1")
        if type(self.unmarked) is not int or self.unmarked < 0:
            raise ValueError(f"unmarked={self.unmarked!r} must be a number of tokens, at least 0")
        if 0 < self.sampling.top_k < self.method.width:
            raise ValueError(
                f"width={self.method.width} candidates a level are more than the tokens that top_k="
                f"{self.sampling.top_k} keeps; pass at most {self.sampling.top_k}"
            )
        if self.prf is None and self.marked:
            raise ValueError(
                f"method {self.method.name} with {self.method.decoder.name} needs a key: pass prf"
            )
        if self.prf is not None and self.marked:
            coin = {Kind.COIN} if self.method.detection.coin is Coin.KEYED else set()
            check_supplied(self.prf, self.method.decoder.needs | coin)

    @property
    def drafts(self) -> bool:
        """Whether there is any speculation."""
        return self.method.drafts

    @property
    def marked(self) -> bool:
        """Whether anything is watermarked."""
        return self.method.decoder.marks

    @property
    def seeded(self) -> bool:
        """Whether every text depends on the seed; else it does only behind a context that occurs again."""
        if self.prf is None or not self.marked or not self.prf.pads_contexts or self.unmarked:
            return True
        return not self.method.determined


class Engine:
    """Generates texts with one pair of models and one method.

    Args:
        pair: draft, target and tokenizer.
        settings: how.
        batch: texts at a time, at least 1. It is halved, with a message, if the device runs out of memory.
        report: called with a line for the user when something noteworthy happens.
        probe: whether models that are not known to be drawn from rightly are checked first (see
            `tradeoff.llm.models.probe`); without it the texts may be drawn from another law, and nothing
            tells.
        longest: what the caller calls the greatest length, and what it is there; max_tokens of the settings
            if left out.

    Raises:
        ValueError: for a batch below 1, more candidates a level than draft or vocabulary have, models whose
            caches cannot be rolled back, and models that were found to be drawn from wrongly in the way that
            is asked for.
    """

    def __init__(
        self,
        pair: ModelPair,
        settings: EngineSettings,
        batch: int = 1,
        report: Callable[[str], None] = lambda _: None,
        probe: bool = True,
        longest: tuple[str, int] | None = None,
    ):
        if batch < 1:
            raise ValueError(f"batch={batch} must be at least 1 text")
        if settings.method.width > pair.vocabulary_size:
            raise ValueError(
                f"width={settings.method.width} candidates a level are more than the {pair.vocabulary_size} "
                f"tokens of the vocabulary; pass at most {pair.vocabulary_size}"
            )
        if settings.method.width > 1 and pair.lookup:
            raise ValueError(
                f"draft={pair.draft_name!r} has one candidate a level, and {settings.method.name} asks for "
                f"{settings.method.width}; use a draft model, or a method without a tree"
            )
        if settings.verify is Verify.BLOCK and pair.lookup:
            raise ValueError(
                f"verify='block' accepts no more of the drafts of draft={pair.draft_name!r}, which are "
                "certain, than one by one; use verify='token'"
            )
        self.pair, self.settings, self.batch = pair, settings, batch
        self._report = report
        self._longest = longest or ("max_tokens", settings.max_tokens)
        self._k = settings.lookahead if settings.drafts else 0
        self._prf = settings.prf if settings.marked else None
        if self._prf is not None:
            self._prf.check_vocabulary(int(text_config(pair.target).vocab_size))
        self._eos = settings.eos or frozenset()
        if settings.ignore_eos:
            self._eos = frozenset()
        elif settings.eos is None:
            self._eos = eos_ids(pair)
        self._rows: list[Row] = []
        self._open()
        self.limit = self._checked_models() if probe else None
        lost = _unmarked_drafts(pair, settings)
        if lost:
            report(lost)

    def _checked_models(self) -> int | None:
        """Positions up to which the models are drawn from rightly; raises ValueError if in no way."""
        names = (self.pair.target_name, self.pair.draft_name)
        limits = []
        for name, feeder in zip(names, self._feeders, strict=False):
            found = findings(feeder.model, self._report)
            found.check(name, batch=self.batch, drafts=self._k > 0, width=self.settings.method.width)
            limits.append(found.limit)
        return min((limit for limit in limits if limit is not None), default=None)

    def _open(self) -> None:
        """Empty slots for `batch` texts."""
        n, settings = self.pair.vocabulary_size, self.settings
        target = make_feeder(self.pair.target, self.batch, n)
        models = self._k and not self.pair.lookup
        draft = make_feeder(self.pair.draft_model, self.batch, n) if models else None
        self._feeders = [target] if draft is None else [target, draft]
        self.speculator = Speculator(
            method=settings.method,
            prf=self._prf,
            verify=settings.verify,
            sampling=settings.sampling,
            target=target,
            draft=draft,
            lookahead=self._k,
            vocabulary=n,
            measure=settings.measure,
            ruled=settings.rules is not None,
        )
        self._rows = []

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Raise ValueError, naming the prompt, for one that is empty, of another tokenizer, or too long for
        the context window."""
        longest, (name, value) = self.settings.max_tokens, self._longest
        # The candidates beside the drafts lie behind the longest text; what is drafted itself is part of it.
        beside = min(self._k, longest) * (self.settings.method.width - 1)
        limits = [self.limit, *(longest_context(f.model) for f in self._feeders)]
        limit = min((limit for limit in limits if limit), default=None)
        for prompt in prompts:
            if not prompt.token_ids:
                raise ValueError(f"prompt {prompt.id!r} has no tokens; give it at least one word")
            if not all(0 <= token < self.pair.vocabulary_size for token in prompt.token_ids):
                raise ValueError(
                    f"prompt {prompt.id!r} has token ids outside 0 .. {self.pair.vocabulary_size - 1}; "
                    "encode it with the tokenizer of this pair"
                )
            needed = len(prompt.token_ids) + longest + beside
            if limit is not None and needed > limit:
                tree = f" and {beside} other candidates of a tree" if beside else ""
                raise ValueError(
                    f"prompt {prompt.id!r} has {len(prompt.token_ids)} tokens; with {name}={value}"
                    f"{tree} that is {needed}, beyond the context window of {limit}; shorten the prompt or "
                    f"lower {name}"
                )

    def warm_up(self, prompt: Prompt) -> None:
        """Run a few rounds on `prompt` and discard them, so that timings start warm (raises as `check`)."""
        self.check([prompt])
        rows = self.begin([prompt])
        for _ in range(3):
            if rows[0].finish is None:
                self.speculator.round(rows)
        self._rows = []

    def begin(self, prompts: Sequence[Prompt]) -> list[Row]:
        """Rows of as many prompts as a batch has, in place of those before, for rounds of one's own."""
        self._rows = []
        self._admit(deque(prompts))
        return self._rows

    def generate(
        self, prompts: Sequence[Prompt], emitted: Callable[[Prompt, list[int]], None] = lambda *_: None
    ) -> Iterator[GeneratedText]:
        """One text for every prompt, in the order in which they are finished. One call at a time.

        Args:
            prompts: to be continued.
            emitted: called with what a text got, as soon as it has it. After a device ran out of memory texts
                start again, and what they got before is not told twice.

        Raises:
            ValueError: for prompts that are empty or do not fit the context window, before anything runs.
            RuntimeError: if the device runs out of memory with a single text.
        """
        self.check(prompts)
        queue = deque(prompts)
        self._rows = []
        told: dict[int, int] = {}
        while queue or self._rows:
            failure = None
            try:
                self._admit(queue)
                self.speculator.round(self._rows)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                failure = str(error)
            if failure is not None:
                # Not while the exception is alive: its traceback holds what ran out of memory.
                self._retreat(queue, failure)
                continue
            for row in self._rows:
                before = told.get(id(row.prompt), 0)
                if len(row.tokens) > before:
                    emitted(row.prompt, row.tokens[before:])
                    told[id(row.prompt)] = len(row.tokens)
            # As a list: the caller's time between two texts is not theirs.
            yield from list(self._retire())

    def _retreat(self, queue: deque[Prompt], failure: str) -> None:
        """Start the texts in progress again, half as many at a time: they come out the same."""
        if self.batch == 1:
            raise RuntimeError(
                f"the device runs out of memory with a single text; lower {self._longest[0]} or lookahead, "
                f"or use a smaller dtype ({failure})"
            )
        queue.extendleft(row.prompt for row in reversed(self._rows))
        self.batch //= 2
        self._report(f"out of memory: going on with {self.batch} texts at a time")
        self._open()
        if self.pair.device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _admit(self, queue: deque[Prompt]) -> None:
        """Fill free slots with new prompts, all but the last token of each."""
        first = len(self._rows)
        lookup = self.pair.lookup if self._k else None
        while queue and len(self._rows) < self.batch:
            prompt = queue.popleft()
            self._rows.append(
                Row(
                    prompt,
                    TrueRandomness(self.settings.seed, prompt),
                    self._window(prompt),
                    self.settings.max_tokens,
                    self._eos,
                    self.now(),
                    NgramIndex(lookup.n, prompt.token_ids) if lookup else None,
                    self.settings.rules(prompt) if self.settings.rules else None,
                )
            )
        new = self._rows[first:]
        counts = [len(row.prompt.token_ids) - 1 for row in new]
        longest = max(counts, default=0)
        # Short prompts are filled up on the right, where later tokens overwrite the filling.
        tokens = np.zeros((len(new), longest), dtype=np.int64)
        for row, line, count in zip(new, tokens, counts, strict=True):
            line[:count] = row.prompt.token_ids[:-1]
        where = np.broadcast_to(np.arange(longest), tokens.shape).copy()
        for feeder in self._feeders:
            feeder.filled[first : len(self._rows)] = counts
            if longest > 0:
                feeder.logits(first, tokens, where, 1)

    def _window(self, prompt: Prompt) -> ContextWindow:
        if self._prf is None:
            return ContextWindow(1, marked=False)
        return ContextWindow.of(self._prf, prompt.token_ids, self.settings.unmarked)

    def now(self) -> float:
        """Wall time, after all that was asked of the device is done."""
        if self.pair.device.type == "cuda":
            torch.cuda.synchronize(self.pair.device)
        return time.perf_counter()

    def _retire(self) -> Iterator[GeneratedText]:
        """Take finished rows out; the last row moves into each gap."""
        for slot in reversed(range(len(self._rows))):
            row = self._rows[slot]
            if row.finish is None:
                continue
            last = self._rows.pop()
            if last is not row:
                self._rows[slot] = last
                for feeder in self._feeders:
                    feeder.move(len(self._rows), slot)
            yield row.result(self.now() - row.started, self.settings.measure)


def _unmarked_drafts(pair: ModelPair, settings: EngineSettings) -> str:
    """What is lost where drafts that are certain have a mark of their own, with numbers like any others."""
    told = settings.method.detection
    if not pair.lookup or settings.method.joint or told.drafted is None:
        return ""
    if told.coin not in (Coin.RANDOM, Coin.KEYED) or not settings.method.full_efficiency:
        return ""
    return (
        f"draft={pair.draft_name!r} is certain of its tokens, so that with {settings.method.name} a detector "
        "reads nothing in accepted drafts; with joint-race and one-race it does"
    )


def eos_ids(pair: ModelPair) -> frozenset[int]:
    """End-of-text tokens of the target, or of the tokenizer if the target names none."""
    named = end_token_ids(pair.target)
    if named is not None:
        return named
    own = pair.tokenizer.eos_token_id
    return frozenset() if own is None else frozenset([own])


def out_of_memory(error: Exception) -> bool:
    """NumPy and CUDA's allocator have a class for it; cuBLAS and PyTorch on the CPU only have messages."""
    messages = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        text in str(error) for text in messages
    )
