"""Texts read back: the engine's tokens are those that the key determines, and no other key's."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tests.helpers.support import assert_within
from tradeoff.decoders import GumbelMax, Identity, SynthID
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.with_models.model_aware import ModelAware
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    OneRaceTree,
    SingleKey,
    Standard,
    TwoKeys,
)
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Prf
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.generation.rows import GeneratedText
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.readback.replay import Replay, replay
from tradeoff.llm.sampling import Sampling
from tradeoff.texts.prompts import Prompt

N = 12
MakePair = Callable[..., ModelPair]
PRF = KeyedPrf(Key(b"the key of texts read back"), 3)
WRONG = KeyedPrf(Key(b"a key that drew no text here"), 3)
CUT = Sampling(1.3, 8, 0.97)
INFINITE = SynthID(math.inf)
CASES: list[tuple[Method, Prf, Sampling]] = [
    (Basic(GumbelMax()), PRF, Sampling()),
    (Basic(INFINITE), PRF, CUT),
    (KeepStrength(GumbelMax()), PRF, CUT),
    (KeepStrength(INFINITE), PRF, Sampling()),
    (Algorithm1(GumbelMax()), PRF, Sampling()),
    (Algorithm1(INFINITE), PRF, CUT),
    (SingleKey(), PRF, Sampling()),
    (OneRace(), PRF, CUT),
    (OneRace(), VllmPhilox(5, 2), Sampling()),
    (OneRaceTree(width=2), PRF, Sampling()),
]
every_case = pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c[0].name}-{c[0].decoder.name}-{c[1].name}"
)


def generate(pair: ModelPair, case: tuple, texts: int = 4, tokens: int = 60) -> list[GeneratedText]:
    method, prf, sampling = case
    settings = EngineSettings(
        method=method, prf=prf, sampling=sampling, lookahead=3, max_tokens=tokens, seed=1, ignore_eos=True
    )
    rng = np.random.default_rng(2)
    prompts = [Prompt(f"p{i}", "", tuple(map(int, rng.integers(0, N, 1 + 3 * i)))) for i in range(texts)]
    return list(Engine(pair, settings, 4).generate(prompts))


def read(pair: ModelPair, case: tuple, text: GeneratedText, prf: Prf | None = None) -> Replay:
    method, own, sampling = case
    return replay(pair, method, prf or own, sampling, text.prompt.token_ids, text.token_ids)


@every_case
def test_every_token_of_the_key_is_found(case, make_pair: MakePair):
    """Wherever a draft was verified, or always without drafts, the token is the key's.

    Probabilities and entropies are those of the generation, which in float64 differ by rounding alone.
    """
    pair = make_pair(N)
    verified = 0
    for text in generate(pair, case):
        found = read(pair, case, text)
        evidence = Evidence(text.token_ids, case[1])
        assert found.index.tolist() == evidence.index.tolist()
        assert len(found.index) == len(text.token_ids) - text.unmarked
        sources = np.array(list(text.sources))[found.index]
        checked = np.ones(len(sources), bool) if isinstance(case[0], Basic) else sources != "b"
        assert found.hits[checked].all()
        verified += int(checked.sum())
        np.testing.assert_allclose(found.probability, np.exp(text.log_p)[found.index], rtol=1e-9)
        assert ((found.entropy >= 0) & (found.entropy <= math.log(N))).all()
    # More than are replayed at a time.
    assert verified > 100


def test_entropies_are_those_of_the_generation(make_pair: MakePair):
    pair = make_pair(N)
    settings = EngineSettings(
        method=OneRace(),
        prf=PRF,
        sampling=CUT,
        lookahead=3,
        max_tokens=70,
        seed=1,
        ignore_eos=True,
        measure=True,
    )
    (text,) = Engine(pair, settings, 1).generate([Prompt("p", "", (1, 2, 3))])
    found = replay(pair, OneRace(), PRF, CUT, [1, 2, 3], text.token_ids)
    np.testing.assert_allclose(found.entropy, np.array(text.entropy)[found.index], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    "method", [Basic(GumbelMax()), Algorithm1(GumbelMax()), OneRace()], ids=lambda m: m.name
)
def test_a_wrong_key_hits_as_often_as_the_tokens_are_probable(method, make_pair: MakePair):
    """Hits are independent with the probabilities of the tokens: the null law of the model-aware test."""
    pair = make_pair(N)
    case = (method, PRF, Sampling())
    expected = variance = 0.0
    hits = 0
    for text in generate(pair, case, texts=5, tokens=100):
        found = read(pair, case, text, WRONG)
        hits += int(found.hits.sum())
        expected += float(found.probability.sum())
        variance += float((found.probability * (1 - found.probability)).sum())
        right = read(pair, case, text)
        assert ModelAware().test(right.hits, right.probability).log_p < math.log(1e-6)
        assert ModelAware().test(found.hits, found.probability).log_p > math.log(1e-6)
    assert variance > 20
    assert_within(hits, expected, math.sqrt(variance))


def test_another_prompt_still_shows_the_key(make_pair: MakePair):
    """Laws are a little off without the true prompt; one token will do to start from."""
    pair = make_pair(N)
    case = (Basic(GumbelMax()), PRF, Sampling())
    text = generate(pair, case)[3]
    found = replay(pair, case[0], PRF, Sampling(), [0], text.token_ids)
    assert found.hits.mean() > 2 * found.probability.mean()


def test_texts_with_nothing_to_read(make_pair: MakePair):
    for tokens in ([], [1], [1, 2, 3]):
        found = replay(make_pair(N), OneRace(), PRF, Sampling(), [1], tokens)
        assert len(found.index) == len(found.hits) == len(found.probability) == len(found.entropy) == 0
        assert found.hits.dtype == bool


@pytest.mark.parametrize(
    "method",
    [
        Basic(Identity()),
        Basic(SynthID(5)),
        Standard(),
        KeepStrength(SynthID(5)),
        KeepEfficiency(GumbelMax()),
        TwoKeys(GumbelMax()),
        Algorithm1(SynthID(5)),
    ],
    ids=lambda m: f"{m.name}-{m.decoder.name}",
)
def test_methods_that_leave_tokens_to_chance_are_refused(method, make_pair: MakePair):
    with pytest.raises(ValueError, match="leaves tokens to true randomness"):
        replay(make_pair(N), method, PRF, Sampling(), [1], [1, 2, 3, 4, 5])


def test_an_empty_prompt_is_refused(make_pair: MakePair):
    with pytest.raises(ValueError, match="prompt_ids are empty"):
        replay(make_pair(N), OneRace(), PRF, Sampling(), [], [1, 2, 3, 4, 5])
