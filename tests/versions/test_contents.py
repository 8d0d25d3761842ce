"""What archives may hold: the wheel its package alone, the source distribution the repository alone."""

from __future__ import annotations

import io
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.versions.contents import complaints
from tests.versions.lock import ROOT

WHEEL = ("tradeoff/py.typed",)
WHEEL += ("tradeoff/data/prompts.jsonl", "tradeoff/data/families.json", "tradeoff/data/jump.safetensors")
WHEEL += ("tradeoff/templates/evidence.css", "tradeoff/templates/evidence.html", "tradeoff/cli/__main__.py")
WHEEL += ("tradeoff/templates/evidence_index.html",)
WHEEL += ("tradeoff-1.dist-info/METADATA",)
SOURCE = (
    ".ci/run",
    "CHANGELOG.md",
    "CITATION.cff",
    "constraints.txt",
    "mkdocs.yml",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "figures/curves/figure_1.py",
)
SOURCE += ("paper_repro/presets/quick.toml", "sims/__main__.py", "tests/conftest.py")
SOURCE += ("paper_repro/templates/report.css", "paper_repro/templates/report.html")
SOURCE += ("tradeoff/data/prompts.jsonl", "tradeoff/templates/evidence.html")
SOURCE += ("tradeoff.egg-info/PKG-INFO", "PKG-INFO", "setup.cfg")


def wheel(folder: Path, names: Iterable[str]) -> Path:
    path = folder / "it-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def source(folder: Path, names: Iterable[str]) -> Path:
    path = folder / "it-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"it-1/{name}"), io.BytesIO())
    return path


def test_archives_as_they_should_be(tmp_path: Path) -> None:
    assert complaints(wheel(tmp_path, WHEEL), []) == []
    assert complaints(source(tmp_path, SOURCE), SOURCE) == []


@pytest.mark.parametrize("extra", ["figures/curves/figure_1.py", "tests/conftest.py", "stray.py"])
def test_a_wheel_puts_nothing_beside_its_package(tmp_path: Path, extra: str) -> None:
    (said,) = complaints(wheel(tmp_path, [*WHEEL, extra]), [extra])
    assert said.endswith(f"holds {extra.split('/')[0]}")


@pytest.mark.parametrize("name", WHEEL[:-1])
def test_a_wheel_without_its_data(tmp_path: Path, name: str) -> None:
    (said,) = complaints(wheel(tmp_path, set(WHEEL) - {name}), [])
    assert said.endswith(f"lacks {name}")


def test_every_file_of_the_package_is_declared() -> None:
    """What is neither a module nor package data, such as a new template, would be in no wheel."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    package = ROOT / "tradeoff"
    patterns = settings["tool"]["setuptools"]["package-data"]["tradeoff"]
    declared = {path for pattern in patterns for path in package.glob(pattern)}
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} == declared


def test_a_source_distribution_is_the_repository(tmp_path: Path) -> None:
    """Neither what lies about in a checkout, nor less than the commands need."""
    names = {*SOURCE, "tests/my.key"} - {"constraints.txt"}
    said = complaints(source(tmp_path, names), SOURCE)
    assert [words.split(" ", 1)[1] for words in said] == ["holds tests/my.key", "lacks constraints.txt"]


def test_other_files_are_no_archives(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a wheel nor a source distribution"):
        complaints(tmp_path / "it.zip", [])
