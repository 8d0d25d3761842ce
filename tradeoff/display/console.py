"""What every command prints alike: errors with exit status 2, tables wide enough when redirected."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from tradeoff.display.characters import visible

__all__ = [
    "INSTALL_DOCUMENTS",
    "INSTALL_LLM",
    "Bar",
    "Reader",
    "Words",
    "exit_on_bad_input",
    "hide_announcements",
    "is_quiet",
    "print_error",
    "print_note",
    "print_warning",
    "print_written",
    "require_llm",
    "require_stdout",
    "stderr",
    "stdin",
    "stdout",
]


#: How to get what running models needs.
INSTALL_LLM = (
    "install it with pip install 'tradeoff[llm]' (in a checkout: pip install -c constraints.txt -e '.[llm]')"
)
#: How to get what reading tables and documents needs.
INSTALL_DOCUMENTS = INSTALL_LLM.replace("llm", "documents")
_LLM_PACKAGES = ("accelerate", "gguf", "platformdirs", "safetensors", "torch", "transformers")
#: Width of what is printed where there is neither a terminal nor COLUMNS to ask.
_WIDTH = 120
#: Whether nothing is shown but results, warnings and errors.
_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
#: The console whose last line is a bar that moves.
_MOVING: ContextVar[Console | None] = ContextVar("moving", default=None)


class _Plain(Console):
    """A console to which strings are words and nothing else: no markup, no emoji, nothing that is obeyed.

    In a notebook too it writes to its stream: Rich would make cells of progress, and ask for ipywidgets.
    """

    def __init__(self, **settings: Any):
        super().__init__(highlight=False, markup=False, emoji=False, force_jupyter=False, **settings)

    def render_str(self, text: str, **how: Any) -> Text:
        """As Rich's, of what may be shown of `text`."""
        return super().render_str(visible(text, keep="\n"), **how)


class Words(TextColumn):
    """Words in a line of progress, in which nothing is markup or obeyed.

    Args:
        words: a format of a task.
    """

    def __init__(self, words: str = "{task.description}"):
        super().__init__(words, markup=False)

    def render(self, task: Task) -> Text:
        """As Rich's, of what may be shown."""
        return Text(visible(self.text_format.format(task=task)), style=self.style, justify=self.justify)


class Bar:
    """How far a command is: a line on standard error that moves, while the context manager is open.

    There is none where no terminal would show it, and none under --quiet. Notes and warnings of the time
    stand above it.

    Args:
        words: what is counted.
        total: how many there are, or what counts them, which is asked only if the bar is seen; None if
            nobody knows.
        shown: whether to show it at all.
    """

    def __init__(
        self, words: str, total: int | Callable[[], int | None] | None = None, *, shown: bool = True
    ):
        columns = (Words(words), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._console = stderr()
        hidden = is_quiet() or not (shown and self._console.is_terminal)
        self._progress = Progress(*columns, console=self._console, transient=True, disable=hidden)
        known = (None if hidden else total()) if callable(total) else total
        self._task = self._progress.add_task("", total=known)
        self._hidden = hidden

    def __enter__(self) -> Bar:
        # Where nothing is shown Rich would still end with a blank line.
        if not self._hidden:
            self._progress.start()
        self._before = _MOVING.set(None if self._hidden else self._console)
        return self

    def __exit__(self, *_: object) -> None:
        _MOVING.reset(self._before)
        if not self._hidden:
            self._progress.stop()

    def show(self, done: int) -> None:
        """That so many are done."""
        self._progress.update(self._task, completed=done)


def is_quiet() -> bool:
    """Whether nothing is to be shown but results, warnings and errors."""
    return _QUIET.get()


def stdout() -> Console:
    """Console on standard output.

    Where there is no terminal to ask it is as wide as COLUMNS says, or else 120 columns.
    """
    console = _Plain()
    told = os.environ.get("COLUMNS", "")
    if not console.is_terminal and not (told.isdecimal() and int(told)):
        console.width = _WIDTH
    return console


def stderr(stream: TextIO | None = None) -> Console:
    """Console on standard error, for progress and errors; on `stream`, if it is given."""
    moving = _MOVING.get()
    return moving if moving is not None and stream is None else _Plain(stderr=True, file=stream)


def stdin() -> BinaryIO:
    """Standard input, in binary; empty where there is none, as a service may run without."""
    return io.BytesIO() if sys.stdin is None else sys.stdin.buffer


def require_stdout() -> None:
    """Raise ValueError if standard output is closed, for commands with nothing but it to tell by."""
    if sys.stdout is None:
        raise ValueError("standard output is closed, so there is nowhere to print to; leave it open")


@contextmanager
def exit_on_bad_input(quiet: bool = False) -> Iterator[None]:
    """Print a foreseeable error in one line and exit with status 2; `quiet` leaves out notes and bars.

    ValueError covers bad arguments and files, RuntimeError models and solvers that are not to be had, and
    OSError what the system refuses. A missing package of the `llm` extra is named too. SIGTERM unwinds like
    an exit, so that worker processes and temporary folders are cleaned up. What other packages announce about
    their next releases is not shown, since nobody who runs a command can act on it (-W shows it). What the
    encoding of a terminal or file has no characters for is printed as escapes.
    """
    hide_announcements()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    previous, before = None, _QUIET.set(quiet)
    if threading.current_thread() is threading.main_thread():
        previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _LLM_PACKAGES:
            raise
        _print_missing(error.name)
        raise typer.Exit(2) from error
    except (ValueError, RuntimeError, OSError) as error:
        # Typer's own exits are RuntimeErrors, and not errors; a reader who has seen enough (`| head`) is not
        # one either, and Typer ends quietly then.
        if isinstance(error, typer.Exit | typer.Abort | BrokenPipeError):
            raise
        print_error(str(error))
        raise typer.Exit(2) from error
    finally:
        _QUIET.reset(before)
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def require_llm() -> None:
    """Exit with status 2, and say what to install, unless what running models needs is there."""
    missing = next((name for name in _LLM_PACKAGES if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        _print_missing(missing)
        raise SystemExit(2)


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
    stderr().print(f"error: {visible(message)}", style="red", soft_wrap=True)


def _print_missing(package: str) -> None:
    print_error(f"running models needs {package}; {INSTALL_LLM}")


def print_warning(message: str) -> None:
    """One line on standard error about input that is dealt with, but perhaps not as it was meant."""
    stderr().print(f"warning: {visible(message)}", style="yellow", soft_wrap=True)


def print_note(message: str) -> None:
    """One line on standard error about something that is in order, but good to know; none under --quiet."""
    if not is_quiet():
        stderr().print(f"note: {visible(message)}", soft_wrap=True)


def print_written(console: Console, paths: Sequence[Path]) -> None:
    """The closing line of every command: where the results are."""
    console.print("wrote " + ", ".join(visible(str(path)) for path in paths), soft_wrap=True)
