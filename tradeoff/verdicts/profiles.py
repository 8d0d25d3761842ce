"""Log-probabilities of the tokens that count, from measured texts: what forecasts are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from tradeoff.detection import scored_positions, text_contexts
from tradeoff.display import shown
from tradeoff.errors import FileError
from tradeoff.keyed import PRF_NAMES, check_width, prf_type
from tradeoff.texts import Broken, Text

__all__ = ["REMEDY", "measured_profiles"]

#: What a plan can be made of where texts hold no profiles.
REMEDY = "generate with `tradeoff generate --measure`, or give --entropy"


def measured_profiles(
    texts: Iterable[Text | Broken], width: int | None = None
) -> Iterator[tuple[np.ndarray, int]]:
    """Of every text: log-probabilities of the tokens that count [k], and its length.

    Args:
        texts: as from `tradeoff.texts.read_texts`, with token ids and log_p.
        width: tokens before a position that seed it; the record's, or the default of its function, if None.

    Raises:
        FileError: for a text that cannot be read, or has no log-probabilities.
    """
    for text in texts:
        if isinstance(text, Broken):
            raise FileError(f"{text.message}; `tradeoff plan` reads texts of `tradeoff generate --measure`")
        ids, log_p = _measured(text)
        taken, warm_up = _contexts(text, width)
        positions = scored_positions(text_contexts(ids, taken), warm_up)
        yield log_p[positions], len(ids)


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


def _contexts(text: Text, width: int | None) -> tuple[int, int]:
    """The context width, and how many tokens at the start never count."""
    claims = text.claims
    if claims.fault is not None:
        raise FileError(f'{text.place}: {claims.fault}; repair or remove "run"')
    prf = PRF_NAMES[0] if claims.prf is None else claims.prf
    if prf not in PRF_NAMES:
        raise FileError(
            f'{text.place}: "run" has prf={shown(prf)}, which is unknown; use one of {", ".join(PRF_NAMES)}'
        )
    if width is None:
        width = prf_type(prf).context_width if claims.context_width is None else claims.context_width
        try:
            check_width(width)
        except ValueError as error:
            raise FileError(f"{text.place}: {error}") from None
    return width, 0 if prf_type(prf).pads_contexts else width
