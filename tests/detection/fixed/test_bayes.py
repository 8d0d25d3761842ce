"""Bayesian detectors: likelihoods that are normalised, fits that generalise, files that come back."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.helpers.ideal import Given, assert_null_law, true_positives, unmarked
from tests.helpers.support import P, Q, Z
from tradeoff.decoders import SynthID
from tradeoff.detection import Evidence, MeanBits, detect
from tradeoff.detection.fixed.bayes import BayesDetector, Training, _Model, fit_bayes, load_bayes, save_bayes
from tradeoff.errors import FileError
from tradeoff.kernels import Algorithm1, KeepStrength
from tradeoff.kernels.randomness import SimulatedRandomness
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Stream
from tradeoff.laws import overlap

ROUNDS, TOKENS = 8, 20
MIXINGS = ["single", "layer", "token", "mlp", "oracle"]
each = pytest.mark.parametrize("mixing", MIXINGS)
#: Small batches: these few tokens would make too few steps an epoch.
QUICK = Training(epochs=40, batch=512)
#: A model that is mostly sure of itself: late rounds of a tournament have nothing left to decide.
SURE = np.array([0.8, 0.1, 0.05, 0.03, 0.01, 0.01])


def random_model(rounds: int, mixing: str, seed: int, share: float = 0.3) -> _Model:
    """Parameters that no fit would find."""
    model = _Model(rounds, mixing, share)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def all_bits(count: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=count)), dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("mixing", ["single", "layer", "token"])
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_likelihoods_are_normalised(mixing, rounds):
    """Over all bits of both streams, 4^-m times the ratios sums to 1, whatever the parameters."""
    for seed in range(5):
        model = random_model(rounds, mixing, seed)
        bits = all_bits(2 * rounds)
        ratios = model(bits[:, :rounds], bits[:, rounds:], torch.zeros(len(bits))).exp()
        assert float(ratios.mean()) == pytest.approx(1, rel=1e-12)
        assert float(ratios.min()) > 0


@torch.no_grad()
def test_likelihood_ratio_of_one_stream_written_out():
    """prod_l (1 + (g_l - 1/2) sigmoid(beta_l + sum_{j < l} delta_lj g_j))."""
    model = random_model(4, "single", 7)
    beta, delta = model.beta.tolist(), model.delta.tolist()
    for bits in all_bits(4):
        expected, g = 1.0, bits.tolist()
        for k in range(4):
            two = 1 / (1 + math.exp(-(beta[k] + sum(delta[k][j] * g[j] for j in range(k)))))
            expected *= (g[k] + 0.5) * two + (1 - two)
        found = model(bits[None], bits[None], torch.zeros(1)).exp()
        assert float(found) == pytest.approx(expected, rel=1e-12)


@torch.no_grad()
def test_mixtures_written_out():
    """A round, a token, or a token weighed by sigmoid(a (MLP - u)), from the ratios of each stream."""
    draft, target, coin = all_bits(3), all_bits(3).flip(0), torch.linspace(0.05, 0.95, 8, dtype=torch.float64)
    for mixing in ("layer", "token", "mlp"):
        model = random_model(3, mixing, 3)
        first, second = model.rounds_ratio(draft), model.rounds_ratio(target)
        if mixing == "layer":
            expected = (0.3 * first + 0.7 * second).prod(-1)
        else:
            share = torch.tensor(0.3)
            if mixing == "mlp":
                opinion = model.network(torch.cat([draft, target], -1) - 0.5)[:, 0]
                share = torch.sigmoid(torch.log1p(model.scale.exp()) * (opinion - coin))
            expected = share * first.prod(-1) + (1 - share) * second.prod(-1)
        np.testing.assert_allclose(model(draft, target, coin).exp(), expected, rtol=1e-6)


def marked(
    texts: int, seed: int, two_keys: bool = False, rounds: int = ROUNDS, tokens: int = TOKENS
) -> list[Given]:
    """Texts whose bits come from the kernels themselves: at laws P and Q for two keys, SURE for one."""
    count = texts * tokens
    target, draft = (P, Q) if two_keys else (SURE, SURE)
    randomness = SimulatedRandomness(np.random.default_rng(seed), (count,), len(target))
    p, q = (np.broadcast_to(law, (count, len(law))) for law in (target, draft))
    method = Algorithm1(SynthID(rounds)) if two_keys else KeepStrength(SynthID(rounds))
    accepted, token = method(p, q, method.draft(q, randomness), randomness)
    bits = {}
    for stream in method.detection.streams:
        words = np.take_along_axis(randomness.zeta(stream, method.decoder).word(0), token[:, None], axis=1)
        bits[stream] = (words >> np.arange(rounds) & 1).astype(np.int8)
    parts = [slice(first, first + tokens) for first in range(0, count, tokens)]
    return [
        Given(None, {s: b[part] for s, b in bits.items()}, randomness.coin()[part], accepted[part])
        for part in parts
    ]


@pytest.fixture(scope="module")
def fitted() -> dict[str, BayesDetector]:
    """One detector a mixing, of the watermark that it is for."""
    share = float(overlap(P, Q))
    one, two = marked(250, 1), marked(250, 2, two_keys=True)
    return {
        m: fit_bayes(one if m == "single" else two, ROUNDS, m, share=share, settings=QUICK) for m in MIXINGS
    }


def assert_better(detector: BayesDetector, plain: MeanBits, texts: list[Given], tokens: int) -> None:
    """Visibly more texts are detected at 1%."""
    reference = true_positives(plain, texts, tokens).astype(float)
    assert 0.05 < reference.mean() < 0.95
    gain = true_positives(detector, texts, tokens) - reference
    assert gain.mean() > Z * gain.std() / math.sqrt(len(gain)), detector.mixing


def test_one_key_is_detected_better_than_by_the_mean_of_bits():
    """On texts that were not fitted, of 30 rounds, of which the late ones tell nothing."""
    detector = fit_bayes(marked(250, 1, rounds=30), 30, "single", settings=QUICK)
    assert_better(detector, MeanBits(30), marked(2_500, 3, rounds=30, tokens=40), 40)


@pytest.mark.parametrize("mixing", MIXINGS[1:])
def test_two_keys_are_detected_better_than_by_the_mean_of_bits(fitted, mixing):
    """On texts that were not fitted."""
    plain = MeanBits(ROUNDS, (Stream.DRAFT, Stream.TARGET))
    assert_better(fitted[mixing], plain, marked(3_000, 3, two_keys=True), TOKENS)


@each
def test_p_values_of_texts_without_a_watermark(fitted, mixing):
    """Uniform, for scores that no other text had a part in."""
    texts = 10_000
    scores = fitted[mixing].contributions(unmarked(texts * TOKENS, 4, ROUNDS))
    statistics = scores.reshape(texts, TOKENS).sum(axis=1)
    assert_null_law(lambda x: fitted[mixing].log_p(x, TOKENS), statistics, points=200)


@each
@pytest.mark.parametrize("fpr", [0.3, 0.01, 1e-8])
def test_threshold_is_where_the_p_value_reaches_the_rate(fitted, mixing, fpr):
    """To a step of the lattice, about 0.01."""
    detector = fitted[mixing]
    total = detector.threshold(TOKENS, fpr)
    assert detector.log_p(total + 1e-6, TOKENS) <= math.log(fpr) + 1e-5
    assert detector.log_p(total - 0.03, TOKENS) > math.log(fpr)


@each
def test_scores_are_log_likelihood_ratios(fitted, mixing):
    """A ratio has mean 1 without a watermark; the network's is normalised by simulation."""
    ratios = np.exp(fitted[mixing].contributions(unmarked(200_000, 5, ROUNDS)))
    error = ratios.std() * math.sqrt(1 / len(ratios) + (1 / 50_000 if mixing == "mlp" else 0))
    assert abs(ratios.mean() - 1) <= Z * error
    # With a watermark the mean logarithm is a relative entropy, which these bits have some of.
    texts = marked(300, 6, mixing != "single")
    assert np.mean([fitted[mixing].contributions(text).mean() for text in texts]) > 0.05


def coin_texts(texts: int, seed: int) -> list[Given]:
    """The coin alone decides which stream drew a token: drafts below 1/2."""
    rng = np.random.default_rng(seed)
    made = []
    for text in marked(texts, seed):
        drafted, won = rng.random(TOKENS) < 0.5, text.bits(Stream.SHARED, ROUNDS)
        free, coins = rng.integers(0, 2, won.shape).astype(np.int8), rng.random(TOKENS) / 2
        here = drafted[:, None]
        bits = {Stream.DRAFT: np.where(here, won, free), Stream.TARGET: np.where(here, free, won)}
        made.append(Given(None, bits, np.where(drafted, coins, 1 - coins), drafted))
    return made


def test_the_coin_tells_which_stream_to_trust():
    """Where it decides, the network learns so, and explains new texts better than a constant share does."""
    texts, new = coin_texts(120, 7), coin_texts(500, 8)
    mlp, token = (fit_bayes(texts, ROUNDS, mixing, settings=QUICK) for mixing in ("mlp", "token"))
    gain = np.array([mlp.contributions(text).sum() - token.contributions(text).sum() for text in new])
    assert gain.mean() > Z * gain.std() / math.sqrt(len(gain))


def test_the_oracle_reads_the_stream_that_drew_the_token(fitted):
    text = marked(1, 8, two_keys=True)[0]
    bits = np.where(text.drafted[:, None], text.bits(Stream.DRAFT, ROUNDS), text.bits(Stream.TARGET, ROUNDS))
    oracle = fitted["oracle"]
    with torch.no_grad():
        expected = oracle._model.rounds_ratio(torch.from_numpy(bits.astype(float))).log().sum(-1)
    np.testing.assert_allclose(oracle.contributions(text), expected)
    assert oracle.name == "oracle"
    texts = marked(4_000, 9, two_keys=True, tokens=10)
    gain = true_positives(oracle, texts, 10) - true_positives(fitted["token"], texts, 10).astype(float)
    assert gain.mean() > Z * gain.std() / math.sqrt(len(gain))


@each
def test_the_same_seed_gives_the_same_detector(mixing):
    texts = marked(30, 10, mixing != "single")
    settings = Training(seed=3, epochs=4, patience=9)
    first, again, other = (
        fit_bayes(texts, ROUNDS, mixing, settings=s) for s in (settings, settings, replace(settings, seed=4))
    )
    assert first.history == again.history != other.history
    for text in texts[:3]:
        np.testing.assert_array_equal(first.contributions(text), again.contributions(text))
        assert (first.contributions(text) != other.contributions(text)).any()


@each
def test_fitting_leaves_the_global_generator_alone(mixing):
    texts = marked(4, 11, mixing != "single")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit_bayes(texts, ROUNDS, mixing, settings=Training(epochs=1))
    assert torch.equal(torch.rand(3), expected)


@each
def test_early_stopping_restores_the_best_weights(mixing):
    """The last epochs were worse, and the detector is that of the best: its likelihood is max(history)."""
    texts = marked(12, 12, mixing != "single")
    settings = Training(epochs=200, patience=6, learning_rate=0.2)
    seen: list[tuple[int, float]] = []
    detector = fit_bayes(texts, ROUNDS, mixing, settings=settings, progress=lambda *epoch: seen.append(epoch))
    history = detector.history
    best = int(np.argmax(history))
    assert len(history) < 201
    assert len(history) - 1 - best == 6
    assert seen == list(enumerate(history))[1:]
    # The texts that only decided when to stop: a fifth, by the seed.
    held = np.random.default_rng(settings.seed).permutation(len(texts))[: round(0.2 * len(texts))]
    scores = np.concatenate([detector.contributions(texts[i]) for i in held])
    assert scores.mean() == pytest.approx(max(history), rel=1e-9, abs=1e-12)
    assert scores.mean() > history[-1]


def test_every_share_of_held_texts_leaves_both_kinds():
    """Of two texts, one is fitted to and one decides when to stop."""
    for share in (0.0, 0.5, 1.0):
        settings = Training(epochs=2, validation=share)
        assert len(fit_bayes(marked(2, 13), ROUNDS, "single", settings=settings).history) == 3


@each
def test_files_give_the_detector_back(fitted, mixing, tmp_path):
    path = tmp_path / "detector.safetensors"
    save_bayes(fitted[mixing], path)
    loaded = load_bayes(path)
    assert (loaded.mixing, loaded.rounds, loaded.streams) == (mixing, ROUNDS, fitted[mixing].streams)
    assert (loaded.name, loaded.history) == (fitted[mixing].name, ())
    text = marked(1, 14, mixing != "single")[0]
    np.testing.assert_array_equal(loaded.contributions(text), fitted[mixing].contributions(text))
    assert detect(loaded, text).log_p == detect(fitted[mixing], text).log_p


@each
def test_texts_under_a_key(fitted, mixing):
    """Evidence itself, of a text long enough and of one with nothing to score."""
    prf = KeyedPrf(Key(bytes(32)), 4)
    evidence = Evidence(np.random.default_rng(15).integers(0, 99, 60), prf, "db" * 30)
    result = detect(fitted[mixing], evidence)
    assert result.tokens_scored == 56
    assert result.contributions.shape == (56,)
    assert -10 < result.log_p < 0
    assert detect(fitted[mixing], Evidence([1, 2], prf, "bb")).log_p == 0.0


def write(path, tensors: dict, about: object) -> None:
    metadata = None if about is None else {"tradeoff": about if isinstance(about, str) else json.dumps(about)}
    save_file(tensors, path, metadata)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "detector.safetensors"
    state = _Model(3, "single", 0.5).state_dict()
    about = {"format": "tradeoff-bayes-v1", "mixing": "single", "rounds": 3, "streams": ["shared"]}
    write(path, state, about)
    assert load_bayes(path).rounds == 3
    wrong = [
        (state, None),
        (state, "no json"),
        (state, [1]),
        (state, about | {"format": "tradeoff-bayes-v0"}),
        (state, about | {"rounds": 4}),
        (state, about | {"rounds": "many"}),
        (state, about | {"mixing": "mlp"}),
        (state, about | {"mixing": "stirred"}),
        (state, about | {"streams": ["nowhere"]}),
        (state, {"format": "tradeoff-bayes-v1"}),
        ({"beta": state["beta"]}, about),
    ]
    for tensors, text in wrong:
        write(path, tensors, text)
        with pytest.raises(FileError, match="not a fitted detector"):
            load_bayes(path)
    for data in (b"", b"hello", path.read_bytes()[:40]):
        path.write_bytes(data)
        with pytest.raises(FileError, match="not a fitted detector"):
            load_bayes(path)
    for missing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileError, match="not a fitted detector"):
            load_bayes(missing)


def test_a_place_that_cannot_be_written(fitted, tmp_path):
    with pytest.raises(FileError, match="cannot be written"):
        save_bayes(fitted["single"], tmp_path / "missing" / "detector.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixing": "stirred"}, "mixing='stirred' is unknown; use one of single, layer, token, mlp"),
        ({"share": 0.0}, "share=0.0"),
        ({"share": 1.0}, "share=1.0"),
        ({"training": []}, "training holds 0 texts"),
        ({"training": [unmarked(5, 1, ROUNDS), unmarked(0, 1, ROUNDS)]}, "training holds 1 texts"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {"training": [unmarked(5, 1, ROUNDS)] * 3, "rounds": ROUNDS, "mixing": "token"} | change
    with pytest.raises(ValueError, match=message):
        fit_bayes(**arguments)
