"""Errors that users of the library meet: each names the argument, the value and the remedy."""

from __future__ import annotations

__all__ = ["DistributionError", "FileError", "SolverError"]


class DistributionError(ValueError):
    """An argument is not a probability distribution; the message names it, its value and the remedy."""


class FileError(ValueError):
    """A file cannot be read or written; the message names it and the remedy."""


class SolverError(RuntimeError):
    """A solver of a convex programme reached no optimum; the message names the programme and the remedy."""
