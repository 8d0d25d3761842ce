"""The threshold of Ars-τ: `fit_tau` finds the one that drew the texts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.ideal import Given
from tradeoff.detection import fit_tau
from tradeoff.keyed.prf import Stream


def two_key_texts(share: float, threshold: float, texts: int, tokens: int, seed: int) -> list[Given]:
    """Coins below `threshold` came with drafts, those above with replacements, all won with `share`."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(texts):
        coins = rng.random(tokens)
        drafted = coins < threshold
        won, free = rng.random(tokens) ** share, rng.random(tokens)
        draft, target = np.where(drafted, won, free), np.where(drafted, free, won)
        made.append(Given({Stream.DRAFT: draft, Stream.TARGET: target}, None, coins, drafted))
    return made


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_fit_tau_finds_the_threshold_that_drew_the_text(threshold):
    texts = two_key_texts(0.35, threshold, texts=400, tokens=50, seed=7)
    tau = fit_tau(texts, lengths=[25, 50])
    assert abs(tau - threshold) <= 0.1
    assert tau == pytest.approx(round(tau, 2))


def test_fit_tau_at_the_ends():
    """All drafts: tau = 1. All replacements: the smallest of the grid."""
    assert fit_tau(two_key_texts(0.5, 2.0, 200, 50, 8)) == 1.0
    assert fit_tau(two_key_texts(0.5, 0.0, 200, 50, 9)) <= 0.1


def test_fit_tau_breaks_ties_by_the_score():
    """Where every threshold detects every text, and where none does."""
    coins = np.linspace(0.005, 0.995, 100)
    for high, low in ((1 - 1e-12, 1 - 1e-9), (0.2, 0.1)):
        draft = np.where(coins < 0.4, high, low)
        texts = [Given({Stream.DRAFT: draft, Stream.TARGET: draft[::-1].copy()}, None, coins)] * 2
        # With mirrored streams, tau below 0.4 reads less of the draft's high numbers, tau above 0.6 less of
        # the target's; between them all are alike.
        assert 0.4 <= fit_tau(texts, lengths=[100]) <= 0.6 + 1e-9


def test_fit_tau_uses_lengths_that_the_texts_have():
    """The first 20 tokens of these texts carry the watermark of the draft's key, the rest the other's."""
    rng = np.random.default_rng(10)
    texts = []
    for _ in range(200):
        first = np.arange(60) < 20
        won, free = rng.random(60) ** 0.4, rng.random(60)
        texts.append(
            Given(
                {Stream.DRAFT: np.where(first, won, free), Stream.TARGET: np.where(first, free, won)},
                None,
                rng.random(60),
            )
        )
    assert fit_tau(texts, lengths=[20, 1_000, 2_000, 3_000]) >= 0.9
    assert fit_tau(texts, lengths=[1_000]) <= 0.5
    with pytest.raises(ValueError, match="needs training texts"):
        fit_tau([])
