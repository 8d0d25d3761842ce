"""Fit the `jump` draft of the built-in target: ridge regression, then distillation on the target's own text.

    python -m tradeoff.llm.fitting.fit_jump --minutes 45

The adapter that comes with the library was fitted much as `--minutes 17.5 --texts 8 --threads 1` does, in two
sittings counted in processor time: 12 minutes on seven files under a schedule of 22, the rest on eight under
one of 17.5. It had then learnt its 90,000 positions better than others (overlap 0.51 against 0.42), so the
default samples more of them.

Four steps: the target samples texts from many kinds of prompts; it reads human prose; the map over the
omitted layers is fitted to these texts in closed form; the map and the low-rank adapters are trained to give
the target's next-token distributions. Texts and checkpoints stay in the work folder, so that a killed run
goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TimeRemainingColumn
from safetensors.torch import load_file

from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder
from tradeoff.llm.encoding import chat_prompt
from tradeoff.llm.fitting.distil import (
    FIELDS,
    Report,
    Texts,
    Training,
    fit_map,
    mean_overlap,
    read_metadata,
    sample_texts,
    train,
    write_tensors,
)
from tradeoff.llm.models.builtin import BUILTIN_NAME
from tradeoff.llm.models.huggingface import PreTrainedModel, PreTrainedTokenizerBase, final_states
from tradeoff.llm.models.jump import jump_draft, new_jump, save_adapter
from tradeoff.llm.models.pair import ModelPair, load_pair
from tradeoff.texts import builtin_prompts, human_paragraphs

RESULTS = Path("paper_repro/results")

#: Rows and tokens (prompt included) of one file of texts.
ROWS, LENGTH = 64, 192
#: Kinds of prompts and how often each is used for training.
MIX = {"question": 0.4, "continuation": 0.3, "prose": 0.2, "start": 0.1}
#: Sampling temperatures of the training texts: mostly 1, some calmer text such as users sample.
TEMPERATURES = (1.0, 1.0, 1.0, 0.6)
RANK, WIDTH = 16, 256
#: Found by measurement; larger penalties and smaller ones lose 0.002 to 0.004 of mean overlap.
PENALTY = 0.01
LEARNING_RATE = 2e-3
_MAP_ROWS = 32
_PROSE_TOKENS = 16
_HELD_OUT_ROWS = 48
_ROWS_AT_ONCE = 8
#: Every fifth prompt is held out.
_FOLD = 5


def prompts(tokenizer: PreTrainedTokenizerBase, held_out: bool) -> dict[str, list[list[int]]]:
    """Token ids of the prompts by kind: {"question": ..., "continuation": ..., "prose": ..., "start": ...}.

    Questions are in chat format; prose is the first tokens of paragraphs that people wrote. Every fifth
    prompt of these kinds is held out. "start" (training only) begins with the opening of a chat, up to the
    question; then every token of the vocabulary follows by itself.
    """
    everything = {
        "question": [chat_prompt(tokenizer, text, name) for name, text in builtin_prompts("question")],
        "continuation": [_encode(tokenizer, text) for _, text in builtin_prompts("continuation")],
        "prose": [_encode(tokenizer, text)[:_PROSE_TOKENS] for text in human_paragraphs()],
    }
    chosen = {kind: _fold(texts, held_out) for kind, texts in everything.items()}
    if not held_out:
        first, second = everything["question"][:2]
        differ = (k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
        chosen["start"] = [first[: next(differ, 0) or 1], *([token] for token in range(len(tokenizer)))]
    return chosen


def draw_prompts(sources: dict[str, list[list[int]]], rows: int, rng: np.random.Generator) -> list[list[int]]:
    """`rows` training prompts in the proportions of MIX; of the plain ones, only a random part is used."""
    kinds = rng.choice(list(MIX), size=rows, p=list(MIX.values()))
    drawn = []
    for kind in kinds:
        if kind == "start" and rng.random() < 0.5:
            ids = sources[kind][0]
        else:
            ids = sources[kind][rng.integers(len(sources[kind]))]
        if kind in ("continuation", "prose"):
            ids = ids[: rng.integers(min(4, len(ids)), len(ids) + 1)]
        drawn.append(ids)
    return drawn


def training_texts(
    pair: ModelPair,
    work: Path,
    number: int,
    seed: int,
    *,
    length: int = LENGTH,
    report: Report = lambda *_: None,
) -> Texts:
    """`number` files of texts that the target samples, each from a random stream of its own.

    Files that are there already are used as they are; a file appears complete or not at all.

    Raises:
        ValueError: if a file in `work` is of another target, seed or length.
    """
    sources, parts = prompts(pair.tokenizer, held_out=False), []
    for index in range(number):
        path = work / f"texts-{index:05d}.safetensors"
        rng = np.random.default_rng([seed, 0, index])

        def sample(rng: np.random.Generator = rng, index: int = index) -> Texts:
            starts = draw_prompts(sources, ROWS, rng)
            heat = rng.choice(TEMPERATURES, ROWS)
            return sample_texts(
                pair.target,
                starts,
                length,
                heat,
                rng,
                pair.tokenizer.eos_token_id,
                lambda done, of: report(index * of + done, number * of),
            )

        parts.append(_cached(path, _origin(pair, seed, length), sample))
    return joined(parts)


def held_out_texts(
    pair: ModelPair,
    rows: int,
    temperature: float,
    rng: np.random.Generator,
    *,
    length: int = LENGTH,
    report: Report = lambda *_: None,
) -> Texts:
    """Texts that the target samples from held-out prompts, a third each of questions, openings and prose."""
    sources = prompts(pair.tokenizer, held_out=True)
    starts = [
        sources[kind][rng.integers(len(sources[kind]))]
        for kind in ("question", "continuation", "prose")
        for _ in range(rows // 3)
    ]
    heat = np.full(len(starts), temperature)
    return sample_texts(pair.target, starts, length, heat, rng, pair.tokenizer.eos_token_id, report)


def prose_texts(pair: ModelPair, work: Path, *, length: int = LENGTH) -> Texts:
    """The paragraphs that are not held out, cut to `length` tokens, with the target's states on them."""

    def read() -> Texts:
        texts = [_encode(pair.tokenizer, text)[:length] for text in human_paragraphs()]
        return read_texts(pair.target, _fold(texts, held_out=False))

    return _cached(work / "prose.safetensors", _origin(pair, None, length), read)


@torch.no_grad()
def read_texts(target: PreTrainedModel, texts: Sequence[Sequence[int]]) -> Texts:
    """Given texts of one token or more, in the form of `sample_texts`: every next token counts."""
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.int32)
    ids = torch.zeros(len(texts), int(lengths.max()), dtype=torch.int32)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text, dtype=torch.int32)
    # Padding on the right needs no mask: causal attention never looks there.
    states = [final_states(target, part.long().to(target.device)).half() for part in ids.split(_ROWS_AT_ONCE)]
    return {
        "ids": ids,
        "states": torch.cat(states).cpu(),
        "first": torch.zeros_like(lengths),
        "last": lengths - 1,
    }


def joined(parts: Sequence[Texts]) -> Texts:
    """Several sets of texts as one; shorter ones are padded on the right."""
    longest = max(part["ids"].shape[1] for part in parts)

    def padded(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 1:
            return tensor
        return torch.cat(
            [tensor, tensor.new_zeros(len(tensor), longest - tensor.shape[1], *tensor.shape[2:])], dim=1
        )

    return {key: torch.cat([padded(part[key]) for part in parts]) for key in FIELDS}


def fit(
    minutes: Annotated[float, typer.Option(help="Minutes of training, once the texts are there.")] = 45.0,
    out: Annotated[Path, typer.Option(help="The adapter, a .safetensors file.")] = RESULTS
    / "jump.safetensors",
    work: Annotated[Path, typer.Option(help="Folder of texts and checkpoints.")] = RESULTS / "fit_jump",
    texts: Annotated[int, typer.Option(help=f"Files of texts to sample, {ROWS} texts each.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of texts and training.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; all cores if left out.")] = None,
) -> None:
    """Fit the jump draft of the built-in target on text that the target samples itself."""
    console = stdout()
    with exit_on_bad_input():
        if not 0 < minutes < float("inf"):
            raise ValueError(f"minutes={minutes} must be positive and finite")
        if texts < 1:
            raise ValueError(f"texts={texts} must be at least 1")
        if seed < 0:
            raise ValueError(f"seed={seed} must not be negative")
        if threads is not None and threads < 1:
            raise ValueError(f"threads={threads} must be at least 1; leave it out to use all cores")
        if out.suffix != ".safetensors":
            raise ValueError(f"out={str(out)!r} must end in .safetensors")
        output_folder(out.parent)
        output_folder(work)
        if threads is not None:
            torch.set_num_threads(threads)
        pair = load_pair(device="cpu", dtype="float32")
        with _progress(stderr()) as progress:
            _fit(pair, console, progress, minutes=minutes, out=out, work=work, number=texts, seed=seed)
        print_written(console, [out])


def _fit(
    pair: ModelPair,
    console: Console,
    progress: Progress,
    *,
    minutes: float,
    out: Path,
    work: Path,
    number: int,
    seed: int,
) -> None:
    target, vocabulary = pair.target, pair.vocabulary_size

    def bar(title: str) -> tuple[TaskID, Report]:
        task = progress.add_task(title, total=None)
        return task, lambda done, of: progress.update(task, completed=done, total=of)

    _, shown = bar("sampling held-out texts")
    held_out = _cached(
        work / "held-out.safetensors",
        _origin(pair, seed, LENGTH),
        lambda: held_out_texts(
            pair, _HELD_OUT_ROWS, 1.0, np.random.default_rng([seed, 1]), length=LENGTH, report=shown
        ),
    )
    shown(1, 1)
    _, shown = bar("sampling training texts")
    sampled = training_texts(pair, work, number, seed, length=LENGTH, report=shown)
    shown(1, 1)
    _, shown = bar("reading prose, fitting the map")
    material = joined([sampled, prose_texts(pair, work, length=LENGTH)])
    draft = new_jump(target, RANK, WIDTH, seed)
    fit_map(target, draft, {key: value[:_MAP_ROWS] for key, value in sampled.items()}, PENALTY)
    mean, error = mean_overlap(target, draft, held_out, vocabulary=vocabulary)
    console.print(f"map alone, in closed form: mean overlap {mean:.4f} ± {error:.4f} on held-out texts")
    shown(1, 1)

    # The draft alone is cast, not the target: its own parameters, on new storage from here on.
    torch.nn.Module.to(draft, torch.bfloat16)
    settings = {"seed": seed, "texts": number, "minutes": minutes, "rank": RANK, "width": WIDTH}
    state = Training(draft, LEARNING_RATE, work / "training.safetensors", settings)
    task = progress.add_task("training", total=60 * minutes)

    def evaluate() -> float:
        mean, error = mean_overlap(target, draft, held_out, vocabulary=vocabulary, every=6)
        console.print(f"step {state.step}: mean overlap {mean:.4f} ± {error:.4f} on held-out texts")
        return mean

    train(
        state,
        draft,
        material,
        evaluate,
        seconds=60 * minutes,
        seed=seed,
        report=lambda spent, line: progress.update(task, completed=spent, description=f"training: {line}"),
    )
    save_adapter(draft, target, out, BUILTIN_NAME)
    fitted = jump_draft(target, out)
    for temperature in (1.0, 0.7, 0.5):
        mean, error = mean_overlap(target, fitted, held_out, temperature, vocabulary)
        console.print(f"temperature {temperature}: mean overlap {mean:.4f} ± {error:.4f} on held-out texts")


def _cached(path: Path, origin: str, make: Callable[[], Texts]) -> Texts:
    """The texts in `path`, made and written first if they are not there.

    Raises:
        ValueError: if they come from elsewhere than `origin` says.
    """
    if not path.is_file():
        write_tensors(path, make(), {"origin": origin})
    found = read_metadata(path).get("origin")
    if found != origin:
        raise ValueError(
            f"{path} holds texts of {found}, not of {origin}; choose another --work folder or delete the file"
        )
    return load_file(path)


def _origin(pair: ModelPair, seed: int | None, length: int) -> str:
    return json.dumps({"target": pair.target_name, "seed": seed, "length": length})


def _fold(texts: list[list[int]], held_out: bool) -> list[list[int]]:
    return [ids for index, ids in enumerate(texts) if (index % _FOLD == _FOLD - 1) == held_out]


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _progress(console: Console) -> Progress:
    columns = (Words(), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


if __name__ == "__main__":
    typer.run(fit)
