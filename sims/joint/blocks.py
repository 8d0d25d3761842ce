"""Keyed blocks: of a step's drafts the longest prefix, decided by the key, and more of them than one by one.

Statement (block verification, Sun et al. 2024, with keyed events: docs/theory/blocks.md): with p_0 = 1,
p_i = min(1, p_{i-1} P_i(x_i)/Q_i(x_i)), events A_i of probability h_i that are the method's own at position
i, and tau the largest i whose A_i happens, x_1 .. x_tau and a token of (p_tau P_{tau+1} - Q_{tau+1})_+ (of P
behind the last) have the law of the target, and no rule accepts more drafts.

Assumptions: the events of different positions are independent given the drafts, so every context whose event
was evaluated is spent, emitted or not, and goes without a mark when it comes again.

Prediction: the joint law of the first four tokens of a chain of order two, three drafts a step, contexts of
one token, a fresh key a text, is that of the target; the mean number of drafts accepted by the first step is
the one by enumeration, and that is the optimum, sum over prefixes of Q p, above that of token by token.

Controls: contexts of emitted tokens alone recorded as used; the replacement from (P - Q)_+; the prefix up to
the first event that fails.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, finish, generator, panels
from sims.tools.own_keys import OwnKeys
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from sims.trade_off.theorem_4_1 import label
from tradeoff.decoders import Completed, GumbelMax, SynthID
from tradeoff.files import write_table
from tradeoff.kernels import (
    Algorithm1,
    Block,
    BlockVerdict,
    JointRace,
    JointTournament,
    Method,
    OneRace,
    SingleKey,
    Standard,
    Verify,
    block,
    settle_block,
)
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.plotting import COLORS, legend_beside

__all__ = ["run"]

NAME = "Keyed blocks"
_N, _AHEAD, _LENGTH = 4, 3, 4
_SYNTHID = SynthID(3)
#: What stands before the first token, where nothing is marked.
_START = _N
#: Tournaments take longer than races.
_SLOWER = 8
METHODS: list[Method] = [
    Standard(),
    Algorithm1(GumbelMax()),
    SingleKey(),
    OneRace(),
    JointRace(),
    JointTournament(_SYNTHID),
    JointTournament(Completed(_SYNTHID)),
]


@dataclass(frozen=True)
class _Rules:
    """How blocks are decided; every field has its mistake.

    Attributes:
        decide: from the settled block to tau.
        targets: from P_1 .. P_K and the block to what replaces a draft.
        spends: whether contexts of dropped positions count as used.
    """

    decide: Callable[[BlockVerdict], np.ndarray]
    targets: Callable[[list[np.ndarray], Block], list[np.ndarray]]
    spends: bool = True


def _longest(verdict: BlockVerdict) -> np.ndarray:
    return verdict.accepted


def _up_to_a_failure(verdict: BlockVerdict) -> np.ndarray:
    return np.cumprod([here.accepted for here in verdict.settled], axis=0).sum(axis=0)


_RIGHT = _Rules(_longest, lambda laws, block: block.targets)
_MISTAKES = {
    "emitted contexts alone are used": _Rules(_longest, lambda laws, block: block.targets, spends=False),
    "replaced from (P - Q)+": _Rules(_longest, lambda laws, block: laws),
    "prefix up to the first failure": _Rules(_up_to_a_failure, lambda laws, block: block.targets),
}


@dataclass(frozen=True)
class _Chain:
    """Next-token laws of target and draft after two tokens, [n, n, n]; texts follow (2, 1)."""

    target: np.ndarray
    draft: np.ndarray

    @classmethod
    def of(cls, rng: np.random.Generator) -> _Chain:
        # Far apart, so that drafts with p < 1 are emitted: else no residual of another prefix would show.
        return cls(*(0.95 * rng.dirichlet(np.full(_N, 0.5), (2, _N, _N)) + 0.05 / _N))

    def law(self) -> np.ndarray:
        """Of the first tokens, [n] * _LENGTH."""
        law = np.zeros((_N,) * _LENGTH)
        for text in itertools.product(range(_N), repeat=_LENGTH):
            whole = (2, 1, *text)
            law[text] = math.prod(self.target[whole[k : k + 3]] for k in range(_LENGTH))
        return law

    def expected(self) -> dict[str, float]:
        """Mean accepted drafts of the first step, by enumeration; the optimum is the sum of Q p."""
        found = dict.fromkeys((*Verify, "optimum"), 0.0)
        for drafts in itertools.product(range(_N), repeat=_AHEAD):
            whole = (2, 1, *drafts)
            p, q = ([law[whole[k : k + 2]] for k in range(_AHEAD)] for law in (self.target, self.draft))
            weight = math.prod(law[x] for law, x in zip(q, drafts, strict=True))
            chances = [float(h) for h in block(p, q, [np.array(x) for x in drafts]).chances]
            none_later = np.cumprod([1.0, *(1 - h for h in chances[::-1])])[-2::-1]
            found[Verify.BLOCK] += weight * float(np.arange(1, _AHEAD + 1) @ (none_later * chances))
            passed = kept = 1.0
            for a, b, x in zip(p, q, drafts, strict=True):
                passed *= min(1.0, a[x] / b[x])
                kept = min(1.0, kept * a[x] / b[x])
                found[Verify.TOKEN] += weight * passed
                found["optimum"] += weight * kept
        return found


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, keyed_blocks.csv and keyed_blocks.png."""
    rng = generator(seed, "keyed blocks")
    chain = _Chain.of(np.random.default_rng(2))
    law, expected = chain.law(), chain.expected()
    rows = [
        compare(NAME, "drafts accepted by blocks, the optimum", expected["optimum"], expected[Verify.BLOCK])
    ]
    records: list[dict[str, object]] = []
    for verify, method in itertools.product(Verify, METHODS):
        texts = size // _SLOWER if method.decoder.tournament is not None else size
        counts, accepted = _write(method, verify, _RIGHT, chain, texts, rng)
        what = f"{label(method)}, verify {verify}"
        mean, error = mean_and_error(accepted)
        rows += [
            goodness_of_fit(NAME, f"{what}: {_LENGTH} tokens of a text", counts, law),
            compare(NAME, f"{what}: drafts accepted by a step", expected[verify], mean, error),
        ]
        records.append(
            {
                "method": label(method),
                "verify": str(verify),
                "expected": expected[verify],
                "accepted": mean,
                "error": error,
            }
        )
    for mistake, rules in _MISTAKES.items():
        counts, _ = _write(JointRace(), Verify.BLOCK, rules, chain, size, rng)
        rows.append(goodness_of_fit(NAME, f"{mistake}: {_LENGTH} tokens", counts, law, control=True))
    _draw(pd.DataFrame(records), size, out)
    return rows


def _write(
    method: Method, verify: Verify, rules: _Rules, chain: _Chain, texts: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Texts under keys of their own: counts of their first tokens, and what the first step accepted."""
    prf = KeyedPrf(Key(rng.bytes(16)), context_width=2)
    number, marks = np.arange(texts), method.decoder.marks
    tokens = np.zeros((texts, 2 + _LENGTH), dtype=np.int64)
    tokens[:, :2] = 2, 1
    length, used = np.zeros(texts, dtype=np.int64), np.zeros((texts, _N + 1), dtype=bool)
    used[:, _START] = True
    first = None
    while len(left := np.flatnonzero(length < _LENGTH)):
        here = np.arange(len(left))
        begun, seen = length[left], used[left]
        line = np.zeros((len(left), 2 + _AHEAD + 1), dtype=np.int64)
        line[:, :2] = tokens[left[:, None], begun[:, None] + [0, 1]]
        numbers, laws, contexts = [], [], []
        for k in range(_AHEAD + 1):
            context = np.where(begun + k == 0, _START, line[:, 1 + k])
            masked = seen[here, context] if marks else np.ones(len(left), dtype=bool)
            seen[here, context] = True
            contexts.append(context)
            numbers.append(OwnKeys(prf, np.stack([number[left], context], -1), masked, rng, _N))
            if k < _AHEAD:
                laws.append(chain.draft[line[:, k], line[:, k + 1]])
                line[:, 2 + k] = method.draft(laws[k], numbers[k])
        targets = [chain.target[line[:, k], line[:, k + 1]] for k in range(_AHEAD + 1)]
        drafts = [line[:, 2 + k] for k in range(_AHEAD)]
        wanted = targets[:_AHEAD]
        if verify is Verify.BLOCK:
            found = block(wanted, laws, drafts)
            verdict = settle_block(method, found.targets, laws, drafts, numbers[:_AHEAD])
            tau, wanted = rules.decide(verdict), rules.targets(wanted, found)
        else:
            events = [method.accepts(*what) for what in zip(wanted, laws, drafts, numbers, strict=False)]
            tau = np.cumprod(events, axis=0).sum(axis=0)
        emitted = [method.replacement(*what) for what in zip(wanted, laws, drafts, numbers, strict=False)]
        last = np.choose(tau, [*emitted, method.bonus(targets[_AHEAD], numbers[_AHEAD])])
        line[here, 2 + tau] = last
        for k, context in enumerate(contexts):
            counts = (k <= tau) | ((verify is Verify.BLOCK) & rules.spends & (k < _AHEAD))
            used[left[counts], context[counts]] = True
        for k in range(_AHEAD + 1):
            kept = (k <= tau) & (begun + k < _LENGTH)
            tokens[left[kept], 2 + begun[kept] + k] = line[kept, 2 + k]
        length[left] += tau + 1
        first = tau if first is None else first
    assert first is not None
    places = np.ravel_multi_index(tuple(tokens[:, 2:].T), (_N,) * _LENGTH)
    return np.bincount(places, minlength=_N**_LENGTH).reshape((_N,) * _LENGTH), first


def _draw(table: pd.DataFrame, size: int, out: Path) -> None:
    """Accepted drafts by method, beside what is predicted."""
    write_table(table, out / "keyed_blocks.csv")
    figure, (axis,) = panels()
    for verify, color, marker in ((Verify.TOKEN, "grey", "s"), (Verify.BLOCK, "blue", "o")):
        part = table[table["verify"] == verify].reset_index(drop=True)
        axis.axvline(part["expected"][0], color=COLORS[color], lw=1, zorder=0)
        axis.errorbar(
            part["accepted"],
            range(len(part)),
            xerr=BAR * part["error"],
            fmt=marker,
            ms=6,
            capsize=3,
            color=COLORS[color],
            label=f"{verify}",
        )
    axis.set_yticks(range(len(METHODS)), [label(method) for method in METHODS])
    axis.invert_yaxis()
    axis.set(xlabel="drafts accepted by a step, of 3", title="A chain of order two over 4 tokens")
    legend_beside(axis)
    caption = f"n = 4; {size:,} texts (tournaments 1/{_SLOWER}); 99% bars. Lines: by enumeration."
    finish(figure, out / "keyed_blocks.png", caption)
