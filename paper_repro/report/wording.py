"""How tables of a report say which texts a row is of, and what an interval is."""

from __future__ import annotations

from collections.abc import Mapping

from figures.experiment.names import watermark_name

__all__ = ["labels", "with_interval"]

#: Columns that many tables begin with, as they are headed.
_LABELS = {
    "prompts": "prompts",
    "watermark": "watermark",
    "temperature": "temperature",
    "method": "method",
    "lookahead": "drafts a step",
    "detector": "detector",
}


def labels(row: Mapping[str, object]) -> dict[str, object]:
    """Of a row, the columns that say which texts it is of."""
    found = {shown: row[name] for name, shown in _LABELS.items() if name in row}
    if "watermark" in found:
        found["watermark"] = watermark_name(str(found["watermark"]))
    return found


def with_interval(value: float, low: float, high: float, form: str = ".3f") -> str:
    """An estimate and the ends of its interval."""
    return f"{value:{form}} ({low:{form}} to {high:{form}})"
