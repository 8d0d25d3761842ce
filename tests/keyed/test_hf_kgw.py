"""The lists of Transformers' WatermarkingConfig: vectors of its processor, and what follows from rules."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keyed import hf_kgw_vectors
from tradeoff.keyed import HfKgw, HfKgwSettings, Kind, Stream, VllmPhilox, parse_prf, prf_type
from tradeoff.keyed.hf_kgw import _hash_table, _Lists

VECTORS = json.loads(hf_kgw_vectors.FILE.read_text())["vectors"]
#: Of the specification of the format: (scheme, V, gamma, key, width, prefix, favoured, seeds by candidate).
PUBLISHED = [
    ("lefthash", 32, 0.25, 15485863, 1, [3, 17], [0, 6, 13, 17, 22, 23, 28, 30], {0: 263259671}),
    (
        "lefthash",
        32,
        0.5,
        8589934599,
        2,
        [9, 30],
        [0, 1, 2, 4, 7, 10, 12, 13, 14, 15, 17, 18, 22, 26, 27, 30],
        {0: 210},
    ),
    ("lefthash", 20, 0.3, 987654321987, 1, [1000000], [2, 7, 10, 12, 17, 18], {0: 2129270464}),
    ("selfhash", 48, 0.25, 15485863, 1, [5], [4, 17, 18, 20], {4: 229074332}),
    (
        "selfhash",
        48,
        0.5,
        15485863,
        4,
        [11, 2, 40, 7],
        [2, 4, 5, 6, 10, 11, 12, 17, 18, 23, 24, 26, 29, 30, 31, 36, 38, 39, 41, 44, 45, 46],
        {2: 2881579551},
    ),
    (
        "selfhash",
        64,
        0.25,
        4611686018427487895,
        3,
        [1000010, 63, 12],
        [41, 50, 52, 59],
        {41: 2763892004},
    ),
]
PERMUTATIONS = {
    0: [12, 10, 9, 6, 11, 8, 13, 5, 2, 14, 15, 0, 4, 3, 7, 1],
    4294967297: [5, 15, 6, 4, 11, 2, 7, 12, 1, 0, 9, 8, 10, 3, 13, 14],
}


def permutation(seed: int, n: int, steps: int) -> list[int]:
    """As the rules say: one exchange after another."""
    draws = np.random.RandomState(seed & 0xFFFFFFFF).randint(0, 1 << 32, steps, dtype=np.uint32).tolist()
    places = list(range(n))
    for i, draw in enumerate(draws):
        z = i + draw % (n - i)
        places[i], places[z] = places[z], places[i]
    return places


def favoured(prf: HfKgw, prefix: list[int]) -> np.ndarray:
    """Token ids [m] that generation favours after a prefix, if scores are those of the vectors."""
    contexts, n = np.array([prefix[-prf.context_width :]]), prf.settings.vocabulary
    order = np.argsort(-hf_kgw_vectors.scores(n), kind="stable")
    tokens = np.sort(order[: prf.settings.most]) if prf.settings.selfhash else np.arange(n)
    return tokens[prf.lists(Stream.SHARED, contexts, tokens, prf.settings.gamma)[0]]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['scheme']}-{v['vocabulary']}-{v['width']}")
def test_lists_are_those_of_the_processor_of_transformers(vector):
    settings = HfKgwSettings(vector["vocabulary"], vector["gamma"], vector["scheme"] == "selfhash")
    prf = settings(vector["key"], vector["width"])
    for prefix, expected in zip(vector["prefixes"], vector["favoured"], strict=True):
        assert hf_kgw_vectors.told(favoured(prf, prefix), vector["vocabulary"]) == expected


@pytest.mark.parametrize("vector", [v for v in hf_kgw_vectors.SETTINGS if v["vocabulary"] < 2000])
def test_vectors_are_what_the_processor_says_now(vector):
    (stored,) = [one for one in VECTORS if all(one[name] == value for name, value in vector.items())]
    assert hf_kgw_vectors.favoured(vector) == stored["favoured"]


@pytest.mark.parametrize("case", PUBLISHED)
def test_published_vectors(case):
    scheme, n, gamma, key, width, prefix, expected, seeds = case
    prf = HfKgwSettings(n, gamma, scheme == "selfhash")(key, width)
    assert favoured(prf, prefix).tolist() == expected
    for token, seed in seeds.items():
        assert prf.seeds(np.array([prefix[-width:]]), np.array([[token]]))[0, 0] == seed


def test_published_permutations():
    for seed, expected in PERMUTATIONS.items():
        assert permutation(seed, 16, 15) == expected
        for size in range(1, 16):
            lists = _Lists(16, size)
            assert np.flatnonzero(lists.whole(seed & 0xFFFFFFFF)).tolist() == sorted(expected[:size])
    assert _hash_table(15485863, 48)[:4].tolist() == [138280, 994103, 467886, 915329]
    assert _hash_table(4611686018427487895 & 0xFFFFFFFF, 48)[:4].tolist() == [678434, 334998, 982804, 946411]


def test_the_table_of_self_hashing_is_the_whole_permutation():
    whole = _hash_table(77, 1_000_003)
    assert whole.tolist() == permutation(77, 1_000_003, 1_000_002)
    assert np.array_equal(whole[:3000], _hash_table(77, 3000))


@given(st.integers(2, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_a_list_is_the_beginning_of_a_permutation_however_it_is_asked_for(n, data):
    size, seed = data.draw(st.integers(1, n - 1)), data.draw(st.integers(0, 2**32 - 1))
    lists, expected = _Lists(n, size), np.isin(np.arange(n), permutation(seed, n, size)[:size])
    assert np.array_equal(lists.whole(seed), expected)
    every = np.arange(n)
    # Seeds in any order, some of them twice.
    seeds, tokens = np.repeat([seed, seed ^ 1, seed], n), np.concatenate([every[::-1], every, every])
    for look in (lists.members, lists.answers, lists.answers):
        found = look(seeds, tokens)
        assert np.array_equal(found[:n], expected[::-1])
        assert np.array_equal(found[2 * n :], expected)
        assert np.array_equal(found[n : 2 * n], lists.whole(seed ^ 1))


def test_what_is_remembered_is_bounded_and_changes_nothing(monkeypatch):
    monkeypatch.setattr("tradeoff.keyed.hf_kgw._ANSWERS", 10)
    lists = _Lists(50, 20)
    lists._most = 3
    rng = np.random.default_rng(0)
    seeds, tokens = rng.integers(0, 30, 200), rng.integers(0, 50, 200)
    expected = np.array([t in permutation(s, 50, 20)[:20] for s, t in zip(seeds, tokens, strict=True)])
    for _ in range(2):
        assert np.array_equal(lists.members(seeds, tokens), expected)
        assert np.array_equal(lists.answers(seeds, tokens), expected)
    assert len(lists._packed) <= 3
    assert len(lists._known) <= 10


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_seeds_of_left_hash_are_exact_integers(key, token):
    prf = HfKgwSettings(100)(key)
    assert prf.seeds(np.array([[token]]), np.zeros((1, 1), int))[0, 0] == key * token % (2**64 - 1) % 2**32


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 3_000_000), min_size=4, max_size=4))
@settings(max_examples=20, deadline=None)
def test_seeds_of_self_hash_are_the_least_signed_product(key, ids):
    prf = HfKgwSettings(100, selfhash=True)(key, 3)
    *context, own = ids
    table = _hash_table(key & 0xFFFFFFFF, 1_000_003)
    a, b = [int(table[x % 1_000_003]) + 1 for x in (*context[1:], own)], int(table[own % 1_000_003]) + 1
    signed = [(key * x * b + 2**63) % 2**64 - 2**63 for x in a]
    assert prf.seeds(np.array([context]), np.array([[own]]))[0, 0] == min(signed) % (2**64 - 1) % 2**32


def test_peculiarities_of_the_format():
    every, rng = np.arange(500), np.random.default_rng(1)
    contexts = rng.integers(1, 400, (20, 3))

    def lists(prf, contexts):
        return prf.lists(Stream.SHARED, contexts, every, 0.25)

    left, own = HfKgwSettings(500), HfKgwSettings(500, selfhash=True)
    # Token 0 has one list under all keys; a key and the one 2^32 above have the same lists.
    assert np.array_equal(lists(left(11), [[0]]), lists(left(12), [[0]]))
    assert np.array_equal(lists(left(11), contexts[:, :1]), lists(left(11 + 2**32), contexts[:, :1]))
    # The width of left-hash says nothing.
    assert np.array_equal(lists(left(11, 3), contexts), lists(left(11), contexts[:, -1:]))
    # Self-hash of width 1 has one list; of width 3 the last two tokens matter.
    assert (lists(own(11), contexts[:, :1]) == lists(own(11), [[0]])).all()
    moved = contexts.copy()
    moved[:, 0] = 0
    assert np.array_equal(lists(own(11, 3), contexts), lists(own(11, 3), moved))
    assert not np.array_equal(lists(own(11, 3), contexts), lists(own(11, 3), contexts[:, ::-1]))


@pytest.mark.parametrize("selfhash", [False, True])
def test_single_tokens_and_whole_vocabularies_agree_in_numpy_and_torch(selfhash):
    prf = HfKgwSettings(300, 0.3, selfhash)(5, 2)
    contexts, every = np.random.default_rng(0).integers(0, 300, (3, 4, 2)), np.arange(310)
    green = prf.lists(Stream.SHARED, contexts, every, 0.3)
    assert green.shape == (3, 4, 310)
    # Lists have int(300 * 0.3) tokens, of which none is beyond the vocabulary.
    assert not green[..., 300:].any()
    if not selfhash:
        assert (green.sum(axis=-1) == 90).all()
    some = np.random.default_rng(1).integers(0, 310, (3, 4, 5))
    found = prf.lists(Stream.SHARED, contexts, torch.from_numpy(some), 0.3)
    assert isinstance(found, torch.Tensor)
    assert np.array_equal(found.numpy(), np.take_along_axis(green, some, axis=-1))


@pytest.mark.parametrize("selfhash", [False, True])
def test_equal_origins_have_equal_numbers(selfhash):
    prf = HfKgwSettings(20, 0.5, selfhash)(15485863, 2)
    rng = np.random.default_rng(2)
    contexts, tokens = rng.integers(0, 20, (4000, 2)), rng.integers(0, 25, 4000)
    origins = prf.origins(contexts, tokens)
    seeds = prf.seeds(contexts, tokens[:, None])[:, 0]
    assert np.array_equal(prf.seeds_of(origins), seeds)
    pairs = {(int(s), min(int(t), 20)) for s, t in zip(seeds, tokens, strict=True)}
    assert len(set(origins.tolist())) == len(pairs)
    green = prf.lists(Stream.SHARED, contexts, tokens[:, None], 0.5)[:, 0]
    told = dict(zip(origins.tolist(), green.tolist(), strict=True))
    assert [told[one] for one in origins.tolist()] == green.tolist()


def test_names_have_one_spelling():
    for told, name in {
        "hf-kgw:49152": "hf-kgw:49152",
        "hf-kgw:49152,lefthash,gamma=.25": "hf-kgw:49152",
        "hf-kgw:49152,selfhash,gamma=.5": "hf-kgw:49152,gamma=0.5,selfhash",
    }.items():
        assert prf_type(told).name == parse_prf(told, 7).name == name
        assert prf_type(name) == prf_type(told)
    prf = parse_prf("hf-kgw:49152", 7)
    assert (prf.context_width, prf.pads_contexts, prf.reads_prompt, prf.memory) == (1, False, True, 0)
    assert prf.fingerprint == VllmPhilox(7).fingerprint
    assert prf.same_positions != parse_prf("hf-kgw:49152", 8).same_positions


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf-kgw", "size of the vocabulary"),
        ("hf-kgw:gamma=0.5", "size of the vocabulary"),
        ("hf-kgw:1", "vocabulary=1"),
        ("hf-kgw:300000000", "vocabulary=300000000"),
        ("hf-kgw:100,gamma=1.5", "gamma=1.5"),
        ("hf-kgw:3,gamma=0.1", "lists of 0 of 3"),
        ("hf-kgw:100,gamma=x", "has the setting 'gamma=x'"),
        ("hf-kgw:100,selfhash,lefthash", "has the setting 'lefthash'"),
        ("hf-kgw:100,width=2", "has the setting 'width=2'"),
    ],
)
def test_malformed_names_are_refused(name, words):
    with pytest.raises(ValueError, match=words):
        prf_type(name)


def test_what_it_does_not_have_is_refused():
    prf = HfKgwSettings(100)(5)
    contexts, tokens = np.array([[1]]), np.array([1])
    assert prf.supplies == {Kind.LISTS}
    with pytest.raises(ValueError, match="does not define a race; with it use the methods basic"):
        prf.race(Stream.SHARED, contexts, tokens)
    with pytest.raises(ValueError, match="does not define a stream 'draft'"):
        prf.lists(Stream.DRAFT, contexts, tokens, 0.25)
    with pytest.raises(ValueError, match=r"gamma=0.5 is not that of"):
        prf.lists(Stream.SHARED, contexts, tokens, 0.5)
    with pytest.raises(ValueError, match="below 2\\^32"):
        prf.lists(Stream.SHARED, np.array([[1 << 32]]), tokens, 0.25)
    with pytest.raises(ValueError, match="use hf-kgw:120"):
        prf.check_vocabulary(120)
    with pytest.raises(ValueError, match="key is 65 bits long; hf-kgw:100 takes an integer of 0 to"):
        HfKgwSettings(100)(1 << 64)


def test_the_key_is_not_shown():
    prf = HfKgwSettings(100)(987654321)
    assert "987654321" not in repr(prf)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(prf)
