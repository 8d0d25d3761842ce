"""Texts read back through the draft model alone: which seed did the key draw?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tradeoff.decoders import is_degenerate
from tradeoff.detection import AnchorReading, Evidence, Seeds
from tradeoff.kernels import KeyedRandomness, Method
from tradeoff.keyed import Kind, Prf, check_supplied
from tradeoff.llm.generation.vocabulary import vocabulary_ids
from tradeoff.llm.law_device import on_law_device
from tradeoff.llm.models.huggingface import PreTrainedModel, next_logits
from tradeoff.llm.models.placement import input_device
from tradeoff.llm.sampling import Sampling

__all__ = ["read_anchor"]

# Positions whose laws are held at a time: 3 x 32 x 50,000 float64 are 38 MB.
_POSITIONS = 32


@torch.inference_mode()
def read_anchor(
    draft: PreTrainedModel,
    vocabulary_size: int,
    method: Method,
    prf: Prf,
    sampling: Sampling,
    prompt_ids: Sequence[int],
    token_ids: Sequence[int],
    buckets: Sequence[int] = (2, 4, 16),
) -> AnchorReading:
    """Run the draft model over a text, and its decoder at every position that counts.

    The law of the seed must be the law that the draft was sampled from, temperature and truncation included.
    Whatever differs (an unknown prompt, other arithmetic) costs power and never validity: the seed that is
    recomputed has the law that is recomputed, as every decoder taken here is unbiased.

    Args:
        draft: the model, on the device where it is to run; for text of `basic`, any model as an anchor.
        vocabulary_size: tokens it shares with the target.
        method: of the text; its decoder and the stream of its drafts (of all its tokens, without drafts).
        prf: the keyed pseudorandom function.
        sampling: as at generation.
        prompt_ids: the prompt, or any context instead if it is not known; at least one token.
        token_ids: the text.
        buckets: numbers of buckets to read, beside tokens.

    Raises:
        ValueError: for a method whose draft tokens the key does not determine, a tilted decoder, an empty
            prompt, or token ids outside the vocabulary.
    """
    stream, decoder = method.detection.drafted or method.detection.bonus, method.decoder
    if stream is None or not is_degenerate(decoder):
        raise ValueError(
            f"method={method.name!r} with {decoder.name} has no draft tokens that the key determines; use a "
            "watermarked method with gumbel, synthid:inf or a completed watermark"
        )
    if not decoder.unbiased:
        raise ValueError(
            f"decoder={decoder.name!r} is biased and gives seeds another law than the draft's, so that no "
            "test of them is valid; use the detectors of the key alone, or tilt 0"
        )
    if not len(prompt_ids):
        raise ValueError("prompt_ids are empty; pass the prompt, or any token to start from")
    evidence = Evidence(np.asarray(token_ids), prf)
    for name, given in (("prompt_ids", prompt_ids), ("token_ids", token_ids)):
        bad = next((token for token in given if not 0 <= token < vocabulary_size), None)
        if bad is not None:
            raise ValueError(
                f"{name} hold {bad}, but vocabulary_size={vocabulary_size}: ids are from 0 to "
                f"{vocabulary_size - 1}; tokenise with the tokenizer of the draft model, or pass the "
                "vocabulary_size that the text was generated with"
            )
    if buckets:
        check_supplied(prf, {Kind.BUCKETS})
    values = [vocabulary_size, *buckets]
    if len(evidence) == 0:
        nothing = Seeds(np.zeros(0, dtype=bool), np.zeros(0))
        return AnchorReading(evidence.index, np.zeros(0), dict.fromkeys(values, nothing))
    ids = torch.tensor([[*prompt_ids, *token_ids]], device=input_device(draft))
    logits = on_law_device(next_logits(draft, ids[:, :-1], len(token_ids))[0, :, :vocabulary_size])
    device = logits.device
    hashes = {m: prf.buckets(vocabulary_ids(vocabulary_size, device), m) for m in buckets}
    mass: list[torch.Tensor] = []
    seeds: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {m: [] for m in values}
    all_contexts, all_tokens = evidence.contexts, evidence.tokens
    for first in range(0, len(evidence), _POSITIONS):
        rows = torch.from_numpy(evidence.index[first : first + _POSITIONS]).to(device)
        p0 = sampling.probabilities(logits[rows])
        contexts = all_contexts[first : first + _POSITIONS]
        token = torch.from_numpy(all_tokens[first : first + _POSITIONS]).to(device)
        randomness = KeyedRandomness.of_key(prf, contexts, vocabulary_ids(vocabulary_size, device))
        seed = decoder.token(p0, randomness.zeta(stream, decoder))
        mass.append(_at(p0, token))
        seeds[vocabulary_size].append((seed == token, _at(p0, seed)))
        for m, h in hashes.items():
            law = torch.zeros((len(p0), m), dtype=p0.dtype, device=device)
            law.index_add_(1, h, p0)
            seeds[m].append((h[seed] == h[token], _at(law, h[seed]).clamp(max=1.0)))

    def joined(parts: Sequence[torch.Tensor]) -> np.ndarray:
        return torch.cat(list(parts)).cpu().numpy()

    found = {m: Seeds(*map(joined, zip(*parts, strict=True))) for m, parts in seeds.items()}
    return AnchorReading(evidence.index, joined(mass), found)


def _at(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return torch.gather(values, -1, index[:, None])[:, 0]
