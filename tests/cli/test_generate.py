"""`tradeoff generate` and `tradeoff key` as a user runs them, on a tiny model in a folder."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import stat
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tradeoff.cli import app
from tradeoff.cli.generate import _METHOD_HELP, _UNMARKED
from tradeoff.kernels import METHODS
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Stream
from tradeoff.llm.models.probe import Findings
from tradeoff.texts import UNMARKED
from tradeoff.texts.metrics import aatps, interval, log_perplexity
from tradeoff.texts.records import Record

runner = CliRunner()


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """Prompts and a key; the tiny model is beside them."""
    (tmp_path / "prompts.txt").write_text("the man\nand then\n")
    Key(bytes(range(32))).write(tmp_path / "key")
    return tmp_path


def generate(folder: Path, tiny_folder: Path, *options: str, key: bool = True):
    arguments = ["generate", "--prompts", str(folder / "prompts.txt"), "-o", str(folder / "out.jsonl")]
    arguments += ["--target", str(tiny_folder), "--draft", "skip:1", "--max-tokens", "12", "--ignore-eos"]
    arguments += ["--key-file", str(folder / "key")] if key else []
    return runner.invoke(app, [*arguments, *options])


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def contexts(ids: list[int], width: int) -> np.ndarray:
    padded = np.array([-1] * width + ids)
    return np.lib.stride_tricks.sliding_window_view(padded, width)[: len(ids)]


def test_text_is_generated_and_marked(folder: Path, tiny_folder: Path) -> None:
    result = generate(folder, tiny_folder, "--measure", "--max-tokens", "60", "--temperature", "0.9")
    assert result.exit_code == 0, result.output
    assert "2 texts" in result.output
    assert "AATPS" in result.output
    assert "acceptance" in result.output
    assert "at temperature 1" in result.output
    assert "wrote" in result.output.splitlines()[-1]
    first, second = records(folder)
    assert (first["id"], first["prompt"], second["id"]) == ("1", "the man", "2")
    prf = KeyedPrf(Key(bytes(range(32))))
    for record in (first, second):
        assert len(record["token_ids"]) == len(record["sources"]) == 60
        ids = np.array(record["token_ids"])
        race = prf.race(Stream.SHARED, contexts(record["token_ids"], prf.context_width), ids[:, None])[:, 0]
        # Under the key the races are won (Exp(1) would have mean 1).
        assert race[prf.context_width :].mean() < 0.6
        assert record["run"]["key"] == prf.fingerprint
        assert bytes(range(32)).hex() not in json.dumps(record)


def test_one_text_at_a_time_has_a_time_per_token(folder: Path, tiny_folder: Path) -> None:
    result = generate(folder, tiny_folder, "--batch", "1")
    seconds = [record["seconds"] for record in records(folder)]
    printed = float(result.output.split("PTT ")[1].split(" ± ")[0])
    assert printed == pytest.approx(1000 * sum(seconds) / 24, abs=0.06)
    # Texts that shared the machine have none, whatever the batch of the command that finds them finished.
    (folder / "out.jsonl").unlink()
    generate(folder, tiny_folder, "--batch", "2")
    assert "PTT" not in generate(folder, tiny_folder, "--batch", "1").output


def test_same_command_is_a_no_op(folder: Path, tiny_folder: Path) -> None:
    generate(folder, tiny_folder)
    before = (folder / "out.jsonl").read_bytes()
    result = generate(folder, tiny_folder)
    assert result.exit_code == 0
    assert " new" not in result.output
    assert f"nothing to do: all 2 texts are in {folder / 'out.jsonl'}" in result.output
    assert "wrote" not in result.output
    assert (folder / "out.jsonl").read_bytes() == before


def test_options_reach_the_run(folder: Path, tiny_folder: Path) -> None:
    """Every setting of the command line stands in the record."""
    options = (
        "--method two-keys --watermark synthid:7 --context-width 2 --lookahead 2 --temperature 0.8 --top-k 40"
    )
    more = "--top-p 0.9 --max-tokens 6 --seed 5 --dtype float64 --measure --batch 1 --limit 1 --device cpu"
    assert generate(folder, tiny_folder, *options.split(), *more.split()).exit_code == 0
    (record,) = records(folder)
    wanted = {
        "method": "two-keys",
        "watermark": "synthid:7",
        "width": 1,
        "lookahead": 2,
        "context_width": 2,
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.9,
        "max_tokens": 6,
        "ignore_eos": True,
        "seed": 5,
        "dtype": "float64",
        "measured": True,
    }
    assert {name: record["run"][name] for name in wanted} == wanted
    assert record["batch"] == 1


def test_controls_reach_the_run_and_its_records(folder: Path, tiny_folder: Path) -> None:
    options = ["--min-p", "0.01", "--repetition-penalty", "1.2", "--logit-bias", "5=-inf", "--stop", "q"]
    result = generate(folder, tiny_folder, *options, "--max-tokens", "60")
    assert result.exit_code == 0, result.output
    for record in records(folder):
        run = record["run"]
        assert run["min_p"] == 0.01
        assert json.loads(run["controls"]) == {
            "repetition_penalty": 1.2,
            "logit_bias": {"5": -math.inf},
            "stop": ["q"],
        }
        assert 5 not in record["token_ids"]
        # It ends with the token that completes the word, or is as long as can be.
        assert record["text"].count("q") == (record["finish"] == "stop")
        assert record["finish"] == "stop" or len(record["token_ids"]) == 60
    again = generate(folder, tiny_folder, *options, "--max-tokens", "60")
    assert "nothing to do" in again.output
    other = generate(folder, tiny_folder, *options[:-2], "--max-tokens", "60")
    assert other.exit_code == 2


def test_several_texts_of_a_prompt_differ(folder: Path, tiny_folder: Path) -> None:
    result = generate(folder, tiny_folder, "--samples", "3", "--max-tokens", "30")
    assert result.exit_code == 0, result.output
    assert "the first 16 tokens of a text are drawn truly at random" in result.output.replace("\n", " ")
    found = records(folder)
    assert [record["id"] for record in found] == [f"{i}#{j}" for i in (1, 2) for j in (1, 2, 3)]
    assert len({tuple(record["token_ids"]) for record in found}) == 6
    assert all(record["unmarked"] >= 16 and record["run"]["unmarked"] == 16 for record in found)


def test_what_the_model_sets_is_taken_and_told(folder: Path, tiny_folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(tiny_folder, own)
    settings = {"temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.1, "no_repeat_ngram_size": 3}
    (own / "generation_config.json").write_text(json.dumps(settings | {"do_sample": True}))
    result = generate(folder, own, "--top-p", "0.8")
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert "sets temperature 0.6, repetition_penalty 1.1" in told
    assert "no_repeat_ngram_size" in told
    run = records(folder)[0]["run"]
    assert (run["temperature"], run["top_p"]) == (0.6, 0.8)
    assert json.loads(run["controls"]) == {"repetition_penalty": 1.1}


def test_interval_of_aatps_is_printed(folder: Path, tiny_folder: Path) -> None:
    (folder / "prompts.txt").write_text("\n".join(f"the {k} man" for k in range(8)))
    result = generate(folder, tiny_folder, "--max-tokens", "30")
    found = [Record.of_json(record) for record in records(folder)]
    low, high = interval(aatps(found), len(found))
    expected = f"AATPS {aatps(found).value:.3f} (95% interval {max(low, 1):.3f} to {min(high, 4):.3f})"
    assert expected in result.output


def test_equal_prompts_are_told_and_counted_once(folder: Path, tiny_folder: Path) -> None:
    (folder / "prompts.txt").write_text("the man\nand then\nthe man\nthe man\n")
    result = generate(folder, tiny_folder, "--batch", "1")
    words = " ".join(result.output.split())
    assert "note: 2 of 4 prompts are equal to earlier ones and get the same texts as those" in words
    assert "another --seed, into another file, gives other texts" in words
    assert "4 texts (2 distinct)" in words
    first, second, *again = records(folder)
    assert [record["token_ids"] for record in again] == [first["token_ids"]] * 2
    distinct = [Record.of_json(first), Record.of_json(second)]
    perplexity = log_perplexity(distinct)
    assert f"LOGPPL {perplexity.value:.3f} ± {perplexity.standard_error:.3f}" in words
    low, high = interval(aatps(distinct), 2)
    assert f"(95% interval {max(low, 1):.3f} to {min(high, 4):.3f})" in words


def test_one_prompt_is_shown_and_told_how_to_detect(folder: Path, tiny_folder: Path) -> None:
    """Its words alone on standard output, as --json has them; facts beside it."""
    how = ["--target", str(tiny_folder), "--draft", "skip:1", "--max-tokens", "12", "--ignore-eos"]
    how += ["--key-file", str(folder / "key"), "--context-width", "3"]
    shown = runner.invoke(app, ["generate", "the man", *how])
    assert shown.exit_code == 0, shown.output
    told = runner.invoke(app, ["generate", "the man", "--json", *how])
    (record,) = [json.loads(line) for line in told.stdout.splitlines()]
    assert (record["prompt"], len(record["token_ids"])) == ("the man", 12)
    assert shown.stdout == record["text"] + "\n"
    assert "12 tokens" in shown.stderr
    assert "AATPS" in shown.stderr
    words = (
        f"tradeoff detect letter.txt --key-file {folder / 'key'} --context-width 3 --tokenizer {tiny_folder}"
    )
    assert f"to detect it: with the text in letter.txt, {words}" in shown.stderr
    given = runner.invoke(app, ["generate", "-", *how], input="the man\n")
    assert given.stdout == shown.stdout
    quiet = runner.invoke(app, ["generate", "the man", "-q", *how])
    assert quiet.stdout == shown.stdout
    assert "AATPS" not in quiet.stderr
    assert not (folder / "out.jsonl").exists()
    # With a file it is written as well.
    path = folder / "out.jsonl"
    written = runner.invoke(app, ["generate", "the man", *how, "-o", str(path)])
    assert written.stdout == shown.stdout
    assert records(folder)[0]["text"] == record["text"]
    assert f"to detect it: tradeoff detect {path} --key-file" in written.stderr
    assert f"wrote {path}" in written.stderr


def test_prompts_without_a_file_are_shown_by_name(folder: Path, tiny_folder: Path) -> None:
    arguments = ["generate", "--prompts", str(folder / "prompts.txt"), "--target", str(tiny_folder)]
    arguments += ["--draft", "skip:1", "--max-tokens", "4", "--method", "standard"]
    shown = runner.invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("1:\n")
    assert "\n2:\n" in shown.stdout
    assert "to detect it" not in shown.stderr
    told = runner.invoke(app, [*arguments, "--json"])
    assert [json.loads(line)["id"] for line in told.stdout.splitlines()] == ["1", "2"]


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        ([], "", "give either a PROMPT, - for standard input, or --prompts FILE"),
        (["the man", "--prompts", "prompts.txt"], "", "not both"),
        (["  "], "", "PROMPT is empty"),
        (["-"], "\n", "PROMPT is empty"),
        (["-"], b"\xff", "the prompt on standard input is not UTF-8"),
    ],
)
def test_what_is_no_prompt(arguments: list[str], given: str | bytes, words: str) -> None:
    result = runner.invoke(app, ["generate", *arguments, "--method", "standard"], input=given)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_what_tells_equal_prompts_apart_depends_on_the_method(folder: Path, tiny_folder: Path) -> None:
    """A method whose every number is keyed hardly sees the seed."""
    (folder / "prompts.txt").write_text("the man\nthe man\n")
    options = ["--prf", "vllm-philox-v1", "--key", "42"]
    words = " ".join(generate(folder, tiny_folder, *options, key=False).output.split())
    assert "1 of 2 prompts are equal" in words
    assert "another key, into another file, gives other texts" in words
    (folder / "prompts.txt").write_text("the man\nthe  man\n")
    (folder / "out.jsonl").unlink()
    assert "are equal" not in generate(folder, tiny_folder).output


def test_no_speculation_has_no_lookahead(folder: Path, tiny_folder: Path) -> None:
    """What the method does not read does not tell runs apart: the second command is a no-op."""
    for lookahead in ("2", "3"):
        result = generate(folder, tiny_folder, "--method", "basic", "--lookahead", lookahead)
        assert result.exit_code == 0, result.output
    assert " new" not in result.output
    assert records(folder)[0]["run"]["lookahead"] == 0
    assert records(folder)[0]["run"]["draft"] is None


def test_output_must_not_be_the_prompts(folder: Path, tiny_folder: Path) -> None:
    prompts = folder / "prompts.jsonl"
    prompts.write_text('{"id": "a", "prompt": "the man"}')
    result = generate(folder, tiny_folder, "--prompts", str(prompts), "-o", str(prompts))
    assert result.exit_code == 2
    assert "holds the prompts" in result.output.replace("\n", "")
    assert prompts.read_text() == '{"id": "a", "prompt": "the man"}'
    assert generate(folder, tiny_folder, "-o", str(folder)).exit_code == 2


def test_output_must_not_be_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tradeoff.llm.models.pair.load_pair", lambda *_, **__: pytest.fail("a model was loaded")
    )
    result = generate(folder, folder, "-o", str(folder / "key"))
    assert result.exit_code == 2
    assert "holds the key; write the texts to another file" in result.output.replace("\n", "")
    assert Key.read(folder / "key") == Key(bytes(range(32)))


@pytest.fixture
def chat_folder(tiny_folder: Path, make_tokenizer, tmp_path: Path) -> Path:
    """The tiny model with a chat format."""
    folder = tmp_path / "chat-model"
    shutil.copytree(tiny_folder, folder)
    make_tokenizer(
        chat_template="{% for message in messages %}the {{ message['content'] }} {% endfor %}"
    ).save_pretrained(folder)
    return folder


def test_chat_is_not_mixed_with_plain_words(folder: Path, chat_folder: Path) -> None:
    generate(folder, chat_folder)
    before = (folder / "out.jsonl").read_bytes()
    result = generate(folder, chat_folder, "--chat")
    assert result.exit_code == 2
    assert "a text of the prompt '1' with other prompt tokens" in result.output.replace("\n", "")
    assert (folder / "out.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("template", "words", "message"),
    [
        (
            "{{ raise_exception('no system, no service') }}",
            "the man",
            "prompt '1' is not taken by the chat format of this tokenizer (no system, no service); change it"
            ", or run without --chat",
        ),
        (
            "{{ messages[0].content }}</s>",
            "the man</s>and then",
            "prompt '1' holds '</s>', a control token of this tokenizer; leave it out, or run without --chat",
        ),
    ],
    ids=["refused", "forged"],
)
def test_chat_that_cannot_be_is_one_line(
    folder: Path, chat_folder: Path, make_tokenizer, template: str, words: str, message: str
) -> None:
    make_tokenizer(chat_template=template).save_pretrained(chat_folder)
    (folder / "prompts.txt").write_text(f"{words}\n")
    result = generate(folder, chat_folder, "--chat")
    assert result.exit_code == 2
    assert f"error: {message}" in result.output.splitlines()
    assert not (folder / "out.jsonl").exists()


def test_questions_are_meant_for_chat(folder: Path, chat_folder: Path, tiny_folder: Path) -> None:
    hint = "the questions of builtin:question are meant for --chat"
    short = ["--prompts", "builtin:question", "--limit", "1", "--max-tokens", "2"]
    assert hint in generate(folder, chat_folder, *short).output
    (folder / "out.jsonl").unlink()
    assert hint not in generate(folder, chat_folder, *short, "--chat").output
    (folder / "out.jsonl").unlink()
    assert hint not in generate(folder, tiny_folder, *short).output


def test_texts_that_end_at_once_are_counted(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "texts ended before 5 tokens; see --chat, --ignore-eos"
    # A length of one's own choosing is not an end.
    assert words not in generate(folder, tiny_folder, "--max-tokens", "2").output
    lines = records(folder)
    lines[0]["finish"] = "eos"
    (folder / "out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert f"1 of 2 {words}" in generate(folder, tiny_folder, "--max-tokens", "2").output


def test_fewer_prompts_than_the_limit(folder: Path, tiny_folder: Path) -> None:
    prompts, words = folder / "prompts.txt", "prompts.txt has 2 prompts; using all"
    assert words in generate(folder, tiny_folder, "--limit", "1000").output
    assert str(prompts) in generate(folder, tiny_folder, "--limit", "3").output
    assert words not in generate(folder, tiny_folder, "--limit", "2").output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_keeps_its_exit_status(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def stopped(*_):
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr("tradeoff.llm.runs.text_record", stopped)
    # Whoever started the tests in the background may have had SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = generate(folder, tiny_folder)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 128 + number
    assert f"stopped: 0 of 2 texts are in {folder / 'out.jsonl'}; the same command goes on" in result.output


def test_the_help_tells_how_many_tokens_are_unmarked() -> None:
    assert _UNMARKED == UNMARKED


def test_every_method_is_described() -> None:
    assert all(f"{name}: " in _METHOD_HELP or f"{name}, " in _METHOD_HELP for name in METHODS)


def test_vllm_format_with_an_integer_key(folder: Path, tiny_folder: Path) -> None:
    options = ["--prf", "vllm-philox-v1", "--key", "42", "--max-tokens", "60"]
    result = generate(folder, tiny_folder, *options, key=False)
    assert result.exit_code == 0, result.output
    prf = VllmPhilox(42)
    for record in records(folder):
        ids = record["token_ids"]
        race = prf.race(Stream.SHARED, contexts(ids, prf.context_width), np.array(ids)[:, None])[:, 0]
        assert race.mean() < 0.6
        assert record["run"]["key"] == prf.fingerprint


def test_key_file_of_vllm_holds_an_integer(folder: Path, tiny_folder: Path) -> None:
    (folder / "vllm.key").write_text("42\n")
    options = ["--prf", "vllm-philox-v1", "--key-file", str(folder / "vllm.key")]
    assert generate(folder, tiny_folder, *options, key=False).exit_code == 0
    assert records(folder)[0]["run"]["key"] == VllmPhilox(42).fingerprint


def test_key_from_the_environment(folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEOFF_KEY", bytes(range(32)).hex())
    assert generate(folder, tiny_folder, key=False).exit_code == 0
    assert records(folder)[0]["run"]["key"] == Key(bytes(range(32))).fingerprint


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "basic"],
        ["--method", "basic", "--watermark", "none"],
        ["--method", "standard"],
        ["--method", "keep-strength"],
        ["--method", "keep-efficiency"],
        ["--method", "two-keys"],
        ["--method", "algorithm-1", "--watermark", "synthid:30"],
        ["--method", "algorithm-1", "--watermark", "synthid:inf"],
        ["--method", "single-key"],
        ["--method", "one-race-tree", "--width", "3"],
    ],
    ids=" ".join,
)
def test_every_method_runs(folder: Path, tiny_folder: Path, options: list[str]) -> None:
    result = generate(folder, tiny_folder, *options, "--max-tokens", "5", "--lookahead", "2")
    assert result.exit_code == 0, result.output
    run = records(folder)[0]["run"]
    assert run["method"] == options[1]
    assert (run["key"] is None) == (run["watermark"] == "none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "0"], "temperature=0 is greedy decoding"),
        (["--temperature", "-1"], "temperature=-1.0 must be a positive number"),
        (["--top-p", "0"], "top_p=0.0"),
        (["--top-k", "-2"], "top_k=-2"),
        (["--min-p", "2"], "min_p=2.0"),
        (["--repetition-penalty", "0"], "repetition_penalty=0.0 must be a positive number"),
        (["--logit-bias", "x"], "--logit-bias x is not ID=BIAS"),
        (["--logit-bias", "100000=1"], "logit_bias names token 100000, and the vocabulary has tokens"),
        (["--min-tokens", "-1"], "min_tokens=-1"),
        (["--stop", ""], "stop=('',) must be a tuple of strings of one character or more"),
        (["--samples", "0"], "samples=0"),
        (["--unmarked", "-1"], "unmarked=-1"),
        (["--lookahead", "0"], "lookahead=0 must be at least 1"),
        (["--batch", "0"], "batch=0 must be at least 1"),
        (["--max-tokens", "0"], "max_tokens=0"),
        (["--max-tokens", "500"], "beyond the context window"),
        (["--seed", "-1"], "seed=-1"),
        (["--limit", "0"], "limit=0"),
        (["--method", "magic"], "method='magic' is unknown"),
        (["--watermark", "magic"], "watermark='magic' is unknown"),
        (["--method", "standard", "--watermark", "gumbel"], "carries no watermark"),
        (
            ["--method", "one-race", "--watermark", "synthid:30"],
            "method one-race carries gumbel only; pass a method that carries it",
        ),
        (
            ["--method", "joint-race", "--watermark", "heavywater"],
            "watermark='heavywater' does not fit: method joint-race carries gumbel only; pass a method that",
        ),
        (["--method", "joint-race", "--width", "3"], "width=3 is for one-race-tree and joint-race-tree"),
        (["--method", "one-race-tree", "--width", "1000"], "width=1000 candidates a level are more than can"),
        (["--method", "one-race-tree", "--width", "8", "--top-k", "5"], "top_k=5 keeps; pass at most 5"),
        (["--prf", "magic"], "prf='magic' is unknown"),
        (["--prf", "vllm-philox-v1"], "takes the integer master key of vLLM"),
        (["--key", "42"], "--key and --key-file name two keys"),
        (["--context-width", "0"], "context_width=0"),
        (["--draft", "jump"], "jump"),
        (["--dtype", "int8"], "dtype='int8'"),
        (["--chat"], "no chat format"),
        (["--prompts", "gone.txt"], "gone.txt cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_exits_with_status_2(
    folder: Path, tiny_folder: Path, options: list[str], message: str
) -> None:
    result = generate(folder, tiny_folder, *options)
    assert result.exit_code == 2
    assert message in result.output.replace("\n", "")
    assert not (folder / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "TRADEOFF_KEY holds no key; pass --key-file FILE (make one with `tradeoff key new -o FILE`)"),
        (["--key", "42"], "--key takes the integer keys of --prf vllm-philox-v1"),
        (["--prf", "vllm-philox-v1"], "needs the integer key of vLLM"),
        (["--prf", "vllm-philox-v1", "--key", "x"], "is not an integer"),
        (["--prf", "vllm-philox-v1", "--key", str(1 << 64)], "65 bits long"),
        (["--prf", "vllm-philox-v1", "--key", "1", "--method", "algorithm-1"], "acceptance coin"),
        (["--prf", "vllm-philox-v1", "--key", "1", "--alpha", "0.1"], "weighs the keys of"),
        (["--prf", "vllm-philox-v1", "--key", "1", "--method", "basic", "--watermark", "synthid:5"], "bits"),
        (
            ["--prf", "vllm-philox-v1", "--key", "1", "--method", "basic", "--watermark", "heavywater"],
            "side information",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_missing_and_unfit_keys(
    folder: Path, tiny_folder: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any model is loaded."""
    monkeypatch.setattr(
        "tradeoff.llm.models.pair.load_pair", lambda *_, **__: pytest.fail("models were loaded")
    )
    monkeypatch.delenv("TRADEOFF_KEY", raising=False)
    result = generate(folder, tiny_folder, *options, key=False)
    assert result.exit_code == 2
    assert message in result.output.replace("\n", "")


def test_key_new_is_secret_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "k"
    result = runner.invoke(app, ["key", "new", "-o", str(path)])
    assert result.exit_code == 0
    key = Key.read(path)
    assert key.fingerprint in result.output
    assert key.secret.hex() not in result.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = runner.invoke(app, ["key", "new", "-o", str(path)])
    assert again.exit_code == 2
    assert Key.read(path) == key
    named = runner.invoke(app, ["key", "fingerprint", str(path)])
    assert named.output.strip() == key.fingerprint


def test_a_model_that_is_drawn_from_wrongly_is_refused(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the check is switched off, whose help says what is not known then."""
    wrong = Findings(rows="log P is off by 3 nats")
    monkeypatch.setattr("tradeoff.llm.generation.engine.findings", lambda *_: wrong)
    refused = generate(folder, tiny_folder, "--batch", "2")
    assert refused.exit_code == 2
    assert "side by side: log P is off by 3 nats; use --batch 1" in refused.output
    assert generate(folder, tiny_folder, "--batch", "2", "--no-probe").exit_code == 0
