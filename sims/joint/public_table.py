"""The joint tournament on Transformers' bits: how far from P its tokens are, over uniform depth keys.

    python -m sims.joint.public_table figures/results/next_token_pairs.npz

The joint tournament is proved for bits that are fair and independent from token to token. Those of
Transformers' SynthID are one public table, read at one secret shift a round. Its mean and its pair moments
are nearly those of fair bits, not quite: the plain tournament keeps P all the same, the damped one and the
acceptance do not.

With F_l(w) the probability that w is emitted, given the bits of the first l layers, if all later bits were
fair and independent, F_0 = P and F_m is what is emitted. So the law of the output is P + sum_l E[D_l], where
D_l, the mean of F_l - F_(l-1) over all shifts of layer l, is computed exactly; the expectation is over
what was before, which is drawn. Hence TV(output, P) <= sum_l E[sum_w |D_l(w)|] / 2
(docs/theory/joint-tournament.md).

The pairs are those of `python -m figures figure_1_real`. Of every position the tokens play that have at least
the cut under P or Q; the others are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.table import Table

from tradeoff.display import exit_on_bad_input, stdout
from tradeoff.estimate import Estimate
from tradeoff.kernels import damped_tournament, martingale
from tradeoff.keyed import SamplingTable
from tradeoff.laws import residual

__all__ = ["Bits", "bits_of_table", "drifts"]

_FACTOR = 6364136223846793005


class Bits(NamedTuple):
    """What the bits of tokens may be in a layer: patterns [s, n] of 0.0 and 1.0, each equally likely."""

    patterns: np.ndarray


def bits_of_table(table: SamplingTable, tokens: np.ndarray) -> Bits:
    """Of token ids [n] under every shift. Contexts move all tokens alike, and are shifts themselves.

    Raises:
        ValueError: for a table whose size is no power of two.
    """
    if table.cyclic is None:
        raise ValueError(f"table={table.size} is no power of two; 65536 is usual")
    u = tokens.astype(np.int64) * (_FACTOR % table.size) % table.size
    shifts = np.arange(table.size)[:, None]
    return Bits(table.cyclic[(u + shifts) % table.size].astype(float))


def drifts(p: np.ndarray, q: np.ndarray, bits: Bits, rounds: int, rng: np.random.Generator) -> np.ndarray:
    """D_l(w) of every layer along one past: [rounds, n].

    Args:
        p, q: laws of target and draft, [n].
        bits: those that layers have, independently of each other.
        rounds: m.
        rng: draws the past.
    """
    contested = np.flatnonzero(p < q)
    found = np.zeros((rounds, len(p)))
    if not len(contested):
        return found
    law, tables = q.astype(float), martingale.forecast(rounds)
    rest = np.tile(residual(p, q), (len(contested), 1))
    accepted = np.tile((p / np.where(q > 0, q, 1.0))[contested, None], (1, len(p)))
    for layer in range(rounds):
        left = rounds - 1 - layer
        ones = bits.patterns @ law
        pattern = bits.patterns[rng.integers(len(bits.patterns))]
        for row, j in enumerate(contested):
            r, start = rest[row], accepted[row]
            before, after = law[j] * r * start, np.zeros(len(p))
            gone = -law[j] * r * (1 - start)
            mean_rest, tilted = bits.patterns @ r, 1 + bits.patterns[:, j] - ones
            for b in (0, 1):
                stage = _Stage.of(law, r, int(j), b)
                weight = np.where(bits.patterns[:, j] == b, tilted, 0.0) / len(tilted)
                sums, crossed = np.stack([weight, weight * mean_rest]) @ bits.patterns
                for own in (0, 1):
                    mass = sums if own else weight.sum() - sums
                    common = crossed if own else weight @ mean_rest - crossed
                    chance = (1 + stage.damping * (own + stage.corrections)) * mass - stage.damping * common
                    moved = stage.accepted(start, own, tables, left)
                    after += law[j] * r * chance * moved
                    gone += law[j] * r * chance * (1 - moved)
                if pattern[j] == b:
                    kept = (
                        stage,
                        np.where(
                            pattern > 0,
                            stage.accepted(start, 1, tables, left),
                            stage.accepted(start, 0, tables, left),
                        ),
                    )
            found[layer] += gone
            found[layer, j] += after.sum() - before.sum()
            stage, accepted[row] = kept
            factors = 1 + stage.damping * (pattern + stage.corrections - pattern @ r)
            rest[row] = r * np.maximum(factors, 0)
        law = law * (1 + pattern - pattern @ law)
    return found


class _Stage(NamedTuple):
    """A layer for the draft token j with bit b, before the bits of others are known."""

    law: np.ndarray
    rest: np.ndarray
    mass: float
    b: int
    common: float
    corrections: np.ndarray
    damping: float

    @classmethod
    def of(cls, law: np.ndarray, rest: np.ndarray, j: int, b: int) -> _Stage:
        common = float(rest @ law)
        corrections = damped_tournament.correction(law, common, damped_tournament.tilt(law[j], b))
        damping = float(damped_tournament.damping(rest[None], corrections[None])[0])
        return cls(law, rest, float(law[j]), b, common, corrections, damping)

    def accepted(self, start: np.ndarray, own: int, tables: martingale.Forecast, left: int) -> np.ndarray:
        """Where the probability of acceptance goes from `start: [n]`, for all replacements with bit `own`."""
        n = len(self.law)
        # The last of the layers handed over ends the walk; another one behind it stands for all that come.
        layers = 1 if left == 0 else 2
        here = martingale.Forecast(tables.gain[left - layers + 1 :], tables.variance[left - layers + 1 :])
        winner = damped_tournament.Path(
            *(_columns(one, n, layers) for one in (float(own), self.rest, self.law))
        )
        told = (float(self.b), self.mass, 0.0, 0.0, self.common, self.damping)
        moves = martingale.steps(
            winner, damped_tournament.Layers(*(_columns(one, n, layers) for one in told)), here
        )
        p = start
        for step in (0, 1):
            now = martingale.Steps(*(part[:, step] for part in moves))
            go = martingale.last_target if left == 0 and step == 1 else martingale.target
            p = np.where((p > 1e-12) & (p < 1 - 1e-12), go(p, now), p)
        return p


def _columns(values: np.ndarray | float, n: int, layers: int) -> np.ndarray:
    return np.broadcast_to(np.reshape(values, (-1, 1)), (n, layers))


def bound(paths: np.ndarray) -> Estimate:
    """sum_l E[sum_w |D_l(w)|] / 2 from pasts [k, rounds, n]."""
    each = np.abs(paths).sum(axis=(1, 2)) / 2
    return Estimate.of_mean(each)


def main(
    pairs: Annotated[Path, typer.Argument(help="next_token_pairs.npz of `python -m figures figure_1_real`.")],
    positions: Annotated[int, typer.Option(help="How many, evenly over the file.")] = 20,
    pasts: Annotated[int, typer.Option(help="Draws of what was before, a position.")] = 4,
    rounds: Annotated[int, typer.Option(help="Layers.")] = 30,
    cut: Annotated[float, typer.Option(help="Least probability of tokens that play.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Of the pasts.")] = 0,
) -> None:
    """Print the bound, mean and largest over positions."""
    with exit_on_bad_input():
        from tradeoff.llm import load_pairs

        laws = load_pairs(pairs)
        table = Table("position", "tokens", "TV(P, Q)", "bound on TV(output, P)", "standard error")
        bounds = []
        for k in np.linspace(0, len(laws) - 1, positions).astype(int).tolist():
            p, q = laws.probabilities(k, 1.0)
            tokens = np.flatnonzero(np.maximum(p, q) >= cut)
            p, q = p[tokens] / p[tokens].sum(), q[tokens] / q[tokens].sum()
            rng = np.random.default_rng([seed, k])
            bits = bits_of_table(SamplingTable(), tokens)
            found = bound(np.stack([drifts(p, q, bits, rounds, rng) for _ in range(pasts)]))
            bounds.append(found.value)
            distance = f"{np.maximum(p - q, 0).sum():.3f}"
            table.add_row(
                str(k), str(len(tokens)), distance, f"{found.value:.5f}", f"{found.standard_error:.5f}"
            )
        stdout().print(table)
        stdout().print(
            f"mean {np.mean(bounds):.5f}, largest {np.max(bounds):.5f}, over {len(bounds)} positions"
        )


if __name__ == "__main__":
    typer.run(main)
