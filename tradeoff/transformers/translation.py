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

__all__ = ["Ending", "Laws", "RowRules", "ending_of", "laws_of"]

#: Of Transformers, and functions of their arguments alone (5.23, 5.24).
_STATELESS = frozenset(
    [
        "EpsilonLogitsWarper",
        "EtaLogitsWarper",
        "ExponentialDecayLengthPenalty",
        "ForcedBOSTokenLogitsProcessor",
        "ForcedEOSTokenLogitsProcessor",
        "InfNanRemoveLogitsProcessor",
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
#: Changes no law.
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
        processors: before them, in order; with how many tokens of padding are left out of what they see.
        mark: the processor of a watermark of Transformers' own; None without one.
    """

    sampling: Sampling
    processors: tuple[Any, ...]
    mark: Any


def laws_of(processors: Sequence[Any], configured: bool) -> Laws:
    """Of the list that `generate` prepares.

    Args:
        processors: the list.
        configured: whether a `watermarking_config` was given, whose processor is the last.

    Raises:
        ValueError: for a processor that cannot be applied here, by its name.
    """
    rest = [one for one in processors if _name(one) != _NORMALISATION or not _theirs(one)]
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
        _check(one)
    return Laws(Sampling(**cuts), tuple(rest), mark)


def _check(processor: Any) -> None:
    name = _name(processor)
    if not _theirs(processor):
        return
    if name in _MARKS:
        raise ValueError(
            f"logits_processor holds {name}, a watermark; pass it as watermarking_config, or leave it out"
        )
    if name == _REPETITION:
        if processor.prompt_ignore_length is None or torch.is_tensor(processor.prompt_ignore_length):
            return
        raise ValueError(f"{name} with prompt_ignore_length is not applied here; leave that out")
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
        eos: tokens that end a text.
        criteria: others, in order.
    """

    length: int
    eos: frozenset[int]
    criteria: tuple[Any, ...]


def ending_of(criteria: Sequence[Any]) -> Ending:
    """Of the list that `generate` prepares.

    Raises:
        ValueError: for no greatest length, and for criteria that are not known here, by their names.
    """
    lengths, eos, others = [], set[int](), []
    for one in criteria:
        name = _name(one)
        if not _theirs(one) or name in _THEIR_CRITERIA:
            others.append(one)
        elif name == "MaxLengthCriteria":
            lengths.append(int(one.max_length))
        elif name == "EosTokenCriteria":
            eos |= set(one.eos_token_id.flatten().tolist())
        else:
            raise ValueError(f"{name} is not applied here; leave out the argument that asks for it")
    if not lengths:
        raise ValueError("texts have no greatest length; pass max_new_tokens")
    return Ending(min(lengths), frozenset(eos), tuple(others))


class RowRules:
    """The rules of every row. A processor or criterion sees what it would see in `generate`, were this the
    only row: the prompt with its padding in front.

    Args:
        rows: ids of every prompt as they were given, by the name of the prompt.
        padding: how many of them are padding.
        laws, ending: what applies.
    """

    def __init__(self, rows: dict[str, tuple[int, ...]], padding: dict[str, int], laws: Laws, ending: Ending):
        self._rows, self._padding = rows, padding
        self._laws, self._ending = laws, ending
        self._asked: set[int] = set()

    @property
    def needed(self) -> bool:
        """Whether any applies."""
        return bool(self._laws.processors or self._ending.criteria)

    def __str__(self) -> str:
        return ", ".join(_name(one) for one in (*self._laws.processors, *self._ending.criteria))

    def __call__(self, prompt: Prompt) -> TextRules:
        padding = self._padding[prompt.id]
        return TextRules(
            self._rows[prompt.id],
            tuple(self._applied(one, padding) for one in self._laws.processors),
            self._ending.criteria,
        )

    def _applied(self, processor: Any, padding: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """A processor that sees no padding where that would change what it does."""
        if _theirs(processor) and _name(processor) == _REPETITION:
            plain = type(processor)(penalty=processor.penalty)
            return lambda ids, scores: plain(ids[:, padding:], scores)
        if _theirs(processor) or id(processor) in self._asked:
            return processor

        def asked(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = processor(ids, scores.clone())
            # A draft that is thrown away must leave nothing behind.
            if id(processor) not in self._asked:
                if not torch.equal(found, processor(ids, scores.clone())):
                    raise ValueError(
                        f"{_name(processor)} of logits_processor gives other scores for the same tokens when "
                        "it is called again; a processor must be a function of its arguments here"
                    )
                self._asked.add(id(processor))
            return found

        return asked


def _name(of: Any) -> str:
    return type(of).__name__


def _theirs(of: Any) -> bool:
    return type(of).__module__.partition(".")[0] == "transformers"
