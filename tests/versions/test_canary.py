"""The canary's verdicts: green, red with the culprit's name, or none where no environment can be made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.versions import canary
from tests.versions.canary import Report, representatives
from tests.versions.lock import ROOT, locked, requirements

APP = typer.Typer()
APP.command()(canary.main)


class FakeEnvironment:
    """Versions without files; tests fail for the versions that `broken` names."""

    broken: dict[str, str]
    newest: dict[str, str]

    def __init__(self, folder: Path, links: Path | None = None):
        self.pins: dict[str, str] = {}

    def install(self, wanted: Iterable[str], *options: str) -> None:
        self.pins |= dict(text.split("==") for text in wanted if "==" in text)

    def versions(self) -> dict[str, str]:
        return locked() | self.newest | self.pins

    def retest(self, tests: Iterable[str]) -> frozenset[str]:
        return frozenset(tests) - self.test(tests).failures.keys()

    def test(self, tests: Iterable[str]) -> Report:
        failing = {
            test: f"site-packages/somewhere\nE   AttributeError: {package}\n"
            for test, package in self.broken.items()
            if self.versions()[package] == self.newest.get(package)
        }
        return Report(
            {"passed": 9 - len(failing), "failed": len(failing), "skipped": 0},
            failing,
            [],
            {"FutureWarning: the other name": "lib/torch/module.py"},
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Callable[..., type[FakeEnvironment]]:
    """Newest versions, and which of them break which test."""

    def make(newest: dict[str, str], broken: dict[str, str]) -> type[FakeEnvironment]:
        kind = type("World", (FakeEnvironment,), {"newest": newest, "broken": broken})
        monkeypatch.setattr(canary, "Environment", kind)
        return kind

    return make


NEWEST = {"numpy": "2.99.0", "rich": "99.0", "transformers": "5.99.0", "pandas": "9.0"}


def test_green(world: Callable[..., type[FakeEnvironment]]) -> None:
    """Nothing fails: exit status 0, with the versions that differ and what they announce."""
    world(NEWEST, {})
    result = CliRunner().invoke(APP, [])
    assert result.exit_code == 0
    assert "canary: green" in result.output
    assert "4 versions differ" in result.output
    assert f"rich {locked()['rich']} -> 99.0" in result.output
    assert "announced (module.py): FutureWarning: the other name" in result.output


def test_red_names_the_packages(world: Callable[..., type[FakeEnvironment]]) -> None:
    """Every failing test under the package that broke it; exit status 1."""
    world(NEWEST, {"tests/a.py::x": "transformers", "tests/b.py::y": "pandas"})
    result = CliRunner().invoke(APP, [])
    assert result.exit_code == 1
    assert "broken by transformers 5.99.0:\n  tests/a.py::x: AttributeError: transformers" in result.output
    assert "broken by pandas 9.0:\n  tests/b.py::y: AttributeError: pandas" in result.output
    assert "canary: red, broken by pandas 9.0, transformers 5.99.0" in result.output


def test_red_without_a_culprit(world: Callable[..., type[FakeEnvironment]]) -> None:
    """A test that fails with the tested versions as well is laid at nobody's door."""
    world({"numpy": locked()["numpy"]}, {"tests/a.py::x": "numpy"})
    result = CliRunner().invoke(APP, [])
    assert result.exit_code == 1
    assert "broken by no other version (it fails with the tested ones as well)" in result.output
    assert "canary: red, broken by no package" in result.output


def test_held_versions_and_the_oldest(world: Callable[..., type[FakeEnvironment]]) -> None:
    """`--with` holds one version; `--lowest` takes the lower bound of every range."""
    asked: list[str] = []
    kind = world({}, {})
    kind.install = lambda self, wanted, *options: asked.extend(wanted)  # type: ignore[method-assign]
    assert CliRunner().invoke(APP, ["--with", "transformers==5.23.0"]).exit_code == 0
    assert asked == [*requirements(), "transformers==5.23.0"]
    asked.clear()
    assert CliRunner().invoke(APP, ["--lowest"]).exit_code == 0
    assert {"numpy==2.0", "torch==2.6", "transformers==5.23"} <= set(asked)
    asked.clear()
    assert CliRunner().invoke(APP, ["--locked", "--with", "transformers==5.23.0"]).exit_code == 0
    held = {f"{name}=={version}" for name, version in locked().items() if name != "transformers"}
    assert set(asked) == {*requirements(), "transformers==5.23.0", *held}


def test_no_verdict_without_an_environment(world: Callable[..., type[FakeEnvironment]]) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("ERROR: no matching distribution")

    world({}, {}).install = refuse  # type: ignore[assignment]
    result = CliRunner().invoke(APP, [])
    assert result.exit_code == 2
    assert "error: ERROR: no matching distribution" in result.output


def test_green_needs_tests_that_passed(world: Callable[..., type[FakeEnvironment]]) -> None:
    """A run in which nothing was tested says nothing."""
    kind = world({}, {})
    kind.test = lambda self, tests: Report({"passed": 0, "failed": 0, "skipped": 3}, {}, [], {})  # type: ignore
    result = CliRunner().invoke(APP, [])
    assert result.exit_code == 1
    assert "canary: red" in result.output


def test_what_fails_once_accuses_nobody(world: Callable[..., type[FakeEnvironment]]) -> None:
    kind = world(NEWEST, {"tests/a.py::x": "transformers"})
    kind.retest = lambda self, tests: frozenset(tests)  # type: ignore[method-assign]
    result = CliRunner().invoke(APP, [])
    assert result.exit_code == 1
    assert "passes when it is run again, or was not looked at in time: tests/a.py::x" in result.output
    assert "canary: red, broken by no package" in result.output


def test_failures_are_told_even_if_no_culprit_can_be_sought(
    world: Callable[..., type[FakeEnvironment]],
) -> None:
    """No time, or versions that cannot be taken back: red all the same, with what failed."""
    kind = world(NEWEST, {"tests/a.py::x": "transformers"})
    result = CliRunner().invoke(APP, ["--minutes", "-1"])
    assert result.exit_code == 1
    assert "failed: tests/a.py::x: AttributeError: transformers" in result.output

    def install(self: FakeEnvironment, wanted: Iterable[str], *options: str) -> None:
        if options:
            raise RuntimeError("ERROR: gone")

    kind.install = install  # type: ignore[method-assign]
    result = CliRunner().invoke(APP, [])
    assert result.exit_code == 1
    assert "canary: red" in result.output


@pytest.mark.slow
def test_pytest_that_does_not_come_to_its_end_has_failed(tmp_path: Path) -> None:
    """A path that is not there leaves a record without failures behind; it does not count."""
    environment = canary.Environment.__new__(canary.Environment)
    environment.folder, environment._python = tmp_path, sys.executable
    environment._variables = dict(os.environ)
    report = environment.test(["tests/no_such_test.py"])
    assert report.failures.keys() == {"tests/no_such_test.py"}
    assert environment.retest(["tests/test_laws.py::no_such_test", "tests/versions/test_blame.py"]) == {
        "tests/versions/test_blame.py"
    }


def test_a_few_tests_stand_for_all() -> None:
    """Two of every error, wherever they are; all errors before a second test of any."""
    failures = {f"tests/a/{i:02}.py::t": "where\nE   one error" for i in range(40)}
    failures |= {"tests/z.py": "ImportError while importing", "tests/z/y.py::t": "E  another"}
    chosen = {"tests/a/00.py::t", "tests/a/01.py::t", "tests/z.py", "tests/z/y.py::t"}
    assert representatives(failures) == chosen
    assert len(representatives({f"tests/{i}.py::t": f"E  {i}" for i in range(100)})) == 24


@pytest.mark.parametrize("workers", [0, 2])
def test_failures_and_warnings_are_recorded(tmp_path: Path, workers: int) -> None:
    """A failing test, a file that cannot be imported, a warning: all in one file, also over workers."""
    (tmp_path / "test_it.py").write_text(
        "import warnings\n\n"
        "def test_good():\n    warnings.warn('words', FutureWarning)\n\n"
        "def test_bad():\n    assert 1 == 2\n"
    )
    (tmp_path / "test_gone.py").write_text("import no_such_module_anywhere\n")
    (tmp_path / "none.ini").write_text("[pytest]\n")
    record = tmp_path / "record.json"
    options = [*canary.RECORDING, record, "-q", "-c", "none.ini", "-n", workers, "."]
    subprocess.run(
        [sys.executable, "-m", "pytest", *map(str, options)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    seen = Report(**json.loads(record.read_text()))
    assert {name.split("::")[-1] for name in seen.failures} == {"test_bad", "test_gone.py"}
    assert "no_such_module_anywhere" in "".join(seen.failures.values())
    assert seen.outcome == {"passed": 1, "failed": 2, "skipped": 0}
    assert "test_it.py::test_good" in seen.passed
    assert not seen.failures.keys() & set(seen.passed)
    assert Path(seen.warnings["FutureWarning: words"]).name == "test_it.py"
