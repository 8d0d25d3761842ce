"""`tradeoff plan`: how long must a text be to be detected?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from tradeoff.api import forecast
from tradeoff.detection import Forecast
from tradeoff.display import (
    Words,
    exit_on_bad_input,
    print_note,
    print_warning,
    require_llm,
    require_stdout,
    stderr,
    stdin,
    stdout,
)
from tradeoff.errors import FileError
from tradeoff.keyed import check_width
from tradeoff.laws import without_rare
from tradeoff.scheme import Scheme
from tradeoff.texts import read_texts
from tradeoff.verdicts import REMEDY, measured_profiles

__all__ = ["plan_command"]

#: What is predicted from texts and entropies.
_WITHOUT_SPECULATION = "basic"
#: Tokens rarer than this under both models are left out of their laws.
_RARE = 1e-6
#: Detection rates of the table.
_RATES = (0.5, 0.8, 0.9, 0.95, 0.99)


def plan_command(
    records: Annotated[
        Path | None,
        typer.Argument(
            help="Texts of `tradeoff generate --measure`: JSON lines with log_p, or - for standard input.",
            show_default=False,
        ),
    ] = None,
    entropy: Annotated[
        list[float] | None,
        typer.Option(help="Instead of texts: entropies of typical positions in nats; repeat for several."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Instead of texts: next-token laws of both models, as tradeoff.llm.save_pairs writes them.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="With --pairs: how the text is generated. Default: joint.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="With --pairs: at which both models sample. Default: 1.")
    ] = None,
    fpr: Annotated[float, typer.Option(help="False-positive rate of the test.")] = 0.01,
    context_width: Annotated[
        int | None,
        typer.Option(help="Tokens before a position that seed it. Default: the record's, or its function's."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Predict how many tokens the Gumbel-max watermark needs to be detected.

    From the probabilities that a model gave to the tokens of real texts, one
    profile a text, or roughly from entropies: for Aaronson's test without
    speculation (method basic). From the laws of both models at positions of
    texts (--pairs): for any method without a tree.
    """
    with exit_on_bad_input():
        require_stdout()
        if [records is None, not entropy, pairs is None].count(False) != 1:
            raise ValueError("give either a file of texts, --entropy or --pairs, one of the three")
        if context_width is not None:
            check_width(context_width)
        if pairs is not None:
            if context_width is not None:
                raise ValueError(
                    f"--context-width {context_width} says which tokens of a text count, and --pairs holds "
                    "no texts; leave it out"
                )
            _plan_pairs(pairs, method, temperature, fpr, as_json)
            return
        if temperature is not None:
            raise ValueError(
                f"--temperature {temperature:g} is of --pairs; probabilities of texts have theirs"
            )
        if method not in (None, _WITHOUT_SPECULATION):
            raise ValueError(
                f"--method {method} needs the laws of both models; give them with --pairs, or leave it out"
            )
        if entropy:
            _print(forecast(Scheme.of(), entropy=entropy, fpr=fpr), 1, 1.0, fpr, as_json)
            return
        texts = read_texts([str(records)], stdin(), print_warning)
        found = list(measured_profiles(texts, context_width))
        profiles = [profile for profile, _ in found if len(profile)]
        if not profiles:
            raise FileError(f"{records} holds no text with tokens that count; {REMEDY}")
        share = sum(map(len, profiles)) / sum(length for _, length in found)
        _print(forecast(Scheme.of(), log_p=profiles, fpr=fpr), len(profiles), share, fpr, as_json)


def _plan_pairs(path: Path, method: str | None, temperature: float | None, fpr: float, as_json: bool) -> None:
    scheme = Scheme.of(method, "gumbel")
    # It needs PyTorch, which texts and entropies do without.
    require_llm()
    from tradeoff.llm import load_pairs

    found = load_pairs(path)
    texts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    left_out = 0.0
    for k, text in enumerate(found.text):
        p, q = found.probabilities(k, 1.0 if temperature is None else temperature)
        p, q, lost = without_rare(p, q, _RARE)
        left_out = max(left_out, lost)
        texts.setdefault(int(text), []).append((p, q))
    columns = (Words(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task("laws of scores", total=len(found))
        predicted = forecast(
            scheme,
            laws=list(texts.values()),
            fpr=fpr,
            report=lambda done, _: progress.update(task, completed=done),
        )
    print_note(f"left out tokens rarer than {_RARE:g} under both models: at most {left_out:.1%} of a law")
    _print(predicted, len(texts), 1.0, fpr, as_json, scheme.method.name)


def _print(
    forecast: Forecast,
    texts: int,
    share: float,
    fpr: float,
    as_json: bool,
    method: str = _WITHOUT_SPECULATION,
) -> None:
    # Some texts may hold no entropy at all: then no length reaches the rate.
    needed = {rate: forecast.tokens_needed(rate) for rate in _RATES}
    if as_json:
        rows = [{"tpr": rate, "tokens": count} for rate, count in needed.items()]
        typer.echo(
            json.dumps(
                {"fpr": fpr, "profiles": texts, "share_scored": share, "needed": rows, "method": method}
            )
        )
        return
    out = stdout()
    table = Table("TPR wanted", "scored tokens", "tokens of text", title=f"{method} at FPR {fpr:g}")
    for rate, count in needed.items():
        shown = ("not reached", "") if count is None else (str(count), str(round(count / share)))
        table.add_row(f"{rate:.0%}", *shown)
    out.print(table)
    lengths = ", ".join(f"{n}: {forecast.power(n):.2f}" for n in (25, 50, 100, 200, 400))
    out.print(f"TPR by scored tokens: {lengths}", soft_wrap=True)
    out.print(
        f"{texts} profile{'s' * (texts > 1)}; {share:.0%} of the tokens count (new contexts)",
        soft_wrap=True,
    )
