"""`tradeoff detect`: is a text watermarked with this key?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text as Styled

from tradeoff.cli.examine import Examiner, Options
from tradeoff.cli.finding import VERDICTS, Finding
from tradeoff.cli.key import read_key
from tradeoff.cli.spelling import numbers
from tradeoff.console import (
    Reader,
    exit_on_bad_input,
    print_error,
    print_note,
    print_warning,
    print_written,
    require_stdout,
    stderr,
    stdin,
    stdout,
)
from tradeoff.decoders import WATERMARKS
from tradeoff.detection.json_texts import Broken
from tradeoff.detection.page import EvidencePage
from tradeoff.detection.texts import IN_FOLDERS, STDIN, read_texts
from tradeoff.detection.views import (
    Shown,
    legend,
    plain_view,
    shown_tokens,
    terminal_view,
    unscored_tokens,
)
from tradeoff.errors import FileError
from tradeoff.kernels import METHODS
from tradeoff.prf_names import PRF_NAMES
from tradeoff.visible import visible

__all__ = ["detect_command"]

_STYLES = dict(zip(VERDICTS, ("bold blue", "", "dim", "dim"), strict=True))
#: Errors of one source that are told in full: a file of the wrong kind has one on every line.
_TOLD_ERRORS = 3


def detect_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Text files, folders (their .txt, .md and .jsonl files), JSON lines with text or token_ids "
            "(.jsonl, .ndjson), .json files of such objects, or - for standard input.",
            show_default=False,
        ),
    ],
    key_file: Annotated[
        Path | None, typer.Option(help="Key file, as made by `tradeoff key new`. Default: TRADEOFF_KEY.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Integer key, for --prf vllm-philox-v1 only.")] = None,
    prf: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(PRF_NAMES)}. Default: the record's, or {PRF_NAMES[0]}."),
    ] = None,
    context_width: Annotated[
        int | None, typer.Option(help="Tokens before a position that seed it. Default: the record's, or 4.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(METHODS)}. Default: the record's, or one-race."),
    ] = None,
    watermark: Annotated[
        str | None, typer.Option(help=f"{WATERMARKS}. Default: the record's, or gumbel.")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Of the model that wrote the text: builtin (the default), a folder, a tokenizer.json or a "
            "Hugging Face id."
        ),
    ] = None,
    retokenize: Annotated[
        bool, typer.Option("--retokenize", help="Tokenise the text even where token_ids are given.")
    ] = False,
    detector: Annotated[
        Path | None,
        typer.Option(help="Fitted Bayesian detector (safetensors), instead of the untrained one."),
    ] = None,
    fpr: Annotated[
        float, typer.Option(help="False-positive rate: the share of other texts called watermarked.")
    ] = 0.01,
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential",
            help="Read token by token, stop as soon as the verdict is certain, and tell how many it took.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a text on standard output, nothing else.")
    ] = False,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Show what every token says; with --json, add index and scores.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write verdicts and what every token says to this page.")
    ] = None,
) -> None:
    """Tell whether texts carry the watermark of a key, with exact p-values.

    It needs the key and the tokens, not the model. A line with token_ids is
    scored from them. Words are tokenised again, which may give other tokens
    than were generated; no watermark is seen around those. To tell what that
    costs, pass --retokenize.

    Verdicts: watermarked (p <= fpr), not detected, too short (fewer tokens
    count than a context has), and no watermark claimed (by the text's record;
    pass --method to test it all the same). The exit status is 0 whatever the
    verdicts, and 2 for bad input; texts that can be read get theirs even then.

    With --sequential a text is bet on token by token. Its p-value holds at
    whatever token one stops, so reading ends where it falls to --fpr. A stream
    with no place to cut between tokens (neither white space nor punctuation)
    is judged at its end.
    """
    with exit_on_bad_input(), ExitStack() as stack:
        if html is None:
            require_stdout()
        else:
            files = [str(path) for path in (key_file, detector, tokenizer) if path is not None]
            _check_page(html, [*sources, *files])
        options = Options(
            method, watermark, prf, context_width, tokenizer, retokenize, detector, fpr, sequential
        )
        texts = read_texts(sources, stdin(), print_warning, eager=sequential)
        examiner = Examiner(options, lambda name: read_key(key_file, key, name), print_warning, print_note)
        page = None if html is None else stack.enter_context(EvidencePage(html))
        several = len(sources) > 1 or any(Path(source).is_dir() for source in sources)
        table, errors = _table(sequential), _Errors()
        # A page is written to its end, whoever reads what is printed.
        reader = Reader(outlived=html is not None)
        verdicts: Counter[str] = Counter()
        fingerprint = None
        for text in texts:
            if isinstance(text, Broken):
                errors.tell(text.source, text.message)
                continue
            try:
                finding = examiner.examine(text)
            except ValueError as error:
                errors.tell(text.source, str(error))
                continue
            verdicts[finding.verdict] += 1
            # Another file of the same folder may use the same ids.
            name = text.label if several else text.id
            if as_json:
                facts = finding.as_json() | (finding.scores() if tokens else {})
                with reader:
                    typer.echo(json.dumps(facts, allow_nan=False))
            else:
                table.add_row(*_row(name, finding, sequential))
            shown = tokens and not as_json
            if shown or page is not None:
                try:
                    words = examiner.words(finding)
                except FileError as error:
                    errors.tell(text.source, str(error))
                    words = numbers(finding.token_ids.tolist())
                if shown:
                    with reader:
                        _print_tokens(name, finding, words)
                if page is not None:
                    _add_to_page(name, finding, words, page)
            if finding.reading is not None:
                fingerprint = finding.reading.prf.fingerprint
        errors.close()
        if not verdicts:
            # Nothing to write: what a page held before stays.
            raise typer.Exit(2)
        stack.close()
        with reader:
            if not as_json:
                if tokens and _is_coloured():
                    stdout().print(legend(), soft_wrap=True)
                stdout().print(table)
                _print_summary(verdicts, fpr, fingerprint)
            if html is not None:
                print_written(stderr() if as_json else stdout(), [html])
        if reader.gone:
            raise typer.Exit(1)
        if errors:
            raise typer.Exit(2)


class _Errors:
    """Tells what cannot be read as it is met, the same only once and few of one source; true if any is."""

    def __init__(self) -> None:
        self._messages: set[str] = set()
        self._of: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._messages)

    def tell(self, source: str, message: str) -> None:
        if message in self._messages:
            return
        self._of[source] += 1
        if self._of[source] <= _TOLD_ERRORS:
            self._messages.add(message)
            print_error(message)

    def close(self) -> None:
        for source, count in self._of.items():
            if (more := count - _TOLD_ERRORS) > 0:
                print_error(f"{source}: {more} more text{'s' * (more != 1)} cannot be read for such reasons")


def _check_page(html: Path, inputs: Iterable[str]) -> None:
    page = html.resolve()
    for read in (Path(name).resolve() for name in inputs if name != STDIN):
        # Of a folder all texts are read, those that are there and those that would be there next time.
        inside = read.is_dir() and page.is_relative_to(read) and page.suffix.lower() in IN_FOLDERS
        if page == read or inside:
            raise FileError(f"html={str(html)!r} is a file to be read; write the page to another one")


def _print_tokens(name: str, finding: Finding, words: list[str]) -> None:
    reading, out = finding.reading, stdout()
    out.print(Styled(f"{visible(name)}: {finding.verdict}", style="bold"), soft_wrap=True)
    if _is_coloured():
        out.print(terminal_view(_shown(finding, words)), soft_wrap=True)
    else:
        how = () if reading is None else (reading.detector, reading.result)
        for line in plain_view(words, *how):
            typer.echo(line)
    out.print()


def _add_to_page(name: str, finding: Finding, words: list[str], page: EvidencePage) -> None:
    facts = finding.as_json()
    kept = (
        "log10_p",
        "tokens",
        "tokens_scored",
        "tokens_needed",
        "detector",
        "method",
        "watermark",
        "key",
        "fpr",
    )
    facts["log10_p"] = f"{finding.log10_p:.2f}"
    about = {key.replace("_", " "): facts[key] for key in kept if facts.get(key) is not None}
    page.add(name, finding.verdict, about, _shown(finding, words))


def _shown(finding: Finding, words: list[str]) -> Iterator[Shown]:
    """The evidence of every token."""
    reading = finding.reading
    if reading is None:
        return unscored_tokens(words)
    return shown_tokens(reading.detector, reading.evidence, reading.result, words)


def _is_coloured() -> bool:
    """Whether shades would be seen: not in a file or a pipe, nor under NO_COLOR."""
    console = stdout()
    return console.color_system is not None and not console.no_color


def _table(sequential: bool) -> Table:
    counts = ("tokens scored", "tokens needed") if sequential else ("tokens scored",)
    table = Table("text", "verdict", "log10 p", *counts, "method", "watermark", "detector")
    for column in table.columns[2 : 3 + len(counts)]:
        column.justify = "right"
    table.columns[0].overflow = "fold"
    return table


def _row(name: str, finding: Finding, sequential: bool) -> tuple[Styled, ...]:
    facts = finding.as_json()
    verdict = Styled(finding.verdict, style=_STYLES[finding.verdict])
    # A fitted detector may not have been told of a method; without a claim there is no detector.
    how = (facts[what] or "-" for what in ("method", "watermark", "detector"))
    needed = (str(facts.get("tokens_needed") or "-"),) if sequential else ()
    cells = (f"{finding.log10_p:.2f}", str(finding.tokens_scored), *needed, *how)
    return Styled(visible(name)), verdict, *map(Styled, cells)


def _print_summary(verdicts: Counter[str], fpr: float, fingerprint: str | None) -> None:
    # The last verdict is rare, and would only be asked about.
    told = [verdict for verdict in VERDICTS if verdicts[verdict] or verdict != VERDICTS[-1]]
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in told)
    total = verdicts.total()
    key = "" if fingerprint is None else f", key {fingerprint}"
    stdout().print(
        f"{total} text{'s' * (total != 1)}: {counts} (false-positive rate {fpr:g}{key})",
        soft_wrap=True,
    )
