"""Do the newest allowed versions of other packages still work here, and which of them broke what?

    python -m tests.versions.canary                                   # the newest that pyproject.toml allows
    python -m tests.versions.canary --with transformers==5.23.0       # with one of them held
    python -m tests.versions.canary --locked --with pandas==3.0.0     # one of them alone
    python -m tests.versions.canary --lowest                          # the oldest that pyproject.toml allows
    python -m tests.versions.canary --folder FOLDER                   # in an environment that is kept

The packages go into a throw-away environment, or into the one in FOLDER, and the tests run there, all but
the simulations of theorems. Where some fail, versions are taken back to those of constraints.txt by halves,
until it is known which package broke them. Warnings are listed, not failed: they announce what will break.
The exit status is 0 if all is well, 1 if something broke, 2 if the environment could not be made.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from packaging.requirements import Requirement
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from tests.versions.blame import UNCHANGED, blame, suspicion
from tests.versions.lock import ROOT, differences, installed, locked, requirements, spelling
from tradeoff.display.console import Words, exit_on_bad_input

__all__ = ["RECORDING", "Environment", "Report", "representatives"]

#: Options of pytest: a file that cannot be imported does not hide the others; the path of the record follows.
RECORDING = ("--continue-on-collection-errors", "-p", "tests.versions.recorder", "--record")
#: What calls other packages. The statements of theorems (tests/sims) call nothing that these do not.
_TESTS = ("tests", "--ignore=tests/benchmarks", "--ignore=tests/sims")
#: Pytest's exit statuses of a run that came to its end.
_RAN = (0, 1)
#: Failing tests that are run again while the culprit is looked for: of every error a few, and not too many.
_OF_ONE_ERROR, _AGAIN = 2, 24
#: What would let this environment into the new one, and secrets, which are no business of untried packages.
_LEFT_OUT = re.compile(
    r"PYTHONPATH|PYTHONWARNINGS|PYTEST_ADDOPTS|VIRTUAL_ENV|.*(KEY|TOKEN|SECRET|PASS|CREDENTIAL).*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Report:
    """What the recorder of a test run wrote.

    Attributes:
        outcome: how many tests "passed", "failed" and were "skipped".
        failures: the end of every failure's text, by test, or by file or folder that could not be imported.
        passed: tests, and files and folders that could be imported.
        warnings: the file that said it, by warning.
    """

    outcome: dict[str, int]
    failures: dict[str, str]
    passed: list[str]
    warnings: dict[str, str]


class Environment:
    """A virtual environment for other versions.

    Args:
        folder: where it is made; one that is there already is used.
        links: a folder of wheels that pip may take as well.
    """

    def __init__(self, folder: Path, links: Path | None = None):
        self.folder = folder
        self._links = [] if links is None else ["--find-links", str(links)]
        made = (folder / "venv" / "pyvenv.cfg").exists()
        maker = venv.EnvBuilder(with_pip=not made)
        maker.create(folder / "venv")
        self._python = str(maker.ensure_directories(folder / "venv").env_exe)
        self._variables = {name: value for name, value in os.environ.items() if not _LEFT_OUT.fullmatch(name)}
        # Constraints of the calling environment, and of pip's configuration, must not hold anything back.
        (folder / "no-constraints.txt").write_text("")
        self._variables["PIP_CONSTRAINT"] = str(folder / "no-constraints.txt")

    def install(self, wanted: Iterable[str], *options: str) -> None:
        """Install requirements.

        Raises:
            RuntimeError: if pip cannot, with its own words.
        """
        # What is never imported need not be compiled.
        quick = ["--quiet", "--no-compile"]
        command = [self._python, "-m", "pip", "install", *quick, *self._links, *options, *wanted]
        done = subprocess.run(command, capture_output=True, text=True, env=self._variables, check=False)
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise RuntimeError("; ".join(said) or done.stderr[-2000:])

    def versions(self) -> dict[str, str]:
        """What is installed."""
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        done = subprocess.run([self._python, "-c", code], capture_output=True, text=True, check=True)
        return installed([done.stdout.strip()])

    def test(self, tests: Iterable[str]) -> Report:
        """Run tests of this checkout; where pytest does not come to its end, all of them have failed."""
        return self._pytest(list(tests))

    def retest(self, tests: Iterable[str]) -> frozenset[str]:
        """Those of the tests that pass now; files and folders only need be imported."""
        functions = sorted(test for test in tests if "::" in test)
        others = sorted(test for test in tests if "::" not in test)
        passed: set[str] = set()
        if functions:
            passed |= set(self._pytest(functions).passed)
        if others:
            passed |= set(self._pytest([*others, "--collect-only"]).passed)
        return frozenset(tests) & passed

    def _pytest(self, arguments: list[str]) -> Report:
        record = self.folder / "record.json"
        record.unlink(missing_ok=True)
        options = [*RECORDING, str(record), "-q", "-p", "no:cacheprovider"]
        command = [self._python, "-m", "pytest", *options, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=self._variables, check=False
        )
        if record.exists() and done.returncode in _RAN:
            return Report(**json.loads(record.read_text(encoding="utf-8")))
        given = [argument for argument in arguments if not argument.startswith("-")]
        said = (done.stdout + done.stderr)[-2000:]
        return Report({"failed": len(given)}, dict.fromkeys(given, said), [], {})


def representatives(failures: dict[str, str]) -> frozenset[str]:
    """A few failing tests that stand for all: the first ones of every error, files before functions."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for test, text in sorted(failures.items(), key=lambda item: ("::" in item[0], item)):
        kinds[_error(text)].append(test)
    rounds = [tests[turn] for turn in range(_OF_ONE_ERROR) for tests in kinds.values() if turn < len(tests)]
    return frozenset(rounds[:_AGAIN])


def main(
    with_: Annotated[
        list[str] | None, typer.Option("--with", help="A requirement such as transformers==5.23.0.")
    ] = None,
    lowest: Annotated[bool, typer.Option("--lowest", help="The oldest allowed versions instead.")] = False,
    hold: Annotated[bool, typer.Option("--locked", help="The tested ones of all but --with.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Make the environment there and keep it, or use the one that is there."),
    ] = None,
    find_links: Annotated[Path | None, typer.Option(help="A folder of wheels that pip may take.")] = None,
    minutes: Annotated[float, typer.Option(help="How long to look for culprits.")] = 20,
    tests: Annotated[
        list[str] | None, typer.Argument(help="Tests to run, instead of all but those of theorems.")
    ] = None,
) -> None:
    """Run the tests with other versions than those of constraints.txt."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    columns = (SpinnerColumn(), Words(), TimeElapsedColumn())
    # SIGTERM unwinds there, so that the environment is removed.
    with (
        exit_on_bad_input(),
        _kept_or_removed(folder) as place,
        Progress(*columns, console=errors, transient=True) as progress,
    ):
        task = progress.add_task("making an environment")

        def step(words: str) -> None:
            progress.update(task, description=words)
            if not errors.is_terminal:
                errors.print(f"canary: {words} ...")

        environment = Environment(place, find_links)
        step("installing packages")
        environment.install(_asked(with_ or [], lowest, hold))
        found = environment.versions()
        changed = differences(locked(), found)
        step(f"running the tests with {len(changed)} other versions than the tested ones")
        report = environment.test(tests or _TESTS)
        _tell(console, report, changed)
        about = f"Python {sys.version.split()[0]}, Transformers {found.get('transformers')}, "
        about += ", ".join(f"{number} {what}" for what, number in report.outcome.items() if number)
        if not report.failures and report.outcome["passed"]:
            console.print(f"canary: green ({about}; {len(changed)} versions differ from constraints.txt)")
            return
        causes = _causes(environment, report, changed, step, time.monotonic() + 60 * minutes)
    _accuse(console, report, changed, causes, about)
    raise typer.Exit(1)


@contextmanager
def _kept_or_removed(folder: Path | None) -> Iterator[Path]:
    """`folder`, or one that is removed in the end."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="canary-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _asked(held: list[str], lowest: bool, hold: bool) -> list[str]:
    """The requirements of an environment."""
    asked = [*requirements(), *held]
    if lowest:
        asked += [re.sub(r">=([^,]+).*", r"==\1", requirement) for requirement in requirements()]
    if hold:
        named = {_name(requirement) for requirement in held}
        asked += [f"{name}=={version}" for name, version in locked().items() if name not in named]
    return asked


def _causes(
    environment: Environment,
    report: Report,
    changed: dict[str, tuple[str, str]],
    step: Callable[[str], None],
    deadline: float,
) -> dict[str, frozenset[str]]:
    """{test: packages that broke it} for some failing tests of every error; those of which it is known."""
    direct = [_name(requirement) for requirement in requirements()]
    suspects = suspicion(changed, direct, report.failures.values())

    def passing(back: frozenset[str], tests: frozenset[str]) -> frozenset[str]:
        if time.monotonic() > deadline:
            raise TimeoutError
        step(
            f"running {len(tests)} failing tests again with the tested {', '.join(sorted(back)) or 'nothing'}"
        )
        exact = [f"{name}=={was if name in back else now}" for name, (was, now) in changed.items()]
        try:
            if exact:
                environment.install(exact, "--no-deps")
        except RuntimeError as error:
            step(f"versions cannot be taken back: {error}")
            return frozenset()
        return environment.retest(tests)

    try:
        return blame(representatives(report.failures), suspects, passing)
    except TimeoutError:
        step("no more time to look for culprits")
        return {}


def _tell(console: Console, report: Report, changed: dict[str, tuple[str, str]]) -> None:
    """Versions, warnings and failures."""
    for name, (was, now) in changed.items():
        console.print(f"  {name} {was} -> {now}")
    for said, where in sorted(report.warnings.items()):
        console.print(f"  announced ({Path(where).name}): {said[:300]}")
    for test, text in sorted(report.failures.items()):
        console.print(f"  failed: {test}: {_error(text)[:200]}")


def _accuse(
    console: Console,
    report: Report,
    changed: dict[str, tuple[str, str]],
    causes: dict[str, frozenset[str]],
    about: str,
) -> None:
    """Who broke what, and the verdict."""
    by_cause: dict[frozenset[str], list[str]] = defaultdict(list)
    for test, packages in causes.items():
        by_cause[packages].append(test)
    for packages, tests in sorted(by_cause.items(), key=lambda item: sorted(item[0])):
        names = " together with ".join(f"{name} {changed[name][1]}" for name in sorted(packages))
        if packages == UNCHANGED:
            names = "no other version (it fails with the tested ones as well)"
        console.print(f"broken by {names}:")
        for test in sorted(tests):
            console.print(f"  {test}: {_error(report.failures[test])[:200]}")
    for test in sorted(representatives(report.failures) - causes.keys()):
        console.print(f"passes when it is run again, or was not looked at in time: {test}")
    culprits = sorted({name for packages in causes.values() for name in packages})
    named = ", ".join(f"{name} {changed[name][1]}" for name in culprits) or "no package"
    examined = f"{len(causes)} of {len(report.failures)} failures examined"
    console.print(f"canary: red, broken by {named} ({about}; {examined})")


def _error(text: str) -> str:
    """The line of a failure that says what is wrong."""
    lines = [line for line in text.splitlines() if line.strip()] or ["no words"]
    return ([line[2:].strip() for line in lines if line.startswith("E ")] or lines)[-1]


def _name(requirement: str) -> str:
    return spelling(Requirement(requirement).name)


if __name__ == "__main__":
    typer.run(main)
