"""`tradeoff detect` on token ids: verdicts, formats, bad input; no model and no PyTorch."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tradeoff.cli import app
from tradeoff.decoders import SynthID, parse_decoder
from tradeoff.decoders.synthid import TournamentBits
from tradeoff.detection import Aaronson, Evidence, SumOfKeys, WeightedMeanBits, default_detector
from tradeoff.detection.texts import _BLOCK, Broken, Text, read_texts
from tradeoff.files import FileError
from tradeoff.kernels import METHODS, make_method
from tradeoff.keys import Key
from tradeoff.philox import VllmPhilox
from tradeoff.prf import KeyedPrf, Prf, Stream

runner = CliRunner()
KEY = Key(bytes(range(32)))
PRF = KeyedPrf(KEY)
VOCABULARY = 50
FIELDS = {"id": str, "source": str, "verdict": str, "log10_p": float, "tokens": int, "tokens_scored": int}
FIELDS |= {"detector": str, "method": str, "watermark": str, "prf": str, "context_width": int, "key": str}
FIELDS |= {"fpr": float}


def marked(tokens: int, prf: Prf = PRF, stream: Stream = Stream.SHARED, seed: int = 0) -> list[int]:
    """Ids of a flat model of VOCABULARY tokens that won the races of `stream`."""
    rng, width = np.random.default_rng(seed), prf.context_width
    ids: list[int] = []
    seen: set[tuple[int, ...]] = set()
    for position in range(tokens):
        context = tuple(([-1] * width + ids)[-width:])
        free = (position < width and not prf.pads_contexts) or context in seen
        race = prf.race(stream, np.array(context), np.arange(VOCABULARY))
        ids.append(int(rng.integers(VOCABULARY)) if free else int(np.argmin(race)))
        seen.add(context)
    return ids


def other(tokens: int, seed: int = 1) -> list[int]:
    return np.random.default_rng(seed).integers(0, VOCABULARY, tokens).tolist()


def tournament(tokens: int, rounds: int, stream: Stream) -> list[int]:
    """Ids that win tournaments of a flat model."""
    ids: list[int] = other(4)
    flat = np.full(VOCABULARY, 1 / VOCABULARY)
    while len(ids) < tokens:
        bits = PRF.bits(stream, np.array(ids[-4:]), np.arange(VOCABULARY))
        law = SynthID(rounds)(flat, TournamentBits(lambda word, bits=bits: bits))
        ids.append(int(np.argmax(law)))
    return ids


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    KEY.write(tmp_path / "key")
    return tmp_path


def lines(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def detect(folder: Path, *arguments: object, key: bool = True, **keywords):
    named = ["--key-file", str(folder / "key")] if key else []
    return runner.invoke(app, ["detect", *map(str, arguments), *named], **keywords)


def findings(result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def flat(output: str) -> str:
    return output.replace("\n", "")


# The detector of a method


@pytest.mark.parametrize("name", METHODS)
def test_default_detector_of_every_method(name: str) -> None:
    if name == "standard":
        with pytest.raises(ValueError, match="no watermark to detect; name the method"):
            default_detector(make_method(name, parse_decoder("none")))
        return
    two = name in ("two-keys", "algorithm-1")
    stream = Stream.DRAFT if name == "keep-efficiency" else Stream.SHARED
    gumbel = default_detector(make_method(name, parse_decoder("gumbel")))
    assert gumbel == (SumOfKeys() if two else Aaronson(stream))
    if name not in ("single-key", "one-race", "one-race-tree"):
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
        {"id": 7, "token_ids": marked(7)},
        {"id": "none", "token_ids": [], "text": ""},
    )
    found = findings(detect(folder, path, "--json"))
    assert [f["verdict"] for f in found] == ["watermarked", "not detected", "too short", "too short"]
    assert [f["id"] for f in found] == ["a", "2", "7", "none"]
    assert [f["tokens"] for f in found] == [60, 60, 7, 0]
    assert [f["tokens_scored"] for f in found] == [56, 56, 3, 0]
    for f in found:
        assert {name: type(value) for name, value in f.items()} == FIELDS
        assert math.isfinite(f["log10_p"])
        assert f["source"] == str(path)
        assert (f["method"], f["watermark"], f["detector"]) == ("one-race", "gumbel", "Aaronson")
        assert (f["key"], f["prf"], f["context_width"]) == (KEY.fingerprint, PRF.name, 4)
    # Too few tokens for a verdict, but what they say is told.
    assert found[0]["log10_p"] < -20
    assert found[2]["log10_p"] < -1
    assert found[3]["log10_p"] == 0


def test_table_and_closing_line(folder: Path) -> None:
    path = lines(folder / "x.jsonl", {"id": "[red]a", "token_ids": marked(40)}, {"token_ids": other(40)})
    result = detect(folder, path)
    assert result.exit_code == 0
    for word in ("log10 p", "tokens scored", "[red]a", "watermarked", "not detected", "Aaronson"):
        assert word in result.stdout
    assert "2 texts: 1 watermarked, 1 not detected, 0 too short" in result.stdout.splitlines()[-1]
    assert KEY.fingerprint in result.stdout.splitlines()[-1]


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
    run = {"method": method, "watermark": watermark, "prf": PRF.name, "context_width": 4, "key": None}
    tokens = ids()
    path = lines(folder / "x.jsonl", {"token_ids": tokens}, {"token_ids": tokens, "run": run})
    by_option = findings(detect(folder, path, "--json", "--method", method, "--watermark", watermark))
    by_record = findings(detect(folder, path, "--json"))[1]
    assert by_option[0]["verdict"] == "watermarked"
    assert by_option[0]["method"] == method
    assert by_option[0]["watermark"] == watermark
    assert by_record == by_option[1]


def test_records_that_claim_no_watermark(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have a row of their own, for which no key is needed; --method makes them controls."""
    without_tokenizer(monkeypatch)
    monkeypatch.delenv("TRADEOFF_KEY", raising=False)
    run = {"method": "standard", "watermark": "none", "prf": None, "context_width": None, "key": None}
    texts = [{"token_ids": other(60), "run": run | {"method": name}} for name in ("standard", "basic")]
    path = lines(folder / "x.jsonl", *texts)
    for options in ([], ["--prf", PRF.name, "--key-file", folder / "key"]):
        result = detect(folder, path, "--json", "--tokens", *options, key=False)
        found = findings(result)
        assert result.stderr.count("to use it as a control pass --method one-race") == 1
        assert "assumed" not in result.stderr
        assert [f["method"] for f in found] == ["standard", "basic"]
        for f in found:
            assert f.keys() == FIELDS.keys() | {"index", "scores"}
            assert (f["verdict"], f["watermark"]) == ("no watermark claimed", "none")
            assert (f["log10_p"], f["tokens"], f["tokens_scored"]) == (0.0, 60, 0)
            assert f["detector"] is f["prf"] is f["context_width"] is f["key"] is None
            assert f["index"] == f["scores"] == []
    html = folder / "p.html"
    shown = detect(folder, path, "--tokens", "--html", html, key=False)
    assert shown.exit_code == 0
    assert "0 too short, 2 no watermark claimed (false-positive rate 0.01)" in shown.stdout
    assert shown.stdout.count("not scored") == 120
    assert "no watermark claimed" in html.read_text(encoding="utf-8")
    # What to look for: the method decides whether the text is a control.
    (found, _) = findings(detect(folder, path, "--json", "--method", "two-keys"))
    assert (found["verdict"], found["watermark"]) == ("not detected", "gumbel")
    by_watermark = findings(detect(folder, path, "--json", "--watermark", "synthid:9"))
    assert [f["verdict"] for f in by_watermark] == ["no watermark claimed", "not detected"]


def test_what_is_assumed_is_told(folder: Path) -> None:
    """Once, and only where neither the text nor an option names a method."""
    ids = marked(60, stream=Stream.TARGET)
    path = lines(folder / "x.jsonl", {"token_ids": ids}, {"token_ids": ids})
    result = detect(folder, path, "--json")
    assert [f["verdict"] for f in findings(result)] == ["not detected"] * 2
    assert flat(result.stderr) == (
        f"note: assumed: method one-race, watermark gumbel, prf {PRF.name}, context width 4; the text names "
        "none: pass --method, --watermark, --prf, --context-width as at generation"
    )
    options = ["--watermark", "gumbel", "--prf", PRF.name]
    told = flat(detect(folder, path, *options).stderr)
    assert "assumed: method one-race, context width 4; the text names none: pass --method, --c" in told
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
    prf = VllmPhilox(42, 2)
    run = {"method": "basic", "watermark": "gumbel", "prf": prf.name, "context_width": 2}
    ids = marked(60, prf)
    path = lines(folder / "x.jsonl", {"token_ids": ids, "run": run | {"key": prf.fingerprint}})
    result = detect(folder, path, "--json", "--key", "42", key=False)
    (found,) = findings(result)
    assert result.stderr == ""
    assert (found["verdict"], found["prf"], found["context_width"]) == ("watermarked", prf.name, 2)
    # This format marks the first tokens too.
    assert found["tokens_scored"] == len(Evidence(ids, prf))
    assert Evidence(ids, prf).index[0] == 0
    (folder / "vllm.key").write_text("0x2a\n")
    again = findings(detect(folder, path, "--json", "--key-file", folder / "vllm.key", key=False))
    assert again == [found]


def test_disagreement_with_the_record_is_a_warning(folder: Path) -> None:
    run = {"prf": PRF.name, "context_width": 4, "key": KEY.fingerprint}
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
    assert "context_width 4, but 3 is looked for" in flat(result.stderr)
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


# Sources


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


def test_standard_input_of_json_lines(folder: Path) -> None:
    given = f"\n\n  {json.dumps({'token_ids': marked(40)})}\n\n{json.dumps({'token_ids': []})}\n"
    found = findings(detect(folder, "-", "--json", input=given))
    assert [(f["id"], f["source"], f["verdict"]) for f in found] == [
        ("3", "-", "watermarked"),
        ("5", "-", "too short"),
    ]


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


# Views


class Page(HTMLParser):
    """What a browser would see: text and titles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.titles: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        self.titles += [value for name, value in attrs if name == "title"]

    def handle_data(self, data) -> None:
        self.words.append(data)


def without_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the extra `llm`."""
    monkeypatch.setitem(sys.modules, "tradeoff.llm.models", None)


def test_page_is_escaped_and_complete(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_tokenizer(monkeypatch)
    ids = marked(40)
    name = "<script>alert('x')</script>&\x00\x1b[31m"
    two = {"id": "two", "token_ids": ids, "run": {"method": "two-keys", "watermark": "gumbel"}}
    synthid = {"id": "t", "token_ids": ids, "run": {"method": "two-keys", "watermark": "synthid:5"}}
    path = lines(folder / "x.jsonl", {"id": name, "token_ids": ids}, two, synthid)
    html = folder / "new" / "page.html"
    result = detect(folder, path, "--json", "--html", html)
    assert len(findings(result)) == 3
    assert "page.html" in flat(result.stderr)
    assert "tokens are shown as numbers" in flat(result.stderr)
    content = html.read_text(encoding="utf-8")
    page = Page()
    page.feed(content)
    assert page.tags == set(
        ["html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "section", "span"]
    )
    assert "<script>alert('x')</script>&␀␛[31m: watermarked" in page.words
    assert "http" not in content
    assert "prefers-color-scheme: dark" in content
    assert [w for w in page.words if w.startswith("#")] == [f"#{token} " for token in ids] * 3
    assert len(page.titles) == 120
    assert sum(title.startswith("not scored") for title in page.titles) == 12
    assert re.fullmatch(r"score \d+\.\d\d, uniform 0\.\d{4}", page.titles[4])
    assert re.fullmatch(r"score \d+\.\d\d, uniform draft 0\.\d{4}, target 0\.\d{4}", page.titles[44])
    assert re.fullmatch(r"score \d+\.\d\d, ones draft \d of 5, target \d of 5", page.titles[84])
    uniforms = Evidence(ids, PRF).uniform(Stream.SHARED)
    for shade, (low, high) in enumerate(itertools.pairwise((0, 0.5, 0.8, 0.95, 0.99, 1))):
        expected = ((low <= uniforms) & (uniforms < high)).sum()
        assert content.split("</section>")[0].count(f'<span class="s{shade}" title=') == expected


def test_page_can_be_read_in_light_and_dark(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contrast of at least 4.5 between the ink and every shade (WCAG 2)."""
    without_tokenizer(monkeypatch)
    path = lines(folder / "x.jsonl", {"token_ids": other(9)})
    assert detect(folder, path, "--html", folder / "p.html").exit_code == 0
    style = (folder / "p.html").read_text(encoding="utf-8")
    hue = [int(x) for x in re.search(r"--hue: (\d+) (\d+) (\d+)", style).groups()]
    depths = [float(x) for x in re.findall(r"\.s\d \{ background: rgb\(var\(--hue\) / ([\d.]+)\)", style)]
    inks, papers, faints = (re.findall(rf"--{n}: #(\w{{6}})", style) for n in ("ink", "paper", "faint"))
    assert len(depths) == 5
    assert len(inks) == len(papers) == len(faints) == 2

    def luminance(colour: list[float]) -> float:
        linear = [c / 255 / 12.92 if c <= 10.3 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: list[float], b: list[float]) -> float:
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    for ink, paper, faint in zip(inks, papers, faints, strict=True):
        ink, paper, faint = ([int(x[i : i + 2], 16) for i in (0, 2, 4)] for x in (ink, paper, faint))
        assert contrast(faint, paper) >= 4.5
        for depth in depths:
            shade = [depth * h + (1 - depth) * p for h, p in zip(hue, paper, strict=True)]
            assert contrast(ink, shade) >= 4.5


def test_tokens_in_the_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_tokenizer(monkeypatch)
    monkeypatch.setenv("FORCE_COLOR", "1")
    ids = marked(40)
    path = lines(folder / "x.jsonl", {"id": "a\x1b[2J", "token_ids": ids})
    result = detect(folder, path, "--tokens")
    assert result.exit_code == 0
    assert "\x1b[2J" not in result.stdout
    assert "a␛[2J: watermarked" in result.stdout
    # Dim where nothing is scored, bold on blue where it is rare.
    assert result.stdout.count("\x1b[2m#") == 4
    rare = (Evidence(ids, PRF).uniform(Stream.SHARED) >= 0.99).sum()
    assert result.stdout.count("\x1b[1;37;44m#") == rare > 10
    assert result.stdout.count("1 in 100 without a watermark") == 1
    monkeypatch.setenv("NO_COLOR", "1")
    assert "position  token" in detect(folder, path, "--tokens").stdout


def test_tokens_without_colour(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns: nothing of the evidence is lost in a file."""
    without_tokenizer(monkeypatch)
    ids = marked(40)
    result = detect(folder, lines(folder / "x.jsonl", {"id": "a", "token_ids": ids}), "--tokens")
    assert result.exit_code == 0
    assert "a: watermarked\nposition  token" in result.stdout
    rows = [row.split() for row in result.stdout.splitlines() if re.match(r" +\d+  \"", row)]
    assert [int(row[0]) for row in rows] == list(range(40))
    assert [row[1].strip('"') for row in rows] == [f"#{token}" for token in ids]
    evidence = Evidence(ids, PRF)
    scored = [row for row in rows if row[-2:] != ["not", "scored"]]
    assert [int(row[0]) for row in scored] == evidence.index.tolist()
    uniforms = evidence.uniform(Stream.SHARED)
    # The score of Aaronson's test is -log(1 - U), so that one token of 1 / (1 - U) has as much.
    np.testing.assert_allclose([float(row[-1]) for row in scored], 1 / (1 - uniforms), rtol=0.01)
    np.testing.assert_allclose([float(row[-2]) for row in scored], -np.log(1 - uniforms), atol=0.01)


def test_tokens_as_json(folder: Path) -> None:
    ids = marked(40)
    path = lines(folder / "x.jsonl", {"token_ids": ids})
    (found,) = findings(detect(folder, path, "--json", "--tokens"))
    expected = Aaronson().contributions(Evidence(ids, PRF))
    assert found["index"] == Evidence(ids, PRF).index.tolist()
    assert found["scores"] == expected.tolist()
    (bare,) = findings(detect(folder, path, "--json"))
    assert found == bare | {"index": found["index"], "scores": found["scores"]}


def test_page_of_a_failed_command_is_not_left(folder: Path) -> None:
    (folder / "x.jsonl").write_text('{"token_ids": []}\nbroken\n')
    (folder / "p.html").write_text("old")
    assert (
        detect(folder, folder / "x.jsonl", "--html", folder / "p.html", "--tokenizer", "/gone").exit_code == 2
    )
    assert (folder / "p.html").read_text() == "old"
    assert sorted(p.name for p in folder.iterdir()) == ["key", "p.html", "x.jsonl"]


# Bad input


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
            ["--watermark", "synthid:30"],
            "watermark='synthid:30' does not fit: method one-race, which is assumed where none is named, "
            "carries gumbel only; also pass the --method that generated the text: basic, keep-strength, "
            "keep-efficiency, two-keys, algorithm-1",
        ),
        (
            ["--watermark", "synthid:30", "--method", "single-key"],
            "single-key carries gumbel only; pass",
        ),
        (["--prf", "magic"], "prf='magic' is unknown; use one of blake2b"),
        (["--prf", "vllm-philox-v1"], "is not an integer"),
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
        (b'{"token_ids": [], "run": "a"}\n', '"run" must be an object'),
        (b'{"token_ids": [], "run": {"method": 3}}\n', '"run" has method=3, which is no str'),
        (b'{"token_ids": [], "run": {"vocabulary": "x"}}\n', '"run" has vocabulary="x", which is no int'),
        (b'{"token_ids": [], "run": {"method": "magic"}}\n', "line 1: method='magic' is unknown"),
        (b'{"token_ids": [], "run": {"watermark": "magic"}}\n', "line 1: watermark='magic' is unknown"),
        (b'{"token_ids": [], "run": {"prf": "magic"}}\n', "line 1: prf 'magic' is unknown"),
        (b'{"token_ids": [], "run": {"context_width": 0}}\n', "line 1: context_width=0 must be"),
        (
            b'{"token_ids": [7, 8], "run": {"vocabulary": 8}}\n',
            "line 1: token_ids hold 8, but run.vocabulary=8",
        ),
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


def test_what_cannot_be_read_does_not_keep_the_rest(folder: Path) -> None:
    """Every verdict that there is, and exit status 2."""
    (folder / "bad.txt").write_bytes(b"\xe4")
    good = json.dumps({"id": "a", "token_ids": marked(40)})
    record = json.dumps({"token_ids": [1], "run": {"method": "magic"}})
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
        "method='magic' is unk",
    ):
        assert told.count(words) == 1
    # A file of the wrong kind does not fill the screen.
    assert "x.jsonl: 3 more texts cannot be read for such reasons" in told
    assert told.count("error: ") == 6
    result = detect(folder, *sources, "--html", folder / "p.html")
    assert result.exit_code == 2
    assert "2 texts: 2 watermarked" in result.stdout
    assert (folder / "p.html").exists()


def test_other_files_beside_texts_are_warnings(folder: Path) -> None:
    data = folder / "data"
    data.mkdir()
    lines(data / "a.jsonl", {"token_ids": marked(40)})
    lines(data / "a.ptt.jsonl", {"theta": 1}, {"theta": 2}, [3])
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
    monkeypatch.setattr("tradeoff.detection.texts._WHOLE", 20)
    path.write_text(f"{json.dumps(text)}\n{json.dumps(text)}\n")
    assert len(findings(detect(folder, path, "--json"))) == 2
    path.write_text(json.dumps([text, text]))
    assert "has neither" in flat(detect(folder, path).stderr)


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "TRADEOFF_KEY holds no key; pass --key-file FILE (make one with `tradeoff key new"),
        (["--key", "42"], "--key takes the integer keys of --prf vllm-philox-v1"),
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
