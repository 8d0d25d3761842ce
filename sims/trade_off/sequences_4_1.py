"""Theorem 4.1 over whole sequences: with repeated-context masking the joint law is the target's.

Statement (section 4.1): to keep whole sequences unbiased, contexts that were already used in a text are
sampled with true randomness instead (repeated-context masking).

Assumptions: the key's function is pseudorandom, streams and contexts are independent, masks are those of
the text's own history.

Prediction: the joint law of the first three tokens under a fresh key a text, with speculation two tokens
ahead, is the product of the target's conditional laws, enumerated exactly. Every text has its own key: the
number of the text is one more token of each context. Laws, masks and contexts are looked up by prefix, from
the engine's own `ContextWindow`; numbers come from the real `KeyedPrf`.

Controls: no masks (a repeated context repeats its draw); one stream shared by coin and residual.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd

from sims.tools.common import BAR, finish, generator, panels
from sims.tools.own_keys import OwnKeys
from sims.tools.rows import Row, compare, goodness_of_fit, mean_and_error
from sims.trade_off.theorem_4_1 import SharedCoin, label
from tradeoff.decoders import GumbelMax, SynthID
from tradeoff.files import write_table
from tradeoff.kernels import (
    Algorithm1,
    JointRace,
    JointRaceTree,
    Method,
    OneRace,
    OneRaceTree,
    SingleKey,
)
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.llm import ContextWindow
from tradeoff.plotting import COLORS, legend_beside

__all__ = ["run"]

NAME = "Theorem 4.1(a)"
_N, _LENGTH, _AHEAD = 3, 3, 2
_TARGET, _DRAFT = (12.0, 10.0, 8.0), (4.0, 6.0, 20.0)
_SYNTHID = SynthID(math.inf)
#: Tournaments, each run to its end, and their keyed bits take longer than races.
_SLOWER = 8
METHODS: list[Method] = [
    Algorithm1(GumbelMax()),
    Algorithm1(_SYNTHID),
    SingleKey(),
    OneRace(),
    OneRaceTree(width=2),
    JointRace(),
    JointRaceTree(width=2),
]


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, sequences_4_1.csv and sequences_4_1.png."""
    rng = generator(seed, "theorem 4.1, sequences")
    # One law for every prefix: position t has 3^t of them, numbered by their tokens in base 3. Drafts favour
    # the last token and the first has excess, so that a coin shared with the residual cannot hide.
    targets = [rng.dirichlet(_TARGET, _N**t) for t in range(_LENGTH)]
    drafts = [rng.dirichlet(_DRAFT, _N**t) for t in range(_LENGTH)]
    law = targets[0].reshape(_N, 1, 1) * targets[1].reshape(_N, _N, 1) * targets[2].reshape((_N,) * 3)
    rows = []
    counts = {}
    for method in METHODS:
        texts = size // _SLOWER if method.decoder == _SYNTHID else size
        counts[label(method)], masked = _generate(method, targets, drafts, texts, rng)
        rows.append(goodness_of_fit(NAME, f"{label(method)}: 3 tokens of a text", counts[label(method)], law))
    repeated = float(law.sum(axis=2).trace())
    rows.append(compare(NAME, "share of texts with a repeated context", repeated, *mean_and_error(masked)))
    first = Algorithm1(GumbelMax())
    bare, _ = _generate(first, targets, drafts, size, rng, masks=False)
    shared, _ = _generate(SharedCoin(GumbelMax()), targets, drafts, size, rng)
    rows += [
        goodness_of_fit(NAME, f"{label(first)}: 3 tokens of a text, no masks", bare, law, control=True),
        goodness_of_fit(NAME, "coin shared with the residual's stream: 3 tokens", shared, law, control=True),
    ]
    _draw(law, {"masked": counts[label(first)], "no masks": bare}, size, out)
    return rows


def _generate(
    method: Method,
    targets: list[np.ndarray],
    drafts: list[np.ndarray],
    texts: int,
    rng: np.random.Generator,
    *,
    masks: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Write three tokens of every text by speculation, and count the triples.

    Draft tokens behind a rejected one are discarded and their contexts stay unused, so a position is either
    a draft with its verdict, or, behind `_AHEAD` accepted ones, a bonus token; then a new round begins.

    Args:
        method: the kernel.
        targets, drafts: laws by position, [3^t, 3] each.
        texts: how many.
        rng: true randomness, and the key.
        masks: False for the control.

    Returns:
        counts [3, 3, 3], and whether any position of each text was masked [texts].
    """
    prf = KeyedPrf(Key(rng.bytes(16)), context_width=2)
    number = np.arange(texts)
    prefix, accepted_in_round = np.zeros(texts, dtype=np.int64), np.zeros(texts, dtype=np.int64)
    ever_masked = np.zeros(texts, dtype=bool)
    for t in range(_LENGTH):
        contexts, flags = _prefixes(t)
        masked = flags[prefix] if masks else np.zeros(texts, dtype=bool)
        ever_masked |= masked
        keyed = np.stack([number, contexts[prefix]], axis=-1)
        randomness = OwnKeys(prf, keyed, masked, rng, _N)
        p, q = targets[t][prefix], drafts[t][prefix]
        verdict = method(p, q, method.draft(q, randomness), randomness)
        bonus = accepted_in_round == _AHEAD
        token = np.where(bonus, method.bonus(p, randomness), verdict.token)
        accepted_in_round = np.where(verdict.accepted & ~bonus, accepted_in_round + 1, 0)
        prefix = prefix * _N + token
    return np.bincount(prefix, minlength=_N**_LENGTH).reshape((_N,) * _LENGTH), ever_masked


def _prefixes(length: int) -> tuple[np.ndarray, np.ndarray]:
    """For every prefix of that length: the context token of the next position, and its mask, [3^length].

    The window is padded, so that the first token is watermarked too.
    """
    contexts, masks = [], []
    for prefix in itertools.product(range(_N), repeat=length):
        window = ContextWindow(1, pads=True)
        for token in prefix:
            window.commit([token], [window.ahead([])[0].tobytes()])
        contexts.append(int(window.ahead([])[0, 0]))
        masks.append(window.masked(window.ahead([]))[0])
    return np.array(contexts), np.array(masks)


def _draw(law: np.ndarray, counts: dict[str, np.ndarray], size: int, out: Path) -> None:
    """Frequency over probability of every triple, with and without masks."""
    triples = ["".join(map(str, t)) for t in itertools.product(range(_N), repeat=_LENGTH)]
    table = pd.DataFrame({"tokens": triples, "law": law.ravel()})
    for name, count in counts.items():
        table[name] = count.ravel() / count.sum()
    write_table(table, out / "sequences_4_1.csv")
    figure, (axis,) = panels(height=3.8)
    where = np.arange(len(triples))
    error = BAR * np.sqrt((1 - law.ravel()) / law.ravel() / size)
    axis.fill_between(
        where, 1 - error, 1 + error, color=COLORS["grey"], alpha=0.35, lw=0, label="99% range of chance"
    )
    for name, mark, colour, aside in (("masked", "o", "blue", -0.2), ("no masks", "s", "vermilion", 0.2)):
        axis.plot(where + aside, table[name] / table["law"], mark, ms=4, color=COLORS[colour], label=name)
    axis.set_xticks(where, triples, rotation=90)
    axis.set(xlabel="first three tokens", ylabel="frequency / probability", title="algorithm-1, Gumbel-max")
    axis.set_ylim(0, None)
    legend_beside(axis)
    caption = (
        f"n = {_N}, context of one token, {_AHEAD} tokens ahead; {size:,} texts, each under its own key; "
        "99% band, each by itself."
    )
    finish(figure, out / "sequences_4_1.png", caption)
