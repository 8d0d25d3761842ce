"""What people are shown: consoles, HTML, and strings from elsewhere made harmless."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.display.characters import shown, visible
    from tradeoff.display.console import (
        INSTALL_DOCUMENTS,
        INSTALL_LLM,
        Bar,
        Reader,
        Words,
        exit_on_bad_input,
        hide_announcements,
        is_quiet,
        print_error,
        print_note,
        print_warning,
        print_written,
        require_llm,
        require_stdout,
        stderr,
        stdin,
        stdout,
    )
    from tradeoff.display.html import environment, parts, table

__all__ = [
    "INSTALL_DOCUMENTS",
    "INSTALL_LLM",
    "Bar",
    "Reader",
    "Words",
    "environment",
    "exit_on_bad_input",
    "hide_announcements",
    "is_quiet",
    "parts",
    "print_error",
    "print_note",
    "print_warning",
    "print_written",
    "require_llm",
    "require_stdout",
    "shown",
    "stderr",
    "stdin",
    "stdout",
    "table",
    "visible",
]

_HOMES = {
    "display.characters": (
        "shown",
        "visible",
    ),
    "display.console": (
        "INSTALL_DOCUMENTS",
        "INSTALL_LLM",
        "Bar",
        "Reader",
        "Words",
        "exit_on_bad_input",
        "hide_announcements",
        "is_quiet",
        "print_error",
        "print_note",
        "print_warning",
        "print_written",
        "require_llm",
        "require_stdout",
        "stderr",
        "stdin",
        "stdout",
    ),
    "display.html": (
        "environment",
        "parts",
        "table",
    ),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
