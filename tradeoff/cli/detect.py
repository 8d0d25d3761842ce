"""`tradeoff detect`: is a text watermarked with this key?"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text as Styled

from tradeoff.cli.examine import VERDICTS, Examiner, Finding, Options
from tradeoff.cli.key import read_key
from tradeoff.console import exit_on_bad_input, print_warning, print_written, stderr, stdout
from tradeoff.detection.page import EvidencePage
from tradeoff.detection.texts import STDIN, read_texts
from tradeoff.detection.views import legend, shown_tokens, terminal_view, visible
from tradeoff.files import FileError
from tradeoff.kernels import METHODS
from tradeoff.prf import PRF_NAMES

__all__ = ["detect_command"]

_STYLES = dict(zip(VERDICTS, ("bold blue", "", "dim"), strict=True))


def detect_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Text files, folders (their .txt, .md and .jsonl files), JSON lines with text or token_ids "
            "(.jsonl, .ndjson, .json), or - for standard input.",
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
        str | None, typer.Option(help="gumbel, synthid:M or synthid:inf. Default: the record's, or gumbel.")
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
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a text on standard output, nothing else.")
    ] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show what every token says.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write verdicts and what every token says to this page.")
    ] = None,
) -> None:
    """Tell whether texts carry the watermark of a key, with exact p-values.

    It needs the key and the tokens, not the model. A line with token_ids is
    scored from them. Words are tokenised again, which may give other tokens
    than were generated; no watermark is seen around those. To tell what that
    costs, pass --retokenize.

    Verdicts: watermarked (p <= fpr), not detected, and too short (fewer tokens
    count than a context has). The exit status is 0 whatever the verdict, and 2
    for bad input.
    """
    with exit_on_bad_input(), ExitStack() as stack:
        if as_json and tokens:
            raise ValueError("--tokens draws on standard output, which --json keeps for itself; use --html")
        _check_page(html, [*sources, *filter(None, (key_file, detector))])
        options = Options(method, watermark, prf, context_width, tokenizer, retokenize, detector, fpr)
        texts = read_texts(sources, sys.stdin.buffer, print_warning)
        examiner = Examiner(options, lambda name: read_key(key_file, key, name), print_warning)
        page = None if html is None else stack.enter_context(EvidencePage(html))
        several = len(sources) > 1 or any(Path(source).is_dir() for source in sources)
        table = _table()
        verdicts: Counter[str] = Counter()
        for text in texts:
            finding = examiner.examine(text)
            verdicts[finding.verdict] += 1
            # Another file of the same folder may use the same ids.
            name = f"{text.source}: {text.id}" if several and text.source != text.id else text.id
            if as_json:
                typer.echo(json.dumps(finding.as_json(), allow_nan=False))
            else:
                table.add_row(*_row(name, finding))
            if tokens or page is not None:
                _show(name, finding, examiner.words(finding), tokens, page)
        stack.close()
        if tokens:
            stdout().print(legend(), soft_wrap=True)
        if not as_json:
            stdout().print(table)
            _print_summary(verdicts, finding)
        if html is not None:
            print_written(stderr() if as_json else stdout(), [html])


def _check_page(html: Path | None, inputs: Iterable[str | Path]) -> None:
    for path in inputs:
        if html is not None and path != STDIN and html.resolve() == Path(path).resolve():
            raise FileError(f"html={str(html)!r} is a file to be read; write the page to another one")


def _show(name: str, finding: Finding, words: list[str], tokens: bool, page: EvidencePage | None) -> None:
    """The evidence of every token, where it is wanted."""

    def shown():
        return shown_tokens(finding.detector, finding.evidence, finding.result, words)

    if tokens:
        out = stdout()
        out.print(Styled(f"{visible(name)}: {finding.verdict}", style="bold"), soft_wrap=True)
        out.print(terminal_view(shown()), soft_wrap=True)
        out.print()
    if page is not None:
        facts = finding.as_json()
        kept = ("log10_p", "tokens", "tokens_scored", "detector", "method", "watermark", "key", "fpr")
        facts["log10_p"] = f"{finding.log10_p:.2f}"
        about = {key.replace("_", " "): facts[key] for key in kept if facts[key] is not None}
        page.add(name, finding.verdict, about, shown())


def _table() -> Table:
    table = Table("text", "verdict", "log10 p", "tokens scored", "detector")
    for column in table.columns[2:4]:
        column.justify = "right"
    table.columns[0].overflow = "fold"
    return table


def _row(name: str, finding: Finding) -> tuple[Styled, ...]:
    cells = (f"{finding.log10_p:.2f}", str(finding.result.tokens_scored), finding.result.detector)
    verdict = Styled(finding.verdict, style=_STYLES[finding.verdict])
    return Styled(visible(name)), verdict, *map(Styled, cells)


def _print_summary(verdicts: Counter[str], last: Finding) -> None:
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS)
    total = verdicts.total()
    stdout().print(
        f"{total} text{'s' * (total != 1)}: {counts} (false-positive rate {last.fpr:g}, key "
        f"{last.prf.fingerprint})",
        soft_wrap=True,
        markup=False,
    )
