"""Reading distributions, writing curves, and errors that name the file and the remedy."""

import csv
import errno
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.support import P, Q
from tradeoff.classes import curve
from tradeoff.files import (
    FileError,
    curve_table,
    output_folder,
    read_distribution,
    replacing,
    write_table,
)
from tradeoff.setting import Setting


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


def test_a_full_disk_is_named(tmp_path):
    """And what was there stays: no half of a table under the final name."""
    path = tmp_path / "curve.csv"
    path.write_text("before")
    table = curve_table(curve("google", Setting(P, Q)))

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
    write_table(curve_table(c), tmp_path / "curve.csv")
    # Not read by pandas, which rounded in its second version.
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert list(rows[0])[:5] == ["gamma", "theta", "efficiency", "strength", "frontier"]
    for name in ("gamma", "theta", "efficiency", "strength"):
        assert [float(row[name]) for row in rows] == getattr(c, name).tolist()
    assert [row["frontier"] == "True" for row in rows] == c.frontier.tolist()
    with pytest.raises(FileError, match="cannot be written"):
        write_table(curve_table(c), tmp_path / "none" / "curve.csv")


def test_json_of_the_paper_round_trips(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(P.tolist()))
    assert np.array_equal(read_distribution(tmp_path / "p.json", "P"), P)


@pytest.mark.parametrize("values", [np.array([0.5, 0.5j]), np.array(["2020-01-01"], dtype="datetime64[D]")])
def test_arrays_of_other_types_are_refused(tmp_path, values):
    np.save(tmp_path / "p.npy", values)
    with pytest.raises(FileError, match="does not hold a list of numbers"):
        read_distribution(tmp_path / "p.npy", "P")
