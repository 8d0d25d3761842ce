"""Tiny models of many families, from configurations alone; the table of those that are drawn from rightly.

    python -m tests.llm.models.families     # ask every family under the installed release of Transformers

writes what was found to `tradeoff/data/families.json`, beside what other releases gave, and the table of all
of it to `docs/families.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tradeoff.decoders import GumbelMax
from tradeoff.kernels import make_method
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.generation.recurrent import reads_pieces
from tradeoff.llm.models.configurations import model_features
from tradeoff.llm.models.huggingface import next_logits, text_config, unrollable_layers
from tradeoff.llm.models.pair import ModelPair
from tradeoff.llm.models.probe import Findings, probe
from tradeoff.texts.prompts import Prompt

__all__ = ["CASES", "Case", "N", "drawn_wrongly", "tiny"]

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "tradeoff" / "data" / "families.json"
PAGE = ROOT / "docs" / "families.md"

#: Tokens of a tiny model, and of a text.
N = 96
TOKENS = 24
#: Sizes under all the names that configurations have for them.
_SIZES: dict[str, Any] = {
    "vocab_size": N,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "n_embd": 64,
    "n_layer": 3,
    "n_layers": 3,
    "n_head": 4,
    "n_heads": 4,
    "n_positions": 256,
    "d_model": 64,
    "max_seq_len": 256,
    "ffn_dim": 96,
    "num_layers": 3,
    "num_heads": 4,
    "rotary_dim": 8,
    "word_embed_proj_dim": 64,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
#: Small states of recurrent layers, under the names that families have for them.
_STATES = {"state_size": 16, "chunk_size": 16}
_MAMBA_HEADS = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_chunk_size": 16}
#: What works where there are no trees.
_ROWS = ("rows",)
_LONG = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 8, "long_factor": [4.0] * 8}


@dataclass(frozen=True)
class Case:
    """A family, and what sets this model of it apart.

    Attributes:
        family: `model_type` of Transformers.
        settings: of its configuration, beyond the sizes.
        about: what is special, for people.
        right: what works: all of it, or of ("rows", "tree") those that do; None if nothing does.
        limit: positions beyond which the law is another one.
    """

    family: str
    settings: dict[str, Any] = field(default_factory=dict)
    about: str = ""
    right: tuple[str, ...] | None = ("rows", "tree")
    limit: int | None = None

    def __str__(self) -> str:
        return f"{self.family}-{self.about}".replace(" ", "-").strip("-")


def _rope(kind: str, **settings: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, **settings}}


#: Families with nothing special about them.
_PLAIN = """
apertus arcee biogpt bitnet codegen cohere cohere2 diffllama doge ernie4_5 exaone4 falcon gemma gemma2
glm glm4 gpt2 gpt_bigcode gpt_neox gpt_oss gptj granite granitemoe granitemoeshared helium hunyuan_v1_dense
hunyuan_v1_moe jetmoe llama ministral mistral mixtral moshi nanochat nemotron olmo olmo2 olmo3 opt persimmon
phi phi3 phimoe qwen2 qwen2_moe qwen3 seed_oss smollm3 stablelm starcoder2 vaultgemma xglm
"""

CASES = [
    *map(Case, _PLAIN.split()),
    Case("llama", _rope("linear", factor=2.0), "linear RoPE"),
    Case("llama", _rope("dynamic", factor=2.0, original_max_position_embeddings=64), "dynamic RoPE"),
    Case("llama", _rope("yarn", factor=4.0, original_max_position_embeddings=64), "YaRN"),
    Case(
        "llama",
        _rope(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=64,
        ),
        "Llama 3 RoPE",
    ),
    Case("llama", {"attention_bias": True, "mlp_bias": True}, "biases"),
    Case("llama", {"attn_implementation": "eager"}, "eager attention"),
    Case("mistral", {"sliding_window": 48}, "sliding window"),
    Case(
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": 48,
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
        },
        "sliding window",
    ),
    Case(
        "gemma3_text",
        {"sliding_window": 48, "layer_types": ["sliding_attention", "full_attention"] * 2},
        "windows",
    ),
    Case("gpt_neox", {"use_parallel_residual": False}, "serial residual"),
    Case("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}, "new decoder"),
    Case(
        "phi3",
        {"rope_parameters": _LONG, "original_max_position_embeddings": 64},
        "LongRoPE",
        limit=64,
    ),
    Case("llama4_text", {"attention_chunk_size": 32, "intermediate_size_mlp": 96}, "chunks"),
    Case("gemma2", {"sliding_window": 48}, "windows"),
    Case("phi3", {"sliding_window": 48}, "sliding window"),
    # Its attention ignores the window that its configuration names.
    Case("moshi", {"sliding_window": 48}, "sliding window", limit=48),
    Case("lfm2", {"layer_types": ["conv", "full_attention", "conv"]}, "convolutions", _ROWS),
    Case("mamba", about="recurrent", right=_ROWS),
    Case("mamba2", _STATES | {"num_heads": 8, "n_groups": 2}, "recurrent", _ROWS),
    Case("falcon_mamba", about="recurrent", right=_ROWS),
    Case("jamba", {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8}, "hybrid", _ROWS),
    Case("bamba", _MAMBA_HEADS | {"attn_layer_indices": [1]}, "hybrid", _ROWS),
    Case("falcon_h1", _MAMBA_HEADS | {"mamba_d_ssm": 128}, "hybrid", _ROWS),
    Case(
        "granitemoehybrid",
        _MAMBA_HEADS | {"layer_types": ["linear_attention", "full_attention", "linear_attention"]},
        "hybrid",
        _ROWS,
    ),
    Case("olmo_hybrid", about="hybrid", right=_ROWS),
    Case("qwen3_next", about="hybrid", right=_ROWS),
    # Its layers keep their state to themselves, so that rows cannot be told apart.
    Case("recurrent_gemma", about="recurrent", right=None),
    Case("mpt", about="ALiBi", right=("rows",)),
    Case("bloom", about="ALiBi", right=None),
    Case("falcon", {"alibi": True}, "ALiBi", right=None),
]


def tiny(case: Case, seed: int = 0) -> PreTrainedModel:
    """A random model in float32: every matrix but the embeddings is 6 times as large as it would be, the
    output embedding 8 times, so that attention looks somewhere and tokens differ in probability."""
    plain = AutoConfig.for_model(case.family)
    named = {name: value for name, value in _SIZES.items() if hasattr(plain, name)}
    if case.family == "falcon":
        del named["head_dim"]
    if plain.__dict__.get("layer_types"):
        kinds = sorted(set(plain.layer_types))
        named["layer_types"] = (kinds * 3)[:3]
    settings = dict(case.settings)
    attention = {name: settings.pop(name) for name in ("attn_implementation",) if name in settings}
    if "layer_types" in settings:
        named["num_hidden_layers"] = len(settings["layer_types"])
    config = AutoConfig.for_model(case.family, **(named | settings))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, **attention).eval()
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and "embed" not in name and "wte" not in name and "wpe" not in name:
                weight.mul_(6)
        if not config.tie_word_embeddings:
            model.get_output_embeddings().weight.mul_(8)
    return model.requires_grad_(False)


def tiny_pair(case: Case) -> ModelPair:
    """Two random models of one family; they have no words, only tokens."""
    return ModelPair(
        draft=tiny(case, seed=1),
        target=tiny(case),
        tokenizer=None,  # type: ignore[arg-type]
        draft_name="draft",
        target_name="target",
        device=torch.device("cpu"),
        dtype=torch.float32,
        vocabulary_size=N,
    )


def drawn_wrongly(case: Case, batch: int, method: str, length: int = 70) -> float:
    """How far the engine's recorded log P are off, nats, against one plain pass of the target over each text.

    Args:
        case: family of target and draft.
        batch: texts at a time; a short prompt stands beside one of `length` tokens.
        method: its name.
        length: of the longer prompt.
    """
    pair = tiny_pair(case)
    key = KeyedPrf(Key(b"key of the table of families"))
    settings = EngineSettings(
        method=make_method(method, GumbelMax()), prf=key, max_tokens=TOKENS, ignore_eos=True, measure=True
    )
    rng = np.random.default_rng(0)
    prompts = [Prompt(str(n), "", tuple(map(int, rng.integers(3, N, n)))) for n in (5, length)]
    worst = 0.0
    for text in Engine(pair, settings, batch, probe=False).generate(prompts):
        ids = torch.tensor([[*text.prompt.token_ids, *text.token_ids]])
        with torch.no_grad():
            logits = next_logits(pair.target, ids[:, :-1], len(text.token_ids))[0, :, :N]
        wanted = torch.log_softmax(logits.double(), -1).gather(-1, ids[0, -len(text.token_ids) :, None])[:, 0]
        worst = max(worst, float((wanted - torch.tensor(text.log_p, dtype=torch.float64)).abs().max()))
    return worst


def _rows() -> Iterator[dict[str, Any]]:
    for case in track(CASES, description="asking families"):
        model = tiny(case)
        found = probe(model)
        yield {
            "family": str(text_config(model).model_type),
            "about": case.about,
            "features": model_features(model),
            "pieces": not unrollable_layers(model) or reads_pieces(model),
            "findings": asdict(found),
        }


def page(table: dict[str, list[dict[str, Any]]]) -> str:
    """The table as Markdown."""
    releases = sorted(table)
    lines = [
        "# Families of models",
        "",
        "Whether the engine draws from the law of a model: text alone and speculated, texts of unequal",
        "lengths side by side, trees of candidates, and how long a text may be. Asked of tiny random models",
        "made from configurations, under each release of Transformers named below, by",
        "",
        "```bash",
        "python -m tests.llm.models.families",
        "```",
        "",
        "A model that is not here (another family, or another feature of one) is asked the same when it is",
        "first generated with, once per configuration and versions (`tradeoff/llm/models/probe.py`), and",
        "refused where it differs. Windows of attention, here of 48 positions of 256, limit no text. Where",
        "a model changes beyond some length, texts end there. Recurrent and hybrid models have no trees,",
        'since one state cannot branch. "Token by token" says that their drafts are verified one after',
        "another, so that speculation has the right law and saves no time.",
        "",
        f"| family | | {' | '.join(f'Transformers {release}' for release in releases)} |",
        "|---" * (2 + len(releases)) + "|",
    ]
    names = sorted({(row["family"], row["about"]) for rows in table.values() for row in rows})
    for family, about in names:
        cells = []
        for release in releases:
            rows = [row for row in table[release] if (row["family"], row["about"]) == (family, about)]
            cells.append(_verdict(rows[0]) if rows else "not asked")
        lines.append(f"| {family} | {about} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _verdict(row: dict[str, Any]) -> str:
    found = Findings(**row["findings"])
    if found.alone is not None:
        return "refused"
    wrong = [
        what
        for what, reason in (("speculation", found.back), ("batches", found.rows), ("trees", found.tree))
        if reason is not None
    ]
    said = f"all but {', '.join(wrong)}" if wrong else "all"
    if not row["pieces"]:
        said += ", token by token"
    return (
        said
        if found.limit in (None, _SIZES["max_position_embeddings"])
        else f"{said}, up to {found.limit} of 256 positions"
    )


def main() -> None:
    """Ask, and write both files."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    table[version("transformers")] = list(_rows())
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page(table), encoding="utf-8")
    print(f"wrote {TABLE.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
