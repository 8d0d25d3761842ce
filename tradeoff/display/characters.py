"""Text of others as it may be shown: nothing that a terminal or a browser would obey, nothing that hides."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["shown", "visible"]

#: Control characters, line and paragraph separators, halves of surrogate pairs, interlinear annotations, and
#: Unicode's Default_Ignorable_Code_Point: bidirectional controls, characters without a width, tags.
_UNSEEN = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def visible(text: str, keep: str = "") -> str:
    """`text` with every character that is obeyed or not seen as an escape: \\n, \\u202e, \\U000e0041.

    Everything that others wrote (records, file names, texts, names of presets) is shown through this, in
    terminals, pages and messages.

    Args:
        text: whatever it holds, halves of surrogate pairs among it.
        keep: of those characters, the ones that stay as they are, such as newlines.
    """
    # Nearly all that is shown is such text, and a page has millions of pieces of it.
    if text.isascii() and text.isprintable():
        return text
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def shown(value: Any) -> str:
    """A value of JSON for a message, cut to 40 characters."""
    try:
        written = json.dumps(value)
    except RecursionError:
        # Nested as deeply as could just be read.
        return "..."
    return written if len(written) <= 40 else written[:37] + "..."


def _escape(character: str) -> str:
    code = ord(character)
    return _SHORT.get(character) or (f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}")
