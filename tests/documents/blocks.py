"""Runs the fenced blocks of a page, and compares what they print with what the page says they print.

Python blocks of a page share one namespace, in a process of its own; shell blocks run in the same folder. A
```` ```text ```` block after one, with nothing but empty lines between, is what it prints: word by word, and
numbers to the digits that are shown. One with the title "example", ```` ```text title="example" ````, says
only that something is printed. A Python block with a title, ```` ```python title="decoder.py" ````, is a
file, which is written and not run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

__all__ = [
    "MOST_SECONDS",
    "Block",
    "BlockError",
    "Instead",
    "lines_of",
    "names_of",
    "parse",
    "readers_environment",
    "run_page",
    "same",
    "with_outputs",
]

ROOT = Path(__file__).parents[2]
#: Commands that a shell block may run as they stand; lines with others have to be in the table.
RUNNABLE = {
    "cat",
    "cd",
    "chmod",
    "cmp",
    "cp",
    "diff",
    "echo",
    "export",
    "grep",
    "head",
    "ls",
    "mkdir",
    "printf",
    "python",
    "tail",
    "tradeoff",
    "wc",
}
#: What a block that hangs, or should have been in the table, is given.
MOST_SECONDS = 900
#: Names under which a block would not be run.
_UNUSUAL = {"bat", "console", "ipython", "py", "pycon", "python3", "sh", "shell", "shell-session", "zsh"}
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
#: What may stand after the language; the site cannot show anything else.
_INFO = re.compile(r'text title="example"|[\w-]*|python title="(?P<title>[^"]+)"')
_NUMBER = re.compile(r"(?<![\w.])[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")
#: Pages show what lasts: names that have moved, or go in another package's next version, are errors.
_LASTING = ("-W", "error::DeprecationWarning:__main__", "-W", "error:tradeoff.:DeprecationWarning")
#: Evaluates the blocks that it reads, one JSON line each, and answers with what they printed.
_DRIVER = """
import contextlib, io, json, os, sys, traceback, types
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
sys.modules["__main__"] = page = types.ModuleType("__main__")
for request in sys.stdin:
    block, printed, error = json.loads(request), io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(block["code"], block["page"], "exec"), vars(page))
        except BaseException:
            error = traceback.format_exc()
    print(json.dumps({"printed": printed.getvalue(), "error": error}), file=answers, flush=True)
"""


class BlockError(Exception):
    """A block that does not do what the page says; names the page, the line and what happened."""

    def __init__(self, block: Block, what: str):
        super().__init__(f"{block.page}, line {block.line}: {what}")


class Instead(NamedTuple):
    """What is run in place of a line, and why; an empty command where nothing is."""

    run: str
    why: str


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: where it stands.
        line: number of its first line of code.
        language: the first word of its info string, "" without one.
        code: its lines, without the indentation of the fence.
        is_example: whether it is an output, and another run prints other words or numbers.
        file: its name, if it is a file.
        follows: whether only empty lines are between it and the block before.
    """

    page: str
    line: int
    language: str
    code: str
    is_example: bool
    file: str | None
    follows: bool

    @property
    def is_run(self) -> bool:
        return self.language in ("python", "bash")


def parse(text: str, page: str) -> list[Block]:
    """The fenced blocks of a page.

    Raises:
        ValueError: for a fence that is not closed, a language by another name than `python` or `bash`, and an
            info string with anything else.
    """
    found: list[Block] = []
    lines, at, follows = text.splitlines(), 0, False
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        if opening is None:
            follows = follows and not lines[at].strip()
            at += 1
            continue
        indent, first = len(opening["indent"]), at + 1
        closing = re.compile(rf"^ *{re.escape(opening['fence'][0])}{{{len(opening['fence'])},}} *$")
        at = first
        while at < len(lines) and not closing.match(lines[at]):
            at += 1
        if at == len(lines):
            raise ValueError(f"{page}, line {first}: the block is not closed")
        language, _, info = opening["info"].strip().partition(" ")
        if language in _UNUSUAL:
            raise ValueError(
                f"{page}, line {first}: {language!r} is not run; write python or bash, or text for output"
            )
        known = _INFO.fullmatch(opening["info"].strip())
        if known is None:
            raise ValueError(
                f"{page}, line {first}: {info!r} is not known; "
                'write text title="example", or python title="FILE"'
            )
        code = "".join(line[min(indent, len(line) - len(line.lstrip())) :] + "\n" for line in lines[first:at])
        found.append(
            Block(page, first + 1, language, code, info == 'title="example"', known["title"], follows)
        )
        follows, at = True, at + 1
    return found


def with_outputs(blocks: Sequence[Block]) -> Iterator[tuple[Block, Block | None]]:
    """Every block, and the one behind it that says what it prints; None where there is none."""
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        yield block, after if after is not None and after.language == "text" and after.follows else None


def lines_of(block: Block) -> list[tuple[str, str]]:
    """The lines of a shell block, twice each: as the table of replacements has them, and as they stand.

    The table has no comments, superfluous spaces or continuations. As it stands, a line has with it the rest
    of its quotations and its here-document.

    Raises:
        BlockError: for a line that does not end.
    """
    found: list[tuple[str, str]] = []
    lines = iter(block.code.splitlines())
    try:
        for line in lines:
            raw = line
            while raw.endswith("\\") or _words(raw) is None:
                raw += "\n" + next(lines)
            joined = re.sub(r"\\\n\s*", " ", raw)
            known = _known(joined)
            ending = re.search(r"<<\s*['\"]?(\w+)", joined)
            if ending:
                body = [next(lines)]
                while body[-1] != ending[1]:
                    body.append(next(lines))
                raw = "\n".join((raw, *body))
            if known:
                found.append((known, raw))
    except StopIteration:
        raise BlockError(block, f"{raw!r} does not end") from None
    return found


def names_of(block: Block) -> list[str]:
    """The lines of a block as the table has them."""
    if block.language == "bash":
        return [known for known, _ in lines_of(block)]
    return [_known(line) for line in block.code.splitlines()]


def _known(line: str) -> str:
    return " ".join(re.sub(r"(^|\s+)#(\s.*)?$", "", line).split())


def _words(line: str) -> list[str] | None:
    """The words and operators of a line; None if a quotation does not end in it."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    try:
        return list(words)
    except ValueError:
        return None


def same(shown: str, printed: str) -> bool:
    """Whether what was printed is what is shown: words exactly, numbers to the digits that are shown."""
    expected, found = (
        [" ".join(line.split()) for line in text.strip().splitlines()] for text in (shown, printed)
    )
    return len(expected) == len(found) and all(map(_same_line, expected, found))


def _same_line(shown: str, printed: str) -> bool:
    if _NUMBER.split(shown) != _NUMBER.split(printed):
        return False
    return all(map(_same_number, _NUMBER.findall(shown), _NUMBER.findall(printed)))


def _same_number(shown: str, printed: str) -> bool:
    expected, found = (float(text.replace("−", "-").replace(",", "")) for text in (shown, printed))
    mantissa, _, exponent = shown.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(found - expected) <= 0.5 * unit * (1 + 1e-9)


def run_page(text: str, page: str, folder: Path, table: Mapping[str, Instead]) -> None:
    """Run every block of a page, in order.

    Args:
        text: of the page.
        page: its name, for errors.
        folder: in which everything is run.
        table: what is run in place of a line.

    Raises:
        BlockError: for the first block that fails, prints something else than is shown, or has a line that is
            neither runnable nor in the table.
    """
    found = parse(text, page)
    with _Python(folder) as python:
        for block, shown in with_outputs(found):
            if not block.is_run:
                continue
            if block.file is not None:
                (folder / block.file).write_text(block.code, encoding="utf-8")
                continue
            run = python.run if block.language == "python" else partial(_shell, folder)
            printed = run(block, table)
            if shown is not None:
                _compare(block, shown, printed)


def _compare(block: Block, shown: Block, printed: str) -> None:
    if shown.is_example:
        if not printed.strip():
            raise BlockError(block, "it prints nothing, but an example of its output is shown")
    elif not same(shown.code, printed):
        raise BlockError(block, f"it is shown to print\n{shown.code}and printed\n{printed}")


def readers_environment() -> dict[str, str]:
    """That of a reader: this environment's commands first, no key, no colours, no windows."""
    scripts = sysconfig.get_path("scripts")
    kept = {name: value for name, value in os.environ.items() if name not in ("TRADEOFF_KEY", "FORCE_COLOR")}
    python_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return kept | {
        "PATH": os.pathsep.join((scripts, os.path.dirname(sys.executable), os.environ["PATH"])),
        "PYTHONPATH": python_path,
        "PYTHONIOENCODING": "utf-8",
        "MPLBACKEND": "agg",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "COLUMNS": "120",
    }


def _shell(folder: Path, block: Block, table: Mapping[str, Instead]) -> str:
    """Run a shell block, and return what it wrote to standard output."""
    script = ["set -E", """trap 'echo "failed: $BASH_COMMAND" >&2' ERR"""]
    for known, line in lines_of(block):
        if known in table:
            script.append(table[known].run)
            continue
        commands = _commands(known)
        # It stops reading, and whoever writes to it may fail for that.
        script += ["set +o pipefail", line, "set -o pipefail"] if "head" in commands[1:] else [line]
        unknown = sorted(set(commands) - RUNNABLE)
        if unknown:
            raise BlockError(
                block, f"{known!r} runs {', '.join(unknown)}; say in the table what is run instead"
            )
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
            cwd=folder,
            env=readers_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise BlockError(
            block, f"it takes more than {MOST_SECONDS} s; say in the table what is run instead"
        ) from None
    if done.returncode:
        raise BlockError(block, f"exit status {done.returncode}\n{done.stderr[-3000:]}")
    if "has moved; the command is" in done.stderr:
        raise BlockError(block, done.stderr.strip())
    return done.stdout


def _commands(line: str) -> list[str]:
    """The first words of all commands of a line."""
    found, first = [], True
    for word in _words(line) or ():
        if set(word) <= set("|&;()"):
            first = True
        elif first and not re.match(r"\w+=", word):
            found.append(word)
            first = False
    return found


class _Python:
    """A process that runs the Python blocks of a page in one namespace; started when there is one."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> _Python:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def run(self, block: Block, table: Mapping[str, Instead]) -> str:
        """Run a block, and return what it printed."""
        code = []
        for line in block.code.splitlines():
            known = _known(line)
            if known in table:
                line = line[: len(line) - len(line.lstrip())] + table[known].run
            code.append(line)
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        # As many empty lines before it as make the traceback name lines of the page.
        request = {"page": block.page, "code": "\n" * (block.line - 1) + "\n".join(code) + "\n"}
        guard = threading.Timer(MOST_SECONDS, process.kill)
        guard.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            guard.cancel()
        if not answer:
            raise BlockError(block, f"Python ended, or was ended after {MOST_SECONDS} s")
        told = json.loads(answer)
        if told["error"]:
            raise BlockError(block, told["error"])
        return str(told["printed"])

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *_LASTING, "-c", _DRIVER],
            cwd=self._folder,
            env=readers_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
