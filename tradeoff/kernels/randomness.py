"""The random numbers that a kernel may read: what it needs, and how simulations draw it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from tradeoff._arrays import Array
from tradeoff.decoders import Decoder, GumbelMax
from tradeoff.keyed import Stream

__all__ = ["Randomness", "SimulatedRandomness", "open_uniform"]


class Randomness(Protocol):
    """Pseudorandom numbers by stream, the keyed coin, and true random numbers, for one batch [...]."""

    def zeta(self, stream: Stream, decoder: Decoder) -> Any:
        """What `decoder` reads under `stream` (a race [..., n], tournament bits); always the same."""

    def race_at(self, stream: Stream, token: Array) -> Array:
        """The entry of the race of `stream` at `token: [...]`: [...]."""

    def coin(self) -> Array:
        """The keyed acceptance coin, uniform in (0, 1): [...]; always the same."""

    def uniform(self) -> Array:
        """True random numbers in (0, 1): [...]; new ones at every call."""

    def kept(self, name: str) -> Array:
        """True random numbers in (0, 1): [...]; the same at every call with one name."""


class SimulatedRandomness:
    """Independent random numbers in place of pseudorandom ones, as the theory assumes.

    Args:
        rng: source of everything pseudorandom.
        batch: shape [...] of the batch.
        n: vocabulary size.
        true: source of true randomness; `rng` if left out. Two objects with equal `rng` states and
            different `true` share their zeta, which is how the law given zeta is explored.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        batch: tuple[int, ...],
        n: int,
        true: np.random.Generator | None = None,
    ):
        self._batch, self._n = batch, n
        self._true = rng if true is None else true
        # A generator for every stream, so that no number depends on which streams a method reads.
        streams = [*Stream, "coin"]
        self._generators = dict(zip(streams, rng.spawn(len(streams)), strict=True))
        self._drawn: dict[tuple[str, str], Any] = {}

    def zeta(self, stream: Stream, decoder: Decoder) -> Any:
        return self._once(
            stream,
            decoder.randomness,
            lambda: decoder.draw(self._generators[stream], self._batch, self._n),
        )

    def race_at(self, stream: Stream, token: Array) -> Array:
        return np.take_along_axis(self.zeta(stream, GumbelMax()), token[..., None], axis=-1)[..., 0]

    def coin(self) -> Array:
        return self._once("coin", "coin", lambda: open_uniform(self._generators["coin"], self._batch))

    def uniform(self) -> Array:
        return open_uniform(self._true, self._batch)

    def kept(self, name: str) -> Array:
        return self._once("kept", name, self.uniform)

    def _once(self, stream: str, kind: str, make: Any) -> Any:
        if (stream, kind) not in self._drawn:
            self._drawn[stream, kind] = make()
        return self._drawn[stream, kind]


def open_uniform(generator: np.random.Generator, shape: tuple[int, ...] = ()) -> np.ndarray:
    """True random numbers strictly inside (0, 1), [*shape]: `random` alone may give 0."""
    return np.maximum(generator.random(shape), 2.0**-54)
