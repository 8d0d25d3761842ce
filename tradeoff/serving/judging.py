"""One request judged, in a process of its own: bytes to texts, texts to verdicts. It is the reader and the
examiner of `tradeoff detect`, asked for what that is asked for."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tradeoff.errors import FileError
from tradeoff.keyed import Keyring
from tradeoff.serving.limits import Limits, Setup
from tradeoff.serving.refusals import Refusal, of_error, too_large
from tradeoff.texts import STDIN, Broken, Text, read_texts
from tradeoff.verdicts import Examiner, Result, Setting, answer_html

__all__ = ["Job", "Judge", "Judged"]

#: Texts that a page shows.
_ON_A_PAGE = 20


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be judged.

    Attributes:
        name: of the file; "-" for a line of JSON, as it would come on standard input.
        content: its bytes.
        said: options of `tradeoff.verdicts.Options` that the request sets.
        field: of JSON or a table, that has the text.
        page: whether answers are to be shown to people.
    """

    name: str
    content: bytes = field(repr=False)
    said: dict[str, Any] = field(default_factory=dict)
    field: str | None = None
    page: bool = False


@dataclass(frozen=True)
class Judged:
    """What was found.

    Attributes:
        results: of every text, as `tradeoff detect --json` prints it.
        unread: why others could not be read.
        warnings, notes: what `tradeoff detect` says beside.
        shown: of every text the part of a page, where one was asked for.
        tokens: of all texts that were judged.
    """

    results: list[dict[str, Any]]
    unread: list[str]
    warnings: list[str]
    notes: list[str]
    shown: list[str]
    tokens: int


class Judge:
    """Judges requests one after the other; none leaves anything behind for the next.

    Args:
        setup: of the server.

    Raises:
        ValueError: for keys that cannot be read, or do not fit the options.
    """

    def __init__(self, setup: Setup):
        self._options, self._limits = setup.options, setup.limits
        keyring = setup.read_keys()
        self._examiner = Examiner(setup.options, keyring, _ignore, _ignore)
        #: What is told of the keys: no secret.
        self.keys = _told_keys(keyring, self._examiner.settings)

    def warm(self) -> list[str]:
        """Load what words need; what is missing, in a line each."""
        try:
            self._examiner.examine(Text("warm", STDIN, STDIN, None, ["Words, to be split."]))
        except ValueError as error:
            return [str(error)]
        return []

    def judge(self, job: Job) -> Judged | Refusal:
        """What is found, or why nothing is."""
        try:
            options = replace(self._options, **job.said)
        except ValueError as error:
            return of_error("invalid_argument", next(iter(job.said), ""), error)
        warnings, notes = list[str](), list[str]()
        examiner = self._examiner.anew(options, warnings.append, notes.append)
        texts = _texts(job, self._limits, warnings.append, notes.append)
        if isinstance(texts, Refusal):
            return texts
        argument = "request" if job.name == STDIN else "file"
        results, unread = list[Result](), list[str]()
        for found in examiner.examine_all(texts):
            if isinstance(found, Broken):
                unread.append(found.message)
            else:
                results.append(found)
        if not results:
            why = unread[0] if unread else "it holds no text; send one with words or token ids"
            return of_error("unreadable", argument, why.removeprefix(f"{STDIN} line 1").lstrip(": "))
        return Judged(
            [result.to_dict() for result in results],
            unread,
            warnings,
            notes,
            list(_shown(results, texts, job)) if job.page else [],
            sum(len(result.token_ids) for result in results),
        )


def _ignore(_: str) -> None:
    """What is said of no request."""


def _told_keys(keyring: Keyring, settings: Iterable[Setting]) -> list[dict[str, Any]]:
    """Of every key its names and days, and what is looked for under it."""
    tests = list(settings)
    return [
        {
            "fingerprint": key.fingerprint,
            "name": key.name,
            "valid_from": None if key.valid_from is None else key.valid_from.isoformat(),
            "valid_until": None if key.valid_until is None else key.valid_until.isoformat(),
            "settings": [_told_setting(one) for one in tests if one.key is key],
        }
        for key in keyring
    ]


def _told_setting(setting: Setting) -> dict[str, Any]:
    scheme = setting.scheme
    return {
        "method": None if scheme is None else scheme.method.name,
        "watermark": None if scheme is None else scheme.watermark,
        "alpha": None if scheme is None else scheme.method.alpha,
        "prf": setting.prf.name,
        "context_width": setting.prf.context_width,
        "detector": setting.detector.name,
        # Where somebody keeps files is nobody else's business.
        "tokenizer": Path(setting.tokenizer).name,
    }


def _texts(
    job: Job, limits: Limits, warn: Callable[[str], None], note: Callable[[str], None]
) -> list[Text | Broken] | Refusal:
    """The texts of a request, with their words in memory."""
    if job.name == STDIN:
        found = read_texts([STDIN], io.BytesIO(job.content), warn, field=job.field, note=note)
        return _bounded(found, limits, "request")
    with _as_file(job):
        return _bounded(
            read_texts([job.name], io.BytesIO(), warn, field=job.field, note=note), limits, "file"
        )


@contextmanager
def _as_file(job: Job) -> Iterator[None]:
    """Work in a folder of this user alone that holds the file under its name, and nothing else."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, job.name).write_bytes(job.content)
        # Messages then tell the name alone.
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def _bounded(texts: Iterable[Text | Broken], limits: Limits, argument: str) -> list[Text | Broken] | Refusal:
    held, characters, tokens = list[Text | Broken](), 0, 0
    for text in texts:
        if len(held) == limits.max_texts:
            most = limits.max_texts
            return too_large("too_many_texts", argument, f"more than {most:,}", most, "texts")
        here = _held(text)
        held.append(here)
        if isinstance(here, Text):
            characters += sum(map(len, here.pieces or ()))
            tokens += 0 if here.token_ids is None else len(here.token_ids)
        if characters > limits.max_characters:
            most = limits.max_characters
            return too_large("too_many_characters", argument, f"more than {most:,}", most, "characters")
        if tokens > limits.max_tokens:
            most = limits.max_tokens
            return too_large("too_many_tokens", argument, f"more than {most:,}", most, "token ids")
    return held


def _held(text: Text | Broken) -> Text | Broken:
    """A text with its words, or why they cannot be read."""
    if isinstance(text, Broken) or text.pieces is None:
        return text
    try:
        return replace(text, pieces=list(text.pieces))
    except FileError as error:
        return Broken(text.source, str(error))


def _shown(results: list[Result], texts: list[Text | Broken], job: Job) -> Iterator[str]:
    for number, result in enumerate(results[:_ON_A_PAGE], 1):
        text = result.text
        words = "".join(text.pieces) if isinstance(text.pieces, list) else None
        name = "your text" if job.name == STDIN else text.label
        yield answer_html(result, words, name, number)
