"""What becomes of a text before it is tested: edits of its tokens, and of its words.

All functions are pure; `rng` decides where. Token functions take and return [n] integers.
"""

from __future__ import annotations

import numpy as np

__all__ = ["delete", "insert", "paste_into", "substitute", "truncate"]


def substitute(tokens: np.ndarray, share: float, words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace a share of the tokens by tokens drawn from `words`.

    Args:
        tokens: [n].
        share: in [0, 1]; floor(share n) positions are drawn without repetition.
        words: [k] tokens to draw from, with repetition: those of human text, so that frequent ones are
            frequent.
        rng: source of positions and replacements.
    """
    edited = np.array(tokens)
    where = _positions(len(edited), share, rng)
    edited[where] = rng.choice(words, len(where))
    return edited


def insert(tokens: np.ndarray, share: float, words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Insert floor(share n) tokens drawn from `words` before random positions."""
    where = _positions(len(tokens), share, rng)
    return np.insert(np.asarray(tokens), where, rng.choice(words, len(where)))


def delete(tokens: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Leave out floor(share n) tokens at random positions."""
    return np.delete(np.asarray(tokens), _positions(len(tokens), share, rng))


def truncate(tokens: np.ndarray, share: float) -> np.ndarray:
    """Keep the first tokens and cut floor(share n) off the end."""
    return np.asarray(tokens)[: len(tokens) - _count(len(tokens), share)]


def paste_into(tokens: np.ndarray, share: float, human: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A text of the same length of which `share` is human: the first (1 - share) n tokens, pasted into it.

    Args:
        tokens: [n].
        share: in [0, 1].
        human: [k] tokens of a human text, k >= floor(share n).
        rng: where in the human text they are pasted.

    Raises:
        ValueError: if the human text is too short.
    """
    around = _count(len(tokens), share)
    if len(human) < around:
        raise ValueError(f"human text has {len(human)} tokens, {around} are needed; pass a longer one")
    cut = int(rng.integers(0, around + 1))
    return np.concatenate([human[:cut], np.asarray(tokens)[: len(tokens) - around], human[cut:around]])


def _positions(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(n, _count(n, share), replace=False)


def _count(n: int, share: float) -> int:
    """floor(share n), right where the product rounds to just below a whole number, as 0.29 x 100 does."""
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} must be in [0, 1]")
    return int(share * n + 1e-9)
