"""Templates cannot forget to escape, and cannot show what they are not given."""

from __future__ import annotations

import subprocess
import sys

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from tests.helpers.pages import HOSTILE, Page
from tradeoff.display.characters import visible
from tradeoff.display.html import environment, parts


@pytest.mark.parametrize("value", [HOSTILE, Markup(HOSTILE), "two\nlines\tand <tabs>"], ids=ascii)
@pytest.mark.parametrize(
    "shown", ["{{ value }}", "{{ value | safe }}", "{{ [value] | join }}", "{{ '' ~ value }}"]
)
def test_every_value_is_escaped_and_visible(value: str, shown: str) -> None:
    """In words and in attributes, whatever a template does to it; line ends and tabs stay."""
    page = Page()
    page.feed(environment("tradeoff").from_string(f'<b title="{shown}">{shown}</b>').render(value=value))
    page.close()
    assert page.tags == ["b"]
    assert page.attributes == {"title": [visible(value, keep="\n\t")]}
    assert page.words == [visible(value, keep="\n\t")]


@pytest.mark.parametrize(
    "template",
    [
        "{{ it }}",
        "{{ given.it }}",
        "{% if it %}{% endif %}",
        "{% for one in it %}{% endfor %}",
        "{{ it ~ 1 }}",
    ],
)
def test_what_is_not_given_is_an_error(template: str) -> None:
    with pytest.raises(UndefinedError, match=r"'it' is undefined|no attribute 'it'"):
        environment("tradeoff").from_string(template).render(given="words")


def test_blocks_come_in_parts() -> None:
    """Of a long one the first part is there before the rest is asked for."""
    template = environment("tradeoff").from_string(
        "{% block b %}{% for n in numbers %}{{ n }} {% endfor %}{% endblock %}"
    )
    numbers = iter(range(100_000))
    several = parts(template, "b", numbers=numbers)
    first = next(several)
    taken = next(numbers)
    assert 0 < taken < 10_000
    rest = (n for n in range(100_000) if n != taken)
    assert (first + "".join(several)).split() == [str(n) for n in rest]


def test_only_pages_need_jinja() -> None:
    code = "import sys, tradeoff.cli; assert 'jinja2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
