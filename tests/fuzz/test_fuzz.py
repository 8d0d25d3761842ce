"""Malformed input: a verdict or one line and exit status 2, never a traceback, never NaN, never much memory.

Some 400 inputs; `TRADEOFF_FUZZ=10 pytest tests/fuzz` tries ten times as many, new ones each time.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from tests.fuzz.damage import damaged, damaged_json, encoded, fuzzed, hostile
from tests.helpers import recorded
from tests.helpers.detecting import KEY, marked, runner
from tradeoff.cli import app
from tradeoff.errors import FileError
from tradeoff.llm.encoding import encode_prompts
from tradeoff.texts.prompts import read_prompts
from tradeoff.texts.record_files import RecordFile, read_records

#: What every line on standard error begins with.
PREFIXES = ("error: ", "warning: ", "note: ", "loading tokenizer ")
#: How much more memory a process may take for inputs of a few kilobytes: libraries and tables.
MOST_BYTES = 400 << 20

RUN = replace(recorded.RUN, method="algorithm-1", key=KEY.fingerprint)
RECORD = replace(
    recorded.RECORD,
    token_ids=tuple(marked(40)),
    text="the man and the thing",
    sources="ddrb" * 10,
    log_p=(-0.5,) * 40,
    run=RUN,
).to_json()
LINES = b"".join(json.dumps(RECORD | {"id": f"q-{k}"}).encode() + b"\n" for k in range(3))


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fuzz")
    KEY.write(made / "key")
    return made


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    """Inputs here are small, and so is what they may cost."""
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before < MOST_BYTES


def run(*arguments: object) -> Result:
    """A command that ends in a verdict, or in one line a fault and exit status 2."""
    result = runner.invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 2)
    assert all(line.startswith(PREFIXES) for line in result.stderr.splitlines()), result.stderr
    if result.exit_code == 2:
        assert "error: " in result.stderr
    for output in (result.stdout, result.stderr):
        assert not set(output) & set("\x1b\u202e\x00"), output
    return result


def judge(folder: Path, *arguments: object) -> None:
    """`detect` in one of its ways."""
    result = run("detect", *arguments, "--key-file", folder / "key")
    if "--json" in arguments:
        for line in result.stdout.splitlines():
            found = json.loads(line, parse_constant=pytest.fail)
            assert math.isfinite(found["log10_p"])
            assert found["log10_p"] <= 0
            assert found["tokens_scored"] <= found["tokens"]
    # Unless a text is called so, or says so.
    if b"nan" not in Path(str(arguments[0])).read_bytes().lower():
        assert "nan" not in result.stdout.lower().split()


ways = st.sampled_from([["--json"], ["--tokens"], ["--json", "--sequential"], ["--retokenize"], ["--html"]])


@given(st.data())
@fuzzed(80)
def test_records(folder: Path, tiny_folder: Path, data: st.DataObject) -> None:
    """Bytes damaged, or fields replaced, of JSON lines and of one JSON value."""
    structural = damaged_json(RECORD, "run").map(lambda record: json.dumps(record).encode() + b"\n")
    content = data.draw(damaged(LINES) | structural | st.lists(structural, max_size=3).map(b"".join))
    path = folder / data.draw(st.sampled_from(["x.jsonl", "x.json"]))
    path.write_bytes(content)
    way = data.draw(ways)
    if way == ["--html"]:
        way = ["--html", str(folder / "page.html")]
    judge(folder, path, *way, "--tokenizer", tiny_folder / "tokenizer.json")
    run("plan", path)


@given(damaged(LINES) | damaged_json(RECORD, "run").map(lambda record: json.dumps(record).encode() + b"\n"))
@fuzzed(60)
def test_results_files(folder: Path, content: bytes) -> None:
    """A file that a run cannot go on with is refused as it is; of one it can, no whole line is lost."""
    path = folder / "texts.jsonl"
    path.write_bytes(content)
    whole = content[: content.rfind(b"\n") + 1]
    try:
        with RecordFile(path, RUN) as file:
            kept = len(file)
    except FileError:
        assert path.read_bytes() == content
    else:
        assert path.read_bytes().startswith(whole)
        assert kept == path.read_bytes().count(b"\n") == len(read_records(path))


numbers = np.array([0.5, 0.25, 0.25])
DISTRIBUTIONS = {
    "json": b"[0.5, 0.25, 0.25]",
    "csv": b"0.5,0.25\n0.25",
    "txt": b"0.5 0.25 0.25",
}


@given(st.data())
@fuzzed(80)
def test_distributions(folder: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([*DISTRIBUTIONS, "npy"]))
    if kind == "npy":
        np.save(
            folder / "good.npy", data.draw(st.sampled_from([numbers, numbers.astype("f4"), numbers > 0.3]))
        )
        content = data.draw(damaged((folder / "good.npy").read_bytes()))
    else:
        good = DISTRIBUTIONS[kind].decode()
        good = json.dumps(data.draw(hostile)) if data.draw(st.booleans()) else good
        encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
        content = data.draw(damaged(good.encode(encoding, errors="replace")))
    p = folder / f"p.{kind}"
    p.write_bytes(content)
    q = folder / "q.json"
    q.write_bytes(DISTRIBUTIONS["json"])
    options = data.draw(st.sampled_from([[], ["--normalise"]]))
    out = folder / "out.csv"
    out.unlink(missing_ok=True)
    result = run("curve", p, q, "--class", "hu", "--points", 3, "-o", out, *options)
    assert out.exists() == (result.exit_code == 0)
    if out.exists():
        table = np.genfromtxt(out, delimiter=",", names=True, dtype=None, encoding="utf-8")
        assert np.isfinite(table["efficiency"]).all()
        assert np.isfinite(table["strength"]).all()


@given(damaged(KEY.secret.hex().encode() + b"\n") | st.binary(max_size=80))
@fuzzed(50)
def test_key_files(folder: Path, content: bytes) -> None:
    """No part of what may be a key is shown."""
    path = folder / "damaged.key"
    path.write_bytes(content)
    result = run("key", "fingerprint", path)
    words = content.decode("latin-1").split()
    assert not any(word in result.output for word in words if len(word) >= 8)
    lines = folder / "x.jsonl"
    lines.write_bytes(LINES)
    for prf in ("blake2b-splitmix-v1", "vllm-philox-v1"):
        result = run("detect", lines, "--key-file", path, "--prf", prf, "--method", "basic", "--json")
        assert not any(word in result.output for word in words if len(word) >= 8)


@given(st.data())
@fuzzed(60)
def test_prompts(folder: Path, make_tokenizer: Any, data: st.DataObject) -> None:
    """What is read has a name and words that can be encoded."""
    good = b'{"id": "a", "prompt": "the man"}\n{"prompt": "and then"}\n'
    fields = damaged_json({"id": "a", "prompt": "the"}, "id").map(lambda record: json.dumps(record).encode())
    path = folder / data.draw(st.sampled_from(["p.jsonl", "p.txt", "p.json"]))
    path.write_bytes(data.draw(damaged(good) | fields | encoded()))
    try:
        found = read_prompts(path)
    except FileError:
        pass
    else:
        assert len(dict(found)) == len(found) > 0
        encoded_prompts = encode_prompts(make_tokenizer(), found[:5])
        assert all(prompt.id and prompt.text.encode() for prompt in encoded_prompts)


@given(encoded() | st.binary(max_size=300) | damaged("naïve — “café”\n".encode() * 20), ways)
@fuzzed(80)
def test_texts(folder: Path, tiny_folder: Path, content: bytes, way: list[str]) -> None:
    """In any encoding: read as UTF-8, or refused with what it is or where it is not."""
    path = folder / "x.txt"
    path.write_bytes(content)
    if way == ["--html"]:
        way = ["--html", str(folder / "page.html")]
    judge(folder, path, *way, "--tokenizer", tiny_folder / "tokenizer.json")
