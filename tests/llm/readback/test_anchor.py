"""Texts read back through the draft model: the seeds are those of the generation, and no other key's."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from tests.helpers.support import ALPHA, Z, assert_within
from tests.helpers.texts import PRF, MakePair, N, generate, some_prompts
from tradeoff.decoders import Completed, GumbelMax, SynthID, heavy_water
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.with_models.draft_aware import AnchorReading, DraftAware, race_after_miss
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    SingleKey,
    Standard,
    TwoKeys,
)
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.generation.rows import GeneratedText
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.readback.anchor import read_anchor
from tradeoff.llm.sampling import Sampling

WRONG = KeyedPrf(Key(b"a key that drew no text of these"), 2)
METHODS: list[tuple[Method, Sampling]] = [
    (KeepEfficiency(GumbelMax()), Sampling()),
    (TwoKeys(SynthID(math.inf)), Sampling()),
    (Algorithm1(GumbelMax()), Sampling(1.2, 7, 0.98)),
    (SingleKey(), Sampling()),
    (OneRace(), Sampling(0.9, 7)),
]
every_method = pytest.mark.parametrize("case", METHODS, ids=lambda c: f"{c[0].name}-{c[0].decoder.name}")


#: The pair has the same weights in every test, so that its texts are generated once.
TEXTS: dict[tuple[Method, Sampling], list[GeneratedText]] = {}


def texts_of(pair: ModelPair, case: tuple[Method, Sampling]) -> list[GeneratedText]:
    if case not in TEXTS:
        method, sampling = case
        settings = EngineSettings(
            method=method, prf=PRF, sampling=sampling, lookahead=3, max_tokens=60, seed=1, ignore_eos=True
        )
        TEXTS[case] = list(generate(pair, settings, some_prompts(4)).values())
    return TEXTS[case]


def read(
    pair: ModelPair, case: tuple[Method, Sampling], text: GeneratedText, prf: KeyedPrf = PRF
) -> AnchorReading:
    method, sampling = case
    prompt, tokens = text.prompt.token_ids, text.token_ids
    return read_anchor(pair.draft, N, method, prf, sampling, prompt, tokens, buckets=(2, 4))


@every_method
def test_every_accepted_draft_is_the_seed_and_no_replaced_one(case, make_pair: MakePair):
    """A replacement comes from the residual, which leaves out what the draft had too much of; of one race
    and one key it may be the seed of another coin, so only the first half holds for them."""
    pair = make_pair(N)
    accepted = 0
    for text in texts_of(pair, case):
        found = read(pair, case, text)
        sources = np.array(list(text.sources))[found.index]
        hits = found.seeds_of(N).hits
        assert hits[sources == "d"].all()
        accepted += int((sources == "d").sum())
        if case[0].name in ("keep-efficiency", "two-keys", "algorithm-1"):
            assert not hits[sources == "r"].any()
        np.testing.assert_allclose(found.token_mass[hits], found.seeds_of(N).mass[hits])
    assert accepted > 20


@every_method
def test_buckets_are_those_of_tokens(case, make_pair: MakePair):
    """A hit is a hit in every bucket; two buckets forgive more than four; masses are sums over buckets."""
    pair = make_pair(N)
    (text, *_) = texts_of(pair, case)
    found = read(pair, case, text)
    token, two, four = (found.seeds_of(m) for m in (N, 2, 4))
    assert (token.hits <= four.hits).all()
    assert (four.hits <= two.hits).all()
    assert (token.mass <= four.mass + 1e-12).all()
    assert (four.mass <= two.mass + 1e-12).all()
    assert two.mass.max() <= 1
    assert (two.mass > 0).all()


def test_a_wrong_key_hits_as_often_as_the_tokens_are_probable(make_pair: MakePair):
    """The null law: hits are independent, with the probability of the token under the anchor."""
    pair, case = make_pair(N), (OneRace(), Sampling())
    for values in (N, 4):
        hits = expected = variance = 0.0
        for text in texts_of(pair, case):
            found = read(pair, case, text, WRONG)
            seeds = found.seeds_of(values)
            hits += float(seeds.hits.sum())
            mass = found.token_mass if values == N else token_bucket_mass(pair, case, text)
            expected += float(mass.sum())
            variance += float((mass * (1 - mass)).sum())
        assert variance > 5
        assert abs(hits - expected) < Z * math.sqrt(variance) + 1


def token_bucket_mass(pair: ModelPair, case: tuple[Method, Sampling], text: GeneratedText) -> np.ndarray:
    """p0 of the bucket of every token, one token at a time: the reference."""
    ids = torch.tensor([[*text.prompt.token_ids, *text.token_ids]])
    laws = case[1].probabilities(pair.draft(ids).logits[0, :, :N]).numpy()
    start = len(text.prompt.token_ids) - 1
    h = WRONG.buckets(np.arange(N), 4)
    index = read(pair, case, text, WRONG).index
    return np.array([laws[start + i, h == h[text.token_ids[i]]].sum() for i in index])


def test_text_without_drafts_takes_any_model_as_its_anchor(make_pair: MakePair):
    """With the target itself as the anchor every token of `basic` is the seed."""
    pair, method = make_pair(N), Basic(GumbelMax())
    settings = EngineSettings(
        method=method, prf=PRF, sampling=Sampling(), lookahead=1, max_tokens=40, seed=1, ignore_eos=True
    )
    (text,) = generate(pair, settings, some_prompts(1)).values()
    found = read_anchor(pair.target, N, method, PRF, Sampling(), text.prompt.token_ids, text.token_ids)
    assert found.seeds_of(N).hits.all()
    np.testing.assert_allclose(found.token_mass, np.exp(text.log_p)[found.index], rtol=1e-9)


@pytest.mark.parametrize(
    "method", [Standard(), KeepStrength(SynthID(5)), TwoKeys(SynthID(30))], ids=lambda m: m.name
)
def test_methods_without_a_seed_are_refused(method, make_pair: MakePair):
    with pytest.raises(ValueError, match="no draft tokens that the key determines"):
        read_anchor(make_pair(N).draft, N, method, PRF, Sampling(), [1], [1, 2, 3])


def test_tilted_seeds_are_refused(make_pair: MakePair):
    """They hit likely tokens more often than the draft would."""
    method = TwoKeys(Completed(heavy_water(k=16, tilt=1.0)))
    with pytest.raises(ValueError, match=r"is biased and gives seeds another law.*tilt 0"):
        read_anchor(make_pair(N).draft, N, method, PRF, Sampling(), [1], [1, 2, 3])


class FixedLaw(torch.nn.Module):
    """A model that foresees the same law everywhere."""

    def __init__(self, law: np.ndarray):
        super().__init__()
        self.device = torch.device("cpu")
        self.logits = torch.nn.Parameter(torch.from_numpy(np.log(law)))

    def forward(self, input_ids: torch.Tensor, logits_to_keep: int, use_cache: bool) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits.expand(len(input_ids), logits_to_keep, -1))


@pytest.mark.parametrize("make", [Basic, KeepStrength, TwoKeys], ids=lambda make: make.name)
@pytest.mark.parametrize(
    "decoder",
    [GumbelMax(), SynthID(math.inf), Completed(SynthID(3)), Completed(heavy_water(k=16))],
    ids=lambda decoder: decoder.name,
)
def test_bets_with_the_draft_convict_few_texts_of_others(make, decoder):
    """Watched after every token: read back under a key that drew none of them, every decoder and stream."""
    law, method = np.array([0.6, 0.4]), make(decoder)
    texts, tokens = 40, 150
    # Contexts so wide that few repeat: one long text is read, and tried in parts.
    prf = KeyedPrf(Key(b"a key that drew no text of these"), 32)
    text = np.random.default_rng(11).integers(0, len(law), texts * tokens + 100)
    found = read_anchor(FixedLaw(law), len(law), method, prf, Sampling(), [0], text.tolist(), buckets=())
    hits, stream = found.seeds_of(len(law)).hits, race_after_miss(method)
    uniform = Evidence(text, prf).uniform(stream)
    parts = [a[: texts * tokens].reshape(texts, tokens) for a in (found.token_mass, hits, uniform)]
    wealth = np.cumsum(DraftAware(len(law), stream).log_e_values(*parts), axis=1)
    convicted = int((wealth.max(axis=1) >= -math.log(0.02)).sum())
    assert stats.binomtest(convicted, texts, 0.02, "greater").pvalue > ALPHA
    assert_within(hits.mean(), found.token_mass.mean(), math.sqrt(0.25 / len(hits)))


def test_a_prompt_is_needed(make_pair: MakePair):
    with pytest.raises(ValueError, match="prompt_ids are empty"):
        read_anchor(make_pair(N).draft, N, OneRace(), PRF, Sampling(), [], [1, 2, 3])


@pytest.mark.parametrize("bad", [N, N + 7, -1])
def test_ids_of_another_vocabulary_are_refused(bad, make_pair: MakePair):
    """By name, value and remedy, also in texts too short to count; the last id there is belongs to it."""
    draft = make_pair(N).draft
    for prompt, tokens, named in (([1, bad], [1, 2], "prompt_ids"), ([1], [bad, 2], "token_ids")):
        if bad >= 0 or named == "prompt_ids":
            expected = f"{named} hold {bad}, but vocabulary_size={N}: .*tokenizer of the draft model"
        else:
            expected = "token_ids hold -1; pass ids >= 0"
        with pytest.raises(ValueError, match=expected):
            read_anchor(draft, N, OneRace(), PRF, Sampling(), prompt, tokens)
    assert len(read_anchor(draft, N, OneRace(), PRF, Sampling(), [N - 1], [1, 2, N - 1]).index) == 1


def test_a_text_too_short_to_count_has_no_seeds(make_pair: MakePair):
    found = read_anchor(make_pair(N).draft, N, OneRace(), PRF, Sampling(), [1], [1, 2])
    assert len(found.index) == len(found.token_mass) == len(found.seeds_of(2).hits) == 0
