"""Configurations of vLLM and Transformers: what they name, what is refused, and no message shows a key."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    GenerationConfig,
    LlamaConfig,
    SynthIDTextWatermarkingConfig,
    WatermarkDetector,
    WatermarkingConfig,
)

import tradeoff as td
from tradeoff.detection import Evidence
from tradeoff.keyed import DepthKeys, KeyFormatError, Keyring, Stream, reader_of
from tradeoff.verdicts.foreign import ForeignConfig, vocabulary_beside

KEY = 0xFEDCBA9876543210
KEYS = [2**31 - 1, 654, -5, 66190, 2**62 + 3]
VOCABULARY = 300


def of(**told: object) -> ForeignConfig:
    return ForeignConfig.of({"key": KEY, **told})


@pytest.mark.parametrize(
    ("told", "method", "prf"),
    [
        ({}, "joint-race", "vllm-philox-v1:history=8192"),
        (
            {"algorithm": "gumbel", "deduplicate_contexts": "single_turn"},
            "joint-race",
            "vllm-philox-v1:history=8192",
        ),
        ({"deduplicate_contexts_max_history": None}, "joint-race", "vllm-philox-v1"),
        ({"deduplicate_contexts": "none"}, "joint-race", "vllm-philox-v1:none"),
        ({"deduplicate_contexts": "all"}, "joint-race", "vllm-philox-v1:all,history=8192"),
        (
            {"deduplicate_contexts": "all", "deduplicate_contexts_max_history": None},
            "joint-race",
            "vllm-philox-v1:all",
        ),
        ({"allow_target_only_watermarking": True}, "target-only", "vllm-philox-v1:history=8192"),
        ({"algorithm": "dual_key_gumbel"}, "two-keys", "vllm-philox-v1:history=8192"),
        # It has drafts of its own, and no need of leaving them unmarked.
        (
            {"algorithm": "dual_key_gumbel", "allow_target_only_watermarking": True},
            "two-keys",
            "vllm-philox-v1:history=8192",
        ),
    ],
)
def test_settings_of_vllm(told: dict, method: str, prf: str) -> None:
    """By its documentation: the defaults, the scopes of deduplication, and marks of the target alone."""
    found = of(**told)
    assert (found.software, found.scheme.method.name, found.scheme.prf) == ("vLLM", method, prf)
    assert (found.scheme.watermark, found.scheme.context_width, found.key.key) == ("gumbel", 4, KEY)
    assert found.scheme.method.alpha == (0.1 if method == "two-keys" else None)
    # As a member of a keyring it says the same.
    assert found.key.profile.prf == prf
    assert found.key.profile.alpha == found.scheme.method.alpha


def test_settings_of_synthid_are_those_of_transformers(tmp_path: Path) -> None:
    """What Transformers writes is read, and gives the bits of its processor."""
    config = SynthIDTextWatermarkingConfig(ngram_len=4, keys=KEYS, sampling_table_seed=7)
    path = tmp_path / "generation_config.json"
    path.write_text(GenerationConfig(watermarking_config=config).to_json_string())
    found = ForeignConfig.read(path)
    assert found.key.key == DepthKeys(KEYS)
    assert found.scheme == td.Scheme.of(
        "joint-tournament", "synthid:5", prf="hf-synthid:seed=7", context_width=3
    )
    assert ForeignConfig.of(config.to_dict()) == found
    ids = np.random.default_rng(0).integers(VOCABULARY, size=40)
    bits = config.construct_processor(VOCABULARY, "cpu").compute_g_values(torch.tensor(ids[None]))[0]
    evidence = Evidence(ids, found.scheme.function(found.key.key))
    # Its windows begin with the first whole context.
    inside = evidence.index >= 3
    expected = bits.numpy()[evidence.index[inside] - 3]
    np.testing.assert_array_equal(evidence.bits(Stream.SHARED, len(KEYS))[inside], expected)


@pytest.mark.parametrize(
    ("scheme", "watermark", "prf"),
    [
        ("lefthash", "kgw:1.5,gamma=0.5", "hf-kgw:300,gamma=0.5"),
        ("selfhash", "kgw:1.5,gamma=0.5,most=40", "hf-kgw:300,gamma=0.5,selfhash"),
    ],
)
def test_settings_of_green_lists_are_those_of_transformers(scheme: str, watermark: str, prf: str) -> None:
    config = WatermarkingConfig(greenlist_ratio=0.5, bias=1.5, hashing_key=32451, seeding_scheme=scheme)
    found = ForeignConfig.of(json.loads(config.to_json_string()), VOCABULARY)
    assert found.scheme == td.Scheme.of("keep-strength", watermark, prf=prf, context_width=1)
    # All tokens differ, so that its windows are those that are counted here.
    ids = np.random.default_rng(1).permutation(np.arange(2, VOCABULARY))[:60]
    detector = WatermarkDetector(LlamaConfig(vocab_size=VOCABULARY), "cpu", config)
    # Its self-hashing of width 1 needs nothing before a token, and counts the first one too.
    told = detector(torch.tensor(ids[None, int(scheme == "selfhash") :]), return_dict=True)
    green = Evidence(ids, found.scheme.function(found.key.key)).green(Stream.SHARED, 0.5)
    assert (len(green), green.sum()) == (told.num_tokens_scored[0], told.num_green_tokens[0])


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "the configuration has no fields"),
        ({"context_width": 4}, "has context_width, and none of keys, hashing_key or key"),
        ({"watermarking_config": None, "temperature": 1.0}, "watermarking_config holds no configuration"),
        ({"key": KEY, "sbw_gamma": 0.5}, "vLLM's watermark configuration has the field 'sbw_gamma', unknown"),
        ({"key": KEY, "algorithm": "sbw"}, "algorithm='sbw' is unknown; gumbel and dual_key_gumbel are read"),
        ({"algorithm": "gumbel"}, "has no key; it cannot do without"),
        ({"key": str(KEY)}, "has key of the type str, not int"),
        ({"key": True}, "has key of the type bool, not int"),
        ({"key": KEY, "prf": "sha"}, "prf='sha' is unknown; vLLM's are philox"),
        ({"key": KEY, "deduplicate_contexts": True}, "deduplicate_contexts of the type bool, not str"),
        ({"key": KEY, "deduplicate_contexts": "session"}, "deduplicate_contexts='session' is unknown"),
        ({"key": KEY, "deduplicate_contexts_max_history": 0}, "deduplicate_contexts_max_history=0 must be"),
        ({"key": KEY, "context_width": 65}, "context_width=65 must be a whole number of 1 to 64"),
        ({"key": KEY, "algorithm": "dual_key_gumbel", "alpha": 0}, "alpha=0.0 must be above 0 and below 1"),
        ({"key": KEY, "algorithm": "dual_key_gumbel", "alpha": 1}, "alpha=1.0 must be above 0 and below 1"),
        ({"key": KEY << 8}, "is 72 bits long"),
        ({"key": -KEY}, "is negative"),
        ({"keys": KEYS, "ngram_len": 5, "debug_mode": True}, "debug_mode=true: the model's probabilities"),
        ({"keys": KEYS, "ngram_len": 1}, "ngram_len=1 leaves no context"),
        ({"keys": [], "ngram_len": 5}, "depth keys are none"),
        ({"keys": [*KEYS, KEY << 8], "ngram_len": 5}, "depth key 6 is 72 bits long"),
        ({"keys": KEYS}, "has no ngram_len; it cannot do without"),
        ({"keys": KEYS, "ngram_len": 5, "depth": 3}, "SynthIDTextWatermarkingConfig has the field 'depth'"),
        (
            {"keys": KEYS, "ngram_len": 5, "sampling_table_seed": -1},
            "sampling_table_seed=-1 must be at least 0",
        ),
        ({"keys": KEYS, "ngram_len": 5, "context_history_size": -1}, "context_history_size=-1 must be at"),
        ({"hashing_key": KEY}, "vocabulary is missing"),
        ({"hashing_key": KEY, "bias": 0.0}, "vocabulary is missing"),
    ],
)
def test_what_is_no_configuration_is_refused(told: dict, message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        ForeignConfig.of(told)
    assert message in str(refused.value)
    for secret in (KEY, KEY << 8, *KEYS[:1], KEYS[-1]):
        assert str(secret) not in str(refused.value)


@pytest.mark.parametrize("vocabulary", ["12", True, 3.5, -5, 1])
def test_what_is_no_vocabulary_is_refused(vocabulary: object) -> None:
    with pytest.raises(ValueError, match=r"vocabulary=.* must be the model's config.vocab_size"):
        ForeignConfig.of({"hashing_key": KEY}, vocabulary)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"bias": 0.0}, "bias=0.0 leaves no watermark"),
        ({"bias": float("nan")}, "bias=nan leaves no watermark"),
        ({"greenlist_ratio": 1.0}, "greenlist_ratio=1.0 must be above 0 and below 1"),
        ({"seeding_scheme": "minhash"}, "seeding_scheme='minhash' is unknown; it is lefthash or selfhash"),
        ({"seeding_scheme": None}, "seeding_scheme of the type NoneType, not str"),
        ({"context_width": 0}, "context_width=0 must be"),
        ({"bias": float("inf")}, "bias=inf is more than is read"),
        ({"bias": 10**400}, "has a bias that is too large"),
        ({"greenlist_ratio": 10**400}, "has a greenlist_ratio that is too large"),
        ({"hashing_key": -KEY}, "hashing_key is out of range"),
        ({"hashing_key": KEY << 8}, "hashing_key is out of range"),
    ],
)
def test_green_lists_that_could_not_be_read_are_refused(told: dict, message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        ForeignConfig.of({"hashing_key": KEY, **told}, VOCABULARY)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        b'{"key": 18364758544493064720',
        b"18364758544493064720",
        b"[18364758544493064720]",
        b"\xff\xfe\x00k",
        b"[" * 100_000,
        b"",
    ],
    ids=["cut off", "a number", "a list", "other bytes", "deep", "empty"],
)
def test_files_that_are_none_are_refused(content: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "watermark.json").write_bytes(content)
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        ForeignConfig.read(path)
    assert str(KEY) not in str(refused.value)
    assert "watermark.json" in str(refused.value)


def test_a_field_told_twice_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "watermark.json").write_text(f'{{"key": {KEY}, "key": 5}}')
    with pytest.raises(KeyFormatError, match="has the field 'key' twice; leave one of them"):
        ForeignConfig.read(path)
    with pytest.raises(KeyFormatError, match="does not exist"):
        ForeignConfig.read(tmp_path / "gone.json")


def test_a_vocabulary_lies_beside_the_file(tmp_path: Path) -> None:
    """That of the model, of words where it has pictures too; asked of others only where it is needed."""
    config = tmp_path / "generation_config.json"
    config.write_text(json.dumps({"watermarking_config": {"hashing_key": 7}}))
    assert vocabulary_beside(config) is None
    asked = ForeignConfig.read(config, lambda: 500)
    assert asked.scheme.prf == "hf-kgw:500"
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"vocab_size": 400}}))
    assert ForeignConfig.read(config).scheme.prf == "hf-kgw:400"
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 300, "text_config": {"vocab_size": 400}}))
    assert ForeignConfig.read(config, lambda: 500).scheme.prf == "hf-kgw:300"
    assert ForeignConfig.read(config, 200).scheme.prf == "hf-kgw:200"
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(td.FileError, match=r"config.json is no configuration of a model"):
        ForeignConfig.read(config)


def test_texts_are_found_by_configurations() -> None:
    """Drawn by the scheme that a configuration names, read by its key in a keyring beside another."""
    vllm = of(deduplicate_contexts="all", context_width=2)
    synthid = ForeignConfig.of({"ngram_len": 3, "keys": KEYS})
    rng, law, ids = np.random.default_rng(0), np.full(VOCABULARY, 1 / VOCABULARY), []
    for _ in range(60):
        ids.append(td.draw(law, vllm.scheme, vllm.key.key, ids[-2:], rng=rng) if len(ids) > 1 else 5)
    found = td.detect(ids, key=Keyring((synthid.key, vllm.key)))
    assert found.verdict == "watermarked"
    assert found.log10_p < -6
    assert found.reading.setting.key.fingerprint == vllm.key.fingerprint
    assert found.reading.setting.prf.name == "vllm-philox-v1:all"
    assert not td.detect(ids, vllm.scheme, KEY + 1).log10_p < -4


def test_settings_of_generation_alone_are_one_test() -> None:
    assert reader_of("vllm-philox-v1:none") == reader_of("vllm-philox-v1:history=9") == "vllm-philox-v1"
    assert reader_of("vllm-philox-v1:all,history=9") == "vllm-philox-v1:all"
    assert reader_of("hf-kgw:300") == "hf-kgw:300"
    names = ("vllm-philox-v1", "vllm-philox-v1:none", "vllm-philox-v1:history=9")
    schemes = [td.Scheme.of("joint", "gumbel", prf=name) for name in names]
    assert len(td.detect([1, 2, 3, 4, 5, 6], schemes, KEY).tests) == 1
    assert schemes[0].sees(schemes[1]) == "whole"
