"""Efficiency against strength: on the paper's P and Q exactly, and on a real pair of models."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from paper_repro.pages.parts.formats import markdown_table, number, percent, plus_minus
from paper_repro.pages.parts.measured import figure_table, run_measured_at
from paper_repro.pages.parts.tables import one_row, require
from tradeoff.curves import DEFAULT_SEEDS, PAPER_P, PAPER_Q, Setting, curve
from tradeoff.decoders import SynthID
from tradeoff.laws import entropy, overlap

__all__ = ["values"]

_TOURNAMENTS = 20_000
_ROUNDS, _SETTLED = 30, 0.99


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    return {
        "figure_1_measured": run_measured_at("figure_1"),
        "real_measured": run_measured_at("figure_1_real"),
        "seeds": f"{DEFAULT_SEEDS:,}",
        **_example(),
        **_real_pair(figure_table("figure_1_real_positions")),
        **_time_sharing(),
        **_unsettled(),
    }


def _example() -> dict[str, object]:
    """The paper's P and Q: Gumbel-max exactly, SynthID as `python -m figures figure_1` simulated it."""
    gumbel, simulated = Setting(PAPER_P, PAPER_Q), figure_table("figure_1_as_published")
    most_efficient, most = number(float(overlap(PAPER_P, PAPER_Q)), 1), number(float(entropy(PAPER_P)), 6)
    google, hu = (float(curve(family, gumbel, [0]).strength[0]) for family in ("google", "hu"))
    infinite = one_row(simulated, **{"class": "google"}, decoder="synthid-inf", gamma=1.0)
    finite = one_row(simulated, **{"class": "google"}, decoder="synthid-30", gamma=0.0)
    rows = [
        ("1 − TV(Q, P): the most any scheme can accept (Lemma 3.1)", most_efficient),
        ("Ent(P): the most strength any scheme can have (Theorem 3.2)", most),
        ("strength kept, Gumbel-max on both sides: efficiency", number(gumbel.agreement.value, 6)),
        (
            "strength kept, SynthID with m = ∞: efficiency",
            plus_minus(infinite["efficiency"], infinite["efficiency_error"], 4),
        ),
        ("efficiency kept, Google's class (two keys): strength", number(google, 6)),
        ("efficiency kept, Hu's class: strength", number(hu, 6)),
        (
            f"efficiency kept, Google's class, SynthID with m = {_ROUNDS}: strength",
            plus_minus(finite["strength"], finite["strength_error"], 4),
        ),
        ("optimum, reached by pseudorandom acceptance: efficiency, strength", f"{most_efficient}, {most}"),
    ]
    published = {
        family: one_row(simulated, **{"class": f"{family}, as published"}, gamma=0.0)["strength"]
        for family in ("hu", "google")
    }
    require(published["hu"] > hu and published["google"] < finite["strength"], "both ends differ so")
    return {
        "n": len(PAPER_P),
        "example": markdown_table(("quantity", "value"), rows),
        "published_hu": number(published["hu"], 2),
        "published_google": number(published["google"], 2),
        "hu": number(hu, 2),
        "google_30": number(finite["strength"], 2),
    }


def _real_pair(positions: pd.DataFrame) -> dict[str, object]:
    """Means over positions; texts are the independent units of their standard errors."""
    rows, kept = [], []
    for temperature, part in positions.groupby("temperature", sort=False):
        measures = ["sse", "agreement", "entropy", "google", "hu"]
        means, errors = part[measures].mean(), part.groupby("text")[measures].mean().sem()
        require(means["agreement"] < means["sse"], "keeping strength costs efficiency")
        require(means["hu"] < means["google"] < means["entropy"], "keeping efficiency costs strength")
        rows.append([f"{temperature:.1f}", *(plus_minus(means[name], errors[name], 3) for name in measures)])
        kept.append((float(temperature), means["google"] / means["entropy"], means["hu"] / means["entropy"]))
    by_heat = np.array(sorted(kept))
    require((np.diff(by_heat[:, 1:], axis=0) > 0).all(), "more of the strength is lost in colder text")
    count = part["source"].value_counts()
    require(
        set(count.index) == {"model", "human"} and count.nunique() == 1, "half of the positions are human"
    )
    head = [
        "temperature",
        "1 − TV(Q, P)",
        "efficiency when strength is kept (Gumbel-max)",
        "Ent(P)",
        "strength when efficiency is kept: Google",
        "Hu",
    ]
    return {
        "positions": len(part),
        "texts": part["text"].nunique(),
        "real": markdown_table(head, rows),
    }


def _time_sharing() -> dict[str, object]:
    """The efficiency up to which the chord is stronger than the linear class."""
    setting = Setting(PAPER_P, PAPER_Q)
    chord = curve("time-sharing", setting, [0, 1])
    linear = curve("linear", setting, np.linspace(0, 1, 401))
    at_same = np.interp(linear.efficiency, chord.efficiency[::-1], chord.strength[::-1])
    # At gamma = 1 both are the same point; above that efficiency the curves fall.
    behind = (linear.strength >= at_same) & (linear.gamma < 1)
    first = float(linear.efficiency[behind].min())
    require(first > chord.efficiency[1], "time sharing beats the linear class but for the weakest watermarks")
    free = linear.gamma[linear.efficiency >= chord.efficiency[0] - 1e-12].max()
    require(free > 0, "the weakest watermarks of the linear class are free")
    return {
        # Rounded down: what is said holds up to there.
        "chord_until": number(math.floor(1000 * first) / 1000, 3),
        "free_until": number(math.floor(1000 * free) / 1000, 3),
    }


def _unsettled() -> dict[str, object]:
    """How many tournaments are far from settled after the rounds that are usual."""
    decoder, rng = SynthID(_ROUNDS), np.random.default_rng(0)
    bits = decoder.draw(rng, (_TOURNAMENTS,), len(PAPER_P))
    law = decoder(np.broadcast_to(PAPER_P, (_TOURNAMENTS, len(PAPER_P))), bits)
    return {
        "rounds": _ROUNDS,
        "settled": f"{_SETTLED:g}",
        "unsettled": percent(float((law.max(axis=-1) < _SETTLED).mean())),
        "tournaments": f"{_TOURNAMENTS:,}",
    }
