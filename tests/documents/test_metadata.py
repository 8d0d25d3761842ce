"""CHANGELOG.md, CITATION.cff and pyproject.toml agree, and claim what was run."""

from __future__ import annotations

import re
import tomllib

import yaml

from tests.versions.lock import ROOT
from tradeoff import _moved

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_one_version() -> None:
    assert re.search(r"^## (\S+)", CHANGES, re.MULTILINE)[1] == PROJECT["version"]
    assert CITATION["version"] == PROJECT["version"]


def test_the_citation_is_of_this_software_and_its_three_papers() -> None:
    assert CITATION["license"] == PROJECT["license"]
    assert [author["name"] for author in CITATION["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]
    assert len(CITATION["references"]) == 3
    assert all(paper["authors"] and paper["title"] for paper in CITATION["references"])


def test_classifiers_name_versions_of_python_that_were_run() -> None:
    versions = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    run = {".".join(version.split(".")[:2]) for version in re.findall(r"\| (3\.1\d\.\d+) \|", versions)}
    named = {entry.rsplit(" ", 1)[1] for entry in PROJECT["classifiers"] if ":: 3." in entry}
    assert named == run


def test_every_path_that_moved_is_told() -> None:
    told = dict(
        re.findall(r"^\| `(?:python -m )?([^`]+)` \| `(?:python -m )?(.+)` \|$", CHANGES, re.MULTILINE)
    )
    places = {
        name: "`, `".join(dict.fromkeys(".".join(module.split(".")[:2]) for module in modules))
        for name, modules in _moved._MODULES.items()
    }
    commands = {name: " ".join(words) for name, words in _moved._COMMANDS.items()}
    assert told == places | commands
    assert f"that go in {_moved._GONE}" in CHANGES
