"""What help tells: names that options accept, examples, options that every command has.

The names are written down here, so that help and completion import no watermark and no model; the tests hold
them to what the library reads.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

__all__ = [
    "CLASSES",
    "IN_FOLDERS",
    "METHODS",
    "PRF_NAMES",
    "SEEDS",
    "WATERMARKS",
    "WIDEST",
    "AsJsonTexts",
    "CorrectionName",
    "Quiet",
    "examples",
]

#: As `tradeoff.decoders.watermarks` tells them.
WATERMARKS = (
    "gumbel, completed:NAME, heavywater[:LAW[,SETTINGS]] (lognormal, gamma; k, head, sinkhorn, tilt, as "
    "heavywater:gamma,k=256), kgw[:DELTA[,gamma=G]], delta-reweight, synthid:M with "
    "M >= 1, synthid:inf, dipmark[:ALPHA], gamma-reweight, inverse-transform, "
    "unigram[:DELTA[,gamma=G]], simplexwater[:R[,SETTINGS]]"
)
#: Names of `tradeoff.kernels.METHODS`.
METHODS = (
    "basic",
    "standard",
    "keep-strength",
    "keep-efficiency",
    "target-only",
    "two-keys",
    "dual-key",
    "algorithm-1",
    "single-key",
    "one-race",
    "one-race-tree",
    "joint-race",
    "joint-race-tree",
    "joint-tournament",
    "joint-race-marked",
    "joint-transport",
)
#: Most candidates a level, `tradeoff.kernels.WIDEST`.
WIDEST = 64
#: Pseudorandom functions, `tradeoff.keyed.PRF_NAMES`.
PRF_NAMES = ("blake2b-splitmix-v1", "vllm-philox-v1")
#: Names of `tradeoff.curves.CLASSES`.
CLASSES = ("linear", "hu", "google", "time-sharing")
#: Of a simulation, `tradeoff.curves.DEFAULT_SEEDS`.
SEEDS = 200_000
#: What is read of folders, `tradeoff.texts.IN_FOLDERS`.
IN_FOLDERS = (".txt", ".md", ".jsonl", ".csv", ".tsv", ".parquet", ".docx", ".pdf")
#: Values of `tradeoff.verdicts.Correction`.
CorrectionName = Literal["holm", "bh"]

AsJsonTexts = Annotated[
    bool, typer.Option("--json", help="One JSON object a text on standard output, nothing else.")
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Show results, warnings and errors alone: no notes, progress or closing words."
    ),
]


def examples(*commands: str) -> str:
    """The last part of a command's help: lines that can be copied."""
    # A blank line between them keeps Typer from joining them.
    return "\n\n".join(["Examples:", *commands])
