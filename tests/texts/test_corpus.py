"""Prompts and prose: what they promise in number, form and variety, and what counts as prose."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from tradeoff.llm.encoding import chat_prompt
from tradeoff.llm.models.pair import ModelPair
from tradeoff.texts import corpus as text
from tradeoff.texts.corpus import builtin_prompts, human_paragraphs

TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant: {% endif %}"
)

PROSE = 'The parser reads "one" token at a time, and it never looks back at those it has read.'


def test_paragraphs_are_long_distinct_unwrapped_prose() -> None:
    paragraphs = human_paragraphs(40)
    assert len(paragraphs) >= 200
    assert len(set(paragraphs)) == len(paragraphs)
    for paragraph in paragraphs:
        assert len(paragraph.split()) >= 40
        assert paragraph == " ".join(paragraph.split())
        assert paragraph.endswith(".")
        assert not re.search(r"::=|>>>|\*{3}", paragraph)


def test_minimum_length_only_filters() -> None:
    every, longer = human_paragraphs(40), human_paragraphs(80)
    assert longer == [p for p in every if len(p.split()) >= 80]
    assert 30 <= len(longer) < len(every)
    with pytest.raises(ValueError, match="minimum_words=0"):
        human_paragraphs(0)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (PROSE, [PROSE]),
        (PROSE.replace(" ", "\n", 3), [PROSE]),
        ("   " + PROSE.replace(" token", "\n   token"), [PROSE]),
        (PROSE.replace("time, and", "time,  and"), [PROSE]),
        (PROSE.replace("never", "*never*").replace("token", "**token**"), [PROSE]),
        (PROSE.replace("back", "left-\nto-right"), [PROSE.replace("back", "left-to-right")]),
        (f"{PROSE}\n\n{PROSE}", [PROSE]),
        (
            f"{PROSE}\n   \nIt stops at the end of the line, or so the manual says.",
            [
                PROSE,
                "It stops at the end of the line, or so the manual says.",
            ],
        ),
        ("Parsing a Great Many Tokens One by One\n**************************************", []),
        ("Too short.", []),
        (PROSE[:-1] + ":", []),
        (PROSE[0].lower() + PROSE[1:], []),
        ("   for token in the_tokens_that_are_left():\n       read(token).", []),
        ('   statement ::= "The" simple statement or a compound one of several lines.', []),
        ("   >>> The session of an interpreter that prints the result of each line.", []),
        ("| Operator | The description of the operator and of its operands in a table.", []),
        ("Changed in version 3.8: The parser no longer looks back at tokens it has read.", []),
        ('"a" + "b" - ("c" / "d") * 12345 == {1: 2, 3: 4} != [5, 6, 7, 8, 9, 10, 11].', []),
    ],
)
def test_what_counts_as_prose(monkeypatch: pytest.MonkeyPatch, block: str, expected: list[str]) -> None:
    monkeypatch.setattr(text, "topics", {"topic": block})
    assert human_paragraphs(8) == expected


def test_order_does_not_depend_on_the_order_of_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = human_paragraphs()
    monkeypatch.setattr(text, "topics", dict(reversed(text.topics.items())))
    assert human_paragraphs() == expected


@pytest.mark.parametrize(("kind", "letter"), [("question", "q"), ("continuation", "c")])
def test_prompts_are_130_numbered_and_varied(kind: text.PromptKind, letter: str) -> None:
    prompts = builtin_prompts(kind)
    assert [name for name, _ in prompts] == [f"{letter}-{i:03d}" for i in range(1, 131)]
    words = {name: set(re.findall(r"\w+", prompt.lower())) for name, prompt in prompts}
    for a, b in combinations(words, 2):
        similarity = len(words[a] & words[b]) / len(words[a] | words[b])
        assert similarity < 0.5, f"{a} and {b} are nearly the same"


def test_questions_ask_and_continuations_have_12_to_30_words() -> None:
    assert all(prompt.endswith("?") for _, prompt in builtin_prompts("question"))
    lengths = [len(prompt.split()) for _, prompt in builtin_prompts("continuation")]
    assert 12 <= min(lengths) <= max(lengths) <= 30


def test_unknown_kind_of_prompt_is_named() -> None:
    with pytest.raises(ValueError, match=r"kind='riddle'.*question, continuation"):
        builtin_prompts("riddle")  # type: ignore[arg-type]


def test_chat_prompt_follows_the_template_and_adds_nothing(
    make_tokenizer: Callable[..., PreTrainedTokenizerFast],
) -> None:
    tokenizer = make_tokenizer(chat_template=TEMPLATE)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    assert tokenizer("Why?")["input_ids"][0] == tokenizer.bos_token_id
    ids = chat_prompt(tokenizer, "Why?", "a")
    assert tokenizer.decode(ids) == "<s>user: Why?</s><s>assistant: "
    assert ids.count(tokenizer.bos_token_id) == 2


def test_chat_prompt_without_a_template_is_the_question(
    make_tokenizer: Callable[..., PreTrainedTokenizerFast],
) -> None:
    tokenizer = make_tokenizer()
    assert tokenizer.decode(chat_prompt(tokenizer, "Why then?", "a")) == "Why then?"


def test_chat_prompt_of_the_builtin_model(builtin_pair: ModelPair) -> None:
    prompt = str(builtin_pair.tokenizer.decode(chat_prompt(builtin_pair.tokenizer, "Why is it so?", "a")))
    assert prompt.startswith("<|im_start|>system\n")
    assert prompt.endswith("<|im_start|>user\nWhy is it so?<|im_end|>\n<|im_start|>assistant\n")
