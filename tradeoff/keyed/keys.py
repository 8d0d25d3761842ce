"""Secret watermark keys: made, read and written without ever being shown."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path
from typing import NoReturn

from tradeoff.errors import FileError
from tradeoff.files import read_at_most

__all__ = ["FEWEST_KEY_BYTES", "NEW_KEY_BYTES", "REMEDY", "Key", "KeyFormatError", "read_key_file"]

FEWEST_KEY_BYTES = 16
#: Of keys that are made here.
NEW_KEY_BYTES = 32
#: The largest key file that is read: far longer than any key, and nothing that fills the memory.
_MOST_FILE_BYTES = 1 << 16
#: What is pasted where a path belongs: 12 bytes of hex digits or more, or a 64-bit integer.
_LIKE_A_KEY = re.compile(r"(0x)?[0-9a-f]{24,}|\d{15,}|0x[0-9a-f]{8,}", re.IGNORECASE)
#: What to do about a key that is none.
REMEDY = "make a key with `tradeoff key new`"


class KeyFormatError(ValueError):
    """A key is unusable, or its file cannot be read or written; names the remedy, never the content."""


def read_key_file(path: str | Path) -> str:
    """What a key file holds, of any format; nothing of it is quoted, nor a key passed in place of a path.

    Raises:
        KeyFormatError: if the file is missing, unreadable, or too large to be one.
    """
    named = f"key file {path}"
    if _LIKE_A_KEY.fullmatch(str(path).strip()):
        named = "the key file (its name looks like a key and is not shown; pass the path of a file with it)"
    try:
        content = read_at_most(Path(path), _MOST_FILE_BYTES)
    except FileError:
        raise KeyFormatError(
            f"{named} holds more than {_MOST_FILE_BYTES:,} bytes and is no key; {REMEDY}"
        ) from None
    except FileNotFoundError:
        raise KeyFormatError(f"{named} does not exist; check the path, or {REMEDY}") from None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "its name is none"
        raise KeyFormatError(
            f"{named} cannot be read ({reason}); check its permissions, or {REMEDY}"
        ) from None
    # latin-1 decodes any bytes: an error of the decoder would quote some of them.
    return content.decode("latin-1")


class Key:
    """A watermark key of at least 16 secret random bytes; immutable.

    Shown as its fingerprint only; equal in constant time; hashed by its fingerprint. It refuses to be
    pickled, so that no cache, queue or log of objects carries the secret.

    Args:
        secret: the bytes.

    Raises:
        KeyFormatError: if `secret` is not bytes, or shorter than 16 of them.
    """

    __slots__ = ("_secret",)
    _secret: bytes

    def __init__(self, secret: bytes):
        if not isinstance(secret, bytes):
            raise KeyFormatError(f"a key is made of bytes, got {type(secret).__name__}; {REMEDY}")
        if len(secret) < FEWEST_KEY_BYTES:
            raise KeyFormatError(
                f"the key has {len(secret)} bytes, at least {FEWEST_KEY_BYTES} are needed; {REMEDY}"
            )
        object.__setattr__(self, "_secret", secret)

    @classmethod
    def new(cls) -> Key:
        """A fresh key of 32 random bytes from the operating system."""
        return cls(secrets.token_bytes(NEW_KEY_BYTES))

    @classmethod
    def from_hex(cls, text: str) -> Key:
        """The key that `text` spells in hex digits; white space around them is ignored.

        Raises:
            KeyFormatError: if it is not an even number of hex digits, or too short.
        """
        digits = text.strip()
        # bytes.fromhex would also take spaces between the digits, and quote a wrong position.
        if not re.fullmatch(r"([0-9a-fA-F]{2})*", digits):
            raise KeyFormatError(
                f"the key is not an even number of hex digits ({len(digits)} characters); {REMEDY}"
            )
        return cls(bytes.fromhex(digits))

    @classmethod
    def of_whole_hex(cls, text: str) -> Key:
        """The key of 32 bytes that `text` spells in 64 hex digits, from where part of them may be missing.

        Raises:
            KeyFormatError: as `from_hex`, and for any other number of digits.
        """
        digits = len(text.strip())
        key = cls.from_hex(text)
        if len(key.secret) != NEW_KEY_BYTES:
            raise KeyFormatError(
                f"it holds {digits} hex digits; without a fingerprint a key has {2 * NEW_KEY_BYTES}, as a "
                "part of one would be another key: take a whole copy, or write a shorter key with Key.write"
            )
        return key

    @classmethod
    def read(cls, path: str | Path) -> Key:
        """The key in the file `path`: one of `write` or `tradeoff key new`, or 64 hex digits.

        Raises:
            KeyFormatError: if the file is missing, unreadable, damaged, or no key.
        """
        from tradeoff.keyed.key_files import KeyFile

        key = KeyFile.read(path).key
        if not isinstance(key, Key):
            raise KeyFormatError(
                f"key file {path} holds an integer of vLLM's format, no secret bytes; {REMEDY}"
            )
        return key

    @classmethod
    def from_environment(cls, name: str = "TRADEOFF_KEY") -> Key:
        """The key in the environment variable `name`, in hex digits.

        Raises:
            KeyFormatError: if the variable is unset or empty, not hex, too short, or the path of a file.
        """
        text = os.environ.get(name, "")
        if not text.strip():
            raise KeyFormatError(
                f"environment variable {name} holds no key; pass --key-file FILE (make one with "
                f"`tradeoff key new -o FILE`), or set {name} to its hex digits"
            )
        try:
            return cls.of_whole_hex(text)
        except KeyFormatError as error:
            # The path is not quoted: nothing that the variable holds is ever shown.
            if os.path.isfile(text.strip()):
                raise KeyFormatError(
                    f"environment variable {name} holds the path of a file, not a key; pass that file with "
                    f"--key-file, or set {name} to the hex digits of the secret in it"
                ) from None
            raise KeyFormatError(f"environment variable {name}: {error}") from None

    def write(self, path: str | Path) -> None:
        """Write the key to a new file that only its owner can read (mode 0600).

        Raises:
            KeyFormatError: if `path` exists (a key is never overwritten) or cannot be written; no partly
                written file is left behind.
        """
        from tradeoff.keyed.key_files import KeyFile

        KeyFile(self).write(path)

    @property
    def secret(self) -> bytes:
        """The secret itself: for key derivation only."""
        return self._secret

    @property
    def fingerprint(self) -> str:
        """16 hex digits that name the key and do not reveal it."""
        return hashlib.blake2b(self._secret, digest_size=8, person=b"key-fingerprint").hexdigest()

    def __repr__(self) -> str:
        return f"Key(fingerprint={self.fingerprint!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a key cannot be changed; make another one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a key cannot be changed; make another one")

    def __copy__(self) -> Key:
        return self

    def __deepcopy__(self, memo: dict) -> Key:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key cannot be pickled; write it with Key.write and read it with Key.read")
