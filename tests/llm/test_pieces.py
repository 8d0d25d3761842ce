"""Pieces of a text that grows: whole words and stop strings, and together all of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tradeoff as td
from tests.llm.test_api_generate import KEY, N
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.pieces import Pieces


def decode(tokens: list[int]) -> str:
    """Tokens are bytes."""
    return bytes(tokens).decode("utf-8", "replace")


def shown(rounds: list[bytes], stop: tuple[str, ...] = ()) -> list[str]:
    pieces = Pieces(decode, stop)
    return [*(pieces.feed(list(one)) for one in rounds), pieces.end()]


@given(st.lists(st.binary(max_size=4), max_size=40), st.lists(st.text("ab \n", min_size=1), max_size=2))
def test_pieces_together_are_the_text(rounds: list[bytes], stop: list[str]) -> None:
    """Whatever bytes there are, and wherever rounds end."""
    assert "".join(shown(rounds, tuple(stop))) == decode(list(b"".join(rounds)))


@given(st.text("a é漢🙂\n", max_size=30), st.integers(1, 5))
def test_no_piece_but_the_last_ends_within_a_word_or_a_character(words: str, size: int) -> None:
    told = words.encode()
    *pieces, _ = shown([told[at : at + size] for at in range(0, len(told), size)])
    for piece in pieces:
        assert piece == "" or piece[-1] in " \n漢🙂"


def test_words_that_do_not_end_are_shown_in_parts() -> None:
    pieces = shown([b"a" * 50, b"a" * 50, b"a"])
    assert pieces == ["", "a" * 100, "a", ""]


@pytest.mark.parametrize("rounds", [[b"one ", b"EN", b"D OF", b" ALL!"], [b"one END OF ALL!"]])
def test_a_stop_string_stands_in_one_piece(rounds: list[bytes]) -> None:
    pieces = shown(rounds, ("END OF ALL", "never"))
    assert [piece for piece in pieces if piece] == ["one ", "END OF ALL!"]


def test_what_may_become_a_stop_string_is_shown_once_it_does_not() -> None:
    assert shown([b"one two ", b"three "], ("two four",)) == ["one ", "two three ", ""]


def test_words_that_are_taken_back_are_told() -> None:
    pieces = Pieces(lambda tokens: "one two " if len(tokens) < 3 else "another text ")
    assert (pieces.feed([1, 2]), pieces.rewritten) == ("one two ", False)
    assert (pieces.feed([3]), pieces.end(), pieces.rewritten) == ("", "", True)


def test_generate_tells_tokens_as_rounds_end_and_ends_where_its_caller_does(
    make_pair: Callable[..., ModelPair],
) -> None:
    """Together they are the tokens of the texts, which are those that nobody looked on at."""
    pair, told = make_pair(N), dict[str, list[list[int]]]()
    how = {"pair": pair, "tokens": 24, "ignore_eos": True, "probe": False, "samples": 2, "note": [].append}
    texts = td.generate(
        ["the sea"],
        td.Scheme.of(),
        KEY,
        emitted=lambda prompt, tokens: told.setdefault(prompt.id, []).append(tokens),
        **how,
    )
    alone = td.generate(["the sea"], td.Scheme.of(), KEY, **how)
    assert [text.token_ids for text in texts] == [text.token_ids for text in alone]
    for text in texts:
        assert tuple(token for part in told[text.id] for token in part) == text.token_ids
        assert len(told[text.id]) > 1

    class Enough(Exception):
        pass

    seen: list[int] = []

    def once(_: object, tokens: list[int]) -> None:
        seen.append(len(tokens))
        raise Enough

    with pytest.raises(Enough):
        td.generate(["the sea"], td.Scheme.of(), KEY, emitted=once, **how)
    assert len(seen) == 1
    with pytest.raises(ValueError, match="emitted is for this process alone"):
        td.generate(["the sea"], td.Scheme.of(), KEY, workers=1, emitted=once)
