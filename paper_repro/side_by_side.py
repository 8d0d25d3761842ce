"""Sets of prompts generated side by side on a CPU: one process for each, with its share of the cores.

Matrix products of a small model fill one core well and several badly, so that two processes on two cores
write more than one process with two threads. Every process appends to files of its own, as it would alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import IO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from paper_repro.presets import Cell
from tradeoff.display import Words, stderr

__all__ = ["generate_side_by_side", "worthwhile"]

#: Loading the models once more takes as long as generating some thousand tokens.
_FEWEST_TOKENS = 20_000
#: A process with a batch of 48 has used 5 GiB.
_MEMORY = 7 << 30
_POLL = 1.0


def worthwhile(cells: Sequence[Cell], folder: Path, device: str) -> bool:
    """Whether there are several sets of prompts, much to generate, and the cores and memory for it."""
    sets = {cell.prompts.name for cell in cells}
    missing = sum((cell.texts - _written(cell, folder)) * cell.max_tokens for cell in cells)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (
        device == "cpu"
        and 1 < len(sets) <= (os.cpu_count() or 1)
        and missing >= _FEWEST_TOKENS
        and memory >= _MEMORY * (len(sets) + 1)
    )


def generate_side_by_side(
    preset: str,
    cells: Sequence[Cell],
    folder: Path,
    files: Mapping[str, Path | None] = MappingProxyType({}),
) -> None:
    """Generate what is missing of all cells, except the texts that times are taken of.

    Args:
        preset: its name, or the path of its .toml file.
        cells: of the preset.
        folder: of its texts.
        files: of prompts, as of `load_preset`.

    Raises:
        RuntimeError: if a process fails; the others are stopped, and what they wrote is kept.
    """
    sets = list(dict.fromkeys(cell.prompts.name for cell in cells))
    threads = str(max(1, (os.cpu_count() or 1) // len(sets)))
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, threads)
    columns = (Words(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ExitStack() as stack:
        running: dict[str, tuple[subprocess.Popen, IO[str]]] = {}
        for name in sets:
            log: IO[str] = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            command = [sys.executable, "-m", "paper_repro.generate", "--preset", preset, "--prompts", name]
            command += ["--out", str(folder.parent), "--without-ptt"]
            command += [part for key, file in files.items() if file for part in (f"--{key}", str(file))]
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)
            stack.callback(_stop, process)
            running[name] = process, log
        progress = stack.enter_context(Progress(*columns, console=stderr(), transient=True))
        own = {name: [cell for cell in cells if cell.prompts.name == name] for name in sets}
        tasks = {
            name: progress.add_task(
                f"generating, prompts {name}", total=sum(cell.texts for cell in own[name])
            )
            for name in sets
        }
        while running:
            time.sleep(_POLL)
            for name in list(running):
                process, log = running[name]
                done = sum(_written(cell, folder) for cell in own[name])
                progress.update(tasks[name], completed=done)
                if process.poll() is not None:
                    del running[name]
                    if process.returncode:
                        log.seek(0)
                        # Above the error stands what was loaded.
                        *_, why = ["", *log.read().strip().splitlines()]
                        why = why.removeprefix("error: ") or f"exit status {process.returncode}"
                        raise RuntimeError(f"generating the prompts {name} failed: {why}")


def _written(cell: Cell, folder: Path) -> int:
    """Texts of a cell that its file holds; never more than it needs."""
    try:
        with (folder / f"{cell.name}.jsonl").open("rb") as file:
            return min(sum(1 for _ in file), cell.texts)
    except OSError:
        return 0


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
