"""`tradeoff detect` on words: tokenised again, by the tokenizer of the model that wrote them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import transformers

from tests.helpers.detecting import KEY, PRF, findings, flat, marked, runner, without_tokenizer
from tests.helpers.tiny import VOCABULARY
from tradeoff.cli import app
from tradeoff.decoders import parse_decoder
from tradeoff.detection import (
    Evidence,
    Exactness,
    TokenAware,
    WeightedMeanBits,
    default_detector,
    detect,
    save_token_aware,
)
from tradeoff.kernels import make_method
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Prf
from tradeoff.llm.models.builtin import ModelUnavailableError
from tradeoff.llm.models.loading import load_tokenizer
from tradeoff.texts import reading as texts
from tradeoff.verdicts import result as results

#: Letters that no merge joins, so that their text has one tokenisation; and the blank.
LETTERS = np.array([VOCABULARY.index(letter) for letter in "bcdfgijklmopqrsuvwxyzĠ"])


def marked_ids(tokens: int, seed: int = 0) -> list[int]:
    return marked(tokens, seed=seed, alphabet=LETTERS)


def spelled(ids: list[int]) -> str:
    return "".join(VOCABULARY[i] for i in ids).replace("Ġ", " ")


@pytest.fixture
def folder(tmp_path: Path, tiny_folder: Path) -> Path:
    """A key, and tokenizer files alone."""
    KEY.write(tmp_path / "key")
    (tmp_path / "tokenizer").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_folder / name, tmp_path / "tokenizer")
    return tmp_path


def run(folder: Path, *arguments: object, tokenizer: str | None = "tokenizer", key: bool = True, **keywords):
    options = ["--tokenizer", str(folder / tokenizer)] if tokenizer else []
    options += ["--key-file", str(folder / "key")] if key else []
    return runner.invoke(app, ["detect", *map(str, arguments), *options], **keywords)


VLLM_KEY = 0x9E3779B97F4A7C15
VLLM = ["--prf", "vllm-philox-v1", "--key", str(VLLM_KEY)]


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "basic"],
        ["--method", "basic", "--watermark", "synthid:20"],
        ["--method", "keep-strength"],
        ["--method", "keep-strength", "--watermark", "synthid:inf"],
        ["--method", "keep-efficiency"],
        ["--method", "two-keys"],
        ["--method", "two-keys", "--watermark", "synthid:30"],
        ["--method", "algorithm-1"],
        ["--method", "algorithm-1", "--watermark", "synthid:inf"],
        ["--method", "basic", "--watermark", "heavywater:gamma,k=128"],
        ["--method", "basic", "--watermark", "simplexwater:6,sinkhorn=0.1"],
        ["--method", "algorithm-1", "--watermark", "completed:synthid:4"],
        ["--method", "two-keys", "--watermark", "completed:heavywater:lognormal,k=64"],
        ["--method", "single-key"],
        ["--method", "one-race"],
        ["--method", "one-race-tree", "--width", "3"],
        ["--method", "basic", *VLLM],
        ["--method", "dual-key", "--alpha", "0.3", *VLLM],
        ["--method", "two-keys", *VLLM],
        ["--method", "one-race", "--context-width", "2", *VLLM],
    ],
    ids=" ".join,
)
def test_what_is_generated_is_detected(folder: Path, tiny_folder: Path, options: list[str]) -> None:
    """The records of every method, with nothing but the key."""
    prompts, out = folder / "prompts.txt", folder / "out.jsonl"
    prompts.write_text("the man\nand then\n")
    vllm = "--prf" in options
    key = VLLM[2:] if vllm else ["--key-file", str(folder / "key")]
    made = ["generate", "--prompts", str(prompts), "-o", str(out), "--target", str(tiny_folder)]
    made += ["--draft", "skip:1", "--max-tokens", "110", "--ignore-eos", *options]
    assert runner.invoke(app, [*made, *([] if vllm else key)]).exit_code == 0
    result = run(folder, out, "--json", *key, tokenizer=None, key=False)
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert result.stderr == ""
    for record, found in zip(records, findings(result), strict=True):
        settings = record["run"]
        prf: Prf = (
            VllmPhilox(VLLM_KEY, settings["context_width"])
            if vllm
            else KeyedPrf(KEY, settings["context_width"])
        )
        decoder = parse_decoder(settings["watermark"])
        method = make_method(settings["method"], decoder, alpha=settings.get("alpha"))
        expected = detect(default_detector(method), Evidence(record["token_ids"], prf))
        assert found["verdict"] == "watermarked", found
        assert found["log10_p_whole"] == expected.log10_p
        assert (found["id"], found["method"]) == (record["id"], settings["method"])
        assert (found["key"], found["watermark"]) == (settings["key"], settings["watermark"])
        assert settings["vocabulary"] == len(VOCABULARY)


@pytest.mark.parametrize("tokenizer", ["tokenizer", "tokenizer/tokenizer.json"])
def test_words_give_the_verdict_of_their_tokens(folder: Path, tokenizer: str) -> None:
    ids = marked_ids(80)
    data = folder / "data"
    data.mkdir()
    (data / "a.txt").write_text(spelled(ids))
    (data / "b.md").write_text("the man and then the man")
    lines = [{"id": "ids", "token_ids": ids}, {"id": "words", "text": spelled(ids)}, {"id": "", "text": ""}]
    # Tokens count where a line has both.
    lines += [{"id": "both", "token_ids": [3] * 9, "text": spelled(ids)}]
    (data / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = {f["id"]: f for f in findings(run(folder, data, "--json", tokenizer=tokenizer))}
    assert list(found) == ["a.txt", "b.md", "ids", "words", "", "both"]
    for name in ("a.txt", "words"):
        assert found[name]["verdict"] == "watermarked"
        assert found[name]["log10_p"] == found["ids"]["log10_p"]
        assert found[name]["tokens"] == 80
    assert [found[n]["verdict"] for n in ("b.md", "", "both")] == ["not detected", "too short", "too short"]
    path = folder / "both.jsonl"
    path.write_text(json.dumps(lines[-1]) + "\n")
    (again,) = findings(run(folder, path, "--json", "--retokenize", tokenizer=tokenizer))
    assert again["log10_p"] == found["ids"]["log10_p"]


def test_plain_text_on_standard_input(folder: Path) -> None:
    (found,) = findings(run(folder, "-", "--json", input=spelled(marked_ids(60))))
    assert (found["id"], found["source"], found["verdict"]) == ("-", "-", "watermarked")
    assert findings(run(folder, "-", "--json", input=" \n"))[0]["verdict"] == "too short"


def test_pieces_are_tokenised_as_the_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks are pre-tokenised with the word that follows them: cuts before them cost nothing."""
    words = spelled(marked_ids(4000))
    (folder / "x.txt").write_text(words)
    whole = findings(run(folder, folder / "x.txt", "--json"))
    monkeypatch.setattr(texts, "_BLOCK", 256)
    assert findings(run(folder, folder / "x.txt", "--json")) == whole
    assert whole[0]["tokens"] == 4000


def test_words_in_the_page_and_in_the_terminal(folder: Path) -> None:
    line = {"id": "x", "text": "the <b>man</b> & then\n"}
    (folder / "x.jsonl").write_text(json.dumps(line) + "\n")
    html = folder / "page.html"
    result = run(folder, folder / "x.jsonl", "--tokens", "--html", html)
    assert result.exit_code == 0, result.output
    # Blanks and line ends of a token show.
    assert '  " ' in result.stdout
    assert '"\\n"' in result.stdout
    content = html.read_text(encoding="utf-8")
    assert "<b>" not in content
    for word in ("the", "&lt;", "an", "&amp;"):
        assert f">{word}</span>" in content


def test_characters_of_several_tokens_are_shown_whole(folder: Path) -> None:
    """By the token that completes them; dots stand for those before, and bytes of no character stay."""
    (folder / "x.txt").write_text("né 漢🙂b", encoding="utf-8")
    html = folder / "page.html"
    shown = run(folder, folder / "x.txt", "--tokens", "--html", html)
    words = [line.split('"')[1] for line in shown.stdout.splitlines() if '"' in line]
    assert words == ["n", "·", "é", " ", "·", "·", "漢", "·", "·", "·", "🙂", "b"]
    content = html.read_text(encoding="utf-8")
    assert ">漢</span>" in content
    assert "\ufffd" not in content
    # A first byte without what must follow it, then a letter; and one at the end.
    first = VOCABULARY.index("æ")
    (folder / "x.jsonl").write_text(json.dumps({"token_ids": [first, LETTERS[0].item(), 300, first]}) + "\n")
    shown = run(folder, folder / "x.jsonl", "--tokens")
    words = [line.split('"')[1] for line in shown.stdout.splitlines() if '"' in line]
    assert words == ["·", "\ufffdb", "#300 ", "·"]


def test_blanks_before_words_are_not_shaded(folder: Path) -> None:
    """They may hang over the end of a line."""
    (folder / "x.jsonl").write_text(json.dumps({"text": "an ant  b"}) + "\n")
    assert run(folder, folder / "x.jsonl", "--html", folder / "p.html").exit_code == 0
    content = (folder / "p.html").read_text(encoding="utf-8")
    text = content[content.index('<p class="text">') :].split("</p>")[0]
    assert re.sub("<[^>]*>", "", text) == "an ant  b"
    assert "> </span>" in text


def test_records_of_another_vocabulary(folder: Path) -> None:
    record = {"text": "the man", "token_ids": [260, 300], "run": {"vocabulary": 9999}}
    (folder / "x.jsonl").write_text(json.dumps(record) + "\n")
    read = run(folder, folder / "x.jsonl", "--retokenize", "--json")
    assert findings(read)[0]["tokens"] > 2
    # The record may be false, and takes no verdict away.
    assert f"written with run.vocabulary=9999, but the tokenizer {folder / 'tokenizer'} has" in flat(
        read.stderr
    )
    # Tokens need no tokenizer; only what they spell does.
    assert findings(run(folder, folder / "x.jsonl", "--json"))[0]["tokens"] == 2
    shown = run(folder, folder / "x.jsonl", "--tokens")
    assert shown.exit_code == 0
    assert [f'"#{token} "' in shown.stdout for token in (260, 300)] == [True, True]
    assert "run.vocabulary=9999, but the tokenizer" in flat(shown.stderr)
    # Without a record, ids that the tokenizer has are spelled.
    (folder / "x.jsonl").write_text(json.dumps(record | {"run": None}) + "\n")
    shown = run(folder, folder / "x.jsonl", "--tokens").stdout
    assert '"the"' in shown
    assert '"#300 "' in shown


@pytest.mark.parametrize("more", [-40, -1, 1, 64, 399, 905])
def test_models_with_more_or_fewer_logits_than_tokens(folder: Path, more: int) -> None:
    """Padding (Qwen 2.5 has 399 logits more, phi-2 905), and tokens that were added."""
    ids = marked_ids(60)
    told = {"vocabulary": len(VOCABULARY) + more, "method": "one-race", "watermark": "gumbel"}
    path = folder / "x.jsonl"
    for record in ({"text": spelled(ids)}, {"text": spelled(ids), "token_ids": ids}):
        path.write_text(json.dumps(record | {"run": told}) + "\n")
        (found,) = findings(run(folder, path, "--json", "--retokenize"))
        assert (found["verdict"], found["tokens"]) == ("watermarked", 60)
        shown = run(folder, path, "--tokens", "--retokenize")
        assert "shown as numbers" not in flat(shown.stderr)
        assert '"b"' in shown.stdout


def test_the_tokenizer_of_another_model_is_told_by_the_text(folder: Path) -> None:
    """However many tokens both have: it does not spell the text from its ids."""
    ids = marked_ids(60)
    record = {"text": spelled(ids), "token_ids": [i + 1 for i in ids]}
    path = folder / "x.jsonl"
    path.write_text(json.dumps(record | {"run": {"vocabulary": len(VOCABULARY) + 1}}) + "\n")
    read = run(folder, path, "--retokenize", "--json")
    assert findings(read)[0]["verdict"] == "watermarked"
    assert "pass that model's tokenizer with --tokenizer" in flat(read.stderr)


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        ("gone/away/too", "tokenizer='gone/away/too' does not exist here"),
        ("key", "tokenizer='key' could not be loaded"),
        ("empty", "tokenizer='empty' could not be loaded"),
        ("bad.json", "tokenizer='bad.json' could not be loaded"),
    ],
)
def test_tokenizers_that_are_none(
    folder: Path, tokenizer: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (folder / "empty").mkdir()
    (folder / "bad.json").write_text("{}")
    (folder / "x.txt").write_text("the man")
    result = run(folder, "x.txt", "--tokenizer", tokenizer, tokenizer=None)
    assert result.exit_code == 2
    assert message in flat(result.stderr)
    # Tokens need none for a verdict; that they cannot be spelled with what was named is bad input.
    (folder / "x.jsonl").write_text('{"token_ids": [1]}\n')
    shown = run(folder, "x.jsonl", "--tokens", "--tokenizer", tokenizer, tokenizer=None)
    assert shown.exit_code == 2
    assert '"#1 "' in shown.stdout
    assert "1 text: 0 watermarked" in shown.stdout
    assert "tokens are shown as numbers: " + message in flat(shown.stderr)


def test_texts_that_need_no_tokenizer_are_judged_without_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be had is asked for and told once; where it is needed is bad input."""
    asked = []

    def refused(spec):
        asked.append(spec)
        raise ModelUnavailableError("the network is down")

    monkeypatch.setattr("tradeoff.llm.models.words.load_words", refused)
    (folder / "a.txt").write_text("the man")
    lines = [{"id": "words", "text": "the man"}, {"id": "ids", "token_ids": marked_ids(60)}]
    lines += [{"id": "empty", "text": ""}, {"text": "an ant"}]
    (folder / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run(folder, folder / "a.txt", folder / "b.jsonl", "--json")
    assert result.exit_code == 2
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(f["id"], f["verdict"]) for f in found] == [("ids", "watermarked"), ("empty", "too short")]
    assert flat(result.stderr).count("error: words cannot be tokenised: the network is down") == 1
    assert len(asked) == 1


def test_words_need_the_extra_that_tokenises(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_tokenizer(monkeypatch)
    (folder / "a.txt").write_text("the man")
    (folder / "b.jsonl").write_text(json.dumps({"token_ids": marked_ids(60)}) + "\n")
    result = run(folder, folder / "a.txt", folder / "b.jsonl", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["verdict"] == "watermarked"
    assert "install it with pip install 'tradeoff[llm]'" in flat(result.stderr)


def test_tokenizer_is_loaded_once_and_no_weights_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    original = load_tokenizer

    def counted(spec, **options):
        loaded.append(spec)
        return original(spec, **options)

    monkeypatch.setattr("tradeoff.llm.models.loading.load_tokenizer", counted)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", pytest.fail)
    for name in "ab":
        (folder / f"{name}.txt").write_text("the man")
    assert len(findings(run(folder, folder / "a.txt", folder / "b.txt", "--json"))) == 2
    assert loaded == [str(folder / "tokenizer")]


def test_invalid_utf8(folder: Path) -> None:
    (folder / "x.txt").write_bytes(b"the man\xe4 and")
    result = run(folder, folder / "x.txt")
    assert result.exit_code == 2
    assert "x.txt is not UTF-8: byte 7 " in flat(result.stderr)


def test_builtin_is_the_default_tokenizer(folder: Path, builtin_pair) -> None:
    words = " Naïve words\n\nof two lines"
    (folder / "x.txt").write_text(words, encoding="utf-8")
    (found,) = findings(run(folder, folder / "x.txt", "--json", tokenizer=None))
    assert found["tokens"] == len(builtin_pair.tokenizer(words)["input_ids"])
    (folder / "x.jsonl").write_text(json.dumps({"text": words, "run": {"vocabulary": 49_152}}) + "\n")
    assert findings(run(folder, folder / "x.jsonl", "--json", tokenizer=None))[0]["tokens"] == found["tokens"]


def test_tokenizer_of_a_gguf_file(tiny_gguf: Path) -> None:
    assert load_tokenizer(tiny_gguf, progress=False)("the")["input_ids"] == [260]
    with pytest.raises(ModelUnavailableError, match=r"gone\.gguf' does not exist here"):
        load_tokenizer("gone.gguf")


# Fitted detectors


@pytest.fixture
def fitted(folder: Path) -> Path:
    """A detector of two streams, fitted to two texts for one epoch: it only has to be read."""
    from tradeoff.detection.fixed.bayes import Training, fit_bayes, save_bayes

    evidence = [Evidence(marked_ids(40, seed), PRF) for seed in (0, 1)]
    path = folder / "bayes.safetensors"
    save_bayes(fit_bayes(evidence, 5, "layer", settings=Training(epochs=1)), path)
    return path


def test_fitted_detector(folder: Path, fitted: Path) -> None:
    two = {"method": "two-keys", "watermark": "synthid:5"}
    unmarked = {"method": "standard", "watermark": "none"}
    lines = [{"token_ids": marked_ids(40)}, {"token_ids": marked_ids(40), "run": two}]
    lines += [{"token_ids": marked_ids(40), "run": unmarked}, {"token_ids": []}]
    (folder / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run(folder, folder / "x.jsonl", "--json", "--detector", fitted, "--html", folder / "p.html")
    found = findings(result)
    assert {f["detector"] for f in found} == {"Bayes-Prior (per layer)"}
    assert [f["method"] for f in found] == [None] * 4
    assert len({f["log10_p"] for f in found[:3]}) == 1
    assert all(np.isfinite(f["log10_p"]) for f in found)
    (first,) = folder.glob("p-pages-*/0001.html")
    assert "ones draft" in first.read_text()
    assert findings(run(folder, folder / "x.jsonl", "--json", "--detector", fitted, "--method", "two-keys"))


@pytest.mark.parametrize(
    "told", [{"method": "basic", "watermark": "synthid:5"}, {"method": "two-keys", "watermark": "gumbel"}]
)
def test_detector_of_another_method(folder: Path, fitted: Path, told: dict) -> None:
    (folder / "x.jsonl").write_text(json.dumps({"token_ids": marked_ids(40), "run": told}) + "\n")
    message = "reads SynthID bits of the streams draft, target, but"
    result = run(folder, folder / "x.jsonl", "--detector", fitted, "--json")
    assert len(findings(result)) == 1
    assert message in flat(result.stderr)
    options = [f"--{name}={value}" for name, value in told.items()]
    refused = run(folder, folder / "x.jsonl", "--detector", fitted, *options)
    assert refused.exit_code == 2
    assert message in flat(refused.stderr)


def test_a_fitted_token_aware_detector(folder: Path) -> None:
    """Of several texts each has its own law, and a method that it cannot read is refused."""
    path = folder / "table.json"
    rng = np.random.default_rng(0)
    ids = [rng.integers(60, size=40).tolist() for _ in range(3)]
    p = np.where(np.concatenate(ids) < 30, 0.99, 0.1)
    detector = TokenAware.fit(np.concatenate(ids), p)
    save_token_aware(detector, path)
    (folder / "x.jsonl").write_text("".join(json.dumps({"token_ids": one}) + "\n" for one in ids))
    found = findings(run(folder, folder / "x.jsonl", "--json", "--detector", path))
    assert [one["detector"] for one in found] == ["token-aware likelihood ratio"] * 3
    for one, text in zip(found, ids, strict=True):
        expected = detect(detector, Evidence(text, PRF)).log10_p
        assert one["log10_p_uncorrected"] == pytest.approx(expected, abs=1e-9)
        assert one["segments"] == []
    refused = run(folder, folder / "x.jsonl", "--detector", path, "--method", "two-keys")
    assert refused.exit_code == 2
    assert "reads races of the stream shared, but" in flat(refused.stderr)


def test_log10_p_is_finite_even_where_the_law_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated null law has a largest score; beyond it the p-value is 0, which has no logarithm."""
    monkeypatch.setattr(WeightedMeanBits, "log_p", lambda *_: -np.inf)
    monkeypatch.setattr(WeightedMeanBits, "exactness", Exactness.SIMULATED)
    (folder / "x.jsonl").write_text(json.dumps({"token_ids": marked_ids(40)}) + "\n")
    options = ("--json", "--method", "basic", "--watermark", "synthid:5")
    (found,) = findings(run(folder, folder / "x.jsonl", *options))
    assert (found["verdict"], found["log10_p"]) == ("watermarked", results._LOWEST_LOG10_P)
