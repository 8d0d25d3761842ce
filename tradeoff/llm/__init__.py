"""Language models: pairs of draft and target, the engine that generates with them, files of records.

Everything is imported when it is first asked for: it needs PyTorch and Transformers, of the extra `llm`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.llm.encoding import encode_prompts
    from tradeoff.llm.generation.controls import Controls, TextRules
    from tradeoff.llm.generation.engine import Engine, EngineSettings
    from tradeoff.llm.generation.rows import ContextWindow, GeneratedText, TrueRandomness
    from tradeoff.llm.generation.vocabulary import vocabulary_ids
    from tradeoff.llm.lookahead import Lookahead, best_lookahead
    from tradeoff.llm.models.builtin import builtin_target_folder
    from tradeoff.llm.models.huggingface import (
        asked_of_generate,
        decoder_only_output,
        generation_settings,
        has_chat_format,
        left_out_by_generate,
        text_config,
    )
    from tradeoff.llm.models.layer_skip import skip_layers
    from tradeoff.llm.models.loading import load_tokenizer
    from tradeoff.llm.models.ngram import NgramDraft
    from tradeoff.llm.models.pair import ModelPair, ModelUnavailableError, load_pair
    from tradeoff.llm.models.placement import DeviceMap, input_device
    from tradeoff.llm.models.words import load_words
    from tradeoff.llm.pieces import Pieces
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
    from tradeoff.llm.recipes import PairNames, SchemeRecipe, spread_of
    from tradeoff.llm.requested import Requested
    from tradeoff.llm.runs import Texts, generate_texts
    from tradeoff.llm.sampling import Sampling
    from tradeoff.llm.sharded import ShardedRun, generate_sharded
    from tradeoff.texts import Prompt, RecordFile, read_prompts, read_records

__all__ = [
    "ContextWindow",
    "Controls",
    "DeviceMap",
    "Engine",
    "EngineSettings",
    "GeneratedText",
    "Lookahead",
    "ModelPair",
    "ModelUnavailableError",
    "NextTokenPairs",
    "NgramDraft",
    "PairNames",
    "Pieces",
    "Prompt",
    "RecordFile",
    "Replay",
    "Requested",
    "Sampling",
    "SchemeRecipe",
    "ShardedRun",
    "TextRules",
    "Texts",
    "TrueRandomness",
    "asked_of_generate",
    "best_lookahead",
    "builtin_target_folder",
    "collect_pairs",
    "decoder_only_output",
    "encode_prompts",
    "generate_sharded",
    "generate_texts",
    "generation_settings",
    "has_chat_format",
    "input_device",
    "left_out_by_generate",
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
    "skip_layers",
    "spread_of",
    "text_config",
    "vocabulary_ids",
]

_HOMES = {
    "llm.encoding": ("encode_prompts",),
    "llm.generation.controls": (
        "Controls",
        "TextRules",
    ),
    "llm.generation.engine": (
        "Engine",
        "EngineSettings",
    ),
    "llm.generation.rows": (
        "ContextWindow",
        "GeneratedText",
        "TrueRandomness",
    ),
    "llm.generation.vocabulary": ("vocabulary_ids",),
    "llm.lookahead": (
        "Lookahead",
        "best_lookahead",
    ),
    "llm.models.builtin": ("builtin_target_folder",),
    "llm.models.huggingface": (
        "asked_of_generate",
        "decoder_only_output",
        "generation_settings",
        "has_chat_format",
        "left_out_by_generate",
        "text_config",
    ),
    "llm.models.layer_skip": ("skip_layers",),
    "llm.models.loading": ("load_tokenizer",),
    "llm.models.ngram": ("NgramDraft",),
    "llm.models.pair": (
        "ModelPair",
        "ModelUnavailableError",
        "load_pair",
    ),
    "llm.models.placement": (
        "DeviceMap",
        "input_device",
    ),
    "llm.models.words": ("load_words",),
    "llm.pieces": ("Pieces",),
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
    "llm.requested": ("Requested",),
    "llm.recipes": (
        "PairNames",
        "SchemeRecipe",
        "spread_of",
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
