"""Distributions in, curves out: JSON, CSV and npy files."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tradeoff.frontier import Curve

__all__ = ["FileError", "curve_table", "output_folder", "read_distribution", "replacing", "write_table"]


class FileError(ValueError):
    """A file cannot be read or written; the message names it and the remedy."""


def read_distribution(path: Path, name: str) -> np.ndarray:
    """Read a list of probabilities: .json (a list), .csv or .txt (numbers), .npy (a 1-d array).

    Args:
        path: the file.
        name: what it holds ("P", "Q"), for messages.

    Returns:
        The numbers as they stand, [n]; validate them with `tradeoff.simplex.distribution`.

    Raises:
        FileError: for a missing file, an unknown format, or content that is not a list of numbers.
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
    except (ValueError, TypeError, OverflowError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(
            f"{name}: {path} does not hold a list of numbers ({error}); "
            "write them as one JSON list, as comma- or line-separated CSV, or as a 1-d npy array"
        ) from error
    if values.ndim != 1:
        raise FileError(
            f"{name}: {path} holds an array of shape {values.shape}; a curve takes one distribution [n]"
        )
    return values


def curve_table(curve: Curve) -> pd.DataFrame:
    """A curve as a table: one row a point, in order of gamma."""
    return pd.DataFrame(
        {
            "gamma": curve.gamma,
            "theta": curve.theta,
            "efficiency": curve.efficiency,
            "strength": curve.strength,
            "frontier": curve.frontier,
            "efficiency_error": curve.efficiency_error,
            "strength_error": curve.strength_error,
        }
    )


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with every digit of its numbers.

    Raises:
        FileError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: under another name beside it, which then becomes `path`.

    What a link leads to is replaced, not the link. Where the block ends with an error, nothing is left of it,
    and what was at `path` before is as it was.

    Yields:
        The path to write to; its suffix is that of `path`.

    Raises:
        FileError: if the file cannot be written, with the reason; a full disk is named.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.stem}-{secrets.token_hex(6)}{target.suffix}")
    try:
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(target.parent).free / 1e6
            raise FileError(
                f"{path} cannot be written: the disk of {target.parent} is full ({free:.0f} MB free); make "
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


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_csv(path: Path) -> list[float]:
    return [float(cell) for cell in path.read_text(encoding="utf-8").replace(",", " ").split()]


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as stream:
        return np.load(stream, allow_pickle=False)
