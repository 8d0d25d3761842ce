"""What every picture owes its reader, asked of a figure before it is saved."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tradeoff.plotting import WIDTH, Axes, Figure, Text, to_hex

__all__ = ["SMALLEST", "faults"]

#: Points, at the width at which the documentation shows a picture.
SMALLEST = 8.0
#: Series of one panel, at most.
_SERIES = 5

#: Colour, line, mark and how that is filled, of what is drawn under one label.
_Look = tuple[str, str, str, str]


def faults(figure: Figure) -> list[str]:
    """What is wrong with a figure; empty if nothing is."""
    figure.draw_without_rendering()
    found = []
    if figure.get_figwidth() > WIDTH:
        found.append(f"{figure.get_figwidth():g} inches are shown smaller, at {WIDTH:g}")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    for axes in shown:
        found += [f"{axes.get_title()!r}: {fault}" for fault in _of_panel(axes)]
    found += _of_labels(shown)
    found += _of_texts(figure)
    return found


def _series(axes: Axes) -> list[tuple[str, _Look]]:
    """Labels and looks of what a legend would list, without lines across the panel and areas."""
    found = []
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        line = handle[0] if isinstance(handle, tuple) else handle
        if line is None:
            continue
        if hasattr(line, "get_linestyle") and hasattr(line, "get_marker"):
            if len(set(line.get_xdata(orig=False))) <= 2 and len(line.get_xdata()) == 2:
                continue
            dash = str(line._unscaled_dash_pattern) if line.get_linestyle() != "None" else "none"
            mark = (str(line.get_marker()), str(line.get_fillstyle()))
            found.append((label, (to_hex(line.get_color()), dash, *mark)))
        elif type(line).__name__ == "PathCollection":
            mark = str(line.get_paths()[0].vertices.round(3).tolist())
            found.append((label, (to_hex(line.get_facecolor()[0]), "none", mark, "full")))
    return found


def _of_panel(axes: Axes) -> Iterator[str]:
    series = _series(axes)
    if len(series) > _SERIES + _marked(axes):
        yield f"{len(series)} series: {[label for label, _ in series]}"
    for (one, first), (other, second) in itertools.combinations(series, 2):
        if first[:2] == second[:2]:
            yield f"{one!r} and {other!r} share colour and dash {first[:2]}"
    if axes.get_xlabel().startswith(("tokens", "rounds", "lookahead", "k")) and axes.get_xscale() == "linear":
        low, high = axes.get_xlim()
        broken = [tick for tick in axes.get_xticks() if low <= tick <= high and tick != round(tick)]
        if broken:
            yield f"ticks {broken} of {axes.get_xlabel()!r} are no whole numbers"


def _marked(axes: Axes) -> int:
    """Two points of the plane of efficiency and strength are marked for reference: standard and optimum."""
    labels = [label for label, _ in _series(axes)]
    return sum(label.startswith(("standard", "optimum")) for label in labels)


def _of_labels(panels: list[Axes]) -> Iterator[str]:
    """A name has one colour and mark in all panels, and no look has two names."""
    looks: dict[str, tuple[str, str, str]] = {}
    names: dict[_Look, str] = {}
    for label, look in itertools.chain.from_iterable(_series(axes) for axes in panels):
        color, _, *mark = look
        if looks.setdefault(label, (color, *mark)) != (color, *mark):
            yield f"{label!r} looks different in two panels"
        if names.setdefault(look, label) != label:
            yield f"{label!r} and {names[look]!r} look the same in two panels"


def _of_texts(figure: Figure) -> Iterator[str]:
    width, height = figure.bbox.width, figure.bbox.height
    titles = []
    for text in _drawn(figure):
        if not (text.get_visible() and text.get_text().strip()):
            continue
        if text.get_size() < SMALLEST:
            yield f"{text.get_text()!r} has {text.get_size():g} points"
        if "^{" in text.get_text():
            yield f"{text.get_text()!r} has a raised exponent, in smaller letters"
        box = text.get_window_extent()
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1:
            yield f"{text.get_text()!r} is cut off"
        if any(text is axes.title for axes in figure.axes):
            titles.append((text.get_text(), box))
    for (one, first), (other, second) in itertools.combinations(titles, 2):
        if first.overlaps(second):
            yield f"the titles {one!r} and {other!r} overlap"


def _drawn(figure: Figure) -> Iterator[Text]:
    """Without labels of ticks beyond the limits, and of panels that are hidden, which Matplotlib keeps."""
    yield from [*figure.texts, *([figure._suptitle] if figure._suptitle else [])]
    for axes in figure.axes:
        if not axes.get_visible():
            continue
        yield from axes.texts
        if axes.axison:
            yield from (axes.title, axes.xaxis.label, axes.yaxis.label)
            for axis in (axes.xaxis, axes.yaxis):
                for tick in axis._update_ticks():
                    yield from (tick.label1, tick.label2)
    for legend in [*figure.legends, *(axes.get_legend() for axes in figure.axes)]:
        if legend is not None:
            yield from legend.get_texts()
