"""A key/value cache of slots: every row of a batch advances by its own count, and rolls back for free.

A row's entries lie at their positions in the text. Accepting or rejecting tokens only changes how much
of a row counts as filled; what lies beyond is overwritten by the next pass and masked until then. So
nothing is copied, except when a finished row leaves: the last row then moves into its slot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tradeoff.llm.generation.recurrent import RecurrentFeeder
from tradeoff.llm.generation.skinny import skinny_maps, skinny_products
from tradeoff.llm.models.huggingface import (
    CacheLayer,
    LayeredCache,
    PreTrainedModel,
    attention_mask,
    attention_name,
    grouped_attention,
    masks_rows,
    next_logits,
    text_config,
    unrollable_layers,
)
from tradeoff.llm.models.placement import input_device
from tradeoff.llm.models.sights import sights

__all__ = ["AnyFeeder", "Feeder", "SlotCache", "make_feeder"]

#: Slots grow by this many positions at a time.
_GRAIN = 64


@dataclass
class _Place:
    """Where the next pass writes and how far it reads; what all layers of a cache look at.

    They do not hold the cache: hundreds of megabytes in a cycle would wait for the garbage collector.

    Attributes:
        slots, capacity: how many slots are in use, with room for how many positions.
        first, length: the first slot of the pass, and the number of positions that it reads.
        start: where the new entries begin, if those of all rows do there.
        positions: where each goes, if not, [rows, tokens].
    """

    slots: int = 0
    capacity: int = 0
    first: int = 0
    length: int = 0
    start: int | None = None
    positions: np.ndarray | None = None
    _index: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def scatter(self, positions: np.ndarray) -> None:
        """Entries go to these positions, row by row."""
        self.start, self.positions = None, positions
        self._index.clear()

    def index(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows and positions of the entries, on the device of a layer: layers may be on several."""
        assert self.positions is not None
        if device not in self._index:
            rows = torch.arange(len(self.positions), device=device)[:, None]
            self._index[device] = rows, torch.from_numpy(self.positions).to(device)
        return self._index[device]


class _SlotLayer(CacheLayer):
    """Keys and values of one layer, [slots, heads, capacity, size]; `_Place` says where to write."""

    # None until the first pass shows their shape; every method below runs after that or asks first.
    keys: Any
    values: Any

    def __init__(self, place: _Place):
        super().__init__()
        self._place = place

    @property
    def length(self) -> int:
        return self._place.length

    @property
    def capacity(self) -> int:
        return self._place.capacity

    def write(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new entries and return all that the pass may read, `[rows, heads, length, size]`."""
        place = self._place
        if not self.is_initialized:
            self.keys, self.values = self._empty(keys), self._empty(values)
            self.device = keys.device
            self.is_initialized = True
        elif self.keys.shape[2] < place.capacity or self.keys.shape[0] < place.slots:
            self._grow(keys, values)
        rows = slice(place.first, place.first + keys.shape[0])
        held_keys, held_values = self.keys[rows], self.values[rows]
        if place.start is not None:
            here = slice(place.start, place.start + keys.shape[2])
            held_keys[:, :, here], held_values[:, :, here] = keys, values
        else:
            row, position = place.index(keys.device)
            held_keys[row, :, position] = keys.transpose(1, 2)
            held_values[row, :, position] = values.transpose(1, 2)
        return held_keys[:, :, : place.length], held_values[:, :, : place.length]

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        # Zeros, not garbage: a masked entry still enters 0 * value, and 0 * NaN is NaN.
        shape = (self._place.slots, like.shape[1], self._place.capacity, like.shape[3])
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def _grow(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        for name, states in (("keys", keys), ("values", values)):
            old, new = getattr(self, name), self._empty(states)
            new[: old.shape[0], :, : old.shape[2]] = old
            setattr(self, name, new)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` entries of one slot into another."""
        if self.is_initialized:
            self.keys[target, :, :length] = self.keys[source, :, :length]
            self.values[target, :, :length] = self.values[source, :, :length]


class SlotCache(LayeredCache):
    """The slots of all layers of one model; as many as are in use, with room for the longest row.

    Args:
        layers: number of layers.
    """

    def __init__(self, layers: int):
        self._place = _Place()
        self._slot_layers = [_SlotLayer(self._place) for _ in range(layers)]
        super().__init__(self._slot_layers)

    def point(self, first: int, positions: np.ndarray, length: int) -> None:
        """Say where the next pass writes and how far it reads.

        Args:
            first: its first slot; the rows of the pass are consecutive slots.
            positions: where each new entry goes, [rows, tokens].
            length: number of positions read.
        """
        place = self._place
        place.slots = max(place.slots, first + len(positions))
        if length > place.capacity:
            place.capacity = -(-length // _GRAIN) * _GRAIN
        place.first, place.length = first, length
        # Rows in step (a single row always is) are written as one block.
        in_step = (positions == positions[0, 0] + np.arange(positions.shape[1])).all()
        if in_step:
            place.start = int(positions[0, 0])
        else:
            place.scatter(positions)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` entries of slot `source` into slot `target`, in every layer."""
        for layer in self._slot_layers:
            layer.move(source, target, length)


class Feeder:
    """One model, its slots, and how many positions of every slot are filled.

    Logits are on `device`, where the model reads its ids.

    Args:
        model: a decoder-only model whose cache is a plain key/value cache in every layer.
        slots: rows that can be held at once.
        vocabulary: tokens to keep of the logits; columns beyond are padding.

    Raises:
        ValueError: for models with state that cannot be rolled back (recurrent or linear attention), and
            attention kernels that take no mask for every row.
    """

    def __init__(self, model: PreTrainedModel, slots: int, vocabulary: int):
        unfit = unrollable_layers(model)
        if unfit:
            raise ValueError(
                f"{type(model).__name__} keeps state that cannot be rolled back ({', '.join(unfit)}); "
                "speculative decoding here needs key/value caches in every layer"
            )
        if not masks_rows(model):
            raise ValueError(
                f"{type(model).__name__} uses the attention {attention_name(model)!r}, which takes no mask "
                'for every row; load it with attn_implementation="sdpa" or "eager"'
            )
        self.model, self.vocabulary, self.device = model, vocabulary, input_device(model)
        self._skinny, self._sights = skinny_maps(model), sights(model)
        self.cache = SlotCache(text_config(model).num_hidden_layers)
        self.filled = np.zeros(slots, dtype=np.int64)

    @torch.inference_mode()
    def logits(
        self,
        first: int,
        tokens: np.ndarray,
        where: np.ndarray,
        keep: int,
        *,
        slots: np.ndarray | None = None,
        reads: np.ndarray | None = None,
    ) -> torch.Tensor:
        """Run new tokens of consecutive rows through the model.

        Args:
            first: slot of the first row.
            tokens: ids [rows, m].
            where: positions of the tokens in their texts, [rows, m].
            keep: of how many last tokens logits are wanted.
            slots: where their entries go, [rows, m], if not at their positions (side branches of a tree).
            reads: which entries each token attends to, [rows, m, length], if not all up to its own position.

        Returns:
            [rows, keep, vocabulary], in the dtype of the model.
        """
        device = self.device
        slots = where if slots is None else slots
        length = int(slots.max()) + 1
        self.cache.point(first, slots, length)
        if reads is None:
            reads = np.arange(length) <= where[..., None]
        lies = np.tile(np.arange(length), (len(where), 1))
        np.put_along_axis(lies, slots, where, axis=1)
        with skinny_products(self._skinny), grouped_attention(self.model):
            logits = next_logits(
                self.model,
                torch.from_numpy(tokens).to(device),
                keep,
                cache=self.cache,
                positions=torch.from_numpy(where).to(device),
                mask=self._masks(*(torch.from_numpy(array).to(device) for array in (reads, where, lies))),
            )
        return logits[..., : self.vocabulary]

    def _masks(
        self, reads: torch.Tensor, where: torch.Tensor, lies: torch.Tensor
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """One mask for all layers, or one for every kind of them; arguments as for `Sight.narrowed`."""
        masks = {
            sight.kind: attention_mask(self.model, sight.narrowed(reads, where, lies))
            for sight in self._sights
        }
        return masks if len(masks) > 1 else next(iter(masks.values()))

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Move a row into another slot."""
        self.cache.move(source, target, int(self.filled[source]))
        self.filled[target] = self.filled[source]


#: What a round needs of a model.
AnyFeeder = Feeder | RecurrentFeeder


def make_feeder(model: PreTrainedModel, slots: int, vocabulary: int) -> AnyFeeder:
    """Slots side by side where every layer's cache can be rolled back, else a cache for every row.

    Raises:
        ValueError: as `Feeder`.
    """
    kind = RecurrentFeeder if unrollable_layers(model) else Feeder
    return kind(model, slots, vocabulary)
