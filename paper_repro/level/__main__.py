"""Nominal level against realised rate of false alarms, of others' statistics and ours.

    python -m paper_repro.level --out FOLDER [--texts 60 30 20] [--keys 200 100 50] [--only KGW]

Texts that people wrote (prose, code, lists and tables, 200 tokens each) are tested under keys of their own,
new ones for every text. What is found is appended to FOLDER/level.jsonl as it comes, a text and statistic a
line, and a run that was stopped goes on there; FOLDER/level.csv is the table of all lines. Statistics of
packages that are not installed are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.progress import track
from scipy import stats

from paper_repro.level.human import KINDS, human_texts
from paper_repro.level.statistics import STATISTICS, UNTRAINED, Statistics
from paper_repro.measuring import environment
from tradeoff.display import exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.llm import load_tokenizer

__all__ = ["NOMINAL", "counted", "table_of"]

NOMINAL = (1e-2, 1e-3, 1e-4, 1e-6)
TOKENS = 200
#: How a verdict by a posterior above 1/2 is told, which has no level.
POSTERIOR = "posterior above 1/2"
_SEED = 20
_LEVEL = 0.95
_PACKAGES = {"Transformers": "transformers", "MarkLLM": "markllm", "synthid-text": "synthid-text"}


def counted(statistics: Statistics, ids: np.ndarray, keys: int, seed: list[int]) -> list[list[int]]:
    """How many of so many keys call a text, for every statistic at every level of NOMINAL."""
    rng = np.random.default_rng(seed)
    p = np.array([statistics.p_values(ids, rng) for _ in range(keys)])
    return [[int((column <= level).sum()) for level in NOMINAL] for column in p.T]


def table_of(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a statistic, kind of text and level: realised rates with their intervals.

    Given the texts, keys are independent, so that the number of alarms is a sum of independent events, whose
    tails are lighter than those of a binomial law of the same mean (Hoeffding 1956): Clopper-Pearson's
    interval holds for the mean rate of these texts.
    """
    parts: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        parts[tuple(str(line[name]) for name in ("software", "version", "statistic", "kind"))].append(line)
    rows = []
    for (software, told, name, kind), part in parts.items():
        called = np.sum([line["called"] for line in part], axis=0)
        trials = sum(line["keys"] for line in part)
        levels: list[object] = [POSTERIOR] if name == UNTRAINED else list(NOMINAL)
        for level, count in zip(levels, called.tolist(), strict=False):
            low = stats.beta.ppf((1 - _LEVEL) / 2, count, trials - count + 1) if count else 0.0
            high = stats.beta.ppf((1 + _LEVEL) / 2, count + 1, trials - count) if count < trials else 1.0
            rows.append(
                {
                    "software": software,
                    "version": told,
                    "statistic": name,
                    "kind": kind,
                    "nominal": level,
                    "texts": len(part),
                    "trials": trials,
                    "called": count,
                    "rate": count / trials,
                    "low": float(low),
                    "high": float(high),
                }
            )
    order = [(one.software, name) for one in STATISTICS for name in one.names]

    def place(row: dict[str, object]) -> tuple[int, int]:
        return order.index((str(row["software"]), str(row["statistic"]))), KINDS.index(str(row["kind"]))

    return pd.DataFrame(sorted(rows, key=place))


def main(
    out: Annotated[Path, typer.Option(help="Folder of level.jsonl and level.csv.")],
    texts: Annotated[
        tuple[int, int, int],
        typer.Option(help="Of each kind, for statistics that take a millisecond, some, and tens of them."),
    ] = (60, 30, 20),
    keys: Annotated[tuple[int, int, int], typer.Option(help="Of every text, likewise.")] = (200, 100, 50),
    only: Annotated[str | None, typer.Option(help="Only statistics whose name or software has this.")] = None,
) -> None:
    """Measure rates of false alarms."""
    with exit_on_bad_input():
        folder = output_folder(out)
        path = folder / "level.jsonl"
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
        known = {(line["software"], line["statistic"], line["kind"], line["text"]) for line in lines}
        tokenizer = load_tokenizer("builtin")
        read = {kind: human_texts(kind, tokenizer, max(texts), TOKENS) for kind in KINDS}
        told = environment()
        plan = list(_plan(read, texts, only))
        with path.open("a", encoding="utf-8") as file:
            for one, kind, number in track(plan, "texts", console=stderr(), transient=True):
                ids = read[kind][number]
                digest = hashlib.sha256(ids.tobytes()).hexdigest()[:16]
                if all((one.software, name, kind, digest) in known for name in one.names):
                    continue
                found = counted(one, ids, keys[one.cost - 1], [_SEED, KINDS.index(kind), number])
                for name, called in zip(one.names, found, strict=True):
                    line = {
                        "software": one.software,
                        "version": version(_PACKAGES[one.software]) if one.needs else "",
                        "statistic": name,
                        "kind": kind,
                        "text": digest,
                        "keys": keys[one.cost - 1],
                        "called": called,
                    }
                    file.write(json.dumps(line) + "\n")
                    lines.append(line)
                file.flush()
        table = table_of(lines).assign(**told)
        write_table(table, folder / "level.csv")
        print_written(stdout(), [folder / "level.csv"])


def _plan(
    read: dict[str, list[np.ndarray]], texts: tuple[int, int, int], only: str | None
) -> Iterator[tuple[Statistics, str, int]]:
    """Text by text, so that a run that is stopped has something of every statistic."""
    for number in range(max(texts)):
        for kind in KINDS:
            for one in STATISTICS:
                wanted = only is None or only in one.software or any(only in name for name in one.names)
                if wanted and one.here and number < min(texts[one.cost - 1], len(read[kind])):
                    yield one, kind, number


if __name__ == "__main__":
    typer.run(main)
