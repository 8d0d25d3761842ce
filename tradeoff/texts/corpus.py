"""Text to run models on without any download: prompts of our own, and prose that people wrote.

The prose is the reference manual that every Python installation carries, so it differs a little
between Python versions; on one version it is always the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib.resources import files
from pydoc_data.topics import topics
from typing import Literal, get_args

__all__ = ["PromptKind", "builtin_answers", "builtin_prompts", "human_paragraphs", "prose_of"]

#: What a built-in prompt is: a question to answer, or prose to go on with.
PromptKind = Literal["question", "continuation"]

_BLANK_LINES = re.compile(r"\n[ \t]*\n")
_NOT_PROSE = re.compile(r"::=|>>>|\+--|={2,}|-{2,}|\*{3,}|\||\.\.\.")
_VERSION_NOTE = re.compile(r"(Changed|Added|New|Deprecated|Removed) (in|since) version ")
_SENTENCE_START = re.compile(r'["“(]?[A-Z]')
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(\w[^*]*?)\1(?![\w*])")
_SMALLEST_LETTER_SHARE = 0.9


def human_paragraphs(minimum_words: int = 40) -> list[str]:
    """Paragraphs of at least `minimum_words` words of English prose, unwrapped, without duplicates.

    About 250 paragraphs (15,700 words) with the default, in one order per Python version. Code,
    grammar, tables, headings and notes on versions are left out. Raises ValueError if
    `minimum_words` is not positive.
    """
    return prose_of((topics[name] for name in sorted(topics)), minimum_words)


def prose_of(documents: Iterable[str], minimum_words: int) -> list[str]:
    """What `human_paragraphs` tells of the manual, of other documents in plain text, such as docstrings.

    Raises ValueError if `minimum_words` is not positive.
    """
    if minimum_words < 1:
        raise ValueError(f"minimum_words={minimum_words} must be at least 1")
    blocks = (block for document in documents for block in _BLANK_LINES.split(document))
    found = dict.fromkeys(_unwrap(block) for block in blocks if _is_evenly_indented(block))
    return [text for text in found if len(text.split()) >= minimum_words and _is_prose(text)]


def builtin_prompts(kind: PromptKind = "question") -> list[tuple[str, str]]:
    """The 130 built-in (id, prompt) pairs of one `kind`, in order.

    "question": open questions that ask for an explanation (q-001 ...), meant for a chat format.
    "continuation": openings of stories, essays, news and instructions (c-001 ...), to be continued.
    Raises ValueError for any other kind.
    """
    if kind not in get_args(PromptKind):
        raise ValueError(f"kind={kind!r} is unknown; use one of {', '.join(get_args(PromptKind))}")
    lines = (files("tradeoff") / "data" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [(record["id"], record["prompt"]) for record in records if record["kind"] == kind]


def builtin_answers() -> list[tuple[str, str, tuple[str, ...]]]:
    """The 40 built-in (id, prompt, accepted answers), in order: questions whose answers are short and known
    (a-001 ...), meant for a chat format."""
    lines = (files("tradeoff") / "data" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [(record["id"], record["prompt"], tuple(record["answers"])) for record in records]


def _is_evenly_indented(block: str) -> bool:
    """Code and definition lists change their indentation from line to line; paragraphs do not."""
    return len({len(line) - len(line.lstrip()) for line in block.splitlines() if line.strip()}) == 1


def _unwrap(block: str) -> str:
    """The lines of `block` as one, words broken at a hyphen mended, emphasis marks removed."""
    joined = " ".join(block.split())
    return _EMPHASIS.sub(r"\2", re.sub(r"(?<=\w-) (?=\w)", "", joined))


def _is_prose(text: str) -> bool:
    if _NOT_PROSE.search(text) or _VERSION_NOTE.match(text):
        return False
    letters = sum(character.isalpha() or character == " " for character in text)
    whole_sentences = _SENTENCE_START.match(text) is not None and text.endswith(".")
    return whole_sentences and letters >= _SMALLEST_LETTER_SHARE * len(text)
