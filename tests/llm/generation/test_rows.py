"""Rows: which contexts are masked, where a text ends, where its randomness comes from."""

from __future__ import annotations

import numpy as np
import pytest

from tradeoff.keyed import parse_prf
from tradeoff.keyed.prf import PAD
from tradeoff.llm.generation.rows import ContextWindow, Row, Step, TrueRandomness
from tradeoff.texts.prompts import Prompt


def emit(window: ContextWindow, tokens: list[int], drafts: list[int] | None = None) -> list[bool]:
    """Look ahead along `drafts`, emit `tokens`, and return the masks of all positions looked at."""
    contexts = window.ahead(tokens[:-1] if drafts is None else drafts)
    masks = window.masked(contexts)
    window.commit(tokens, [context.tobytes() for context in contexts[: len(tokens)]])
    return masks


def test_contexts_are_the_tokens_before_each_position() -> None:
    """Generated tokens only, oldest first, with PAD where there are too few."""
    window = ContextWindow(3, pads=True)
    np.testing.assert_array_equal(window.ahead([]), [[PAD, PAD, PAD]])
    emit(window, [7, 8])
    np.testing.assert_array_equal(window.ahead([5, 6]), [[PAD, 7, 8], [7, 8, 5], [8, 5, 6]])
    emit(window, [5, 6, 4, 3])
    np.testing.assert_array_equal(window.ahead([2]), [[6, 4, 3], [4, 3, 2]])


def test_short_contexts_are_masked_unless_padded() -> None:
    """The first `width` positions go without a watermark, whatever the split into steps."""
    for steps in ([[1, 2, 3, 4]], [[1], [2, 3], [4]]):
        masks = {
            pads: [mask for step in steps for mask in emit(window, step)]
            for pads in (False, True)
            for window in [ContextWindow(2, pads)]
        }
        assert masks == {False: [True, True, False, False], True: [False] * 4}


def test_a_context_is_marked_once_a_text() -> None:
    """A context that occurred before is masked, within one look-ahead and across steps."""
    window = ContextWindow(1, pads=True)
    # Contexts: PAD, 4, 4, 5.
    assert emit(window, [4, 4, 5, 6]) == [False, False, True, False]
    # Contexts: 6, 5 (used by the step before), 7.
    assert emit(window, [5, 7, 8]) == [False, True, False]


def test_rejected_positions_do_not_count_as_used() -> None:
    """A context that only a rejected look-ahead position had is still free."""
    window = ContextWindow(1, pads=True)
    # Looks at PAD, 4, 5; the second draft is rejected: position 2, of context 5, never comes to pass.
    assert emit(window, [4, 9], drafts=[4, 5]) == [False, False, False]
    # Contexts 9, 5, 4: the last one was used.
    assert window.masked(window.ahead([5, 4])) == [False, False, True]


def test_looking_ahead_changes_nothing() -> None:
    """`ahead` and `masked` give the same answers when asked again."""
    window = ContextWindow(1, pads=True)
    emit(window, [4, 5])
    answers = [window.masked(window.ahead([6, 6, 4])) for _ in range(2)]
    assert answers[0] == answers[1] == [False, False, True, True]


def make_row(limit: int = 10, eos: frozenset[int] = frozenset(), prompt: tuple[int, ...] = (1, 2)) -> Row:
    made = Prompt("p", "", prompt)
    return Row(made, TrueRandomness(0, made), ContextWindow(1, True), limit, eos, 0.0)


def step(tokens: list[int], row: Row) -> Step:
    contexts = row.window.ahead(tokens[:-1])
    count = len(tokens)
    return Step(
        tokens=tokens,
        sources="d" * (count - 1) + "b",
        contexts=[context.tobytes() for context in contexts],
        masked=row.window.masked(contexts),
        accepted=count - 1,
        log_p=[-float(token) for token in tokens],
        log_p_model=[-2.0 * token for token in tokens],
        entropy=[0.5] * count,
        overlap=[0.25] * (count - 1) + [None],
        efficiency=[0.125] * (count - 1) + [None],
    )


@pytest.mark.parametrize(
    ("limit", "eos", "tokens", "finish"),
    [
        (10, {9}, [4, 9], "eos"),
        (10, {3, 5}, [4, 9, 5], "eos"),
        (1, set(), [4], "length"),
        (2, {9}, [4, 9], "eos"),
        (3, set(), [4, 9, 5], "length"),
    ],
)
def test_a_text_ends_inside_a_step(limit: int, eos: set[int], tokens: list[int], finish: str) -> None:
    """Tokens after the end are dropped, with all that is recorded a token.

    `accepted` counts the drafts that were accepted, but not those that the text had no room for.
    """
    row = make_row(limit, frozenset(eos))
    row.emit(step([4, 9, 5, 6], row))
    text = row.result(1.0, measured=True)
    count = len(tokens)
    assert (row.finish, text.finish, text.token_ids) == (finish, finish, tokens)
    assert text.accepted == [min(3, limit)]
    assert text.sources == "ddd"[:count]
    assert text.log_p == [-float(token) for token in tokens]
    assert text.log_p_model == [-2.0 * token for token in tokens]
    assert (text.entropy, text.overlap, text.efficiency) == ([0.5] * count, [0.25] * count, [0.125] * count)


def test_unmarked_counts_what_was_kept() -> None:
    """Masked positions after the end do not count."""
    row = make_row(limit=3)
    # Contexts PAD, 4, 4, 4: of the two repeats, one is beyond the limit.
    row.emit(step([4, 4, 4, 4], row))
    assert row.result(0.0, measured=False).unmarked == 1
    assert row.result(0.0, measured=False).entropy is None


def test_last_tokens() -> None:
    """The last tokens reach into the prompt; beyond its start the first one is repeated."""
    row = make_row()
    row.emit(step([7, 8, 9], row))
    assert row.length == 5
    assert [row.last(count) for count in (1, 3, 4, 5, 7)] == [
        [9],
        [7, 8, 9],
        [2, 7, 8, 9],
        [1, 2, 7, 8, 9],
        [1, 1, 1, 2, 7, 8, 9],
    ]


def test_true_randomness_depends_on_seed_and_prompt_tokens_alone() -> None:
    """Equal for another name of the same tokens; different for every other seed, prompt or position."""
    first = TrueRandomness(3, Prompt("a", "x", (1, 2))).at(5).random(4)
    np.testing.assert_array_equal(TrueRandomness(3, Prompt("b", "y", (1, 2))).at(5).random(4), first)
    others = [(4, (1, 2), 5), (3, (2, 1), 5), (3, (1, 2, 0), 5), (3, (1,), 5), (3, (1, 3), 5), (1, (2,), 5)]
    others += [(3, (1, 2), position) for position in (0, 4, 6, 256 + 5)]
    draws = [TrueRandomness(seed, Prompt("a", "x", ids)).at(t).random() for seed, ids, t in others]
    assert len({first[0], *draws}) == len(others) + 1


def test_a_position_has_the_same_numbers_whenever_it_is_asked_for() -> None:
    """Also after others were asked for, and after its own were drawn from."""
    source = TrueRandomness(0, Prompt("a", "", (1,)))
    first = source.at(2).random(3)
    source.at(0).random(9)
    np.testing.assert_array_equal(source.at(2).random(3), first)


@pytest.mark.parametrize("name", ["", ":none", ":all", ":history=3", ":all,history=3"])
def test_contexts_are_masked_as_vllm_documents(name: str) -> None:
    """`deduplicate_contexts` and its max_history by their words, for texts of three tokens: which of the
    positions before have the same context; of `all` the prompt's as well, and no short context is marked."""
    prf = parse_prf(f"vllm-philox-v1{name}", 5, 2)
    history = 3 if "history" in name else None
    rng = np.random.default_rng(0)
    for _ in range(60):
        prompt, text = ([int(i) for i in rng.integers(0, 3, size)] for size in (rng.integers(0, 7), 12))
        window, masks, done = ContextWindow.of(prf, prompt), [], 0
        while done < len(text):
            step = text[done : done + int(rng.integers(1, 4))]
            masks += emit(window, step)
            done += len(step)
        everything = [*([PAD] * 2), *(prompt if "all" in name else ()), *text]
        begin = len(everything) - len(text)
        expected = []
        for here in range(begin, len(everything)):
            own = [*([PAD] * 2), *text][here - begin : here - begin + 2]
            earlier = [j for j in range(2, here) if everything[j - 2 : j] == own]
            near = [j for j in earlier if history is None or here - j <= history]
            short = "all" in name and here - begin < 2
            expected.append(short or (bool(near) and name != ":none"))
        assert masks == expected


@pytest.mark.parametrize(
    "settings", ["", "some", "none,history=3", "history=0", "history=-1", "all,", "all,none"]
)
def test_other_settings_of_contexts_are_refused(settings: str) -> None:
    with pytest.raises(ValueError, match="has settings that are none; write vllm-philox-v1:none"):
        parse_prf(f"vllm-philox-v1:{settings}", 5)
