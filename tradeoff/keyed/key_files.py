"""Files of keys: a version, the secret with its fingerprint, and perhaps what the key is used for.

    # Secret key of a watermark: whoever reads this file can write the watermark and find it.
    format = "tradeoff-key-1"
    fingerprint = "7c3db3fed4d3671d"
    secret = "00112233..."
    name = "letters of 2027"
    valid_from = 2027-01-01
    valid_until = 2027-12-31

    [profile]
    method = "joint-race"
    watermark = "gumbel"

It is TOML. The fingerprint is a checksum too: a file that was cut or changed is refused, not taken for
another key. An integer key of vLLM's format is a string `integer` in place of `secret`, and the keys of
Transformers' SynthID are a list `depth_keys` of integers. Several keys in one
file are tables `[[key]]` of all this but the format, which is "tradeoff-keyring-1" then. Files of version 0.1
hold 64 hex digits and nothing else, and are read all the same.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from tradeoff.keyed.depth_keys import DepthKeys
from tradeoff.keyed.hf_synthid import HfSynthIDSettings
from tradeoff.keyed.keys import REMEDY, Key, KeyFormatError, read_key_file
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import DEFAULT_PRF

__all__ = ["AnyKey", "KeyFile", "KeyProfile"]

#: Secret bytes, an integer of vLLM's format, or the keys of Transformers' SynthID.
AnyKey: TypeAlias = Key | int | DepthKeys

_FORMAT = "tradeoff-key-1"
_RING_FORMAT = "tradeoff-keyring-1"
_HEADING = "# Secret key of a watermark: whoever reads this file can write the watermark and find it.\n"
_BARE = re.compile(r"\s*[0-9a-fA-F]*\s*")
_INTEGER = re.compile(r"\s*([0-9]{1,20}|0[xX][0-9a-fA-F]{1,16})\s*")
_FIELDS = {
    "fingerprint": str,
    "secret": str,
    "integer": str,
    "depth_keys": list,
    "name": str,
    "profile": dict,
}
#: By kinds of keys.
_FUNCTIONS = {Key: DEFAULT_PRF, int: VllmPhilox.name, DepthKeys: HfSynthIDSettings().name}
#: One of them is there.
_SECRETS = {"secret": "a secret", "integer": "an integer", "depth_keys": "depth keys"}
_DATES = ("valid_from", "valid_until")
#: Of the fields of a profile that are no names.
_PROFILE_TYPES: dict[str, type] = {"context_width": int, "alpha": float}


@dataclass(frozen=True)
class KeyProfile:
    """What a key is used for: settings of texts that name none; None where nothing is said.

    Attributes:
        method, watermark, prf, context_width, alpha: of generation.
        tokenizer: of the model that writes: builtin, a folder, or a Hugging Face id.
        tokenizer_hash: SHA-256 of its vocabulary, 64 hex digits, by which another one is told from it.
    """

    method: str | None = None
    watermark: str | None = None
    prf: str | None = None
    context_width: int | None = None
    tokenizer: str | None = None
    tokenizer_hash: str | None = None
    alpha: float | None = None


@dataclass(frozen=True)
class KeyFile:
    """A key with its name, its dates and its profile.

    Attributes:
        key: the secret; an integer for vLLM's format, DepthKeys for Transformers' SynthID.
        name: for people; empty if it has none.
        valid_from, valid_until: first and last day of its use.
        profile: what it is used for.

    Raises:
        KeyFormatError: for dates in the wrong order.
        ValueError: for what is no key.
    """

    key: AnyKey = field(repr=False)
    name: str = ""
    valid_from: date | None = None
    valid_until: date | None = None
    profile: KeyProfile = field(default_factory=KeyProfile)

    def __post_init__(self) -> None:
        if not isinstance(self.key, Key | DepthKeys):
            if isinstance(self.key, bool) or not isinstance(self.key, int):
                kind = type(self.key).__name__
                raise ValueError(f"key is {kind}; pass a Key, as from Key.new() or Key.read(file)")
            # Refuses what is out of range.
            VllmPhilox(self.key)
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            raise KeyFormatError(
                f"valid_until={self.valid_until} is before valid_from={self.valid_from}; exchange them"
            )

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key cannot be pickled; write it with KeyFile.write and read it with KeyFile.read")

    @property
    def fingerprint(self) -> str:
        """A few hex digits that name the key and do not reveal it."""
        return (VllmPhilox(self.key) if isinstance(self.key, int) else self.key).fingerprint

    @property
    def kind(self) -> type:
        """Key, int or DepthKeys: `key_type` of functions that take it."""
        return next(kind for kind in (Key, DepthKeys, int) if isinstance(self.key, kind))

    @property
    def default_prf(self) -> str:
        """The name of the function of a key of which nobody says another: by its kind."""
        return _FUNCTIONS[self.kind]

    def valid_on(self, day: date) -> bool:
        """Whether the key is in use on a day."""
        return (self.valid_from or day) <= day <= (self.valid_until or day)

    @classmethod
    def read(cls, path: str | Path, integer: bool = False) -> KeyFile:
        """The one key of the file `path`, of this version or of 0.1.

        Args:
            path: the file.
            integer: whether decimal digits alone are an integer of vLLM's format, as hex after 0x is.

        Raises:
            KeyFormatError: if it is missing, unreadable, damaged, of another version, or holds several keys;
                nothing of the secret is quoted.
        """
        keys = cls.read_all(path, integer)
        if len(keys) > 1:
            raise KeyFormatError(f"key file {path} holds {len(keys)} keys; pass a file with the one to use")
        return keys[0]

    @classmethod
    def read_all(cls, path: str | Path, integer: bool = False) -> tuple[KeyFile, ...]:
        """The keys of a file, one or more. Arguments and errors as of `read`."""
        content = read_key_file(path)
        try:
            # Decimal digits might be a part of hex digits.
            if (integer or "x" in content.lower()) and _INTEGER.fullmatch(content):
                return (cls(_integer(content)),)
            if _BARE.fullmatch(content):
                return (cls(Key.of_whole_hex(content)),)
            return tuple(map(cls._of_fields, _tables(content)))
        except KeyFormatError as error:
            raise KeyFormatError(f"key file {path}: {error}") from None
        except ValueError as error:
            # An integer out of range, which is not quoted.
            raise KeyFormatError(f"key file {path}: {error}") from None

    @classmethod
    def _of_fields(cls, told: dict[str, Any]) -> KeyFile:
        for name, value in told.items():
            expected: Any = date if name in _DATES else _FIELDS.get(name)
            if expected is None:
                raise KeyFormatError(f"it has the field {name!r}, unknown to this version; remove it")
            if not isinstance(value, expected) or isinstance(value, datetime):
                kind = "a day, such as 2027-01-31" if name in _DATES else expected.__name__
                raise KeyFormatError(f"its {name} is not {kind}; repair it")
        held = [name for name in _SECRETS if name in told]
        if len(held) != 1:
            raise KeyFormatError(
                f"it has both {' and '.join(_SECRETS[one] for one in held)}; leave one of them"
                if held
                else f"it has no secret and may have been cut off; {REMEDY}"
            )
        found = cls(
            _key_of(held[0], told[held[0]]),
            told.get("name", ""),
            told.get("valid_from"),
            told.get("valid_until"),
            _profile_of(told.get("profile", {})),
        )
        if told.get("fingerprint") != found.fingerprint:
            raise KeyFormatError(
                "its secret does not have the fingerprint that it tells, so that it was changed or cut off; "
                "take another copy of it"
            )
        return found

    def write(self, path: str | Path) -> None:
        """Write it to a new file that only its owner can read (mode 0600).

        Raises:
            KeyFormatError: if `path` exists (a key is never overwritten) or cannot be written; no partly
                written file is left behind.
        """
        content = self._content()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise KeyFormatError(
                f"{path} exists and a key is never overwritten; choose another path, or remove the file if "
                "no text under its key will be detected again"
            ) from error
        except OSError as error:
            raise KeyFormatError(
                f"key file {path} cannot be created ({error.strerror or error}); choose another path"
            ) from error
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(content)
        except BaseException as error:
            Path(path).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise KeyFormatError(
                    f"key file {path} cannot be written ({error.strerror or error}); choose another path"
                ) from error
            raise

    def _content(self) -> str:
        told: dict[str, Any] = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "secret": self.key.secret.hex() if isinstance(self.key, Key) else None,
            "integer": str(self.key) if isinstance(self.key, int) else None,
            "depth_keys": list(self.key.secret) if isinstance(self.key, DepthKeys) else None,
            "name": self.name or None,
            "valid_from": self.valid_from,
            "valid_until": self.valid_until,
        }
        profile = {one.name: getattr(self.profile, one.name) for one in fields(KeyProfile)}
        lines = _lines(told)
        if any(value is not None for value in profile.values()):
            lines += ["", "[profile]", *_lines(profile)]
        return _HEADING + "\n".join(lines) + "\n"


def _tables(content: str) -> list[dict[str, Any]]:
    """The fields of every key of a file."""
    try:
        # Read as latin-1, which quotes nothing; names may have any letters.
        told = tomllib.loads(content.encode("latin-1").decode("utf-8"))
    except (ValueError, RecursionError):
        # Their messages would quote it.
        raise KeyFormatError(
            f"it is neither 64 hex digits nor a file of `tradeoff key new`, or is damaged; {REMEDY}"
        ) from None
    format_ = told.pop("format", None)
    if format_ == _FORMAT:
        return [told]
    if format_ != _RING_FORMAT:
        raise KeyFormatError(
            f"it is not of the format {_FORMAT} or {_RING_FORMAT}, which are all that this version reads; "
            + REMEDY
        )
    tables = told.pop("key", None)
    if told or not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise KeyFormatError(f"a file of the format {_RING_FORMAT} holds tables [[key]] and nothing else")
    return tables


def _key_of(field_: str, told: Any) -> AnyKey:
    """The key that a field of a file holds."""
    if field_ == "depth_keys":
        return DepthKeys(told)
    return Key.from_hex(told) if field_ == "secret" else _integer(told)


def _integer(digits: str) -> int:
    if not _INTEGER.fullmatch(digits):
        raise KeyFormatError("its integer is none of 0 to 2^64 - 1, in decimal or hex digits; repair it")
    return int(digits, 16 if "x" in digits.lower() else 10)


def _profile_of(told: dict[str, Any]) -> KeyProfile:
    for name, value in told.items():
        if name not in KeyProfile.__dataclass_fields__:
            raise KeyFormatError(f"its profile has {name!r}, unknown to this version; remove it")
        expected = _PROFILE_TYPES.get(name, str)
        if type(value) is not expected:
            raise KeyFormatError(f"the {name} of its profile is not {expected.__name__}; repair it")
    return KeyProfile(**told)


def _lines(told: dict[str, Any]) -> list[str]:
    return [
        f"{name} = {value if isinstance(value, int | float | date | list) else _quoted(value)}"
        for name, value in told.items()
        if value is not None
    ]


def _quoted(words: str) -> str:
    """A string of TOML: one of JSON but for one control character, which JSON leaves as it is."""
    return json.dumps(words, ensure_ascii=False).replace("\x7f", "\\u007f")
