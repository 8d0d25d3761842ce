"""The sequential detectors of the library: no stopping rule convicts more than alpha of other texts.

Statement: every bet of `tradeoff.detection.bets`, and those with the draft model, has mean 1
without a watermark, for every text; the stakes on them depend on the past alone. So the wealth is a test
supermartingale (Anchored E-Watermarking, Theorem 2.4), and a text is called watermarked at any time with
probability at most alpha.

Assumption: pseudorandom numbers at different contexts are independent; first occurrences are scored.

Prediction: the share of texts whose wealth ever reaches 1/alpha, the most that a stopping rule can make of
it, is at most alpha: with ideal numbers, and with numbers of the library's keyed function on texts that say a
few phrases over and over. The same holds for fixed-length tests under Bonferroni's alpha / (k (k + 1)), those
that count hits of seeds among them. Every bet has mean 1.

Controls: repeated contexts scored as if they were new; a fixed-length p-value looked at after every token.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from scipy import integrate, special

from sims.tools.common import BAR, finish, generator, panels
from sims.tools.rows import Row, compare
from tradeoff.decoders import GumbelMax, SimplexScores
from tradeoff.detection import (
    PROBABILITIES,
    AnchorReading,
    Bets,
    CompletedBets,
    DraftAware,
    Evidence,
    RaceBets,
    SeedHits,
    Seeds,
    SimplexBets,
    TournamentBets,
    TransportBets,
    exponential_scores,
    hit_log_bets,
    log_e_values,
    race_log_bets,
    rank_log_bets,
    score_and_rank,
    scored_positions,
    text_contexts,
    tournament_log_bets,
    value_log_bets,
)
from tradeoff.files import write_table
from tradeoff.kernels import open_uniform
from tradeoff.keyed import Key, KeyedPrf, Stream
from tradeoff.laws import categorical
from tradeoff.optimal_transport import RandomScores, Scores, seeded_table
from tradeoff.plotting import (
    COLORS,
    add_headline,
    labelled,
    legend_below,
    whole_numbers,
)

__all__ = ["run"]

NAME = "Sequential detectors"
_ALPHA = 0.02
_TOKENS, _ROUNDS, _WIDTH = 80, 8, 2
#: Width of contexts of five tokens.
_WIDE = 4
#: Texts under one key, and at a time.
_BATCH = 1_000
#: Texts whose hits are counted, one text at a time.
_FEW = 2_000
_P0 = np.array([0.5, 0.25, 0.15, 0.07, 0.03])
_BOTH = (Stream.DRAFT, Stream.TARGET)
_STREAMS = (Stream.SHARED, *_BOTH)
_RANDOM, _BITS = RandomScores("lognormal", 64), SimplexScores(4)
_FAMILIES: dict[str, Bets] = {
    "one race": RaceBets(),
    "two races, keyed coin": RaceBets(_BOTH, True),
    "tournament": TournamentBets(_ROUNDS),
    "two tournaments, random coin": TournamentBets(_ROUNDS, _BOTH, False),
    "HeavyWater": TransportBets(_RANDOM),
    "two completed SimplexWater, keyed coin": CompletedBets(SimplexBets(_BITS, _BOTH, True)),
}


@dataclass(frozen=True)
class _Numbers:
    """What an `Evidence` holds of the scored tokens of many texts.

    [tokens] each, bits [tokens, rounds]. Rows of scores [tokens, k] and s are made when they are asked for.
    """

    uniforms: dict[Stream, np.ndarray] = field(repr=False)
    bits_of: dict[Stream, np.ndarray] = field(repr=False)
    coins: np.ndarray = field(repr=False)
    rows: Callable[[Scores], np.ndarray] = field(repr=False)
    side: Callable[[Stream, int], np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        return len(self.coins)

    def uniform(self, stream: Stream) -> np.ndarray:
        return self.uniforms[stream]

    def coin(self) -> np.ndarray:
        return self.coins

    def bits(self, stream: Stream, rounds: int) -> np.ndarray:
        return self.bits_of[stream][:, :rounds]

    def score(self, stream: Stream, scores: Scores) -> np.ndarray:
        return self._at_side(stream, scores)[0]

    def rank(self, stream: Stream, scores: Scores) -> np.ndarray:
        return self._at_side(stream, scores)[1]

    def _at_side(self, stream: Stream, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
        return score_and_rank(self.rows(scores), self.side(stream, scores.k))


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, sequential_detectors.csv and sequential_detectors.png; one text in eight seeds."""
    rng = generator(seed, "sequential detectors")
    texts = max(size // 8, 2 * _BATCH)
    rows, records = _exact_rows(), []
    for name, bets in _FAMILIES.items():
        for source in (_ideal, _keyed):
            paths = _paths(bets, source, texts, rng)
            rows.append(_share(f"{name}, {source.__doc__}", _convicted(paths)))
            records += _monitored(name, cast(str, source.__doc__), paths)
    for stream in (Stream.SHARED, Stream.TARGET):
        paths = np.cumsum(_draft_aware(stream, texts, rng), axis=1)
        rows.append(_share(f"draft-aware, {stream} race after a miss, ideal numbers", _convicted(paths)))
    p_values = _aaronson(texts, rng)
    k = np.arange(1, _TOKENS + 1)
    rows.append(_share("Aaronson with Bonferroni over time", (p_values * k * (k + 1)).min(axis=1) <= _ALPHA))
    rows.append(_share("Aaronson, looked at after every token", p_values.min(axis=1) <= _ALPHA, control=True))
    repeats = _paths(_FAMILIES["one race"], _repeated, texts, rng)
    rows.append(_share(f"one race, {_repeated.__doc__}", _convicted(repeats), control=True))
    records += _monitored("one race", cast(str, _repeated.__doc__), repeats)
    watched = np.minimum.accumulate(p_values, axis=1) <= _ALPHA
    records += _curve("Aaronson", "p-value for a fixed length", watched)
    paths, lowest = _read_back(texts, rng)
    told = cast(str, _read_back.__doc__).splitlines()[0]
    rows.append(_share(f"draft-aware, one race, {told}", _convicted(paths)))
    few = np.array(lowest) <= math.log(_ALPHA)
    rows.append(_share(f"draft-aware hits with Bonferroni over time, {told}", few))
    _draw(pd.DataFrame(records, columns=["bets", "numbers", "tokens", "convicted"]), texts, out)
    return rows


#: Texts and a generator to numbers of the scored tokens, and how many each text has.
_Source = Callable[[int, np.random.Generator], tuple[_Numbers, np.ndarray]]


def _ideal(texts: int, rng: np.random.Generator) -> tuple[_Numbers, np.ndarray]:
    """ideal numbers"""
    n = texts * _TOKENS
    # Of few tokens, so that a text draws from the same rows again and again.
    token, table = rng.integers(0, 5, n), seeded_table(int(rng.integers(1 << 62)))
    numbers = _Numbers(
        {stream: open_uniform(rng, (n,)) for stream in _STREAMS},
        {stream: rng.integers(0, 2, (n, _ROUNDS), dtype=np.int8) for stream in _STREAMS},
        open_uniform(rng, (n,)),
        lambda scores: scores.rows(np.arange(5), table)[token],
        lambda _, k: rng.integers(0, k, n),
    )
    return numbers, np.full(texts, _TOKENS)


def _keyed(texts: int, rng: np.random.Generator) -> tuple[_Numbers, np.ndarray]:
    """keyed numbers, text that repeats itself"""
    return _of_phrases(texts, rng, first_only=True)


def _repeated(texts: int, rng: np.random.Generator) -> tuple[_Numbers, np.ndarray]:
    """repeated contexts scored as new"""
    return _of_phrases(texts, rng, first_only=False)


def _of_phrases(texts: int, rng: np.random.Generator, *, first_only: bool) -> tuple[_Numbers, np.ndarray]:
    """Texts of three phrases of eight tokens in random order, all under one fresh key."""
    # Of so many tokens that no two texts share a context: equal contexts have equal numbers under one key.
    tokens = _phrases(texts, 1 << 40, rng)
    prf = KeyedPrf(Key(rng.bytes(32)), _WIDTH)
    if first_only:
        row, position, counts = _first_occurrences(tokens, _WIDTH)
    else:
        counts = np.full(texts, tokens.shape[1] - _WIDTH)
        row = np.repeat(np.arange(texts), counts)
        position = np.tile(np.arange(_WIDTH, tokens.shape[1]), texts)
    scored, token = _contexts(tokens, row, position, _WIDTH), tokens[row, position]
    bits = {s: prf.bits(s, scored, token[:, None], 0)[:, 0] for s in _STREAMS}
    numbers = _Numbers(
        {s: prf.uniform(s, scored, token[:, None])[:, 0] for s in _STREAMS},
        {s: ((word[:, None] >> np.arange(_ROUNDS)) & 1).astype(np.int8) for s, word in bits.items()},
        prf.coin(scored),
        lambda scores: scores.rows(token, prf),
        lambda stream, k: prf.side_information(stream, scored, k),
    )
    return numbers, counts


def _phrases(texts: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """[texts, _TOKENS] of three phrases a text, of tokens below n."""
    phrases = rng.integers(0, n, (texts, 3, 8))
    order = rng.integers(0, 3, (texts, _TOKENS // 8))
    return phrases[np.arange(texts)[:, None], order].reshape(texts, -1)


def _first_occurrences(tokens: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and positions of the tokens that count, [tokens] each, and how many a text has."""
    where = [scored_positions(text_contexts(row, width), width) for row in tokens]
    counts = np.array([len(index) for index in where])
    return np.repeat(np.arange(len(tokens)), counts), np.concatenate(where), counts


def _contexts(tokens: np.ndarray, row: np.ndarray, position: np.ndarray, width: int) -> np.ndarray:
    """The tokens before those of the texts: [tokens, width]."""
    return tokens[row[:, None], position[:, None] + np.arange(-width, 0)]


def _paths(bets: Bets, source: _Source, texts: int, rng: np.random.Generator) -> np.ndarray:
    """Log wealth after every scored token, [texts, _TOKENS]; it stays where a text has no more."""
    parts = []
    for first in range(0, texts, _BATCH):
        numbers, counts = source(min(_BATCH, texts - first), rng)
        log_bets = bets.log_bets(cast(Evidence, numbers))
        laid_out = np.zeros((len(counts), _TOKENS, log_bets.shape[1]))
        laid_out[np.arange(_TOKENS) < counts[:, None]] = log_bets
        parts.append(np.cumsum(log_e_values(laid_out, bets.prior), axis=1))
    return np.concatenate(parts)


def _draft_aware(stream: Stream, texts: int, rng: np.random.Generator) -> np.ndarray:
    """log e-values of texts that say the anchor's likeliest and rarest tokens in turn, whatever the key."""
    n = len(_P0)
    token = np.broadcast_to(np.array([0, n - 1])[np.arange(_TOKENS) % 2], (texts, _TOKENS))
    if stream is Stream.SHARED:
        race = rng.exponential(size=(texts, _TOKENS, n))
        seed = np.argmin(race / _P0, axis=-1)
        uniform = np.exp(-np.take_along_axis(race, token[..., None], axis=-1)[..., 0])
    else:
        law = np.broadcast_to(_P0, (texts, _TOKENS, n))
        seed, uniform = categorical(law, open_uniform(rng, token.shape)), open_uniform(rng, token.shape)
    return DraftAware(n, stream).log_e_values(_P0[token], seed == token, uniform)


def _read_back(texts: int, rng: np.random.Generator) -> tuple[np.ndarray, list[float]]:
    """keyed seeds, text that repeats itself

    Log wealth of `DraftAware` over time, [texts, _TOKENS], and the lowest log p of `SeedHits` over time for
    the first of them. The anchor's law depends on the token before.
    """
    n, stream = len(_P0), Stream.SHARED
    laws = np.stack([np.roll(_P0, token) for token in range(n)])
    aware, hits, paths, lowest = DraftAware(n, stream), SeedHits(n), [], []
    for first in range(0, texts, _BATCH):
        batch = min(_BATCH, texts - first)
        tokens = _phrases(batch, n, rng)
        row, position, counts = _first_occurrences(tokens, _WIDE)
        before, token = _contexts(tokens, row, position, _WIDE), tokens[row, position]
        law, at = laws[before[:, -1]], np.arange(len(row))
        # Of five tokens many texts make the same contexts: here a text's number is part of its own.
        prf = KeyedPrf(Key(rng.bytes(32)), 1 + _WIDE)
        race = prf.race(stream, np.concatenate([row[:, None], before], axis=1), np.arange(n))
        seed = GumbelMax().token(law, race)
        counting = np.arange(_TOKENS) < counts[:, None]
        mass, uniform = np.full((2, batch, _TOKENS), 0.5)
        hit = np.zeros((batch, _TOKENS), dtype=bool)
        mass[counting], uniform[counting] = law[at, token], np.exp(-race[at, token])
        hit[counting] = seed == token
        log_e = np.where(counting, aware.log_e_values(mass, hit, uniform), 0.0)
        paths.append(np.cumsum(log_e, axis=1))
        for i in range(min(batch, max(_FEW - first, 0))):
            t = np.arange(counts[i])
            reading = AnchorReading(t, mass[i, t], {n: Seeds(hit[i, t], mass[i, t])})
            lowest.append(float(hits.over_time(reading).log_p[-1]))
    return np.concatenate(paths), lowest


def _aaronson(texts: int, rng: np.random.Generator) -> np.ndarray:
    """Fixed-length p-values of Aaronson's test after every token of texts without a watermark."""
    sums = np.cumsum(exponential_scores(open_uniform(rng, (texts, _TOKENS))), axis=1)
    return special.gammaincc(np.arange(1, _TOKENS + 1), sums)


def _convicted(paths: np.ndarray) -> np.ndarray:
    return paths.max(axis=1) >= -math.log(_ALPHA)


def _share(setting: str, convicted: np.ndarray, *, control: bool = False) -> Row:
    error = math.sqrt(_ALPHA * (1 - _ALPHA) / len(convicted))
    text = f"{setting}: convicted at any time, α = {_ALPHA:g}"
    return compare(NAME, text, _ALPHA, float(convicted.mean()), error, relation="≤", control=control)


def _exact_rows() -> list[Row]:
    """Means of all bets without a watermark, by quadrature and enumeration."""
    races = [
        integrate.quad(lambda u, k=k: math.exp(race_log_bets(np.array(u))[k]), 0, 1)[0]
        for k in range(len(PROBABILITIES))
    ]
    bits = np.array(list(itertools.product((0, 1), repeat=_ROUNDS)), dtype=np.int8)
    tournaments = np.exp(tournament_log_bets(bits)).mean(axis=0)
    ranks = np.exp(rank_log_bets(np.arange(_RANDOM.k), _RANDOM.k)).mean(axis=0)
    row = _BITS.rows(np.array([3]), seeded_table(0))[0]
    values = np.exp(value_log_bets(_BITS, row)).mean(axis=0)
    mass = np.linspace(0.001, 0.999, 999)
    hit, miss = (np.exp(hit_log_bets(mass, np.full(999, hits))) for hits in (True, False))
    hits = mass[:, None] * hit + (1 - mass[:, None]) * miss
    return [
        compare(
            NAME, f"{what}: largest |mean - 1|", 0.0, float(np.abs(np.array(means) - 1).max()), tolerance=1e-7
        )
        for what, means in (
            ("bets on races", races),
            (f"bets on tournaments, all {1 << _ROUNDS} outcomes", tournaments),
            (f"bets on ranks, all {_RANDOM.k}", ranks),
            (f"bets on bits of a simplex code, all {_BITS.k} values of s", values),
            ("bets on hits, p0 from 0.001 to 0.999", hits),
        )
    ]


def _monitored(bets: str, numbers: str, paths: np.ndarray) -> list[tuple[str, str, int, float]]:
    return _curve(bets, numbers, np.maximum.accumulate(paths, axis=1) >= -math.log(_ALPHA))


def _curve(bets: str, numbers: str, convicted: np.ndarray) -> list[tuple[str, str, int, float]]:
    return [(bets, numbers, t + 1, float(share)) for t, share in enumerate(convicted.mean(axis=0))]


def _draw(table: pd.DataFrame, texts: int, out: Path) -> None:
    """A panel for every kind of bets; colours are of where the numbers come from."""
    write_table(table, out / "sequential_detectors.csv")
    kinds = table["bets"].unique()
    rows = -(-len(kinds) // 3)
    figure, axes = panels(3, 1.75 * rows + 0.9, rows=rows)
    colours, lines = ("blue", "orange", "vermilion", "black"), ("-", "--", ":", "-.")
    looks = dict(zip(table["numbers"].unique(), zip(colours, lines, strict=True), strict=True))
    for axis, bets in zip(axes, kinds, strict=False):
        for numbers, curve in table[table["bets"] == bets].groupby("numbers", sort=False):
            colour, line = looks[numbers]
            axis.plot(curve["tokens"], curve["convicted"], line, color=COLORS[colour], label=numbers)
        axis.axhline(_ALPHA, color=COLORS["grey"], lw=1, label=f"α = {_ALPHA:g}")
        axis.set(yscale="log", ylim=(1e-5, 0.3), title=textwrap.fill(bets, 22))
        whole_numbers(axis)
    for axis in axes[len(kinds) - 3 : len(kinds)]:
        axis.set_xlabel("tokens read")
    for axis in axes[::3]:
        axis.set_ylabel("share convicted")
    left = axes[len(kinds) :]
    for axis in left:
        axis.set_axis_off()
    handles = labelled(*axes[: len(kinds)])
    legend_below(figure, handles, columns=2)
    add_headline(figure, "Texts without a watermark, watched after every token")
    error = BAR * math.sqrt(_ALPHA * (1 - _ALPHA) / texts)
    caption = f"{texts:,} texts of at most {_TOKENS} tokens a line; at α the 99% half-width is {error:.1g}."
    finish(figure, out / "sequential_detectors.png", caption)
