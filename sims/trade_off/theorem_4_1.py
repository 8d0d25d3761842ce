"""Theorem 4.1: a pseudorandom acceptance coin reaches both bounds at once.

Statement: Algorithm 1 with an unbiased decoder of largest strength is (a) unbiased, (b) accepts with
probability 1 - TV(Q, P), (c) has strength Ent(P).

Assumptions: the streams of draft, residual and coin are independent; the decoder is degenerate (Gumbel-max,
SynthID with m = infinity).

Prediction, also for the single key, one race, the joint race and their trees (derived in
docs/theory/one-race.md and docs/theory/joint-race.md): the token has law P; the acceptance rate is 1 - TV,
for trees that of an exact recursion; given the key the token is certain, and E KL(P_zeta || P) = Ent(P). With
a truly random coin in its place the strength falls by sum_j Q_j h(a_j), h the binary entropy and
a = min(1, P/Q).

Controls: the random coin (strength), one stream shared by coin and residual (bias).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, PAIR_P, PAIR_Q, finish, generator, panels, spread
from sims.tools.kernel_laws import law_given_key, step
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from tradeoff.curves import google_end_point_strength, hu_end_point_strength
from tradeoff.decoders import GumbelMax, SynthID, race_diagonal
from tradeoff.files import write_table
from tradeoff.kernels import (
    Algorithm1,
    JointRace,
    JointRaceTree,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    OneRaceTree,
    Randomness,
    SimulatedRandomness,
    SingleKey,
    TwoKeys,
)
from tradeoff.keyed import Stream
from tradeoff.laws import draft_acceptance, entropy, kl_divergence, overlap, residual
from tradeoff.plotting import COLORS, method_look

__all__ = ["SharedCoin", "label", "run", "tree_efficiency"]

NAME = "Theorem 4.1"
_SYNTHID = SynthID(math.inf)
#: Tournaments that are run to their end take about ten times as long as races.
_SLOWER = 4
METHODS: list[Method] = [
    Algorithm1(GumbelMax()),
    Algorithm1(_SYNTHID),
    SingleKey(),
    OneRace(),
    OneRaceTree(width=2),
    OneRaceTree(width=3),
    JointRace(),
    JointRaceTree(width=2),
]


def _shared_coin(
    method: Method, p: np.ndarray, q: np.ndarray, draft: np.ndarray, randomness: Randomness
) -> np.ndarray:
    race = randomness.zeta(Stream.TARGET, method.decoder)
    return np.exp(-race[..., 0]) < draft_acceptance(p, q, draft)


@dataclass(frozen=True)
class SharedCoin(Method):
    """The mistake: the coin is the first number of the stream that the residual is drawn from."""

    name = "shared-coin"
    columns = Algorithm1.columns._replace(accept=_shared_coin)
    detection = Algorithm1.detection


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, theorem_4_1.csv and theorem_4_1.png."""
    rng = generator(seed, "theorem 4.1")
    p, q = PAIR_P, PAIR_Q
    rows, records = _kernel_rows(p, q), []
    for method in METHODS:
        seeds = size // _SLOWER if method.decoder == _SYNTHID else size
        step_rows, record = _step_rows(method, p, q, seeds, rng)
        rows += step_rows
        records.append(record)
    for method in (Algorithm1(GumbelMax()), OneRace()):
        token = method.bonus(spread(p, size), SimulatedRandomness(rng, (size,), len(p)))
        counts = np.bincount(token, minlength=len(p))
        rows.append(goodness_of_fit(f"{NAME}(a)", f"{label(method)}: bonus token", counts, p))
    law = law_given_key(TwoKeys(GumbelMax()), p, q, size, rng)
    fallen = mean_and_error(kl_divergence(law, p))
    formula, most = float(google_end_point_strength(p, q)), float(entropy(p))
    biased = np.bincount(step(SharedCoin(GumbelMax()), p, q, size, rng).token, minlength=len(p))
    what = f"random coin: Ent(P) less Σ Q h(a) = {most - formula:.4f}"
    rows += [
        compare(f"{NAME}(c)", what, formula, *fallen),
        compare(f"{NAME}(c)", "truly random coin, strength Ent(P)", most, *fallen, control=True),
        goodness_of_fit(f"{NAME}(a)", "coin shared with the residual's stream", biased, p, control=True),
    ]
    _draw(p, q, records, size, out)
    return rows


def label(method: Method) -> str:
    """ "algorithm-1, Gumbel-max"; the width for trees."""
    return f"{method.name} {method.width}" if method.width > 1 else f"{method.name}, {method.decoder.name}"


def tree_efficiency(p: np.ndarray, q: np.ndarray, width: int) -> float:
    """Acceptance probability of `width` candidates, exactly: sum over the first, recursion for the others."""
    if width == 0 or not q.sum() > 0:
        return 0.0
    q = q / q.sum()
    total, rest = 0.0, residual(p, q)
    for token in np.flatnonzero(q > 0):
        a = float(draft_acceptance(p, q, np.array(token)))
        others = np.where(np.arange(len(q)) == token, 0.0, q)
        total += q[token] * (a + (1 - a) * tree_efficiency(rest, others, width - 1))
    return float(total)


def _kernel_rows(p: np.ndarray, q: np.ndarray) -> list[Row]:
    """The kernel's transition matrix, from the acceptance and residual that all methods share."""
    tokens = np.arange(len(p))
    a, rest = draft_acceptance(spread(p, len(p)), spread(q, len(p)), tokens), residual(p, q)
    law = q * a + (q * (1 - a)).sum() * rest
    return [
        compare(f"{NAME}(a)", "largest |Σ Q A - P|, summed exactly", 0.0, np.abs(law - p).max()),
        compare(f"{NAME}(b)", "Σ Q A(w→w), summed exactly", float(overlap(p, q)), float(q @ a)),
    ]


def _step_rows(
    method: Method, p: np.ndarray, q: np.ndarray, seeds: int, rng: np.random.Generator
) -> tuple[list[Row], dict[str, float | str]]:
    """(a), (b) and (c) of one method, and the point for the figure."""
    name = label(method)
    draws = step(method, p, q, seeds, rng)
    rows = [goodness_of_fit(f"{NAME}(a)", f"{name}: token", np.bincount(draws.token, minlength=len(p)), p)]
    if method.tree:
        predicted = tree_efficiency(p, q, method.width)
        randomness = SimulatedRandomness(rng, (seeds,), len(p))
        targets, drafts = spread(p, seeds), spread(q, seeds)
        verdict = method.after_rejection(targets, drafts, method.draft(drafts, randomness), randomness)
        efficiency = mean_and_error(verdict.rank < method.width)
    else:
        predicted, efficiency = float(overlap(p, q)), mean_and_error(draws.accepted)
    law = law_given_key(method, p, q, seeds, rng)
    strength = mean_and_error(kl_divergence(law, p))
    left = mean_and_error(entropy(law))
    rows += [
        compare(f"{NAME}(b)", f"{name}: acceptance", predicted, *efficiency),
        compare(f"{NAME}(c)", f"{name}: strength", float(entropy(p)), *strength),
        compare(f"{NAME}(c)", f"{name}: entropy left given the key", 0.0, *left),
    ]
    record: dict[str, float | str] = {
        "method": name,
        "efficiency": efficiency[0],
        "efficiency_error": efficiency[1],
        "strength": strength[0],
        "strength_error": strength[1],
    }
    return rows, record


def _draw(p: np.ndarray, q: np.ndarray, records: list[dict], size: int, out: Path) -> None:
    """How far every method is from the bound: a row each."""
    table = pd.DataFrame(records)
    write_table(table, out / "theorem_4_1.csv")
    sse, most = float(overlap(p, q)), float(entropy(p))
    exact = {
        KeepStrength.name: (float(race_diagonal(p, q).sum()), most),
        KeepEfficiency.name: (sse, float(hu_end_point_strength(p, q))),
        TwoKeys.name: (sse, float(google_end_point_strength(p, q))),
    }
    names = [*table["method"], *(f"{name}, exact" for name in exact)]
    looks = [method_look(name) for name in [*(method.name for method in METHODS), *exact]]
    figure, (left, right) = panels(2, height=4.2)
    for axis, column, bound, title, unit in (
        (left, "efficiency", sse, "acceptance less 1 − TV(Q, P)", "deviation"),
        (right, "strength", most, "strength less Ent(P)", "deviation (nats)"),
    ):
        values = [*table[column], *(pair[column == "strength"] for pair in exact.values())]
        errors = [*table[f"{column}_error"], *[0.0] * len(exact)]
        for place, (value, error, look) in enumerate(zip(values, errors, looks, strict=True)):
            axis.errorbar(value - bound, place, xerr=BAR * error, ms=6, capsize=2, **look.points)
        axis.axvline(0, color=COLORS["grey"], lw=1, ls="--", zorder=0)
        axis.set(title=title, xlabel=unit, ylim=(len(names) - 0.5, -0.5))
        axis.set_yticks(range(len(names)), names if axis is left else [])
        axis.margins(x=0.1)
    caption = (
        f"n = {len(p)}; {size:,} seeds a method ({size // _SLOWER:,} for SynthID); 99% bars, most shorter "
        "than the marks. Dashed: the bounds, which a keyed coin reaches. Trees accept more often than one "
        "candidate can."
    )
    finish(figure, out / "theorem_4_1.png", caption)
