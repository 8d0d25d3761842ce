"""What servers change in a law by the text before it, and where they end a text: penalties, bans, stop words.

Applied to the logits of draft and target alike, each with the text that stands before it, drafted tokens
included, before the temperature: so the acceptance rule compares the laws that tokens are drawn from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeAlias

import torch

from tradeoff.texts import Prompt

__all__ = ["Controls", "Criterion", "Processor", "Rules", "TextRules", "processed"]

#: (token ids before the position [1, length], logits [1, n]) -> logits [1, n].
Processor: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
#: (token ids of prompt and text [1, length], None) -> whether the text ends, a bool or a tensor [1].
Criterion: TypeAlias = Callable[[torch.Tensor, None], Any]

#: Tokens at the end of a text in which a stop string is looked for, beside one a character of it.
_TAIL = 8


def _called(rule: object) -> str:
    return type(rule).__name__


@dataclass(frozen=True)
class TextRules:
    """What applies to one text.

    Attributes:
        before: token ids that processors and criteria see in front of the text: the prompt, as they know it.
        processors: of logits, in order; functions of their arguments alone.
        criteria: any of which ends the text.
        device: of the token ids that criteria see.
    """

    before: tuple[int, ...]
    processors: tuple[Processor, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    device: torch.device | str = "cpu"

    def logits(self, tokens: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
        """Of the position behind `tokens`: [n] -> [n]."""
        ids = self._ids(tokens, logits.device)
        scores = logits[None]
        for processor in self.processors:
            scores = processor(ids, scores)
            if scores.shape != (1, len(logits)):
                raise ValueError(
                    f"{_called(processor)} gives scores of shape {list(scores.shape)} for those of one row, "
                    f"[1, {len(logits)}]; a processor must not look at other rows"
                )
        if bool((scores == -torch.inf).all()):
            raise ValueError(
                "penalties, bans or processors leave no token that may come next; ease logit_bias, "
                "min_tokens, or what else bans tokens"
            )
        return scores[0]

    def end(self, tokens: Sequence[int]) -> bool:
        """Whether the text ends with these."""
        if not self.criteria:
            return False
        ids = self._ids(tokens, self.device)
        for criterion in self.criteria:
            found = torch.as_tensor(criterion(ids, None))
            if found.numel() != 1:
                raise ValueError(
                    f"{_called(criterion)} answers for {found.numel()} rows where it is asked about one; a "
                    "criterion must not look at other rows"
                )
            if bool(found):
                return True
        return False

    def _ids(self, tokens: Sequence[int], device: torch.device | str) -> torch.Tensor:
        return torch.tensor([[*self.before, *tokens]], dtype=torch.long, device=device)


class Rules(Protocol):
    """The rules of every text; as a string, what records say of them."""

    def __call__(self, prompt: Prompt) -> TextRules:
        """For the text of one prompt."""
        ...

    def __str__(self) -> str: ...


def processed(
    rules: Sequence[TextRules | None],
    texts: Sequence[Sequence[int]],
    drafts: Sequence[Sequence[int]],
    ends: Collection[int],
    logits: torch.Tensor,
) -> torch.Tensor:
    """Logits as the rules of every row have them: [rows, m, n].

    Behind a draft that ends the text, or that the rules forbid, no token is ever emitted, and the rules are
    not asked.

    Args:
        rules: of every row.
        texts: [rows] the tokens of every text so far, without the prompt.
        drafts: [rows] tokens behind them, of which the last m - 1 lie between the positions.
        ends: tokens that end a text.
        logits: [rows, m, n] of the model, behind all drafts but the last m - 1, and behind each of these.
    """
    if not any(one is not None and one.processors for one in rules):
        return logits
    wide = logits if logits.dtype == torch.float64 else logits.float()
    rows = []
    for one, text, drafted, line in zip(rules, texts, drafts, wide, strict=True):
        if one is None:
            rows.append(line)
            continue
        found: list[torch.Tensor] = []
        known = len(drafted) - len(line) + 1
        reached = not any(token in ends for token in drafted[:known])
        for j, at in enumerate(line):
            if j > 0:
                token = drafted[known + j - 1]
                reached = reached and token not in ends and bool(found[-1][token] > -torch.inf)
            found.append(one.logits([*text, *drafted[: known + j]], at) if reached else at)
        rows.append(torch.stack(found))
    return torch.stack(rows)


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What a request to a server may say of its text, beside temperature and cuts.

    Args:
        repetition_penalty: > 0; logits of tokens in prompt or text are divided by it where positive, and
            multiplied where negative (Keskar et al., arXiv:1909.05858); 1 changes nothing, and None leaves it
            to the model's own settings.
        presence_penalty: subtracted from logits of tokens in the text, once.
        frequency_penalty: the same for every time that they are there.
        logit_bias: added to the logit of a token; -inf bans it.
        min_tokens: no end-of-text token before so many tokens.
        stop: strings; a text ends with the token that completes one.

    Raises:
        ValueError: for numbers that are none, or out of range, and empty strings.
    """

    repetition_penalty: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    min_tokens: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        penalty = self.repetition_penalty
        if penalty is not None and not (_is_number(penalty) and 0 < penalty < math.inf):
            raise ValueError(f"repetition_penalty={penalty} must be a positive number (1 changes nothing)")
        for name in ("presence_penalty", "frequency_penalty"):
            value = asdict(self)[name]
            if not (_is_number(value) and math.isfinite(value)):
                raise ValueError(f"{name}={value!r} must be a number (0 changes nothing)")
        if not isinstance(self.logit_bias, Mapping):
            raise ValueError(f"logit_bias={self.logit_bias!r} must map ids of tokens to numbers")
        for token, bias in self.logit_bias.items():
            if isinstance(token, bool) or not isinstance(token, int) or token < 0:
                raise ValueError(f"logit_bias names the token {token!r}; name tokens by their ids, from 0")
            if not (_is_number(bias) and bias < math.inf):
                raise ValueError(f"logit_bias of token {token} is {bias}; pass a number, or -inf to ban it")
        if isinstance(self.min_tokens, bool) or not isinstance(self.min_tokens, int) or self.min_tokens < 0:
            raise ValueError(f"min_tokens={self.min_tokens!r} must be a whole number of at least 0")
        if not isinstance(self.stop, tuple) or not all(isinstance(one, str) and one for one in self.stop):
            raise ValueError(f"stop={self.stop!r} must be a tuple of strings of one character or more")

    def __str__(self) -> str:
        """What differs from the defaults, as JSON, in one spelling."""
        told = {name: value for name, value in asdict(self).items() if value != _DEFAULTS[name]}
        if self.repetition_penalty == 1:
            del told["repetition_penalty"]
        if "logit_bias" in told:
            told["logit_bias"] = {str(token): bias for token, bias in sorted(self.logit_bias.items())}
        return json.dumps(told, sort_keys=True) if told else ""

    def rules(self, vocabulary: int, eos: frozenset[int], decode: Callable[[list[int]], str]) -> Rules | None:
        """For texts of one pair of models; None if nothing is controlled.

        Args:
            vocabulary: number of tokens n.
            eos: tokens that end a text.
            decode: the words of tokens.

        Raises:
            ValueError: for a bias of a token that there is not.
        """
        beyond = [token for token in self.logit_bias if token >= vocabulary]
        if beyond:
            raise ValueError(
                f"logit_bias names token {beyond[0]}, and the vocabulary has tokens 0 .. {vocabulary - 1}"
            )
        return _Controlled(self, eos, decode) if str(self) else None


@dataclass(frozen=True)
class _Controlled:
    controls: Controls
    eos: frozenset[int]
    decode: Callable[[list[int]], str] = field(repr=False)

    def __str__(self) -> str:
        return str(self.controls)

    def __call__(self, prompt: Prompt) -> TextRules:
        told, start = self.controls, len(prompt.token_ids)
        processors: list[Processor] = []
        if told.repetition_penalty not in (None, 1):
            processors.append(_Repetition(told.repetition_penalty))
        if told.presence_penalty or told.frequency_penalty:
            processors.append(_Counts(told.presence_penalty, told.frequency_penalty, start))
        if told.logit_bias:
            processors.append(_Bias(tuple(told.logit_bias), tuple(told.logit_bias.values())))
        if told.min_tokens and self.eos:
            processors.append(_NotYet(start + told.min_tokens, tuple(sorted(self.eos))))
        criteria = (_Stop(told.stop, start, self.decode),) if told.stop else ()
        return TextRules(prompt.token_ids, tuple(processors), criteria)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_DEFAULTS: dict[str, Any] = asdict(Controls())


@dataclass(frozen=True)
class _Repetition:
    penalty: float

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        there = torch.gather(scores, 1, ids)
        return scores.scatter(1, ids, torch.where(there < 0, there * self.penalty, there / self.penalty))


@dataclass(frozen=True)
class _Counts:
    presence: float
    frequency: float
    start: int

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        there = ids[:, self.start :]
        # Not by `bincount`: a device would have to be waited for to know the largest id.
        counts = torch.zeros_like(scores, dtype=torch.long).scatter_add(1, there, torch.ones_like(there))
        counts = counts.to(scores.dtype)
        return scores - self.presence * counts.sign() - self.frequency * counts


@dataclass(frozen=True)
class _Bias:
    tokens: tuple[int, ...]
    biases: tuple[float, ...]

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        index = torch.tensor([self.tokens], device=scores.device)
        return scores.scatter_add(
            1, index, torch.tensor([self.biases], dtype=scores.dtype, device=scores.device)
        )


@dataclass(frozen=True)
class _NotYet:
    length: int
    ends: tuple[int, ...]

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if ids.shape[1] >= self.length:
            return scores
        return scores.index_fill(1, torch.tensor(self.ends, device=scores.device), -torch.inf)


@dataclass(frozen=True)
class _Stop:
    strings: tuple[str, ...]
    start: int
    decode: Callable[[list[int]], str]

    def __call__(self, ids: torch.Tensor, scores: None) -> bool:
        # Every token but the first few has a character or more, or belongs to one that is not complete.
        kept = max(map(len, self.strings)) * 4 + _TAIL
        words = self.decode(ids[0, self.start :][-kept:].tolist())
        return any(string in words for string in self.strings)
