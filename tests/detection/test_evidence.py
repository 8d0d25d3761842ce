"""Evidence: the positions that generation may have watermarked, and the key's numbers there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeoff.decoders import SimplexScores
from tradeoff.detection import evidence as evidence_module
from tradeoff.detection.evidence import Evidence, scored_positions, text_contexts
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import PAD, Prf, Stream
from tradeoff.llm.generation.rows import ContextWindow
from tradeoff.optimal_transport.scores import RandomScores

KEY = Key(b"the key of the evidence tests...")
#: Few words and short contexts, so that contexts come back often.
texts = st.lists(st.integers(0, 2), max_size=40)
functions = st.builds(
    lambda pads, width: VllmPhilox(7, width) if pads else KeyedPrf(KEY, width),
    st.booleans(),
    st.integers(1, 4),
)


def used_at_generation(tokens: list[int], prf: Prf) -> list[tuple[int, int, list[int]]]:
    """(position, token, context) wherever the engine's own bookkeeping allows a watermark."""
    window = ContextWindow(prf.context_width, prf.pads_contexts)
    found = []
    for position, token in enumerate(tokens):
        contexts = window.ahead([])
        if not window.masked(contexts)[0]:
            found.append((position, token, contexts[0].tolist()))
        window.commit([token], [contexts[0].tobytes()])
    return found


@given(texts, functions)
def test_positions_are_those_that_generation_watermarks(tokens, prf):
    """First occurrences of contexts, after the warm-up of a function that does not pad."""
    evidence = Evidence(tokens, prf)
    seen = list(
        zip(evidence.index.tolist(), evidence.tokens.tolist(), evidence.contexts.tolist(), strict=True)
    )
    assert seen == used_at_generation(tokens, prf)
    assert len(evidence) == len(seen)


@given(
    st.lists(st.sampled_from([0, 1, (1 << 32) - 1, (1 << 62) + 1, (1 << 63) - 1, PAD]), max_size=30),
    st.integers(1, 6),
    st.integers(0, 3),
)
def test_first_occurrences_of_any_numbers(tokens, width, warm_up):
    """By the definition, also where the contexts do not fit one machine word."""
    contexts = text_contexts(np.array(tokens, dtype=np.int64), width)
    rows = [tuple(row) for row in contexts.tolist()]
    expected = [i for i in range(warm_up, len(rows)) if rows[i] not in rows[warm_up:i]]
    assert scored_positions(contexts, warm_up).tolist() == expected


@pytest.mark.parametrize("prf", [KeyedPrf(KEY, 2), VllmPhilox(7, 2)], ids=lambda prf: prf.name)
def test_long_texts_are_read_in_pieces(prf, monkeypatch):
    """The same numbers whatever the pieces, of which padded contexts may be a part."""
    tokens = np.random.default_rng(0).integers(0, 40, 500)
    whole = Evidence(tokens, prf)
    monkeypatch.setattr(evidence_module, "_POSITIONS", 3)
    parts = Evidence(tokens, prf)
    assert np.array_equal(parts.contexts, whole.contexts)
    assert np.array_equal(parts.uniform(Stream.DRAFT), whole.uniform(Stream.DRAFT))
    kept = whole.restricted(whole.tokens % 2 == 0)
    assert np.array_equal(kept.uniform(Stream.DRAFT), whole.uniform(Stream.DRAFT)[whole.tokens % 2 == 0])
    if prf.name == KeyedPrf.name:
        assert np.array_equal(parts.coin(), prf.coin(whole.contexts))
        assert np.array_equal(parts.bits(Stream.DRAFT, 70), whole.bits(Stream.DRAFT, 70))
        assert np.array_equal(
            parts.side_information(Stream.DRAFT, 9), whole.side_information(Stream.DRAFT, 9)
        )


def test_positions_of_one_text_by_hand():
    """Width 2 on a b a b a c: contexts ab, ba, ab (again), ba (again); padding adds the two short ones."""
    tokens = [1, 2, 1, 2, 1, 3]
    keyed = Evidence(tokens, KeyedPrf(KEY, 2))
    assert keyed.index.tolist() == [2, 3]
    assert keyed.contexts.tolist() == [[1, 2], [2, 1]]
    assert keyed.tokens.tolist() == [1, 2]
    padded = Evidence(tokens, VllmPhilox(7, 2))
    assert padded.index.tolist() == [0, 1, 2, 3]
    assert padded.contexts.tolist() == [[PAD, PAD], [PAD, 1], [1, 2], [2, 1]]
    assert scored_positions(np.array([[5], [6], [5], [7]]), 1).tolist() == [1, 2, 3]
    # A context of the warm-up is no occurrence: nothing was watermarked there.
    assert scored_positions(np.array([[5], [5], [5]]), 1).tolist() == [1]


@given(texts.filter(len), functions)
def test_numbers_are_those_of_the_function(tokens, prf):
    """Every number equals the function called at that context and token alone."""
    evidence = Evidence(np.array(tokens, dtype=np.uint16), prf)
    for row, (context, token) in enumerate(zip(evidence.contexts, evidence.tokens, strict=True)):
        for stream in (Stream.SHARED, Stream.DRAFT, Stream.TARGET):
            assert evidence.uniform(stream)[row] == prf.uniform(stream, context, np.array([token]))[0]
        if isinstance(prf, KeyedPrf):
            assert evidence.coin()[row] == prf.coin(context)


def test_streams_do_not_mix_whatever_the_order_of_questions():
    """Numbers are kept once computed: a second question about another stream gets its own."""
    tokens = np.arange(60)
    one, other = Evidence(tokens, KeyedPrf(KEY)), Evidence(tokens, KeyedPrf(KEY))
    first = {stream: one.uniform(stream).copy() for stream in Stream}
    for stream in reversed(Stream):
        np.testing.assert_array_equal(other.uniform(stream), first[stream])
        np.testing.assert_array_equal(one.uniform(stream), first[stream])
    assert len({values.tobytes() for values in first.values()}) == len(Stream)


@pytest.mark.parametrize("rounds", [1, 30, 63, 64, 65, 130])
def test_bits_are_those_of_the_words(rounds):
    """Round l is bit l mod 64 of word l // 64."""
    prf = KeyedPrf(KEY, 3)
    evidence = Evidence(np.arange(50) % 17, prf)
    bits = evidence.bits(Stream.DRAFT, rounds)
    assert bits.shape == (len(evidence), rounds)
    assert bits.dtype == np.int8
    for row, (context, token) in enumerate(zip(evidence.contexts, evidence.tokens, strict=True)):
        words = [int(prf.bits(Stream.DRAFT, context, np.array([token]), k)[0]) % 2**64 for k in range(3)]
        assert bits[row].tolist() == [words[k // 64] >> k % 64 & 1 for k in range(rounds)]


@pytest.mark.parametrize(
    "scores", [RandomScores("gamma", 50), SimplexScores(4), SimplexScores(2, 3)], ids=lambda s: s.name
)
def test_scores_are_those_of_the_table_at_the_side_information(scores, monkeypatch):
    """Position by position; rows are read in blocks, the fewer at a time the longer, which do not show."""
    monkeypatch.setattr(evidence_module, "_BLOCK", 100)
    prf = KeyedPrf(KEY, 2)
    evidence = Evidence(np.arange(40) ** 2 % 23, prf)
    read, honest = [], Evidence.score_rows
    monkeypatch.setattr(Evidence, "score_rows", lambda *args: read.append(len(args[2])) or honest(*args))
    table = scores.rows(np.arange(23), prf)
    for stream in (Stream.DRAFT, Stream.SHARED):
        side = prf.side_information(stream, evidence.contexts, scores.k)
        np.testing.assert_array_equal(evidence.side_information(stream, scores.k), side)
        np.testing.assert_array_equal(evidence.score(stream, scores), table[evidence.tokens, side])
        for token, s, rank in zip(evidence.tokens, side, evidence.rank(stream, scores), strict=True):
            ordered = sorted(range(scores.k), key=lambda v: (table[token, v], v))
            assert rank == ordered.index(s)
    assert max(read) == min(len(evidence), 100 // scores.k)


@pytest.mark.parametrize("tokens", [0, 20])
def test_what_a_function_lacks_is_never_a_number(tokens):
    """Asked for again, it is refused again."""
    evidence = Evidence(range(tokens), VllmPhilox(7, 2))
    for _ in range(2):
        with pytest.raises(ValueError, match="does not define tournament bits"):
            evidence.bits(Stream.SHARED, 3)
        with pytest.raises(ValueError, match="does not define a stream 'acceptance'"):
            evidence.uniform(Stream.ACCEPTANCE)
        with pytest.raises(ValueError, match="does not define an acceptance coin"):
            evidence.coin()


def test_functions_without_side_information_say_so():
    evidence = Evidence(range(20), VllmPhilox(7, 2))
    with pytest.raises(ValueError, match="does not define side information"):
        evidence.score(Stream.SHARED, SimplexScores(4))
    with pytest.raises(ValueError, match="does not define scores"):
        evidence.score_rows(RandomScores("gamma", 8), np.arange(3))


@pytest.mark.parametrize("tokens", [[], [1], [1, 2, 3], [1, 2, 3, 4]], ids=len)
def test_texts_too_short_to_carry_a_watermark(tokens):
    """With fewer tokens than the context and one more, nothing counts, and all numbers are empty."""
    evidence = Evidence(tokens, KeyedPrf(KEY, 4), "d" * len(tokens))
    assert len(evidence) == 0
    assert evidence.uniform(Stream.SHARED).shape == evidence.coin().shape == evidence.drafted.shape == (0,)
    assert evidence.bits(Stream.SHARED, 5).shape == (0, 5)
    assert evidence.score(Stream.SHARED, SimplexScores(3)).shape == (0,)
    assert evidence.rank(Stream.SHARED, SimplexScores(3)).shape == (0,)


def test_sources_at_the_positions_that_count():
    evidence = Evidence([1, 2, 1, 2, 1, 3, 4], KeyedPrf(KEY, 2), "bdrddrd")
    assert evidence.index.tolist() == [2, 3, 6]
    assert evidence.drafted.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("tokens", "sources", "message"),
    [
        ([1, -1, 2], None, "hold -1"),
        ([1.0, 2.0], None, "float64"),
        ([True, False], None, "bool"),
        ([[1, 2]], None, "shape"),
        (np.array([1 << 63], dtype=np.uint64), None, "below 2\\^63"),
        ([1, 2], "d", "sources name 1"),
        ([1, 2], "ddd", "sources name 3"),
    ],
)
def test_bad_input_is_refused(tokens, sources, message):
    with pytest.raises(ValueError, match=message):
        Evidence(tokens, KeyedPrf(KEY), sources)


def test_sources_are_needed_by_the_oracle_alone():
    evidence = Evidence(range(9), KeyedPrf(KEY))
    assert np.all(evidence.uniform(Stream.DRAFT) > 0)
    with pytest.raises(ValueError, match="pass sources"):
        _ = evidence.drafted


def test_a_restricted_text_keeps_the_numbers_of_the_positions_that_still_count() -> None:
    prf = KeyedPrf(Key(b"restricted evidence"))
    evidence = Evidence(np.arange(40), prf, "db" * 20)
    keep = np.arange(len(evidence)) % 3 == 0
    part = evidence.restricted(keep)
    np.testing.assert_array_equal(part.index, evidence.index[keep])
    for stream in (Stream.SHARED, Stream.DRAFT):
        np.testing.assert_array_equal(part.uniform(stream), evidence.uniform(stream)[keep])
        np.testing.assert_array_equal(part.bits(stream, 70), evidence.bits(stream, 70)[keep])
        scores = RandomScores("gamma", 20)
        np.testing.assert_array_equal(part.rank(stream, scores), evidence.rank(stream, scores)[keep])
    np.testing.assert_array_equal(part.coin(), evidence.coin()[keep])
    np.testing.assert_array_equal(part.drafted, evidence.drafted[keep])
    assert len(part) == keep.sum() < len(evidence)
