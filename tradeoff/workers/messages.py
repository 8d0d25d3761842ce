"""What goes to a worker and comes back, as bytes: all that is ever sent is packed here.

Keys refuse to be pickled, so that none can be among it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any

__all__ = ["What", "answers", "packed", "unpacked"]


class What(Enum):
    """What a message of or about a worker says."""

    READY = "ready"
    ITEM = "item"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


def packed(*values: Any) -> bytes:
    """Values as bytes; functions by the names of their modules."""
    return pickle.dumps(values, protocol=pickle.HIGHEST_PROTOCOL)


def unpacked(message: bytes) -> Any:
    """The values; of one's own processes only, as with any pickle."""
    return pickle.loads(message)


def answers(payload: bytes) -> Iterator[bytes]:
    """Do a packed task, and pack what there is to tell: every item, and that it is done or why it failed.

    Args:
        payload: function and arguments, as from `packed`.
    """
    try:
        work: Callable[..., Iterable[Any]]
        work, arguments = unpacked(payload)
        for item in work(*arguments):
            yield packed(What.ITEM, item)
    except Exception as error:
        yield packed(What.FAILED, _sendable(error))
    else:
        yield packed(What.DONE, None)


def _sendable(error: Exception) -> Exception:
    """The error, or one with its words if it cannot be packed."""
    try:
        unpacked(packed(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
