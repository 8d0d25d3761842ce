"""Folders of pages beside the index that lists them: every run has its own, and former ones are removed."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from tradeoff.errors import FileError
from tradeoff.locks import give_up, hold

__all__ = ["file_name", "index_link", "new_folder", "pages_folders", "putting_in_place", "remove_former"]

#: Letters of the index's name that are in a folder's: names have an end.
_LETTERS = 60
_RANDOM = "[0-9a-f]{6}"
_PAGE = re.compile(r"\d{4,}\.html")
#: What systems put into folders that somebody looked at.
_SYSTEM = re.compile(r"\.DS_Store|\._.*|\.directory|Thumbs\.db|desktop\.ini")
_GENERATOR = b'<meta name="generator" content="tradeoff '
#: Bytes at the beginning and end of a page in which its generator and its index are named.
_HEAD, _TAIL = 4096, 16384
#: Seconds that others may take to put theirs in place.
_PATIENCE = 20.0


def file_name(number: int) -> str:
    """Of the page of a text, by the number of the text."""
    return f"{number:04}.html"


def index_link(index: Path) -> str:
    """From a page in a folder to the index at a path."""
    return f"../{quote(os.fsencode(index.resolve().name))}"


def new_folder(index: Path) -> Path:
    """A path beside an index where nothing is: "evidence-pages-1a2b3c"."""
    while os.path.lexists(folder := index.resolve().parent / f"{_prefix(index)}{secrets.token_hex(3)}"):
        pass
    return folder


def pages_folders(path: Path) -> list[Path]:
    """The folders beside `path` that are named as those with the pages of an index at `path` are.

    The next page at `path` takes the place of those that hold its pages and nothing else.
    """
    ours = re.compile(re.escape(_prefix(path)) + _RANDOM)
    beside = path.resolve().parent
    found = beside.iterdir() if beside.is_dir() else ()
    return sorted(one for one in found if ours.fullmatch(one.name) and one.is_dir() and not one.is_symlink())


@contextmanager
def putting_in_place(path: Path) -> Iterator[None]:
    """Let nobody else put a page at `path`, or remove folders of it, meanwhile.

    Raises:
        FileError: if somebody else does, and does not end.
        OSError: if no lock can be made.
    """
    index = path.resolve()
    lock, until = index.parent / f".{index.name[:_LETTERS]}-pages.lock", time.monotonic() + _PATIENCE
    while (held := hold(lock)) is None:
        if time.monotonic() > until:
            raise FileError(f"{path} is being written by another process; wait for it, or name another page")
        time.sleep(0.005)
    try:
        yield
    finally:
        give_up(held)


def remove_former(index: Path, now: Path) -> None:
    """Remove folders with pages of an index that it does not list any more.

    What holds anything else is left alone, and what cannot be removed stays.

    Args:
        index: the path of the index.
        now: the folder that it lists; it need not be there.
    """
    for folder in pages_folders(index):
        with suppress(OSError):
            inside = [] if folder == now else list(folder.iterdir())
            if folder != now and all(_is_ours(one, index) for one in inside):
                for one in inside:
                    one.unlink()
                folder.rmdir()


def _prefix(index: Path) -> str:
    return f"{index.resolve().stem[:_LETTERS]}-pages-"


def _is_ours(path: Path, index: Path) -> bool:
    """Whether a file is a page of an index, or one that systems put beside any."""
    if path.is_symlink() or not path.is_file():
        return False
    if _SYSTEM.fullmatch(path.name):
        return True
    if not _PAGE.fullmatch(path.name):
        return False
    with path.open("rb") as page:
        head = page.read(_HEAD)
        page.seek(max(0, os.fstat(page.fileno()).st_size - _TAIL))
        return _GENERATOR in head and f'href="{index_link(index)}"'.encode() in page.read()
