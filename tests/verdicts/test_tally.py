"""How many tokens score high by chance: by the exact law of each detector's scores."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import tradeoff as td
from tests.helpers.detecting import KEY, other
from tradeoff.detection import Aaronson, Detector, Evidence, MeanBits, TokenAware, WeightedMeanBits
from tradeoff.detection.fixed.synthid import bit_weights
from tradeoff.keyed import Stream
from tradeoff.verdicts.pages.tally import Tally, tally
from tradeoff.verdicts.views import RARITIES, reaches, shades

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9)


def law_of_bits(weights: np.ndarray) -> dict[float, float]:
    """Of a weighted sum of fair bits, by enumeration."""
    law: dict[float, float] = {}
    for bits in itertools.product((0, 1), repeat=len(weights)):
        total = round(float(np.dot(weights, bits)), 9)
        law[total] = law.get(total, 0.0) + 0.5 ** len(weights)
    return law


def law_of_lattice(detector) -> dict[float, float]:
    """Of the sum of the scores under all streams."""
    law = {0.0: 1.0}
    for _ in detector.streams:
        longer: dict[float, float] = {}
        for total, p in law.items():
            for k, q in enumerate(np.asarray(detector.law).tolist()):
                place = total + detector.lowest + k
                longer[place] = longer.get(place, 0.0) + p * q
        law = longer
    return law


def detector_of(watermark: str, method: str = "joint") -> Detector:
    return td.Scheme.of(method, watermark).detector()


BOTH = (Stream.DRAFT, Stream.TARGET)
DISCRETE = [
    (MeanBits(1), law_of_bits(np.ones(1))),
    (MeanBits(5), law_of_bits(np.ones(5))),
    (MeanBits(4, BOTH), law_of_bits(np.ones(8))),
    (WeightedMeanBits(6), law_of_bits(bit_weights(6))),
    (WeightedMeanBits(3, BOTH), law_of_bits(np.tile(bit_weights(3), 2))),
    *((one, law_of_lattice(one)) for one in (detector_of("simplexwater:4"), detector_of("heavywater"))),
    *((one, law_of_lattice(one)) for one in (detector_of("simplexwater:4", "two-keys"),)),
]


@pytest.mark.parametrize(("detector", "law"), DISCRETE, ids=lambda one: str(one)[:40])
def test_discrete_laws(detector: Detector, law: dict[float, float]) -> None:
    """Expected is n times the probability of the highest scores that are at most as likely as the first level
    that any score reaches; observed is how many scores are among these."""
    scores = np.array(sorted(law))
    tail = np.array([sum(p for value, p in law.items() if value >= one - 1e-9) for one in scores])
    expected = next(max(tail[tail <= level + 1e-9]) for level in LEVELS if (tail <= level + 1e-9).any())
    found = tally(detector, np.repeat(scores, 3))
    assert found is not None
    assert found.probability == pytest.approx(expected, rel=1e-6)
    assert found.expected == pytest.approx(3 * len(scores) * expected, rel=1e-6)
    assert found.observed == 3 * (tail <= expected + 1e-9).sum()
    for level in (*LEVELS, *RARITIES):
        # A probability that is the level, but for rounding, may be called either.
        clear = np.abs(tail / level - 1) > 1e-9
        np.testing.assert_array_equal(reaches(detector, scores, level)[clear], (tail <= level)[clear])


@pytest.mark.parametrize(
    "detector", [Aaronson(), detector_of("gumbel", "two-keys"), detector_of("gumbel", "dual-key")], ids=str
)
def test_continuous_laws_have_a_top_twentieth(detector: Detector) -> None:
    prf = td.Scheme.of("two-keys", "gumbel").function(KEY)
    scores = detector.contributions(Evidence(other(300), prf))
    found = tally(detector, scores)
    assert found is not None
    assert found.probability == pytest.approx(0.05, rel=1e-6)
    high = np.array([detector.log_p(float(score), 1) <= math.log(0.05) for score in scores])
    assert found.observed == high.sum()
    assert "in the top twentieth by chance" in found.sentence


def test_shades_begin_at_one_in_twenty() -> None:
    u = np.array([0.5, 0.94, 0.951, 0.989, 0.9901, 0.9989, 0.99901])
    assert shades(Aaronson(), -np.log1p(-u)).tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_its_sentence() -> None:
    exact = Aaronson().exactness
    assert Tally(200, 74, 0.05, exact).sentence == (
        "Of 200 tokens that count, 10 would score in the top twentieth by chance; 74 do."
    )
    assert Tally(57, 1, 1 / 32, exact).sentence == (
        "Of 57 tokens that count, 1.8 would score in the top 3.12% by chance; 1 does."
    )
    # 2.85 expected are told as 2.9: what is to be expected is never made smaller.
    assert "2.9 would" in Tally(57, 50, 0.05, exact).sentence
    assert "11 would" in Tally(205, 50, 0.05, exact).sentence


def test_bounds_are_called_bounds() -> None:
    """Without its text the token-aware test has Markov's inequality alone."""
    rng = np.random.default_rng(0)
    detector = TokenAware.fit(rng.integers(0, 20, 4000), rng.uniform(0.05, 0.9, 4000))
    prf = td.Scheme.of("joint-race", "gumbel").function(KEY)
    found = tally(detector, detector.contributions(Evidence(other(100), prf)))
    assert found is None or ", at most " in found.sentence


def test_nothing_counts() -> None:
    assert tally(Aaronson(), np.zeros(0)) is None
