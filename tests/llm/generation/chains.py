"""Rounds of the engine on Markov chains of order two: whole texts, by the hundred thousand.

    python -m tests.llm.generation.chains [--texts 750000] [--only joint-race] [--out FOLDER]

writes texts with every method, drafts verified one by one and as blocks, each text under a key of its own,
and tests their law against that of the target, which is known. Results are appended as they come; a run that
was stopped goes on, on the same day, with what is missing.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from paper_repro.measuring import environment
from tests.helpers.methods import SHORT_SYNTHID, describe
from tests.helpers.support import chi_square_p
from tradeoff.decoders import Completed, GumbelMax, simplex_water
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder, write_table
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    DualKey,
    JointRace,
    JointRaceMarked,
    JointRaceTree,
    JointTournament,
    JointTransport,
    KeepEfficiency,
    KeepStrength,
    KeyedRandomness,
    Method,
    OneRace,
    OneRaceTree,
    SingleKey,
    Standard,
    TargetOnly,
    TwoKeys,
    Verify,
    block,
)
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.llm.generation.rounds import Speculator
from tradeoff.llm.generation.rows import ContextWindow, Row, TrueRandomness
from tradeoff.llm.sampling import Sampling
from tradeoff.texts import Prompt

N, LENGTH, AHEAD = 4, 4, 3
PROMPT = Prompt("", "", (2, 1))
PRF = KeyedPrf(Key(b"the key of the chains"), 2)
CASES: list[Method] = [
    Standard(),
    Basic(GumbelMax()),
    KeepStrength(GumbelMax()),
    KeepEfficiency(GumbelMax()),
    TwoKeys(SHORT_SYNTHID),
    Algorithm1(GumbelMax()),
    Algorithm1(Completed(SHORT_SYNTHID)),
    SingleKey(),
    OneRace(),
    OneRaceTree(width=2),
    JointRace(),
    JointRaceTree(width=2),
    JointRaceTree(width=3),
    JointTransport(simplex_water(3)),
    JointTournament(SHORT_SYNTHID),
    JointTournament(Completed(SHORT_SYNTHID)),
    # Later ones last, as the place of a case says which texts it writes.
    DualKey(alpha=0.3),
    TargetOnly(GumbelMax()),
    JointRaceMarked(Completed(SHORT_SYNTHID)),
]
BLOCKS = [method for method in CASES if method.full_efficiency]
#: Texts written side by side, and numbers of texts that a case may take.
TOGETHER, _NUMBERS = 3_000, 10_000_000
#: Seed of true randomness; another than that of the laws.
_SHARED = 6


class Laws(NamedTuple):
    """Next-token laws after two tokens, [N, N, N] each."""

    target: np.ndarray
    draft: np.ndarray

    def joint(self) -> np.ndarray:
        """Of LENGTH tokens of the target after the prompt, [N] * LENGTH."""
        law = np.zeros((N,) * LENGTH)
        for text in itertools.product(range(N), repeat=LENGTH):
            whole = (*PROMPT.token_ids, *text)
            law[text] = math.prod(self.target[whole[k], whole[k + 1]][whole[k + 2]] for k in range(LENGTH))
        return law

    def first_step(self, verify: Verify) -> tuple[float, float]:
        """Mean and standard deviation of how many of the first drafts are accepted, by enumeration."""
        of = np.zeros(AHEAD + 1)
        for drafts in itertools.product(range(N), repeat=AHEAD):
            whole = (*PROMPT.token_ids, *drafts)
            p, q = ([law[whole[k], whole[k + 1]] for k in range(AHEAD)] for law in self)
            weight = math.prod(law[token] for law, token in zip(q, drafts, strict=True))
            if verify is Verify.BLOCK:
                chances = [float(c) for c in block(p, q, [np.array(token) for token in drafts]).chances]
                later = np.cumprod([1.0, *(1 - chance for chance in chances[::-1])])[::-1]
                of += weight * later * np.array([1.0, *chances])
            else:
                ratios = [min(1.0, a[token] / b[token]) for a, b, token in zip(p, q, drafts, strict=True)]
                passed = np.cumprod([1.0, *ratios])
                of += weight * (passed - np.append(passed[1:], 0.0))
        mean = float(of @ np.arange(AHEAD + 1))
        return mean, math.sqrt(float(of @ (np.arange(AHEAD + 1) - mean) ** 2))


def _near() -> Laws:
    rng = np.random.default_rng(5)
    target = 0.9 * rng.dirichlet(np.full(N, 1.5), (N, N)) + 0.1 / N
    return Laws(target, 0.5 * target + 0.5 * rng.dirichlet(np.full(N, 1.0), (N, N)))


NEAR = _near()
#: By these most steps end at their first draft.
FAR = Laws(*(0.95 * np.random.default_rng(2).dirichlet(np.full(N, 0.5), (2, N, N)) + 0.05 / N))


class Chain:
    """A feeder of a model whose logits are a table: they depend on the last two tokens.

    It remembers tokens by slot, as a cache does keys and values, and finds the one before at the position
    before: that of the main branch, for side branches as well.
    """

    def __init__(self, laws: np.ndarray, slots: int):
        self.laws, self.device, self.model = torch.from_numpy(np.log(laws)), torch.device("cpu"), self
        # All but the last token of the prompt.
        self.filled = np.full(slots, len(PROMPT.token_ids) - 1)
        self._tokens = np.zeros((slots, 32), dtype=np.int64)
        self._tokens[:, : self.filled[0]] = PROMPT.token_ids[:-1]

    def logits(
        self,
        first: int,
        tokens: np.ndarray,
        where: np.ndarray,
        keep: int,
        *,
        slots: np.ndarray | None = None,
        reads: np.ndarray | None = None,
    ) -> torch.Tensor:
        rows = np.arange(first, first + len(tokens))[:, None]
        self._tokens[rows, where if slots is None else slots] = tokens
        before = self._tokens[rows, np.maximum(where - 1, 0)]
        return self.laws[before[:, -keep:], tokens[:, -keep:]]

    def keep(self, rows: np.ndarray) -> None:
        """Go on with some of the rows."""
        self._tokens, self.filled = self._tokens[rows], self.filled[rows]


@dataclass(frozen=True, kw_only=True)
class OwnKeys(Speculator):
    """Every text has a key of its own: its number is one more token of every context. All share one source of
    true randomness, as one for each position of each text would take most of the time.

    Args:
        source: that one.
    """

    source: np.random.Generator

    def _randomness(
        self, rows: Sequence[Row], ahead: int, contexts: np.ndarray, masked: np.ndarray
    ) -> KeyedRandomness:
        salt = np.array([[int(row.prompt.id)] for row in rows])
        contexts = np.concatenate([salt, contexts], axis=1)
        return KeyedRandomness(self.prf, contexts, masked, [lambda: self.source] * len(rows), torch.arange(N))


def write(
    method: Method,
    texts: int,
    first: int,
    verify: Verify = Verify.TOKEN,
    beyond: int = 0,
    laws: Laws = NEAR,
    *,
    shared: bool = True,
) -> list[Row]:
    """Texts number `first` and on, `beyond` tokens longer than what is looked at; unless `shared`, each with
    the true randomness that the engine gives it, and with no key."""
    target, draft = Chain(laws.target, texts), Chain(laws.draft, texts)
    marked = method.decoder.marks
    machine = Speculator(
        method=method,
        prf=PRF if marked else None,
        verify=verify,
        sampling=Sampling(),
        target=target,  # type: ignore[arg-type]
        draft=draft if method.drafts else None,  # type: ignore[arg-type]
        lookahead=AHEAD if method.drafts else 0,
        vocabulary=N,
        measure=False,
    )
    if shared:
        machine = OwnKeys(**vars(machine), source=np.random.default_rng((_SHARED, first)))
    written = [
        Row(
            Prompt(str(number), "", PROMPT.token_ids),
            TrueRandomness(number, PROMPT),
            ContextWindow(1, marked=marked),
            LENGTH + beyond,
            frozenset(),
            0.0,
        )
        for number in range(first, first + texts)
    ]
    rows = written
    while rows:
        machine.round(rows)
        left = np.flatnonzero([row.finish is None for row in rows])
        rows = [rows[i] for i in left]
        target.keep(left)
        draft.keep(left)
    return written


class Counted(NamedTuple):
    """Texts by their first LENGTH tokens, rounds, and how many drafts of first steps were accepted."""

    texts: np.ndarray
    rounds: int
    accepted: int


def count(
    method: Method,
    texts: int,
    first: int = 0,
    verify: Verify = Verify.TOKEN,
    beyond: int = 0,
    laws: Laws = NEAR,
) -> Counted:
    """Write texts, and count."""
    counts, rounds, accepted = np.zeros((N,) * LENGTH), 0, 0
    for start in range(first, first + texts, TOGETHER):
        for row in write(method, min(TOGETHER, first + texts - start), start, verify, beyond, laws):
            counts[tuple(row.tokens[:LENGTH])] += 1
            steps = row.result(0.0, False).accepted
            rounds += len(steps)
            accepted += steps[0]
    return Counted(counts, rounds, accepted)


def _some(case: int, verify: Verify, texts: int, first: int) -> Counted:
    """In a process of its own, with one thread; no two cases have a text's number in common."""
    torch.set_num_threads(1)
    return count(CASES[case], texts, _NUMBERS * (2 * case + (verify is Verify.BLOCK)) + first, verify)


def main(
    texts: Annotated[int, typer.Option(help="Of every method and rule.", min=1)] = 750_000,
    only: Annotated[list[str] | None, typer.Option(help="Only these methods.")] = None,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
    out: Annotated[Path, typer.Option(help="Folder for engine_chains.csv.")] = Path("docs/results/tables"),
) -> None:
    """Test the law of whole texts over many rounds."""
    with exit_on_bad_input():
        path = output_folder(out) / "engine_chains.csv"
        names = {method.name for method in CASES}
        for name in only or []:
            if name not in names:
                raise ValueError(f"only={name!r} is no method; there are {', '.join(sorted(names))}")
        done = _rows_of(path, texts)
        known = {(row["method"], row["verify"]) for row in done}
        cases = [
            (k, verify)
            for verify in Verify
            for k, method in enumerate(CASES)
            if (verify is Verify.TOKEN or method in BLOCKS)
            and (not only or method.name in only)
            and (describe(method), str(verify)) not in known
        ]
        columns = (Words(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with (
            Progress(*columns, console=stderr(), transient=True) as progress,
            ProcessPoolExecutor(workers) as executor,
        ):
            task = progress.add_task("texts", total=texts * len(cases))
            for k, verify in cases:
                start, found = time.perf_counter(), Counted(np.zeros((N,) * LENGTH), 0, 0)
                jobs = [
                    executor.submit(_some, k, verify, min(TOGETHER, texts - first), first)
                    for first in range(0, texts, TOGETHER)
                ]
                for job in as_completed(jobs):
                    part = job.result()
                    found = Counted(*(a + b for a, b in zip(found, part, strict=True)))
                    progress.update(task, advance=int(part.texts.sum()))
                done.append(_row(CASES[k], verify, found, time.perf_counter() - start))
                write_table(pd.DataFrame(done), path)
        shown = Table("method", "verify", "texts", "rounds", "p of the law", "z of accepted drafts")
        for row in done:
            shown.add_row(*(str(row[name]) for name in ("method", "verify", "texts", "rounds", "p", "z")))
        stdout().print(shown)
        print_written(stdout(), [path])


def _rows_of(path: Path, texts: int) -> list[dict[str, object]]:
    """What a run of today, of so many texts, has found before it was stopped."""
    if not path.exists():
        return []
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    same = {"texts": texts, **environment()}
    fits = (table[list(same)] == [str(value) for value in same.values()]).all(axis=1)
    return table[fits].to_dict("records")


def _row(method: Method, verify: Verify, found: Counted, seconds: float) -> dict[str, object]:
    texts = int(found.texts.sum())
    z = math.nan
    if method.full_efficiency:
        mean, spread = NEAR.first_step(verify)
        z = (found.accepted / texts - mean) / (spread / math.sqrt(texts))
    return {
        "method": describe(method),
        "verify": str(verify),
        "texts": texts,
        "rounds": found.rounds,
        "p": f"{chi_square_p(found.texts, texts * NEAR.joint()):.4f}",
        "z": "" if math.isnan(z) else f"{z:+.2f}",
        "seconds": round(seconds),
        **environment(),
    }


if __name__ == "__main__":
    typer.run(main)
