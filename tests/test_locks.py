"""Workplaces: gone at the end of the block; after a kill, gone with the next run and not before."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import filelock
import pytest

from tests.helpers.processes import at_work
from tradeoff import locks
from tradeoff.locks import give_up, hold, lock, remove_abandoned, workplace

#: Makes a workplace with a file in it, says so, and waits for its end.
OWNER = """
import sys, time
from pathlib import Path
from typing import BinaryIO
from tradeoff.locks import workplace

with workplace(Path(sys.argv[1]), sys.argv[2]) as place:
    (place / "file").write_text("half")
    print(place, flush=True)
    time.sleep(600)
"""


def test_a_lock_keeps_others_out_until_the_file_is_closed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("r+b") as mine, (tmp_path / "file").open("r+b") as other:
        assert lock(mine) is True
        assert lock(other) is False
        mine.close()
        assert lock(other) is True


def without_locks(error: int = errno.EOPNOTSUPP) -> Callable[..., bool]:
    """What stands for the lock of the system where there is none."""

    def refuse(*_: object, **__: object) -> bool:
        raise OSError(error, os.strerror(error))

    return refuse


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_missing_lock_is_not_a_held_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Whether the system or the disk has none."""
    monkeypatch.setattr(filelock, "lock_descriptor", without_locks(error))
    with (tmp_path / "file").open("wb") as stream:
        assert lock(stream) is None
    held = hold(tmp_path / "lock")
    assert held is not None
    give_up(held)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_lock_file_has_one_holder_and_goes_with_it(tmp_path: Path) -> None:
    """In one process as well."""
    held = hold(tmp_path / "lock")
    assert held is not None
    assert hold(tmp_path / "lock") is None
    give_up(held)
    assert held.closed
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_is_held_until_it_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who locked it before it goes would believe to keep others out."""
    path, unlink = tmp_path / "lock", Path.unlink
    held = hold(path)
    assert held is not None
    refused: list[bool] = []

    def watched(self: Path, missing_ok: bool = False) -> None:
        refused.append(hold(self) is None)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    give_up(held)
    assert refused == [True]


HOLDER = """
import sys, time
from pathlib import Path
from tradeoff.locks import hold

held = hold(Path(sys.argv[1]))
print("at work", flush=True)
time.sleep(600)
"""


def test_a_killed_holders_lock_file_is_the_next_ones(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with at_work(HOLDER, path):
        assert hold(path) is None
    held = hold(path)
    assert held is not None
    give_up(held)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_its_holder_removes_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking it. The lock on the removed one would keep nobody out."""
    path = tmp_path / "lock"
    first = hold(path)
    assert first is not None

    def late(stream: BinaryIO) -> bool | None:
        monkeypatch.undo()
        give_up(first)
        return lock(stream)

    monkeypatch.setattr(locks, "lock", late)
    second = hold(path)
    assert second is not None
    assert hold(path) is None
    give_up(second)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_where_nothing_open_is_removed_a_lock_file_goes_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    """So it is on Windows. Where somebody else has it open as well, it stays, and is free."""
    path, unlink = tmp_path / "lock", Path.unlink
    held = hold(path)
    assert held is not None

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if elsewhere or not held.closed:
            raise PermissionError(errno.EACCES, "it is open")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    give_up(held)
    assert list(tmp_path.iterdir()) == [path] * elsewhere
    monkeypatch.undo()
    held = hold(path)
    assert held is not None
    give_up(held)


def test_nothing_is_left_of_a_workplace(tmp_path: Path) -> None:
    """Nor after an error. In between it is its owner's alone."""

    def fail() -> None:
        with workplace(tmp_path, ".x-") as place:
            (place / "folder").mkdir()
            (place / "folder" / "file").touch()
            assert place.name.startswith(".x-")
            assert place.stat().st_mode & 0o777 == 0o700
            remove_abandoned(tmp_path, ".x-", after=-1)
            assert (place / "folder" / "file").exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_owners_workplace_is_removed_a_living_ones_stays(tmp_path: Path) -> None:
    with at_work(OWNER, tmp_path, "[x]-") as living:
        with at_work(OWNER, tmp_path, "[x]-") as killed:
            pass
        stays, goes = Path(living), Path(killed)
        remove_abandoned(tmp_path, "x-")
        assert (goes / "file").exists()
        remove_abandoned(tmp_path, "[x]-", after=-1)
        assert sorted(tmp_path.iterdir()) == [stays, stays.with_name(f"{stays.name}.lock")]
        assert (stays / "file").exists()
    # Killed before it made the folder.
    (stays / "file").unlink()
    stays.rmdir()
    remove_abandoned(tmp_path, "[x]-")
    assert list(tmp_path.iterdir()) == []


def test_a_workplace_that_is_just_being_made_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock file is taken for a dead one's before it is locked, and made again."""
    names: list[str] = []

    def removed_before(stream: BinaryIO) -> bool | None:
        names.append(stream.name)
        if len(names) == 1:
            monkeypatch.undo()
            remove_abandoned(tmp_path, ".x-")
            monkeypatch.setattr(locks, "lock", removed_before)
            assert list(tmp_path.iterdir()) == []
        return lock(stream)

    def held_by_a_remover(stream: BinaryIO) -> bool | None:
        names.append(stream.name)
        if len(names) > 1:
            return lock(stream)
        with Path(stream.name).open("r+b") as remover:
            assert lock(remover) is True
            refused = lock(stream)
            Path(stream.name).unlink()
        return refused

    for late in (removed_before, held_by_a_remover):
        names.clear()
        monkeypatch.setattr(locks, "lock", late)
        with workplace(tmp_path, ".x-") as place:
            assert len(names) == 2
            monkeypatch.undo()
            remove_abandoned(tmp_path, ".x-")
            assert sorted(tmp_path.iterdir()) == [place, Path(f"{place}.lock")]


def test_who_comes_late_removes_nothing_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, another removes what is dead, and something of that name is made."""
    place = tmp_path / ".x-0123456789ab"
    dead = Path(f"{place}.lock")
    dead.touch()

    def late(stream: BinaryIO) -> bool | None:
        dead.unlink()
        dead.touch()
        place.mkdir()
        return lock(stream)

    monkeypatch.setattr(locks, "lock", late)
    remove_abandoned(tmp_path, ".x-")
    assert sorted(tmp_path.iterdir()) == [place, dead]


def test_without_locks_age_decides_where_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_work(OWNER, tmp_path, ".x-") as killed:
        place = Path(killed)
    hours_ago = time.time() - 7_200
    os.utime(place, (hours_ago, hours_ago))
    monkeypatch.setattr(filelock, "lock_descriptor", without_locks())
    for after in ((), (7_300,)):
        remove_abandoned(tmp_path, ".x-", *after)
        assert (place / "file").exists()
    remove_abandoned(tmp_path, ".x-", 7_100)
    assert list(tmp_path.iterdir()) == []
    with workplace(tmp_path, ".x-") as place:
        assert place.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_others_made_stays(tmp_path: Path) -> None:
    """Files of such a name, and links: what they lead to is not touched."""
    names = [
        ".x-notes",
        ".x-notes.lock",
        ".x-y-0123456789ab.lock",
        ".x-0123456789ab0.lock",
        ".x-0123456789ab",
    ]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".x-aaaaaaaaaaaa").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".x-aaaaaaaaaaaa.lock").touch()
    before = sorted(tmp_path.iterdir())
    remove_abandoned(tmp_path, ".x-")
    assert sorted(tmp_path.iterdir()) == before
    remove_abandoned(tmp_path / "none", ".x-")
