"""`tradeoff plan`: how long must a text be to be detected?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from tradeoff.console import exit_on_bad_input, stdout
from tradeoff.detection.evidence import scored_positions, text_contexts
from tradeoff.detection.power import Forecast, probabilities_of_entropy
from tradeoff.files import FileError

__all__ = ["plan_command"]

_REMEDY = "generate with `tradeoff generate --measure`, or give --entropy"
#: Detection rates of the table.
_RATES = (0.5, 0.8, 0.9, 0.95, 0.99)


def plan_command(
    records: Annotated[
        Path | None,
        typer.Argument(
            help="Texts of `tradeoff generate --measure`: JSON lines with log_p.", show_default=False
        ),
    ] = None,
    entropy: Annotated[
        list[float] | None,
        typer.Option(help="Instead of texts: entropies of typical positions in nats; repeat for several."),
    ] = None,
    fpr: Annotated[float, typer.Option(help="False-positive rate of the test.")] = 0.01,
    context_width: Annotated[int, typer.Option(help="Tokens before a position that seed it.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Predict how many tokens the Gumbel-max watermark needs to be detected.

    From the probabilities that a model gave to the tokens of real texts, one
    profile a text, or roughly from entropies. The prediction is for Aaronson's
    test without speculation; one race comes close to it.
    """
    with exit_on_bad_input():
        if (records is None) == (not entropy):
            raise ValueError("give either a file of texts or --entropy, one of the two")
        if entropy:
            values = np.array(entropy, float)
            if not (np.isfinite(values) & (values >= 0)).all():
                raise ValueError(f"entropy={entropy} must hold numbers of nats, at least 0")
            profiles, share = [probabilities_of_entropy(values)], 1.0
        else:
            assert records is not None
            found = list(_profiles(records, context_width))
            profiles = [profile for profile, _ in found if len(profile)]
            if not profiles:
                raise FileError(f"{records} holds no text with tokens that count; {_REMEDY}")
            share = sum(map(len, profiles)) / sum(length for _, length in found)
        _print(Forecast(profiles, fpr), len(profiles), share, fpr, as_json)


def _profiles(path: Path, width: int) -> Iterator[tuple[np.ndarray, int]]:
    """Of every text: probabilities of the tokens that count, and its length."""
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                record: Any = json.loads(line)
                ids = np.array(record["token_ids"], dtype=np.int64)
                log_p = np.array(record["log_p"], dtype=float)
                if ids.ndim != 1 or ids.shape != log_p.shape:
                    raise ValueError(f"line {number}: token_ids and log_p must be two lists of one length")
                contexts = text_contexts(ids, width)
                # Rounded to 7 digits in records, a probability may exceed 1 by rounding.
                yield np.exp(np.minimum(log_p[scored_positions(contexts, width)], 0.0)), len(ids)
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    except (ValueError, KeyError, TypeError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else f"is not a file of texts ({error})"
        raise FileError(f"{path} {what}; {_REMEDY}") from error


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
