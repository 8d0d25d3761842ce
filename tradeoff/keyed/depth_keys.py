"""The keys of a tournament in which every round has one of its own, as in Transformers' SynthID."""

from __future__ import annotations

import hashlib
import operator
import secrets
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from tradeoff.keyed.keys import KeyFormatError

__all__ = ["DepthKeys"]

#: Of a fingerprint.
_PERSON = b"depth-keys"


class DepthKeys:
    """Integers of signed 64 bits, one for every round of a tournament, in their order; immutable.

    Shown as their number and fingerprint only; they refuse to be pickled, as `tradeoff.Key` does.

    Args:
        values: one or more, of -2^63 to 2^63 - 1: `keys` of Transformers' `SynthIDTextWatermarkingConfig`.

    Raises:
        KeyFormatError: for none, or what is no such integer; none of them is quoted.
    """

    __slots__ = ("_values",)
    _values: tuple[int, ...]

    def __init__(self, values: Iterable[Any]):
        held = tuple(values)
        if not held:
            raise KeyFormatError("depth keys are none; pass an integer for every round, 30 are usual")
        for place, value in enumerate(held, 1):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                kind = type(value).__name__
                raise KeyFormatError(f"depth key {place} is {kind}; pass integers, as DepthKeys.new() makes")
            if not -(1 << 63) <= int(value) < 1 << 63:
                raise KeyFormatError(
                    f"depth key {place} is {int(value).bit_length()} bits long; pass integers of -2^63 to "
                    "2^63 - 1"
                )
        object.__setattr__(self, "_values", tuple(map(operator.index, held)))

    @classmethod
    def new(cls, rounds: int = 30) -> DepthKeys:
        """Fresh ones, uniform on 0 .. 2^63 - 1, from the operating system.

        Raises:
            ValueError: for fewer than one round.
        """
        if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
            raise ValueError(f"rounds={rounds!r} must be a whole number of at least 1; 30 is usual")
        return cls(secrets.randbits(63) for _ in range(rounds))

    @property
    def secret(self) -> tuple[int, ...]:
        """The integers themselves."""
        return self._values

    @property
    def fingerprint(self) -> str:
        """16 hex digits that name the keys and do not reveal them, unless they are few and small."""
        data = np.array(self._values, dtype="<i8").tobytes()
        return hashlib.blake2b(data, digest_size=8, person=_PERSON).hexdigest()

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"DepthKeys({len(self)} rounds, fingerprint={self.fingerprint!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DepthKeys) and self._values == other._values

    def __hash__(self) -> int:
        return hash(("depth keys", self._values))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("keys cannot be changed; make others")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("keys cannot be changed; make others")

    def __copy__(self) -> DepthKeys:
        return self

    def __deepcopy__(self, memo: dict) -> DepthKeys:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "keys cannot be pickled; write them with KeyFile.write and read them with KeyFile.read"
        )
