"""Section 3.2: the trade-off curves, their threshold gamma*, and simulated points on them.

Statement: in the linear class with a degenerate decoder strength increases with gamma, so that a requirement
of strength determines a unique threshold gamma* (Eq. 10).

Assumptions: decoders unbiased and degenerate (Gumbel-max), one zeta shared by draft and target.

Prediction: strength rises strictly on a grid of gamma; the threshold of the strength at gamma is gamma again,
and so is the solution of Definition 3.2 for the efficiency at gamma; efficiency and strength at gamma = 0.4
and 0.8 on the paper's P and Q are the known ones. Points simulated from the definitions of the four classes
(laws P_zeta^gamma and Q_zeta^theta of drawn races) lie on the exact curves of `tradeoff.curves.families`.

Controls: Hu's curve taken for monotone; the residual left unnormalised (the error of the published figure);
zeta not shared by draft and target.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, finish, generator, panels, spread
from sims.tools.rows import Row, compare, mean_and_error
from tradeoff.curves import (
    CLASSES,
    PAPER_P,
    PAPER_Q,
    Setting,
    curve,
    draw_curve,
    draw_points,
    gamma_for_strength,
    linear_efficiency,
    linear_strength,
    spliced_law,
    strongest,
    style_axes,
)
from tradeoff.decoders import GumbelMax
from tradeoff.files import write_table
from tradeoff.laws import acceptance_probability, entropy, kl_divergence, overlap, residual
from tradeoff.plotting import OPTIMUM, curve_look, legend_beside

__all__ = ["run"]

NAME = "Section 3.2"
_POINTS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
_TESTED = 0.5
#: gamma, strength and largest efficiency on the paper's P and Q, to six digits.
_REFERENCES = ((0.4, 0.394353, 0.672828), (0.8, 1.331955, 0.641435))
_SIX_DIGITS = 5e-7
_TITLES = {"linear": "linear", "hu": "Hu", "google": "Google", "time-sharing": "time sharing"}
Measured = tuple[tuple[float, float], tuple[float, float]]


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, curves_3_2.csv and curves_3_2.png."""
    rng = generator(seed, "section 3.2")
    setting = Setting(PAPER_P, PAPER_Q)
    rows = _threshold_rows(setting)
    simulated = {}
    for name in CLASSES:
        exact = curve(name, setting, _POINTS)
        for k, gamma in enumerate(_POINTS):
            simulated[name, gamma] = _simulate(name, gamma, float(exact.theta[k]), size, rng)
        at_half = int(np.flatnonzero(_POINTS == _TESTED)[0])
        efficiency, strength = simulated[name, _TESTED]
        what = f"{_TITLES[name]}, γ = {_TESTED:g}"
        rows += [
            compare(NAME, f"{what}: efficiency on the exact curve", exact.efficiency[at_half], *efficiency),
            compare(NAME, f"{what}: strength on the exact curve", exact.strength[at_half], *strength),
        ]
    for name in ("hu", "google"):
        end = float(curve(name, setting, [0.0]).strength[0])
        rows.append(compare(NAME, f"{_TITLES[name]}, γ = 0: strength", end, *simulated[name, 0.0][1]))
    rows += _controls(setting, size, rng)
    _draw(setting, simulated, size, out)
    return rows


def _threshold_rows(setting: Setting) -> list[Row]:
    p = setting.p
    grid = np.linspace(0, 1, 1_001)
    rise = float(np.diff(linear_strength(p, grid)).min())
    rows = [
        compare(
            NAME,
            "linear: least rise of strength over 1,000 steps of γ",
            1e-9,
            rise,
            relation="≥",
            tolerance=0.0,
        )
    ]
    back = [
        abs(
            gamma_for_strength(lambda g: float(linear_strength(p, g)), float(linear_strength(p, gamma)))
            - gamma
        )
        for gamma in grid[50::50]
    ]
    rows.append(compare(NAME, "linear: largest |γ*(WS(γ)) - γ|", 0.0, max(back)))
    for gamma, strength, efficiency in _REFERENCES:
        exact = curve("linear", setting, [gamma])
        rows += [
            compare(
                NAME,
                f"linear, γ = {gamma:g}: strength, reference",
                strength,
                exact.strength[0],
                tolerance=_SIX_DIGITS,
            ),
            compare(
                NAME,
                f"linear, γ = {gamma:g}: efficiency, reference",
                efficiency,
                exact.efficiency[0],
                tolerance=_SIX_DIGITS,
            ),
        ]
        solved = strongest(setting, float(exact.efficiency[0])).gamma
        rows.append(compare(NAME, f"Definition 3.2 for the efficiency at γ = {gamma:g}", gamma, solved))
    return rows


def _simulate(
    name: str,
    gamma: float,
    theta: float,
    seeds: int,
    rng: np.random.Generator,
    *,
    normalise: bool = True,
    shared: bool = True,
) -> Measured:
    """Efficiency and strength of one class at one point, from the definitions (Eq. 9 and 14, appendix C.2).

    Args:
        name: key of CLASSES.
        gamma, theta: parameters of the target's and the draft's family.
        seeds, rng: how many zeta, and their generator.
        normalise: False leaves the residual unnormalised (a control).
        shared: False gives the draft a zeta of its own (a control).

    Returns:
        (efficiency, error), (strength, error).
    """
    p, q, decoder = spread(PAPER_P, seeds), spread(PAPER_Q, seeds), GumbelMax()
    zeta = decoder.draw(rng, (seeds,), p.shape[1])
    p_zeta = decoder(p, zeta)
    q_zeta = decoder(q, zeta if shared else decoder.draw(rng, (seeds,), p.shape[1]))
    rest = residual(p, q)
    if name == "linear":
        target, draft = (1 - gamma) * p + gamma * p_zeta, (1 - theta) * q + theta * q_zeta
    elif name == "time-sharing":
        on = rng.random((seeds, 1)) < gamma
        target, draft = np.where(on, p_zeta, p), np.where(on, q_zeta, q)
    else:
        if name == "google":
            rest = decoder(rest, decoder.draw(rng, (seeds,), p.shape[1]))
        if not normalise:
            rest = rest * np.maximum(PAPER_P - PAPER_Q, 0).sum()
        spliced = spliced_law(q_zeta, acceptance_probability(p, q), rest)
        target, draft = (1 - gamma) * spliced + gamma * p_zeta, q_zeta
    # Ent(P) - E Ent(P_zeta), as the authors compute it; for normalised unbiased laws the expected divergence.
    strength = kl_divergence(target, p) if normalise else entropy(p) - entropy(target)
    return mean_and_error(overlap(target, draft)), mean_and_error(strength)


def _controls(setting: Setting, size: int, rng: np.random.Generator) -> list[Row]:
    hu = curve("hu", setting, np.linspace(0, 1, 41))
    unnormalised = _simulate("hu", 0.0, 1.0, size, rng, normalise=False)[1]
    apart = _simulate("linear", _TESTED, 1.0, size, rng, shared=False)[0]
    together = linear_efficiency(setting)(_TESTED, 1.0)
    return [
        compare(
            NAME,
            "Hu's raw curve: least rise of strength",
            0.0,
            np.diff(hu.strength).min(),
            relation="≥",
            control=True,
        ),
        compare(
            NAME, "Hu, γ = 0, residual unnormalised: strength", hu.strength[0], *unnormalised, control=True
        ),
        compare(NAME, "linear, γ = 0.5, θ = 1, zeta not shared: efficiency", together, *apart, control=True),
    ]


def _draw(setting: Setting, simulated: dict[tuple[str, float], Measured], size: int, out: Path) -> None:
    records = []
    figure, (axis,) = panels(height=4.2)
    for name in ("linear", "time-sharing", "hu", "google"):
        look = curve_look(name)
        draw_curve(axis, curve(name, setting), color=look.color, style=look.line, label=_TITLES[name])
        points = [(gamma, *simulated[name, gamma]) for gamma in _POINTS]
        x, y = ([p[side][0] for p in points] for side in (1, 2))
        x_error, y_error = ([BAR * p[side][1] for p in points] for side in (1, 2))
        axis.errorbar(x, y, y_error, x_error, fmt="o", ms=4, color=look.color, mec="white", mew=0.5, zorder=6)
        records += [(name, gamma, *efficiency, *strength) for gamma, efficiency, strength in points]
    sse, most = float(overlap(setting.p, setting.q)), float(entropy(setting.p))
    draw_points(
        axis, [sse], [most], marker=OPTIMUM.marker, color=OPTIMUM.color, label="optimum (1 − TV, Ent)"
    )
    style_axes(axis, "Exact curves, simulated points, Gumbel-max")
    legend_beside(axis)
    names = ["class", "gamma", "efficiency", "efficiency_error", "strength", "strength_error"]
    write_table(pd.DataFrame(records, columns=names), out / "curves_3_2.csv")
    caption = (
        f"P and Q of the paper, n = {len(setting.p)}; points: {size:,} seeds each, 99% bars. Pale: dominated."
    )
    finish(figure, out / "curves_3_2.png", caption)
