"""What a call of `generate` sets itself and what comes from files: messages name the source, and K is
taken from what somebody set, never from Transformers' defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tradeoff.llm import asked_of_generate, generation_settings

__all__ = ["Asked", "check_search", "lookahead_of"]

#: K where nobody says otherwise.
_LOOKAHEAD = 3
_COUNT = "num_assistant_tokens"
#: What would let K change from step to step, and the values with which it does not; the first is told.
_CHANGING: dict[str, tuple[Any, ...]] = {
    "num_assistant_tokens_schedule": ("constant",),
    "assistant_confidence_threshold": (0, None),
}
#: Outputs of a pass of the model that the engine does not keep.
_OUTPUTS = ("output_attentions", "output_hidden_states", "output_logits", "output_scores")
#: Settings that ask for another way to search.
_OTHER_SEARCHES = ("assistant_early_exit", "constraints", "dola_layers", "force_words_ids", "penalty_alpha")
_OWN = "the model's own generation_config (generation_config.json)"


@dataclass(frozen=True)
class Asked:
    """Settings of generation that somebody set, by who did.

    Attributes:
        call: in the call, or in the GenerationConfig passed to it.
        own, assistant: of the models, from their files or set on them.
        known: whether the call was seen; a function around a `custom_generate` hides it.
    """

    call: Mapping[str, Any]
    own: Mapping[str, Any]
    assistant: Mapping[str, Any]
    known: bool = True

    @classmethod
    def of(cls, frame: Any, model: Any, assistant: Any) -> Asked:
        """Of the `generate` that runs in a frame; the assistant may be None."""
        drafting = {} if assistant is None else generation_settings(assistant)
        call = asked_of_generate(frame)
        return cls(call or {}, generation_settings(model), drafting, call is not None)

    def source(self, name: str) -> str:
        """What is said of a setting that the call does not name: that it is the model's own, or a default."""
        if name in self.call or not self.known:
            return ""
        return f", which is that of {_OWN}," if name in self.own else ", the default of Transformers,"

    @property
    def longest(self) -> str:
        """By which name the call says how long texts may be."""
        return (
            "max_length"
            if "max_length" in self.call and "max_new_tokens" not in self.call
            else "max_new_tokens"
        )

    def first(self, name: str) -> tuple[str, Any] | None:
        """Who sets something of an assistant, and to what: the call before the assistant, and that before the
        model."""
        places = {
            "generate": self.call,
            "the assistant's generation_config": self.assistant,
            _OWN: self.own,
        }
        return next(((where, said[name]) for where, said in places.items() if name in said), None)


def check_search(config: Any, asked: Asked) -> None:
    """Refuse what is no sampling, with where it comes from.

    Args:
        config: as `generate` prepared it.
        asked: who set what.

    Raises:
        ValueError: with the remedy.
    """
    if config.num_beams is not None and config.num_beams > 1:
        raise ValueError(
            f"num_beams={config.num_beams}{asked.source('num_beams')} searches for probable text, which is "
            "no draw from the model's law: there is nothing to mark; pass num_beams=1 and do_sample=True"
        )
    if not config.do_sample:
        raise ValueError(
            f"do_sample=False{asked.source('do_sample')} is greedy decoding: the text is a function of the "
            "prompt, and no choice is left in which a watermark could hide; pass do_sample=True"
            + _also(asked)
        )
    told = config.to_diff_dict()
    for name in (*_OTHER_SEARCHES, *_OUTPUTS):
        if told.get(name):
            raise ValueError(
                f"{name}={told[name]!r}{asked.source(name)} is not kept with a watermark here; leave it out"
            )


def _also(asked: Asked) -> str:
    """Arguments beside do_sample=True, where the model's own are none that one can sample with."""
    temperature, top_k = ({**asked.own, **asked.call}.get(name) for name in ("temperature", "top_k"))
    found = ["temperature=1.0"] if temperature == 0 else []
    found += ["top_k=0"] if top_k is not None and top_k < 0 else []
    told = ", ".join(f"{one.partition('=')[0]}={asked.own.get(one.partition('=')[0])}" for one in found)
    return f", and {' and '.join(found)}, in place of {told} of {_OWN}" if found else ""


def lookahead_of(told: int | None, asked: Asked, looked_up: int | None, tell: Callable[[str], None]) -> int:
    """K.

    Args:
        told: as of `watermarked`.
        asked: who set what.
        looked_up: `prompt_lookup_num_tokens`, where that drafts in place of an assistant.
        tell: called with what a file sets and is not kept.

    Raises:
        ValueError: for a `num_assistant_tokens` that is no number of tokens or another one than `told`, and
            for a schedule or a threshold in the call by which it changes.
    """
    if looked_up is not None:
        return looked_up if told is None else told
    for name, constant in _CHANGING.items():
        changing = asked.first(name)
        if changing is not None and changing[1] not in constant:
            words = f"{name}={changing[1]!r} of {changing[0]} is not kept"
            if name in asked.call:
                raise ValueError(
                    f"{words}: K is the same in every step here; pass {constant[0]!r}, or leave it out"
                )
            tell(f"{words}: K is the same in every step")
    found = asked.first(_COUNT)
    if found is None:
        return _LOOKAHEAD if told is None else told
    where, count = found
    if type(count) is not int or count < 1:
        raise ValueError(f"{_COUNT}={count!r} of {where} must be a whole number of tokens, at least 1")
    if told is not None and told != count:
        raise ValueError(
            f"lookahead={told} of watermarked(...) and {_COUNT}={count} of {where} both say how many tokens "
            "are drafted; leave one of them out, or set it to None"
        )
    return count
