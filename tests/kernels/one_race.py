"""Speculative decoding with one race, to be read: the rule of `OneRace` for one text, no batch, no cache.

Laws and races are functions of the text so far: `target(text)` and `draft(text)` give the law P or Q of the
next token, [n], and `race(text)` gives E ~ Exp(1), [n], the same whenever it is asked about that text.
"""

from collections.abc import Callable

import numpy as np

Numbers = Callable[[list[int]], np.ndarray]


def generate(target: Numbers, draft: Numbers, race: Numbers, tokens: int, lookahead: int) -> list[int]:
    """A text of `tokens` tokens, `lookahead` of them drafted in every step."""
    text: list[int] = []
    while len(text) < tokens:
        text += step(text, target, draft, race, lookahead)
    return text[:tokens]


def step(text: list[int], target: Numbers, draft: Numbers, race: Numbers, lookahead: int) -> list[int]:
    """Draft, verify in order, and end with a token that is no draft: 1 to `lookahead` + 1 tokens."""
    drafts: list[int] = []
    for _ in range(lookahead):
        drafts.append(winner(race(text + drafts), draft(text + drafts)))
    for k, token in enumerate(drafts):
        before = text + drafts[:k]
        p, q, e = target(before), draft(before), race(before)
        # The winning time is Exp(1) and independent of the winner: 1 - exp(-t) is a uniform coin.
        t = e[token] / q[token]
        if 1 - np.exp(-t) >= min(1.0, p[token] / q[token]):
            # What the draft left of the race is a race again, now for the excess of P over Q.
            return [*drafts[:k], winner(e - t * q, np.maximum(p - q, 0.0))]
    everything = text + drafts
    return [*drafts, winner(race(everything), target(everything))]


def winner(race: np.ndarray, law: np.ndarray) -> int:
    """argmin E/P: w wins with probability P_w / sum P, and never without mass."""
    time = np.full(len(law), np.inf)
    np.divide(race, law, out=time, where=law > 0)
    return int(np.argmin(time))


def may_be_keyed(text: list[int], width: int) -> bool:
    """Whether the context of the next token, the last `width` tokens, is whole and occurs for the first time.

    There the race is the key's; elsewhere it is truly random, so that a text uses no number of the key twice.
    """
    context = text[-width:]
    return len(text) >= width and all(text[i : i + width] != context for i in range(len(text) - width))
