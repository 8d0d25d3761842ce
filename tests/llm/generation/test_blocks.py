"""Blocks in the engine: texts of prompt, key and settings alone, spent contexts, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers.methods import WITHOUT_A_TREE
from tests.helpers.texts import EOS, PRF, MakePair, N, contexts_of, essence, generate, some_prompts
from tradeoff.decoders import GumbelMax
from tradeoff.kernels import (
    Basic,
    JointRace,
    JointRaceTree,
    KeepStrength,
    Method,
    Standard,
    Verify,
)
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.generation.rows import ContextWindow
from tradeoff.llm.run_records import run_settings, text_record
from tradeoff.texts import Prompt, blocks

BLOCKS = [method for method in WITHOUT_A_TREE if method.full_efficiency]


def settings_of(method: Method, **more: object) -> EngineSettings:
    chosen = {"lookahead": 3, "max_tokens": 14, "seed": 1} | more
    return EngineSettings(method=method, prf=PRF, verify=Verify.BLOCK, **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", BLOCKS, ids=lambda m: f"{m.name}-{m.decoder.name}")
def test_texts_do_not_depend_on_batch_size_or_order(method: Method, make_pair: MakePair) -> None:
    """Also near their end, where neighbours draft more than a text has room for."""
    pair, prompts = make_pair(N, eos=EOS), some_prompts(11)
    settings = settings_of(method)
    reference = generate(pair, settings, prompts, batch=11)
    for batch, order in ((1, prompts[3:9]), (4, prompts[::-1])):
        for name, text in generate(pair, settings, order, batch).items():
            assert essence(text) == essence(reference[name])
    assert any(sum(text.accepted) for text in reference.values())


def test_spent_contexts_are_not_marked_again() -> None:
    """Whether emitted or not: their events have decided what was."""
    window = ContextWindow(1)
    contexts = window.ahead([3, 4, 5])
    window.commit([3], [contexts[0].tobytes()], [context.tobytes() for context in contexts[:3]])
    # The next contexts are 3, then, if 4 follows, 4; both have been looked at in vain.
    assert window.masked(window.ahead([4])) == [True, True]
    assert window.masked(window.ahead([6])) == [True, False]


def test_spent_contexts_go_without_a_mark(make_pair: MakePair) -> None:
    """A detector sees fewer repeated contexts than there are unmarked tokens."""
    texts = generate(make_pair(N), settings_of(JointRace(), ignore_eos=True, max_tokens=30), some_prompts(8))
    unmarked = [text.unmarked for text in texts.values()]
    repeated = [int(contexts_of(text.token_ids, PRF)[1].sum()) for text in texts.values()]
    assert all(a >= b for a, b in zip(unmarked, repeated, strict=True))
    assert sum(unmarked) > sum(repeated)


@pytest.mark.parametrize("method", [Basic(GumbelMax()), KeepStrength(GumbelMax()), JointRaceTree(width=2)])
def test_other_methods_have_no_blocks(method: Method) -> None:
    with pytest.raises(
        ValueError, match=f"verify='block' is for methods .* which {method.name} does not; use"
    ):
        settings_of(method)


def test_measured_positions_have_no_expected_acceptance(make_pair: MakePair) -> None:
    settings = settings_of(JointRace(), measure=True, ignore_eos=True)
    for text in generate(make_pair(N), settings, some_prompts(4)).values():
        assert text.efficiency == [None] * len(text.token_ids)
        assert any(value is not None for value in text.overlap or ())


@pytest.mark.parametrize("verify", list(Verify))
@pytest.mark.parametrize("method", [Standard(), JointRace()], ids=lambda m: m.name)
def test_steps_accept_what_is_expected_of_them(method: Method, verify: Verify, make_pair: MakePair) -> None:
    """Of 300 texts: AATPS against the mean given the drafts, within four standard errors, and blocks the
    better rule in the mean."""
    prompts = [Prompt(f"p{k}", "", (k % N, k // N % N, k // N**2)) for k in range(300)]
    settings = replace(settings_of(method, max_tokens=16, measure=True, ignore_eos=True), verify=verify)
    pair = make_pair(N, seed=3)
    run = run_settings(pair, settings)
    texts = generate(pair, settings, prompts, batch=100).values()
    found = blocks([text_record(text, run, "", 100) for text in texts])
    assert abs(found.z) < 4
    assert found.gain.value > 4 * found.gain.standard_error
    assert found.by_block - found.by_token == pytest.approx(found.gain.value, abs=1e-6)


def test_other_methods_expect_nothing(make_pair: MakePair) -> None:
    settings = EngineSettings(method=JointRaceTree(width=2), prf=PRF, measure=True, max_tokens=8)
    for text in generate(make_pair(N), settings, some_prompts(3)).values():
        assert (text.by_token, text.by_block) == (None, None)
