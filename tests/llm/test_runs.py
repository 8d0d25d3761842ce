"""Runs: what a killed run leaves, a resumed one completes to the same file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tradeoff.decoders import GumbelMax
from tradeoff.kernels import Algorithm1, OneRace, TwoKeys
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.runs import generate_texts
from tradeoff.texts.prompts import Prompt
from tradeoff.texts.record_files import read_records

PRF = KeyedPrf(Key(bytes(range(32))))
PROMPTS = [Prompt(f"p{k}", f"prompt {k}", (*range(1, 3 + k % 5), k % 7)) for k in range(14)]


def without_times(path: Path) -> list[dict]:
    return [
        {k: v for k, v in record.to_json().items() if k not in ("seconds", "batch")}
        for record in read_records(path)
    ]


@pytest.mark.parametrize("method", [OneRace(), TwoKeys(GumbelMax())], ids=["keyed", "true randomness"])
@pytest.mark.parametrize("stop", [0, 1, 5, 13])
def test_interrupted_run_resumes_to_the_same_file(make_pair, tmp_path: Path, method, stop: int) -> None:
    pair = make_pair(30)
    settings = EngineSettings(method=method, prf=PRF, lookahead=2, max_tokens=12, measure=True)
    whole = tmp_path / "whole.jsonl"
    generate_texts(pair, settings, PROMPTS, whole, batch=4)
    assert [r.id for r in read_records(whole)] == [p.id for p in PROMPTS]

    broken, seen = tmp_path / "broken.jsonl", 0

    class Stop(Exception):
        pass

    def tokenizer_that_stops(*args, **kwargs):
        nonlocal seen
        if seen == stop:
            raise Stop
        seen += 1
        return decode(*args, **kwargs)

    decode = pair.tokenizer.decode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair.tokenizer, "decode", tokenizer_that_stops)
        with pytest.raises(Stop):
            generate_texts(pair, settings, PROMPTS, broken, batch=4)
    assert len(read_records(broken)) == stop
    with broken.open("ab") as stream:
        stream.write(b'{"id": "p9", "pro')
    run = generate_texts(pair, settings, PROMPTS, broken, batch=3)
    assert run.new == len(PROMPTS) - stop
    ours, theirs = without_times(broken), without_times(whole)
    for record, reference in zip(ours, theirs, strict=True):
        for name, value in reference.items():
            if name in ("logppl", "logppl_model", "log_p", "entropy", "overlap", "efficiency"):
                # Other texts in the batch change the last digits of a matrix product.
                ours_and_theirs = np.array([record[name], value], dtype=float)
                np.testing.assert_allclose(*ours_and_theirs, rtol=1e-5, atol=1e-6, err_msg=name)
            else:
                assert record[name] == value, name


def test_finished_run_is_a_no_op(make_pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, path = make_pair(30), tmp_path / "out.jsonl"
    settings = EngineSettings(method=OneRace(), prf=PRF, max_tokens=5, ignore_eos=True)
    first = generate_texts(pair, settings, PROMPTS[:3], path)
    assert (first.new, first.tokens) == (3, 15)
    assert [r.batch for r in first.records] == [3, 3, 3]
    content = path.read_bytes()
    monkeypatch.setattr(Engine, "warm_up", lambda *_: pytest.fail("a finished run ran the model"))
    second = generate_texts(pair, settings, PROMPTS[:3], path)
    assert (second.new, second.tokens) == (0, 0)
    assert second.records == first.records
    assert path.read_bytes() == content


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_run_says_how_to_go_on(
    make_pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, stop: type
) -> None:
    pair, path = make_pair(30), tmp_path / "out.jsonl"
    settings = EngineSettings(method=OneRace(), prf=PRF, max_tokens=5, ignore_eos=True)
    decode, seen = pair.tokenizer.decode, []

    def tokenizer_that_stops(*args, **kwargs):
        seen.append(args)
        if len(seen) > 3:
            raise stop
        return decode(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(pair.tokenizer, "decode", tokenizer_that_stops)
        with pytest.raises(stop):
            generate_texts(pair, settings, PROMPTS[:8], path, batch=4)
    assert f"stopped: 3 of 8 texts are in {path}; the same command goes on" in capsys.readouterr().err
    assert generate_texts(pair, settings, PROMPTS[:8], path).new == 5


def test_a_run_starts_warm(make_pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One prompt is run and thrown away before the clock starts; its text is generated all the same."""
    warmed: list[str] = []
    warm_up = Engine.warm_up
    monkeypatch.setattr(Engine, "warm_up", lambda self, p: (warmed.append(p.id), warm_up(self, p)))
    settings = EngineSettings(method=OneRace(), prf=PRF, max_tokens=5, ignore_eos=True)
    run = generate_texts(make_pair(30), settings, PROMPTS[:2], tmp_path / "out.jsonl")
    assert warmed == ["p0"]
    assert [r.id for r in run.records] == ["p0", "p1"]


def test_special_tokens_are_ids_but_not_text(make_pair, tmp_path: Path) -> None:
    pair = make_pair(30, eos=2)
    settings = EngineSettings(method=OneRace(), prf=PRF, max_tokens=80)
    run = generate_texts(pair, settings, PROMPTS, tmp_path / "out.jsonl")
    ended = [r for r in run.records if r.finish == "eos"]
    assert ended
    assert all(r.token_ids[-1] == 2 and "</s>" not in r.text for r in ended)


def test_batches_are_no_larger_than_the_prompts(make_pair, tmp_path: Path) -> None:
    """A batch that no machine could hold does no harm where there are few prompts."""
    settings = EngineSettings(method=OneRace(), prf=PRF, max_tokens=3)
    assert generate_texts(make_pair(30), settings, PROMPTS[:2], tmp_path / "o", batch=10**15).new == 2


@pytest.mark.parametrize("broken", ["draft", "target"])
def test_models_that_break_are_named(make_pair, tmp_path: Path, broken: str) -> None:
    """NaN logits are an error, not text."""
    pair = make_pair(30)
    getattr(pair, broken).model.norm.weight.fill_(torch.nan)
    settings = EngineSettings(method=OneRace(), prf=PRF, max_tokens=3)
    with pytest.raises(RuntimeError, match="logits that are not finite"):
        generate_texts(pair, settings, PROMPTS[:2], tmp_path / "out.jsonl")


def test_bad_prompts_are_refused_before_a_file_is_made(make_pair, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    settings = EngineSettings(method=OneRace(), prf=PRF, max_tokens=5)
    with pytest.raises(ValueError, match="'empty' has no tokens"):
        generate_texts(make_pair(30), settings, [Prompt("empty", "", ())], path)
    assert not path.exists()


def test_out_of_memory_halves_the_batch_and_says_so(
    make_pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pair = make_pair(30)
    settings = EngineSettings(method=Algorithm1(GumbelMax()), prf=PRF, max_tokens=6)
    generate_texts(pair, settings, PROMPTS, tmp_path / "calm.jsonl", batch=8)
    forward = pair.target.forward

    def tight(*args, **kwargs):
        if len(kwargs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(pair.target, "forward", tight)
    generate_texts(pair, settings, PROMPTS, tmp_path / "tight.jsonl", batch=8)
    assert "going on with 2 texts at a time" in capsys.readouterr().err
    ids = [[r.token_ids for r in read_records(tmp_path / f"{name}.jsonl")] for name in ("calm", "tight")]
    assert ids[0] == ids[1]


@pytest.mark.slow
def test_sigkill_at_a_random_moment(tiny_folder: Path, tmp_path: Path) -> None:
    """A process killed without warning, and the same command again: the file of an undisturbed run."""
    key = tmp_path / "key"
    Key(bytes(range(32))).write(key)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(f"the man and the {k} theatre" for k in range(30)))
    outputs = {name: tmp_path / f"{name}.jsonl" for name in ("killed", "whole")}

    def command(name: str) -> list[str]:
        options = (
            f"--prompts {prompts} --key-file {key} -o {outputs[name]} --target {tiny_folder} --draft skip:1"
        )
        sizes = "--max-tokens 24 --batch 4 --dtype float64 --method two-keys --ignore-eos"
        return [sys.executable, "-m", "tradeoff.cli", "generate", *options.split(), *sizes.split()]

    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command("killed"), env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if outputs["killed"].exists() and outputs["killed"].read_bytes().count(b"\n") >= 3:
            break
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = read_records(outputs["killed"])
    assert 3 <= len(kept) < 30
    for name in outputs:
        done = subprocess.run(command(name), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    killed, whole = without_times(outputs["killed"]), without_times(outputs["whole"])
    assert [r["token_ids"] for r in killed] == [r["token_ids"] for r in whole]
    assert [r["id"] for r in killed] == [str(k + 1) for k in range(30)]
    # What had been written before the kill is still there, letter for letter.
    lines = outputs["killed"].read_text().splitlines()
    assert all(json.dumps(record.to_json(), ensure_ascii=False) in lines for record in kept)


@pytest.mark.parametrize(("dtype", "says"), [(torch.bfloat16, True), (torch.float32, False)])
def test_going_on_with_another_batch_is_told_where_it_matters(
    make_pair, tmp_path: Path, capsys: pytest.CaptureFixture[str], dtype: torch.dtype, says: bool
) -> None:
    """In few digits, sums of other batches round so differently that texts may differ; else they do not."""
    pair = replace(make_pair(30), dtype=dtype)
    settings = EngineSettings(method=OneRace(), prf=PRF, lookahead=2, max_tokens=3)
    path = tmp_path / "texts.jsonl"
    generate_texts(pair, settings, PROMPTS[:2], path, batch=1)
    generate_texts(pair, settings, PROMPTS[:2], path, batch=2)
    assert "batch" not in capsys.readouterr().err
    generate_texts(pair, settings, PROMPTS[:4], path, batch=2)
    words = "holds texts of batch 1, and this run has batch 2: in bfloat16 rounding differs"
    assert (words in " ".join(capsys.readouterr().err.split())) == says
