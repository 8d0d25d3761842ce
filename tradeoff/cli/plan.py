"""`tradeoff plan`: how long must a text be to be detected?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from tradeoff.console import exit_on_bad_input, print_warning, require_stdout, stdin, stdout
from tradeoff.detection.evidence import scored_positions, text_contexts
from tradeoff.detection.json_texts import Broken, Text
from tradeoff.detection.power import Forecast, probabilities_of_entropy
from tradeoff.detection.texts import read_texts
from tradeoff.errors import FileError
from tradeoff.prf import KeyedPrf, check_width
from tradeoff.prf_names import PRF_NAMES, prf_type
from tradeoff.visible import shown

__all__ = ["plan_command"]

_REMEDY = "generate with `tradeoff generate --measure`, or give --entropy"
#: Detection rates of the table.
_RATES = (0.5, 0.8, 0.9, 0.95, 0.99)
#: Nats that no vocabulary has.
_TOO_MUCH = 40.0


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
            values = np.array(entropy, float)
            if not ((values >= 0) & (values <= _TOO_MUCH)).all():
                raise ValueError(
                    f"entropy={entropy} must hold numbers of nats from 0 to {_TOO_MUCH:g}; a vocabulary of "
                    "100,000 tokens has at most 11.5"
                )
            profiles, share = [probabilities_of_entropy(values)], 1.0
        else:
            assert records is not None
            found = list(_profiles(str(records), context_width))
            profiles = [profile for profile, _ in found if len(profile)]
            if not profiles:
                raise FileError(f"{records} holds no text with tokens that count; {_REMEDY}")
            share = sum(map(len, profiles)) / sum(length for _, length in found)
        _print(Forecast(profiles, fpr), len(profiles), share, fpr, as_json)


def _profiles(source: str, width: int | None) -> Iterator[tuple[np.ndarray, int]]:
    """Of every text: probabilities of the tokens that count, and its length."""
    for text in read_texts([source], stdin(), print_warning):
        if isinstance(text, Broken):
            raise FileError(f"{text.message}; `tradeoff plan` reads texts of `tradeoff generate --measure`")
        ids, log_p = _measured(text)
        taken, warm_up = _contexts(text, width)
        positions = scored_positions(text_contexts(ids, taken), warm_up)
        # What is too small for a float is as good as 1e-300.
        yield np.exp(np.clip(log_p[positions], -690.0, 0.0)), len(ids)


def _measured(text: Text) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and their log-probabilities: [n] each."""
    ids, log_p = text.token_ids, text.log_p
    if ids is None or log_p is None:
        raise FileError(f'{text.place} has no "{"token_ids" if ids is None else "log_p"}"; {_REMEDY}')
    if not isinstance(log_p, list):
        raise FileError(f'{text.place}: "log_p" must be a list of numbers, got {shown(log_p)}; {_REMEDY}')
    if len(log_p) != len(ids):
        raise FileError(
            f'{text.place}: "token_ids" and "log_p" must be of one length, got {len(ids)} and {len(log_p)}; '
            + _REMEDY
        )
    # Needs pydantic, which the command without texts does not.
    from tradeoff._record_model import fault_of_log_p

    if fault := fault_of_log_p(log_p):
        raise FileError(
            f'{text.place}: "log_p" holds {shown(fault.value)}; it must hold logarithms of probabilities, '
            f"finite numbers of at most 0; {_REMEDY}"
        )
    return np.array(ids, dtype=np.int64), np.array(log_p, dtype=float)


def _contexts(text: Text, width: int | None) -> tuple[int, int]:
    """The context width, and how many tokens at the start never count."""
    claims = text.claims
    prf = KeyedPrf.name if claims.prf is None else claims.prf
    if prf not in PRF_NAMES:
        raise FileError(
            f'{text.place}: "run" has prf={shown(prf)}, which is unknown; use one of {", ".join(PRF_NAMES)}'
        )
    if width is None:
        width = KeyedPrf.context_width if claims.context_width is None else claims.context_width
        try:
            check_width(width)
        except ValueError as error:
            raise FileError(f"{text.place}: {error}") from None
    return width, 0 if prf_type(prf).pads_contexts else width


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
