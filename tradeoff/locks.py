"""Locks, which end with whoever holds them: what a killed process left is told from work that goes on."""

from __future__ import annotations

import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

__all__ = ["give_up", "hold", "is_workplace", "lock", "remove_abandoned", "workplace"]

_SUFFIX = ".lock"
#: What comes after the prefix of a name.
_UNIQUE = "[0-9a-f]{12}"


def lock(stream: BinaryIO) -> bool | None:
    """Keep an open file from other processes until it is closed, without waiting for those that have it.

    Returns:
        True if it is locked now, False if somebody else holds it, None if this system or disk has no
        locks.
    """
    # Who only reads files does without it.
    from filelock import lock_descriptor

    try:
        return lock_descriptor(stream.fileno(), blocking=False)
    except OSError:
        return None


def hold(path: Path) -> BinaryIO | None:
    """Lock the file at `path`, which is there only for that and made if need be; `give_up` is the end of it.

    What is locked itself cannot be replaced under its lock, nor, on Windows, be read by others.

    Returns:
        The open file, which is not locked where there are no locks; None if somebody else holds it.

    Raises:
        OSError: if it cannot be made.
    """
    while True:
        held = path.open("ab", buffering=0)
        if lock(held) is False:
            held.close()
            return None
        if _is_there(held):
            return held
        # Between opening and locking, whoever held it has removed it.
        held.close()


def give_up(held: BinaryIO) -> None:
    """Remove a lock file while it is held, so that nobody locks what is going to be removed, and close it."""
    path = Path(held.name)
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # Windows removes nothing that is open, and after this, nothing that others have opened to lock it.
        held.close()
        with suppress(OSError):
            path.unlink(missing_ok=True)
    held.close()


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
    held = None
    while held is None:
        # Somebody else may take a file that is not locked yet for a dead one's.
        held = hold(parent / f"{prefix}{secrets.token_hex(6)}{_SUFFIX}")
    place = Path(held.name).with_suffix("")
    try:
        place.mkdir(0o700)
        yield place
    finally:
        # Windows cannot delete what is mapped into memory; the next one to remove what is abandoned does.
        with held, suppress(OSError):
            _remove(place, held)


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
        try:
            held = _lock_path(place).open("r+b", buffering=0)
        except OSError:
            held = None
        # Somebody else may be removing the same one.
        with suppress(OSError), held or nullcontext():
            free = lock(held) if held else None
            # The names that others chose say nothing of locks.
            dead = held and free and _is_there(held) and ours.fullmatch(place.name)
            if dead or (free is None and _age(place) > after):
                _remove(place, held)


def is_workplace(path: Path) -> bool:
    """Whether a path is that of a workplace, whose files are not, or never were, what they should be."""
    return re.search(rf"-{_UNIQUE}\Z", path.name) is not None and _lock_path(path).exists()


def _is_there(held: BinaryIO) -> bool:
    """Whether a file that was opened is still the one of its name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(held.fileno()), os.stat(held.name))
    return False


def _remove(place: Path, held: BinaryIO | None) -> None:
    """The lock file last: as long as anything is left, the next one can try again."""
    if place.exists():
        shutil.rmtree(place)
    if held:
        give_up(held)


def _age(place: Path) -> float:
    return time.time() - (place if place.exists() else _lock_path(place)).stat().st_mtime


def _lock_path(place: Path) -> Path:
    return place.with_name(place.name + _SUFFIX)
