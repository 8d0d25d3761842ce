"""Texts read back through both models: which tokens does the key determine?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tradeoff.detection import Evidence
from tradeoff.kernels import KeyedRandomness, Method
from tradeoff.keyed import Prf
from tradeoff.llm.generation.vocabulary import vocabulary_ids
from tradeoff.llm.law_device import law_device, on_law_device
from tradeoff.llm.models.huggingface import PreTrainedModel, next_logits
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.sampling import Sampling

__all__ = ["Replay", "replay"]

# Positions whose laws are held at a time: 2 x 32 x 50,000 float64 are 25 MB.
_POSITIONS = 32


@dataclass(frozen=True)
class Replay:
    """What both models and the key say about a text, at the positions that count.

    Attributes:
        index: [t] positions.
        hits: [t] whether the token is the one that the key determines.
        probability: [t] P(token) under the target as sampled.
        entropy: [t] Ent(P) in nats.
    """

    index: np.ndarray
    hits: np.ndarray
    probability: np.ndarray
    entropy: np.ndarray


@torch.inference_mode()
def replay(
    pair: ModelPair,
    method: Method,
    prf: Prf,
    sampling: Sampling,
    prompt_ids: Sequence[int],
    token_ids: Sequence[int],
) -> Replay:
    """Run both models over a text and the kernel at every position that counts.

    Every position is taken for one where a draft was verified alone; bonus positions, which a detector does
    not know, and those of blocks (`verify`) show as misses now and then.

    Args:
        pair: target and draft, as at generation.
        method: with a degenerate watermark and an acceptance that the key determines.
        prf: the keyed pseudorandom function.
        sampling: as at generation.
        prompt_ids: the prompt, or any context instead if it is not known; at least one token.
        token_ids: the text.

    Raises:
        ValueError: for a method whose tokens the key does not determine, a biased watermark, or an empty
            prompt.
    """
    if not method.determined:
        raise ValueError(
            f"method={method.name!r} with {method.decoder.name} leaves tokens to true randomness; "
            "model-aware detection needs a degenerate watermark and basic, keep-strength, algorithm-1, "
            "single-key, one-race, joint-race, joint-race-marked or a tree of theirs"
        )
    if not method.decoder.unbiased:
        raise ValueError(
            f"decoder={method.decoder.name!r} is biased: a random key selects tokens with other "
            "probabilities than P, so that no test by P is valid; use the detectors of the key alone"
        )
    if not len(prompt_ids):
        raise ValueError("prompt_ids are empty; pass the prompt, or any token to start from")
    evidence = Evidence(np.asarray(token_ids), prf)
    device, n = law_device(pair.device), pair.vocabulary_size
    ids = torch.tensor([[*prompt_ids, *token_ids]], device=pair.device)

    def logits(model: PreTrainedModel) -> torch.Tensor:
        return on_law_device(next_logits(model, ids[:, :-1], len(token_ids))[0, :, :n])

    if len(evidence) == 0:
        nothing = np.zeros(0)
        return Replay(evidence.index, nothing.astype(bool), nothing, nothing)
    target = logits(pair.target)
    draft = logits(pair.draft_model) if method.drafts else None
    found: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    all_contexts, all_tokens = evidence.contexts, evidence.tokens
    for first in range(0, len(evidence), _POSITIONS):
        part = evidence.index[first : first + _POSITIONS]
        rows = torch.from_numpy(part).to(device)
        p = sampling.probabilities(target[rows])
        q = None if draft is None else sampling.probabilities(draft[rows])
        contexts = all_contexts[first : first + _POSITIONS]
        determined = _determined(method, prf, p, q, contexts, n, device)
        tokens = torch.from_numpy(all_tokens[first : first + _POSITIONS]).to(device)
        chosen = torch.gather(p, -1, tokens[:, None])[:, 0]
        found.append((determined == tokens, chosen, torch.special.entr(p).sum(-1)))
    hits, probability, entropy = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    return Replay(evidence.index, hits, probability, entropy)


def _determined(
    method: Method,
    prf: Prf,
    p: torch.Tensor,
    q: torch.Tensor | None,
    contexts: np.ndarray,
    n: int,
    device: torch.device,
) -> torch.Tensor:
    """The tokens that the key determines: [rows]."""
    # A degenerate method with a keyed coin draws nothing truly random.
    randomness = KeyedRandomness.of_key(prf, contexts, vocabulary_ids(n, device))
    if q is None:
        return method.bonus(p, randomness)
    return method(p, q, method.draft(q, randomness), randomness).token
