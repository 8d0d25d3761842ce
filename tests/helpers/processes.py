"""Processes that are killed in the middle of their work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.versions.lock import ROOT

__all__ = ["at_work"]


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
