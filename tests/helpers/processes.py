"""Processes that are killed in the middle of their work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.versions.lock import ROOT

__all__ = ["at_work", "descendants"]


@contextmanager
def at_work(script: str, *arguments: object) -> Iterator[str]:
    """A Python process that has printed its first line; at the end of the block it dies by SIGKILL.

    Yields:
        The line.
    """
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().rstrip("\n")
        finally:
            process.kill()


def descendants(process: int) -> dict[int, str]:
    """The processes that a process, or one that it has started, has started: {id: command}."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        # A process may end meanwhile.
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    found = {process}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return {one: commands[one] for one in found - {process} if one in commands}
