"""Damaged files: what people, networks, disks and enemies make of good ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

__all__ = ["damaged", "damaged_json", "encoded", "fuzzed", "hostile"]

#: How many times as long: `TRADEOFF_FUZZ=10 pytest tests/fuzz`. New examples each time, then.
LONGER = int(os.environ.get("TRADEOFF_FUZZ", "1"))

#: Encodings of files that people have.
ENCODINGS = (
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7"),
    *(
        "latin-1",
        "cp1252",
        "cp437",
        "cp1251",
        "koi8-r",
        "shift_jis",
        "euc-jp",
        "iso2022_jp",
        "gb18030",
        "big5",
    ),
    *("euc-kr", "mac-roman", "cp037", "ascii"),
)

#: Values that trip readers up: numbers out of range, of other kinds, names that are obeyed, depth.
hostile: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, 1e30, 1.7, 1e308, 1e400, -0.0])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["\x1b[2J", "\u202e", "\ud800", "NaN", "gumbel", "synthid:1000000000", "../x", "[/red]"]
    )
    | st.sampled_from(["simplexwater:20", "heavywater:gamma,k=1000000", "completed:" * 50 + "gumbel"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def fuzzed(examples: int) -> Callable[[Callable], Callable]:
    """Settings of a test with so many examples, times TRADEOFF_FUZZ."""
    return settings(
        max_examples=examples * LONGER,
        derandomize=LONGER == 1,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Good bytes with up to four places cut, doubled, overwritten or put in, or none of them."""
    for _ in range(draw(st.integers(0, 4))):
        size = len(content)
        first = draw(st.integers(0, size))
        last = draw(st.integers(first, min(size, first + 64)))
        match draw(st.sampled_from(["cut", "end", "double", "overwrite", "insert", "many"])):
            case "cut":
                content = content[:first] + content[last:]
            case "end":
                content = content[:first]
            case "double":
                content = content[:last] + content[first:]
            case "overwrite":
                content = content[:first] + draw(st.binary(max_size=16)) + content[last:]
            case "insert":
                content = content[:first] + draw(tokens) + content[first:]
            case "many":
                content = content[:first] + draw(tokens) * draw(st.integers(1, 3000)) + content[first:]
    return content


#: Pieces that mean something to one reader or another.
tokens = st.sampled_from(
    [
        *(b"\0", b"\n", b"\r\n", b'"', b"[", b"]", b"{", b"}", b",", b"-", b"1", b"9" * 20, b"e9", b"NaN"),
        *(b"Infinity", b"null", b"true", b"\\u0000", b"\\ud800", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3"),
        *(b"\x1b[2J", "\u202e".encode()),
    ]
)


@st.composite
def damaged_json(draw: st.DrawFn, good: dict[str, Any], inside: str) -> dict[str, Any]:
    """A good object with up to three fields, its own or those of the object `inside` it, replaced or gone."""
    record = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(0, 3))):
        where = record if draw(st.booleans()) else record.get(inside)
        if not isinstance(where, dict) or not where:
            continue
        name = draw(st.sampled_from(sorted(where, key=str)))
        match draw(st.sampled_from(["replace", "gone", "item"])):
            case "gone":
                del where[name]
            case "item" if isinstance(where[name], list) and where[name]:
                where[name][draw(st.integers(0, len(where[name]) - 1))] = draw(hostile)
            case _:
                where[name] = draw(hostile)
    return record


@st.composite
def encoded(draw: st.DrawFn) -> bytes:
    """Words of any script in an encoding that people have; of which some characters may be lost."""
    words = draw(
        st.text(max_size=200)
        | st.sampled_from(["Ελληνικά ", "日本語の文。", "naïve — “café” "]).map(lambda w: w * 9)
    )
    return words.encode(draw(st.sampled_from(ENCODINGS)), errors="replace")
