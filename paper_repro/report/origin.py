"""Where the tables in a folder come from: what was run, when, and by which version."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tradeoff.errors import FileError
from tradeoff.files import replacing

__all__ = ["NO_CHECKOUT", "Origin", "commit_of", "origin_now"]

#: What stands for a commit where there is none.
NO_CHECKOUT = "not a checkout"
_ROOT = Path(__file__).parents[2]
_NAME = "run.json"


@dataclass(frozen=True)
class Origin:
    """A run.

    Attributes:
        preset: its name, or the path of its file.
        command: that repeats it.
        passages: of human text that false-positive rates were measured on.
        date: of its end, as "2026-11-29".
        version: of tradeoff.
        commit: of the checkout, with a "+" if files that git knows had changed; or `NO_CHECKOUT`.
    """

    preset: str
    command: str
    passages: int
    date: str
    version: str
    commit: str

    def write(self, folder: Path) -> Path:
        """Write `run.json` into a folder.

        Raises:
            FileError: if the file cannot be written.
        """
        with replacing(folder / _NAME) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        return folder / _NAME

    @classmethod
    def read(cls, folder: Path) -> Origin:
        """From the `run.json` of a folder.

        Raises:
            FileError: if it is missing or is none.
        """
        path = folder / _NAME
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise FileError(f"{path} cannot be read ({error}); run the experiment again") from error


def origin_now(preset: str, command: str, passages: int) -> Origin:
    """The run that ends now."""
    try:
        installed = version("tradeoff")
    except PackageNotFoundError:
        installed = "not installed"
    return Origin(
        preset, command, passages, datetime.now(UTC).date().isoformat(), installed, commit_of(_ROOT)
    )


def commit_of(folder: Path) -> str:
    """The commit that a folder is a checkout of, as `Origin` has it; of a folder within one there is none."""

    def said(*command: str) -> str:
        run = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        if Path(said("rev-parse", "--show-toplevel")).resolve() != folder.resolve():
            return NO_CHECKOUT
        changed = said("status", "--porcelain", "--untracked-files=no")
        return said("rev-parse", "--short=12", "HEAD") + "+" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return NO_CHECKOUT
