"""Models over several devices: the texts, laws and fingerprints of the same model on one.

Where there is no second device, layers lie on the disk: accelerate's hooks then stand before every part, and
weights are on the device `meta` outside their pass, so that a model asked for its device answers otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import dispatch_model
from transformers import Lfm2Config, Lfm2ForCausalLM, LlamaForCausalLM

import tradeoff as td
from tradeoff.decoders import GumbelMax
from tradeoff.kernels import make_method
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.generation.skinny import skinny_products
from tradeoff.llm.generation.slots import SlotCache, make_feeder
from tradeoff.llm.models import placement
from tradeoff.llm.models.configurations import model_features
from tradeoff.llm.models.huggingface import next_logits, read_model
from tradeoff.llm.models.layer_skip import skip_layers
from tradeoff.llm.models.pair import ModelPair, ModelUnavailableError, load_pair, weights_fingerprint
from tradeoff.llm.models.placement import check_device_map, devices_of, input_device
from tradeoff.llm.models.probe import probe
from tradeoff.llm.recipes import PairNames, pair_of, spread_of
from tradeoff.texts import Prompt

MakeLlama = Callable[..., LlamaForCausalLM]
PRF = KeyedPrf(Key(bytes(range(16))), 2)
PROMPTS = [Prompt(str(k), "", tuple(range(3 + k, 6 + 3 * k))) for k in range(3)]
ENDS = {"model.norm": "cpu", "model.rotary_emb": "cpu"}
#: The middle layers are elsewhere; or the beginning and the end are.
MIDDLE = {"model.embed_tokens": "cpu", "lm_head": "cpu", **ENDS}
MIDDLE |= {f"model.layers.{k}": "disk" if k in (1, 2) else "cpu" for k in range(4)}
OUTSIDE = {"model.embed_tokens": "disk", "lm_head": "disk", **ENDS}
OUTSIDE |= {f"model.layers.{k}": "disk" if k == 3 else "cpu" for k in range(4)}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a probe finds here is forgotten here."""
    monkeypatch.setenv("TRADEOFF_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def draft_folder(
    tmp_path_factory: pytest.TempPathFactory, make_llama: MakeLlama, make_tokenizer: Callable
) -> Path:
    folder = tmp_path_factory.mktemp("draft")
    make_llama(seed=1).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def texts(pair: ModelPair, method: str, probe: bool = False) -> list[list[int]]:
    """Of an engine, prompts of unequal lengths side by side."""
    settings = EngineSettings(
        method=make_method(method, GumbelMax()), prf=PRF, lookahead=3, max_tokens=12, ignore_eos=True
    )
    engine = Engine(pair, settings, len(PROMPTS), probe=probe)
    return [text.token_ids for text in sorted(engine.generate(PROMPTS), key=lambda text: text.prompt.id)]


@pytest.mark.parametrize("where", [MIDDLE, OUTSIDE], ids=["middle", "outside"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_texts_are_those_of_one_device(
    tiny_folder: Path, draft_folder: Path, where: dict[str, str], dtype: str
) -> None:
    """Token for token, with drafts, trees and without; in float32 hooks stay beside the faster products."""
    plain = load_pair(tiny_folder, draft_folder, dtype=dtype, device="cpu", progress=False)
    spread = load_pair(tiny_folder, draft_folder, dtype=dtype, device_map=where, progress=False)
    assert any(parameter.is_meta for parameter in spread.target.parameters())
    assert spread.device == input_device(spread.target) == torch.device("cpu")
    assert set(devices_of(spread.target)) == {"cpu", "disk"}
    assert devices_of(plain.target) == devices_of(spread.draft_model) == []
    assert weights_fingerprint(spread.target) == weights_fingerprint(plain.target)
    assert ", ".join(devices_of(spread.target)) in spread.describe()
    for method in ("joint-race", "joint-race-tree", "basic"):
        assert texts(spread, method) == texts(plain, method)


def test_drafts_that_are_looked_up(tiny_folder: Path) -> None:
    plain, spread = (
        load_pair(tiny_folder, "ngram", dtype="float64", progress=False, **where)
        for where in ({"device": "cpu"}, {"device_map": MIDDLE})
    )
    assert texts(spread, "joint-race") == texts(plain, "joint-race")


def test_replay_reads_the_laws_of_one_device(tiny_folder: Path, draft_folder: Path) -> None:
    """And files of records go on with either."""
    scheme, key = td.Scheme.of("joint-race"), td.Key(bytes(range(16)))
    made = [
        td.generate(
            ["the man and the theatre"],
            scheme,
            key,
            target=str(tiny_folder),
            draft=str(draft_folder),
            tokens=20,
            dtype="float64",
            ignore_eos=True,
            probe=False,
            **where,
        )[0]
        for where in ({"device": "cpu"}, {"device_map": MIDDLE})
    ]
    assert made[0].token_ids == made[1].token_ids
    assert made[0].run == made[1].run


def test_recurrent_layers_keep_their_states_beside_them(tmp_path: Path) -> None:
    config = Lfm2Config(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        full_attn_idxs=[1, 3],
        block_auto_adjust_ff_dim=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Lfm2ForCausalLM(config).save_pretrained(tmp_path)
    parts = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.embedding_norm": "cpu"}
    parts |= {"lm_head": "cpu", **{f"model.layers.{k}": "disk" if k < 2 else "cpu" for k in range(4)}}
    rows = np.random.default_rng(0).integers(3, 64, (2, 9))
    where = np.tile(np.arange(9), (2, 1))
    found = []
    for placed in (torch.device("cpu"), parts):
        feeder = make_feeder(read_model(tmp_path, torch.float64, placed=placed), 2, 64)
        whole = feeder.logits(0, rows, where, 9)
        feeder.filled[:] = 5
        found.append(torch.cat([whole, feeder.logits(0, rows[:, 5:7], where[:, 5:7], 2)], dim=1))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


def test_families_are_asked_again(tiny_folder: Path) -> None:
    """A verified family is one on one device; over several the model itself is asked, and is right."""
    model = read_model(tiny_folder, torch.float32, placed=MIDDLE)
    assert "layers over cpu, disk" in model_features(model)
    found = probe(model)
    assert (found.alone, found.back, found.rows, found.tree) == (None,) * 4


def test_layers_are_skipped_behind_hooks(make_llama: MakeLlama) -> None:
    """Parts that are hooked and at hand are shared, and every copy has hooks of its own."""
    plain, hooked = make_llama(), make_llama()
    dispatch_model(hooked, {name: "cpu" for name in MIDDLE}, force_hooks=True)
    shorter, expected = skip_layers(hooked, [1]), skip_layers(plain, [1])
    ids = torch.arange(7)[None]
    assert torch.equal(shorter(ids).logits, expected(ids).logits)
    assert torch.equal(hooked(ids).logits, plain(ids).logits)
    assert {p.data_ptr() for p in shorter.parameters()} <= {p.data_ptr() for p in hooked.parameters()}
    for part in shorter.modules():
        if "_old_forward" in vars(part):
            assert vars(part)["_old_forward"].__self__ is part


def test_parts_with_a_forward_pass_of_their_own_keep_it(make_llama: MakeLlama) -> None:
    model = make_llama()
    dispatch_model(model, {name: "cpu" for name in MIDDLE}, force_hooks=True)
    before = {name: vars(part).get("forward") for name, part in model.named_modules()}
    feeder = make_feeder(model, 1, 64)
    feeder.logits(0, np.array([[3, 4, 5]]), np.array([[0, 1, 2]]), 3)
    assert {name: vars(part).get("forward") for name, part in model.named_modules()} == before
    with skinny_products(feeder._skinny):
        assert {name: vars(part).get("forward") for name, part in model.named_modules()} == before


def test_entries_are_written_on_the_device_of_their_layer() -> None:
    """One pass, whose layers are on two devices; nothing is brought from one to the other."""
    cache = SlotCache(2)
    cache.point(0, np.array([[0, 1], [2, 3]]), 4)
    for layer, device in enumerate(("cpu", "meta")):
        entries = torch.ones(2, 1, 2, 3, device=device)
        keys, values = cache.layers[layer].update(entries, entries)
        assert keys.device.type == values.device.type == device
        assert keys.shape == (2, 1, 4, 3)
    index = [cache._place.index(torch.device(device)) for device in ("cpu", "meta")]
    assert [{one.device.type for one in pair} for pair in index] == [{"cpu"}, {"meta"}]


def test_logits_come_back_where_the_ids_are() -> None:
    class Elsewhere(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, logits_to_keep: int, use_cache: bool) -> object:
            return type("Output", (), {"logits": torch.zeros(1, logits_to_keep, 5)})

    ids = torch.zeros(1, 3, dtype=torch.long, device="meta")
    assert next_logits(Elsewhere(), ids, 2).device.type == "meta"


@pytest.mark.parametrize(
    ("device_map", "device", "words"),
    [
        ("all", None, "device_map='all' is not known; use one of 'auto', 'balanced'"),
        ({}, None, "places nothing"),
        (True, None, "places nothing"),
        ("auto", "cuda", "device='cuda' and device_map='auto' are given; leave device out"),
    ],
)
def test_what_cannot_be_placed_is_refused(device_map, device, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_device_map(device_map, device)
    with pytest.raises(ValueError, match=words):
        load_pair("nowhere", "ngram", device=device, device_map=device_map or {})


def test_accelerate_is_asked_for_by_name(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"device_map='auto' needs the package accelerate; .*\[llm\]"):
        load_pair(tiny_folder, "ngram", device_map="auto", progress=False)


def test_models_that_have_not_been_checked_over_devices(
    tiny_folder: Path, tiny_gguf: Path, draft_folder: Path
) -> None:
    with pytest.raises(ValueError, match=r"draft='skip:1' shares the weights .* offloaded"):
        load_pair(tiny_folder, "skip:1", device_map=MIDDLE, progress=False)
    with pytest.raises(ModelUnavailableError, match="is a GGUF file, which has not been checked over"):
        load_pair(tiny_gguf, "ngram", device_map="auto", progress=False)
    with pytest.raises(ValueError, match="draft='jump' is for a target on one device"):
        load_pair("builtin", "jump", device_map="auto", progress=False)
    with pytest.raises(ModelUnavailableError, match=r"device_map leaves out .*model\.embed_tokens\.weight"):
        load_pair(tiny_folder, draft_folder, device_map={"model.layers": "cpu"}, progress=False)


def test_quantised_weights_over_devices(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeoff.llm.models.loading.check_quantisation", lambda _: "gptq 4 bits")
    with pytest.raises(ModelUnavailableError, match=r"quantised \(gptq 4 bits\), which has not been checked"):
        load_pair(tiny_folder, "ngram", device_map="auto", progress=False)


def test_how_workers_spread_their_targets(tiny_folder: Path) -> None:
    """By auto with several GPUs each; words are theirs too, a mapping is not."""
    assert spread_of(None, None, "ray", None) is spread_of(None, "cpu", 2, 0.5) is None
    assert spread_of(None, None, "ray:2", 2) == "auto"
    assert spread_of("sequential", None, "ray", 4) == spread_of("sequential", None, 1, None) == "sequential"
    for given, words in (
        ((None, "cuda", "ray", 2), "device='cuda' is one device, and gpus_per_worker=2 are several"),
        ((MIDDLE, None, "ray", 2), "names devices of one process"),
        (("auto", None, 2, None), "would give each of workers=2 all GPUs"),
        (("auto", "cpu", "ray", 2), "leave device out"),
    ):
        with pytest.raises(ValueError, match=words):
            spread_of(*given)
    names = PairNames(str(tiny_folder), "ngram", device_map="auto")
    assert texts(pair_of(names), "basic") == texts(pair_of(PairNames(str(tiny_folder), "ngram")), "basic")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="a model over two GPUs needs two GPUs")
def test_two_gpus(tiny_folder: Path, draft_folder: Path) -> None:
    """Half of the layers on each, and the head on the second: the texts of one GPU."""
    halves: dict[str, str | int | torch.device] = {"model.embed_tokens": 0, "lm_head": 1, "model.norm": 1}
    halves |= {"model.rotary_emb": 0, **{f"model.layers.{k}": k // 2 for k in range(4)}}
    plain = load_pair(tiny_folder, draft_folder, dtype="float64", device="cuda:0", progress=False)
    spread = load_pair(tiny_folder, draft_folder, dtype="float64", device_map=halves, progress=False)
    assert devices_of(spread.target) == ["cuda:0", "cuda:1"]
    for method in ("joint-race", "joint-race-tree", "basic"):
        assert texts(spread, method, probe=True) == texts(plain, method)
    # Two of the layers that are left are on each.
    drafts = [skip_layers(pair.target, [1]) for pair in (plain, spread)]
    ids = torch.arange(7, device="cuda:0")[None]
    torch.testing.assert_close(*(draft(ids).logits for draft in drafts))
