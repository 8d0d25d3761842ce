"""What the call sets, what files set and what nobody did: K, sources of what is refused, names."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from transformers import GenerationConfig, StopStringCriteria

from tests.helpers.texts import MakePair
from tests.transformers.test_generation import KEY, QUIET, ROWS, N, padded
from tradeoff.llm import ModelPair
from tradeoff.scheme import Scheme
from tradeoff.transformers import generation, watermarked

MAKE = {"seed": 3, "probe": False}


@pytest.fixture
def pair(make_pair: MakePair) -> ModelPair:
    """Of its own for every test: settings are written on the models."""
    found = make_pair(N)
    return replace(found, target=copy.deepcopy(found.target), draft=copy.deepcopy(found.draft))


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """K of every engine that was made."""
    made: list[int] = []

    class Watched(generation.Engine):
        def __init__(self, pair: ModelPair, settings: Any, *others: Any):
            made.append(settings.lookahead)
            super().__init__(pair, settings, *others)

    monkeypatch.setattr(generation, "Engine", Watched)
    return made


def write(pair: ModelPair, mark: Any = None, **arguments: Any) -> Any:
    given = {"assistant_model": pair.draft, "max_new_tokens": 6, **QUIET} | arguments
    mark = mark or watermarked(KEY, "joint-race", **MAKE)
    return pair.target.generate(**padded(ROWS[:1]), **given, custom_generate=mark)


def test_what_nobody_set_is_no_lookahead(pair: ModelPair, used: list[int]) -> None:
    """Transformers fills its 20 in; so does a config that says something else."""
    write(pair)
    write(pair, generation_config=GenerationConfig(max_new_tokens=6, **QUIET))
    write(pair, watermarked(KEY, "joint-race", lookahead=5, **MAKE))
    assert used == [3, 3, 5]


def test_the_lookahead_is_that_of_whoever_set_it(pair: ModelPair, used: list[int]) -> None:
    """The call first, be it Transformers' own default; then the assistant; then the model."""
    pair.target.generation_config.num_assistant_tokens = 2
    write(pair)
    pair.draft_model.generation_config.num_assistant_tokens = 4
    write(pair)
    write(pair, num_assistant_tokens=6)
    write(pair, num_assistant_tokens=20)
    config = GenerationConfig(num_assistant_tokens=20, max_new_tokens=6, **QUIET)
    write(pair, generation_config=config)
    write(pair, watermarked(KEY, "joint-race", lookahead=4, **MAKE))
    # Without an assistant another number of drafts is asked for by name.
    write(pair, prompt_lookup_num_tokens=2, assistant_model=None)
    assert used == [2, 4, 6, 20, 20, 4, 2]


def test_an_assistant_of_the_mark_is_asked_as_well(pair: ModelPair, used: list[int]) -> None:
    pair.draft_model.generation_config.num_assistant_tokens = 4
    mark = watermarked(KEY, "joint-race", assistant_model=pair.draft, **MAKE)
    write(pair, mark, assistant_model=None)
    assert used == [4]


@pytest.mark.parametrize("where", ["call", "assistant"])
def test_two_that_say_otherwise(pair: ModelPair, where: str) -> None:
    mark = watermarked(KEY, "joint-race", lookahead=5, **MAKE)
    source, arguments = "generate", {"num_assistant_tokens": 4}
    if where == "assistant":
        source, arguments = "the assistant's generation_config", {}
        pair.draft_model.generation_config.num_assistant_tokens = 4
    words = rf"lookahead=5 of watermarked\(\.\.\.\) and num_assistant_tokens=4 of {source} both"
    with pytest.raises(ValueError, match=words):
        write(pair, mark, **arguments)
    with pytest.raises(ValueError, match=r"num_assistant_tokens=2\.5 of generate must be a whole number"):
        write(pair, num_assistant_tokens=2.5)


@pytest.mark.parametrize(
    ("name", "changing", "constant"),
    [("num_assistant_tokens_schedule", "heuristic", "constant"), ("assistant_confidence_threshold", 0.6, 0)],
)
def test_what_would_change_k_from_step_to_step(
    pair: ModelPair, used: list[int], name: str, changing: object, constant: object
) -> None:
    """Refused where it is asked for, told where a file has it."""
    write(pair, **{name: constant}, num_assistant_tokens=4)
    with pytest.raises(ValueError, match=f"{name}={changing!r} of generate is not kept: .*pass {constant!r}"):
        write(pair, **{name: changing})
    setattr(pair.draft_model.generation_config, name, changing)
    with pytest.warns(
        UserWarning, match=f"{changing!r} of the assistant's generation_config is not kept: K is"
    ):
        write(pair)
    assert used == [4, 3]


def test_greedy_decoding_is_told_by_its_source(pair: ModelPair) -> None:
    """With everything that has to be passed in its place; with that, text is written."""
    nobody = {"do_sample": None, "top_k": None}
    with pytest.raises(ValueError, match="do_sample=False, the default of Transformers, is greedy"):
        write(pair, **nobody)
    own = pair.target.generation_config
    own.do_sample, own.temperature, own.top_k = False, 0.0, -1
    words = (
        r"do_sample=False, which is that of the model's own generation_config \(generation_config.json\), is "
        r"greedy .* pass do_sample=True, and temperature=1.0 and top_k=0, in place of temperature=0.0, "
        "top_k=-1"
    )
    with pytest.raises(ValueError, match=words):
        write(pair, **nobody)
    with pytest.raises(ValueError, match=r"do_sample=False is greedy"):
        write(pair, do_sample=False, temperature=1.0, top_k=0)
    assert write(pair, do_sample=True, temperature=1.0, top_k=0).shape[1] > len(ROWS[0])


def test_other_searches_are_told_by_their_source(pair: ModelPair) -> None:
    pair.target.generation_config.num_beams = 2
    mark = watermarked(KEY, "basic", **MAKE)
    with pytest.raises(ValueError, match="num_beams=2, which is that of the model's own"):
        write(pair, mark, assistant_model=None)
    with pytest.raises(ValueError, match="num_beams=3 searches"):
        write(pair, mark, assistant_model=None, num_beams=3)


def test_a_stop_string_that_is_a_special_token_ends_the_text(pair: ModelPair) -> None:
    """As `generate` itself would end it; the words of a text would not have it."""
    mark = watermarked(scheme=Scheme.of("standard"), **MAKE)
    ids = [5, 9, 3, 17, 8]
    stops = [StopStringCriteria(pair.tokenizer, ["</s>"])]
    ends = pair.tokenizer.eos_token_id
    found = [
        row[len(ids) :].tolist()
        for row in pair.target.generate(
            **padded([ids] * 40),
            **QUIET,
            max_new_tokens=60,
            assistant_model=pair.draft,
            stopping_criteria=stops,
            eos_token_id=None,
            custom_generate=mark,
        )
    ]
    ended = [text for text in mark.texts if ends in text.token_ids]
    assert len(found) == 40
    assert len(ended) > 20
    assert all(text.token_ids.index(ends) == len(text.token_ids) - 1 for text in ended)


def test_lengths_have_the_name_that_the_call_gave_them(pair: ModelPair) -> None:
    """The models have room for 256 positions."""
    with pytest.raises(ValueError, match=r"has 5 tokens; with max_new_tokens=300 .* lower max_new_tokens"):
        write(pair, max_new_tokens=300)
    with pytest.raises(
        ValueError, match=r"has 5 tokens; with max_length=300 that is 300, .* lower max_length"
    ):
        write(pair, max_new_tokens=None, max_length=300)
