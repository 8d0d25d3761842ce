"""The look-ahead that is chosen: most tokens a second, by what is accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tradeoff as td
from tests.helpers.texts import PRF, MakePair, N, some_prompts
from tradeoff.decoders import GumbelMax, Identity
from tradeoff.errors import FileError
from tradeoff.kernels import Basic, JointRace, JointRaceTree, KeepStrength, Verify
from tradeoff.llm import lookahead
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.lookahead import Lookahead, best_lookahead
from tradeoff.llm.models.ngram import NgramDraft
from tradeoff.texts import Prompt


def settings_of(**more: object) -> EngineSettings:
    chosen = {"method": JointRace(), "prf": PRF, "max_tokens": 40, "ignore_eos": True} | more
    return EngineSettings(**chosen)  # type: ignore[arg-type]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Lets a round with k drafts take `base + k * step` seconds."""

    def take(base: float, step: float) -> None:
        passed = [0.0]
        honest = lookahead.Speculator.round

        def timed(self, rows):
            passed[0] += base + step * self.lookahead
            honest(self, rows)

        monkeypatch.setattr(lookahead.Speculator, "round", timed)
        monkeypatch.setattr(Engine, "now", lambda self: passed[0])

    return take


@pytest.mark.parametrize("method", [JointRace(), KeepStrength(GumbelMax()), JointRaceTree(width=2)])
def test_the_choice_has_most_tokens_a_second(method, clock, make_pair: MakePair) -> None:
    clock(1.0, 0.2)
    found = best_lookahead(make_pair(N), settings_of(method=method), some_prompts(6), 4)
    assert found.seconds == pytest.approx([1.0 + 0.2 * k for k in range(1, 9)])
    assert all(a <= b + 1e-12 for a, b in zip(found.tokens, found.tokens[1:], strict=False))
    assert 1 < found.tokens[0] <= 2
    rates = np.array(found.tokens) / np.array(found.seconds)
    assert found.best == 1 + int(rates.argmax())
    assert found.describe().startswith(f"lookahead {found.best}: ")


def test_free_drafts_are_all_taken_and_dear_ones_are_not(clock, make_pair: MakePair) -> None:
    pair = make_pair(N)
    clock(1.0, 0.0)
    assert best_lookahead(pair, settings_of(), some_prompts(6), 4).best == 8
    clock(0.0, 1.0)
    assert best_lookahead(pair, settings_of(), some_prompts(6), 4).best == 1


def test_expected_tokens_are_those_of_runs(make_pair: MakePair) -> None:
    """Of rounds with K = 1 and 6 over many texts, within four standard errors of both."""
    pair = make_pair(N, seed=3)
    prompts = [Prompt(f"p{k}", "", (k % N, k // N % N, k // N**2)) for k in range(300)]
    settings = settings_of(max_tokens=32)
    found = best_lookahead(pair, settings, prompts, 300)
    for k in (1, 6):
        engine = Engine(pair, replace(settings, lookahead=k), 300)
        # The pilot's own steps are the first of texts, and their mean given drafts.
        sizes = np.array([text.accepted[0] + 1 for text in engine.generate(prompts)])
        error = sizes.std() / np.sqrt(len(sizes))
        assert abs(sizes.mean() - found.tokens[k - 1]) < 4 * np.sqrt(2) * error
        assert min(abs(sizes.mean() - other) for other in found.tokens[4:]) > 4 * error or k == 6


def test_rounds_without_drafts_count_with_their_times(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drafts that are found in one round of four, and dear: most rounds take the same time for every K, and
    none the less a long look-ahead is the slower one."""
    pair = replace(make_pair(N), draft=NgramDraft(1), draft_name="ngram:1")
    honest, passed, calls = lookahead.Speculator._look_up, [0.0], [0]

    def look_up(self, rows):
        calls[0] += 1
        levels, drafted = honest(self, rows)
        passed[0] += 1.0
        if calls[0] // 3 % 4:
            return [], np.zeros_like(drafted)
        passed[0] += 4.0 * len(levels)
        return levels, drafted

    monkeypatch.setattr(lookahead.Speculator, "_look_up", look_up)
    monkeypatch.setattr(Engine, "now", lambda self: passed[0])
    found = best_lookahead(pair, settings_of(max_tokens=80), some_prompts(8), 1)
    assert found.seconds[-1] > found.seconds[0] + 2
    assert found.best == 1


def test_memory_that_runs_out_halves_the_batch(make_pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, said = lookahead.Speculator.round, []

    def round_(self, rows):
        if len(rows) > 1:
            raise torch.OutOfMemoryError("all of it")
        honest(self, rows)

    monkeypatch.setattr(lookahead.Speculator, "round", round_)
    found = best_lookahead(make_pair(N), settings_of(), some_prompts(6), 4, report=said.append)
    assert 1 <= found.best <= 8
    assert any("out of memory while choosing a lookahead: going on with 1 texts at a time" in s for s in said)


def test_candidates_beside_the_drafts_must_fit(make_pair: MakePair) -> None:
    """A tree of 3 in a window that has room for K = 4: 20 + 24 tokens, and 2 a level."""
    pair = make_pair(N, positions=53)
    settings = settings_of(method=JointRaceTree(width=3), max_tokens=24)
    found = best_lookahead(pair, settings, [Prompt("p", "", (1,) * 20)], 1, probe=False)
    assert len(found.tokens) == 4


def test_looked_up_drafts_have_a_choice_too(make_pair: MakePair) -> None:
    pair = replace(make_pair(N), draft=NgramDraft(1), draft_name="ngram:1")
    found = best_lookahead(pair, settings_of(), some_prompts(5), 2)
    assert 1 <= found.best <= 8
    assert found.tokens[-1] > 1


def test_a_block_of_each_length_is_one_of_its_own(make_pair: MakePair) -> None:
    """Never fewer tokens than one by one, and more of the longer ones."""
    pair, prompts = make_pair(N, seed=3), some_prompts(20)
    blocks = best_lookahead(pair, settings_of(verify=Verify.BLOCK), prompts, 20)
    assert all(a < b for a, b in zip(blocks.tokens, blocks.tokens[1:], strict=False))


def test_short_texts_have_less_to_choose_from(make_pair: MakePair) -> None:
    assert len(best_lookahead(make_pair(N), settings_of(max_tokens=12), some_prompts(3), 2).tokens) == 3
    none = best_lookahead(make_pair(N), settings_of(max_tokens=7), some_prompts(3), 2)
    assert none.best == 3
    assert none.describe() == "lookahead 3: texts of so few tokens leave nothing to measure"


def test_without_drafts_there_is_nothing_to_choose(make_pair: MakePair) -> None:
    with pytest.raises(ValueError, match="lookahead='auto' has nothing to choose, as basic drafts nothing"):
        best_lookahead(make_pair(N), settings_of(method=Basic(Identity())), some_prompts(2), 1)


def test_a_run_that_goes_on_keeps_its_own(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And says which was chosen; another number than `auto` is none."""
    pair, said = make_pair(262), []
    path = tmp_path / "texts.jsonl"

    def run(limit: int) -> int:
        texts = td.generate(
            [("a", "one"), ("b", "two")],
            td.Scheme.of("standard"),
            pair=pair,
            tokens=16,
            lookahead="auto",
            limit=limit,
            ignore_eos=True,
            output=path,
            note=said.append,
            probe=False,
        )
        return texts[0].run.lookahead

    monkeypatch.setattr(lookahead, "best_lookahead", lambda *_, **__: Lookahead(2, (1.5, 1.8), (1.0, 1.1)))
    monkeypatch.setattr("tradeoff.llm.best_lookahead", lookahead.best_lookahead, raising=False)
    assert run(1) == 2
    assert any(line.startswith("lookahead 2: 1.80 tokens a step of 1100 ms") for line in said)
    said.clear()
    monkeypatch.setattr(
        "tradeoff.llm.best_lookahead", lambda *_, **__: pytest.fail("measured again"), raising=False
    )
    assert run(2) == 2
    with pytest.raises(ValueError, match="lookahead='fast' must be a whole number, or 'auto'"):
        td.generate(["x"], td.Scheme.of("standard"), pair=pair, lookahead="fast")
    plain = td.generate(
        ["x"], td.Scheme.of("basic", "none"), pair=pair, lookahead="auto", tokens=2, probe=False
    )
    assert plain[0].run.lookahead == 0


def test_a_file_of_another_run_is_refused_before_anything_is_measured(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of texts without speculation, whose look-ahead of 0 no run with drafts has; the file stays."""
    path, pair = tmp_path / "texts.jsonl", make_pair(262)
    common = {"pair": pair, "tokens": 4, "output": path, "probe": False}
    td.generate([("a", "one")], td.Scheme.of("basic", "none"), **common)
    held = path.read_bytes()
    monkeypatch.setattr(
        "tradeoff.llm.best_lookahead", lambda *_, **__: pytest.fail("measured"), raising=False
    )
    with pytest.raises(FileError, match="is a text of another run"):
        td.generate([("a", "one")], td.Scheme.of("standard"), lookahead="auto", **common)
    assert path.read_bytes() == held
