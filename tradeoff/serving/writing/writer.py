"""Texts written in a process of its own, as `tradeoff generate` writes them, and told as rounds end."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tradeoff.api import generate
from tradeoff.serving.limits import Writing
from tradeoff.serving.piped import Failure, at_work, silent
from tradeoff.serving.refusals import Refusal, busy, of_error

__all__ = ["Piece", "Stopped", "Wish", "Writer", "Written", "answer_all", "work"]

#: What is continued before anything is asked for: models that were never run are checked then.
_FIRST = "Words, to be continued."
#: Arguments of a request by their names in `tradeoff.generate`, where these differ.
_OTHER_NAMES = {"tokens": "max_tokens"}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be written.

    Attributes:
        prompt: what the text continues, or is to answer.
        max_tokens: longest text.
        sampling: temperature, top_k, top_p and min_p, as far as they are said.
        min_tokens, stop: as of `tradeoff.llm.Controls`.
        samples: texts of the prompt.
        seed: of the true randomness.
        chat: ask in the tokenizer's chat format.
    """

    prompt: str = field(repr=False)
    max_tokens: int
    sampling: dict[str, Any] = field(default_factory=dict)
    min_tokens: int = 0
    stop: tuple[str, ...] = field(default=(), repr=False)
    samples: int = 1
    seed: int = 0
    chat: bool = False


@dataclass(frozen=True)
class Piece:
    """What a text got in a round.

    Attributes:
        sample: which of several texts of the prompt, from 0.
        text: whole words, which may be of tokens before; "" for none yet.
        token_ids: the tokens.
    """

    sample: int
    text: str
    token_ids: list[int]


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        results: records of `tradeoff generate`, as JSON.
        warnings, notes: what it says beside.
    """

    results: list[dict[str, Any]]
    warnings: list[str]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """As it is answered."""
        return {"results": self.results, "warnings": self.warnings, "notes": self.notes}


class Stopped(Exception):
    """Raised where a text is written that nobody waits for any more."""


class Writer:
    """Writes one wish after the other; none leaves anything behind for the next.

    Args:
        setup: of the server.
        pair: models that are loaded already; None to load those of the setup.

    Raises:
        ValueError: for a key that cannot be read or does not fit, or models that cannot be had.
        RuntimeError: for the same of models.
    """

    def __init__(self, setup: Writing, pair: Any = None):
        from tradeoff.llm import load_pair

        self._setup, self._key = setup, setup.read_key()
        if pair is None:
            how = {"device": setup.device, "dtype": setup.dtype}
            pair = load_pair(setup.target, setup.draft, **how, progress=setup.progress)
        # Where somebody keeps files is nobody else's business.
        self._pair = replace(
            pair, target_name=_name_of(pair.target_name), draft_name=_name_of(pair.draft_name)
        )

    @property
    def key(self) -> str:
        """The fingerprint of the key that marks."""
        return self._key.fingerprint

    def warm(self) -> list[str]:
        """Write a few tokens; what there is to say of models, key and scheme, in a line each."""
        answer = self.write(Wish(prompt=_FIRST, max_tokens=4), lambda _: None)
        if isinstance(answer, Refusal):
            raise ValueError(f"{answer.message}; {answer.remedy}")
        return [*answer.warnings, *answer.notes]

    def write(self, wish: Wish, show: Callable[[Piece], None]) -> Written | Refusal:
        """What was written, or why nothing was.

        Args:
            wish: what is asked for.
            show: called with what texts get; what it raises ends them.
        """
        from tradeoff.llm import Controls, Pieces

        if not self._key.valid_on(date.today()):
            # It was valid when the server was started.
            return busy("the days of the key that marks are over; the server needs another one", "unable")
        pieces = [Pieces(self._decode, wish.stop) for _ in range(wish.samples)]
        warnings, notes = list[str](), list[str]()

        def emitted(prompt: Any, tokens: list[int]) -> None:
            show(Piece(prompt.sample, pieces[prompt.sample].feed(tokens), tokens))

        try:
            texts = generate(
                [wish.prompt],
                self._setup.scheme,
                self._key.key,
                pair=self._pair,
                tokens=wish.max_tokens,
                lookahead=self._setup.lookahead,
                **wish.sampling,
                controls=Controls(min_tokens=wish.min_tokens, stop=wish.stop),
                samples=wish.samples,
                batch=wish.samples,
                seed=wish.seed,
                chat=wish.chat,
                emitted=emitted,
                warn=warnings.append,
                note=notes.append,
            )
        except ValueError as error:
            return of_error("invalid_argument", _argument_of(str(error), wish), error)
        for sample, held in enumerate(pieces):
            if rest := held.end():
                show(Piece(sample, rest, []))
        if any(held.rewritten for held in pieces):
            warnings.append("the tokenizer changed words that had been sent; take the text of the record")
        return Written([record.to_json() for record in texts], warnings, notes)

    def _decode(self, tokens: list[int]) -> str:
        return str(self._pair.tokenizer.decode(tokens, skip_special_tokens=True))


def work(pipe: Connection, setup: Writing) -> None:
    """What the process does until its pipe ends."""
    at_work()
    try:
        writer = Writer(setup)
        notes = writer.warm()
    except (ValueError, RuntimeError, OSError) as error:
        pipe.send(str(error))
        return
    silent()
    pipe.send((writer.key, notes))
    answer_all(pipe, writer)


def answer_all(pipe: Connection, writer: Writer) -> None:
    """Answer wishes with pieces and what was written; what comes meanwhile stops a text."""

    def show(piece: Piece) -> None:
        if pipe.poll():
            pipe.recv()
            raise Stopped
        pipe.send(piece)

    with suppress(EOFError, ConnectionError):
        while True:
            wish = pipe.recv()
            if wish is None:
                # It came too late, and the text is done.
                continue
            try:
                answer: Any = writer.write(wish, show)
            except Stopped as stopped:
                answer = stopped
            except (EOFError, ConnectionError):
                return
            except Exception as error:
                answer = Failure(error)
            pipe.send(answer)


def _name_of(model: str) -> str:
    return Path(model).name if Path(model).exists() else model


def _argument_of(message: str, wish: Wish) -> str:
    """Which argument of a request an error names."""
    names = "|".join((*vars(wish), *_OTHER_NAMES, "temperature", "top_k", "top_p", "min_p"))
    found = re.search(rf"\b({names})=|^(prompt)\b", message)
    if found is None:
        return ""
    name = found[1] or found[2]
    return _OTHER_NAMES.get(name, name)
