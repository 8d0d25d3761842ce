"""Tables of texts: which column is read, how rows are named, and what is said of malformed ones."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.detecting import KEY, detect, findings, flat, marked
from tradeoff.texts import Broken, read_texts, tables
from tradeoff.texts.tables import texts_of_csv

Found = tuple[str, str | None, list[int] | None]


def read(path: Path, field: str | None = None, warn: Any = pytest.fail) -> list[Found | str]:
    """(id, words, token ids) of every text, and the messages of those that cannot be read."""
    found: list[Found | str] = []
    for text in read_texts([str(path)], io.BytesIO(), warn, field=field):
        if isinstance(text, Broken):
            found.append(text.message)
            continue
        words = None if text.pieces is None else "".join(text.pieces)
        found.append((text.id, words, None if text.token_ids is None else list(text.token_ids)))
    return found


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("text\none\ntwo\n", [("1", "one", None), ("2", "two", None)]),
        ("id,text,label\na,one,x\nb,two,y", [("a", "one", None), ("b", "two", None)]),
        ("id;text\na;one, and more\n", [("a", "one, and more", None)]),
        ("text\tid\none, two; three\ta\n", [("a", "one, two; three", None)]),
        # By the known column, although another delimiter would make more columns.
        ("a, b, c;text\n1;one\n", [("1", "one", None)]),
        ("\ufeffText,ID\r\n one ,a\r\n", [("a", " one ", None)]),
        ("\n\ntext\n\none\n\n", [("1", "one", None)]),
        ('text,id\n"one\n\n""two"", three",a\n', [("a", 'one\n\n"two", three', None)]),
        ('text\r"one\rtwo"\rthree', [("1", "one\ntwo", None), ("2", "three", None)]),
        ('He said "no",text\nx,"He" \n'.replace('"He" ', "He"), [("1", "He", None)]),
        ('token_ids\n"[1, 2, 3]"\n[]\n', [("1", None, [1, 2, 3]), ("2", None, [])]),
        ('token_ids,text\n"[1, 2]",one\n,two\n', [("1", "one", [1, 2]), ("2", "two", None)]),
        ("completion\none\n", [("1", "one", None)]),
        ('output\n"[4, 5]"\n[sic]\n', [("1", None, [4, 5]), ("2", "[sic]", None)]),
        # Words may look like a list, and delimiters at the end of a row mean nothing.
        ('text\n"[1, 2]"\n', [("1", "[1, 2]", None)]),
        ("text,id\none,a,,\n", [("a", "one", None)]),
    ],
)
def test_csv(content: str, texts: list[Found], tmp_path: Path) -> None:
    assert read(written(tmp_path / "x.csv", content)) == texts


def test_tsv_has_tabs_alone(tmp_path: Path) -> None:
    content = "id\ttext\na\tone, two; three, four\n"
    assert read(written(tmp_path / "x.tsv", content)) == [("a", "one, two; three, four", None)]
    assert read(written(tmp_path / "X.TSV", "text\none, two\n")) == [("1", "one, two", None)]


def test_columns_that_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "id,text,my answer,tokens\na,no,one,[7]\n")
    assert read(path, "my answer") == [("a", "one", None)]
    assert read(path, "tokens") == [("a", None, [7])]
    (said,) = read(path, "answer")
    assert said == (
        f'{path} has no column "answer" with texts or token ids; its columns are "id", "text", "my answer", '
        '"tokens": name one of them with --field'
    )
    path = parquet(tmp_path / "x.parquet", text=["no"], data=[{"answer": "one"}], ids=[[4, 5]], score=[1.0])
    assert read(path, "data.answer") == [("1", "one", None)]
    assert read(path, "ids") == [("1", None, [4, 5])]
    (said,) = read(path, "score")
    assert 'has no column "score" with texts or token ids' in str(said)


def test_tables_without_a_known_column(tmp_path: Path) -> None:
    many = ",".join(f"c{number}" for number in range(20))
    for content, told in (
        ("name,essay\na,b\n", '"name", "essay"'),
        (
            "The harbour was quiet when we arrived\nand nobody came\n",
            '"The harbour was quiet when we arrived"',
        ),
        (many + "\n", '"c10", "c11" and 8 more'),
    ):
        (said,) = read(written(tmp_path / "x.csv", content))
        assert 'x.csv has no column "text" or "token_ids"; its columns are ' in str(said)
        assert f"{told}: name that of the texts with --field, or write a header above the first row" in str(
            said
        )
    (said,) = read(parquet(tmp_path / "x.parquet", text=[1, 2], essay=["a", "b"]))
    assert 'no column "text" or "token_ids"; its columns are "text", "essay"' in str(said)
    for path in (
        written(tmp_path / "y.csv", "output,id,completion\na,b,c\n"),
        parquet(tmp_path / "y.parquet", output=["a"], completion=["b"]),
    ):
        (said,) = read(path)
        assert f"{path} has texts in columns completion and output; name the one to read with --field" == said


def test_rows_without_a_text_are_left_out(tmp_path: Path) -> None:
    told: list[str] = []
    assert read(written(tmp_path / "x.csv", "id,text\na,one\nb, \nc,\n"), warn=told.append) == [
        ("a", "one", None)
    ]
    path = parquet(tmp_path / "x.parquet", id=["a", "b", None], text=["one", None, "three"])
    assert read(path, warn=told.append) == [("a", "one", None), ("3", "three", None)]
    assert told == [
        f'{tmp_path / "x.csv"} row 2 has no text in column "text" (nor have 1 others) and is left out',
        f'{tmp_path / "x.parquet"} row 2 has no text in column "text" and is left out',
    ]
    # A column of nothing, and a header alone.
    (said,) = read(parquet(tmp_path / "y.parquet", text=[None, None]), warn=told.append)
    assert "y.parquet holds no text" in str(said)
    (said,) = read(written(tmp_path / "y.csv", "text\n"))
    assert "y.csv holds no text" in str(said)


def test_malformed_rows_keep_no_others_from_being_read(tmp_path: Path) -> None:
    content = 'id,text\na,one\nb,two, or three\nc\nd,"four" or five\ne,six\nf,"never closed\n'
    found = read(written(tmp_path / "x.csv", content))
    assert [text for text in found if not isinstance(text, str)] == [("a", "one", None), ("e", "six", None)]
    said = [text.partition("x.csv ")[2] for text in found if isinstance(text, str)]
    assert said[0] == 'row 2 has 3 cells and the header 2; put texts with "," between quote marks'
    assert said[1].startswith("row 3 has 1 cells and the header 2;")
    assert said[2].startswith("row 4 is malformed (',' expected after '\"'); put cells with quote marks")
    assert said[3].startswith("row 6 is malformed (unexpected end of data)")


@pytest.mark.parametrize(
    "cell", ["1 2 3", '"[1, ""x""]"', '"[1.5]"', '"[-1]"', "[", '"[[1]]"', "[" * 100_000]
)
def test_ids_that_are_none(cell: str, tmp_path: Path) -> None:
    (said,) = read(written(tmp_path / "x.csv", f"token_ids\n{cell}\n"))
    assert 'x.csv row 1: "token_ids" ' in str(said)


def test_csv_that_is_not_utf8(tmp_path: Path) -> None:
    content = b"text\n" + "one\nGröße\n".encode("latin1")
    assert read(written(tmp_path / "x.csv", content))[-1] == (
        f"{tmp_path / 'x.csv'} is not UTF-8: byte 11 (counted from 0) does not fit; convert it, for example "
        "with `iconv -f latin1 -t utf8`"
    )
    (said,) = read(written(tmp_path / "y.csv", "text\none\n".encode("utf-16")))
    assert "y.csv is UTF-16; convert it with `iconv -f utf-16 -t utf8`" in str(said)
    (said,) = read(written(tmp_path / "z.csv", b"\x89PNG\r\n"))
    assert "z.csv is not a text file" in str(said)


def test_long_cells_and_rows_that_never_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = csv.field_size_limit()
    words = "one two " * 100_000
    assert read(written(tmp_path / "x.csv", f'text\n"{words}"\nshort\n')) == [
        ("1", words, None),
        ("2", "short", None),
    ]
    assert csv.field_size_limit() == limit
    monkeypatch.setattr(tables, "_LONGEST_ROW", 3 << 20)
    for row in ('"' + "word\n" * (1 << 20), "x" * (5 << 20), '"a\nb",' * (1 << 20)):
        (said,) = read(written(tmp_path / "x.csv", "text\n" + row))
        assert "x.csv has a row of more than 3,145,728 characters; close the quote mark" in str(said)
    # Short rows are no long one.
    rows = ("word " * 200 + "\n") * 5000
    assert len(read(written(tmp_path / "x.csv", "text\n" + rows))) == 5000


def test_rows_of_csv_are_streamed() -> None:
    def chunks() -> Any:
        yield b"text\none\ntw"
        pytest.fail("the first row was there")

    first = next(texts_of_csv(chunks(), "x.csv", pytest.fail))
    assert not isinstance(first, Broken)
    assert first.pieces == ["one"]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1).filter(
    str.strip
)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5), st.sampled_from(",;\t"), st.integers(1, 9))
def test_whatever_csv_writes_is_read(rows: list[tuple[str, str]], delimiter: str, size: int) -> None:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter).writerows([("id", "text"), *rows])
    content = stream.getvalue().encode()
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    found = list(texts_of_csv(chunks, "x.csv", pytest.fail))
    assert [(text.id, text.pieces) for text in found if not isinstance(text, Broken)] == [
        (name, [words]) for name, words in rows
    ]


@pytest.mark.parametrize(
    ("columns", "texts"),
    [
        ({"text": ["one", "two"]}, [("1", "one", None), ("2", "two", None)]),
        ({"id": [7, 8], "text": ["one", "two"]}, [("7", "one", None), ("8", "two", None)]),
        ({"id": [1.5, None], "text": ["one", "two"]}, [("1.5", "one", None), ("2", "two", None)]),
        ({"token_ids": [[1, 2], []]}, [("1", None, [1, 2]), ("2", None, [])]),
        (
            {"token_ids": pa.array([[1, 2], None], pa.large_list(pa.uint32())), "text": ["one", "two"]},
            [("1", "one", [1, 2]), ("2", "two", None)],
        ),
        ({"text": pa.array(["one", "two"]).dictionary_encode()}, [("1", "one", None), ("2", "two", None)]),
        ({"text": pa.array(["one"], pa.large_string()), "output": ["no"]}, [("1", "one", None)]),
        ({"generated_text": ["one"], "prediction": [0]}, [("1", "one", None)]),
    ],
)
def test_parquet(columns: dict[str, Any], texts: list[Found], tmp_path: Path) -> None:
    assert read(parquet(tmp_path / "x.parquet", **columns)) == texts


def test_parquet_of_many_rows_and_groups(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": [f"text {number}" for number in range(100)]}), path, row_group_size=7)
    assert [text[1] for text in read(path)] == [f"text {number}" for number in range(100)]


def test_claims_of_records_are_kept(tmp_path: Path) -> None:
    run = {"method": "basic", "watermark": "gumbel", "prf": None}
    path = parquet(tmp_path / "x.parquet", token_ids=[[1]], run=[run], log_p=[[-0.5]])
    (text,) = read_texts([str(path)], io.BytesIO(), pytest.fail)
    assert not isinstance(text, Broken)
    assert (text.claims.method, text.claims.prf, text.log_p) == ("basic", None, [-0.5])
    # The number of a run is none.
    assert read(parquet(tmp_path / "y.parquet", text=["one"], run=[3])) == [("1", "one", None)]


def test_ids_of_parquet_are_checked(tmp_path: Path) -> None:
    first, second = read(parquet(tmp_path / "x.parquet", token_ids=[[1, -1], [1, 2]]))
    assert 'x.parquet row 1: "token_ids" hold -1' in str(first)
    assert second == ("2", None, [1, 2])


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    """Cut anywhere, with bytes changed anywhere, and what is none: never more than one line."""
    path = parquet(tmp_path / "x.parquet", id=["a", "b"], text=["one " * 50, "two"])
    whole = path.read_bytes()
    contents = [b"", b"no table", *(whole[:cut] for cut in range(1, len(whole), 97))]
    contents += [whole[:at] + b"\xff" + whole[at + 1 :] for at in range(0, len(whole), 41)]
    for content in contents:
        for text in read(written(path, content), warn=lambda _: None):
            assert not isinstance(text, str) or "x.parquet" in text
    (said,) = read(written(path, whole[:-9]))
    assert "x.parquet is damaged, or no Parquet file (" in str(said)
    assert "write it anew, or pass its words as a .txt file" in str(said)


def test_words_that_are_not_utf8_in_parquet(tmp_path: Path) -> None:
    bad = pa.array([b"one", b"\xff"], pa.binary()).view(pa.string())
    first, second = read(parquet(tmp_path / "x.parquet", text=bad))
    assert first == ("1", "one", None)
    assert "x.parquet row 2 cannot be read (" in str(second)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "x.parquet", text=["one"])
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    (said,) = read(path)
    assert "x.parquet: reading a Parquet file needs pyarrow" in str(said)
    assert "install it with pip install 'tradeoff[documents]'" in str(said)


def test_tables_in_folders(tmp_path: Path) -> None:
    """Those without texts are warnings there, and errors where they are named."""
    data = tmp_path / "data"
    data.mkdir()
    written(data / "a.csv", "text\none\n")
    written(data / "b.csv", "score\n1\n")
    parquet(data / "c.parquet", text=["three"])
    written(data / "~$d.docx", "Word is open")
    told: list[str] = []
    assert [text[1] for text in read(data, warn=told.append)] == ["one", "three"]
    (said,) = told
    assert 'b.csv has no column "text" or "token_ids"; its columns are "score"' in said
    assert said.endswith("; it is left out")
    (said,) = read(data / "b.csv")
    assert "b.csv has no column" in said


def test_the_command_reads_tables(tmp_path: Path) -> None:
    KEY.write(tmp_path / "key")
    ids = json.dumps(marked(40))
    path = written(tmp_path / "x.csv", f'id,ids,note\na,"{ids}",\nb,,\nc,{ids},\n')
    result = detect(tmp_path, path, "--field", "ids", "--json")
    assert result.exit_code == 2
    assert [json.loads(line)["verdict"] for line in result.stdout.splitlines()] == ["watermarked"]
    assert "x.csv row 3 has 42 cells and the header 3" in flat(result.stderr)
    assert 'x.csv row 2 has no text in column "ids" and is left out' in flat(result.stderr)
    path = parquet(tmp_path / "x.parquet", id=["a"], token_ids=[marked(40)])
    (found,) = findings(detect(tmp_path, path, "--json"))
    assert (found["id"], found["source"], found["verdict"]) == ("a", str(path), "watermarked")
