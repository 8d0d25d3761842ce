"""What comes from outside: names that a terminal would obey, keys that are not kept, closed streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.detecting import KEY, detect, flat, lines, marked, other, runner
from tradeoff.cli import app
from tradeoff.keyed.philox import VllmPhilox

HOSTILE = "a\x1b]0;X\x07\x1b[2J\u202eb\u2066\u200b:warning:[/red]"
SHOWN = r"a\u001b]0;X\u0007\u001b[2J\u202eb\u2066\u200b:warning:[/red]"


def obeyed(text: str) -> bool:
    return any(character in text for character in "\x1b\x07\u202e\u2066\u200b")


def test_words_of_records_are_shown_and_not_obeyed(folder: Path) -> None:
    """In the table, in warnings and in errors."""
    claims = {"key": HOSTILE, "method": "one-race", "watermark": "gumbel"}
    good = {"id": HOSTILE, "token_ids": marked(40), "run": claims}
    bad = {"id": HOSTILE, "token_ids": marked(40), "run": claims | {"watermark": HOSTILE}}
    result = detect(folder, lines(folder / "x.jsonl", good, bad))
    assert result.exit_code == 0
    assert not obeyed(result.output)
    # As far as the column is wide.
    assert SHOWN[:40] in flat(result.stdout)
    assert f"key (fingerprint) {SHOWN}" in flat(result.stderr)
    assert f"watermark={HOSTILE!r} is unknown" in flat(result.stderr)


def test_names_of_files_are_shown_and_not_obeyed(folder: Path) -> None:
    missing = detect(folder, folder / f"{HOSTILE[:-5]}.txt")
    assert missing.exit_code == 2
    assert not obeyed(missing.output)
    assert SHOWN[:-6] in flat(missing.stderr)
    path = lines(folder / "x\x1b[2J.jsonl", {"token_ids": other(40)})
    page = folder / "p\x1b[2J\u202e.html"
    written = detect(folder, path, "--html", page)
    assert written.exit_code == 0
    assert not obeyed(written.output)
    assert r"p\u001b[2J\u202e.html" in flat(written.stdout)
    assert not obeyed(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_verdict_is_lost_to_an_encoding(folder: Path, encoding: str) -> None:
    """Greek in a terminal without Greek: escapes in its place."""
    path = lines(folder / "x.jsonl", {"id": "άλφα", "token_ids": marked(40)})
    command = [sys.executable, "-m", "tradeoff.cli", "detect", str(path), "--key-file", str(folder / "key")]
    variables = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=variables, check=True)
    assert r"\u03ac\u03bb\u03c6\u03b1" in done.stdout.decode(encoding)
    assert "1 watermarked" in done.stdout.decode(encoding)


@pytest.mark.skipif(os.name == "nt", reason="the shell of POSIX systems closes standard output")
@pytest.mark.parametrize(
    "command",
    [
        "detect {0}/x.jsonl --json --key-file {0}/key",
        "key fingerprint {0}/key",
        "curve --paper",
        "plan --entropy 1",
    ],
)
def test_a_closed_output_is_an_error(folder: Path, command: str) -> None:
    lines(folder / "x.jsonl", {"token_ids": marked(40)})
    called = f"{sys.executable} -m tradeoff.cli {command.format(folder)} >&-"
    done = subprocess.run(called, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "standard output is closed" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="modes of files are those of POSIX systems")
@pytest.mark.parametrize(
    ("mode", "told"), [(0o666, True), (0o644, True), (0o640, True), (0o600, False), (0o400, False)]
)
def test_a_key_that_others_can_read_is_told(folder: Path, mode: int, told: bool) -> None:
    path = lines(folder / "x.jsonl", {"token_ids": marked(40)})
    (folder / "key").chmod(mode)
    result = detect(folder, path, "--json")
    assert json.loads(result.stdout)["verdict"] == "watermarked"
    assert (f"chmod 600 {folder / 'key'}" in flat(result.stderr)) == told
    assert KEY.secret.hex() not in result.output


@pytest.mark.parametrize(
    ("key", "told"), [(12345, True), ((1 << 48) - 1, True), (1 << 48, False), (0x9E3779B97F4A7C15, False)]
)
def test_a_key_that_can_be_guessed_is_told(folder: Path, key: int, told: bool) -> None:
    """Whose fingerprint is inverted by trying."""
    path = lines(folder / "x.jsonl", {"token_ids": marked(40, VllmPhilox(key, 2))})
    result = detect(
        folder, path, "--prf", "vllm-philox-v1", "--key", key, "--context-width", 2, "--json", key=False
    )
    assert json.loads(result.stdout)["verdict"] == "watermarked"
    assert ("finds it by trying" in flat(result.stderr)) == told
    assert str(key) not in result.stderr


def test_a_key_in_place_of_its_file_is_not_shown(folder: Path) -> None:
    path = lines(folder / "x.jsonl", {"token_ids": marked(40)})
    result = detect(folder, path, "--key-file", KEY.secret.hex(), key=False)
    assert result.exit_code == 2
    assert "looks like a key" in flat(result.stderr)
    assert KEY.secret.hex() not in result.output


@pytest.mark.parametrize("name", ["a.jsonl", "new.txt", "deeper/b.md"])
def test_a_page_is_not_written_over_a_text_of_a_folder(folder: Path, name: str) -> None:
    """Nor where the next run would read it as one."""
    texts = folder / "texts"
    (texts / "deeper").mkdir(parents=True)
    lines(texts / "a.jsonl", {"token_ids": marked(40)})
    before = (texts / "a.jsonl").read_bytes()
    result = detect(folder, texts, "--html", texts / name)
    assert result.exit_code == 2
    assert "is a file to be read; write the page to another one" in flat(result.stderr)
    assert (texts / "a.jsonl").read_bytes() == before
    assert detect(folder, texts, "--html", texts / "page.html").exit_code == 0


def test_others_cannot_write_lines_of_their_own(folder: Path) -> None:
    forged = "x\nerror: the disk is on fire"
    path = lines(folder / "x.jsonl", {"token_ids": marked(40), "run": {"method": "basic", "key": forged}})
    told = detect(folder, path).stderr + detect(folder, folder / "no\nerror: all is lost.txt").stderr
    assert r"x\nerror: the disk is on fire" in told
    assert not [line for line in told.splitlines() if line.startswith(("error: the disk", "error: all is"))]


def test_what_was_written_is_one_line(folder: Path) -> None:
    """Whatever the name of the file."""
    for command in (["key", "new", "-o"], ["curve", "--paper", "--points", "2", "-o"]):
        path = folder / f"x\n{command[0]}.csv"
        result = runner.invoke(app, [*command, str(path)])
        assert path.exists()
        assert rf"x\n{command[0]}.csv" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(("written", "name"), [("utf-16", "utf-16"), ("utf-32", "utf-32")])
@pytest.mark.parametrize("order", ["", "-be"])
def test_wide_encodings_are_named_rightly(folder: Path, written: str, name: str, order: str) -> None:
    """UTF-32's mark in little-endian order begins as UTF-16's does."""
    path = folder / "u.txt"
    path.write_bytes(("\ufeff" * bool(order) + "Once upon a time").encode(written + order))
    result = detect(folder, path)
    assert result.exit_code == 2
    assert f"u.txt is {name.upper()}; convert it with `iconv -f {name} -t utf8`" in flat(result.stderr)
