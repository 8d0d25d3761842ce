"""`tradeoff detect` on token ids: verdicts, and how methods, formats and keys are told; no model is run."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.detecting import (
    KEY,
    PRF,
    detect,
    findings,
    flat,
    lines,
    marked,
    other,
    tournament,
)
from tradeoff.decoders import SimplexScores, parse_decoder
from tradeoff.detection import (
    Aaronson,
    Evidence,
    SimplexSum,
    SumOfKeys,
    WeightedMeanBits,
    WeightedSumOfKeys,
    default_detector,
)
from tradeoff.kernels import METHODS, make_method
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Stream

FIELDS = {
    **{"id": str, "source": str, "verdict": str, "log10_p": float, "tokens": int, "tokens_scored": int},
    **{"detector": str, "method": str, "watermark": str, "prf": str, "context_width": int, "key": str},
    **{"fpr": float, "log10_p_whole": float, "share": float, "segments": list},
    **{"key_name": str, "log10_p_uncorrected": float, "tests": list},
}


# The detector of a method


@pytest.mark.parametrize("name", METHODS)
def test_default_detector_of_every_method(name: str) -> None:
    if name == "standard":
        with pytest.raises(ValueError, match="no watermark to detect; name the method"):
            default_detector(make_method(name, parse_decoder("none")))
        return
    if name == "dual-key":
        assert default_detector(make_method(name, parse_decoder("gumbel"))) == WeightedSumOfKeys(0.1)
        return
    two = name in ("two-keys", "algorithm-1")
    stream = Stream.DRAFT if name == "keep-efficiency" else Stream.SHARED
    if METHODS[name].carries(parse_decoder("gumbel")):
        gumbel = default_detector(make_method(name, parse_decoder("gumbel")))
        assert gumbel == (SumOfKeys() if two else Aaronson(stream))
    if METHODS[name].carries(parse_decoder("simplexwater:4")):
        streams = (Stream.DRAFT, Stream.TARGET) if two else (stream,)
        simplex = default_detector(make_method(name, parse_decoder("simplexwater:4")))
        assert simplex == SimplexSum(SimplexScores(4), streams)
    if METHODS[name].carries(parse_decoder("synthid:inf")):
        streams = (Stream.DRAFT, Stream.TARGET) if two else (stream,)
        for watermark, rounds in (("synthid:7", 7), ("synthid:inf", 30)):
            method = make_method(name, parse_decoder(watermark))
            assert default_detector(method) == WeightedMeanBits(rounds, streams)


def test_unmarked_basic_has_no_detector() -> None:
    with pytest.raises(ValueError, match="method='basic' with no watermark"):
        default_detector(make_method("basic", parse_decoder("none")))


# Verdicts


def test_verdicts_and_schema(folder: Path) -> None:
    path = lines(
        folder / "x.jsonl",
        {"id": "a", "token_ids": marked(60)},
        {"token_ids": other(60)},
        {"id": 7, "token_ids": marked(3)},
        {"id": "none", "token_ids": [], "text": ""},
    )
    found = findings(detect(folder, path, "--json"))
    assert [f["verdict"] for f in found] == ["watermarked", "not detected", "too short", "too short"]
    assert [f["id"] for f in found] == ["a", "2", "7", "none"]
    assert [f["tokens"] for f in found] == [60, 60, 3, 0]
    assert [f["tokens_scored"] for f in found] == [57, 58, 1, 0]
    for f in found:
        assert {name: type(value) for name, value in f.items()} == FIELDS
        assert math.isfinite(f["log10_p"])
        assert f["source"] == str(path)
        assert (f["method"], f["watermark"], f["detector"]) == ("joint-race", "gumbel", "Aaronson")
        assert (f["key"], f["prf"], f["context_width"]) == (KEY.fingerprint, PRF.name, PRF.context_width)
    # Too few tokens for a verdict, but what they say is told.
    assert found[0]["log10_p"] < -20
    assert found[2]["log10_p"] < -2
    assert found[3]["log10_p"] == 0


def test_table_and_closing_line(folder: Path) -> None:
    path = lines(folder / "x.jsonl", {"id": "[red]a", "token_ids": marked(40)}, {"token_ids": other(40)})
    result = detect(folder, path)
    assert result.exit_code == 0
    for word in ("log10 p", "tokens scored", "[red]a", "watermarked", "not detected", "Aaronson"):
        assert word in result.stdout
    shared, *_, counts, caveat = result.stdout.splitlines()
    assert caveat.startswith("a verdict is of the passage that is marked, whoever put it there")
    assert counts == "2 texts: 1 watermarked, 1 not detected, 0 too short (false-positive rate 0.01)"
    assert shared == (
        f"method joint-race, watermark gumbel, context width 2, key {KEY.fingerprint}, detector Aaronson, "
        "false-positive rate 0.01"
    )


def test_fpr_decides(folder: Path) -> None:
    path = lines(folder / "x.jsonl", {"token_ids": other(60)})
    p = 10 ** findings(detect(folder, path, "--json"))[0]["log10_p"]
    above, below = str(min(p * 1.01, 0.999)), str(p * 0.99)
    assert findings(detect(folder, path, "--json", "--fpr", above))[0]["verdict"] == "watermarked"
    assert findings(detect(folder, path, "--json", "--fpr", below))[0]["verdict"] == "not detected"


@pytest.mark.parametrize(
    ("method", "watermark", "ids"),
    [
        ("basic", "gumbel", lambda: marked(60)),
        ("keep-efficiency", "gumbel", lambda: marked(60, stream=Stream.DRAFT)),
        ("two-keys", "gumbel", lambda: marked(60, stream=Stream.TARGET)),
        ("algorithm-1", "gumbel", lambda: marked(60, stream=Stream.DRAFT)),
        ("basic", "synthid:30", lambda: tournament(60, 30, Stream.SHARED)),
        ("two-keys", "synthid:10", lambda: tournament(60, 10, Stream.TARGET)),
        ("algorithm-1", "synthid:inf", lambda: tournament(60, 40, Stream.DRAFT)),
    ],
)
def test_method_is_told_by_options_or_by_the_record(folder: Path, method: str, watermark: str, ids) -> None:
    run = {"method": method, "watermark": watermark, "prf": PRF.name, "key": None}
    run["context_width"] = PRF.context_width
    tokens = ids()
    path = lines(folder / "x.jsonl", {"token_ids": tokens}, {"token_ids": tokens, "run": run})
    by_option = findings(detect(folder, path, "--json", "--method", method, "--watermark", watermark))
    result = detect(folder, path, "--json")
    by_record = findings(result)[1]
    assert by_option[0]["verdict"] == "watermarked"
    assert by_option[0]["method"] == method
    assert by_option[0]["watermark"] == watermark
    # What a record names is tested beside the defaults, and paid for where it reads anything else.
    default, *claimed = by_record["tests"]
    assert (default["named_by_record"], default["watermark"]) == (False, "gumbel")
    assert [test["named_by_record"] for test in claimed] == [True] * len(claimed)
    paid = math.log10(1 + len(claimed))
    assert len(claimed) == ((method, watermark) != ("basic", "gumbel"))
    assert by_record["log10_p"] == pytest.approx(by_option[1]["log10_p"] + paid)
    assert by_record["log10_p_uncorrected"] == by_option[1]["log10_p"]
    for same in ("verdict", "method", "watermark", "detector", "log10_p_whole"):
        assert by_record[same] == by_option[1][same]
    shown = detect(folder, path, "--context-width", "2").stdout
    # A single setting stands above the table.
    assert shown.count("tested: ") == (1 + len(claimed) if claimed else 0)
    assert shown.count(", named by records") == len(claimed)


def test_weights_of_keys_come_from_the_record_or_an_option(folder: Path) -> None:
    ids = marked(60, stream=Stream.DRAFT)
    run = {"method": "two-keys", "watermark": "gumbel", "prf": PRF.name, "context_width": PRF.context_width}
    weighed = run | {"method": "dual-key", "alpha": 0.25}
    texts = [{"token_ids": ids, "run": one} for one in (run | {"alpha": 0.25}, run, weighed, {"alpha": 0.25})]
    path = lines(folder / "x.jsonl", *texts)

    def told(*options: str) -> list[list[tuple[str, float | None]]]:
        tests = [one["tests"] for one in findings(detect(folder, path, "--json", *options))]
        return [[(test["method"], test.get("alpha")) for test in of] for of in tests]

    own = ("joint-race", None)
    claimed = [("two-keys", 0.25), ("two-keys", None), ("dual-key", 0.25)]
    assert told() == [*([own, one] for one in claimed), [own]]
    # As a record takes no test away, what the options say is tested beside it.
    assert told("--method", "two-keys", "--alpha", "0.1")[0] == [("two-keys", 0.1)]
    assert told("--method", "two-keys")[0] == [("two-keys", None), ("two-keys", 0.25)]
    assert told("--method", "dual-key")[:3] == [[("dual-key", 0.1)]] * 2 + [[("dual-key", 0.1), claimed[2]]]
    assert told("--method", "one-race")[0] == [("one-race", None)]
    expected = WeightedSumOfKeys(0.1)
    options = ("--json", "--whole", "--method", "two-keys", "--alpha", "0.1")
    (one, *_) = findings(detect(folder, path, *options))
    evidence = Evidence(np.array(ids), PRF)
    log_p = expected.log_p(float(expected.contributions(evidence).sum()), len(evidence))
    assert one["log10_p"] == pytest.approx(log_p / math.log(10))
    assert one["verdict"] == "watermarked"


@pytest.mark.parametrize("alpha", [0, 1, -0.5, "0.1", 1e400, [0.1], True])
def test_weights_that_are_none_are_told_and_passed_over(folder: Path, alpha: object) -> None:
    run = {"method": "two-keys", "watermark": "gumbel", "alpha": alpha}
    path = lines(folder / "x.jsonl", {"token_ids": marked(60), "run": run})
    result = detect(folder, path, "--json")
    (found,) = findings(result)
    assert (found["verdict"], len(found["tests"])) == ("watermarked", 1)
    assert "alpha=" in flat(result.stderr)
    assert "is passed over" in flat(result.stderr)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alpha", "0.1"], "joint-race has no two keys"),
        (["--alpha", "0.1", "--method", "basic"], "basic has no two keys"),
        (["--alpha", "2", "--method", "two-keys"], "alpha=2.0 must be a number above 0 and below 1"),
        (["--alpha", "0.1", "--method", "two-keys", "--watermark", "synthid:5"], "leave it out with SynthID"),
    ],
)
def test_weights_that_no_method_has_are_refused(folder: Path, options: list[str], message: str) -> None:
    path = lines(folder / "x.jsonl", {"token_ids": marked(60)})
    result = detect(folder, path, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_records_that_claim_no_watermark(folder: Path) -> None:
    """They take no test away: a marked text is found whatever its record says."""
    run = {"method": "standard", "watermark": "none", "prf": None, "context_width": None, "key": None}
    texts = [{"token_ids": other(60), "run": run | {"method": name}} for name in ("standard", "basic")]
    path = lines(folder / "x.jsonl", *texts, {"token_ids": marked(60), "run": run})
    result = detect(folder, path, "--json")
    assert [f["verdict"] for f in findings(result)] == ["not detected", "not detected", "watermarked"]
    assert "warning" not in result.stderr
    assert all(len(f["tests"]) == 1 and f["method"] == "joint-race" for f in findings(result))


def test_what_is_assumed_is_told(folder: Path) -> None:
    """Once, and only where neither the text nor an option names a method."""
    ids = marked(60, stream=Stream.TARGET)
    path = lines(folder / "x.jsonl", {"token_ids": ids}, {"token_ids": ids})
    result = detect(folder, path, "--json")
    assert [f["verdict"] for f in findings(result)] == ["not detected"] * 2
    assert flat(result.stderr) == (
        f"note: assumed: method joint-race, watermark gumbel, prf {PRF.name}, context width 2; the text "
        "names none: pass --method, --watermark, --prf, --context-width as at generation"
    )
    options = ["--watermark", "gumbel", "--prf", PRF.name]
    told = flat(detect(folder, path, *options).stderr)
    assert "assumed: method joint-race, context width 2; the text names none: pass --method, --c" in told
    result = detect(folder, path, "--json", "--method", "two-keys")
    assert [f["verdict"] for f in findings(result)] == ["watermarked"] * 2
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("told", "options", "warning"),
    [
        (("one-race", "gumbel"), ["--method", "basic"], None),
        (("two-keys", "gumbel"), ["--method", "algorithm-1"], None),
        (("basic", "synthid:inf"), ["--watermark", "synthid:30"], None),
        (("standard", "none"), ["--method", "two-keys"], None),
        (("magic", "magic"), ["--method", "basic", "--watermark", "gumbel"], None),
        (
            ("two-keys", "gumbel"),
            ["--method", "one-race"],
            "method two-keys, but one-race is looked for; their watermark cannot be found this way",
        ),
        (
            ("keep-efficiency", "gumbel"),
            ["--method", "two-keys"],
            "method keep-efficiency, but two-keys is looked for; their watermark is read in part",
        ),
        (
            ("basic", "synthid:30"),
            ["--watermark", "gumbel"],
            "watermark synthid:30, but gumbel is looked for; their watermark cannot be found this way",
        ),
        (
            ("basic", "synthid:30"),
            ["--watermark", "synthid:10"],
            "watermark synthid:30, but synthid:10 is looked for; their watermark is read in part",
        ),
        (("basic", "simplexwater:5,sinkhorn=0.1"), ["--watermark", "simplexwater:5"], None),
        (
            ("basic", "heavywater"),
            ["--watermark", "heavywater:gamma"],
            "watermark heavywater, but heavywater:gamma is looked for; their watermark cannot be found",
        ),
        (
            ("basic", "completed:heavywater:gamma,k=9"),
            ["--watermark", "heavywater:gamma,k=9"],
            "but heavywater:gamma,k=9 is looked for; their watermark is read in part",
        ),
        (
            ("basic", "completed:synthid:3"),
            ["--watermark", "gumbel"],
            "but gumbel is looked for; their watermark is read in part",
        ),
    ],
)
def test_another_method_than_the_record_s_is_a_warning(
    folder: Path, told: tuple[str, str], options: list[str], warning: str | None
) -> None:
    run = dict(zip(("method", "watermark"), told, strict=True))
    text = {"token_ids": other(20), "run": run}
    result = detect(folder, lines(folder / "x.jsonl", text, text), *options)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("warning: ") == (warning is not None)
    assert (warning or "") in flat(result.stderr)


def test_prf_and_width_come_from_the_record(folder: Path) -> None:
    key = 0x9E3779B97F4A7C15
    prf = VllmPhilox(key, 2)
    run = {"method": "basic", "watermark": "gumbel", "prf": prf.name, "context_width": 2}
    ids = marked(60, prf)
    path = lines(folder / "x.jsonl", {"token_ids": ids, "run": run | {"key": prf.fingerprint}})
    result = detect(folder, path, "--json", "--key", key, key=False)
    (found,) = findings(result)
    assert result.stderr == ""
    assert (found["verdict"], found["prf"], found["context_width"]) == ("watermarked", prf.name, 2)
    # This format marks the first tokens too.
    assert found["tokens_scored"] == len(Evidence(ids, prf))
    assert Evidence(ids, prf).index[0] == 0
    (folder / "vllm.key").write_text(f"{key:#x}\n")
    again = findings(detect(folder, path, "--json", "--key-file", folder / "vllm.key", key=False))
    assert again == [found]


def test_disagreement_with_the_record_is_a_warning(folder: Path) -> None:
    run = {"prf": PRF.name, "context_width": PRF.context_width, "key": KEY.fingerprint}
    run |= {"method": "one-race", "watermark": "gumbel"}
    text = {"token_ids": marked(60), "run": run}
    path = lines(folder / "x.jsonl", text, text)
    assert detect(folder, path).stderr == ""
    Key(bytes(32)).write(folder / "other")
    result = detect(folder, path, "--json", "--key-file", folder / "other", key=False)
    assert [f["verdict"] for f in findings(result)] == ["not detected"] * 2
    # Once, not once a line.
    assert result.stderr.count("warning: ") == 1
    assert f"key (fingerprint) {KEY.fingerprint}, but {Key(bytes(32)).fingerprint}" in flat(result.stderr)
    result = detect(folder, path, "--json", "--context-width", "3")
    assert [f["context_width"] for f in findings(result)] == [3, 3]
    assert "context_width 2, but 3 is looked for" in flat(result.stderr)
    result = detect(folder, path, "--json", "--prf", "vllm-philox-v1", "--key", "1", key=False)
    assert [f["prf"] for f in findings(result)] == ["vllm-philox-v1"] * 2
    assert f"prf {PRF.name}, but vllm-philox-v1 is looked for" in flat(result.stderr)


def test_key_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lines(folder / "x.jsonl", {"token_ids": marked(40)})
    monkeypatch.setenv("TRADEOFF_KEY", KEY.secret.hex())
    assert findings(detect(folder, path, "--json", key=False))[0]["verdict"] == "watermarked"


def test_no_torch_for_token_ids(folder: Path) -> None:
    """Detection from tokens needs neither PyTorch nor Transformers, nor the folder that runs models."""
    synthid = {"method": "two-keys", "watermark": "synthid:10"}
    path = lines(folder / "x.jsonl", {"token_ids": other(60)}, {"token_ids": other(60), "run": synthid})
    code = (
        "import sys; from tradeoff.cli import app; import tradeoff.detection\n"
        f"app(['detect', {str(path)!r}, '--json', '--key-file', {str(folder / 'key')!r}, '--method', "
        "'two-keys'], standalone_mode=False)\n"
        "print({'torch', 'transformers', 'tradeoff.llm'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [json.loads(line)["detector"] for line in done.stdout.splitlines()] == [
        "sum of both keys",
        "weighted mean of bits",
    ]
    assert done.stderr.strip() == "set()"


def test_a_reader_who_has_seen_enough_is_no_error(folder: Path) -> None:
    path = lines(folder / "x.jsonl", *({"token_ids": []} for _ in range(2000)))
    arguments = [sys.executable, "-m", "tradeoff.cli", "detect", path, "--json", "--key-file", folder / "key"]
    arguments += ["--method", "one-race"]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["verdict"] == "too short"
    child.stdout.close()
    assert child.stderr is not None
    assert child.stderr.read() == ""
    child.stderr.close()
    child.wait()
