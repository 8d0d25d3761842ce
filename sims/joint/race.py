"""The joint race: unbiased, as fast as speculation can be, and read nearly as text without speculation is.

Statement (derived, docs/theory/joint-race.md): with t the winning time of the draft and m that of the
residual among the remainders, accepting j if t/a < m/(1 - a) keeps the law P, accepts 1 - TV, and leaves
at the emitted token a number E whose law is known exactly.

Assumption: one race E ~ Exp(1)^n; laws P and Q that do not depend on it.

Prediction: token counts have the law P; acceptance is 1 - TV; the score -log(1 - exp(-E)) of the emitted
token has the mean and the law of docs/theory/race-scores.md, for no speculation, one race and the single
key too; with a draft that is a point mass the text is, token for token, that of Gumbel-max without
speculation.

Controls: the rates a and 1 - a swapped; the residual's clock used a second time, to draw the replacement;
the joint clocks at the first of two candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, PAIR_P, PAIR_Q, finish, generator, panels, spread
from sims.tools.kernel_laws import step
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from tradeoff.curves import PAPER_P, PAPER_Q
from tradeoff.decoders import Decoder, GumbelMax
from tradeoff.detection import expected_race_score, race_score_law
from tradeoff.files import write_table
from tradeoff.kernels import (
    Basic,
    JointRace,
    JointRaceTree,
    Method,
    OneRace,
    Randomness,
    SimulatedRandomness,
    SingleKey,
    joint_clocks,
)
from tradeoff.keyed import Stream
from tradeoff.laws import at, categorical, overlap, residual, uniform_of
from tradeoff.plotting import legend_beside, method_look

__all__ = ["run"]

NAME = "Joint race"
_PAIRS = {
    "the paper's pair": (PAPER_P, PAPER_Q),
    "five tokens": (PAIR_P, PAIR_Q),
    "two tokens": (np.array([0.9, 0.1]), np.array([0.6, 0.4])),
}
METHODS: list[Method] = [Basic(GumbelMax()), JointRace(), OneRace(), SingleKey()]
#: Bins of the score, of equal probability without a watermark.
_BINS = 12
#: Races that the mildest control needs to be far from green.
_CONTROL = 1_000_000


def _swapped(
    method: Method, p: np.ndarray, q: np.ndarray, draft: np.ndarray, randomness: Randomness
) -> np.ndarray:
    """t/(1 - a) < m/a: the clocks of a target that has Q_j - P_j in place of P_j."""
    turned = np.array(p)
    here = (at(p, draft) < at(q, draft))[:, None]
    other = np.maximum(at(q, draft) - at(p, draft), 0.0)[:, None]
    np.put_along_axis(turned, draft[:, None], np.where(here, other, at(p, draft)[:, None]), axis=-1)
    return joint_clocks(method, turned, q, draft, randomness)


def _clock_again(
    method: Method, p: np.ndarray, q: np.ndarray, draft: np.ndarray, randomness: Randomness
) -> np.ndarray:
    """The replacement is drawn by the clock that decided against the draft."""
    race, rest = randomness.zeta(Stream.SHARED, method.decoder), residual(p, q)
    left = race - (at(race, draft) / at(q, draft))[:, None] * q
    times = np.where(rest > 0, left / np.where(rest > 0, rest, 1.0), np.inf)
    return categorical(rest, uniform_of(times.min(axis=-1)))


@dataclass(frozen=True)
class _SwappedRates(Method):
    decoder: Decoder = field(default_factory=GumbelMax)
    name = "rates swapped"
    columns = JointRace.columns._replace(accept=_swapped)
    detection = JointRace.detection


@dataclass(frozen=True)
class _ClockAgain(Method):
    decoder: Decoder = field(default_factory=GumbelMax)
    name = "clock used twice"
    columns = JointRace.columns._replace(replace=_clock_again)
    detection = JointRace.detection


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, joint_race.csv and joint_race.png."""
    rng = generator(seed, "joint race")
    rows: list[Row] = []
    records: list[dict[str, object]] = []
    for name, (p, q) in _PAIRS.items():
        for method in METHODS:
            method_rows, record = _method_rows(name, method, p, q, size, rng)
            rows += method_rows
            records.append(record)
    rows += [_point_mass(size, rng), *_controls(size, rng)]
    _draw(pd.DataFrame(records), size, out)
    return rows


def _method_rows(
    name: str, method: Method, p: np.ndarray, q: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[list[Row], dict[str, object]]:
    """Token, acceptance, mean and law of the score."""
    _, accepted, token, randomness = step(method, p, q, size, rng)
    what = f"{method.name}, {name}"
    rows = [goodness_of_fit(NAME, f"{what}: token", np.bincount(token, minlength=len(p)), p)]
    if method.drafts:
        rows.append(compare(NAME, f"{what}: acceptance", float(overlap(p, q)), *mean_and_error(accepted)))
    score = -np.log(-np.expm1(-randomness.race_at(Stream.SHARED, token)))
    predicted, found = float(expected_race_score(method.name, p, q)), mean_and_error(score)
    rows.append(compare(NAME, f"{what}: mean score", predicted, *found))
    # Bins of equal probability for other text.
    edges = -np.log(np.arange(_BINS - 1, 0, -1) / _BINS)
    tail = np.concatenate([[1.0], race_score_law(method.name, p, q).sf(edges), [0.0]])
    counts = np.bincount(np.searchsorted(edges, score), minlength=_BINS)
    rows.append(goodness_of_fit(NAME, f"{what}: law of the score", counts, -np.diff(tail)))
    record = {
        "pair": name,
        "method": method.name,
        "predicted": predicted,
        "score": found[0],
        "error": found[1],
    }
    return rows, record


def _point_mass(size: int, rng: np.random.Generator) -> Row:
    """The share of tokens that are not those of no speculation, where the draft has no choice."""
    race = rng.standard_exponential((size, len(PAIR_P)))
    p = spread(PAIR_P, size)
    draft = rng.integers(len(PAIR_P), size=size)
    q = np.eye(len(PAIR_P))[draft]
    verdict = JointRace()(p, q, draft, _Given(race))
    plain = GumbelMax().token(p, race)
    what = "draft a point mass: share of tokens that differ from no speculation"
    return compare(NAME, what, 0.0, float(np.mean(verdict.token != plain)))


class _Given(SimulatedRandomness):
    """A race that is given."""

    def __init__(self, race: np.ndarray):
        super().__init__(np.random.default_rng(0), race.shape[:-1], race.shape[-1])
        self._race = race

    def zeta(self, stream: Stream, decoder: Decoder) -> np.ndarray:
        return self._race


def _controls(size: int, rng: np.random.Generator) -> list[Row]:
    p, q = PAIR_P, PAIR_Q
    rows = []
    for method in (_SwappedRates(), _ClockAgain()):
        counts = np.bincount(step(method, p, q, size, rng).token, minlength=len(p))
        rows.append(goodness_of_fit(NAME, f"{method.name}: token", counts, p, control=True))
    # Two candidates, the first of which runs the joint race with the residual, as the last alone may.
    race = rng.standard_exponential((_CONTROL, len(p)))
    targets, drafts = spread(p, _CONTROL), spread(q, _CONTROL)
    first = GumbelMax().token(drafts, race)
    accepted = JointRace().accepts(targets, drafts, first, _Given(race))
    left = race - (at(race, first) / at(drafts, first))[:, None] * drafts
    others = np.where(np.arange(len(p)) == first[:, None], 0.0, drafts)
    second = JointRaceTree(width=1).choose(residual(targets, drafts), others, _Given(left)).token
    counts = np.bincount(np.where(accepted, first, second), minlength=len(p))
    rows.append(
        goodness_of_fit(NAME, "clocks at the first of two candidates: token", counts, p, control=True)
    )
    return rows


def _draw(table: pd.DataFrame, size: int, out: Path) -> None:
    """What a detector reads, by pair and method, beside what is predicted."""
    write_table(table, out / "joint_race.csv")
    figure, (axis,) = panels()
    for offset, method in enumerate(METHODS):
        part = table[table["method"] == method.name].reset_index(drop=True)
        x = np.arange(len(part)) + 0.15 * (offset - 1.5)
        look = method_look(method.name)
        axis.errorbar(
            x, part["score"] - 1, yerr=BAR * part["error"], ms=7, capsize=3, **look.points, label=method.name
        )
        axis.plot(x, part["predicted"] - 1, "_", color=look.color, ms=14, zorder=5)
    axis.set_xticks(range(len(_PAIRS)), list(_PAIRS))
    axis.set(ylabel="mean score less 1", title="What a detector reads at a token")
    legend_beside(axis)
    finish(figure, out / "joint_race.png", f"{size:,} seeds a point; 99% bars. Dashes: predicted, exact.")
