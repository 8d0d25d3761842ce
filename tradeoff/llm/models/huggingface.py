"""The one door to Transformers: loaders, forward passes, caches, configurations, as each release spells them.

No other module imports Transformers or names its arguments, so what a release renames is mended here, and
`tests/llm/models/test_huggingface.py` says what. `docs/versions.md` lists the releases that were run.
"""

from __future__ import annotations

import copy
import inspect
import io
import json
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    GenerationMixin,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation import GenerateDecoderOnlyOutput
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import logging

from tradeoff.llm.models.placement import DeviceMap, input_device

__all__ = [
    "Cache",
    "CacheLayer",
    "LayeredCache",
    "PreTrainedModel",
    "PreTrainedTokenizerBase",
    "asked_of_generate",
    "attention_mask",
    "code_in",
    "control_tokens",
    "copied_cache",
    "decoder_only_output",
    "end_token_ids",
    "final_states",
    "generation_settings",
    "grouped_attention",
    "growing_cache",
    "has_chat_format",
    "is_gguf",
    "left_out_by_generate",
    "longest_context",
    "masks_rows",
    "moved",
    "next_logits",
    "output_projection",
    "quiet_transformers",
    "random_model",
    "read_config",
    "read_model",
    "read_tokenizer",
    "render_chat",
    "selects_positions",
    "setting",
    "takes_positions",
    "text_config",
    "unrollable_layers",
    "windows",
]

#: What a forward pass calls its key/value cache: `cache` since Transformers 5.24, where the older name is
#: deprecated (and gone from 5.40 on).
_CACHE_ARGUMENTS = ("cache", "past_key_values", "cache_params")
_GGUF = ".gguf"
#: Not the default, which asks on a terminal whether to run the Python files that come with a model.
_NO_CODE = {"trust_remote_code": False}
#: What Transformers calls attention by PyTorch's own function.
_SDPA = "sdpa"
#: Settings that attention with a mask does not read, or that are seen to here; with another it is left to
#: Transformers.
_HARMLESS = frozenset(
    [
        "scaling",
        "is_causal",
        "sliding_window",
        "position_ids",
        "use_cache",
        "cache",
        "past_key_values",
        "cache_position",
    ]
)
#: Tokens of a row up to which heads are grouped.
_MOST_GROUPED = 32
#: Layers of plain keys and values, which leave the tensors they had as they are.
_NEW_TENSORS = (DynamicLayer, DynamicSlidingWindowLayer)
#: Weights that are not in the files as they should be, in what Transformers tells about loading.
_LACKING = ("missing_keys", "mismatched_keys")


class CacheLayer(CacheLayerMixin):
    """One layer of a cache of our own: subclasses keep the entries, this class answers Transformers."""

    @abstractmethod
    def write(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep new entries [rows, heads, tokens, size]; return all that the pass may read, of one shape."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Positions that the pass under way may read."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Positions that there is room for."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to prepare: `write` makes room when it is needed."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `write`."""
        return self.write(key_states, value_states)

    def get_seq_length(self) -> int:
        """See `length`."""
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many positions a mask covers, and the first of them."""
        return self.length, 0

    def get_max_length(self) -> int:
        """See `capacity`."""
        return self.capacity


class LayeredCache(Cache):
    """A cache of the given layers, one for every layer of a model."""

    def __init__(self, layers: Sequence[CacheLayer]):
        super().__init__(layers=list(layers))


@contextmanager
def quiet_transformers(*, with_bars: bool = False) -> Iterator[None]:
    """Transformers' own warnings are off within the block, and its progress bars unless `with_bars`."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not with_bars:
        logging.disable_progress_bar()
    # The GGUF reader draws its bar with plain tqdm, which has no switch once imported.
    drawn_anyway = nullcontext() if with_bars else redirect_stderr(io.StringIO())
    try:
        with warnings.catch_warnings(), drawn_anyway:
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def read_model(
    location: str | Path,
    dtype: torch.dtype,
    revision: str | None = None,
    placed: torch.device | DeviceMap | None = None,
) -> PreTrainedModel:
    """A causal language model in evaluation mode, all weights in `dtype` but those that are quantised.

    Args:
        location: a folder with config.json and safetensors, a .gguf file (unpacked), or a Hugging Face id.
        dtype: of the weights.
        revision: branch, tag or commit on the hub.
        placed: on a device, for quantised weights, which must not be moved later, or over several; None: to
            be moved.

    Raises:
        ValueError: for weights that are missing or of another shape, which Transformers would draw at random.
        Exception: whatever Transformers and its readers raise for files that they cannot read.
    """
    reader: Any = AutoModelForCausalLM.from_pretrained
    common = {"dtype": dtype, "output_loading_info": True, "ignore_mismatched_sizes": True, **_NO_CODE}
    if is_gguf(location):
        path = Path(location)
        unpacked = GgufConfig(dequantize=True)
        model, info = reader(path.parent, gguf_file=path.name, quantization_config=unpacked, **common)
    else:
        where = {"": placed} if isinstance(placed, torch.device) else placed
        given = {} if where is None else {"device_map": where}
        model, info = reader(location, revision=revision, use_safetensors=True, **given, **common)
    lacking = sorted(key if isinstance(key, str) else str(key[0]) for part in _LACKING for key in info[part])
    if lacking:
        raise ValueError(
            f"{len(lacking)} weights are missing or of another shape ({', '.join(lacking[:3])}); they would "
            "be random numbers"
        )
    return model.eval()


def read_config(location: str | Path, revision: str | None = None) -> Any:
    """The configuration of a model in a folder or under a Hugging Face id."""
    return AutoConfig.from_pretrained(location, revision=revision, **_NO_CODE)


def random_model(config: Any, attention: str) -> PreTrainedModel:
    """A model of a configuration with weights as they are initialised, in float32, in evaluation mode.

    Args:
        config: of the part that reads and writes text.
        attention: what it is to compute attention with, as from `attention_name`.
    """
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attention).eval()


def moved(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """The model, on a device."""
    anywhere: Any = model
    return anywhere.to(device)


def read_tokenizer(location: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, a .gguf file, a tokenizer.json or under a Hugging Face id.

    Raises:
        Exception: whatever Transformers and its readers raise for files that they cannot read.
    """
    if is_gguf(location):
        path = Path(location)
        return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, **_NO_CODE)
    if isinstance(location, Path) and location.is_file():
        return PreTrainedTokenizerFast(tokenizer_file=str(location))
    return AutoTokenizer.from_pretrained(location, revision=revision, **_NO_CODE)


def code_in(folder: Path) -> list[str]:
    """Python files that a model or tokenizer folder asks to be run, by its settings; none ever is."""
    found = set()
    for name in ("config.json", "tokenizer_config.json"):
        try:
            classes = json.loads((folder / name).read_text(encoding="utf-8")).get("auto_map", {}).values()
        except (OSError, ValueError, AttributeError):
            continue
        for group in classes:
            parts = group if isinstance(group, list) else [group]
            found |= {f"{part.split('--')[-1].split('.')[0]}.py" for part in parts if isinstance(part, str)}
    return sorted(found)


def left_out_by_generate(frame: FrameType | None) -> dict[str, Any]:
    """`assistant_model` and `streamer` of the `generate` that runs in a frame: it hands them to loops of its
    own, and drops them where `custom_generate` is a callable (5.23, 5.24). Empty for another frame."""
    if frame is None or not _runs_generate(frame):
        return {}
    return {name: frame.f_locals.get(name) for name in ("assistant_model", "streamer")}


def asked_of_generate(frame: FrameType | None) -> dict[str, Any] | None:
    """What the call of the `generate` that runs in a frame sets itself: its arguments, and what the
    GenerationConfig has that was passed, which is filled up with defaults by then. None for another frame."""
    if frame is None or not _runs_generate(frame):
        return None
    config, outer = None, frame.f_back
    # `torch.no_grad` stands around it, and has the arguments as they were given.
    if outer is not None and outer.f_code.co_name == "decorate_context":
        positional, named = outer.f_locals["args"], outer.f_locals["kwargs"]
        config = named.get("generation_config", positional[2] if len(positional) > 2 else None)
    told: dict[str, Any] = {} if config is None else config.to_dict()
    told |= frame.f_locals.get("kwargs", {})
    return {name: value for name, value in told.items() if value is not None}


def _runs_generate(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    return frame.f_code.co_name == "generate" and module == GenerationMixin.__module__


def decoder_only_output(sequences: torch.Tensor) -> Any:
    """What `generate` returns with `return_dict_in_generate`, of tokens alone."""
    tokens: Any = sequences
    return GenerateDecoderOnlyOutput(sequences=tokens)


def generation_settings(model: PreTrainedModel) -> dict[str, Any]:
    """What a model's own settings of generation say, without what is left to Transformers' defaults."""
    told: dict[str, Any] = model.generation_config.to_diff_dict() if model.can_generate() else {}
    return {name: value for name, value in told.items() if value is not None}


def has_chat_format(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether `render_chat` has anything to say."""
    return bool(tokenizer.chat_template)


def render_chat(tokenizer: PreTrainedTokenizerBase, question: str) -> str | None:
    """`question` in the tokenizer's chat format, up to where an answer begins; None if it has no format.

    Raises:
        ValueError: with what the format says of a question that it does not take.
    """
    if not has_chat_format(tokenizer):
        return None
    messages = [{"role": "user", "content": question}]
    try:
        return str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    except Exception as error:
        # The format is a program that came with the tokenizer, and may raise whatever it likes.
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Tokens that steer a model rather than stand for words, spelled out, by their ids."""
    added = {index: token.content for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
    return added | {index: str(token) for index, token in named}


def selects_positions(model: PreTrainedModel) -> bool:
    """Whether the model can compute logits at chosen positions alone, which `next_logits` needs."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def takes_positions(model: PreTrainedModel) -> bool:
    """Whether the positions of tokens can be given to the model, which not all count from their cache."""
    return "position_ids" in inspect.signature(model.forward).parameters


def next_logits(
    model: PreTrainedModel,
    ids: torch.Tensor,
    keep: int | torch.Tensor,
    *,
    cache: Cache | None = None,
    positions: torch.Tensor | None = None,
    mask: torch.Tensor | dict[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Next-token logits after chosen tokens of `ids`.

    Args:
        model: for which `selects_positions` holds.
        ids: token ids [rows, m]; with a cache, those that it does not hold yet.
        keep: how many last tokens, or the indices of the tokens, [rows, K].
        cache: what the model has read before; it takes up the new tokens.
        positions: of the tokens in their texts, [rows, m]; counted from what the cache holds if None.
        mask: made by `attention_mask`, or one for each kind of layer; causal if None.

    Returns:
        [rows, keep or K, columns of the output projection], in the dtype of the model, where the ids are.

    Raises:
        ValueError: for a cache with a model that takes none under a name known here.
    """
    logits: torch.Tensor = model(
        input_ids=ids, logits_to_keep=keep, **_history(model, cache, positions=positions, mask=mask)
    ).logits
    return logits.to(ids.device)


def final_states(model: PreTrainedModel, ids: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
    """What the output projection is applied to, [rows, m, hidden]; arguments as for `next_logits`."""
    return model.base_model(input_ids=ids, **_history(model.base_model, cache)).last_hidden_state


def output_projection(model: PreTrainedModel) -> torch.nn.Linear:
    """From final states to logits: weight [columns, hidden]."""
    projection: Any = model.get_output_embeddings()
    return projection


def growing_cache(model: PreTrainedModel) -> Cache:
    """An empty cache that grows with what the model reads, all rows in step."""
    return DynamicCache(config=model.config)


def copied_cache(cache: Cache) -> Cache:
    """A cache of the same content as one of `growing_cache`, which later passes with that one leave alone."""
    twin = copy.copy(cache)
    # Keys and values are put into new tensors by every pass; recurrent states are overwritten in place.
    twin.layers = [
        copy.copy(layer) if type(layer) in _NEW_TENSORS else copy.deepcopy(layer) for layer in cache.layers
    ]
    return twin


def unrollable_layers(model: PreTrainedModel) -> list[str]:
    """Kinds of cache layers that are no plain keys and values, which cannot be rolled back; sorted."""
    layers = DynamicCache(config=model.config).layers
    return sorted({type(layer).__name__ for layer in layers if type(layer) not in _NEW_TENSORS})


def masks_rows(model: PreTrainedModel) -> bool:
    """Whether the model's attention takes a mask of its own for every row: see `attention_mask`."""
    return attention_name(model) in (_SDPA, "eager")


def attention_name(model: PreTrainedModel) -> str:
    """What the model computes attention with, such as "sdpa"."""
    return str(text_config(model)._attn_implementation)


def windows(model: PreTrainedModel) -> list[int | None]:
    """Of every layer, how many positions its attention sees at once; None: all, or it keeps no such cache."""
    layers = DynamicCache(config=model.config).layers
    return [
        int(layer.sliding_window) if isinstance(layer, DynamicSlidingWindowLayer) else None
        for layer in layers
    ]


def attention_mask(model: PreTrainedModel, reads: torch.Tensor) -> torch.Tensor:
    """A mask as the attention of the model takes it.

    Args:
        model: for which `masks_rows` holds.
        reads: booleans [rows, m, length]: which positions each token attends to.

    Returns:
        [rows, 1, m, length].
    """
    reads = reads[:, None]
    by_kernel = attention_name(model) == _SDPA
    if by_kernel and reads.device.type != "cpu":
        return reads
    # Eager attention adds its mask to the scores: added booleans would mask nothing. Kernels on CPUs make the
    # same of booleans, but in every layer again.
    least = -torch.inf if by_kernel else torch.finfo(model.dtype).min
    return torch.zeros_like(reads, dtype=model.dtype).masked_fill(~reads, least)


@contextmanager
def grouped_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within the block, heads that share keys and values read them without copies of them, on CPUs.

    Results differ by rounding only. The function behind the name "sdpa" is another one within the block; the
    name stays, since families ask for it. What has not been looked at is passed on.
    """
    plain = ALL_ATTENTION_FUNCTIONS[_SDPA]
    if input_device(model).type != "cpu" or plain not in (sdpa_attention_forward, _grouped_attention):
        yield
        return
    ALL_ATTENTION_FUNCTIONS.register(_SDPA, _grouped_attention)
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS.register(_SDPA, sdpa_attention_forward)


def _grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Heads that share keys and values are further tokens of one head; arguments as Transformers has them."""
    rows, heads, tokens, size = query.shape
    groups = heads // key.shape[1]
    others = [settings[name] for name in settings.keys() - _HARMLESS]
    left = any(isinstance(other, torch.Tensor) or other for other in others)
    # Of many tokens the repeated mask would be larger than the copies that it saves.
    left = left or groups == 1 or tokens > _MOST_GROUPED
    if attention_mask is None or attention_mask.shape[1] != 1 or left:
        plain: Any = sdpa_attention_forward
        return plain(module, query, key, value, attention_mask, **settings)
    found = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], groups * tokens, size),
        key,
        value,
        attn_mask=attention_mask.repeat(1, 1, groups, 1),
        scale=settings.get("scaling"),
    )
    return found.reshape(rows, heads, tokens, value.shape[-1]).transpose(1, 2).contiguous(), None


def text_config(model: PreTrainedModel) -> Any:
    """The configuration of the part that reads and writes text."""
    return model.config.get_text_config()


def setting(config: Any, name: str) -> Any:
    """What a configuration says of something; None if its family does not know it."""
    # Families have settings of their own, some under other names: asking is the only way to know.
    return getattr(config, name, None)


def longest_context(model: PreTrainedModel) -> int | None:
    """Positions that a text may have; None if the configuration sets no limit.

    A window of attention is none: texts go on beyond it.
    """
    limit = setting(text_config(model), "max_position_embeddings")
    return int(limit) if limit else None


def end_token_ids(model: PreTrainedModel) -> frozenset[int] | None:
    """Tokens that end a text, from the model's generation settings; None if they name none."""
    config = model.generation_config
    ids = config.eos_token_id if config is not None else None
    return None if ids is None else frozenset([ids] if isinstance(ids, int) else ids)


def _history(
    module: torch.nn.Module,
    cache: Cache | None,
    *,
    positions: torch.Tensor | None = None,
    mask: torch.Tensor | dict[str, torch.Tensor] | None = None,
) -> dict[str, Any]:
    """Arguments of a forward pass about what came before; those that say nothing are left out."""
    given: dict[str, Any] = {"position_ids": positions, "attention_mask": mask}
    given = {name: value for name, value in given.items() if value is not None}
    given["use_cache"] = cache is not None
    if cache is not None:
        given[_cache_argument(type(module).forward)] = cache
    return given


@lru_cache
def _cache_argument(forward: Callable[..., Any]) -> str:
    """What a forward pass calls its cache."""
    parameters = inspect.signature(forward).parameters
    for name in _CACHE_ARGUMENTS:
        if name in parameters:
            return name
    raise ValueError(
        f"{forward.__qualname__} takes no key/value cache by the name of {' or '.join(_CACHE_ARGUMENTS)}; "
        "use another model family, such as Llama, Qwen, Mistral or Gemma"
    )


def is_gguf(location: str | Path) -> bool:
    """Whether that is the path of a GGUF file."""
    return isinstance(location, Path) and location.suffix == _GGUF and not location.is_dir()
