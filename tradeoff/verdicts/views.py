"""What every token of a text says, for people: shades by rarity in a terminal, else columns.

A token's shade is the probability of a score at least as large without a watermark, so that shades mean the
same for every detector.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import rich.text
from rich.cells import cell_len

from tradeoff.detection import Detector, Evidence, Score
from tradeoff.display import visible

__all__ = [
    "RARITIES",
    "SHADES",
    "Shown",
    "legend",
    "plain_view",
    "reaches",
    "shade_name",
    "shades",
    "shown_tokens",
    "terminal_view",
    "unscored_tokens",
]

#: Shade k >= 1 is a score that has at most this probability without a watermark; shade 0 is any other. What
#: is more common is not shaded, or a text that a person wrote would look marked.
RARITIES = (0.05, 0.01, 0.001)
#: Every shade, the deeper the rarer; None is a token that does not count.
SHADES = (None, *range(len(RARITIES) + 1))
#: One hue from pale to deep, with its own ink: told apart by lightness, on light and dark backgrounds.
_STYLES = ("", "black on #b3d3ea", "black on #56a0ce", "bold white on #08519c")
_UNSCORED = "dim"
#: Of a threshold, what arithmetic may differ by.
_ROUNDING = 1e-9
#: Stands before a newline, which ends a line as well.
_NEWLINE = "␊"


class Shown(NamedTuple):
    """One token as it is shown: its words, its shade (None if it does not count), and what it says."""

    word: str
    shade: int | None
    note: str


def shown_tokens(
    detector: Detector, evidence: Evidence, result: Score, words: Sequence[str], marked: np.ndarray
) -> Iterator[Shown]:
    """Every token of a text, in order.

    Args:
        detector: that scored it.
        evidence: of the text.
        result: the detector's.
        words: [n] the tokens of the whole text, spelled.
        marked: [t] probabilities that they are marked; empty where nobody knows.
    """
    depths = shades(detector, result.contributions)
    readings = detector.readings(evidence)
    scored = dict(zip(result.index.tolist(), range(len(result.index)), strict=True))
    for position, word in enumerate(words):
        k = scored.get(position)
        if k is None:
            yield Shown(word, None, shade_name(None))
        else:
            share = f", marked {marked[k]:.0%}" if len(marked) else ""
            note = f"score {result.contributions[k]:.2f}, {readings.of(k)}{share}"
            yield Shown(word, int(depths[k]), note)


def unscored_tokens(words: Sequence[str]) -> Iterator[Shown]:
    """Every token of a text in which nothing was looked for."""
    return (Shown(word, None, shade_name(None)) for word in words)


def shade_name(shade: int | None) -> str:
    """What a shade means; tokens too near the start, or whose context occurred before, are not scored."""
    if shade is None:
        return "not scored"
    if shade == 0:
        return "nothing unusual"
    return f"1 in {round(1 / RARITIES[shade - 1]):,} without a watermark"


def legend() -> rich.text.Text:
    """One line that explains the shades of `terminal_view`."""
    parts = [(shade_name(shade), _style(shade)) for shade in SHADES]
    return rich.text.Text("  ").join(rich.text.Text(f" {name} ", style) for name, style in parts)


def terminal_view(tokens: Iterator[Shown]) -> rich.text.Text:
    """The tokens, shaded; what a terminal would obey or not show are escapes."""
    text = rich.text.Text()
    for word, shade, _ in tokens:
        text.append(visible(word, keep="\n").replace("\n", f"{_NEWLINE}\n"), _style(shade))
    return text


def plain_view(words: Sequence[str], detector: Detector, result: Score, marked: np.ndarray) -> Iterator[str]:
    """The tokens as columns, one line each, for files and for terminals without colour.

    Args:
        words: [n] the tokens of the whole text, spelled; shown as JSON strings, blanks and all.
        detector, result: what scored the text, and how.
        marked: [t] probabilities that they are marked; empty where nobody knows.

    Yields:
        A head, then of every token its position, itself, its score, N where one token of N scores as much
        without a watermark, and how probably it is marked, given the whole text.
    """
    spelled = [visible(json.dumps(word, ensure_ascii=False)) for word in words]
    width = max(map(cell_len, ["token", *spelled]))
    scores = dict(zip(result.index.tolist(), result.contributions.tolist(), strict=True))
    log_p = cache(lambda score: detector.log_p(score, 1))
    shares = dict(zip(result.index.tolist(), marked.tolist(), strict=False))
    yield f"position  token{' ' * (width - 5)}     score  one in" + ("  marked" if shares else "")
    for position, word in enumerate(spelled):
        start = f"{position:>8}  {word}{' ' * (width - cell_len(word))}"
        if position in scores:
            # A simulated law ends somewhere, beyond which nothing was as rare.
            rarity = math.exp(min(-log_p(scores[position]), 700.0))
            share = f"  {shares[position]:>6.0%}" if shares else ""
            yield f"{start}  {scores[position]:>8.2f}  {rarity:>6.3g}{share}"
        else:
            yield f"{start}  not scored"


def _style(shade: int | None) -> str:
    return _UNSCORED if shade is None else _STYLES[shade]


def shades(detector: Detector, scores: np.ndarray) -> np.ndarray:
    """Of scores [t] their shades [t], 0 and more: the deeper, the rarer without a watermark."""
    return sum((reaches(detector, scores, rarity) for rarity in RARITIES), np.zeros(len(scores), dtype=int))


def reaches(detector: Detector, scores: np.ndarray, level: float) -> np.ndarray:
    """Which scores [t] have a p-value of at most `level`, each by itself: [t]."""
    edge = detector.threshold(1, level)
    # Sums of fractions that are equal may differ in their last digits. A simulated law may have no such edge.
    return scores >= (edge - _ROUNDING * max(abs(edge), 1.0) if math.isfinite(edge) else edge)
