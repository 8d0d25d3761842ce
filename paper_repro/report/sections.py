"""What the report of the detection experiment says, section by section."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from paper_repro.presets import Preset, counted_tokens
from paper_repro.report.claims import MARGINS, Claim
from paper_repro.report.page import Section
from paper_repro.trials.fixed import FPR
from paper_repro.trials.paired import at_telling_lengths

__all__ = ["sections"]


def _detection_table(tpr: pd.DataFrame) -> pd.DataFrame:
    """One row a detector: TPR with its interval at a few lengths, mean score, measured FPR."""
    lengths = sorted(tpr["tokens"].unique())
    shown = [n for n in lengths if n in (20, 30, 50, 100, 200)] or lengths
    pooled = tpr[tpr["prompts"] == "both"] if (tpr["prompts"] == "both").any() else tpr
    rows = []
    keys = ["watermark", "temperature", "method", "lookahead", "detector"]
    for key, part in pooled.groupby(keys, sort=False):
        row = dict(zip(keys, key, strict=True))
        at = part.set_index("tokens")
        for n in shown:
            # Arms may have texts of different lengths.
            row[f"TPR at {n}"] = ""
            if n in at.index:
                cell = at.loc[n]
                row[f"TPR at {n}"] = f"{cell['tpr']:.3f} ({cell['tpr_low']:.3f} to {cell['tpr_high']:.3f})"
        last = at.loc[at.index.max()]
        row["mean score"] = last["mean_score"]
        row["measured FPR, at tokens"] = (
            f"{last['fpr']:.4f} ({last['fpr_low']:.4f} to {last['fpr_high']:.4f}), {at.index.max()}"
        )
        row["threshold from"] = last["null"]
        rows.append(row)
    return pd.DataFrame(rows)


def _sequential_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The table as the report shows it."""
    if table.empty:
        return table
    shown = ("watermark", "temperature", "method", "test", "kind", "alpha", "texts")
    rows = []
    for row in table.to_dict("records"):
        fewer = ""
        if pd.notna(row["reduction"]) and math.isfinite(row["median"]):
            low, high = row["reduction_low"], row["reduction_high"]
            fewer = f"{row['reduction']:.0%} ({low:.0%} to {high:.0%}) than {row['baseline']}"
        rows.append(
            {key: row[key] for key in shown}
            | {
                "median tokens": f"{row['median']:g} ({row['median_low']:g} to {row['median_high']:g})",
                "quartiles": f"{row['lower_quartile']:g}, {row['upper_quartile']:g}",
                "detected": f"{row['detected']:.3f}",
                "fewer": fewer,
            }
        )
    return pd.DataFrame(rows)


def _watermark_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The table as the report shows it."""
    rows = []
    for row in table.to_dict("records"):
        fewer = ""
        if pd.notna(row.get("fewer")):
            fewer = f"{row['fewer']:.0%} ({row['fewer_low']:.0%} to {row['fewer_high']:.0%})"
        shown = ("temperature", "method", "watermark", "test", "kind", "alpha", "texts")
        rows.append(
            {key: row[key] for key in shown}
            | {
                "mean tokens": f"{row['mean']:.1f} ± {row['mean_error']:.1f}",
                "detected": f"{row['detected']:.3f}",
                "fewer": fewer,
            }
        )
    return pd.DataFrame(rows)


def _paired_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The table as the report shows it."""
    if table.empty:
        return table
    rows = []
    for row in at_telling_lengths(table).to_dict("records"):
        shown = ("watermark", "temperature", "tokens", "texts", "method", "detector")
        rows.append(
            {key: row[key] for key in shown}
            | {
                "against": f"{row['against']}, {row['against_detector']}",
                "TPR": f"{row['tpr']:.3f}",
                "TPR against": f"{row['against_tpr']:.3f}",
                "difference": f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})",
            }
        )
    return pd.DataFrame(rows)


def _overlaps(speed: pd.DataFrame) -> str:
    """Which variant wins depends on how far draft and target are apart."""
    known = speed[speed["overlap"].notna()]
    means = [f"{1 - part['overlap'].mean():.2f} at {t:g}" for t, part in known.groupby("temperature")]
    return f"Total variation of draft and target, mean by temperature: {', '.join(means) or 'not measured'}."


def sections(
    command: str,
    preset: Preset,
    speed: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    pictures: Sequence[Path],
    decided: Sequence[Claim],
    passages: int,
) -> list[Section]:
    """The report in order."""

    def pictured(prefix: str) -> list[Path]:
        return [path for path in pictures if path.stem.startswith(prefix)]

    lengths = ", ".join(map(str, sorted(tables["tpr"]["tokens"].unique())))
    settings = pd.DataFrame(
        [
            {
                "prompts": cell.prompts.name,
                "watermark": cell.watermark,
                "temperature": cell.temperature,
                "method": cell.label,
                "K": cell.lookahead,
                "texts": cell.texts,
                "tokens a text": cell.max_tokens,
                "detected": "yes" if cell.detect else "",
            }
            for cell in preset.cells()
        ]
    )
    drawn = "python -m figures rates FOLDER draws the pictures again from the tables."
    return [
        Section(
            "Claims",
            [
                "Each line is decided by this run, each at 95%. Detectors are compared by their TPR at FPR "
                f"{FPR:.0%} averaged over the lengths {lengths}, so that no length is picked. "
                f"Two things are the same if the whole interval lies within a margin: {MARGINS}."
            ],
            claims=decided,
            command=command,
        ),
        Section(
            "Detection (figures 2, 3, 5, 6 of the paper)",
            [
                "TPR at a nominal FPR of 1%, bands and intervals at 95% (Clopper-Pearson), for texts under "
                "one key. Detectors that are fitted saw other texts than those they are tested on, and no "
                f"context of these. The FPR was measured on {passages} passages of human text under "
                f"{preset.null_texts} random keys, a share of them for every set of prompts.",
                drawn,
            ],
            [("By detector, prompts pooled", _detection_table(tables["tpr"]))],
            pictured("tpr"),
            command,
        ),
        Section(
            "ROC curves (figures 4 and 7)",
            [f"Texts of {preset.roc_tokens} tokens, ranked by p-value, against human text."],
            pictures=pictured("roc"),
            command=command,
        ),
        Section(
            "Efficiency (tables 1 and 2)",
            [
                "AATPS: accepted tokens per step, the token after the drafts included, over the first "
                f"{counted_tokens(preset.cells())} tokens of every text. PTT: milliseconds "
                "per token of texts generated one at a time. LOGPPL: mean of -log P(token) under the target "
                "at the sampling temperature; excess surprise: the same minus the entropy, 0 without bias.",
            ],
            [("By method", speed)],
            pictured("aatps"),
            command,
        ),
        Section(
            "Power planning",
            [
                "Predicted from the probabilities that the model gave to the tokens of the same texts "
                "(`tradeoff plan`), before the key is looked at."
            ],
            [("Without speculation", tables["power"])],
            pictured("power"),
            command,
        ),
        Section(
            "Methods beside each other",
            [
                "Differences of TPR on texts of the same prompts, sets pooled, with paired 95% intervals "
                "(Bonett and Price), at the length at which texts without speculation are detected at a rate "
                "nearest to 0.6; paired.csv has all lengths."
            ],
            [("Differences", _paired_rows(tables["paired"]))],
            command=command,
        ),
        Section(
            "Predicted rates",
            [
                "From both models' laws at positions of the texts without speculation, and the exact law of "
                "the score that the key alone shows there under the method (docs/theory/race-scores.md)."
            ],
            [("Predicted and measured TPR", tables["predicted"])],
            command=command,
        ),
        Section(
            "Edits",
            [
                "Texts are changed, then tested. A token that is replaced spoils itself and the contexts of "
                f"the {preset.context_width} after it. The share is that of the tokens changed; tokenising "
                "again and lower case concern the whole text."
            ],
            [("TPR after edits, prompts pooled", tables["edits"])],
            pictured("edits"),
            command,
        ),
        Section(
            "Model-aware detection",
            ["A detector that runs both models and knows the prompt; p-values by exponential tilting."],
            [("TPR by length", tables["model_aware"])],
            command=command,
        ),
        Section(
            "Sequential detection",
            [
                "How many tokens until the verdict, if a text is read token by token and the error may be at "
                "most alpha whenever reading stops. Bets need the key alone; anchored tests also the draft "
                "model and the prompt; e* is the test of Anchored E-Watermarking, and 'draft-aware hits' a "
                "fixed-length test that owns the same. Fixed-length tests are made valid over time by "
                "Bonferroni (alpha / (k (k + 1)) at the k-th token); the rows of kind 'fixed length' look "
                "once, at the least length at which a look finds half of the texts (known with hindsight). "
                "Medians with 95% intervals; 'fewer' is the reduction of the median against the best test by "
                "Bonferroni on the same texts.",
                _overlaps(speed),
                "python -m figures shares FOLDER draws the picture again from the tables.",
            ],
            [("Tokens to detection, prompts pooled", _sequential_rows(tables["sequential"]))],
            pictured("sequential"),
            command,
        ),
        Section(
            "Watermarks compared",
            [
                "Tokens until the verdict on texts of the same prompts, read with the key alone: by bets, "
                "which may stop at any token, and in a single look (fixed length), where the number of "
                "lengths counts at which a look does not find the text. Means, where a text that is not "
                "detected counts as detected at its end; 'fewer' is 1 less the ratio of means to Gumbel-max "
                "without speculation at the same temperature, with a 95% interval.",
                "python -m figures watermarks FOLDER draws the picture again from the tables.",
            ],
            [("By watermark, prompts pooled", _watermark_rows(tables["watermarks"]))],
            pictured("watermarks"),
            command,
        ),
        Section(
            "Settings",
            [
                f"Target {preset.target}, draft {preset.draft}, {preset.dtype or 'default'} numbers, seed "
                f"{preset.seed}, batch {preset.batch}, {preset.context_width} tokens seed a position."
            ],
            [("What was generated", settings)],
            command=command,
        ),
    ]
