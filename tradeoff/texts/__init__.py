"""Texts, their records and files, prompts, and what is measured of texts; no models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.texts._record_model import fault_of_log_p
    from tradeoff.texts.corpus import (
        PromptKind,
        builtin_answers,
        builtin_prompts,
        human_paragraphs,
        prose_of,
    )
    from tradeoff.texts.edits import delete, insert, paste_into, substitute, truncate
    from tradeoff.texts.json_texts import Broken, Claims, Text, not_utf8, texts_of_json, texts_of_lines
    from tradeoff.texts.metrics import (
        Acceptance,
        Blocks,
        aatps,
        acceptance,
        blocks,
        counted_steps,
        distinct_texts,
        excess_surprise,
        interval,
        log_perplexity,
        paired_log_perplexity,
        per_token_time,
    )
    from tradeoff.texts.normal import Normalised, normalised
    from tradeoff.texts.prompts import UNMARKED, Prompt, named_prompts, prompt_hash, read_prompts, several
    from tradeoff.texts.reading import IN_FOLDERS, STDIN, read_texts, texts_known
    from tradeoff.texts.record_files import RecordFile, check_output, read_records
    from tradeoff.texts.records import Record, Run, no_record

__all__ = [
    "IN_FOLDERS",
    "STDIN",
    "UNMARKED",
    "Acceptance",
    "Blocks",
    "Broken",
    "Claims",
    "Normalised",
    "Prompt",
    "PromptKind",
    "Record",
    "RecordFile",
    "Run",
    "Text",
    "aatps",
    "acceptance",
    "blocks",
    "builtin_answers",
    "builtin_prompts",
    "check_output",
    "counted_steps",
    "delete",
    "distinct_texts",
    "excess_surprise",
    "fault_of_log_p",
    "human_paragraphs",
    "insert",
    "interval",
    "log_perplexity",
    "named_prompts",
    "no_record",
    "normalised",
    "not_utf8",
    "paired_log_perplexity",
    "paste_into",
    "per_token_time",
    "prompt_hash",
    "prose_of",
    "read_prompts",
    "read_records",
    "read_texts",
    "several",
    "substitute",
    "texts_known",
    "texts_of_json",
    "texts_of_lines",
    "truncate",
]

_HOMES = {
    "texts._record_model": ("fault_of_log_p",),
    "texts.corpus": (
        "PromptKind",
        "builtin_answers",
        "builtin_prompts",
        "human_paragraphs",
        "prose_of",
    ),
    "texts.edits": (
        "delete",
        "insert",
        "paste_into",
        "substitute",
        "truncate",
    ),
    "texts.json_texts": (
        "Broken",
        "Claims",
        "Text",
        "not_utf8",
        "texts_of_json",
        "texts_of_lines",
    ),
    "texts.metrics": (
        "Acceptance",
        "Blocks",
        "aatps",
        "acceptance",
        "blocks",
        "counted_steps",
        "distinct_texts",
        "excess_surprise",
        "interval",
        "log_perplexity",
        "paired_log_perplexity",
        "per_token_time",
    ),
    "texts.normal": (
        "Normalised",
        "normalised",
    ),
    "texts.prompts": (
        "UNMARKED",
        "Prompt",
        "named_prompts",
        "prompt_hash",
        "read_prompts",
        "several",
    ),
    "texts.reading": (
        "IN_FOLDERS",
        "STDIN",
        "read_texts",
        "texts_known",
    ),
    "texts.record_files": (
        "RecordFile",
        "check_output",
        "read_records",
    ),
    "texts.records": (
        "Record",
        "Run",
        "no_record",
    ),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
