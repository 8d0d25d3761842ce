"""What others wrote is shown with every character that is obeyed or hides as an escape."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from tradeoff.display.characters import shown, visible
from tradeoff.display.console import Words, print_error, stderr

#: Every character there is.
ALL = [chr(code) for code in range(0x110000)]
BIDIRECTIONAL = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 中文, Ελληνικά, n̈, 😀", "plain, 中文, Ελληνικά, n̈, 😀"),
        ("\x1b]0;X\x07\x1b[2J", r"\u001b]0;X\u0007\u001b[2J"),
        ("a\tb\r\n", r"a\tb\r\n"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066a\u2069", r"\u2066a\u2069"),
        ("a\u200bb\u2060c\ufeff\xad", r"a\u200bb\u2060c\ufeff\u00ad"),
        ("\x7f\x9b1m", r"\u007f\u009b1m"),
        ("\U000e0041\ud800", r"\U000e0041\ud800"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_no_character_that_is_obeyed_or_hides_stays() -> None:
    """Categories of the Unicode Character Database; format characters that have a shape of their own stay."""
    shaped = {"\u06dd", "\u070f", "\u0890", "\u0891", "\u08e2", "\U000110bd", "\U000110cd"}
    shaped |= {chr(code) for code in range(0x600, 0x606)} | {chr(code) for code in range(0x13430, 0x13456)}
    for character in ALL:
        hides = unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs") and character not in shaped
        hides |= unicodedata.bidirectional(character) in (
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
        )
        if hides:
            assert visible(character).isascii(), hex(ord(character))
        if character.isalnum() and character.isprintable() and unicodedata.category(character) != "Lo":
            assert visible(character) == character


@given(st.text(alphabet=st.characters(), max_size=40), st.sampled_from(["", "\n", "\n\t"]))
def test_escapes_are_of_single_characters(text: str, keep: str) -> None:
    shown = visible(text, keep)
    assert shown == "".join(character if character in keep else visible(character) for character in text)
    assert visible(shown, keep) == shown
    assert all(unicodedata.category(character) != "Cc" or character in keep for character in shown)


def test_consoles_take_strings_for_words(capsys: pytest.CaptureFixture[str]) -> None:
    """No markup, no emoji, no escapes, in lines as in tables and in errors."""
    name = "Llama [/base] :warning: \x1b[2J\u202e[bold]"
    shown = r"Llama [/base] :warning: \u001b[2J\u202e[bold]"
    table = Table(name, title=name)
    table.add_row(name)
    console = stderr()
    console.width = 200
    console.print(name)
    console.print(table)
    print_error(name)
    told = capsys.readouterr().err
    assert told.count(shown) == 5
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_lines_of_progress_are_words() -> None:
    class Task:
        description, fields = "Llama [/base]\x1b[2J", {"speed": "[red]1\u202e"}

    assert Words().render(Task()).plain == r"Llama [/base]\u001b[2J"  # type: ignore[arg-type]
    speed = Words("{task.fields[speed]}").render(Task())  # type: ignore[arg-type]
    assert speed.plain == r"[red]1\u202e"


def test_values_of_json_are_cut_and_never_fail() -> None:
    assert shown({"a": [1, None, "\x1b\ud800"]}) == r'{"a": [1, null, "\u001b\ud800"]}'
    assert shown("x" * 100) == '"' + "x" * 36 + "..."
    assert len(shown(list(range(1000)))) == 40
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "..."
