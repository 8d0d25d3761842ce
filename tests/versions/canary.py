"""Do the newest allowed versions of other packages still work here, and which of them broke what?

    python -m tests.versions.canary                                   # the newest that pyproject.toml allows
    python -m tests.versions.canary --with transformers==5.23.0       # with one of them held
    python -m tests.versions.canary --lowest                          # the oldest that pyproject.toml allows

The packages go into a throw-away environment, and the tests run there, all but the simulations of theorems.
Where some fail, versions are taken back to those of constraints.txt by halves, until it is known which
package broke them. Warnings are listed, not failed: they announce what will break. The exit status is 0 if
all is well, 1 if something broke, 2 if the environment could not be made.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.versions.blame import UNCHANGED, blame, suspicion
from tests.versions.lock import ROOT, differences, installed, locked, requirements, spelling

__all__ = ["RECORDING", "Environment", "Report", "representatives"]

#: Options of pytest: a file that cannot be imported does not hide the others; the path of the record follows.
RECORDING = ("--continue-on-collection-errors", "-p", "tests.versions.recorder", "--record")

#: What calls other packages. The statements of theorems (tests/sims) call nothing that these do not.
_TESTS = ("tests", "--ignore=tests/benchmarks", "--ignore=tests/sims")
#: Failing tests of one file that are run again while the culprit is looked for: the first of every kind.
_KINDS_OF_A_FILE = 2
_MOST_AGAIN = 24
#: Secrets of whoever runs this are no business of packages that nobody has tried yet.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)


@dataclass(frozen=True)
class Report:
    """What the recorder of a test run wrote.

    Attributes:
        outcome: how many tests "passed", "failed" and were "skipped".
        failures: the end of every failure's text, by test.
        warnings: the file that said it, by warning.
    """

    outcome: dict[str, int]
    failures: dict[str, str]
    warnings: dict[str, str]


class Environment:
    """A throw-away virtual environment.

    Args:
        folder: where it is made.
        links: a folder of wheels that pip may take as well.
    """

    def __init__(self, folder: Path, links: Path | None = None):
        self.folder = folder
        self._links = [] if links is None else ["--find-links", str(links)]
        maker = venv.EnvBuilder(with_pip=True)
        maker.create(folder / "venv")
        self._python = str(maker.ensure_directories(folder / "venv").env_exe)
        self._variables = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
        # Constraints of the calling environment must not hold anything back.
        self._variables.pop("PIP_CONSTRAINT", None)

    def install(self, wanted: Iterable[str], *options: str) -> None:
        """Install requirements.

        Raises:
            RuntimeError: if pip cannot, with its own words.
        """
        command = [self._python, "-m", "pip", "install", "--quiet", *self._links, *options, *wanted]
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
        """Run tests of this checkout; where pytest itself cannot begin, all of them have failed."""
        return self._pytest(list(tests))

    def retest(self, tests: Iterable[str]) -> frozenset[str]:
        """Those of the failing tests that pass now; files and folders only need be imported."""
        functions = sorted(test for test in tests if "::" in test)
        others = sorted(test for test in tests if "::" not in test)
        failures: set[str] = set()
        if functions:
            failures |= self._pytest(functions).failures.keys()
        if others:
            failures |= self._pytest([*others, "--collect-only"]).failures.keys()
        return frozenset(tests) - failures

    def _pytest(self, arguments: list[str]) -> Report:
        record = self.folder / "record.json"
        record.unlink(missing_ok=True)
        options = [*RECORDING, str(record), "-q", "-p", "no:cacheprovider"]
        command = [self._python, "-m", "pytest", *options, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=self._variables, check=False
        )
        if record.exists():
            return Report(**json.loads(record.read_text(encoding="utf-8")))
        given = [argument for argument in arguments if not argument.startswith("-")]
        said = (done.stdout + done.stderr)[-2000:]
        return Report({"failed": len(given)}, dict.fromkeys(given, said), {})


def representatives(failures: dict[str, str]) -> frozenset[str]:
    """A few failing tests that stand for all: in every file the first ones whose last lines differ."""
    kinds: dict[str, set[str]] = defaultdict(set)
    chosen: list[str] = []
    for test, text in sorted(failures.items()):
        file, _, _ = test.partition("::")
        errors = [line for line in text.splitlines() if line.startswith("E ")] or text.splitlines()[-1:]
        kind = "".join(errors[-1:])
        if kind not in kinds[file] and len(kinds[file]) < _KINDS_OF_A_FILE:
            kinds[file].add(kind)
            chosen.append(test)
    return frozenset(chosen[:_MOST_AGAIN])


def main(
    with_: Annotated[
        list[str] | None, typer.Option("--with", help="A requirement such as transformers==5.23.0.")
    ] = None,
    lowest: Annotated[bool, typer.Option("--lowest", help="The oldest allowed versions instead.")] = False,
    find_links: Annotated[Path | None, typer.Option(help="A folder of wheels that pip may take.")] = None,
    tests: Annotated[
        list[str] | None, typer.Argument(help="Tests to run, instead of all but those of theorems.")
    ] = None,
) -> None:
    """Run the tests with other versions than those of constraints.txt."""
    console = Console(highlight=False, soft_wrap=True)
    asked = [*requirements(), *(with_ or [])]
    if lowest:
        asked += [re.sub(r">=([^,]+).*", r"==\1", requirement) for requirement in requirements()]
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    try:
        with (
            tempfile.TemporaryDirectory(prefix="canary-", ignore_cleanup_errors=True) as name,
            Progress(*columns, console=errors, transient=True) as progress,
        ):
            task = progress.add_task("making an environment")

            def step(words: str) -> None:
                progress.update(task, description=words)
                if not errors.is_terminal:
                    errors.print(f"canary: {words} ...", markup=False)

            environment = Environment(Path(name), find_links)
            step("installing " + ("the oldest" if lowest else "the newest") + " allowed versions")
            environment.install(asked)
            found = environment.versions()
            changed = differences(locked(), found)
            step(f"running the tests with {len(changed)} other versions than the tested ones")
            report = environment.test(tests or _TESTS)
            causes = _causes(environment, report, changed, step) if report.failures else {}
    except RuntimeError as error:
        console.print(f"canary: no verdict, the environment cannot be made: {error}", markup=False)
        raise typer.Exit(2) from error
    _tell(console, report, changed, causes, found)
    raise typer.Exit(1 if report.failures else 0)


def _causes(
    environment: Environment, report: Report, changed: dict[str, tuple[str, str]], step
) -> dict[str, frozenset[str]]:
    """{test: packages that broke it} for some failing tests of every kind."""
    direct = [spelling(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in requirements()]
    suspects = suspicion(changed, direct, report.failures.values())

    def passing(back: frozenset[str], tests: frozenset[str]) -> frozenset[str]:
        step(f"running {len(tests)} failing tests again with the tested {', '.join(sorted(back))}")
        exact = [f"{name}=={was if name in back else now}" for name, (was, now) in changed.items()]
        environment.install(exact, "--no-deps")
        return environment.retest(tests)

    return blame(representatives(report.failures), suspects, passing)


def _tell(
    console: Console,
    report: Report,
    changed: dict[str, tuple[str, str]],
    causes: dict[str, frozenset[str]],
    found: dict[str, str],
) -> None:
    """Versions, warnings, and the verdict with its reasons."""
    for name, (was, now) in changed.items():
        console.print(f"  {name} {was} -> {now}", markup=False)
    for said, where in sorted(report.warnings.items()):
        console.print(f"  announced ({Path(where).name}): {said[:300]}", markup=False)
    counts = ", ".join(f"{number} {what}" for what, number in report.outcome.items() if number)
    about = f"Python {sys.version.split()[0]}, Transformers {found.get('transformers')}, {counts}"
    if not report.failures:
        console.print(f"canary: green ({about}; {len(changed)} versions differ from constraints.txt)")
        return
    by_cause: dict[frozenset[str], list[str]] = defaultdict(list)
    for test, packages in causes.items():
        by_cause[packages].append(test)
    for packages, tests in sorted(by_cause.items(), key=lambda item: sorted(item[0])):
        names = " together with ".join(f"{name} {changed[name][1]}" for name in sorted(packages))
        if packages == UNCHANGED:
            names = "no other version (it fails with the tested ones as well)"
        console.print(f"broken by {names}:", markup=False)
        for test in tests:
            lines = [line for line in report.failures[test].splitlines() if line.strip()]
            errors = [line[2:].strip() for line in lines if line.startswith("E ")] or lines[-1:]
            console.print(f"  {test}: {errors[-1][:200]}", markup=False)
    culprits = sorted({name for packages in causes.values() for name in packages})
    named = ", ".join(f"{name} {changed[name][1]}" for name in culprits) or "no package"
    console.print(f"canary: red, broken by {named} ({about})", markup=False)


if __name__ == "__main__":
    typer.run(main)
