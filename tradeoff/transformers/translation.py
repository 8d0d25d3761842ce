"""What `model.generate` prepares, in the terms of the engine: processors of logits, and criteria to stop.

Transformers makes them of the arguments of a call and of the model's own settings, so that all of these are
honoured. The cuts at the end of its list are those of `Sampling`; what depends on the text before is applied
to every position of draft and target. What keeps a state of its own, or looks at the other rows of the batch,
cannot be applied to positions that may be thrown away, and is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tradeoff.llm import Sampling, TextRules
from tradeoff.texts import Prompt

__all__ = ["Ending", "Laws", "Replayed", "RowRules", "ending_of", "laws_of"]

#: Of Transformers, and functions of their arguments alone (5.23, 5.24).
_STATELESS = frozenset(
    [
        "EpsilonLogitsWarper",
        "EtaLogitsWarper",
        "ExponentialDecayLengthPenalty",
        "ForcedBOSTokenLogitsProcessor",
        "ForcedEOSTokenLogitsProcessor",
        "InfNanRemoveLogitsProcessor",
        "LogitNormalization",
        "MinLengthLogitsProcessor",
        "MinNewTokensLengthLogitsProcessor",
        "MinPLogitsWarper",
        "NoBadWordsLogitsProcessor",
        "NoRepeatNGramLogitsProcessor",
        "SequenceBiasLogitsProcessor",
        "SuppressTokensAtBeginLogitsProcessor",
        "SuppressTokensLogitsProcessor",
        "TemperatureLogitsWarper",
        "TopHLogitsWarper",
        "TopKLogitsWarper",
        "TopPLogitsWarper",
        "TypicalLogitsWarper",
    ]
)
_MARKS = frozenset({"WatermarkLogitsProcessor", "SynthIDTextWatermarkLogitsProcessor"})
_REPETITION = "RepetitionPenaltyLogitsProcessor"
#: Changes no law where it is the last.
_NORMALISATION = "LogitNormalization"
#: Cuts of `Sampling`, in its order; each with the name of its number, here and there.
_CUTS = {
    "TemperatureLogitsWarper": "temperature",
    "TopKLogitsWarper": "top_k",
    "TopPLogitsWarper": "top_p",
    "MinPLogitsWarper": "min_p",
}
_THEIR_CRITERIA = frozenset({"MaxTimeCriteria", "StopStringCriteria"})


@dataclass(frozen=True)
class Laws:
    """How laws are made of logits.

    Attributes:
        sampling: temperature and cuts, at the end.
        processors: before them, in order.
        mark: the processor of a watermark of Transformers' own; None without one.
    """

    sampling: Sampling
    processors: tuple[Any, ...]
    mark: Any


def laws_of(processors: Sequence[Any], configured: bool, padding: Sequence[int]) -> Laws:
    """Of the list that `generate` prepares.

    Args:
        processors: the list.
        configured: whether a `watermarking_config` was given, whose processor is the last.
        padding: tokens of padding in front of every row.

    Raises:
        ValueError: for a processor that cannot be applied here, by its name.
    """
    rest = list(processors)
    while rest and _theirs(rest[-1]) and _name(rest[-1]) == _NORMALISATION:
        rest.pop()
    mark = rest.pop() if configured else None
    if mark is not None and _name(mark) not in _MARKS:
        raise ValueError(
            f"{_name(mark)} is the watermark of watermarking_config, and is not known here; use "
            "WatermarkingConfig or SynthIDTextWatermarkingConfig"
        )
    cuts: dict[str, Any] = {}
    left = list(_CUTS)
    while rest and _theirs(rest[-1]) and _name(rest[-1]) in left:
        name = _name(rest[-1])
        # In a beam more than one token is kept.
        if name != "TemperatureLogitsWarper" and rest[-1].min_tokens_to_keep != 1:
            break
        left = left[: left.index(name)]
        cuts[_CUTS[name]] = vars(rest.pop())[_CUTS[name]]
    for one in rest:
        _check(one, padding)
    return Laws(Sampling(**cuts), tuple(rest), mark)


def _check(processor: Any, padding: Sequence[int]) -> None:
    name = _name(processor)
    if not _theirs(processor):
        return
    if name in _MARKS:
        raise ValueError(
            f"logits_processor holds {name}, a watermark; pass it as watermarking_config, or leave it out"
        )
    if name == _REPETITION:
        ignored = processor.prompt_ignore_length
        if not torch.is_tensor(ignored) or ignored.tolist() == list(padding):
            return
        raise ValueError(
            f"{name} with another prompt_ignore_length for every row is not applied here; pass a number"
        )
    if name not in _STATELESS:
        raise ValueError(
            f"{name} keeps a state, looks at other rows, or has not been checked, so that it cannot be "
            "applied to drafted tokens; leave out the argument that asks for it"
        )


@dataclass(frozen=True)
class Ending:
    """When texts end.

    Attributes:
        length: of prompt with padding and text, at most.
        eos: tokens that end a text, in the order in which they were given.
        criteria: others, in order.
    """

    length: int
    eos: tuple[int, ...]
    criteria: tuple[Any, ...]


def ending_of(criteria: Sequence[Any]) -> Ending:
    """Of the list that `generate` prepares.

    Raises:
        ValueError: for no greatest length, and for criteria that are not known here, by their names.
    """
    lengths, eos, others = [], list[int](), []
    for one in criteria:
        name = _name(one)
        if not _theirs(one) or name in _THEIR_CRITERIA:
            others.append(one)
        elif name == "MaxLengthCriteria":
            lengths.append(int(one.max_length))
        elif name == "EosTokenCriteria":
            eos += one.eos_token_id.flatten().tolist()
        else:
            raise ValueError(f"{name} is not applied here; leave out the argument that asks for it")
    if not lengths:
        raise ValueError("texts have no greatest length; pass max_new_tokens")
    return Ending(min(lengths), tuple(eos), tuple(others))


class Replayed:
    """A processor or criterion of somebody's own, which must be a function of its arguments: drafts that are
    thrown away must leave nothing behind. It is asked about the first tokens again from time to time, and at
    the end.

    Args:
        rule: the processor or criterion.
    """

    def __init__(self, rule: Callable[..., Any]):
        self._rule, self._calls = rule, 0
        self._first: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor] | None = None

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor | None) -> Any:
        """What the rule says."""
        if self._first is None:
            before = None if scores is None else scores.clone()
            found = self._rule(ids, scores)
            self._first = ids, before, torch.as_tensor(found).clone()
        else:
            found = self._rule(ids, scores)
        self._calls += 1
        # At 1, 2, 4, 8, ... calls.
        if self._calls & (self._calls - 1) == 0:
            self.check()
        return found

    def check(self) -> None:
        """Raise ValueError if the rule says otherwise of what it was asked first."""
        if self._first is None:
            return
        ids, scores, found = self._first
        again = torch.as_tensor(self._rule(ids, None if scores is None else scores.clone()))
        if again.shape != found.shape or not torch.equal(again, found):
            raise ValueError(
                f"{_name(self._rule)} says otherwise of the same tokens when it is asked again; processors "
                "and criteria must be functions of their arguments here, as drafts are thrown away"
            )


class RowRules:
    """The rules of every row. A processor or criterion sees what it would see in `generate`, were this the
    only row: the prompt with its padding in front.

    Args:
        rows: ids of every prompt as they were given, by the name of the prompt.
        padding: how many of them are padding.
        laws, ending: what applies.
        device: of the ids that criteria see.
    """

    def __init__(
        self,
        rows: dict[str, tuple[int, ...]],
        padding: dict[str, int],
        laws: Laws,
        ending: Ending,
        device: torch.device,
    ):
        self._rows, self._padding, self._device = rows, padding, device
        self._processors = [one if _theirs(one) else Replayed(one) for one in laws.processors]
        self._criteria = [one if _theirs(one) else Replayed(one) for one in ending.criteria]

    @property
    def needed(self) -> bool:
        """Whether any applies."""
        return bool(self._processors or self._criteria)

    def __str__(self) -> str:
        return ", ".join(_name(one) for one in (*self._processors, *self._criteria))

    def __call__(self, prompt: Prompt) -> TextRules:
        padding = self._padding[prompt.id]
        return TextRules(
            self._rows[prompt.id],
            tuple(_applied(one, padding) for one in self._processors),
            tuple(self._criteria),
            self._device,
        )

    def check(self) -> None:
        """Raise ValueError for a rule that kept a state."""
        for one in (*self._processors, *self._criteria):
            if isinstance(one, Replayed):
                one.check()


def _applied(processor: Any, padding: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A processor that leaves the padding of its row out where `generate` would."""
    if _name(processor) == _REPETITION and torch.is_tensor(processor.prompt_ignore_length):
        plain = type(processor)(penalty=processor.penalty)
        return lambda ids, scores: plain(ids[:, padding:], scores)
    return processor


def _name(of: Any) -> str:
    return type(of).__name__


def _theirs(of: Any) -> bool:
    return type(of).__module__.partition(".")[0] == "transformers"
