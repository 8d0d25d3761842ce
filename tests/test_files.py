"""Reading distributions, writing curves, and errors that name the file and the remedy."""

import csv
import errno
import io
import json
import os
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.processes import at_work
from tests.helpers.support import P, Q
from tradeoff.curves.families import curve
from tradeoff.curves.setting import Setting
from tradeoff.errors import FileError
from tradeoff.files import output_folder, read_distribution, remove_leftovers, replacing, write_table


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.json", "[0.25, 0.75]"),
        ("p.csv", "0.25,0.75\n"),
        ("p.CSV", "0.25\n0.75\n"),
        ("p.txt", " 0.25 0.75 "),
    ],
)
def test_text_formats(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_distribution(tmp_path / name, "P").tolist() == [0.25, 0.75]


def test_npy(tmp_path):
    np.save(tmp_path / "p.npy", np.float32([0.25, 0.75]))
    assert read_distribution(tmp_path / "p.npy", "P").tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.json", "{not json", ["Q: ", "p.json", "JSON list"]),
        ("p.json", '{"a": 1}', ["does not hold a list of numbers"]),
        ("p.json", "[[0.5, 0.5], [0.5, 0.5]]", ["shape (2, 2)", "one distribution"]),
        ("p.json", "[0.5, [0.5]]", ["does not hold a list of numbers"]),
        ("p.csv", "a,b\n0.5,0.5\n", ["does not hold a list of numbers"]),
        ("p.npy", "not an array", ["does not hold a list of numbers"]),
        ("p.json", '["0.5", "0.5"]', ["does not hold a list of numbers"]),
        ("p.json", "[1" + "0" * 400 + ", 0.5]", ["does not hold a list of numbers"]),
        ("p.npy", "", ["does not hold a list of numbers"]),
        ("p.npy", "PK\x03\x04 damaged", ["does not hold a list of numbers"]),
        ("p.parquet", "", ["format .parquet", "use one of .json, .csv"]),
        ("p", "", ["format (no suffix)"]),
    ],
)
def test_bad_files_are_named_with_a_remedy(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(FileError) as caught:
        read_distribution(tmp_path / name, "Q")
    for word in words:
        assert word in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileError, match=r"none\.json does not exist"):
        read_distribution(tmp_path / "none.json", "P")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(FileError, match="cannot be read"):
        read_distribution(tmp_path / "folder.json", "P")


def test_pickles_are_never_loaded(tmp_path):
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError):
        read_distribution(tmp_path / "p.npy", "P")


def test_output_folders_are_made_or_refused(tmp_path):
    folder = output_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert list(folder.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="choose another"):
        output_folder(tmp_path / "file")
    with pytest.raises(FileError, match="choose another"):
        output_folder(tmp_path / "file" / "below")


def test_a_folder_is_tried_without_touching_what_is_in_it(tmp_path):
    """A file of the name that once was used for trying stays, and a link is not followed; nothing is left."""
    mine, elsewhere = tmp_path / "out" / ".write-test", tmp_path / "elsewhere"
    mine.parent.mkdir()
    mine.symlink_to(elsewhere)
    assert output_folder(mine.parent) == mine.parent
    assert mine.is_symlink()
    assert not elsewhere.exists()
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: output_folder(mine.parent) == mine.parent, range(500)))
    assert [path.name for path in mine.parent.iterdir()] == [".write-test"]


@pytest.mark.parametrize("kind", [".csv", ".npz"])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, kind):
    """After a failure what was there is as it was, and nothing is left; mode and links stay."""
    path, link = tmp_path / f"file{kind}", tmp_path / f"link{kind}"
    path.write_text("before")
    path.chmod(0o640)
    link.symlink_to(path)

    def fail():
        with replacing(link) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "before"
    with replacing(link) as temporary:
        assert temporary.suffix == kind
        temporary.write_text("after")
    assert path.read_text() == "after"
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == [path, link]


def test_what_is_no_file_is_not_replaced(tmp_path):
    """Before any work is done: a pipe, a device, a folder."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    for path in (*before, Path("/dev/null")):
        told = pytest.raises(FileError, match=f"{path} is no file that can be written anew; name another")
        with told, replacing(path):
            pytest.fail("it was begun")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "pipe").is_fifo()


WRITER = """
import sys, time
from pathlib import Path
from tradeoff.files import replacing

with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("at work", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path):
    """Of the same file. A living writer is not disturbed."""
    path = tmp_path / "file.csv"
    path.write_text("before")
    with at_work(WRITER, path):
        living = set(tmp_path.iterdir())
        assert len(living) == 3
        with at_work(WRITER, path):
            pass
        assert path.read_text() == "before"
        assert len(list(tmp_path.iterdir())) == 5
        with replacing(tmp_path / "other.csv") as temporary:
            temporary.write_text("another file")
        assert len(list(tmp_path.iterdir())) == 6
        with replacing(path) as temporary:
            temporary.write_text("after")
        assert set(tmp_path.iterdir()) == living | {tmp_path / "other.csv"}
    with replacing(path) as temporary:
        temporary.write_text("after all")
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "other.csv"]


def test_files_that_writers_replace_are_safe_as_well(tmp_path):
    """Some write under a name of their own (safetensors does), and leave that when they are killed."""
    path = tmp_path / "file.safetensors"
    with replacing(path) as temporary:
        own = temporary.with_name(".tmp123")
        own.write_text("whole")
        own.replace(temporary)
        remove_leftovers(path)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("letter", ["a", "ü", "😀"])
def test_long_names_are_not_made_too_long(tmp_path, letter):
    """255 bytes is what disks take."""
    path = tmp_path / (letter * (251 // len(letter.encode())) + ".csv")
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"


def test_a_full_disk_is_named(tmp_path):
    """And what was there stays: no half of a table under the final name."""
    path = tmp_path / "curve.csv"
    path.write_text("before")
    table = curve("google", Setting(P, Q)).table()

    def half(self, stream, **_):
        stream.write_text("gamma,theta\n0.0")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(table), "to_csv", half)
        with pytest.raises(FileError, match=rf"curve\.csv cannot be written: the disk of {tmp_path} is full"):
            write_table(table, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_tables_keep_every_digit(tmp_path):
    c = curve("google", Setting(P, Q))
    write_table(c.table(), tmp_path / "curve.csv")
    # Not read by pandas, which rounded in its second version.
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert list(rows[0])[:5] == ["gamma", "theta", "efficiency", "strength", "frontier"]
    for name in ("gamma", "theta", "efficiency", "strength"):
        assert [float(row[name]) for row in rows] == getattr(c, name).tolist()
    assert [row["frontier"] == "True" for row in rows] == c.frontier.tolist()
    with pytest.raises(FileError, match="cannot be written"):
        write_table(c.table(), tmp_path / "none" / "curve.csv")


def test_json_of_the_paper_round_trips(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(P.tolist()))
    assert np.array_equal(read_distribution(tmp_path / "p.json", "P"), P)


@pytest.mark.parametrize("values", [np.array([0.5, 0.5j]), np.array(["2020-01-01"], dtype="datetime64[D]")])
def test_arrays_of_other_types_are_refused(tmp_path, values):
    np.save(tmp_path / "p.npy", values)
    with pytest.raises(FileError, match="does not hold a list of numbers"):
        read_distribution(tmp_path / "p.npy", "P")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(("name", "content"), [("p.csv", "0.25,0.75"), ("p.json", "[0.25, 0.75]")])
def test_byte_order_marks_are_no_part_of_a_file(tmp_path, name, content, encoding):
    (tmp_path / name).write_text(content, encoding=encoding)
    assert read_distribution(tmp_path / name, "P").tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("mark", "name"), [(b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16")]
)
def test_a_damaged_encoding_is_named_rightly(tmp_path, mark, name):
    """UTF-32's mark begins as UTF-16's does."""
    (tmp_path / "p.csv").write_bytes(mark + b"\0\xd8\xff\xff\1")
    with pytest.raises(FileError, match=f"'{name}-"):
        read_distribution(tmp_path / "p.csv", "P")


@pytest.mark.parametrize(
    "content",
    [
        "0,7\n0,3\n",
        "0,7\t0,25\t0,05",
        "0,71\n0,33\n",
        "0,7\n0,3\n0\n",
        "12,5\n87,5\n",
        "7,0e-1 3,0E-1",
        "0,7,0,3",
    ],
)
def test_decimal_commas_are_no_lists(tmp_path, content):
    """Read as twice as many numbers, they would give another answer without a word."""
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(FileError, match="decimal commas"):
        read_distribution(tmp_path / "p.csv", "P")


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        ("0,1,0,0", [0, 1, 0, 0]),
        ("1,0\n", [1, 0]),
        ("3,4\n5,6\n", [3, 4, 5, 6]),
        ("1, 2\n0, 5\n", [1, 2, 0, 5]),
        ("3,1", [3, 1]),
        ("0,1,2", [0, 1, 2]),
        (".5,.5", [0.5, 0.5]),
    ],
)
def test_commas_between_numbers(tmp_path, content, numbers):
    (tmp_path / "p.csv").write_text(content)
    assert read_distribution(tmp_path / "p.csv", "P").tolist() == numbers


def npy(shape, dtype="<f8") -> bytes:
    """A file that claims an array and holds 8 bytes of it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    return header.getvalue() + bytes(8)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.npy", npy((10**13,))),
        ("p.npy", npy((2**61, 2**61))),
        ("p.npy", npy((-3,))),
        ("p.npy", npy((10**12,), "V0")),
        ("p.npy", b"\x93NUMPY\x01\x00\x76\x00" + b"{" * 118),
        ("p.json", b"[" * 100_000),
        ("p.json", b"[" * 900 + b"]" * 900),
        ("p.json", b"[" + b"1" * 5000 + b"]"),
    ],
)
def test_claims_are_checked_before_memory_is_taken(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(FileError) as caught:
            read_distribution(path, "P")
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"P: {path} ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["p.csv", "p.json", "p.npy"])
def test_no_more_than_a_file_of_numbers_is_read(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FileError, match=r"holds (more than 16,777,216|1,099,511,627,776) bytes"):
        read_distribution(path, "P")
    if os.path.exists("/dev/zero"):
        path.unlink()
        path.symlink_to("/dev/zero")
        with pytest.raises(FileError, match=re.escape(str(path))):
            read_distribution(path, "P")
