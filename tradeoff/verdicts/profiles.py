"""Probabilities of the tokens that count, from measured texts: what forecasts are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tradeoff.detection import scored_positions, text_contexts
from tradeoff.display import shown
from tradeoff.errors import FileError
from tradeoff.keyed import PRF_NAMES, check_width, prf_type
from tradeoff.texts import Broken, Text

__all__ = ["REMEDY", "MeasuredProfile", "measured_profiles"]

#: What a plan can be made of where texts hold no profiles.
REMEDY = "generate with `tradeoff generate --measure`, or give --entropy"
#: Nats of more tokens than any vocabulary has.
_MOST_ENTROPY = 40.0


@dataclass(frozen=True)
class MeasuredProfile:
    """What a text tells of its tokens that count.

    Attributes:
        log_p: their log-probabilities [k].
        entropy: of the laws that they were drawn from, in nats [k]; None where it is not asked for.
        tokens: of the text, counting or not.
        warm_up: tokens at its start that never count.
    """

    log_p: np.ndarray
    entropy: np.ndarray | None
    tokens: int
    warm_up: int


def measured_profiles(
    texts: Iterable[Text | Broken], width: int | None = None, *, entropies: bool = False
) -> Iterator[MeasuredProfile]:
    """The profile of every text.

    Args:
        texts: as from `tradeoff.texts.read_texts`, with token ids and log_p.
        width: tokens before a position that seed it; the record's, or the default of its function, if None.
        entropies: whether they are wanted as well.

    Raises:
        FileError: for a text that cannot be read, or has no log-probabilities.
    """
    for text in texts:
        if isinstance(text, Broken):
            raise FileError(f"{text.message}; `tradeoff plan` reads texts of `tradeoff generate --measure`")
        ids, log_p = _measured(text)
        taken, warm_up = _contexts(text, width)
        positions = scored_positions(text_contexts(ids, taken), warm_up)
        entropy = _entropies(text, len(ids))[positions] if entropies else None
        yield MeasuredProfile(log_p[positions], entropy, len(ids), min(warm_up, len(ids)))


def _measured(text: Text) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and their log-probabilities: [n] each."""
    ids, log_p = text.token_ids, text.log_p
    if ids is None or log_p is None:
        raise FileError(f'{text.place} has no "{"token_ids" if ids is None else "log_p"}"; {REMEDY}')
    if not isinstance(log_p, list):
        raise FileError(f'{text.place}: "log_p" must be a list of numbers, got {shown(log_p)}; {REMEDY}')
    if len(log_p) != len(ids):
        raise FileError(
            f'{text.place}: "token_ids" and "log_p" must be of one length, got {len(ids)} and {len(log_p)}; '
            + REMEDY
        )
    # Needs pydantic, which the command without texts does not.
    from tradeoff.texts import fault_of_log_p

    if fault := fault_of_log_p(log_p):
        raise FileError(
            f'{text.place}: "log_p" holds {shown(fault.value)}; it must hold logarithms of probabilities, '
            f"finite numbers of at most 0; {REMEDY}"
        )
    return np.array(ids, dtype=np.int64), np.array(log_p, dtype=float)


def _entropies(text: Text, tokens: int) -> np.ndarray:
    """Entropies of the laws of its tokens: [tokens], in nats."""
    values = text.entropy
    if not isinstance(values, list) or len(values) != tokens:
        raise FileError(
            f'{text.place} has no "entropy" of its {tokens} tokens, which this watermark wants; {REMEDY}'
        )
    for value in values:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= _MOST_ENTROPY:
            raise FileError(
                f'{text.place}: "entropy" holds {shown(value)}; it must hold numbers of nats from 0 to '
                f"{_MOST_ENTROPY:g}; {REMEDY}"
            )
    return np.array(values, dtype=float)


def _contexts(text: Text, width: int | None) -> tuple[int, int]:
    """The context width, and how many tokens at the start never count."""
    claims = text.claims
    if claims.fault is not None:
        raise FileError(f'{text.place}: {claims.fault}; repair or remove "run"')
    try:
        prf = prf_type(PRF_NAMES[0] if claims.prf is None else claims.prf)
    except ValueError:
        raise FileError(
            f'{text.place}: "run" has prf={shown(claims.prf)}, which is unknown; use one of '
            f"{', '.join(PRF_NAMES)}, or a format with its settings, such as hf-synthid"
        ) from None
    if width is None:
        width = prf.context_width if claims.context_width is None else claims.context_width
        try:
            check_width(width)
        except ValueError as error:
            raise FileError(f"{text.place}: {error}") from None
    return width, 0 if prf.pads_contexts else width
