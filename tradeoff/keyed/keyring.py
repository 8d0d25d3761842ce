"""Several keys to look for: files, folders of them, and files that hold more than one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tradeoff.keyed.key_files import AnyKey, KeyFile
from tradeoff.keyed.keys import KeyFormatError

__all__ = ["Keyring", "files_of_keys"]

#: What is read of a folder.
_SUFFIXES = (".key", ".toml")


@dataclass(frozen=True)
class Keyring:
    """Keys with their names, dates and profiles.

    Args:
        keys: one or more; the same key may be there under several profiles.

    Raises:
        KeyFormatError: for none.
    """

    keys: tuple[KeyFile, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise KeyFormatError("the keyring holds no key; make one with `tradeoff key new`")

    def __iter__(self) -> Iterator[KeyFile]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, keys: Any) -> Keyring:
        """The keyring of one key or several: Key, DepthKeys, KeyFile, Keyring, integers of vLLM's format, or
        a sequence; so integers side by side are several keys, and no depth keys.

        Raises:
            ValueError: for what is none of them.
        """
        if isinstance(keys, Keyring):
            return keys
        if isinstance(keys, KeyFile):
            return cls((keys,))
        if isinstance(keys, list | tuple):
            return cls(tuple(one for key in keys for one in cls.of(key)))
        return cls((KeyFile(keys),))

    @classmethod
    def read(cls, paths: Iterable[str | Path], integers: bool = False) -> Keyring:
        """The keys of files, and of the .key and .toml files of folders, in order.

        Args:
            paths: files and folders.
            integers: whether decimal digits alone are an integer of vLLM's format, as hex after 0x is.

        Raises:
            KeyFormatError: if one is missing or damaged, or a folder holds none; nothing of a secret is
                quoted.
        """
        return cls(
            tuple(
                key
                for path in paths
                for file in files_of_keys(path)
                for key in KeyFile.read_all(file, integers)
            )
        )

    def on(self, day: date) -> Keyring:
        """Those that are valid on a day.

        Raises:
            KeyFormatError: if none is.
        """
        valid = tuple(key for key in self.keys if key.valid_on(day))
        if not valid:
            raise KeyFormatError(
                f"no key is valid on {day}, of {len(self)}; pass another day, or change valid_from and "
                "valid_until in their files"
            )
        return Keyring(valid)

    @property
    def secrets(self) -> tuple[AnyKey, ...]:
        """Their keys alone."""
        return tuple(key.key for key in self.keys)


def files_of_keys(path: str | Path) -> list[Path]:
    """The files that `Keyring.read` reads: the path itself, or those of a folder.

    Raises:
        KeyFormatError: for a folder without any.
    """
    folder = Path(path)
    try:
        if not folder.is_dir():
            return [folder]
        inside = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file())
    except (OSError, ValueError):
        # What stands there is not quoted here: it may be a key in place of a path.
        return [folder]
    if not inside:
        raise KeyFormatError(
            f"folder {folder} holds no key; put files of `tradeoff key new` there, whose names end with "
            + " or ".join(_SUFFIXES)
        )
    return inside
