"""Outputs of one version of the code, step by step: made, kept, and used again where they still hold."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tests.revisions.commands import ENVIRONMENT, Command, Step
from tests.versions.lock import differences, installed
from tradeoff.locks import remove_abandoned, workplace

__all__ = ["Code", "Made", "Outputs"]

#: What is run, and folders in it that hold no code.
_PACKAGES = ("figures", "paper_repro", "sims", "tradeoff")
_NO_CODE = frozenset({"__pycache__", "results"})
_RECORD, _LOG, _FILES = "made.json", "log.txt", "files"
_WORKING = ".working-"
#: Variables of the caller that would let other code, or other words, into a command.
_LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS")
#: Runs a module of the checkout that is meant, and of none that is installed.
_RUN = """\
import importlib, runpy, sys
from pathlib import Path

root, module, *arguments = sys.argv[1:]
for name in ("tradeoff", module.partition(".")[0]):
    found = Path(importlib.import_module(name).__file__)
    if not found.resolve().is_relative_to(Path(root).resolve()):
        sys.exit(f"{name} is imported from {found}, which is not in {root}")
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
#: Seconds that a command has to end in.
_GRACE = 10


@dataclass(frozen=True)
class Code:
    """A checkout whose commands are run.

    Attributes:
        root: its folder.
        name: for people.
    """

    root: Path
    name: str

    def digest(self) -> str:
        """Of all files that commands may read of it.

        Raises:
            RuntimeError: if it is not there.
        """
        if not (self.root / "tradeoff").is_dir():
            raise RuntimeError(f"{self.root} holds no package tradeoff; name a checkout of this project")
        total = hashlib.sha256()
        for path in sorted(path for package in _PACKAGES for path in (self.root / package).rglob("*")):
            inside = path.relative_to(self.root)
            if path.is_file() and not _NO_CODE & set(inside.parts):
                content = path.read_bytes()
                total.update(f"{inside.as_posix()} {len(content)}\n".encode() + content)
        return total.hexdigest()

    def run(self, command: Command, folder: Path, log: IO[bytes]) -> str:
        """Run a command.

        Args:
            command: what to run.
            folder: where it finds and writes its files.
            log: for what it says.

        Returns:
            Why it failed; empty if it did not.
        """
        module, *before = next(filter(self._has, command.modules), command.modules[0]).split(":")
        arguments = [*before, *command.arguments]
        words = [sys.executable, "-P", "-c", _RUN, str(self.root), module, *arguments]
        variables = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
        variables |= ENVIRONMENT | {"PYTHONPATH": str(self.root)}
        with (folder / command.into).open("wb") if command.into else nullcontext(log) as into:
            process = subprocess.Popen(
                words, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=into, stderr=log
            )
            try:
                status = process.wait()
            except BaseException:
                # So that its own processes end as well.
                process.terminate()
                try:
                    process.wait(_GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                raise
        return "" if status == 0 else f"{' '.join([module, *arguments])} ended with status {status}"

    def _has(self, module: str) -> bool:
        place = self.root / module.partition(":")[0].replace(".", "/")
        return place.with_name(place.name + ".py").exists() or (place / "__main__.py").exists()


@dataclass(frozen=True)
class Made:
    """How the outputs of a step came about.

    Attributes:
        asked: what of the step determines them.
        code, name: digest and name of the code.
        packages: versions of Python and of everything installed.
        failed: the command that failed, if any, and its last words.
        processor: seconds that processors spent on it.
    """

    asked: dict[str, Any]
    code: str
    name: str
    packages: dict[str, str]
    failed: str
    processor: float


class Outputs:
    """Outputs of one version of the code, a folder for every step; what is done is not done again.

    Args:
        folder: where they are kept; made if need be.
        code: what makes them; None to use those that are there.
        steps: by name; for the files of those that others need.
    """

    def __init__(self, folder: Path, code: Code | None, steps: Mapping[str, Step]):
        self.folder, self._code, self._steps = folder, code, steps
        self._packages = {"python": platform.python_version()} | installed()
        if code is not None:
            folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned(folder, _WORKING)

    def files(self, step: Step) -> Path:
        """The folder that holds the outputs of a step, and nothing else but its inputs."""
        return self.folder / step.name / _FILES

    def made(self, step: Step) -> Made:
        """How the outputs of a step came about; they are made if need be.

        Raises:
            RuntimeError: if there are none that can be used and no code to make them, or it changes
                meanwhile.
        """
        made = self._record(step)
        obstacle = self._obstacle(step, made)
        if self._code is None:
            if made is None or obstacle:
                raise RuntimeError(
                    f"the outputs of {step.name} in {self.folder} cannot be used: {obstacle}; make them with "
                    f"--before REVISION --kept {self.folder}"
                )
            return made
        # A failure may have been the machine's.
        return self._make(step, self._code) if made is None or obstacle or made.failed else made

    def _record(self, step: Step) -> Made | None:
        try:
            return Made(**json.loads((self.folder / step.name / _RECORD).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def _obstacle(self, step: Step, made: Made | None) -> str:
        """Why outputs cannot be used; empty if they can."""
        if made is None:
            return "there are none"
        if made.asked != step.asked():
            return "they were made by other commands"
        for name, (was, now) in differences(made.packages, self._packages).items():
            return f"they were made with {name} {was}, and now it is {now}"
        if self._code is not None and made.code != self._code.digest():
            return "they were made by other code"
        return ""

    def _make(self, step: Step, code: Code) -> Made:
        digest, spent = code.digest(), _processor_time()
        with workplace(self.folder, _WORKING) as place:
            files = place / _FILES
            if step.after:
                shutil.copytree(self.files(self._steps[step.after]), files)
            files.mkdir(exist_ok=True)
            for name, content in step.inputs.items():
                (files / name).write_text(content, encoding="utf-8")
            with (place / _LOG).open("wb") as log:
                failed = next((why for c in step.commands if (why := code.run(c, files, log))), "")
            if code.digest() != digest:
                raise RuntimeError(
                    f"{code.root} was changed while {step.name} ran; run the same command again when it rests"
                )
            made = Made(
                step.asked(),
                digest,
                code.name,
                self._packages,
                f"{failed}: {_last_line(place / _LOG)}" if failed else "",
                round(_processor_time() - spent, 1),
            )
            (place / _RECORD).write_text(json.dumps(asdict(made), indent=1), encoding="utf-8")
            kept = self.folder / step.name
            kept.parent.mkdir(exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
            place.rename(kept)
        return made


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _processor_time() -> float:
    """Seconds that processors spent on commands that have ended."""
    times = os.times()
    return times.children_user + times.children_system
