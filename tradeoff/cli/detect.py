"""`tradeoff detect`: is a text watermarked with this key?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text as Styled

from tradeoff.api import detect_all
from tradeoff.cli.key import day_of, read_keyring
from tradeoff.decoders import watermarks
from tradeoff.display import (
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
    visible,
)
from tradeoff.errors import FileError
from tradeoff.kernels import METHODS
from tradeoff.keyed import PRF_NAMES
from tradeoff.texts import IN_FOLDERS, STDIN, Broken, read_texts
from tradeoff.verdicts import (
    EvidencePage,
    Options,
    Outcome,
    Result,
    Setting,
    Shown,
    legend,
    numbers,
    plain_view,
    shown_tokens,
    terminal_view,
)

__all__ = ["detect_command"]

_STYLES = {
    Outcome.WATERMARKED: "bold blue",
    Outcome.IN_PART: "bold blue",
    Outcome.TOO_SHORT: "dim",
}
#: Errors of one source that are told in full: a file of the wrong kind has one on every line.
_TOLD_ERRORS = 3
#: Texts that are judged together.
_TOGETHER = 512
#: Settings that people are told of.
_TOLD_SETTINGS = 8


def detect_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Text files, JSON lines with text or token_ids (.jsonl, .ndjson), .json files of such "
            "objects, tables with such columns (.csv, .tsv, .parquet), documents (.docx, .pdf), dumps of "
            f"event streams, folders (their {', '.join(IN_FOLDERS)} files), or - for standard input.",
            show_default=False,
        ),
    ],
    key_file: Annotated[
        list[Path] | None,
        typer.Option(
            help="Key file, as made by `tradeoff key new`, or a folder of them; may be given several times, "
            "and all are tested. Default: TRADEOFF_KEY."
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Integer key of --prf vllm-philox-v1.")] = None,
    written: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="Test only keys that were in use on this day."),
    ] = None,
    prf: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {', '.join(PRF_NAMES)}. Default: the key's, or {PRF_NAMES[0]}."),
    ] = None,
    context_width: Annotated[
        list[int] | None,
        typer.Option(help="Tokens before a position that seed it. Default: the key's, or 4."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {', '.join(METHODS)}. Default: the key's, or joint."),
    ] = None,
    watermark: Annotated[
        list[str] | None, typer.Option(help=f"{watermarks()}. Default: the key's, or gumbel.")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Of the model that wrote the text: builtin, a folder, a tokenizer.json or a Hugging Face "
            "id. Default: the key's, or builtin."
        ),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(help="Field of JSON objects, or column, that has the text, such as data.answer."),
    ] = None,
    retokenize: Annotated[
        bool, typer.Option("--retokenize", help="Tokenise the text even where token_ids are given.")
    ] = False,
    detector: Annotated[
        str | None,
        typer.Option(
            help="Instead of the untrained one: file of a fitted Bayesian detector (safetensors), or the "
            "name of one that an extension registered."
        ),
    ] = None,
    fpr: Annotated[
        float,
        typer.Option(
            help="False-positive rate: for how many of all keys a text is called watermarked whose writer "
            "has seen no text of that key."
        ),
    ] = 0.01,
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential",
            help="Read token by token, stop as soon as the verdict is certain, and tell how many it took.",
        ),
    ] = False,
    segments: Annotated[
        bool,
        typer.Option(
            "--segments/--whole", help="Look for parts that are watermarked, or judge texts as a whole."
        ),
    ] = True,
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

    Keys, --method, --watermark, --prf and --context-width may be given
    several times: all combinations are tested, and what the key's profile
    says where no option does. A text's own record may add a setting to
    these, and takes none away. Words with no-break spaces, invisible
    characters or decomposed letters are read once more without them. The
    p-value is corrected for all tests of a text (Holm), and for all parts
    that were looked at, whatever their number.

    Verdicts: watermarked (p <= fpr), watermarked in part (likewise, and less
    than 9 tokens in 10 lie in the parts that are told), not detected, and
    too short (fewer tokens count than a context has). The exit status is 0
    whatever the verdicts, and 2 for bad input; texts that can be read get
    theirs even then.

    The p-value says how rarely a random key scores so high on this text, if
    its writer has seen no text of that key. A passage that was copied from a
    marked text is marked: the verdict is of the passage, not of who wrote
    the rest.

    With --sequential a text is bet on token by token. Its p-value holds at
    whatever token one stops, so reading ends where it falls to --fpr. A stream
    with no place to cut between tokens (neither white space nor punctuation)
    is judged at its end.
    """
    with exit_on_bad_input(), ExitStack() as stack:
        if html is None:
            require_stdout()
        else:
            files = [str(path) for path in (*(key_file or ()), detector, tokenizer) if path is not None]
            _check_page(html, [*sources, *files])
        options = Options(
            method=method,
            watermark=watermark,
            prf=prf,
            context_width=context_width,
            tokenizer=tokenizer,
            retokenize=retokenize,
            detector=detector,
            fpr=fpr,
            sequential=sequential,
            segments=segments,
        )
        keyring = read_keyring(key_file or [], key, prf or [])
        if (day := day_of("written", written)) is not None:
            keyring = keyring.on(day)
        found = detect_all(
            read_texts(sources, stdin(), print_warning, eager=sequential, field=field),
            options,
            keyring,
            # What a pipe brings is told at once.
            together=1 if STDIN in sources else _TOGETHER,
            warn=print_warning,
            note=print_note,
        )
        page = None if html is None else stack.enter_context(EvidencePage(html))
        several = len(sources) > 1 or any(Path(source).is_dir() for source in sources)
        table, errors = _table(sequential), _Errors()
        parts: list[tuple[str, str]] = []
        # A page is written to its end, whoever reads what is printed.
        reader = Reader(outlived=html is not None)
        verdicts: Counter[Outcome] = Counter()
        tested: dict[Setting, Setting] = {}
        for result in found:
            if isinstance(result, Broken):
                errors.tell(result.source, result.message)
                continue
            verdicts[result.verdict] += 1
            # Another file of the same folder may use the same ids.
            name = result.text.label if several else result.text.id
            if as_json:
                facts = result.to_dict() | (_scores(result) if tokens else {})
                with reader:
                    typer.echo(json.dumps(facts, allow_nan=False))
            else:
                table.add_row(*_row(name, result, sequential))
                if result.verdict is Outcome.IN_PART:
                    parts.append((name, result.where))
            shown = tokens and not as_json
            if shown or page is not None:
                try:
                    words = result.words
                except FileError as error:
                    errors.tell(result.text.source, str(error))
                    words = numbers(result.token_ids.tolist())
                if shown:
                    with reader:
                        _print_tokens(name, result, words)
                if page is not None:
                    _add_to_page(name, result, words, page)
            for one in result.tests:
                tested.setdefault(one.reading.setting, one.reading.setting)
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
                for name, where in parts:
                    stdout().print(Styled(f"{visible(name)}: {where}"), soft_wrap=True)
                _print_summary(verdicts, fpr, tested.values())
            if html is not None:
                print_written(stderr() if as_json else stdout(), [html])
        if reader.gone:
            raise typer.Exit(1)
        if errors:
            raise typer.Exit(2)


def _scores(result: Result) -> dict[str, list]:
    """Positions of the tokens that count, and their scores."""
    return {"index": result.index.tolist(), "scores": result.contributions.tolist()}


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


def _print_tokens(name: str, result: Result, words: list[str]) -> None:
    out = stdout()
    where = f", {result.where}" if result.verdict is Outcome.IN_PART else ""
    out.print(Styled(f"{visible(name)}: {result.verdict}{where}", style="bold"), soft_wrap=True)
    if _is_coloured():
        out.print(terminal_view(_shown(result, words)), soft_wrap=True)
    else:
        for line in plain_view(words, result.reading.detector, result.reading.score):
            typer.echo(line)
    out.print()


def _add_to_page(name: str, result: Result, words: list[str], page: EvidencePage) -> None:
    facts = result.to_dict()
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
    facts["log10_p"] = f"{result.log10_p:.2f}"
    about = {key.replace("_", " "): facts[key] for key in kept if facts.get(key) is not None}
    if result.verdict is Outcome.IN_PART:
        about["where"] = result.where
    page.add(name, result.verdict, about, _shown(result, words))


def _shown(result: Result, words: list[str]) -> Iterator[Shown]:
    """The evidence of every token."""
    reading = result.reading
    return shown_tokens(reading.detector, reading.evidence, reading.score, words)


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


def _row(name: str, result: Result, sequential: bool) -> tuple[Styled, ...]:
    facts = result.to_dict()
    verdict = Styled(result.verdict, style=_STYLES.get(result.verdict, ""))
    # A fitted detector may not have been told of a method; without a claim there is no detector.
    how = (facts[what] or "-" for what in ("method", "watermark", "detector"))
    needed = (str(facts.get("tokens_needed") or "-"),) if sequential else ()
    cells = (f"{result.log10_p:.2f}", str(result.tokens_scored), *needed, *how)
    return Styled(visible(name)), verdict, *map(Styled, cells)


def _print_summary(verdicts: Counter[Outcome], fpr: float, tested: Collection[Setting]) -> None:
    # What is rare would only be asked about.
    told = [verdict for verdict in Outcome if verdicts[verdict] or verdict is not Outcome.IN_PART]
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in told)
    total, out = verdicts.total(), stdout()
    out.print(f"{total} text{'s' * (total != 1)}: {counts} (false-positive rate {fpr:g})", soft_wrap=True)
    for setting in list(tested)[:_TOLD_SETTINGS]:
        who = ", named by records" if setting.claimed else ""
        out.print(f"tested: {visible(setting.label)}{who}", soft_wrap=True, markup=False)
    if (more := len(tested) - _TOLD_SETTINGS) > 0:
        out.print(f"tested: {more} more", soft_wrap=True)
