"""Whether pseudorandom numbers of a device are, bit for bit, those of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from tests.benchmarks.gpu.results import Step
from tradeoff.keyed import (
    DepthKeys,
    HfSynthIDSettings,
    Key,
    KeyedPrf,
    Prf,
    SamplingTable,
    VllmPhilox,
    listed,
)

__all__ = ["steps_of"]

#: Tokens of a vocabulary of today, and contexts.
TOKENS, ROWS, WIDTH = 151_936, 4, 4
_SYNTHID = DepthKeys(range(3, 70))
#: Functions, and the numbers that they compute on the device of token ids. Coins, side information and
#: uniforms of positions are computed on the host, whatever the device is.
FUNCTIONS: list[tuple[Prf, tuple[str, ...]]] = [
    (
        KeyedPrf(Key(b"key of the benchmark"), WIDTH),
        ("uniform", "race", "bits", "lists", "buckets", "listed"),
    ),
    (VllmPhilox(0x0123456789ABCDEF, WIDTH), ("uniform", "race")),
    (HfSynthIDSettings()(_SYNTHID, WIDTH), ("bits",)),
    (HfSynthIDSettings(SamplingTable(1000))(_SYNTHID, WIDTH), ("bits",)),
]


def steps_of(device: torch.device) -> Iterator[Step]:
    """Every kind of number, in every stream."""
    contexts = np.random.default_rng(0).integers(0, TOKENS, (ROWS, WIDTH))
    for prf, kinds in FUNCTIONS:
        for kind in kinds:
            if kind in ("buckets", "listed"):
                function = partial(prf.buckets, m=1024) if kind == "buckets" else _listed(prf)
                yield _step(prf, kind, "all", function, device)
                continue
            more = {"bits": {"word": 1}, "lists": {"gamma": 0.25}}.get(kind, {})
            for stream in sorted(prf.streams):
                numbers = partial(getattr(prf, kind), stream, contexts, **more)
                yield _step(prf, kind, stream.value, numbers, device)


def _listed(prf: Prf) -> Callable[[np.ndarray], np.ndarray]:
    return lambda tokens: listed(prf, tokens, 0.25)


def _step(prf: Prf, kind: str, stream: str, numbers: Callable, device: torch.device) -> Step:
    return Step(
        "numbers",
        {"prf": prf.name, "kind": kind, "stream": stream},
        lambda: _compared(numbers, device),
    )


def _compared(numbers: Callable, device: torch.device) -> dict[str, object]:
    """Columns numbers, equal, difference: the largest relative one. Races are logarithms, which libraries
    round in ways of their own; all other numbers are to be equal."""
    ids = np.arange(TOKENS)
    found, wanted = numbers(torch.from_numpy(ids).to(device)).cpu().numpy(), numbers(ids)
    different = found != wanted
    apart = np.abs(found[different] / wanted[different] - 1) if different.any() else np.zeros(1)
    return {"numbers": found.size, "equal": int((~different).sum()), "difference": float(apart.max())}
