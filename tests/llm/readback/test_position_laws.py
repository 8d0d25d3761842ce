"""The laws at positions of a text are those that its tokens were drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tradeoff.decoders import GumbelMax
from tradeoff.kernels import Basic
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.readback.position_laws import position_laws
from tradeoff.llm.sampling import Sampling
from tradeoff.texts.prompts import Prompt

N = 12
MakePair = Callable[..., ModelPair]
PRF = KeyedPrf(Key(b"the key of texts read back"), 3)
PROMPT = (3, 1, 4)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.7, 8, 0.95)], ids=["plain", "cut"])
def test_the_target_s_law_is_the_one_that_was_sampled_from(make_pair: MakePair, sampling: Sampling) -> None:
    pair = make_pair(N)
    settings = EngineSettings(
        method=Basic(GumbelMax()), prf=PRF, sampling=sampling, max_tokens=30, measure=True, ignore_eos=True
    )
    (text,) = Engine(pair, settings, 1).generate([Prompt("p", "", PROMPT)])
    index = np.array([0, 7, 7, 29])
    p, q = position_laws(pair, sampling, PROMPT, text.token_ids, index)
    assert p.shape == q.shape == (4, N)
    assert p.dtype == q.dtype == np.float64
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-12)
    tokens = np.array(text.token_ids)[index]
    np.testing.assert_allclose(p[np.arange(4), tokens], np.exp(text.log_p)[index], rtol=1e-6)
    np.testing.assert_array_equal(p[1], p[2])


def test_the_draft_s_law_is_the_target_s_of_the_pair_turned_round(make_pair: MakePair) -> None:
    pair = make_pair(N)
    turned = replace(pair, target=pair.draft, draft=pair.target)
    text, index = (5, 6, 7, 8), (1, 3)
    p, q = position_laws(pair, Sampling(0.8), PROMPT, text, index)
    q_again, p_again = position_laws(turned, Sampling(0.8), PROMPT, text, index)
    np.testing.assert_array_equal(p, p_again)
    np.testing.assert_array_equal(q, q_again)
    assert np.abs(p - q).max() > 0.01


def test_no_positions_no_laws(make_pair: MakePair) -> None:
    p, q = position_laws(make_pair(N), Sampling(), PROMPT, (5, 6), ())
    assert p.shape == q.shape == (0, N)


@pytest.mark.parametrize(
    ("prompt", "index", "words"),
    [((), (0,), "prompt_ids"), (PROMPT, (2,), "from 0 to 1"), (PROMPT, (-1,), "-1")],
)
def test_refused(make_pair: MakePair, prompt: tuple, index: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        position_laws(make_pair(N), Sampling(), prompt, (5, 6), index)
