"""The lock says `name==version` and nothing else, fits pyproject.toml, and is what every command uses."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from tests.versions.lock import (
    CONSTRAINTS,
    ROOT,
    differences,
    installed,
    locked,
    requirements,
    spelling,
    undo_label,
)


def test_the_lock_names_versions_alone() -> None:
    """No hashes, indexes, local labels or extras, and no packages for one kind of GPU."""
    text = CONSTRAINTS.read_text(encoding="utf-8")
    assert not [mark for mark in ("+", "/", "://", "--hash", "[", ";") if mark in text]
    tested = locked()
    assert len(tested) > 50
    assert not [name for name in tested if name.startswith(("nvidia", "cuda", "triton"))]
    assert "uv pip compile pyproject.toml --extra test --extra docs" in text.splitlines()[1]


def test_lines_that_are_no_pins_are_named(tmp_path: Path) -> None:
    for line in ("torch==2.13.0+cpu", "numpy>=2", "--index-url x", "numpy==2.0 ; python_version > '3'"):
        (tmp_path / "lock.txt").write_text(f"# how\nscipy==1.0\n{line}\n")
        with pytest.raises(ValueError, match=r"lock\.txt line 3 is .*name==version"):
            locked(tmp_path / "lock.txt")


@pytest.mark.parametrize("extra", ["test", "docs"])
def test_tested_versions_are_allowed_ones(extra: str) -> None:
    """Everything that pyproject.toml asks for is locked, at a version within its range."""
    tested = locked()
    for text in requirements(extra):
        wanted = Requirement(text)
        assert wanted.specifier.contains(tested[spelling(wanted.name)]), text


def test_ranges_begin_somewhere() -> None:
    """A range without a lower bound claims versions that nobody ran."""
    for text in {*requirements(), *requirements("docs")}:
        assert ">=" in text, text
    by_name = {Requirement(text).name: Requirement(text) for text in requirements()}
    assert "<2.14" in str(by_name["torch"].specifier)
    assert "<6" in str(by_name["transformers"].specifier)


def test_extras_are_resolved(tmp_path: Path) -> None:
    project = '[project]\nname = "it"\ndependencies = ["a>=1"]\n[project.optional-dependencies]\n'
    (tmp_path / "p.toml").write_text(project + 'run = ["b>=2"]\ntest = ["it[run]", "c>=3"]\n')
    assert requirements("test", tmp_path / "p.toml") == ["a>=1", "b>=2", "c>=3"]
    assert requirements("run", tmp_path / "p.toml") == ["a>=1", "b>=2"]


def test_versions_are_compared_by_name_and_without_labels() -> None:
    assert spelling("Pytest_XDist.Plus") == "pytest-xdist-plus"
    assert undo_label("2.13.0+cpu") == "2.13.0"
    assert differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "2.1", "d": "4"}) == {
        "b": ("2", "2.1")
    }
    assert installed()["numpy"] == undo_label(np.__version__)


def test_every_command_uses_the_lock() -> None:
    """README and CI install with the lock, whatever else they install."""
    for path in (ROOT / "README.md", ROOT / ".ci" / "run"):
        commands = re.findall(r"pip install .*-e .*", path.read_text(encoding="utf-8"))
        assert len(commands) >= 2
        for command in commands:
            assert re.match(r"pip install (--quiet )?-c constraints\.txt -e '\.\[\w+\]'", command), command


def test_warnings_are_errors_only_under_the_lock() -> None:
    """Ours always, others' where they speak to their callers; never what they say of their own calls."""

    def is_error(category: type[Warning], module: str) -> bool:
        try:
            warnings.warn_explicit("said", category, f"{module}.py", 1, module=module, registry={})
        except category:
            return True
        return False

    under_lock = not differences(locked(), installed())
    # Recording keeps the filters as they are, and the words out of the run's own summary.
    with warnings.catch_warnings(record=True):
        assert not is_error(DeprecationWarning, "torch.nn.modules")
        for module in ("tradeoff.llm.generation.slots", "tests.llm", "sims"):
            assert is_error(DeprecationWarning, module) == under_lock
        assert is_error(FutureWarning, "torch.nn.modules.module") == under_lock
        assert is_error(RuntimeWarning, "tradeoff.laws") == under_lock


def test_the_documentation_names_the_versions() -> None:
    """Its table has every package that users install, with the bounds of pyproject.toml and the lock."""
    text = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    documented = {}
    for line in re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| ([\w.]+) \| (.*?) ?\|$", text, re.MULTILINE):
        name, lowest, tested, why = line
        documented[name] = lowest, tested, re.findall(r"^below ([\d.]+)\b", why)
    expected = {}
    extras = ("llm", "documents", "ray", "serve")
    for wanted in map(Requirement, sorted({one for extra in extras for one in requirements(extra)})):
        bounds = {bound.operator: bound.version for bound in wanted.specifier}
        upper = [bounds["<"]] if "<" in bounds else []
        expected[wanted.name] = bounds[">="], locked()[spelling(wanted.name)], upper
    assert documented == expected
    renewing = CONSTRAINTS.read_text(encoding="utf-8").splitlines()[1].removeprefix("#").strip()
    assert renewing.removesuffix(" -o constraints.txt") in text
