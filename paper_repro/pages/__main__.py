"""Write the pages of `docs/results` from the committed tables.

    python -m paper_repro.pages            write them
    python -m paper_repro.pages --check    exit status 1 if one does not say what the tables say

A page is a module here, whose `values()` reads the tables, and a template of the same name in
`paper_repro/templates/pages`, which puts them into words.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tradeoff.display import exit_on_bad_input, print_written, stdout
from tradeoff.files import replacing

__all__ = ["PAGES", "rendered"]

#: Names of modules, templates and pages.
PAGES: tuple[str, ...] = (
    "detection",
    "edited_text",
    "stopping",
    "statements",
    "trade_off",
    "joint",
    "transport",
    "faster",
    "speed",
    "calibration",
    "papers",
    "bounds",
    "quality",
)
_ROOT = Path(__file__).parents[2]
_TEMPLATES = _ROOT / "paper_repro" / "templates" / "pages"
_OUT = _ROOT / "docs" / "results"


def rendered(name: str) -> str:
    """The page called `name`, as Markdown."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = import_module(f"paper_repro.pages.{name}")
    return environment.get_template(f"{name}.md").render(page.values())


def write(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; say which pages are out of date.")
    ] = False,
) -> None:
    """Write the pages of results, or check them."""
    with exit_on_bad_input():
        pages = {_OUT / f"{name.replace('_', '-')}.md": rendered(name) for name in PAGES}
        if check:
            old = [
                path for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text
            ]
            for path in old:
                stdout().print(f"{path.relative_to(_ROOT)} is not what the tables say", soft_wrap=True)
            raise typer.Exit(1 if old else 0)
        for path, text in pages.items():
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        print_written(stdout(), list(pages))


if __name__ == "__main__":
    typer.run(write)
