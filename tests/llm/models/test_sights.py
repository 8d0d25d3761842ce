"""How far back layers see, by definition; what configurations say of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.llm.models.families import Case, tiny
from tradeoff.llm.models import sights as module
from tradeoff.llm.models.sights import Sight, sights

KINDS = ["sliding_attention", "full_attention", "sliding_attention"]


@pytest.mark.parametrize(
    ("sight", "sees"),
    [
        (Sight("all"), lambda token, entry: True),
        (Sight("window", window=3), lambda token, entry: token - 3 < entry),
        (Sight("chunk", chunk=4), lambda token, entry: token // 4 == entry // 4),
    ],
    ids=lambda value: value.kind if isinstance(value, Sight) else "",
)
def test_what_is_seen_by_definition(sight: Sight, sees) -> None:
    """Two rows: a text, and one with a side branch, whose entry lies behind its place in the text."""
    where = torch.tensor([[6, 7, 8], [4, 5, 4]])
    lies = torch.tensor([[*range(9)], [0, 1, 2, 3, 4, 5, 4, 0, 0]])
    reads = torch.from_numpy(np.random.default_rng(0).random((2, 3, 9)) < 0.7)
    found = sight.narrowed(reads, where, lies)
    for b, t, e in np.ndindex(2, 3, 9):
        assert bool(found[b, t, e]) == (bool(reads[b, t, e]) and sees(int(where[b, t]), int(lies[b, e])))


def test_every_kind_of_layer_once() -> None:
    """Windows, chunks, all of the text; also where a configuration names no kinds."""
    gemma = tiny(Case("gemma2", {"sliding_window": 9, "layer_types": KINDS}))
    assert sights(gemma) == [Sight("sliding_attention", window=9), Sight("full_attention")]
    llama4 = tiny(Case("llama4_text", {"attention_chunk_size": 9, "intermediate_size_mlp": 96}))
    assert set(sights(llama4)) == {Sight("chunked_attention", chunk=9), Sight("full_attention")}
    (mistral,) = sights(tiny(Case("mistral", {"sliding_window": 9})))
    assert (mistral.window, mistral.chunk) == (9, None)
    (llama,) = sights(tiny(Case("llama")))
    assert (llama.window, llama.chunk) == (None, None)


def test_windows_of_several_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One mask a kind cannot say two sizes."""
    model = tiny(Case("gemma2", {"sliding_window": 9, "layer_types": KINDS}))
    monkeypatch.setattr(module, "windows", lambda _: [9, None, 8])
    with pytest.raises(ValueError, match=r"layers of one kind \(sliding_attention\) with windows of several"):
        sights(model)
