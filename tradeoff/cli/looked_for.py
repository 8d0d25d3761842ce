"""Options of the commands that read texts with a key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradeoff.cli.help import IN_FOLDERS, METHODS, PRF_NAMES, WATERMARKS

__all__ = [
    "Alpha",
    "Configs",
    "DetectorName",
    "FieldName",
    "Fpr",
    "InSegments",
    "IntegerKey",
    "KeyFiles",
    "Methods",
    "Prfs",
    "Retokenize",
    "Sources",
    "TokenizerName",
    "Vocabulary",
    "Watermarks",
    "Widths",
]

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Text files, JSON lines with text or token_ids (.jsonl, .ndjson), .json files of such "
        "objects, tables with such columns (.csv, .tsv, .parquet), documents (.docx, .pdf), dumps of "
        f"event streams, folders (their {', '.join(IN_FOLDERS)} files), or - for standard input.",
        show_default=False,
    ),
]
KeyFiles = Annotated[
    list[Path] | None,
    typer.Option(
        help="Key file, as made by `tradeoff key new`, or a folder of them; may be given several times, "
        "and all are tested. Default: TRADEOFF_KEY."
    ),
]
Configs = Annotated[
    list[Path] | None,
    typer.Option(
        help="Configuration of the software that wrote the text, as it is: vLLM's --watermark-config, "
        "Transformers' watermarking configuration or generation_config.json. It holds the key, and stands in "
        "place of the options that say what it says; may be given several times."
    ),
]
Vocabulary = Annotated[
    int | None,
    typer.Option(
        help="vocab_size of the model's config.json, for --config with green lists. Default: of the one "
        "beside the file, or in --tokenizer."
    ),
]
IntegerKey = Annotated[
    str | None, typer.Option(help="Integer key of --prf vllm-philox-v1, or depth keys N,N,... of hf-synthid.")
]
Prfs = Annotated[
    list[str] | None,
    typer.Option(help=f"One of {', '.join(PRF_NAMES)}. Default: the key's, or {PRF_NAMES[0]}."),
]
Widths = Annotated[
    list[int] | None,
    typer.Option(help="Tokens before a position that seed it. Default: the key's, or 4."),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(help=f"One of {', '.join(METHODS)}. Default: the key's, or joint."),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        help="How two keys of gumbel are weighed, 1 - alpha and alpha: for two-keys, dual-key, algorithm-1. "
        "Default: the record's, or 0.1 for dual-key and both alike for others."
    ),
]
Watermarks = Annotated[list[str] | None, typer.Option(help=f"{WATERMARKS}. Default: the key's, or gumbel.")]
TokenizerName = Annotated[
    str | None,
    typer.Option(
        help="Of the model that wrote the text: builtin, a folder, a tokenizer.json or a Hugging Face "
        "id. Default: the key's, or builtin."
    ),
]
FieldName = Annotated[
    str | None,
    typer.Option(help="Field of JSON objects, or column, that has the text, such as data.answer."),
]
Retokenize = Annotated[
    bool, typer.Option("--retokenize", help="Tokenise the text even where token_ids are given.")
]
DetectorName = Annotated[
    str | None,
    typer.Option(
        help="Instead of the untrained one: file of a fitted Bayesian detector (safetensors), or the "
        "name of one that an extension registered."
    ),
]
Fpr = Annotated[
    float,
    typer.Option(
        help="False-positive rate: for how many of all keys a text is called watermarked whose writer "
        "has seen no text of that key."
    ),
]
InSegments = Annotated[
    bool,
    typer.Option(
        "--segments/--whole", help="Look for parts that are watermarked, or judge texts as a whole."
    ),
]
