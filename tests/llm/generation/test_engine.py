"""The engine: texts that depend on prompt, key, seed and method alone; ends, limits, bad input."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers.texts import (
    EOS,
    PRF,
    VLLM,
    MakePair,
    N,
    contexts_of,
    essence,
    every_case,
    full_logits,
    generate,
    some_prompts,
)
from tradeoff.decoders import Completed, GumbelMax, Identity, SynthID, heavy_water, simplex_water
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    OneRaceTree,
    SingleKey,
    Standard,
    TwoKeys,
)
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Prf
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.models.layer_skip import skip_layers
from tradeoff.llm.sampling import Sampling
from tradeoff.texts.prompts import Prompt


@every_case
def test_texts_do_not_depend_on_batch_size_or_order(case: tuple, make_pair: MakePair) -> None:
    """Batches of 1, 3 and 16, forwards and backwards, give the same tokens, sources and acceptances."""
    method, prf, sampling, lookahead = case
    pair = make_pair(N, eos=EOS)
    settings = EngineSettings(
        method=method, prf=prf, sampling=sampling, lookahead=lookahead, max_tokens=14, seed=1
    )
    prompts = some_prompts(17)
    reference = generate(pair, settings, prompts, batch=16)
    for batch, order in ((1, prompts[4:10]), (3, prompts[::-1])):
        for name, text in generate(pair, settings, order, batch).items():
            assert essence(text) == essence(reference[name])
            np.testing.assert_allclose(text.log_p, reference[name].log_p, atol=1e-9)
    # Otherwise the test would not have seen rows leave at different times.
    assert {text.finish for text in reference.values()} == {"eos", "length"}
    assert len({len(text.token_ids) for text in reference.values()}) > 3
    if settings.drafts:
        assert {a for text in reference.values() for a in text.accepted} >= {0, 1}


@pytest.mark.parametrize("method", [Basic(Identity()), Standard()], ids=lambda method: method.name)
def test_without_a_watermark_the_key_changes_nothing(method: Method, make_pair: MakePair) -> None:
    """With a prf or without one, another key or not: the same tokens; another seed: others."""
    pair = make_pair(N)
    prompts = some_prompts(4)
    settings = EngineSettings(method=method, prf=None, max_tokens=20, ignore_eos=True)
    texts, keyed, seeded = (
        [generate(pair, s, prompts)[prompt.id].token_ids for prompt in prompts]
        for s in (settings, replace(settings, prf=PRF), replace(settings, seed=5))
    )
    assert texts == keyed
    assert all(a != b for a, b in zip(texts, seeded, strict=True))


@pytest.mark.parametrize("prf", [PRF, VLLM], ids=lambda prf: prf.name)
def test_rejected_lookahead_positions_do_not_use_up_contexts(prf: Prf, make_pair: MakePair) -> None:
    """`unmarked` counts what token ids show, however much was looked ahead and thrown away."""
    pair = make_pair(4, seed=5)
    prf = replace(prf, context_width=1)
    prompts = some_prompts(6, n=4)
    for method in (OneRace(), TwoKeys(GumbelMax()), OneRaceTree(width=2)):
        settings = EngineSettings(method=method, prf=prf, lookahead=6, max_tokens=12, ignore_eos=True)
        texts = generate(pair, settings, prompts).values()
        counts = [contexts_of(text.token_ids, prf)[1].sum() for text in texts]
        assert [text.unmarked for text in texts] == counts
        # Most of the look-ahead was thrown away.
        assert sum(sum(text.accepted) for text in texts) < sum(3 * len(text.accepted) for text in texts)


def test_eos_ends_a_text_wherever_it_comes(make_pair: MakePair) -> None:
    """The text goes up to the first end-of-text token, which may be a draft, a replacement or a bonus.

    Going on behind it gives the same beginning.
    """
    pair = make_pair(N, eos=EOS)
    settings = EngineSettings(method=Algorithm1(GumbelMax()), prf=PRF, lookahead=3, max_tokens=25)
    prompts = some_prompts(30)
    short = generate(pair, settings, prompts)
    long = generate(pair, replace(settings, ignore_eos=True), prompts)
    ends = set()
    for name, text in short.items():
        assert EOS not in text.token_ids[:-1]
        assert (text.finish == "eos") == (text.token_ids[-1] == EOS)
        count = len(text.token_ids)
        assert text.token_ids == long[name].token_ids[:count]
        assert (text.sources, text.log_p) == (
            long[name].sources[:count],
            pytest.approx(long[name].log_p[:count]),
        )
        assert len(long[name].token_ids) == 25
        assert long[name].finish == "length"
        if text.finish == "eos":
            ends.add(text.sources[-1])
    assert ends == {"d", "r", "b"}
    assert any(EOS in text.token_ids[:-1] for text in long.values())


def test_several_eos_ids_and_the_tokenizers_own(make_pair: MakePair) -> None:
    """Any id of the target's list ends a text; the tokenizer's counts only if the target names none."""
    settings = EngineSettings(method=Standard(), prf=None, max_tokens=60)
    prompts = some_prompts(12)
    for eos, ends in (([5, 6], {5, 6}), (7, {7}), (None, {2})):
        pair = make_pair(N, eos=eos)
        assert pair.tokenizer.eos_token_id == 2
        texts = generate(pair, settings, prompts).values()
        assert {text.token_ids[-1] for text in texts if text.finish == "eos"} == ends
        assert not any(ends & set(text.token_ids[:-1]) for text in texts)


@pytest.mark.parametrize(
    "method", [Standard(), OneRaceTree(width=3), Basic(GumbelMax())], ids=lambda m: m.name
)
def test_max_tokens_cuts_inside_a_step(method: Method, make_pair: MakePair) -> None:
    """A shorter limit gives the beginning of the longer text, down to one token and with K far beyond."""
    pair = make_pair(N, seed=1)
    settings = EngineSettings(method=method, prf=PRF, lookahead=5, max_tokens=12, ignore_eos=True)
    prompts = some_prompts(6)
    whole = generate(pair, settings, prompts)
    for limit in (1, 2, 3, 7):
        for name, text in generate(pair, replace(settings, max_tokens=limit), prompts).items():
            assert text.token_ids == whole[name].token_ids[:limit]
            assert text.sources == whole[name].sources[:limit]
            assert text.finish == "length"
            assert len(text.log_p) == len(text.log_p_model) == limit


def test_layer_skip_draft_and_padded_logits(make_pair: MakePair) -> None:
    """A draft on the target's weights works; no padded column is ever drawn, on either side."""
    pair = make_pair(N, padding=(0, 40), seed=6)
    pair = replace(pair, draft=skip_layers(pair.target, [1]))
    settings = EngineSettings(method=OneRace(), prf=PRF, max_tokens=30, ignore_eos=True, measure=True)
    texts = generate(pair, settings, some_prompts(10)).values()
    assert {token for text in texts for token in text.token_ids} == set(range(N))
    for text in texts:
        p = torch.softmax(full_logits(pair.target, text), -1).numpy()
        np.testing.assert_allclose(np.exp(text.log_p), p[np.arange(30), text.token_ids], atol=1e-9)


def test_a_draft_that_equals_the_target_is_always_accepted(make_pair: MakePair) -> None:
    """Every step then emits K + 1 tokens."""
    pair = make_pair(N)
    settings = EngineSettings(
        method=OneRace(), prf=PRF, lookahead=4, max_tokens=20, ignore_eos=True, measure=True
    )
    for text in generate(replace(pair, draft=pair.target), settings, some_prompts(5)).values():
        assert (text.accepted, text.sources) == ([4] * 4, "ddddb" * 4)
        assert [value for value in text.overlap if value is not None] == pytest.approx([1.0] * 16)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_implementations_agree(attention: str, make_pair: MakePair) -> None:
    """Eager attention adds its masks where sdpa takes booleans; log P is that of full passes either way."""
    pair = make_pair(N, attention=attention)
    settings = EngineSettings(method=OneRaceTree(width=2), prf=PRF, max_tokens=15, ignore_eos=True)
    for text in generate(pair, settings, some_prompts(5), batch=2).values():
        plain = torch.log_softmax(full_logits(pair.target, text), -1).numpy()
        # Eager attention takes its softmax in float32.
        np.testing.assert_allclose(text.log_p, plain[np.arange(15), text.token_ids], atol=1e-5)


class Scarce:
    """A model's forward on a device that holds `most` rows, from the `first` call on."""

    def __init__(self, forward: Callable, most: int, first: int, error: Exception):
        self.forward, self.most, self.error = forward, most, error
        self.calls = itertools.count()
        self.first = first

    def __call__(self, *args: object, **kwargs: object) -> object:
        if len(kwargs["input_ids"]) > self.most and next(self.calls) >= self.first:
            raise self.error
        return self.forward(*args, **kwargs)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
    ],
    ids=["cuda", "cpu"],
)
@pytest.mark.parametrize(("side", "first"), [("target", 0), ("target", 5), ("draft", 1), ("draft", 12)])
def test_out_of_memory_halves_the_batch(
    side: str, first: int, error: Exception, make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts in progress start again, half as many at a time, and come out the same; the user is told."""
    pair = make_pair(N, eos=EOS)
    settings = EngineSettings(method=TwoKeys(GumbelMax()), prf=PRF, max_tokens=12)
    prompts = some_prompts(9)
    reference = generate(pair, settings, prompts)
    model = getattr(pair, side)
    lines: list[str] = []
    engine = Engine(pair, settings, 8, lines.append)
    monkeypatch.setattr(model, "forward", Scarce(model.forward, 2, first, error))
    texts = list(engine.generate(prompts))
    assert sorted(text.prompt.id for text in texts) == sorted(reference)
    assert all(essence(text) == essence(reference[text.prompt.id]) for text in texts)
    assert engine.batch == 2
    assert lines == [f"out of memory: going on with {batch} texts at a time" for batch in (4, 2)]


def test_out_of_memory_with_a_single_text(make_pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is nothing to halve: the message says what to lower. Other errors pass unchanged."""
    pair = make_pair(N)
    engine = Engine(pair, EngineSettings(method=Standard(), prf=None), 2)
    forward = pair.target.forward
    monkeypatch.setattr(pair.target, "forward", Scarce(forward, 0, 0, torch.OutOfMemoryError("full")))
    with pytest.raises(RuntimeError, match="with a single text; lower max_tokens or lookahead"):
        list(engine.generate(some_prompts(2)))
    monkeypatch.setattr(pair.target, "forward", Scarce(forward, 0, 0, RuntimeError("something else")))
    with pytest.raises(RuntimeError, match="something else"):
        list(engine.generate(some_prompts(2)))


def test_an_engine_can_be_used_again(make_pair: MakePair) -> None:
    """After a warm-up, after a run and after one that was abandoned, texts are the same."""
    pair = make_pair(N, eos=EOS)
    settings = EngineSettings(method=OneRace(), prf=PRF, max_tokens=15)
    prompts = some_prompts(7)
    reference = generate(pair, settings, prompts)
    engine = Engine(pair, settings, 3)
    engine.warm_up(Prompt("warm", "", (3, 1, 4)))
    for _ in range(2):
        next(engine.generate(prompts))
        texts = list(engine.generate(prompts))
        assert len(texts) == len(prompts)
        assert all(essence(text) == essence(reference[text.prompt.id]) for text in texts)
    assert list(engine.generate([])) == []


def test_a_long_text_outgrows_its_first_slots(make_pair: MakePair) -> None:
    """300 positions, in five growths of the cache, and beside short ones: log P is that of a full pass."""
    pair = make_pair(N, positions=400)
    prompts = [Prompt("long", "", (1, 2, 3) * 40), Prompt("short", "", (4,)), Prompt("next", "", (5, 6))]
    settings = EngineSettings(method=OneRaceTree(width=2), prf=PRF, max_tokens=180, ignore_eos=True)
    for text in generate(pair, settings, prompts, batch=2).values():
        plain = torch.log_softmax(full_logits(pair.target, text), -1).numpy()
        np.testing.assert_allclose(text.log_p, plain[np.arange(180), text.token_ids], atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lookahead": 0}, "lookahead=0 must be at least 1 draft token"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"seed": -1}, "seed=-1"),
        ({"prf": None}, "one-race with Gumbel-max needs a key"),
        (
            {"method": OneRaceTree(width=4), "sampling": Sampling(top_k=3)},
            "width=4 candidates a level are more than the tokens that top_k=3 keeps; pass at most 3",
        ),
    ],
)
def test_bad_settings(arguments: dict, message: str) -> None:
    """Values out of range and a watermark without a key are refused by name."""
    with pytest.raises(ValueError, match=message):
        EngineSettings(**{"method": OneRace(), "prf": PRF, **arguments})


def test_a_tree_is_no_wider_than_what_can_be_drawn(make_pair: MakePair) -> None:
    """Neither than the vocabulary nor than what top-k keeps of it; as wide as they are it runs."""
    pair = make_pair(4)
    settings = EngineSettings(method=OneRaceTree(width=5), prf=PRF, max_tokens=4, ignore_eos=True)
    with pytest.raises(ValueError, match="width=5 candidates a level are more than the 4 tokens of the voc"):
        Engine(pair, settings, 1)
    for widest in (
        replace(settings, method=OneRaceTree(width=4)),
        replace(settings, method=OneRaceTree(width=2), sampling=Sampling(top_k=2)),
    ):
        assert all(len(text.token_ids) == 4 for text in generate(pair, widest, some_prompts(2, n=4)).values())


def test_basic_ignores_the_lookahead() -> None:
    """It drafts nothing, so no look-ahead is too short for it."""
    assert not EngineSettings(method=Basic(Identity()), prf=None, lookahead=0).drafts


def test_bad_batch_and_prompts(make_pair: MakePair) -> None:
    """Refused before anything runs; the message names the prompt."""
    pair = make_pair(N, positions=64)
    settings = EngineSettings(
        method=OneRaceTree(width=2), prf=PRF, lookahead=3, max_tokens=20, ignore_eos=True
    )
    with pytest.raises(ValueError, match="batch=0"):
        Engine(pair, settings, 0)
    engine = Engine(pair, settings, 2)
    good = Prompt("good", "", (1, 2))
    with pytest.raises(ValueError, match="prompt 'bare' has no tokens"):
        next(engine.generate([good, Prompt("bare", "", ())]))
    # 41 + 20 and another candidate on 3 levels fill the 64 positions.
    assert len(list(engine.generate([Prompt("fits", "", (1,) * 41)]))) == 1
    with pytest.raises(
        ValueError,
        match=r"prompt 'wide' has 42 tokens; with max_tokens=20 and 3 other candidates of a tree that is 65, "
        "beyond the context window of 64",
    ):
        next(engine.generate([good, Prompt("wide", "", (1,) * 42)]))


@pytest.mark.parametrize(
    "method",
    [
        Algorithm1(GumbelMax()),
        SingleKey(),
        KeepStrength(SynthID(5)),
        KeepStrength(heavy_water()),
        TwoKeys(Completed(simplex_water(4))),
        TwoKeys(Completed(SynthID(5))),
    ],
    ids=lambda method: f"{method.name}, {method.decoder.name}",
)
def test_a_function_that_lacks_what_the_method_reads(method: Method) -> None:
    """vLLM's format has no coin, bits or side information: the error says so before any model is run."""
    with pytest.raises(ValueError, match="vllm-philox-v1 does not define"):
        EngineSettings(method=method, prf=VLLM, max_tokens=3)


@pytest.mark.parametrize(
    ("method", "prf", "seeded"),
    [
        (Standard(), None, True),
        (OneRace(), PRF, True),
        (KeepStrength(GumbelMax()), PRF, True),
        (OneRace(), VLLM, False),
        (OneRaceTree(width=2), VLLM, False),
        (KeepStrength(GumbelMax()), VLLM, False),
        (Basic(GumbelMax()), VLLM, False),
        (TwoKeys(GumbelMax()), VLLM, True),
        (KeepEfficiency(GumbelMax()), VLLM, True),
        (Basic(Identity()), VLLM, True),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_which_texts_follow_the_seed(
    method: Method, prf: Prf | None, seeded: bool, make_pair: MakePair
) -> None:
    """Without a watermark, a full context at the start, or with a random coin that decides: all; else none.

    Three tokens under contexts padded with a different number of PAD, so that none occurs again.
    """
    pair = make_pair(N)
    prompts = some_prompts(12)
    settings = EngineSettings(method=method, prf=prf, max_tokens=3, ignore_eos=True)
    assert settings.seeded == seeded
    texts, others = (
        [generate(pair, s, prompts)[prompt.id].token_ids for prompt in prompts]
        for s in (settings, replace(settings, seed=9))
    )
    assert (texts != others) == seeded


def test_different_keys_and_seeds_give_different_texts(make_pair: MakePair) -> None:
    """A deterministic method follows its key; its unmasked tokens do not follow the seed."""
    pair = make_pair(N)
    prompts = some_prompts(6)
    settings = EngineSettings(method=OneRace(), prf=VLLM, max_tokens=3, ignore_eos=True)
    texts, keyed, seeded = (
        [generate(pair, s, prompts)[prompt.id] for prompt in prompts]
        for s in (settings, replace(settings, prf=VllmPhilox(5, 2)), replace(settings, seed=9))
    )
    assert [text.token_ids for text in texts] != [text.token_ids for text in keyed]
    # Three tokens under contexts padded with a different number of PAD: none is masked.
    assert all(text.unmarked == 0 for text in texts)
    assert [text.token_ids for text in texts] == [text.token_ids for text in seeded]


def test_an_engine_leaves_nothing_behind(make_pair: MakePair) -> None:
    """Keys and values are gone with the engine, and do not wait for the garbage collector: runs of many cells
    make an engine for each."""
    settings = EngineSettings(method=OneRace(), prf=PRF, max_tokens=6)
    engine = Engine(make_pair(N), settings, 3)
    list(engine.generate(some_prompts(5)))
    caches = [weakref.ref(feeder.cache) for feeder in engine._feeders]
    gc.collect()
    gc.disable()
    try:
        del engine
        assert [cache() for cache in caches] == [None, None]
    finally:
        gc.enable()
