"""Drafts that are looked up: texts of no speculation, faster where much is said again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.methods import WITHOUT_A_TREE
from tests.helpers.texts import EOS, PRF, VLLM, MakePair, N, contexts_of, essence, generate, some_prompts
from tradeoff.decoders import GumbelMax, Identity
from tradeoff.kernels import (
    Basic,
    JointRace,
    Method,
    OneRaceTree,
    SimulatedRandomness,
    Verify,
)
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.models.ngram import NgramDraft, NgramIndex, parse_ngram
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.run_records import run_settings
from tradeoff.llm.sampling import Sampling


def looked_up(pair: ModelPair, n: int = 1) -> ModelPair:
    """The same target without a draft model."""
    draft = NgramDraft(n)
    return replace(pair, draft=draft, draft_name=draft.name)


def test_what_followed_the_last_time() -> None:
    """By hand: the latest of earlier places counts, the end of the text itself is none."""
    index = NgramIndex(2, [5, 1, 2, 7, 8, 1, 2, 9, 4, 1, 2])
    assert index.following(1) == [9]
    assert index.following(4) == [9, 4, 1, 2]
    assert index.following(6) == [9, 4, 1, 2, 9, 4]
    index.extend([3])
    assert index.following(3) == []
    index.extend([1, 2])
    assert index.following(3) == [3, 1, 2]
    assert NgramIndex(1, [4]).following(2) == []
    assert NgramIndex(1, [4, 4]).following(3) == [4, 4, 4]
    assert NgramIndex(3, [4, 4]).following(3) == []


def test_its_name() -> None:
    assert parse_ngram("builtin") is None
    assert parse_ngram("ngrams/model") is None
    assert parse_ngram("ngram") == NgramDraft()
    assert parse_ngram("ngram:7") == NgramDraft(7)
    for bad in ("ngram:", "ngram:-1", "ngram:two"):
        with pytest.raises(ValueError, match="must name a number of tokens, as ngram:3"):
            parse_ngram(bad)
    with pytest.raises(ValueError, match="draft='ngram:0' must look up at least 1 token"):
        parse_ngram("ngram:0")


@pytest.mark.parametrize("prf", [PRF, VLLM], ids=lambda prf: prf.name)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.6, 6, 0.97)], ids=["plain", "cut"])
@pytest.mark.parametrize("n", [1, 2])
def test_the_joint_race_writes_the_text_of_no_speculation(
    n: int, sampling: Sampling, prf, make_pair: MakePair
) -> None:
    """Token for token, at marked positions and at those that are not: first tokens and repeated contexts."""
    pair = make_pair(N, eos=EOS)
    prompts = some_prompts(9)
    settings = EngineSettings(
        method=JointRace(), prf=prf, sampling=sampling, lookahead=3, max_tokens=30, seed=5, ignore_eos=True
    )
    plain = generate(pair, replace(settings, method=Basic(GumbelMax())), prompts)
    texts = generate(looked_up(pair, n), settings, prompts, batch=4)
    assert {name: text.token_ids for name, text in texts.items()} == {
        name: text.token_ids for name, text in plain.items()
    }
    assert all(text.unmarked == plain[name].unmarked for name, text in texts.items())
    assert any(text.unmarked > prf.context_width for text in texts.values())
    assert sum(sum(text.accepted) for text in texts.values()) > 10
    # Some steps had nothing to look up.
    assert any("b" in text.sources[:2] for text in texts.values())


@pytest.mark.parametrize("method", WITHOUT_A_TREE, ids=lambda m: f"{m.name}-{m.decoder.name}")
def test_no_text_depends_on_its_neighbours(method: Method, make_pair: MakePair) -> None:
    """Rows with many drafts, few and none, side by side and alone; and what is measured of them."""
    pair = looked_up(make_pair(N, eos=EOS))
    settings = EngineSettings(method=method, prf=PRF, lookahead=3, max_tokens=16, seed=1, measure=True)
    prompts = some_prompts(7)
    together = generate(pair, settings, prompts, batch=7)
    for name, text in generate(pair, settings, prompts[::-1], batch=1).items():
        other = together[name]
        assert essence(text) == essence(other)
        assert [value is None for value in text.overlap or ()] == [letter == "b" for letter in text.sources]
        for ours, theirs in ((text.by_token, other.by_token), (text.by_block, other.by_block)):
            assert (ours is None) == (theirs is None) == (not method.full_efficiency)
            np.testing.assert_allclose(ours or [], theirs or [], atol=1e-9)


def test_blocks_of_certain_drafts_are_refused(make_pair: MakePair) -> None:
    settings = EngineSettings(method=JointRace(), prf=PRF, verify=Verify.BLOCK)
    with pytest.raises(ValueError, match="verify='block' accepts no more of the drafts of draft='ngram:1'"):
        Engine(looked_up(make_pair(N)), settings)


@pytest.mark.parametrize("method", WITHOUT_A_TREE, ids=lambda m: f"{m.name}-{m.decoder.name}")
def test_lost_marks_are_told(method: Method, make_pair: MakePair) -> None:
    """In a certain draft the key has no say, so that its number is like any other's unless it decided that
    the draft is emitted: by the mean number of accepted drafts under many keys."""
    said: list[str] = []
    Engine(looked_up(make_pair(N)), EngineSettings(method=method, prf=PRF), 1, said.append, probe=False)
    told = any("reads nothing in accepted drafts" in line for line in said)
    assert told == (method.name in ("keep-efficiency", "two-keys", "algorithm-1", "single-key"))
    if method.decoder != GumbelMax() or method.detection.drafted is None:
        return
    seeds = 40_000
    randomness = SimulatedRandomness(np.random.default_rng(1), (seeds,), 4)
    p, q = (np.broadcast_to(law, (seeds, 4)) for law in ((0.4, 0.1, 0.3, 0.2), (0.0, 0.0, 1.0, 0.0)))
    draft = np.full(seeds, 2)
    accepted = method.accepts(np.ascontiguousarray(p), np.ascontiguousarray(q), draft, randomness)
    stream = method.detection.drafted
    assert stream is not None
    mean = float(np.mean(randomness.race_at(stream, draft)[accepted]))
    # Exp(1) where nothing is said, within 5 standard errors; else the winner's number, which is much smaller.
    lost = abs(mean - 1) < 5 / np.sqrt(accepted.sum())
    assert lost == told


def test_the_mark_is_where_a_detector_looks(make_pair: MakePair) -> None:
    pair = looked_up(make_pair(N))
    settings = EngineSettings(method=JointRace(), prf=PRF, lookahead=4, max_tokens=20, ignore_eos=True)
    for text in generate(pair, settings, some_prompts(6)).values():
        assert text.unmarked == contexts_of(text.token_ids, PRF)[1].sum()


def test_trees_need_laws(make_pair: MakePair) -> None:
    settings = EngineSettings(method=OneRaceTree(width=2), prf=PRF)
    with pytest.raises(ValueError, match="draft='ngram:1' has one candidate a level, and one-race-tree asks"):
        Engine(looked_up(make_pair(N)), settings)


def test_readers_of_laws_need_a_model(make_pair: MakePair) -> None:
    pair = looked_up(make_pair(N))
    with pytest.raises(ValueError, match="draft='ngram:1' has no laws of its own to read"):
        _ = pair.draft_model
    assert "draft ngram:1 (looked up in prompt and text)" in pair.describe()


def test_a_record_names_the_draft_and_the_weights_of_the_target(make_pair: MakePair) -> None:
    pair = looked_up(make_pair(N))
    run = run_settings(pair, EngineSettings(method=JointRace(), prf=PRF))
    assert run.draft == "ngram:1"
    assert run.weights is not None
    assert len(run.weights) == 1
    plain = run_settings(pair, EngineSettings(method=Basic(Identity()), prf=None))
    assert (plain.draft, plain.lookahead) == (None, 0)
