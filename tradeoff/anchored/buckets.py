"""Anchored watermarks on buckets: a keyed hash of the vocabulary to m values, and its coupling.

Where n is a vocabulary, mismatches of token and seed cost e* more than all matches bring. With a hash h to
0 .. m-1, independent and uniform for every token (`tradeoff.keyed.KeyedPrf.buckets`), the same game is played
for the m values of h: the seed is a bucket of law p0_h, the mass of p0 in each bucket; the bucket of the
token is coupled with it maximally, and the token is drawn from q within its bucket. The token has law q, and
e* with n = m is valid, for every h. Text generated from a token seed S is read with the seed h(S).

Derivation, and why h is no balanced division: docs/theory/e-values.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tradeoff.decoders import GumbelMax
from tradeoff.errors import DistributionError
from tradeoff.laws import categorical, draft_acceptance, residual

__all__ = ["BucketDraw", "bucket_law", "couple", "seed_bucket"]


class BucketDraw(NamedTuple):
    """What became of a seed bucket: whether it was kept, the bucket and the token drawn, each [...]."""

    kept: np.ndarray
    bucket: np.ndarray
    token: np.ndarray


def bucket_law(p: np.ndarray, buckets: Any, m: int) -> np.ndarray:
    """The mass of p in each bucket: [..., n], [n] or [..., n] -> [..., m].

    Args:
        p: laws, validated by the caller.
        buckets: h of every token, 0 .. m-1; one h for all laws, or one for each.
        m: number of buckets.

    Raises:
        ValueError: if `buckets` does not fit p, or holds values outside 0 .. m-1.
    """
    p, buckets = np.asarray(p, dtype=float), np.asarray(buckets)
    if buckets.dtype.kind not in "iu" or buckets.shape[-1:] != p.shape[-1:]:
        raise ValueError(
            f"buckets of shape {buckets.shape} ({buckets.dtype}) must hold one integer for each of the "
            f"{p.shape[-1]} tokens of p, as from KeyedPrf.buckets(np.arange(n), m)"
        )
    if buckets.size and (buckets.min() < 0 or buckets.max() >= m):
        raise ValueError(f"buckets hold {buckets.min()} to {buckets.max()}; with m={m} they are 0 to {m - 1}")
    rows = p.reshape(-1, p.shape[-1])
    cells = np.arange(len(rows))[:, None] * m + np.broadcast_to(buckets, p.shape).reshape(rows.shape)
    mass = np.bincount(cells.ravel(), weights=rows.ravel(), minlength=len(rows) * m)
    return mass.reshape(*p.shape[:-1], m)


def seed_bucket(p0_law: np.ndarray, race: np.ndarray) -> np.ndarray:
    """The seed bucket, a Gumbel-max draw: `argmin race / p0_law`.

    Args:
        p0_law: bucket laws of the anchor, [..., m].
        race: Exp(1), [..., m]: `KeyedPrf.race(stream, contexts, np.arange(m))`.

    Returns:
        [...] buckets.
    """
    return GumbelMax().token(p0_law, race)


def couple(
    q: np.ndarray, p0: np.ndarray, buckets: Any, m: int, seed: np.ndarray, uniforms: np.ndarray
) -> BucketDraw:
    """Couple the bucket of the next token with the seed bucket maximally, and draw the token within it.

    Keep the seed with probability min(1, q_h/p0_h), else draw a bucket from (q_h - p0_h)_+; then draw the
    token from q restricted to its bucket. Over seed ~ p0_h and independent uniforms the token has law q.

    Args:
        q, p0: target and anchor, [..., n] or [n] for all draws, validated by the caller.
        buckets, m: as for `bucket_law`.
        seed: the seed bucket, [...], of law `bucket_law(p0, buckets, m)`.
        uniforms: true random numbers in (0, 1), [3, ...]: to keep the seed, to replace it, to draw the token.

    Returns:
        BucketDraw.

    Raises:
        DistributionError: if q and p0 are over different vocabularies.
        ValueError: as `bucket_law`.
    """
    if q.shape[-1] != p0.shape[-1]:
        raise DistributionError(
            f"q has {q.shape[-1]} tokens and p0 has {p0.shape[-1]}; both must be over the same vocabulary"
        )
    # Laws that all draws share are summed once.
    q_law, p0_law = (np.broadcast_to(bucket_law(p, buckets, m), (*seed.shape, m)) for p in (q, p0))
    keep, replace, within = uniforms
    kept = keep < draft_acceptance(q_law, p0_law, seed)
    bucket = np.where(kept, seed, categorical(residual(q_law, p0_law), replace))
    inside = np.where(np.asarray(buckets) == bucket[..., None], q, 0.0)
    return BucketDraw(kept, bucket, categorical(inside, within))
