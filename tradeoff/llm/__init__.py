"""Language models: pairs of draft and target, the engine that generates with them, files of records.

Everything is imported when it is first asked for: it needs PyTorch and Transformers, of the extra `llm`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.llm.encoding import encode_prompts
    from tradeoff.llm.generation.engine import Engine, EngineSettings
    from tradeoff.llm.generation.rows import ContextWindow, GeneratedText
    from tradeoff.llm.generation.vocabulary import vocabulary_ids
    from tradeoff.llm.lookahead import Lookahead, best_lookahead
    from tradeoff.llm.models.builtin import builtin_target_folder
    from tradeoff.llm.models.huggingface import has_chat_format
    from tradeoff.llm.models.loading import load_tokenizer
    from tradeoff.llm.models.pair import ModelPair, ModelUnavailableError, load_pair
    from tradeoff.llm.models.words import load_words
    from tradeoff.llm.readback.anchor import read_anchor
    from tradeoff.llm.readback.next_token import (
        NextTokenPairs,
        collect_pairs,
        load_pairs,
        pair_settings,
        save_pairs,
    )
    from tradeoff.llm.readback.position_laws import position_laws
    from tradeoff.llm.readback.replay import Replay, replay
    from tradeoff.llm.recipes import PairNames, SchemeRecipe
    from tradeoff.llm.runs import Texts, generate_texts
    from tradeoff.llm.sampling import Sampling
    from tradeoff.llm.sharded import ShardedRun, generate_sharded
    from tradeoff.texts import Prompt, RecordFile, read_prompts, read_records

__all__ = [
    "ContextWindow",
    "Engine",
    "EngineSettings",
    "GeneratedText",
    "Lookahead",
    "ModelPair",
    "ModelUnavailableError",
    "NextTokenPairs",
    "PairNames",
    "Prompt",
    "RecordFile",
    "Replay",
    "Sampling",
    "SchemeRecipe",
    "ShardedRun",
    "Texts",
    "best_lookahead",
    "builtin_target_folder",
    "collect_pairs",
    "encode_prompts",
    "generate_sharded",
    "generate_texts",
    "has_chat_format",
    "load_pair",
    "load_pairs",
    "load_tokenizer",
    "load_words",
    "pair_settings",
    "position_laws",
    "read_anchor",
    "read_prompts",
    "read_records",
    "replay",
    "save_pairs",
    "vocabulary_ids",
]

_HOMES = {
    "llm.encoding": ("encode_prompts",),
    "llm.generation.engine": (
        "Engine",
        "EngineSettings",
    ),
    "llm.generation.rows": (
        "ContextWindow",
        "GeneratedText",
    ),
    "llm.generation.vocabulary": ("vocabulary_ids",),
    "llm.lookahead": (
        "Lookahead",
        "best_lookahead",
    ),
    "llm.models.builtin": ("builtin_target_folder",),
    "llm.models.huggingface": ("has_chat_format",),
    "llm.models.loading": ("load_tokenizer",),
    "llm.models.pair": (
        "ModelPair",
        "ModelUnavailableError",
        "load_pair",
    ),
    "llm.models.words": ("load_words",),
    "llm.readback.anchor": ("read_anchor",),
    "llm.readback.next_token": (
        "NextTokenPairs",
        "collect_pairs",
        "load_pairs",
        "pair_settings",
        "save_pairs",
    ),
    "llm.readback.position_laws": ("position_laws",),
    "llm.readback.replay": (
        "Replay",
        "replay",
    ),
    "llm.recipes": (
        "PairNames",
        "SchemeRecipe",
    ),
    "llm.runs": (
        "Texts",
        "generate_texts",
    ),
    "llm.sampling": ("Sampling",),
    "llm.sharded": (
        "ShardedRun",
        "generate_sharded",
    ),
    "texts": (
        "Prompt",
        "RecordFile",
        "read_prompts",
        "read_records",
    ),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
