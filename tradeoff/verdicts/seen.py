"""Contexts that several texts have: which count where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from tradeoff.detection import Evidence
from tradeoff.keyed import Prf
from tradeoff.verdicts.tokens import Form

__all__ = ["SeenContexts"]


class SeenContexts:
    """The contexts of all texts so far: which of another one are new."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, set[int]] = defaultdict(set)

    def new(self, forms: Sequence[Form], prf: Prf) -> list[np.ndarray]:
        """Which positions of one text have a context that no text before had, [t] each; from now on they are
        seen.

        Args:
            forms: of the same text.
            prf: which says what contexts are; its key matters where `Prf.same_positions` holds it.
        """
        seen = self._seen[prf.same_positions]
        # Hashed to 64 bits: two that share them by chance cost a token, no error, as keys have no part.
        hashed = [[hash(row.tobytes()) for row in Evidence(form.ids, prf).origins] for form in forms]
        masks = [np.array([one not in seen for one in row], dtype=bool) for row in hashed]
        for row in hashed:
            seen.update(row)
        return masks
