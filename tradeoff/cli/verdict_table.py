"""Verdicts on texts as a table that any terminal holds, and what is said below it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text as Styled

from tradeoff.display import visible
from tradeoff.keyed import DEFAULT_PRF
from tradeoff.verdicts import CorpusResult, Correction, Outcome, Told

__all__ = ["VerdictTable", "print_caveats", "print_summary"]

_STYLES = {
    Outcome.WATERMARKED: "bold blue",
    Outcome.IN_PART: "bold blue",
    Outcome.TOO_SHORT: "dim",
    Outcome.SEEN: "dim",
}
#: What a text is looked for, by the names of facts and as people are told.
_SETTINGS = {
    "method": "method",
    "watermark": "watermark",
    "alpha": "alpha",
    "prf": "prf",
    "context_width": "context width",
    "key": "key",
    "detector": "detector",
}
#: Heading of p-values, in one line always.
_P = "log10 p"
#: Columns that names of texts get at least, in frames and without them.
_NAME, _NAME_BARE = 20, 10
#: Texts from which on false alarms are to be expected.
_MANY = 20
#: Lines of a screen where there is none.
_LINES = 25
#: Verdicts that are told only where there are some.
_RARE = (Outcome.IN_PART, Outcome.SEEN)
#: Settings that people are told of.
_TOLD_SETTINGS = 8


@dataclass(frozen=True)
class _Row:
    """What the table says of a text.

    Attributes:
        name: of the text, as it may be shown.
        numbers: in the columns of numbers, as they are shown.
        settings: in the order of `_SETTINGS`; "" for what does not apply.
        remarks: lines that follow the table.
    """

    name: str
    verdict: Outcome
    log10_p: float
    numbers: tuple[str, ...]
    settings: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def hit(self) -> bool:
        return self.verdict.found


class VerdictTable:
    """Verdicts as they come, printed when all are there.

    A verdict and its numbers are never cut, however narrow the console: names of texts give way, then frames,
    and at last a text takes several lines.

    Args:
        fpr: false-positive rate of the verdicts.
        sequential: whether texts were read token by token.
    """

    def __init__(self, fpr: float, sequential: bool):
        self._fpr, self._rows = fpr, list[_Row]()
        self._sequential = sequential

    def add(self, name: str, told: Told) -> None:
        """What is told of a text, under the name that it has among the others."""
        facts = told.facts
        needed = (str(facts.get("tokens_needed") or "-"),) if self._sequential else ()
        numbers = (f"{facts['log10_p']:.2f}", str(facts["tokens_scored"]), *needed)
        row = _Row(visible(name), told.verdict, facts["log10_p"], numbers, _settings_of(facts), told.remarks)
        self._rows.append(row)

    def print(self, out: Console, *, hits_only: bool = False) -> None:
        """The settings that all texts share in a line, the table, and remarks.

        Args:
            hits_only: print what is watermarked alone, and no settings; nothing if nothing is.
        """
        rows = [row for row in self._rows if row.hit] if hits_only else self._rows
        # What does not fit on a screen begins with what is looked for.
        if len(rows) > (out.height if out.is_terminal else _LINES):
            rows = sorted(rows, key=lambda row: (not row.hit, row.log10_p if row.hit else 0.0))
        if not rows:
            return
        columns = list(zip(*(row.settings for row in rows), strict=True))
        differ = [k for k, column in enumerate(columns) if len(set(column)) > 1]
        if not hits_only:
            shared = [
                f"{name} {columns[k][0]}"
                for k, (fact, name) in enumerate(_SETTINGS.items())
                if k not in differ and columns[k][0] and (fact, columns[k][0]) != ("prf", DEFAULT_PRF)
            ]
            say(out, ", ".join([*shared, f"false-positive rate {self._fpr:g}"]))
        names = [_P, "tokens scored", *(["tokens needed"] if self._sequential else [])]
        _print_rows(out, rows, names, [list(_SETTINGS.values())[k] for k in differ], differ)
        for row in rows:
            for remark in row.remarks:
                say(out, f"{row.name}: {remark}")


def say(out: Console, words: str, style: str = "") -> None:
    """A line, wrapped between words where people read it, and whole where programs do."""
    out.print(Styled(visible(words), style=style), soft_wrap=not out.is_terminal)


def print_summary(
    out: Console, verdicts: Counter[Outcome], fpr: float, tested: Collection[tuple[str, bool]]
) -> None:
    """How many texts got which verdict, and what was tested where that is more than one setting.

    Args:
        tested: how every setting is called, and whether a record alone named it.
    """
    # What is rare would only be asked about.
    told = [verdict for verdict in Outcome if verdicts[verdict] or verdict not in _RARE]
    counts = ", ".join(f"{verdicts[verdict]:,} {verdict}" for verdict in told)
    say(out, f"{_texts(verdicts.total())}: {counts} (false-positive rate {fpr:g})", "bold")
    if len(tested) < 2:
        return
    for label, claimed in list(tested)[:_TOLD_SETTINGS]:
        say(out, f"tested: {label}{', named by records' if claimed else ''}")
    if (more := len(tested) - _TOLD_SETTINGS) > 0:
        say(out, f"tested: {more} more")


def print_caveats(
    out: Console,
    verdicts: Counter[Outcome],
    fpr: float,
    correction: Correction | None,
    whole: CorpusResult | None,
) -> None:
    """What verdicts on texts do not say, in a line each, where it applies."""
    found = sum(count for verdict, count in verdicts.items() if verdict.found)
    if whole is not None and whole.log10_p is not None:
        share = whole.shared / whole.contexts if whole.contexts else 0.0
        say(
            out,
            f"all texts as one: log10 p = {whole.log10_p:.2f}; {share:.0%} of their contexts had a text "
            "before, and counted there",
        )
    called = sum(count for verdict, count in verdicts.items() if not verdict.empty)
    if called >= _MANY:
        say(out, chance_line(called, found, fpr, correction))
    if found:
        say(out, "a verdict is of the passage that is marked, whoever put it there: it may be copied")


def chance_line(total: int, found: int, fpr: float, correction: Correction | None) -> str:
    """What chance does to so many texts at a false-positive rate, and how many were found.

    Without a correction a text without the watermark is called with a probability of at most `fpr`, so that
    their expected number is at most `fpr` times the texts, whatever they share. Holm's keeps the probability
    that any is called, Benjamini and Hochberg's the expected share among those that are called, at most at
    `fpr`.
    """
    were = f"{found:,} {'was' if found == 1 else 'were'} found"
    if correction is Correction.HOLM:
        return f"the chance that any of the texts found is a false alarm is at most {fpr:g}; {were}"
    if correction is Correction.BENJAMINI_HOCHBERG:
        return f"of the texts found, a share of at most {fpr:g} is expected to be there by chance; {were}"
    expected = total * fpr
    # An upper bound, so that it is rounded up.
    told = f"{math.ceil(expected - 1e-9):,}" if expected >= 10 else f"{expected:.2g}"
    are = "is" if told == "1" else "are"
    return (
        f"of {total:,} unmarked texts about {told} {are} expected by chance at this threshold; "
        f"{were} (several at once where texts share passages; --corpus corrects for both)"
    )


def _texts(count: int) -> str:
    return f"{count:,} text{'s' * (count != 1)}"


def _settings_of(facts: dict[str, object]) -> tuple[str, ...]:
    told = {name: "" if facts.get(name) is None else visible(str(facts[name])) for name in _SETTINGS}
    if facts.get("key_name"):
        told["key"] += f" ({visible(str(facts['key_name']))})"
    return tuple(told.values())


def _print_rows(
    out: Console, rows: Sequence[_Row], names: Sequence[str], others: Sequence[str], differ: Sequence[int]
) -> None:
    """Rows in the richest form for which the console is wide enough.

    Args:
        names, others: of the columns of numbers and settings.
        differ: which settings those are.
    """
    verdict = max(cell_len(row.verdict) for row in rows)
    natural = max(4, max(cell_len(row.name) for row in rows))
    numbers = [max(cell_len(row.numbers[k]) for row in rows) for k in range(len(names))]
    more = [
        max([len(other), *(cell_len(row.settings[k]) for row in rows)])
        for k, other in zip(differ, others, strict=True)
    ]
    framed = [max(wide, cell_len(name)) for name, wide in zip(names, numbers, strict=True)]
    # A heading of two words may stand in two lines.
    bare = [
        max([wide, *map(cell_len, [name] if name == _P else name.split())])
        for name, wide in zip(names, numbers, strict=True)
    ]
    for columns, settings, frame in ((framed, more, True), (framed, [], True), (bare, [], False)):
        count = 2 + len(columns) + len(settings)
        left = out.width - verdict - sum(columns) - sum(settings) - (3 * count + 1 if frame else count - 1)
        if left >= min(natural, _NAME if frame else _NAME_BARE):
            _print_table(out, rows, names, columns, others, differ, settings, min(left, natural), frame)
            return
    _print_stacked(out, rows, names, verdict, differ)


def _print_table(
    out: Console,
    rows: Sequence[_Row],
    names: Sequence[str],
    columns: Sequence[int],
    others: Sequence[str],
    differ: Sequence[int],
    settings: Sequence[int],
    width: int,
    frame: bool,
) -> None:
    table = Table(
        box=box.HEAVY_HEAD if frame else None, padding=(0, 1) if frame else (0, 1, 0, 0), pad_edge=frame
    )
    table.add_column("verdict", no_wrap=True)
    table.add_column("text", width=width, overflow="fold")
    for name, wide in zip(names, columns, strict=True):
        table.add_column(name, width=wide, justify="right")
    for name, wide in zip(others, settings, strict=False):
        table.add_column(name, width=wide, no_wrap=True)
    short = [_shortened(row.name, width) for row in rows]
    # People read a line a text, as long as it still tells texts apart; a file or a pipe loses nothing.
    whole = not out.is_terminal or len(set(short)) < len({row.name for row in rows})
    for row, shown in zip(rows, short, strict=True):
        told = [row.settings[k] or "-" for k in differ]
        called = Styled(row.name if whole else shown)
        if not settings and told:
            called = Styled.assemble(called, ("\n" + ", ".join(told), "dim"))
        cells = [Styled(row.numbers[0], style="bold" if row.hit else ""), *map(Styled, row.numbers[1:])]
        table.add_row(
            Styled(row.verdict, style=_STYLES.get(row.verdict, "")),
            called,
            *cells,
            *(map(Styled, told) if settings else ()),
        )
    out.print(table)


def _print_stacked(
    out: Console, rows: Sequence[_Row], names: Sequence[str], verdict: int, differ: Sequence[int]
) -> None:
    """Verdict and numbers in one line, whole in any case, and the name below."""
    # Of "tokens scored" the last word.
    heads = [name if name == _P else name.split()[-1] for name in names]
    wide = [max([len(head), *(len(row.numbers[k]) for row in rows)]) for k, head in enumerate(heads)]

    def line(first: str, numbers: Sequence[str], style: str) -> Styled:
        told = Styled(first.ljust(verdict), style=style)
        return told.append("".join(f" {one:>{width}}" for one, width in zip(numbers, wide, strict=True)))

    how: dict[str, Any] = {"no_wrap": True, "overflow": "ignore", "crop": False}
    out.print(line("verdict", heads, "bold"), **how)
    for row in rows:
        out.print(line(row.verdict, row.numbers, _STYLES.get(row.verdict, "")), **how)
        settings = [", ".join(row.settings[k] or "-" for k in differ)] if differ else []
        for words in (row.name, *settings):
            out.print(Padding(Styled(words, overflow="fold"), (0, 0, 0, 2)))


def _shortened(name: str, width: int) -> str:
    """A name in so many columns: without its middle where it is longer."""
    if cell_len(name) <= width:
        return name
    tail = _fitting(reversed(name), (width - 1) // 2)[::-1]
    return _fitting(name, width - 1 - cell_len(tail)) + "…" + tail


def _fitting(characters: Iterable[str], width: int) -> str:
    """The first characters that take at most so many columns."""
    used = 0

    def fits(character: str) -> bool:
        nonlocal used
        used += cell_len(character)
        return used <= width

    return "".join(takewhile(fits, characters))
