"""Where `tradeoff detect` reads texts: files, folders and standard input, whole or in pieces, text or not."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path

import pytest

from tests.helpers.detecting import detect, findings, flat, lines, marked, other
from tradeoff.errors import FileError
from tradeoff.files import replacing
from tradeoff.texts.json_texts import Broken, Text
from tradeoff.texts.reading import _BLOCK, read_texts, texts_known


def test_folder_is_read_in_order_and_recursively(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder / "data"
    (data / "b").mkdir(parents=True)
    lines(data / "b" / "1.jsonl", {"id": "x", "token_ids": other(9)})
    lines(data / "a.jsonl", {"id": "x", "token_ids": other(9)}, {"token_ids": other(9)})
    lines(data / "ignored.csv", {"token_ids": other(9)})
    (data / "empty.txt").write_text("")
    result = detect(folder, data, "--json")
    found = findings(result)
    assert [(Path(f["source"]).name, f["id"]) for f in found] == [
        ("a.jsonl", "x"),
        ("a.jsonl", "2"),
        ("1.jsonl", "x"),
    ]
    assert "empty.txt holds no text and is left out" in flat(result.stderr)
    # The same id twice: the table names the files, here by paths short enough for one line.
    monkeypatch.chdir(folder)
    shown = detect(folder, Path("data")).stdout
    assert "a.jsonl: x" in shown
    assert "1.jsonl: x" in shown


def test_files_of_a_folder_that_are_skipped_are_named(folder: Path) -> None:
    """The first of them, how many, and why; nothing is said of what is read."""
    data = folder / "data"
    data.mkdir()
    lines(data / "a.jsonl", {"token_ids": other(9)})
    assert "skipped" not in detect(folder, data, "--json").stderr
    (data / "picture.png").write_bytes(b"x")
    told = flat(detect(folder, data, "--json").stderr)
    assert "1 file skipped, picture.png: of folders .txt, " in told
    assert "name it as a source" in told
    # What is hidden, or written there by an office program, is none of the reader's.
    for name in (".DS_Store", "b.zip", "c\x1b[2J.json", "d.bin", "~$e.docx"):
        (data / name).write_bytes(b"{}")
    told = flat(detect(folder, data, "--json").stderr)
    assert r"4 files skipped, b.zip, c\u001b[2J.json, d.bin and 1 more: of folders " in told
    assert "skipped" not in detect(folder, data, "--json", "--quiet").stderr


def test_how_many_texts_there_are(tmp_path: Path) -> None:
    """Known where every file holds one."""
    for name in ("a.txt", "b.md", "c.png"):
        (tmp_path / name).write_text("a b")
    assert texts_known([str(tmp_path)]) == 2
    assert texts_known([str(tmp_path), str(tmp_path / "a.txt")]) == 3
    assert texts_known([str(tmp_path), "-"]) is None
    lines(tmp_path / "d.jsonl", {"token_ids": other(9)})
    assert texts_known([str(tmp_path)]) is None


def test_what_is_being_written_in_a_folder_is_not_read(folder: Path) -> None:
    """A results file is put in order, or its writer was killed at it: no text is there twice."""
    data = folder / "data"
    data.mkdir()
    path = lines(data / "a.jsonl", {"id": "x", "token_ids": other(9)}, {"id": "y", "token_ids": other(9)})
    (data / ".notes-0123456789ab").mkdir()
    lines(data / ".notes-0123456789ab" / "b.jsonl", {"id": "z", "token_ids": other(9)})
    with replacing(path) as temporary:
        lines(temporary, {"id": "y", "token_ids": other(9)})
        found = findings(detect(folder, data, "--json"))
    assert [f["id"] for f in found] == ["z", "x", "y"]


def test_standard_input_of_json_lines(folder: Path) -> None:
    given = f"\n\n  {json.dumps({'token_ids': marked(40)})}\n\n{json.dumps({'token_ids': []})}\n"
    found = findings(detect(folder, "-", "--json", input=given))
    assert [(f["id"], f["source"], f["verdict"]) for f in found] == [
        ("3", "-", "watermarked"),
        ("5", "-", "too short"),
    ]


def test_standard_input_of_one_json_value(folder: Path) -> None:
    """A list or an indented object, as from `jq`, is JSON too and not the words of a letter."""
    text = {"id": "a", "token_ids": marked(40)}
    for given, ids in (
        (json.dumps([text, text | {"id": None}]), ["a", "2"]),
        (json.dumps([text], indent=2), ["a"]),
        ("\ufeff\n" + json.dumps(text, indent=2), ["a"]),
        (f"{json.dumps(text, indent=2)[:-9]}", None),
    ):
        result = detect(folder, "-", "--json", input=given.encode())
        if ids is None:
            assert result.exit_code == 2
            assert flat(result.stderr).startswith("error: - is not JSON (")
            continue
        assert [(f["id"], f["verdict"]) for f in findings(result)] == [(name, "watermarked") for name in ids]


def test_without_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a service, where there is none: it is missed only where it is named."""

    class WithoutStandardInput:
        stdin = None

        def __getattr__(self, name: str) -> object:
            return getattr(sys, name)

    monkeypatch.setattr("tradeoff.display.console.sys", WithoutStandardInput())
    path = lines(folder / "x.jsonl", {"token_ids": marked(40)})
    assert findings(detect(folder, path, "--json"))[0]["verdict"] == "watermarked"
    result = detect(folder, "-")
    assert result.exit_code == 2
    assert "source - holds no text" in flat(result.stderr)


def test_broken_last_line_is_left_out(folder: Path) -> None:
    whole = json.dumps({"id": "a", "token_ids": other(9), "text": "ü"}, ensure_ascii=False).encode()
    for cut in (len(whole) - 5, whole.index("ü".encode()) + 1):
        (folder / "x.jsonl").write_bytes(whole + b"\n" + whole[:cut])
        result = detect(folder, folder / "x.jsonl", "--json")
        assert [f["id"] for f in findings(result)] == ["a"]
        assert "x.jsonl line 2 breaks off" in flat(result.stderr)
    # Without its newline alone a line is whole.
    (folder / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + whole + b"\r\n" + whole)
    result = detect(folder, folder / "x.jsonl", "--json", "--method", "one-race")
    assert len(findings(result)) == 2
    assert result.stderr == ""


def pieces(path: Path) -> list[str]:
    texts = read_texts([str(path)], sys.stdin.buffer, pytest.fail)
    text = next(texts)
    if isinstance(text, Broken):
        raise FileError(text.message)
    return list(text.pieces or ())


def test_large_plain_text_comes_in_pieces(tmp_path: Path) -> None:
    """Cut before a single blank, whatever the lengths of characters and words."""
    path = tmp_path / "x.txt"
    words = "Größe 漢字 naïve  two\n\nlines 🙂 " * 80_000
    path.write_bytes(b"\xef\xbb\xbf" + words.replace("\n", "\r\n").encode())
    found = pieces(path)
    assert "".join(found) == words
    assert len(found) == math.ceil(len(words) / _BLOCK)
    assert max(map(len, found)) <= _BLOCK
    for before, after in itertools.pairwise(found):
        assert not before[-1].isspace()
        assert after[0] == " "
        assert not after[1].isspace()
    # Nowhere to cut.
    path.write_text("x" * (2 * _BLOCK + 5))
    assert [len(piece) for piece in pieces(path)] == [_BLOCK, _BLOCK, 5]


def test_json_lines_are_streamed(tmp_path: Path) -> None:
    """The first text is there before the second line is looked at."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n{"te')
    with path.open("a") as stream:
        stream.write("x" * (3 * _BLOCK) + "\n")
    texts = read_texts([str(path)], sys.stdin.buffer, pytest.fail)
    first, second = next(texts), next(texts)
    assert isinstance(first, Text)
    assert first.pieces == ["a"]
    assert isinstance(second, Broken)
    assert "line 2 is not JSON" in second.message


def test_missing_and_empty_sources(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "empty.txt").write_text("")
    for source, message in (
        (folder / "gone", "gone does not exist; pass a text file"),
        (folder / "empty", "empty holds no text; pass a text file"),
        (folder / "empty.txt", "empty.txt holds no text"),
        ("-", "source - holds no text"),
    ):
        result = detect(folder, source, input="")
        assert result.exit_code == 2
        assert message in flat(result.stderr)
    result = detect(folder, "-", "-", input="{}")
    assert "source - is named twice" in flat(result.stderr)
    path = lines(folder / "x.jsonl", {"token_ids": other(9)})
    texts = read_texts([str(path), "gone"], sys.stdin.buffer, pytest.fail)
    # A source that is not there is told before anything is read.
    assert [type(text) for text in texts] == [Broken, Text]


def test_other_files_beside_texts_are_warnings(folder: Path) -> None:
    data = folder / "data"
    data.mkdir()
    lines(data / "a.jsonl", {"token_ids": marked(40)})
    lines(data / "a.ptt.jsonl", {"theta": 1}, {"theta": 2}, 3)
    (data / "empty.txt").write_text("")
    (folder / "nothing").mkdir()
    for sources in ([data, folder / "nothing"], [*sorted(data.iterdir()), folder / "nothing"]):
        result = detect(folder, *sources, "--json")
        assert len(findings(result)) == 1
        told = flat(result.stderr)
        assert 'a.ptt.jsonl line 1 has neither "text" nor "token_ids" (nor have 2 others)' in told
        assert "empty.txt holds no text and is left out" in told
        assert "nothing holds no text and is left out" in told
    result = detect(folder, data / "empty.txt", folder / "nothing")
    assert result.exit_code == 2
    assert f"source {data / 'empty.txt'}, {folder / 'nothing'} holds no text; pass" in flat(result.stderr)


def test_json_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One object, a list of them, or JSON lines."""
    path = folder / "x.json"
    text = {"id": "a", "token_ids": marked(40)}
    for content, ids in (
        (json.dumps(text, indent=2), ["a"]),
        ("\ufeff" + json.dumps([text, text | {"id": None}], indent=2), ["a", "2"]),
        (f"\n{json.dumps(text)}\n{json.dumps(text)}\n", ["a", "a"]),
    ):
        path.write_text(content, encoding="utf-8")
        found = findings(detect(folder, path, "--json"))
        assert [(f["id"], f["verdict"]) for f in found] == [(name, "watermarked") for name in ids]
    path.write_text(json.dumps([text, {"text": 3}]))
    assert 'x.json item 2: "text" must be a string' in flat(detect(folder, path).stderr)
    for content, message in (
        (json.dumps(text, indent=2)[:-9], "x.json is not JSON ("),
        ("[]", "x.json holds no text"),
        (" \n", "x.json holds no text"),
        ("[" * 100_000, "x.json holds no text"),
    ):
        path.write_text(content)
        result = detect(folder, path)
        assert result.exit_code == 2
        assert message in flat(result.stderr)
        assert result.stderr.count("error: ") == 1
    path.write_bytes(json.dumps(text).encode() + b'\n{"text": "\xff"}\n')
    assert "x.json is not UTF-8: byte" in flat(detect(folder, path).stderr)
    # Too large to be held: JSON lines only.
    monkeypatch.setattr("tradeoff.texts.json_texts._WHOLE", 20)
    path.write_text(f"{json.dumps(text)}\n{json.dumps(text)}\n")
    assert len(findings(detect(folder, path, "--json"))) == 2
    path.write_text(json.dumps([text, text]))
    assert len(findings(detect(folder, path, "--json"))) == 2


@pytest.mark.parametrize("name", ["x.txt", "x.jsonl", "x.json", "-"])
def test_binary_files_are_no_text(folder: Path, name: str) -> None:
    path = folder / name
    for content, message in (
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not a text file; pass the text in it"),
        (b"abc\0def", "is not a text file"),
        (b"%PDF-1.7 ", "is not a text file"),
        ("ab".encode("utf-16"), "is UTF-16; convert it with `iconv -f utf-16 -t utf8`"),
    ):
        path.write_bytes(content)
        result = detect(folder, "-" if name == "-" else path, input=content)
        assert result.exit_code == 2
        assert message in flat(result.stderr)
        assert "latin1" not in result.stderr
        assert result.stderr.count("error: ") == 1


def test_labels_of_files_in_folders() -> None:
    assert Text("0.txt", "folder/0.txt", "folder/0.txt", None, []).label == "folder/0.txt"
    assert Text("a", "folder/x.jsonl", "folder/x.jsonl line 1", [], None).label == "folder/x.jsonl: a"


@pytest.mark.parametrize("seen", [0, 5, _BLOCK - 1, _BLOCK, 3 * _BLOCK + 1])
def test_invalid_utf8_is_named_by_its_byte(tmp_path: Path, seen: int) -> None:
    path = tmp_path / "x.txt"
    for start, rest in ((b"", b"\xff rest"), (b"\xef\xbb\xbf", b"\xe4x"), (b"", "漢".encode()[:2])):
        path.write_bytes(start + b"x" * seen + rest)
        with pytest.raises(FileError, match=rf"x\.txt is not UTF-8: byte {len(start) + seen} "):
            pieces(path)
