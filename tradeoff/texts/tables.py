"""Tables of texts: .csv, .tsv and .parquet files, of which every row is one.

Rows are counted from 1, below the header, in names and messages.

| column | holds |
|---|---|
| `text`, `token_ids` | the text; ids are lists, in .csv files as JSON writes them |
| `generated_text`, `completion`, `output`, `prediction` | either, where neither of those is there |
| `id` | the text's name |
| `run`, `log_p` | what records of `tradeoff generate` hold; in .parquet files alone |
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from tradeoff.display import shown
from tradeoff.errors import FileError
from tradeoff.texts.documents import refusing_damaged
from tradeoff.texts.json_texts import Broken, Text, characters, text_of_record
from tradeoff.texts.shapes import FIELDS, records_of

__all__ = ["NoColumn", "texts_of_csv", "texts_of_parquet"]

_OWN = ("text", "token_ids")
#: Characters of the longest row of a .csv file; more are read to its end where a quote mark is missing.
_LONGEST_ROW = 64 << 20
#: Columns that a message names.
_TOLD = 12
#: Rows of a .parquet file in memory, and bytes of it that are read at a time.
_BATCH, _BUFFER = 16, 1 << 20

#: A row to be: its number, and its cells by what they are.
_Row = tuple[int, dict[str, Any]]


class NoColumn(FileError):
    """A table has no column that is known to hold texts."""


def texts_of_csv(
    chunks: Iterable[bytes],
    source: str,
    warn: Callable[[str], None],
    field: str | None = None,
    delimiters: Sequence[str] = (",", ";", "\t"),
) -> Iterator[Text | Broken]:
    """Texts of a .csv or .tsv file with a header, each as soon as its row is there.

    Args:
        chunks: its bytes, piece by piece.
        source: its name, for messages.
        warn: called with what is left out: rows without a text.
        field: name of the column with the text, where it is none that is known.
        delimiters: those that may lie between cells. The header tells which one does: that by which it has a
            known column, or else the most columns.

    Raises:
        NoColumn: if no column is known to hold texts.
        FileError: if several are, if it is not UTF-8, or a row has more than 64 MiB.
    """
    rows = _Rows(chunks, source)
    header = rows.first_line()
    if header is None:
        return
    rows.delimiter = max(delimiters, key=lambda one: _promise(header, one, field))
    names = [name.strip() for name in rows.next() or []]
    columns = _columns(names, names, source, field)
    yield from _texts(_csv_rows(rows, names, columns), source, warn, field, columns)


def texts_of_parquet(
    stream: BinaryIO, source: str, warn: Callable[[str], None], field: str | None = None
) -> Iterator[Text | Broken]:
    """Texts of a .parquet file, of which few rows are in memory at a time.

    Args:
        stream: the file.
        source: its name, for messages.
        warn: called with what is left out: rows without a text.
        field: name of the column with the text, where it is none that is known; dots lead into structures.

    Raises:
        NoColumn: if no column is known to hold texts.
        FileError: if several are, if the file is damaged, or pyarrow is not installed.
    """
    with refusing_damaged(source, "Parquet file", "pyarrow"):
        from pyarrow.parquet import ParquetFile

        table = ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
        schema = table.schema_arrow
        candidates = [one.name for one in schema if _may_hold_texts(one.type, field)]
        columns = _columns(candidates, schema.names, source, field) | _of_records(schema)
    yield from _texts(_parquet_rows(table, columns, source), source, warn, field, columns)


def _texts(
    rows: Iterable[_Row | Broken],
    source: str,
    warn: Callable[[str], None],
    field: str | None,
    columns: dict[str, str],
) -> Iterator[Text | Broken]:
    first, passed = "", 0
    for row in rows:
        if isinstance(row, Broken):
            yield row
            continue
        number, cells = row
        place, found = f"{source} row {number}", False
        try:
            for record in records_of(cells, place, field):
                found = True
                yield text_of_record(record, number, source, place)
        except FileError as error:
            yield Broken(source, str(error))
            continue
        if not found:
            first, passed = first or place, passed + 1
    if passed:
        more = f" (nor have {passed - 1} others)" if passed > 1 else ""
        named = " or ".join(shown(name) for what, name in columns.items() if what in (field, *_OWN, *FIELDS))
        warn(f"{first} has no text in column {named or shown(field)}{more} and is left out")


def _columns(names: Sequence[str], every: Sequence[str], source: str, field: str | None) -> dict[str, str]:
    """The columns to read: what they are, and their names.

    Args:
        names: of columns that may hold texts.
        every: of all columns, for messages.
        source: the table's name, for messages.
        field: see `texts_of_csv`.
    """
    told = ", ".join(shown(name) for name in every[:_TOLD])
    told += f" and {len(every) - _TOLD} more" if len(every) > _TOLD else ""
    kept = {} if (name := _named("id", every)) is None else {"id": name}
    if field is not None:
        for name in (field, field.partition(".")[0]):
            if name in names:
                return kept | {name: name}
        raise NoColumn(
            f"{source} has no column {shown(field)} with texts or token ids; its columns are {told}: name "
            "one of them with --field"
        )
    known = {what: name for what in (*_OWN, *FIELDS) if (name := _named(what, names)) is not None}
    own = {what: name for what, name in known.items() if what in _OWN}
    if len(known) > 1 and not own:
        raise FileError(
            f"{source} has texts in columns {' and '.join(known.values())}; name the one to read with --field"
        )
    if not known:
        raise NoColumn(
            f'{source} has no column "text" or "token_ids"; its columns are {told}: name that of the '
            "texts with --field, or write a header above the first row"
        )
    return kept | (own or known)


def _named(what: str, names: Sequence[str]) -> str | None:
    """The column of a name, also if it is spelled in other letters."""
    if what in names:
        return what
    return next((name for name in names if name.strip().casefold() == what), None)


class _Rows:
    """The rows of a .csv file, one at a time, of which none may be too long.

    Attributes:
        source: name of the file, for messages.
        delimiter: between cells; set it before the first row is asked for.
    """

    def __init__(self, chunks: Iterable[bytes], source: str):
        self.delimiter = ","
        self.source = source
        self._drawn = 0
        self._lines = self._split(characters(chunks, source))
        self._reader: Iterator[list[str]] | None = None

    def first_line(self) -> str | None:
        """The first line that is not blank, which is read again as a row; None if there is none."""
        for line in self._lines:
            if line.strip():
                self._lines = itertools.chain([line], self._lines)
                return line
            self._drawn = 0
        return None

    def next(self) -> list[str] | None:
        """The cells of the next row, [] for a blank line; None behind the last row.

        Raises:
            csv.Error: if it is malformed.
            FileError: if it is too long.
        """
        if self._reader is None:
            self._reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True)
        before = csv.field_size_limit(_LONGEST_ROW + _BUFFER)
        try:
            return next(self._reader, None)
        finally:
            # The limit is that of the whole program.
            csv.field_size_limit(before)
            self._drawn = 0

    def _split(self, pieces: Iterable[str]) -> Iterator[str]:
        parts: list[str] = []
        for piece in pieces:
            # Some of it belongs to the rows before; what counts is that there is a bound.
            self._drawn += len(piece)
            if self._drawn > _LONGEST_ROW:
                raise FileError(
                    f"{self.source} has a row of more than {_LONGEST_ROW:,} characters; close the quote mark "
                    "that it begins with, or pass JSON lines"
                )
            *ended, rest = piece.split("\n")
            for end in ended:
                yield "".join([*parts, end, "\n"])
                parts.clear()
            parts.append(rest)
        if any(parts):
            yield "".join(parts)


def _promise(header: str, delimiter: str, field: str | None) -> tuple[bool, int]:
    """How well a delimiter suits a header."""
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    known = (*_OWN, *FIELDS) if field is None else (field,)
    return any(_named(what, names) is not None for what in known), len(names)


def _csv_rows(rows: _Rows, names: list[str], columns: dict[str, str]) -> Iterator[_Row | Broken]:
    at = {what: names.index(name) for what, name in columns.items()}
    number = 0
    while True:
        try:
            cells = rows.next()
        except csv.Error as error:
            number += 1
            yield Broken(
                rows.source,
                f"{rows.source} row {number} is malformed ({error}); put cells with quote marks, delimiters "
                "or line ends between quote marks, and double those inside",
            )
            continue
        if cells is None:
            return
        if not cells:
            continue
        number += 1
        # Delimiters at the end of a row do no harm.
        if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
            yield Broken(
                rows.source,
                f"{rows.source} row {number} has {len(cells)} cells and the header {len(names)}; put texts "
                f"with {shown(rows.delimiter)} between quote marks",
            )
            continue
        # A cell that is empty is one that is not there.
        yield number, {what: _cell(what, cells[index]) for what, index in at.items() if cells[index].strip()}


def _cell(what: str, cell: str) -> str | list[int]:
    """A cell of a .csv file: a list of token ids if it is written as one, but for names and words."""
    if what not in ("id", "text") and cell.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            ids = json.loads(cell)
            if all(type(one) is int for one in ids):
                return ids
    return cell


def _may_hold_texts(kind: Any, field: str | None) -> bool:
    """Whether a column of a type of pyarrow can be read: words, token ids, nothing, or where dots lead."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return types.is_integer(kind.value_type) or types.is_null(kind.value_type)
    if types.is_struct(kind):
        return field is not None and "." in field
    words = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return words or types.is_null(kind)


def _of_records(schema: Any) -> dict[str, str]:
    """Columns that records of generated texts have beside."""
    from pyarrow import types

    kinds = {"run": types.is_struct, "log_p": types.is_list}
    return {
        name: name for name, fits in kinds.items() if name in schema.names and fits(schema.field(name).type)
    }


def _parquet_rows(table: Any, columns: dict[str, str], source: str) -> Iterator[_Row | Broken]:
    names = sorted(set(columns.values()))
    with refusing_damaged(source, "Parquet file", "pyarrow"):
        batches = table.iter_batches(batch_size=_BATCH, columns=names, use_threads=False)
    number = 0
    while True:
        with refusing_damaged(source, "Parquet file", "pyarrow"):
            batch = next(batches, None)
            if batch is None:
                return
            held = {what: batch.column(name) for what, name in columns.items()}
        for index in range(batch.num_rows):
            number += 1
            try:
                cells = {what: column[index].as_py() for what, column in held.items()}
            except ValueError as error:
                yield Broken(source, f"{source} row {number} cannot be read ({error}); write the file anew")
                continue
            # Names of any type will do, such as dates and numbers with a decimal point.
            if not isinstance(cells.get("id", ""), str | int):
                cells["id"] = None if cells["id"] is None else str(cells["id"])
            yield number, cells
