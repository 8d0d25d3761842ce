"""What the report of the detection experiment says, section by section; tables in words, with their units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from figures.experiment.names import watermark_name
from paper_repro.presets import Preset, counted_tokens
from paper_repro.quality.shown import quality_section
from paper_repro.report.decided import MARGINS, Claim
from paper_repro.report.page import Section
from paper_repro.report.pictures import pictures_named
from paper_repro.report.wording import labels, with_interval
from paper_repro.trials.fixed import FPR
from paper_repro.trials.paired import at_telling_lengths

__all__ = ["sections"]

#: Of the table of efficiency: a value, or one with its standard error, and the digits that are shown.
_SPEED = (
    ("texts", "texts", 0),
    ("tokens", "tokens generated", 0),
    ("aatps", "tokens a step, AATPS (± standard error)", 3),
    ("ptt_ms", "time a token, PTT (ms ± standard error)", 1),
    ("logppl", "mean surprise, LOGPPL (nats a token)", 4),
    ("logppl_difference", "surprise above the target alone (nats a token)", 4),
    ("excess_surprise", "surprise above the entropy (nats a token)", 4),
    ("acceptance", "accepted share of drafts", 4),
    ("expected", "share expected from the laws", 4),
    ("acceptance_z", "z of these two", 2),
    ("overlap", "1 − TV of draft and target", 4),
    ("aatps_by_token", "tokens a step of the same drafts, token by token", 3),
    ("aatps_by_block", "the same, by blocks", 3),
    ("block_gain", "gain of blocks (tokens a step)", 4),
    ("aatps_z", "z of tokens a step", 2),
)


def _records(table: pd.DataFrame) -> list[dict]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _detection_table(tpr: pd.DataFrame) -> pd.DataFrame:
    """One row a detector: TPR with its interval at a few lengths, mean score, measured FPR."""
    lengths = sorted(tpr["tokens"].unique())
    shown = [n for n in lengths if n in (20, 30, 50, 100, 200)] or lengths
    pooled = tpr[tpr["prompts"] == "both"] if (tpr["prompts"] == "both").any() else tpr
    rows = []
    keys = ["watermark", "temperature", "method", "lookahead", "detector"]
    for key, part in pooled.groupby(keys, sort=False):
        row = labels(dict(zip(keys, key, strict=True)))
        at = part.set_index("tokens")
        row["texts"] = int(at["texts"].max())
        for n in shown:
            # Arms may have texts of different lengths.
            heading = f"TPR at {n} tokens (95% interval)"
            row[heading] = ""
            if n in at.index:
                row[heading] = with_interval(*(at.loc[n][name] for name in ("tpr", "tpr_low", "tpr_high")))
        last = at.loc[at.index.max()]
        row["mean score a token"] = last["mean_score"]
        row["FPR on human text (95% interval)"] = with_interval(
            last["fpr"], last["fpr_low"], last["fpr_high"], form=".4f"
        )
        row["of so many tokens"] = int(at.index.max())
        row["law of the threshold"] = last["null"]
        rows.append(row)
    return pd.DataFrame(rows)


def _speed_rows(speed: pd.DataFrame) -> pd.DataFrame:
    """One row a set of prompts and scheme; what nothing was measured of is left out."""
    rows = []
    for row in _records(speed):
        shown = labels(row)
        for name, heading, digits in _SPEED:
            words = ""
            if pd.notna(row.get(name)):
                words = f"{row[name]:.{digits}f}"
                if pd.notna(row.get(f"{name}_error")) and name != "acceptance":
                    words += f" ± {row[f'{name}_error']:.{digits}f}"
            shown[heading] = words
        rows.append(shown)
    table = pd.DataFrame(rows)
    return table[[column for column in table.columns if (table[column] != "").any()]]


def _rate_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Predicted and measured rates."""
    rows = []
    for row in _records(table):
        shown = labels(row) | {"tokens": row["tokens"], "tokens that count": row["scored"]}
        if "positions" in row:
            shown["positions that laws were read at"] = row["positions"]
        shown["predicted TPR"] = f"{row['predicted']:.3f}"
        shown["measured TPR (95% interval)"] = with_interval(row["measured"], row["low"], row["high"])
        rows.append(shown)
    return pd.DataFrame(rows)


def _edit_rows(table: pd.DataFrame) -> pd.DataFrame:
    """One row a detector and edit."""
    return pd.DataFrame(
        [
            labels(row)
            | {
                "edit": row["edit"],
                "share of the tokens": f"{row['share']:.0%}",
                "texts": row["texts"],
                "TPR (95% interval)": with_interval(row["tpr"], row["tpr_low"], row["tpr_high"]),
                "FPR of the threshold": f"{row['fpr']:g}",
            }
            for row in _records(table)
        ]
    )


def _model_aware_rows(table: pd.DataFrame) -> pd.DataFrame:
    """One row a scheme and length."""
    return pd.DataFrame(
        [
            labels(row)
            | {
                "tokens": row["tokens"],
                "texts": row["texts"],
                "TPR (95% interval)": with_interval(row["tpr"], row["tpr_low"], row["tpr_high"]),
                "share of tokens that the key alone gives": f"{row['hits']:.3f}",
            }
            for row in _records(table)
        ]
    )


def _sequential_rows(table: pd.DataFrame) -> pd.DataFrame:
    """One row a scheme, test and level; what was never detected is ∞ tokens away."""

    def tokens(*values: float) -> list[str]:
        return ["∞" if math.isinf(value) else f"{value:g}" for value in values]

    rows = []
    for row in _records(table):
        fewer = ""
        if pd.notna(row["reduction"]) and math.isfinite(row["median"]):
            low, high = row["reduction_low"], row["reduction_high"]
            fewer = f"{row['reduction']:.0%} ({low:.0%} to {high:.0%}) than {row['baseline']}"
        median, low, high = tokens(row["median"], row["median_low"], row["median_high"])
        rows.append(
            labels(row)
            | {
                "test": row["test"],
                "kind": row["kind"],
                "error at most": f"{row['alpha']:g}",
                "texts": row["texts"],
                "median tokens (95% interval)": f"{median} ({low} to {high})",
                "quartiles (tokens)": ", ".join(tokens(row["lower_quartile"], row["upper_quartile"])),
                "share of texts detected": f"{row['detected']:.3f}",
                "fewer tokens (95% interval)": fewer,
            }
        )
    return pd.DataFrame(rows)


def _watermark_rows(table: pd.DataFrame) -> pd.DataFrame:
    """One row a scheme, test and level."""
    rows = []
    for row in _records(table):
        fewer = ""
        if pd.notna(row.get("fewer")):
            fewer = f"{row['fewer']:.0%} ({row['fewer_low']:.0%} to {row['fewer_high']:.0%})"
        rows.append(
            labels(row)
            | {
                "test": row["test"],
                "kind": row["kind"],
                "error at most": f"{row['alpha']:g}",
                "texts": row["texts"],
                "mean tokens (± standard error)": f"{row['mean']:.1f} ± {row['mean_error']:.1f}",
                "share of texts detected": f"{row['detected']:.3f}",
                "fewer tokens (95% interval)": fewer,
            }
        )
    return pd.DataFrame(rows)


def _paired_rows(table: pd.DataFrame) -> pd.DataFrame:
    """One row a pair of methods with their detectors."""
    rows = []
    for row in _records(at_telling_lengths(table)):
        difference, low, high = (f"{row[name]:+.3f}" for name in ("difference", "low", "high"))
        rows.append(
            labels(row)
            | {
                "against": f"{row['against']}, {row['against_detector']}",
                "tokens": row["tokens"],
                "texts": row["texts"],
                "TPR": f"{row['tpr']:.3f}",
                "TPR of the other": f"{row['against_tpr']:.3f}",
                "difference (95% interval)": f"{difference} ({low} to {high})",
            }
        )
    return pd.DataFrame(rows)


def _overlaps(speed: pd.DataFrame) -> str:
    """Which variant wins depends on how far draft and target are apart."""
    known = speed[speed["overlap"].notna()]
    means = [f"{1 - part['overlap'].mean():.2f} at {t:g}" for t, part in known.groupby("temperature")]
    return f"Total variation of draft and target, mean by temperature: {', '.join(means) or 'not measured'}."


def sections(
    preset: Preset,
    speed: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    pictures: Sequence[Path],
    decided: Sequence[Claim],
    passages: int,
) -> list[Section]:
    """The report in order; a section of which a run has neither table nor picture is there, and empty."""
    drawn = list(pictures)
    lengths = ", ".join(map(str, sorted(tables["tpr"]["tokens"].unique())))
    settings = pd.DataFrame(
        [
            {
                "prompts": cell.prompts.name,
                "watermark": watermark_name(cell.watermark),
                "temperature": f"{cell.temperature:g}",
                "method": cell.label,
                "drafts a step": cell.lookahead,
                "texts": cell.texts,
                "tokens a text": cell.max_tokens,
                "tested": "yes" if cell.detect else "no",
            }
            for cell in preset.cells()
        ]
    )
    return [
        Section(
            "Claims",
            "claims",
            [
                "Each line is decided by this run, at 95% by itself: seen (✓) if the whole interval lies "
                "where the claim is true, contradicted (✗) if all of it lies where it is false, else "
                f"undecided (–). Detectors are compared by their TPR at FPR {FPR:.0%} averaged over the "
                f"lengths {lengths}, so that no length is picked. Margins of 'the same' and 'reaches', and "
                f"the half-width from which an interval is wide: {MARGINS}. There are too few texts where an "
                "undecided interval is wide.",
            ],
            claims=decided,
        ),
        Section(
            "Detection (figures 2, 3, 5, 6 of the paper)",
            "detection",
            [
                f"TPR at a nominal FPR of {FPR:.0%}, bands and intervals at 95% (Clopper-Pearson), for texts "
                "under one key. Detectors that are fitted saw other texts than those they are tested on, and "
                f"no context of these. The FPR was measured on {passages} passages of human text under "
                f"{preset.null_texts} random keys, a share of them for every set of prompts.",
            ],
            [("Detected share of texts, by detector, prompts pooled", _detection_table(tables["tpr"]))],
            pictures_named(
                drawn,
                "tpr",
                "TPR against the number of tokens",
                "Curves of the share of texts detected, rising with the number of tokens, one curve a method "
                "and detector, with 95% bands. The table of this section has the numbers.",
            ),
        ),
        Section(
            "ROC curves (figures 4 and 7)",
            "roc",
            [f"Texts of {preset.roc_tokens} tokens, ranked by p-value, against human text."],
            pictures=pictures_named(
                drawn,
                "roc",
                "ROC curves",
                "Curves of the share of texts detected against the share of human passages taken for marked, "
                "one curve a method and detector. roc.csv has the numbers.",
            ),
        ),
        Section(
            "Efficiency (tables 1 and 2)",
            "efficiency",
            [
                "AATPS: accepted tokens per step, the token after the drafts included, over the first "
                f"{counted_tokens(preset.cells())} tokens of every text. PTT: milliseconds "
                "per token of texts generated one at a time. LOGPPL: mean of −log P(token) under the target "
                "at the sampling temperature; less the entropy it is 0 on average if nothing is biased.",
            ],
            [("Speed and quality, by method; ± one standard error", _speed_rows(speed))],
            pictures_named(
                drawn,
                "aatps",
                "Tokens a step by the number of drafts",
                "Points of accepted tokens a step with 95% bars, by the number of drafts a step, one mark a "
                "method. The table of this section has the numbers.",
            ),
        ),
        quality_section(tables["quality"]),
        Section(
            "Power planning",
            "power",
            [
                "Predicted from the probabilities that the model gave to the tokens of the same texts "
                "(tradeoff plan), before the key is looked at."
            ],
            [("Predicted and measured TPR without speculation", _rate_rows(tables["power"]))],
            pictures_named(
                drawn,
                "power",
                "Predicted (lines) and measured (points) TPR",
                "Lines of the predicted share of texts detected against the number of tokens, with points "
                "for what was measured. The table of this section has the numbers.",
            ),
        ),
        Section(
            "Methods beside each other",
            "methods",
            [
                "Differences of TPR on texts of the same prompts, sets pooled, with paired 95% intervals "
                "(Bonett and Price), at the length at which texts without speculation are detected at a rate "
                "nearest to 0.6; paired.csv has all lengths."
            ],
            [("Differences of TPR on the same prompts", _paired_rows(tables["paired"]))],
        ),
        Section(
            "Predicted rates",
            "predicted",
            [
                "From both models' laws at positions of the texts without speculation, and the exact law of "
                "the score that the key alone shows there under the method (docs/theory/race-scores.md)."
            ],
            [("Predicted and measured TPR", _rate_rows(tables["predicted"]))],
        ),
        Section(
            "Edits",
            "edits",
            [
                "Texts are changed, then tested. A token that is replaced spoils itself and the contexts of "
                f"the {preset.context_width} after it. The share is that of the tokens changed; tokenising "
                "again and lower case concern the whole text."
            ],
            [("TPR after edits, prompts pooled", _edit_rows(tables["edits"]))],
            pictures_named(
                drawn,
                "edits",
                "TPR after edits",
                "Curves of the share of texts detected, falling with the share of the tokens that were "
                "changed, one panel a kind of edit. The table of this section has the numbers.",
            ),
        ),
        Section(
            "Model-aware detection",
            "model-aware",
            ["A detector that runs both models and knows the prompt; p-values by exponential tilting."],
            [("TPR by length", _model_aware_rows(tables["model_aware"]))],
        ),
        Section(
            "Sequential detection",
            "sequential",
            [
                "How many tokens until the verdict, if a text is read token by token and the error may be at "
                "most alpha whenever reading stops. Bets need the key alone; anchored tests also the draft "
                "model and the prompt; e* is the test of Anchored E-Watermarking, and 'draft-aware hits' a "
                "fixed-length test that owns the same. Fixed-length tests are made valid over time by "
                "Bonferroni (alpha / (k (k + 1)) at the k-th token); the rows of kind 'fixed length' look "
                "once, at the least length at which a look finds half of the texts (known with hindsight). "
                "Fewer is the reduction of the median against the best test by Bonferroni on the same texts.",
                _overlaps(speed),
            ],
            [("Tokens to detection, prompts pooled", _sequential_rows(tables["sequential"]))],
            pictures_named(
                drawn,
                "sequential",
                "Share of texts detected so far",
                "Curves of the share of texts detected by each number of tokens read, one panel a scheme, "
                "one curve a test. The table of this section has the medians.",
            ),
        ),
        Section(
            "Watermarks compared",
            "watermarks",
            [
                "Tokens until the verdict on texts of the same prompts, read with the key alone: by bets, "
                "which may stop at any token, and in a single look (fixed length), where the number of "
                "lengths counts at which a look does not find the text. Means, where a text that is not "
                "detected counts as detected at its end; fewer is 1 less the ratio of means to Gumbel-max "
                "without speculation at the same temperature.",
            ],
            [("Tokens until the verdict, prompts pooled", _watermark_rows(tables["watermarks"]))],
            pictures_named(
                drawn,
                "watermarks",
                "Share of texts detected by bets so far",
                "Curves of the share of texts detected by each number of tokens read, one panel a "
                "temperature, one curve a watermark. The table of this section has the means.",
            ),
        ),
        Section(
            "Settings",
            "settings",
            [
                f"Target {preset.target}, draft {preset.draft}, {preset.dtype or 'default'} numbers, seed "
                f"{preset.seed}, batch {preset.batch}, {preset.context_width} tokens seed a position.",
                "python -m figures rates FOLDER, shares FOLDER and watermarks FOLDER draw the pictures again "
                "from the tables, python -m paper_repro.report FOLDER this page.",
            ],
            [("What was generated", settings)],
        ),
    ]
