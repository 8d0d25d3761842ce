"""Slots: whatever is fed, rolled back or moved, logits are those of a full pass over the text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import BloomConfig, Lfm2Config, Lfm2ForCausalLM, LlamaConfig, MistralConfig, PreTrainedModel

from tradeoff.decoders import Identity
from tradeoff.kernels import OneRaceTree, Standard, Verify
from tradeoff.llm.generation.rounds import Speculator
from tradeoff.llm.generation.rows import ContextWindow, Row, TrueRandomness
from tradeoff.llm.generation.slots import Feeder
from tradeoff.llm.models.huggingface import longest_context
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.sampling import Sampling
from tradeoff.texts.prompts import Prompt

N = 8


@torch.inference_mode()
def full(model: PreTrainedModel, tokens: list[int], keep: int = 1) -> torch.Tensor:
    """Logits after the last `keep` tokens: [keep, N]."""
    return model(torch.tensor([tokens])).logits[0, -keep:, :N]


def assert_same(logits: torch.Tensor, reference: torch.Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(logits, reference, rtol=0, atol=tolerance)


# Eager attention takes its softmax in float32.
@pytest.mark.parametrize(("attention", "tolerance"), [("sdpa", 1e-9), ("eager", 1e-5)])
def test_ragged_rows_give_the_logits_of_full_passes(
    make_pair: Callable[..., ModelPair], attention: str, tolerance: float
) -> None:
    """Rows of unequal lengths are fed, rolled back by unequal counts and moved, past two growths."""
    model = make_pair(N, padding=(0, 3), attention=attention).target
    rng = np.random.default_rng(0)
    slots = 4
    feeder = Feeder(model, slots, N)
    texts = [list(rng.integers(0, N, length)) for length in (1, 5, 55, 9)]
    moves = 0
    for _ in range(60):
        ahead = int(rng.integers(0, 4))
        drafts = rng.integers(0, N, (len(texts), ahead))
        lengths = np.array([len(text) for text in texts])
        # As many tokens as the row that lags most has not seen.
        m = int((lengths - feeder.filled[: len(texts)]).max())
        lines = [[text[0]] * max(0, m - len(text)) + text[-m:] for text in texts]
        tokens = np.concatenate([np.array(lines, dtype=np.int64), drafts], axis=1)
        where = np.maximum(lengths[:, None] - m + np.arange(m + ahead), 0)
        logits = feeder.logits(0, tokens, where, ahead + 1)
        assert logits.shape == (len(texts), ahead + 1, N)
        for b, text in enumerate(texts):
            line = [*text, *drafts[b]]
            assert_same(logits[b], full(model, line, ahead + 1), tolerance)
            accepted = int(rng.integers(0, ahead + 1))
            feeder.filled[b] = len(text) + accepted
            texts[b] = [*line[: len(text) + accepted], int(rng.integers(0, N))]
        if rng.random() < 0.3 and len(texts) > 1:
            # One leaves: the last row moves into its slot, and later a new text takes the free slot.
            gone = int(rng.integers(0, len(texts)))
            if gone < len(texts) - 1:
                feeder.move(len(texts) - 1, gone)
                texts[gone] = texts[-1]
                moves += 1
            texts.pop()
        elif len(texts) < slots and rng.random() < 0.5:
            new = list(rng.integers(0, N, int(rng.integers(2, 30))))
            first = len(texts)
            logits = feeder.logits(first, np.array([new[:-1]]), np.arange(len(new) - 1)[None], 1)
            assert_same(logits[0], full(model, new[:-1]), tolerance)
            feeder.filled[first] = len(new) - 1
            texts.append(new)
    assert moves > 3
    assert feeder.cache.layers[0].capacity >= 128


def test_what_stays_is_not_copied(make_pair: Callable[..., ModelPair]) -> None:
    """Rolling back and going on writes into the tensors that are there; a move copies one row alone."""
    feeder = Feeder(make_pair(N).target, 3, N)
    tokens = np.array([[1, 2, 3], [4, 5, 6], [2, 2, 2]])
    feeder.logits(0, tokens, np.broadcast_to(np.arange(3), (3, 3)).copy(), 1)
    layer = feeder.cache.layers[0]
    storage, before = layer.keys.data_ptr(), layer.keys.clone()
    feeder.filled[:] = [1, 2, 3]
    feeder.logits(0, tokens[:, :1], feeder.filled[:, None].copy(), 1)
    assert layer.keys.data_ptr() == storage
    changed = (layer.keys != before).any(dim=3).any(dim=1).nonzero().tolist()
    assert changed == [[0, 1], [1, 2], [2, 3]]
    before = layer.keys.clone()
    feeder.move(2, 0)
    assert layer.keys.data_ptr() == storage
    assert torch.equal(layer.keys[1:], before[1:])
    assert torch.equal(layer.keys[0, :, :3], before[2, :, :3])
    assert feeder.filled[0] == 3


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("lookahead", [1, 3])
def test_a_tree_is_verified_in_one_pass(
    make_pair: Callable[..., ModelPair], width: int, lookahead: int
) -> None:
    """Every node's logits are those of a full pass over the text, the main branch before it, and itself.

    The second row has less room than the others draft: what lies beyond is drafted for nothing, and disturbs
    nothing.
    """
    pair = make_pair(N)
    rng = np.random.default_rng(width)
    method = OneRaceTree(width=width) if width > 1 else Standard(Identity())
    target = Feeder(pair.target, 3, N)
    speculator = Speculator(
        method=method,
        prf=None,
        verify=Verify.TOKEN,
        sampling=Sampling(),
        target=target,
        draft=None,
        lookahead=lookahead,
        vocabulary=N,
        measure=False,
    )
    rows = []
    for b, (length, limit) in enumerate(((1, 99), (6, 2), (13, 99))):
        ids = tuple(map(int, rng.integers(0, N, length)))
        prompt = Prompt("", "", ids)
        window = ContextWindow(1, True)
        rows.append(Row(prompt, TrueRandomness(0, prompt), window, limit, frozenset(), 0.0))
        if length > 1:
            target.logits(b, np.array([ids[:-1]]), np.arange(length - 1)[None], 1)
        target.filled[b] = length - 1
    # The second row has lost two more positions, so the others are fed some tokens once more.
    target.filled[1] -= 2
    for _ in range(2):
        candidates = rng.integers(0, N, (3, lookahead, width))
        logits = speculator._target_logits(rows, candidates)
        assert logits.shape[1] == 1 + lookahead * width
        for b, row in enumerate(rows):
            text = [*row.prompt.token_ids, *row.tokens]
            main = [int(token) for token in candidates[b, :, 0]]
            used = min(lookahead, row.wanted)
            # Behind the last token that is wanted nothing is asked for.
            kept = lookahead + 1 if used == lookahead else used
            assert_same(logits[b, :kept], full(pair.target, [*text, *main], lookahead + 1)[:kept])
            node = lookahead + 1
            for level in range(used):
                for rank in range(1, width):
                    branch = [*text, *main[:level], int(candidates[b, level, rank])]
                    assert_same(logits[b, node : node + 1], full(pair.target, branch))
                    node += 1
        # The next pass must not see what the side branches of this one left behind.
        for b, row in enumerate(rows):
            target.filled[b] = row.length
            row.tokens.append(int(rng.integers(0, N)))


def test_models_with_recurrent_state_are_refused() -> None:
    """A convolution's state cannot be rolled back; the message names the model and the layer."""
    config = Lfm2Config(
        vocab_size=N,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        layer_types=["conv", "full_attention"],
        pad_token_id=0,
    )
    with pytest.raises(ValueError, match="Lfm2ForCausalLM keeps state that cannot be rolled back"):
        Feeder(Lfm2ForCausalLM(config), 1, N)


def test_longest_context() -> None:
    """The model's positions, and not its window; None if none are set."""

    class Holder:
        def __init__(self, config):
            self.config = config

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    llama = LlamaConfig(max_position_embeddings=77, **sizes)
    mistral = MistralConfig(max_position_embeddings=77, sliding_window=33, num_key_value_heads=1, **sizes)
    endless = BloomConfig(hidden_size=16, n_layer=2, n_head=2)
    assert [longest_context(Holder(config)) for config in (llama, mistral, endless)] == [77, 77, None]
