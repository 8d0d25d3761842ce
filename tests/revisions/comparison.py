"""Whether two folders hold the same files byte for byte, but for pictures, pages and times."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

__all__ = ["EXEMPT", "TIMES", "changes", "compared_files"]

#: Suffixes of what shows numbers that other files hold.
EXEMPT = frozenset({".png", ".svg", ".pdf", ".html"})
#: Columns of tables and fields of records that tell how long something took.
TIMES = ("seconds", "ptt_ms", "ptt_ms_error")
#: Within a string of JSON a quotation mark has a backslash before it, so that this is a field.
_TIME_FIELD = re.compile(rb'"(?:%s)": [-+.\deE]+' % "|".join(TIMES).encode())
#: Characters shown of a line, before the first that differs and in all.
_BEFORE, _SHOWN = 30, 80


def compared_files(folder: Path) -> list[str]:
    """Paths, relative to the folder, of the files that count."""
    paths = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.suffix.lower() not in EXEMPT)


def changes(before: Path, now: Path) -> list[str]:
    """What differs between two folders: for every file that does, its name and the first difference."""
    earlier, later = set(compared_files(before)), set(compared_files(now))
    said = []
    for name in sorted(earlier | later):
        if name not in later:
            said.append(f"{name} is missing now")
        elif name not in earlier:
            said.append(f"{name} was not there before")
        else:
            old, new = (_counted(folder / name) for folder in (before, now))
            if old != new:
                said.append(f"{name} {_first_difference(old, new)}")
    return said


def _counted(path: Path) -> bytes:
    """The content of a file without times."""
    content = path.read_bytes()
    if path.suffix == ".jsonl":
        return _TIME_FIELD.sub(b"", content)
    if path.suffix == ".csv":
        return _without_times(content)
    return content


def _without_times(content: bytes) -> bytes:
    """A table without the columns of times; one that has none stays as it is, whatever it holds."""
    head = content.partition(b"\n")[0].strip().decode(errors="replace").split(",")
    if not set(head) & set(TIMES):
        return content
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    kept = [k for k, name in enumerate(rows[0]) if name not in TIMES]
    out = io.StringIO(newline="")
    # A row that is too short, or too long, must not pass for one that is not.
    csv.writer(out, lineterminator="\n").writerows(
        [*(row[k] for k in kept if k < len(row)), *row[len(rows[0]) :]] for row in rows
    )
    return out.getvalue().encode()


def _first_difference(old: bytes, new: bytes) -> str:
    if b"\0" in old or b"\0" in new:
        place = next((k for k, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
        place = min(len(old), len(new)) if place is None else place
        return f"differs from byte {place + 1} on ({len(old)} bytes before, {len(new)} now)"
    lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
    number = next((k for k, (a, b) in enumerate(zip(*lines, strict=False)) if a != b), None)
    if number is None:
        number = min(map(len, lines))
        shown = [_excerpt(part[number], 0) if number < len(part) else "nothing" for part in lines]
    else:
        a, b = (part[number] for part in lines)
        column = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        shown = [_excerpt(line, column) for line in (a, b)]
    return f"line {number + 1}: {shown[0]} before, {shown[1]} now"


def _excerpt(line: bytes, column: int) -> str:
    """A line around a column, in quotation marks and with escapes, so that spaces and line ends show."""
    start = max(column - _BEFORE, 0)
    part = line[start : start + _SHOWN].decode(errors="backslashreplace")
    return ("..." if start else "") + repr(part) + ("..." if len(line) > start + _SHOWN else "")
