"""A number with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Estimate"]


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error, which is 0 exactly when the number is exact.

    Attributes:
        value, standard_error: floats, or arrays of one shape.
    """

    value: Any
    standard_error: Any

    def __str__(self) -> str:
        return f"{self.value:.7g} ± {self.standard_error:.2g}"

    @classmethod
    def of_mean(cls, values: np.ndarray) -> Estimate:
        """The mean of independent values [rows]; of a single one the error is infinite."""
        mean = float(values.mean())
        return cls(mean, float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf)
