"""What pyproject.toml allows, what constraints.txt has tested, and what is installed."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name

__all__ = [
    "CONSTRAINTS",
    "ROOT",
    "differences",
    "installed",
    "locked",
    "requirements",
    "spelling",
    "undo_label",
]

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
_LINE = re.compile(r"([a-z0-9-]+)==([A-Za-z0-9.]+)")


def locked(path: Path = CONSTRAINTS) -> dict[str, str]:
    """The tested version of every package, by its normalised name.

    Raises:
        ValueError: for a line that is neither a comment nor `name==version`.
    """
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise ValueError(f"{path.name} line {number} is {line!r}; a lock has `name==version` alone")
        found[parts[1]] = parts[2]
    return found


def installed(paths: list[str] | None = None) -> dict[str, str]:
    """The version of every installed package, by its normalised name, without local labels.

    Args:
        paths: folders to look in; None for those of this interpreter.
    """
    found = distributions() if paths is None else distributions(path=paths)
    versions: dict[str, str] = {}
    for package in found:
        # The first on the path is the one that is imported.
        versions.setdefault(spelling(package.name), undo_label(package.version))
    return versions


def differences(tested: dict[str, str], found: dict[str, str]) -> dict[str, tuple[str, str]]:
    """{name: (tested version, found version)} of packages whose versions differ."""
    return {
        name: (version, found[name])
        for name, version in sorted(tested.items())
        if name in found and found[name] != version
    }


def requirements(extra: str = "test", path: Path = ROOT / "pyproject.toml") -> list[str]:
    """What pyproject.toml asks for with an extra, the extras that it names in turn resolved."""
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    own = re.compile(rf"{re.escape(project['name'])}\[([\w-]+)\]")
    wanted, asked = list(project["dependencies"]), [extra]
    while asked:
        for requirement in project["optional-dependencies"][asked.pop()]:
            inner = own.fullmatch(requirement)
            if inner is None:
                wanted.append(requirement)
            else:
                asked.append(inner[1])
    return sorted(wanted)


def spelling(name: str) -> str:
    """A package's name as indexes and locks write it."""
    return str(canonicalize_name(name))


def undo_label(version: str) -> str:
    """A version without its local label: 2.13.0+cpu is a build of 2.13.0."""
    return version.partition("+")[0]
