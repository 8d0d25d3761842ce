"""Caches of single rows: whatever is fed, rolled back or moved, logits are those of a full pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tests.llm.models.families import Case, drawn_wrongly, tiny
from tradeoff.llm.generation import recurrent as module
from tradeoff.llm.generation.recurrent import RecurrentFeeder, reads_pieces
from tradeoff.llm.generation.slots import Feeder, make_feeder

N = 96
#: One that goes on by a single token only, one that does so by several, one with attention beside its state.
TOKENWISE, PIECEWISE = Case("mamba"), Case("lfm2", {"layer_types": ["conv", "full_attention", "conv"]})
_STATES = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_chunk_size": 16}
HYBRID = Case("falcon_h1", _STATES | {"mamba_d_ssm": 128})
TOLERANCE = 1e-3


@torch.inference_mode()
def full(model: PreTrainedModel, tokens: list[int], keep: int = 1) -> torch.Tensor:
    return torch.log_softmax(model(torch.tensor([tokens])).logits[0, -keep:, :N], dim=-1)


def off(logits: torch.Tensor, reference: torch.Tensor) -> float:
    return float((torch.log_softmax(logits, dim=-1) - reference).abs()[reference > -16].max())


def some(case: Case, rounds: int, dtype: torch.dtype = torch.float32) -> None:
    """Rows of unequal lengths, fed, rolled back by unequal counts, and moved."""
    model, rng, slots = tiny(case).to(dtype), np.random.default_rng(0), 3
    feeder = make_feeder(model, slots, N)
    assert isinstance(feeder, RecurrentFeeder)
    texts = [list(map(int, rng.integers(3, N, length))) for length in (1, 7)]
    moves = 0
    for _ in range(rounds):
        ahead = int(rng.integers(0, 4))
        drafts = rng.integers(3, N, (len(texts), ahead))
        lengths = np.array([len(text) for text in texts])
        m = int((lengths - feeder.filled[: len(texts)]).max())
        lines = [[text[0]] * max(0, m - len(text)) + text[-m:] for text in texts]
        tokens = np.concatenate([np.array(lines, dtype=np.int64), drafts], axis=1)
        where = np.maximum(lengths[:, None] - m + np.arange(m + ahead), 0)
        logits = feeder.logits(0, tokens, where, ahead + 1)
        assert logits.shape == (len(texts), ahead + 1, N)
        for b, text in enumerate(texts):
            line = [*text, *map(int, drafts[b])]
            assert off(logits[b], full(model, line, ahead + 1)) < TOLERANCE
            accepted = int(rng.integers(0, ahead + 1))
            feeder.filled[b] = len(text) + accepted
            texts[b] = [*line[: len(text) + accepted], int(rng.integers(3, N))]
        if rng.random() < 0.4 and len(texts) > 1:
            feeder.move(len(texts) - 1, 0)
            texts[0] = texts.pop()
            moves += 1
        elif len(texts) < slots:
            # Padded on the right, as prompts are admitted beside longer ones.
            new, first = list(map(int, rng.integers(3, N, int(rng.integers(2, 9))))), len(texts)
            feeder.logits(first, np.array([[*new[:-1], 0, 0]]), np.arange(len(new) + 1)[None], 1)
            feeder.filled[first] = len(new) - 1
            texts.append(new)
    assert moves > 2


@pytest.mark.parametrize("case", [TOKENWISE, PIECEWISE], ids=str)
def test_ragged_rows_give_the_logits_of_full_passes(case: Case) -> None:
    some(case, 14)


@pytest.mark.slow
@pytest.mark.parametrize("case", [TOKENWISE, PIECEWISE, HYBRID], ids=str)
def test_more_ragged_rows_give_the_logits_of_full_passes(case: Case) -> None:
    """In float64: over long texts a scan and its steps round apart in float32, by 2e-3 nats of Mamba."""
    some(case, 80, torch.float64)


def test_what_goes_on_by_several_tokens() -> None:
    """The scan of Mamba forgets its state where several tokens come at once; a convolution does not. So the
    probe asks nothing about pieces of a model that is fed token by token, and it is right all the same."""
    tokenwise, piecewise = tiny(TOKENWISE), tiny(PIECEWISE)
    assert (reads_pieces(tokenwise), reads_pieces(piecewise)) == (False, True)
    text = list(range(5, 17))

    def forgotten(feeder: RecurrentFeeder) -> float:
        feeder.logits(0, np.array([text[:6]]), np.arange(6)[None], 1)
        logits = feeder.logits(0, np.array([text[6:]]), np.arange(6, 12)[None], 6)
        return off(logits[0], full(tokenwise, text, 6))

    assert forgotten(RecurrentFeeder(tokenwise, 1, N)) < TOLERANCE
    wrong = RecurrentFeeder(tokenwise, 1, N)
    wrong._pieces = True
    assert forgotten(wrong) > 10 * TOLERANCE


def test_nothing_is_read_twice_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt in one pass, then a pass a token; after a rejection a copy goes on where the drafts began."""
    passes: list[int] = []
    plain = module._read

    def counted(model, tokens, *rest):
        passes.append(len(tokens))
        return plain(model, tokens, *rest)

    monkeypatch.setattr(module, "_read", counted)
    model = tiny(TOKENWISE)
    reads_pieces(model)
    passes.clear()
    feeder = RecurrentFeeder(model, 1, N)
    feeder.logits(0, np.array([[5, 6, 7, 8]]), np.arange(4)[None], 1)
    feeder.logits(0, np.array([[9, 10, 11]]), np.arange(4, 7)[None], 3)
    assert passes == [4, 1, 1, 1]
    # 10 was rejected for 12; 8 and 9 are fed once more, and not read.
    logits = feeder.logits(0, np.array([[8, 9, 12]]), np.arange(3, 6)[None], 1)
    assert passes == [4, 1, 1, 1, 1]
    assert off(logits[0], full(model, [5, 6, 7, 8, 9, 12])) < TOLERANCE


def test_after_a_rejection_pieces_read_the_accepted_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with what is new while they are few, and before it when they are many."""
    passes: list[int] = []
    plain = module._read
    model = tiny(PIECEWISE)
    reads_pieces(model)
    monkeypatch.setattr(
        module, "_read", lambda m, tokens, *rest: passes.append(len(tokens)) or plain(m, tokens, *rest)
    )
    feeder, text = RecurrentFeeder(model, 1, N), [5, 6, 7, 8]
    feeder.logits(0, np.array([text]), np.arange(4)[None], 1)
    for token in range(20, 44):
        # Always the first of two is kept.
        where = np.arange(len(text), len(text) + 2)[None]
        logits = feeder.logits(0, np.array([[token, 3]]), where, 1)
        text.append(token)
        assert off(logits[0], full(model, [*text, 3])) < TOLERANCE
    assert passes[:4] == [4, 2, 3, 4]
    assert max(passes) <= module._MOST_REPEATED + 2
    assert sum(passes) < 24 * (module._MOST_REPEATED / 2 + 4)


def test_slots_refuse_such_models_and_states_refuse_trees() -> None:
    """By name, each with a reason."""
    model = tiny(PIECEWISE)
    with pytest.raises(ValueError, match="Lfm2ForCausalLM keeps state that cannot be rolled back"):
        Feeder(model, 1, N)
    where = np.arange(3)[None]
    with pytest.raises(
        ValueError, match="Lfm2ForCausalLM keeps state that cannot branch; use a method without"
    ):
        RecurrentFeeder(model, 1, N).logits(0, np.array([[5, 6, 7]]), where, 1, slots=where)


@pytest.mark.parametrize("method", ["basic", "one-race"])
def test_engines_draw_from_plain_passes(method: str) -> None:
    """Recorded log P of texts, without speculation and with it, alone and two at a time."""
    for case in (TOKENWISE, PIECEWISE):
        assert drawn_wrongly(case, 2, method, 20) < TOLERANCE
