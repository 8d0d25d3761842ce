"""`tradeoff demo`: one prompt answered with and without a watermark, and four texts judged."""

from __future__ import annotations

import io
import shlex
import time
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeoff.cli.help import examples
from tradeoff.display import exit_on_bad_input, require_llm, stdout, visible
from tradeoff.errors import FileError

if TYPE_CHECKING:
    from tradeoff.texts import Record

__all__ = ["DEMO_EXAMPLES", "demo_command"]

#: Shown below its options.
DEMO_EXAMPLES = examples(
    "tradeoff demo", 'tradeoff demo --prompt "Write a letter to a friend" --out another-demo'
)

_PROMPT = "Why do leaves turn red in autumn?"
#: Sampling at which a small model still writes sense.
_TEMPERATURE = 0.8
#: Share of the words that are replaced in the copy that is edited.
_EDITED = 0.1
#: Least words of the paragraph that a person wrote: about as long as an answer.
_HUMAN_WORDS = 120


def demo_command(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for everything that is written; new or empty.")] = Path(
        "tradeoff-demo"
    ),
    prompt: Annotated[str, typer.Option(help="What the model is asked.")] = _PROMPT,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 160,
    target: Annotated[str, typer.Option(help="As for `tradeoff generate`.")] = "builtin",
    draft: Annotated[str, typer.Option(help="The same.")] = "builtin",
) -> None:
    """See it work, in about a minute on the built-in model.

    It makes a key, asks one prompt twice under speculative decoding, without
    the watermark and with it, and looks for the watermark in both answers, in
    an edited copy and in a paragraph that a person wrote. Every command it
    runs is printed, ready to be copied.
    """
    with exit_on_bad_input():
        from tradeoff.texts import read_records

        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise FileError(
                f"--out {out} holds something already; delete it, or name another folder with --out"
            )
        require_llm()
        if not prompt.strip() or prompt == "-":
            raise ValueError("--prompt is empty; write what the model is asked, such as 'Write a letter'")
        if max_tokens < 1:
            raise ValueError(f"--max-tokens {max_tokens} must be at least 1; 160 is usual")
        run = partial(_run, context.find_root().command.main)
        begin, key, texts = time.perf_counter(), str(out / "my.key"), out / "texts"
        texts.mkdir(parents=True)
        _heading("1. A secret key")
        run(["key", "new", "-o", key])
        _heading("2. One prompt, answered twice under speculative decoding")
        models = [*_unless_builtin("--target", target), *_unless_builtin("--draft", draft)]
        asked = [*models, "--chat", "--temperature", str(_TEMPERATURE), "--max-tokens", str(max_tokens)]
        answers = {}
        for name, how in (("unmarked", ["--method", "standard"]), ("marked", ["--key-file", key])):
            file = out / f"{name}.jsonl"
            # The words stand side by side once both are there.
            run(["generate", *how, *asked, "-o", str(file), "--", prompt], words=False)
            (answers[name],) = read_records(file)
        _side_by_side(answers["unmarked"], answers["marked"])
        _heading("3. Which of four texts are marked?")
        for name, words in _documents(answers["unmarked"].text, answers["marked"].text).items():
            (texts / f"{name}.txt").write_text(words + "\n", encoding="utf-8")
        console = stdout()
        console.print(
            f"In {visible(str(texts))}: both answers; edited, the marked one with {_EDITED:.0%} of its words "
            "replaced; human, a paragraph of Python's manual."
        )
        page = out / "evidence.html"
        read_with = _unless_builtin("--tokenizer", target)
        run(["detect", str(texts), "--key-file", key, *read_with, "--html", str(page)])
        _heading(f"Done in {time.perf_counter() - begin:.0f} s")
        console.print(f"what every word says: {visible(page.resolve().as_uri())}", soft_wrap=True)
        console.print("with your own prompts and letters: tradeoff generate -h, tradeoff detect -h")


def _run(program: Callable[..., int | None], arguments: list[str], words: bool = True) -> None:
    """Print a command of this program, and do what it does; without `words`, show none of its output.

    Raises:
        typer.Exit: with its status, if that is not 0.
    """
    from rich.text import Text

    # In one line, however long, so that it can be copied.
    stdout().print(Text(visible(shlex.join(["tradeoff", *arguments])), style="bold"), soft_wrap=True)
    with nullcontext() if words else redirect_stdout(io.StringIO()):
        status = program(arguments, prog_name="tradeoff", standalone_mode=False)
    if status:
        raise typer.Exit(status)


def _unless_builtin(option: str, value: str) -> list[str]:
    return [] if value == "builtin" else [option, value]


def _heading(words: str) -> None:
    console = stdout()
    console.print()
    console.rule(words, align="left")


def _side_by_side(unmarked: Record, marked: Record) -> None:
    from rich.table import Table

    table = Table("without a watermark", "with one", expand=True)
    table.columns[0].ratio = table.columns[1].ratio = 1
    table.add_row(visible(unmarked.text, keep="\n"), visible(marked.text, keep="\n"), end_section=True)
    table.add_row(_pace(unmarked), _pace(marked))
    stdout().print(table)


def _pace(record: Record) -> str:
    """How fast a text came, the loading of models not counted."""
    from tradeoff.texts import aatps

    steps = aatps([record]).value
    return f"{len(record.token_ids)} tokens in {record.seconds:.1f} s, {steps:.2f} a step"


def _documents(unmarked: str, marked: str) -> dict[str, str]:
    """What is judged, by its name."""
    import numpy as np

    from tradeoff.texts import human_paragraphs, substitute

    human = human_paragraphs(_HUMAN_WORDS)[0]
    words, others = (np.array(text.split(" "), dtype=object) for text in (marked, human))
    edited = substitute(words, _EDITED, others, np.random.default_rng(0))
    return {"edited": " ".join(edited), "human": human, "marked": marked, "unmarked": unmarked}
