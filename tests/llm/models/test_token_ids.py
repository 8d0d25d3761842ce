"""Ids that are no tokens: columns behind the vocabulary and holes in it are never drawn and have no mass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tests.helpers.tiny import SPECIAL
from tradeoff.decoders import GumbelMax
from tradeoff.kernels import Standard, make_method
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.models.huggingface import next_logits
from tradeoff.llm.models.pair import ModelPair, load_pair, logits_at
from tradeoff.llm.models.token_ids import token_ids
from tradeoff.llm.readback.position_laws import position_laws
from tradeoff.llm.sampling import Sampling
from tradeoff.texts import Prompt

MakeLlama = Callable[..., LlamaForCausalLM]
HOLES = [3, 40, 41, 200]
TOKENS = [*SPECIAL, *sorted(ByteLevel.alphabet())]
#: The first id behind the last token.
END = len(TOKENS) + len(HOLES)


def with_holes() -> PreTrainedTokenizerFast:
    """Every token of the alphabet, at ids that leave the holes out."""
    free = (index for index in range(END) if index not in HOLES)
    tokenizer = Tokenizer(BPE(vocab=dict(zip(TOKENS, free, strict=True)), merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, make_llama: MakeLlama) -> ModelPair:
    """Models with paddings of their own that would say ids which are no tokens more often than any other."""
    folders = []
    for seed, padding in ((0, 5), (1, 16)):
        folder = tmp_path_factory.mktemp("holes")
        model = make_llama(seed=seed, tied=False, width=END + padding)
        with torch.no_grad():
            favoured = model.lm_head.weight[[*HOLES, *range(END, END + padding)]]
            model.lm_head.weight[[*HOLES, *range(END, END + padding)]] = 4 * favoured
        model.save_pretrained(folder)
        with_holes().save_pretrained(folder)
        folders.append(folder)
    return load_pair(*folders, progress=False)


def test_the_ids_of_a_tokenizer() -> None:
    tokenizer = with_holes()
    assert token_ids(tokenizer) == set(range(END)) - set(HOLES)
    assert len(tokenizer) == END - len(HOLES)


def test_the_vocabulary_reaches_to_the_last_token(pair: ModelPair) -> None:
    """Although there are fewer tokens than that; and holes would have been drawn."""
    assert pair.vocabulary_size == END
    ids = torch.arange(5, 30)[None]
    for model in (pair.target, pair.draft_model):
        hidden = model.base_model(ids).last_hidden_state
        plain = torch.softmax(model.lm_head(hidden)[0, :, :END], dim=-1)
        assert float(plain[:, HOLES].sum(-1).mean()) > 0.02


def test_holes_have_no_mass_whoever_asks(pair: ModelPair) -> None:
    """Passes, logits at positions, laws of positions; the other tokens keep their proportions."""
    ids = torch.arange(5, 30)[None]
    real = sorted(set(range(END)) - set(HOLES))
    for model in (pair.target, pair.draft_model):
        hidden = model.base_model(ids).last_hidden_state
        plain = torch.softmax(model.lm_head(hidden)[0][:, real].double(), dim=-1)
        for logits in (
            next_logits(model, ids, 25)[0, :, :END],
            logits_at(model, ids, None, torch.arange(25)[None], END)[0],
        ):
            law = Sampling().probabilities(logits)
            assert float(law[:, HOLES].abs().max()) == 0
            torch.testing.assert_close(law[:, real], plain, atol=1e-6, rtol=0)
    for laws in position_laws(pair, Sampling(), [5, 6], list(range(7, 20)), np.arange(13)):
        assert np.abs(laws[:, HOLES]).max() == 0
        np.testing.assert_allclose(laws.sum(-1), 1, atol=1e-12)


@pytest.mark.parametrize("method", ["basic", "joint-race", "one-race-tree", "standard"])
def test_no_text_has_an_id_that_is_no_token(pair: ModelPair, method: str) -> None:
    """Marked and unmarked; log P is that of plain passes without the holes."""
    chosen = Standard() if method == "standard" else make_method(method, GumbelMax())
    prf = KeyedPrf(Key(b"key of the holes")) if chosen.decoder.marks else None
    settings = EngineSettings(method=chosen, prf=prf, max_tokens=30, ignore_eos=True, seed=1)
    prompts = [Prompt(str(n), "", tuple(range(5, 5 + n))) for n in (2, 9, 4)]
    real = token_ids(pair.tokenizer)
    for text in Engine(pair, settings, 3, probe=False).generate(prompts):
        assert set(text.token_ids) <= real
        ids = torch.tensor([[*text.prompt.token_ids, *text.token_ids]])
        logits = pair.target(ids[:, :-1]).logits[0, -30:, :END].double()
        wanted = torch.log_softmax(logits, -1).gather(-1, ids[0, -30:, None])[:, 0]
        assert float((wanted - torch.tensor(text.log_p)).abs().max()) < 1e-3


def test_a_draft_of_fewer_layers_has_the_same_holes(pair: ModelPair) -> None:
    shorter = load_pair(Path(pair.target_name), "skip:1", progress=False)
    law = Sampling().probabilities(next_logits(shorter.draft_model, torch.arange(5, 12)[None], 1)[..., :END])
    assert float(law[..., HOLES].abs().max()) == 0
