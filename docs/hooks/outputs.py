"""Outputs that are only examples: tests know them by "```text example", the site by one word."""

from __future__ import annotations

import re

_EXAMPLE = re.compile(r"^```text example$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Drop the word that is meant for the tests."""
    return _EXAMPLE.sub("```text", markdown)
