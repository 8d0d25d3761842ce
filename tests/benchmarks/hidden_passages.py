"""The search for segments on documents that people wrote: what it finds, what it invents, and what it costs.

    python -m tests.benchmarks.hidden_passages --texts FOLDER [--only cost] [--out tests/benchmarks/results]

The built-in pair writes 200 texts at each of two temperatures with the default scheme, under eight keys, half
of them continuations of prose and half answers to questions. They are kept in FOLDER, and a run that was
stopped goes on there. Everything else is seeded. Three tables:

    segments_found  the first tokens of a text are hidden at a random place of a document: how often p < 0.01,
                    and how well the segments cover them
    segments_false  documents under a fresh random key each, with nothing hidden in them
    segments_cost   pieces of the texts of the lower temperature alone: verdicts by the search and on the
                    whole, of the same pieces

Documents are distinct paragraphs in random order, of the manual of Python and of the docstrings of its
standard library, NumPy, SciPy and matplotlib.
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
import typer
from rich.progress import track
from rich.table import Table
from scipy import stats

import tradeoff as td
from paper_repro.measuring import OutOption, Tables, chosen
from paper_repro.pages.parts.formats import between, percent_between
from tradeoff.detection import rate
from tradeoff.display import exit_on_bad_input, stderr, stdout
from tradeoff.files import output_folder
from tradeoff.llm import load_pair, load_tokenizer
from tradeoff.texts import builtin_prompts
from tradeoff.texts.corpus import human_paragraphs, prose_of
from tradeoff.verdicts import Result

TABLES = ("found", "false", "cost")
#: Of the texts of the committed tables.
SCHEME = td.Scheme.of("joint-race", "gumbel", context_width=4)
FPR, LEVEL = 0.01, 0.95
HOT, COLD = 1.0, 0.5
KEYS = [td.Key(f"key {k} of hidden passages".encode()) for k in range(8)]
#: Texts of a temperature under each key, and tokens of each.
TEXTS, TOKENS = 25, 100
HIDDEN = (60, 100)
DOCUMENTS = (1_000, 5_000, 20_000)
#: Tokens of documents with nothing hidden in them, and how many of each.
EMPTY, EMPTY_EACH = (200, 500, 1_000, 5_000), 500
#: Lengths of pieces. At COLD some of each are found and some are not; at HOT that is so only of pieces so
#: short that there are no windows beside the whole.
PIECES = (20, 25, 33, 50)
RESAMPLED = 10_000
#: Words of the shortest paragraph.
_WORDS = 20
_SOURCES = ("numpy", "scipy", "matplotlib")
_NOT_READ = {"site-packages", "test", "tests"}
_Item = TypeVar("_Item")


class Passage(NamedTuple):
    """Tokens [TOKENS] that were drawn with a key."""

    ids: np.ndarray
    key: td.Key


def passages(folder: Path, temperature: float) -> list[Passage]:
    """The texts of a temperature: read where they are there, else written."""
    pair, scheme, found = load_pair(), SCHEME, []
    for k, key in enumerate(KEYS):
        # Keys of even number continue prose, the others answer questions, each another prompt.
        chat, first = k % 2 == 1, k // 2 * TEXTS
        prompts = builtin_prompts("question" if chat else "continuation")[first : first + TEXTS]
        texts = td.generate(
            prompts,
            scheme,
            key,
            pair=pair,
            tokens=TOKENS,
            temperature=temperature,
            batch=TEXTS,
            seed=k,
            chat=chat,
            ignore_eos=True,
            output=folder / f"passages_{temperature:g}_{k}.jsonl",
        )
        found += [Passage(np.array(text.token_ids), key) for text in texts]
    return found


def human_tokens() -> list[np.ndarray]:
    """Token ids of paragraphs that people wrote, each with the empty line behind it."""
    folders = [Path(sysconfig.get_path("stdlib"))]
    folders += [Path(str(spec.origin)).parent for name in _SOURCES if (spec := find_spec(name)) is not None]
    words = [*human_paragraphs(_WORDS)]
    for folder in folders:
        words += prose_of(_docstrings(folder), _WORDS)
    tokenizer = load_tokenizer("builtin")
    spelled = tokenizer([f"{text}\n\n" for text in dict.fromkeys(words)], add_special_tokens=False)
    return [np.array(ids, dtype=np.int64) for ids in spelled["input_ids"]]


def _docstrings(folder: Path) -> Iterator[str]:
    """Of all modules under a folder that can be parsed, in order."""
    for path in sorted(folder.rglob("*.py")):
        if _NOT_READ.isdisjoint(path.relative_to(folder).parts):
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    yield ast.get_docstring(node) or ""


def document(paragraphs: Sequence[np.ndarray], tokens: int, rng: np.random.Generator) -> np.ndarray:
    """So many tokens of paragraphs in random order, none of them twice."""
    taken, length = [], 0
    for k in rng.permutation(len(paragraphs)):
        taken.append(paragraphs[k])
        length += len(paragraphs[k])
        if length >= tokens:
            break
    if length < tokens:
        raise ValueError(f"the paragraphs have {length} tokens; a document of {tokens} needs more")
    return np.concatenate(taken)[:tokens]


def overlap(result: Result, start: int, end: int) -> float:
    """Of the tokens from start up to but not including end, and those of the segments: intersection over
    union."""
    hidden, told = (np.zeros(len(result.token_ids), dtype=bool) for _ in range(2))
    hidden[start:end] = True
    for segment in result.segments:
        told[segment.start : segment.end] = True
    return float((hidden & told).sum() / (hidden | told).sum())


def found(
    texts: dict[float, list[Passage]], paragraphs: Sequence[np.ndarray], scheme: td.Scheme
) -> list[dict[str, object]]:
    """Hide every text in a document of its own: a row for each temperature, length and size."""
    rows: list[dict[str, object]] = []
    cells = [(t, hidden, size) for t in texts for hidden in HIDDEN for size in DOCUMENTS]
    for number, (temperature, hidden, size) in enumerate(_shown(cells, "hidden passages")):
        rng = np.random.default_rng([1, number])
        told, whole, overlaps = [], [], []
        for passage in texts[temperature]:
            around, start = document(paragraphs, size - hidden, rng), int(rng.integers(size - hidden + 1))
            ids = np.concatenate([around[:start], passage.ids[:hidden], around[start:]])
            result = td.detect(ids, scheme, passage.key, fpr=FPR)
            told.append(result.detected)
            whole.append(_found_whole(result))
            overlaps.append(overlap(result, start, start + hidden))
        resampled = np.median(rng.choice(overlaps, (RESAMPLED, len(overlaps))), axis=1)
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        rows.append(
            {
                "temperature": temperature,
                "passage": hidden,
                "document": size,
                "trials": len(told),
                **_rate("found", told),
                **_rate("whole", whole),
                "overlap": float(np.median(overlaps)),
                "overlap_low": float(low),
                "overlap_high": float(high),
            }
        )
    return rows


def invented(paragraphs: Sequence[np.ndarray], scheme: td.Scheme) -> list[dict[str, object]]:
    """Look for what is not there: a row for each length of documents, and one for all of them."""
    rng, everything, rows = np.random.default_rng(2), [], []
    for tokens in _shown(EMPTY, "documents with nothing hidden"):
        told = []
        for _ in range(EMPTY_EACH):
            ids, key = document(paragraphs, tokens, rng), td.Key(rng.bytes(32))
            told.append(td.detect(ids, scheme, key, fpr=FPR).detected)
        everything += told
        rows.append({"tokens": str(tokens), **_counted(told)})
    return [*rows, {"tokens": "all", **_counted(everything)}]


def cost(texts: Sequence[Passage], scheme: td.Scheme) -> list[dict[str, object]]:
    """Cut the texts into pieces: a row for each length, with both verdicts of the same pieces, and one for
    the mean over lengths."""
    rows, by_length = [], []
    for length in PIECES:
        # [texts, pieces]: those of one text are no independent trials.
        told, whole = np.array(
            [
                _verdicts(passage.ids[first : first + length], scheme, passage.key)
                for passage in texts
                for first in range(0, TOKENS - length + 1, length)
            ]
        ).T.reshape(2, len(texts), -1)
        by_length.append([told.mean(axis=1), whole.mean(axis=1)])
        lost, gained = int((whole & ~told).sum()), int((told & ~whole).sum())
        rows.append(_cost_row(str(length), by_length[-1], told.size, lost, gained))
    pieces, lost, gained = (sum(row[name] for row in rows) for name in ("pieces", "lost", "gained"))
    return [*rows, _cost_row("all", np.mean(by_length, axis=0), pieces, lost, gained)]


def _cost_row(
    tokens: str, shares: Sequence[np.ndarray], pieces: int, lost: int, gained: int
) -> dict[str, Any]:
    """From the shares of pieces that are found of each text, by the search and on the whole: [texts] each."""
    told, whole = shares
    differences = told - whole
    difference = float(differences.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(differences) - 1) * stats.sem(differences))
    return {
        "temperature": COLD,
        "tokens": tokens,
        "texts": len(differences),
        "pieces": pieces,
        "whole": float(whole.mean()),
        "segments": float(told.mean()),
        "lost": lost,
        "gained": gained,
        "difference": difference,
        "difference_low": difference - half,
        "difference_high": difference + half,
    }


def _verdicts(ids: np.ndarray, scheme: td.Scheme, key: td.Key) -> tuple[bool, bool]:
    result = td.detect(ids, scheme, key, fpr=FPR)
    return result.detected, _found_whole(result)


def _found_whole(result: Result) -> bool:
    return result.whole_log10_p <= np.log10(FPR)


def _counted(told: list[bool]) -> dict[str, object]:
    return {"documents": len(told), "false": sum(told), **_rate("rate", told)}


def _rate(name: str, told: list[bool]) -> dict[str, object]:
    share = rate(np.array(told), LEVEL)
    return {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}


def _shown(items: Sequence[_Item], title: str) -> Iterator[_Item]:
    yield from track(items, title, console=stderr(), transient=True)


def measure(folder: Path, tables: Tables, only: Sequence[str] = TABLES) -> None:
    """Write what is missing of the texts, and measure."""
    scheme, paragraphs = SCHEME, [] if set(only) == {"cost"} else human_tokens()
    heats = {"found": (HOT, COLD), "false": (), "cost": (COLD,)}
    texts = {t: passages(folder, t) for t in (HOT, COLD) if any(t in heats[name] for name in only)}
    if "found" in only:
        rows = found(texts, paragraphs, scheme)
        tables.write("segments_found", rows)
        shown = Table("T", "hidden", "of tokens", "found", "as a whole", "overlap", title="Hidden passages")
        for row in rows:
            cells = [f"{row[name]}" for name in ("temperature", "passage", "document")]
            cells += [percent_between(*_interval(row, name), 1) for name in ("found", "whole")]
            shown.add_row(*cells, between(*_interval(row, "overlap"), 2))
        stdout().print(shown)
    if "false" in only:
        rows = invented(paragraphs, scheme)
        tables.write("segments_false", rows)
        shown = Table("tokens", "documents", "called watermarked", "share", title="Nothing hidden")
        for row in rows:
            cells = [f"{row[name]}" for name in ("tokens", "documents", "false")]
            shown.add_row(*cells, percent_between(*_interval(row, "rate"), 2))
        stdout().print(shown)
    if "cost" in only:
        rows = cost(texts[COLD], scheme)
        tables.write("segments_cost", rows)
        shown = Table("T", "tokens", "pieces", "whole", "by segments", "lost", "gained", "difference")
        for row in rows:
            cells = [
                f"{row[name]:.3g}" if name in ("whole", "segments") else f"{row[name]}"
                for name in ("temperature", "tokens", "pieces", "whole", "segments", "lost", "gained")
            ]
            shown.add_row(*cells, percent_between(*_interval(row, "difference"), 2))
        stdout().print(shown)


def _interval(row: dict[str, object], name: str) -> tuple[float, float, float]:
    value, low, high = (float(str(row[key])) for key in (name, f"{name}_low", f"{name}_high"))
    return value, low, high


def main(
    texts: Annotated[Path, typer.Option(help="Folder of the texts; those that it lacks are written.")],
    only: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(TABLES)}; all of them if left out.")
    ] = None,
    out: OutOption = None,
) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measured = chosen(only, TABLES)
        measure(output_folder(texts), Tables(out), measured)


if __name__ == "__main__":
    typer.run(main)
