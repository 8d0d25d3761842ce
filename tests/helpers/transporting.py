"""Texts for the tests of transport detectors: ideal numbers, and texts written under a key."""

from __future__ import annotations

import numpy as np

from tests.helpers.ideal import Given
from tradeoff.decoders import Completed, SideInformation, SimplexScores, Transport
from tradeoff.decoders.completed import Completion
from tradeoff.detection import RankRatio, SimplexBets, SimplexSum, TransportBets, WeightedMeanBits
from tradeoff.detection.bets.stream_bets import StreamBets
from tradeoff.detection.bets.synthid import TournamentBets
from tradeoff.detection.fixed.lattice import Statistic
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Stream
from tradeoff.optimal_transport.scores import Scores, seeded_table

BOTH = (Stream.DRAFT, Stream.TARGET)
STREAMS = (Stream.SHARED, *BOTH)


def null_numbers(scores: Scores, tokens: int, seed: int, rounds: int = 0) -> Given:
    """A text without a watermark: for every stream s uniform, tokens of a table that come back all the time.

    Uniforms, bits and coins beside.
    """
    rng = np.random.default_rng(seed)
    rows = scores.rows(np.arange(7), seeded_table(seed))
    order = np.argsort(np.argsort(rows, axis=-1, kind="stable"), axis=-1)
    token = rng.integers(0, 7, tokens)
    side = {stream: rng.integers(0, scores.k, tokens) for stream in STREAMS}
    return Given(
        {stream: rng.random(tokens) for stream in STREAMS},
        {stream: rng.integers(0, 2, (tokens, rounds)).astype(np.int8) for stream in STREAMS},
        rng.random(tokens),
        scores={stream: rows[token, s] for stream, s in side.items()},
        ranks={stream: order[token, s] for stream, s in side.items()},
    )


def marked_numbers(
    decoder: Transport | Completed, p: np.ndarray, tables: int, tokens: int, seed: int
) -> Given:
    """Tokens of the law p under a decoder, `tokens` for every one of many tables, in random order."""
    rng = np.random.default_rng(seed)
    inner = decoder.decoder if isinstance(decoder, Completed) else decoder
    assert isinstance(inner, Transport)
    found = []
    for _ in range(tables):
        table = seeded_table(int(rng.integers(1 << 40)))
        side = rng.integers(0, inner.scores.k, tokens)
        law = inner(np.broadcast_to(p, (tokens, len(p))), SideInformation(side, table))
        race = rng.exponential(size=law.shape)
        token = np.argmin(race / np.maximum(law, 1e-300), axis=-1)
        rows = inner.scores.rows(token, table)
        at = np.arange(tokens)
        score = rows[at, side]
        rank = np.count_nonzero(rows < score[:, None], axis=-1)
        found.append(np.stack([score, rank, np.exp(-race[at, token])]))
    score, rank, uniform = rng.permutation(np.concatenate(found, axis=-1), axis=-1)
    shared = Stream.SHARED
    return Given({shared: uniform}, scores={shared: score}, ranks={shared: rank.astype(int)})


def written(
    decoder: Transport | Completed, p: np.ndarray, length: int, prf: KeyedPrf, stream: Stream, seed: int
) -> list[int]:
    """A text of the law p at every position, watermarked under the key wherever a context is complete."""
    rng = np.random.default_rng(seed)
    width = prf.context_width
    inner = decoder.decoder if isinstance(decoder, Completed) else decoder
    assert isinstance(inner, Transport)
    tokens = rng.choice(len(p), width, p=p).tolist()
    while len(tokens) < length:
        context = np.array(tokens[-width:])
        zeta = SideInformation(prf.side_information(stream, context, inner.scores.k), prf)
        if isinstance(decoder, Completed):
            race = prf.race(stream, context, np.arange(len(p)))
            tokens.append(int(decoder.token(p, Completion(zeta, race))))
        else:
            law = decoder(p, zeta)
            tokens.append(int(rng.choice(len(p), p=law / law.sum())))
    return tokens


def phrases(rng: np.random.Generator, tokens: int = 50) -> np.ndarray:
    """Three phrases said over and over: contexts and tokens repeat."""
    return rng.integers(0, tokens, (3, 12))[rng.integers(0, 3, 12)].ravel()


def random_key(rng: np.random.Generator, width: int = 2) -> KeyedPrf:
    return KeyedPrf(Key(rng.bytes(32)), width)


def true_mean(scores: SimplexScores) -> float:
    return 2 ** (scores.r - 1) / (2**scores.r - 1)


def own_sum(inner: Scores | int, streams: tuple[Stream, ...] = (Stream.SHARED,)) -> Statistic:
    """The detector of a decoder by its scores, or by its rounds."""
    if isinstance(inner, int):
        return WeightedMeanBits(inner, streams)
    return SimplexSum(inner, streams) if isinstance(inner, SimplexScores) else RankRatio(inner, streams)


def own_bets(
    inner: Scores | int, streams: tuple[Stream, ...] = (Stream.SHARED,), coin: bool = False
) -> StreamBets:
    """Bets on a decoder by its scores, or by its rounds."""
    if isinstance(inner, int):
        return TournamentBets(inner, streams, coin)
    kind = SimplexBets if isinstance(inner, SimplexScores) else TransportBets
    return kind(inner, streams, coin)
