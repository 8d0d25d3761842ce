"""Prompts from files: one a line, or JSON lines with `id` and `prompt`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from tradeoff.errors import FileError
from tradeoff.files import decoded, read_at_most
from tradeoff.llm.huggingface import (
    PreTrainedTokenizerBase,
    control_tokens,
    has_chat_format,
    render_chat,
)
from tradeoff.llm.rows import Prompt
from tradeoff.llm.text import PromptKind, builtin_prompts

__all__ = ["BUILTIN_PROMPTS", "chat_prompt", "encode_prompts", "named_prompts", "read_prompts"]

#: Bytes of the largest file of prompts.
_LARGEST = 256 << 20
#: What can be named in place of a file.
BUILTIN_PROMPTS = tuple(f"builtin:{kind}" for kind in get_args(PromptKind))


def named_prompts(prompts: str | Path | Sequence[str] | Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """(id, prompt) pairs of what a caller gives: a file or a built-in set by name, prompts, or such pairs.

    Args:
        prompts: as for `read_prompts`; or the prompts themselves, which are named by their number.

    Raises:
        FileError: as `read_prompts`.
        ValueError: for no prompts, prompts that are no words, or an id that occurs twice.
    """
    if isinstance(prompts, str | Path):
        return read_prompts(prompts)
    if not isinstance(prompts, Sequence):
        raise ValueError(f"prompts are {type(prompts).__name__}; pass a list of words, or the name of a file")
    found: dict[str, str] = {}
    for number, one in enumerate(prompts, 1):
        pair = (str(number), one) if isinstance(one, str) else one
        if (
            not isinstance(pair, tuple | list)
            or len(pair) != 2
            or not all(isinstance(part, str) and part.strip() for part in pair)
        ):
            raise ValueError(f"prompts hold {pair!r}; pass words, or pairs of an id and words")
        if pair[0] in found:
            raise ValueError(f"prompts hold the id {pair[0]!r} twice; ids must be unique")
        found[pair[0]] = pair[1]
    if not found:
        raise ValueError("prompts are empty; pass at least one")
    return list(found.items())


def read_prompts(source: str | Path) -> list[tuple[str, str]]:
    """(id, prompt) pairs from a file or a built-in set.

    Args:
        source: "builtin:question", "builtin:continuation", a .jsonl file with `prompt` and perhaps `id` on
            every line, or any other text file with one prompt a line. Lines without an id are named by their
            number; empty lines are left out.

    Raises:
        FileError: for a file that is missing, unreadable, empty or malformed, or an id that occurs twice.
    """
    if str(source) in BUILTIN_PROMPTS:
        return builtin_prompts(str(source).removeprefix("builtin:"))  # type: ignore[arg-type]
    path = Path(source)
    try:
        # Not splitlines: it also breaks at characters that may stand inside a prompt.
        words = decoded(read_at_most(path, _LARGEST))
        lines = [line.removesuffix("\r") for line in words.split("\n")]
    except (OSError, FileError, UnicodeDecodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise FileError(
            f"prompts {path} cannot be read ({reason}); pass a text file with one prompt a line, JSON lines, "
            f"or one of {', '.join(BUILTIN_PROMPTS)}"
        ) from error
    is_json = path.suffix.lower() in (".jsonl", ".json", ".ndjson")
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, prompt = _parsed(path, number, line) if is_json else (str(number), line)
        if name in found:
            raise FileError(
                f"{path} line {number}: the id {name!r} occurs twice; ids must be unique (a line without "
                "one is named by its number)"
            )
        found[name] = prompt
    if not found:
        raise FileError(f"prompts {path} is empty; write one prompt a line")
    return list(found.items())


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: list[tuple[str, str]], *, chat: bool = False
) -> list[Prompt]:
    """Token ids of (id, prompt) pairs.

    Args:
        tokenizer: of the model pair.
        prompts: as from `read_prompts`.
        chat: ask in the tokenizer's chat format instead of continuing the plain words.

    Raises:
        ValueError: for `chat` with a tokenizer that has no chat format, and as `chat_prompt`.
    """
    if chat and not has_chat_format(tokenizer):
        raise ValueError("chat=True, but this tokenizer has no chat format; leave --chat out")
    encoded = []
    for name, text in prompts:
        ids: list[int] = chat_prompt(tokenizer, text, name) if chat else list(tokenizer(text)["input_ids"])
        encoded.append(Prompt(name, text, tuple(ids)))
    return encoded


def chat_prompt(tokenizer: PreTrainedTokenizerBase, question: str, name: str) -> list[int]:
    """Token ids that ask `question` in the tokenizer's chat format, up to where an answer begins.

    A tokenizer without a chat format gets the plain question.

    Args:
        tokenizer: of the model pair.
        question: the words of the user.
        name: id of the prompt, for errors.

    Raises:
        ValueError: for a question that the format does not take, and for one that holds a control token,
            which could end the user's turn and begin another.
    """
    try:
        rendered = render_chat(tokenizer, question)
    except ValueError as error:
        raise ValueError(
            f"prompt {name!r} is not taken by the chat format of this tokenizer ({error}); change it, or run "
            "without --chat"
        ) from error
    if rendered is None:
        return list(tokenizer(question)["input_ids"])
    piece = _control_piece(tokenizer, question)
    if piece is not None:
        raise ValueError(
            f"prompt {name!r} holds {piece!r}, a control token of this tokenizer; leave it out, or run "
            "without --chat"
        )
    # The chat format writes the special tokens itself; the tokenizer must not add them a second time.
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def _control_piece(tokenizer: PreTrainedTokenizerBase, words: str) -> str | None:
    """A control token that the words spell out, or are encoded as; None if there is none."""
    control = control_tokens(tokenizer)
    spelled = (text for text in control.values() if text and text in words)
    # What the tokenizer has no token for is encoded as an unknown one, and forges nothing.
    encoded = (
        control[token]
        for token in tokenizer(words, add_special_tokens=False)["input_ids"]
        if token in control and token != tokenizer.unk_token_id
    )
    return next(spelled, None) or next(encoded, None)


def _parsed(path: Path, number: int, line: str) -> tuple[str, str]:
    try:
        record: Any = json.loads(line)
        prompt = record["prompt"]
        name = record.get("id", str(number))
        f"{name}{prompt}".encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(
            f'{path} line {number} is not a JSON object with a "prompt"; write '
            '{"id": "a-1", "prompt": "..."} on every line, or use a .txt file with one prompt a line'
        ) from error
    named = (isinstance(name, str) and name) or (isinstance(name, int) and not isinstance(name, bool))
    if not isinstance(prompt, str) or not prompt.strip() or not named:
        raise FileError(f'{path} line {number}: "prompt" must be text, and "id" text or a whole number')
    return str(name), prompt
