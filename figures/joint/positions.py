"""Laws at positions of real text, as `python -m figures figure_1_real` has saved them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tradeoff.errors import FileError
from tradeoff.laws import without_rare

__all__ = ["PAIRS", "TEMPERATURES", "Pairs", "saved"]

PAIRS = Path("figures/results/next_token_pairs.npz")
TEMPERATURES = (1.0, 0.7, 0.5, 0.3)
#: Tokens that are rarer in both laws are left out, and the laws normalised.
LEAST = 1e-6


@dataclass(frozen=True)
class Pairs:
    """Laws of one panel: target and draft of its positions, each on the tokens that either can draw.

    Attributes:
        name: of the panel.
        laws: (P, Q) by position; lengths differ.
        texts: of every position, the text that it is of.
    """

    name: str
    laws: list[tuple[np.ndarray, np.ndarray]]
    texts: np.ndarray


def saved(path: Path, positions: int) -> list[Pairs]:
    """A panel a temperature.

    Args:
        path: what `tradeoff.llm.save_pairs` wrote.
        positions: how many of them, evenly spaced.

    Raises:
        FileError: if the file is missing or no such file.
        ValueError: for fewer than 2 positions or more than there are.
    """
    if not path.exists():
        raise FileError(
            f"{path} does not exist; python -m figures figure_1_real makes it in figures/results, or pass "
            "--paper-only"
        )
    # PyTorch takes seconds to import.
    from tradeoff.llm import load_pairs

    loaded = load_pairs(path)
    if not 2 <= positions <= len(loaded):
        raise ValueError(f"positions={positions} must be from 2 to {len(loaded)}, the positions in {path}")
    # Every n-th, so that both sources and many texts are among them.
    chosen = np.linspace(0, len(loaded) - 1, positions).astype(int)
    return [
        Pairs(
            f"temperature {t:g}",
            [without_rare(*loaded.probabilities(int(k), t), LEAST)[:2] for k in chosen],
            loaded.text[chosen],
        )
        for t in TEMPERATURES
    ]
