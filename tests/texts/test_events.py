"""Plain text that is no prose: dumps of event streams are put together, quoted mail is read and told of."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.detecting import KEY, detect, findings, marked
from tradeoff.texts import Broken, events, read_texts
from tradeoff.texts.events import texts_of_events

Found = tuple[str, str, list[int] | None]


def chat(content: str | None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "choices": [{"index": index, "delta": {"content": content}, **more}]}


def completion(text: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "text": text, "logprobs": None, **more}]}


def dump(*values: Any, end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {json.dumps(value)}\n\n" for value in values) + end


def read(content: str | bytes, path: Path | None = None, warn: Any = pytest.fail) -> list[Found | str]:
    """(id, words, token ids) of every text of a file, or of standard input; messages of broken ones."""
    raw = content.encode() if isinstance(content, str) else content
    if path is not None:
        path.write_bytes(raw)
    found: list[Found | str] = []
    for text in read_texts(["-" if path is None else str(path)], io.BytesIO(raw), warn):
        if isinstance(text, Broken):
            found.append(text.message)
            continue
        ids = None if text.token_ids is None else list(text.token_ids)
        found.append((text.id, "".join(text.pieces or ()), ids))
    return found


DUMPS: dict[str, tuple[str, list[Found]]] = {
    "chat": (
        dump(
            {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
            chat("The"),
            chat(" harbour"),
            chat(None),
            {"id": "chatcmpl-1", "choices": [], "usage": {"total_tokens": 3}},
        ),
        [("chatcmpl-1", "The harbour", None)],
    ),
    "completion": (dump(completion("one"), completion(" two")), [("-", "one two", None)]),
    "several choices": (
        dump(chat("a", 1), chat("b", 0), chat("c", 1)),
        [("chatcmpl-1/0", "b", None), ("chatcmpl-1/1", "ac", None)],
    ),
    "several answers": (
        dump(completion("one")) + dump(chat("two")) + dump(completion("three"), end=""),
        [("-", "one", None), ("chatcmpl-1", "two", None), ("-/3", "three", None)],
    ),
    "token ids": (
        dump(completion("a", token_ids=[1, 2]), completion("", token_ids=[3]), completion("")),
        [("-", "a", [1, 2, 3])],
    ),
    "token ids of some": (dump(completion("a", token_ids=[1]), completion("b")), [("-", "ab", None)]),
    "other lines": (
        "\ndata:"
        + json.dumps(chat("a"))
        + "\r\n\r\n: kept alive\nevent: message\nid: 7\nretry: 3\nnonsense\n"
        + dump(chat("b")),
        [("chatcmpl-1", "ab", None)],
    ),
    "no end": (dump(chat("a"), end=""), [("chatcmpl-1", "a", None)]),
    "tools alone": (
        dump({"choices": [{"delta": {"tool_calls": []}}, 3]}, {"error": "x"}, chat("a")),
        [("chatcmpl-1", "a", None)],
    ),
}


@pytest.mark.parametrize("name", DUMPS)
def test_dumps(name: str, tmp_path: Path) -> None:
    content, texts = DUMPS[name]
    assert read(content) == texts
    in_file = [
        (called.replace("-", "x.txt", 1) if called[0] == "-" else called, *rest) for called, *rest in texts
    ]
    assert read("\ufeff" + content, tmp_path / "x.txt") == in_file
    assert read(content, tmp_path / "x.txt") == in_file


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5), st.integers(1, 50)
)
def test_pieces_of_any_length_add_up(words: list[str], size: int) -> None:
    content = dump(*map(chat, words)).encode()
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    (text,) = texts_of_events(chunks, "x", "x", pytest.fail)
    assert "".join(text.pieces or ()) == "".join(words)


@pytest.mark.parametrize(
    "content",
    [
        "data: the facts\n",
        "data",
        "data:",
        "data: {",
        "data: {a: 1}\nand more\n",
        "data: {broken\ndata: [DONE]\n",
        "Data: {}\n",
        "my data: {}\n",
    ],
)
def test_what_is_plain_text_all_the_same(content: str, tmp_path: Path) -> None:
    assert read(content) == [("-", content, None)]
    assert read(content, tmp_path / "x.txt") == [("x.txt", content, None)]


def test_malformed_dumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.txt"
    for content, told in (
        (dump(chat("a")) + "data: {\nmore\n", "x.txt line 5 is no event of a language model's server ("),
        (dump(chat("a")).encode() + b'data: {"\xff"}\n', "x.txt line 5 is no event"),
        (dump({"type": "ping"}), "x.txt has events without choices[i].delta.content or choices[i].text"),
        (dump({"choices": [{"text": 3}]}), "x.txt line 1 has a part of a text that is no string"),
        (dump(chat("a", index="b")), "x.txt line 1 has a part of a text"),  # type: ignore[arg-type]
        (dump(completion("a", token_ids=["x"])), '"token_ids" hold "x"'),
        (dump(chat("a"), end="data: " + "[" * 100_000 + "\n"), "x.txt line 3 is no event"),
        (dump(chat("\ud800")), '"text" must be a string of whole characters'),
    ):
        assert told in str(read(content, path)[-1])
    warned: list[str] = []
    assert read(dump(chat("a"), end='data: {"cho'), path, warned.append) == [("chatcmpl-1", "a", None)]
    assert warned == [f"{path} line 3 breaks off (no newline ends it) and is left out"]
    monkeypatch.setattr(events, "_MOST", 10_000)
    long = "word " * 500
    assert "x.txt line 9: the answer has more than 10,000 characters" in str(
        read(dump(*[chat(long)] * 9), path)[-1]
    )
    assert len(read(dump(chat(long)) * 9, path)) == 9
    end = "data: " + "x" * 20_000
    assert "x.txt has a line of more than 10,000 bytes" in str(read(dump(chat("a"), end=end), path)[-1])


def test_dumps_are_answered_as_they_end() -> None:
    """The first answer is there before the second one is."""

    def chunks() -> Any:
        yield dump(chat("a")).encode()
        pytest.fail("the first answer was there")

    assert next(texts_of_events(chunks(), "x", "x", pytest.fail)).pieces == ["a"]


def test_the_command_reads_dumps(tmp_path: Path) -> None:
    KEY.write(tmp_path / "key")
    content = dump(*(completion("a", token_ids=[one]) for one in marked(40)))
    (found,) = findings(detect(tmp_path, "-", "--json", input=content))
    assert (found["id"], found["verdict"]) == ("-", "watermarked")


@pytest.mark.parametrize(
    ("content", "quoted"),
    [
        ("> one\n> two\n>\n> three\n\nRegards\n", True),
        ("On Monday she wrote:\n>> one\n> > two\n> three\n", True),
        ("one\n> two\nthree\n", False),
        ("> one", False),
        ("a > b\nc > d\ne > f\n", False),
        ("> one\n> two\nthree\nfour\n", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("eager", [False, True])
def test_quoted_mail_is_read_and_told_of(content: str, quoted: bool, eager: bool, tmp_path: Path) -> None:
    path, told = tmp_path / "mail.txt", []
    path.write_text(content)
    words = ""
    for text in read_texts([str(path)], io.BytesIO(), told.append, eager=eager):
        words += "" if isinstance(text, Broken) else "".join(text.pieces or ())
    assert words == content
    assert [said.partition(":")[0] for said in told] == [str(path)] * quoted
    if quoted:
        assert "strip the marks first, for example with `sed 's/^[> ]*//'`" in told[0]


def test_much_white_space_before_a_text(tmp_path: Path) -> None:
    """It is a text too, and not held to its end."""
    content = " \n" * (3 << 19) + "data: {}\n"
    assert read(content, tmp_path / "x.txt")[0][1] == content
