"""Texts to verdicts: what a key, a scheme and a text's own record say of it."""

from tradeoff.verdicts.examine import Examiner, Options
from tradeoff.verdicts.result import Outcome, Reading, Result

__all__ = ["Examiner", "Options", "Outcome", "Reading", "Result"]
