"""The canary on real packages: a release of Transformers that renames something turns it red, and is named.

Needs an index of packages that pip can reach, and some five minutes; all else keeps its tested version.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.versions.lock import ROOT, locked

#: One environment, made once: one worker runs both.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("canary")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary")


def repackaged(name: str, version: str, before: str, after: str, folder: Path) -> Path:
    """A wheel of an installed package under another version, with a word replaced in all of its sources."""
    package = distribution(name)
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    replaced = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in package.files or []:
            if ".." in file.parts or "__pycache__" in file.parts or file.name in ("RECORD", "INSTALLER"):
                continue
            content, target = file.locate().read_bytes(), file.as_posix()
            if file.parts[0].endswith(".dist-info"):
                target = f"{stem}.dist-info/" + "/".join(file.parts[1:])
                if file.name == "METADATA":
                    was = f"\nVersion: {package.version}\n".encode()
                    assert was in content
                    content = content.replace(was, f"\nVersion: {version}\n".encode(), 1)
            elif file.suffix == ".py":
                replaced += content.count(before.encode())
                content = content.replace(before.encode(), after.encode())
            wheel.writestr(target, content)
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    assert replaced
    return path


def test_a_breaking_release_is_named(tmp_path: Path, environment: Path) -> None:
    """Red, with exit status 1, for what the release broke; tests that do not touch it pass."""
    repackaged("transformers", "5.99.0", "get_text_config", "get_words_config", tmp_path)
    tests = ("tests/llm/generation/test_slots.py", "tests/test_laws.py")
    result = run_canary("5.99.0", tmp_path, environment, *tests)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"transformers {locked()['transformers']} -> 5.99.0" in result.stdout
    assert "broken by transformers 5.99.0:\n  tests/llm/generation/test_slots.py::" in result.stdout
    assert "has no attribute 'get_text_config'" in result.stdout
    assert "canary: red, broken by transformers 5.99.0 " in result.stdout
    assert "test_simplex" not in result.stdout


def test_a_release_that_cannot_be_imported_is_named(tmp_path: Path, environment: Path) -> None:
    """The same where not even the fixtures load, so that no test begins."""
    # A version of its own: pip takes one that it has for the one that it is to have.
    repackaged("transformers", "5.99.1", "DynamicLayer", "GrowingLayer", tmp_path)
    result = run_canary("5.99.1", tmp_path, environment, "tests/llm/generation/test_slots.py")
    assert result.returncode == 1, result.stdout + result.stderr
    assert (
        "broken by transformers 5.99.1:\n  tests/llm/generation/test_slots.py: ImportError" in result.stdout
    )
    assert "canary: red, broken by transformers 5.99.1 " in result.stdout


def run_canary(version: str, links: Path, environment: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """The canary's command, in the environment of a folder that may take the wheels in `links`."""
    command = [sys.executable, "-m", "tests.versions.canary", "--find-links", str(links), "--locked"]
    command += ["--folder", str(environment), "--with", f"transformers=={version}", *tests]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
