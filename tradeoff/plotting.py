"""The one door to Matplotlib: figures that are drawn into files, and belong to no window.

No other module imports Matplotlib. Notebooks name a backend of their own in the environment of every process
they start, and Matplotlib cannot even be imported where that backend is not installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from tradeoff.errors import FileError
from tradeoff.files import replacing

__all__ = ["COLORS", "Axes", "Figure", "Line2D", "LogLocator", "NullFormatter", "new_figure", "save_figure"]

_BACKEND = "MPLBACKEND"
_named = None if "matplotlib" in sys.modules else os.environ.pop(_BACKEND, None)
try:
    from matplotlib import rcParams
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullFormatter
finally:
    if _named is not None:
        os.environ[_BACKEND] = _named
if _named is not None:
    # Whoever else draws in this process gets the backend that was asked for, where there is one.
    with suppress(ValueError):
        rcParams["backend"] = _named


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float],
    layout: Literal["constrained"] | None = "constrained",
    sharey: bool | Literal["row"] = False,
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes, [rows, columns].

    Args:
        rows, columns: of the grid of axes.
        size: width and height in inches.
        layout: who keeps the axes apart; None for the caller.
        sharey: one vertical axis for all, or for every "row".
    """
    figure = Figure(figsize=size, layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=sharey)


#: Okabe and Ito's palette, which stays apart under the common colour-vision deficiencies.
COLORS = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "grey": "#7F7F7F",
}


def save_figure(figure: Figure, paths: Sequence[Path]) -> None:
    """Save to every path.

    Raises:
        FileError: if a format is unknown or a file cannot be written.
    """
    try:
        for path in paths:
            # Without a date in it, the file depends on its data only.
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=160, metadata=metadata)
    except FileError:
        raise
    except ValueError as error:
        raise FileError(f"{path} cannot be written ({error}); use .png, .pdf or .svg") from error
