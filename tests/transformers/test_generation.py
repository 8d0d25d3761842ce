"""`model.generate(custom_generate=watermarked(...))` writes what the engine writes, and refuses the rest."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import (
    LogitNormalization,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    SynthIDTextWatermarkingConfig,
    T5Config,
    T5ForConditionalGeneration,
    TextStreamer,
    WatermarkingConfig,
)

import tradeoff as td
from tests.helpers.support import ALPHA, chi_square_p
from tests.helpers.texts import MakePair
from tradeoff.detection import Evidence, detect
from tradeoff.keyed import DepthKeys
from tradeoff.llm import Controls, Engine, EngineSettings, Sampling
from tradeoff.scheme import Scheme
from tradeoff.texts import Prompt
from tradeoff.transformers import watermarked
from tradeoff.verdicts import ForeignConfig

N, KEY = 32, td.Key(bytes(range(16)))
ROWS = [[5, 9, 3, 17, 8], [4, 11], [30, 2, 6, 6, 1, 12, 20]]
QUIET = {"do_sample": True, "top_k": 0, "pad_token_id": 0}


@pytest.fixture(scope="module")
def pair(make_pair: MakePair):
    return make_pair(N)


def padded(rows: list[list[int]] = ROWS) -> dict[str, torch.Tensor]:
    """Inputs with padding on the left, as a tokenizer makes them."""
    longest = max(map(len, rows))
    ids = [[0] * (longest - len(row)) + row for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def by_generate(pair, mark, rows=ROWS, **arguments) -> list[list[int]]:
    """Texts of `model.generate`, without prompts."""
    inputs = padded(rows)
    found = pair.target.generate(**inputs, **(QUIET | arguments), custom_generate=mark)
    return found[:, inputs["input_ids"].shape[1] :].tolist()


def by_engine(pair, scheme: Scheme, rows=ROWS, **settings) -> list[list[int]]:
    prompts = [Prompt(str(i), "", tuple(row)) for i, row in enumerate(rows)]
    given = {"max_tokens": 20, "seed": 3, "ignore_eos": True} | settings
    engine = Engine(
        pair, EngineSettings(method=scheme.method, prf=scheme.function(KEY), **given), len(rows), probe=False
    )
    return [text.token_ids for text in sorted(engine.generate(prompts), key=lambda text: text.prompt.id)]


@pytest.mark.parametrize("method", ["joint-race", "joint-race-tree", "two-keys", "algorithm-1", "basic"])
@pytest.mark.parametrize(
    ("sampling", "arguments"),
    [
        (Sampling(), {}),
        (
            Sampling(0.8, 12, 0.9, 0.02),
            {"temperature": 0.8, "top_k": 12, "top_p": 0.9, "min_p": 0.02},
        ),
    ],
    ids=["plain", "cut"],
)
def test_texts_are_those_of_the_engine(pair, method: str, sampling: Sampling, arguments: dict) -> None:
    """With prompts of unequal lengths, token for token."""
    scheme = Scheme.of(method)
    mark = watermarked(KEY, method, seed=3, probe=False)
    texts = by_generate(pair, mark, assistant_model=pair.draft, max_new_tokens=20, **arguments)
    assert texts == by_engine(pair, scheme, sampling=sampling)
    assert [text.token_ids for text in mark.texts] == texts
    assert any("d" in text.sources for text in mark.texts) == (method != "basic")


def test_the_assistant_and_the_streamer_reach_the_engine_either_way(pair) -> None:
    class Shown(TextStreamer):
        def __init__(self) -> None:
            self.got: list[list[int]] = []
            self.ended = False

        def put(self, value: torch.Tensor) -> None:
            self.got.append(value.flatten().tolist())

        def end(self) -> None:
            self.ended = True

    row = ROWS[:1]
    by_call, by_mark = Shown(), Shown()
    first = by_generate(
        pair,
        watermarked(KEY, seed=3, probe=False),
        row,
        assistant_model=pair.draft,
        streamer=by_call,
        max_new_tokens=20,
    )
    mark = watermarked(KEY, seed=3, assistant_model=pair.draft, streamer=by_mark, probe=False)
    assert first == by_generate(pair, mark, row, max_new_tokens=20)
    for shown in (by_call, by_mark):
        assert shown.ended
        assert shown.got[0] == row[0]
        assert [token for part in shown.got[1:] for token in part] == first[0]
    # Several tokens come at once where drafts were accepted.
    assert max(map(len, by_call.got[1:])) > 1


def test_several_answers_differ_behind_an_unmarked_beginning(pair) -> None:
    mark = watermarked(KEY, "joint-race", seed=3, assistant_model=pair.draft, probe=False)
    texts = by_generate(pair, mark, num_return_sequences=4, max_new_tokens=24)
    assert len(texts) == 4 * len(ROWS)
    assert len(set(map(tuple, texts))) == len(texts)
    assert all(text.unmarked >= 16 for text in mark.texts)
    # One answer each is marked from its beginning on.
    alone = watermarked(KEY, "joint-race", seed=3, assistant_model=pair.draft, probe=False)
    by_generate(pair, alone, max_new_tokens=24)
    assert all(text.unmarked < 24 for text in alone.texts)
    assert [text.prompt.sample for text in mark.texts] == [0, 1, 2, 3] * len(ROWS)


class Ban(LogitsProcessor):
    """No even token behind an odd one."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        odd = (input_ids[:, -1:] % 2).bool()
        even = torch.arange(scores.shape[-1])[None] % 2 == 0
        return scores.masked_fill(odd & even, -torch.inf)


class EndsWithSeven(StoppingCriteria):
    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        return input_ids[:, -1] == 7


@pytest.mark.parametrize("method", ["joint-race", "joint-race-tree"])
def test_processors_see_the_drafted_text_in_front(pair, method: str) -> None:
    """What the processor forbids never comes, whether drafted, replaced or added."""
    mark = watermarked(KEY, method, seed=1, assistant_model=pair.draft, lookahead=4, probe=False)
    given = LogitsProcessorList([Ban()])
    texts = by_generate(pair, mark, max_new_tokens=80, logits_processor=given)
    for row, text in zip(ROWS, texts, strict=True):
        line = np.array([row[-1], *text])
        assert not ((line[:-1] % 2 == 1) & (line[1:] % 2 == 0)).any()
    assert {source for text in mark.texts for source in text.sources} == set("drb")


def test_criteria_end_texts_within_a_step(pair) -> None:
    """At the first token that ends it, also where more were accepted in the same step."""
    mark = watermarked(KEY, "joint-race", seed=1, assistant_model=pair.draft, lookahead=4, probe=False)
    given = StoppingCriteriaList([EndsWithSeven()])
    whole = by_generate(
        pair,
        watermarked(KEY, "joint-race", seed=1, assistant_model=pair.draft, probe=False),
        max_new_tokens=60,
    )
    found = by_generate(pair, mark, max_new_tokens=60, stopping_criteria=given)
    assert any(7 in text for text in whole)
    for text, free in zip(mark.texts, whole, strict=True):
        end = free.index(7) + 1 if 7 in free else 60
        assert text.token_ids == free[:end]
        assert text.finish == ("stop" if 7 in free else "length")
    # Shorter ones are filled up.
    assert all(len(text) == len(found[0]) for text in found)


def law_by_transformers(model, row: list[int], calls: int, **arguments) -> np.ndarray:
    """Counts of pairs of tokens by `model.generate` alone."""
    counts = np.zeros((N, N))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ids = torch.tensor([row] * calls)
        found = model.generate(
            ids, attention_mask=torch.ones_like(ids), **(QUIET | arguments), max_new_tokens=2
        )
    np.add.at(counts, (found[:, -2].numpy(), found[:, -1].numpy()), 1)
    return counts


@pytest.mark.parametrize(
    "arguments",
    [
        {"repetition_penalty": 1.7, "temperature": 0.7},
        {"no_repeat_ngram_size": 1, "suppress_tokens": [3, 4]},
        {"typical_p": 0.6},
        {"sequence_bias": [[[8], 2.0], [[5, 9], -3.0]], "top_p": 0.9},
    ],
    ids=lambda one: "-".join(one),
)
def test_laws_of_processors_are_those_of_transformers(pair, arguments: dict) -> None:
    """Two tokens, of which the second was drafted before the first was sure: against Transformers' own loop,
    by a test of two samples."""
    row, calls = ROWS[0], 1500
    theirs = law_by_transformers(pair.target, row, calls, **arguments)
    mark = watermarked(scheme=Scheme.of("standard"), seed=5, assistant_model=pair.draft, probe=False)
    texts = by_generate(pair, mark, [row] * calls, max_new_tokens=2, **arguments)
    ours = np.zeros((N, N))
    np.add.at(ours, tuple(np.array(texts).T), 1)
    assert any("d" in text.sources for text in mark.texts)
    both = ours + theirs
    kept = both > 8
    ours, theirs = (np.append(one[kept], one[~kept].sum()) for one in (ours, theirs))
    # Given the sums every one of a cell is as likely of either sample.
    statistic = ((ours - theirs) ** 2 / np.maximum(ours + theirs, 1)).sum()
    from scipy.stats import chi2

    assert chi2.sf(statistic, len(ours) - 1) > ALPHA


def test_settings_of_the_model_are_honoured(pair) -> None:
    """Its own generation_config, by which Transformers prepares the call."""
    model = copy.deepcopy(pair.target)
    model.generation_config.temperature = 0.6
    model.generation_config.top_k = 5
    model.generation_config.eos_token_id = 7
    model.generation_config.do_sample = True
    mark = watermarked(KEY, "joint-race", seed=3, assistant_model=pair.draft, probe=False)
    inputs = padded()
    found = model.generate(**inputs, max_new_tokens=20, pad_token_id=0, custom_generate=mark)
    expected = by_engine(
        pair, Scheme.of("joint-race"), sampling=Sampling(0.6, 5), ignore_eos=False, eos=frozenset([7])
    )
    assert [text.token_ids for text in mark.texts] == expected
    assert found.shape[1] == inputs["input_ids"].shape[1] + max(map(len, expected))
    out = model.generate(
        **inputs, max_new_tokens=20, pad_token_id=0, custom_generate=mark, return_dict_in_generate=True
    )
    torch.testing.assert_close(out.sequences, found)


def test_prompt_lookup_drafts(pair) -> None:
    """Without an assistant, what stood before is drafted; the text is that of no speculation."""
    row = [[5, 9, 3, 17, 8, 5, 9, 3, 17, 8, 5, 9]]
    mark = watermarked(KEY, "joint-race", seed=3, probe=False)
    texts = by_generate(pair, mark, row, max_new_tokens=40, prompt_lookup_num_tokens=3)
    basic = by_generate(pair, watermarked(KEY, "basic", seed=3, probe=False), row, max_new_tokens=40)
    assert texts == basic
    assert "d" in mark.texts[0].sources


@pytest.mark.parametrize(
    "config",
    [
        SynthIDTextWatermarkingConfig(ngram_len=5, keys=list(range(1000, 1030))),
        WatermarkingConfig(greenlist_ratio=0.5, bias=4.0, context_width=1),
    ],
    ids=["synthid", "kgw"],
)
def test_configurations_of_transformers_are_carried_whole_with_an_assistant(pair, config) -> None:
    """What Transformers' own assisted generation loses; texts are the engine's under the same scheme."""
    foreign = ForeignConfig.of(config.to_dict(), N)
    mark = watermarked(seed=3, probe=False)
    texts = by_generate(
        pair, mark, assistant_model=pair.draft, max_new_tokens=150, watermarking_config=config
    )
    prompts = [Prompt(str(i), "", tuple(row)) for i, row in enumerate(ROWS)]
    function = foreign.scheme.function(foreign.key.key)
    settings = EngineSettings(
        method=foreign.scheme.method, prf=function, max_tokens=150, seed=3, ignore_eos=True
    )
    engine = Engine(pair, settings, len(ROWS), probe=False)
    expected = sorted(engine.generate(prompts), key=lambda text: text.prompt.id)
    assert texts == [text.token_ids for text in expected]
    if isinstance(config, SynthIDTextWatermarkingConfig):
        assert any("d" in text.sources for text in mark.texts)
        for text in texts:
            assert td.detect(text, foreign.scheme, DepthKeys(range(1000, 1030))).log10_p < -3
    else:
        reader = foreign.scheme.reads(foreign.scheme.reading_function(foreign.key.key))
        for text in texts:
            assert detect(foreign.scheme.detector(), Evidence(text, reader)).log10_p < -3


class Counting(LogitsProcessor):
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return scores + self.calls * (torch.arange(scores.shape[-1]) == 3)


class Budget(LogitsProcessor):
    """Counts its calls, and forces a token after ten of them."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return scores if self.calls <= 10 else torch.full_like(scores, -torch.inf).index_fill(1, SEVEN, 0.0)


class FifthCall(StoppingCriteria):
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> bool:
        self.calls += 1
        return self.calls >= 5


class Rows(LogitsProcessor):
    """A bias for every row."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores + torch.arange(3.0)[:, None]


SEVEN = torch.tensor([7])


@pytest.mark.parametrize("tokens", [6, 30])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"logits_processor": [Budget]}, "Budget says otherwise"),
        ({"stopping_criteria": [FifthCall]}, "FifthCall says otherwise"),
        ({"logits_processor": [Rows]}, "must not look at other rows"),
    ],
    ids=["budget", "calls", "rows"],
)
def test_rules_that_keep_a_state_are_found_out(pair, given: dict, words: str, tokens: int) -> None:
    made = {name: [one() for one in some] for name, some in given.items()}
    mark = watermarked(KEY, "joint-race", seed=1, assistant_model=pair.draft, probe=False)
    with pytest.raises(ValueError, match=words):
        by_generate(pair, mark, max_new_tokens=tokens, **made)


def test_a_configuration_needs_no_draft(pair) -> None:
    """Without an assistant the same watermark is written without speculation."""
    config = SynthIDTextWatermarkingConfig(ngram_len=5, keys=list(range(1000, 1030)))
    mark = watermarked(seed=3, probe=False)
    texts = by_generate(pair, mark, max_new_tokens=150, watermarking_config=config)
    key = DepthKeys(range(1000, 1030))
    assert {source for text in mark.texts for source in text.sources} == {"b"}
    for text in texts:
        assert td.detect(text, Scheme.of(prf="hf-synthid"), key).log10_p < -3


def test_normalised_scores_are_what_later_processors_see(pair) -> None:
    """Floors of log-probabilities ban tokens only behind a normalisation."""

    class Floor(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return scores.masked_fill(scores < -2.5, -torch.inf)

    row = ROWS[0]
    with torch.no_grad():
        law = torch.log_softmax(pair.target(torch.tensor([row])).logits[0, -1], -1)
    mark = watermarked(scheme=Scheme.of("standard"), seed=5, assistant_model=pair.draft, probe=False)
    given = [LogitNormalization(), Floor()]
    texts = by_generate(pair, mark, [row] * 200, max_new_tokens=1, logits_processor=given)
    allowed = set(torch.nonzero(law >= -2.5).flatten().tolist())
    assert 0 < len(allowed) < N
    assert {text[0] for text in texts} <= allowed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"do_sample": False}, "do_sample=False is greedy"),
        ({"num_beams": 2}, "num_beams=2"),
        ({"output_scores": True, "return_dict_in_generate": True}, "output_scores"),
        ({"assistant_model": None}, "no assistant_model"),
        ({"guidance_scale": 1.5}, "UnbatchedClassifierFreeGuidanceLogitsProcessor"),
        ({"logits_processor": LogitsProcessorList([Counting()])}, "Counting"),
        ({"prefix_allowed_tokens_fn": lambda *_: [1, 2]}, "PrefixConstrainedLogitsProcessor"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "penalty_alpha"),
        ({"prompt_lookup_num_tokens": 3}, "both draft"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_what_cannot_be_kept_is_refused_by_name(pair, arguments: dict, words: str) -> None:
    given = {"assistant_model": pair.draft, "max_new_tokens": 4} | arguments
    with pytest.raises(ValueError, match=words):
        by_generate(pair, watermarked(KEY, "joint-race", probe=False), ROWS[:1], **given)


def test_inputs_that_are_none(pair) -> None:
    mark = watermarked(KEY, "basic", probe=False)
    inputs = padded()
    right = {name: value.flip(1) for name, value in inputs.items()}
    with pytest.raises(ValueError, match="pad on the left"):
        pair.target.generate(**right, **QUIET, max_new_tokens=4, custom_generate=mark)
    with pytest.raises(ValueError, match="pass one prompt"):
        by_generate(pair, watermarked(KEY, "basic", probe=False, streamer=object()), max_new_tokens=4)
    with pytest.raises(ValueError, match="names watermark and key already"):
        by_generate(pair, mark, max_new_tokens=4, watermarking_config=WatermarkingConfig())
    model = copy.deepcopy(pair.target).train()
    with pytest.raises(ValueError, match="training mode"):
        model.generate(**inputs, **QUIET, max_new_tokens=4, custom_generate=mark)
    with pytest.raises(ValueError, match="seed=-1"):
        watermarked(KEY, seed=-1)
    with pytest.raises(ValueError, match="lookahead=0"):
        watermarked(KEY, lookahead=0)
    with pytest.raises(ValueError, match="scheme and names"):
        watermarked(KEY, "basic", scheme=Scheme.of("basic"))


def test_models_with_an_encoder_are_refused() -> None:
    sizes = {"vocab_size": N, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).eval()
    with pytest.raises(ValueError, match="T5ForConditionalGeneration has an encoder"):
        model.generate(**padded(), **QUIET, max_new_tokens=4, custom_generate=watermarked(KEY, "basic"))


def test_the_seed_is_that_of_pytorch_unless_one_is_given(pair) -> None:
    mark = watermarked(scheme=Scheme.of("standard"), assistant_model=pair.draft, probe=False)
    texts = []
    with torch.random.fork_rng():
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            texts.append(by_generate(pair, mark, max_new_tokens=20))
    assert texts[0] == texts[1] != texts[2]


def test_padding_changes_nothing(pair) -> None:
    """A text with a repetition penalty is the same alone and beside a longer prompt."""
    mark = watermarked(KEY, "joint-race", seed=3, assistant_model=pair.draft, probe=False)
    together = by_generate(pair, mark, max_new_tokens=20, repetition_penalty=1.5)
    for row, text in zip(ROWS, together, strict=True):
        assert by_generate(pair, mark, [row], max_new_tokens=20, repetition_penalty=1.5) == [text]
    rules = Controls(repetition_penalty=1.5).rules(N, frozenset(), str)
    assert together == by_engine(pair, Scheme.of("joint-race"), rules=rules)


def test_counts_of_the_engine_agree_with_direct_computation(pair) -> None:
    """The law of one token under a processor, by enumeration."""
    calls, row = 3000, ROWS[1]
    mark = watermarked(scheme=Scheme.of("standard"), seed=9, assistant_model=pair.draft, probe=False)
    texts = by_generate(
        pair, mark, [row] * calls, max_new_tokens=1, logits_processor=LogitsProcessorList([Ban()])
    )
    with torch.no_grad():
        logits = pair.target(torch.tensor([row])).logits[:, -1]
    law = torch.softmax(Ban()(torch.tensor([row]), logits), -1)[0].numpy()
    counts = np.bincount([text[0] for text in texts], minlength=N)
    assert counts[law == 0].sum() == 0
    assert chi_square_p(counts[law > 0], calls * law[law > 0]) > ALPHA
