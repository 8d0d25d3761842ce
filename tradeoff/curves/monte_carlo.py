"""Monte Carlo over pseudorandomness, with standard errors, antithetic pairs and control variates.

The seeds come in antithetic pairs. Of unbiased decoders E_zeta P_zeta = P is known exactly, so the part of
any functional that is linear in P_zeta and Q_zeta is removed by regression. Sums are accumulated batch by
batch, so that memory does not grow with the number of seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tradeoff.curves.pairs import SampledPairs
from tradeoff.decoders import Decoder, FiniteDecoder, draw_antithetic, shares_randomness
from tradeoff.estimate import Estimate
from tradeoff.laws import acceptance_probability, excess

__all__ = [
    "DEFAULT_SEEDS",
    "FEWEST_SEEDS",
    "FULL_CONTROLS",
    "ControlledMean",
    "check_seeds",
    "pair_mean",
    "simulate",
]

#: Monte Carlo seeds where the caller names no other number.
DEFAULT_SEEDS = 200_000
#: Vocabularies up to this size use every token probability as a control variate; larger ones a few sums.
FULL_CONTROLS = 64
#: Two antithetic pairs, the fewest that have a spread.
FEWEST_SEEDS = 4
_ROWS_PER_CONTROL = 10
#: Where zeta has few values: probabilities that are held at once, and combinations that are gone through.
_MOST_LAWS = 1 << 24
_MOST_COMBINATIONS = 1 << 21


def check_seeds(seeds: int) -> None:
    """Raise ValueError unless `seeds` is a whole number of at least FEWEST_SEEDS."""
    if not isinstance(seeds, int | np.integer) or seeds < FEWEST_SEEDS:
        raise ValueError(
            f"seeds={seeds} must be a whole number of at least {FEWEST_SEEDS}: a standard error needs two "
            "antithetic pairs"
        )


class ControlledMean:
    """Streaming mean of `values` columns, regressed on control columns of known mean 0.

    Args:
        values, controls: numbers of columns.
    """

    def __init__(self, values: int, controls: int):
        self._count = 0
        self._shift: np.ndarray | None = None
        self._sum = np.zeros(values)
        self._squares = np.zeros(values)
        self._control_sum = np.zeros(controls)
        self._control_products = np.zeros((controls, controls))
        self._cross = np.zeros((controls, values))

    def add(self, values: np.ndarray, controls: np.ndarray) -> None:
        """Add independent rows: values [rows, values], controls [rows, controls]."""
        if self._shift is None:
            self._shift = values.mean(axis=0)
        # Centred on the first batch, the sums of squares lose no digits to cancellation.
        values = values - self._shift
        self._count += len(values)
        self._sum += values.sum(axis=0)
        self._squares += np.einsum("sv,sv->v", values, values)
        self._control_sum += controls.sum(axis=0)
        self._control_products += controls.T @ controls
        self._cross += controls.T @ values

    def estimate(self) -> Estimate:
        """Means and standard errors, [values].

        The regression costs a bias of order 1/rows, and with few rows it would explain noise: it is left
        out below _ROWS_PER_CONTROL rows for every independent control.

        Raises:
            ValueError: for fewer than 2 rows, which have no standard error.
        """
        rows = self._count
        if self._shift is None or rows < 2:
            raise ValueError(
                f"{rows} pairs of seeds are too few for a standard error; use seeds >= {FEWEST_SEEDS}"
            )
        mean, control_mean = self._sum / rows, self._control_sum / rows
        covariance = self._control_products / rows - np.outer(control_mean, control_mean)
        cross = self._cross / rows - np.outer(control_mean, mean)
        inverse, rank = _pseudo_inverse(covariance)
        if rows < _ROWS_PER_CONTROL * rank:
            inverse, rank = np.zeros_like(covariance), 0
        beta = inverse @ cross
        explained = np.einsum("cv,cv->v", beta, cross)
        variance = np.maximum(self._squares / rows - mean**2 - explained, 0.0)
        return Estimate(
            self._shift + mean - control_mean @ beta,
            np.sqrt(variance / (rows - 1 - rank)),
        )


def _pseudo_inverse(covariance: np.ndarray) -> tuple[np.ndarray, int]:
    """Inverse on the directions that vary, and their number: controls of one distribution sum to zero, and
    an antithetic pair may cancel a control altogether, down to rounding noise."""
    variance, directions = np.linalg.eigh(covariance)
    keep = variance > max(1e-10 * variance.max(initial=0.0), 1e-20)
    directions = directions[:, keep]
    return (directions / variance[keep]) @ directions.T, int(keep.sum())


def simulate(
    functional: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    p: np.ndarray,
    q: np.ndarray,
    target: Decoder,
    draft: Decoder,
    *,
    seeds: int = DEFAULT_SEEDS,
    rng: np.random.Generator | int = 0,
    residual: bool = False,
    batch_bytes: int = 1 << 20,
) -> Estimate:
    """E_zeta of a functional of the watermarked laws, by controlled Monte Carlo, or exactly.

    It is exact where zeta has few values (`FiniteDecoder`): then all are gone through.

    Args:
        functional: (P_zeta, Q_zeta, R_zeta'), each [batch, n] -> [batch, columns].
        p, q: target and draft [n] (validated by the caller).
        target, draft: decoders; they read one zeta if it is of the same kind, else independent ones.
        seeds: number of seeds, used in antithetic pairs.
        rng: a generator or an integer seed.
        residual: whether to draw R_zeta' = S_target((P-Q)_+, zeta') under an independent zeta'
            (Google's class); otherwise the functional receives the plain (P-Q)_+.
        batch_bytes: memory of one [batch, n] array; a few dozen of them are alive at once.

    Returns:
        Estimate with arrays [columns].

    Raises:
        ValueError: if there are fewer than FEWEST_SEEDS seeds.
    """
    check_seeds(seeds)
    generator = np.random.default_rng(rng)
    n = p.shape[-1]
    rest = excess(p, q, empty="zero")
    draw_residual = residual and bool(rest.any())
    shared = shares_randomness(target, draft)
    batch = max(1, batch_bytes // (8 * n))
    laws_of_values = (_laws(target, p), _laws(draft, q), _laws(target, rest) if draw_residual else rest[None])
    exact = _enumerate(functional, laws_of_values, shared, batch)
    if exact is not None:
        return exact
    pairs = (seeds + 1) // 2
    total: ControlledMean | None = None
    for start in range(0, pairs, batch):
        shape = (min(batch, pairs - start),)
        zetas = draw_antithetic(target, generator, shape, n)
        draft_zetas = zetas if shared else draw_antithetic(draft, generator, shape, n)
        rest_zetas = draw_antithetic(target, generator, shape, n) if draw_residual else (None, None)
        sides = []
        for zeta, draft_zeta, rest_zeta in zip(zetas, draft_zetas, rest_zetas, strict=True):
            laws = [
                np.broadcast_to(target(p, zeta), (*shape, n)),
                np.broadcast_to(draft(q, draft_zeta), (*shape, n)),
                np.broadcast_to(target(rest, rest_zeta) if draw_residual else rest, (*shape, n)),
            ]
            known = (target.unbiased, draft.unbiased, target.unbiased or not draw_residual)
            sides.append((functional(*laws), _controls(laws, (p, q, rest), known)))
        (values, controls), (mirrored, mirrored_controls) = sides
        if total is None:
            total = ControlledMean(values.shape[1], controls.shape[1])
        total.add((values + mirrored) / 2, (controls + mirrored_controls) / 2)
    assert total is not None
    return total.estimate()


def _laws(decoder: Decoder, p: np.ndarray) -> np.ndarray | None:
    """S(p, zeta) for every value of zeta, [values, n]; None if these are too many."""
    if not decoder.marks:
        return p[None]
    if not isinstance(decoder, FiniteDecoder) or decoder.values * p.shape[-1] > _MOST_LAWS:
        return None
    return np.broadcast_to(decoder(p, decoder.every()), (decoder.values, p.shape[-1]))


def _enumerate(
    functional: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    laws: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None],
    shared: bool,
    batch: int,
) -> Estimate | None:
    """The mean over all values of zeta, of the draft's own if it is not shared, and of the residual's."""
    target, draft, rest = laws
    if target is None or draft is None or rest is None:
        return None
    shape = (len(target), 1 if shared else len(draft), len(rest))
    total = math.prod(shape)
    if total > _MOST_COMBINATIONS:
        return None
    value: Any = 0.0
    for start in range(0, total, batch):
        i, j, k = np.unravel_index(np.arange(start, min(start + batch, total)), shape)
        value = value + functional(target[i], draft[i if shared else j], rest[k]).sum(axis=0)
    return Estimate(value / total, np.zeros_like(value))


def _controls(
    laws: list[np.ndarray], means: tuple[np.ndarray, ...], known: tuple[bool, bool, bool]
) -> np.ndarray:
    """Columns of known mean 0, [batch, columns]: of laws of known mean alone."""
    n = means[0].shape[-1]
    if n <= FULL_CONTROLS:
        zero = np.zeros_like(laws[0])
        parts = [law - mean if has else zero for law, mean, has in zip(laws, means, known, strict=True)]
        return np.concatenate(parts, axis=-1)
    p, q, _ = means
    off_p, off_q = ((law - mean) * has for law, mean, has in zip(laws[:2], (p, q), known[:2], strict=True))
    weights = (np.log(np.where(p > 0, p, 1.0)), acceptance_probability(p, q))
    return np.stack([off_p @ weights[0], off_p @ q, off_q @ weights[1]], axis=-1)


def pair_mean(
    pairs: SampledPairs,
    p: np.ndarray,
    q: np.ndarray,
    values: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Estimate:
    """E values(i, j) over sampled pairs (i, j), with the known marginals as control variates.

    Args:
        pairs: the sample.
        p, q: its marginals [n] (target, draft).
        values: token ids i, j [pairs] -> [pairs, columns].

    Returns:
        Estimate with arrays [columns].
    """
    n = p.shape[-1]
    codes, inverse = np.unique(pairs.target.ravel() * n + pairs.draft.ravel(), return_inverse=True)
    i, j = np.divmod(codes, n)
    # Each distinct pair is evaluated once.
    table = values(i, j)
    inverse = inverse.reshape(pairs.target.shape)
    if n <= FULL_CONTROLS:
        eye = np.eye(n)
        controls = np.concatenate([eye[i] - p, eye[j] - q], axis=-1)
    else:
        accept = acceptance_probability(p, q)
        controls = (accept[j] - accept @ q)[:, None]
    total = ControlledMean(table.shape[1], controls.shape[1])
    batch = max(1, (1 << 20) // (table.shape[1] + controls.shape[1]))
    for start in range(0, len(inverse), batch):
        rows = inverse[start : start + batch]
        total.add(table[rows].mean(axis=1), controls[rows].mean(axis=1))
    return total.estimate()
