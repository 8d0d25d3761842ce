"""`model.generate(custom_generate=watermarked(...))`: the engine's rounds in place of Transformers' loop."""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from tradeoff.kernels import Method, Verify
from tradeoff.keyed import AnyKey, Key, Prf
from tradeoff.llm import (
    Engine,
    EngineSettings,
    GeneratedText,
    ModelPair,
    NgramDraft,
    decoder_only_output,
    input_device,
    left_out_by_generate,
    text_config,
)
from tradeoff.scheme import Scheme
from tradeoff.texts import UNMARKED, Prompt
from tradeoff.transformers.callers import Asked, check_search, lookahead_of
from tradeoff.transformers.translation import Ending, Laws, RowRules, ending_of, laws_of
from tradeoff.verdicts import ForeignConfig

__all__ = ["Watermarked", "watermarked"]

#: What `generate` hands to the forward pass and the engine sees to itself.
_OWN = frozenset({"attention_mask", "cache_position", "logits_to_keep", "position_ids", "use_cache"})
_CACHES = ("cache", "past_key_values")


def watermarked(
    key: AnyKey | None = None,
    method: str | Method | None = None,
    watermark: str | None = None,
    *,
    scheme: Scheme | None = None,
    prf: str | None = None,
    context_width: int | None = None,
    assistant_model: Any = None,
    streamer: Any = None,
    lookahead: int | None = None,
    verify: str = "token",
    seed: int | None = None,
    unmarked: int | None = None,
    probe: bool = True,
) -> Watermarked:
    """What `model.generate` takes as `custom_generate` to write watermarked text, with or without a draft.

    Transformers prepares everything from its own arguments: prompts with padding, temperature, cuts,
    penalties, processors, criteria to stop, lengths, `num_return_sequences`; what cannot be kept is refused
    by its name. With a `watermarking_config` that watermark is written, its key and settings taken from
    there, and with an assistant all of it (Transformers' own assisted generation loses SynthID's).

    Args:
        key: the key; if left out the one in the environment (TRADEOFF_KEY), or that of `watermarking_config`.
        method, watermark, prf, context_width: as of `Scheme.of`; or the scheme whole.
        scheme: instead of these.
        assistant_model: the draft, of the same tokenizer; may as well be given to `generate`, but not with
            several answers a prompt, which Transformers does not take together. Without one, and without
            `prompt_lookup_num_tokens`, use the method basic.
        streamer: as of `generate`, for one prompt; may as well be given there.
        lookahead: K, draft tokens a step; if left out `num_assistant_tokens`, where the call or a
            generation_config sets it, or `prompt_lookup_num_tokens`, else 3.
        verify: token by token, or block.
        seed: of the true randomness; if left out drawn from PyTorch's generator, as `torch.manual_seed` set
            it.
        unmarked: tokens at the beginning that are drawn truly at random, without a watermark; if left out
            none where all prompts differ, else 16 (docs/sampling.md).
        probe: whether models outside the table of verified ones are checked first.

    Raises:
        ValueError: for names that are unknown or do not fit, a scheme beside names, or numbers out of range.
    """
    if scheme is not None and any(one is not None for one in (method, watermark, prf, context_width)):
        raise ValueError(
            "scheme and names of its parts are given; leave method, watermark, prf and width out"
        )
    named = (method, watermark, prf, context_width) != (None,) * 4
    if scheme is None and named:
        scheme = Scheme.of(method, watermark, prf=prf, context_width=context_width)
    if seed is not None and not 0 <= seed < 1 << 63:
        raise ValueError(f"seed={seed} must be in 0 .. 2^63 - 1")
    for name, value, least in (("lookahead", lookahead, 1), ("unmarked", unmarked, 0)):
        if value is not None and (type(value) is not int or value < least):
            raise ValueError(f"{name}={value!r} must be a whole number of tokens, at least {least}")
    return Watermarked(
        key, scheme, assistant_model, streamer, lookahead, Verify(verify), seed, unmarked, probe
    )


class Watermarked:
    """Made by `watermarked`; holds no text, and may be used again and again.

    Attributes:
        texts: of the last call, in the order of its rows: drafts accepted, log-probabilities, and so on.
    """

    def __init__(
        self,
        key: AnyKey | None,
        scheme: Scheme | None,
        assistant: Any,
        streamer: Any,
        lookahead: int | None,
        verify: Verify,
        seed: int | None,
        unmarked: int | None,
        probe: bool,
    ):
        self._key, self._scheme = key, scheme
        self._assistant, self._streamer = assistant, streamer
        self._lookahead, self._verify = lookahead, verify
        self._seed, self._unmarked, self._probe = seed, unmarked, probe
        self.texts: list[GeneratedText] = []

    def __call__(
        self,
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Any:
        """What Transformers calls in the place of its own loop.

        Returns:
            Prompts and texts [rows, length], filled up with the token for padding; or an output object, as
            `generate` would.

        Raises:
            ValueError: for what cannot be kept, by its name.
        """
        frame = inspect.currentframe()
        caller = None if frame is None else frame.f_back
        given = left_out_by_generate(caller)
        assistant = self._assistant if self._assistant is not None else given.get("assistant_model")
        if model.config.is_encoder_decoder:
            raise ValueError(
                f"{type(model).__name__} has an encoder, which is not run here; use a decoder-only model"
            )
        asked = Asked.of(caller, model, assistant)
        check_search(generation_config, asked)
        _check_passes(model_kwargs, input_ids)
        config = generation_config.watermarking_config
        scheme, key = self._scheme_and_key(config, model)
        if config is not None and assistant is None and generation_config.prompt_lookup_num_tokens is None:
            # Nothing drafts: the same watermark without speculation.
            prf, width = scheme.prf, scheme.context_width
            scheme = Scheme.of("basic", scheme.method.decoder, prf=prf, context_width=width)
        prompts, padding = _prompts(input_ids, model_kwargs.get("attention_mask"))
        laws = laws_of(list(logits_processor), config is not None, padding)
        ending = ending_of(list(stopping_criteria))
        pair = _pair(model, assistant, generation_config, scheme)
        rows = dict(zip((one.id for one in prompts), map(tuple, input_ids.tolist()), strict=True))
        rules = RowRules(rows, dict(zip(rows, padding, strict=True)), laws, ending, input_device(model))
        looked_up = generation_config.prompt_lookup_num_tokens
        lookahead = lookahead_of(self._lookahead, asked, looked_up, _warn)
        settings = self._settings(scheme, key, laws, ending, rules, prompts, lookahead, input_ids.shape[1])
        shown, whole = self._shown(given.get("streamer"), input_ids)
        whole_length = ending.length if asked.longest == "max_length" else settings.max_tokens
        longest = asked.longest, whole_length
        engine = Engine(pair, settings, len(prompts), _warn, self._probe, longest)
        order = {prompt.id: place for place, prompt in enumerate(prompts)}
        self.texts = sorted(engine.generate(prompts, shown), key=lambda text: order[text.prompt.id])
        rules.check()
        if whole is not None:
            whole.end()
        sequences = _joined(input_ids, self.texts, generation_config, ending)
        return decoder_only_output(sequences) if generation_config.return_dict_in_generate else sequences

    def _scheme_and_key(self, config: Any, model: Any) -> tuple[Scheme, Prf | None]:
        """How to watermark, and the function under the key."""
        if config is None:
            scheme = Scheme.of() if self._scheme is None else self._scheme
            key = self._key
            if scheme.marks and key is None:
                key = Key.from_environment()
            return scheme, scheme.function(key) if scheme.marks and key is not None else None
        if self._scheme is not None or self._key is not None:
            raise ValueError(
                "watermarking_config names watermark and key already; leave key, method and watermark of "
                "watermarked(...) out, or the configuration"
            )
        foreign = ForeignConfig.of(config.to_dict(), int(text_config(model).vocab_size))
        return foreign.scheme, foreign.scheme.function(foreign.key.key)

    def _settings(
        self,
        scheme: Scheme,
        function: Prf | None,
        laws: Laws,
        ending: Ending,
        rules: RowRules,
        prompts: list[Prompt],
        lookahead: int,
        width: int,
    ) -> EngineSettings:
        unmarked = self._unmarked
        if unmarked is None:
            several = any(prompt.sample for prompt in prompts)
            unmarked = UNMARKED if several and scheme.marks else 0
        seed = self._seed
        if seed is None:
            seed = int(torch.randint(0, (1 << 63) - 1, ()))
        return EngineSettings(
            method=scheme.method,
            prf=function,
            sampling=laws.sampling,
            lookahead=lookahead,
            max_tokens=ending.length - width,
            seed=seed,
            verify=self._verify,
            rules=rules if rules.needed else None,
            unmarked=unmarked,
            eos=frozenset(ending.eos),
        )

    def _shown(self, given: Any, input_ids: torch.Tensor) -> tuple[Callable[[Prompt, list[int]], None], Any]:
        """What shows tokens as they come, and the streamer behind it."""
        if given is not None and self._streamer is not None:
            raise ValueError("streamer was given to generate and to watermarked; pass it to one of them")
        streamer = given if self._streamer is None else self._streamer
        if streamer is None:
            return (lambda *_: None), None
        if len(input_ids) > 1:
            raise ValueError(
                f"streamer takes one text at a time, and there are {len(input_ids)}; pass one prompt"
            )
        if given is None:
            streamer.put(input_ids.cpu())
        return (lambda _, tokens: streamer.put(torch.tensor(tokens))), streamer


def _check_passes(passed: dict[str, Any], input_ids: torch.Tensor) -> None:
    """Refuse arguments of the forward pass that the engine does not hand on."""
    for name in _CACHES:
        cache = passed.get(name)
        if cache is not None and cache.get_seq_length() > 0:
            raise ValueError(f"{name} holds tokens already; leave it out, and the prompt is read again")
    others = [
        name for name in passed if name not in _OWN and name not in _CACHES and passed[name] is not None
    ]
    if others:
        raise ValueError(f"{others[0]} is not handed on to the models here; leave it out")
    mask, positions = passed.get("attention_mask"), passed.get("position_ids")
    if positions is not None:
        usual = torch.ones_like(input_ids) if mask is None else mask.long()
        usual = (usual.cumsum(-1) - 1).clamp(min=0)
        if positions.ndim != 2:
            raise ValueError(
                f"position_ids of shape {list(positions.shape)} are not known here; leave them out"
            )
        told = positions.expand_as(usual)
        there = slice(None) if mask is None else mask.bool()
        if not torch.equal(told[there], usual[there]):
            raise ValueError(
                "position_ids are not those of the tokens in their order; leave position_ids out"
            )


def _pair(model: Any, assistant: Any, config: Any, scheme: Scheme) -> ModelPair:
    """The models, with what drafts."""
    draft: Any = model
    # What ends a text is told by the criteria, and nothing else is asked of one.
    tokenizer: Any = None
    name = "no draft"
    if scheme.method.drafts:
        looked_up = config.prompt_lookup_num_tokens
        if assistant is None and looked_up is None:
            raise ValueError(
                f"method={scheme.method.name!r} drafts tokens, and there is no assistant_model; pass one, to "
                "watermarked(...) where generate takes none, or method='basic', or prompt_lookup_num_tokens"
            )
        if assistant is not None and looked_up is not None:
            raise ValueError("prompt_lookup_num_tokens and assistant_model both draft; leave one of them out")
        draft = NgramDraft(config.max_matching_ngram_size or 2) if assistant is None else assistant
        name = draft.name if assistant is None else str(assistant.name_or_path or type(assistant).__name__)
    n = int(text_config(model).vocab_size)
    models = [model, *([assistant] if assistant is not None and scheme.method.drafts else [])]
    for one in models:
        if one.training:
            raise ValueError(f"{type(one).__name__} is in training mode, which is random; call its eval()")
        if int(text_config(one).vocab_size) != n:
            raise ValueError(
                f"assistant_model has {text_config(one).vocab_size} tokens and the model {n}; pass an "
                "assistant of the same tokenizer"
            )
    return ModelPair(
        draft=draft,
        target=model,
        tokenizer=tokenizer,
        draft_name=name,
        target_name=str(model.name_or_path or type(model).__name__),
        device=input_device(model),
        dtype=model.dtype,
        vocabulary_size=n,
    )


def _prompts(input_ids: torch.Tensor, mask: torch.Tensor | None) -> tuple[list[Prompt], list[int]]:
    """Prompts without padding, and how many tokens of it each had."""
    lengths = [input_ids.shape[1]] * len(input_ids)
    if mask is not None:
        real = mask.bool()
        if bool((real[:, :-1] & ~real[:, 1:]).any()) or not bool(real[:, -1].all()):
            raise ValueError("attention_mask leaves out tokens behind the first real one; pad on the left")
        lengths = real.sum(dim=1).tolist()
    before: Counter[tuple[int, ...]] = Counter()
    prompts = []
    for place, (row, length) in enumerate(zip(input_ids.tolist(), lengths, strict=True)):
        ids = tuple(row[len(row) - length :])
        prompts.append(Prompt(str(place), "", ids, before[ids]))
        before[ids] += 1
    return prompts, [input_ids.shape[1] - length for length in lengths]


def _joined(input_ids: torch.Tensor, texts: list[GeneratedText], config: Any, ending: Ending) -> torch.Tensor:
    """Prompts with their texts: [rows, longest]."""
    longest = max(len(text.token_ids) for text in texts)
    filling = config.pad_token_id
    if filling is None:
        filling = next(iter(ending.eos), 0)
    lines = [text.token_ids + [filling] * (longest - len(text.token_ids)) for text in texts]
    return torch.cat([input_ids, torch.tensor(lines, dtype=input_ids.dtype, device=input_ids.device)], dim=1)


def _warn(words: str) -> None:
    warnings.warn(words, stacklevel=4)
