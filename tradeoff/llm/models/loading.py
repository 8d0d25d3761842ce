"""One model or tokenizer, from wherever it is: built in, a folder, a GGUF file or the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tradeoff.llm.models.builtin import (
    BUILTIN,
    BUILTIN_NAME,
    ModelUnavailableError,
    builtin_target_folder,
    status,
)
from tradeoff.llm.models.huggingface import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    code_in,
    is_gguf,
    moved,
    quiet_transformers,
    read_config,
    read_model,
    read_tokenizer,
    selects_positions,
)
from tradeoff.llm.models.placement import DeviceMap, left_out
from tradeoff.llm.models.quantised import check_quantisation

__all__ = ["BUILTIN", "load_model", "load_tokenizer", "model_name"]

_TOKENIZER = "tokenizer"
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(/[\w.-]+)?")


def load_tokenizer(spec: str | Path = BUILTIN, *, progress: bool = True) -> PreTrainedTokenizerBase:
    """A tokenizer without its model, whose weights are not read.

    `spec` is as for `load_pair` ("builtin", a folder, a .gguf file, a Hugging Face id), or the path of a
    tokenizer.json; a folder needs no more than tokenizer files.

    Raises ModelUnavailableError if it is not there or cannot be read.
    """
    location, is_hub_id = _locate(_TOKENIZER, spec, progress)
    with _loading(_TOKENIZER, spec, is_hub_id, progress):
        return read_tokenizer(location)


def load_model(
    role: str,
    spec: str | Path,
    revision: str | None,
    device: torch.device | DeviceMap,
    dtype: torch.dtype,
    progress: bool,
) -> tuple[str, PreTrainedModel, PreTrainedTokenizerBase]:
    """(name, model, tokenizer) of one side of a pair, in evaluation mode and without gradients.

    `role` is the argument that error messages name; `spec` and `revision` are as for
    `tradeoff.llm.load_pair`; `device` may be its device_map.

    Raises ModelUnavailableError if it is not there, cannot be read, cannot compute logits at chosen
    positions, or has quantised weights whose package is not installed; or if such weights, or a GGUF file,
    are to be spread over devices.
    """
    location, is_hub_id = _locate(role, spec, progress)
    with _loading(role, spec, is_hub_id, progress):
        tokenizer = read_tokenizer(location, revision)
        stays = not is_gguf(location) and check_quantisation(read_config(location, revision))
        spread = not isinstance(device, torch.device)
        if spread and (stays or is_gguf(location)):
            what = f"has weights that are quantised ({stays})" if stays else "is a GGUF file"
            raise ModelUnavailableError(
                f"{role}={str(spec)!r} {what}, which has not been checked over several devices; leave "
                "device_map out"
            )
        model = read_model(location, dtype, revision, device if stays or spread else None)
    if not selects_positions(model):
        raise ModelUnavailableError(
            f"{role}={str(spec)!r} is a {type(model).__name__}, which cannot compute logits at "
            "chosen positions; use another model family, such as Llama, Qwen, Mistral or Gemma"
        )
    missing = [] if isinstance(device, torch.device) else left_out(model, device)
    if missing:
        raise ModelUnavailableError(
            f"{role}={str(spec)!r}: device_map leaves out {', '.join(missing[:3])}; name a device for every "
            "part, or use 'auto'"
        )
    model.requires_grad_(False)
    return model_name(spec), moved(model, device) if isinstance(device, torch.device) else model, tokenizer


@contextmanager
def _loading(role: str, spec: str | Path, is_hub_id: bool, progress: bool) -> Iterator[None]:
    """Show what is being loaded; whatever goes wrong becomes a ModelUnavailableError."""
    # A download from the hub keeps its own progress bars: it may take minutes.
    shows_own_bars = progress and is_hub_id
    quiet = quiet_transformers(with_bars=shows_own_bars)
    try:
        with status(f"loading {role} {model_name(spec)} ...", progress and not shows_own_bars), quiet:
            yield
    except ModelUnavailableError:
        raise
    except Exception as error:  # the tokenizer's parser raises bare Exceptions
        needed = "tokenizer files" if role == _TOKENIZER else "config.json, safetensors and tokenizer files"
        remedy = f"pass a folder with {needed}, or a .gguf file"
        if is_hub_id:
            local = f"no folder or file {str(spec)!r} here"
            remedy = f"{local}; connect to the network, or download the model elsewhere and pass its folder"
        reason = (str(error).splitlines() or [""])[0]
        if isinstance(error, ImportError):
            raise ModelUnavailableError(f"{role}={str(spec)!r} could not be loaded: {reason}") from error
        code = code_in(Path(spec).expanduser())
        if code:
            raise ModelUnavailableError(
                f"{role}={str(spec)!r} comes with code of its own ({', '.join(code)}), which is never run "
                "here; use a model of a family that Transformers knows"
            ) from error
        raise ModelUnavailableError(
            f"{role}={str(spec)!r} could not be loaded ({type(error).__name__}: {reason}); {remedy}"
        ) from error


def _locate(role: str, spec: str | Path, progress: bool) -> tuple[Path | str, bool]:
    """Where `spec` is: (a folder or file that exists, False) or (a Hugging Face id, True)."""
    if spec == BUILTIN:
        return builtin_target_folder(progress=progress, weights=role != _TOKENIZER), False
    path = Path(spec).expanduser()
    if path.is_dir():
        if role != _TOKENIZER and not (path / "config.json").is_file():
            raise ModelUnavailableError(
                f"{role}={str(spec)!r} is a folder without config.json; pass the folder that holds "
                "config.json and the safetensors, or the path of a .gguf file itself"
            )
        return path, False
    if path.is_file() and (path.suffix == ".gguf" or (path.suffix == ".json" and role == _TOKENIZER)):
        return path, False
    if path.suffix == ".gguf" or isinstance(spec, Path) or not _HUB_ID.fullmatch(spec):
        raise ModelUnavailableError(
            f"{role}={str(spec)!r} does not exist here; pass 'builtin', an existing folder or "
            ".gguf file, or a Hugging Face id such as 'organisation/model'"
        )
    return spec, True


def model_name(spec: str | Path) -> str:
    """What records call the model of that specification."""
    return BUILTIN_NAME if spec == BUILTIN else str(spec)
