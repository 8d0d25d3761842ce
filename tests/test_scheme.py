"""Schemes: what a generator and a detector agree on, by names and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tradeoff as td
from tradeoff.decoders import heavy_water, parse_decoder, simplex_water
from tradeoff.detection import Aaronson, RaceBets, SumOfKeys, WeightedSumOfKeys
from tradeoff.kernels import (
    METHODS,
    Algorithm1,
    JointRace,
    JointRaceTree,
    OneRace,
    OneRaceTree,
    Standard,
    joint_name,
)
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.formats import PRF_NAMES
from tradeoff.keyed.keys import Key
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Stream
from tradeoff.scheme import Scheme, Sight

WATERMARKS = ["gumbel", "synthid:3", "synthid:inf", "simplexwater:4", "completed:heavywater:gamma,k=16"]


def carried(method: str, watermark: str) -> bool:
    decoder = parse_decoder(watermark)
    return METHODS[method].carries(decoder)


SCHEMES = [
    Scheme.of(method, watermark)
    for method in METHODS
    for watermark in WATERMARKS
    if method != "standard" and carried(method, watermark)
]


def test_the_defaults_are_those_of_the_command_line():
    scheme = Scheme.of()
    assert scheme == Scheme(method=JointRace(), prf=PRF_NAMES[0], context_width=2)
    assert Scheme.of("standard") == Scheme(method=Standard(), prf=PRF_NAMES[0], context_width=2)
    assert Scheme.of("one-race", prf="vllm-philox-v1").context_width == 4, "vLLM's own default"
    assert Scheme.of("one-race-tree", width=3).method == OneRaceTree(width=3)
    assert Scheme.of(width=3).method == JointRaceTree(width=3)
    assert Scheme.of(watermark="none") == Scheme.of("standard")


@pytest.mark.parametrize("watermark", [*WATERMARKS, "none"])
def test_left_out_the_method_is_joint_and_its_own_name_is_kept(watermark):
    scheme = Scheme.of(watermark=watermark)
    assert scheme == Scheme.of("joint", watermark)
    assert scheme.to_dict()["method"] == joint_name(parse_decoder(watermark)) in METHODS


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.label)
def test_names_and_back(scheme):
    assert Scheme.of_dict(scheme.to_dict()) == scheme
    assert Scheme.of(scheme.method.name, scheme.watermark, width=None) == scheme
    assert "key" not in scheme.to_dict()


@given(
    st.sampled_from([s for s in SCHEMES if "synthid" not in s.watermark]),
    st.integers(1, 64),
    st.sampled_from([None, *PRF_NAMES]),
)
def test_width_and_function_are_kept(scheme, width, prf):
    try:
        changed = Scheme.of(scheme.method, prf=prf, context_width=width)
    except ValueError as error:
        assert "does not define" in str(error)  # noqa: PT017
        assert prf == VllmPhilox.name
        return
    assert Scheme.of_dict(changed.to_dict()) == changed
    assert (changed.context_width, changed.prf) == (width, prf or PRF_NAMES[0])


def test_what_other_versions_wrote_is_passed_over():
    assert Scheme.of_dict(Scheme.of().to_dict() | {"temperature": 0.7}) == Scheme.of()
    with pytest.raises(ValueError, match="watermark is missing"):
        Scheme.of_dict({"method": "one-race"})


def test_its_function_holds_the_key_and_it_does_not():
    key = Key(bytes(range(32)))
    scheme = Scheme.of("algorithm-1", "synthid:5", context_width=2)
    assert scheme.function(key) == KeyedPrf(key, 2)
    assert key.fingerprint not in repr(scheme)
    assert Scheme.of(prf=VllmPhilox.name).function(7) == VllmPhilox(7, 4)
    with pytest.raises(ValueError, match="not an integer"):
        scheme.function(7)


def test_its_detector_and_bets_are_those_of_the_streams_that_draw():
    assert Scheme.of().detector() == Aaronson()
    assert Scheme.of("two-keys").detector() == SumOfKeys()
    assert Scheme.of("two-keys", alpha=0.2).detector() == WeightedSumOfKeys(0.2)
    assert Scheme.of("dual-key").detector() == WeightedSumOfKeys(0.1)
    assert Scheme.of("algorithm-1").bets() == RaceBets((Stream.DRAFT, Stream.TARGET), True)
    with pytest.raises(ValueError, match="no watermark to detect"):
        Scheme.of("standard").detector()


def test_weights_of_keys_stand_in_dictionaries_where_there_are_some():
    for name in ("two-keys", "dual-key", "algorithm-1"):
        scheme = Scheme.of(name, alpha=0.25)
        assert scheme.to_dict()["alpha"] == 0.25
        assert Scheme.of_dict(scheme.to_dict()) == scheme
        assert scheme.label == f"{name} with Gumbel-max, alpha 0.25"
    assert "alpha" not in Scheme.of("two-keys").to_dict()
    with pytest.raises(ValueError, match=r"alpha='0\.1' is no float"):
        Scheme.of_dict({"method": "dual-key", "watermark": "gumbel", "alpha": "0.1"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "magic"}, "method='magic' is unknown; use one of basic"),
        ({"watermark": "magic"}, "watermark='magic' is unknown; use gumbel"),
        ({"watermark": "synthid:inf", "width": 2}, "width=2 is for one-race-tree and joint-race-tree"),
        ({"method": "single-key", "watermark": "synthid:5"}, "pass a method that carries it"),
        ({"method": "standard", "watermark": "gumbel"}, "carries no watermark"),
        ({"method": "two-keys", "watermark": "none"}, "needs a watermark"),
        ({"method": OneRace(), "watermark": "gumbel"}, "holds its watermark"),
        ({"method": "joint-race", "width": 3}, "width=3 is for one-race-tree and joint-race-tree"),
        ({"method": OneRace(), "alpha": 0.1}, "holds its watermark, width and alpha already"),
        ({"alpha": 0.1}, "joint-race has no two keys, so name one of those, or leave alpha out"),
        ({"method": "two-keys", "alpha": 1.0}, "alpha=1.0 must be a number above 0 and below 1"),
        ({"prf": "magic"}, "prf='magic' is unknown"),
        ({"context_width": 0}, "context_width=0"),
        ({"method": "algorithm-1", "prf": VllmPhilox.name}, "does not define"),
    ],
)
def test_what_does_not_fit_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Scheme.of(**arguments)


# What a detector sees of other texts


def test_a_scheme_sees_itself_whole():
    for scheme in SCHEMES:
        assert scheme.sees(scheme) is Sight.WHOLE


def test_nothing_is_seen_of_other_numbers_or_without_a_watermark():
    scheme = Scheme.of()
    assert scheme.sees(Scheme.of(context_width=5)) is Sight.NOTHING
    assert scheme.sees(Scheme.of(prf=VllmPhilox.name)) is Sight.NOTHING
    assert scheme.sees(Scheme.of("standard")) is Sight.NOTHING
    assert Scheme.of("standard").sees(scheme) is Sight.NOTHING


def test_streams_in_common_are_seen_in_part():
    assert Scheme.of("two-keys").sees(Scheme.of("keep-efficiency")) is Sight.PART
    assert Scheme.of("basic").sees(Scheme.of("one-race")) is Sight.WHOLE
    assert Scheme.of("basic").sees(Scheme.of("two-keys")) is Sight.NOTHING


def test_the_race_of_a_completed_watermark_is_seen_as_gumbel():
    completed, gumbel = Scheme.of("basic", "completed:synthid:3"), Scheme.of("basic")
    plain, longer = Scheme.of("basic", "synthid:3"), Scheme.of("basic", "synthid:9")
    assert gumbel.sees(completed) is Sight.PART
    assert plain.sees(completed) is Sight.PART
    assert plain.sees(longer) is Sight.PART
    assert plain.sees(gumbel) is Sight.NOTHING


def test_how_scores_were_transported_does_not_matter_and_which_they_are_does():
    def of(decoder):
        return Scheme.of("basic", decoder)

    sinkhorn = td.optimal_transport.Sinkhorn()
    assert of(heavy_water(k=16)).sees(of(heavy_water(k=16, solver=sinkhorn, head=9))) is Sight.WHOLE
    assert of(heavy_water(k=16)).sees(of(heavy_water(k=32))) is Sight.NOTHING
    assert of(heavy_water(k=15)).sees(of(simplex_water(4))) is Sight.NOTHING


def test_a_decoder_that_names_cannot_tell_is_named_for_people_alone():
    scheme = Scheme.of(Algorithm1(simplex_water(4, seed=3)))
    assert scheme.watermark == "SimplexWater (r = 4)"
    with pytest.raises(ValueError, match="no name"):
        scheme.to_dict()


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_width_of_a_tree_comes_back(width):
    scheme = Scheme.of("one-race-tree", width=width)
    assert Scheme.of_dict(scheme.to_dict()) == scheme


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"watermark": 5}, "watermark=5 is no str"),
        ({"method": ["one-race"]}, "is no str"),
        ({"width": "2"}, "width='2' is no int"),
        ({"width": True}, "width=True is no int"),
        ({"width": 3}, "width=3 is for one-race-tree"),
        ({"context_width": True}, "context_width=True is no int"),
        ({"context_width": 4.0}, "is no int"),
    ],
)
def test_what_a_record_cannot_mean_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Scheme.of_dict(Scheme.of().to_dict() | change)


def test_a_whole_number_of_rounds_has_a_name_that_is_read():
    scheme = Scheme.of("basic", td.SynthID(30.0))
    assert scheme.to_dict()["watermark"] == "synthid:30"
    assert Scheme.of_dict(scheme.to_dict()) == scheme
