"""Distributions in, curves out: JSON, CSV and npy files."""

from __future__ import annotations

import codecs
import errno
import json
import math
import os
import re
import shutil
import tempfile
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeoff.errors import FileError
from tradeoff.locks import remove_abandoned, workplace

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "decoded",
    "marked",
    "output_folder",
    "read_at_most",
    "read_distribution",
    "refusing",
    "remove_leftovers",
    "replacing",
    "successor",
    "write_table",
]

#: Bytes of the largest file with a distribution: numbers of 20 digits for 700,000 tokens. Read as text, a
#: number takes up to 80 times the bytes that it has in the file.
_LARGEST = 16 << 20
_BLOCK = 1 << 20
#: What readers raise for content that is not theirs.
_MALFORMED = (
    *(ValueError, TypeError, OverflowError, EOFError, RecursionError),
    *(zipfile.BadZipFile, tokenize.TokenError),
)
#: How files in Unicode tell their encoding. UTF-32's mark begins as UTF-16's, and so comes first.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
#: Digits, a comma, digits, perhaps an exponent: what could be one number with a decimal comma.
_WHOLE_NUMBER, _DECIMALS = re.compile(r"[+-]?\d+"), re.compile(r"\d+(e[+-]?\d+)?", re.IGNORECASE)


def read_distribution(path: Path, name: str) -> np.ndarray:
    """Read a list of probabilities: .json (a list), .csv or .txt (numbers), .npy (a 1-d array).

    Args:
        path: the file.
        name: what it holds ("P", "Q"), for messages.

    Returns:
        The numbers as they stand, [n]; validate them with `tradeoff.laws.distribution`.

    Raises:
        FileError: for a missing file, an unknown format, more than 16 MiB, content that is not a list of
            numbers, or CSV that has decimal commas for all one can tell.
    """
    readers = {".json": _read_json, ".csv": _read_csv, ".txt": _read_csv, ".npy": _read_npy}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise FileError(
            f"{name}: format {suffix or '(no suffix)'} of {path} is unknown; use one of {', '.join(readers)}"
        )
    try:
        values = np.asarray(readers[suffix](path))
        if values.size and values.dtype.kind not in "biuf":
            raise TypeError(f"its entries are of type {values.dtype}")
        values = values.astype(float)
    except FileNotFoundError as error:
        raise FileError(f"{name}: {path} does not exist; check the path") from error
    except OSError as error:
        raise FileError(f"{name}: {path} cannot be read ({error.strerror or error})") from error
    except FileError as error:
        raise FileError(f"{name}: {error}") from error
    except _MALFORMED as error:
        raise FileError(
            f"{name}: {path} does not hold a list of numbers ({error}); "
            "write them as one JSON list, as comma- or line-separated CSV, or as a 1-d npy array"
        ) from error
    if values.ndim != 1:
        raise FileError(
            f"{name}: {path} holds an array of shape {values.shape}; a curve takes one distribution [n]"
        )
    return values


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with every digit of its numbers.

    Raises:
        FileError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: in a folder of its own beside it, from which it is moved to `path`.

    What a link leads to is replaced, not the link. Where the block ends with an error, nothing is left of it,
    and what was at `path` before is as it was. What a kill leaves, the next to write `path` removes.

    Yields:
        The path to write to; its name is that of the file at `path`.

    Raises:
        FileError: if the file cannot be written, with the reason; a full disk is named.
    """
    with refusing(path):
        if path.exists() and not path.is_file():
            # A device or a pipe would be replaced by a file.
            raise FileError(f"{path} is no file that can be written anew; name another one")
        with successor(path.resolve()) as temporary:
            yield temporary


@contextmanager
def successor(target: Path) -> Iterator[Path]:
    """As `replacing`, of a path without links, with the errors of the system.

    Raises:
        OSError: if the file cannot be written.
    """
    remove_leftovers(target)
    with workplace(target.parent, _prefix(target)) as folder:
        temporary = folder / target.name
        yield temporary
        # Windows syncs no file that is open for reading only.
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)


def remove_leftovers(target: Path) -> None:
    """Remove what processes left beside `target` that were killed while they wrote it."""
    remove_abandoned(target.parent, _prefix(target))


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Errors of the system, in a block that writes `path`, as ones that name it and the remedy.

    Raises:
        FileError: for an OSError; a full disk is named.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            folder = next(parent for parent in path.resolve().parents if parent.exists())
            free = shutil.disk_usage(folder).free / 1e6
            raise FileError(
                f"{path} cannot be written: the disk of {folder} is full ({free:.0f} MB free); make "
                "room, or choose another place"
            ) from error
        raise FileError(
            f"{path} cannot be written ({error.strerror or error}); choose another place"
        ) from error


def output_folder(path: Path) -> Path:
    """`path` as an existing folder that can be written to.

    Raises:
        FileError: if it is a file, or cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        # A file without a name of its own: it meets neither another process's nor one of the user's.
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise FileError(
            f"output folder {path} cannot be written ({error.strerror or error}); choose another one"
        ) from error
    return path


def read_at_most(path: Path, most: int) -> bytes:
    """The content of a file of at most `most` bytes; of a larger one, or a device, no more is read.

    Raises:
        FileError: for a larger one.
        OSError: if it cannot be read.
    """
    content = bytearray()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            content += block
            if len(content) > most:
                raise FileError(f"{path} holds more than {most:,} bytes; pass another file")
    return bytes(content)


def decoded(content: bytes) -> str:
    """Text of a file: UTF-8, or UTF-16 or UTF-32 that says so with a byte-order mark, which is left out.

    Raises:
        UnicodeDecodeError: for anything else; it names the encoding that the file claims.
    """
    mark, encoding = marked(content)
    return content[len(mark) :].decode(encoding)


def marked(start: bytes) -> tuple[bytes, str]:
    """The byte-order mark that a file begins with, and its encoding; (b"", "utf-8") without one."""
    return next(((mark, name) for mark, name in _MARKS.items() if start.startswith(mark)), (b"", "utf-8"))


def _prefix(target: Path) -> str:
    # Cut, so that a name that the disk takes does not become one that is too long.
    return f".{target.name[:50]}-"


def _read_json(path: Path) -> Any:
    return json.loads(decoded(read_at_most(path, _LARGEST)))


def _read_csv(path: Path) -> list[float]:
    words = decoded(read_at_most(path, _LARGEST))
    rows = [[cell for cell in row.split(",") if cell.strip()] for row in words.split()]
    numbers = [float(cell) for row in rows for cell in row]
    if _has_decimal_commas([row for row in rows if row], math.fsum(numbers)):
        raise ValueError(
            "with decimal commas, it seems: write them as decimal points, or counts of tokens with a blank "
            "after every comma"
        )
    return numbers


def _has_decimal_commas(rows: list[list[str]], total: float) -> bool:
    """Whether cells of a row go together in twos, as 0,25 does. Probabilities as they stand sum to 1."""
    pairs = [(row[k], row[k + 1]) for row in rows for k in range(0, len(row) - 1, 2)]
    if len(pairs) < 2 or abs(total - 1) < 1e-6 or any(len(row) % 2 and len(row) > 1 for row in rows):
        return False
    if not all(_WHOLE_NUMBER.fullmatch(whole) and _DECIMALS.fullmatch(part) for whole, part in pairs):
        return False
    alone = [row[0] for row in rows if len(row) == 1]
    joined = math.fsum([*(float(f"{whole}.{part}") for whole, part in pairs), *map(float, alone)])
    below_1 = all(float(whole) == 0 for whole, _ in pairs)
    return below_1 or abs(joined - 1) < 0.05 or abs(joined - 100) < 5


def _read_npy(path: Path) -> np.ndarray:
    size = path.stat().st_size
    if size > _LARGEST:
        raise FileError(f"{path} holds {size:,} bytes, more than {_LARGEST:,}; pass another file")
    # A map is checked against the size of the file before memory is taken: a header may claim anything.
    with np.errstate(over="ignore"):
        return np.lib.format.open_memmap(path, mode="r")
