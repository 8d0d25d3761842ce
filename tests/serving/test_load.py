"""A thousand requests by sixteen clients, and the benchmark that times them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from paper_repro.measuring import Tables
from tests.benchmarks.serving.bench_serve import CLIENTS, ids_of, load, measure, words_of
from tests.serving.asking import Served

pytestmark = pytest.mark.slow


def test_a_thousand_requests_of_two_hundred_tokens_have_no_error(tmp_path: Path) -> None:
    with Served(tmp_path, ["--workers", "2"]) as server:
        for questions in (ids_of(1_000), words_of(1_000)):
            row, wrong = load(server, questions)
            assert wrong == []
            assert (row["requests"], row["clients"], row["tokens"]) == (1_000, 16, 200)
        counted = server.ask("GET", "/metrics").body.decode()
    assert 'tradeoff_requests_total{path="/v1/detect",status="200"} 2000.0' in counted


def test_the_benchmark_writes_what_it_measured(tmp_path: Path) -> None:
    measure(2 * CLIENTS, 1, Tables(tmp_path))
    table = pd.read_csv(tmp_path / "serve.csv")
    assert list(table["what"]) == ["token ids", "words"]
    assert list(table["errors"]) == [0, 0]
    assert (table["p50_ms"] <= table["p99_ms"]).all()
