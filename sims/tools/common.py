"""What the statements share: settings, generators, and how a figure says what it shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tradeoff.plotting import WIDTH, Axes, Figure, add_note, new_figure, save_figure

__all__ = ["BAR", "FEWEST", "PAIR_P", "PAIR_Q", "dirichlet", "finish", "generator", "panels", "spread"]

#: An example of five tokens, on which trees have known values. Unlike in the paper's own the first token
#: has excess, which a coin that is shared with the residual needs to show.
PAIR_P = np.array([0.24, 0.35, 0.15, 0.13, 0.13])
PAIR_Q = np.array([0.1, 0.2, 0.05, 0.48, 0.17])
PAIR_P.flags.writeable = PAIR_Q.flags.writeable = False
#: Error bars are this many standard errors long: 99% of them, each by itself, cover the truth.
BAR = 2.576
#: The smallest size at which the tests' approximations hold.
FEWEST = 5_000


def generator(seed: int, name: str) -> np.random.Generator:
    """Independent randomness for every statement: what one draws does not depend on which others run."""
    return np.random.default_rng([seed, *name.encode()])


def dirichlet(rng: np.random.Generator, batch: int, n: int, concentration: float = 1.0) -> np.ndarray:
    """Random distributions, [batch, n]."""
    return rng.dirichlet(np.full(n, concentration), size=batch)


def spread(law: np.ndarray, batch: int) -> np.ndarray:
    """The same law for every seed: `[n] -> [batch, n]`, without a copy."""
    return np.broadcast_to(law, (batch, len(law)))


def panels(count: int = 1, height: float = 3.6, *, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Panels of one size, `count` in a row, as wide as the documentation shows pictures."""
    figure, grid = new_figure(rows, count, size=(WIDTH, height))
    return figure, list(grid.flat)


def finish(figure: Figure, path: Path, caption: str) -> None:
    """Put the caption (n, seeds, level) under the panels and save the figure.

    Raises:
        FileError: if it cannot be written.
    """
    add_note(figure, caption)
    save_figure(figure, [path])
