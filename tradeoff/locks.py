"""Locks, which end with whoever holds them: what a killed process left is told from work that goes on."""

from __future__ import annotations

import math
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ModuleNotFoundError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

__all__ = ["is_workplace", "lock", "remove_abandoned", "workplace"]

_SUFFIX = ".lock"
#: What comes after the prefix of a name.
_UNIQUE = "[0-9a-f]{12}"


def lock(stream: BinaryIO) -> bool | None:
    """Keep an open file from other processes until it is closed, without waiting for those that have it.

    Returns:
        True if it is locked now, False if somebody else holds it, None if this system or disk has no
        locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


@contextmanager
def workplace(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent`, of which nothing is left when the block ends.

    Nobody else can read it. A file beside it is locked as long as its owner lives; after a kill
    `remove_abandoned` removes both.

    Args:
        parent: an existing folder, on the disk that the results are for.
        prefix: what the folder's name begins with.

    Raises:
        OSError: if it cannot be made.
    """
    held = _claimed(parent, prefix)
    place = Path(held.name).with_suffix("")
    try:
        place.mkdir(0o700)
        yield place
    finally:
        held.close()
        # From here on somebody else may be removing it too. Windows cannot delete what is mapped into memory.
        with suppress(OSError):
            _remove(place)


def remove_abandoned(parent: Path, prefix: str, after: float = math.inf) -> None:
    """Remove the workplaces in `parent` whose owners are dead; what cannot be removed stays.

    Args:
        parent: the folder; it need not exist.
        prefix: what their names begin with.
        after: seconds after which folders go whose owner may be alive for all that locks tell, as there are
            none here.
    """
    ours = re.compile(re.escape(prefix) + _UNIQUE)
    names = {path.name.removesuffix(_SUFFIX) for path in parent.glob(f"{escape(prefix)}*")}
    for place in (parent / name for name in sorted(names)):
        # Somebody else may be removing the same one.
        with suppress(OSError), _taken(place) as dead:
            # The names that others chose say nothing of locks.
            if (dead and ours.fullmatch(place.name)) or (dead is None and _age(place) > after):
                _remove(place)


def is_workplace(path: Path) -> bool:
    """Whether a path is that of a workplace, whose files are not, or never were, what they should be."""
    return re.search(rf"-{_UNIQUE}\Z", path.name) is not None and _lock_file(path).exists()


def _claimed(parent: Path, prefix: str) -> BinaryIO:
    """A new lock file, held until it is closed; the name of its workplace is new as well."""
    while True:
        path = parent / f"{prefix}{secrets.token_hex(6)}{_SUFFIX}"
        held = path.open("xb", buffering=0)
        # Between making and locking, somebody else may take it for a dead one's and remove it.
        if lock(held) is not False and path.exists():
            return held
        held.close()


@contextmanager
def _taken(place: Path) -> Iterator[bool | None]:
    """Hold a workplace for the block if its owner is dead.

    Yields:
        Whether it is; None if no lock tells.
    """
    try:
        held = _lock_file(place).open("r+b", buffering=0)
    except OSError:
        held = None
    if held is None:
        yield None
        return
    with held:
        yield lock(held)


def _remove(place: Path) -> None:
    """The lock file last: as long as anything is left, the next one can try again."""
    if place.exists():
        shutil.rmtree(place)
    _lock_file(place).unlink(missing_ok=True)


def _age(place: Path) -> float:
    return time.time() - (place if place.exists() else _lock_file(place)).stat().st_mtime


def _lock_file(place: Path) -> Path:
    return place.with_name(place.name + _SUFFIX)
