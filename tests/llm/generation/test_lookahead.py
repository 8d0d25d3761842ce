"""A step drafts no more than is wanted: the texts are those of a look-ahead without end, cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from unittest.mock import patch

import numpy as np
import pytest
from transformers import PreTrainedModel

from tests.helpers.texts import CASES, PRF, MakePair, N, essence, generate, some_prompts
from tradeoff.decoders import GumbelMax
from tradeoff.kernels import Algorithm1, Basic, OneRace, OneRaceTree, Standard
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.texts.prompts import Prompt

LONG = 24


@contextmanager
def passes(model: PreTrainedModel) -> Iterator[list[np.ndarray]]:
    """Positions of the tokens of every forward pass within the block, [rows, tokens] each."""
    seen: list[np.ndarray] = []
    forward = model.forward

    def counted(*args, **kwargs):
        seen.append(kwargs["position_ids"].numpy().copy())
        return forward(*args, **kwargs)

    with patch.object(model, "forward", counted):
        yield seen


def cut(accepted: list[int], longest: int) -> list[int]:
    """What of the accepted drafts of every step lies within the first `longest` tokens."""
    starts = [0, *accumulate(count + 1 for count in accepted)]
    return [
        min(count, longest - start) for count, start in zip(accepted, starts, strict=False) if start < longest
    ]


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if not isinstance(case[0], Basic)],
    ids=lambda c: f"{c[0].name}-{c[0].decoder.name}-{c[1].name if c[1] else 'no key'}-K {c[3]}",
)
def test_a_text_is_the_beginning_of_a_longer_one(case: tuple, make_pair: MakePair) -> None:
    """Whatever its length, method and batch: also the last steps, where the longer one drafts more."""
    method, prf, sampling, lookahead = case
    pair = make_pair(N, seed=1)
    settings = EngineSettings(
        method=method,
        prf=prf,
        sampling=sampling,
        lookahead=max(lookahead, 2),
        max_tokens=LONG,
        seed=2,
        ignore_eos=True,
    )
    prompts = some_prompts(5)
    whole = generate(pair, settings, prompts)
    for longest, batch in ((1, 5), (4, 1), (6, 2), (7, 5)):
        short = generate(pair, replace(settings, max_tokens=longest), prompts, batch)
        for name, text in short.items():
            assert text.token_ids == whole[name].token_ids[:longest]
            assert text.sources == whole[name].sources[:longest]
            assert text.accepted == cut(whole[name].accepted, longest)


@pytest.mark.parametrize("method", [Standard(), OneRace(), OneRaceTree(width=3)], ids=lambda m: m.name)
@pytest.mark.parametrize("batch", [1, 4])
def test_a_lookahead_beyond_the_text_is_one_as_long(method, batch: int, make_pair: MakePair) -> None:
    """Rows that are nearly done beside rows that are not give the same texts as well."""
    pair = make_pair(N, seed=4)
    prompts = some_prompts(6)
    settings = EngineSettings(method=method, prf=PRF, lookahead=8, max_tokens=8, ignore_eos=True)
    bounded = generate(pair, settings, prompts, batch=3)
    endless = generate(pair, replace(settings, lookahead=1000), prompts, batch)
    assert {name: essence(text) for name, text in endless.items()} == {
        name: essence(text) for name, text in bounded.items()
    }
    assert any(len(text.accepted) > 1 for text in bounded.values())


@pytest.mark.parametrize("method", [Algorithm1(GumbelMax()), OneRaceTree(width=2)], ids=lambda m: m.name)
def test_nothing_is_drafted_that_the_text_has_no_room_for(method, make_pair: MakePair) -> None:
    """With 6 tokens and K = 1000: first 6 drafts, then as many as are left after every step."""
    pair = make_pair(N, seed=2)
    settings = EngineSettings(method=method, prf=PRF, lookahead=1000, max_tokens=6, ignore_eos=True)
    engine = Engine(pair, settings, 1, probe=False)
    for prompt in some_prompts(4):
        with passes(pair.draft) as drafted:
            (text,) = engine.generate([prompt])
        wanted = [6 - start for start in accumulate((a + 1 for a in text.accepted[:-1]), initial=0)]
        read = len(prompt.token_ids) > 1
        assert len(drafted) == read + sum(wanted)
        assert sum(wanted) <= 21


def test_a_batch_drafts_what_its_neediest_text_wants(make_pair: MakePair) -> None:
    """Never more than 6 at a time, and no position beyond the longest text is asked about."""
    pair = make_pair(N, seed=2)
    settings = EngineSettings(
        method=OneRaceTree(width=2), prf=PRF, lookahead=1000, max_tokens=6, ignore_eos=True
    )
    prompts = [Prompt(f"p{k}", "", (k, 1, 2, 3, k)) for k in range(3)]
    engine = Engine(pair, settings, 3, probe=False)
    with passes(pair.draft) as drafted, passes(pair.target) as verified:
        texts = list(engine.generate(prompts))
    rounds = max(len(text.accepted) for text in texts)
    assert len({len(text.accepted) for text in texts}) > 1
    assert len(verified) == 1 + rounds
    assert len(drafted) - 1 <= sum(range(6, 6 - rounds, -1))
    assert all(where.max() < 5 + 6 for where in [*drafted, *verified])


def test_the_context_window_holds_what_is_drafted(make_pair: MakePair) -> None:
    """A window that the longest text fills is enough, however far the look-ahead could go."""
    pair = make_pair(N, positions=32)
    settings = EngineSettings(method=OneRace(), prf=PRF, lookahead=1000, max_tokens=12, ignore_eos=True)
    engine = Engine(pair, settings, 2)
    fits = [Prompt("fits", "", (1,) * 20), Prompt("short", "", (2,))]
    with passes(pair.target) as verified:
        assert [len(text.token_ids) for text in engine.generate(fits)] == [12, 12]
    assert max(where.max() for where in verified) < 32
    with pytest.raises(
        ValueError, match="has 21 tokens; with max_tokens=12 that is 33, beyond the context window of 32"
    ):
        engine.check([Prompt("long", "", (1,) * 21)])
    tree = Engine(pair, replace(settings, method=OneRaceTree(width=2)), 2)
    tree.check([Prompt("fits", "", (1,) * 8)])
    with pytest.raises(ValueError, match="max_tokens=12 and 12 other candidates of a tree that is 33"):
        tree.check([Prompt("long", "", (1,) * 9)])
