"""Quantised weights: what is missing is named, what is there is loaded, what is wrong is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tradeoff.decoders import GumbelMax
from tradeoff.kernels import make_method
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.models import quantised as module
from tradeoff.llm.models.configurations import model_features
from tradeoff.llm.models.pair import ModelPair, ModelUnavailableError, load_pair
from tradeoff.llm.models.quantised import check_quantisation, quantisation
from tradeoff.texts import Prompt

MakeLlama = Callable[..., LlamaForCausalLM]
MakeTokenizer = Callable[..., PreTrainedTokenizerFast]
needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install -e '.[quantised]'"
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a probe finds here is forgotten here."""
    monkeypatch.setenv("TRADEOFF_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, None),
        ({}, None),
        ({"quant_method": "gptq", "bits": 4}, "gptq 4 bits"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes 8 bits"),
        ({"load_in_4bit": True}, "bitsandbytes 4 bits"),
        ({"quant_method": "fp8"}, "fp8"),
        (BitsAndBytesConfig(load_in_4bit=True), "bitsandbytes 4 bits"),
    ],
)
def test_what_weights_were_quantised_with(config: Any, said: str | None) -> None:
    assert quantisation(SimpleNamespace(quantization_config=config)) == said
    assert quantisation(SimpleNamespace()) is None


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, and no others; a method that needs none is left to Transformers."""
    monkeypatch.setattr(module, "find_spec", lambda name: None if name != "optimum" else object())
    for settings, lacking in (
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes and accelerate"),
        ({"quant_method": "gptq", "bits": 4}, "gptqmodel"),
    ):
        with pytest.raises(ImportError, match=rf"quantised \(.* bits\), which needs {lacking}: pip install"):
            check_quantisation(SimpleNamespace(quantization_config=settings))
    assert check_quantisation(SimpleNamespace(quantization_config={"quant_method": "fp8"})) == "fp8"


def test_a_folder_whose_package_is_missing(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of `load_pair` names the argument, the package and how to install it."""
    folder = tmp_path / "quantised"
    folder.mkdir()
    for file in tiny_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": 32}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(
        ModelUnavailableError,
        match=r"target=.* could not be loaded: its weights are quantised \(gptq 4 bits\), which needs "
        r"optimum and gptqmodel: pip install optimum gptqmodel",
    ):
        load_pair(folder, "ngram", progress=False)


def quantised_pair(
    folder: Path, make_llama: MakeLlama, make_tokenizer: MakeTokenizer, settings: BitsAndBytesConfig
) -> ModelPair:
    """A random target as bitsandbytes wrote it, read from its folder."""
    make_llama(tied=False).save_pretrained(folder / "whole")
    reader: Any = AutoModelForCausalLM.from_pretrained
    model = reader(
        folder / "whole", quantization_config=settings, dtype=torch.float32, device_map={"": "cpu"}
    )
    model.save_pretrained(folder / "packed")
    make_tokenizer().save_pretrained(folder / "packed")
    return load_pair(folder / "packed", "ngram", device="cpu", progress=False)


def generated(pair: ModelPair) -> float:
    """How far recorded log P are off plain passes, nats."""
    settings = EngineSettings(
        method=make_method("joint-race", GumbelMax()),
        prf=KeyedPrf(Key(b"key of quantised texts")),
        max_tokens=20,
        ignore_eos=True,
    )
    worst = 0.0
    for text in Engine(pair, settings, 2).generate([Prompt("a", "", (5, 6, 7)), Prompt("b", "", (9,))]):
        ids = torch.tensor([[*text.prompt.token_ids, *text.token_ids]])
        logits = pair.target(ids[:, :-1]).logits[0, -20:, : pair.vocabulary_size].double()
        wanted = torch.log_softmax(logits, -1).gather(-1, ids[0, -20:, None])[:, 0]
        worst = max(worst, float((wanted - torch.tensor(text.log_p)).abs().max()))
    return worst


@needs_bitsandbytes
def test_four_bits_are_loaded_and_drawn_from_rightly(
    tmp_path: Path, make_llama: MakeLlama, make_tokenizer: MakeTokenizer
) -> None:
    """Weights stay packed, all else has the dtype that is asked for; drafts of fewer layers are refused."""
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    pair = quantised_pair(tmp_path, make_llama, make_tokenizer, settings)
    kinds = {weight.dtype for weight in pair.target.parameters()}
    assert kinds == {torch.uint8, torch.float32}
    assert "weights bitsandbytes 4 bits" in model_features(pair.target)
    assert "(quantised, bitsandbytes 4 bits)" in pair.describe()
    assert generated(pair) < 1e-3
    with pytest.raises(ValueError, match=r"draft='skip:1' leaves layers out of target=.*quantised"):
        load_pair(tmp_path / "packed", "skip:1", device="cpu", progress=False)


@needs_bitsandbytes
def test_eight_bits_that_look_at_other_tokens_are_refused(
    tmp_path: Path, make_llama: MakeLlama, make_tokenizer: MakeTokenizer
) -> None:
    """LLM.int8() treats columns with an outlier in any token of the pass apart, so that logits depend on what
    else is computed: the family is in the table, and the weights are asked all the same."""
    settings = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=3.0)
    pair = quantised_pair(tmp_path, make_llama, make_tokenizer, settings)
    with pytest.raises(ValueError, match=r"packed cannot be run here: log P is off by"):
        generated(pair)


@needs_bitsandbytes
def test_eight_bits_without_outliers_have_a_law(
    tmp_path: Path, make_llama: MakeLlama, make_tokenizer: MakeTokenizer
) -> None:
    settings = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    assert generated(quantised_pair(tmp_path, make_llama, make_tokenizer, settings)) < 1e-3
