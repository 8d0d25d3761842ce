"""Does it help to know which token it is? `TokenAware` beside Aaronson's sum and one prior for all tokens.

    python -m tests.benchmarks.known_tokens --texts FOLDER [--only found] [--out tests/benchmarks/results]

The built-in pair writes texts without a watermark of one half of the built-in prompts, to fit on, and texts
of the other half under Gumbel-max without speculation, to test on, at three temperatures. They are kept in
FOLDER, and a run that was stopped goes on there. Everything else is seeded. Three tables:

    token_aware_found  the share of texts with p <= 0.01 by each detector, and paired differences; with tables
                       of the same temperature, and of all temperatures together
    token_aware_null   p-values of texts that no key has seen, by people and by the model, under random keys
    token_aware_toy    what there is to gain: 40 tokens, laws of .46 nats that vary around one law, and a
                       reader of the whole race who knows how laws vary
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import track
from rich.table import Table
from scipy import stats
from scipy.special import log_softmax

import tradeoff as td
from paper_repro.measuring import OutOption, Tables, chosen
from paper_repro.pages.parts.formats import number, percent_between
from tradeoff.detection import (
    Aaronson,
    Detector,
    Evidence,
    LikelihoodRatio,
    RacePrior,
    TokenAware,
    detect,
    given_text,
    rate,
)
from tradeoff.display import exit_on_bad_input, stderr, stdout
from tradeoff.files import output_folder
from tradeoff.llm import ModelPair, load_pair, load_tokenizer
from tradeoff.texts import PromptKind, Record, builtin_prompts
from tradeoff.texts.corpus import human_paragraphs

TABLES = ("found", "null", "toy")
FPR, LEVEL = 0.01, 0.95
#: Lengths at which texts are tested, by temperature; the longest is what is written.
LENGTHS = {0.3: (40, 60, 80), 0.5: (20, 30, 40), 0.7: (12, 16, 24)}
#: Tokens of texts under a key, and of those without a watermark.
MARKED, UNMARKED = {0.3: 80, 0.5: 80, 0.7: 40}, 80
#: Prompts of each kind to fit on, and groups of those to test on, under a key each.
TO_FIT = slice(0, 65)
TO_TEST = (slice(65, 98), slice(98, 130), slice(65, 98))
KINDS: tuple[PromptKind, ...] = ("question", "continuation")
#: Of the texts of the committed tables.
SCHEME = td.Scheme.of("basic", "gumbel", context_width=4)
#: Texts of the null, tokens of each, and keys.
PASSAGES, PASSAGE, KEYS = 10, 60, 200
#: Of the toy: vocabulary, tokens of a text, texts, laws that the reader of races knows, tokens to fit on.
VOCABULARY, TOY_LENGTH, TOY_TEXTS, TOY_LAWS, TOY_FITTED = 40, 50, 600, 1500, 100_000
#: Logits are this times (a normal number minus the logarithm of the rank): .46 nats on average.
TOY_SCALE = 4.97


@dataclass(frozen=True)
class Marked:
    """A text under a key, and the prompt that it answers."""

    ids: tuple[int, ...]
    prompt: str
    key: td.Key


def unmarked(folder: Path, temperature: float) -> list[Record]:
    """Texts to fit on: read where they are there, else written."""
    found: list[Record] = []
    for kind in KINDS:
        path = folder / f"unmarked_{temperature:g}_{kind}.jsonl"
        found += _written(path, kind, TO_FIT, temperature, UNMARKED, None, 0)
    return found


def marked(folder: Path, temperature: float) -> list[Marked]:
    """Texts to test on, of other prompts; likewise."""
    found = []
    for kind in KINDS:
        for k, group in enumerate(TO_TEST):
            key = td.Key(f"key {k} of known tokens, {kind}, {temperature:g}".encode())
            path = folder / f"marked_{temperature:g}_{kind}_{k}.jsonl"
            for text in _written(path, kind, group, temperature, MARKED[temperature], key, k):
                found.append(Marked(text.token_ids, text.id, key))
    return found


def _written(
    path: Path,
    kind: PromptKind,
    group: slice,
    temperature: float,
    tokens: int,
    key: td.Key | None,
    seed: int,
) -> Sequence[Record]:
    prompts = builtin_prompts(kind)[group]
    return td.generate(
        prompts,
        td.Scheme.of("basic", "none") if key is None else SCHEME,
        key,
        pair=_pair(),
        tokens=tokens,
        temperature=temperature,
        batch=len(prompts),
        seed=seed,
        chat=kind == "question",
        ignore_eos=True,
        measure=True,
        output=path,
    )


@cache
def _pair() -> ModelPair:
    return load_pair()


def human_tokens() -> list[np.ndarray]:
    """Token ids of paragraphs that people wrote, at least `PASSAGE` each."""
    words = human_paragraphs(80)[:PASSAGES]
    spelled = load_tokenizer("builtin")(words, add_special_tokens=False)["input_ids"]
    return [np.array(ids, dtype=np.int64) for ids in spelled]


def fitted(texts: Sequence[Record]) -> tuple[LikelihoodRatio, TokenAware]:
    """One prior for all tokens, and one for each, of the same texts."""
    tokens = np.concatenate([text.token_ids for text in texts])
    p = np.exp(np.concatenate([text.log_p or () for text in texts]))
    return LikelihoodRatio(RacePrior.of(p)), TokenAware.fit(tokens, p)


def found(training: dict[float, list[Record]], texts: dict[float, list[Marked]]) -> list[dict[str, object]]:
    """A row for each temperature, table and length, and one for the mean over lengths."""
    pooled = fitted([text for some in training.values() for text in some])
    rows: list[dict[str, object]] = []
    for temperature, some in texts.items():
        for table, (prior, aware) in (("same", fitted(training[temperature])), ("all", pooled)):
            detectors: tuple[Detector, ...] = (Aaronson(), prior, aware)
            # [texts, lengths, detectors]
            told = np.array(
                [
                    [
                        [detect(d, evidence).log_p <= np.log(FPR) for d in detectors]
                        for length in LENGTHS[temperature]
                        for evidence in [Evidence(text.ids[:length], SCHEME.function(text.key))]
                    ]
                    for text in _shown(some, f"T = {temperature:g}, table of {table}")
                ],
                dtype=float,
            )
            about = {
                "temperature": temperature,
                "table": table,
                "fitted_texts": len(training[temperature]),
                "fitted_tokens": len(training[temperature][0].token_ids),
            }
            prompts = [text.prompt for text in some]
            for i, length in enumerate(LENGTHS[temperature]):
                rows.append({**about, "tokens": str(length), **_compared(told[:, i], prompts)})
            rows.append({**about, "tokens": "all", **_compared(told.mean(axis=1), prompts)})
    return rows


def _compared(told: np.ndarray, prompts: Sequence[str]) -> dict[str, object]:
    """From what each detector finds of each text, [texts, 3]: shares, and paired differences of the last."""
    # Texts of one prompt are alike: its mean is one observation.
    by_prompt = pd.DataFrame(told).groupby(list(prompts))
    means, sizes = by_prompt.mean().to_numpy(), by_prompt.size().to_numpy()
    aaronson, prior, aware = told.mean(axis=0)
    return {
        "texts": len(told),
        "prompts": len(means),
        "aaronson": aaronson,
        "prior": prior,
        "aware": aware,
        **_difference("gain", means[:, 2] - means[:, 0], sizes),
        **_difference("gain_on_prior", means[:, 2] - means[:, 1], sizes),
    }


def _difference(name: str, differences: np.ndarray, sizes: np.ndarray) -> dict[str, object]:
    """A mean over texts of differences by prompt, with Student's interval of clusters."""
    value = float(np.average(differences, weights=sizes))
    shares = sizes / sizes.mean()
    error = float(np.std(shares * (differences - value), ddof=1) / np.sqrt(len(sizes)))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(sizes) - 1)) * error
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def null(detector: TokenAware, texts: dict[str, list[np.ndarray]]) -> list[dict[str, object]]:
    """Each text under fresh random keys: a row for each kind of text."""
    rng, rows = np.random.default_rng(0), []
    function = SCHEME.function
    for kind, some in texts.items():
        p = []
        for ids in _shown(some, f"keys of nobody, {kind}"):
            evidence = Evidence(ids[:PASSAGE], function(td.Key(rng.bytes(32))))
            own = given_text(detector, evidence)
            for _ in range(KEYS):
                under = evidence.under(function(td.Key(rng.bytes(32))))
                p.append(np.exp(own.log_p(float(own.contributions(under).sum()), len(under))))
        share = rate(np.array(p) <= FPR, LEVEL)
        test = stats.kstest(p, "uniform")
        rows.append(
            {
                "text": kind,
                "texts": len(some),
                "keys": KEYS,
                "p_values": len(p),
                "distance": float(test.statistic),
                "p_of_distance": float(test.pvalue),
                "rate": share.value,
                "rate_low": share.low,
                "rate_high": share.high,
            }
        )
    return rows


def toy() -> list[dict[str, object]]:
    """A row for each reader: the share of marked texts beyond the level that it has on unmarked ones."""
    rng, everything = np.random.default_rng(1), TOY_TEXTS * TOY_LENGTH

    def drawn(tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """log P and E, [tokens, VOCABULARY], and which token wins."""
        noise = rng.standard_normal((tokens, VOCABULARY))
        log_p = log_softmax(TOY_SCALE * (noise - np.log(np.arange(1, VOCABULARY + 1))), axis=-1)
        log_race = np.log(rng.exponential(size=log_p.shape))
        return log_p, log_race, (log_race - log_p).argmin(axis=-1)

    log_p, _, tokens = drawn(TOY_FITTED)
    aware = TokenAware.fit(tokens, np.exp(np.take_along_axis(log_p, tokens[:, None], -1)[:, 0]))
    known = drawn(TOY_LAWS)[0].astype(np.float32)
    typical = np.exp(known).mean(axis=0)
    statistics: dict[str, list[np.ndarray]] = {"aaronson": [], "aware": [], "race": []}
    entropy = 0.0
    for mark in (True, False):
        log_p, log_race, tokens = drawn(everything)
        if mark:
            entropy = float(-(np.exp(log_p) * log_p).sum(axis=-1).mean())
        else:
            # The key of another race than drew the tokens.
            log_race = np.log(rng.exponential(size=log_p.shape))
        own = np.exp(np.take_along_axis(log_race, tokens[:, None], -1)[:, 0])
        statistics["aaronson"].append(-np.log(-np.expm1(-own)))
        statistics["aware"].append(aware.scores(tokens, own))
        hits = np.array(
            [
                np.count_nonzero((race - known).argmin(axis=-1) == token)
                for race, token in zip(log_race.astype(np.float32), _shown(tokens, "races"), strict=True)
            ]
        )
        # P(token wins | race) over P(token), by laws like those of the text.
        statistics["race"].append(np.log((hits + 0.25) / (TOY_LAWS + 0.5) / typical[tokens]))
    rows: list[dict[str, object]] = []
    for name, (of_marked, of_others) in statistics.items():
        marked, others = (x.reshape(TOY_TEXTS, TOY_LENGTH).sum(axis=1) for x in (of_marked, of_others))
        share = rate(marked > np.quantile(others, 1 - FPR), LEVEL)
        found = {"found": share.value, "found_low": share.low, "found_high": share.high}
        rows.append({"reader": name, "texts": TOY_TEXTS, "tokens": TOY_LENGTH, "entropy": entropy, **found})
    return rows


def _shown(items: Sequence[object], title: str) -> Iterator[object]:
    yield from track(items, title, console=stderr(), transient=True)


def measure(folder: Path, tables: Tables, only: Sequence[str] = TABLES) -> None:
    """Write what is missing of the texts, and measure."""
    training = {t: unmarked(folder, t) for t in LENGTHS} if {"found", "null"} & set(only) else {}
    if "found" in only:
        rows = found(training, {t: marked(folder, t) for t in LENGTHS})
        tables.write("token_aware_found", rows)
        shown = Table("T", "table", "tokens", "Aaronson", "one prior", "token-aware", "gain", title="Found")
        for row in rows:
            cells = [f"{row[name]}" for name in ("temperature", "table", "tokens")]
            cells += [number(float(str(row[name])), 3) for name in ("aaronson", "prior", "aware")]
            gain, low, high = (float(str(row[f"gain{end}"])) for end in ("", "_low", "_high"))
            shown.add_row(*cells, percent_between(gain, low, high, 1))
        stdout().print(shown)
    if "null" in only:
        _, detector = fitted([text for some in training.values() for text in some])
        # The table may be of the same texts: keys know nothing of either.
        model = [np.array(text.token_ids) for some in training.values() for text in some]
        some = model[:: max(len(model) // PASSAGES, 1)][:PASSAGES]
        rows = null(detector, {"people": human_tokens(), "model": some})
        tables.write("token_aware_null", rows)
        shown = Table("text", "p-values", "rate at 1%", "p of Kolmogorov's distance", title="Keys of nobody")
        for row in rows:
            share = (float(str(row[name])) for name in ("rate", "rate_low", "rate_high"))
            p = number(float(str(row["p_of_distance"])), 3)
            shown.add_row(str(row["text"]), str(row["p_values"]), percent_between(*share, 2), p)
        stdout().print(shown)
    if "toy" in only:
        rows = toy()
        tables.write("token_aware_toy", rows)
        shown = Table("reader", "found", title="A toy")
        for row in rows:
            share = (float(str(row[name])) for name in ("found", "found_low", "found_high"))
            shown.add_row(str(row["reader"]), percent_between(*share, 0))
        stdout().print(shown)


def main(
    texts: Annotated[Path, typer.Option(help="Folder of the texts; those that it lacks are written.")],
    only: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(TABLES)}; all of them if left out.")
    ] = None,
    out: OutOption = None,
) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measured = chosen(only, TABLES)
        measure(output_folder(texts), Tables(out), measured)


if __name__ == "__main__":
    typer.run(main)
