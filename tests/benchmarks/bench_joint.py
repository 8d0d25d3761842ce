"""What the joint methods cost over those that they replace, on the built-in pair.

    python -m tests.benchmarks.bench_joint [--rounds 24] [--wide-rounds 8] [--positions 40] [--out FOLDER]

Two tables:
  - overhead a round (K drafts, one pass of the target, the verdicts), at batch 1 and 16 and at temperature 1
    and 0.7 with nothing cut: the joint race over one race, the joint tournament over Algorithm 1. Two engines
    with the same prompts and key take their rounds in turns, so that a machine whose speed drifts drifts for
    both. Beside the ratio of rounds stands how much longer the methods themselves took, as a share of the
    other's round: the passes of the models, which are the same, bring no noise into it;
  - milliseconds a position of every kernel alone, on laws of the pair: draft, verdict, and the replacement
    where there is one, without the pseudorandom numbers. The joint tournament at several cuts.

Times are those of this thread (`time.thread_time`), so set OMP_NUM_THREADS=1 for a count of all work; with
more threads they are what the first one takes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Annotated, Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import typer
from rich.table import Table

from paper_repro.measuring import OutOption, Tables
from tests.benchmarks.bench_engine import LOOKAHEAD, PRF, WIDE
from tradeoff.decoders import SynthID
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.kernels import Algorithm1, JointRace, JointTournament, KeyedRandomness, Method, OneRace
from tradeoff.llm.encoding import encode_prompts
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.generation.vocabulary import vocabulary_ids
from tradeoff.llm.models.pair import ModelPair, load_pair
from tradeoff.llm.sampling import Sampling
from tradeoff.texts.corpus import builtin_prompts
from tradeoff.texts.prompts import Prompt

TEMPERATURES = (1.0, 0.7)
COMPARED: dict[str, tuple[Method, Method]] = {
    "joint-race over one-race, gumbel": (JointRace(), OneRace()),
    "joint-tournament over algorithm-1, synthid:30": (JointTournament(SynthID(30)), Algorithm1(SynthID(30))),
}
KERNELS: dict[str, Method] = {
    "one-race": OneRace(),
    "joint-race": JointRace(),
    "algorithm-1, synthid:30": Algorithm1(SynthID(30)),
    **{
        f"joint-tournament, synthid:30, cut {cut:g}": JointTournament(SynthID(30), cut=cut)
        for cut in (1e-5, 1e-6, 0.0)
    },
}
_WARM_UP = 2
#: What the engine asks of a method.
_ASKED = ("candidates", "settles", "after_rejection", "bonus")


class Times(NamedTuple):
    """Seconds of every round, and of the method within it."""

    rounds: list[float]
    methods: list[float]


class Lane:
    """One engine whose rounds are timed.

    Args:
        pair: the models.
        method: kernel and watermark.
        temperature: of both models.
        prompts: as many as texts at a time.
        tokens: longest text, which no text may reach.
    """

    def __init__(
        self, pair: ModelPair, method: Method, temperature: float, prompts: Sequence[Prompt], tokens: int
    ):
        settings = EngineSettings(
            method=method,
            prf=PRF,
            sampling=Sampling(temperature),
            lookahead=LOOKAHEAD,
            max_tokens=tokens,
            ignore_eos=True,
        )
        self._engine = Engine(pair, settings, len(prompts), probe=False)
        self._engine._admit(deque(prompts))
        self.times = Times([], [])

    def round(self) -> None:
        """One round of all texts."""
        kind = type(self._engine.settings.method)
        with asked_of(kind) as spent:
            start = time.thread_time()
            self._engine.speculator.round(self._engine._rows)
            self.times.rounds.append(time.thread_time() - start)
        self.times.methods.append(sum(spent))


@contextmanager
def asked_of(kind: type[Method]) -> Iterator[list[float]]:
    """The seconds of every call of a method by the engine."""
    spent: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.thread_time()
            answer = function(*arguments)
            spent.append(time.thread_time() - start)
            return answer

        return call

    with patch.multiple(kind, **{name: timed(getattr(kind, name)) for name in _ASKED}):
        yield spent


def in_turns(
    pair: ModelPair, methods: tuple[Method, Method], temperature: float, prompts: list[Prompt], rounds: int
) -> tuple[Times, Times]:
    """Times of two methods whose rounds take turns, each the first one every other time."""
    most = (LOOKAHEAD + 1) * (rounds + _WARM_UP) + 1
    first, second = (Lane(pair, method, temperature, prompts, most) for method in methods)
    for turn in range(rounds + _WARM_UP):
        for lane in (first, second) if turn % 2 else (second, first):
            lane.round()
    return first.times, second.times


def quartiles(values: Sequence[float], name: str) -> dict[str, float]:
    """Columns NAME (the median), NAME_lower and NAME_upper (the quartiles)."""
    low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
    return {name: middle, f"{name}_lower": low, f"{name}_upper": high}


def compared(ours: Times, other: Times) -> dict[str, float]:
    """Columns ratio, of rounds in pairs, and extra, of methods, as a share of the other's median round."""
    part = slice(_WARM_UP, None)
    ratios = np.divide(ours.rounds[part], other.rounds[part])
    middle = float(np.median(other.rounds[part]))
    extra = np.subtract(ours.methods[part], other.methods[part]) / middle
    return {
        "ours_ms": 1e3 * float(np.median(ours.rounds[part])),
        "other_ms": 1e3 * middle,
        **quartiles(ratios, "ratio"),
        **quartiles(extra, "extra"),
        "extra_mean": float(extra.mean()),
    }


def laws_of(
    pair: ModelPair, temperature: float, prompts: list[Prompt], positions: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Target and draft laws [1, n] of positions of texts, as a verdict reads them."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    plain = Method.settles

    def kept(self: Method, p: torch.Tensor, q: torch.Tensor, *others: Any) -> Any:
        found.extend((p[row : row + 1].clone(), q[row : row + 1].clone()) for row in range(len(p)))
        return plain(self, p, q, *others)

    rounds = -(-positions // len(prompts))
    with patch.object(Method, "settles", kept):
        lane = Lane(pair, OneRace(), temperature, prompts, (LOOKAHEAD + 1) * rounds + 1)
        while len(found) < positions:
            lane._engine.speculator.round(lane._engine._rows)
    return found[:positions]


def kernel_times(
    laws: list[tuple[torch.Tensor, torch.Tensor]], kernels: dict[str, Method]
) -> dict[str, list[float]]:
    """Milliseconds of every kernel at every position, in turns."""
    times: dict[str, list[float]] = {name: [] for name in kernels}
    ids = vocabulary_ids(laws[0][0].shape[-1], laws[0][0].device)
    for position, (p, q) in enumerate(laws):
        contexts = np.random.default_rng(position).integers(0, len(ids), (1, PRF.context_width))
        for name, method in kernels.items():
            source = cache(partial(np.random.default_rng, position))
            randomness = KeyedRandomness(PRF, contexts, np.zeros(1, dtype=bool), [source], ids)
            # All that is pseudorandom is drawn before.
            for stream in method.detection.streams:
                numbers = randomness.zeta(stream, method.decoder)
                if method.decoder.tournament is not None:
                    numbers.word(0)
            start = time.thread_time()
            draft = method.draft(q, randomness)
            accepted, replacement = method.settles(p, q, draft, randomness)
            if not bool(accepted) and replacement is None:
                method.after_rejection(p, q, draft, randomness)
            times[name].append(1e3 * (time.thread_time() - start))
    return times


def main(
    rounds: Annotated[int, typer.Option(help="Paired rounds at batch 1.")] = 24,
    wide_rounds: Annotated[int, typer.Option(help=f"Paired rounds at batch {WIDE}.")] = 8,
    positions: Annotated[int, typer.Option(help="Positions a temperature for the kernels alone.")] = 40,
    out: OutOption = None,
) -> None:
    """Time the joint methods against those that they replace."""
    with exit_on_bad_input():
        for name, value in (("rounds", rounds), ("wide_rounds", wide_rounds), ("positions", positions)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        measure(rounds, wide_rounds, positions, Tables(out))


def measure(rounds: int, wide_rounds: int, positions: int, tables: Tables) -> None:
    """Run, print and write both tables."""
    pair, console = load_pair(dtype="float32"), stdout()
    prompts = encode_prompts(pair.tokenizer, builtin_prompts("continuation")[:WIDE])
    threads = torch.get_num_threads()
    printed = Table(
        "comparison",
        "T",
        "batch",
        "ratio of rounds (quartiles)",
        "of methods",
        title=f"float32, K = {LOOKAHEAD}, {threads} threads, medians of paired rounds",
    )
    overhead: list[dict[str, object]] = []
    for temperature in TEMPERATURES:
        for batch, count in ((1, rounds), (WIDE, wide_rounds)):
            for name, methods in COMPARED.items():
                row = compared(*in_turns(pair, methods, temperature, prompts[:batch], count))
                printed.add_row(
                    name,
                    f"{temperature:g}",
                    str(batch),
                    f"{row['ratio']:.3f} ({row['ratio_lower']:.3f} to {row['ratio_upper']:.3f})",
                    f"{row['extra']:+.1%}",
                )
                where = {"comparison": name, "temperature": temperature, "batch": batch, "rounds": count}
                overhead.append(where | row | {"lookahead": LOOKAHEAD, "threads": threads})
                tables.write("joint_overhead", overhead)
    console.print(printed)
    alone: list[dict[str, object]] = []
    printed = Table("kernel", "T", "ms a position (quartiles)", title=f"{positions} positions")
    for temperature in TEMPERATURES:
        laws = laws_of(pair, temperature, prompts, positions)
        for name, times in kernel_times(laws, KERNELS).items():
            row = quartiles(times, "ms")
            printed.add_row(
                name, f"{temperature:g}", f"{row['ms']:.1f} ({row['ms_lower']:.1f}, {row['ms_upper']:.1f})"
            )
            where = {"what": name, "temperature": temperature, "positions": positions, "threads": threads}
            alone.append(where | row | {"ms_mean": float(np.mean(times))})
    console.print(printed)
    tables.write("joint_kernels", alone)


if __name__ == "__main__":
    typer.run(main)
