"""What a model's own file says of sampling: it is told, and what cannot be kept is refused by its source."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from tests.helpers.texts import MakePair
from tradeoff.kernels import Standard
from tradeoff.llm.generation.controls import Controls
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.requested import Requested

SETTINGS = EngineSettings(method=Standard(), prf=None)


@pytest.fixture
def pair(make_pair: MakePair) -> ModelPair:
    """Of its own for every test: settings are written on the model."""
    found = make_pair(300, eos=2)
    return replace(found, target=copy.deepcopy(found.target))


@pytest.mark.parametrize(
    ("name", "value", "other", "words"),
    [
        ("temperature", 0.0, 0.7, r"temperature=0 is greedy .* model's own, of its generation_config\.json"),
        ("top_k", -1, 0, r"top_k=-1 must be .* generation_config\.json: pass another top_k, such as 0"),
    ],
)
def test_what_a_file_has_wrong_is_told_as_that_of_the_file(
    pair: ModelPair, name: str, value: float, other: float, words: str
) -> None:
    """And the remedy is one: whoever says otherwise gets that."""
    vars(pair.target.generation_config)[name] = value
    with pytest.raises(ValueError, match=words):
        Requested().settled(SETTINGS, pair)
    settled = Requested(**{name: other}).settled(SETTINGS, pair)
    assert vars(settled.sampling)[name] == other
    with pytest.raises(ValueError, match=f"^{name}=") as caught:
        Requested(**{name: value}).sampling({})
    assert "generation_config" not in str(caught.value)


def test_greedy_files_are_told(pair: ModelPair) -> None:
    told: list[str] = []
    Requested().settled(SETTINGS, pair, told.append)
    assert told == []
    pair.target.generation_config.do_sample = False
    Requested().settled(SETTINGS, pair, told.append)
    (words,) = told
    assert "do_sample=False of target (generation_config.json) is greedy" in words


@pytest.mark.parametrize(
    ("stop", "remedy"), [("</s>", "it ends texts already"), ("the<s>", "add its id to eos_token_id")]
)
def test_stop_strings_that_no_text_has(pair: ModelPair, stop: str, remedy: str) -> None:
    """A control token is left out of the words that stop strings are looked for in."""
    asked = Requested(controls=Controls(stop=("the", stop)))
    with pytest.raises(ValueError, match=rf"stop='{stop}' holds the control token .* {remedy}"):
        asked.settled(SETTINGS, pair)
    assert Requested(controls=Controls(stop=("the",))).settled(SETTINGS, pair).rules is not None
