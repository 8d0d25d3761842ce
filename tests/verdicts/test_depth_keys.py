"""Verdicts under depth keys of Transformers' SynthID: what they mean, decoys, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

import tradeoff as td
from tests.helpers.support import ALPHA
from tradeoff.cli import app
from tradeoff.decoders import SynthID, TournamentBits
from tradeoff.keyed import DepthKeys, HfSynthID, KeyProfile
from tradeoff.llm.generation.rows import ContextWindow
from tradeoff.texts import Text
from tradeoff.verdicts import Options, decoys

KEYS = DepthKeys(np.random.default_rng(5).integers(1 << 63, size=8))
SCHEME = td.Scheme.of(None, "synthid:8", prf="hf-synthid")
VOCABULARY = 50
runner = CliRunner()


def written(tokens: int, seed: int = 0, keys: DepthKeys = KEYS) -> list[int]:
    """Ids of a flat model, drawn by the tournament."""
    prf, rng = HfSynthID(keys), np.random.default_rng(seed)
    window, ids = ContextWindow.of(prf, []), []
    for _ in range(tokens):
        contexts = window.ahead([])
        zeta = TournamentBits(lambda k, c=contexts: prf.bits(td.Stream.SHARED, c, np.arange(VOCABULARY), k))
        law = SynthID(prf.rounds)(np.full((1, VOCABULARY), 1 / VOCABULARY), zeta)[0]
        ids.append(int(rng.choice(VOCABULARY, p=law)))
        window.commit([ids[-1]], [contexts[0].tobytes()])
    return ids


@pytest.mark.filterwarnings("ignore:assumed")
def test_keys_alone_say_what_to_look_for():
    found = td.detect(written(60), key=KEYS)
    assert found.scheme == SCHEME
    assert found.log10_p < -6
    assert td.detect(written(60), key=DepthKeys.new(8)).log10_p > -4
    assert td.detect(written(60), key=[DepthKeys.new(5), KEYS, td.Key.new()]).detected
    named = td.KeyFile(KEYS, "theirs", profile=KeyProfile(prf="hf-synthid:skip-first"))
    assert td.detect(written(60), key=named).scheme.prf == "hf-synthid:skip-first"


def test_as_many_keys_as_rounds():
    with pytest.raises(ValueError, match="name synthid:8, or give as many keys"):
        td.Scheme.of(None, "synthid:30", prf="hf-synthid").function(KEYS)
    with pytest.raises(ValueError, match="name synthid:8, or give as many keys"):
        td.detect(written(20), td.Scheme.of(prf="hf-synthid"), KEYS)
    with pytest.raises(ValueError, match="no fixed number of them"):
        td.Scheme.of("basic", "synthid:inf", prf="hf-synthid").function(KEYS)


@pytest.mark.parametrize(
    ("method", "watermark"),
    [("two-keys", "synthid:8"), ("algorithm-1", "synthid:8"), ("joint-race", "gumbel"), ("basic", "kgw:2")],
)
def test_methods_of_other_numbers_are_refused(method, watermark):
    with pytest.raises(
        ValueError,
        match="use the methods basic, keep-strength, target-only or joint-tournament with synthid:M",
    ):
        td.Scheme.of(method, watermark, prf="hf-synthid")


@pytest.mark.parametrize("method", ["basic", "keep-strength", "joint-tournament"])
def test_methods_that_read_one_stream(method):
    scheme = td.Scheme.of(method, "synthid:8", prf="hf-synthid:seed=4294967296,history=7")
    assert scheme.prf == "hf-synthid:history=7"
    assert scheme == td.Scheme.of_dict(scheme.to_dict())
    assert scheme.detector().rounds == 8
    assert scheme.warm_up == 0


def test_sequential_detection_is_refused_by_name():
    with pytest.raises(ValueError, match="leave sequential out"):
        td.detect(written(20), SCHEME, KEYS, sequential=True)


def test_decoys_have_as_many_keys():
    texts = [Text(str(n), "x", f"x line {n}", written(40, n), None) for n in range(5)]
    found = decoys(texts, Options.of(SCHEME), keys=50, real=td.KeyFile(KEYS))
    assert (found.real, found.p) == (5, 1 / 51)
    assert stats.binomtest(int(found.called.sum()), 250, 0.01, "greater").pvalue > ALPHA
    assert decoys(texts, Options.of(SCHEME), keys=3).called.shape == (3,)


def test_without_a_key_it_says_which_is_needed(monkeypatch):
    monkeypatch.delenv("TRADEOFF_KEY", raising=False)
    with pytest.raises(ValueError, match="needs depth keys, one for every round"):
        td.detect([1, 2, 3], SCHEME)
    with pytest.raises(ValueError, match="takes depth keys"):
        td.detect([1, 2, 3], SCHEME, td.Key.new())


def test_commands(tmp_path: Path):
    key, texts = tmp_path / "synthid.key", tmp_path / "texts.jsonl"
    made = runner.invoke(
        app, ["key", "new", "--prf", "hf-synthid", "--watermark", "synthid:8", "-o", str(key)]
    )
    assert made.exit_code == 0, made.output
    held = td.KeyFile.read(key)
    assert isinstance(held.key, DepthKeys)
    assert len(held.key) == 8
    texts.write_text(json.dumps({"id": "a", "token_ids": written(60, keys=held.key)}) + "\n")
    by_file = runner.invoke(app, ["detect", str(texts), "--key-file", str(key), "--json"])
    spelled = ",".join(map(str, held.key.secret))
    by_option = runner.invoke(app, ["detect", str(texts), "--key", spelled, "--json"])
    for result in (by_file, by_option):
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["verdict"] == "watermarked"
        assert (found["prf"], found["key"]) == ("hf-synthid", held.fingerprint)
    # Documents are judged whole.
    assert json.loads(by_file.stdout).get("share") is None
    few = runner.invoke(app, ["detect", str(texts), "--key", "1,2,3", "--json"])
    assert "fewer than 48 bits" in few.stderr.replace("\n", " ")
    none = runner.invoke(app, ["detect", str(texts), "--prf", "hf-synthid"])
    assert none.exit_code != 0
    assert "needs depth keys: --key N,N,..." in none.stderr.replace("\n", " ")
