"""Anchored watermarks on buckets (derived): unbiased, and growing where a vocabulary ruins e*.

Statement: hash the tokens to m buckets, couple the buckets of target q and anchor p0 maximally, and draw the
token from q within its bucket: tokens have law q, and e* of the buckets grows at
H(p0_h) + (1-t) log(1-eps) + t log(eps/(m-1)), t the TV of the bucket laws. Text that was generated at token
level, read in buckets, has for t the rate at which token and seed fall into different buckets.

Assumption: true randomness within the bucket, and for replacements.

Prediction: the simulated kernel has token law q and that growth. For Zipf's law with exponent 2 over 32,000
tokens, q its mixture with the reversed law at TV = 0.15 = eps, e* loses 0.34 nats a token; in 2, 4 and 16
buckets, averaged over keys, it gains. A hedged bet on the tokens themselves gains more, for that q.

Controls: tokens drawn from the anchor within the bucket (biased); a fixed seed bucket.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, finish, generator, panels
from sims.tools.kernel_laws import step
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from tradeoff.anchored import (
    bucket_law,
    couple,
    growth_at,
    hedged_growth,
    log_anchored,
    maximal_coupling,
    seed_bucket,
)
from tradeoff.files import write_table
from tradeoff.kernels import KeepEfficiency, open_uniform
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.laws import total_variation
from tradeoff.plotting import COLORS, legend_beside

__all__ = ["run", "zipf_pair"]

NAME = "Anchored: buckets"
_EPS = 0.15
_N, _VOCABULARY = 40, 32_000
_BUCKETS = (2, 4, 16)


def zipf_pair(n: int, tv: float) -> tuple[np.ndarray, np.ndarray]:
    """Zipf's law with exponent 2, and its mixture with its own reverse at a distance TV = tv: [n], [n]."""
    p0 = np.arange(1, n + 1) ** -2.0
    p0 /= p0.sum()
    share = tv / float(total_variation(p0, p0[::-1]))
    return p0, (1 - share) * p0 + share * p0[::-1]


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, anchored_buckets.csv and anchored_buckets.png."""
    rng = generator(seed, "anchored buckets")
    p0, q = zipf_pair(_N, _EPS)
    rows = []
    for m in _BUCKETS:
        h = KeyedPrf(Key(rng.bytes(32))).buckets(np.arange(_N), m)
        rows += _kernel_rows(p0, q, h, m, size, rng)
    table = _vocabulary(min(max(size // 1_000, 40), 400), rng)
    rows += _vocabulary_rows(table)
    _draw(table, out)
    return rows


def _kernel_rows(
    p0: np.ndarray, q: np.ndarray, h: np.ndarray, m: int, size: int, rng: np.random.Generator
) -> list[Row]:
    law, target_law = bucket_law(p0, h, m), bucket_law(q, h, m)
    setting = f"n = {_N}, m = {m}"
    seed = seed_bucket(law, rng.exponential(size=(size, m)))
    uniforms = open_uniform(rng, (3, size))
    drawn = couple(q, p0, h, m, seed, uniforms)
    counts = np.bincount(drawn.token, minlength=_N)
    mean, error = mean_and_error(log_anchored(law[seed], drawn.bucket == seed, m, _EPS))
    growth = float(growth_at(law, _EPS, float(total_variation(law, target_law))))
    read = step(KeepEfficiency(), q, p0, size, rng)
    w = maximal_coupling(q, p0)
    apart = float(w[h[:, None] != h].sum())
    read_mean, read_error = mean_and_error(
        log_anchored(law[h[read.draft]], h[read.token] == h[read.draft], m, _EPS)
    )
    rows = [
        goodness_of_fit(NAME, f"kernel, {setting}: token", counts, q),
        compare(NAME, f"kernel, {setting}: mean log e*", growth, mean, error),
        compare(
            NAME,
            f"token-level text read in buckets, {setting}: mean log e*",
            float(growth_at(law, _EPS, apart)),
            read_mean,
            read_error,
        ),
    ]
    if m == _BUCKETS[1]:
        biased = couple(p0, p0, h, m, drawn.bucket, np.stack([np.full(size, 2.0**-54), *uniforms[1:]]))
        rows.append(
            goodness_of_fit(
                NAME,
                f"the anchor's token within the bucket, {setting}: token",
                np.bincount(biased.token, minlength=_N),
                q,
                control=True,
            )
        )
        stuck = couple(q, p0, h, m, np.full(size, int(law.argmax())), uniforms)
        counts = np.bincount(stuck.token, minlength=_N)
        rows.append(
            goodness_of_fit(NAME, f"one seed bucket for ever, {setting}: token", counts, q, control=True)
        )
    return rows


def _vocabulary(keys: int, rng: np.random.Generator) -> pd.DataFrame:
    """Growth of e* in m buckets of the Zipf vocabulary, under random keys: columns m, growth."""
    p0, q = zipf_pair(_VOCABULARY, _EPS)
    both, records = np.stack([p0, q]), []
    for m in _BUCKETS:
        for _ in range(keys):
            h = KeyedPrf(Key(rng.bytes(32))).buckets(np.arange(_VOCABULARY), m)
            law, target_law = bucket_law(both, h, m)
            records.append((m, float(growth_at(law, _EPS, float(total_variation(law, target_law))))))
    return pd.DataFrame(records, columns=["m", "growth"])


def _vocabulary_rows(table: pd.DataFrame) -> list[Row]:
    p0, q = zipf_pair(_VOCABULARY, _EPS)
    setting = f"Zipf, n = {_VOCABULARY:,}, TV = ε = {_EPS:g}"
    token_level = float(growth_at(p0, _EPS, _EPS))
    rows = [
        compare(NAME, f"{setting}: growth of e* on tokens", -0.342, token_level, tolerance=5e-4),
        compare(
            NAME,
            f"{setting}: growth of the hedged bet",
            1.0,
            float(hedged_growth(p0, q, _EPS)),
            relation="≥",
        ),
    ]
    for m, part in table.groupby("m"):
        name = f"{setting}, {m} buckets, mean of {len(part)} keys: growth"
        rows.append(compare(NAME, name, 0.0, *mean_and_error(part["growth"].to_numpy()), relation="≥"))
    return rows


def _draw(table: pd.DataFrame, out: Path) -> None:
    write_table(table, out / "anchored_buckets.csv")
    p0, q = zipf_pair(_VOCABULARY, _EPS)
    figure, (axes,) = panels()
    for place, (_, part) in enumerate(table.groupby("m")):
        mean, error = mean_and_error(part["growth"].to_numpy())
        axes.plot(
            np.full(len(part), place),
            part["growth"],
            ".",
            ms=4,
            alpha=0.35,
            color=COLORS["sky"],
            label="_" if place else "one key",
        )
        axes.errorbar(
            place,
            mean,
            BAR * error,
            fmt="o",
            ms=6,
            capsize=4,
            color=COLORS["blue"],
            label="_" if place else "mean over keys",
        )
    axes.axhline(float(growth_at(p0, _EPS, _EPS)), color=COLORS["vermilion"], ls="--", label="e* on tokens")
    hedged = float(hedged_growth(p0, q, _EPS))
    axes.axhline(hedged, color=COLORS["orange"], ls="-.", label="hedged bet on tokens")
    axes.set_xticks(range(len(_BUCKETS)), [f"{m} buckets" for m in _BUCKETS])
    axes.set(ylabel="growth (nats per token)", title="Anchored watermarks on a vocabulary")
    legend_beside(axes)
    keys = len(table) // len(_BUCKETS)
    finish(
        figure,
        out / "anchored_buckets.png",
        f"Zipf's law, exponent 2, n = {_VOCABULARY:,}; target at TV = ε = {_EPS:g}; {keys} keys, 99% bars.",
    )
