"""Makes data/hf_kgw.json: what Transformers' own processor favours, in settings of every kind.

python -m tests.keyed.hf_kgw_vectors
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import WatermarkLogitsProcessor

FILE = Path(__file__).parent / "data" / "hf_kgw.json"
SETTINGS: list[dict[str, Any]] = [
    {"vocabulary": 97, "gamma": 0.25, "scheme": "lefthash", "key": 15485863, "width": 1},
    {"vocabulary": 1031, "gamma": 0.1, "scheme": "lefthash", "key": (1 << 64) - 2, "width": 3},
    {"vocabulary": 131, "gamma": 0.5, "scheme": "selfhash", "key": 15485863, "width": 1},
    {"vocabulary": 257, "gamma": 0.25, "scheme": "selfhash", "key": (1 << 62) + 12345, "width": 4},
    {"vocabulary": 49152, "gamma": 0.25, "scheme": "lefthash", "key": (1 << 32) + 7, "width": 1},
    {"vocabulary": 49152, "gamma": 0.3, "scheme": "selfhash", "key": (1 << 63) + 1, "width": 2},
]
ROWS, LENGTH = 6, 5
#: Above this many tokens what is favoured is told by its hash.
SHORT = 2000


def prefixes(setting: dict[str, Any]) -> np.ndarray:
    """[ROWS, LENGTH] token ids, 0 among the last ones."""
    rng = np.random.default_rng(setting["key"] % 1000)
    ids = rng.integers(0, setting["vocabulary"], (ROWS, LENGTH))
    ids[0, -1] = 0
    return ids


def scores(vocabulary: int) -> np.ndarray:
    """[vocabulary] different ones, so that the most probable are well defined."""
    factor = next(one for one in range(7, vocabulary) if np.gcd(one, vocabulary) == 1)
    return (factor * np.arange(vocabulary) % vocabulary).astype(np.float32)


def favoured(setting: dict[str, Any]) -> list[Any]:
    """Of every prefix the token ids that are favoured, or the hash of them."""
    processor = WatermarkLogitsProcessor(
        vocab_size=setting["vocabulary"],
        device="cpu",
        greenlist_ratio=setting["gamma"],
        bias=2.0,
        hashing_key=setting["key"],
        seeding_scheme=setting["scheme"],
        context_width=setting["width"],
    )
    ids = torch.from_numpy(prefixes(setting))
    before = torch.from_numpy(scores(setting["vocabulary"])).expand(len(ids), -1)
    raised = (processor(ids, before.clone()) > before).numpy()
    return [told(np.flatnonzero(row), setting["vocabulary"]) for row in raised]


def told(ids: np.ndarray, vocabulary: int) -> Any:
    """Token ids as they stand in the file."""
    if vocabulary <= SHORT:
        return ids.tolist()
    return hashlib.blake2b(ids.astype("<i8").tobytes(), digest_size=16).hexdigest()


if __name__ == "__main__":
    made = [
        {**setting, "prefixes": prefixes(setting).tolist(), "favoured": favoured(setting)}
        for setting in SETTINGS
    ]
    about = {"transformers": transformers.__version__, "torch": torch.__version__, "vectors": made}
    FILE.write_text(json.dumps(about, separators=(",", ":")) + "\n", encoding="utf-8")
