"""Prompts from files, with errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradeoff.errors import FileError
from tradeoff.llm.prompts import encode_prompts, read_prompts
from tradeoff.llm.text import builtin_prompts


def test_text_files_hold_one_prompt_a_line(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("first\n\n  second \nthird")
    assert read_prompts(path) == [("1", "first"), ("3", "  second "), ("4", "third")]


def test_json_lines_have_ids(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "x", "prompt": "one"}\n{"prompt": "two"}\n{"id": 7, "prompt": "three"}\n')
    assert read_prompts(str(path)) == [("x", "one"), ("2", "two"), ("7", "three")]


def test_only_line_ends_end_lines(tmp_path: Path) -> None:
    """What else Unicode calls a line break may stand inside a prompt; a byte order mark is no part of one."""
    lines = tmp_path / "p.jsonl"
    lines.write_text('\ufeff{"prompt": "a\u2028b"}\r\n{"prompt": "c\x85d"}\n', encoding="utf-8")
    assert read_prompts(lines) == [("1", "a\u2028b"), ("2", "c\x85d")]
    plain = tmp_path / "p.txt"
    plain.write_bytes("\ufeffone\x0ctwo\r\nthree".encode())
    assert read_prompts(plain) == [("1", "one\x0ctwo"), ("2", "three")]


@pytest.mark.parametrize("kind", ["question", "continuation"])
def test_builtin_sets_have_names(kind) -> None:
    assert read_prompts(f"builtin:{kind}") == builtin_prompts(kind)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "\n\n", "is empty"),
        ("p.jsonl", '{"prompt": "a"}\nnonsense\n', r"line 2 is not a JSON object"),
        ("p.jsonl", '{"text": "a"}\n', r'line 1 is not a JSON object with a "prompt"'),
        ("p.jsonl", '["a"]\n', "line 1 is not a JSON object"),
        ("p.jsonl", '{"prompt": 3}\n', 'line 1: "prompt" must be text'),
        ("p.json", "nonsense\n", "line 1 is not a JSON object"),
        ("p.NDJSON", "nonsense\n", "line 1 is not a JSON object"),
        ("p.jsonl", '{"id": 1.5, "prompt": "x"}\n', '"id" text or a whole number'),
        ("p.jsonl", '{"id": null, "prompt": "x"}\n', '"id" text or a whole number'),
        ("p.jsonl", '{"id": true, "prompt": "x"}\n', '"id" text or a whole number'),
        ("p.jsonl", '{"id": "", "prompt": "x"}\n', '"id" text or a whole number'),
        ("p.jsonl", '{"prompt": "a \\ud800 b"}\n', "line 1 is not a JSON object"),
        ("p.jsonl", '{"prompt": " "}\n', 'line 1: "prompt" must be text'),
        (
            "p.jsonl",
            '{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "y"}\n',
            "line 2: the id 'a' occurs twice",
        ),
    ],
)
def test_malformed_files_are_explained(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(FileError, match=message):
        read_prompts(path)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"gone\.txt cannot be read .*builtin:question"):
        read_prompts(tmp_path / "gone.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="cannot be read"):
        read_prompts(tmp_path / "b.txt")


def test_encoding_plain_and_chat(make_tokenizer) -> None:
    template = "{% for m in messages %}<s>{{ m['content'] }}</s>{% endfor %}"
    chatty, plain = make_tokenizer(chat_template=template), make_tokenizer()
    (prompt,) = encode_prompts(plain, [("a", "the")])
    assert (prompt.id, prompt.text, list(prompt.token_ids)) == ("a", "the", plain("the")["input_ids"])
    (asked,) = encode_prompts(chatty, [("a", "the")], chat=True)
    assert list(asked.token_ids) == [1, *plain("the")["input_ids"], 2]
    with pytest.raises(ValueError, match="no chat format"):
        encode_prompts(plain, [("a", "the")], chat=True)
