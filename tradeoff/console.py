"""What every command prints alike: errors with exit status 2, tables wide enough when redirected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

__all__ = ["exit_on_bad_input", "print_written", "stderr", "stdout"]


def stdout() -> Console:
    """Console on standard output; 120 columns wide where there is no terminal to ask."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    return console


def stderr() -> Console:
    """Console on standard error, for progress and errors."""
    return Console(stderr=True, highlight=False)


@contextmanager
def exit_on_bad_input() -> Iterator[None]:
    """Print a foreseeable error in one line and exit with status 2.

    ValueError covers bad arguments and files, RuntimeError models and solvers that are not to be had, and
    OSError what the system refuses.
    """
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        # Typer's own exits are RuntimeErrors, and not errors.
        if isinstance(error, typer.Exit | typer.Abort):
            raise
        stderr().print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error


def print_written(console: Console, paths: Sequence[Path]) -> None:
    """The closing line of every command: where the results are."""
    console.print("wrote " + ", ".join(str(path) for path in paths), soft_wrap=True, markup=False)
