"""HTML pages from Jinja2 templates: whatever a template shows is escaped, and nothing in it hides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from tradeoff.display.characters import visible

if TYPE_CHECKING:
    from jinja2 import Environment, Template

__all__ = ["environment", "parts", "table"]

#: A template yields a piece for every value and for what stands between two; so many are joined into a part.
_TOGETHER = 1000


@cache
def environment(package: str) -> Environment:
    """The templates in a package's folder `templates`.

    Every value goes through `visible`, which keeps line ends and tabs, and is then escaped, also one that is
    marked as safe; the result of a macro is such a value. A name that is not given is an error.

    Args:
        package: such as "tradeoff".
    """
    # Only who writes a page needs it.
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_words,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def table(rows: Iterable[Iterable[object]]) -> str:
    """A plain table, for notebooks."""
    return environment("tradeoff").get_template("facts.html").render(rows=rows)


def parts(template: Template, block: str, /, **values: object) -> Iterator[str]:
    """One block of a template, part by part: a long one is never in memory as a whole.

    Args:
        template: a template with blocks.
        block: name of one.
        values: what it shows.

    Raises:
        jinja2.UndefinedError: for a value that it shows and is not given.
    """
    pieces = template.blocks[block](template.new_context(values))
    while some := list(islice(pieces, _TOGETHER)):
        yield "".join(some)


def _words(value: object) -> str:
    return visible(str(value), keep="\n\t")
