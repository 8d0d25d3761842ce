"""`tradeoff.generate`: the texts of the engine, in memory or in a file, from prompts as one has them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import tradeoff as td
from tradeoff.decoders import simplex_water
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.llm.models.pair import ModelPair

KEY = td.Key(bytes(range(32)))
PROMPTS = ["the sea", "a hill at night", "then"]
N = 262


@pytest.fixture(scope="module")
def pair(make_pair: Callable[..., ModelPair]) -> ModelPair:
    """Two tiny models that know every byte."""
    return make_pair(N)


def generate(pair: ModelPair, prompts: object = PROMPTS, scheme: td.Scheme | None = None, **settings: object):
    told = {"tokens": 30, "ignore_eos": True, "probe": False} | settings
    return td.generate(prompts, scheme or td.Scheme.of(), KEY, pair=pair, **told)


def test_memory_and_file_hold_the_same_texts_in_the_order_of_the_prompts(pair, tmp_path):
    path = tmp_path / "texts.jsonl"
    held, filed = generate(pair), generate(pair, output=path)
    assert [text.prompt for text in held] == PROMPTS
    assert [text.token_ids for text in held] == [text.token_ids for text in filed]
    assert [text.token_ids for text in td.llm.read_records(path)] == [text.token_ids for text in held]
    assert (held.new, held.tokens, len(held)) == (3, 90, 3)
    again = generate(pair, output=str(path))
    assert (again.new, again.records) == (0, filed.records)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_text_does_not_depend_on_the_others(pair, batch):
    alone = [generate(pair, [prompt])[0].token_ids for prompt in PROMPTS]
    assert [text.token_ids for text in generate(pair, batch=batch)] == alone


def test_prompts_as_one_has_them(pair, tmp_path):
    (tmp_path / "prompts.txt").write_text("the sea\n\na hill at night\nthen\n")
    wanted = [text.token_ids for text in generate(pair)]
    named = list(zip("abc", PROMPTS, strict=True))
    for prompts in (tmp_path / "prompts.txt", str(tmp_path / "prompts.txt"), named):
        assert [text.token_ids for text in generate(pair, prompts)] == wanted
    assert [text.id for text in generate(pair, named)] == ["a", "b", "c"]
    assert len(generate(pair, limit=2)) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompts": []}, "prompts are empty"),
        ({"prompts": [("a", "x"), ("a", "y")]}, "the id 'a' twice"),
        ({"prompts": [("a", "b", "c")]}, "pass words, or pairs"),
        ({"prompts": [" "]}, "pass words"),
        ({"prompts": "no such file"}, "cannot be read"),
        ({"batch": 0}, "batch=0"),
        ({"limit": 0}, "limit=0"),
        ({"tokens": 0}, "max_tokens=0"),
        ({"temperature": 0.0}, "temperature"),
        ({"scheme": td.Scheme.of(td.kernels.Basic(simplex_water(4, seed=1)))}, "no name on the command line"),
    ],
)
def test_what_cannot_be_done_is_named(pair, arguments, words):
    with pytest.raises(ValueError, match=words):
        generate(pair, **arguments)


def test_the_file_of_prompts_is_not_written_over(pair, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("the sea\n")
    with pytest.raises(ValueError, match="holds the prompts"):
        generate(pair, path, output=path)
    assert path.read_text() == "the sea\n"


def test_keys_that_are_missing_or_do_not_fit(pair, monkeypatch):
    monkeypatch.delenv("TRADEOFF_KEY", raising=False)
    with pytest.raises(ValueError, match="TRADEOFF_KEY"):
        td.generate(PROMPTS, td.Scheme.of(), pair=pair)
    with pytest.raises(ValueError, match="integer key"):
        td.generate(PROMPTS, td.Scheme.of(prf=VllmPhilox.name), pair=pair)
    unmarked = td.generate(["the sea"], td.Scheme.of("standard"), pair=pair, tokens=5, probe=False)
    assert unmarked[0].run.key is None


def test_what_the_caller_may_want_to_know_is_told(pair):
    told: list[str] = []
    generate(pair, ["the sea", "the sea"], limit=3, note=told.append)
    assert any("has 2 prompts; using all" in line for line in told)
    assert any("1 of 2 prompts are equal" in line for line in told)
    with pytest.warns(UserWarning, match="prompts are equal"):
        generate(pair, ["the sea", "the sea"])


def test_texts_are_found_by_their_records_and_shown_to_people(pair):
    texts = generate(pair, scheme=td.Scheme.of("two-keys", "synthid:20"), tokens=60)
    for text in texts:
        assert td.detect(text, key=KEY).scheme == td.Scheme.of("two-keys", "synthid:20")
        assert td.detect(text, key=KEY).log10_p < -3
    assert repr(texts).startswith("<Texts: 3 of 180 tokens; 3 new at ")
    assert "the sea" not in texts._repr_html_()
    assert texts._repr_html_().count("<tr>") == 3
    assert texts[:2] == texts.records[:2]
