"""`tradeoff plan`: how long must a text be to be detected?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tradeoff.api import forecast
from tradeoff.detection import Forecast
from tradeoff.display import exit_on_bad_input, print_warning, require_stdout, stdin, stdout
from tradeoff.errors import FileError
from tradeoff.keyed import check_width
from tradeoff.scheme import Scheme
from tradeoff.texts import read_texts
from tradeoff.verdicts import REMEDY, measured_profiles

__all__ = ["plan_command"]

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
    fpr: Annotated[float, typer.Option(help="False-positive rate of the test.")] = 0.01,
    context_width: Annotated[
        int | None, typer.Option(help="Tokens before a position that seed it. Default: the record's, or 4.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Predict how many tokens the Gumbel-max watermark needs to be detected.

    From the probabilities that a model gave to the tokens of real texts, one
    profile a text, or roughly from entropies. The prediction is for Aaronson's
    test without speculation; one race comes close to it.
    """
    with exit_on_bad_input():
        require_stdout()
        if (records is None) == (not entropy):
            raise ValueError("give either a file of texts or --entropy, one of the two")
        if context_width is not None:
            check_width(context_width)
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


def _print(forecast: Forecast, texts: int, share: float, fpr: float, as_json: bool) -> None:
    # Some texts may hold no entropy at all: then no length reaches the rate.
    needed = {rate: forecast.tokens_needed(rate) for rate in _RATES}
    if as_json:
        rows = [{"tpr": rate, "tokens": count} for rate, count in needed.items()]
        typer.echo(json.dumps({"fpr": fpr, "profiles": texts, "share_scored": share, "needed": rows}))
        return
    out = stdout()
    table = Table("TPR wanted", "scored tokens", "tokens of text", title=f"at FPR {fpr:g}")
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
