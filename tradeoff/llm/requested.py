"""How texts are sampled where a request leaves it open: as the model's own settings of generation say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tradeoff.llm.generation.controls import Controls
from tradeoff.llm.generation.engine import EngineSettings, eos_ids
from tradeoff.llm.models.huggingface import control_tokens, generation_settings
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.sampling import Sampling

__all__ = ["Requested"]

#: Settings of a model that are those of `Sampling` and `Controls`.
_SAMPLED = ("temperature", "top_k", "top_p", "min_p")
_PENALTY = "repetition_penalty"
#: Where a model has its own settings of generation.
_FILE = "generation_config.json"
#: What changes nothing.
_NEUTRAL = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, _PENALTY: 1.0}
#: Settings of a model that change texts and are not applied, with what changes nothing.
_OTHERS: dict[str, Any] = {
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "diversity_penalty": 0.0,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "exponential_decay_length_penalty": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "guidance_scale": 1.0,
    "max_time": None,
    "min_length": 0,
    "min_new_tokens": 0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "penalty_alpha": 0.0,
    "sequence_bias": None,
    "stop_strings": None,
    "suppress_tokens": None,
    "top_h": None,
    "typical_p": 1.0,
    "watermarking_config": None,
}


@dataclass(frozen=True)
class Requested:
    """What a request says of sampling; None leaves it to the model.

    Args:
        temperature, top_k, top_p, min_p: as of `Sampling`.
        controls: as of `Controls`.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    controls: Controls | None = None

    def sampling(self, own: Mapping[str, Any]) -> Sampling:
        """With a model's own settings where the request is silent.

        Raises:
            ValueError: as `Sampling`.
        """
        asked = {name: value for name, value in self._asked.items() if value is not None}
        said = {name: own[name] for name in _SAMPLED if name in own and name not in asked}
        for name, value in said.items():
            try:
                Sampling(**{name: value})
            except ValueError as error:
                raise ValueError(
                    f"{error}. It is the model's own, of its {_FILE}: pass another {name}, such as "
                    f"{_NEUTRAL[name]:g}"
                ) from None
        return Sampling(**said | asked)

    @property
    def _asked(self) -> dict[str, Any]:
        return dict(zip(_SAMPLED, (self.temperature, self.top_k, self.top_p, self.min_p), strict=True))

    def settled(
        self, settings: EngineSettings, pair: ModelPair, tell: Callable[[str], None] = lambda _: None
    ) -> EngineSettings:
        """Settings with sampling and rules of this request.

        Args:
            settings: the others.
            pair: whose target has settings of its own.
            tell: called with what these set, and with what is not applied.

        Raises:
            ValueError: for numbers out of range, with where they come from, or controls that do not fit the
                vocabulary.
        """
        own = generation_settings(pair.target)
        controls = self.controls or Controls()
        used = {name: own[name] for name in _SAMPLED if name in own and self._asked[name] is None}
        if controls.repetition_penalty is None and _PENALTY in own:
            controls = replace(controls, repetition_penalty=own[_PENALTY])
            used[_PENALTY] = own[_PENALTY]
        used = {name: value for name, value in used.items() if value != _NEUTRAL[name]}
        if used:
            said = ", ".join(f"{name} {value:g}" for name, value in used.items())
            tell(f"{pair.target_name} sets {said}; say otherwise to change it")
        if own.get("do_sample") is False:
            tell(
                f"do_sample=False of {pair.target_name} ({_FILE}) is greedy decoding, which carries no "
                "watermark: texts are sampled"
            )
        left = [name for name, neutral in _OTHERS.items() if own.get(name, neutral) != neutral]
        if left:
            tell(f"not applied, of the settings of {pair.target_name}: {', '.join(left)}")
        eos = frozenset() if settings.ignore_eos else eos_ids(pair)
        _check_stops(controls.stop, pair)
        decode = partial(_decoded, pair)
        rules = controls.rules(pair.vocabulary_size, eos, decode)
        return replace(settings, sampling=self.sampling(own), rules=rules)


def _check_stops(stops: Sequence[str], pair: ModelPair) -> None:
    """Refuse strings that are found in no text: the words of a text leave control tokens out."""
    control = control_tokens(pair.tokenizer) if stops else {}
    for stop in stops:
        token = next((index for index, word in control.items() if word and word in stop), None)
        if token is None:
            continue
        remedy = (
            "it ends texts already, unless ends are ignored; leave it out"
            if token in eos_ids(pair)
            else f"add its id to eos_token_id of the model's {_FILE}, and leave it out"
        )
        raise ValueError(
            f"stop={stop!r} holds the control token {control[token]!r} (id {token}), which is no part of the "
            f"words of a text and would never be found; {remedy}"
        )


def _decoded(pair: ModelPair, tokens: list[int]) -> str:
    return str(pair.tokenizer.decode(tokens, skip_special_tokens=True))
