"""A detector of whole numbers answers for its law: what that does not have is refused, never judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from tradeoff.detection import LatticeDetector, detect
from tradeoff.detection.bets.tilts import ScoreBets
from tradeoff.detection.evidence import Evidence
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Stream

EVIDENCE = Evidence(np.random.default_rng(0).integers(0, 99, 200), KeyedPrf(Key(bytes(32))))


@dataclass(frozen=True)
class High(LatticeDetector):
    """Tokens whose uniform is above 0.9, times something."""

    times: float = 1.0
    law: tuple[float, ...] = (0.9, 0.1)  # type: ignore[assignment]
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "high"
    name: ClassVar[str] = "high"
    lowest: ClassVar[int] = 0

    def of_stream(self, evidence: Evidence, stream: Stream) -> np.ndarray:
        return self.times * (evidence.uniform(stream) > 0.9)


def test_its_p_values_are_those_of_its_law():
    found = detect(High(), EVIDENCE)
    assert found.log_p < 0
    assert found.statistic == (EVIDENCE.uniform(Stream.SHARED) > 0.9).sum()


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        (High(5.0), "gives scores of 5; of_stream must give one whole number from 0 to 1"),
        (High(0.5), "gives scores of 0.5"),
        (High(-1.0), "gives scores of -1"),
        (High(law=(0.9, 0.2)), "sum 1.1"),
        (High(law=(1.2, -0.2)), "must be probabilities"),
    ],
)
def test_what_it_does_not_have_is_refused(detector, words):
    with pytest.raises(ValueError, match=words):
        detect(detector, EVIDENCE)


def test_score_bets_are_fair_and_need_two_values():
    bets = ScoreBets(High())
    law = np.array([0.9, 0.1])
    values = np.unique(bets.log_bets(EVIDENCE), axis=0)
    e = np.exp(values)
    assert len(e) == 2
    order = np.argsort(e[:, 1])
    assert law @ e[order] == pytest.approx(np.ones(e.shape[1]), abs=1e-12)
    with pytest.raises(ValueError, match="scores of one value"):
        ScoreBets(High(law=(1.0,))).log_bets(EVIDENCE)
