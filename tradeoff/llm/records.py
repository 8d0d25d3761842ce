"""Generated texts as JSON lines: appended one by one, safe against kills, in prompt order at the end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tradeoff.decoders import decoder_name
from tradeoff.files import FileError
from tradeoff.llm.engine import EngineSettings
from tradeoff.llm.models import ModelPair
from tradeoff.llm.rows import GeneratedText, Prompt

__all__ = ["RecordFile", "read_records", "run_settings", "text_record"]

_FIRST_KEY = '{"id": '


def run_settings(pair: ModelPair, settings: EngineSettings) -> dict[str, Any]:
    """Everything that determines the text of a prompt, as it stands in every record.

    The key appears as its fingerprint only.
    """
    method, prf = settings.method, settings.prf
    return {
        "method": method.name,
        "watermark": decoder_name(method.decoder),
        "width": method.width,
        "lookahead": settings.lookahead if settings.drafts else 0,
        "prf": prf.name if prf and settings.marked else None,
        "context_width": prf.context_width if prf and settings.marked else None,
        "key": prf.fingerprint if prf and settings.marked else None,
        "temperature": settings.sampling.temperature,
        "top_k": settings.sampling.top_k,
        "top_p": settings.sampling.top_p,
        "max_tokens": settings.max_tokens,
        "ignore_eos": settings.ignore_eos,
        "seed": settings.seed,
        "target": pair.target_name,
        "draft": pair.draft_name if settings.drafts else None,
        "dtype": str(pair.dtype).removeprefix("torch."),
        "measured": settings.measure,
    }


def text_record(text: GeneratedText, run: dict[str, Any], words: str) -> dict[str, Any]:
    """One text as a record.

    Args:
        text: the generated text.
        run: settings of the run, as from `run_settings`.
        words: the decoded token ids.

    Returns:
        `id`, `prompt`, `prompt_tokens`, `token_ids`, `text`, `finish`, `accepted` (drafts a step), `sources`
        (d, r, b: one letter a token), `unmarked`, `logppl` (mean of -log P(token) as sampled), `logppl_model`
        (at temperature 1, nothing cut), `seconds`, and `run`; if measured, also `log_p`, `entropy`,
        `overlap` and `efficiency`, one number a token.
    """
    record: dict[str, Any] = {
        "id": text.prompt.id,
        "prompt": text.prompt.text,
        "prompt_tokens": len(text.prompt.token_ids),
        "token_ids": text.token_ids,
        "text": words,
        "finish": text.finish,
        "accepted": text.accepted,
        "sources": text.sources,
        "unmarked": text.unmarked,
        "logppl": _rounded(-float(np.mean(text.log_p))),
        "logppl_model": _rounded(-float(np.mean(text.log_p_model))),
        "seconds": round(text.seconds, 3),
    }
    if text.entropy is not None:
        measured = {
            "log_p": text.log_p,
            "entropy": text.entropy,
            "overlap": text.overlap,
            "efficiency": text.efficiency,
        }
        record |= {name: [_rounded(v) for v in values or []] for name, values in measured.items()}
    return record | {"run": run}


def _rounded(value: float | None) -> float | None:
    """Seven digits: more than float32 models give."""
    return None if value is None else float(f"{value:.7g}")


class RecordFile:
    """The texts of one run, one JSON object a line.

    Opening reads what is there: finished texts are not generated again. A last line that a kill left
    unfinished is dropped; every other line stays. A file of another run, or one that holds something else,
    is refused and not touched.

    Args:
        path: the file; it and its folder are made if need be.
        run: settings of this run, as from `run_settings`.

    Raises:
        FileError: if the file cannot be read or written, or belongs to something else.
    """

    def __init__(self, path: Path, run: dict[str, Any]):
        self.path, self._run = path, run
        self._done: dict[str, dict[str, Any]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise FileError(
                f"{path} cannot be read ({error.strerror or error}); choose another file"
            ) from error
        whole = content[: content.rfind(b"\n") + 1]
        half = content[len(whole) :]
        for number, record in _parsed(path, whole):
            self._check_run(number, record["run"])
            self._done[_identity(record["id"], record["prompt"])] = record
        start = _FIRST_KEY.encode()
        if half and not (half.startswith(start) or start.startswith(half)):
            raise FileError(f"{path} does not hold generated texts; choose another file")
        try:
            with path.open("ab") as stream:
                stream.truncate(len(whole))
        except OSError as error:
            raise FileError(
                f"{path} cannot be written ({error.strerror or error}); choose another file"
            ) from error

    def __len__(self) -> int:
        return len(self._done)

    @property
    def records(self) -> list[dict[str, Any]]:
        """All finished texts."""
        return list(self._done.values())

    def missing(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """The prompts that have no text yet, in order."""
        return [p for p in prompts if _identity(p.id, p.text) not in self._done]

    def append(self, record: dict[str, Any]) -> None:
        """Write one record and flush it.

        Raises:
            FileError: if the file cannot be written (a full disk, say); what was there before stays whole.
        """
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        size = None
        try:
            with self.path.open("ab") as stream:
                size = stream.tell()
                stream.write(line)
        except OSError as error:
            if size is not None:
                os.truncate(self.path, size)
            raise FileError(
                f"{self.path} cannot be appended to ({error.strerror or error}); the texts it holds are "
                "safe: make room and run the same command again"
            ) from error
        self._done[_identity(record["id"], record["prompt"])] = record

    def finish(self, prompts: Sequence[Prompt]) -> None:
        """Put the records in the order of the prompts; texts of other prompts follow. Atomic.

        Raises:
            FileError: if the file cannot be written.
        """
        order = [_identity(p.id, p.text) for p in prompts]
        wanted = {key: self._done[key] for key in order if key in self._done}
        wanted |= {key: record for key, record in self._done.items() if key not in wanted}
        if list(wanted) == list(self._done):
            return
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                for record in wanted.values():
                    stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            temporary.replace(self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise FileError(
                f"{self.path} cannot be put in order ({error.strerror or error}); its texts are complete: "
                "make room and run the same command again"
            ) from error
        self._done = wanted

    def _check_run(self, number: int, run: dict[str, Any]) -> None:
        differing = sorted(k for k in self._run.keys() | run.keys() if self._run.get(k) != run.get(k))
        if differing:
            shown = ", ".join(f"{k}: {run.get(k)} there, {self._run.get(k)} now" for k in differing[:4])
            raise FileError(
                f"{self.path} line {number} is a text of another run ({shown}); choose another file, or "
                "repeat that run's settings to go on with it"
            )


def read_records(path: Path) -> list[dict[str, Any]]:
    """All records of a file; an unfinished last line is left out.

    Raises:
        FileError: if the file is missing, unreadable, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    return [record for _, record in _parsed(path, content[: content.rfind(b"\n") + 1])]


def _parsed(path: Path, content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, record) of every line."""
    for number, line in enumerate(content.splitlines(), 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not _is_record(record):
            raise FileError(
                f"{path} line {number} is not a record of a generated text; repair or remove that line, or "
                "choose another file (nothing was changed)"
            )
        yield number, record


def _is_record(value: Any) -> bool:
    kinds = {"id": str, "prompt": str, "token_ids": list, "run": dict}
    return isinstance(value, dict) and all(isinstance(value.get(k), kind) for k, kind in kinds.items())


def _identity(prompt_id: str, prompt: str) -> str:
    return hashlib.blake2b(json.dumps([prompt_id, prompt]).encode(), digest_size=16).hexdigest()
