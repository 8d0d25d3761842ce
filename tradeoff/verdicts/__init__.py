"""Texts to verdicts: what a key, a scheme and a text's own record say of it."""

from tradeoff.verdicts.decoy_keys import Decoys, decoys
from tradeoff.verdicts.examine import TOGETHER, Examiner
from tradeoff.verdicts.foreign import ForeignConfig, vocabulary_beside
from tradeoff.verdicts.options import Options
from tradeoff.verdicts.pages import EvidencePage, answer_html, evidence_html, pages_folders
from tradeoff.verdicts.profiles import REMEDY, MeasuredProfile, measured_profiles
from tradeoff.verdicts.result import Correction, Outcome, Reading, Result, Tested
from tradeoff.verdicts.settings import Setting
from tradeoff.verdicts.spelling import numbers
from tradeoff.verdicts.together import Corpus, CorpusResult, Together
from tradeoff.verdicts.tokens import vocabulary_hash
from tradeoff.verdicts.told import Told
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
    "TOGETHER",
    "Corpus",
    "CorpusResult",
    "Correction",
    "Decoys",
    "EvidencePage",
    "Examiner",
    "ForeignConfig",
    "MeasuredProfile",
    "Options",
    "Outcome",
    "Reading",
    "Result",
    "Setting",
    "Shown",
    "Tested",
    "Together",
    "Told",
    "answer_html",
    "decoys",
    "evidence_html",
    "legend",
    "measured_profiles",
    "numbers",
    "pages_folders",
    "plain_view",
    "shade_name",
    "shown_tokens",
    "terminal_view",
    "unscored_tokens",
    "vocabulary_beside",
    "vocabulary_hash",
]
