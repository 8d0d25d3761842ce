"""Biased watermarks: strength is information plus distortion, and speculation towards the watermarked law.

Statement (derived): E KL(P_zeta || P) = I(w; zeta) + KL(E P_zeta || P). The speculative kernel between Q_zeta
and P_zeta emits tokens of law P_zeta given zeta, and accepts E[1 - TV(Q_zeta, P_zeta)], at most
1 - TV(E Q_zeta, E P_zeta). Completed, by the joint race between the two, it does the same as a function of
the key, and the strength is the cross-entropy of E P_zeta with P.

Assumption: drafts are verified against P_zeta.

Prediction: for red and green lists all parts are sums over lists, or integrals of one variable. Means of
log P_zeta(w)/P(w), log P_zeta(w)/E P_zeta(w) and log E P_zeta(w)/P(w) over simulated tokens equal strength,
information and distortion, on random laws; pairs (list, token) have their law; drafts are accepted as often.

Controls: strength without the distortion, and Ent(P) - E Ent(P_zeta), which is that of unbiased decoders;
the bound 1 - TV(Q, P) of these; drafts that are verified against P, and emit another law than the mean of
P_zeta; strength Ent(P) of completed decoders.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, PAIR_P, PAIR_Q, dirichlet, finish, generator, panels, spread
from sims.tools.kernel_laws import step
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from tradeoff.curves import biased_efficiency, decompose
from tradeoff.decoders import KGW, Completed, Decoder, Identity
from tradeoff.files import write_table
from tradeoff.kernels import JointRaceMarked, KeepStrength, Method, SimulatedRandomness, TwoKeys
from tradeoff.keyed import Stream
from tradeoff.laws import at, categorical, entropy, kl_divergence, overlap
from tradeoff.plotting import COLORS, legend_beside, method_look

__all__ = ["run"]

NAME = "Biased watermarks"
DECODERS: list[KGW] = [KGW(1.0), KGW(2.0), KGW(5.0, 0.5), KGW(math.inf)]
#: Laws of few tokens are summed over all lists; those of many need the integrals, which hard lists have not.
_RANDOM, _FEW, _MANY = 16, 6, 60
#: A law that hard lists distort much, for controls.
_PEAKED = np.array([0.8, 0.15, 0.05])


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, biased.csv and biased.png."""
    rng = generator(seed, "biased")
    rows: list[Row] = []
    records: list[dict[str, object]] = []
    for decoder in DECODERS:
        for n in (_FEW, _MANY) if math.isfinite(decoder.delta) else (_FEW,):
            rows += _parts(decoder, n, size, rng)
        for method in (KeepStrength(decoder), JointRaceMarked(Completed(decoder))):
            found, record = _steps(method, decoder, size, rng)
            rows += found
            records.append(record)
    rows += [*_completed(size, rng), *_controls(size, rng)]
    _draw(pd.DataFrame(records), size, out)
    return rows


def _parts(decoder: KGW, n: int, size: int, rng: np.random.Generator) -> list[Row]:
    """Strength, information and distortion on random laws, less what is predicted of each."""
    laws = dirichlet(rng, _RANDOM, n, 0.5)
    each, found = max(size // _RANDOM, 1), [list[np.ndarray]() for _ in range(3)]
    for p in laws:
        parts = decompose(p, decoder)
        p_zeta, token = _tokens(decoder, p, each, rng)
        given, mean = np.log(at(p_zeta, token)), np.log(parts.mean[token])
        plain = np.log(p[token])
        predicted = (parts.strength.value, parts.information.value, parts.distortion.value)
        ratios = (given - plain, given - mean, mean - plain)
        for values, ratio, expected in zip(found, ratios, predicted, strict=True):
            values.append(ratio - expected)
    what = f"{decoder.name}, {_RANDOM} random P, n = {n}"
    names = ("log Pζ/P: strength", "log Pζ/mean: information", "log mean/P: distortion")
    return [
        compare(NAME, f"{what}, {name}", 0.0, *mean_and_error(np.concatenate(values)))
        for name, values in zip(names, found, strict=True)
    ]


def _tokens(
    decoder: Decoder, p: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """P_zeta and a token of it, for every seed: [size, n] and [size]."""
    p_zeta = decoder(spread(p, size), decoder.draw(rng, (size,), len(p)))
    return p_zeta, categorical(p_zeta, np.maximum(rng.random(size), 2.0**-54))


def _steps(
    method: Method, decoder: KGW, size: int, rng: np.random.Generator
) -> tuple[list[Row], dict[str, object]]:
    """Pairs (list, token) and acceptance of a method that verifies against P_zeta."""
    p, q, n = PAIR_P, PAIR_Q, len(PAIR_P)
    _, accepted, token, randomness = step(method, p, q, size, rng)
    code = _code(randomness, method)
    every = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    count = every.sum(axis=-1)
    weight = decoder.gamma**count * (1 - decoder.gamma) ** (n - count)
    if math.isinf(decoder.delta):
        laws = p * np.where(count[:, None] > 0, every, 1)
    else:
        laws = p * np.exp(decoder.delta * every)
    laws = laws / laws.sum(axis=-1, keepdims=True)
    cells = np.bincount(code * n + token, minlength=n << n)
    predicted = biased_efficiency(p, q, decoder).value
    bound = float(overlap(decompose(p, decoder).mean, decompose(q, decoder).mean))
    share = mean_and_error(accepted)
    what = f"{method.name}, {method.decoder.name}"
    rows = [
        goodness_of_fit(NAME, f"{what}: list and token", cells, (weight[:, None] * laws).ravel()),
        compare(NAME, f"{what}: acceptance, E[1 - TV(Qζ, Pζ)]", predicted, *share),
        compare(NAME, f"{what}: acceptance, 1 - TV of the means", bound, *share, relation="≤"),
    ]
    record = {
        "decoder": decoder.name,
        "method": method.name,
        "predicted": predicted,
        "acceptance": share[0],
        "error": share[1],
        "bound": bound,
    }
    return rows, record


def _code(randomness: SimulatedRandomness, method: Method) -> np.ndarray:
    """The list of every seed as a number, [seeds]."""
    zeta = randomness.zeta(Stream.SHARED, method.decoder)
    lists = zeta if method.decoder.completes is None else zeta.inner
    green = lists.every()
    return np.asarray((green << np.arange(green.shape[-1])).sum(axis=-1))


def _completed(size: int, rng: np.random.Generator) -> list[Row]:
    """-log P of completed tokens: the cross-entropy."""
    rows = []
    for decoder in DECODERS:
        completed = Completed(decoder)
        token = step(JointRaceMarked(completed), PAIR_P, PAIR_Q, size, rng).token
        predicted = decompose(PAIR_P, completed).strength.value
        found = mean_and_error(-np.log(PAIR_P[token]))
        rows.append(compare(NAME, f"{completed.name}: strength, cross-entropy", predicted, *found))
        if decoder.delta == 5.0 or math.isinf(decoder.delta):
            what = f"{completed.name}: strength Ent(P)"
            rows.append(compare(NAME, what, float(entropy(PAIR_P)), *found, control=True))
    return rows


def _controls(size: int, rng: np.random.Generator) -> list[Row]:
    p, q, decoder = PAIR_P, PAIR_Q, KGW(math.inf)
    parts = decompose(_PEAKED, decoder)
    p_zeta, _ = _tokens(decoder, _PEAKED, size, rng)
    divergence = kl_divergence(p_zeta, _PEAKED)
    strength = mean_and_error(divergence)
    drop = mean_and_error(divergence - (float(entropy(_PEAKED)) - entropy(p_zeta)))
    shared = KGW(5.0)
    accepted = step(KeepStrength(shared), p, q, size, rng).accepted
    # Drafts of Q_zeta, verified against P and Q themselves: neither P nor the watermarked law comes out.
    undone = step(_Undone(shared), p, q, size, rng).token
    mean = decompose(p, shared).mean
    alone = mean_and_error(step(KeepStrength(shared), p, q, size, rng).accepted)
    without = biased_efficiency(p, q, shared, Identity()).value
    name = decoder.name
    return [
        compare(NAME, f"{name}: strength is I(w; ζ) alone", parts.information.value, *strength, control=True),
        compare(NAME, f"{name}: strength is the entropy drop", 0.0, *drop, control=True),
        compare(
            NAME,
            f"{shared.name}: acceptance, 1 - TV(Q, P)",
            float(overlap(p, q)),
            *mean_and_error(accepted),
            relation="≤",
            control=True,
        ),
        compare(NAME, f"{shared.name}: a draft without the list", without, *alone, control=True),
        goodness_of_fit(
            NAME,
            f"{shared.name}, verified against P: token",
            np.bincount(undone, minlength=len(p)),
            mean,
            control=True,
        ),
    ]


class _Undone(Method):
    """Drafts of a biased law, verified against P as if they had the law Q."""

    name = "verified against P"
    columns = TwoKeys.columns
    detection = TwoKeys.detection


def _draw(table: pd.DataFrame, size: int, out: Path) -> None:
    """Acceptance by decoder and method, with what is predicted, and the bound of the means."""
    write_table(table, out / "biased.csv")
    figure, (axis,) = panels(height=3.6)
    names = list(table["decoder"].unique())
    for offset, method in ((-0.12, "keep-strength"), (0.12, "joint-race-marked")):
        part = table[table["method"] == method]
        x = np.array([names.index(name) for name in part["decoder"]]) + offset
        look = method_look(method)
        axis.errorbar(
            x, part["acceptance"], BAR * part["error"], ms=7, capsize=3, label=method, **look.points
        )
        axis.plot(x, part["predicted"], "_", color=COLORS["black"], ms=14, zorder=5)
    bound = table.drop_duplicates("decoder")["bound"]
    axis.plot(range(len(names)), bound, "_", color=COLORS["vermilion"], ms=28, label="1 − TV of the means")
    plain = float(overlap(PAIR_P, PAIR_Q))
    axis.axhline(plain, color=COLORS["black"], lw=1, label="1 − TV(Q, P)")
    axis.set_xticks(range(len(names)), [name.removeprefix("KGW ").strip("()") for name in names])
    axis.set(ylabel="share of drafts accepted", title="Speculation towards red and green lists")
    axis.set_xlim(-0.5, len(names) - 0.5)
    legend_beside(axis)
    finish(figure, out / "biased.png", f"n = 5; {size:,} seeds a point; 99% bars. Dashes: predicted, exact.")
