"""The whole chain on a machine with a GPU: tests, numbers, speed, acceptance, profiles.

    python -m tests.benchmarks.gpu [--out FOLDER] [--target NAME] [--draft NAME] [--dtype bfloat16]

Writes gpu_suite.csv, gpu_numbers.csv, gpu_speed.csv, gpu_acceptance.csv, gpu_profile.csv and the profiles as
text, row by row; started again with the same settings it goes on where it stopped. It has not been run on a
GPU yet. With --device cpu it tries itself out, and its figures are those of a CPU, as every row says.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks.gpu import numbers, speed
from tests.benchmarks.gpu.results import Results, Step
from tradeoff.display.console import exit_on_bad_input, stderr, stdout
from tradeoff.kernels import METHODS
from tradeoff.llm.models.pair import BUILTIN, load_pair

#: Where tests of a device are, and a part of their names.
_TESTS, _NAMED = ("tests/keyed", "tests/llm/models", "tests/devices"), "cuda"


@dataclass(frozen=True)
class Settings:
    """What is measured, as the options have it."""

    target: str
    draft: str
    device: str | None
    dtype: str | None
    methods: Sequence[str]
    batches: Sequence[int]
    tokens: int


def main(
    out: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path("gpu-results"),
    target: Annotated[str, typer.Option(help="Target model.")] = BUILTIN,
    draft: Annotated[str, typer.Option(help="Draft model.")] = BUILTIN,
    device: Annotated[str | None, typer.Option(help="cuda, or cpu to try it out.")] = "cuda",
    dtype: Annotated[str | None, typer.Option(help="Default: bfloat16 on cuda.")] = None,
    methods: Annotated[list[str] | None, typer.Option(help="Names of methods. Default: all.")] = None,
    batches: Annotated[str, typer.Option(help="Texts at a time, with commas.")] = "1,16,64",
    tokens: Annotated[int, typer.Option(help="Tokens a text.")] = 128,
) -> None:
    """Measure what is missing, and say where it is."""
    with exit_on_bad_input():
        told = Settings(target, draft, device, dtype, methods or list(METHODS), sizes(batches), tokens)
        failed = measure(told, out)
    if failed:
        raise typer.Exit(1)


def sizes(batches: str) -> list[int]:
    """Of batches, as "1,16,64".

    Raises:
        ValueError: for what is none, or not from 1 to 130, as many as there are prompts.
    """
    found = batches.split(",")
    if not all(size.isdecimal() and 1 <= int(size) <= 130 for size in found):
        raise ValueError(f"batches={batches!r} must be numbers of 1 to 130 with commas, as 1,16,64")
    return [int(size) for size in found]


def measure(told: Settings, out: Path) -> int:
    """Run all steps that are not there yet.

    Returns:
        how many failed.

    Raises:
        ValueError: for a method that is unknown, or a device that is not there.
        FileError: for a folder that cannot be written.
    """
    if unknown := set(told.methods) - set(METHODS):
        raise ValueError(f"methods={min(unknown)!r} is unknown; use {', '.join(METHODS)}")
    pair = load_pair(told.target, told.draft, device=told.device, dtype=told.dtype)
    settings = {
        "target": told.target,
        "draft": told.draft,
        "device": name_of(pair.device),
        "dtype": str(pair.target.dtype).removeprefix("torch."),
        "tokens": told.tokens,
    }
    console, results = stdout(), Results(out, settings)
    if pair.device.type != "cuda":
        console.print(f"no GPU: figures are of {settings['device']}, and are not figures of a GPU")
    steps = [
        Step("suite", {"named": _NAMED}, lambda: suite(pair.device.type)),
        *numbers.steps_of(pair.device),
        *speed.steps_of(pair, told.methods, told.batches, told.tokens, results),
    ]
    failed = run(steps, results)
    console.print(f"{len(steps) - failed} of {len(steps)} steps are done; results: {out}")
    return failed


def run(steps: Sequence[Step], results: Results) -> int:
    """Every step that is not there yet, with a bar; how many failed."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    failed = 0
    with Progress(*columns, console=stderr()) as progress:
        task = progress.add_task("gpu", total=len(steps))
        for step in steps:
            progress.update(task, description=str(step))
            if not results.holds(step) and (error := results.take(step)):
                failed += 1
                progress.console.print(f"{step} failed: {error}")
            progress.advance(task)
    return failed


def name_of(device: torch.device) -> str:
    """ "NVIDIA H200", or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def suite(device: str) -> dict[str, object]:
    """Columns passed and skipped of the tests that name a GPU.

    Args:
        device: what is measured; where it is no GPU all of them may be skipped.

    Raises:
        RuntimeError: if some failed, none was found, or all were skipped on a GPU.
    """
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-k", _NAMED, *_TESTS]
    told = subprocess.run(command, capture_output=True, text=True)
    last = told.stdout.strip().rpartition("\n")[2]
    if told.returncode:
        raise RuntimeError(last or told.stderr.strip())
    counts = {name: int(count) for count, name in re.findall(r"(\d+) (passed|skipped)", last)}
    if device != "cpu" and not counts.get("passed"):
        raise RuntimeError(f"no test ran on {device}: {last}; see why with pytest -rs -k {_NAMED!r}")
    return {"passed": counts.get("passed", 0), "skipped": counts.get("skipped", 0)}


if __name__ == "__main__":
    typer.run(main)
