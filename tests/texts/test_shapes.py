"""Texts of other programs' JSON: every shape, what is ambiguous, and fields that the caller names."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tradeoff.texts import Broken, read_texts

#: One value of each shape, as servers and libraries write it, with the (id, words, token ids) of its texts.
SHAPES: dict[str, tuple[Any, list[tuple[str, str | None, list[int] | None]]]] = {
    "own": ({"id": "a", "text": "one", "token_ids": [1, 2]}, [("a", "one", [1, 2])]),
    "OpenAI chat": (
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "m",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "one"}, "finish_reason": "stop"},
                {"index": 1, "message": {"role": "assistant", "content": "two"}, "finish_reason": "stop"},
            ],
            "usage": {"total_tokens": 3},
        },
        [("chatcmpl-1/0", "one", None), ("chatcmpl-1/1", "two", None)],
    ),
    "OpenAI chat, content in parts": (
        {
            "choices": [
                {"message": {"content": [{"type": "text", "text": "o"}, {"type": "text", "text": "ne"}]}}
            ]
        },
        [("1", "one", None)],
    ),
    "OpenAI completion": (
        {"id": "cmpl-1", "choices": [{"text": "one", "index": 0, "logprobs": None}]},
        [("cmpl-1", "one", None)],
    ),
    "vLLM server with token ids": (
        {"id": "c", "choices": [{"message": {"content": "one"}, "token_ids": [5, 6], "index": 0}]},
        [("c", "one", [5, 6])],
    ),
    "vLLM completion with token ids": (
        {
            "id": "cmpl-2",
            "object": "text_completion",
            "choices": [
                {
                    "index": 0,
                    "text": "one",
                    "token_ids": [5, 6],
                    "prompt_token_ids": [1, 2],
                    "logprobs": None,
                },
                {"index": 1, "text": "two", "token_ids": [7], "prompt_token_ids": [1, 2], "logprobs": None},
            ],
        },
        [("cmpl-2/0", "one", [5, 6]), ("cmpl-2/1", "two", [7])],
    ),
    "vLLM chat with token ids of the prompt": (
        {
            "id": "c",
            "prompt_token_ids": [1, 2],
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": None}, "token_ids": [5, 6]},
            ],
        },
        [("c", None, [5, 6])],
    ),
    "OpenAI response": (
        {
            "id": "resp_1",
            "object": "response",
            "output": [
                {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "thought"}]},
                {"type": "message", "content": [{"type": "output_text", "text": "one", "annotations": []}]},
                {"type": "function_call", "name": "f", "arguments": "{}"},
            ],
        },
        [("resp_1", "one", None)],
    ),
    "a line of a batch": (
        {
            "id": "vllm-1",
            "custom_id": "request-1",
            "response": {
                "status_code": 200,
                "request_id": "vllm-batch-1",
                "body": {"id": "chatcmpl-3", "choices": [{"message": {"content": "one"}, "token_ids": [8]}]},
            },
            "error": None,
        },
        [("request-1", "one", [8])],
    ),
    "vLLM RequestOutput": (
        {
            "request_id": "7",
            "prompt": "p",
            "prompt_token_ids": [9],
            "outputs": [{"index": 0, "text": "one", "token_ids": [1, 2]}, {"index": 1, "token_ids": [3]}],
        },
        [("7/0", "one", [1, 2]), ("7/1", None, [3])],
    ),
    "pipeline": ([{"generated_text": "one"}], [("1", "one", None)]),
    "completion": ({"id": 3, "prompt": "p", "completion": "one"}, [("3", "one", None)]),
    "output": ({"input": "p", "output": "one"}, [("1", "one", None)]),
    "output as ids": ({"input": "p", "output": [4, 5]}, [("1", None, [4, 5])]),
    "prediction": ({"prediction": "one", "label": "two"}, [("1", "one", None)]),
    "a list of ids": ([1, 2, 3], [("1", None, [1, 2, 3])]),
}


def read(path: Path, field: str | None = None) -> list[tuple[str, str | None, list[int] | None]]:
    found = []
    for text in read_texts([str(path)], io.BytesIO(), pytest.fail, field=field):
        assert not isinstance(text, Broken), text.message
        words = None if text.pieces is None else "".join(text.pieces)
        found.append((text.id, words, None if text.token_ids is None else list(text.token_ids)))
    return found


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_every_shape(name: str, suffix: str, tmp_path: Path) -> None:
    value, texts = SHAPES[name]
    path = tmp_path / f"x{suffix}"
    path.write_text(json.dumps(value) + "\n")
    assert read(path) == texts


def test_lines_of_many_shapes(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value, _ in SHAPES.values()))
    found = read(path)
    assert [(words, ids) for _, words, ids in found] == [
        (words, ids) for _, texts in SHAPES.values() for _, words, ids in texts
    ]


def test_a_list_of_lists_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[[1, 2], [3]]")
    assert read(path) == [("1", None, [1, 2]), ("2", None, [3])]


def test_standard_input() -> None:
    for content in (b"[1, 2, 3]", b'[{"generated_text": "one"}]', b'{"choices": [{"text": "one"}]}\n'):
        (text,) = read_texts(["-"], io.BytesIO(content), pytest.fail)
        assert not isinstance(text, Broken)
        assert text.token_ids == [1, 2, 3] or "".join(text.pieces or ()) == "one"
    (prose,) = read_texts(["-"], io.BytesIO(b"[1] is what footnotes look like"), pytest.fail)
    assert not isinstance(prose, Broken)
    assert "".join(prose.pieces or ()) == "[1] is what footnotes look like"


def test_fields_that_are_named(tmp_path: Path) -> None:
    """Also where another shape is known, and behind dots."""
    path = tmp_path / "x.jsonl"
    values = [
        {"id": "a", "data": {"answer": "one"}, "text": "no"},
        {"data.answer": "two"},
        {"data": {"answer": [7]}},
    ]
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    assert read(path, "data.answer") == [("a", "one", None), ("2", "two", None), ("3", None, [7])]


def test_what_is_ambiguous_or_has_no_text_is_named(tmp_path: Path) -> None:
    path, warned = tmp_path / "x.jsonl", []
    path.write_text('{"completion": "a", "output": "b"}\n{"answer": "c"}\n')
    (broken,) = read_texts([str(path)], io.BytesIO(), warned.append)
    assert isinstance(broken, Broken)
    assert "line 1 has texts in completion and output; name the one to read with --field" in broken.message
    assert 'line 2 has neither "text" nor "token_ids" and is left out; name the field' in warned[0]
    texts = list(read_texts([str(path)], io.BytesIO(), warned.append, field="answer"))
    assert len(texts) == 1
    assert "line 1 has no 'answer' and is left out" in warned[1]


def test_what_failed_or_was_no_text_is_passed_over(tmp_path: Path) -> None:
    """A request of a batch without an answer, and a response that is a call of a tool alone."""
    path, warned = tmp_path / "x.jsonl", []
    values = [
        {"custom_id": "a", "response": None, "error": {"message": "no"}},
        {"custom_id": "b", "response": {"status_code": 400, "body": {"error": "no"}}, "error": None},
        {"id": "c", "output": [{"type": "function_call", "name": "f"}]},
        {"id": "d", "text": "one"},
    ]
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    (text,) = read_texts([str(path)], io.BytesIO(), warned.append)
    assert not isinstance(text, Broken)
    assert text.id == "d"
    assert "line 1 has neither" in warned[0]
    assert "nor have 2 others" in warned[0]


@pytest.mark.parametrize(
    "value",
    [
        {"choices": [{"message": {"content": 3}}]},
        {"outputs": [{"token_ids": ["x"]}]},
        {"output": [1.5]},
        {"custom_id": "a", "response": {"body": {"completion": "b", "output": "c"}}},
    ],
)
def test_what_is_no_text_is_refused(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(value) + "\n")
    (broken,) = read_texts([str(path)], io.BytesIO(), pytest.fail)
    assert isinstance(broken, Broken)
    assert "line 1" in broken.message
