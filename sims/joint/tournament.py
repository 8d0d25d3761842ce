"""The joint tournament: SynthID under speculation with one key, at full efficiency.

Statement (derived, docs/theory/joint-tournament.md): the draft plays SynthID's tournament on Q, the
residual a damped one over the same bits, and acceptance is a martingale of the bits of both winners that
starts at a. Then the draft has law Q, the token law P, and acceptance is 1 - TV, with one key. Completed
by a race, the token is a function of the key, of strength Ent(P).

Assumption: fair bits, independent over layers and tokens.

Prediction: these laws, for few and for many rounds, and where rare tokens do not play; the emitted token's
bits tell more of the key than under two keys of which one is read.

Controls: the plain tournament on the residual with the same bits (biased); two keys' strength, and that of
the joint tournament without a race, taken for Ent(P).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, PAIR_P, PAIR_Q, finish, generator, panels, spread
from sims.tools.kernel_laws import law_given_key, step
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from tradeoff.curves import PAPER_P, PAPER_Q
from tradeoff.decoders import Completed, Decoder, SynthID
from tradeoff.files import write_table
from tradeoff.kernels import (
    Basic,
    Columns,
    JointTournament,
    Method,
    TwoKeys,
    drawn,
    drawn_from_residual,
    random_coin,
)
from tradeoff.keyed import Stream
from tradeoff.laws import entropy, kl_divergence, overlap
from tradeoff.plotting import (
    labelled,
    legend_below,
    method_look,
)

__all__ = ["run"]

NAME = "Joint tournament"
_PAIRS = {
    "the paper's pair": (PAPER_P, PAPER_Q),
    "five tokens": (PAIR_P, PAIR_Q),
    "three tokens": (np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])),
}
_ROUNDS = (3, 30)
#: Tournaments take longer than races.
_SLOWER = 4
#: The draft's favourite is half sure to win, and one of two tokens with excess is likely under the draft: its
#: bits are those of a loser.
_BIASED = (np.array([0.02, 0.68, 0.3]), np.array([0.5, 0.49, 0.01]))


@dataclass(frozen=True)
class _PlainResidual(Method):
    """The mistake: the residual plays the draft's bits as if nothing were known of them."""

    decoder: Decoder = field(default_factory=SynthID)
    name = "plain tournament on the residual"
    columns = Columns(
        drawn(Stream.SHARED), random_coin, drawn_from_residual(Stream.SHARED), drawn(Stream.SHARED)
    )
    detection = JointTournament.detection


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, joint_tournament.csv and joint_tournament.png."""
    rng = generator(seed, "joint tournament")
    seeds = max(size // _SLOWER, 1)
    rows: list[Row] = []
    records: list[dict[str, object]] = []
    for name, (p, q) in _PAIRS.items():
        for rounds in _ROUNDS:
            decoder = SynthID(rounds)
            what = f"m = {rounds}, {name}"
            for method in (
                JointTournament(decoder),
                JointTournament(decoder, cut=0.12),
                JointTournament(Completed(decoder)),
            ):
                rows += _law_rows(f"{_label(method)}, {what}", method, p, q, seeds, rng)
            bits = {m.name: _mean_bits(m, p, q, seeds, rng) for m in _read_by_one_key(decoder)}
            joint, coin = bits["joint-tournament"], bits["two-keys"]
            gain = (joint[0] - coin[0], math.hypot(joint[1], coin[1]))
            rows.append(compare(NAME, f"{what}: bits told, joint less two keys", 0.0, *gain, relation="≥"))
            records += [
                {"pair": name, "rounds": rounds, "method": method, "bit": mean, "error": error}
                for method, (mean, error) in bits.items()
            ]
    rows += _strength_rows(seeds, rng)
    p, q = _BIASED
    token = step(_PlainResidual(SynthID(30)), p, q, seeds, rng).token
    counts = np.bincount(token, minlength=len(p))
    rows.append(goodness_of_fit(NAME, f"{_PlainResidual.name}: token", counts, p, control=True))
    _draw(pd.DataFrame(records), seeds, out)
    return rows


def _label(method: Method) -> str:
    end = ", completed" if method.determined else ""
    return f"{method.name}{end}{', rare tokens left out' if method != type(method)(method.decoder) else ''}"


def _read_by_one_key(decoder: Decoder) -> tuple[Method, ...]:
    return Basic(decoder), JointTournament(decoder), TwoKeys(decoder)


def _law_rows(
    what: str, method: Method, p: np.ndarray, q: np.ndarray, seeds: int, rng: np.random.Generator
) -> list[Row]:
    draft, accepted, token, _ = step(method, p, q, seeds, rng)
    return [
        goodness_of_fit(NAME, f"{what}: draft token", np.bincount(draft, minlength=len(q)), q),
        goodness_of_fit(NAME, f"{what}: token", np.bincount(token, minlength=len(p)), p),
        compare(NAME, f"{what}: acceptance", float(overlap(p, q)), *mean_and_error(accepted)),
    ]


def _mean_bits(
    method: Method, p: np.ndarray, q: np.ndarray, seeds: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Mean bit of the emitted token under the key that draws drafts, less 1/2, and its standard error."""
    _, _, token, randomness = step(method, p, q, seeds, rng)
    stream = method.detection.drafted or method.detection.bonus
    assert stream is not None
    word = randomness.zeta(stream, method.decoder).word(0)
    own = np.take_along_axis(word, token[:, None], axis=-1)
    rounds = method.decoder.tournament
    assert rounds is not None
    levels = (own >> np.arange(rounds)) & 1
    return mean_and_error(levels.mean(axis=-1) - 0.5)


def _strength_rows(seeds: int, rng: np.random.Generator) -> list[Row]:
    p, q = PAPER_P, PAPER_Q
    most = float(entropy(p))
    law = law_given_key(JointTournament(Completed(SynthID(5))), p, q, seeds, rng)
    rows = [compare(NAME, "completed, m = 5: strength", most, *mean_and_error(kl_divergence(law, p)))]
    # Without a race the token is a draw from the law given the bits.
    plain = Basic(SynthID(5))
    given = plain.decoder(spread(p, seeds), plain.decoder.draw(rng, (seeds,), len(p)))
    fallen = mean_and_error(kl_divergence(np.asarray(given), p))
    rows.append(compare(NAME, "SynthID, m = 5, without a race: strength Ent(P)", most, *fallen, control=True))
    return rows


def _draw(table: pd.DataFrame, seeds: int, out: Path) -> None:
    """The bits of the emitted token, by pair and rounds."""
    write_table(table, out / "joint_tournament.csv")
    figure, axes = panels(len(_ROUNDS))
    for axis, rounds in zip(axes, _ROUNDS, strict=True):
        part = table[table["rounds"] == rounds]
        for offset, (method, rows) in enumerate(part.groupby("method", sort=False)):
            axis.errorbar(
                np.arange(len(rows)) + 0.18 * (offset - 1),
                rows["bit"],
                yerr=BAR * rows["error"],
                ms=7,
                capsize=3,
                **method_look(str(method)).points,
                label=method,
            )
        axis.set_xticks(range(len(_PAIRS)), list(_PAIRS))
        axis.set(title=f"m = {rounds} rounds", ylabel="mean bit of the token, less 1/2")
        axis.set_ylim(0, None)
    legend_below(figure, labelled(axes[0]), columns=3)
    finish(figure, out / "joint_tournament.png", f"One key is read; {seeds:,} seeds a point; 99% bars.")
