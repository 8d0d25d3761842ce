"""Theorem 3.1: under a watermark, -(1/n) log p-value tends to the mean strength.

Statement: for independent tokens with bounded log-likelihood ratios L_t = log(P_t,zeta(w_t) / P_t(w_t)) and
mean strength D = lim (1/n) sum_t WS_t, the p-value of the likelihood-ratio test has -(1/n) log p -> D under
H1; so a level alpha takes n >= log(1/alpha) / D tokens.

Assumptions: ratios independent, uniformly bounded (the linear class with gamma < 1 bounds those of
Gumbel-max), and the null law is the right one.

Prediction: -log p = n D + 1/2 log(2 pi n s^2) + 1/2 + o(1) on average, s^2 the mean variance of a ratio under
H1: the theorem's limit with its first correction (Bahadur and Rao), by which -(1/n) log p differs from D at
n tokens. Half of all texts reach p <= alpha at the n where n D + 1/2 log(2 pi n s^2) = log(1/alpha), hardly
any at half of log(1/alpha) / D. Null texts exceed log(1/alpha) with probability at most alpha.

P-values: L_n is drawn under H1 and weighted by exp(-L_n) (exponential tilting), all in logarithms, since p
falls below 1e-1000; `tradeoff.detection.with_models.model_aware` does so for a given text and is held against
an exact binomial tail.

Controls: ratios computed under the wrong null (the average of all P_t); dependent ratios (a text that says
every token four times, scored as if independent).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special, stats

from sims.tools.common import BAR, dirichlet, finish, generator, panels
from sims.tools.rows import Row, compare, mean_and_error
from tradeoff.curves import linear_strength
from tradeoff.decoders import GumbelMax
from tradeoff.detection import two_point_log_sf
from tradeoff.files import write_table
from tradeoff.kernels import open_uniform
from tradeoff.laws import at, categorical
from tradeoff.plotting import (
    COLORS,
    labelled,
    legend_below,
)

__all__ = ["run"]

NAME = "Theorem 3.1"
_KINDS, _N = 8, 10
_GAMMAS = (0.25, 0.5, 0.75)
_LENGTHS = (10, 30, 100, 300, 1_000, 3_000, 10_000)
_LOG_ALPHA = -100 * math.log(10)
_NULL_ALPHA = 1e-2
_NULL_TOKENS = 40
_COPIES = 4


@dataclass(frozen=True)
class _Texts:
    """Texts whose t-th token has the law P_(t mod kinds), under the linear class at gamma.

    Attributes:
        laws: [kinds, n].
        gamma: in (0, 1).
    """

    laws: np.ndarray
    gamma: float

    @cached_property
    def values(self) -> np.ndarray:
        """The ratio of a hit on each token, and last of a miss: [kinds, n + 1]."""
        hit = np.log(1 - self.gamma + self.gamma / self.laws)
        return np.append(hit, np.full((len(self.laws), 1), math.log(1 - self.gamma)), axis=1)

    @cached_property
    def watermarked(self) -> np.ndarray:
        """Probability of each value under H1: [kinds, n + 1]."""
        hit = self.laws * (self.gamma + (1 - self.gamma) * self.laws)
        return np.append(hit, 1 - hit.sum(axis=1, keepdims=True), axis=1)

    @cached_property
    def strength(self) -> float:
        """Mean strength D of the kinds."""
        return float(np.mean([linear_strength(p, self.gamma) for p in self.laws]))

    @cached_property
    def variance(self) -> float:
        """Mean variance of a ratio under H1."""
        mean = (self.watermarked * self.values).sum(axis=1)
        return float(((self.watermarked * self.values**2).sum(axis=1) - mean**2).mean())

    @cached_property
    def skewness(self) -> float:
        """Skewness of the sum of n ratios under H1, times sqrt(n)."""
        mean = (self.watermarked * self.values).sum(axis=1, keepdims=True)
        third = (self.watermarked * (self.values - mean) ** 3).sum(axis=1).mean()
        return float(third) / self.variance**1.5

    def detected(self, n: int, log_alpha: float) -> float:
        """Share of texts of n tokens with p <= alpha, near one half: normal, with one Edgeworth term."""
        z = (-log_alpha - self.corrected(n, 0.0)) / math.sqrt(n * self.variance)
        edgeworth = self.skewness / (6 * math.sqrt(n)) * (z**2 - 1) * stats.norm.pdf(z)
        return float(stats.norm.sf(z) + edgeworth)

    def corrected(self, n: int, extra: float = 0.5) -> float:
        """Mean of -log p at n tokens; its median with `extra` = 0."""
        return n * self.strength + 0.5 * math.log(2 * math.pi * n * self.variance) + extra

    def write(
        self,
        texts: int,
        n: int,
        rng: np.random.Generator,
        *,
        null: bool = False,
        assumed: np.ndarray | None = None,
    ) -> np.ndarray:
        """L_n of simulated texts, [texts]: zeta drawn, decoder run, token drawn, ratio summed.

        Args:
            texts, n: how many, and tokens in each.
            rng: for keys and tokens.
            null: tokens independent of zeta.
            assumed: laws of which the ratio is computed, [kinds, n]; the true ones unless given.
        """
        total = np.zeros(texts)
        step = max(1, 500_000 // texts)
        for first in range(0, n, step):
            kind = np.arange(first, min(first + step, n)) % len(self.laws)
            p = np.broadcast_to(self.laws[kind], (texts, len(kind), self.laws.shape[1]))
            chosen = GumbelMax().token(p, GumbelMax().draw(rng, p.shape[:2], p.shape[2]))
            token = categorical(p, open_uniform(rng, p.shape[:2]))
            if not null:
                token = np.where(open_uniform(rng, p.shape[:2]) < self.gamma, chosen, token)
            probability = at(p if assumed is None else np.broadcast_to(assumed[kind], p.shape), token)
            ratio = 1 - self.gamma + np.where(token == chosen, self.gamma / probability, 0.0)
            total += np.log(ratio).sum(axis=1)
        return total

    def log_p(self, ratio: np.ndarray, n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
        """log P_0(L_n >= ratio), [texts], by exponential tilting.

        log mean(exp(-L) 1{L >= ratio}) over L drawn under H1, cumulated from the largest L down.
        """
        drawn = np.zeros(draws)
        for kind, (value, chance) in enumerate(zip(self.values, self.watermarked, strict=True)):
            tokens = len(range(kind, n, len(self.laws)))
            drawn += rng.multinomial(tokens, chance, size=draws) @ value
        drawn = -np.sort(-drawn)
        tail = np.logaddexp.accumulate(-drawn) - math.log(draws)
        # A text beyond all draws is bounded by Markov's inequality.
        above = np.searchsorted(-drawn, -ratio, side="right")
        return np.where(above > 0, tail[np.maximum(above - 1, 0)], -ratio)


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, theorem_3_1.csv and theorem_3_1.png."""
    rng = generator(seed, "theorem 3.1")
    laws = 0.98 * dirichlet(rng, _KINDS, _N, 0.6) + 0.02 / _N
    texts, draws = min(max(size // 400, 200), 1_000), min(size, 100_000)
    rows, records = [_against_binomial()], []
    for gamma in _GAMMAS:
        model = _Texts(laws, gamma)
        for n in _LENGTHS:
            ratio = model.write(texts, n, rng)
            log_p = model.log_p(ratio, n, draws, rng)
            records.append((gamma, n, model.strength, *mean_and_error(-log_p)))
        rows += _limit_rows(model, ratio, log_p, n)
        rows += _sample_size_rows(model, 2 * texts, draws, rng)
    rows += _null_rows(_Texts(laws, 0.5), size, rng)
    rows += _wrong_null_rows(_Texts(laws, 0.5), texts, draws, rng)
    table = pd.DataFrame(records, columns=["gamma", "n", "strength", "minus_log_p", "minus_log_p_error"])
    _draw(table, texts, out)
    return rows


def _limit_rows(model: _Texts, ratio: np.ndarray, log_p: np.ndarray, n: int) -> list[Row]:
    setting = f"γ = {model.gamma:g}, D = {model.strength:.5f}, n = {n:,}"
    beyond = -log_p - ratio
    return [
        compare(NAME, f"{setting}: -(1/n) log p", model.corrected(n) / n, *mean_and_error(-log_p / n)),
        _correction_row(model, beyond, n, setting),
        compare(NAME, f"{setting}: least -log p - L (Markov)", 0.0, float(beyond.min()), relation="≥"),
    ]


def _correction_row(model: _Texts, beyond: np.ndarray, n: int, setting: str) -> Row:
    """Given its L_n = n D + s sqrt(n) z, a text has -log p - L_n = 1/2 log(2 pi n s^2) + z^2 / 2.

    So twice the sum of what is beyond the logarithm is chi-square; a mean of few z^2 is too skewed for z.
    """
    texts, fixed = len(beyond), model.corrected(n, 0.0) - n * model.strength
    statistic = float(2 * (beyond - fixed).sum())
    p_value = 2 * min(stats.chi2.sf(statistic, texts), stats.chi2.cdf(statistic, texts))
    return Row(
        NAME,
        f"{setting}: mean of -log p - L",
        fixed + 0.5,
        "=",
        float(beyond.mean()),
        math.sqrt(0.5 / texts),
        f"χ² ({texts} df)",
        statistic,
        min(1.0, float(p_value)),
    )


def _sample_size_rows(model: _Texts, texts: int, draws: int, rng: np.random.Generator) -> list[Row]:
    """How many tokens alpha = 1e-100 takes."""
    least = -_LOG_ALPHA / model.strength
    enough = next(n for n in range(int(least) // 2, int(least) + 2) if model.corrected(n, 0.0) >= -_LOG_ALPHA)
    rows = []
    half = model.detected(enough, _LOG_ALPHA)
    for n, predicted, relation in ((enough, half, "="), (int(least / 2), 1e-3, "≤")):
        reached = model.log_p(model.write(texts, n, rng), n, draws, rng) <= _LOG_ALPHA
        setting = f"γ = {model.gamma:g}, α = 1e-100 (log(1/α)/D = {least:.0f}), n = {n}: share detected"
        error = math.sqrt(predicted * (1 - predicted) / texts)
        rows.append(compare(NAME, setting, predicted, reached.mean(), error, relation=relation))
    return rows


def _null_rows(model: _Texts, size: int, rng: np.random.Generator) -> list[Row]:
    """P_0(L >= log(1/alpha)) <= alpha, and what copies do to it."""
    error = math.sqrt(_NULL_ALPHA * (1 - _NULL_ALPHA) / size)
    alone = model.write(size, _NULL_TOKENS, rng, null=True) >= -math.log(_NULL_ALPHA)
    copied = _COPIES * model.write(size, _NULL_TOKENS // _COPIES, rng, null=True) >= -math.log(_NULL_ALPHA)
    setting = f"null texts of {_NULL_TOKENS} tokens, γ = {model.gamma:g}: share with L ≥ log 100"
    copies = f"every token {_COPIES} times, scored as independent: share with L ≥ log 100"
    return [
        compare(NAME, setting, _NULL_ALPHA, alone.mean(), error, relation="≤"),
        compare(NAME, copies, _NULL_ALPHA, copied.mean(), error, relation="≤", control=True),
    ]


def _wrong_null_rows(model: _Texts, texts: int, draws: int, rng: np.random.Generator) -> list[Row]:
    """The detector takes the average law for every P_t."""
    n = _LENGTHS[-1]
    average = np.broadcast_to(model.laws.mean(axis=0), model.laws.shape)
    ratio = model.write(texts, n, rng, assumed=average)
    log_p = _Texts(average, model.gamma).log_p(ratio, n, draws, rng)
    setting = f"wrong null (the average of all P), γ = {model.gamma:g}, n = {n:,}: -(1/n) log p"
    return [compare(NAME, setting, model.corrected(n) / n, *mean_and_error(-log_p / n), control=True)]


def _against_binomial() -> Row:
    """Uniform P: the number of hits is binomial, so that the tail is a sum; p is about 1e-1600."""
    n, p, gamma = 10_000, 1 / 8, 0.5
    hits = round(n * (gamma + (1 - gamma) * p))
    high, low = math.log(1 - gamma + gamma / p), math.log(1 - gamma)
    k = np.arange(hits, n + 1)
    logs = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    exact = float(special.logsumexp(logs + k * math.log(p) + (n - k) * math.log1p(-p)))
    total = hits * high + (n - hits) * low
    tilted = two_point_log_sf(total, np.full(n, p), np.full(n, high), np.full(n, low))
    setting = f"log p by tilting against a binomial sum, uniform P, n = {n:,}"
    return compare(NAME, setting, exact, tilted.log_p, tilted.relative_error)


def _draw(table: pd.DataFrame, texts: int, out: Path) -> None:
    write_table(table, out / "theorem_3_1.csv")
    figure, axes = panels(2)
    for (gamma, part), colour in zip(table.groupby("gamma"), ("blue", "orange", "green"), strict=True):
        n, strength = part["n"].to_numpy(float), float(part["strength"].iloc[0])
        label = f"γ = {gamma:g}: D = {strength:.3f}"
        axes[0].plot(n, n * strength / math.log(10), color=COLORS[colour], lw=1.2, label=label)
        axes[0].plot(n, part["minus_log_p"] / math.log(10), "o", ms=5, mfc="none", color=COLORS[colour])
        axes[1].axhline(strength, color=COLORS[colour], lw=1.2, label=label)
        bars = BAR * part["minus_log_p_error"] / n
        axes[1].errorbar(n, part["minus_log_p"] / n, bars, fmt="o", ms=4, capsize=3, color=COLORS[colour])
    axes[0].axhline(300, color=COLORS["grey"], lw=1, ls=":", label="p = 1e-300")
    axes[0].set(
        xscale="log", yscale="log", xlabel="tokens n", ylabel="−log₁₀ p", title="Decay of the p-value"
    )
    axes[1].set(xscale="log", xlabel="tokens n", ylabel="−(1/n) log p (nats)", title="Its rate tends to D")
    legend_below(figure, labelled(axes[0]), columns=4)
    caption = (
        f"Linear class, Gumbel-max, {_KINDS} laws over {_N} tokens in turn; points: mean of {texts:,} texts, "
        "99% bars (right). "
        "p by exponential tilting; lines: theory, slope D."
    )
    finish(figure, out / "theorem_3_1.png", caption)
