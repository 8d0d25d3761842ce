"""Anchored E-Watermarking, Theorem 2.4: type-I error at every stopping time (Ville's inequality).

Statement: products of conditional e-values are test supermartingales, so P_H0(sup_t E_t >= 1/alpha) <= alpha.

Assumption: the seed S_t has law p0_t given the past and the token. Nothing is assumed about the text: its
writer may know all earlier seeds, the anchor and the detector's wealth.

Prediction: sum_s p0(s) e(v, s) = 1 for every v, exactly. Of null texts by any writer at most alpha are
rejected, at a fixed length or at the first crossing, whether e* or the hedged bet is used, with eps learnt
on the way, on buckets, and with seeds from the library's keyed function. The mean of E at the first crossing
is 1 (optional stopping). A fixed-length p-value with Bonferroni's correction alpha / (k (k + 1)) over time
(the paper's baseline) is valid as well.

Controls: a fixed-length p-value looked at after every token; seeds of another law than the detector's p0
(another temperature); a text that repeats itself, scored as if its contexts were new.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from sims.tools.common import dirichlet, finish, generator, panels
from sims.tools.rows import Row, compare, mean_and_error
from tradeoff.anchored import (
    bucket_law,
    log_anchored,
    log_anchored_matrix,
    log_hedged,
    plug_in_eps,
    seed_bucket,
)
from tradeoff.files import write_table
from tradeoff.keyed import Key, KeyedPrf, Stream
from tradeoff.plotting import COLORS

__all__ = ["run"]

NAME = "Anchored: Theorem 2.4"
_P0 = np.array([0.5, 0.3, 0.15, 0.05])
_EPS = 0.15
_ALPHA = 0.05
_TOKENS = 120
_FIXED = 6
_HORIZON = 1_000
_KEYED_TOKENS = 64

#: (log E so far, last seed, generator) -> tokens, each [texts].
Writer = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
#: (p0 at the seed, match, mismatches so far, tokens so far) -> log e, each [texts].
Bet = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]


class _Played(NamedTuple):
    """log E after _FIXED tokens, its maximum over time, and at the first crossing (or the end), [texts]."""

    fixed: np.ndarray
    highest: np.ndarray
    stopped: np.ndarray


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, anchored_validity.csv and anchored_validity.png."""
    rng = generator(seed, "anchored validity")
    rows = _exact_rows(rng)
    writers: list[tuple[str, Writer, str, Bet]] = [
        ("always the likeliest token", lambda e, s, g: np.zeros(len(e), dtype=int), "e*", _anchored),
        ("the seed before", lambda e, s, g: s, "e*", _anchored),
        ("a writer who chases the threshold", _chaser, "e*", _anchored),
        ("a writer who chases the threshold", _chaser, "hedged", _hedged),
        ("a writer who chases the threshold", _chaser, "e*, ε learnt", _learnt),
    ]
    for text, writer, name, bet in writers:
        played = _play(writer, bet, size, rng)
        rows += _rejected(f"{text}; {name}", played, size)
    rows += _bucket_rows(size, rng)
    rows.append(_keyed_row(max(size // 40, 500), rng))
    warmer = _P0**2 / (_P0**2).sum()
    wrong = _play(writers[0][1], _anchored, size, rng, law=warmer)
    rows.append(_rejected("seeds at temperature 0.5, p0 at 1", wrong, size, control=True)[1])
    repeated = _play(writers[0][1], _anchored, size, rng, copies=8)
    rows.append(_rejected("every context 8 times, scored as new", repeated, size, control=True)[1])
    monitored, table = _monitoring(size, rng)
    _draw(table, out)
    return rows + monitored


def _exact_rows(rng: np.random.Generator) -> list[Row]:
    """All tokens and seeds of 1,000 random anchors."""
    gaps = []
    for n in (2, 5, 20):
        p0 = 0.99 * dirichlet(rng, 1_000, n, 0.5) + 0.01 / n
        e = np.exp(log_anchored_matrix(p0, _EPS))
        hedged = np.exp(log_hedged(p0[:, None], np.eye(n, dtype=bool), _EPS))
        gaps += [np.abs(np.einsum("bvs,bs->bv", m, p0) - 1).max() for m in (e, hedged)]
    setting = "3,000 random anchors, n = 2 to 20, every v: largest |Σ p0 e - 1|"
    return [compare(NAME, setting, 0.0, max(gaps))]


def _anchored(mass: np.ndarray, match: np.ndarray, mismatches: np.ndarray, t: int) -> np.ndarray:
    return log_anchored(mass, match, len(_P0), _EPS)


def _hedged(mass: np.ndarray, match: np.ndarray, mismatches: np.ndarray, t: int) -> np.ndarray:
    return log_hedged(mass, match, _EPS)


def _learnt(mass: np.ndarray, match: np.ndarray, mismatches: np.ndarray, t: int) -> np.ndarray:
    return log_anchored(mass, match, len(_P0), plug_in_eps(mismatches, t))


def _chaser(log_e: np.ndarray, seed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The likeliest token that would carry the wealth over the threshold by a match, else the rarest."""
    wanted = np.exp(-math.log(_ALPHA) - log_e)[:, None]
    enough = wanted <= (1 - _EPS) / _P0
    return np.where(enough.any(axis=1), enough.argmax(axis=1), len(_P0) - 1)


def _play(
    writer: Writer,
    bet: Bet,
    texts: int,
    rng: np.random.Generator,
    *,
    law: np.ndarray = _P0,
    copies: int = 1,
) -> _Played:
    """Null texts of _TOKENS tokens: seeds of `law`, each scored `copies` times."""
    edges, threshold = np.cumsum(law)[:-1], -math.log(_ALPHA)
    log_e, highest, stopped, fixed = (np.zeros(texts) for _ in range(4))
    mismatches, seed = np.zeros(texts), np.zeros(texts, dtype=int)
    for t in range(_TOKENS // copies):
        token = writer(log_e, seed, rng)
        seed = np.searchsorted(edges, rng.random(texts), side="right")
        match = token == seed
        log_e = log_e + copies * bet(_P0[seed], match, mismatches, t)
        mismatches += ~match
        stopped = np.where(highest < threshold, log_e, stopped)
        highest = np.maximum(highest, log_e)
        fixed = log_e if t + 1 == _FIXED else fixed
    return _Played(fixed, highest, stopped)


def _rejected(setting: str, played: _Played, texts: int, *, control: bool = False) -> list[Row]:
    error, threshold = math.sqrt(_ALPHA * (1 - _ALPHA) / texts), -math.log(_ALPHA)
    rows = []
    for rule, log_e in ((f"after {_FIXED} tokens", played.fixed), ("at any time", played.highest)):
        share = float((log_e >= threshold).mean())
        name = f"{setting}: rejected {rule}, α = {_ALPHA:g}"
        rows.append(compare(NAME, name, _ALPHA, share, error, relation="≤", control=control))
    if not control:
        name = f"{setting}: mean E where it stops"
        rows.append(compare(NAME, name, 1.0, *mean_and_error(np.exp(played.stopped))))
    return rows


def _bucket_rows(size: int, rng: np.random.Generator) -> list[Row]:
    """Zipf's law over 1,000 tokens in m buckets; the text says one token for ever."""
    p0 = 1 / np.arange(1, 1_001)
    p0 /= p0.sum()
    rows, texts = [], max(size // 4, 5_000)
    for m in (2, 16):
        h = KeyedPrf(Key(rng.bytes(32))).buckets(np.arange(len(p0)), m)
        law, said = bucket_law(p0, h, m), h[0]
        edges, path = np.cumsum(law)[:-1], np.zeros(texts)
        highest = path.copy()
        for _ in range(_TOKENS):
            seed = np.searchsorted(edges, rng.random(texts), side="right")
            path += log_anchored(law[seed], seed == said, m, _EPS)
            highest = np.maximum(highest, path)
        share, error = float((highest >= -math.log(_ALPHA)).mean()), math.sqrt(_ALPHA * (1 - _ALPHA) / texts)
        setting = f"{m} buckets of 1,000 tokens: rejected at any time, α = {_ALPHA:g}"
        rows.append(compare(NAME, setting, _ALPHA, share, error, relation="≤"))
    return rows


def _keyed_row(texts: int, rng: np.random.Generator) -> Row:
    """Random texts of four tokens, seeds from the library's function; contexts seen before carry nothing."""
    prf = KeyedPrf(Key(rng.bytes(32)), context_width=5)
    text = rng.choice(4, p=[0.7, 0.1, 0.1, 0.1], size=(texts, 4 + _KEYED_TOKENS))
    windows = np.lib.stride_tricks.sliding_window_view(text, 4, axis=1)[:, :-1]
    # The number of the text stands before every context, in place of a key of its own.
    number = np.broadcast_to(np.arange(texts)[:, None, None], (*windows.shape[:2], 1))
    seed = seed_bucket(_P0, prf.race(Stream.DRAFT, np.concatenate([number, windows], axis=-1), np.arange(4)))
    code = windows @ 4 ** np.arange(4)
    order = np.argsort(code, axis=1, kind="stable")
    new = np.diff(np.take_along_axis(code, order, axis=1), axis=1, prepend=-1) != 0
    first = np.empty_like(new)
    np.put_along_axis(first, order, new, axis=1)
    log_e = np.where(first, log_anchored(_P0[seed], text[:, 4:] == seed, 4, _EPS), 0.0)
    highest = np.cumsum(log_e, axis=1).max(axis=1)
    share, error = float((highest >= -math.log(_ALPHA)).mean()), math.sqrt(_ALPHA * (1 - _ALPHA) / texts)
    setting = f"keyed seeds, {texts:,} texts of independent tokens: rejected at any time, α = {_ALPHA:g}"
    return compare(NAME, setting, _ALPHA, share, error, relation="≤")


def _monitoring(size: int, rng: np.random.Generator) -> tuple[list[Row], pd.DataFrame]:
    """Matches with a uniform anchor of 4 tokens are binomial: its exact p-value, watched, against e*."""
    n, texts = 4, max(size // 20, 1_000)
    tokens = np.arange(1, _HORIZON + 1)
    least = stats.binom.isf(_ALPHA, tokens, 1 / n) + 1
    corrected = stats.binom.isf(_ALPHA / (tokens * (tokens + 1)), tokens, 1 / n) + 1
    crossed = {name: np.zeros(_HORIZON) for name in ("watched p-value", "Bonferroni over time", "e*")}
    for start in range(0, texts, 1_000):
        rows = min(1_000, texts - start)
        match = rng.random((rows, _HORIZON)) < 1 / n
        counts = np.cumsum(match, axis=1)
        path = np.cumsum(log_anchored(1 / n, match, n, _EPS), axis=1)
        rejected = (counts >= least, counts >= corrected, path >= -math.log(_ALPHA))
        for name, reject in zip(crossed, rejected, strict=True):
            crossed[name] += np.logical_or.accumulate(reject, axis=1).sum(axis=0)
    table = pd.DataFrame({"tokens": tokens} | {name: count / texts for name, count in crossed.items()})
    error = math.sqrt(_ALPHA * (1 - _ALPHA) / texts)
    made = []
    for name in crossed:
        setting = f"{name}, {texts:,} texts, within {_HORIZON:,} tokens: rejected, α = {_ALPHA:g}"
        share, control = float(table[name].iloc[-1]), name == "watched p-value"
        made.append(compare(NAME, setting, _ALPHA, share, error, relation="≤", control=control))
    table["texts"] = texts
    return made, table


def _draw(table: pd.DataFrame, out: Path) -> None:
    write_table(table, out / "anchored_validity.csv")
    figure, (axes,) = panels()
    styles = {
        "watched p-value": ("vermilion", "-", "fixed-length p-value, watched"),
        "Bonferroni over time": ("green", "-.", "the same, Bonferroni over time"),
        "e*": ("blue", "-", "e* (Ville's inequality)"),
    }
    for name, (colour, style, label) in styles.items():
        axes.plot(table["tokens"], table[name], style, color=COLORS[colour], lw=1.8, label=label)
    axes.axhline(_ALPHA, color=COLORS["black"], ls="--", lw=1.2, label=f"α = {_ALPHA:g}")
    axes.set(
        xscale="log",
        xlabel="tokens read so far",
        ylabel="share of null texts rejected by then",
        title="Looking after every token",
        ylim=(0, None),
    )
    axes.legend(loc="upper left")
    finish(
        figure,
        out / "anchored_validity.png",
        f"Uniform anchor, n = 4, {int(table['texts'].iloc[0]):,} texts without a watermark.",
    )
