"""Did a change of the code change anything that is computed?

    python -m tests.revisions.unchanged --before main                      # the present code against main
    python -m tests.revisions.unchanged --before main --only texts,detect  # some parts of it
    python -m tests.revisions.unchanged --before main --kept FOLDER        # main's outputs go there,
    python -m tests.revisions.unchanged --kept FOLDER                      # and are used again

The commands of `tests.revisions.commands` run with the code of both versions, under this interpreter and with
these packages: generated texts and what detection says of them, curves, figures, the detection experiment,
the statements of the papers. Their files are compared byte for byte, but for pictures, pages and times. Every
difference is told as soon as it is found. The exit status is 0 if there is none, 1 if there is one or a
command failed, 2 if nothing can be compared.

A step that is done is kept, so that the same command goes on after a kill. It is done again if its command,
the code or a package has changed. Nothing is known of other machines, whose processors round otherwise.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from tests.revisions.commands import PARTS, STEPS, Step, chosen
from tests.revisions.comparison import changes, compared_files
from tests.revisions.outputs import Code, Outputs
from tests.versions.lock import ROOT
from tradeoff.display.console import Words, exit_on_bad_input

__all__ = ["main"]


def main(
    before: Annotated[
        str | None, typer.Option(help="Revision that the present code is compared with, as git names it.")
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option(
            help="Folder for its outputs, or with them if there is no --before. Default: within .git."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for outputs of the present code. Default: within .git.")
    ] = None,
    only: Annotated[
        str, typer.Option(help=f"Parts ({', '.join(PARTS)}) or steps (texts/one-race), with commas between.")
    ] = "",
    before_only: Annotated[
        bool, typer.Option("--before-only", help="Make the outputs of --before, and compare nothing.")
    ] = False,
) -> None:
    """Run the same commands with the code of a revision and with the present one; compare what they write."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    # SIGTERM unwinds there, so that commands end and temporary folders go.
    with exit_on_bad_input():
        steps = chosen([name.strip() for name in only.split(",") if name.strip()], STEPS)
        if before is None and (kept is None or before_only):
            raise ValueError("there is nothing to compare with; pass --before REVISION or --kept FOLDER")
        with _code_of(before) as code:
            old = _outputs(console, "before", kept, code)
            new = None if before_only else _outputs(console, "now", out, Code(ROOT, "the present code"))
            if code is None:
                _check(old, steps)
            different, minutes = _run(console, steps, old, new)
        console.print("minutes of one processor: " + ", ".join(f"{p} {m:.1f}" for p, m in minutes.items()))
        if new is None:
            console.print(f"made: {len(steps)} steps, of which {different} failed")
        else:
            files = sum(len(compared_files(new.files(step))) for step in steps)
            verdict = f"changed: {different} of" if different else "unchanged:"
            console.print(f"{verdict} {len(steps)} steps, {files} files")
    if different:
        raise typer.Exit(1)


def _outputs(console: Console, when: str, folder: Path | None, code: Code | None) -> Outputs:
    if folder is None:
        found = _git("pass folders with --kept and --out", "rev-parse", "--absolute-git-dir")
        folder = Path(found.decode().strip()) / "unchanged" / when
    console.print(f"outputs {when}: {folder.resolve()}")
    return Outputs(folder.resolve(), code, STEPS)


@contextmanager
def _code_of(revision: str | None) -> Iterator[Code | None]:
    """The code of a revision, in a temporary folder; None for None."""
    if revision is None:
        yield None
        return
    archive = _git("pass a --before that git knows", "archive", "--format=zip", revision)
    with tempfile.TemporaryDirectory(prefix="unchanged-", ignore_cleanup_errors=True) as name:
        zipfile.ZipFile(io.BytesIO(archive)).extractall(name)
        yield Code(Path(name), revision)


def _git(remedy: str, *arguments: str) -> bytes:
    """What git prints; where it cannot, the remedy is told with its own words."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise ValueError(f"git {' '.join(arguments)} failed ({said}); {remedy}")
    return done.stdout


def _check(old: Outputs, steps: Sequence[Step]) -> None:
    """What would otherwise show after an hour."""
    versions = {made.code: made.name for made in map(old.made, steps)}
    if len(versions) > 1:
        raise ValueError(
            f"kept={str(old.folder)!r} holds outputs of several versions of the code "
            f"({', '.join(versions.values())}); make them all with --before REVISION"
        )


def _run(
    console: Console, steps: Sequence[Step], old: Outputs, new: Outputs | None
) -> tuple[int, dict[str, float]]:
    """Make what is missing and tell what differs.

    Returns:
        The number of steps that differ or failed, and minutes that the newer side took, by part.
    """
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    columns = (BarColumn(), MofNCompleteColumn(), Words(), TimeElapsedColumn())
    sides = {"before": old} if new is None else {"before": old, "now": new}
    different, minutes = 0, defaultdict[str, float](float)
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("", total=len(steps))
        for number, step in enumerate(steps, 1):
            progress.update(task, description=step.name)
            if not errors.is_terminal:
                errors.print(f"{number} of {len(steps)}: {step.name} ...")
            made = {when: outputs.made(step) for when, outputs in sides.items()}
            found = [f"failed {when}: {how.failed}" for when, how in made.items() if how.failed]
            if new is not None:
                found += changes(old.files(step), new.files(step))
            for said in found:
                console.print(f"  {step.name}: {said}")
            different += bool(found)
            minutes[step.part] += list(made.values())[-1].processor / 60
            progress.advance(task)
    return different, minutes


if __name__ == "__main__":
    typer.run(main)
