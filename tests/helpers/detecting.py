"""What the tests of `tradeoff detect` share: a key, texts under it, and the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tradeoff.cli import app
from tradeoff.decoders import SynthID
from tradeoff.decoders.synthid import TournamentBits
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Prf, Stream

runner = CliRunner()
KEY = Key(bytes(range(32)))
PRF = KeyedPrf(KEY)
VOCABULARY = 50


def marked(
    tokens: int,
    prf: Prf = PRF,
    stream: Stream = Stream.SHARED,
    seed: int = 0,
    alphabet: np.ndarray | None = None,
) -> list[int]:
    """Ids of a flat model of an alphabet, VOCABULARY tokens unless told, that won the races of `stream`."""
    letters = np.arange(VOCABULARY) if alphabet is None else alphabet
    rng, width = np.random.default_rng(seed), prf.context_width
    ids: list[int] = []
    seen: set[tuple[int, ...]] = set()
    for position in range(tokens):
        context = tuple(([-1] * width + ids)[-width:])
        free = (position < width and not prf.pads_contexts) or context in seen
        race = prf.race(stream, np.array(context), letters)
        ids.append(int(letters[rng.integers(len(letters)) if free else np.argmin(race)]))
        seen.add(context)
    return ids


def other(tokens: int, seed: int = 1) -> list[int]:
    return np.random.default_rng(seed).integers(0, VOCABULARY, tokens).tolist()


def tournament(tokens: int, rounds: int, stream: Stream) -> list[int]:
    """Ids that win tournaments of a flat model."""
    ids: list[int] = other(PRF.context_width)
    flat = np.full(VOCABULARY, 1 / VOCABULARY)
    seen: set[tuple[int, ...]] = set()
    while len(ids) < tokens:
        context = tuple(ids[-PRF.context_width :])
        bits = PRF.bits(stream, np.array(context), np.arange(VOCABULARY))
        law = SynthID(rounds)(flat, TournamentBits(lambda word, bits=bits: bits))
        # Else the text would go round in a circle.
        ids.append(int(np.argmax(law)) if context not in seen else len(ids) % VOCABULARY)
        seen.add(context)
    return ids


def lines(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def detect(folder: Path, *arguments: object, key: bool = True, **keywords):
    named = ["--key-file", str(folder / "key")] if key else []
    return runner.invoke(app, ["detect", *map(str, arguments), *named], **keywords)


def findings(result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def flat(output: str) -> str:
    return output.replace("\n", "")


def without_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the extra `llm`."""
    monkeypatch.setitem(sys.modules, "tradeoff.llm.models.words", None)
