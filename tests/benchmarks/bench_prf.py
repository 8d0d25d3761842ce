"""Timings of the pseudorandom functions on one core, beside Philox with as many bits a token.

    python -m tests.benchmarks.bench_prf [--out tests/benchmarks/results]

Races of a whole vocabulary (hash, mixer, uniform, logarithm) for one context and for 16, in NumPy and on
CPU tensors; the mixer alone in torch's own operations; a million (context, token) pairs, as a detector
evaluates them. Medians.
"""

from __future__ import annotations

import numpy as np
import torch
import typer
from rich.table import Table

from paper_repro.measuring import OutOption, Tables, seconds_of, spread_of
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.keyed.bits import minus_log, mix, open_unit
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox, philox4x32
from tradeoff.keyed.prf import Stream

N = 49_152
LARGE_N = 151_936
PAIRS = 1_000_000
RUNS = 41


def wide_philox(groups: np.ndarray, state: np.ndarray) -> np.ndarray:
    """The races of Philox4x32-10 with 64 bits a token, two tokens an evaluation: [2 m]."""
    words = philox4x32((groups, state[:1], state[1:2], state[2:3]), (0x01234567, 0x89ABCDEF))
    bits = np.stack([words[0] << 32 | words[1], words[2] << 32 | words[3]], axis=-1).reshape(-1)
    return minus_log(open_unit(bits))


def torch_race(keys: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The race of the default function in torch's own operations."""
    return minus_log(open_unit(mix(keys, tokens)))


def main(out: OutOption = None) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measure(Tables(out))


def measure(tables: Tables) -> None:
    """Time every function on every input."""
    rng = np.random.default_rng(0)
    default, vllm = KeyedPrf(Key.new(), 4), VllmPhilox(int(rng.integers(1 << 62)))
    table = Table("what", "milliseconds (median)", "asked for")
    table.columns[1].justify = "right"
    rows = []

    def add(what: str, function, asked: str = "", runs: int = RUNS) -> None:
        function()
        times = spread_of([1000 * seconds for seconds in seconds_of(function, runs)])
        rows.append({"what": what, **times})
        table.add_row(what, f"{times['median']:.2f}", asked)

    for batch in (1, 16):
        contexts, tokens = rng.integers(0, N, (batch, 4)), np.arange(N)
        what = f"{batch} x {N:,} races"
        asked = "< 1.5" if batch == 1 else ""
        add(f"{what}, NumPy", lambda c=contexts, t=tokens: default.race(Stream.SHARED, c, t), asked)
        keys = torch.from_numpy(default._context_keys("race", Stream.SHARED, contexts))
        for threads in (1, 2):
            torch.set_num_threads(threads)
            ids = torch.arange(N)
            label = f"{threads} thread{'s' * (threads > 1)}"
            call = f"{what}, CPU tensors, {label}"
            add(call, lambda c=contexts, t=ids: default.race(Stream.SHARED, c, t), asked)
            add(f"{what}, torch operations, {label}", lambda k=keys, t=ids: torch_race(k, t))
        add(f"{what}, vLLM's format (24 bits)", lambda c=contexts, t=tokens: vllm.race(Stream.SHARED, c, t))
    groups, state = np.arange(N // 2), np.array([1, 2, 3])
    add(f"1 x {N:,} races, Philox4x32-10 of 64 bits a token", lambda: wide_philox(groups, state))
    add(
        f"1 x {LARGE_N:,} races, NumPy",
        lambda: default.race(Stream.SHARED, np.array([1, 2, 3, 4]), np.arange(LARGE_N)),
    )
    contexts, tokens = rng.integers(0, N, (PAIRS, 4)), rng.integers(0, N, (PAIRS, 1))
    add(f"{PAIRS:,} pairs, NumPy", lambda: default.race(Stream.SHARED, contexts, tokens), runs=3)
    add(f"{PAIRS:,} pairs, vLLM's format", lambda: vllm.race(Stream.SHARED, contexts, tokens), runs=3)
    stdout().print(table)
    tables.write("prf", rows)


if __name__ == "__main__":
    typer.run(main)
