"""`tradeoff plan`: how long must a text be to be detected?"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeoff.cli.help import Quiet, examples
from tradeoff.display import (
    Bar,
    exit_on_bad_input,
    is_quiet,
    print_note,
    print_warning,
    require_llm,
    require_stdout,
    stdin,
    stdout,
)

if TYPE_CHECKING:
    import numpy as np

    from tradeoff.detection import Forecast
    from tradeoff.scheme import Scheme

__all__ = ["PLAN_EXAMPLES", "plan_command"]

#: Shown below its options.
PLAN_EXAMPLES = examples(
    "tradeoff plan --entropy 1.2",
    "tradeoff plan --entropy 1.2 --watermark synthid:30 --fpr 1e-6",
    "tradeoff plan texts.jsonl --watermark heavywater --json",
)

#: What is predicted from texts and entropies.
_WITHOUT_SPECULATION = "basic"
#: Tokens rarer than this under both models are left out of their laws.
_RARE = 1e-6
#: Detection rates of the table.
_RATES = (0.5, 0.8, 0.9, 0.95, 0.99)
#: Tokens of texts and false-positive rates for which detection rates are told.
_LENGTHS = (32, 64, 128, 256, 512, 1024)
_LEVELS = (1e-2, 1e-4, 1e-6)


@dataclass(frozen=True)
class _Counting:
    """Which tokens of a text count.

    Attributes:
        texts: how many profiles this was measured on.
        warm_up: tokens at the start of a text that never count.
        new: of the others the share that counts, as their contexts are new in the text.
        scored: share of all tokens that count.
        measured: whether texts were there to measure it on.
    """

    texts: int
    warm_up: int
    new: float
    scored: float
    measured: bool

    def scored_of(self, tokens: int) -> int:
        """How many tokens of a text count."""
        # As much as can be relied on: the rest of a token is none.
        return max(0, math.floor((tokens - self.warm_up) * self.new + 1e-9))

    def tokens_for(self, scored: int) -> int:
        """How long a text must be so that as many count."""
        return self.warm_up + math.ceil(scored / self.new - 1e-9)


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
    watermark: Annotated[
        str | None, typer.Option(help="gumbel, synthid:M or heavywater. Default: gumbel.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="With --pairs: how the text is generated. Default: joint.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="With --pairs: at which both models sample. Default: 1.")
    ] = None,
    fpr: Annotated[
        float, typer.Option(help="False-positive rate of the test, for the tokens that are needed.")
    ] = 0.01,
    context_width: Annotated[
        int | None,
        typer.Option(help="Tokens before a position that seed it. Default: the record's, or its function's."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    quiet: Quiet = False,
) -> None:
    """Predict how many tokens a text needs to be detected.

    From the probabilities that a model gave to the tokens of real texts, one
    profile a text, or roughly from entropies: for the default detector
    without speculation (method basic). From the laws of both models at
    positions of texts (--pairs): for any method of Gumbel-max without a tree.

    Tokens of a text are all of it: those that seed the first position never
    count, and a context counts once; how many are new is measured on the
    texts.
    """
    with exit_on_bad_input(quiet):
        from tradeoff.keyed import check_width

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
            _plan_pairs(pairs, method, watermark, temperature, fpr, as_json)
            return
        if temperature is not None:
            raise ValueError(
                f"--temperature {temperature:g} is of --pairs; probabilities of texts have theirs"
            )
        if method not in (None, _WITHOUT_SPECULATION):
            raise ValueError(
                f"--method {method} needs the laws of both models; give them with --pairs, or leave it out"
            )
        from tradeoff.scheme import Scheme

        scheme = Scheme.of(_WITHOUT_SPECULATION, watermark or "gumbel", context_width=context_width)
        if entropy:
            from tradeoff.api import forecast

            predicted = forecast(scheme, entropy=entropy, fpr=fpr)
            _print(scheme, predicted, _counted(scheme, 1), fpr, as_json)
            return
        _plan_texts(scheme, records, context_width, fpr, as_json)


def _plan_texts(scheme: Scheme, records: Path | None, width: int | None, fpr: float, as_json: bool) -> None:
    from tradeoff.api import forecast
    from tradeoff.detection import Aaronson
    from tradeoff.errors import FileError
    from tradeoff.texts import read_texts
    from tradeoff.verdicts import REMEDY, measured_profiles

    texts = read_texts([str(records)], stdin(), print_warning)
    entropies = not isinstance(scheme.detector(), Aaronson)
    found = list(measured_profiles(texts, width, entropies=entropies))
    profiles = [one for one in found if len(one.log_p)]
    if not profiles:
        raise FileError(f"{records} holds no text with tokens that count; {REMEDY}")
    scored, tokens = sum(len(one.log_p) for one in found), sum(one.tokens for one in found)
    counting = _Counting(
        texts=len(profiles),
        # Of texts of several widths the widest, so that none is promised more.
        warm_up=max(one.warm_up for one in profiles),
        new=scored / (tokens - sum(one.warm_up for one in found)),
        scored=scored / tokens,
        measured=True,
    )
    predicted = forecast(
        scheme,
        log_p=[one.log_p for one in profiles],
        entropy=[one.entropy for one in profiles if one.entropy is not None] if entropies else None,
        fpr=fpr,
    )
    _print(scheme, predicted, counting, fpr, as_json)


def _plan_pairs(
    path: Path,
    method: str | None,
    watermark: str | None,
    temperature: float | None,
    fpr: float,
    as_json: bool,
) -> None:
    from tradeoff.api import forecast
    from tradeoff.laws import without_rare
    from tradeoff.scheme import Scheme

    if watermark not in (None, "gumbel"):
        raise ValueError(
            f"--watermark {watermark} has no forecast from --pairs; give texts of `tradeoff generate "
            "--measure`, or --entropy"
        )
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
    with Bar("laws of scores", len(found)) as bar:
        predicted = forecast(
            scheme, laws=list(texts.values()), fpr=fpr, report=lambda done, _: bar.show(done)
        )
    print_note(f"left out tokens rarer than {_RARE:g} under both models: at most {left_out:.1%} of a law")
    _print(scheme, predicted, _counted(scheme, len(texts)), fpr, as_json)


def _counted(scheme: Scheme, texts: int) -> _Counting:
    """Where no text tells: all tokens but the first count."""
    from tradeoff.keyed import prf_type

    warm_up = 0 if prf_type(scheme.prf).pads_contexts else scheme.context_width
    return _Counting(texts=texts, warm_up=warm_up, new=1.0, scored=1.0, measured=False)


def _print(scheme: Scheme, forecast: Forecast, counting: _Counting, fpr: float, as_json: bool) -> None:
    # Some texts may hold no entropy at all: then no length reaches the rate.
    needed = {rate: forecast.tokens_needed(rate) for rate in _RATES}
    levels = sorted({*_LEVELS, fpr}, reverse=True)
    powers = {length: _powers(forecast, counting.scored_of(length), levels) for length in _LENGTHS}
    if as_json:
        typer.echo(json.dumps(_facts(scheme, counting, fpr, needed, levels, powers), allow_nan=False))
        return
    from rich.table import Table

    out, label = stdout(), f"{scheme.method.decoder.name}, {scheme.method.name}"
    table = Table("tokens of text", "that count", *(f"FPR {level:g}" for level in levels))
    for column in table.columns:
        column.justify = "right"
    table.title = f"chance that a text is detected: {label}"
    for length, chances in powers.items():
        told = (_chance(chance) for chance in chances)
        table.add_row(f"{length:,}", f"{counting.scored_of(length):,}", *told)
    out.print(table)
    table = Table("TPR wanted", "tokens of text", "that count", title=f"tokens needed at FPR {fpr:g}")
    for column in table.columns[1:]:
        column.justify = "right"
    for rate, count in needed.items():
        shown = ("not reached", "") if count is None else (f"{counting.tokens_for(count):,}", f"{count:,}")
        table.add_row(f"{rate:.0%}", *shown)
    out.print(table)
    if not is_quiet():
        out.print(_told_counting(counting), soft_wrap=not out.is_terminal)


def _powers(forecast: Forecast, scored: int, levels: Sequence[float]) -> list[float]:
    """How often so many tokens that count are detected, by false-positive rate."""
    return [forecast.power(scored, level) if scored else 0.0 for level in levels]


def _chance(chance: float) -> str:
    """Three digits, of which none says always, and never only where nothing counts."""
    if chance >= 0.9995:
        return "> 0.999"
    return "< 0.001" if 0 < chance < 0.0005 else f"{chance:.3f}"


def _told_counting(counting: _Counting) -> str:
    profiles = f"{counting.texts} profile{'s' * (counting.texts > 1)}"
    start = f"the first {counting.warm_up} never count" if counting.warm_up else "the first ones count"
    if counting.measured:
        return f"{profiles}; {start}, and of the others {counting.new:.0%} (new contexts)"
    return f"{profiles}; {start}, and all others are taken to (no text tells how many contexts are new)"


def _facts(
    scheme: Scheme,
    counting: _Counting,
    fpr: float,
    needed: dict[float, int | None],
    levels: Sequence[float],
    powers: dict[int, list[float]],
) -> dict[str, object]:
    """The forecast for programs."""
    rows = [
        {
            "tpr": rate,
            "tokens": count,
            "text_tokens": None if count is None else counting.tokens_for(count),
        }
        for rate, count in needed.items()
    ]
    lengths = [
        {
            "text_tokens": length,
            "tokens": counting.scored_of(length),
            "tpr": {repr(level): chance for level, chance in zip(levels, chances, strict=True)},
        }
        for length, chances in powers.items()
    ]
    return {
        "fpr": fpr,
        "watermark": scheme.watermark,
        "method": scheme.method.name,
        "profiles": counting.texts,
        "tokens_that_never_count": counting.warm_up,
        "share_scored": counting.scored,
        "share_new": counting.new,
        "needed": rows,
        "lengths": lengths,
    }
