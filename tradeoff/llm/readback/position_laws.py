"""The laws of both models at positions of a text, as its tokens were sampled from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tradeoff.llm.models.pair import ModelPair, logits_at
from tradeoff.llm.sampling import Sampling

__all__ = ["position_laws"]


@torch.inference_mode()
def position_laws(
    pair: ModelPair,
    sampling: Sampling,
    prompt_ids: Sequence[int],
    token_ids: Sequence[int],
    index: Sequence[int] | np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Target and draft laws of the tokens at `index`, given everything before them.

    Args:
        pair: target and draft, as at generation.
        sampling: as at generation.
        prompt_ids: the prompt, or any context instead if it is not known; at least one token.
        token_ids: the text.
        index: [k] positions in the text, from 0.

    Returns:
        P and Q, each [k, n] NumPy float64.

    Raises:
        ValueError: for an empty prompt, or positions outside the text.
    """
    if not len(prompt_ids):
        raise ValueError("prompt_ids are empty; pass the prompt, or any token to start from")
    where = np.asarray(index, dtype=np.int64)
    if where.ndim != 1 or ((where < 0) | (where >= len(token_ids))).any():
        raise ValueError(
            f"index={where.tolist()} must be a list of positions of the text, from 0 to {len(token_ids) - 1}"
        )
    n = pair.vocabulary_size
    if not where.size:
        return np.zeros((0, n)), np.zeros((0, n))
    # The token at position i of the text is predicted by what stands before it.
    ids = torch.tensor([[*prompt_ids, *token_ids[:-1]]])
    before = torch.from_numpy(where + len(prompt_ids) - 1)[None]
    p, q = (
        sampling.probabilities(logits_at(model, ids, None, before, n)[0]).cpu().numpy()
        for model in (pair.target, pair.draft_model)
    )
    return p, q
