"""Formulas become MathML when the site is built: no script, no font and no network to read them.

What the converter does not know is an error of the page, and fails a strict build.
"""

from __future__ import annotations

import html
import logging
import re
from typing import TYPE_CHECKING

from math_core import LatexError, LatexToMathML

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

#: What `pymdownx.arithmatex` makes of $...$ and $$...$$.
_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\s*\\[(\[](?P<latex>.*?)\\[)\]]\s*</\1>', re.DOTALL | re.IGNORECASE
)
_CONVERTER = LatexToMathML(pretty_print="never")
_log = logging.getLogger("mkdocs.hooks.formulas")


def on_page_content(content: str, page: Page, **_: object) -> str:
    """Replace every formula of a page."""

    def mathml(found: re.Match[str]) -> str:
        latex = html.unescape(found["latex"])
        try:
            return _CONVERTER.convert_with_local_state(latex, displaystyle=found[1] == "div")
        except LatexError as error:
            _log.warning("%s: the formula %s: %s", page.file.src_uri, latex, error)
            return found[0]

    return _FORMULA.sub(mathml, content)
