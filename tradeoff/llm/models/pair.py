"""Draft/target pairs of causal language models for speculative decoding.

A pair is one target, one draft and the tokenizer that both agree on. Either model is the built-in
one, a local folder, a GGUF file or a Hugging Face id; a draft can also be the target with some of
its layers left out, which costs no memory. Weights are read from safetensors or GGUF only, never
from pickles, and code that comes with a model is never run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from tradeoff.display import stderr
from tradeoff.llm.models.builtin import BUILTIN, ModelDownloadError, ModelUnavailableError
from tradeoff.llm.models.huggingface import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    next_logits,
    output_projection,
    text_config,
)
from tradeoff.llm.models.jump import jump_draft
from tradeoff.llm.models.layer_skip import parse_skip, skip_layers
from tradeoff.llm.models.loading import load_model
from tradeoff.llm.models.ngram import NgramDraft, parse_ngram
from tradeoff.llm.models.placement import (
    DeviceMap,
    check_device_map,
    computes_on_cuda,
    devices_of,
    held_tensors,
    input_device,
    keeps_elsewhere,
)
from tradeoff.llm.models.quantised import quantisation
from tradeoff.llm.models.token_ids import forbid, token_ids

__all__ = [
    "BUILTIN_DRAFT_SKIPPED_LAYERS",
    "ModelDownloadError",
    "ModelPair",
    "ModelUnavailableError",
    "TokenizerMismatchError",
    "check_tokenizers",
    "load_pair",
    "logits_at",
    "skip_layers",
    "weights_fingerprint",
]

#: The layers (of 30) that the built-in draft leaves out of the built-in target: about 0.57 of mean
#: overlap remains at temperature 1.0, a realistic acceptance rate for a draft that is not distilled.
BUILTIN_DRAFT_SKIPPED_LAYERS = (14, 16, 17, 18, 26)
_JUMP = "jump"
_DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "  Two spaces,\ta tab,\n\na blank line and trailing space ",
    "In 2024, 3.14159 x 1,000,000 = ?",
    "naïve café — “quotes”, Ελληνικά, 漢字, 🙂",
    "def f(x):\n    return {'a': [x, None]}",
)


class TokenizerMismatchError(ValueError):
    """Draft and target number their tokens differently, so no acceptance rule can compare them."""


@dataclass(frozen=True, eq=False)
class ModelPair:
    """A draft and a target in evaluation mode, in one dtype, with their tokenizer.

    `device` is where ids go in, logits come out and laws are computed, of both; layers of the target may lie
    on others (`tradeoff.llm.models.placement`).

    Instead of a model the draft may be an `NgramDraft`, which looks up what stood in the text before.
    `vocabulary_size` is the number n of tokens both can predict; columns of either model's logits
    beyond it are padding and belong to no token. Ids below it that the tokenizer has no token for (holes) are
    given no mass by either model of `load_pair`.
    """

    draft: PreTrainedModel | NgramDraft
    target: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    draft_name: str
    target_name: str
    device: torch.device
    dtype: torch.dtype
    vocabulary_size: int

    @property
    def lookup(self) -> NgramDraft | None:
        """What drafts in place of a model, if that is looked up."""
        return self.draft if isinstance(self.draft, NgramDraft) else None

    @property
    def draft_model(self) -> PreTrainedModel:
        """The draft, which must be a model.

        Raises:
            ValueError: if it is looked up instead.
        """
        if isinstance(self.draft, NgramDraft):
            raise ValueError(
                f"draft={self.draft_name!r} has no laws of its own to read; use a draft model, such as "
                "draft='skip:1,3'"
            )
        return self.draft

    def describe(self) -> str:
        """One line: both names and parameter counts, device, dtype and vocabulary size."""
        return (
            f"target {self.target_name} ({_describe_size(self.target)}), "
            f"draft {self._describe_draft()}, "
            f"{', '.join(devices_of(self.target)) or self.device}, {str(self.dtype).removeprefix('torch.')}, "
            f"vocabulary {self.vocabulary_size}"
        )

    def _describe_draft(self) -> str:
        if isinstance(self.draft, NgramDraft):
            return f"{self.draft_name} (looked up in prompt and text)"
        if quantisation(text_config(self.draft)):
            return f"{self.draft_name} ({_describe_size(self.draft)})"
        held = {p.data_ptr() for p in self.target.parameters()}
        size = _size(self.draft)
        own = sum(p.numel() for p in self.draft.parameters() if p.data_ptr() not in held)
        shared = ", sharing the weights of the target" if own < size else ""
        except_for = f" except {_millions(own)} of its own" if 0 < own < size else ""
        return f"{self.draft_name} ({_millions(size)} parameters{shared}{except_for})"


def load_pair(
    target: str | Path = BUILTIN,
    draft: str | Path = BUILTIN,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    device_map: DeviceMap | None = None,
    target_revision: str | None = None,
    draft_revision: str | None = None,
    progress: bool = True,
) -> ModelPair:
    """Load a draft and a target that share a tokenizer, ready for inference.

    `target` and `draft` are each "builtin" (SmolLM2-135M-Instruct), a local folder with
    safetensors, the path of a .gguf file, or a Hugging Face id (`target_revision`, `draft_revision`
    name its branch, tag or commit). `draft="skip:14,16"` is the target without those layers,
    counted from 0, and shares its weights; "builtin" for both is the built-in target and its
    layer-skip draft. `draft="jump"` is the fast draft of the built-in target: 4 of its 30 layers, on
    its weights, and a map fitted in place of the others (`tradeoff.llm.models.jump`). `draft="ngram"`, or
    "ngram:3" with the number of tokens that must agree, is no model: it drafts what followed them in the
    text before (`tradeoff.llm.models.ngram`). A folder that is itself called "builtin", "jump" or "ngram" is
    "./builtin", "./jump" or "./ngram".

    Weights that are quantised stay so; `dtype` is then of all else, and the package that they were quantised
    with must be installed.

    `device` defaults to cuda where there is one, else cpu; `dtype` to bfloat16 on cuda, else
    float32. `device_map` in place of `device` spreads the target over devices, as Transformers and accelerate
    place it: "auto", "balanced", "balanced_low_0", "sequential", or a mapping from names of its parts to
    devices. A draft model stands where the target's input embeddings are. With `progress`, each step and the
    finished pair are shown on standard error.

    Raises ModelUnavailableError if a model is not there or cannot be read, TokenizerMismatchError
    if the tokenizers differ, and ValueError for a device, dtype or layer that does not exist,
    draft="jump" of another target than the built-in one, layers left out of weights that are quantised
    or offloaded, or a `device_map` that cannot be kept.
    """
    if draft == _JUMP and target != BUILTIN:
        raise ValueError(
            f"draft='jump' was fitted for target='builtin' and does not fit target={str(target)!r}; use a "
            "layer-skip draft of that target, such as draft='skip:1,3'"
        )
    if device_map is None:
        chosen_device = _choose_device(device)
    else:
        check_device_map(device_map, device)
        _check_spread_draft(draft, device_map)
        chosen_device = torch.device("cuda" if computes_on_cuda(device_map) else "cpu")
    chosen_dtype = _choose_dtype(dtype, chosen_device)
    skipped = _skipped_layers(target, draft)
    looked_up = parse_ngram(draft) if isinstance(draft, str) else None

    target_name, target_model, tokenizer = load_model(
        "target", target, target_revision, device_map or chosen_device, chosen_dtype, progress
    )
    chosen_device = input_device(target_model) if device_map else chosen_device
    draft_model: PreTrainedModel | NgramDraft
    if looked_up is not None:
        draft_model, draft_name = looked_up, looked_up.name
    elif draft == _JUMP:
        draft_model = jump_draft(target_model)
        draft_name = f"{target_name} jump (layers 0,1,28,29 + fitted map)"
    elif skipped is not None:
        _check_whole(target, target_model, draft)
        _check_at_hand(target, target_model, draft)
        draft_model = skip_layers(target_model, skipped)
        draft_name = f"{target_name} without layers {','.join(map(str, skipped))}"
    else:
        draft_name, draft_model, draft_tokenizer = load_model(
            "draft", draft, draft_revision, chosen_device, chosen_dtype, progress
        )
        check_tokenizers(tokenizer, draft_tokenizer)

    ids = token_ids(tokenizer)
    vocabulary_size = min(max(ids) + 1, *_logits_widths(target_model, draft_model))
    holes = sorted(set(range(vocabulary_size)) - ids)
    if holes:
        for model in (target_model, draft_model):
            if not isinstance(model, NgramDraft):
                forbid(model, holes)

    pair = ModelPair(
        draft=draft_model,
        target=target_model,
        tokenizer=tokenizer,
        draft_name=draft_name,
        target_name=target_name,
        device=chosen_device,
        dtype=chosen_dtype,
        vocabulary_size=vocabulary_size,
    )
    if progress:
        stderr().print(pair.describe(), soft_wrap=True)
    return pair


@torch.no_grad()
def logits_at(
    model: PreTrainedModel,
    ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    positions: torch.Tensor,
    vocab: int | None = None,
) -> torch.Tensor:
    """Next-token logits at chosen positions of right-padded texts, in float32.

    `ids: [B, T]` token ids; `attention_mask: [B, T]`, 1 on text and 0 on padding (None: no
    padding); `positions: [B, K]` indices into T, so that result [b, k] predicts the token after
    ids[b, positions[b, k]]; `vocab` cuts padded columns off. Returns `[B, K, vocab]` on the model's
    device.

    The output projection is applied to the chosen positions alone: memory grows with K, not with T.
    Raises ValueError for shapes that do not fit, left padding, or positions outside a text.
    """
    device = input_device(model)
    ids, positions = ids.to(device), positions.to(device)
    if ids.ndim != 2 or positions.ndim != 2 or ids.shape[0] != positions.shape[0]:
        raise ValueError(
            f"ids {list(ids.shape)} and positions {list(positions.shape)} must be [B, T] and "
            "[B, K] with one B; add a batch axis to a single text"
        )
    lengths = torch.full_like(ids[:, :1], ids.shape[1])
    if attention_mask is not None:
        mask = attention_mask.to(device).bool()
        if mask.shape != ids.shape:
            raise ValueError(
                f"attention_mask {list(mask.shape)} must have the shape of ids, {list(ids.shape)}"
            )
        if (mask[:, 1:] & ~mask[:, :-1]).any():
            raise ValueError("attention_mask has text after padding; pad on the right")
        lengths = mask.sum(dim=1, keepdim=True)
    if ((positions < 0) | (positions >= lengths)).any():
        raise ValueError(
            f"positions {positions.tolist()} must lie inside the texts, whose lengths are "
            f"{lengths.flatten().tolist()}; count from 0 and leave padding out"
        )
    # The mask is not passed on: causal attention never looks right, where all the padding is.
    return next_logits(model, ids, positions)[..., :vocab].float()


def check_tokenizers(target: PreTrainedTokenizerBase, draft: PreTrainedTokenizerBase) -> None:
    """Raise TokenizerMismatchError unless both agree, id by id and on a few probe texts."""
    target_tokens = {index: token for token, index in target.get_vocab().items()}
    draft_tokens = {index: token for token, index in draft.get_vocab().items()}
    remedy = (
        "use a draft of the target's own model family, or a layer-skip draft of the target such as "
        "draft='skip:1,3'"
    )
    differing = sorted(
        index
        for index in target_tokens.keys() | draft_tokens.keys()
        if target_tokens.get(index) != draft_tokens.get(index)
    )
    if differing:
        shown = ", ".join(
            f"{i}: target {target_tokens.get(i)!r}, draft {draft_tokens.get(i)!r}" for i in differing[:5]
        )
        raise TokenizerMismatchError(
            f"draft and target tokenizers differ at {len(differing)} ids ({shown}); {remedy}"
        )
    for probe in _PROBES:
        by_target, by_draft = target(probe)["input_ids"], draft(probe)["input_ids"]
        if by_target != by_draft:
            raise TokenizerMismatchError(
                f"draft and target tokenizers have one vocabulary but split {probe!r} differently: "
                f"target {by_target}, draft {by_draft}; {remedy}"
            )


def weights_fingerprint(model: torch.nn.Module) -> str:
    """Of the first numbers of every tensor: tells models apart that were saved under one path."""
    digest = hashlib.sha256()
    for name, tensor in held_tensors(model):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _skipped_layers(target: str | Path, draft: str | Path) -> tuple[int, ...] | None:
    """The layers that `draft` leaves out of the target; None if it is a model of its own."""
    if draft == BUILTIN and target == BUILTIN:
        return BUILTIN_DRAFT_SKIPPED_LAYERS
    return parse_skip(draft) if isinstance(draft, str) else None


def _check_whole(target: str | Path, model: PreTrainedModel, draft: str | Path) -> None:
    """Refuse a draft of fewer layers of quantised weights, which keep what they need beside the weights."""
    quantised = quantisation(text_config(model))
    if quantised:
        raise ValueError(
            f"draft={str(draft)!r} leaves layers out of target={str(target)!r}, whose weights are quantised "
            f"({quantised}); use a draft model, or draft='ngram'"
        )


def _check_at_hand(target: str | Path, model: PreTrainedModel, draft: str | Path) -> None:
    """Refuse a draft of fewer layers of weights that are fetched for every pass: it would hold copies."""
    if keeps_elsewhere(model):
        raise ValueError(
            f"draft={str(draft)!r} shares the weights of target={str(target)!r}, some of which are offloaded "
            f"({', '.join(devices_of(model))}); use a draft model, or draft='ngram', or more devices"
        )


def _check_spread_draft(draft: str | Path, device_map: DeviceMap) -> None:
    if draft == _JUMP:
        raise ValueError(
            f"draft='jump' is for a target on one device, not device_map={device_map!r}; leave device_map out"
        )


def _choose_device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is not a device; use 'cpu', 'cuda' or 'mps'") from error
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (chosen.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(chosen.type, False):
        raise ValueError(
            f"device={str(device)!r} is not available here; leave it out to choose automatically, "
            "or use 'cpu'"
        )
    return chosen


def _choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    if dtype is None:
        # On a CPU float32 costs little and is exact enough to compare with theory: bfloat16 alone
        # moves the next-token distributions of a small model by about 2% in total variation.
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    chosen = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in _DTYPES.values():
        raise ValueError(f"dtype={str(dtype)!r} is not supported; use one of {', '.join(_DTYPES)}")
    return chosen


def _logits_widths(*models: PreTrainedModel | NgramDraft) -> list[int]:
    return [
        int(output_projection(model).weight.shape[0]) for model in models if not isinstance(model, NgramDraft)
    ]


def _describe_size(model: PreTrainedModel) -> str:
    quantised = quantisation(text_config(model))
    # Packed weights are fewer numbers than there are parameters.
    return f"quantised, {quantised}" if quantised else f"{_millions(_size(model))} parameters"


def _size(model: PreTrainedModel) -> int:
    return sum(p.numel() for p in model.parameters())


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.1f}M"
