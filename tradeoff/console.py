"""What every command prints alike: errors with exit status 2, tables wide enough when redirected."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import typer
from rich.console import Console

__all__ = [
    "INSTALL_LLM",
    "Reader",
    "exit_on_bad_input",
    "hide_announcements",
    "print_error",
    "print_note",
    "print_warning",
    "print_written",
    "stderr",
    "stdout",
]


#: How to get what running models needs.
INSTALL_LLM = (
    "install it with pip install 'tradeoff[llm]' (in a checkout: pip install -c constraints.txt -e '.[llm]')"
)
_LLM_PACKAGES = {"accelerate", "gguf", "platformdirs", "safetensors", "torch", "transformers"}


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
    OSError what the system refuses. A missing package of the `llm` extra is named too. SIGTERM unwinds like
    an exit, so that worker processes and temporary folders are cleaned up. What other packages announce about
    their next releases is not shown, since nobody who runs a command can act on it (-W shows it).
    """
    hide_announcements()
    previous = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _LLM_PACKAGES:
            raise
        stderr().print(
            f"error: running models needs {error.name}; {INSTALL_LLM}",
            style="red",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(2) from error
    except (ValueError, RuntimeError, OSError) as error:
        # Typer's own exits are RuntimeErrors, and not errors; a reader who has seen enough (`| head`) is not
        # one either, and Typer ends quietly then.
        if isinstance(error, typer.Exit | typer.Abort | BrokenPipeError):
            raise
        print_error(str(error))
        raise typer.Exit(2) from error
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def hide_announcements() -> None:
    """Do not show, in this process, what other packages announce about their next releases."""
    # Appended, so that every other filter, of -W or of a test, goes before it.
    warnings.simplefilter("ignore", FutureWarning, append=True)


class Reader:
    """Whoever reads standard output, and may stop once they have seen enough (`| head`).

    As a context manager around what is printed. Commands end there, unless they have more to do than print:
    then what is printed later goes nowhere.

    Args:
        outlived: whether the command goes on without a reader.

    Attributes:
        gone: whether the reader of such a command has left; it ends with status 1, as others do at once.
    """

    def __init__(self, outlived: bool):
        self._outlived, self.gone = outlived, False

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # Rich makes an exit with status 1 of a broken pipe; SIGTERM exits otherwise.
        left = isinstance(error, BrokenPipeError) or (isinstance(error, SystemExit) and error.code == 1)
        if not (left and self._outlived):
            return False
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        self.gone = True
        return True


def print_error(message: str) -> None:
    """One line on standard error about input that cannot be dealt with."""
    stderr().print(f"error: {message}", style="red", markup=False, soft_wrap=True)


def print_warning(message: str) -> None:
    """One line on standard error about input that is dealt with, but perhaps not as it was meant."""
    stderr().print(f"warning: {message}", style="yellow", markup=False, soft_wrap=True)


def print_note(message: str) -> None:
    """One line on standard error about something that is in order, but good to know."""
    stderr().print(f"note: {message}", markup=False, soft_wrap=True)


def print_written(console: Console, paths: Sequence[Path]) -> None:
    """The closing line of every command: where the results are."""
    console.print("wrote " + ", ".join(str(path) for path in paths), soft_wrap=True, markup=False)
