"""The joint race as a fused kernel computes it, to be read: the vocabulary in tiles, each looked at once.

Rows are (request, position) pairs. A kernel has a thread block for a tile of a row, which draws the race of
its tokens itself and leaves three numbers, `Partial`; nothing else of the vocabulary is kept. All is computed
in the type of the laws, float64 or float32. docs/formats/vllm.md has the design that this is part of.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

__all__ = ["Partial", "drawn", "law_of_logits", "merged", "partial_of_tile", "raced", "settled", "verified"]


class Partial(NamedTuple):
    """What tiles of a row have told so far, [rows] each.

    Attributes:
        mass: their part of TV = sum (P - Q)_+.
        ratio: the least (E - t Q) / (P - Q)_+ of a token; infinite without one of P > Q.
        token: whose that is, the first of several.
    """

    mass: np.ndarray
    ratio: np.ndarray
    token: np.ndarray


def partial_of_tile(p: np.ndarray, q: np.ndarray, race: np.ndarray, time: np.ndarray, first: int) -> Partial:
    """Of the tokens first, first + 1, ...: their P, Q and E, [rows, tile]; and the draft's time t, [rows]."""
    under = np.maximum(p - q, 0)
    left = race - time[:, None] * q
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(under > 0, left / under, np.inf)
    best = np.argmin(ratio, axis=-1)
    least = np.take_along_axis(ratio, best[:, None], -1)[:, 0]
    return Partial(under.sum(axis=-1), least, first + best)


def merged(one: Partial, other: Partial) -> Partial:
    """Of both; `one` has the lower token ids."""
    later = other.ratio < one.ratio
    return Partial(
        one.mass + other.mass,
        np.where(later, other.ratio, one.ratio),
        np.where(later, other.token, one.token),
    )


def raced(p: np.ndarray, q: np.ndarray, race: np.ndarray, time: np.ndarray, tile: int) -> Partial:
    """Of whole rows [rows, n], `tile` tokens at a time."""
    places = range(0, p.shape[-1], tile)
    parts = (slice(first, first + tile) for first in places)
    return reduce(
        merged,
        (partial_of_tile(p[:, s], q[:, s], race[:, s], time, s.start) for s in parts),
    )


def drawn(law: np.ndarray, race: np.ndarray, tile: int) -> np.ndarray:
    """argmin E/P, [rows]: a draft from Q and a bonus token from P are the same pass, with nothing drafted."""
    nothing = np.zeros((len(law), 1), dtype=law.dtype)
    return raced(law, np.broadcast_to(nothing, law.shape), race, nothing[:, 0], tile).token


def settled(
    p_draft: np.ndarray, q_draft: np.ndarray, time: np.ndarray, draft: np.ndarray, found: Partial
) -> tuple[np.ndarray, np.ndarray]:
    """Whether drafts are accepted, and the tokens that are emitted, [rows] each: after all tiles of a row."""
    with np.errstate(invalid="ignore"):
        clocks = time * (q_draft - p_draft) < found.mass * found.ratio * p_draft
    # Rounding may leave no residual to a draft of P < Q: then the coin of one race, and the draft stays.
    empty = found.mass == 0
    accepted = (p_draft >= q_draft) | np.where(empty, -np.expm1(-time) < p_draft / q_draft, clocks)
    return accepted, np.where(accepted | empty, draft, found.token)


def verified(
    p: np.ndarray, q: np.ndarray, draft: np.ndarray, race: np.ndarray, tile: int
) -> tuple[np.ndarray, np.ndarray]:
    """Verdicts and tokens of drafts, [rows] each, from laws and races [rows, n]."""
    rows = np.arange(len(p))
    time = race[rows, draft] / q[rows, draft]
    found = raced(p, q, race, time, tile)
    return settled(p[rows, draft], q[rows, draft], time, draft, found)


def law_of_logits(logits: np.ndarray, tile: int) -> np.ndarray:
    """softmax of [rows, n] in the type of the logits, by the largest logit and the sum of every tile."""
    top = np.full(len(logits), -np.inf, dtype=logits.dtype)
    total = np.zeros(len(logits), dtype=logits.dtype)
    for first in range(0, logits.shape[-1], tile):
        part = logits[:, first : first + tile]
        above = np.maximum(top, part.max(axis=-1))
        total = total * np.exp(top - above) + np.exp(part - above[:, None]).sum(axis=-1)
        top = above
    return np.exp(logits - (top + np.log(total))[:, None])
