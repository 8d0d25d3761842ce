"""Prompts from files: one a line, or JSON lines with `id` and `prompt`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tradeoff.errors import FileError
from tradeoff.files import decoded, read_at_most
from tradeoff.texts.corpus import PromptKind, builtin_prompts

__all__ = ["BUILTIN_PROMPTS", "UNMARKED", "Prompt", "named_prompts", "prompt_hash", "read_prompts", "several"]

#: Bytes of the largest file of prompts.
_LARGEST = 256 << 20
#: Tokens at the beginning of texts that are drawn truly at random where several of one prompt are wanted:
#: docs/sampling.md tells how many of how many are still equal.
UNMARKED = 16
#: What can be named in place of a file.
BUILTIN_PROMPTS = tuple(f"builtin:{kind}" for kind in get_args(PromptKind))


@dataclass(frozen=True)
class Prompt:
    """What a text continues: a name, the words, their token ids, and which of several texts it is, from 0."""

    id: str
    text: str
    token_ids: tuple[int, ...]
    sample: int = 0


def prompt_hash(prompt: Prompt) -> str:
    """Of the token ids: the same words may be encoded in other ways (as chat, by another tokenizer)."""
    data = np.array(prompt.token_ids, dtype="<i8").tobytes()
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def several(prompts: Sequence[Prompt], samples: int) -> list[Prompt]:
    """Every prompt as often as texts of it are wanted; named by its id and the number of the text, from 1, if
    that is more than once."""
    if samples == 1:
        return list(prompts)
    return [
        replace(prompt, id=f"{prompt.id}#{number + 1}", sample=number)
        for prompt in prompts
        for number in range(samples)
    ]


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


def read_prompts(source: str | Path, fields: Sequence[str] = ("prompt",)) -> list[tuple[str, str]]:
    """(id, prompt) pairs from a file or a built-in set.

    Args:
        source: "builtin:question", "builtin:continuation", a .jsonl file with `prompt` and perhaps `id` on
            every line, or any other text file with one prompt a line. Lines without an id are named by their
            number; empty lines are left out.
        fields: what the prompt may be called in a .jsonl file; of several, the first that a line has.

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
        name, prompt = _parsed(path, number, line, fields) if is_json else (str(number), line)
        if name in found:
            raise FileError(
                f"{path} line {number}: the id {name!r} occurs twice; ids must be unique (a line without "
                "one is named by its number)"
            )
        found[name] = prompt
    if not found:
        raise FileError(f"prompts {path} is empty; write one prompt a line")
    return list(found.items())


def _parsed(path: Path, number: int, line: str, fields: Sequence[str]) -> tuple[str, str]:
    try:
        record: Any = json.loads(line)
        field = next(name for name in fields if name in record)
        prompt = record[field]
        name = record.get("id", str(number))
        f"{name}{prompt}".encode()
    except (ValueError, StopIteration, TypeError, AttributeError, RecursionError) as error:
        possible = " or ".join(f'a "{name}"' for name in fields)
        raise FileError(
            f"{path} line {number} is not a JSON object with {possible}; write "
            f'{{"id": "a-1", "{fields[0]}": "..."}} on every line, or use a .txt file with one prompt a line'
        ) from error
    named = (isinstance(name, str) and name) or (isinstance(name, int) and not isinstance(name, bool))
    if not isinstance(prompt, str) or not prompt.strip() or not named:
        raise FileError(f'{path} line {number}: "{field}" must be text, and "id" text or a whole number')
    return str(name), prompt
