"""Texts whose quality is measured: several of every prompt, by scheme, and by what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import tradeoff as td
from tradeoff.llm import ModelPair
from tradeoff.texts import UNMARKED, Record

__all__ = ["SCHEMES", "Cell", "Run", "Source", "Way", "scheme_of", "write"]

#: The texts of one run by the ids of their prompts.
Run = dict[str, Record]
#: (method, watermark); what others are compared with stands first.
SCHEMES = (("basic", "none"), ("joint-race", "gumbel"), ("joint-tournament", "synthid:30"))
_LOOKAHEAD = 3
_BATCH = 20


class Way(StrEnum):
    """What tells the texts of one prompt apart."""

    SEEDS = "seeds"
    KEYS = "keys"
    ONE_KEY = "one key"
    UNMARKED = "one key, unmarked beginnings"


@dataclass(frozen=True)
class Source:
    """Prompts, and how they are asked.

    Attributes:
        name: in names of files, and in tables.
        prompts: (id, prompt) pairs.
        chat: whether they are asked in the chat format.
        ignore_eos: whether texts go on behind their end, so that all have one length.
    """

    name: str
    prompts: tuple[tuple[str, str], ...]
    chat: bool
    ignore_eos: bool = True


@dataclass(frozen=True)
class Cell:
    """Texts of one setting: `texts` of every prompt.

    Attributes:
        source: the prompts.
        method, watermark: as on the command line.
        way: what tells the texts of one prompt apart; seeds without a watermark, else anything but seeds.
        texts: number of texts a prompt.
        tokens: of the longest text.
        temperature: of the sampling.
    """

    source: Source
    method: str
    watermark: str
    way: Way
    texts: int
    tokens: int
    temperature: float

    @property
    def name(self) -> str:
        """Of files."""
        way = self.way.replace(",", "").replace(" ", "-")
        mark = self.watermark.replace(":", "-")
        return f"{self.source.name}_{self.method}_{mark}_{way}_{self.temperature:g}_{self.tokens}"


def scheme_of(cell: Cell) -> td.Scheme:
    """What generates the texts of a cell."""
    return td.Scheme.of(cell.method, cell.watermark)


def write(cell: Cell, folder: Path, pair: ModelPair) -> list[Run]:
    """The texts of a cell: as many runs as there are texts of a prompt; what `folder` holds is read.

    Keys are made of their number: they protect nothing.
    """
    if cell.way in (Way.ONE_KEY, Way.UNMARKED):
        return _of_one_key(cell, folder, pair)
    return [
        _by_id(_generated(cell, folder / f"{cell.name}_{number}.jsonl", pair, number))
        for number in range(cell.texts)
    ]


def _of_one_key(cell: Cell, folder: Path, pair: ModelPair) -> list[Run]:
    found = _generated(cell, folder / f"{cell.name}.jsonl", pair, 0)
    runs: list[Run] = [{} for _ in range(cell.texts)]
    for record in found:
        prompt, _, number = record.id.rpartition("#")
        runs[int(number) - 1][prompt] = record
    return runs


def _by_id(records: Sequence[Record]) -> Run:
    return {record.id: record for record in records}


def _generated(cell: Cell, path: Path, pair: ModelPair, number: int) -> Sequence[Record]:
    together = cell.way in (Way.ONE_KEY, Way.UNMARKED)
    return td.generate(
        list(cell.source.prompts),
        scheme_of(cell),
        None if cell.way is Way.SEEDS else td.Key(b"key %d of texts whose quality is measured" % number),
        pair=pair,
        tokens=cell.tokens,
        lookahead=_LOOKAHEAD,
        temperature=cell.temperature,
        top_k=0,
        top_p=1.0,
        samples=cell.texts if together else 1,
        unmarked=UNMARKED if cell.way is Way.UNMARKED else 0,
        batch=_BATCH,
        seed=number,
        chat=cell.source.chat,
        ignore_eos=cell.source.ignore_eos,
        output=path,
        note=lambda line: None,
    )
