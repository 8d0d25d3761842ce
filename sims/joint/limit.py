"""The limit of races: no rule whose draft wins the race reads more, and the joint race nearly reaches it.

Statement (derived, docs/theory/race-limit.md): for any potentials c, E[max over allowed w of (s(E_w) +
c_w)] less their mean under the emission law bounds the expected score of every unbiased rule that accepts
1 - TV of the race's winners; with a price of a rejection it bounds rules of lower efficiency.

Assumption: the draft is argmin E/Q, and the rule sees Q, P and E.

Prediction: the expected scores of the joint race, one race and the single key are below the certified
limit, and so is the threshold rule's; with two tokens on one side it is attained; at the efficiency of no
speculation the limit is not below its score.

Controls: no speculation's score taken for one that full efficiency allows; a limit of potentials that are
all equal, taken for attained.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, dirichlet, finish, generator, panels
from sims.tools.rows import Row, compare
from tradeoff.curves import PAPER_P, PAPER_Q, race_limit, race_limit_curve, threshold_rule_score
from tradeoff.decoders import race_diagonal
from tradeoff.detection import expected_race_score
from tradeoff.files import write_table
from tradeoff.plotting import COLORS, legend_beside, method_look

__all__ = ["run"]

NAME = "Limit of races"
KERNELS = ("joint-race", "one-race", "single-key")
_RANDOM = 4


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, race_limit.csv and race_limit.png."""
    rng = generator(seed, "race limit")
    pairs = {"the paper's pair": (PAPER_P, PAPER_Q)}
    for k, n in enumerate(np.resize([3, 8, 20], _RANDOM)):
        p, q = dirichlet(rng, 2, int(n), 0.7)
        pairs[f"random pair {k + 1}, {n} tokens"] = (p, q)
    rows: list[Row] = []
    records: list[dict[str, object]] = []
    for name, (p, q) in pairs.items():
        found = race_limit(p, q, races=size, seed=seed).dual
        dual, error = float(found.value), float(found.standard_error)
        for method in KERNELS:
            score = float(expected_race_score(method, p, q))
            rows.append(compare(NAME, f"{name}: limit over {method}", score, dual, error, relation="≥"))
            records.append({"pair": name, "what": method, "score": score, "error": 0.0})
        rule = threshold_rule_score(p, q)
        rows.append(compare(NAME, f"{name}: limit over the threshold rule", rule, dual, error, relation="≥"))
        records.append({"pair": name, "what": "limit", "score": dual, "error": error})
    rows += _paper_rows(size, seed)
    _draw(pd.DataFrame(records), size, out)
    return rows


def _paper_rows(size: int, seed: int) -> list[Row]:
    p, q = PAPER_P, PAPER_Q
    plain, agreement = float(expected_race_score("basic", p)), float(race_diagonal(p, q).sum())
    full = race_limit(p, q, races=size, seed=seed).dual
    curve = race_limit_curve(p, q, [agreement], races=size, seed=seed).dual
    two = np.array([0.9, 0.1]), np.array([0.6, 0.4])
    attained, rule = race_limit(*two, races=size, seed=seed).dual, threshold_rule_score(*two)
    loose = race_limit(p, q, races=size, seed=seed, iterations=0).dual
    joint = float(expected_race_score("joint-race", p, q))
    return [
        compare(
            NAME,
            "the paper's pair, efficiency Σ π_ii: limit over no speculation",
            plain,
            float(curve.value[0]),
            float(curve.standard_error[0]),
            relation="≥",
        ),
        compare(
            NAME,
            "two tokens: the threshold rule's score",
            rule,
            float(attained.value),
            float(attained.standard_error),
            tolerance=1e-3,
        ),
        compare(
            NAME,
            "full efficiency: limit over no speculation",
            plain,
            float(full.value),
            float(full.standard_error),
            relation="≥",
            control=True,
        ),
        compare(
            NAME,
            "first guess of the potentials: the joint race's score",
            joint,
            float(loose.value),
            float(loose.standard_error),
            control=True,
        ),
    ]


def _draw(table: pd.DataFrame, size: int, out: Path) -> None:
    """Expected scores of each pair, less the limit."""
    write_table(table, out / "race_limit.csv")
    figure, (axis,) = panels()
    limits = table[table["what"] == "limit"].set_index("pair")
    names = list(limits.index)
    for place, method in enumerate(KERNELS):
        part = table[table["what"] == method].set_index("pair").loc[names]
        lack = part["score"] - limits["score"]
        axis.errorbar(
            np.arange(len(names)) + 0.12 * (place - (len(KERNELS) - 1) / 2),
            lack,
            yerr=BAR * limits["error"],
            ms=7,
            capsize=3,
            **method_look(method).points,
            label=method,
        )
    axis.axhline(0, color=COLORS["grey"], lw=1, ls="--", label="limit")
    axis.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names])
    axis.set(ylabel="expected score less the limit", title="What is left to any rule")
    legend_beside(axis)
    finish(figure, out / "race_limit.png", f"{size:,} races a limit; 99% bars.")
