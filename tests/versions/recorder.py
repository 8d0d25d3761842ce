"""A pytest plugin that writes down what failed and what was warned of.

pytest -p tests.versions.recorder --record run.json
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

__all__ = ["Recorder"]

#: How much of a failure is kept: its end, where the error stands.
_KEPT = 6000


class Recorder:
    """Collects what passed, failures and warnings of the whole run, all workers together.

    Args:
        path: JSON file that is written when the run ends.
    """

    def __init__(self, path: Path):
        self.path = path
        self.outcome: dict[str, int] = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures: dict[str, str] = {}
        self.passed: list[str] = []
        self.warnings: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test is done, or its set-up or tear-down has failed."""
        if report.failed:
            self.failures[report.nodeid] = report.longreprtext[-_KEPT:]
        if report.failed or report.when == "call" or report.skipped:
            self.outcome[report.outcome] += 1
        if report.passed and report.when == "call":
            self.passed.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file could not even be imported."""
        if report.failed:
            self.outcome["failed"] += 1
            self.failures[report.nodeid] = report.longreprtext[-_KEPT:]
        elif report.nodeid:
            self.passed.append(report.nodeid)

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Something warned; equal words are kept once, with the file that said them."""
        said = f"{warning_message.category.__name__}: {' '.join(str(warning_message.message).split())}"
        self.warnings.setdefault(said, warning_message.filename)

    def pytest_sessionfinish(self) -> None:
        """Write everything."""
        kept = {
            "outcome": self.outcome,
            "failures": self.failures,
            "passed": [test for test in self.passed if test not in self.failures],
            "warnings": self.warnings,
        }
        self.path.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--record F`."""
    parser.addoption("--record", type=Path, default=None, help="Write failures and warnings to a JSON file.")


def pytest_configure(config: pytest.Config) -> None:
    """Record in the process that reports, not in its workers."""
    path = config.getoption("record")
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(path))
