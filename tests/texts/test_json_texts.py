"""Long lists of token ids are arrays, and nothing else changes; memory is in proportion to what is read."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeoff.keyed.keyring import Keyring
from tradeoff.keyed.keys import Key
from tradeoff.texts import json_texts
from tradeoff.texts.json_texts import Broken, Text, texts_of_json, texts_of_lines
from tradeoff.verdicts import Examiner, Options

KEY = Key(b"the key of the long texts")
ids = st.lists(st.integers(0, 10**18 - 1), max_size=6)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
values = st.recursive(
    scalars | ids | st.just('"token_ids": [1, 2]'),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["token_ids", "run", "text", "\\"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def outcome(read: Callable[[bytes], object], line: bytes) -> object:
    """What is read, or why it is not."""
    try:
        return plain(read(line))
    except ValueError as error:
        return str(error)


@given(values, st.sampled_from([(", ", ": "), (",", ":"), (" , ", " : ")]))
def test_arrays_in_place_of_lists_change_nothing(value: object, separators: tuple[str, str]) -> None:
    line = json.dumps(value, separators=separators).encode()
    assert plain(json_texts._loaded(line.ljust(1 << 16))) == value


@given(st.text(alphabet='0123456789-+.,eE[]{}": token_ids', max_size=30))
def test_what_is_no_json_stays_none(inner: str) -> None:
    """Numbers with zeros in front, signs, missing or doubled commas, lists that break off."""
    line = f'{{"token_ids": [{inner}], "id": "a"}}'.ljust(1 << 16).encode()
    assert outcome(json_texts._loaded, line) == outcome(json.loads, line)


@pytest.mark.parametrize("end", [b"", b"\n", b'\n{"text": "a"}\n'])
@pytest.mark.parametrize("read", [texts_of_json, texts_of_lines])
def test_long_lines_are_read_with_their_neighbours(read, end: bytes) -> None:
    tokens = np.random.default_rng(0).integers(0, 60_000, 20_000)
    line = json.dumps({"id": "x", "token_ids": tokens.tolist(), "run": {"method": "basic"}}).encode() + end
    found = [text for text in read(iter([line[:70_000], line[70_000:]]), "x.json", pytest.fail)]
    assert all(isinstance(text, Text) for text in found)
    assert len(found) == 1 + (end.count(b"\n") == 2)
    assert isinstance(found[0].token_ids, np.ndarray)
    assert np.array_equal(found[0].token_ids, tokens)
    assert (found[0].id, found[0].claims.method) == ("x", "basic")


@pytest.mark.parametrize("blank", ["\x0b", "\x0c", "\xa0"])
def test_only_blanks_of_json_are_blanks(blank: str) -> None:
    line = ('{"token_ids": [' + "12, " * 40_000 + blank + "7]}").encode()
    assert outcome(json_texts._loaded, line) == outcome(json.loads, line)
    assert isinstance(outcome(json_texts._loaded, line), str)


def test_ids_of_another_object_are_not_the_text_s() -> None:
    """However their place is spelled."""
    inner = ", ".join(["12"] * 40_000)
    line = f'{{"a": {{"token_ids": [{inner}]}}, "token_ids": {json_texts._STAND_IN.decode()}}}\n'.encode()
    (found,) = texts_of_lines(iter([line]), "x", pytest.fail)
    assert isinstance(found, Broken)
    assert '"token_ids" must be a list of integers' in found.message


@pytest.mark.parametrize("bad", ["-1", "1.0", "10000000000000000000", "null", '"x"'])
def test_ids_of_long_lists_are_checked(bad: str) -> None:
    line = b'{"token_ids": [' + b"1, " * 40_000 + bad.encode() + b"]}\n"
    (found,) = texts_of_lines(iter([line]), "x", pytest.fail)
    assert isinstance(found, Broken)
    assert '"token_ids" hold' in found.message


def test_memory_is_in_proportion_to_the_tokens() -> None:
    """About 50 bytes for each, as the module of texts says, from the line to the verdict."""
    count = 400_000
    tokens = np.random.default_rng(0).integers(0, 50_000, count)
    line = json.dumps({"token_ids": tokens.tolist()}).encode() + b"\n"
    del tokens

    def chunks() -> Iterator[bytes]:
        for first in range(0, len(line), 1 << 20):
            yield line[first : first + (1 << 20)]

    examiner = Examiner(Options(), Keyring.of(KEY), pytest.fail, lambda _: None)
    # Libraries are imported and tables made before it counts.
    for text in texts_of_lines(iter([b'{"token_ids": [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n']), "x", pytest.fail):
        examiner.examine(text)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        for text in texts_of_lines(chunks(), "x", pytest.fail):
            finding = examiner.examine(text)  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(finding.token_ids) == count
    # And a few pieces of fixed size: a chunk, a block of contexts.
    assert peak < 50 * count + (1 << 23)
