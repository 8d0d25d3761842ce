"""Methods by name, and what they tell detectors of themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers.methods import SPECULATIVE, spread
from tests.helpers.support import P, Q
from tradeoff.decoders import KGW, Completed, GumbelMax, Identity, SynthID, heavy_water, parse_decoder
from tradeoff.kernels import METHODS, make_method
from tradeoff.kernels.randomness import SimulatedRandomness
from tradeoff.keyed.prf import Stream


@pytest.mark.parametrize(
    ("name", "coin"),
    [
        ("basic", "none"),
        ("dual-key", "none"),
        ("standard", "random"),
        ("keep-strength", "random"),
        ("keep-efficiency", "random"),
        ("target-only", "random"),
        ("two-keys", "random"),
        ("algorithm-1", "keyed"),
        ("joint-transport", "random"),
        ("single-key", "keyed"),
        ("one-race", "winning time"),
        ("one-race-tree", "winning time"),
        ("joint-race", "winning time"),
        ("joint-race-tree", "winning time"),
        ("joint-tournament", "random"),
        ("joint-race-marked", "winning time"),
    ],
)
def test_coins_are_named(name: str, coin: str) -> None:
    assert METHODS[name].detection.coin == coin


def test_make_method_knows_all_methods() -> None:
    assert list(METHODS) == [
        "basic",
        "standard",
        "keep-strength",
        "keep-efficiency",
        "target-only",
        "two-keys",
        "dual-key",
        "algorithm-1",
        "single-key",
        "one-race",
        "one-race-tree",
        "joint-race",
        "joint-race-tree",
        "joint-tournament",
        "joint-race-marked",
        "joint-transport",
    ]
    others = {
        "standard": Identity(),
        "joint-transport": heavy_water(),
        "joint-tournament": SynthID(),
        "joint-race-marked": Completed(KGW()),
    }
    for name in METHODS:
        decoder = others.get(name, GumbelMax())
        assert make_method(name, decoder).name == name
    assert make_method("one-race-tree", GumbelMax(), 4).width == 4
    assert make_method("one-race-tree", GumbelMax(), 64).width == 64
    assert make_method("basic", Identity()).decoder == Identity()
    assert [name for name in METHODS if METHODS[name].weighed] == ["two-keys", "dual-key", "algorithm-1"]
    assert make_method("dual-key", GumbelMax()).alpha == 0.1
    for name in ("two-keys", "dual-key", "algorithm-1"):
        assert make_method(name, GumbelMax(), alpha=0.25).alpha == 0.25


@pytest.mark.parametrize(
    ("name", "decoder", "alpha", "message"),
    [
        (
            "basic",
            GumbelMax(),
            0.1,
            "alpha=0.1 weighs the keys of two-keys, dual-key, algorithm-1; basic",
        ),
        ("joint", GumbelMax(), 0.1, "joint-race has no two keys"),
        (
            "two-keys",
            SynthID(30),
            0.1,
            "alpha=0.1 weighs the two keys of Gumbel-max; leave it out with SynthID",
        ),
        ("two-keys", GumbelMax(), 0.0, "alpha=0.0 must be a number above 0 and below 1"),
        ("dual-key", GumbelMax(), 1.5, "alpha=1.5 must be a number above 0 and below 1"),
        ("dual-key", SynthID(30), None, "dual-key needs Gumbel-max"),
        ("dual-key", Identity(), None, "needs a watermark"),
    ],
)
def test_weights_that_a_method_does_not_have(name, decoder, alpha, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_method(name, decoder, alpha=alpha)


@pytest.mark.parametrize(
    ("name", "decoder", "width", "message"),
    [
        ("two-races", GumbelMax(), None, "'two-races' is unknown; use one of basic"),
        ("standard", GumbelMax(), None, "carries no watermark"),
        ("two-keys", Identity(), None, "needs a watermark"),
        ("one-race", SynthID(30), None, "needs Gumbel-max"),
        ("single-key", SynthID(30), None, "algorithm-1 works with any decoder"),
        ("joint-tournament", SynthID(math.inf), None, "plays no tournament of finitely many rounds"),
        ("joint-tournament", GumbelMax(), None, "algorithm-1 works with any decoder"),
        ("joint-tournament", Completed(heavy_water()), None, "needs synthid:M or completed:synthid:M"),
        ("joint-race-marked", KGW(), None, "joint-race-marked needs completed:NAME"),
        ("joint-race-marked", GumbelMax(), None, "not completed"),
        ("joint-tournament", SynthID(30), 2, "joint-tournament has one candidate a level"),
        ("one-race", GumbelMax(), 3, "width=3 is for one-race-tree and joint-race-tree"),
        ("one-race-tree", GumbelMax(), 0, "width=0 must be a whole number, at least 1"),
        (
            "one-race-tree",
            GumbelMax(),
            65,
            "width=65 candidates a level are more than can be of use; pass at most 64",
        ),
    ],
)
def test_impossible_methods_are_refused(name: str, decoder, width: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_method(name, decoder, width)


def test_joint_is_the_method_whose_text_reads_best() -> None:
    """One name for all watermarks; methods carry their own names, and records hold these."""
    for spelling, width, name in [
        ("gumbel", None, "joint-race"),
        ("gumbel", 1, "joint-race"),
        ("gumbel", 3, "joint-race-tree"),
        ("none", None, "standard"),
        ("synthid:inf", None, "algorithm-1"),
        ("synthid:30", None, "joint-tournament"),
        ("completed:synthid:5", 1, "joint-tournament"),
        ("simplexwater:10", None, "joint-transport"),
        ("heavywater:lognormal,sinkhorn=0.05", 1, "joint-transport"),
        ("heavywater:lognormal,tilt=1.5", None, "algorithm-1"),
        ("completed:simplexwater:3", None, "algorithm-1"),
        ("completed:heavywater", None, "algorithm-1"),
        ("kgw:2", None, "keep-strength"),
        ("completed:kgw:hard", None, "joint-race-marked"),
    ]:
        method = make_method("joint", parse_decoder(spelling), width)
        assert (method.name, method.width) == (name, width or 1)
    with pytest.raises(ValueError, match="width=2 is for one-race-tree"):
        make_method("joint", SynthID(30), 2)


def test_detection_names_the_streams_that_were_read() -> None:
    """What a detector is told is what the method did: only those streams decide the token."""
    seeds = 5_000
    for method in SPECULATIVE:
        if method.decoder.randomness != "race":
            continue
        read: set[Stream] = set()

        class Recording(SimulatedRandomness):
            def zeta(self, stream, decoder, read=read):
                read.add(stream)
                return super().zeta(stream, decoder)

        randomness = Recording(np.random.default_rng(16), (seeds,), len(P))
        draft = method.draft(spread(Q, seeds), randomness)
        method(spread(P, seeds), spread(Q, seeds), draft, randomness)
        method.bonus(spread(P, seeds), randomness)
        assert read == method.detection.streams
