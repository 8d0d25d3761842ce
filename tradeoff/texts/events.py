"""Dumps of server-sent events, as servers of language models stream an answer: the texts that they add up to.

data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "The"}}]}

data: {"id": "c", "choices": [{"index": 0, "delta": {"content": " harbour"}}]}

data: [DONE]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tradeoff.display import shown
from tradeoff.errors import FileError
from tradeoff.texts.json_texts import Text, lines_of, text_of_record

__all__ = ["begins_events", "may_begin_events", "texts_of_events"]

_DATA, _DONE = b"data:", b"[DONE]"
#: Bytes of a line, and characters of the texts of one answer.
_MOST = 64 << 20
#: Bytes of the first line that are waited for.
_LONGEST_FIRST = 1 << 16
_BEGINNING = re.compile(rb"data:[ \t]*(?:\{|\[DONE\]|$)")


@dataclass
class _Growing:
    """A text whose events are still coming.

    Attributes:
        words: of the events so far.
        ids: their tokens.
        knows_ids: whether every event with words had some.
    """

    words: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    knows_ids: bool = True


def may_begin_events(start: bytes) -> bool:
    """Whether more must be known to tell if an input is a dump of events.

    Args:
        start: of the input, without white space before it.
    """
    if b"\n" in start or len(start) > _LONGEST_FIRST:
        return False
    return _DATA.startswith(start) or _BEGINNING.match(start) is not None


def begins_events(start: bytes) -> bool:
    """Whether an input is a dump of events: its first line is one, with an object of JSON.

    Args:
        start: as much of it as `may_begin_events` asks for.
    """
    line = start.partition(b"\n")[0].strip()
    if _BEGINNING.match(line) is None:
        return False
    try:
        return line.endswith(_DONE) or isinstance(json.loads(line.removeprefix(_DATA)), dict)
    except (ValueError, RecursionError):
        return False


def texts_of_events(
    chunks: Iterable[bytes], source: str, name: str, warn: Callable[[str], None]
) -> Iterator[Text]:
    """Texts of a dump: of every answer one for each index, put together of `choices[i].delta.content` (chats)
    or `choices[i].text` (completions). An answer ends with `[DONE]`, or with the dump.

    They are named by the answer's id, or else by `name`, with the index where there are several. If every
    event with words tells its `token_ids`, the text has them.

    Args:
        chunks: its bytes, piece by piece.
        source: its name, for messages.
        name: of the text where the answer has none.
        warn: called if the last line breaks off.

    Raises:
        FileError: if a line is no event, if a line or an answer has more than 64 MiB, or if no event has a
            part of a text.
    """
    called: str | None = None
    answer, found = 1, False
    growing: dict[int, _Growing] = {}
    size = 0
    for number, (line, whole) in enumerate(lines_of(_with_ends(chunks, source)), 1):
        place, line = f"{source} line {number}", line.removeprefix(b"\xef\xbb\xbf").strip()
        # All else is a name, a comment or a blank line between events.
        if not line.startswith(_DATA):
            continue
        content = line.removeprefix(_DATA).strip()
        if content == _DONE:
            yield from _finished(growing, called or _numbered(name, answer), source, answer)
            growing, called, size = {}, None, 0
            answer += 1
            continue
        try:
            event = json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            if whole:
                raise FileError(
                    f"{place} is no event of a language model's server ({error}); repair or remove it, or "
                    "pass the text of the answer"
                ) from error
            warn(f"{place} breaks off (no newline ends it) and is left out")
            continue
        if isinstance(event, dict) and isinstance(event.get("id"), str):
            called = event["id"]
        for index, words, ids in _parts(event, place):
            found = True
            size += len(words) + len(ids)
            if size > _MOST:
                raise FileError(f"{place}: the answer has more than {_MOST:,} characters; pass a part of it")
            text = growing.setdefault(index, _Growing())
            text.words.append(words)
            text.ids += ids
            text.knows_ids &= bool(ids) or not words
    yield from _finished(growing, called or _numbered(name, answer), source, answer)
    if not found:
        raise FileError(
            f"{source} has events without choices[i].delta.content or choices[i].text; pass the text of the "
            "answer"
        )


def _with_ends(chunks: Iterable[bytes], source: str) -> Iterator[bytes]:
    """The chunks, as long as their lines end."""
    since = 0
    for chunk in chunks:
        end = chunk.rfind(b"\n")
        since = since + len(chunk) if end < 0 else len(chunk) - end - 1
        if since > _MOST:
            raise FileError(f"{source} has a line of more than {_MOST:,} bytes; pass the text of the answer")
        yield chunk


def _parts(event: Any, place: str) -> Iterator[tuple[int, str, list[int]]]:
    """(index, words, token ids) that an event adds to the texts."""
    choices = event.get("choices") if isinstance(event, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        delta, index = choice.get("delta"), choice.get("index", 0)
        words = delta.get("content") if isinstance(delta, dict) else choice.get("text")
        ids = choice.get("token_ids")
        if words is None and not ids:
            continue
        if type(index) is not int or not isinstance(words, str | None):
            raise FileError(
                f"{place} has a part of a text that is no string, or with no whole number as its index: "
                f"{shown(choice)}; pass the text of the answer"
            )
        yield index, words or "", ids if isinstance(ids, list) else []


def _finished(growing: dict[int, _Growing], called: str, source: str, answer: int) -> Iterator[Text]:
    several = len(growing) > 1
    for index, text in sorted(growing.items()):
        place = source if answer == 1 else f"{source} answer {answer}"
        record: dict[str, Any] = {"id": called, "text": "".join(text.words)}
        if text.ids and text.knows_ids:
            record["token_ids"] = text.ids
        if several:
            record["id"], place = f"{called}/{index}", f"{place} choice {index}"
        yield text_of_record(record, answer, source, place)


def _numbered(name: str, answer: int) -> str:
    return name if answer == 1 else f"{name}/{answer}"
