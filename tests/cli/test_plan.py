"""`tradeoff plan`: predictions that agree with simulation, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats
from typer.testing import CliRunner

import tradeoff as td
from tests.helpers.support import ALPHA
from tradeoff.cli import app
from tradeoff.llm import NextTokenPairs, load_pairs, save_pairs

runner = CliRunner()


def plan(*arguments: str, **keywords) -> dict:
    result = runner.invoke(app, ["plan", *arguments, "--json"], **keywords)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def record(ids: list[int], p: float, **run: object) -> str:
    facts = {"token_ids": ids, "log_p": [float(np.log(p))] * len(ids), "run": run}
    return json.dumps(facts) + "\n"


def test_planned_lengths_reach_their_rate_and_not_before(tmp_path: Path) -> None:
    """Simulated texts of n tokens won with probability 0.3 are detected as often as planned."""
    (tmp_path / "texts.jsonl").write_text(record(list(range(100)), 0.3))
    found = plan(str(tmp_path / "texts.jsonl"))
    needed = {row["tpr"]: row["tokens"] for row in found["needed"]}
    assert list(needed) == sorted(needed)
    assert list(needed.values()) == sorted(needed.values())
    rng = np.random.default_rng(5)
    texts = 40_000
    for rate in (0.5, 0.95):
        for tokens, reached in ((needed[rate], True), (needed[rate] - 1, False)):
            # U = exp(-p t), t ~ Exp(1).
            scores = -np.log1p(-np.exp(-0.3 * rng.exponential(size=(texts, tokens)))).sum(axis=1)
            hits = int((scores >= stats.gamma.isf(0.01, tokens)).sum())
            side = stats.binom.cdf(hits, texts, rate) if reached else stats.binom.sf(hits, texts, rate)
            assert side > ALPHA


def test_only_tokens_that_count_make_the_profile(tmp_path: Path) -> None:
    """Repeated contexts, and the first tokens, carry no watermark."""
    ids = [1, 2, 3, 4, 5] * 10
    (tmp_path / "texts.jsonl").write_text(record(ids, 0.3))
    found = plan(str(tmp_path / "texts.jsonl"))
    assert found["share_scored"] == pytest.approx(5 / 50)
    wide = plan(str(tmp_path / "texts.jsonl"), "--context-width", "2")
    assert wide["share_scored"] == pytest.approx(5 / 50)


@pytest.mark.parametrize("width", [1, 2, 9])
def test_the_record_says_how_wide_contexts_are(tmp_path: Path, width: int) -> None:
    """The first tokens have no whole context; every later one of 30 different tokens counts."""
    (tmp_path / "texts.jsonl").write_text(record(list(range(30)), 0.3, context_width=width))
    assert plan(str(tmp_path / "texts.jsonl"))["share_scored"] == pytest.approx((30 - width) / 30)
    other = plan(str(tmp_path / "texts.jsonl"), "--context-width", "5")
    assert other["share_scored"] == pytest.approx(25 / 30)


def test_padded_contexts_count(tmp_path: Path) -> None:
    """vLLM's function watermarks the first tokens too."""
    run = {"prf": "vllm-philox-v1", "context_width": 6}
    (tmp_path / "texts.jsonl").write_text(record(list(range(30)), 0.3, **run))
    assert plan(str(tmp_path / "texts.jsonl"))["share_scored"] == 1


def test_texts_are_read_as_by_detect(tmp_path: Path) -> None:
    """Blank lines, a last line that is still being written, lists, standard input, lines without a text."""
    one, two = record(list(range(50)), 0.2), record(list(range(60)), 0.4)
    (tmp_path / "whole.jsonl").write_text(one + two)
    expected = plan(str(tmp_path / "whole.jsonl"))
    assert expected["profiles"] == 2
    spaced = f"\n{one} \n{two}\n" + '{"note": 1}\n' + two[:40]
    (tmp_path / "spaced.jsonl").write_text(spaced)
    result = runner.invoke(app, ["plan", str(tmp_path / "spaced.jsonl"), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == expected
    assert "line 7 breaks off" in result.stderr
    assert 'line 6 has neither "text" nor "token_ids"' in result.stderr
    (tmp_path / "list.json").write_text(f"[{one}, {two}]")
    assert plan(str(tmp_path / "list.json")) == expected
    assert plan("-", input=one + two) == expected


def test_log_p_may_be_rounded_and_as_small_as_numbers_are(tmp_path: Path) -> None:
    """Above 0 by the rounding of float32, and below what exp can tell from 0."""
    facts = {"token_ids": list(range(60)), "log_p": [1e-7, 0, -0.0, -800.0, -1e300, -5] * 10}
    (tmp_path / "texts.jsonl").write_text(json.dumps(facts))
    assert plan(str(tmp_path / "texts.jsonl"))["needed"][0]["tokens"] <= 10


def test_entropies_stand_for_typical_tokens(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text(record(list(range(80)), float(np.exp(-1.5))))
    by_entropy = plan("--entropy", "1.5")
    by_texts = plan(str(tmp_path / "texts.jsonl"))
    assert by_entropy["needed"] == by_texts["needed"]


def test_entropies_are_not_rounded() -> None:
    """By the normal law of long sums half of texts need 20,500 tokens at 0.0251 nats, 58,000 at 0.0149."""
    for entropy in (0.0251, 0.0149):
        p = np.exp(-entropy)
        # z of 1% over what a token gains; its variance, and the skewness of the sums, make less than 2%.
        normal = (stats.norm.isf(0.01) / (special.digamma(1 + 1 / p) + np.euler_gamma - 1)) ** 2
        found = {row["tpr"]: row["tokens"] for row in plan("--entropy", str(entropy))["needed"]}
        assert found[0.5] == pytest.approx(normal, rel=0.02)


def test_text_without_entropy_is_not_reached() -> None:
    assert {row["tokens"] for row in plan("--entropy", "0")["needed"]} == {None}
    shown = runner.invoke(app, ["plan", "--entropy", "0"])
    assert shown.exit_code == 0
    assert "not reached" in shown.output


def test_table_names_rates_and_profiles(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text(record(list(range(50)), 0.2) + record(list(range(60)), 0.4))
    result = runner.invoke(app, ["plan", str(tmp_path / "texts.jsonl"), "--fpr", "0.001"])
    assert result.exit_code == 0, result.output
    for words in ("95%", "at FPR 0.001", "2 profiles; the first 2 never count", "tokens of text", "1,024"):
        assert words in result.output


@pytest.mark.parametrize("width", [None, 4])
def test_tokens_that_never_count_are_tokens_of_the_text(width: int | None) -> None:
    """By entropies all others count."""
    options = () if width is None else ("--context-width", str(width))
    found, first = plan("--entropy", "1.2", *options), width or 2
    assert found["tokens_that_never_count"] == first
    for row in found["needed"]:
        assert row["text_tokens"] == row["tokens"] + first
    forecast = td.forecast(td.Scheme.of("basic", "gumbel"), entropy=1.2)
    for row in found["lengths"]:
        assert row["tokens"] == row["text_tokens"] - first
        assert row["tpr"] == {
            f"{fpr:g}": pytest.approx(forecast.power(row["tokens"], fpr)) for fpr in (1e-2, 1e-4, 1e-6)
        }
    assert [row["text_tokens"] for row in found["lengths"]] == [32, 64, 128, 256, 512, 1024]


def test_repeated_contexts_are_paid_for(tmp_path: Path) -> None:
    """Of 50 tokens the first 2 never count, and of the other 48 only 5 contexts are new."""
    (tmp_path / "texts.jsonl").write_text(record([1, 2, 3, 4, 5] * 10, 0.1))
    found = plan(str(tmp_path / "texts.jsonl"))
    assert found["share_new"] == pytest.approx(5 / 48)
    for row in found["lengths"]:
        assert row["tokens"] == int((row["text_tokens"] - 2) * 5 / 48)
    for row in found["needed"]:
        # The shortest text of which so many count.
        assert int((row["text_tokens"] - 2) * 5 / 48 + 1e-9) >= row["tokens"]
        assert int((row["text_tokens"] - 3) * 5 / 48 + 1e-9) < row["tokens"]


@pytest.mark.parametrize("watermark", ["gumbel", "synthid:30", "heavywater"])
def test_every_watermark_is_planned_alike(tmp_path: Path, watermark: str) -> None:
    """From texts and from entropies: fewer are found at smaller rates, and more in longer texts."""
    entropies = {"entropy": [1.0] * 60}
    facts = {"token_ids": list(range(60)), "log_p": [-1.0] * 60, "run": {}} | entropies
    (tmp_path / "texts.jsonl").write_text(json.dumps(facts) + "\n")
    by_texts = plan(str(tmp_path / "texts.jsonl"), "--watermark", watermark)
    by_entropy = plan("--entropy", "1", "--watermark", watermark)
    for found in (by_texts, by_entropy):
        assert found["watermark"].startswith(watermark)
        powers = np.array(
            [[row["tpr"][fpr] for fpr in ("0.01", "0.0001", "1e-06")] for row in found["lengths"]]
        )
        assert (np.diff(powers, axis=1) <= 1e-12).all()
        assert (np.diff(powers, axis=0) >= -1e-9).all()
        assert powers[0, 2] < powers[-1, 2]
    for one, other in zip(by_texts["needed"], by_entropy["needed"], strict=True):
        if watermark == "heavywater":
            # A part of the law that texts do not tell of may lie outside the head.
            assert one["tokens"] > other["tokens"]
        else:
            # exp(-1) is not quite the even law of entropy 1, which has a token of what is left.
            assert one["tokens"] == pytest.approx(other["tokens"], abs=2)


def test_tournaments_want_entropies(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text(record(list(range(50)), 0.2))
    result = runner.invoke(app, ["plan", str(tmp_path / "texts.jsonl"), "--watermark", "synthid:30"])
    assert result.exit_code == 2
    assert 'texts.jsonl line 1 has no "entropy" of its 50 tokens' in " ".join(result.output.split())
    facts = json.loads(record(list(range(50)), 0.2)) | {"entropy": [1.0] * 49 + [-1.0]}
    (tmp_path / "texts.jsonl").write_text(json.dumps(facts))
    result = runner.invoke(app, ["plan", str(tmp_path / "texts.jsonl"), "--watermark", "synthid:30"])
    assert result.exit_code == 2
    assert '"entropy" holds -1.0; it must hold numbers of nats' in " ".join(result.output.split())


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two texts of two positions, with a token that is rare under both models."""
    rng = np.random.default_rng(4)
    laws = rng.dirichlet(np.full(8, 0.3), (2, 4))
    laws = np.append(laws, np.full((2, 4, 1), 1e-8), axis=-1)
    log_p = np.log(laws / laws.sum(axis=-1, keepdims=True)).astype(np.float32)
    path = tmp_path_factory.mktemp("pairs") / "pairs.npz"
    sources, texts = np.array(["model"] * 4), np.array([0, 0, 7, 7])
    save_pairs(NextTokenPairs(log_p[0], log_p[1], sources, texts, np.arange(4), {}), path)
    return path


@pytest.mark.parametrize(("method", "temperature"), [(None, None), ("two-keys", "0.7"), ("basic", "1.5")])
def test_pairs_are_planned_by_the_laws_of_the_method(
    pairs: Path, method: str | None, temperature: str | None
) -> None:
    told = ["--method", method] if method else []
    told += ["--temperature", temperature] if temperature else []
    found = plan("--pairs", str(pairs), *told)
    scheme, loaded = td.Scheme.of(method, "gumbel"), load_pairs(pairs)
    laws = []
    for k in range(4):
        p, q = (law[:8] for law in loaded.probabilities(k, float(temperature or 1)))
        kept = (p >= 1e-6) | (q >= 1e-6)
        laws.append((p[kept] / p[kept].sum(), q[kept] / q[kept].sum()))
    forecast = td.forecast(scheme, laws=[laws[:2], laws[2:]])
    assert found["method"] == scheme.method.name
    assert found["profiles"] == 2
    assert {row["tpr"]: row["tokens"] for row in found["needed"]} == {
        rate: forecast.tokens_needed(rate) for rate in (0.5, 0.8, 0.9, 0.95, 0.99)
    }


def test_pairs_say_what_was_left_out(pairs: Path) -> None:
    result = runner.invoke(app, ["plan", "--pairs", str(pairs)])
    assert result.exit_code == 0, result.output
    assert "left out tokens rarer than 1e-06 under both models: at most 0.0% of a law" in result.stderr
    assert "Gumbel-max, joint-race" in result.stdout
    assert "at FPR 0.01" in result.stdout
    cold = runner.invoke(app, ["plan", "--pairs", str(pairs), "--temperature", "0"])
    assert cold.exit_code == 2
    assert "temperature=0.0 must be positive" in cold.stderr


def test_texts_and_entropies_are_planned_without_speculation() -> None:
    assert plan("--entropy", "1", "--method", "basic") == plan("--entropy", "1")
    assert plan("--entropy", "1")["method"] == "basic"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"token_ids": [1, 2, 3, 4, 5, 6]}\n', 'line 1 has no "log_p"; generate with'),
        ('{"text": "a b c d e f", "log_p": [0]}\n', 'line 1 has no "token_ids"; generate with'),
        ('{"token_ids": [1, 2], "log_p": [0.0]}\n', "must be of one length, got 2 and 1"),
        ('{"token_ids": [1, 2], "log_p": {"0": 0}}\n', '"log_p" must be a list of numbers, got {"0": 0}'),
        ("no json\n\n", "line 1 is not JSON"),
        ("", "holds no text"),
        (record([1, 2], 0.5), "holds no text"),
        ('{"token_ids": [], "log_p": []}\n', "holds no text"),
        (record([1] * 9, 0.5, context_width=0), "line 1: context_width=0 must be"),
        (record([1] * 9, 0.5, context_width="2"), 'context_width="2", which is no int'),
        (record([1] * 9, 0.5, prf="magic"), 'line 1: "run" has prf="magic", which is unknown'),
    ],
)
def test_files_without_probabilities_say_how_to_get_them(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "texts.jsonl").write_text(content)
    result = runner.invoke(app, ["plan", str(tmp_path / "texts.jsonl")])
    assert result.exit_code == 2
    output = " ".join(result.output.split())
    assert words in output
    assert "--measure" in output or "run" in content
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "value", ["5", "0.001", "NaN", "Infinity", "-Infinity", '"-1"', "null", "true", "[-1]", f"-{10**400}"]
)
def test_what_is_no_logarithm_of_a_probability_is_named(tmp_path: Path, value: str) -> None:
    """In whichever text, among others that count or not."""
    ids = list(range(9))
    for position in (0, 8):
        log_p = ["-1"] * 9
        log_p[position] = value
        line = f'{{"token_ids": {ids}, "log_p": [{", ".join(log_p)}]}}\n'
        (tmp_path / "texts.jsonl").write_text(record(ids, 0.5) + line)
        result = runner.invoke(app, ["plan", str(tmp_path / "texts.jsonl")])
        assert result.exit_code == 2
        assert f'texts.jsonl line 2: "log_p" holds {value[:30]}' in " ".join(result.output.split())


@pytest.mark.parametrize("value", ["1e30", "-1", "1.7", "9223372036854775808", "true", '"3"', "null", "NaN"])
def test_what_is_no_token_id_is_named(tmp_path: Path, value: str) -> None:
    line = f'{{"token_ids": [1, 2, {value}], "log_p": [-1, -1, -1]}}\n'
    (tmp_path / "texts.jsonl").write_text(record(list(range(9)), 0.5) + line)
    result = runner.invoke(app, ["plan", str(tmp_path / "texts.jsonl")])
    assert result.exit_code == 2
    told = " ".join(result.output.split())
    assert 'texts.jsonl line 2: "token_ids" hold ' in told
    assert "must be integers >= 0" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of the three"),
        (["x.jsonl", "--entropy", "1"], "one of the three"),
        (["--pairs", "x.npz", "--entropy", "1"], "one of the three"),
        (["--pairs", "none-such.npz"], "none-such.npz does not exist"),
        (["--pairs", "x.npz", "--context-width", "3"], "--context-width 3"),
        (["--pairs", "x.npz", "--method", "joint-tournament"], "watermark='gumbel' does not fit"),
        (["--entropy", "1", "--method", "joint"], "--method joint needs the laws of both models"),
        (["x.jsonl", "--temperature", "0.7"], "--temperature 0.7 is of --pairs"),
        (["none-such.jsonl"], "none-such.jsonl does not exist"),
        (["--entropy", "-1"], "entropy=[-1.0] must hold numbers of nats from 0"),
        (["--entropy", "800"], "entropy=[800.0] must hold numbers of nats from 0 to 40"),
        (["--entropy", "nan"], "entropy=[nan] must hold"),
        (["--entropy", "1", "--fpr", "1.5"], "fpr=1.5"),
        (["x.jsonl", "--context-width", "0"], "context_width=0 must be"),
        (["--entropy", "1", "--watermark", "simplexwater"], "has no forecast"),
        (["--entropy", "1", "--watermark", "magic"], "watermark='magic'"),
        (["--pairs", "x.npz", "--watermark", "heavywater"], "has no forecast from --pairs"),
    ],
)
def test_bad_arguments(arguments: list[str], words: str) -> None:
    result = runner.invoke(app, ["plan", *arguments])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
