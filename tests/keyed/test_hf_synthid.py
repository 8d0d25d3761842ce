"""Transformers' SynthID, bit for bit: against vectors of its own processor, and against itself."""

from __future__ import annotations

import copy
import itertools
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import SynthIDTextWatermarkingConfig

from tests.keyed.synthid_vectors import FILE, STEPS
from tradeoff.decoders import SynthID, TournamentBits
from tradeoff.detection import Evidence
from tradeoff.keyed import (
    DepthKeys,
    HfSynthID,
    Key,
    KeyFile,
    KeyFormatError,
    Keyring,
    SamplingTable,
    Stream,
    parse_prf,
    prf_type,
    watermark_of,
)
from tradeoff.llm.generation.rows import ContextWindow

VECTORS = json.loads(FILE.read_text(encoding="utf-8"))["settings"]
every_setting = pytest.mark.parametrize("vector", VECTORS, ids=[f"setting-{k}" for k in range(len(VECTORS))])
#: ngram_len, keys, name, context, bits of ids 0, 1, ... by depth: as the format's description has them.
DESCRIBED = [
    (
        [654, 400, 836],
        "hf-synthid",
        [0, 0, 0, 0],
        [
            "11000000100001100111101101110010",
            "01011101010100001111010110001001",
            "01001100111011010100001110100101",
        ],
    ),
    (
        [654, 400, 836],
        "hf-synthid",
        [0, 0, 0, 17],
        [
            "01111110101111001101110110101100",
            "00000001001111101011100101101110",
            "11001011000100110000000001000010",
        ],
    ),
    (
        [2147483647, -5, 66190],
        "hf-synthid",
        [49151, 2, 70000, 1],
        ["0011001011110101", "0110101011000001", "1111000000101100"],
    ),
    (
        [1, 2, 4611686018427387904],
        "hf-synthid:seed=12345",
        [5, 6],
        ["010100010000001010100110", "011000101001010000110011", "010111110001011100111101"],
    ),
    ([30], "hf-synthid:table=1000", [9], ["10101100111100100100101000110011"]),
    (
        [123456789, -123456789],
        "hf-synthid:table=65537,seed=8589934597",
        [100, 200, 300],
        ["11110001000010100110", "10101011001000001111"],
    ),
]


def function(config: dict) -> HfSynthID:
    """Of a configuration of Transformers."""
    name = (
        f"hf-synthid:table={config['sampling_table_size']},seed={config['sampling_table_seed']},"
        f"history={config['context_history_size']}"
        + (",skip-first" if config["skip_first_ngram_calls"] else "")
    )
    made = parse_prf(name, DepthKeys(config["keys"]), config["ngram_len"] - 1)
    assert isinstance(made, HfSynthID)
    return made


def depths(prf: HfSynthID, context: list[int], tokens) -> list[str]:
    """A string of bits for every depth."""
    found = []
    for depth in range(prf.rounds):
        word = prf.bits(Stream.SHARED, np.array(context), tokens, depth // 64)
        found.append("".join(str(int(bit)) for bit in (word >> depth % 64) & 1))
    return found


def masks(prf: HfSynthID, text: list[int]) -> str:
    """Which positions of a text generation leaves alone."""
    window, found = ContextWindow.of(prf, [1]), ""
    for token in text:
        contexts = window.ahead([])
        found += str(int(window.masked(contexts)[0]))
        window.commit([token], [contexts[0].tobytes()])
    return found


@pytest.mark.parametrize("tokens", [np.arange, torch.arange], ids=["numpy", "torch"])
@pytest.mark.parametrize(("keys", "name", "context", "bits"), DESCRIBED)
def test_bits_of_the_description(keys, name, context, bits, tokens):
    prf = parse_prf(name, DepthKeys(keys), len(context))
    assert depths(prf, context, tokens(len(bits[0]))) == bits


def test_hashes_and_table_of_the_description():
    prf = parse_prf("hf-synthid", DepthKeys([1]))
    assert prf.origins(np.array([[0, 0, 0, 0], [0, 0, 0, 17]]), np.zeros(2, dtype=int)).tolist() == [
        -4106384379532733411,
        -6596533016394562022,
    ]
    flips = SamplingTable().flips
    assert "".join(map(str, flips[:32])) == "01101111111001000001011001111010"
    assert flips.sum() == 32743
    assert np.array_equal(SamplingTable(seed=2**32).flips, flips)


@every_setting
@pytest.mark.parametrize("tokens", [np.arange, torch.arange], ids=["numpy", "torch"])
def test_bits_of_the_processor(vector, tokens):
    prf = function(vector["config"])
    for one in vector["bits"]:
        assert depths(prf, one["context"], tokens(len(one["depths"][0]))) == one["depths"]


@every_setting
def test_what_generation_leaves_alone(vector):
    """First tokens, and contexts that come again while the history has them."""
    assert masks(function(vector["config"]), vector["text"]) == vector["unchanged"]
    assert "1" in vector["unchanged"]
    assert "0" in vector["unchanged"]


@every_setting
def test_positions_that_count_are_those_of_the_mask(vector):
    """The mask of Transformers' detector with a history that never ends, which does not know, however,
    the contexts with which generation began."""
    config = vector["config"] | {"context_history_size": 1024}
    prf, width = function(config), config["ngram_len"] - 1
    processor = SynthIDTextWatermarkingConfig(**config).construct_processor(8, "cpu")
    mask = processor.compute_context_repetition_mask(torch.tensor([vector["text"]]))[0].bool().numpy()
    own = np.zeros(STEPS, dtype=bool)
    own[Evidence(vector["text"], prf).index] = True
    if not prf.pads_contexts:
        assert not own[:width].any()
        assert np.array_equal(own[width:], mask)
        return
    started = [tuple(([0] * width + vector["text"][:k])[-width:]) for k in range(width)]
    known = [tuple(vector["text"][k - width : k]) in started for k in range(width, STEPS)]
    assert np.array_equal(own[width:], mask & ~np.array(known))
    assert own[:width].tolist() == [context not in started[:k] for k, context in enumerate(started)]


@every_setting
def test_every_step_of_the_processor(vector):
    """Its scores are logarithms of the tournament's law, or unchanged, at every call of a text."""
    config, rng, vocabulary = vector["config"], np.random.default_rng(0), 4
    prf, text = function(config), rng.integers(0, vocabulary, 80).tolist()
    processor = SynthIDTextWatermarkingConfig(**config).construct_processor(vocabulary, "cpu")
    window, changed = ContextWindow.of(prf, [9, 9, 9]), 0
    for step, token in enumerate(text):
        scores = torch.tensor(rng.normal(size=(1, vocabulary)), dtype=torch.float32)
        if step % 5 == 0:
            scores[0, step % vocabulary] = -torch.inf
        after = processor(torch.tensor([[9, 9, 9, *text[:step]]]), scores.clone())
        contexts = window.ahead([])
        if window.masked(contexts)[0]:
            assert torch.equal(after, scores)
        else:
            zeta = TournamentBits(lambda k, c=contexts: prf.bits(Stream.SHARED, c, np.arange(vocabulary), k))
            p = torch.softmax(scores.double(), -1).numpy()
            expected = SynthID(prf.rounds)(p, zeta)
            np.testing.assert_allclose(torch.exp(after.double()).numpy(), expected, atol=2e-6)
            changed += 1
        window.commit([token], [contexts[0].tobytes()])
    assert 4 < changed < 80


@given(
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=5),
    st.sampled_from([1, 2, 7, 1000, 1024, 65535, 65536, 65537]),
    st.integers(0, (1 << 63) - 1),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
)
def test_any_keys_and_tables(keys, size, seed, width, at):
    prf = parse_prf(f"hf-synthid:table={size},seed={seed}", DepthKeys(keys), width)
    rng = np.random.default_rng(at)
    context, tokens = rng.integers(0, 1 << 20, width), rng.integers(0, 1 << 20, 20)
    config = SynthIDTextWatermarkingConfig(
        width + 1, keys, sampling_table_size=size, sampling_table_seed=seed
    )
    rows = torch.tensor([[*context.tolist(), token] for token in tokens.tolist()])
    values = config.construct_processor(8, "cpu").compute_g_values(rows)[:, 0]
    assert depths(prf, context.tolist(), tokens) == ["".join(map(str, one)) for one in values.T.tolist()]


def test_batches_are_their_rows():
    prf = parse_prf("hf-synthid", DepthKeys(range(70)), 2)
    contexts, tokens = np.array([[[1, 2], [3, 4]], [[-1, 5], [-1, -1]]]), np.arange(40_000)
    whole = prf.bits(Stream.SHARED, contexts, tokens, 1)
    assert whole.shape == (2, 2, 40_000)
    for place in itertools.product(range(2), range(2)):
        assert np.array_equal(whole[place], prf.bits(Stream.SHARED, contexts[place], tokens, 1))
    assert (whole >> 6 == 0).all()
    # Generation begins with zeros, which padding stands for.
    padded = prf.bits(Stream.SHARED, np.array([[-1, -1], [0, 0]]), tokens)
    assert np.array_equal(padded[0], padded[1])


def test_a_cyclic_table_is_read_at_the_shift_of_the_key():
    table, key = SamplingTable(256, 9), 123456789
    prf = parse_prf("hf-synthid:table=256,seed=9", DepthKeys([key]), 1)
    assert table.cyclic is not None
    # fold(fold(1, 0), v) of small numbers.
    u = (np.arange(1000) + 0x2D + 1) * 0x2D + 1 & 255
    bits = prf.bits(Stream.SHARED, np.array([0]), np.arange(1000))
    assert np.array_equal(bits, table.cyclic[(u + key) % 256])
    assert SamplingTable(1000).cyclic is None


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("hf-synthid", "hf-synthid"),
        ("hf-synthid:table=65536,seed=0,history=1024", "hf-synthid"),
        (
            "hf-synthid:skip-first,seed=7,history=0,table=1000",
            "hf-synthid:table=1000,seed=7,history=0,skip-first",
        ),
        ("hf-synthid:seed=4294967301", "hf-synthid:seed=5"),
    ],
)
def test_names(name, canonical):
    assert prf_type(name).name == canonical
    assert parse_prf(name, DepthKeys([1])).name == canonical
    assert prf_type(canonical) == prf_type(name)


@pytest.mark.parametrize(
    "settings",
    ["table", "table=0", "table=2000000", "seed=-1", "x=1", "seed=1,seed=2", "skip-first,skip-first"],
)
def test_settings_with_a_fault_are_named(settings):
    with pytest.raises(ValueError, match=r"hf-synthid:table=65536|must be a whole number"):
        prf_type(f"hf-synthid:{settings}")


def test_what_the_function_says_of_itself():
    prf = parse_prf("hf-synthid:history=7,skip-first", DepthKeys([5, 6]), 3)
    assert (prf.memory, prf.pads_contexts, prf.rounds, prf.context_width) == (7, False, 2, 3)
    assert parse_prf("hf-synthid", DepthKeys([5])).pads_contexts
    assert prf_type("hf-synthid").context_width == 4
    assert prf.same_positions != parse_prf("hf-synthid", DepthKeys([5, 6]), 3).same_positions
    assert (watermark_of("hf-synthid"), watermark_of("hf-synthid", DepthKeys([1, 2]))) == (
        "synthid:30",
        "synthid:2",
    )
    with pytest.raises(ValueError, match="2 depth keys"):
        prf.bits(Stream.SHARED, np.zeros(3, dtype=int), np.arange(3), 1)
    with pytest.raises(ValueError, match="stream 'draft'"):
        prf.bits(Stream.DRAFT, np.zeros(3, dtype=int), np.arange(3))
    with pytest.raises(ValueError, match="hf-synthid takes depth keys"):
        parse_prf("hf-synthid", Key(bytes(16)))
    with pytest.raises(ValueError, match="not DepthKeys"):
        parse_prf("blake2b-splitmix-v1", DepthKeys([1]))


def test_depth_keys_hide_what_they_are():
    keys = DepthKeys([123456, -7])
    assert repr(keys) == f"DepthKeys(2 rounds, fingerprint={keys.fingerprint!r})"
    assert "123456" not in repr(parse_prf("hf-synthid", keys)) + repr(KeyFile(keys))
    for dump in (pickle.dumps, copy.copy, copy.deepcopy):
        if dump is pickle.dumps:
            with pytest.raises(TypeError, match="cannot be pickled"):
                dump(keys)
        else:
            assert dump(keys) is keys
    assert keys == DepthKeys(np.array([123456, -7]))
    assert keys != DepthKeys([-7, 123456])
    assert keys.fingerprint != DepthKeys([-7, 123456]).fingerprint
    assert len(DepthKeys.new(7)) == 7
    for bad in ([], [1.5], [True], [1 << 63], ["1"]):
        with pytest.raises(KeyFormatError):
            DepthKeys(bad)
    with pytest.raises(AttributeError):
        keys._values = (1,)
    with pytest.raises(ValueError, match="rounds=0"):
        DepthKeys.new(0)


def test_key_files_hold_depth_keys(tmp_path):
    path, keys = tmp_path / "synthid.key", DepthKeys([(1 << 63) - 1, -(1 << 63), 0])
    KeyFile(keys, "of others").write(path)
    found = KeyFile.read(path)
    assert (found.key, found.name, found.kind, found.default_prf) == (
        keys,
        "of others",
        DepthKeys,
        "hf-synthid",
    )
    assert "depth_keys = [9223372036854775807, -9223372036854775808, 0]" in path.read_text()
    changed = tmp_path / "changed.key"
    changed.write_text(path.read_text().replace(", 0]", ", 1]"))
    with pytest.raises(KeyFormatError, match="fingerprint"):
        KeyFile.read(changed)
    changed.write_text(path.read_text().replace(", 0]", ', "x"]'))
    with pytest.raises(KeyFormatError, match="depth key 3 is str"):
        KeyFile.read(changed)
    # Plain integers side by side are several keys, as before.
    assert Keyring.of([1, 2]).secrets == (1, 2)
    assert Keyring.of([keys, 2]).secrets == (keys, 2)
