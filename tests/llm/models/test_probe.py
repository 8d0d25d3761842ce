"""The probe passes what is drawn from rightly and refuses the rest: family by family, by real texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import LlamaForCausalLM

from tests.llm.models.families import CASES, PAGE, TABLE, TOKENS, Case, drawn_wrongly, page, tiny, tiny_pair
from tradeoff.decoders import GumbelMax
from tradeoff.kernels import make_method
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.models import probe as module
from tradeoff.llm.models.configurations import model_features, named_lengths, small_model
from tradeoff.llm.models.huggingface import longest_context, text_config
from tradeoff.llm.models.probe import Findings, findings, probe
from tradeoff.texts.prompts import Prompt

#: Largest difference in log P that may pass, nats.
TOLERANCE = 1e-3
BY_NAME = {str(case): case for case in CASES}
#: Rows of these are run one after another, token by token.
SLOW = {str(case) for case in CASES if case.about in ("recurrent", "hybrid")} - {"recurrent_gemma-recurrent"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered here is forgotten here."""
    monkeypatch.setenv("TRADEOFF_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in BY_NAME]
)
def test_what_passes_is_drawn_rightly(name: str) -> None:
    """Whatever the probe lets through agrees with plain passes; the rest is refused as is known of it."""
    case = BY_NAME[name]
    model = tiny(case)
    found = probe(model)
    assert found.back is None
    assert (found.alone is None) == (case.right is not None)
    if case.right is None:
        return
    assert (found.rows is None) == ("rows" in case.right)
    assert (found.tree is None) == ("tree" in case.right)
    if case.limit is not None:
        assert found.limit == case.limit
    reach = min(limit for limit in (found.limit, longest_context(model), 256) if limit is not None)
    # Beyond the 64 positions that some of them name, where a text may be so long; 6 candidates are ahead.
    longer = min(60, reach - TOKENS - 6)
    method = "one-race" if found.tree else "one-race-tree"
    if longer > 1:
        assert drawn_wrongly(case, 1 if found.rows else 2, method, longer) < TOLERANCE


@pytest.mark.parametrize("name", ["phi3-LongRoPE", "moshi-sliding-window", "mpt-ALiBi"])
def test_what_is_refused_would_be_drawn_wrongly(name: str) -> None:
    """So that a refusal is not for nothing: without the probe, log P is off."""
    case = BY_NAME[name]
    method = "one-race" if "tree" in (case.right or ()) else "one-race-tree"
    assert drawn_wrongly(case, 2, method, 60) > 10 * TOLERANCE


def test_the_engine_refuses_by_name_and_says_what_works() -> None:
    """A tree over ALiBi or a state, a text beyond where a model changes, a model that cannot be run; each
    with the remedy."""
    mpt, window = BY_NAME["mpt-ALiBi"], BY_NAME["moshi-sliding-window"]
    with pytest.raises(
        ValueError, match=r"target cannot verify a tree of candidates: log P is off by .*joint-race"
    ):
        _engine(mpt, "one-race-tree")
    assert isinstance(_engine(mpt, "one-race"), Engine)
    with pytest.raises(ValueError, match=r"beyond the context window of 48; shorten the prompt"):
        _engine(window, "one-race").check([Prompt("a", "", tuple(range(3, 13)))])
    with pytest.raises(
        ValueError, match=r"target cannot verify a tree of candidates: it keeps state that cannot branch"
    ):
        _engine(BY_NAME["lfm2-convolutions"], "one-race-tree")
    with pytest.raises(
        ValueError, match=r"target cannot be run here: its forward pass fails .*another model family"
    ):
        _engine(BY_NAME["bloom-ALiBi"], "one-race")


def test_without_a_probe_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "probe", lambda _: pytest.fail("asked"))
    assert isinstance(_engine(BY_NAME["mpt-ALiBi"], "one-race-tree", ask=False), Engine)


@pytest.mark.parametrize(
    ("found", "batch", "drafts", "width", "said"),
    [
        (Findings(back="x"), 1, True, 1, "cannot be speculated with: x; use the method basic"),
        (Findings(rows="x"), 2, False, 1, "cannot generate 2 texts side by side: x; use --batch 1"),
        (Findings(tree="x"), 1, True, 2, "cannot verify a tree of candidates: x"),
    ],
)
def test_what_is_not_asked_for_is_not_refused(
    found: Findings, batch: int, drafts: bool, width: int, said: str
) -> None:
    with pytest.raises(ValueError, match=f"the model {said}"):
        found.check("the model", batch=batch, drafts=drafts, width=width)
    found.check("the model", batch=1, drafts=False, width=1)


def test_a_model_that_looks_at_other_rows_is_found(make_llama: Callable[..., LlamaForCausalLM]) -> None:
    """A fault that no length and no tree shows: logits that lean towards those of the batch."""
    model = make_llama()
    plain = type(model).forward

    class Leaning(LlamaForCausalLM):
        @wraps(plain)
        def forward(self, *args, **kwargs):
            output = plain(self, *args, **kwargs)
            output.logits = output.logits + 0.1 * output.logits.mean(dim=0, keepdim=True)
            return output

    model.__class__ = Leaning
    found = module._Asked(model, TOLERANCE)
    assert found.alone() is None
    assert "log P is off by" in str(found.rows())


def test_findings_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """One probe a configuration and dtype; damaged memory and another dtype are asked again."""
    asked: list[str] = []
    whole = module.probe
    monkeypatch.setattr(module, "probe", lambda model: asked.append(str(model.dtype)) or whole(model))
    model, lines = tiny(BY_NAME["mpt-ALiBi"]), []
    first = findings(model, lines.append)
    assert first.tree is not None
    assert findings(model) == first
    assert asked == ["torch.float32"]
    assert lines == ["checking MptForCausalLM, which is not in the table of verified models (once) ..."]
    (memory,) = (module.cache_folder() / "probes").iterdir()
    memory.write_text('{"alone": ')
    assert findings(model) == first
    assert findings(model.bfloat16()).tree is not None
    assert asked == ["torch.float32", "torch.float32", "torch.bfloat16"]


def test_a_cache_that_cannot_be_written_costs_a_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRADEOFF_CACHE", str(tmp_path / "file"))
    assert findings(tiny(BY_NAME["mpt-ALiBi"])).tree is not None


def test_verified_models_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the table, by family and features; another feature is asked."""
    monkeypatch.setattr(module, "probe", lambda _: pytest.fail("asked"))
    model = tiny(BY_NAME["llama"])
    assert findings(model) == Findings()
    text_config(model).some_new_switch = True
    with pytest.raises(pytest.fail.Exception, match="asked"):
        findings(model)


def test_the_table_is_what_was_found() -> None:
    """Both files say the same, for two releases, of every family; and one row is asked again."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    assert {"5.23.0", "5.24.0"} <= set(table)
    assert PAGE.read_text(encoding="utf-8") == page(table)
    for rows in table.values():
        assert len(rows) == len(CASES) >= 40
        assert len({row["family"] for row in rows}) >= 40
    case = BY_NAME["phi3-LongRoPE"]
    model = tiny(case)
    for rows in table.values():
        (row,) = (row for row in rows if (row["family"], row["about"]) == ("phi3", "LongRoPE"))
        assert row["features"] == model_features(model)
        assert row["findings"] == asdict(probe(model))


def test_lengths_are_named_and_divided() -> None:
    """Positions, windows and chunks wherever a configuration names them; nothing that counts layers."""
    config = text_config(
        tiny(Case("phi3", BY_NAME["phi3-LongRoPE"].settings | {"max_position_embeddings": 4096}))
    )
    assert named_lengths(config) == {
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 64,
        "rope_parameters.original_max_position_embeddings": 64,
    }
    window = {"use_sliding_window": True, "sliding_window": 4096, "max_position_embeddings": 32768}
    kinds = ["full_attention", "full_attention", "sliding_attention"]
    model = tiny(Case("qwen2", window | {"layer_types": kinds}))
    small = small_model(model, 32)
    assert named_lengths(text_config(model)) == {"sliding_window": 4096, "max_position_embeddings": 32768}
    assert named_lengths(text_config(small)) == {"sliding_window": 32, "max_position_embeddings": 256}
    assert set(text_config(small).layer_types) == {"sliding_attention", "full_attention"}
    assert text_config(model).num_hidden_layers == 3
    assert text_config(small).num_hidden_layers == 2
    nested = {"sliding_attention": {"original_max_position_embeddings": 640}}
    assert named_lengths(SimpleNamespace(rope_parameters=nested, num_position_layers=9)) == {
        "rope_parameters.sliding_attention.original_max_position_embeddings": 640
    }


def test_a_configuration_of_which_no_small_model_can_be_made(
    make_llama: Callable[..., LlamaForCausalLM],
) -> None:
    model = make_llama()
    model.config.hidden_act = "no such function"
    with pytest.raises(ValueError, match=r"LlamaForCausalLM cannot be checked: no small model .*KeyError"):
        probe(model)


def _engine(case: Case, method: str, ask: bool = True) -> Engine:
    key = KeyedPrf(Key(b"key of the probe's tests"))
    settings = EngineSettings(
        method=make_method(method, GumbelMax()), prf=key, max_tokens=40, ignore_eos=True
    )
    return Engine(tiny_pair(case), settings, 2, probe=ask)
