"""Texts to verdicts: what a key, a scheme and a text's own record say of it."""

from tradeoff.verdicts.examine import Examiner, Options
from tradeoff.verdicts.page import EvidencePage
from tradeoff.verdicts.profiles import REMEDY, measured_profiles
from tradeoff.verdicts.result import Outcome, Reading, Result
from tradeoff.verdicts.spelling import numbers
from tradeoff.verdicts.views import (
    SHADES,
    Shown,
    legend,
    plain_view,
    shade_name,
    shown_tokens,
    terminal_view,
    unscored_tokens,
)

__all__ = [
    "REMEDY",
    "SHADES",
    "EvidencePage",
    "Examiner",
    "Options",
    "Outcome",
    "Reading",
    "Result",
    "Shown",
    "legend",
    "measured_profiles",
    "numbers",
    "plain_view",
    "shade_name",
    "shown_tokens",
    "terminal_view",
    "unscored_tokens",
]
