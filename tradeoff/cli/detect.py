"""`tradeoff detect`: is a text watermarked with this key?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text as Styled

from tradeoff.api import detect_all, detect_corpus
from tradeoff.cli.key import day_of, read_keyring
from tradeoff.cli.looked_for import (
    Alpha,
    DetectorName,
    FieldName,
    Fpr,
    InSegments,
    IntegerKey,
    KeyFiles,
    Methods,
    Prfs,
    Retokenize,
    Sources,
    TokenizerName,
    Watermarks,
    Widths,
)
from tradeoff.cli.workers import KeysToRead, told_by_workers
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
from tradeoff.keyed import VllmPhilox
from tradeoff.texts import IN_FOLDERS, STDIN, Broken, read_texts
from tradeoff.verdicts import (
    TOGETHER,
    CorpusResult,
    Correction,
    EvidencePage,
    Options,
    Outcome,
    Result,
    Shown,
    Told,
    legend,
    numbers,
    pages_folder,
    plain_view,
    shown_tokens,
    terminal_view,
)

__all__ = ["detect_command"]

_STYLES = {
    Outcome.WATERMARKED: "bold blue",
    Outcome.IN_PART: "bold blue",
    Outcome.TOO_SHORT: "dim",
    Outcome.SEEN: "dim",
}
#: Errors of one source that are told in full: a file of the wrong kind has one on every line.
_TOLD_ERRORS = 3
#: Texts from which on false alarms are to be expected.
_MANY = 20
#: Verdicts that are told only where there are some.
_RARE = (Outcome.IN_PART, Outcome.SEEN)
#: Settings that people are told of.
_TOLD_SETTINGS = 8


def detect_command(
    sources: Sources,
    key_file: KeyFiles = None,
    key: IntegerKey = None,
    written: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="Test only keys that were in use on this day."),
    ] = None,
    prf: Prfs = None,
    context_width: Widths = None,
    method: Methods = None,
    watermark: Watermarks = None,
    alpha: Alpha = None,
    tokenizer: TokenizerName = None,
    field: FieldName = None,
    retokenize: Retokenize = False,
    detector: DetectorName = None,
    fpr: Fpr = 0.01,
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential",
            help="Read token by token, stop as soon as the verdict is certain, and tell how many it took.",
        ),
    ] = False,
    segments: InSegments = True,
    corpus: Annotated[
        Correction | None,
        typer.Option(
            help="Judge all texts together: contexts that several have count once, and verdicts are "
            "corrected for the number of texts, by Holm (chance of any false alarm) or Benjamini-Hochberg "
            "(share of false alarms among those called)."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that judge texts; for many texts, without --tokens and --html.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a text on standard output, nothing else.")
    ] = False,
    tokens: Annotated[
        bool,
        typer.Option(
            "--tokens", help="Show what every token says; with --json, add index, scores and marked."
        ),
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
    says where no option does. A text's own record may add a setting, in what no
    option says, and takes none away. Words with no-break spaces, invisible
    characters or decomposed letters are read once more without them (not by
    --sequential). The p-value is corrected for all tests of a text (Holm), and for all parts
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

    Of many texts under one key, false alarms are to be expected at the
    false-positive rate, and several at once where texts share passages:
    --corpus corrects for both. `tradeoff decoys` shows what single keys do
    to texts of your own.

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
            alpha=alpha,
            tokenizer=tokenizer,
            retokenize=retokenize,
            detector=detector,
            fpr=fpr,
            sequential=sequential,
            segments=segments,
        )
        if workers != 1:
            # Before keys are read, which may be possible once only.
            _check_workers(workers, key_file or [], tokens=tokens, html=html, corpus=corpus, key=key)
        keyring, day = read_keyring(key_file or [], key, prf or []), day_of("written", written)
        if day is not None:
            keyring = keyring.on(day)
        texts = read_texts(sources, stdin(), print_warning, eager=sequential, field=field)
        whole: CorpusResult | None = None
        found: Iterable[Result | Told | Broken]
        if workers != 1:
            keys = KeysToRead(tuple(key_file or ()), VllmPhilox.name in (prf or ()), day)
            found = told_by_workers(texts, options, keys, workers, print_warning, print_note)
        elif corpus is None:
            # What a pipe brings is told at once.
            together = 1 if STDIN in sources else TOGETHER
            found = detect_all(
                texts, options, keyring, together=together, warn=print_warning, note=print_note
            )
        else:
            whole = detect_corpus(
                texts, options, keyring, correction=corpus, warn=print_warning, note=print_note
            )
            found = whole.results
        page = None if html is None else stack.enter_context(EvidencePage(html))
        several = len(sources) > 1 or any(Path(source).is_dir() for source in sources)
        table, errors = _table(sequential), _Errors()
        remarks: list[tuple[str, str]] = []
        # A page is written to its end, whoever reads what is printed.
        reader = Reader(outlived=html is not None)
        verdicts: Counter[Outcome] = Counter()
        tested: dict[str, tuple[str, bool]] = {}
        for result in found:
            if isinstance(result, Broken):
                errors.tell(result.source, result.message)
                continue
            told = result if isinstance(result, Told) else Told.of(result)
            verdicts[told.verdict] += 1
            # Another file of the same folder may use the same ids.
            name = told.label if several else told.id
            if as_json:
                more = _scores(result) if tokens and isinstance(result, Result) else {}
                with reader:
                    typer.echo(json.dumps(told.facts | more, allow_nan=False))
            else:
                table.add_row(*_row(name, told, sequential))
                remarks += [(name, remark) for remark in told.remarks]
            for identity, label, claimed in told.tested:
                tested.setdefault(identity, (label, claimed))
            shown = tokens and not as_json
            if isinstance(result, Result) and (shown or page is not None):
                try:
                    words = result.words
                except FileError as error:
                    errors.tell(result.text.source, str(error))
                    words = numbers(result.token_ids.tolist())
                if shown:
                    with reader:
                        _print_tokens(name, result, words)
                if page is not None:
                    page.add(name, result, words)
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
                for name, remark in remarks:
                    stdout().print(Styled(f"{visible(name)}: {remark}"), soft_wrap=True)
                _print_summary(verdicts, fpr, tested.values())
                _print_caveats(verdicts, fpr, whole)
            elif whole is not None:
                typer.echo(json.dumps(_facts_of(whole), allow_nan=False))
            if page is not None:
                print_written(stderr() if as_json else stdout(), page.written)
        if reader.gone:
            raise typer.Exit(1)
        if errors:
            raise typer.Exit(2)


def _facts_of(whole: CorpusResult) -> dict[str, object]:
    """What is said of all texts as one, for programs."""
    return {
        "corpus": True,
        "log10_p": whole.log10_p,
        "contexts": whole.contexts,
        "contexts_seen_before": whole.shared,
        "settings": [
            {
                "setting": one.setting.label,
                "log10_p": one.log10_p,
                "statistic": one.statistic,
                "tokens_scored": one.tokens_scored,
            }
            for one in whole.together
        ],
    }


def _scores(result: Result) -> dict[str, list]:
    """Positions of the tokens that count, their scores, and how probably they are marked."""
    return {
        "index": result.index.tolist(),
        "scores": result.contributions.tolist(),
        "marked": result.marked.tolist(),
    }


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


def _check_workers(workers: int, key_files: Sequence[Path], **others: object) -> None:
    """Processes tell verdicts, and nothing of what is behind them."""
    if workers < 1:
        raise ValueError(f"workers={workers} must be at least 1; as many as there are cores is good")
    for path in key_files:
        if not path.is_file() and not path.is_dir():
            raise ValueError(
                f"--key-file {path} is no file, and every process reads the key itself; write it to one, or "
                "leave out --workers"
            )
    for name, value in others.items():
        if value:
            raise ValueError(f"--{name} needs the texts in one process; leave out --workers or --{name}")


def _check_page(html: Path, inputs: Iterable[str]) -> None:
    page = html.resolve()
    for read in (Path(name).resolve() for name in inputs if name != STDIN):
        # Of a folder all texts are read, those that are there and those that would be there next time.
        inside = read.is_dir() and page.is_relative_to(read) and page.suffix.lower() in IN_FOLDERS
        # Pages of several texts lie beside it.
        if page == read or inside or pages_folder(html) in read.parents:
            raise FileError(f"html={str(html)!r} is a file to be read; write the page to another one")


def _print_tokens(name: str, result: Result, words: list[str]) -> None:
    out = stdout()
    where = f", {result.where}" if result.verdict is Outcome.IN_PART else ""
    out.print(Styled(f"{visible(name)}: {result.verdict}{where}", style="bold"), soft_wrap=True)
    if _is_coloured():
        out.print(terminal_view(_shown(result, words)), soft_wrap=True)
    else:
        reading = result.reading
        for line in plain_view(words, reading.detector, reading.score, result.marked):
            typer.echo(line)
    out.print()


def _shown(result: Result, words: list[str]) -> Iterator[Shown]:
    """The evidence of every token."""
    reading = result.reading
    return shown_tokens(reading.detector, reading.evidence, reading.score, words, result.marked)


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


def _row(name: str, told: Told, sequential: bool) -> tuple[Styled, ...]:
    facts = told.facts
    verdict = Styled(told.verdict, style=_STYLES.get(told.verdict, ""))
    # A fitted detector may not have been told of a method.
    how = (facts[what] or "-" for what in ("method", "watermark", "detector"))
    needed = (str(facts.get("tokens_needed") or "-"),) if sequential else ()
    cells = (f"{facts['log10_p']:.2f}", str(facts["tokens_scored"]), *needed, *how)
    return Styled(visible(name)), verdict, *map(Styled, cells)


def _print_summary(verdicts: Counter[Outcome], fpr: float, tested: Collection[tuple[str, bool]]) -> None:
    # What is rare would only be asked about.
    told = [verdict for verdict in Outcome if verdicts[verdict] or verdict not in _RARE]
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in told)
    total, out = verdicts.total(), stdout()
    out.print(f"{total} text{'s' * (total != 1)}: {counts} (false-positive rate {fpr:g})", soft_wrap=True)
    for label, claimed in list(tested)[:_TOLD_SETTINGS]:
        who = ", named by records" if claimed else ""
        out.print(f"tested: {visible(label)}{who}", soft_wrap=True, markup=False)
    if (more := len(tested) - _TOLD_SETTINGS) > 0:
        out.print(f"tested: {more} more", soft_wrap=True)


def _print_caveats(verdicts: Counter[Outcome], fpr: float, whole: CorpusResult | None) -> None:
    """What verdicts on texts do not say, in one line, where it applies."""
    out, total = stdout(), verdicts.total()
    if whole is not None and whole.log10_p is not None:
        share = whole.shared / whole.contexts if whole.contexts else 0.0
        out.print(
            f"all texts as one: log10 p = {whole.log10_p:.2f}; {share:.0%} of their contexts had a text "
            "before, and counted there",
            soft_wrap=True,
        )
    elif whole is None and total >= _MANY:
        out.print(
            f"of {total:,} texts that nobody marked, about {total * fpr:.2g} would be called all the same, "
            "and several at once where they share passages: --corpus corrects for both",
            soft_wrap=True,
        )
    if verdicts[Outcome.WATERMARKED] or verdicts[Outcome.IN_PART]:
        out.print(
            "a verdict is of the passage that is marked, whoever put it there: it may be copied",
            soft_wrap=True,
        )
