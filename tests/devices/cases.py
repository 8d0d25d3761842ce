"""What is run on a simulated device: every kernel with every watermark, as calls by their names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from tradeoff.decoders import Decoder, is_degenerate, parse_decoder
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    DualKey,
    JointRace,
    JointRaceMarked,
    JointRaceTree,
    JointTournament,
    JointTransport,
    KeepEfficiency,
    KeepStrength,
    KeyedRandomness,
    Method,
    OneRace,
    OneRaceTree,
    SingleKey,
    Standard,
    TargetOnly,
    TwoKeys,
    block,
    expected_accepted,
    settle_block,
)
from tradeoff.keyed import Key, KeyedPrf, Prf, Stream

__all__ = [
    "CONTEXTS",
    "DECODERS",
    "METHODS_OF_ALL",
    "PRF",
    "ROWS",
    "Calls",
    "N",
    "calls_of_decoder",
    "calls_of_method",
    "laws",
    "randomness",
]

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


#: Every kernel, and once more where what it does depends on the watermark.
METHODS_OF_ALL: list[Method] = [
    Basic(parse_decoder("gumbel")),
    Standard(),
    KeepStrength(parse_decoder("gumbel")),
    KeepStrength(parse_decoder("kgw:2")),
    KeepEfficiency(parse_decoder("gumbel")),
    TargetOnly(parse_decoder("dipmark:0.4")),
    TwoKeys(parse_decoder("synthid:3")),
    DualKey(),
    Algorithm1(parse_decoder("completed:synthid:3")),
    SingleKey(),
    OneRace(),
    OneRaceTree(width=3),
    JointRace(),
    JointRaceTree(width=3),
    JointRaceMarked(),
    JointTournament(parse_decoder("synthid:3")),
    JointTournament(parse_decoder("completed:synthid:3")),
    JointTransport(parse_decoder("simplexwater:4")),
]


def laws(seed: int) -> np.ndarray:
    """[ROWS, N], with zeros."""
    weights = np.random.default_rng(seed).dirichlet(np.full(N, 0.5), ROWS)
    weights[weights < 0.01] = 0
    return weights / weights.sum(axis=-1, keepdims=True)


def randomness(device: torch.device | None, prf: Prf | None = PRF) -> KeyedRandomness:
    """Numbers on a device, or NumPy's for None: the same at every call."""
    sources = [cache(partial(np.random.default_rng, [7, row])) for row in range(ROWS)]
    ids = np.arange(N) if device is None else torch.from_numpy(np.arange(N)).to(device)
    return KeyedRandomness(prf, CONTEXTS, MASKED, sources, ids)


def calls_of_decoder(decoder: Decoder, device: torch.device) -> Calls:
    """The law given zeta, and the token where there is one."""
    p, numbers = torch.from_numpy(laws(1)).to(device), randomness(device)

    def taken() -> Any:
        rows = torch.from_numpy(np.array([2, 0])).to(device)
        return decoder(p[rows], decoder.take(numbers.zeta(Stream.DRAFT, decoder), rows))

    calls: Calls = {"law": lambda: decoder(p, numbers.zeta(Stream.DRAFT, decoder)), "law of rows": taken}
    if is_degenerate(decoder):
        calls["token"] = lambda: decoder.token(p, numbers.zeta(Stream.DRAFT, decoder))
    return calls


def calls_of_method(method: Method, device: torch.device) -> Calls:
    """Every column of a kernel, what the engine asks of it beside them, and blocks of two drafts."""
    p, q = (torch.from_numpy(laws(seed)).to(device) for seed in (1, 2))
    if not method.drafts:
        return {"bonus": lambda: method.bonus(p, randomness(device))}
    # As its numbers have it: kernels trust that the draft token is theirs. In NumPy, which nothing simulates.
    drawn = method.draft(laws(2), randomness(None))
    draft = torch.from_numpy(drawn).to(device)

    def fresh() -> KeyedRandomness:
        return randomness(device)

    def of_some_rows() -> Any:
        # As in the engine, whose numbers drew the draft before.
        numbers = fresh()
        method.draft(q, numbers)
        return tuple(method.after_rejection(p[:1], q[:1], draft[:1], numbers.take(np.array([0]))))

    calls: Calls = {
        "bonus": lambda: method.bonus(p, fresh()),
        "efficiency": lambda: method.efficiency(p, q),
    }
    calls |= {
        "draft": lambda: method.draft(q, fresh()),
        "candidates": lambda: method.candidates(q, fresh()),
        "accepts": lambda: method.accepts(p, q, draft, fresh()),
        "settles": lambda: tuple(method.settles(p, q, draft, fresh())),
        "replacement": lambda: method.replacement(p, q, draft, fresh()),
        "after rejection": lambda: tuple(method.after_rejection(p, q, draft, fresh())),
        "verdict": lambda: tuple(method(p, q, draft, fresh())),
        "of some rows": of_some_rows,
    }
    if method.full_efficiency:
        depth = torch.from_numpy(np.array([2, 1, 2])).to(device)
        targets, drafted, drafts = [p, q], [q, p], [draft, draft]
        calls |= {
            "block": lambda: tuple(block(targets, drafted, drafts, depth).chances),
            "measures of a block": lambda: tuple(block(targets, drafted, drafts, depth).targets),
            "accepted of a block": lambda: (
                settle_block(
                    method,
                    block(targets, drafted, drafts, depth).targets,
                    drafted,
                    drafts,
                    [fresh(), fresh()],
                    depth,
                ).accepted
            ),
            "expected of a block": lambda: tuple(expected_accepted(targets, drafted, drafts, depth)),
        }
    return calls
