"""Vectors of Transformers' SynthID, made by its own processor: `python -m tests.keyed.synthid_vectors`.

They are committed, so that the format is reproduced where Transformers is not installed, or has changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "data" / "hf_synthid.json"
#: ngram_len, number of keys, table, its seed, skip_first, history.
SETTINGS = [
    (5, 30, 1 << 16, 0, False, 1024),
    (3, 5, 1 << 16, 12345, True, 4),
    (2, 70, 1 << 10, 2**40 + 7, False, 6),
    (4, 3, 65537, 1, True, 1024),
]
#: Ids of whole vocabularies, and of the texts that repeat contexts.
VOCABULARY, ALPHABET, STEPS = 64, 3, 60


def step_scores(step: int) -> np.ndarray:
    """Scores of a call, which differ from call to call: [ALPHABET] float32."""
    return np.cos(np.arange(ALPHABET) * (step + 1.0)).astype(np.float32)


def of_setting(ngram_len: int, count: int, size: int, seed: int, skips: bool, history: int) -> dict[str, Any]:
    import torch
    from transformers import SynthIDTextWatermarkingConfig

    rng = np.random.default_rng([ngram_len, count])
    keys = rng.integers(-(1 << 63), 1 << 63, count).tolist()
    told = {
        "ngram_len": ngram_len,
        "keys": keys,
        "sampling_table_size": size,
        "sampling_table_seed": seed,
        "skip_first_ngram_calls": skips,
        "context_history_size": history,
    }
    config = SynthIDTextWatermarkingConfig(**told)
    processor = config.construct_processor(VOCABULARY, "cpu")
    bits = []
    for context in (
        [0] * (ngram_len - 1),
        rng.integers(0, 50_000, ngram_len - 1).tolist(),
        rng.integers(0, 1 << 31, ngram_len - 1).tolist(),
    ):
        rows = torch.tensor([[*context, token] for token in range(VOCABULARY)])
        values = processor.compute_g_values(rows)[:, 0].numpy()
        bits.append({"context": context, "depths": ["".join(map(str, one)) for one in values.T.tolist()]})
    text = rng.integers(0, ALPHABET, STEPS).tolist()
    generating = config.construct_processor(ALPHABET, "cpu")
    unchanged = ""
    for step in range(STEPS):
        scores = torch.from_numpy(step_scores(step))[None]
        # A prompt of one token, which the processor does not look at.
        after = generating(torch.tensor([[1, *text[:step]]]), scores)
        unchanged += str(int(torch.equal(after, scores)))
    mask = processor.compute_context_repetition_mask(torch.tensor([text]))[0]
    return {
        "config": told,
        "bits": bits,
        "text": text,
        "unchanged": unchanged,
        "repetition_mask": "".join(map(str, mask.int().tolist())),
    }


def main() -> None:
    import transformers

    told = {"made_with": f"transformers {transformers.__version__}"}
    FILE.write_text(
        json.dumps(told | {"settings": [of_setting(*one) for one in SETTINGS]}, indent=1) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
