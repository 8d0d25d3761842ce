"""Records: nothing is lost, nothing foreign is touched, no secret is written."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pytest

from tests.helpers.processes import at_work
from tests.helpers.recorded import RUN
from tests.versions.lock import ROOT
from tradeoff.decoders import GumbelMax, SynthID
from tradeoff.errors import FileError
from tradeoff.kernels import Algorithm1, Basic, OneRace, OneRaceTree, Standard
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.generation.rows import GeneratedText
from tradeoff.llm.models.pair import weights_fingerprint
from tradeoff.llm.run_records import run_settings, text_record
from tradeoff.llm.sampling import Sampling
from tradeoff.texts.prompts import Prompt
from tradeoff.texts.reading import read_texts
from tradeoff.texts.record_files import RecordFile, read_records
from tradeoff.texts.records import Record

KEY = Key(bytes(range(32)))
PROMPTS = [Prompt(str(k), f"prompt {k}", (1, 2, k)) for k in range(4)]


def text(prompt: Prompt, tokens: int = 3) -> GeneratedText:
    return GeneratedText(
        prompt, [7] * tokens, "length", [1, 0], "drb"[:tokens], 1, [-0.5] * tokens, [-1.0] * tokens, 0.25
    )


def record(k: int) -> Record:
    return text_record(text(PROMPTS[k]), RUN, f"words {k} — ü\u2028", 4)


def test_record_holds_what_the_text_is() -> None:
    measured = replace(
        text(PROMPTS[0]), entropy=[1.0, 2.0, 3.0], overlap=[0.5, 0.25, None], efficiency=[0.5, 0.25, None]
    )
    assert text_record(measured, RUN, "words", 8).to_json() == {
        "id": "0",
        "prompt": "prompt 0",
        "prompt_hash": hashlib.blake2b(np.array([1, 2, 0], "<i8").tobytes(), digest_size=8).hexdigest(),
        "prompt_tokens": 3,
        "token_ids": [7, 7, 7],
        "text": "words",
        "finish": "length",
        "accepted": [1, 0],
        "sources": "drb",
        "unmarked": 1,
        "logppl": 0.5,
        "logppl_model": 1.0,
        "seconds": 0.25,
        "batch": 8,
        "log_p": [-0.5, -0.5, -0.5],
        "entropy": [1.0, 2.0, 3.0],
        "overlap": [0.5, 0.25, None],
        "efficiency": [0.5, 0.25, None],
        "run": RUN.to_json(),
    }
    assert "overlap" not in record(0).to_json()


def test_run_settings_name_everything_but_the_key(make_pair) -> None:
    pair = make_pair()
    settings = EngineSettings(
        method=Algorithm1(SynthID(5)),
        prf=KeyedPrf(KEY, 3),
        sampling=Sampling(0.5, 10, 0.9),
        lookahead=2,
        max_tokens=50,
        seed=7,
        ignore_eos=True,
        measure=True,
    )
    run = run_settings(pair, settings).to_json()
    assert KEY.secret.hex() not in json.dumps(run)
    expected = {
        "method": "algorithm-1",
        "watermark": "synthid:5",
        "width": 1,
        "lookahead": 2,
        "prf": "blake2b-splitmix-v1",
        "context_width": 3,
        "key": KEY.fingerprint,
        "temperature": 0.5,
        "top_k": 10,
        "top_p": 0.9,
        "max_tokens": 50,
        "ignore_eos": True,
        "seed": 7,
        "target": pair.target_name,
        "draft": pair.draft_name,
        "vocabulary": 8,
        "dtype": str(pair.dtype).removeprefix("torch."),
        "measured": True,
        "weights": [weights_fingerprint(pair.target), weights_fingerprint(pair.draft)],
    }
    assert run == expected


def test_settings_that_change_a_text_change_its_run(make_pair) -> None:
    pair = make_pair()
    base = EngineSettings(method=OneRace(), prf=KeyedPrf(KEY))
    others = [
        replace(base, method=OneRaceTree(width=2)),
        replace(base, method=OneRaceTree(width=3)),
        replace(base, prf=KeyedPrf(Key(bytes(32)))),
        replace(base, prf=KeyedPrf(KEY, 3)),
        replace(base, sampling=Sampling(0.7)),
        replace(base, lookahead=2),
        replace(base, max_tokens=9),
        replace(base, seed=1),
        replace(base, ignore_eos=True),
        EngineSettings(method=Basic(GumbelMax()), prf=KeyedPrf(KEY)),
        EngineSettings(method=Standard(), prf=None),
    ]
    runs = [run_settings(pair, settings) for settings in [base, *others]]
    assert len(set(runs)) == len(runs)
    # What an unwatermarked method does not read does not tell its runs apart.
    assert run_settings(pair, EngineSettings(method=Standard(), prf=KeyedPrf(KEY))) == run_settings(
        pair, EngineSettings(method=Standard(), prf=None)
    )


def test_append_and_resume(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.jsonl"
    with RecordFile(path, RUN) as file:
        assert [p.id for p in file.missing(PROMPTS)] == ["0", "1", "2", "3"]
        file.append(record(2))
        file.append(record(0))
    with RecordFile(path, RUN) as again:
        assert [p.id for p in again.missing(PROMPTS)] == ["1", "3"]
        assert again.of(PROMPTS) == [record(0), record(2)]
        # Other words under a known id are another prompt.
        others = [replace(PROMPTS[0], text="else", token_ids=(9,))]
        assert again.missing(others) == others
    assert read_records(path) == [record(2), record(0)]


def test_a_prompt_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """The same words as other tokens (--chat added to a finished run) would silently be a second text."""
    path = tmp_path / "out.jsonl"
    chat = [PROMPTS[1], replace(PROMPTS[0], token_ids=(9,))]
    with RecordFile(path, RUN) as file:
        file.append(record(0))
        with pytest.raises(FileError, match=r"prompt '0' with other prompt tokens.*another output.*--chat"):
            file.missing(chat)
    # A file that came to hold both is complete for either.
    second = text_record(text(chat[1]), RUN, "words", 4)
    path.write_text("".join(json.dumps(line.to_json()) + "\n" for line in (record(0), second)))
    with RecordFile(path, RUN) as file:
        assert file.missing(PROMPTS[:1]) == []
        assert file.missing(chat) == PROMPTS[1:2]


def test_numbers_that_json_has_not_are_refused(tmp_path: Path) -> None:
    with RecordFile(tmp_path / "out.jsonl", RUN) as file:
        with pytest.raises(ValueError, match="JSON"):
            file.append(replace(record(0), logppl=float("nan")))
        assert len(file) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_finish_orders_by_prompt_and_keeps_the_rest(tmp_path: Path) -> None:
    path, link = tmp_path / "out.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(path)
    with RecordFile(link, RUN) as file:
        for k in (3, 2, 0):
            file.append(record(k))
        file.finish(PROMPTS[:3])
        assert [r.id for r in read_records(path)] == ["0", "2", "3"]
        assert link.is_symlink()
        before = path.stat().st_mtime_ns
        file.finish(PROMPTS[:3])
        assert path.stat().st_mtime_ns == before
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_lines_move_as_they_stand(tmp_path: Path) -> None:
    """Also those that another version, or a person, wrote in another way."""
    path = tmp_path / "out.jsonl"
    values = [{"more": [1.50, None], **record(k).to_json(), "seconds": 1} for k in (2, 0, 1)]
    lines = [json.dumps(value, separators=(" ,", ": "), ensure_ascii=True) for value in values]
    # The last one lacks its end.
    path.write_text("\n".join(lines))
    with RecordFile(path, RUN) as file:
        assert [p.id for p in file.missing(PROMPTS)] == ["3"]
        file.append(record(3))
        file.finish(PROMPTS)
    last = json.dumps(record(3).to_json(), ensure_ascii=False)
    expected = [lines[1], lines[2], lines[0], last]
    assert path.read_bytes() == "".join(line + "\n" for line in expected).encode()


def test_a_prompt_has_one_text(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        file.append(record(0))
        with pytest.raises(ValueError, match=r"has a text of the prompt '0'; append what is missing"):
            file.append(replace(record(0), text="another"))
    assert read_records(path) == [record(0)]


def test_finish_keeps_who_may_read(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        for k in (1, 0):
            file.append(record(k))
        path.chmod(0o600)
        file.finish(PROMPTS)
    assert [one.id for one in read_records(path)] == ["0", "1"]
    assert path.stat().st_mode & 0o777 == 0o600


FINISHER = """
import os, sys, time
from pathlib import Path
from tests.texts.test_record_files import PROMPTS, record
from tests.helpers.recorded import RUN
from tradeoff.texts.record_files import RecordFile

def sync(_):
    print("at work", flush=True)
    time.sleep(600)

os.fsync = sync
with RecordFile(Path(sys.argv[1]), RUN) as file:
    for k in (1, 0):
        file.append(record(k))
    file.finish(PROMPTS)
"""


def test_what_a_killed_finish_left_goes_with_the_next_opening(tmp_path: Path) -> None:
    """The texts are all there. While it lives, nobody opens the file, and nothing is removed."""
    path, lock = tmp_path / "out.jsonl", tmp_path / ".out.jsonl.lock"
    with at_work(FINISHER, path):
        before = sorted(tmp_path.iterdir())
        assert len(before) == 4
        # Whoever reads the folder reads the texts alone.
        read = read_texts([str(tmp_path)], io.BytesIO(), pytest.fail)
        assert [(text.source, text.id) for text in read] == [(str(path), "1"), (str(path), "0")]
        with pytest.raises(FileError, match="is being written by another process"):
            RecordFile(path, RUN)
        assert sorted(tmp_path.iterdir()) == before
    with RecordFile(path, RUN) as file:
        assert sorted(tmp_path.iterdir()) == [lock, path]
        assert file.missing(PROMPTS) == PROMPTS[2:]
    assert list(tmp_path.iterdir()) == [path]


def test_finish_that_fails_leaves_all_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        for k in (1, 0):
            file.append(record(k))
        before = path.read_bytes()

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(FileError, match=r"No space left.*texts are all there"):
            file.finish(PROMPTS)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_two_processes_cannot_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    script = (
        "import sys; from pathlib import Path; from tests.helpers.recorded import RUN\n"
        "from tradeoff.texts.record_files import RecordFile\n"
        "try: RecordFile(Path(sys.argv[1]), RUN)\n"
        "except ValueError as error: print(error)"
    )
    with RecordFile(path, RUN):
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "is being written by another process" in done.stdout


WRITER = """
import sys, time
from pathlib import Path
from tradeoff.errors import FileError
from tradeoff.texts.record_files import RecordFile
from tests.texts.test_record_files import text, text_record, Prompt
from tests.helpers.recorded import RUN

path, name, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for k in range(rounds):
    prompt = Prompt(f"{name}{k}", "p", (1,))
    while True:
        try:
            with RecordFile(path, RUN) as file:
                file.append(text_record(text(prompt), RUN, "words", 1))
                # The newest text goes first: every round puts another file in place.
                file.finish([prompt])
            break
        except FileError as error:
            assert "is being written by another process" in str(error), error
            time.sleep(0.001)
"""


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    """They take turns or are refused, also while the one puts its texts in order."""
    path, rounds = tmp_path / "out.jsonl", 40
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(rounds)], cwd=ROOT)
        for name in ("a", "b")
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    written = [record.id for record in read_records(path)]
    assert sorted(written) == sorted(f"{name}{k}" for name in ("a", "b") for k in range(rounds))
    assert list(tmp_path.iterdir()) == [path]


def test_two_names_of_one_file_have_one_lock(tmp_path: Path) -> None:
    path, link = tmp_path / "out.jsonl", tmp_path / "folder" / "link.jsonl"
    link.parent.mkdir()
    link.symlink_to(path)
    for mine, other in ((path, link), (link, path)):
        with RecordFile(mine, RUN), pytest.raises(FileError, match=f"{other} is being written by another"):
            RecordFile(other, RUN)
    assert sorted(tmp_path.rglob("*")) == [link.parent, link, path]


def test_names_that_the_disk_takes_are_not_made_too_long(tmp_path: Path) -> None:
    """Nor are they mixed up: what differs at the end has locks of its own."""
    first, second = tmp_path / f"{'a' * 249}.jsonl", tmp_path / f"{'a' * 248}b.jsonl"
    with RecordFile(first, RUN) as one, RecordFile(second, RUN) as two:
        for file in (one, two):
            file.append(record(0))
        with pytest.raises(FileError, match="is being written by another process"):
            RecordFile(first, RUN)
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_appending_goes_on_after_a_finish_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        for k in (1, 0):
            file.append(record(k))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: os.stat(tmp_path / "none"))
            with pytest.raises(FileError, match="cannot be put in order"):
                file.finish(PROMPTS)
        file.append(record(2))
        assert [one.id for one in read_records(path)] == ["1", "0", "2"]
        file.finish(PROMPTS)
    assert [one.id for one in read_records(path)] == ["0", "1", "2"]


def test_where_a_disk_has_no_locks_the_user_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not told that another process has the file, for which there would be no waiting."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    with RecordFile(tmp_path / "out.jsonl", RUN) as file:
        for k in (1, 0):
            file.append(record(k))
        file.finish(PROMPTS)
    assert [one.id for one in read_records(tmp_path / "out.jsonl")] == ["0", "1"]
    assert list(tmp_path.iterdir()) == [tmp_path / "out.jsonl"]


READER = "import sys; from tradeoff.texts.record_files import read_records; assert 'torch' not in sys.modules"


def test_files_of_records_do_without_torch() -> None:
    assert subprocess.run([sys.executable, "-c", READER], cwd=ROOT).returncode == 0


def test_the_lock_survives_putting_in_order(tmp_path: Path) -> None:
    """After `finish` the file is another one, still held, and still appended to."""
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        for k in (1, 0):
            file.append(record(k))
        file.finish(PROMPTS)
        with pytest.raises(FileError, match="is being written by another process"):
            RecordFile(path, RUN)
        file.append(record(2))
    assert [one.id for one in read_records(path)] == ["0", "1", "2"]


def test_room_that_a_power_loss_left_is_cut(tmp_path: Path) -> None:
    """NULs after the last line, or after the half of one."""
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        file.append(record(0))
    whole = path.read_bytes()
    for torn in (b"\0" * 500, whole[:40] + b"\0" * 500):
        path.write_bytes(whole + torn)
        with RecordFile(path, RUN) as file:
            assert [p.id for p in file.missing(PROMPTS)] == ["1", "2", "3"]
        assert path.read_bytes() == whole


@pytest.mark.parametrize("ids", [["x"], [1.5], [True], [-1], [None], [[1]]])
def test_tokens_that_are_no_numbers_are_not_a_finished_text(tmp_path: Path, ids: list) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(
        "".join(json.dumps(r) + "\n" for r in (record(0).to_json(), record(1).to_json() | {"token_ids": ids}))
    )
    for reader in (read_records, lambda path: RecordFile(path, RUN)):
        with pytest.raises(FileError, match="line 2 is not a record"):
            reader(path)


def test_repeated_texts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        file.append(record(0))
    path.write_bytes(path.read_bytes() * 2)
    for reader in (read_records, lambda path: RecordFile(path, RUN)):
        with pytest.raises(FileError, match="line 2 is a second text of the prompt of line 1"):
            reader(path)


def test_last_line_that_lacks_only_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        file.append(record(0))
        file.append(record(1))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with RecordFile(path, RUN) as file:
        assert [p.id for p in file.missing(PROMPTS)] == ["2", "3"]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("cut", [1, 5, 20, 200])
def test_half_written_line_is_dropped_and_nothing_else(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        file.append(record(0))
        whole = path.read_bytes()
        file.append(record(1))
    path.write_bytes(path.read_bytes()[: len(whole) + cut])
    assert read_records(path) == [record(0)]
    with RecordFile(path, RUN) as again:
        assert path.read_bytes() == whole
        assert [p.id for p in again.missing(PROMPTS)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json\n", "line 1 is not a record"),
        (b'{"id": "1"}\n', "line 1 is not a record"),
        (b"[1, 2]\n", "line 1 is not a record"),
        (b"notes without an end of line", "does not hold generated texts"),
        (b'{"id": "a", "prompt": "the man"}', "does not hold generated texts"),
        (b'{"id": 1, "data": [1, 2, 3]}', "does not hold generated texts"),
        (b"\xff\xfe\n", "line 1 is not a record"),
    ],
)
def test_foreign_files_are_refused_and_left_alone(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "precious.txt"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        RecordFile(path, RUN)
    assert path.read_bytes() == content


def test_damage_in_the_middle_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        for k in range(3):
            file.append(record(k))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:30] + b"\n" + lines[2])
    with pytest.raises(FileError, match="line 2 is not a record"):
        RecordFile(path, RUN)
    with pytest.raises(FileError, match="line 2 is not a record"):
        read_records(path)


def test_texts_of_another_run_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with RecordFile(path, RUN) as file:
        file.append(record(0))
    with pytest.raises(FileError, match=r"another run .*seed: 0 there, 1 now"):
        RecordFile(path, replace(RUN, seed=1))


def test_full_disk_keeps_what_is_there(tmp_path: Path) -> None:
    """A write that stops half-way is undone, and the error says that the texts are safe."""
    path = tmp_path / "out.jsonl"

    class Full:
        """Takes ten bytes, then none."""

        def __init__(self, stream):
            self._stream, self._room = stream, 10

        def __getattr__(self, name):
            return getattr(self._stream, name)

        def write(self, data):
            if not self._room:
                raise OSError(errno.ENOSPC, "No space left on device")
            count, self._room = self._stream.write(data[: self._room]), 0
            return count

    with RecordFile(path, RUN) as file:
        file.append(record(0))
        before = path.read_bytes()
        file._stream = Full(file._stream)
        with pytest.raises(FileError, match=r"No space left on device.*texts it holds are safe"):
            file.append(record(1))
        assert [p.id for p in file.missing(PROMPTS)] == ["1", "2", "3"]
    assert path.read_bytes() == before


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"gone\.jsonl cannot be read"):
        read_records(tmp_path / "gone.jsonl")
    with pytest.raises(FileError, match="is a folder"):
        RecordFile(tmp_path, RUN)
    with pytest.raises(FileError, match="is not a regular file"):
        RecordFile(Path("/dev/null"), RUN)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        RecordFile(tmp_path / "file" / "out.jsonl", RUN)


@pytest.mark.parametrize(
    "damage",
    [
        {"finish": None},
        {"accepted": ["x"]},
        {"accepted": []},
        {"accepted": [-1]},
        {"token_ids": []},
        {"batch": 0},
        {"logppl": True},
        {"log_p": [0.5]},
        {"entropy": "none"},
    ],
    ids=str,
)
def test_texts_that_cannot_be_measured_are_no_texts(tmp_path: Path, damage: dict) -> None:
    record = text_record(text(Prompt("a", "p", (1,))), RUN, "words", 1).to_json() | damage
    path = tmp_path / "out.jsonl"
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(FileError, match=r"out\.jsonl line 1 is not a record"):
        RecordFile(path, RUN)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e400", '"\\ud800"'])
def test_texts_that_cannot_be_written_again_are_refused_at_once(tmp_path: Path, value: str) -> None:
    """Not after hours, when they are put in order."""
    whole = json.dumps(text_record(text(Prompt("a", "p", (1,))), RUN, "words", 1).to_json())
    path = tmp_path / "out.jsonl"
    path.write_text(whole[:-1] + f', "more": {value}}}\n')
    with pytest.raises(FileError, match=r"out\.jsonl line 1 is not a record"):
        RecordFile(path, RUN)
