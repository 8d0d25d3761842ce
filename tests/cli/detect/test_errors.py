"""Bad input of `tradeoff detect`: one line that names the remedy, exit status 2, and verdicts on the rest."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.helpers.detecting import KEY, detect, findings, flat, lines, marked, other
from tradeoff.cli import app


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fpr", "0"], "fpr=0.0 must be between 0 and 1; 0.01 is usual"),
        (["--fpr", "1"], "fpr=1.0 must be between 0 and 1"),
        (["--fpr", "nan"], "fpr=nan must be between 0 and 1"),
        (["--method", "magic"], "method='magic' is unknown; use one of basic"),
        (["--method", "standard"], "carries no watermark"),
        (["--method", "basic", "--watermark", "none"], "no watermark to detect"),
        (["--watermark", "magic"], "watermark='magic' is unknown; use gumbel"),
        (["--watermark", "synthd:30"], "watermark='synthd:30' is unknown"),
        (["--watermark", "none"], "watermark='none' is no watermark to detect; pass the one to look for"),
        (
            ["--method", "joint-race", "--watermark", "synthid:30"],
            "watermark='synthid:30' does not fit: method joint-race carries gumbel only; pass a method that "
            "carries it (of a text, the one that generated it): joint, basic, keep-strength, "
            "keep-efficiency, target-only, two-keys, algorithm-1",
        ),
        (
            ["--watermark", "synthid:30", "--method", "single-key"],
            "single-key carries gumbel only; pass",
        ),
        (
            ["--method", "one-race", "--watermark", "heavywater"],
            "watermark='heavywater' does not fit: method one-race",
        ),
        (["--watermark", "heavywater:cauchy"], "watermark='heavywater:cauchy' cannot be read: law='cauchy'"),
        (["--watermark", "completed:gumbel"], "watermark='completed:gumbel' cannot be read"),
        (["--watermark", "magic"], "completed:NAME"),
        (["--prf", "magic"], "prf='magic' is unknown; use one of blake2b"),
        (["--prf", "vllm-philox-v1"], "takes the integer master key of vLLM"),
        (["--context-width", "0"], "context_width=0 must be"),
        (["--key", "42"], "--key and --key-file name two keys"),
        (["--retokenize"], 'line 1 has no "text" to tokenise'),
        (["--detector", "gone.safetensors"], "gone.safetensors is not a fitted detector"),
        (["--html", "."], "is a folder; name a file in it"),
        (["--html", "x.jsonl"], "html='x.jsonl' is a file to be read"),
        (["--html", "key"], "html='key' is a file to be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_exit_with_status_2(
    folder: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    lines(folder / "x.jsonl", {"token_ids": marked(9)})
    result = detect(folder, "x.jsonl", *options)
    assert result.exit_code == 2
    assert message in flat(result.stderr)
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.jsonl holds no text"),
        (b"\n \n", "x.jsonl holds no text"),
        (b'{"token_ids": [1, 2', "x.jsonl holds no text"),
        (b'{"token_ids": []}\n{"token_ids": [1,\n{"token_ids": []}\n', "x.jsonl line 2 is not JSON"),
        (b"[" * 100_000 + b"\n", "x.jsonl line 1 is not JSON"),
        (b"3\n[]\n", 'x.jsonl line 1 has neither "text" nor "token_ids" (nor have 1 others) and is left out'),
        (b"{}\n", 'x.jsonl line 1 has neither "text" nor "token_ids"'),
        (b'{"text": 3}\n', '"text" must be a string of whole characters, got 3'),
        (b'{"text": "\\ud800"}\n', '"text" must be a string of whole characters'),
        (b'{"token_ids": "1 2"}\n', '"token_ids" must be a list of integers >= 0, got "1 2"'),
        (b'{"token_ids": [1, -2]}\n', '"token_ids" hold -2; they must be integers >= 0'),
        (b'{"token_ids": [1, 2.0]}\n', '"token_ids" hold 2.0'),
        (b'{"token_ids": [true]}\n', '"token_ids" hold true'),
        (b'{"token_ids": [[1]]}\n', '"token_ids" hold [1]'),
        (b'{"token_ids": [9223372036854775808]}\n', '"token_ids" hold 9223372036854775808'),
        (b'{"token_ids": [], "id": [1]}\n', '"id" must be text or a whole number, got [1]'),
        (b'\xef\xbb\xbf{"text": "a"}\n{"text": "\xff"}\n'.replace(b"text", b"tixt", 1), "neither"),
        (b'\xef\xbb\xbf{"token_ids": []}\n{"text": "\xff"}\n', "x.jsonl is not UTF-8: byte 31 "),
    ],
)
def test_bad_json_lines_exit_with_status_2(folder: Path, content: bytes, message: str) -> None:
    (folder / "x.jsonl").write_bytes(content)
    result = detect(folder, folder / "x.jsonl")
    assert result.exit_code == 2
    assert message in flat(result.stderr)
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("a", '"run" is no object'),
        ({"method": 3}, '"run" has method=3, which is no str'),
        ({"vocabulary": "x"}, '"run" has vocabulary="x", which is no int'),
        (
            {"watermark": f"synthid:{'0' * 300}30"},
            '"run" has watermark="synthid:0000000000000000000000000000..., which is too long to be true',
        ),
        ({"key": "a" * 257}, "which is too long to be true"),
        ({"vocabulary": 10**256}, "which is too long to be true"),
        ({"method": "magic"}, "method='magic' is unknown"),
        ({"watermark": "magic"}, "watermark='magic' is unknown"),
        ({"prf": "magic"}, "prf='magic' is unknown"),
        ({"prf": "vllm-philox-v1"}, "prf vllm-philox-v1, but blake2b-splitmix-v1 is looked for"),
        ({"context_width": 0}, "context_width=0 must be"),
        ({"context_width": 65}, "context_width=65 must be"),
        ({"vocabulary": 8}, f"token_ids hold {max(marked(60))}, but run.vocabulary=8"),
        ({"method": "standard"}, ""),
        ({"watermark": "none"}, ""),
        ({"method": "single-key", "watermark": "synthid:30"}, "does not fit: method single-key carries"),
        ({"watermark": "simplexwater:20"}, "1048575 values of side information"),
        ({"watermark": "synthid:100000"}, "rounds=100000 is beyond 4096"),
        ({"key": "0123456789abcdef"}, "key (fingerprint) 0123456789abcdef, but"),
        ({"tokenizer": "/etc/passwd", "detector": "x.safetensors", "target": "../gone"}, ""),
    ],
)
def test_no_record_changes_the_verdict(folder: Path, run: object, message: str) -> None:
    """Nor takes memory, nor names files: what the options say is tested, and at most one setting more."""
    (plain,) = findings(detect(folder, lines(folder / "y.jsonl", {"token_ids": marked(60)}), "--json"))
    path = lines(folder / "x.jsonl", {"token_ids": marked(60), "run": run})
    tracemalloc.start()
    try:
        result = detect(folder, path, "--json")
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    (found,) = findings(result)
    assert found["verdict"] == "watermarked"
    assert found["log10_p_uncorrected"] == plain["log10_p"]
    assert len(found["tests"]) <= 2
    assert message in flat(result.stderr)
    assert result.stderr.count("warning: ") == bool(message)


def test_what_cannot_be_read_does_not_keep_the_rest(folder: Path) -> None:
    """Every verdict that there is, and exit status 2."""
    (folder / "bad.txt").write_bytes(b"\xe4")
    good = json.dumps({"id": "a", "token_ids": marked(40)})
    record = json.dumps({"token_ids": [-1]})
    (folder / "x.jsonl").write_text("\n".join([good, "broken", record, '{"text": 3}', good, *"[{["]) + "\n")
    sources = (folder / "gone", folder / "bad.txt", folder / "x.jsonl")
    result = detect(folder, *sources, "--json")
    assert result.exit_code == 2
    assert [json.loads(line)["verdict"] for line in result.stdout.splitlines()] == ["watermarked"] * 2
    told = flat(result.stderr)
    for words in (
        "gone does not exist",
        "bad.txt is not UTF-8",
        "line 2 is not JSON",
        'token_ids" hold -1',
    ):
        assert told.count(words) == 1
    # A file of the wrong kind does not fill the screen.
    assert "x.jsonl: 3 more texts cannot be read for such reasons" in told
    assert told.count("error: ") == 6
    result = detect(folder, *sources, "--html", folder / "p.html")
    assert result.exit_code == 2
    assert "2 texts: 2 watermarked" in result.stdout
    assert (folder / "p.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "TRADEOFF_KEY holds no key; pass --key-file FILE (make one with `tradeoff key new"),
        (["--key", "42", "--prf", "blake2b-splitmix-v1"], "--key takes the integer keys of --prf vllm"),
        (["--key", "forty-two"], "--key is not an integer; pass 0 to 2^64 - 1"),
        (["--prf", "vllm-philox-v1"], "needs the integer key of vLLM"),
        (["--key-file", "gone.key"], "key file gone.key does not exist"),
        (["--prf", "vllm-philox-v1", "--key", "1", "--method", "basic", "--watermark", "synthid:5"], "bits"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_missing_and_unfit_keys(
    folder: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRADEOFF_KEY", raising=False)
    path = lines(folder / "x.jsonl", {"token_ids": marked(9)})
    result = detect(folder, path, *options, key=False)
    assert result.exit_code == 2
    assert message in flat(result.stderr)
    assert KEY.secret.hex() not in result.output


def claiming(watermark: str, method: str = "basic") -> dict:
    return {"token_ids": other(200), "run": {"method": method, "watermark": watermark}}


@pytest.mark.parametrize(
    ("watermark", "what"),
    [
        ("simplexwater:11", "2047 values of side information, and a record may name 1024 at most"),
        ("simplexwater:20", "1048575 values"),
        ("heavywater:gamma,k=1025", "1025 values"),
        ("heavywater:lognormal,k=65536,sinkhorn=0.05", "65536 values"),
        ("completed:simplexwater:20", "1048575 values"),
        ("completed:heavywater:gamma,k=65536", "65536 values"),
        ("synthid:257", "257 rounds, and a record may name 256 at most"),
        ("completed:synthid:4096", "4096 rounds"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--sequential"], ["--method", "two-keys"]], ids=str)
def test_what_takes_long_is_not_read_because_a_record_says_so(
    folder: Path, watermark: str, what: str, options: list[str]
) -> None:
    """It is passed over before any memory is taken, and what else is tested is."""
    path = lines(folder / "x.jsonl", claiming(watermark), {"token_ids": marked(60)})
    tracemalloc.start()
    try:
        result = detect(folder, path, "--json", *options)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    assert f"x.jsonl line 1: what its record names is not tested: watermark='{watermark}' has {what}" in flat(
        result.stderr
    )
    assert f"pass --watermark {watermark} to look for it all the same" in flat(result.stderr)
    assert [found["id"] for found in findings(result)] == ["1", "2"]


def test_lists_of_large_vocabularies_are_not_drawn_because_a_record_says_so(folder: Path) -> None:
    run = {"method": "keep-strength", "watermark": "kgw", "prf": "hf-kgw:9000000", "context_width": 1}
    path = lines(folder / "x.jsonl", {"token_ids": other(60), "run": run})
    options = ["--key", "123456789123456789", "--json"]
    result = CliRunner().invoke(app, ["detect", str(path), *options])
    assert [len(found["tests"]) for found in findings(result)] == [1]
    assert (
        "prf='hf-kgw:9000000' has a vocabulary of 9000000, and a record may name 524288 at most; pass --prf "
        "hf-kgw:9000000 to look for it all the same"
    ) in flat(result.stderr)


def test_records_may_name_few_functions(folder: Path) -> None:
    run = {"method": "keep-strength", "watermark": "kgw", "context_width": 1}
    runs = [run | {"prf": f"hf-kgw:{size}"} for size in range(500, 517)]
    path = lines(folder / "x.jsonl", *({"token_ids": other(60), "run": one} for one in runs))
    result = CliRunner().invoke(app, ["detect", str(path), "--key", "123456789123456789", "--json"])
    assert [len(found["tests"]) for found in findings(result)] == [2] * 16 + [1]
    assert "prf='hf-kgw:516' is one more than the 16 that records may name" in flat(result.stderr)


def test_what_takes_long_is_read_if_the_user_says_so(folder: Path) -> None:
    for watermark in ("simplexwater:11", "heavywater:lognormal,k=1025", "synthid:257"):
        path = lines(folder / "x.jsonl", claiming(watermark))
        (found,) = findings(detect(folder, path, "--json", "--watermark", watermark))
        assert found["watermark"] == watermark


@pytest.mark.parametrize(
    "watermark",
    ["simplexwater:10", "heavywater:lognormal", "completed:heavywater:gamma", "synthid:256"],
)
def test_the_largest_watermarks_that_records_may_name(folder: Path, watermark: str) -> None:
    (found,) = findings(detect(folder, lines(folder / "x.jsonl", claiming(watermark)), "--json"))
    assert [test["watermark"] for test in found["tests"]] == ["gumbel", watermark]


def test_records_may_name_few_watermarks(folder: Path) -> None:
    """Sixteen, however they are spelled; they go on being read, and others with an option of the user."""
    named = [f"heavywater:lognormal,k={k}" for k in range(2, 17)] + ["gumbel"]
    spelled = [name.upper() for name in named] + ["heavywater:lognormal,k=0016"]
    again = ["heavywater:lognormal,k=17", "synthid:3", "heavywater:lognormal,k=2"]
    path = lines(folder / "x.jsonl", *map(claiming, [*named, *spelled, *again]))
    result = detect(folder, path, "--json")
    read = [[test["watermark"] for test in found["tests"]] for found in findings(result)]
    expected = [*named, *named, "heavywater:lognormal,k=16", None, None, "heavywater:lognormal,k=2"]
    assert read == [["gumbel", name] if name not in ("gumbel", None) else ["gumbel"] for name in expected]
    told = flat(result.stderr)
    for line, name in ((34, "heavywater:lognormal,k=17"), (35, "synthid:3")):
        passed_over = (
            f"line {line}: what its record names is not tested: watermark='{name}' is one more than the"
        )
        assert f"{passed_over} 16 that records may name; pass --watermark {name}" in told
    by_option = findings(detect(folder, path, "--json", "--watermark", "heavywater:lognormal,k=17"))
    assert {found["watermark"] for found in by_option} == {"heavywater:lognormal,k=17"}


def test_warnings_about_records_come_to_an_end(folder: Path) -> None:
    """Every record may name another key, and there is no end of records."""
    records = [{"token_ids": [1], "run": {"key": f"{number:016x}"}} for number in range(150)]
    result = detect(folder, lines(folder / "x.jsonl", *records), "--json")
    assert result.exit_code == 0
    assert result.stderr.count("are looked for") + result.stderr.count("is looked for") == 100
    assert flat(result.stderr).count("texts and options disagree about more, which is not told") == 1
