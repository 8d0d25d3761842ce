"""What is right passes, what is wrong is told by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tradeoff.checks import check_decoder, check_method
from tradeoff.decoders import Completed, GumbelMax, Identity, SynthID, heavy_water, simplex_water
from tradeoff.kernels import METHODS, Algorithm1, Method, OneRaceTree, drawn, random_coin
from tradeoff.keyed.prf import Stream

P, Q = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
DECODERS = [
    GumbelMax(),
    Identity(),
    SynthID(3),
    SynthID(),
    simplex_water(4),
    heavy_water(k=32),
    Completed(SynthID(2)),
]


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda d: d.name)
def test_decoders_that_are_unbiased_pass(decoder):
    entropy = -(P * np.log(P)).sum()
    strength = check_decoder(decoder, P)
    assert strength.value < entropy + 5 * strength.standard_error + 1e-9
    if decoder.degenerate:
        assert abs(strength.value - entropy) < 5 * strength.standard_error + 1e-9


@pytest.mark.parametrize("name", METHODS)
def test_methods_that_keep_the_target_pass(name):
    others = {
        "standard": Identity(),
        "joint-transport": simplex_water(4),
        "joint-tournament": SynthID(3),
        "joint-race-marked": Completed(SynthID(3)),
    }
    method = METHODS[name].make(others.get(name, GumbelMax()))
    share = check_method(method, P, Q)
    if method.full_efficiency:
        assert abs(share.value - np.minimum(P, Q).sum()) < 5 * share.standard_error
    assert (share.value > 0) is method.drafts
    check_method(OneRaceTree(width=3), P, Q)


@dataclass(frozen=True)
class _Sharpened(SynthID):
    """The likelier of its laws' tokens, as some take after a few rounds: biased."""

    def __call__(self, p, zeta):
        law = super().__call__(p, zeta) ** 2
        return law / law.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class _Unnormalised(SynthID):
    def __call__(self, p, zeta):
        return 1.1 * super().__call__(p, zeta)


def test_decoders_that_are_wrong_are_told():
    with pytest.raises(ValueError, match=r"is biased: the mean of the P_zeta is 0\.[45]"):
        check_decoder(_Sharpened(2), P)
    with pytest.raises(ValueError, match=r"sums are off by 0\.1"):
        check_decoder(_Unnormalised(2), P)
    with pytest.raises(ValueError, match="seeds=9"):
        check_decoder(GumbelMax(), P, seeds=9)


@dataclass(frozen=True)
class _AlwaysAccepts(Method):
    name = "always"
    columns = Algorithm1.columns._replace(accept=lambda method, p, q, draft, randomness: draft == draft)
    detection = Algorithm1.detection


@dataclass(frozen=True)
class _BonusFromTheDraft(Method):
    name = "bonus"
    columns = Algorithm1.columns._replace(
        accept=random_coin, bonus=lambda method, p, randomness: drawn(Stream.TARGET)(method, p**2, randomness)
    )
    detection = Algorithm1.detection


def test_methods_that_are_wrong_are_told():
    with pytest.raises(ValueError, match=r"always is biased: the mean of the token is .* where P has 0\.4"):
        check_method(_AlwaysAccepts(GumbelMax()), P, Q)
    with pytest.raises(ValueError, match="bonus is biased: the mean of the bonus token"):
        check_method(_BonusFromTheDraft(GumbelMax()), P, Q)
