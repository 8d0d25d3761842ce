"""A real `tradeoff serve` on loopback under load: requests a second, and how long each takes.

    python -m tests.benchmarks.serving.bench_serve [--requests 1000] [--out tests/benchmarks/results]

Sixteen clients ask at once, each its next question as soon as it has the answer to the last: 1,000 texts of
200 tokens, as token ids, of which half are watermarked, and as words. Clients and server share the machine.
Anything but an answer with one verdict is an error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from paper_repro.measuring import OutOption, Tables
from tests.helpers.detecting import marked
from tests.serving.asking import JSON, Served
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.llm import load_words
from tradeoff.texts import builtin_prompts

REQUESTS, CLIENTS, LENGTH = 1_000, 16, 200


def ids_of(requests: int) -> list[dict[str, Any]]:
    """Texts as token ids; every other one is watermarked."""
    rng = np.random.default_rng(0)
    return [
        {"token_ids": marked(LENGTH, seed=k) if k % 2 else rng.integers(0, 49_152, LENGTH).tolist()}
        for k in range(requests)
    ]


def words_of(requests: int) -> list[dict[str, Any]]:
    """Texts in words: prose, from so many places, of as many tokens each."""
    tokenizer = load_words("builtin")
    prose = " ".join(words for _, words in builtin_prompts("continuation"))
    (ids,) = tokenizer([prose], add_special_tokens=False)["input_ids"]
    starts = np.random.default_rng(0).integers(0, len(ids) - LENGTH, requests)
    return [{"text": str(tokenizer.decode(ids[start : start + LENGTH]))} for start in starts]


def asked(server: Served, questions: Sequence[dict[str, Any]]) -> tuple[list[float], list[str]]:
    """Of all questions of one client the seconds, and what went wrong."""
    connection, seconds, wrong = server.connect(), list[float](), list[str]()
    for question in questions:
        body = json.dumps(question).encode()
        start = time.perf_counter()
        try:
            connection.request("POST", "/v1/detect", body, JSON)
            answer = connection.getresponse()
            told = json.loads(answer.read())
        except (OSError, HTTPException, ValueError) as error:
            wrong.append(repr(error))
            connection.close()
            continue
        seconds.append(time.perf_counter() - start)
        if answer.status != 200 or len(told["results"]) != 1:
            wrong.append(f"{answer.status} {told}")
    connection.close()
    return seconds, wrong


def load(server: Served, questions: Sequence[dict[str, Any]]) -> tuple[dict[str, object], list[str]]:
    """All questions asked by all clients: what is measured, and what went wrong."""
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        found = list(clients.map(lambda first: asked(server, questions[first::CLIENTS]), range(CLIENTS)))
    whole = time.perf_counter() - start
    seconds = np.array([one for some, _ in found for one in some])
    wrong = [one for _, some in found for one in some]
    row: dict[str, object] = {
        "requests": len(questions),
        "clients": CLIENTS,
        "tokens": LENGTH,
        "errors": len(wrong),
        "requests_a_second": len(questions) / whole,
        "p50_ms": 1000 * float(np.quantile(seconds, 0.5)),
        "p99_ms": 1000 * float(np.quantile(seconds, 0.99)),
    }
    return row, wrong


def main(
    requests: Annotated[int, typer.Option(help="How many are asked, of each kind.")] = REQUESTS,
    workers: Annotated[int, typer.Option(help="Processes of the server that judge.")] = 2,
    out: OutOption = None,
) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measure(requests, workers, Tables(out))


def measure(requests: int, workers: int, tables: Tables) -> None:
    """Both kinds of questions, to one server."""
    kinds, rows = {"token ids": ids_of(requests), "words": words_of(requests)}, []
    with (
        TemporaryDirectory() as folder,
        Served(Path(folder), ["--workers", str(workers), "--queue", "64"]) as server,
    ):
        for what, questions in kinds.items():
            # Processes have their first requests behind them.
            load(server, questions[: 4 * CLIENTS])
            row, wrong = load(server, questions)
            if wrong:
                raise RuntimeError(f"{len(wrong)} of {requests} requests failed, first {wrong[0][:300]}")
            rows.append({"what": what, "workers": workers, **row})
    shown = Table("what", "requests", "errors", "requests/s", "p50, ms", "p99, ms")
    for row in rows:
        shown.add_row(
            *(str(row[name]) for name in ("what", "requests", "errors")),
            *(f"{row[name]:.1f}" for name in ("requests_a_second", "p50_ms", "p99_ms")),
        )
    stdout().print(shown)
    tables.write("serve", rows)


if __name__ == "__main__":
    typer.run(main)
