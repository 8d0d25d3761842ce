"""The engine: texts that depend on prompt, key, seed and method alone, and records that can be recomputed."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy import stats

from tests.support import ALPHA
from tradeoff.decoders import GumbelMax, Identity, SynthID
from tradeoff.decoders.synthid import TournamentBits
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
    one_race_tree,
)
from tradeoff.keys import Key
from tradeoff.llm.engine import Engine, EngineSettings
from tradeoff.llm.layer_skip import skip_layers
from tradeoff.llm.models import ModelPair
from tradeoff.llm.rows import GeneratedText, Prompt
from tradeoff.llm.sampling import Sampling
from tradeoff.philox import VllmPhilox
from tradeoff.prf import PAD, KeyedPrf, Prf, Stream
from tradeoff.simplex import acceptance_probability, entropy, excess, overlap

N, EOS = 8, 2
MakePair = Callable[..., ModelPair]
INFINITE = SynthID(math.inf)
PRF = KeyedPrf(Key(b"the key of the engine's tests"), 2)
VLLM = VllmPhilox(20240229, 2)
#: (method, prf, sampling, lookahead): every method, both functions, laws cut and whole.
CASES: list[tuple[Method, Prf | None, Sampling, int]] = [
    (Basic(Identity()), None, Sampling(), 1),
    (Basic(GumbelMax()), PRF, Sampling(0.8, 6, 0.98), 1),
    (Basic(INFINITE), PRF, Sampling(), 1),
    (Standard(), None, Sampling(), 3),
    (KeepStrength(GumbelMax()), VLLM, Sampling(), 2),
    (KeepStrength(INFINITE), PRF, Sampling(), 2),
    (KeepStrength(SynthID(5)), PRF, Sampling(1.2, 7), 3),
    (KeepEfficiency(GumbelMax()), PRF, Sampling(), 3),
    (KeepEfficiency(SynthID(5)), PRF, Sampling(), 2),
    (TwoKeys(GumbelMax()), VLLM, Sampling(0.9), 3),
    (TwoKeys(INFINITE), PRF, Sampling(), 2),
    (TwoKeys(SynthID(70)), PRF, Sampling(), 1),
    (Algorithm1(GumbelMax()), PRF, Sampling(top_p=0.95), 4),
    (Algorithm1(INFINITE), PRF, Sampling(), 3),
    (Algorithm1(SynthID(5)), PRF, Sampling(), 2),
    (SingleKey(), PRF, Sampling(), 3),
    (OneRace(), VLLM, Sampling(), 1),
    (OneRace(), PRF, Sampling(1.1, 7, 0.99), 4),
    (OneRaceTree(width=2), PRF, Sampling(), 3),
    (OneRaceTree(width=3), VLLM, Sampling(0.9, 7), 2),
]
every_case = pytest.mark.parametrize(
    "case",
    CASES,
    ids=lambda c: f"{c[0].name}-{c[0].decoder.name}-{c[1].name if c[1] else 'no key'}-K {c[3]}",
)


def some_prompts(count: int, longest: int = 20, n: int = N, seed: int = 0) -> list[Prompt]:
    """Prompts of lengths 1 to `longest`, no two alike."""
    rng = np.random.default_rng(seed)
    lengths = [1, longest, 2, *rng.integers(2, longest + 1, max(0, count - 3))][:count]
    prompts = [tuple(map(int, rng.integers(0, n, length))) for length in lengths]
    return [Prompt(f"p{i}", "", ids) for i, ids in enumerate(prompts)]


def generate(
    pair: ModelPair, settings: EngineSettings, prompts: Sequence[Prompt], batch: int = 8
) -> dict[str, GeneratedText]:
    """Texts by the id of their prompt; each comes once."""
    texts = list(Engine(pair, settings, batch).generate(prompts))
    by_id = {text.prompt.id: text for text in texts}
    assert sorted(by_id) == sorted(prompt.id for prompt in prompts)
    assert len(texts) == len(prompts)
    return by_id


def essence(text: GeneratedText) -> tuple:
    """What must not depend on batches."""
    return text.token_ids, text.sources, text.accepted, text.unmarked, text.finish


@torch.inference_mode()
def full_logits(model: torch.nn.Module, text: GeneratedText) -> torch.Tensor:
    """Logits before every generated token from one pass over the finished text: [T, N]."""
    ids = [*text.prompt.token_ids, *text.token_ids]
    return model(torch.tensor([ids])).logits[0, len(text.prompt.token_ids) - 1 : -1, :N]


def contexts_of(tokens: Sequence[int], prf: Prf) -> tuple[np.ndarray, np.ndarray]:
    """Contexts [T, width] and masks [T] as a detector has them, from token ids alone."""
    width, seen, contexts, masked = prf.context_width, set(), [], []
    line = [PAD] * width + list(tokens)
    for t in range(len(tokens)):
        context = tuple(line[t : t + width])
        masked.append(context in seen or (not prf.pads_contexts and PAD in context))
        seen.add(context)
        contexts.append(context)
    return np.array(contexts).reshape(-1, width), np.array(masked, dtype=bool)


@every_case
def test_texts_do_not_depend_on_batch_size_or_order(case: tuple, make_pair: MakePair) -> None:
    """Batches of 1, 3 and 16, forwards and backwards, give the same tokens, sources and acceptances."""
    method, prf, sampling, lookahead = case
    pair = make_pair(N, eos=EOS)
    settings = EngineSettings(method, prf, sampling, lookahead, max_tokens=14, seed=1)
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


@every_case
def test_records_can_be_recomputed_from_the_finished_text(case: tuple, make_pair: MakePair) -> None:
    """log P, entropy, overlap and efficiency are those of full passes; letters and counts fit together."""
    method, prf, sampling, lookahead = case
    pair = make_pair(N, eos=EOS, padding=(5, 3), seed=1)
    settings = EngineSettings(method, prf, sampling, lookahead, max_tokens=13, measure=True)
    for text in generate(pair, settings, some_prompts(5), batch=3).values():
        rows, tokens = np.arange(len(text.token_ids)), np.array(text.token_ids)
        logits = full_logits(pair.target, text)
        p = sampling.probabilities(logits).numpy()
        q = sampling.probabilities(full_logits(pair.draft, text)).numpy()
        plain = torch.log_softmax(logits, -1).numpy()
        np.testing.assert_allclose(text.log_p, np.log(p[rows, tokens]), atol=1e-9)
        np.testing.assert_allclose(text.log_p_model, plain[rows, tokens], atol=1e-5)
        np.testing.assert_allclose(text.entropy, entropy(p), atol=1e-9)
        # A draft was verified where a draft or its replacement came out.
        verified = np.array([source != "b" for source in text.sources])
        assert [value is not None for value in text.overlap] == verified.tolist()
        expected = method.efficiency(p, q)
        if expected is None:
            assert all(value is None for value in text.efficiency)
            expected, text = overlap(p, q), replace(text, efficiency=text.overlap)
        for recorded, reference in ((text.overlap, overlap(p, q)), (text.efficiency, expected)):
            np.testing.assert_allclose(
                [value for value in recorded if value is not None], reference[verified], atol=1e-9
            )
        check_letters(text, lookahead if settings.drafts else 0, method.width)
        if prf is None:
            assert text.unmarked == len(text.token_ids)
        else:
            assert text.unmarked == contexts_of(text.token_ids, prf)[1].sum()
        json.dumps(asdict(text))


def check_letters(text: GeneratedText, lookahead: int, width: int) -> None:
    """Every step is its accepted drafts and one token more: a bonus if nothing was rejected."""
    letters = ""
    for accepted in text.accepted:
        assert 0 <= accepted <= lookahead
        position = len(letters) + accepted
        ends = "b" if accepted == lookahead else "r"
        # Behind another candidate of a tree comes a bonus token as well.
        if width > 1 and accepted and position < len(text.sources) and text.sources[position] == "b":
            ends = "b"
        letters += "d" * accepted + ends
    assert letters[: len(text.sources)] == text.sources
    # The last step was begun because the text was not finished, and only that one may be cut.
    assert len(letters) - text.accepted[-1] - 1 < len(text.sources) <= len(letters)
    assert len(text.sources) == len(text.token_ids)


def keyed_zeta(prf: Prf, stream: Stream, contexts: np.ndarray, decoder: object) -> object:
    ids = np.arange(N)
    if isinstance(decoder, GumbelMax):
        return prf.race(stream, contexts, ids)
    return TournamentBits(lambda word: prf.bits(stream, contexts, ids, word))


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case[1] is not None and getattr(case[0].decoder, "degenerate", False)],
    ids=lambda c: f"{c[0].name}-{c[0].decoder.name}-{c[1].name}-K {c[3]}",
)
def test_unmasked_tokens_are_functions_of_the_key(case: tuple, make_pair: MakePair) -> None:
    """Each is what the table of methods makes of (P, Q, key, context), all taken from the finished text."""
    method, prf, sampling, lookahead = case
    pair = make_pair(N, seed=2)
    # A short look-ahead, so that enough steps end with a bonus token.
    settings = EngineSettings(method, prf, sampling, min(lookahead, 2), max_tokens=30, ignore_eos=True)
    decoder = method.decoder
    drafted = method.detection.drafted
    bonus = method.detection.bonus
    checked = dict.fromkeys("dbr", 0)
    for text in generate(pair, settings, some_prompts(16), batch=16).values():
        tokens, sources = np.array(text.token_ids), np.array(list(text.sources))
        contexts, masked = contexts_of(text.token_ids, prf)
        p = sampling.probabilities(full_logits(pair.target, text)).numpy()
        q = sampling.probabilities(full_logits(pair.draft, text)).numpy()
        for letter in "dbr":
            here = (sources == letter) & ~masked
            checked[letter] += here.sum()
            if not here.any():
                continue
            if letter == "b":
                zeta = keyed_zeta(prf, bonus, contexts[here], decoder)
                np.testing.assert_array_equal(decoder.token(p[here], zeta), tokens[here])
            else:
                check_verified(
                    method, prf, letter == "d", tokens[here], contexts[here], p[here], q[here], drafted
                )
    assert checked["b"] > 20
    assert not settings.drafts or min(checked.values()) > 20


def check_verified(
    method: Method,
    prf: Prf,
    accepted: bool,
    tokens: np.ndarray,
    contexts: np.ndarray,
    p: np.ndarray,
    q: np.ndarray,
    drafted: Stream,
) -> None:
    """Accepted drafts, or replacements, at positions where the watermark acts."""
    decoder, rows = method.decoder, np.arange(len(tokens))
    zeta = keyed_zeta(prf, drafted, contexts, decoder)
    if isinstance(method, OneRaceTree):
        verdict = one_race_tree(p, q, zeta, method.width)
        np.testing.assert_array_equal(verdict.token, tokens)
        np.testing.assert_array_equal(verdict.rank < method.width, accepted)
        return
    draft = decoder.token(q, zeta)
    ratio = acceptance_probability(p, q)[rows, draft]
    time = zeta[rows, draft] / q[rows, draft] if isinstance(zeta, np.ndarray) else None
    if method.name == "keep-strength":
        np.testing.assert_array_equal(decoder.token(p, zeta), tokens)
        np.testing.assert_array_equal(draft == tokens, accepted)
        return
    if method.detection.coin == "keyed":
        np.testing.assert_array_equal(prf.coin(contexts) < ratio, accepted)
    elif method.detection.coin == "winning time":
        np.testing.assert_array_equal(1 - np.exp(-time) < ratio, accepted)
    if accepted:
        np.testing.assert_array_equal(draft, tokens)
        return
    residual = excess(p, q)
    if method.name in ("single-key", "one-race"):
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient = np.where(residual > 0, (zeta - time[:, None] * q) / residual, np.inf)
        np.testing.assert_array_equal(quotient.argmin(axis=1), tokens)
    elif method.detection.replaced is not None:
        again = keyed_zeta(prf, method.detection.replaced, contexts, decoder)
        np.testing.assert_array_equal(decoder.token(residual, again), tokens)
    else:
        # Truly random: of the residual's support, and not all of them what the key would have chosen.
        assert (residual[rows, tokens] > 0).all()


@pytest.mark.parametrize(
    "method",
    [
        Basic(GumbelMax()),
        KeepStrength(GumbelMax()),
        SingleKey(),
        OneRace(),
        OneRaceTree(width=3),
        KeepEfficiency(GumbelMax()),
        TwoKeys(GumbelMax()),
        Algorithm1(GumbelMax()),
    ],
    ids=lambda method: method.name,
)
def test_a_detector_reads_the_watermark_from_token_ids(method: Method, make_pair: MakePair) -> None:
    """Under the right key and stream the mean race entry is far below 1, under another key it is not.

    The detector knows token ids alone. Streams are told apart by the letters: drafts, replacements, bonus
    tokens.
    """
    n = 30
    pair = make_pair(n, seed=4)
    settings = EngineSettings(method, PRF, max_tokens=60, ignore_eos=True)
    prompts = some_prompts(12, n=n)
    entries: dict[tuple[Stream | None, Stream], dict[tuple, float]] = {}
    wrong: dict[tuple, float] = {}
    for text in generate(pair, settings, prompts, batch=12).values():
        contexts, masked = contexts_of(text.token_ids, PRF)
        for t in np.flatnonzero(~masked):
            # Pairs that several texts share count once, so that the entries are independent.
            at = (*contexts[t].tolist(), text.token_ids[t])
            ids = np.array(at[-1:])
            role = {"d": "drafted", "r": "replaced", "b": "bonus"}[text.sources[t]]
            drawn_by = getattr(method.detection, role)
            for stream in (Stream.SHARED, Stream.DRAFT, Stream.TARGET):
                entries.setdefault((drawn_by, stream), {})[at] = PRF.race(stream, contexts[t], ids)[0]
            other = replace(PRF, key=Key(b"another key altogether"))
            wrong[at] = other.race(Stream.SHARED, contexts[t], ids)[0]

    def p_value(values: dict[tuple, float]) -> float:
        assert len(values) > 20
        return stats.gamma(len(values)).cdf(sum(values.values()))

    for (drawn_by, stream), values in entries.items():
        if drawn_by is None and stream == method.detection.drafted:
            # A random replacement: it lost the race under the draft's stream, so its entries are larger
            # than those of the null law, if only a little.
            assert p_value(values) > ALPHA
        elif stream == drawn_by:
            assert p_value(values) < 1e-12
        else:
            # One-sided on purpose: tokens that another stream chose have entries of the null law there.
            assert ALPHA < p_value(values) < 1 - ALPHA
    assert ALPHA < p_value(wrong) < 1 - ALPHA


@pytest.mark.parametrize("method", [Basic(Identity()), Standard()], ids=lambda method: method.name)
def test_without_a_watermark_the_key_changes_nothing(method: Method, make_pair: MakePair) -> None:
    """With a prf or without one, another key or not: the same tokens; another seed: others."""
    pair = make_pair(N)
    prompts = some_prompts(4)
    settings = EngineSettings(method, None, max_tokens=20, ignore_eos=True)
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
        settings = EngineSettings(method, prf, lookahead=6, max_tokens=12, ignore_eos=True)
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
    settings = EngineSettings(Algorithm1(GumbelMax()), PRF, lookahead=3, max_tokens=25)
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
    settings = EngineSettings(Standard(), None, max_tokens=60)
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
    settings = EngineSettings(method, PRF, lookahead=5, max_tokens=12, ignore_eos=True)
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
    settings = EngineSettings(OneRace(), PRF, max_tokens=30, ignore_eos=True, measure=True)
    texts = generate(pair, settings, some_prompts(10)).values()
    assert {token for text in texts for token in text.token_ids} == set(range(N))
    for text in texts:
        p = torch.softmax(full_logits(pair.target, text), -1).numpy()
        np.testing.assert_allclose(np.exp(text.log_p), p[np.arange(30), text.token_ids], atol=1e-9)


def test_a_draft_that_equals_the_target_is_always_accepted(make_pair: MakePair) -> None:
    """Every step then emits K + 1 tokens."""
    pair = make_pair(N)
    settings = EngineSettings(OneRace(), PRF, lookahead=4, max_tokens=20, ignore_eos=True, measure=True)
    for text in generate(replace(pair, draft=pair.target), settings, some_prompts(5)).values():
        assert (text.accepted, text.sources) == ([4] * 4, "ddddb" * 4)
        assert [value for value in text.overlap if value is not None] == pytest.approx([1.0] * 16)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_implementations_agree(attention: str, make_pair: MakePair) -> None:
    """Eager attention adds its masks where sdpa takes booleans; log P is that of full passes either way."""
    pair = make_pair(N, attention=attention)
    settings = EngineSettings(OneRaceTree(width=2), PRF, max_tokens=15, ignore_eos=True)
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
@pytest.mark.parametrize(("side", "first"), [("target", 0), ("target", 7), ("draft", 1), ("draft", 12)])
def test_out_of_memory_halves_the_batch(
    side: str, first: int, error: Exception, make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts in progress start again, half as many at a time, and come out the same; the user is told."""
    pair = make_pair(N, eos=EOS)
    settings = EngineSettings(TwoKeys(GumbelMax()), PRF, max_tokens=12)
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
    engine = Engine(pair, EngineSettings(Standard(), None), 2)
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
    settings = EngineSettings(OneRace(), PRF, max_tokens=15)
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
    settings = EngineSettings(OneRaceTree(width=2), PRF, max_tokens=180, ignore_eos=True)
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
    ],
)
def test_bad_settings(arguments: dict, message: str) -> None:
    """Values out of range and a watermark without a key are refused by name."""
    with pytest.raises(ValueError, match=message):
        EngineSettings(**{"method": OneRace(), "prf": PRF, **arguments})


def test_basic_ignores_the_lookahead() -> None:
    """It drafts nothing, so no look-ahead is too short for it."""
    assert not EngineSettings(Basic(Identity()), None, lookahead=0).drafts


def test_bad_batch_and_prompts(make_pair: MakePair) -> None:
    """Refused before anything runs; the message names the prompt."""
    pair = make_pair(N, positions=64)
    settings = EngineSettings(OneRaceTree(width=2), PRF, lookahead=3, max_tokens=20, ignore_eos=True)
    with pytest.raises(ValueError, match="batch=0"):
        Engine(pair, settings, 0)
    engine = Engine(pair, settings, 2)
    good = Prompt("good", "", (1, 2))
    with pytest.raises(ValueError, match="prompt 'bare' has no tokens"):
        next(engine.generate([good, Prompt("bare", "", ())]))
    # 38 + 20 + 3 levels of 2 candidates fill the 64 positions.
    assert len(list(engine.generate([Prompt("fits", "", (1,) * 38)]))) == 1
    with pytest.raises(
        ValueError, match=r"prompt 'wide' has 39 tokens.* 65, beyond the context window of 64"
    ):
        next(engine.generate([good, Prompt("wide", "", (1,) * 39)]))


@pytest.mark.parametrize(
    "method", [Algorithm1(GumbelMax()), SingleKey(), KeepStrength(SynthID(5))], ids=lambda method: method.name
)
def test_a_function_that_lacks_what_the_method_reads(method: Method) -> None:
    """vLLM's format has no coin and no bits: the error says so before any model is run."""
    with pytest.raises(ValueError, match="vllm-philox-v1 does not define"):
        EngineSettings(method, VLLM, max_tokens=3)


def test_different_keys_and_seeds_give_different_texts(make_pair: MakePair) -> None:
    """A deterministic method follows its key; its unmasked tokens do not follow the seed."""
    pair = make_pair(N)
    prompts = some_prompts(6)
    settings = EngineSettings(OneRace(), VLLM, max_tokens=3, ignore_eos=True)
    texts, keyed, seeded = (
        [generate(pair, s, prompts)[prompt.id] for prompt in prompts]
        for s in (settings, replace(settings, prf=VllmPhilox(5, 2)), replace(settings, seed=9))
    )
    assert [text.token_ids for text in texts] != [text.token_ids for text in keyed]
    # Three tokens under contexts padded with a different number of PAD: none is masked.
    assert all(text.unmarked == 0 for text in texts)
    assert [text.token_ids for text in texts] == [text.token_ids for text in seeded]
