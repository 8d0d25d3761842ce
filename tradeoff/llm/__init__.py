"""Language models: pairs of draft and target, the engine that generates with them, files of records.

Everything is imported when it is first asked for: it needs PyTorch and Transformers, of the extra `llm`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy

if TYPE_CHECKING:
    from tradeoff.llm.engine import Engine, EngineSettings
    from tradeoff.llm.models import ModelPair, load_pair
    from tradeoff.llm.prompts import encode_prompts, read_prompts
    from tradeoff.llm.records import RecordFile, read_records
    from tradeoff.llm.rows import GeneratedText, Prompt
    from tradeoff.llm.runs import Texts
    from tradeoff.llm.sampling import Sampling

__all__ = [
    "Engine",
    "EngineSettings",
    "GeneratedText",
    "ModelPair",
    "Prompt",
    "RecordFile",
    "Sampling",
    "Texts",
    "encode_prompts",
    "load_pair",
    "read_prompts",
    "read_records",
]

_HOMES = {
    "llm.engine": ("Engine", "EngineSettings"),
    "llm.models": ("ModelPair", "load_pair"),
    "llm.prompts": ("encode_prompts", "read_prompts"),
    "llm.records": ("RecordFile", "read_records"),
    "llm.rows": ("GeneratedText", "Prompt"),
    "llm.runs": ("Texts",),
    "llm.sampling": ("Sampling",),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES)
