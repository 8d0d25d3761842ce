"""Texts to examine, one at a time: plain text, JSON and JSON lines, folders of them, and standard input.

Memory is bounded by the longest line of JSON lines, by a .json file of at most 64 MiB, and by about 1 MiB of
plain text: a text is read while it is tokenised.
"""

from __future__ import annotations

import codecs
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tradeoff.files import FileError

__all__ = ["STDIN", "Broken", "Claims", "Text", "read_texts"]

#: The source that is standard input.
STDIN = "-"
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_IN_FOLDERS = (".txt", ".md", ".jsonl")
#: Bytes read at a time, and characters of plain text in a piece.
_BLOCK = 1 << 20
#: The largest .json file that is read as one JSON value.
_WHOLE = 64 << 20
#: How binary files begin: PNG, JPEG, PDF, ZIP and all that is packed as it, gzip. Others are told by a NUL.
_BINARY = (b"\x89PNG", b"\xff\xd8\xff", b"%PDF-", b"PK\x03\x04", b"\x1f\x8b")
_SNIFFED = 8192
#: Where a text can be cut with the least effect on its tokens: before a single blank, with which the next
#: word's token begins.
_SEAM = re.compile(r"(?<=\S)\s(?=\S)")
_MOST_ID = (1 << 63) - 1
_REMEDY = 'write {"id": "a-1", "text": "..."} on every line, or pass a .txt file'
_BOM = codecs.BOM_UTF8


@dataclass(frozen=True)
class Claims:
    """What a record says of the run that wrote it (`tradeoff.llm.records`); None where it says nothing."""

    method: str | None = None
    watermark: str | None = None
    prf: str | None = None
    context_width: int | None = None
    key: str | None = None
    vocabulary: int | None = None


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
    """

    id: str
    source: str
    place: str
    token_ids: list[int] | None
    pieces: Iterable[str] | None
    claims: Claims = Claims()

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


#: The value of a line or item to be: its number, its place, and what JSON it holds.
_Value = tuple[int, str, Any]


def read_texts(
    sources: Sequence[str], stdin: BinaryIO, warn: Callable[[str], None]
) -> Iterator[Text | Broken]:
    """The texts of all sources, in order; what cannot be read does not keep the others from being read.

    A .jsonl, .ndjson or .json file holds JSON lines: objects with `text` or `token_ids`, perhaps `id` and
    `run`; a .json file may also be one such object, or a list of them. Any other file is one plain text in
    UTF-8, and a folder all its .txt, .md and .jsonl files, sorted. Standard input ("-") is JSON lines if it
    begins with "{". Malformed plain text is met only while its pieces are read, and raises FileError there.

    Args:
        sources: files, folders or "-".
        stdin: standard input, in binary.
        warn: called with what is left out: the broken last line of a file that is still being written, lines
            without a text, and empty sources among others.

    Raises:
        FileError: if "-" is named twice.
    """
    if sources.count(STDIN) > 1:
        raise FileError("source - is named twice; standard input can be read once")
    return _read(sources, stdin, warn)


def _read(sources: Sequence[str], stdin: BinaryIO, warn: Callable[[str], None]) -> Iterator[Text | Broken]:
    missing = [source for source in sources if source != STDIN and not Path(source).exists()]
    # Before anything is read: texts may take their time.
    for source in missing:
        yield Broken(
            source,
            f"source {source} does not exist; pass a text file, a JSON-lines file, a folder, or - for "
            "standard input",
        )
    listed = [(source, _files(source)) for source in sources if source not in missing]
    alone = len(missing) + sum(max(1, len(files)) for _, files in listed) == 1
    nothing = not missing
    for source, files in listed:
        if not files and not alone:
            warn(f"{source} holds no text and is left out")
        for name, path in files:
            empty = True
            texts = _of_stdin(stdin, warn) if source == STDIN else _of_file(name, path, warn)
            for text in _guarded(texts, str(path)):
                empty = nothing = False
                yield text
            if empty and not alone:
                warn(f"{path} holds no text and is left out")
    if nothing:
        named = ", ".join(sources)
        yield Broken(
            named,
            f"source {named} holds no text; pass a text file, a JSON-lines file, a folder with "
            f"{', '.join(_IN_FOLDERS)} files, or - for standard input",
        )


def _guarded(texts: Iterator[Text | Broken], source: str) -> Iterator[Text | Broken]:
    try:
        yield from texts
    except FileError as error:
        yield Broken(source, str(error))


def _files(source: str) -> list[tuple[str, Path]]:
    """(name, path) of every file of a source."""
    path = Path(source)
    if source == STDIN or not path.is_dir():
        return [(path.name, path)]
    inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in _IN_FOLDERS and p.is_file())
    return [(str(p.relative_to(path)), p) for p in inside]


def _of_file(name: str, path: Path, warn: Callable[[str], None]) -> Iterator[Text | Broken]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise FileError(
            f"source {path} cannot be read ({error.strerror or error}); check its permissions"
        ) from error
    with stream:
        source, suffix = str(path), path.suffix.lower()
        chunks = _chunks(stream, source)
        if suffix == ".json":
            yield from _texts(_json_values(chunks, source, warn), source, warn)
        elif suffix in _JSON_LINES:
            yield from _texts(_line_values(chunks, source, warn), source, warn)
        else:
            yield from _plain_text(chunks, source, name)


def _of_stdin(stdin: BinaryIO, warn: Callable[[str], None]) -> Iterator[Text | Broken]:
    chunks = _chunks(stdin, STDIN)
    blank = []
    for chunk in chunks:
        blank.append(chunk)
        if chunk.removeprefix(_BOM).strip():
            break
    is_json = bool(blank) and blank[-1].removeprefix(_BOM).lstrip().startswith(b"{")
    chunks = itertools.chain(blank, chunks)
    if is_json:
        yield from _texts(_line_values(chunks, STDIN, warn), STDIN, warn)
    else:
        yield from _plain_text(chunks, STDIN, STDIN)


def _chunks(stream: Any, source: str) -> Iterator[bytes]:
    """What there is, as it comes: lines of a pipe are not waited for any longer than they take."""
    sniffed = False
    try:
        while chunk := stream.read1(_BLOCK):
            if not sniffed:
                _refuse_binary(chunk[:_SNIFFED], source)
                sniffed = True
            yield chunk
    except OSError as error:
        raise FileError(f"source {source} cannot be read ({error.strerror or error}); try again") from error


def _refuse_binary(start: bytes, source: str) -> None:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FileError(f"{source} is UTF-16; convert it with `iconv -f utf-16 -t utf8`")
    if b"\0" in start or start.startswith(_BINARY):
        raise FileError(f"{source} is not a text file; pass the text in it as UTF-8, or as JSON lines")


def _plain_text(chunks: Iterable[bytes], source: str, name: str) -> Iterator[Text]:
    pieces = _pieces(chunks, source)
    for first in pieces:
        yield Text(name, source, source, None, itertools.chain([first], pieces))
        return


def _pieces(chunks: Iterable[bytes], source: str) -> Iterator[str]:
    """The characters in pieces of about 1 MiB, cut at white space; line ends of any system are newlines."""
    # A byte-order mark is no part of the text.
    utf8 = codecs.getincrementaldecoder("utf-8-sig")()
    decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
    held, fed = "", 0
    for chunk, final in itertools.chain(((chunk, False) for chunk in chunks), [(b"", True)]):
        fed += len(chunk)
        try:
            held += decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            raise _not_utf8(source, fed - len(error.object) + error.start) from error
        while len(held) >= _BLOCK:
            # The pattern reads the same backwards, and its last match is the first one from the end.
            seam = _SEAM.search(held[_BLOCK - 1 :: -1])
            cut = _BLOCK - seam.end() if seam else _BLOCK
            yield held[:cut]
            held = held[cut:]
    if held:
        yield held


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
            whole = json.loads(content.decode("utf-8-sig"))
        except (UnicodeDecodeError, RecursionError):
            # The line with the fault is named below.
            pass
        except json.JSONDecodeError as error:
            # A first value, and something after it: that is what JSON lines are.
            if error.msg != "Extra data":
                raise FileError(f"{source} is not JSON ({error}); {_REMEDY}") from error
        else:
            values = whole if isinstance(whole, list) else [whole]
    if values is None:
        yield from _line_values(itertools.chain([content], chunks), source, warn)
    else:
        yield from ((number, f"{source} item {number}", value) for number, value in enumerate(values, 1))


def _line_values(
    chunks: Iterable[bytes], source: str, warn: Callable[[str], None]
) -> Iterator[_Value | Broken]:
    offset = 0
    for number, (line, whole) in enumerate(_lines(chunks), 1):
        place = f"{source} line {number}"
        start, offset = offset, offset + len(line) + 1
        if number == 1 and line.startswith(_BOM):
            line, start = line.removeprefix(_BOM), len(_BOM)
        if not line.strip():
            continue
        try:
            yield number, place, json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            if whole or error.end < len(line):
                yield Broken(source, str(_not_utf8(source, start + error.start)))
            else:
                warn(f"{place} breaks off (no newline ends it) and is left out")
        except (ValueError, RecursionError) as error:
            if whole:
                yield Broken(source, f"{place} is not JSON ({error}); {_REMEDY}")
            else:
                warn(f"{place} breaks off (no newline ends it) and is left out")


def _texts(
    values: Iterable[_Value | Broken], source: str, warn: Callable[[str], None]
) -> Iterator[Text | Broken]:
    """Texts of JSON values; those without any are passed over, as other JSON lines may lie beside texts."""
    passed: list[str] = []
    for value in values:
        if isinstance(value, Broken):
            yield value
            continue
        number, place, record = value
        if not isinstance(record, dict) or (record.get("text") is None and record.get("token_ids") is None):
            passed.append(place)
            continue
        try:
            text = _of_record(record, number, source, place)
        except FileError as error:
            yield Broken(source, str(error))
        else:
            yield text
    if passed:
        more = f" (nor have {len(passed) - 1} others)" if len(passed) > 1 else ""
        warn(f'{passed[0]} has neither "text" nor "token_ids"{more} and is left out; {_REMEDY}')


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """(line, whether a newline ended it)."""
    parts: list[bytes] = []
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            yield b"".join([*parts, end]), True
            parts = []
        parts.append(rest)
    if last := b"".join(parts):
        yield last, False


def _of_record(record: dict[str, Any], number: int, source: str, place: str) -> Text:
    words, ids, name = record.get("text"), record.get("token_ids"), record.get("id")
    if words is not None and not (isinstance(words, str) and _is_unicode(words)):
        raise FileError(
            f'{place}: "text" must be a string of whole characters, got {_shown(words)}; {_REMEDY}'
        )
    if ids is not None and not isinstance(ids, list):
        raise FileError(f'{place}: "token_ids" must be a list of integers >= 0, got {_shown(ids)}')
    for value in ids or ():
        if type(value) is not int or not 0 <= value <= _MOST_ID:
            raise FileError(
                f'{place}: "token_ids" hold {_shown(value)}; they must be integers >= 0 (drop padding first)'
            )
    if name is None:
        name = str(number)
    if isinstance(name, bool) or not isinstance(name, str | int) or not _is_unicode(str(name)):
        raise FileError(f'{place}: "id" must be text or a whole number, got {_shown(name)}')
    pieces = None if words is None else [words] if words else []
    return Text(str(name), source, place, ids, pieces, _claims(record.get("run"), place))


def _claims(run: Any, place: str) -> Claims:
    if run is None:
        return Claims()
    if not isinstance(run, dict):
        raise FileError(f'{place}: "run" must be an object as `tradeoff generate` writes it; remove it')
    kinds: dict[str, type] = dict.fromkeys(("method", "watermark", "prf", "key"), str)
    kinds |= dict.fromkeys(("context_width", "vocabulary"), int)
    told = {name: run[name] for name in kinds if run.get(name) is not None}
    for name, value in told.items():
        if type(value) is not kinds[name]:
            raise FileError(
                f'{place}: "run" has {name}={_shown(value)}, which is no {kinds[name].__name__}; repair or '
                'remove "run"'
            )
    return Claims(**told)


def _is_unicode(text: str) -> bool:
    """Whether it can be encoded: JSON can spell half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _not_utf8(source: str, offset: int) -> FileError:
    return FileError(
        f"{source} is not UTF-8: byte {offset} (counted from 0) does not fit; convert it, for example with "
        "`iconv -f latin1 -t utf8`"
    )
