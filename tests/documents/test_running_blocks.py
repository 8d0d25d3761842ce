"""What runs the blocks of the documentation lets nothing wrong pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents.blocks import BlockError, Instead, lines_of, names_of, parse, run_page, same


def run(text: str, folder: Path, **table: str) -> None:
    run_page(text, "page.md", folder, {line: Instead(other, "a test") for line, other in table.items()})


def fenced(info: str, *lines: str) -> str:
    return "\n".join([f"```{info}", *lines, "```", "", ""])


def test_blocks_share_a_namespace_and_a_folder(tmp_path: Path) -> None:
    text = (
        fenced("bash", "echo 7 > number.txt")
        + fenced("python", "from pathlib import Path", "number = int(Path('number.txt').read_text())")
        + "Words between.\n"
        + fenced("python", "print('is', number + 1)", "Path('more.txt').write_text('9')")
        + fenced("text", "is 8")
        + fenced("bash", "cat more.txt")
        + fenced("text", "9")
    )
    run(text, tmp_path)


@pytest.mark.parametrize(
    ("language", "code"), [("python", "print('two', 0.1234, 1e-06)"), ("bash", "echo two 0.1234 1e-06")]
)
@pytest.mark.parametrize(
    ("shown", "is_right"),
    [
        ("two 0.1234 1e-06", True),
        ("two   0.12 1e-6", True),
        ("two 0.13 1e-06", False),
        ("Two 0.12 1e-06", False),
        ("two 0.12", False),
        ("two 0.12 1e-06\nmore", False),
        ("", False),
    ],
)
def test_what_is_printed_is_what_is_shown(
    tmp_path: Path, language: str, code: str, shown: str, is_right: bool
) -> None:
    text = fenced(language, code) + fenced("text", shown)
    if is_right:
        run(text, tmp_path)
    else:
        with pytest.raises(BlockError, match=r"^page.md, line 2: it is shown to print"):
            run(text, tmp_path)


def test_numbers_to_the_digits_that_are_shown() -> None:
    assert same("p = 0.62, n=1,000, −3.1e-05", "p = 0.6249, n=1,000, −3.06e-05")
    assert not same("p = 0.62", "p = 0.6251")
    assert not same("1,000", "1,001")
    assert not same("1.0e-05", "1.0e-06")
    assert same("5", "5.2")
    # Letters and digits in one word are no number.
    assert not same("key 3e5a", "key 3e5b")
    assert not same("v1.2", "v1.21")
    assert not same("0.5 nats", "0.5 bits")


def test_an_example_only_has_to_be_one_of_something(tmp_path: Path) -> None:
    run(fenced("python", "print('other words')") + fenced('text title="example"', "words 7"), tmp_path)
    with pytest.raises(BlockError, match="prints nothing"):
        run(fenced("python", "x = 1") + fenced('text title="example"', "words 7"), tmp_path)


def test_text_elsewhere_is_no_output(tmp_path: Path) -> None:
    run(fenced("python", "print(1)") + "Not of this:\n\n" + fenced("text", "2"), tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            fenced("python", "x = 1", "", "raise OSError('gone')"),
            r'line 2: (.|\n)*"page.md", line 4(.|\n)*gone',
        ),
        (fenced("python", "import sys", "sys.exit()"), "SystemExit"),
        (fenced("python", "import os", "os._exit(0)"), "Python ended"),
        (fenced("python", "from tradeoff.simplex import entropy"), "tradeoff.simplex has moved"),
        (fenced("bash", "cat gone.txt", "echo later"), r"exit status 1\n(.|\n)*failed: cat gone.txt"),
        (fenced("bash", "cat gone.txt | wc"), "exit status 1"),
        (fenced("bash", "echo $NO_SUCH_NAME"), "unbound"),
        (fenced("bash", "echo begun", "pip install it"), "'pip install it' runs pip; say in the table"),
        (fenced("bash", "echo 1 | A=2 sponge it && rm it"), "runs rm, sponge; say in the table"),
        (fenced("bash", "python -m figures.figure_1 --help"), "has moved; the command is: python -m figures"),
    ],
)
def test_what_fails(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BlockError, match=said):
        run(text, tmp_path)


def test_who_writes_to_head_may_be_cut_off(tmp_path: Path) -> None:
    run(fenced("bash", "python -c 'print(\"a\\n\" * 10**6)' | head -n 1") + fenced("text", "a"), tmp_path)
    with pytest.raises(BlockError, match="exit status 1"):
        run(fenced("bash", "echo a | head -n 1", "cat gone.txt | wc"), tmp_path)


def test_nothing_is_run_of_a_block_with_an_unknown_command(tmp_path: Path) -> None:
    with pytest.raises(BlockError):
        run(fenced("bash", "echo 1 > made.txt", "pip install it"), tmp_path)
    assert not (tmp_path / "made.txt").exists()


def test_the_table_says_what_is_run_instead(tmp_path: Path) -> None:
    text = (
        fenced("bash", "pip install \\", "    it   # now", "echo done")
        + fenced("text", "skipped", "done")
        + fenced("python", "if True:", "    x = long_run(1)  # takes hours", "print(x)")
        + fenced("text", "2")
    )
    run(text, tmp_path, **{"pip install it": "echo skipped", "x = long_run(1)": "x = 2", "never": "gone"})
    first, _, second, _ = parse(text, "page.md")
    assert names_of(first) == ["pip install it", "echo done"]
    assert names_of(second) == ["if True:", "x = long_run(1)", "print(x)"]


def test_a_block_with_a_title_is_a_file(tmp_path: Path) -> None:
    text = fenced('python title="mine.py"', "value = 5", "raise_if_run = 1 / value") + fenced(
        "python", "print('value' in vars())", "import mine", "print(mine.value)"
    )
    run(text + fenced("text", "False", "5"), tmp_path)


def test_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of whoever runs the tests, no colours; the library of this checkout."""
    monkeypatch.setenv("TRADEOFF_KEY", "00" * 32)
    monkeypatch.setenv("FORCE_COLOR", "1")
    root = Path(__file__).parents[2]
    code = ("import os, tradeoff", "print('TRADEOFF_KEY' in os.environ, 'FORCE_COLOR' in os.environ)")
    shown = fenced("text", "False False", f"{root / 'tradeoff' / '__init__.py'}")
    text = fenced("python", *code, "print(tradeoff.__file__)") + shown
    text += fenced("bash", 'python -c "import tradeoff; print(tradeoff.__file__)"')
    run(text + fenced("text", f"{root / 'tradeoff' / '__init__.py'}"), tmp_path)


def test_blocks_within_lists_and_longer_fences() -> None:
    text = "- item\n\n    ```python\n    if x:\n        y\n    ```\n\n````text\n```python\n````\n"
    first, second = parse(text, "page.md")
    assert (first.language, first.code, first.line) == ("python", "if x:\n    y\n", 4)
    assert (second.language, second.code, second.follows) == ("text", "```python\n", True)


@pytest.mark.parametrize("language", ["sh", "console", "py", "pycon"])
def test_no_block_hides_under_another_name(language: str) -> None:
    with pytest.raises(ValueError, match=f"page.md, line 1: '{language}' is not run; write python or bash"):
        parse(fenced(language, "rm -r x"), "page.md")


@pytest.mark.parametrize("info", ["text example", "bash example", 'text title="x"', "python example"])
def test_no_info_string_that_says_nothing(info: str) -> None:
    with pytest.raises(ValueError, match=r'line 1: .* is not known; write text title="example", or'):
        parse(fenced(info, "x"), "page.md")


def test_a_fence_that_is_not_closed() -> None:
    with pytest.raises(ValueError, match=r"line 3: the block is not closed"):
        parse("a\n\n```python\nx\n", "page.md")


def test_lines_as_the_table_has_them() -> None:
    code = ("# why", "a  b \\", "   c  # d", "", "e '#f", "  g'", "h << 'END'  # i", "j  'k", "END")
    (block,) = parse(fenced("bash", *code), "page.md")
    assert lines_of(block) == [
        ("a b c", "a  b \\\n   c  # d"),
        ("e '#f g'", "e '#f\n  g'"),
        ("h << 'END'", "h << 'END'  # i\nj  'k\nEND"),
    ]


@pytest.mark.parametrize("line", ["a 'b", "a \\", "a << END"])
def test_a_line_that_does_not_end(line: str) -> None:
    (block,) = parse(fenced("bash", line), "page.md")
    with pytest.raises(BlockError, match=r"line 2: .* does not end"):
        lines_of(block)


def test_shell_lines_are_run_as_they_stand(tmp_path: Path) -> None:
    text = fenced("bash", "cat > it << 'END'", "a  'b", "pip", "END", "printf 'c  d\n' >> it")
    run(text, tmp_path)
    assert (tmp_path / "it").read_text() == "a  'b\npip\nc  d\n"
