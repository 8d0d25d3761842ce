"""Evidence for people: a verdict in sentences, and the HTML pages that show what stands behind it."""

from tradeoff.verdicts.pages.answer import answer_html
from tradeoff.verdicts.pages.folders import pages_folders
from tradeoff.verdicts.pages.page import EvidencePage, evidence_html

__all__ = ["EvidencePage", "answer_html", "evidence_html", "pages_folders"]
