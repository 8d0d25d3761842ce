"""Texts of JSON: one object, a list of them, or JSON lines; and what each says of the run that wrote it."""

from __future__ import annotations

import codecs
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradeoff.display import shown
from tradeoff.errors import FileError
from tradeoff.texts.shapes import records_of

__all__ = [
    "Broken",
    "Claims",
    "Text",
    "characters",
    "lines_of",
    "not_utf8",
    "text_of_record",
    "texts_of_json",
    "texts_of_lines",
]

#: The largest .json file that is read as one JSON value.
_WHOLE = 64 << 20
_MOST_ID = (1 << 63) - 1
_REMEDY = 'write {"id": "a-1", "text": "..."} on every line, or pass a .txt file'
_FIELD = "name the field of the text with --field"
_BOM = codecs.BOM_UTF8
#: Bytes of JSON in which token ids are looked for.
_LONG = 1 << 16
#: A list of token ids under its name, as JSON is usually written. Possessive: nothing is kept for going back.
_TOKEN_IDS = re.compile(
    rb'(?<!\\)"token_ids": ?(\[(?:0|[1-9]\d{0,17})(?:, ?(?:0|[1-9]\d{0,17}))*+\])', re.ASCII
)
_STAND_IN = b'"\\u0000token_ids"'


@dataclass(frozen=True)
class Claims:
    """What a record says of the run that wrote it (`tradeoff.texts.Run`); None where it says nothing.

    Attributes:
        fault: why none of it can be used: whoever hands a text in may have written it. All else is None then.
    """

    method: str | None = None
    watermark: str | None = None
    prf: str | None = None
    context_width: int | None = None
    key: str | None = None
    vocabulary: int | None = None
    alpha: float | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Text:
    """One text to examine.

    Attributes:
        id: its name: the record's, else the line's number; of plain text the file's name.
        source: the file it comes from, or "-".
        place: the same with the line, for messages.
        token_ids: its tokens, if they are known.
        pieces: its words, in pieces that can be tokenised one by one; None if only tokens are known. Those
            of plain text come straight from the file: use them before the next text is asked for.
        claims: what the record says of its run.
        log_p: log-probabilities of its tokens, as the record has them, unchecked.
        entropy: of the laws that they were drawn from, likewise.
    """

    id: str
    source: str
    place: str
    token_ids: Sequence[int] | np.ndarray | None
    pieces: Iterable[str] | None
    claims: Claims = Claims()
    log_p: Any = None
    entropy: Any = None

    @property
    def label(self) -> str:
        """Its name among texts of other files: the file, and the id where that says more."""
        return self.source if self.place == self.source else f"{self.source}: {self.id}"


@dataclass(frozen=True)
class Broken:
    """Stands where a text cannot be read.

    Attributes:
        source: the file it would come from, or "-".
        message: what is wrong, where, and the remedy.
    """

    source: str
    message: str


_CLAIMED = ("method", "watermark", "prf", "context_width", "key", "vocabulary", "alpha")
#: The value of a line or item to be: its number, its place, and what JSON it holds.
_Value = tuple[int, str, Any]


def texts_of_json(
    chunks: Iterable[bytes], source: str, warn: Callable[[str], None], field: str | None = None
) -> Iterator[Text | Broken]:
    """Texts of a .json file: of one object, of the items of one list, or of JSON lines.

    Args:
        chunks: its bytes, piece by piece.
        source: its name, for messages.
        warn: called with what is left out: values without a text, and a broken last line.
        field: that has the text, where it is none that is known (`tradeoff.texts.shapes`).

    Raises:
        FileError: if it is not JSON; of JSON lines each such line is Broken instead.
    """
    return _texts(_json_values(chunks, source, warn), source, warn, field)


def texts_of_lines(
    chunks: Iterable[bytes], source: str, warn: Callable[[str], None], field: str | None = None
) -> Iterator[Text | Broken]:
    """Texts of JSON lines, each as soon as its line is there; arguments as for `texts_of_json`."""
    return _texts(_line_values(chunks, source, warn), source, warn, field)


def _json_values(
    chunks: Iterable[bytes], source: str, warn: Callable[[str], None]
) -> Iterator[_Value | Broken]:
    """The values of a .json file: the items of one list, one object, or JSON lines."""
    chunks, held, size = iter(chunks), [], 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > _WHOLE:
            break
    content = b"".join(held)
    values = None
    if size <= _WHOLE and content.removeprefix(_BOM).strip():
        try:
            whole = _loaded(content.removeprefix(_BOM))
        except (UnicodeDecodeError, RecursionError):
            # The line with the fault is named below.
            pass
        except json.JSONDecodeError as error:
            # A first value, and something after it: that is what JSON lines are.
            if error.msg != "Extra data":
                raise FileError(f"{source} is not JSON ({error}); {_REMEDY}") from error
        else:
            # A list of integers is one text, any other list has one in each of its items.
            several = isinstance(whole, list) and not all(type(one) is int for one in whole)
            values = whole if several else [whole]
    if values is None:
        held = [content]
        del content
        yield from _line_values(_handed_over(held, chunks), source, warn)
    else:
        yield from ((number, f"{source} item {number}", value) for number, value in enumerate(values, 1))


def _handed_over(held: list[bytes], chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What was read already, of which no second reference is kept, and what follows."""
    yield held.pop()
    yield from chunks


def _line_values(
    chunks: Iterable[bytes], source: str, warn: Callable[[str], None]
) -> Iterator[_Value | Broken]:
    offset = 0
    for number, (line, whole) in enumerate(lines_of(chunks), 1):
        place = f"{source} line {number}"
        start, offset = offset, offset + len(line) + 1
        if number == 1 and line.startswith(_BOM):
            line, start = line.removeprefix(_BOM), len(_BOM)
        if not line.strip():
            continue
        try:
            value = _loaded(line)
        except UnicodeDecodeError as error:
            if whole or error.end < len(line):
                yield Broken(source, str(not_utf8(source, start + error.start)))
            else:
                warn(f"{place} breaks off (no newline ends it) and is left out")
        except (ValueError, RecursionError) as error:
            if whole:
                yield Broken(source, f"{place} is not JSON ({error}); {_REMEDY}")
            else:
                warn(f"{place} breaks off (no newline ends it) and is left out")
        else:
            # A long line is no longer in memory while its text is judged.
            line, kept = b"", [value]
            del value
            yield number, place, kept.pop()


def _texts(
    values: Iterable[_Value | Broken], source: str, warn: Callable[[str], None], field: str | None
) -> Iterator[Text | Broken]:
    """Texts of JSON values; those without any are passed over, as other JSON lines may lie beside texts."""
    passed: list[str] = []
    for value in values:
        if isinstance(value, Broken):
            yield value
            continue
        number, place, content = value
        del value
        found = False
        try:
            for record in records_of(content, place, field):
                found = True
                # One long list of tokens is not held twice.
                content = None
                yield text_of_record(record, number, source, place)
        except FileError as error:
            yield Broken(source, str(error))
            continue
        if not found:
            passed.append(place)
    if passed:
        more = f" (nor have {len(passed) - 1} others)" if len(passed) > 1 else ""
        lacking = f"no {field!r}" if field else 'neither "text" nor "token_ids"'
        warn(f"{passed[0]} has {lacking}{more} and is left out; {_FIELD}, or {_REMEDY}")


def lines_of(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """(line without its newline, whether a newline ended it)."""
    parts: list[bytes] = []
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        del chunk
        for end in ended:
            parts.append(end)
            yield _joined(parts), True
        parts.append(rest)
    if any(parts):
        yield _joined(parts), False


def _joined(parts: list[bytes]) -> bytes:
    """The parts as one; none is kept."""
    line = b"".join(parts)
    parts.clear()
    return line


def _loaded(content: bytes) -> Any:
    """A JSON value; one long list of token ids in it is an array, which takes a fifth of the memory.

    Raises:
        UnicodeDecodeError, ValueError, RecursionError: for what is none.
    """
    found = _TOKEN_IDS.search(content) if len(content) >= _LONG else None
    if found is not None and not _TOKEN_IDS.search(content, found.end()) and _STAND_IN not in content:
        start, end = found.span(1)
        # Where anything is unusual, the whole is read once more, so that errors name its own places.
        with suppress(ValueError, RecursionError):
            value = json.loads((content[:start] + _STAND_IN + content[end:]).decode("utf-8"))
            # At most 18 digits, so that 64 bits hold every id.
            ids = np.fromstring(content[start + 1 : end - 1], dtype=np.int64, sep=",")
            if isinstance(value, dict) and value.get("token_ids") == json.loads(_STAND_IN):
                return value | {"token_ids": ids}
    return json.loads(content.decode("utf-8"))


def text_of_record(record: dict[str, Any], number: int, source: str, place: str) -> Text:
    """The text of an object with `text` or `token_ids`.

    Args:
        record: perhaps also with `id`, `run` and `log_p`.
        number: its name where it has no id.
        source: the file it comes from, or "-".
        place: the same with the line, for messages.

    Raises:
        FileError: if a field is of another kind.
    """
    words, ids, name = record.get("text"), record.get("token_ids"), record.get("id")
    if words is not None and not (isinstance(words, str) and _is_unicode(words)):
        raise FileError(
            f'{place}: "text" must be a string of whole characters, got {shown(words)}; {_REMEDY}'
        )
    if ids is not None and not isinstance(ids, list | np.ndarray):
        raise FileError(f'{place}: "token_ids" must be a list of integers >= 0, got {shown(ids)}')
    for value in ids if isinstance(ids, list) else ():
        if type(value) is not int or not 0 <= value <= _MOST_ID:
            raise FileError(
                f'{place}: "token_ids" hold {shown(value)}; they must be integers >= 0 (drop padding first)'
            )
    if name is None:
        name = str(number)
    if isinstance(name, bool) or not isinstance(name, str | int) or not _is_unicode(str(name)):
        raise FileError(f'{place}: "id" must be text or a whole number, got {shown(name)}')
    pieces = None if words is None else [words] if words else []
    return Text(
        str(name),
        source,
        place,
        ids,
        pieces,
        _claims(record.get("run")),
        record.get("log_p"),
        record.get("entropy"),
    )


def _claims(run: Any) -> Claims:
    if run is None:
        return Claims()
    if not isinstance(run, dict):
        return Claims(fault='"run" is no object as `tradeoff generate` writes it')
    # Needs pydantic, which texts without a record do not.
    from tradeoff.texts._record_model import fault_of_claims

    told = {name: run[name] for name in _CLAIMED if run.get(name) is not None}
    if fault := fault_of_claims(told):
        return Claims(fault=f'"run" has {fault}')
    return Claims(**told)


def _is_unicode(text: str) -> bool:
    """Whether it can be encoded: JSON can spell half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def characters(chunks: Iterable[bytes], source: str) -> Iterator[str]:
    """The characters of every chunk, and what is left at the end; line ends of any system are newlines, and a
    byte-order mark is left out.

    Args:
        chunks: bytes in UTF-8, cut anywhere.
        source: their name, for messages.

    Raises:
        FileError: if they are not UTF-8; it names the first byte that does not fit.
    """
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    fed = 0
    for chunk, final in itertools.chain(((chunk, False) for chunk in chunks), [(b"", True)]):
        fed += len(chunk)
        try:
            found = decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            raise not_utf8(source, fed - len(error.object) + error.start) from error
        yield found


def not_utf8(source: str, offset: int) -> FileError:
    """The error of a file that is not UTF-8: what it is called, and the first byte that does not fit."""
    return FileError(
        f"{source} is not UTF-8: byte {offset} (counted from 0) does not fit; convert it, for example with "
        "`iconv -f latin1 -t utf8`"
    )
