"""Texts of a preset read back under the key: by both models (model-aware), or by the draft (anchored)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from paper_repro.presets import LENGTHS
from paper_repro.trials.fixed import FPR, CellEvidence
from tradeoff.detection import AnchorReading, ModelAware, Seeds, rate
from tradeoff.display import Words, stderr
from tradeoff.errors import FileError
from tradeoff.files import replacing
from tradeoff.keyed import KeyedPrf, Prf
from tradeoff.llm import ModelPair, Sampling, read_anchor, replay
from tradeoff.texts import Prompt, Record

__all__ = ["BUCKETS", "anchor_texts", "kept_entries", "model_aware_table", "replay_texts", "short"]

#: Numbers of buckets that anchored texts are read in, beside tokens.
BUCKETS = (2, 4, 16)


def replay_texts(
    texts: CellEvidence, prompts: Sequence[Prompt], prf: Prf, pair: ModelPair, count: int, path: Path
) -> list[dict[str, Any]]:
    """Replays of the first `count` texts, kept in `path` one JSON object a line; only missing ones are run.

    Raises:
        FileError: if the file holds something else or cannot be written.
    """
    sampling = Sampling(texts.cell.temperature)

    def run(prompt: Sequence[int], record: Record) -> dict[str, Any]:
        found = replay(pair, texts.method, prf, sampling, prompt, record.token_ids)
        return {
            "index": found.index.tolist(),
            "hits": found.hits.astype(int).tolist(),
            "probability": short(found.probability),
        }

    return kept_entries(texts, prompts, count, path, "model-aware", run)


def anchor_texts(
    texts: CellEvidence, prompts: Sequence[Prompt], prf: KeyedPrf, pair: ModelPair, count: int, path: Path
) -> list[AnchorReading]:
    """The first `count` texts as the draft model reads them, kept as by `replay_texts`.

    Raises:
        FileError: if the file holds something else or cannot be written.
    """
    sampling = Sampling(texts.cell.temperature)

    def run(prompt: Sequence[int], record: Record) -> dict[str, Any]:
        draft, n = pair.draft_model, pair.vocabulary_size
        found = read_anchor(draft, n, texts.method, prf, sampling, prompt, record.token_ids, BUCKETS)
        seeds = {
            str(m): {"hits": part.hits.astype(int).tolist(), "mass": short(part.mass)}
            for m, part in found.seeds.items()
        }
        return {"index": found.index.tolist(), "token_mass": short(found.token_mass), "seeds": seeds}

    return [
        AnchorReading(
            np.array(entry["index"], dtype=np.int64),
            np.array(entry["token_mass"], dtype=float),
            {
                int(m): Seeds(np.array(part["hits"], dtype=bool), np.array(part["mass"], dtype=float))
                for m, part in entry["seeds"].items()
            },
        )
        for entry in kept_entries(texts, prompts, count, path, "draft-aware", run)
    ]


def short(values: np.ndarray) -> list[float]:
    """Numbers as files of entries hold them: 7 digits."""
    return [float(f"{value:.7g}") for value in values]


def kept_entries(
    texts: CellEvidence,
    prompts: Sequence[Prompt],
    count: int,
    path: Path,
    title: str,
    run: Callable[[Sequence[int], Record], dict[str, Any]],
) -> list[dict[str, Any]]:
    """What `run` says of the first `count` texts, one entry each; what `path` holds is not run again.

    Args:
        texts: of a cell.
        prompts: of its set.
        count: how many texts.
        path: of a file with one JSON object a line.
        title: what is done, for people who wait.
        run: called with the token ids of a prompt and the record of its text.

    Raises:
        FileError: if the file holds something else or cannot be written.
    """
    by_id = {prompt.id: prompt for prompt in prompts}
    wanted = texts.records[:count]
    done = _read(path)
    missing = [record for record in wanted if _of(record) not in done]
    columns = (Words(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True) as progress, _appending(path) as file:
        task = progress.add_task(f"{title}, {texts.cell.name}", total=len(missing))
        for record in missing:
            entry = {"text": _of(record), **run(by_id[record.id].token_ids, record)}
            done[_of(record)] = entry
            file.write(json.dumps(entry) + "\n")
            file.flush()
            progress.advance(task)
    return [done[_of(record)] for record in wanted]


def model_aware_table(
    found: Sequence[tuple[CellEvidence, list[dict[str, Any]]]], epsilon: float = 0.1
) -> pd.DataFrame:
    """TPR of the model-aware test against length: one row a cell and length."""
    test = ModelAware(epsilon)
    rows = []
    for texts, replays in found:
        for tokens in (n for n in LENGTHS if n <= texts.cell.max_tokens):
            verdicts = []
            for entry in replays:
                part = int(np.searchsorted(entry["index"], tokens))
                hits, probability = np.array(entry["hits"][:part]), np.array(entry["probability"][:part])
                verdicts.append(part > 0 and test.test(hits, probability).log_p <= np.log(FPR))
            tpr = rate(np.array(verdicts))
            rows.append(
                {
                    "prompts": texts.cell.prompts.name,
                    "temperature": texts.cell.temperature,
                    "watermark": texts.cell.watermark,
                    "method": texts.cell.label,
                    "lookahead": texts.cell.lookahead,
                    "tokens": tokens,
                    "texts": tpr.texts,
                    "tpr": tpr.value,
                    "tpr_low": tpr.low,
                    "tpr_high": tpr.high,
                    "hits": float(np.mean([hit for entry in replays for hit in entry["hits"]])),
                }
            )
    return pd.DataFrame(rows)


def _of(record: Record) -> str:
    """Which text a replay belongs to: another one for the same prompt is replayed anew."""
    words = hashlib.blake2b(json.dumps(record.token_ids).encode(), digest_size=8).hexdigest()
    return f"{record.id} {record.prompt_hash} {record.run.key} {words}"


def _appending(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path} cannot be written ({error}); choose another folder") from error


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """What a file holds; a line that a kill left unfinished is cut off."""
    if not path.exists():
        return {}
    try:
        content = path.read_text(encoding="utf-8")
        whole = content[: content.rfind("\n") + 1]
        if whole != content:
            with replacing(path) as temporary:
                temporary.write_text(whole, encoding="utf-8")
        entries = [json.loads(line) for line in whole.splitlines()]
        return {entry["text"]: entry for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path} does not hold replays ({error}); remove it") from error
