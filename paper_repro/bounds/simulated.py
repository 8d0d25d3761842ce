"""What a detector reads of a token under keys that nobody used: scores of kernels that have no formula."""

from __future__ import annotations

import numpy as np

from tradeoff.detection import Detector, Evidence
from tradeoff.kernels import KeyedRandomness, Method
from tradeoff.keyed import Key, KeyedPrf, Kind

__all__ = ["simulated_scores"]


def simulated_scores(
    method: Method,
    detector: Detector,
    p: np.ndarray,
    q: np.ndarray | None,
    ids: np.ndarray,
    draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Scores of the tokens that a kernel emits at one position, under a random key and random contexts.

    Args:
        method: kernel and watermark.
        detector: that reads the tokens.
        p, q: laws of target and draft, [n]; without q the token is a bonus token.
        ids: [n] token ids of the laws.
        draws: how many tokens.
        rng: for key, contexts and true randomness.

    Returns:
        [draws] independent scores.
    """
    if Kind.SIDE_INFORMATION in method.decoder.needs:
        # Scores of transports are looked up by the column of a law.
        p, q = _by_id(p, ids), None if q is None else _by_id(q, ids)
        ids = np.arange(len(p))
    prf = KeyedPrf(Key(rng.bytes(32)))
    # One number a context would do, were their width not that of the function.
    contexts = rng.integers(1 << 31, size=(draws, prf.context_width))
    unmasked = np.zeros(draws, dtype=bool)
    randomness = KeyedRandomness(prf, contexts, unmasked, [lambda: rng] * draws, ids)
    targets = np.broadcast_to(p, (draws, len(p)))
    if q is None:
        token = method.bonus(targets, randomness)
    else:
        drafts = np.broadcast_to(q, (draws, len(q)))
        draft = method.draft(drafts, randomness)
        accepted = method.accepts(targets, drafts, draft, randomness)
        # Of a tree another candidate may be accepted, of which the efficiency knows nothing.
        other = method.after_rejection(targets, drafts, draft, randomness).token
        token = np.where(accepted, draft, other)
    texts = np.concatenate([contexts, ids[token][:, None]], axis=1)
    evidence, _ = Evidence.of_texts(list(texts), prf)
    return detector.contributions(evidence)


def _by_id(law: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The law with a column for every id up to the largest."""
    whole = np.zeros(int(ids.max()) + 1)
    whole[ids] = law
    return whole
