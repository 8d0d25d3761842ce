"""What is said instead of an answer: which argument is at fault, why, and what to do. No request is quoted at
length, and of a key that stands in one nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tradeoff.display import shown, visible

__all__ = ["RETRY_AFTER", "Refusal", "Refused", "busy", "of_error", "too_large", "too_slow", "value_of"]

#: Seconds after which somebody who was turned away may ask again.
RETRY_AFTER = 1
#: Values that may be long, or secret.
_KINDS: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
#: Characters of a message.
_LONGEST = 500


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a request is not answered.

    Attributes:
        status: of HTTP.
        code: for programs; names are stable.
        argument: what is at fault; empty for none.
        message: what is wrong with it.
        remedy: what to do.
        headers: of the answer.
    """

    status: int
    code: str
    argument: str = ""
    message: str
    remedy: str
    headers: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is answered."""
        told = {
            "code": self.code,
            "argument": visible(self.argument),
            "message": visible(self.message),
            "remedy": visible(self.remedy),
        }
        return {"error": told}


class Refused(Exception):
    """Raised where a request is read, with why it is not answered."""

    def __init__(self, refusal: Refusal):
        super().__init__(refusal.code)
        self.refusal = refusal


def of_error(code: str, argument: str, error: object, status: int = 422) -> Refusal:
    """The refusal that an error of the library is: what is wrong and the remedy have a semicolon between."""
    words = str(error)
    message, _, remedy = words.rpartition("; ")
    return Refusal(
        status=status,
        code=code,
        argument=argument,
        message=_short(message or words),
        remedy=_short(remedy if message else "see the documentation of this argument"),
    )


def too_large(code: str, argument: str, found: str, most: int, what: str) -> Refusal:
    """That of a request that asks for too much."""
    return Refusal(
        status=413,
        code=code,
        argument=argument,
        message=f"{argument} has {found} {what}, and at most {most:,} are taken",
        remedy="send it in parts, or have the server started with a higher limit",
    )


def busy(message: str, code: str = "busy") -> Refusal:
    """That of a server that has enough to do."""
    return Refusal(
        status=503,
        code=code,
        message=message,
        remedy="ask again later",
        headers={"retry-after": str(RETRY_AFTER)},
    )


def too_slow(seconds: float) -> Refusal:
    """That of a text of which no round ended in time: asking again would take as long."""
    return Refusal(
        status=503,
        code="timeout",
        message=f"no round ended within {seconds:g} seconds",
        remedy="send a shorter prompt, or have the server started with a longer --timeout",
    )


def value_of(value: object) -> str:
    """A value as it may stand in a message: numbers, and of others what they are."""
    if value is None or isinstance(value, bool | int | float):
        return shown(value)
    return _KINDS.get(type(value), type(value).__name__)


def _short(words: str) -> str:
    return words if len(words) <= _LONGEST else words[: _LONGEST - 3] + "..."
