"""Presets: what an experiment generates, as TOML files beside this module or anywhere else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from tradeoff.decoders import Identity, parse_decoder
from tradeoff.errors import FileError
from tradeoff.kernels import make_method
from tradeoff.llm.prompts import read_prompts
from tradeoff.llm.sampling import Sampling

__all__ = ["LENGTHS", "Arm", "Cell", "Preset", "PromptSet", "counted_tokens", "load_preset", "preset_names"]

_FOLDER = Path(__file__).parent / "presets"
#: Text lengths at which detectors are tried.
LENGTHS = (10, 20, 30, 40, 50, 75, 100, 125, 150, 175, 200)
#: Two to fit and two to test, in each of two halves.
_FEWEST_DETECTED = 4


@dataclass(frozen=True)
class PromptSet:
    """Where prompts come from: a file or built-in set (`source`), or a Hugging Face dataset.

    Args:
        name: in file names and tables.
        source: as `tradeoff generate --prompts` takes it.
        dataset, config, split, field: a dataset of the Hugging Face hub and its text field; streamed.
        words: keep only this many words of each text (0 keeps all).
        chat: ask in the chat format of the tokenizer.

    Raises:
        ValueError: unless exactly one of `source` and `dataset` is given.
    """

    name: str
    source: str = ""
    dataset: str = ""
    config: str = ""
    split: str = "train"
    field: str = ""
    words: int = 0
    chat: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"prompts name {self.name!r} is no file name; use letters, digits, - and _")
        if bool(self.source) == bool(self.dataset):
            raise ValueError(f"prompts {self.name!r} need either source or dataset")
        if self.dataset and not self.field:
            raise ValueError(f"prompts {self.name!r}: name the field of {self.dataset} that holds the text")

    def read(self, count: int) -> list[tuple[str, str]]:
        """The first `count` (id, prompt) pairs of different words, or all there are.

        Equal prompts would get the same text, which a table would take for several.

        Raises:
            FileError: if a file is missing or malformed.
            ValueError: if the package `datasets` is missing.
        """
        found: dict[str, str] = {}
        for name, text in read_prompts(self.source) if self.source else self._streamed():
            found.setdefault(" ".join(text.split()[: self.words]) if self.words else text, name)
            if len(found) == count:
                break
        return [(name, text) for text, name in found.items()]

    def _streamed(self) -> Iterator[tuple[str, str]]:
        try:
            from datasets import load_dataset
        except ModuleNotFoundError as error:
            raise ValueError(
                f"prompts {self.name!r} come from the dataset {self.dataset}, which needs the package "
                "datasets: pip install -c constraints.txt -e '.[paper]'; or put them into JSON lines and "
                "name the file as source"
            ) from error
        rows = load_dataset(self.dataset, self.config or None, split=self.split, streaming=True)
        for number, row in enumerate(rows):
            if self.field not in row:
                raise ValueError(
                    f"prompts {self.name!r}: the dataset {self.dataset} has no field {self.field!r}, it has "
                    f"{', '.join(map(repr, row))}"
                )
            text = str(row[self.field]).strip()
            if text:
                yield f"{self.name}-{number}", text


@dataclass(frozen=True)
class Arm:
    """Methods that share a watermark and a temperature.

    Args:
        watermark, temperature, methods: as on the command line.
        lookahead, texts, max_tokens: instead of the preset's, if given.
        detect: whether detectors are tried on the texts.
    """

    watermark: str
    temperature: float
    methods: tuple[str, ...]
    lookahead: tuple[int, ...] = ()
    texts: int = 0
    max_tokens: int = 0
    detect: bool = False

    def __post_init__(self) -> None:
        Sampling(self.temperature)
        _check_lookahead(self.lookahead)
        for name in ("texts", "max_tokens"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} of an arm must be at least 1, or left out")
        for name in self.methods:
            method = make_method(name, parse_decoder(self.watermark))
            if self.detect and isinstance(method.decoder, Identity):
                raise ValueError(f"detect = true for {name} without a watermark; there is nothing to detect")


@dataclass(frozen=True)
class Cell:
    """One file of texts: prompts, method, watermark, temperature, lookahead (0 without speculation).

    `detect` says whether detectors are tried on them.
    """

    prompts: PromptSet
    method: str
    watermark: str
    temperature: float
    lookahead: int
    texts: int
    max_tokens: int
    detect: bool

    @property
    def name(self) -> str:
        """File name without suffix."""
        mark = self.watermark.replace(":", "-")
        speculation = f"-K{self.lookahead}" if self.lookahead else ""
        return f"{self.prompts.name}/{self.method}-{mark}-T{float(self.temperature)}{speculation}"


@dataclass(frozen=True)
class Preset:
    """Models, sizes, prompts and arms of an experiment; see `paper_repro/presets/small.toml`.

    Of `ptt_texts` texts a cell, generated one at a time and `ptt_tokens` long (0: as long as the others),
    the time per token is taken.

    Of detection: `null_texts` human texts under random keys for measured false-positive rates, `roc_tokens`
    the length of ROC curves, `replays` texts a cell for model-aware detection, `anchors` those that are read
    back by the draft model for sequential detection, `edits` whether edited texts are tested.
    """

    title: str
    target: str
    draft: str
    prompts: tuple[PromptSet, ...]
    arms: tuple[Arm, ...]
    dtype: str | None = None
    texts: int = 64
    max_tokens: int = 200
    lookahead: tuple[int, ...] = (2, 3, 4)
    batch: int = 16
    seed: int = 0
    ignore_eos: bool = True
    ptt_texts: int = 0
    ptt_tokens: int = 0
    null_texts: int = 2000
    roc_tokens: int = 50
    replays: int = 0
    anchors: int = 0
    edits: bool = True

    def __post_init__(self) -> None:
        for name, least in (
            ("texts", 1),
            ("max_tokens", 1),
            ("batch", 1),
            ("seed", 0),
            ("ptt_texts", 0),
            ("ptt_tokens", 0),
            ("null_texts", 200),
            ("roc_tokens", 1),
            ("replays", 0),
            ("anchors", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")
        _check_lookahead(self.lookahead)
        names = [cell.name for cell in self.cells()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is generated twice; give every combination once")
        self._check_detected([cell for cell in self.cells() if cell.detect])

    def _check_detected(self, cells: list[Cell]) -> None:
        """What would otherwise show after hours of generating."""
        if not cells:
            return
        shortest, fewest = min(cell.max_tokens for cell in cells), min(cell.texts for cell in cells)
        if fewest < _FEWEST_DETECTED:
            raise ValueError(
                f"texts={fewest} of an arm with detect = true must be at least {_FEWEST_DETECTED}"
            )
        if shortest < LENGTHS[0]:
            raise ValueError(
                f"max_tokens={shortest} of an arm with detect = true must be at least {LENGTHS[0]}"
            )
        if self.roc_tokens not in LENGTHS or self.roc_tokens > shortest:
            possible = ", ".join(str(n) for n in LENGTHS if n <= shortest)
            raise ValueError(f"roc_tokens={self.roc_tokens} is no length of all texts; use one of {possible}")
        if "both" in (source.name for source in self.prompts):
            raise ValueError("prompts named 'both' would be taken for all prompts together; rename them")
        kinds = [(c.prompts.name, c.method, c.watermark, c.temperature) for c in cells]
        again = [kind for kind in kinds if kinds.count(kind) > 1]
        if again:
            raise ValueError(
                f"{again[0][1]} with {again[0][2]} is detected at several lookaheads, which no picture tells "
                "apart; set detect = true for one of them"
            )

    def cells(self) -> list[Cell]:
        """Every combination that is generated; methods without speculation once, not once a lookahead."""
        return [
            Cell(
                prompts,
                method,
                arm.watermark,
                arm.temperature,
                k,
                arm.texts or self.texts,
                arm.max_tokens or self.max_tokens,
                arm.detect,
            )
            for prompts in self.prompts
            for arm in self.arms
            for method in arm.methods
            for k in ((0,) if method == "basic" else arm.lookahead or self.lookahead)
        ]


def _check_lookahead(values: tuple[int, ...]) -> None:
    if any(k < 1 for k in values):
        raise ValueError(f"lookahead={list(values)} must hold numbers of draft tokens, at least 1")


def counted_tokens(cells: Iterable[Cell]) -> int:
    """Over how many first tokens of every text AATPS compares: those where every cell drafts its whole K."""
    return min((min(c.max_tokens, max(c.max_tokens - c.lookahead, 0) + 1) for c in cells), default=0)


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_preset(name: str) -> Preset:
    """A preset by its name, or from the path of a .toml file.

    Raises:
        FileError: if there is none, or it is not valid; the message names the entry.
    """
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileError(
            f"preset={name!r} does not exist; use one of {', '.join(preset_names())}, "
            "or the path of a .toml file"
        ) from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"preset {path} cannot be read ({error})") from error
    flat: dict[str, Any] = {
        **{key: value for key, value in data.items() if not isinstance(value, dict)},
        **data.get("models", {}),
        **data.get("generation", {}),
        **data.get("detection", {}),
    }
    try:
        for table in set(data) - {"models", "generation", "detection"}:
            if isinstance(data[table], dict):
                raise ValueError(f"unknown table [{table}]")
        flat["prompts"] = tuple(_build(PromptSet, entry, "[[prompts]]") for entry in flat.get("prompts", []))
        flat["arms"] = tuple(_build(Arm, entry, "[[arms]]") for entry in flat.get("arms", []))
        preset = _build(Preset, flat, "the preset")
        if not preset.prompts or not preset.arms:
            raise ValueError("a preset needs at least one [[prompts]] and one [[arms]]")
    except (TypeError, ValueError) as error:
        raise FileError(f"preset {path}: {error}") from error
    return preset


def _build(kind: type, entry: Any, where: str) -> Any:
    """An instance of a dataclass from a table, with errors that name the entry."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be a table")
    known = {field.name: field for field in fields(kind)}
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise ValueError(f"unknown entry {unknown[0]!r} in {where}; known are {', '.join(known)}")
    missing = [name for name, field in known.items() if field.default is MISSING and name not in entry]
    if missing:
        raise ValueError(f"{where} needs {missing[0]!r}")
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in entry.items()}
    hints = get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(
                f"{name}={value!r} in {where} is of the wrong kind, it must be {known[name].type}"
            )
    return kind(**values)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from TOML is of the kind that a field is annotated with."""
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if get_args(hint):
        return any(_fits(value, option) for option in get_args(hint))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
