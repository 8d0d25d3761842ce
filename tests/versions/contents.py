"""Check what a wheel and a source distribution hold: `python -m tests.versions.contents dist/*`."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["complaints"]

#: The wheel puts this package and its metadata into an environment, nothing else.
_PACKAGE = "tradeoff"
#: What the README's commands need of a source distribution.
_CHECKOUT = (
    ".ci/run",
    "CHANGELOG.md",
    "CITATION.cff",
    "constraints.txt",
    "mkdocs.yml",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "figures/curves/figure_1.py",
    "paper_repro/presets/quick.toml",
    "paper_repro/templates/report.css",
    "paper_repro/templates/report.html",
    "sims/__main__.py",
    "tests/conftest.py",
    "tradeoff/data/prompts.jsonl",
    "tradeoff/templates/evidence.html",
)
_DATA = (
    "tradeoff/py.typed",
    "tradeoff/data/prompts.jsonl",
    "tradeoff/data/families.json",
    "tradeoff/data/jump.safetensors",
    "tradeoff/templates/evidence.css",
    "tradeoff/templates/evidence.html",
    "tradeoff/templates/evidence_index.html",
    "tradeoff/cli/__main__.py",
)


def complaints(archive: Path, tracked: Iterable[str] | None) -> list[str]:
    """What a wheel or source distribution lacks, or holds and should not; empty if it is as it should be.

    Args:
        archive: .whl or .tar.gz.
        tracked: files of the repository; a source distribution may hold these, and what describes itself.
            None where there is no repository to ask, and nothing is compared.

    Raises:
        ValueError: for a file that is neither.
    """
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            names = wheel.namelist()
        tops = {name.split("/")[0] for name in names}
        wrong = [top for top in tops if top != _PACKAGE and not top.endswith(".dist-info")]
        missing = [name for name in _DATA if name not in names]
    elif archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as source:
            names = [member.name.partition("/")[2] for member in source.getmembers() if member.isfile()]
        own = re.compile(rf"PKG-INFO|setup\.cfg|{_PACKAGE}\.egg-info/.*")
        allowed = set(names if tracked is None else tracked)
        wrong = [name for name in names if name not in allowed and not own.fullmatch(name)]
        missing = [name for name in _CHECKOUT if name not in names]
    else:
        raise ValueError(f"{archive} is neither a wheel nor a source distribution; pass what `build` wrote")
    said = [f"{archive.name} holds {name}" for name in sorted(wrong)]
    return said + [f"{archive.name} lacks {name}" for name in missing]


if __name__ == "__main__":
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False)
    repository = None if listed.returncode else listed.stdout.splitlines()
    found = [said for name in sys.argv[1:] for said in complaints(Path(name), repository)]
    print("\n".join(found) or f"{len(sys.argv) - 1} archives hold what they should")
    sys.exit(1 if found else 0)
