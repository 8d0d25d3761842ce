"""Completion: the token drawn from P_zeta by a race under one more independent key.

Statement (derived): for any unbiased decoder S, the winner of a race with rates S(P, zeta) is a degenerate,
unbiased decoder. Given zeta the token has law P_zeta, so statistics of zeta and the token keep their laws;
strength is Ent(P) (Theorem 3.2). Under Algorithm 1 the kernel maps Q to P, accepts 1 - TV and has strength
Ent(P), which S itself misses by the entropy that is left given everything keyed.

Assumption: the race is independent of zeta, and of the races of other streams.

Prediction, for SynthID (m = 5), SimplexWater (r = 4) and HeavyWater (log-normal, k = 256, Sinkhorn) on
five tokens: token counts given zeta follow P_zeta; first and second moments of the score are what the
plain decoder has; the race adds Aaronson's statistic with mean E sum P_zeta (psi(1 + 1/P_zeta) + gamma), as a
race between the rates P_zeta has; (draft, accepted, token) has the law of the speculative kernel.

For detection, the decoder's own score is as good as before, and the race adds the more the less certain
P_zeta is: nothing for a decoder that was degenerate, Gumbel-max's statistic for one that does nothing.

Controls: one key for draft and replacement; one race for both, where zeta leaves it anything to decide (after
exact transport it hardly does, and no harm is seen); a race that leans to high scores, though each of its
numbers is uniform; the argmax of P_zeta in place of a race; a plain decoder's strength taken for Ent(P).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from sims.tools.common import FEWEST, finish, generator, panels, spread
from sims.tools.kernel_laws import law_given_key, step
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from tradeoff.decoders import (
    Completed,
    Completion,
    Decoder,
    GumbelMax,
    SideInformation,
    SynthID,
    TournamentBits,
    Transport,
    heavy_water,
    simplex_water,
)
from tradeoff.files import write_table
from tradeoff.kernels import Algorithm1, SimulatedRandomness
from tradeoff.keyed import Stream
from tradeoff.laws import acceptance_probability, entropy, kl_divergence, overlap, residual
from tradeoff.optimal_transport import Sinkhorn, seeded_table
from tradeoff.plotting import (
    COLORS,
    Look,
    labelled,
    legend_below,
    watermark_look,
)

__all__ = ["INNER", "race_score", "run"]

NAME = "Completion"
#: A heavy token, so that even a simplex code's scores vary. Two tokens have excess, one of them likely under
#: the draft and one not, which a race that draft and replacement share needs to show.
P = np.array([0.62, 0.2, 0.08, 0.06, 0.04])
Q = np.array([0.35, 0.02, 0.08, 0.3, 0.25])
P.flags.writeable = Q.flags.writeable = False
#: Values of zeta at which tokens are counted.
_ZETAS = 16
#: Seeds are divided by this where one costs more.
_SLOWER = 4
#: Seeds that a control needs to be far from green.
_CONTROL = 100_000


@dataclass(frozen=True)
class _Inner:
    """A decoder to complete, and its score.

    Attributes:
        decoder: not degenerate.
        statistic: name of the score.
        scores: zeta -> the scores of all tokens [batch, n].
        at: (zeta, indices [seeds]) -> zeta of every seed.
    """

    decoder: Decoder
    statistic: str
    scores: Callable[[Any], np.ndarray]
    at: Callable[[Any, np.ndarray], Any]

    @property
    def leaves_chance(self) -> bool:
        """Whether P_zeta is far from a point mass, which after exact transport it is not."""
        return not self.decoder.leaves_little


def _tournament(rounds: int) -> _Inner:
    def mean_bits(zeta: TournamentBits) -> np.ndarray:
        word = zeta.word(0)
        return np.mean([(word >> level) & 1 for level in range(rounds)], axis=0)

    def at(zeta: TournamentBits, seeds: np.ndarray) -> TournamentBits:
        return TournamentBits(lambda k: zeta.word(k)[seeds])

    return _Inner(SynthID(rounds), "mean bit", mean_bits, at)


def _transport(decoder: Transport) -> _Inner:
    rows = decoder.scores.rows(np.arange(len(P)), seeded_table(decoder.seed)).T

    def at(zeta: SideInformation, seeds: np.ndarray) -> SideInformation:
        return zeta._replace(s=zeta.s[seeds])

    return _Inner(decoder, "score", lambda zeta: rows[zeta.s], at)


INNER = {
    "SynthID, m = 5": _tournament(5),
    "SimplexWater, r = 4": _transport(simplex_water(4)),
    "HeavyWater, Sinkhorn": _transport(heavy_water(k=256, solver=Sinkhorn())),
}


class _Moments(NamedTuple):
    """Mean score of completed tokens, what the plain decoder has for it, and the error of the difference."""

    completed: float
    plain: float
    error: float


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, transport_completion.csv and transport_completion.png."""
    rng = generator(seed, "completion")
    rows: list[Row] = []
    records = []
    for name, inner in INNER.items():
        rows += _law_rows(name, inner, size, rng)
        moments, own = _score_rows(name, inner, size, rng)
        kernel, strengths = _kernel_rows(name, inner, size, rng)
        rows += own + kernel + _control_rows(name, inner, rng)
        records += [{"decoder": name, **moments, **strengths}]
    _draw(pd.DataFrame(records), size, out)
    return rows


def race_score(law: np.ndarray) -> np.ndarray:
    """Mean of Aaronson's statistic -log(1 - U) at the token that a race with rates `law: [..., n]` draws.

    The winner of rate p has E = p t with t ~ Exp(1), and -log(1 - exp(-p t)) the mean psi(1 + 1/p) + gamma,
    the harmonic number of 1/p.
    """
    positive = np.where(law > 0, law, 1.0)
    return (law * (special.psi(1 + 1 / positive) + np.euler_gamma)).sum(axis=-1)


def _law_rows(name: str, inner: _Inner, size: int, rng: np.random.Generator) -> list[Row]:
    """Given zeta the token has law P_zeta."""
    n = len(P)
    few = inner.decoder.draw(rng, (_ZETAS,), n)
    of_seed = np.arange(size) % _ZETAS
    zeta = Completion(inner.at(few, of_seed), GumbelMax().draw(rng, (size,), n))
    token = Completed(inner.decoder).token(spread(P, size), zeta)
    counts = np.bincount(of_seed * n + token, minlength=_ZETAS * n)
    shares = np.bincount(of_seed, minlength=_ZETAS)[:, None] / size
    law = shares * inner.decoder(spread(P, _ZETAS), few)
    return [goodness_of_fit(NAME, f"{name}: token given ζ, {_ZETAS} values of ζ", counts, law)]


def _score_rows(
    name: str, inner: _Inner, size: int, rng: np.random.Generator
) -> tuple[dict[str, float], list[Row]]:
    """The decoder's score keeps its moments, and the race has those of a race between the rates P_zeta."""
    decoder, n = Completed(inner.decoder), len(P)
    zeta = decoder.draw(rng, (size,), n)
    p = spread(P, size)
    token, law = decoder.token(p, zeta), inner.decoder(p, zeta.inner)
    scores = inner.scores(zeta.inner)
    first, second = (_moments(scores**power, law, token) for power in (1, 2))
    race = -np.log(-np.expm1(-np.take_along_axis(zeta.race, token[:, None], axis=-1)[:, 0]))
    expected = race_score(law)
    of_race = _Moments(float(race.mean()), float(expected.mean()), mean_and_error(race - expected)[1])
    rows = [
        compare(NAME, f"{name}: {what}", m.plain, m.completed, m.error)
        for what, m in (
            (f"mean of the {inner.statistic}, as without completion", first),
            (f"mean square of the {inner.statistic}, as without completion", second),
            ("mean of the race's -log(1 - U), E Σ P_ζ (ψ(1 + 1/P_ζ) + γ)", of_race),
        )
    ]
    gumbel = float(race_score(P))
    rows.append(
        compare(
            NAME,
            f"{name}: mean of the race's -log(1 - U), less than Gumbel-max's",
            gumbel,
            *mean_and_error(race),
            relation="≤",
        )
    )
    if inner.leaves_chance:
        what = f"{name}: the race tells nothing, mean 1"
        rows.append(compare(NAME, what, 1.0, *mean_and_error(race), control=True))
    unmarked = float(scores.mean())
    rows.append(
        compare(NAME, f"{name}: the {inner.statistic} tells nothing", unmarked, *first[::2], control=True)
    )
    means = {"unmarked_score": unmarked, "plain_score": first.plain, "completed_score": first.completed}
    return means | {"race_score": of_race.completed, "gumbel_race_score": gumbel}, rows


def _moments(scores: np.ndarray, law: np.ndarray, token: np.ndarray) -> _Moments:
    """Of scores [seeds, n] at the tokens, against their expectation given zeta, which P_zeta determines."""
    drawn = np.take_along_axis(scores, token[:, None], axis=-1)[:, 0]
    expected = (law * scores).sum(axis=-1)
    return _Moments(float(drawn.mean()), float(expected.mean()), mean_and_error(drawn - expected)[1])


def _kernel_rows(
    name: str, inner: _Inner, size: int, rng: np.random.Generator
) -> tuple[list[Row], dict[str, float]]:
    """Algorithm 1 with the completed decoder, and with the decoder itself."""
    p, q, n = P, Q, len(P)
    method = Algorithm1(Completed(inner.decoder))
    sse, most = float(overlap(p, q)), float(entropy(p))
    draws = step(method, p, q, size, rng)
    counts = np.bincount((draws.draft * 2 + draws.accepted) * n + draws.token, minlength=2 * n * n)
    law = law_given_key(method, p, q, max(size // _SLOWER, FEWEST), rng)
    plain = _plain_law(inner.decoder, max(size // _SLOWER, FEWEST), rng)
    divergence, left = kl_divergence(plain, p), entropy(plain)
    strength = mean_and_error(divergence)
    rows = [
        goodness_of_fit(NAME, f"{name}, Algorithm 1: draft, accepted, token", counts, _kernel_law(p, q)),
        goodness_of_fit(NAME, f"{name}, Algorithm 1: token", np.bincount(draws.token, minlength=n), p),
        compare(NAME, f"{name}, Algorithm 1: acceptance, 1 − TV", sse, *mean_and_error(draws.accepted)),
        compare(NAME, f"{name}, Algorithm 1: strength Ent(P)", most, *mean_and_error(kl_divergence(law, p))),
        compare(NAME, f"{name}, Algorithm 1: largest entropy left given the key", 0.0, entropy(law).max()),
        compare(
            NAME,
            f"{name}, not completed: strength and entropy left, Ent(P)",
            most,
            *mean_and_error(divergence + left),
        ),
        compare(NAME, f"{name}, not completed: strength, at most Ent(P)", most, *strength, relation="≤"),
        compare(
            NAME, f"{name}, not completed: strength Ent(P)", most, *mean_and_error(most - left), control=True
        ),
    ]
    return rows, {"plain_strength": strength[0], "completed_strength": float(kl_divergence(law, p).mean())}


def _kernel_law(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Of (draft, accepted, token) under the speculative kernel: [n, 2, n]."""
    a = acceptance_probability(p, q)
    accepted = np.diag(q * a)
    return np.stack([np.outer(q * (1 - a), residual(p, q)), accepted], axis=1)


def _plain_law(decoder: Decoder, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """P_zeta of Algorithm 1's token given all that is keyed, for a decoder that is not degenerate."""
    p, q, n = P, Q, len(P)
    randomness = SimulatedRandomness(rng, (seeds,), n)
    draft = decoder(spread(q, seeds), randomness.zeta(Stream.DRAFT, decoder))
    rest = decoder(spread(residual(p, q), seeds), randomness.zeta(Stream.TARGET, decoder))
    kept = draft * (randomness.coin()[:, None] < acceptance_probability(p, q))
    return kept + (1 - kept.sum(axis=-1, keepdims=True)) * rest


# --- Controls -----------------------------------------------------------------------------------


class _OneKey(SimulatedRandomness):
    """The replacement reads what the draft has read: all of it, or the race alone."""

    race_alone = False

    def zeta(self, stream: Stream, decoder: Decoder) -> Any:
        own, drafts = super().zeta(stream, decoder), super().zeta(Stream.DRAFT, decoder)
        if stream is not Stream.TARGET:
            return own
        return own._replace(race=drafts.race) if self.race_alone else drafts


def _control_rows(name: str, inner: _Inner, rng: np.random.Generator) -> list[Row]:
    seeds, n = _CONTROL, len(P)
    p, q = spread(P, seeds), spread(Q, seeds)
    decoder = Completed(inner.decoder)
    method, tokens = Algorithm1(decoder), dict[str, np.ndarray]()
    for what, race_alone in (("one key", False), ("one race", True)):
        randomness = _OneKey(rng, (seeds,), n)
        randomness.race_alone = race_alone
        if race_alone and not inner.leaves_chance:
            continue
        shared = method(p, q, method.draft(q, randomness), randomness)
        tokens[f"{what} for draft and replacement"] = shared.token
    zeta = decoder.draw(rng, (seeds,), n)
    scores, law = inner.scores(zeta.inner), inner.decoder(p, zeta.inner)
    tokens["argmax in place of a race"] = law.argmax(axis=-1)
    leaning = decoder.token(p, zeta._replace(race=_leaning(scores, rng)))
    moments = _moments(scores, law, leaning)
    rows = [
        goodness_of_fit(NAME, f"{name}, {what}: token", np.bincount(token, minlength=n), P, control=True)
        for what, token in tokens.items()
    ]
    what = f"{name}, a race that leans to high scores: mean of the {inner.statistic}"
    rows.append(compare(NAME, what, moments.plain, moments.completed, moments.error, control=True))
    return rows


def _leaning(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A race whose numbers are each Exp(1), and larger the lower the score is over the seeds."""
    seeds = len(scores)
    order = np.argsort(scores + 1e-9 * rng.random(scores.shape), axis=0)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(seeds)[:, None], axis=0)
    # Every second number is its score's quantile, the others are chance.
    return np.where(
        rng.random(scores.shape) < 0.5, -np.log((rank + 0.5) / seeds), rng.standard_exponential(scores.shape)
    )


def _draw(table: pd.DataFrame, size: int, out: Path) -> None:
    write_table(table, out / "transport_completion.csv")
    figure, (left, right) = panels(2, height=2.8)
    most, place = float(entropy(P)), np.arange(len(table))
    for k, (column, look, label) in enumerate(
        (
            ("plain_strength", Look(COLORS["grey"]), "plain"),
            ("completed_strength", watermark_look("completed"), "completed"),
        )
    ):
        # One bar a decoder and kind, in rows.
        left.barh(place + 0.36 * k - 0.18, table[column], 0.34, color=look.color, label=label)
    left.axvline(most, color=COLORS["black"], lw=1, ls="--", label="Ent(P)")
    left.set(title="Strength under algorithm-1", xlabel="nats per token")
    right.barh(
        place, table["race_score"] - 1, 0.5, color=watermark_look("completed").color, label="completed"
    )
    gumbel = float(table["gumbel_race_score"].iloc[0]) - 1
    right.axvline(gumbel, color=COLORS["black"], lw=1, ls=":", label="Gumbel-max")
    right.set(title="What the race adds", xlabel="mean of −log(1 − U), less 1")
    for axes, names in ((left, table["decoder"]), (right, [])):
        axes.set_yticks(place, names)
        axes.set_ylim(len(table) - 0.5, -0.5)
    legend_below(figure, labelled(left, right), columns=4)
    finish(
        figure,
        out / "transport_completion.png",
        f"n = {len(P)}; {size:,} seeds, a quarter of them for strengths; "
        f"standard errors below {math.ceil(1e3 * 3 / math.sqrt(size)) / 1e3:.3f}.",
    )
