"""A second detector, by name: how many tokens have a uniform above 0.9. `tradeoff detect --detector high`."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradeoff.detection import LatticeDetector, register_detector
from tradeoff.keyed import Stream


@dataclass(frozen=True)
class HighUniforms(LatticeDetector):
    streams: tuple[Stream, ...] = (Stream.SHARED,)
    id: ClassVar[str] = "high-uniforms"
    name: ClassVar[str] = "uniforms above 0.9"
    lowest: ClassVar[int] = 0
    law: ClassVar[np.ndarray] = np.array([0.9, 0.1])

    def of_stream(self, evidence, stream):
        return (evidence.uniform(stream) > 0.9).astype(int)


@register_detector("high")
def high(method):
    return HighUniforms(tuple(method.detection.streams))
