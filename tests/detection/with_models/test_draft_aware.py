"""Detectors that own the draft model: fair for every text, and for every draft model."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from tests.helpers.ideal import Given
from tests.helpers.support import ALPHA, P, Q, Z
from tradeoff.anchored.e_values import growth_at
from tradeoff.decoders import Completed, GumbelMax, SynthID, heavy_water
from tradeoff.detection.with_models.draft_aware import (
    SHARES,
    Anchored,
    AnchorReading,
    DraftAware,
    Seeds,
    fit_eps,
    hit_log_bets,
    missed_race_log_bets,
    race_after_miss,
)
from tradeoff.kernels import (
    Basic,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    TwoKeys,
    make_method,
)
from tradeoff.kernels.randomness import SimulatedRandomness
from tradeoff.keyed.prf import Stream
from tradeoff.laws import overlap

N = len(P)
TEXTS = 50_000


@given(st.floats(0, 1))
def test_bets_on_hits_are_fair_for_every_token(mass):
    hit, miss = np.exp(hit_log_bets(np.full(2, mass), np.array([True, False])))
    if 0 < mass < 1:
        assert mass * hit + (1 - mass) * miss == pytest.approx(1, rel=1e-9)
    # What cannot happen pays what it likes; what must happen pays 1.
    assert (miss if mass == 0 else hit if mass == 1 else np.ones(1)) == pytest.approx(1)


@pytest.mark.parametrize("mass", [0.0, 1e-12, 0.03, 0.5, 0.97])
def test_bets_after_a_miss_are_fair(mass):
    """Over the law of E given that another token won the anchor's race."""

    def null(race: float) -> float:
        lost = math.exp(-race / mass) if mass else 0.0
        return (math.exp(-race) - lost) / (1 - mass)

    assert integrate.quad(null, 0, np.inf)[0] == pytest.approx(1, abs=1e-7)
    for column in range(len(SHARES)):

        def paid(race: float, column: int = column) -> float:
            bet = missed_race_log_bets(np.array(math.exp(-race)), np.array(mass))[column]
            return null(race) * math.exp(bet) if race else 0.0

        # exp(-E) is 0 as a float from 745 on, and bets fall off long before.
        assert integrate.quad(paid, 0, 60, limit=500, points=[1e-3, 0.1, 1])[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("uniform", [2.0**-53, 0.5, 1 - 2.0**-53])
@pytest.mark.parametrize("mass", [5e-324, 1e-310, 1e-308, 1 - 1e-12, 1.0])
def test_bets_at_the_ends_of_the_floats_are_finite(mass, uniform):
    bets = missed_race_log_bets(np.array(uniform), np.array(mass))
    assert np.isfinite(bets).all()
    if mass < 0.5:
        assert bets == pytest.approx(missed_race_log_bets(np.array(uniform), np.array(0.0)))


GUMBEL, TOURNAMENT, COMPLETED = GumbelMax(), SynthID(math.inf), Completed(SynthID(3))
READABLE = [
    *((name, GUMBEL) for name in ("single-key", "one-race")),
    *itertools.product(
        ("basic", "keep-strength", "keep-efficiency", "two-keys", "algorithm-1"),
        (GUMBEL, TOURNAMENT, COMPLETED, Completed(heavy_water(k=16))),
    ),
]


@pytest.mark.parametrize(("name", "decoder"), READABLE, ids=lambda part: getattr(part, "name", part))
def test_bets_after_a_miss_are_on_a_race_whose_law_is_known(name, decoder):
    """Without a watermark: uniform after a miss, or that of a token which lost the seeds' own race."""
    method = make_method(name, decoder)
    drawn = method.detection.drafted or method.detection.bonus
    texts, token, stream = 100_000, int(P.argmax()), race_after_miss(method)
    randomness = SimulatedRandomness(np.random.default_rng(4), (texts,), N)
    seed = decoder.token(np.broadcast_to(P, (texts, N)), randomness.zeta(drawn, decoder))
    # A completed decoder's race is that of its stream.
    races = {s: randomness.zeta(s, GUMBEL)[:, token] for s in (Stream.SHARED, Stream.DRAFT, Stream.TARGET)}
    if isinstance(decoder, Completed):
        races[drawn] = randomness.zeta(drawn, decoder).race[:, token]
    hits, uniform = (seed == token)[:, None], np.exp(-races[stream])[:, None]
    e = np.exp(DraftAware(N, stream).log_e_values(np.full((texts, 1), P[token]), hits, uniform))
    assert abs(e.mean() - 1) < Z * e.std(ddof=1) / math.sqrt(texts)


@pytest.mark.parametrize(
    ("method", "stream"),
    [
        (Basic(GUMBEL), Stream.SHARED),
        (KeepStrength(GUMBEL), Stream.SHARED),
        (OneRace(), Stream.SHARED),
        (Basic(TOURNAMENT), Stream.TARGET),
        (KeepStrength(COMPLETED), Stream.TARGET),
        (TwoKeys(GUMBEL), Stream.TARGET),
        (KeepEfficiency(COMPLETED), Stream.TARGET),
    ],
    ids=lambda part: f"{part.name} {part.decoder.name}" if isinstance(part, Method) else str(part),
)
def test_only_seeds_of_a_gumbel_max_race_are_bet_on_in_their_own(method, stream):
    """Where the law of the loser is known its bets win; elsewhere they would not be fair."""
    assert race_after_miss(method) is stream


@pytest.mark.parametrize("stream", [Stream.DRAFT, Stream.ACCEPTANCE])
def test_streams_that_draw_nothing_after_a_miss_are_refused(stream):
    with pytest.raises(ValueError, match="race_after_miss"):
        DraftAware(N, stream)


def test_a_token_that_loses_the_race_has_that_law():
    """The density that bets after a miss are ratios to, against a race."""
    rng = np.random.default_rng(0)
    race = rng.exponential(size=(400_000, N))
    seed = GumbelMax().token(np.broadcast_to(P, race.shape), race)
    for token in (0, 4):
        p, lost = P[token], race[seed != token, token]

        def cdf(x: np.ndarray, p: float = p) -> np.ndarray:
            return (-np.expm1(-x) + p * np.expm1(-x / p)) / (1 - p)

        assert stats.kstest(lost, cdf).pvalue > ALPHA


def simulated(
    method, texts: int, tokens: int, seed: int, *, null: bool = False
) -> tuple[Given, AnchorReading]:
    """Texts of a kernel on (P, Q), or tokens that are chosen without the key, with anchor Q."""
    rows = texts * tokens
    randomness = SimulatedRandomness(np.random.default_rng(seed), (rows,), N)
    p, q = np.broadcast_to(P, (rows, N)), np.broadcast_to(Q, (rows, N))
    drafted = method.draft(q, randomness)
    stream = method.detection.drafted
    token = method(p, q, drafted, randomness).token
    if null:
        # A text that says its most and least probable tokens in turn, whatever the key.
        token = np.tile([int(Q.argmax()), int(Q.argmin()), 3], rows)[:rows]
    race = randomness.zeta(stream, method.decoder)
    uniforms = {stream: np.exp(-race[np.arange(rows), token])}
    if stream is not Stream.SHARED:
        uniforms[Stream.TARGET] = np.random.default_rng(seed + 1).random(rows)
    reading = AnchorReading(np.arange(rows), Q[token], {N: Seeds(drafted == token, Q[drafted])})
    return Given(uniforms), reading


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("method", [OneRace(), KeepEfficiency(GumbelMax())], ids=lambda m: m.name)
def test_first_crossings_of_50_000_ideal_texts_keep_the_level(method, alpha):
    convicted = int((highest_wealth(method) >= -math.log(alpha)).sum())
    assert stats.binomtest(convicted, TEXTS, alpha, "greater").pvalue > ALPHA


@cache
def highest_wealth(method: OneRace | KeepEfficiency) -> np.ndarray:
    """Of every text over time, in logarithms: [TEXTS]."""
    stream, tokens, found = Stream.SHARED if method.name == "one-race" else Stream.TARGET, 40, []
    for seed in range(10):
        text, reading = simulated(method, TEXTS // 10, tokens, 100 * seed, null=True)
        hits, mass, uniform = (
            a.reshape(-1, tokens) for a in (reading.seeds[N].hits, reading.token_mass, text.uniform(stream))
        )
        log_e = DraftAware(N, stream).log_e_values(mass, hits, uniform)
        found.append(np.cumsum(log_e, axis=1).max(axis=1))
    return np.concatenate(found)


def test_text_of_a_speculative_kernel_is_anchored_text():
    """Under the keep-efficiency kernel seeds are hit with probability 1 - TV, and e* grows as derived."""
    rows = 200_000
    _, reading = simulated(KeepEfficiency(GumbelMax()), 1, rows, 3)
    hits = reading.seeds[N].hits
    assert stats.binomtest(int(hits.sum()), rows, float(overlap(P, Q))).pvalue > ALPHA
    tv = 1 - float(overlap(P, Q))
    result = Anchored(N, 0.3).test(reading)
    steps = np.diff(result.log_wealth, prepend=0)
    error = steps.std(ddof=1) / math.sqrt(rows)
    assert abs(steps.mean() - float(growth_at(Q, 0.3, tv))) < 5.4 * error


def test_the_fitted_eps_is_the_best_on_its_texts():
    _, reading = simulated(KeepEfficiency(GumbelMax()), 1, 2_000, 5)
    eps = fit_eps([reading], N)
    growth = [Anchored(N, e).test(reading).log_wealth[-1] for e in (eps, eps - 0.02, eps + 0.02)]
    assert growth[0] == max(growth)
    # From 1 - 1/n on, hits would speak against the watermark.
    missed = AnchorReading(np.arange(50), np.full(50, 0.1), {2: Seeds(np.zeros(50, bool), np.full(50, 0.5))})
    assert fit_eps([missed], 2) < 0.5


def test_knowing_the_draft_finds_text_sooner():
    """At high entropy a hit says more than the winner's U: all the races of the losers."""
    text, reading = simulated(OneRace(), 1, 3_000, 9)
    aware = DraftAware(N, Stream.SHARED).test(text, reading)
    assert aware.log_wealth[-1] > 0
    assert aware.tokens_needed(1e-6) < 100


def test_what_does_not_fit_is_refused():
    text, reading = simulated(OneRace(), 1, 10, 9)
    with pytest.raises(ValueError, match="positions that count"):
        DraftAware(N, Stream.SHARED).test(Given({Stream.SHARED: np.full(9, 0.5)}), reading)
    with pytest.raises(ValueError, match="values=4 was not read; there are 10"):
        Anchored(4, 0.1).test(reading)
    with pytest.raises(ValueError, match="fit_eps needs"):
        fit_eps([], 4)
    assert len(text) == 10


def test_readings_that_contradict_themselves_are_refused():
    """A hit where the anchor never goes would make the wealth NaN; in a bucket it is nothing strange."""
    hits, mass = np.array([False, True]), np.array([0.3, 0.0])
    reading = AnchorReading(np.array([4, 9]), mass, {N: Seeds(hits, mass), 2: Seeds(hits, np.full(2, 0.6))})
    with pytest.raises(ValueError, match="token_mass is 0 at position 9, where the token is the seed"):
        DraftAware(N, Stream.SHARED).test(given_at(reading.index), reading)
    assert np.isfinite(Anchored(2, 0.1).test(reading).log_wealth).all()
    for bad in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match=f"token_mass holds {bad}; pass probabilities from 0 to 1"):
            AnchorReading(np.arange(2), np.array([0.5, bad]), {})


def given_at(index: np.ndarray) -> Given:
    text = Given({Stream.SHARED: np.full(len(index), 0.5)})
    text.index = index
    return text
