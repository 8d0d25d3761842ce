"""What `tradeoff detect` does: is a text watermarked with this key? Its options: `detect_options`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import typer
from rich.text import Text as Styled

from tradeoff.api import detect_all, detect_corpus
from tradeoff.cli.key import day_of, read_configs, read_keyring
from tradeoff.cli.verdict_table import VerdictTable, print_caveats, print_summary
from tradeoff.cli.workers import KeysToRead, check_key_files, told_by_workers
from tradeoff.display import (
    Bar,
    Reader,
    is_quiet,
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
from tradeoff.keyed import prf_type
from tradeoff.texts import IN_FOLDERS, STDIN, Broken, read_texts, texts_known
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
    pages_folders,
    plain_view,
    shown_tokens,
    terminal_view,
    vocabulary_beside,
)
from tradeoff.workers import parse_workers

__all__ = ["detect_sources", "said_by_configs", "vocabulary_of"]

#: Errors of one source that are told in full: a file of the wrong kind has one on every line.
_TOLD_ERRORS = 3


def detect_sources(
    sources: Sequence[str],
    options: Options,
    *,
    key_files: Sequence[Path],
    key: str | None,
    configs: Sequence[Path],
    vocabulary: int | None,
    written: str | None,
    field: str | None,
    correction: Correction | None,
    workers: str,
    as_json: bool,
    tokens: bool,
    html: Path | None,
    exit_code: bool,
) -> None:
    """Judge texts, and print verdicts as `tradeoff detect` was asked to.

    Raises:
        typer.Exit: with status 2 if a text cannot be read, with 1 if a reader of standard output left before
            the page was written, or if `exit_code` is asked for and a text is watermarked.
        ValueError, OSError: for what is wrong with options or keys.
    """
    fpr, sequential = options.fpr, options.sequential
    with ExitStack() as stack:
        if html is None:
            require_stdout()
        else:
            files = [
                str(path) for path in (*key_files, *configs, options.detector, options.tokenizer) if path
            ]
            _check_page(html, [*sources, *files])
        shared = not parse_workers(workers).alone
        if shared:
            # Before keys are read, which may be possible once only.
            check_key_files([*key_files, *configs])
            _check_alone(tokens=tokens, html=html, corpus=correction, key=key)
        known, day = vocabulary_of(options.tokenizer), day_of("written", written)
        if configs:
            keyring = read_configs(configs, vocabulary, said_by_configs(options, key_files, key), known)
        elif vocabulary is not None:
            raise ValueError(f"--vocabulary {vocabulary} is for --config; leave it out")
        else:
            keyring = read_keyring(key_files, key, options.prfs)
        if day is not None:
            keyring = keyring.on(day)
        texts = read_texts(sources, stdin(), print_warning, eager=sequential, field=field, note=print_note)
        whole: CorpusResult | None = None
        found: Iterable[Result | Told | Broken]
        if shared:
            integers = any(prf_type(prf).key_type is int for prf in options.prfs)
            asked = known() if vocabulary is None else vocabulary
            prints = tuple(one.fingerprint for one in keyring)
            keys = KeysToRead(tuple(key_files), integers, day, tuple(configs), asked, prints)
            found = told_by_workers(texts, options, keys, workers, print_warning, print_note)
        elif correction is None:
            # What a pipe brings is told at once.
            together = 1 if STDIN in sources else TOGETHER
            found = detect_all(
                texts, options, keyring, together=together, warn=print_warning, note=print_note
            )
        else:
            whole = detect_corpus(
                texts, options, keyring, correction=correction, warn=print_warning, note=print_note
            )
            found = whole.results
        page = None if html is None else stack.enter_context(EvidencePage(html))
        several = len(sources) > 1 or any(Path(source).is_dir() for source in sources)
        table, errors = VerdictTable(fpr, sequential), _Errors()
        # A page is written to its end, whoever reads what is printed.
        reader = Reader(outlived=html is not None)
        verdicts: Counter[Outcome] = Counter()
        tested: dict[str, tuple[str, bool]] = {}
        # What is printed meanwhile would tear the bar apart.
        silent = not as_json and not tokens and STDIN not in sources
        with Bar("texts judged", lambda: texts_known(sources), shown=silent) as bar:
            for done, result in enumerate(found, 1):
                bar.show(done)
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
                    table.add(name, told)
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
                table.print(stdout(), hits_only=is_quiet())
                if not is_quiet():
                    print_summary(stdout(), verdicts, fpr, tested.values())
                    print_caveats(stdout(), verdicts, fpr, correction, whole)
            elif whole is not None:
                typer.echo(json.dumps(_facts_of(whole), allow_nan=False))
            if page is not None and not is_quiet():
                print_written(stderr() if as_json else stdout(), page.written)
        if reader.gone:
            raise typer.Exit(1)
        if errors:
            raise typer.Exit(2)
        if exit_code and any(verdict.found for verdict in verdicts):
            raise typer.Exit(1)


def vocabulary_of(tokenizer: str | None) -> Callable[[], int | None]:
    """What tells the vocabulary of the model whose folder a tokenizer is in."""
    return lambda: None if tokenizer is None or not Path(tokenizer).is_dir() else vocabulary_beside(tokenizer)


def said_by_configs(options: Options, key_files: Sequence[Path], key: str | None) -> dict[str, object]:
    """The options that configurations leave no room for."""
    return {
        "--key-file": key_files,
        "--key": key,
        "--method": options.method,
        "--watermark": options.watermark,
        "--prf": options.prf,
        "--context-width": options.context_width,
        "--alpha": options.alpha,
    }


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


def _check_alone(**others: object) -> None:
    """Workers tell verdicts, and nothing of what is behind them."""
    for name, value in others.items():
        if value:
            raise ValueError(f"--{name} needs the texts in one process; leave out --workers or --{name}")


def _check_page(html: Path, inputs: Iterable[str]) -> None:
    page = html.resolve()
    for read in (Path(name).resolve() for name in inputs if name != STDIN):
        # Of a folder all texts are read, those that are there and those that would be there next time.
        inside = read.is_dir() and page.is_relative_to(read) and page.suffix.lower() in IN_FOLDERS
        # Pages of several texts lie beside it.
        of_pages = any(folder in (read, *read.parents) for folder in pages_folders(html))
        if page == read or inside or of_pages:
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
