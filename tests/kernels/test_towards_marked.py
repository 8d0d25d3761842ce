"""The joint race towards a watermarked law: what it emits given zeta, how often it accepts, what reads it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.support import ALPHA, P, Q, assert_within, chi_square_p
from tradeoff.curves.biased.decomposition import biased_efficiency, decompose
from tradeoff.curves.biased.green_mass import lists_of
from tradeoff.decoders import KGW, Completed, Completion, GumbelMax, heavy_water
from tradeoff.detection import CompletedSum, Evidence, default_detector
from tradeoff.kernels import (
    Basic,
    JointRaceMarked,
    KeepStrength,
    KeyedRandomness,
    SimulatedRandomness,
    joint_clocks,
    make_method,
    towards_marked,
)
from tradeoff.keyed import Key, KeyedPrf, Stream
from tradeoff.laws import overlap

SMALL_P, SMALL_Q = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.2, 0.3, 0.1, 0.4])
SEEDS = 20_000
DECODERS = [KGW(2.0), KGW(math.inf), KGW(1.0, 0.5, most=2)]


class Given(SimulatedRandomness):
    """One list for all seeds, and races of their own."""

    def __init__(self, green: np.ndarray, race: np.ndarray):
        super().__init__(np.random.default_rng(0), race.shape[:-1], race.shape[-1])
        self._zeta = Completion(lists_of(np.broadcast_to(green, race.shape)), race)

    def zeta(self, stream: Stream, decoder: Any) -> Completion:
        assert stream is Stream.SHARED
        return self._zeta


def laws_given(decoder: KGW, green: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P_zeta and Q_zeta of one list."""
    zeta = lists_of(green[None])
    return decoder(SMALL_P[None], zeta)[0], decoder(SMALL_Q[None], zeta)[0]


def steps(
    method: JointRaceMarked | KeepStrength, green: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draft, whether accepted, and token of races of their own under one list."""
    race = np.random.default_rng(seed).standard_exponential((SEEDS, 4))
    p, q = (np.broadcast_to(law, race.shape) for law in (SMALL_P, SMALL_Q))
    randomness = Given(green, race)
    draft = method.draft(q, randomness)
    return draft, *method(p, q, draft, randomness)


def faults(run: Callable[[JointRaceMarked, np.ndarray], Any], decoder: KGW) -> set[str]:
    """What is not as the theorem says, over all lists of four tokens."""
    found = set()
    for colours in itertools.product((False, True), repeat=4):
        green = np.array(colours)
        p_zeta, q_zeta = laws_given(decoder, green)
        draft, accepted, token = run(JointRaceMarked(Completed(decoder)), green)
        if chi_square_p(np.bincount(draft, minlength=4), SEEDS * q_zeta) <= ALPHA:
            found.add("draft")
        if chi_square_p(np.bincount(token, minlength=4), SEEDS * p_zeta) <= ALPHA:
            found.add("token")
        share = float(overlap(p_zeta, q_zeta))
        miss = abs(accepted.mean() - share)
        if miss > 5.5 * math.sqrt(share * (1 - share) / SEEDS) + 1e-12:
            found.add("acceptance")
    return found


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda d: d.name)
def test_given_any_list_the_token_has_the_watermarked_law(decoder: KGW) -> None:
    """Over all 16 lists: the draft has the law Q_zeta, the token P_zeta, and 1 - TV(Q_zeta, P_zeta) are
    accepted."""
    assert faults(steps, decoder) == set()


def test_mistakes_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified against P and Q themselves, or with a race of its own for what replaces the draft."""

    def towards_the_target(method: JointRaceMarked, green: np.ndarray) -> Any:
        race = np.random.default_rng(0).standard_exponential((SEEDS, 4))
        p, q = (np.broadcast_to(law, race.shape) for law in (SMALL_P, SMALL_Q))
        randomness = Given(green, race)
        draft = method.draft(q, randomness)

        class OfRace(Given):
            def zeta(self, stream: Stream, decoder: Any) -> Any:
                return race

        accepted = joint_clocks(method, p, q, draft, OfRace(green, race))
        return draft, accepted, np.where(accepted, draft, method.replacement(p, q, draft, randomness))

    assert "token" in faults(towards_the_target, KGW(2.0))
    monkeypatch.setattr(towards_marked, "remainders", lambda race, q, draft: race)
    assert "token" in faults(steps, KGW(2.0))


def test_it_accepts_what_laws_given_zeta_share_and_keep_strength_less() -> None:
    """E[1 - TV(Q_zeta, P_zeta)], exactly summed over lists; the races of keep-strength agree less often."""
    exact = biased_efficiency(P, Q, KGW(2.0)).value
    shares = {}
    for method in (JointRaceMarked(Completed(KGW(2.0))), KeepStrength(Completed(KGW(2.0)))):
        randomness = SimulatedRandomness(np.random.default_rng(5), (SEEDS,), len(P))
        p, q = (np.broadcast_to(law, (SEEDS, len(P))) for law in (P, Q))
        draft = method.draft(q, randomness)
        verdict = method(p, q, draft, randomness)
        shares[method.name] = float(verdict.accepted.mean())
        # The law of the text is the mean law.
        mean = decompose(P, KGW(2.0)).mean
        assert chi_square_p(np.bincount(verdict.token, minlength=len(P)), SEEDS * mean) > ALPHA
    assert_within(shares["joint-race-marked"], exact, math.sqrt(exact * (1 - exact) / SEEDS))
    assert shares["keep-strength"] < exact - 0.02


def test_the_key_decides_every_token_in_numpy_and_in_torch() -> None:
    """The same key, contexts and laws give the same tokens, whatever the library."""
    method = make_method("joint-race-marked", Completed(KGW(2.0)))
    assert method.determined
    prf, contexts = KeyedPrf(Key(b"a key for completed lists"), 2), np.arange(400).reshape(200, 2)
    found = []
    for kind in (np.asarray, torch.as_tensor):
        p, q, ids = (
            kind(np.array(law)) for law in (np.tile(P, (200, 1)), np.tile(Q, (200, 1)), np.arange(10))
        )
        randomness = KeyedRandomness.of_key(prf, contexts, ids)
        draft = method.draft(q, randomness)
        accepted, token = method(p, q, draft, randomness)
        found.append((np.asarray(draft), np.asarray(accepted), np.asarray(token)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    settled = method.settles(p, q, draft, randomness)
    torch.testing.assert_close(settled.accepted, method.accepts(p, q, draft, randomness))
    torch.testing.assert_close(settled.replacement, method.replacement(p, q, draft, randomness))


def _p_values(method: Any, seed: int) -> np.ndarray:
    """log p of texts of 60 independent positions, under keys of their own: [texts]."""
    detector, rng, found = default_detector(method), np.random.default_rng(seed), []
    for number in range(8):
        prf = KeyedPrf(Key(f"key {seed} {number} of the texts".encode()), 1)
        # Contexts that are new everywhere, so that all positions count.
        spread = rng.permutation(1_000_000)[:60] + 100
        randomness = KeyedRandomness.of_key(prf, spread[:, None], np.arange(10))
        p, q = np.tile(P, (60, 1)), np.tile(Q, (60, 1))
        token = method.bonus(p, randomness)
        if method.drafts:
            token = method(p, q, method.draft(q, randomness), randomness).token
        green = prf.lists(Stream.SHARED, spread[:, None], token[:, None], 0.25)[:, 0]
        uniform = prf.uniform(Stream.SHARED, spread[:, None], token[:, None])[:, 0]
        scores = detector.of_stream(_Read(green, uniform), Stream.SHARED)
        found.append(detector.log_p(float(scores.sum()), len(scores)))
    return np.array(found)


class _Read(Evidence):
    """Numbers that were looked up already."""

    def __init__(self, green: np.ndarray, uniform: np.ndarray):
        self._green, self._uniform = green, uniform

    def green(self, stream: Stream, gamma: float) -> np.ndarray:
        return self._green

    def uniform(self, stream: Stream) -> np.ndarray:
        return self._uniform


def test_the_completed_detector_reads_both_parts() -> None:
    """The list and the race, of one key and one stream, with an exact law."""
    method = make_method("joint-race-marked", Completed(KGW(2.0)))
    detector = default_detector(method)
    assert isinstance(detector, CompletedSum)
    assert detector.own.id == "green-tokens"
    assert detector.streams == (Stream.SHARED,)
    assert detector.law.sum() == pytest.approx(1, abs=1e-12)
    marked, plain = _p_values(method, 1), _p_values(Basic(Completed(KGW(2.0))), 2)
    assert np.median(marked) < math.log(1e-6)
    assert np.median(marked) < 0.8 * np.median(plain)


def test_only_what_is_completed_is_carried() -> None:
    for decoder in (KGW(2.0), GumbelMax(), heavy_water()):
        with pytest.raises(ValueError, match="joint-race-marked needs completed:NAME"):
            JointRaceMarked(decoder)
    for name in ("algorithm-1", "two-keys"):
        with pytest.raises(ValueError, match="use another method"):
            make_method(name, Completed(KGW(2.0)))
