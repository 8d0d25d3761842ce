"""Lemma 3.1: the speculative kernel accepts most often among all that keep the target law.

Statement: if Q∘A = P then SE = sum_w Q(w) A(w→w) <= 1 - TV(Q, P), with equality for the speculative kernel;
and SE = E_zeta[1 - TV(Q_zeta, P_zeta)] <= SSE(Q, P) = 1 - TV(Q, P) for unbiased watermarks.

Assumption: Q∘A = P (both decoders unbiased, for the second part).

Prediction: A_spec, put together from this library's acceptance probability and residual, maps Q to P and
accepts 1 - TV, exactly. So does the optimum of the linear programme over all kernels. Random kernels,
made by iterative scaling of random matrices to the margins Q and P, accept at most that. The simulated
kernel accepts that often, and watermarked pairs less.

Controls: kernels with Q∘A != P (always accept; residual left unnormalised); biased decoders that always
agree.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linprog

from sims.tools.common import dirichlet, finish, generator, panels, spread
from sims.tools.kernel_laws import step
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from tradeoff.curves import PAPER_P, PAPER_Q, sampling_efficiency
from tradeoff.decoders import GumbelMax, Identity, SynthID, race_diagonal
from tradeoff.files import write_table
from tradeoff.kernels import Standard
from tradeoff.laws import acceptance_probability, overlap, residual
from tradeoff.plotting import COLORS, legend_beside

__all__ = ["run", "speculative_kernel"]

NAME = "Lemma 3.1"
_PAIRS, _N, _PROGRAMMES = 2_000, 6, 20


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, lemma_3_1.csv and lemma_3_1.png."""
    rng = generator(seed, "lemma 3.1")
    p, q = dirichlet(rng, _PAIRS, _N), dirichlet(rng, _PAIRS, _N)
    bound = overlap(p, q)
    kernel = speculative_kernel(p, q)
    moved = np.abs(np.einsum("bi,bij->bj", q, kernel) - p).max()
    reached = np.abs(np.einsum("bi,bii->b", q, kernel) - bound).max()
    optimum = np.array([_programme(p[k], q[k]) for k in range(_PROGRAMMES)])
    coupling = _random_couplings(p, q, rng)
    efficiency = np.einsum("bii->b", coupling)
    marginal = max(np.abs(coupling.sum(axis=2) - q).max(), np.abs(coupling.sum(axis=1) - p).max())
    draws = step(Standard(), PAPER_P, PAPER_Q, size, rng)
    counts = np.bincount(draws.token, minlength=len(PAPER_P))
    sse = float(overlap(PAPER_P, PAPER_Q))
    synthid = sampling_efficiency(PAPER_P, PAPER_Q, SynthID(30), seeds=max(size // 10, 2_000), rng=rng)
    one_sided = sampling_efficiency(
        PAPER_P, PAPER_Q, SynthID(30), Identity(), seeds=max(size // 10, 2_000), rng=rng
    )
    raced = race_diagonal(p, q).sum(axis=-1)
    many = f"{_PAIRS:,} random pairs, n = {_N}"
    rows = [
        compare(NAME, f"A_spec, {many}: largest |Q∘A - P|", 0.0, moved),
        compare(NAME, f"A_spec, {many}: largest |SE - (1 - TV)|", 0.0, reached),
        compare(
            NAME,
            f"linear programme, {_PROGRAMMES} pairs: largest |SE - (1 - TV)|",
            0.0,
            np.abs(optimum - bound[:_PROGRAMMES]).max(),
        ),
        compare(NAME, f"random kernels, {many}: largest |Q∘A - P|", 0.0, marginal),
        compare(
            NAME,
            f"random kernels, {many}: largest SE - (1 - TV)",
            0.0,
            (efficiency - bound).max(),
            relation="≤",
        ),
        compare(NAME, "simulated kernel, paper's P, Q: acceptance", sse, *mean_and_error(draws.accepted)),
        goodness_of_fit(NAME, "simulated kernel, paper's P, Q: token", counts, PAPER_P),
        compare(
            NAME, f"Gumbel-max pairs, {many}: largest SE - SSE", 0.0, (raced - bound).max(), relation="≤"
        ),
        compare(
            NAME, "SynthID m = 30 on both sides: SE", sse, synthid.value, synthid.standard_error, relation="≤"
        ),
        compare(
            NAME,
            "SynthID m = 30 on the target only: SE",
            sse,
            one_sided.value,
            one_sided.standard_error,
            relation="≤",
        ),
    ]
    unnormalised = kernel.copy()
    a = acceptance_probability(p, q)
    unnormalised += (1 - a)[..., None] * (np.maximum(p - q, 0) - residual(p, q))[:, None]
    short = np.abs(np.einsum("bi,bij->bj", q, unnormalised) - p).max()
    # One race with the same rates on both sides: the draws always agree, but follow neither P nor Q.
    race = GumbelMax().draw(rng, (size,), len(PAPER_P))
    middle = spread((PAPER_P + PAPER_Q) / 2, size)
    agreed = mean_and_error(overlap(GumbelMax()(middle, race), GumbelMax()(middle, race)))
    rows += [
        compare(
            NAME,
            "always accept (Q∘A ≠ P): largest SE - (1 - TV)",
            0.0,
            (1 - bound).max(),
            relation="≤",
            control=True,
        ),
        compare(NAME, "residual left unnormalised: largest |Q∘A - P|", 0.0, short, control=True),
        compare(NAME, "biased decoders that agree: SE", sse, *agreed, relation="≤", control=True),
    ]
    _draw(bound, efficiency, raced, optimum, out)
    return rows


def speculative_kernel(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """A_spec(w' → w): [..., n, n], rows w'."""
    a = acceptance_probability(p, q)
    return a[..., :, None] * np.eye(p.shape[-1]) + (1 - a)[..., :, None] * residual(p, q)[..., None, :]


def _programme(p: np.ndarray, q: np.ndarray) -> float:
    """max sum_w M_ww over M >= 0 with row sums q and column sums p, M = diag(q) A."""
    n = len(p)
    rows, columns = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
    solution = linprog(
        -np.eye(n).ravel(),
        A_eq=np.concatenate([rows, columns]),
        b_eq=np.concatenate([q, p]),
        method="highs-ds",
    )
    return -float(solution.fun)


def _random_couplings(p: np.ndarray, q: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random M >= 0 with row sums q and column sums p, [pairs, n, n]: from independent to nearly diagonal."""
    n = p.shape[-1]
    weight = rng.exponential(size=(len(p), n, n)) ** 2
    weight += np.eye(n) * np.exp(rng.uniform(-2, 8, size=len(p)))[:, None, None]
    for _ in range(500):
        weight *= (q / weight.sum(axis=2))[:, :, None]
        weight *= (p / weight.sum(axis=1))[:, None, :]
    # What scaling has not removed is moved exactly: the rows that lack mass get it in the columns that do.
    shrink = np.minimum(1.0, q / weight.sum(axis=2))[:, :, None]
    weight *= shrink
    weight *= np.minimum(1.0, p / weight.sum(axis=1))[:, None, :]
    lack_q, lack_p = q - weight.sum(axis=2), p - weight.sum(axis=1)
    lack_q, lack_p = np.maximum(lack_q, 0.0), np.maximum(lack_p, 0.0)
    total = lack_q.sum(axis=1)[:, None, None]
    return weight + lack_q[:, :, None] * lack_p[:, None, :] / np.where(total > 1e-14, total, np.inf)


def _draw(
    bound: np.ndarray, efficiency: np.ndarray, raced: np.ndarray, optimum: np.ndarray, out: Path
) -> None:
    table = pd.DataFrame({"bound": bound, "random_kernel": efficiency, "gumbel_max": raced})
    table["programme"] = pd.Series(optimum)
    write_table(table, out / "lemma_3_1.csv")
    figure, (axis,) = panels(height=4.2)
    axis.plot([0, 1], [0, 1], color=COLORS["black"], lw=1, label="1 − TV(Q, P)")
    axis.plot(bound, efficiency, ".", ms=3, alpha=0.5, color=COLORS["sky"], label="random kernels")
    axis.plot(bound, raced, ".", ms=3, alpha=0.5, color=COLORS["orange"], label="Gumbel-max on both sides")
    axis.plot(
        bound[:_PROGRAMMES],
        optimum,
        "D",
        ms=6,
        mfc="none",
        color=COLORS["vermilion"],
        label="linear programme",
    )
    axis.set(xlabel="1 − TV(Q, P)", ylabel="sampling efficiency", title="No kernel accepts more often")
    legend_beside(axis, markerscale=1.5)
    finish(
        figure,
        out / "lemma_3_1.png",
        f"n = {_N}; {_PAIRS:,} random pairs, one random kernel each; all values exact.",
    )
