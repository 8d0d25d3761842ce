"""Bets on a text in parts: fair over all outcomes, posterior over all ways of switching, passages found."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tradeoff.detection import RaceBets, Readings, Switching, race_log_bets
from tradeoff.detection import switching as module
from tradeoff.detection.bets.stream_bets import with_keeping
from tradeoff.detection.sequential import Sequential


class Coins:
    """Bets on fair coins: a token shows 1 with probability .9, .6 or .2 with a watermark."""

    name, streams = "coins", ()
    prior = np.array([0.5, 0.2, 0.2, 0.1])

    def log_bets(self, evidence: Any) -> np.ndarray:
        heads = np.array([0.9, 0.6, 0.2])
        return with_keeping(np.log(2 * np.where(evidence.coins[:, None] == 1, heads, 1 - heads)))

    def readings(self, evidence: Any) -> Readings:
        return Readings("coin", {})


class Races(Coins):
    """Bets on races whose uniforms are given."""

    name, prior = "races", RaceBets().prior

    def log_bets(self, evidence: Any) -> np.ndarray:
        return with_keeping(race_log_bets(evidence.uniforms))


def coins(values: Any) -> Any:
    return SimpleNamespace(coins=np.array(values), index=np.arange(len(values)))


def races(uniforms: np.ndarray) -> Any:
    return SimpleNamespace(uniforms=uniforms, index=np.arange(len(uniforms)))


def hidden(rng: np.random.Generator, tokens: int, passage: int) -> tuple[Any, np.ndarray]:
    """Races of a text with a marked passage, and where that is."""
    uniforms, inside = rng.random(tokens), np.zeros(tokens, dtype=bool)
    start = int(rng.integers(tokens - passage))
    inside[start : start + passage] = True
    uniforms[inside] = np.exp(-rng.beta(0.5, 0.5, passage) * rng.exponential(size=passage))
    return races(uniforms), inside


@pytest.mark.parametrize("block", [1, 3, 32])
def test_wealth_is_a_martingale_over_all_texts(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Given any beginning, the mean wealth after one more fair coin is the wealth before: of 2^9 texts."""
    monkeypatch.setattr(module, "_BLOCK", block)
    test = Switching(Coins(), length=5, concentration=2)
    wealth = {
        text: math.exp(test.read(coins(text)).log_wealth[-1])
        for tokens in range(1, 10)
        for text in itertools.product((0, 1), repeat=tokens)
    }
    for text, here in wealth.items():
        before = wealth.get(text[:-1], 1.0)
        other = wealth[(*text[:-1], 1 - text[-1])]
        assert (here + other) / 2 == pytest.approx(before, rel=1e-12)
    assert max(wealth.values()) > 2


def test_posterior_is_that_of_all_ways_of_switching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without learning, what is on stakes the prior's mixture: 2^8 ways, with their priors and wealth."""
    monkeypatch.setattr(module, "_BLOCK", 100)
    text, length = (1, 1, 0, 1, 1, 1, 0, 1), 4.0
    test = Switching(Coins(), length)
    prior = Coins.prior[1:] / Coins.prior[1:].sum()
    values = np.exp(Coins().log_bets(coins(text))[:, 1:]) @ prior
    total, share = 0.0, np.zeros(len(text))
    for way in itertools.product((0, 1), repeat=len(text)):
        weight, was = 1.0, 0
        for t, on in enumerate(way):
            enter = 1 / (t + 2)
            change = {(0, 1): enter, (0, 0): 1 - enter, (1, 0): 1 / length, (1, 1): 1 - 1 / length}
            weight *= change[was, on] * (values[t] if on else 1.0)
            was = on
        total += weight
        share += weight * np.array(way)
    found = test.read(coins(text))
    assert found.log_wealth[-1] == pytest.approx(math.log(total))
    np.testing.assert_allclose(found.share, share / total, rtol=1e-10)


def test_a_text_is_the_beginning_of_a_longer_one() -> None:
    """What is known after so many tokens does not depend on those that follow."""
    evidence, _ = hidden(np.random.default_rng(0), 500, 80)
    test = Switching(Races())
    whole = test.read(evidence)
    for tokens in (1, 31, 32, 33, 250):
        part = test.read(races(evidence.uniforms[:tokens]))
        np.testing.assert_array_equal(part.log_wealth, whole.log_wealth[:tokens])


@pytest.mark.parametrize("tokens", [1000, 5000, 20_000])
def test_a_passage_is_found_and_placed_where_one_bet_on_the_whole_text_fails(tokens: int) -> None:
    rng, test, plain = np.random.default_rng(tokens), Switching(Races()), Sequential(Races())
    trials, found, by_whole, overlaps = 20, 0, 0, []
    for _ in range(trials):
        evidence, inside = hidden(rng, tokens, 100)
        read = test.read(evidence)
        found += read.log_p <= math.log(0.01)
        if tokens == 20_000:
            log_wealth = np.cumsum(plain.contributions(evidence))
            by_whole += log_wealth.max() >= math.log(100)
        placed = read.share > 0.5
        overlaps.append((placed & inside).sum() / (placed | inside).sum())
    assert found >= 19
    assert np.median(overlaps) > 0.8
    assert by_whole < found or tokens != 20_000


def test_unmarked_text_is_convicted_no_more_often_than_the_level() -> None:
    """Ville's inequality, at the most favourable moment of each text."""
    rng, test = np.random.default_rng(2), Switching(Races())
    texts, level = 400, 0.05
    convicted = sum(test.read(races(rng.random(200))).log_p <= math.log(level) for _ in range(texts))
    # More than 46 of 400 have probability below 1e-7 at 5%.
    assert convicted <= 46


def test_no_tokens_and_a_length_that_is_none() -> None:
    nothing = Switching(Races()).read(races(np.zeros(0)))
    assert nothing.log_p == 0
    assert len(nothing.share) == 0
    with pytest.raises(ValueError, match="length=1"):
        Switching(Races(), length=1)


@pytest.mark.parametrize("sizes", [[1] * 100, [100], [31, 1, 1, 67], [32, 32, 36], [50, 50]])
def test_parts_give_the_wealth_of_the_whole(sizes: list[int]) -> None:
    evidence, _ = hidden(np.random.default_rng(1), 100, 40)
    test = Switching(Races())
    whole, wealth, first = test.read(evidence), test.wealth(), 0
    for size in sizes:
        part = wealth.feed(Races().log_bets(races(evidence.uniforms[first : first + size])))
        np.testing.assert_allclose(part.log_wealth, whole.log_wealth[first : first + size], atol=1e-12)
        first += size
    assert wealth.log_wealth == pytest.approx(whole.log_wealth[-1])


def test_half_of_the_wealth_on_parts() -> None:
    """The mean of both processes, a martingale as each is, at most log 2 behind either."""
    for tokens in (40, 400):
        evidence, _ = hidden(np.random.default_rng(tokens), tokens, 30)
        whole = np.cumsum(Sequential(Races()).contributions(evidence))
        parts = Switching(Races()).read(evidence).log_wealth
        late = np.cumsum(Sequential(Races(), late=True).contributions(evidence))
        np.testing.assert_allclose(late, np.logaddexp(whole, parts) - math.log(2), atol=1e-9)
