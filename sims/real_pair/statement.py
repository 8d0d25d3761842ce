"""The same statements on a real model pair: next-token distributions and texts of SmolLM2-135M.

Statements: Lemma 3.1 and Theorem 4.1 (acceptance 1 - TV, strength up to Ent(P)), and Theorem 3.1 (the
p-value falls with the mean strength of the text), where P and Q are not made up but those of the built-in
target and its layer-skip draft, over the whole vocabulary of 49,152 tokens, at positions of the target's own
texts and of human prose (those of `python -m figures figure_1_real`).

Assumptions: those of the statements; the positions are given, and all error bars are conditional on them.

Prediction: (a) every kernel accepts its formula (1 - TV; sum pi_ii where strength is kept) on average, and
with slope 1 from position to position. (b) A keyed coin leaves strength Ent(P), a random one less by an
exact amount, and SynthID with finite m less. (c) The likelihood-ratio test of a detector that runs the
models has -log p = sum of surprisals, with mean sum Ent(P_t): -(1/n) log p has slope 1 on the mean entropy
of the text. With one token in ten edited it is the linear class, strength and first correction included.
Texts that the engine wrote, with rejected drafts, bonus tokens and masks, read back through the models, do
the same.

Errors: given the positions, draws are independent over positions, seeds and texts; in the engine's texts,
whose tokens decide what comes next, they are martingale differences (`sims.real_pair.texts`).

Controls: 1 - TV where strength is kept; 1 - TV of other pairs; strength Ent(P) with a random coin and for
finite m; the p-value under a random coin and under the wrong key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sims.real_pair.kernels import kernel_rows
from sims.tools.common import BAR, finish, generator, panels
from sims.tools.rows import NotEvaluatedError, Row, compare
from tradeoff.display import INSTALL_LLM
from tradeoff.files import write_table
from tradeoff.plotting import (
    COLORS,
    Axes,
    Look,
    labelled,
    legend_below,
    legend_instead,
    method_look,
)

if TYPE_CHECKING:
    from sims.real_pair.texts import Decay, EngineTexts
    from tradeoff.llm import ModelPair

__all__ = ["check", "run"]

NAME = "Real pair"
_GROUPS = 5


def run(size: int, seed: int, out: Path) -> list[Row]:
    """Rows, real_pair.csv and real_pair.png, on the built-in pair.

    Raises:
        NotEvaluatedError: if there is no PyTorch here, or the model is not to be had.
    """
    try:
        from tradeoff.llm import ModelUnavailableError, load_pair
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tradeoff"):
            raise
        raise NotEvaluatedError(f"running models needs {error.name}; {INSTALL_LLM}") from error
    try:
        models = load_pair(dtype="float32", progress=False)
    except ModelUnavailableError as error:
        raise NotEvaluatedError(str(error)) from error
    return check(models, size, seed, out)


def check(models: ModelPair, size: int, seed: int, out: Path) -> list[Row]:
    """The same on any pair of models.

    Args:
        models: draft, target, tokenizer.
        size: sets how many positions, seeds, texts and tokens there are.
        seed: of positions, texts and everything drawn.
        out: existing folder.
    """
    from sims.real_pair.texts import engine_texts, simulated_texts
    from tradeoff.llm import collect_pairs

    pairs = collect_pairs(models, positions=4 * _between(4, size // 8_000, 50), seed=seed)
    seeds = _between(32, size // 8_000, 48)
    rows, table = kernel_rows(NAME, pairs, seeds, generator(seed, "real pair, kernels"))
    texts, tokens = 4 * _between(5, size // 32_000, 12), _between(30, size // 5_000, 80)
    simulated, wrong_hits = simulated_texts(pairs, texts, tokens, generator(seed, "real pair, texts"))
    written = engine_texts(
        models,
        _between(8, size // 16_000, 24),
        _between(16, size // 8_000, 48),
        generator(seed, "real pair, engine"),
    )
    rows += _text_rows(simulated, wrong_hits, tokens) + _engine_rows(written)
    decays = simulated | {"engine": written.right, "engine, wrong key": written.wrong}
    table = pd.concat([table, *(_decay_table(*item) for item in decays.items())], ignore_index=True)
    write_table(table, out / "real_pair.csv")
    caption = (
        f"n = {models.vocabulary_size:,} tokens; {len(pairs)} positions, {seeds} seeds each (a third for "
        f"strength and SynthID), marks of {_GROUPS} groups side by side; {texts} simulated texts of {tokens} "
        f"tokens, {len(written.right.tokens)} by the engine. "
        "99% bars, given the positions; slopes with their 99% intervals (engine and wrong key: through the "
        "origin)."
    )
    _draw(table, decays, out / "real_pair.png", caption)
    return rows


def _between(least: int, value: int, most: int) -> int:
    return min(max(least, value), most)


def _text_rows(decays: dict[str, Decay], wrong_hits: tuple[float, float, float], tokens: int) -> list[Row]:
    each = f"texts of {tokens} tokens"
    rows = []
    for name, x in (("one-race", "Ent"), ("algorithm-1", "Ent"), ("edited", "WS(γ = 0.9), corrected")):
        decay, what = decays[name], f"{name}, {each}: -(1/n) log p on mean {x}"
        rows += [
            compare(NAME, f"{what}: slope", 1.0, *decay.slope),
            compare(NAME, f"{what}: ratio", 1.0, *decay.ratio),
        ]
    hits, expected, error = wrong_hits
    return [
        *rows,
        compare(NAME, f"wrong key, {each}: tokens hit, Σ P(w)", expected, hits, error),
        compare(NAME, "wrong key: -log p / Σ Ent", 1.0, *decays["wrong key"].ratio, control=True),
        compare(NAME, "truly random coin: -log p / Σ Ent", 1.0, *decays["random coin"].ratio, control=True),
    ]


def _engine_rows(written: EngineTexts) -> list[Row]:
    accepted, right = written.accepted, written.right
    many = f"engine, one race, {int(right.tokens.sum())} tokens"
    return [
        compare(
            NAME, f"{many}: acceptance, 1 − TV", accepted.expected, accepted.rate, accepted.standard_error
        ),
        # Batches and whole texts round differently, which decides a race now and then.
        compare(NAME, f"{many}: share that the key explains", 0.99, written.hits, relation="≥"),
        compare(NAME, f"{many}: -log p / Σ Ent", 1.0, *right.ratio),
        compare(NAME, "engine, wrong key: -log p / Σ Ent", 1.0, *written.wrong.ratio, control=True),
    ]


def _decay_table(name: str, decay: Decay) -> pd.DataFrame:
    columns = {
        "what": "-(1/n) log p",
        "method": name,
        "index": np.arange(len(decay.tokens)),
        "predicted": decay.predicted_rate,
        "estimate": decay.rate,
        "error": np.sqrt(decay.variance) / decay.tokens,
    }
    return pd.DataFrame(columns)


def _draw(table: pd.DataFrame, decays: dict[str, Decay], path: Path, caption: str) -> None:
    figure, axes = panels(2, 6.4, rows=2)
    most = table[(table["what"] == "acceptance") & (table["method"] == "standard, no watermark")]
    overlaps = most.set_index("index")["predicted"]
    largest = table[(table["what"] == "strength") & (table["method"] == "one-race, Gumbel-max")]
    entropies = largest.set_index("index")["predicted"]
    kernels = ("one-race, Gumbel-max", "algorithm-1, Gumbel-max", "keep-strength, Gumbel-max")
    _draw_groups(axes[0], table[table["what"] == "acceptance"], overlaps, kernels)
    decoders = (
        "one-race, Gumbel-max",
        "two-keys, Gumbel-max",
        "algorithm-1, SynthID (m = 30)",
        "keep-efficiency, Gumbel-max",
    )
    _draw_groups(axes[1], table[table["what"] == "strength"], entropies, decoders)
    # Texts of one race, and what was done to them.
    marks = {
        "one-race": method_look("one-race"),
        "edited": Look(COLORS["orange"], marker="o"),
        "engine": method_look("one-race").mixed("black", 0.6),
        "random coin": Look(COLORS["purple"], marker="v"),
        "wrong key": Look(COLORS["black"], marker="x"),
    }
    slopes = {}
    for name, look in marks.items():
        decay = decays[name]
        slope, error = decay.ratio if name in ("engine", "wrong key") else decay.slope
        points = {
            "ms": 4,
            "label": f"{name}, Gumbel-max" if name == "one-race" else name,
            **replace(look, filled=False).points,
        }
        (slopes[f"{name}: slope {slope:.2f} ± {BAR * error:.2f}"],) = axes[2].plot(
            decay.predicted_rate, decay.rate, **points
        )
    words = (
        ("1 − TV(Q, P)", "acceptance", "Methods accept 1 − TV"),
        ("Ent(P) (nats)", "strength (nats)", "A keyed coin keeps strength Ent(P)"),
        ("mean entropy left (nats)", "−(1/n) log p (nats)", "p-values of texts"),
    )
    for axis, (x, y, title) in zip(axes, words, strict=False):
        end = axis.get_xlim()[1]
        axis.plot([0, end], [0, end], color=COLORS["grey"], lw=1, zorder=0)
        axis.set(xlabel=x, ylabel=y, title=title)
    legend_instead(axes[3], slopes)
    legend_below(figure, labelled(axes[0], axes[1]), columns=2)
    finish(figure, path, caption)


def _draw_groups(axis: Axes, table: pd.DataFrame, x: pd.Series, methods: Sequence[str]) -> None:
    """Means over groups of positions with neighbouring x, one mark a method."""
    group = pd.Series(np.argsort(np.argsort(x.to_numpy())) * _GROUPS // len(x), index=x.index)
    for k, method in enumerate(methods):
        part, look = (
            table[table["method"] == method].set_index("index"),
            method_look(method.partition(",")[0]),
        )
        means = part["estimate"].groupby(group).mean()
        errors = np.sqrt((part["error"] ** 2).groupby(group).sum()) / group.value_counts().sort_index()
        axis.errorbar(
            x.groupby(group).mean() + (k - (len(methods) - 1) / 2) * 0.012 * x.max(),
            means,
            BAR * errors,
            ms=5,
            capsize=2,
            label=method,
            **replace(look.mixed("black", 0.45 if "SynthID" in method else 0.0), filled=False).points,
        )
