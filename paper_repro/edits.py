"""What edits leave of a watermark, by method, context width and temperature: the paper's third open question.

    python -m paper_repro.edits --texts FOLDER [--out docs/results/tables]

The built-in pair writes texts of every cell, half of them answers to questions and half continuations of
prose, under four keys, in an hour or two. They are kept in FOLDER, and a run that was stopped goes on there.
Then they are edited and read again, by detectors that have the key alone. Everything is seeded. Tables:

    edits            TPR at FPR 1% of every cell after every edit, and what share of tokens it left behind
                     their contexts
    edits_widths     the same of two context widths on the same prompts: the difference, with paired intervals
    edits_methods    the same of a method and of no speculation
    edits_detectors  the same of other tests of uniforms and of Aaronson's sum, on the same texts
    edits_price      what a narrow context costs: positions that do not count, because their context is a
                     repetition, and those whose context a forger has seen in other texts of the key
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.progress import track
from rich.table import Table
from scipy import stats

import tradeoff as td
from paper_repro.measuring import OutOption, Tables
from paper_repro.nulls import human_chunks
from paper_repro.trials.paired import paired_difference
from paper_repro.trials.robustness import EDITS, edited_text
from paper_repro.trials.uniform_tests import UNIFORM_TESTS, uniform_threshold
from tradeoff.detection import Evidence, detect, rate
from tradeoff.display import exit_on_bad_input, stderr, stdout
from tradeoff.keyed import Stream
from tradeoff.llm import ModelPair, load_pair
from tradeoff.texts import PromptKind, builtin_prompts

TOKENS = 100
WIDTHS = (1, 2, 4)
TEMPERATURES = (0.3, 0.5, 0.7, 1.0)
KINDS: tuple[PromptKind, ...] = ("question", "continuation")
#: Texts of each key, and keys of each kind of prompts.
TEXTS, KEYS = 15, 2
_LOOKAHEAD = 2
FPR, LEVEL = 0.01, 0.95
#: Widths of contexts of which the smallest hash would be the seed.
MIN_HASH = (2, 4)
_LONGEST_SENTENCE = 60
_LARGEST_VOCABULARY = 1 << 20
#: Paraphrases are of the texts of one temperature.
PARAPHRASED = 0.5
_REQUEST = "Say the following sentence in other words. Answer with the new sentence alone.\n\n{}"


@dataclass(frozen=True)
class Cell:
    """Texts of one setting.

    Attributes:
        method: its name.
        width: tokens that seed a position.
        temperature: of the sampling.
    """

    method: str
    width: int
    temperature: float

    @property
    def scheme(self) -> td.Scheme:
        return td.Scheme.of(self.method, "gumbel", context_width=self.width)

    @property
    def name(self) -> str:
        return f"{self.method}_{self.width}_{self.temperature:g}"


@dataclass(frozen=True)
class Written:
    """A text: its tokens [TOKENS], the key, and the prompt, by whose id texts of cells are paired."""

    prompt: str
    kind: str
    ids: np.ndarray
    key: td.Key


class Edit(NamedTuple):
    """What was done to a text, and to how much of it."""

    edit: str
    share: float


def cells() -> list[Cell]:
    """No speculation at every width and temperature; methods at two widths, those that lose strength at two
    temperatures."""
    found = [Cell("basic", width, t) for t in TEMPERATURES for width in WIDTHS]
    found += [Cell("joint-race", width, t) for t in TEMPERATURES for width in (2, 4)]
    found += [
        Cell(name, width, t) for name in ("one-race", "algorithm-1") for t in (0.5, 1.0) for width in (2, 4)
    ]
    # What is asked first stands first, so that a run that is stopped has the most of it.
    order = {t: place for place, t in enumerate((0.5, 1.0, 0.7, 0.3))}
    return sorted(found, key=lambda cell: order[cell.temperature])


def write(cell: Cell, folder: Path, pair: ModelPair) -> list[Written]:
    """The texts of a cell: read where they are there, else written."""
    found = []
    for kind in KINDS:
        for k in range(KEYS):
            key = td.Key(f"key {k} of edited texts, {kind}".encode())
            texts = td.generate(
                builtin_prompts(kind)[k * TEXTS : (k + 1) * TEXTS],
                cell.scheme,
                key,
                pair=pair,
                tokens=TOKENS,
                lookahead=_LOOKAHEAD,
                temperature=cell.temperature,
                batch=TEXTS,
                chat=kind == "question",
                ignore_eos=True,
                output=folder / f"{cell.name}_{kind}_{k}.jsonl",
            )
            found += [Written(text.id, kind, np.array(text.token_ids), key) for text in texts]
    return found


def paraphrase(cell: Cell, texts: Sequence[Written], folder: Path, pair: ModelPair) -> list[np.ndarray]:
    """The texts said anew by the target, sentence by sentence: its answers, tokenised as one text each."""
    asked = {
        f"{text.prompt} {j}": sentence
        for text in texts
        for j, sentence in enumerate(_sentences(_words(pair.tokenizer, text.ids)))
    }
    told = td.generate(
        [(name, _REQUEST.format(sentence)) for name, sentence in asked.items()],
        td.Scheme.of("basic", "none"),
        pair=pair,
        tokens=_LONGEST_SENTENCE,
        temperature=PARAPHRASED,
        batch=2 * TEXTS,
        chat=True,
        output=folder / f"{cell.name}_paraphrased.jsonl",
    )
    anew: dict[str, list[str]] = {text.prompt: [] for text in texts}
    for one in told:
        anew[one.id.rpartition(" ")[0]].append(one.text.strip())
    return [_tokens(pair.tokenizer, " ".join(anew[text.prompt])) for text in texts]


def _sentences(text: str) -> list[str]:
    return [one for one in re.split(r"(?<=[.!?])\s+|\n+", text) if one.strip()]


def _words(tokenizer: Any, ids: np.ndarray) -> str:
    return str(tokenizer.decode(ids.tolist(), skip_special_tokens=True))


def _tokens(tokenizer: Any, text: str) -> np.ndarray:
    return np.array(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)


class Verdicts:
    """Which texts of every cell are found after every edit: [texts], in the order of the prompts."""

    def __init__(self) -> None:
        self._found: dict[tuple[Cell, Edit], np.ndarray] = {}
        self._told: dict[tuple[Cell, Edit], dict[str, np.ndarray]] = {}

    def add(self, cell: Cell, edit: Edit, texts: Sequence[Written], edited: Sequence[np.ndarray]) -> None:
        """Read the edited texts as the key alone can."""
        detector = cell.scheme.detector()
        scores = [
            detect(detector, Evidence(ids, cell.scheme.function(text.key)))
            for text, ids in zip(texts, edited, strict=True)
        ]
        self._found[cell, edit] = np.array([score.log_p <= math.log(FPR) for score in scores])
        kept = [_kept(text.ids, ids, cell.width) for text, ids in zip(texts, edited, strict=True)]
        counted = [score.tokens_scored for score in scores]
        self._told[cell, edit] = {"tokens_scored": np.array(counted), "kept": np.array(kept)}

    def edits(self) -> list[Edit]:
        """All that were made, in order."""
        return list(dict.fromkeys(edit for _, edit in self._found))

    def found(self, cell: Cell, edit: Edit) -> np.ndarray | None:
        """None where a cell was not edited so."""
        return self._found.get((cell, edit))

    def rows(self, kinds: Sequence[str]) -> list[dict[str, object]]:
        """A row of every cell, edit and kind of prompts, and of both kinds together."""
        rows: list[dict[str, object]] = []
        for (cell, edit), found in self._found.items():
            for kind in (*KINDS, "both"):
                of_kind = np.array([kind in (one, "both") for one in kinds])
                tpr = rate(found[of_kind])
                told = {"tpr": tpr.value, "tpr_low": tpr.low, "tpr_high": tpr.high, "texts": tpr.texts}
                means = {name: float(one[of_kind].mean()) for name, one in self._told[cell, edit].items()}
                about = {**_columns(cell), **edit._asdict(), "prompts": kind}
                rows.append({**about, **told, **means, "fpr": FPR})
        return rows


def _columns(cell: Cell) -> dict[str, object]:
    return {"method": cell.method, "context_width": cell.width, "temperature": cell.temperature}


def difference(first: np.ndarray, second: np.ndarray) -> dict[str, object]:
    """Of two rates on the same prompts, with a 95% interval.

    Args:
        first, second: [prompts, repetitions] whether a text was found. Repetitions of one prompt, as at
            several temperatures, are no independent trials: the interval is of their means.
    """
    if first.shape[1] == 1:
        value, low, high = paired_difference(first[:, 0], second[:, 0])
    else:
        gains = first.mean(axis=1) - second.mean(axis=1)
        value = float(gains.mean())
        low, high = _mean_interval(gains)
    return {
        "first": float(first.mean()),
        "second": float(second.mean()),
        "difference": value,
        "difference_low": low,
        "difference_high": high,
        "prompts": len(first),
        "repetitions": first.shape[1],
    }


def compared(verdicts: Verdicts, pairs: Sequence[tuple[Cell, Cell]]) -> list[dict[str, object]]:
    """The first of each pair against the second after every edit, at each temperature and at all."""
    rows: list[dict[str, object]] = []
    groups: dict[tuple[str, int, str, int], list[tuple[Cell, Cell]]] = {}
    for one, other in pairs:
        groups.setdefault((one.method, one.width, other.method, other.width), []).append((one, other))
    for (method, width, other_method, other_width), members in groups.items():
        for edit in verdicts.edits():
            both = [
                (one.temperature, first, second)
                for one, other in members
                if (first := verdicts.found(one, edit)) is not None
                and (second := verdicts.found(other, edit)) is not None
            ]
            told: dict[str, object] = {"method": method, "context_width": width}
            told |= {"other_method": other_method, "other_width": other_width, **edit._asdict()}
            for temperature, first, second in both:
                rows.append(
                    {**told, "temperature": f"{temperature:g}"} | difference(first[:, None], second[:, None])
                )
            if len(both) > 1:
                firsts, seconds = (np.stack([one[k] for one in both], axis=1) for k in (1, 2))
                rows.append({**told, "temperature": "all"} | difference(firsts, seconds))
    return rows


def other_tests(
    edited: dict[tuple[Cell, Edit], Sequence[np.ndarray]], texts: dict[Cell, Sequence[Written]]
) -> list[dict[str, object]]:
    """Other tests of the same uniforms beside Aaronson's sum, all with simulated thresholds: temperatures
    together, by width, method and edit."""
    hits: dict[tuple[str, int, Edit], dict[str, list[list[bool]]]] = {}
    for (cell, edit), those in edited.items():
        if len(cell.scheme.method.detection.streams) > 1:
            continue
        found = hits.setdefault((cell.method, cell.width, edit), {name: [] for name in UNIFORM_TESTS})
        uniforms = [
            Evidence(ids, cell.scheme.function(text.key)).uniform(Stream.SHARED)
            for text, ids in zip(texts[cell], those, strict=True)
        ]
        for name, statistic in UNIFORM_TESTS.items():
            found[name].append(
                [len(u) > 1 and float(statistic(u)) > uniform_threshold(name, len(u), FPR) for u in uniforms]
            )
    rows: list[dict[str, object]] = []
    for (method, width, edit), found in hits.items():
        yardstick = np.array(found["Aaronson"]).T
        for name, told in found.items():
            if name != "Aaronson":
                row = {"method": method, "context_width": width, **edit._asdict(), "test": name}
                rows.append({**row, **difference(np.array(told).T, yardstick)})
    return rows


def price(texts: dict[Cell, Sequence[Written]]) -> list[dict[str, object]]:
    """What a narrow context costs, by width and temperature, on texts without speculation."""
    rows: list[dict[str, object]] = []
    for cell, those in texts.items():
        if cell.method != "basic":
            continue
        width = cell.width
        # The last token is nobody's context.
        contexts = [_windows(text.ids[:-1], width) for text in those]
        counted = [len(set(own)) / len(own) for own in contexts]
        seen = [
            np.mean([context in others for context in own])
            for i, own in enumerate(contexts)
            for others in [set().union(*(contexts[j] for j in _of_key(those, i)))]
        ]
        low, high = _mean_interval(np.array(seen))
        rows.append(
            {
                **_columns(cell),
                "texts": len(those),
                "repeated": 1 - float(np.mean(counted)),
                "seen": float(np.mean(seen)),
                "seen_low": low,
                "seen_high": high,
                "seen_tokens": len(_of_key(those, 0)) * TOKENS,
                **{f"min_hash_{w}": float(np.mean([_min_hashed(t.ids, w) for t in those])) for w in MIN_HASH},
            }
        )
    return rows


def _of_key(texts: Sequence[Written], i: int) -> list[int]:
    """The other texts of the same key."""
    return [j for j, text in enumerate(texts) if j != i and text.key == texts[i].key]


def _mean_interval(values: np.ndarray) -> tuple[float, float]:
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
    return float(values.mean()) - half, float(values.mean()) + half


def _windows(ids: np.ndarray, length: int) -> list[tuple[int, ...]]:
    """All of that length."""
    return [tuple(ids[start : start + length].tolist()) for start in range(len(ids) - length + 1)]


def _kept(ids: np.ndarray, edited: np.ndarray, width: int) -> float:
    """The share of tokens that still stand behind their contexts somewhere."""
    own, left = _windows(ids, width + 1), set(_windows(edited, width + 1))
    return float(np.mean([window in left for window in own]))


def _min_hashed(ids: np.ndarray, width: int) -> float:
    """The share of tokens that would be marked if the smallest hash of the last `width` tokens were the seed,
    and no seed counted twice."""
    hashes = np.random.default_rng(0).random(_LARGEST_VOCABULARY)[ids]
    seeds = [hashes[end - width : end].min() for end in range(width, len(ids))]
    return len(set(seeds)) / len(seeds)


def measure(folder: Path, tables: Tables) -> None:
    """Write the texts, edit and read them, and print what is found."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = load_pair()
    texts: dict[Cell, Sequence[Written]] = {}
    for cell in track(cells(), "texts", console=stderr()):
        texts[cell] = write(cell, folder, pair)
    human = human_chunks(pair.tokenizer, TOKENS)
    words = np.concatenate(human)
    verdicts = Verdicts()
    edited: dict[tuple[Cell, Edit], Sequence[np.ndarray]] = {}
    for cell in track(list(texts), "edits", console=stderr()):
        for edit in (Edit(name, share) for name, shares in EDITS.items() for share in shares):
            edited[cell, edit] = [
                # The same places of a prompt's texts in every cell.
                edited_text(text.ids, *edit, words, human, pair.tokenizer, _rng(text, edit))
                for text in texts[cell]
            ]
        if cell.temperature == PARAPHRASED:
            edited[cell, Edit("paraphrased", 1.0)] = paraphrase(cell, texts[cell], folder, pair)
    for (cell, edit), those in edited.items():
        verdicts.add(cell, edit, texts[cell], those)
    kinds = [text.kind for text in next(iter(texts.values()))]
    tables.write("edits", verdicts.rows(kinds))
    widths = [
        (one, other)
        for one in texts
        for other in texts
        if (one.method, one.temperature) == (other.method, other.temperature) and one.width < other.width
    ]
    tables.write("edits_widths", compared(verdicts, widths))
    undrafted = [
        (one, other)
        for one in texts
        for other in [Cell("basic", one.width, one.temperature)]
        if one.method != "basic" and other in texts
    ]
    tables.write("edits_methods", compared(verdicts, undrafted))
    tables.write("edits_detectors", other_tests(edited, texts))
    tables.write("edits_price", price(texts))
    _print(verdicts, widths)


def _rng(text: Written, edit: Edit) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{text.prompt} {edit.edit} {edit.share}".encode()))


def _print(verdicts: Verdicts, widths: Sequence[tuple[Cell, Cell]]) -> None:
    shown = Table("method", "width", "edit", "share", "T", "TPR", "of width", "TPR", "difference")
    for row in compared(verdicts, widths):
        if row["temperature"] == "all" and row["share"] in (0.0, 0.2, 1.0):
            ends = (row["difference"], row["difference_low"], row["difference_high"])
            shown.add_row(
                str(row["method"]),
                f"{row['context_width']}",
                str(row["edit"]),
                f"{row['share']:g}",
                str(row["temperature"]),
                f"{row['first']:.2f}",
                f"{row['other_width']}",
                f"{row['second']:.2f}",
                "{:+.2f} ({:+.2f} to {:+.2f})".format(*ends),
            )
    stdout().print(shown)


def main(
    texts: Annotated[Path, typer.Option(help="Folder of the texts; what is there is not written again.")],
    out: OutOption = None,
) -> None:
    """Measure what edits leave."""
    with exit_on_bad_input():
        measure(texts, Tables(out))


if __name__ == "__main__":
    typer.run(main)
