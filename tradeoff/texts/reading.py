"""Texts to examine, one at a time: plain text, JSON and JSON lines, tables, documents, dumps of event
streams, folders of them, and standard input.

Memory is bounded by the longest line of JSON lines, by at most 64 MiB of a .json file, a row of a table or an
answer of an event stream, by a document that is unpacked, and by about 1 MiB of plain text: a text is read
while it is tokenised. Its tokens are kept until it is judged, about 50 bytes for each; those of texts before
it are not.
"""

from __future__ import annotations

import codecs
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tradeoff.errors import FileError
from tradeoff.files import marked
from tradeoff.locks import is_workplace
from tradeoff.texts.documents import text_of_docx, text_of_pdf
from tradeoff.texts.events import begins_events, may_begin_events, texts_of_events
from tradeoff.texts.json_texts import Broken, Text, characters, texts_of_json, texts_of_lines
from tradeoff.texts.tables import NoColumn, texts_of_csv, texts_of_parquet

__all__ = ["IN_FOLDERS", "STDIN", "read_texts", "texts_known"]

#: The source that is standard input.
STDIN = "-"
_JSON_LINES = (".jsonl", ".ndjson", ".json")
#: What is read of folders.
IN_FOLDERS = (".txt", ".md", ".jsonl", ".csv", ".tsv", ".parquet", ".docx", ".pdf")
#: Of those, what holds one text each.
_ONE_TEXT = (".txt", ".md", ".docx", ".pdf")
#: Files of a folder that are skipped and named; of others the number is told.
_NAMED = 3
#: How names of files begin that Word keeps beside an open document.
_OPENED = "~$"
#: What can be a source.
_SOURCES = "a text file, JSON lines, a table (.csv, .tsv, .parquet), a document (.docx, .pdf)"
#: Bytes read at a time, and characters of plain text in a piece.
_BLOCK = 1 << 20
#: How standard input begins if it is one JSON value that JSON lines could not hold.
_WHOLE_JSON = re.compile(rb"\[\s*(?:\{|\d+\s*,\s*\d)|\{[ \t\r]*\n")
#: How binary files begin: PNG, JPEG, PDF, ZIP and all that is packed as it, gzip. Others are told by a NUL.
_BINARY = (b"\x89PNG", b"\xff\xd8\xff", b"%PDF-", b"PK\x03\x04", b"\x1f\x8b")
_SNIFFED = 8192
#: Where a text can be cut with the least effect on its tokens: before a single blank, with which the next
#: word's token begins, and after a single line end, with which a token ends.
_SEAM = re.compile(r"(?<=\S)[ \n](?=\S)")
#: Of text that is read as it comes, so many characters without a seam are cut where tokens of words do not
#: go on, whatever the tokenizer: Chinese has no blanks, and others may have several at a time.
_PATIENCE = 200
#: Read backwards. Before punctuation after a word, as no token of punctuation begins with a letter. After a
#: full stop that follows a vowel sign, which tokenizers take for punctuation too. Before white space of any
#: length, but not before a line end after punctuation, which may be one token.
_STOP = re.compile(
    r"(?<=[.,:;!?)\]}。，、：；！？）」』》।॥၊။])(?=\w)"
    r"|(?<=[^\W_])(?=[।॥၊။][^\s\w])"
    r"|(?<=[^\S\n])(?=\S)"
    r"|(?<=\n)(?=\w)"
)
#: A line that is not blank, behind the end of the one before it.
_LINE = re.compile(r"\n(?=[^\n])")
#: What an input may be of which no more than the first character is known.
_UNDECIDED = (b"", b"[", b"{")


class _How(NamedTuple):
    """As `read_texts` was told."""

    eager: bool
    field: str | None


def read_texts(
    sources: Sequence[str],
    stdin: BinaryIO,
    warn: Callable[[str], None],
    *,
    eager: bool = False,
    field: str | None = None,
    note: Callable[[str], None] | None = None,
) -> Iterator[Text | Broken]:
    """The texts of all sources, in order; what cannot be read does not keep the others from being read.

    A .jsonl, .ndjson or .json file holds JSON lines: objects with `text` or `token_ids`, perhaps `id` and
    `run`, or what other programs write (`tradeoff.texts.shapes`); a .json file may also be one such object,
    or a list of them. Rows of .csv, .tsv and .parquet files are texts (`tradeoff.texts.tables`), and .docx
    and .pdf files are one each (`tradeoff.texts.documents`). Any other file is one plain text in UTF-8, or a
    dump of server-sent events (`tradeoff.texts.events`) if its first line is one; and a folder all its files
    of `IN_FOLDERS`, sorted. Standard input ("-") is read as a .json file if it begins with "[{" or a list of
    numbers, or with "{" on a line of its own; as JSON lines if with "{"; and else as a plain text or a dump.
    Malformed plain text is met only while its pieces are read, and raises FileError there.

    Args:
        sources: files, folders or "-".
        stdin: standard input, in binary.
        warn: called with what is left out: the broken last line of a file that is still being written, lines
            without a text, empty sources and folders' tables without a column of texts among others; and with
            plain text that is marked as quoted mail.
        eager: give pieces of plain text as they come, up to the last single blank or line end, instead of
            waiting for 1 MiB; up to the last punctuation or other white space where neither has come for 200
            characters.
        field: of JSON objects, or column of tables, that has the text, where it is none that is known
            (`tradeoff.texts.shapes`).
        note: called with which files of a folder are not read, and why.

    Raises:
        FileError: if "-" is named twice.
    """
    if sources.count(STDIN) > 1:
        raise FileError("source - is named twice; standard input can be read once")
    return _read(sources, stdin, warn, note or (lambda _: None), _How(eager, field))


def texts_known(sources: Sequence[str]) -> int | None:
    """How many texts there are, where every file holds one; None where they must be read to know.

    Empty files count, and so do those that cannot be read.
    """
    files = [path for source in sources for _, path in _files(source)[0]]
    alike = all(path.suffix.lower() in _ONE_TEXT for path in files)
    return len(files) if files and alike and STDIN not in sources else None


def _read(
    sources: Sequence[str],
    stdin: BinaryIO,
    warn: Callable[[str], None],
    note: Callable[[str], None],
    how: _How,
) -> Iterator[Text | Broken]:
    missing = [source for source in sources if source != STDIN and not Path(source).exists()]
    # Before anything is read: texts may take their time.
    for source in missing:
        yield Broken(
            source,
            f"source {source} does not exist; pass {_SOURCES}, a folder, or - for standard input",
        )
    listed = []
    for source in (source for source in sources if source not in missing):
        files, skipped = _files(source)
        if skipped:
            note(_told_skipped(source, skipped))
        listed.append((source, files))
    alone = len(missing) + sum(max(1, len(files)) for _, files in listed) == 1
    nothing = not missing
    for source, files in listed:
        if not files and not alone:
            warn(f"{source} holds no text and is left out")
        for name, path in files:
            empty = True
            texts = _of_stdin(stdin, warn, how) if source == STDIN else _of_file(name, path, warn, how)
            try:
                for text in _guarded(texts, str(path)):
                    empty = nothing = False
                    yield text
            except NoColumn as error:
                # In a folder other tables may lie beside those of texts.
                if path != Path(source):
                    warn(f"{error}; it is left out")
                    continue
                empty = nothing = False
                yield Broken(str(path), str(error))
            if empty and not alone:
                warn(f"{path} holds no text and is left out")
    if nothing:
        named = ", ".join(sources)
        yield Broken(
            named,
            f"source {named} holds no text; pass {_SOURCES}, a folder with {', '.join(IN_FOLDERS)} files, or "
            "- for standard input",
        )


def _guarded(texts: Iterator[Text | Broken], source: str) -> Iterator[Text | Broken]:
    try:
        yield from texts
    except NoColumn:
        raise
    except FileError as error:
        yield Broken(source, str(error))


def _files(source: str) -> tuple[list[tuple[str, Path]], list[str]]:
    """(name, path) of every file of a source, and names of what a folder has beside them."""
    path = Path(source)
    if source == STDIN or not path.is_dir():
        return [(path.name, path)], []
    inside: list[Path] = []
    skipped: list[Path] = []
    for folder, folders, names in os.walk(path):
        # What is being written there, or was when its writer was killed, is in another file or will be.
        folders[:] = [name for name in folders if not is_workplace(Path(folder, name))]
        for one in (Path(folder, name) for name in names):
            if one.name.startswith(_OPENED) or not one.is_file():
                continue
            if one.suffix.lower() in IN_FOLDERS:
                inside.append(one)
            elif not one.name.startswith("."):
                skipped.append(one)
    return (
        [(str(p.relative_to(path)), p) for p in sorted(inside)],
        [str(p.relative_to(path)) for p in sorted(skipped)],
    )


def _told_skipped(source: str, skipped: Sequence[str]) -> str:
    """Which files of a folder are not read, and why."""
    named = ", ".join(skipped[:_NAMED])
    more = f" and {len(skipped) - _NAMED:,} more" if len(skipped) > _NAMED else ""
    one = len(skipped) == 1
    return (
        f"{source}: {len(skipped):,} file{'' if one else 's'} skipped, {named}{more}: of folders "
        f"{', '.join(IN_FOLDERS)} files are read; name {'it' if one else 'others'} as a source to have "
        f"{'it' if one else 'them'} read"
    )


def _of_file(name: str, path: Path, warn: Callable[[str], None], how: _How) -> Iterator[Text | Broken]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise FileError(
            f"source {path} cannot be read ({error.strerror or error}); check its permissions"
        ) from error
    with stream:
        source, suffix = str(path), path.suffix.lower()
        if suffix == ".parquet":
            yield from texts_of_parquet(stream, source, warn, how.field)
            return
        if suffix == ".docx":
            yield from text_of_docx(stream, source, name)
            return
        if suffix == ".pdf":
            yield from text_of_pdf(stream, source, name, warn)
            return
        chunks = _chunks(stream, source)
        if suffix == ".json":
            yield from texts_of_json(chunks, source, warn, how.field)
        elif suffix in _JSON_LINES:
            yield from texts_of_lines(chunks, source, warn, how.field)
        elif suffix == ".csv":
            yield from texts_of_csv(chunks, source, warn, how.field)
        elif suffix == ".tsv":
            yield from texts_of_csv(chunks, source, warn, how.field, delimiters="\t")
        else:
            yield from _plain_or_events(*_begun(chunks), source, name, warn, how)


def _of_stdin(stdin: BinaryIO, warn: Callable[[str], None], how: _How) -> Iterator[Text | Broken]:
    start, chunks = _begun(_chunks(stdin, STDIN))
    if _WHOLE_JSON.match(start):
        yield from texts_of_json(chunks, STDIN, warn, how.field)
    elif start.startswith(b"{"):
        yield from texts_of_lines(chunks, STDIN, warn, how.field)
    else:
        yield from _plain_or_events(start, chunks, STDIN, STDIN, warn, how)


def _begun(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """How an input begins, without white space and as far as need be to tell what it is; and all of it."""
    held: list[bytes] = []
    start, size = b"", 0
    for chunk in chunks:
        size += len(chunk)
        start = (start + (chunk if held else chunk.removeprefix(codecs.BOM_UTF8))).lstrip()
        held.append(chunk)
        open_still = start.strip() in _UNDECIDED or may_begin_events(start)
        if size > _BLOCK or not open_still:
            break
    return start, itertools.chain(held, chunks)


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
    encoding = marked(start)[1]
    if encoding != "utf-8":
        # "utf-16-le" is "utf-16" with its mark.
        name = encoding.removesuffix("-le").removesuffix("-be")
        raise FileError(f"{source} is {name.upper()}; convert it with `iconv -f {name} -t utf8`")
    if b"\0" in start or start.startswith(_BINARY):
        raise FileError(f"{source} is not a text file; pass the text in it as UTF-8, or as JSON lines")


def _plain_or_events(
    start: bytes, chunks: Iterable[bytes], source: str, name: str, warn: Callable[[str], None], how: _How
) -> Iterator[Text]:
    if begins_events(start):
        yield from texts_of_events(chunks, source, name, warn)
        return
    pieces = _telling_quotes(_pieces(chunks, source, how.eager), source, warn)
    for first in pieces:
        # A text in one piece is here as a whole, so that it may be read together with others.
        second = [] if how.eager else list(itertools.islice(pieces, 1))
        more = bool(second) or how.eager
        yield Text(name, source, source, None, itertools.chain([first], second, pieces) if more else [first])
        return


def _telling_quotes(pieces: Iterable[str], source: str, warn: Callable[[str], None]) -> Iterator[str]:
    """The pieces; warns at the end if most lines have the marks of quoted mail."""
    lines, quoted, end = 0, 0, "\n"
    for piece in pieces:
        seen = "\n" + piece if end == "\n" else piece
        lines += len(_LINE.findall(seen))
        quoted += seen.count("\n>")
        end = piece[-1:] or end
        yield piece
    if quoted > max(1, lines / 2):
        warn(
            f"{source}: most lines begin with >, as in quoted mail, and are read as they are; strip the "
            "marks first, for example with `sed 's/^[> ]*//'`, since no text was generated with them"
        )


def _pieces(chunks: Iterable[bytes], source: str, eager: bool) -> Iterator[str]:
    """The characters in pieces of about 1 MiB, or as they come, cut at seams; line ends of any system are
    newlines."""
    # Of what is held, so many characters at the start have been searched and hold no seam.
    held, searched = "", 0
    for more in characters(chunks, source):
        held += more
        while held and (eager or len(held) >= _BLOCK):
            block = min(_BLOCK, len(held))
            # The pattern reads the same backwards, and its last match is the first one from the end.
            seam = _SEAM.search(held[searched:block][::-1])
            if seam is not None:
                cut = block - (seam.end() if seam[0] == " " else seam.start())
            elif block == _BLOCK:
                cut = block
            else:
                # A seam needs a character on either side, of which the second may be the next to come.
                searched = max(block - 2, 0)
                stop = _STOP.search(held[-_PATIENCE:][::-1]) if block >= _PATIENCE else None
                if stop is None:
                    break
                cut = block - stop.start()
            yield held[:cut]
            held, searched = held[cut:], 0
    if held:
        yield held
