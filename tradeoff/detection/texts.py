"""Texts to examine, one at a time: plain text, JSON lines, folders of both, and standard input.

Memory is bounded by the longest line of JSON lines, and by about 1 MiB of plain text: a text is read while
it is tokenised.
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

__all__ = ["STDIN", "Claims", "Text", "read_texts"]

#: The source that is standard input.
STDIN = "-"
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_IN_FOLDERS = (".txt", ".md", ".jsonl")
#: Bytes read at a time, and characters of plain text in a piece.
_BLOCK = 1 << 20
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


def read_texts(sources: Sequence[str], stdin: BinaryIO, warn: Callable[[str], None]) -> Iterator[Text]:
    """The texts of all sources, in order.

    A .jsonl, .ndjson or .json file holds JSON lines: objects with `text` or `token_ids`, perhaps `id` and
    `run`. Any other file is one plain text in UTF-8, and a folder all its .txt, .md and .jsonl files, sorted.
    Standard input ("-") is JSON lines if it begins with "{".

    Args:
        sources: files, folders or "-".
        stdin: standard input, in binary.
        warn: called with what is left out: the broken last line of a file that is still being written, and
            empty files in folders.

    Raises:
        FileError: for a source that does not exist, cannot be read or holds no text (at once), and for
            malformed content (when it is met).
    """
    if sources.count(STDIN) > 1:
        raise FileError("source - is named twice; standard input can be read once")
    listed = [(source, _files(source)) for source in sources]
    return _read(listed, stdin, warn)


def _read(
    listed: list[tuple[str, list[tuple[str, Path]]]], stdin: BinaryIO, warn: Callable[[str], None]
) -> Iterator[Text]:
    for source, files in listed:
        found = False
        if source == STDIN:
            for text in _of_stdin(stdin, warn):
                found = True
                yield text
        for name, path in files:
            empty = True
            for text in _of_file(name, path, warn):
                found, empty = True, False
                yield text
            if empty and len(files) > 1:
                warn(f"{path} holds no text and is left out")
        if not found:
            raise FileError(
                f"source {source} holds no text; pass a text file, a JSON-lines file, a folder with "
                f"{', '.join(_IN_FOLDERS)} files, or - for standard input"
            )


def _files(source: str) -> list[tuple[str, Path]]:
    """(name, path) of every file of a source."""
    path = Path(source)
    if source == STDIN:
        return []
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in _IN_FOLDERS and p.is_file())
        return [(str(p.relative_to(path)), p) for p in inside]
    if not path.exists():
        raise FileError(
            f"source {source} does not exist; pass a text file, a JSON-lines file, a folder, or - for "
            "standard input"
        )
    return [(path.name, path)]


def _of_file(name: str, path: Path, warn: Callable[[str], None]) -> Iterator[Text]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise FileError(
            f"source {path} cannot be read ({error.strerror or error}); check its permissions"
        ) from error
    with stream:
        chunks = _chunks(stream, str(path))
        if path.suffix.lower() in _JSON_LINES:
            yield from _json_texts(chunks, str(path), warn)
        else:
            yield from _plain_text(chunks, str(path), name)


def _of_stdin(stdin: BinaryIO, warn: Callable[[str], None]) -> Iterator[Text]:
    chunks = _chunks(stdin, STDIN)
    blank = []
    for chunk in chunks:
        blank.append(chunk)
        if chunk.removeprefix(_BOM).strip():
            break
    is_json = bool(blank) and blank[-1].removeprefix(_BOM).lstrip().startswith(b"{")
    chunks = itertools.chain(blank, chunks)
    return _json_texts(chunks, STDIN, warn) if is_json else _plain_text(chunks, STDIN, STDIN)


def _chunks(stream: Any, source: str) -> Iterator[bytes]:
    """What there is, as it comes: lines of a pipe are not waited for any longer than they take."""
    try:
        while chunk := stream.read1(_BLOCK):
            yield chunk
    except OSError as error:
        raise FileError(f"source {source} cannot be read ({error.strerror or error}); try again") from error


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


def _json_texts(chunks: Iterable[bytes], source: str, warn: Callable[[str], None]) -> Iterator[Text]:
    offset = 0
    for number, (line, whole) in enumerate(_lines(chunks), 1):
        place = f"{source} line {number}"
        start, offset = offset, offset + len(line) + 1
        if number == 1 and line.startswith(_BOM):
            line, start = line.removeprefix(_BOM), len(_BOM)
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            if whole or error.end < len(line):
                raise _not_utf8(source, start + error.start) from error
            warn(f"{place} breaks off (no newline ends it) and is left out")
        except (ValueError, RecursionError) as error:
            if whole:
                raise FileError(f"{place} is not JSON ({error}); {_REMEDY}") from error
            warn(f"{place} breaks off (no newline ends it) and is left out")
        else:
            yield _of_record(record, number, source, place)


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


def _of_record(record: Any, number: int, source: str, place: str) -> Text:
    if not isinstance(record, dict):
        raise FileError(f"{place} is a JSON {type(record).__name__}, not an object; {_REMEDY}")
    words, ids, name = record.get("text"), record.get("token_ids"), record.get("id")
    if words is None and ids is None:
        raise FileError(f'{place} has neither "text" nor "token_ids"; {_REMEDY}')
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
