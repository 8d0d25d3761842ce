"""What detectors read of a token that a watermark chose, without speculation: laws of whole-number scores.

Of a tournament (SynthID) that token 0 of law q wins, a round's bits have the fair law tilted by
1 + g_0 - sum_v q_v g_v (`tradeoff.decoders.SynthID`; the later rounds are martingales and tilt nothing). So
g_0 is one with probability 3/4 - q_0/4, and the others are fair, but that with the probability that is left
one of them, drawn by q, has lost to token 0 and has a zero.

Of a transport (HeavyWater) the rank of a token of probability p among k values is nearly k u, where u has the
law of the uniform of a token that wins a race: P(u <= x) = x^(1/p) (docs/theory/transport.md).
"""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np
from scipy import optimize

from tradeoff.detection.detector import Detector
from tradeoff.detection.fixed.synthid import WeightedMeanBits
from tradeoff.detection.fixed.transport import RankRatio

__all__ = ["won_bits", "won_score_law"]

#: Of simulated tournaments: different masses of the tokens beside the winner, as more even ones change
#: nothing that is seen; random bits in all; the fewest and most draws; numbers in memory at a time.
_BESIDE, _BITS, _FEWEST, _MOST, _AT_A_TIME = 256, 1 << 24, 20_000, 400_000, 1 << 20
#: Steps of the search for a mass: each halves its bracket.
_HALVINGS = 50


@singledispatch
def won_score_law(detector: Detector, p: np.ndarray, entropy: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The law of the score of a token that was chosen under the watermark, without speculation.

    Args:
        detector: of SynthID (`WeightedMeanBits`) or HeavyWater (`RankRatio`), of one stream.
        p: [k] probabilities in (0, 1] of tokens that were chosen.
        entropy: [k] of the laws that they were chosen from, in nats.
        weight: [k] how often each is chosen, any positive multiple.

    Returns:
        [m] probabilities of the scores from `detector.lowest` on.

    Raises:
        ValueError: for another detector.
    """
    raise ValueError(f"detector {detector.name!r} has no known law of the scores of marked tokens")


@won_score_law.register
def _(detector: RankRatio, p: np.ndarray, entropy: np.ndarray, weight: np.ndarray) -> np.ndarray:
    k = detector.scores.k
    edges = np.log(np.arange(1, k + 1) / k)
    cdf = np.exp(edges / np.asarray(p, float)[:, None])
    mass = (weight / np.sum(weight)) @ np.diff(cdf, prepend=0.0, axis=-1)
    return np.bincount(detector.score_of - detector.lowest, mass)


@won_score_law.register
def _(detector: WeightedMeanBits, p: np.ndarray, entropy: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """By simulation with a fixed seed. The tokens beside the winner are as even as their entropy allows.

    Bits are noise around their chances, which hardly vary where a law is nearly certain: the law that was
    counted is tilted to the mean that the chances have.
    """
    rng = np.random.default_rng(0)
    beside = _entropy_beside(np.asarray(p, float), np.asarray(entropy, float))
    # Those with about as many tokens are simulated together.
    order = np.argsort(beside)
    p, beside, weight = np.asarray(p, float)[order], beside[order], np.asarray(weight, float)[order]
    mean = weight @ np.exp(beside) / weight.sum()
    draws = int(np.clip(_BITS / (detector.rounds * (2 + mean)), _FEWEST, _MOST))
    # Systematic draws: each as often as its weight says, but for one.
    cdf = np.cumsum(weight) / weight.sum()
    drawn = np.minimum(np.searchsorted(cdf, (np.arange(draws) + rng.random()) / draws), len(p) - 1)
    counts, total = np.zeros(len(detector.law)), 0.0
    while len(drawn):
        size = max(1, int(_AT_A_TIME / (2 + np.exp(beside[drawn[: _AT_A_TIME // 2][-1]]))))
        here, drawn = drawn[:size], drawn[size:]
        bits, chances = won_bits(_laws(p[here], beside[here]), detector.rounds, rng)
        counts += np.bincount(bits @ detector.weights, minlength=len(counts))
        total += float((chances @ detector.weights).sum())
    return _tilted(counts / counts.sum(), total / draws)


def _tilted(law: np.ndarray, mean: float) -> np.ndarray:
    """A law of 0, 1, ... tilted exponentially to a mean near its own."""
    points = np.arange(len(law))
    middle = float(law @ points)
    spread = math.sqrt(float(law @ (points - middle) ** 2))

    def tilted(theta: float) -> np.ndarray:
        weights = law * np.exp(theta * (points - middle) / spread)
        return weights / weights.sum()

    return tilted(optimize.brentq(lambda theta: float(tilted(theta) @ points) - mean, -1.0, 1.0, xtol=1e-14))


def won_bits(laws: np.ndarray, rounds: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bits of token 0 in tournaments that it wins, and how probable a one was in each of its rounds.

    [d, n] laws to [d, rounds] of 0 and 1 and as many chances, given the rounds before.

    Args:
        laws: of one tournament each, token 0 with a positive probability.
        rounds: how many are played.
        rng: of the bits.
    """
    q, won = np.array(laws, float), np.empty((len(laws), rounds), dtype=np.int64)
    chances = np.empty(won.shape)
    for k in range(rounds):
        own = q[:, 0]
        chances[:, k] = 0.75 - own / 4
        one = rng.random(len(q)) < chances[:, k]
        bits = rng.integers(0, 2, q.shape, dtype=np.int8)
        bits[:, 0] = one
        # The weight of the part in which all others are fair, against half the mass beside.
        fair = np.where(one, 1.0, own)
        met = np.flatnonzero(rng.random(len(q)) * (fair + (1 - own) / 2) > fair)
        if q.shape[1] > 1 and len(met):
            cdf = np.cumsum(q[met, 1:], axis=-1)
            lost = (cdf <= (rng.random(len(met)) * cdf[:, -1])[:, None]).sum(axis=-1)
            bits[met, 1 + np.minimum(lost, q.shape[1] - 2)] = 0
        q *= 1 + bits - (q * bits).sum(axis=-1, keepdims=True)
        won[:, k] = one
    return won, chances


def _entropy_beside(p: np.ndarray, entropy: np.ndarray) -> np.ndarray:
    """Entropy of the law without the chosen token: [k], as far as it is simulated."""
    left = np.maximum(1 - p, 1e-12)
    of_choice = -(p * np.log(p) + left * np.log(left))
    return np.clip((entropy - of_choice) / left, 0.0, np.log(_BESIDE - 1))


def _laws(p: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """Laws with the chosen token first, and beside it equal ones and one of what is left: [d, n]."""
    even = np.maximum(np.floor(np.exp(beside) + 1e-9), 1.0)
    low, high = 1 / (even + 1), 1 / even
    for _ in range(_HALVINGS):
        mass = (low + high) / 2
        left = np.maximum(1 - even * mass, 1e-300)
        above = -(even * mass * np.log(mass) + left * np.log(left)) > beside
        low, high = np.where(above, mass, low), np.where(above, high, mass)
    mass, places = (low + high) / 2, np.arange(1, int(even.max()) + 2)
    shares = np.where(places <= even[:, None], mass[:, None], 0.0)
    shares += np.where(places == even[:, None] + 1, np.maximum(1 - even * mass, 0.0)[:, None], 0.0)
    return np.concatenate([p[:, None], (1 - p[:, None]) * shares], axis=-1)
