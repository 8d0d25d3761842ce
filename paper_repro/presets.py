"""Presets: what an experiment generates, as TOML files beside this module or anywhere else."""

from __future__ import annotations

import re
import reprlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from tradeoff.decoders import parse_decoder
from tradeoff.errors import FileError
from tradeoff.kernels import Verify, check_verify, make_method
from tradeoff.keyed import KeyedPrf, check_width
from tradeoff.llm import Sampling
from tradeoff.texts import read_prompts

__all__ = [
    "FILES",
    "LENGTHS",
    "Arm",
    "Cell",
    "Preset",
    "PromptSet",
    "counted_tokens",
    "load_preset",
    "preset_names",
]

_FOLDER = Path(__file__).parent / "presets"
#: Options that name a file of prompts.
FILES = ("questions", "documents")
#: Text lengths at which detectors are tried.
LENGTHS = (10, 20, 30, 40, 50, 75, 100, 125, 150, 175, 200)
#: Two to fit and two to test, in each of two halves.
_FEWEST_DETECTED = 4
#: What is wrong and what to write instead, by the names that pydantic has for mistakes.
_MISTAKES = {
    "bool_type": "{path}={value} must be true or false",
    "enum": "{path}={value} must be {expected}",
    "extra_forbidden": "{path}={value} is unknown; known are {known}",
    "float_type": "{path}={value} must be a number",
    "greater_than_equal": "{path}={value} must be at least {ge}",
    "int_type": "{path}={value} must be a whole number",
    "missing": "{path} is missing; add it",
    "model_type": "{path}={value} must be a table",
    "string_type": "{path}={value} must be text in quotes",
    "tuple_type": "{path}={value} must be a list in square brackets",
    "value_error": "{path}: {error}",
}
_Item = TypeVar("_Item")
#: TOML has lists, no tuples; what is in them is not converted.
_Many = Annotated[tuple[_Item, ...], Strict(False)]
_Lookahead = _Many[Annotated[int, Field(ge=1)]]


class _Table(BaseModel):
    """A table of a file: no entries but these, and none converted (true is no number, nor is "3").

    Raises:
        ValueError: for the first mistake; the message names the entry, its value and what to write instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    #: Tables within it that only group its entries.
    groups: ClassVar[tuple[str, ...]] = ()

    def __init__(self, /, **entries: Any) -> None:
        groups = {name: entries.pop(name) for name in self.groups if isinstance(entries.get(name), dict)}
        for group in groups.values():
            entries |= group
        try:
            super().__init__(**entries)
        except ValidationError as error:
            # What is missing may be there under a name that is unknown.
            mistake = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
            keys = [*(name for name in groups if groups[name].keys() & mistake["loc"][:1]), *mistake["loc"]]
            words = {
                "path": "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)[1:],
                "value": reprlib.repr(mistake["input"]),
                "known": ", ".join([*type(self).model_fields, *(f"[{name}]" for name in self.groups)]),
                **mistake.get("ctx", {}),
            }
            # A mistake of a table as a whole has no path.
            message = _MISTAKES[mistake["type"]].format(**words).removeprefix(": ")
            raise ValueError(message) from error


class PromptSet(_Table):
    """Where prompts come from: a file or built-in set (`source`), a dataset, or a file that an option names.

    Args:
        name: in file names and tables.
        source: as `tradeoff generate --prompts` takes it.
        option: "questions" or "documents": the option that names the file; see `load_preset`.
        dataset, config, split: a dataset of the Hugging Face hub; streamed.
        field: that holds the text, in a dataset or in JSON lines (there `prompt` if left out).
        words: keep only this many words of each text (0 keeps all).
        every: take `words` words at the start of a text and at every `every`-th word after it, while there
            are as many (0 takes the start only). First come all starts, then all second passages.
        chat: ask in the chat format of the tokenizer.

    Raises:
        ValueError: unless exactly one of `source`, `dataset` and `option` is given, a dataset with a field.
    """

    name: str
    source: str = ""
    option: str = ""
    dataset: str = ""
    config: str = ""
    split: str = "train"
    field: str = ""
    words: int = Field(0, ge=0)
    every: int = Field(0, ge=0)
    chat: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"prompts name {self.name!r} is no file name; use letters, digits, - and _")
        if [bool(self.source), bool(self.dataset), bool(self.option)].count(True) != 1:
            raise ValueError(f"prompts {self.name!r} need one of source, dataset and option")
        if self.option and self.option not in FILES:
            raise ValueError(
                f"prompts {self.name!r}: option={self.option!r} is unknown; use {' or '.join(FILES)}"
            )
        if self.every and not 0 < self.words <= self.every:
            raise ValueError(
                f"prompts {self.name!r}: every={self.every} needs words of 1 .. {self.every}, so that no two "
                "passages share any"
            )
        if self.dataset and not self.field:
            raise ValueError(f"prompts {self.name!r}: name the field of {self.dataset} that holds the text")
        return self

    def check_given(self) -> None:
        """Raise ValueError if these are prompts of an option that was not given."""
        if self.option:
            raise ValueError(
                f"prompts {self.name!r} do not come with the package; pass --{self.option} FILE, of JSON "
                f'lines with "{self.field or "prompt"}"'
            )

    def read(self, count: int) -> list[tuple[str, str]]:
        """The first `count` (id, prompt) pairs of different words, or all there are.

        Equal prompts would get the same text, which a table would take for several.

        Raises:
            FileError: if a file is missing or malformed.
            ValueError: if the package `datasets` is missing, or the file of `option` was not given.
        """
        self.check_given()
        found: dict[str, str] = {}
        for name, text in self._passages():
            found.setdefault(text, name)
            if len(found) == count:
                break
        return [(name, text) for text, name in found.items()]

    def _passages(self) -> Iterator[tuple[str, str]]:
        texts = read_prompts(self.source, [self.field or "prompt"]) if self.source else self._streamed()
        if not self.every:
            for name, text in texts:
                yield name, " ".join(text.split()[: self.words]) if self.words else text
            return
        split = {name: text.split() for name, text in texts}
        longest = max(map(len, split.values()))
        for number, start in enumerate(range(0, longest, self.every), 1):
            for name, words in split.items():
                if start + self.words <= len(words):
                    yield f"{name}-{number}", " ".join(words[start : start + self.words])

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


class Arm(_Table):
    """Methods that share a watermark and a temperature.

    Args:
        watermark, temperature, methods: as on the command line.
        verify: token or block, or both.
        lookahead, texts, max_tokens: instead of the preset's, if given.
        detect: whether detectors are tried on the texts.
    """

    watermark: str
    temperature: float
    methods: _Many[str]
    verify: _Many[Annotated[Verify, Strict(False)]] = (Verify.TOKEN,)
    lookahead: _Lookahead = ()
    texts: int = Field(0, ge=0)
    max_tokens: int = Field(0, ge=0)
    detect: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        Sampling(self.temperature)
        for name in self.methods:
            method = make_method(name, parse_decoder(self.watermark))
            if self.detect and not method.decoder.marks:
                raise ValueError(f"detect = true for {name} without a watermark; there is nothing to detect")
            for verify in self.verify if method.drafts else ():
                check_verify(method, verify)
        return self


@dataclass(frozen=True)
class Cell:
    """One file of texts: prompts, method, watermark, temperature, lookahead (0 without speculation), and how
    drafts are verified.

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
    verify: Verify = Verify.TOKEN

    @property
    def label(self) -> str:
        """The method, as tables and pictures name it."""
        return f"{self.method}, blocks" if self.verify is Verify.BLOCK else self.method

    @property
    def name(self) -> str:
        """File name without suffix."""
        mark = self.watermark.replace(":", "-")
        speculation = f"-K{self.lookahead}" if self.lookahead else ""
        blocks = "-block" * (self.verify is Verify.BLOCK)
        return f"{self.prompts.name}/{self.method}-{mark}-T{float(self.temperature)}{speculation}{blocks}"


class Preset(_Table):
    """Models, sizes, prompts and arms of an experiment; see `paper_repro/presets/small.toml`.

    `larger` names the preset that decides what this one has too few texts for: its report leaves comparisons
    of rates out, and says so.

    `context_width` tokens seed a position (1 to 64).

    Of `ptt_texts` texts a cell, generated one at a time and `ptt_tokens` long (0: as long as the others),
    the time per token is taken.

    Of detection: `null_texts` human texts under random keys for measured false-positive rates, `roc_tokens`
    the length of ROC curves, `replays` texts a cell for model-aware detection, `anchors` those that are read
    back by the draft model for sequential detection, `laws` those of a set whose positions both models read
    for predicted rates, `edits` whether edited texts are tested, `sequential` whether texts are read token by
    token as well.
    """

    groups = ("models", "generation", "detection")

    title: str
    target: str
    draft: str
    prompts: _Many[PromptSet] = ()
    arms: _Many[Arm] = ()
    dtype: str | None = None
    texts: int = Field(64, ge=1)
    max_tokens: int = Field(200, ge=1)
    lookahead: _Lookahead = (2, 3, 4)
    batch: int = Field(16, ge=1)
    seed: int = Field(0, ge=0)
    context_width: int = KeyedPrf.context_width
    ignore_eos: bool = True
    ptt_texts: int = Field(0, ge=0)
    ptt_tokens: int = Field(0, ge=0)
    null_texts: int = Field(2000, ge=200)
    roc_tokens: int = Field(50, ge=1)
    replays: int = Field(0, ge=0)
    anchors: int = Field(0, ge=0)
    laws: int = Field(0, ge=0)
    edits: bool = True
    sequential: bool = True
    larger: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_width(self.context_width)
        if self.larger and self.larger not in preset_names():
            raise ValueError(f"larger={self.larger!r} is no preset; use one of {', '.join(preset_names())}")
        if not self.prompts or not self.arms:
            raise ValueError("a preset needs at least one [[prompts]] and one [[arms]]")
        names = [cell.name for cell in self.cells()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is generated twice; give every combination once")
        if detected := [cell for cell in self.cells() if cell.detect]:
            self._check_detected(detected)
        return self

    def _check_detected(self, cells: list[Cell]) -> None:
        """What would otherwise show after hours of generating."""
        fewest, shortest = min(cell.texts for cell in cells), min(cell.max_tokens for cell in cells)
        for name, value, least in (("texts", fewest, _FEWEST_DETECTED), ("max_tokens", shortest, LENGTHS[0])):
            if value < least:
                raise ValueError(f"{name}={value} of an arm with detect = true must be at least {least}")
        if self.roc_tokens not in LENGTHS or self.roc_tokens > shortest:
            possible = ", ".join(str(n) for n in LENGTHS if n <= shortest)
            raise ValueError(f"roc_tokens={self.roc_tokens} is no length of all texts; use one of {possible}")
        if "both" in (source.name for source in self.prompts):
            raise ValueError("prompts named 'both' would be taken for all prompts together; rename them")
        kinds = [(c.prompts.name, c.label, c.watermark, c.temperature) for c in cells]
        again = [kind for kind in kinds if kinds.count(kind) > 1]
        if again:
            raise ValueError(
                f"{again[0][1]} with {again[0][2]} is detected at several lookaheads, which no picture tells "
                "apart; set detect = true for one of them"
            )

    def check_given(self) -> None:
        """Raise ValueError if prompts are those of an option that was not given."""
        for prompts in self.prompts:
            prompts.check_given()

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
                verify,
            )
            for prompts in self.prompts
            for arm in self.arms
            for method in arm.methods
            for verify in ((Verify.TOKEN,) if method == "basic" else arm.verify)
            for k in ((0,) if method == "basic" else arm.lookahead or self.lookahead)
        ]


def counted_tokens(cells: Iterable[Cell]) -> int:
    """Over how many first tokens of every text AATPS compares: those where every cell drafts its whole K."""
    return min((min(c.max_tokens, max(c.max_tokens - c.lookahead, 0) + 1) for c in cells), default=0)


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_preset(name: str, files: Mapping[str, Path | None] = MappingProxyType({})) -> Preset:
    """A preset by its name, or from the path of a .toml file.

    Args:
        name: as said.
        files: of prompts, by the options that name them (`FILES`); None is as good as left out. Prompts of
            other options cannot be read.

    Raises:
        FileError: if there is none, or it is not valid; the message names the entry.
        ValueError: for a file that the preset has no use for.
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
    try:
        preset = Preset(**data)
    except ValueError as error:
        raise FileError(f"preset {path}: {error}") from error
    given = {option: str(file) for option, file in files.items() if file is not None}
    for option, file in given.items():
        if option not in (prompts.option for prompts in preset.prompts):
            raise ValueError(f"{option}={file} is of no use to preset={name!r}; leave it out")
    if not given:
        return preset
    named = {
        one: PromptSet(**dict(one) | {"source": given[one.option], "option": ""})
        for one in preset.prompts
        if one.option in given
    }
    return preset.model_copy(update={"prompts": tuple(named.get(one, one) for one in preset.prompts)})
