"""Detectors that own the draft model (the anchor), the key and the text, and may stop after any token.

Text of every watermarked speculative kernel is anchored text: its draft token is the seed S ~ p0 that the key
determines, and verification is a coupling of seed and token. `tradeoff.llm.readback.anchor` reads a text back
through the draft model; the tests here work on what it finds.

- `Anchored`: the e* of "Anchored E-Watermarking", on tokens or on buckets of tokens.
- `DraftAware`: bets on whether the token v is the seed, given p0(v), and after a miss on the race that v may
  have won. A bet that foresees a hit with probability a pays a/p0(v) for a hit and (1 - a)/(1 - p0(v)) for a
  miss. Derivation: docs/theory/e-values.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tradeoff.anchored import log_anchored
from tradeoff.decoders import GumbelMax
from tradeoff.detection.bets.gumbel import race_log_bets
from tradeoff.detection.bets.stream_bets import keeping_prior, with_keeping
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.sequential import CONCENTRATION, SequentialResult, log_e_values, of_e_values
from tradeoff.kernels import Method
from tradeoff.keyed import Stream

__all__ = ["AnchorReading", "Anchored", "DraftAware", "Seeds", "check_masses", "fit_eps", "race_after_miss"]

#: Bets on hits foresee them with probability p0(v)^c: nearly surely for small c. Of 1 nothing is expected.
EXPONENTS = (1.0, 0.7, 0.5, 0.35, 0.2, 0.1)
#: Of the way from p0(v) to 1: probabilities that tokens have in the race after a miss.
SHARES = (0.5, 0.25, 0.1, 0.03, 0.005)


def check_masses(name: str, masses: np.ndarray) -> np.ndarray:
    """`masses` as an array; ValueError if any is not in [0, 1]."""
    masses = np.asarray(masses)
    # A NaN lies in no interval.
    bad = ~((masses >= 0) & (masses <= 1))
    if bad.any():
        raise ValueError(f"{name} holds {masses[bad][0]}; pass probabilities from 0 to 1")
    return masses


class Seeds(NamedTuple):
    """Seeds of a text's tokens.

    Attributes:
        hits: [t] whether the token, or its bucket, is the seed.
        mass: [t] probability of the seed under the anchor.
    """

    hits: np.ndarray
    mass: np.ndarray


@dataclass(frozen=True)
class AnchorReading:
    """What the draft model and the key say about a text, at the positions that count.

    Attributes:
        index: [t] positions.
        token_mass: [t] p0(v), probability of the token under the anchor.
        seeds: by number of values: the vocabulary size for tokens, m for m buckets.

    Raises:
        ValueError: for a p0(v) that is no probability.
    """

    index: np.ndarray
    token_mass: np.ndarray = field(repr=False)
    seeds: dict[int, Seeds] = field(repr=False)

    def __post_init__(self) -> None:
        check_masses("token_mass", self.token_mass)

    def seeds_of(self, values: int) -> Seeds:
        """Seeds of `values` values.

        Raises:
            ValueError: if the text was not read for as many.
        """
        if values not in self.seeds:
            raise ValueError(f"values={values} was not read; there are {', '.join(map(str, self.seeds))}")
        return self.seeds[values]

    def token_hits(self, vocabulary_size: int) -> np.ndarray:
        """[t] whether the token is the seed.

        Raises:
            ValueError: as `seeds_of`, or for a hit where p0(v) = 0: no seed is drawn there.
        """
        hits = self.seeds_of(vocabulary_size).hits
        drawn = hits & (self.token_mass == 0)
        if drawn.any():
            raise ValueError(
                f"token_mass is 0 at position {self.index[drawn][0]}, where the token is the seed; hits and "
                "masses are of different laws, so read both with one anchor and sampling"
            )
        return hits


@dataclass(frozen=True)
class Anchored:
    """The paper's test: the product of e*(v, S).

    Args:
        values: vocabulary size, or number of buckets.
        eps: TV to be robust against; see `fit_eps`.
        label: of the values, in names.
    """

    values: int
    eps: float
    label: str = ""

    @property
    def name(self) -> str:
        """As in tables."""
        return f"e*, {self.label or f'{self.values} buckets'}"

    def test(self, reading: AnchorReading) -> SequentialResult:
        """Read a text to its end; ValueError as `AnchorReading.seeds_of`, or for a bad eps."""
        seeds = reading.seeds_of(self.values)
        return of_e_values(
            self.name, log_anchored(seeds.mass, seeds.hits, self.values, self.eps), reading.index
        )


def fit_eps(training: Sequence[AnchorReading], values: int) -> float:
    """The eps of the highest growth on texts that are not tested: their share of mismatches.

    With m matches and k mismatches log e* varies with eps as m log(1 - eps) + k log(eps), greatest at
    k/(m + k). Half an observation of either kind keeps it inside (0, 1); from 1 - 1/values on matches are
    no more likely than by chance, and it stays below.

    Raises:
        ValueError: without training texts.
    """
    if not training:
        raise ValueError("fit_eps needs texts with the watermark; read some back, and keep them apart")
    hits = np.concatenate([reading.seeds_of(values).hits for reading in training])
    share = (np.count_nonzero(~hits) + 0.5) / (len(hits) + 1)
    return float(min(share, 0.999 * (1 - 1 / values)))


@dataclass(frozen=True)
class DraftAware:
    """Betting on hits, and after a miss on the race of the token.

    Bets on hits foresee them with probability p0(v)^c. After a miss the two-key methods have drawn v in the
    target's race, which the seed does not depend on: bets are those of `tradeoff.detection.race_log_bets`.
    Under one Gumbel-max race, E = -log U of a token that lost the anchor's race has the density (exp(-E) -
    exp(-E/p)) / (1 - p) with p = p0(v), and (exp(-E/q) - exp(-E/p)) / (q - p) if v won another race with
    probability q > p: one bet for every q between p and 1.

    Args:
        values: vocabulary size.
        stream: of the race after a miss: SHARED if the seeds won it at the rates p0, else TARGET; see
            `race_after_miss`. Another stream than the method's would make bets that are not fair.
        concentration: how many tokens the priors are worth.

    Raises:
        ValueError: for another stream.
    """

    values: int
    stream: Stream
    concentration: float = CONCENTRATION
    name: str = field(default="draft-aware bets", init=False)

    def __post_init__(self) -> None:
        if self.stream not in (Stream.SHARED, Stream.TARGET):
            raise ValueError(
                f"stream={str(self.stream)!r} draws no token after a miss; pass race_after_miss(method)"
            )

    def test(self, evidence: Evidence, reading: AnchorReading) -> SequentialResult:
        """Read a text to its end.

        Raises:
            ValueError: if the reading is not of this text, or as `AnchorReading.token_hits`.
        """
        if not np.array_equal(evidence.index, reading.index):
            raise ValueError(
                f"the reading has {len(reading.index)} positions that count and the text {len(evidence)}, or "
                "others; read the same text under the same key"
            )
        hits = reading.token_hits(self.values)
        log_e = self.log_e_values(reading.token_mass, hits, evidence.uniform(self.stream))
        return of_e_values(self.name, log_e, evidence.index)

    def log_e_values(self, mass: np.ndarray, hits: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """log e-value of every token: p0(v), hits and U of the race after a miss, `[..., t]` each."""
        if self.stream is Stream.SHARED:
            missed = missed_race_log_bets(uniform, mass)
        else:
            missed = race_log_bets(uniform)
        missed = with_keeping(np.where(hits[..., None], 0.0, missed))
        return self._learnt(hit_log_bets(mass, hits)) + self._learnt(missed)

    def _learnt(self, log_bets: np.ndarray) -> np.ndarray:
        return log_e_values(log_bets, keeping_prior(log_bets.shape[-1] - 1), self.concentration)


def race_after_miss(method: Method) -> Stream:
    """The stream that `DraftAware` bets on after a miss: the seeds' own if all tokens share one Gumbel-max
    race, else the target's, of which a miss says nothing.

    Other decoders draw no seed at the rates p0: a miss says nothing of their race (`SynthID(inf)`, whose
    seeds depend on bits alone), or what it says depends on side information or bits too (`Completed`). Where
    no race of the target draws tokens, as in `keep-efficiency`, bets on it are fair and win nothing.
    """
    drawn = method.detection.drafted or method.detection.bonus
    one_race = drawn is Stream.SHARED and method.decoder == GumbelMax()
    return Stream.SHARED if one_race else Stream.TARGET


def hit_log_bets(mass: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """log e-values of bets that foresee a hit with probability p0(v)^c: `[...] -> [..., bets]`.

    The first, c = 1, keeps the wealth.

    Args:
        mass: `[...]` p0(v) in [0, 1].
        hits: `[...]` whether the seed is v.
    """
    c = np.array(EXPONENTS)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = np.log(mass)[..., None]
        hit = (c - 1) * log_mass
        # (1 - p^c)/(1 - p), c at p = 1, where a miss is rounding.
        miss = np.where(log_mass < 0, np.log(np.expm1(c * log_mass) / np.expm1(log_mass)), np.log(c))
    return np.where(hits[..., None], hit, miss)


def missed_race_log_bets(uniform: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """log e-values of bets on the race of a token that lost the anchor's: `[...] -> [..., bets]`.

    Args:
        uniform: `[...]` U at the token.
        mass: `[...]` p0(v) in [0, 1].
    """
    p = np.clip(mass, 0.0, 1 - 1e-9)[..., None]
    q = p + (1 - p) * np.array(SHARES)
    race = -np.log(uniform)[..., None]
    # 1/p overflows where p is next to 0, and means the same as there.
    with np.errstate(divide="ignore", over="ignore"):
        # exp(-E/q) - exp(-E/p) = exp(-E/q) (1 - exp(-E (1/p - 1/q))), and alike for 1 in place of q.
        gone = np.where(p > 0, 1 / p, np.inf)
        won = -race / q + _log1mexp(race * (gone - 1 / q)) - np.log(q - p)
        null = -race + _log1mexp(race * (gone - 1)) - np.log1p(-p)
    return won - null


def _log1mexp(x: np.ndarray) -> np.ndarray:
    """log(1 - exp(-x)) for x > 0."""
    return np.log(-np.expm1(-x))
