"""Two clocks of one race that decide acceptance together: the draft's winning time, and the residual's."""

from __future__ import annotations

import numpy as np

from tradeoff._arrays import Array, namespace, on_host
from tradeoff.laws import at, uniform_of

__all__ = ["joint_acceptance"]

#: Probabilities worked on at a time (at least one row): a row of a vocabulary is then looked at in place.
_BLOCK = 1 << 15
#: So that rounding leaves out nobody who may decide.
_SLACK = 1 + 1e-9


def joint_acceptance(p: Array, q: Array, draft: Array, race: Array) -> Array:
    """Whether the draft token is accepted by the joint race.

    With t = E_j/Q_j, a = min(1, P_j/Q_j), r = (P-Q)_+/TV, and m = min_k (E_k - t Q_k)/r_k the winning time of
    the residual among the remainders, j is accepted if t/a < m/(1 - a), or if a = 1. Given j, t and m are
    independent and Exp(1), so that has probability a, and says nothing of who wins the residual's race:
    docs/theory/joint-race.md. Where there is no residual j is accepted if 1 - exp(-t) < a.

    Args:
        p, q: target and draft laws [..., n]; p may be a measure of `tradeoff.kernels.block`.
        draft: j = argmin E/Q, [...].
        race: E ~ Exp(1)^n, [..., n].

    Returns:
        [...] booleans.
    """
    xp = namespace(p)
    p, q, race = xp.broadcast_arrays(p, q, race)
    batch, n = p.shape[:-1], p.shape[-1]
    # Most draft tokens are accepted for sure. A device would have to be waited for to know which.
    if not on_host(p):
        return (at(q, draft) <= at(p, draft)) | _draft_is_first(p, q, draft, race)
    p, q, race = (xp.reshape(part, (-1, n)) for part in (p, q, race))
    draft = xp.reshape(draft, (-1,))
    accepted = at(q, draft) <= at(p, draft)
    open_rows, step = xp.nonzero(~accepted)[0], max(1, _BLOCK // n)
    for first in range(0, open_rows.shape[0], step):
        rows = open_rows[first : first + step]
        if step == 1:
            rows = slice(int(rows[0]), int(rows[0]) + 1)
        accepted[rows] = _draft_is_first(p[rows], q[rows], draft[rows], race[rows])
    return xp.reshape(accepted, batch)


def _draft_is_first(p: Array, q: Array, draft: Array, race: Array) -> Array:
    """t/a < m/(1 - a) for draft tokens with P_j < Q_j, [...] booleans: no k of the residual has
    E_k - t Q_k <= t (Q_j - P_j) / (TV P_j) (P_k - Q_k)."""
    xp = namespace(p)
    p_draft, q_draft = at(p, draft), at(q, draft)
    time = at(race, draft) / q_draft
    # In place, as an array of a vocabulary takes longer to get than to fill.
    under = xp.maximum(p, q)
    under -= q
    mass = xp.sum(under, axis=-1)
    bound, scale = time * (q_draft - p_draft), mass * p_draft
    # Without a residual there is no m: the coin of one race.
    first = (mass > 0) | (uniform_of(time) < p_draft / q_draft)
    if not on_host(p):
        left = (race - time[..., None] * q) * scale[..., None]
        return first & ~xp.any((under > 0) & (left <= bound[..., None] * under), axis=-1)
    # With c = bound/scale such a k has E_k <= t Q_k + c (P_k - Q_k) <= max(t, c) P_k, which few tokens have.
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = xp.maximum(time, bound / scale) * _SLACK
        rows, tokens = xp.nonzero(race <= reach[:, None] * p)
    under = under[rows, tokens]
    left = (race[rows, tokens] - time[rows] * q[rows, tokens]) * scale[rows]
    first[rows[(under > 0) & (left <= bound[rows] * under)]] = False
    return first
