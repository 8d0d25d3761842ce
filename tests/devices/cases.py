"""What is run on a simulated device: every kernel with every watermark, as calls by their names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from tradeoff.decoders import Decoder, Identity, parse_decoder
from tradeoff.kernels import METHODS, KeyedRandomness, Method, Verify, block, check_verify, expected_accepted, settle_block
from tradeoff.keyed import Key, KeyedPrf, Prf, Stream

__all__ = ["DECODERS", "METHODS_OF_ALL", "PRF", "Calls", "calls_of_decoder", "calls_of_method", "laws", "randomness"]

ROWS, N = 3, 24
PRF = KeyedPrf(Key(b"the key of the simulated device"), 2)
CONTEXTS = np.array([[1, 2], [3, 4], [5, 0]])
#: One position is truly random.
MASKED = np.array([False, True, False])

#: Results by the name of what gave them.
Calls = dict[str, Callable[[], Any]]

DECODERS: list[Decoder] = [
    parse_decoder(name)
    for name in (
        "gumbel",
        "synthid:3",
        "synthid:70",
        "synthid:inf",
        "completed:synthid:3",
        "kgw:2",
        "kgw:hard,gamma=0.5",
        "kgw:2,most=5",
        "completed:kgw:2",
        "unigram:2",
        "completed:unigram:2",
        "dipmark:0.4",
        "gamma-reweight",
        "delta-reweight",
        "inverse-transform",
        "simplexwater:4",
        "heavywater:lognormal,k=32",
        "completed:heavywater:lognormal,k=32",
    )
]


def _methods() -> list[Method]:
    found = []
    for kind in METHODS.values():
        if kind.unmarked:
            found.append(kind.make(Identity()))
        for decoder in DECODERS:
            if kind.carries(decoder):
                found.append(kind.make(decoder, 3) if kind.tree else kind.make(decoder))
    return found


#: Every kernel with every watermark that it carries.
METHODS_OF_ALL = _methods()


def laws(seed: int) -> np.ndarray:
    """[ROWS, N], with zeros."""
    weights = np.random.default_rng(seed).dirichlet(np.full(N, 0.5), ROWS)
    weights[weights < 0.01] = 0
    return weights / weights.sum(axis=-1, keepdims=True)


def randomness(device: torch.device, prf: Prf | None = PRF) -> KeyedRandomness:
    """Numbers on a device: the same at every call."""
    sources = [cache(partial(np.random.default_rng, [7, row])) for row in range(ROWS)]
    ids = torch.from_numpy(np.arange(N)).to(device)
    return KeyedRandomness(prf, CONTEXTS, MASKED, sources, ids)


def calls_of_decoder(decoder: Decoder, device: torch.device) -> Calls:
    """The law given zeta, and the token where there is one."""
    p, numbers = torch.from_numpy(laws(1)).to(device), randomness(device)

    def taken() -> Any:
        rows = torch.from_numpy(np.array([2, 0])).to(device)
        return decoder(p[rows], decoder.take(numbers.zeta(Stream.DRAFT, decoder), rows))

    calls: Calls = {"law": lambda: decoder(p, numbers.zeta(Stream.DRAFT, decoder)), "law of rows": taken}
    if decoder.degenerate:
        calls["token"] = lambda: decoder.token(p, numbers.zeta(Stream.DRAFT, decoder))  # type: ignore[attr-defined]
    return calls


def calls_of_method(method: Method, device: torch.device) -> Calls:
    """Every column of a kernel, what the engine asks of it beside them, and blocks of two drafts."""
    p, q = (torch.from_numpy(laws(seed)).to(device) for seed in (1, 2))
    # A token that Q has and P has less of, so that it may be rejected.
    draft = torch.from_numpy((laws(2) - laws(1)).argmax(axis=-1)).to(device)

    def fresh() -> KeyedRandomness:
        return randomness(device)

    calls: Calls = {
        "bonus": lambda: method.bonus(p, fresh()),
        "efficiency": lambda: method.efficiency(p, q),
    }
    if not method.drafts:
        return calls
    calls |= {
        "draft": lambda: method.draft(q, fresh()),
        "candidates": lambda: method.candidates(q, fresh()),
        "accepts": lambda: method.accepts(p, q, draft, fresh()),
        "settles": lambda: tuple(method.settles(p, q, draft, fresh())),
        "replacement": lambda: method.replacement(p, q, draft, fresh()),
        "after rejection": lambda: tuple(method.after_rejection(p, q, draft, fresh())),
        "verdict": lambda: tuple(method(p, q, draft, fresh())),
        "of some rows": lambda: method.after_rejection(
            p[:1], q[:1], draft[:1], fresh().take(np.array([0]))
        ).token,
    }
    if method.full_efficiency:
        check_verify(method, Verify.BLOCK)
        depth = torch.from_numpy(np.array([2, 1, 2])).to(device)
        targets, drafted, drafts = [p, q], [q, p], [draft, draft]
        calls |= {
            "block": lambda: tuple(block(targets, drafted, drafts, depth).chances),
            "measures of a block": lambda: tuple(block(targets, drafted, drafts, depth).targets),
            "accepted of a block": lambda: settle_block(
                method, block(targets, drafted, drafts, depth).targets, drafted, drafts, [fresh(), fresh()], depth
            ).accepted,
            "expected of a block": lambda: tuple(expected_accepted(targets, drafted, drafts, depth)),
        }
    return calls
