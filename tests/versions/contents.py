"""Check what a wheel and a source distribution hold: `python -m tests.versions.contents dist/*`."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

__all__ = ["complaints"]

#: The wheel puts this package and its metadata into an environment, nothing else.
_PACKAGE = "tradeoff"
#: What the README's commands need of a source distribution.
_CHECKOUT = (
    "constraints.txt",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "figures/figure_1.py",
    "paper_repro/presets/quick.toml",
    "sims/__main__.py",
    "tests/conftest.py",
    "tradeoff/data/prompts.jsonl",
)
_DATA = (
    "tradeoff/data/prompts.jsonl",
    "tradeoff/data/families.json",
    "tradeoff/data/jump.safetensors",
    "tradeoff/cli/__main__.py",
)


def complaints(archive: Path) -> list[str]:
    """What a wheel or source distribution lacks, or holds and should not; empty if it is as it should be.

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
            names = [name.partition("/")[2] for name in source.getnames()]
        wrong = [name for name in names if name.endswith((".key", ".pyc", ".npz", "texts.jsonl"))]
        missing = [name for name in _CHECKOUT if name not in names]
    else:
        raise ValueError(f"{archive} is neither a wheel nor a source distribution; pass what `build` wrote")
    said = [f"{archive.name} holds {name}" for name in sorted(wrong)]
    return said + [f"{archive.name} lacks {name}" for name in missing]


if __name__ == "__main__":
    found = [said for name in sys.argv[1:] for said in complaints(Path(name))]
    print("\n".join(found) or f"{len(sys.argv) - 1} archives hold what they should")
    sys.exit(1 if found else 0)
