"""The default pseudorandom function: its format, its interface and its statistics.

Statistical tests use one fixed key, so that they pass or fail once and for all.
"""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from tests.helpers.support import ALPHA, Z, chi_square_p
from tradeoff.keyed.bits import expand, mix, open_unit
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.formats import PRF_NAMES, parse_prf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import PAD, Prf, Stream

SECRET = bytes(range(32))
PRF = KeyedPrf(Key(SECRET), 4)
CONTEXT = np.array([17, 4021, 9, 30_000])
N = 1 << 17
TOKENS = np.arange(N)
STREAMS = list(Stream)
#: Of SECRET and CONTEXT, by the plain integers below: tokens 0, 1 and 2 of the shared stream.
GOLDEN_BITS = ["f6e109dfd119abe0", "52c5809958059a43", "d35c1dd0fc031760"]
GOLDEN_UNIFORMS = ["0x1.ce0170f858293p-2", "0x1.7e2b2d9940d25p-1", "0x1.f9ed5b5c8d2bfp-1"]
GOLDEN_COIN = "0x1.3e6246d0a569fp-1"


def uniforms(prf: KeyedPrf = PRF, stream: Stream = Stream.SHARED, context=CONTEXT, tokens=TOKENS):
    return prf.uniform(stream, np.asarray(context), tokens)


def independence_p(first: np.ndarray, second: np.ndarray, bins: int = 16) -> float:
    """p-value of a chi-square test that two samples of uniforms are independent and uniform."""
    counts = np.histogram2d(first.ravel(), second.ravel(), bins=bins, range=[[0, 1]] * 2)[0]
    return chi_square_p(counts, np.full(bins * bins, first.size / bins**2))


def bit_matrix(words: np.ndarray) -> np.ndarray:
    """The bits of `words: [n]`, lowest first: [n, 64]."""
    return np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")


# The format, in plain integers.


def plain_bits(
    secret: bytes, purpose: str, stream: str, context: list[int], token: int, word: int = 0
) -> int:
    k0, k1 = plain_keys(secret, purpose, stream, context, word)
    return plain_finalise((plain_finalise((token * 0x9E3779B97F4A7C15 + k0) % 2**64) + k1) % 2**64)


def plain_keys(secret: bytes, purpose: str, stream: str, context: list[int], word: int) -> tuple[int, int]:
    subkey = hashlib.blake2b(secret, digest_size=64, person=b"tradeoff-prf-v1").digest()
    message = b"".join(number.to_bytes(8, "little", signed=True) for number in [word, *context])
    digest = hashlib.blake2b(
        message, key=subkey, digest_size=16, salt=stream.encode(), person=purpose.encode()
    ).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def plain_finalise(z: int) -> int:
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


@pytest.mark.parametrize("secret", [SECRET[:16], SECRET, SECRET * 3], ids=["16", "32", "96 bytes"])
def test_format_in_plain_integers(secret):
    tokens = [0, 1, 2, 49_151, 151_935, 2**31, 2**63 - 1]
    for context, stream, word in [
        ([1, 2, 3, 4], Stream.SHARED, 0),
        ([PAD, PAD, 0, 2**62], Stream.DRAFT, 1),
        ([7], Stream.ACCEPTANCE, 5),
        (list(range(64)), Stream.TARGET, 0),
    ]:
        prf, contexts = KeyedPrf(Key(secret), len(context)), np.array(context)
        bits = prf.bits(stream, contexts, np.array(tokens), word)
        assert bits.dtype == np.int64
        wanted = [plain_bits(secret, "layers", stream.value, context, t, word) for t in tokens]
        assert [int(b) % 2**64 for b in bits] == wanted
        top = [plain_bits(secret, "race", stream.value, context, t) >> 11 for t in tokens]
        u = prf.uniform(stream, contexts, np.array(tokens))
        assert u.tolist() == [(m + 1) * (2.0**-53 - 2.0**-106) for m in top]
        coin = (plain_keys(secret, "coin", "acceptance", context, 0)[0] >> 11) + 1
        assert prf.coin(contexts) == coin * (2.0**-53 - 2.0**-106)


def test_golden_values():
    # A change of these is a change of the format, and needs a new name.
    assert PRF.name == "blake2b-splitmix-v1"
    assert [
        f"{b % 2**64:016x}" for b in PRF.bits(Stream.SHARED, CONTEXT, np.arange(3)).tolist()
    ] == GOLDEN_BITS
    assert [value.hex() for value in uniforms(tokens=np.arange(3)).tolist()] == GOLDEN_UNIFORMS
    assert float(PRF.coin(CONTEXT)).hex() == GOLDEN_COIN


# The interface.


@pytest.mark.parametrize("stream", STREAMS)
def test_numpy_and_torch_agree_bit_for_bit(stream):
    contexts = np.random.default_rng(0).integers(0, 50_000, (3, 4))
    for tokens in (np.arange(5000), np.random.default_rng(1).integers(0, 50_000, (3, 7))):
        on_torch = torch.from_numpy(tokens)
        u, bits = PRF.uniform(stream, contexts, tokens), PRF.bits(stream, contexts, tokens)
        u_torch, bits_torch = PRF.uniform(stream, contexts, on_torch), PRF.bits(stream, contexts, on_torch)
        assert u_torch.dtype == torch.float64
        assert bits_torch.dtype == torch.int64
        assert np.array_equal(u_torch.numpy(), u)
        assert np.array_equal(bits_torch.numpy(), bits)
        race = PRF.race(stream, contexts, on_torch)
        np.testing.assert_allclose(race.numpy(), -np.log(u), rtol=1e-15)


def test_torch_arithmetic_gives_the_same_bits():
    # `expand` works on CPU tensors in NumPy; this evaluates the functions that run on an accelerator.
    keys = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, (5, 2), endpoint=True)
    bits = mix(keys, TOKENS)
    bits_torch = mix(torch.from_numpy(keys), torch.from_numpy(TOKENS))
    assert np.array_equal(bits_torch.numpy(), bits)
    assert np.array_equal(open_unit(bits_torch).numpy(), open_unit(bits))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("prf", [PRF, VllmPhilox(0x0123456789ABCDEF)], ids=PRF_NAMES)
def test_cuda_agrees_bit_for_bit(prf):
    contexts = np.random.default_rng(0).integers(0, 50_000, (3, 4))
    for tokens in (np.arange(49_152), np.random.default_rng(1).integers(0, 50_000, (3, 7))):
        on_device = torch.from_numpy(tokens).cuda()
        u = prf.uniform(Stream.DRAFT, contexts, on_device)
        assert u.device.type == "cuda"
        assert np.array_equal(u.cpu().numpy(), prf.uniform(Stream.DRAFT, contexts, tokens))
        race = prf.race(Stream.DRAFT, contexts, on_device).cpu().numpy()
        np.testing.assert_allclose(race, prf.race(Stream.DRAFT, contexts, tokens), rtol=1e-14)
    if isinstance(prf, KeyedPrf):
        bits = prf.bits(Stream.DRAFT, contexts, on_device)
        assert np.array_equal(bits.cpu().numpy(), prf.bits(Stream.DRAFT, contexts, tokens))


@pytest.mark.parametrize(
    ("batch", "tokens", "shape"),
    [
        ((), (6,), (6,)),
        ((5,), (6,), (5, 6)),
        ((5,), (5, 1), (5, 1)),
        ((2, 3), (6,), (2, 3, 6)),
        ((2, 3), (3, 6), (2, 3, 6)),
        ((2, 1), (1, 3, 6), (2, 3, 6)),
        ((3,), (2, 1, 6), (2, 3, 6)),
        ((), (2, 3, 6), (2, 3, 6)),
        ((0,), (6,), (0, 6)),
        ((4,), (4, 0), (4, 0)),
        ((1,), (0,), (1, 0)),
    ],
)
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_shapes_broadcast(batch, tokens, shape, library):
    rng = np.random.default_rng(0)
    contexts, ids = rng.integers(0, 50_000, (*batch, 4)), rng.integers(0, 50_000, tokens)
    u = PRF.uniform(Stream.SHARED, contexts, torch.from_numpy(ids) if library == "torch" else ids)
    assert tuple(u.shape) == shape
    assert tuple(PRF.coin(contexts).shape) == batch
    contexts, ids = np.broadcast_to(contexts, (*shape[:-1], 4)), np.broadcast_to(ids, shape)
    for index in np.ndindex(shape):
        alone = PRF.uniform(Stream.SHARED, contexts[index[:-1]], ids[index].reshape(1))
        assert float(u[index]) == alone[0]


def test_whole_vocabulary_equals_single_tokens():
    contexts = np.random.default_rng(0).integers(0, 49_152, (9, 4))
    whole = PRF.race(Stream.DRAFT, contexts, np.arange(49_152))
    tokens = np.random.default_rng(1).integers(0, 49_152, (9, 3))
    assert np.array_equal(PRF.race(Stream.DRAFT, contexts, tokens), np.take_along_axis(whole, tokens, -1))
    for row, context in enumerate(contexts):
        assert np.array_equal(PRF.race(Stream.DRAFT, context, np.arange(49_152)), whole[row])


def test_large_batches_are_worked_on_in_blocks_without_a_seam():
    rng = np.random.default_rng(1)
    contexts, tokens = rng.integers(0, 50_000, (35_000, 2, 4)), rng.integers(0, 50_000, (35_000, 1, 1))
    bits = PRF.bits(Stream.SHARED, contexts, tokens)
    assert bits.shape == (35_000, 2, 1)
    for i, j in itertools.product((0, 16_383, 16_384, 32_767, 32_768, 34_999), (0, 1)):
        assert bits[i, j] == PRF.bits(Stream.SHARED, contexts[i, j], tokens[i, 0])


def test_expand_takes_functions_that_widen():
    doubled = expand(
        lambda s, t: np.concatenate([s[..., :1] + t, t - s[..., :1]], -1),
        np.arange(40_000)[:, None],
        np.arange(2),
    )
    assert doubled.shape == (40_000, 4)
    assert doubled[39_999].tolist() == [39_999, 40_000, -39_999, -39_998]


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64, np.uint32])
def test_integer_types_do_not_matter(dtype):
    contexts, tokens = np.array([1, 2, 3, 4]), np.arange(200)
    assert np.array_equal(
        PRF.uniform(Stream.SHARED, contexts.astype(dtype), tokens.astype(dtype)),
        PRF.uniform(Stream.SHARED, contexts, tokens),
    )


def test_arguments_are_left_as_they_were():
    tokens, contexts = torch.arange(100), np.arange(8).reshape(2, 4)
    PRF.race(Stream.SHARED, contexts, tokens)
    PRF.bits(Stream.SHARED, contexts, tokens.numpy())
    assert torch.equal(tokens, torch.arange(100))
    assert np.array_equal(contexts, np.arange(8).reshape(2, 4))


@pytest.mark.parametrize(
    ("contexts", "tokens", "message"),
    [
        (np.zeros((2, 3), int), np.arange(3), r"contexts have shape \(2, 3\).*4 token ids"),
        (np.array(3), np.arange(3), r"contexts have shape \(\)"),
        (np.zeros(4), np.arange(3), "contexts hold float64.*integer"),
        (np.zeros(4, bool), np.arange(3), "contexts hold bool.*integer"),
        (CONTEXT, np.arange(3.0), "tokens hold float64.*integer"),
        (CONTEXT, torch.arange(3.0), r"tokens hold torch.float32.*integer"),
        (CONTEXT, np.array([True]), "tokens hold bool.*integer"),
        (CONTEXT, np.array([4, PAD]), "tokens hold the id -1.*padding"),
        (CONTEXT, torch.tensor([4, -7]), "tokens hold the id -7.*padding"),
        (CONTEXT, np.array(4), "tokens have no axis"),
        (CONTEXT, [1, 2], "tokens are list.*array"),
    ],
)
def test_malformed_arguments(contexts, tokens, message):
    for call in (PRF.uniform, PRF.race, PRF.bits):
        with pytest.raises(ValueError, match=message):
            call(Stream.SHARED, contexts, tokens)
    if message.startswith("contexts"):
        with pytest.raises(ValueError, match=message):
            PRF.coin(contexts)


def test_malformed_streams_words_and_parameters():
    with pytest.raises(ValueError, match="bonus"):
        PRF.race("bonus", CONTEXT, TOKENS)
    with pytest.raises(ValueError, match=r"word=-1.*rounds"):
        PRF.bits(Stream.SHARED, CONTEXT, TOKENS, -1)
    for width in (0, 65, 4.0, "4"):
        with pytest.raises(ValueError, match=r"context_width=.*1 to 64"):
            KeyedPrf(Key(SECRET), width)
    with pytest.raises(ValueError, match=r"bytes.*Key"):
        KeyedPrf(SECRET)


def test_it_is_a_prf_that_does_not_show_its_key():
    assert isinstance(PRF, Prf)
    assert not PRF.pads_contexts
    assert PRF.context_width == 4
    assert PRF.fingerprint == Key(SECRET).fingerprint
    assert PRF.fingerprint in repr(PRF)
    assert SECRET.hex()[:8] not in repr(PRF)
    assert repr(SECRET)[2:20] not in repr(PRF)


def test_parse_prf():
    key = Key(SECRET)
    assert parse_prf("blake2b-splitmix-v1", key) == KeyedPrf(key, 2)
    assert parse_prf("blake2b-splitmix-v1", key, 3) == KeyedPrf(key, 3)
    assert parse_prf("vllm-philox-v1", 42) == VllmPhilox(42, 4)
    assert parse_prf("vllm-philox-v1", 42, 5) == VllmPhilox(42, 5)
    assert {parse_prf(name, k).name for name, k in zip(PRF_NAMES, (key, 42), strict=True)} == set(PRF_NAMES)
    with pytest.raises(ValueError, match=r"'md5'.*blake2b-splitmix-v1, vllm-philox-v1"):
        parse_prf("md5", key)
    with pytest.raises(ValueError, match=r"secret bytes.*tradeoff key new"):
        parse_prf("blake2b-splitmix-v1", 42)
    with pytest.raises(ValueError, match="integer master key"):
        parse_prf("vllm-philox-v1", key)


# From 64 bits to (0, 1).


def test_the_map_to_the_unit_interval_at_its_ends():
    least, greatest = open_unit(np.array([0, -1]))
    assert least == np.nextafter(2.0**-53, 0)
    assert greatest == 1 - 2.0**-53
    assert 0 < least < greatest < 1
    race = -np.log(np.array([least, greatest]))
    assert (race > 0).all()
    assert np.isfinite(race).all()


def test_the_map_to_the_unit_interval_is_injective():
    # u is the float just below (m + 1) / 2^53: strictly increasing in m.
    edges = np.array([2**k + d for k in range(2, 53) for d in (-2, -1, 0, 1)] + [2**53 - 2, 2**53 - 1])
    m = np.unique(np.append(edges, np.random.default_rng(0).integers(0, 1 << 53, 100_000)))
    u = open_unit(m << 11)
    assert np.array_equal(u, np.nextafter((m + 1.0) * 2.0**-53, 0))
    assert (np.diff(u) > 0).all()
    assert np.array_equal(open_unit((m << 11) | 2047), u)
    assert np.array_equal(np.floor(u * 2.0**53), m)


# Statistics.


@pytest.mark.parametrize("stream", STREAMS)
def test_uniform_law(stream):
    u = uniforms(stream=stream)
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > ALPHA
    m = np.floor(u * 2.0**53).astype(np.int64)
    for digits in (np.floor(u * 1024).astype(int), m & 1023, m >> 20 & 1023):
        assert chi_square_p(np.bincount(digits, minlength=1024), np.full(1024, N / 1024)) > ALPHA


def test_race_law():
    race = PRF.race(Stream.TARGET, CONTEXT, TOKENS)
    assert race.min() > 0
    assert np.isfinite(race).all()
    assert stats.kstest(race, "expon").pvalue > ALPHA
    assert np.array_equal(race, -np.log(uniforms(stream=Stream.TARGET)))


def test_coin_law():
    contexts = np.stack(np.meshgrid(np.arange(200), np.arange(100), [3], [4], indexing="ij"), -1)
    coin = PRF.coin(contexts)
    assert coin.shape == contexts.shape[:-1] == (200, 100, 1, 1)
    assert coin.dtype == np.float64
    assert stats.kstest(coin.ravel(), "uniform").pvalue > ALPHA
    assert independence_p(coin[:-1], coin[1:], 8) > ALPHA
    assert independence_p(coin[:, :-1], coin[:, 1:], 8) > ALPHA
    # One coin a context, one token a context: the law across contexts.
    u = PRF.uniform(Stream.ACCEPTANCE, contexts, np.array([0]))[..., 0]
    assert stats.kstest(u.ravel(), "uniform").pvalue > ALPHA
    assert independence_p(coin, u, 8) > ALPHA


@pytest.mark.parametrize("word", [0, 1])
def test_bits_are_fair_and_uncorrelated(word):
    bits = bit_matrix(PRF.bits(Stream.SHARED, CONTEXT, TOKENS, word)).astype(np.float64) - 0.5
    assert np.abs(2 * bits.sum(axis=0)).max() < Z * np.sqrt(N)
    # 2,016 pairs at once: Bonferroni keeps the level of the whole.
    correlation = 4 * (bits.T @ bits) / np.sqrt(N)
    pairs = np.abs(correlation[np.triu_indices(64, 1)])
    assert pairs.max() < stats.norm.isf(ALPHA / 2 / len(pairs))
    lagged = 4 * (bits[1:].T @ bits[:-1]) / np.sqrt(N - 1)
    assert np.abs(lagged).max() < stats.norm.isf(ALPHA / 2 / lagged.size)


def test_avalanche():
    # Flipping any bit of the token id flips every output bit with probability 1/2.
    tokens = np.random.default_rng(0).permutation(1 << 17)[:20_000]
    before = bit_matrix(PRF.bits(Stream.SHARED, CONTEXT, tokens))
    for flipped in range(18):
        after = bit_matrix(PRF.bits(Stream.SHARED, CONTEXT, tokens ^ (1 << flipped)))
        changes = before ^ after
        # A pair {t, t ^ bit} can be counted from both ends: at most a doubled variance.
        error = np.sqrt(0.25 / len(tokens)) * np.sqrt(2)
        assert np.abs(changes.mean(axis=0) - 0.5).max() < stats.norm.isf(ALPHA / 2 / 64) * error
        assert abs(changes.sum(axis=1).mean() - 32) < Z * 4 * np.sqrt(2 / len(tokens))


def test_tokens_at_any_distance_are_independent():
    u = uniforms(tokens=np.arange(2 * N))
    for distance in [1, 2, 3, 5, 49_152, 65_535, 65_536, 65_537, *(1 << k for k in range(2, 18))]:
        assert independence_p(u[:N], u[distance : N + distance]) > ALPHA, distance


def test_serial_triples_along_the_token_axis():
    digits = np.floor(uniforms(tokens=np.arange(3 * N)) * 16).astype(int).reshape(-1, 3)
    counts = np.bincount(digits @ [1, 16, 256], minlength=4096)
    assert chi_square_p(counts, np.full(4096, N / 4096)) > ALPHA


def test_one_context_gives_distinct_bits_to_all_tokens():
    assert len(np.unique(PRF.bits(Stream.SHARED, CONTEXT, TOKENS))) == N


def all_independent(samples: list[np.ndarray]) -> None:
    for (i, first), (j, second) in itertools.combinations(enumerate(samples), 2):
        assert independence_p(first, second) > ALPHA, (i, j)


def test_streams_purposes_and_words_are_independent():
    samples = [uniforms(stream=stream) for stream in STREAMS]
    samples += [
        open_unit(PRF.bits(stream, CONTEXT, TOKENS, word))
        for stream, word in (
            (Stream.SHARED, 0),
            (Stream.SHARED, 1),
            (Stream.ACCEPTANCE, 0),
            (Stream.DRAFT, 2),
        )
    ]
    all_independent(samples)


def test_contexts_are_independent():
    contexts = np.array(
        [
            [1, 2, 3, 4],
            [1, 2, 3, 5],
            [0, 2, 3, 4],
            [4, 3, 2, 1],
            [2, 1, 3, 4],
            [1, 2, 3, 4 + 65_536],
            [PAD, 2, 3, 4],
            [1, 2, 3, 4 + (1 << 32)],
        ]
    )
    all_independent(list(PRF.uniform(Stream.SHARED, contexts, TOKENS)))


def test_context_widths_are_independent():
    all_independent(
        [uniforms(KeyedPrf(Key(SECRET), w), context=[0] * (w - 1) + [7]) for w in (1, 2, 3, 4, 8, 64)]
    )


def test_keys_are_independent():
    secrets = [
        SECRET,
        bytes([SECRET[0] ^ 1]) + SECRET[1:],
        SECRET[:-1] + bytes([SECRET[-1] ^ 128]),
        SECRET + b"\0",
        SECRET * 3,
        SECRET * 2 + bytes(32),
    ]
    all_independent([uniforms(KeyedPrf(Key(secret), 4)) for secret in secrets])


def test_tokens_across_contexts_are_uniform():
    # What a detector sees: one token at each of many consecutive contexts.
    text = np.random.default_rng(0).zipf(1.3, 50_000) % 5000
    contexts = np.lib.stride_tricks.sliding_window_view(text[:-1], 4)
    contexts, first = np.unique(contexts, axis=0, return_index=True)
    u = PRF.uniform(Stream.SHARED, contexts, text[4:][first][:, None])
    assert len(u) > 10_000
    assert stats.kstest(u.ravel(), "uniform").pvalue > ALPHA
