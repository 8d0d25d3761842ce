"""Philox4x32-10 against its published answers, and vLLM's format against its own numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from tests.helpers.support import ALPHA, chi_square_p
from tradeoff.detection import Aaronson, Evidence, detect
from tradeoff.keyed.bits import expand
from tradeoff.keyed.philox import VllmPhilox, philox4x32
from tradeoff.keyed.prf import PAD, Prf, Stream

VECTORS = json.loads((Path(__file__).parent / "data" / "vllm_philox.json").read_text())
KEY = 0x0123456789ABCDEF
#: Of Random123: counter and key, answer.
KNOWN_ANSWERS = [
    ("00000000 " * 6, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 6, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_known_answers(make):
    for arguments, answer in KNOWN_ANSWERS:
        *counter, k0, k1 = [make([word]) for word in words(arguments)]
        assert [int(word[0]) for word in philox4x32(tuple(counter), (k0, k1))] == words(answer)
    # All of them in one call, and keys given as integers.
    columns = [make(column) for column in zip(*(words(a) for a, _ in KNOWN_ANSWERS), strict=True)]
    results = philox4x32(tuple(columns[:4]), (columns[4], columns[5]))
    assert [[int(w[i]) for w in results] for i in range(3)] == [words(answer) for _, answer in KNOWN_ANSWERS]
    zeros = make([0])
    assert [int(w[0]) for w in philox4x32((zeros,) * 4, (0, 0))] == words(KNOWN_ANSWERS[0][1])


def test_philox_in_plain_integers():
    rng = np.random.default_rng(0)
    arguments = rng.integers(0, 1 << 32, (6, 50))
    result = np.stack(philox4x32(tuple(arguments[:4]), (arguments[4], arguments[5])))
    for column, got in zip(arguments.T.tolist(), result.T.tolist(), strict=True):
        assert plain_philox(column[:4], column[4:]) == got


def plain_philox(counter: list[int], key: list[int]) -> list[int]:
    a, b, c, d = counter
    for i in range(10):
        k0, k1 = ((k + i * w) % 2**32 for k, w in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True))
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = q // 2**32 ^ b ^ k0, q % 2**32, p // 2**32 ^ d ^ k1, p % 2**32
    return [a, b, c, d]


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_every_vector_of_vllm(library):
    assert len(VECTORS["philox"]) >= 30
    for case in VECTORS["philox"]:
        prf = VllmPhilox(int(case["key"]), len(case["context"]))
        tokens = np.array(case["tokens"])
        tokens = torch.from_numpy(tokens) if library == "torch" else tokens
        u = prf.uniform(Stream.SHARED, np.array(case["context"]), tokens)
        assert u.dtype in (np.float64, torch.float64)
        assert [float(value) for value in u] == [float.fromhex(h) for h in case["uniform_float32_hex"]]


def test_the_vectors_cover_padded_contexts_and_name_their_source():
    assert any(PAD in case["context"] for case in VECTORS["philox"])
    assert "vllm" in VECTORS["source"]


def test_derived_keys():
    contexts, tokens = np.array([[5, 6, 7, 8], [PAD, PAD, 3, 4]]), np.arange(9)
    for case in VECTORS["derived_keys"]:
        prf = VllmPhilox(int(case["key"]))
        for stream, name in ((Stream.DRAFT, "key_a"), (Stream.TARGET, "key_b")):
            assert np.array_equal(
                prf.uniform(stream, contexts, tokens),
                VllmPhilox(int(case[name])).uniform(Stream.SHARED, contexts, tokens),
            )
    digest = hashlib.sha256(b"key_a" + (42).to_bytes(8, "big")).digest()
    assert str(int.from_bytes(digest[:8], "big")) == VECTORS["derived_keys"][2]["key_a"]


@pytest.mark.parametrize("width", [1, 3, 4, 5, 8])
def test_vocabulary_batches_and_single_tokens_agree(width):
    prf = VllmPhilox(KEY, width)
    contexts = np.random.default_rng(width).integers(PAD, 50_000, (3, 2, width))
    whole = prf.uniform(Stream.DRAFT, contexts, np.arange(1003))
    assert whole.shape == (3, 2, 1003)
    tokens = np.random.default_rng(0).integers(0, 1003, (3, 2, 5))
    given = prf.uniform(Stream.DRAFT, contexts, tokens)
    assert np.array_equal(given, np.take_along_axis(whole, tokens, -1))
    assert np.array_equal(prf.uniform(Stream.DRAFT, contexts, np.arange(1003)[::-1].copy()), whole[..., ::-1])
    assert np.array_equal(prf.uniform(Stream.DRAFT, contexts[1, 1], np.arange(1003)), whole[1, 1])
    on_torch = prf.uniform(Stream.DRAFT, contexts, torch.arange(1003))
    assert isinstance(on_torch, torch.Tensor)
    assert np.array_equal(on_torch.numpy(), whole)
    assert prf.uniform(Stream.DRAFT, contexts, np.arange(0)).shape == (3, 2, 0)


def test_large_batches_are_worked_on_in_blocks_without_a_seam():
    prf, rng = VllmPhilox(KEY), np.random.default_rng(1)
    contexts, tokens = rng.integers(0, 50_000, (70_000, 4)), rng.integers(0, 50_000, (70_000, 1))
    u = prf.uniform(Stream.SHARED, contexts, tokens)
    for i in (0, 32_767, 32_768, 65_535, 65_536, 69_999):
        assert u[i] == prf.uniform(Stream.SHARED, contexts[i], tokens[i])


@pytest.mark.parametrize("whole", [True, False])
def test_torch_arithmetic_gives_the_same_bits(whole):
    # `expand` works on CPU tensors in NumPy; this evaluates the functions that run on an accelerator.
    from tradeoff.keyed import philox

    prf, contexts = VllmPhilox(KEY), np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    function = philox._uniforms_of_groups if whole else philox._uniforms_of_tokens
    state, tokens = prf._absorb(KEY, contexts), np.arange(500)
    in_torch = function(torch.from_numpy(state), torch.from_numpy(tokens))
    assert np.array_equal(in_torch.numpy(), expand(function, state, tokens))


def test_uniforms_and_races():
    prf = VllmPhilox(KEY)
    u = prf.uniform(Stream.SHARED, np.array([9, 8, 7, 6]), np.arange(200_000))
    m = np.round(u * (2**24 + 1)) - 1
    assert np.array_equal(u, ((m + 1) / (2**24 + 1)).astype(np.float32).astype(float))
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > ALPHA
    counts = np.histogram2d(u[:-1], u[1:], bins=16, range=[[0, 1]] * 2)[0]
    assert chi_square_p(counts, np.full(256, (len(u) - 1) / 256)) > ALPHA
    race = prf.race(Stream.SHARED, np.array([9, 8, 7, 6]), np.arange(200_000))
    assert np.array_equal(race, -np.log(u))


def test_what_the_format_lacks_is_refused_with_the_methods_that_work():
    prf, contexts, tokens = VllmPhilox(KEY), np.zeros((2, 4), int), np.arange(3)
    calls = [
        lambda: prf.coin(contexts),
        lambda: prf.bits(Stream.SHARED, contexts, tokens),
        lambda: prf.side_information(Stream.SHARED, contexts, 1024),
        lambda: prf.score_uniforms(tokens, 1024),
        lambda: prf.race(Stream.ACCEPTANCE, contexts, tokens),
        lambda: prf.uniform(Stream.ACCEPTANCE, contexts, tokens),
    ]
    for call in calls:
        with pytest.raises(
            ValueError, match=r"does not define.*; with it use.*Gumbel-max.*default"
        ) as caught:
            call()
        # As they are spelled on the command line.
        for method in ("keep-strength", "keep-efficiency", "two-keys", "one-race-tree", "joint-race"):
            assert method in str(caught.value)


@pytest.mark.parametrize("key", [-1, 1 << 64, 1.5, True, b"k" * 16])
def test_bad_master_keys(key):
    with pytest.raises(ValueError, match=r"master_key.*integer") as caught:
        VllmPhilox(key)
    assert str(key) not in str(caught.value)


def test_bad_widths_and_contexts():
    for width in (0, 65, 2.0):
        with pytest.raises(ValueError, match=f"context_width={width}"):
            VllmPhilox(KEY, width)
    with pytest.raises(ValueError, match=r"contexts have shape \(3,\).*4"):
        VllmPhilox(KEY).uniform(Stream.SHARED, np.zeros(3, int), np.arange(3))


@pytest.mark.parametrize("token", [2**32 - 1, 2**32 + 5, 2**40, -2])
def test_contexts_that_would_be_words_of_others_are_refused(token):
    """Else 5 + 2^32 would be new to a detector and bring the numbers of 5 again: no p-value would hold."""
    prf = VllmPhilox(KEY, 2)
    assert prf.uniform(Stream.SHARED, np.array([[PAD, 2**32 - 2]]), np.array([[1]])).shape == (1, 1)
    with pytest.raises(ValueError, match=f"contexts hold {token}; .* below 2\\^32 - 1"):
        prf.uniform(Stream.SHARED, np.array([[1, 2], [5, token]]), np.array([[1], [1]]))
    with pytest.raises(ValueError, match="contexts hold"):
        detect(Aaronson(), Evidence([5, 9, abs(token) + 2**32, 9], prf))


def test_it_is_a_prf_that_does_not_show_its_key():
    prf = VllmPhilox(KEY)
    assert isinstance(prf, Prf)
    assert prf.pads_contexts
    assert prf.name == "vllm-philox-v1"
    assert len(prf.fingerprint) == 16
    assert prf.fingerprint != VllmPhilox(KEY + 1).fingerprint
    for form in (str(KEY), f"{KEY:x}", f"{KEY:016x}"):
        assert form not in f"{prf!r} {prf} {prf.fingerprint}"


def test_dumps_of_settings_do_not_carry_the_key():
    """Neither a dictionary of the fields nor a pickle shows it; a changed copy keeps it."""
    prf = VllmPhilox(123456789)
    assert "123456789" not in str(dataclasses.asdict(prf)) + str(vars(prf)) + repr(prf)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(prf)
    assert dataclasses.replace(prf, context_width=2).fingerprint == prf.fingerprint
    assert prf == VllmPhilox(123456789) != VllmPhilox(123456788)
