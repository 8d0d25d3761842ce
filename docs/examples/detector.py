"""The detector of `decoder.py`: the sum of the tournaments' numbers, to eight bits, with its exact law."""

from dataclasses import dataclass

import numpy as np
from decoder import UniformTournament

from tradeoff.detection import LatticeDetector, detector_of
from tradeoff.keyed import Stream

# The eight highest bits of a signed number of 64: its last counts -128.
WEIGHTS = np.array([1, 2, 4, 8, 16, 32, 64, -128])


@dataclass(frozen=True)
class NumberSum(LatticeDetector):
    rounds: int
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id = "number-sum"
    name = "sum of tournament numbers"

    @property
    def lowest(self):
        return -128 * self.rounds

    @property
    def law(self):
        law = np.ones(1)
        for _ in range(self.rounds):
            law = np.convolve(law, np.full(256, 1 / 256))
        return law

    def of_stream(self, evidence, stream):
        bits = evidence.bits(stream, 64 * self.rounds).reshape(len(evidence), self.rounds, 64)
        return (bits[:, :, 56:] @ WEIGHTS).sum(axis=-1)


@detector_of.register
def _(decoder: UniformTournament, streams: tuple[Stream, ...]) -> NumberSum:
    return NumberSum(decoder.rounds, streams)
