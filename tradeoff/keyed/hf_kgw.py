"""The red and green lists of Transformers' WatermarkingConfig, bit for bit (measured on 5.24, on CPUs).

A list is the beginning of the permutation of the vocabulary that torch's generator on CPUs makes of a seed,
and the seed comes from key and tokens. Nothing but its low 32 bits matters to the generator, which is that of
`numpy.random.RandomState`.
"""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from tradeoff._arrays import Array, like, to_numpy
from tradeoff.keyed.formats import register_prf
from tradeoff.keyed.philox import Hidden, VllmPhilox, hidden_integer
from tradeoff.keyed.prf import (
    BasePrf,
    Kind,
    Stream,
    check_contexts,
    check_gamma,
    check_tokens,
    check_width,
    lacks,
)

__all__ = ["HfKgw", "HfKgwSettings"]

_KEYWORD = "hf-kgw"
_GAMMA = 0.25
#: Self-hashing looks tokens up in a permutation of so many, and favours these of the most probable alone.
_TABLE, _MOST = 1_000_003, 40
#: From here on torch draws other numbers.
_LARGEST = (1 << 32) // 20
#: The largest vocabularies in use have about half as many tokens.
_MOST_NAMED = 1 << 19
_TOKEN_BITS = 28
_WORD = 0xFFFFFFFF
#: Bytes of lists, and how many answers of self-hashing, that are remembered.
_LISTS, _ANSWERS = 1 << 27, 1 << 18
#: So many tokens of a seed that is new are followed one by one.
_FEW = 8


@runtime_checkable
class _OfLists(Protocol):
    """What a decoder that reads lists says of them."""

    @property
    def gamma(self) -> float: ...

    @property
    def most(self) -> int | None: ...


@dataclass(frozen=True)
class HfKgwSettings:
    """Transformers' WatermarkingConfig without its bias and its key: what holds of `HfKgw` whatever the key.

    Args:
        vocabulary: `config.vocab_size` of the model, which may be larger than its tokenizer.
        gamma: `greenlist_ratio`; a list has int(vocabulary * gamma) tokens.
        selfhash: whether `seeding_scheme` is "selfhash" rather than "lefthash".

    Raises:
        ValueError: for values that no list has.
    """

    vocabulary: int
    gamma: float = _GAMMA
    selfhash: bool = False

    keyword: ClassVar[str] = _KEYWORD
    key_type: ClassVar[type] = int
    takes: ClassVar[str] = "the integer hashing_key of Transformers' WatermarkingConfig, below 2^64"
    supplies: ClassVar[frozenset[Kind]] = frozenset({Kind.LISTS})
    streams: ClassVar[frozenset[Stream]] = frozenset({Stream.SHARED})
    pads_contexts: ClassVar[bool] = False
    #: The default of WatermarkingConfig.
    context_width: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if type(self.vocabulary) is not int or not 2 <= self.vocabulary < _LARGEST:
            raise ValueError(
                f"vocabulary={self.vocabulary!r} must be the model's config.vocab_size, from 2 to "
                f"{_LARGEST - 1}, as in {_KEYWORD}:49152"
            )
        check_gamma(self.gamma)
        if not 1 <= self.size < self.vocabulary:
            raise ValueError(
                f"gamma={self.gamma!r} leaves lists of {self.size} of {self.vocabulary} tokens; they must "
                "hold some, and not all"
            )

    @property
    def excess(self) -> str | None:
        """See `BasePrf.excess`: lists that take long to draw."""
        if self.vocabulary <= _MOST_NAMED:
            return None
        return f"a vocabulary of {self.vocabulary}, and a record may name {_MOST_NAMED} at most"

    @property
    def size(self) -> int:
        """Tokens of a list."""
        return int(self.vocabulary * self.gamma)

    @property
    def most(self) -> int | None:
        """How many of the most probable tokens may be favoured; None for all."""
        return _MOST if self.selfhash else None

    @property
    def name(self) -> str:
        """ "hf-kgw:49152", "hf-kgw:49152,gamma=0.5,selfhash"."""
        gamma = "" if self.gamma == _GAMMA else f",gamma={self.gamma!r}"
        return f"{_KEYWORD}:{self.vocabulary}{gamma}{',selfhash' if self.selfhash else ''}"

    @property
    def serves(self) -> str:
        """See `Prf.serves`."""
        return f"the methods basic or keep-strength with kgw:2{self._told_of_decoder()}"

    def __call__(self, key: int, context_width: int = 1) -> HfKgw:
        """The function under a key. Raises ValueError for a key or a width out of range."""
        return HfKgw(self, key, context_width)

    def check_decoder(self, decoder: Any) -> None:
        """Raise ValueError unless a decoder reads the lists as generation with these settings does."""
        if not isinstance(decoder, _OfLists):
            raise ValueError(f"{self.name} has lists for the watermark kgw; {decoder!r} is another")
        if (decoder.gamma, decoder.most) != (self.gamma, self.most):
            raise ValueError(
                f"the watermark has gamma={decoder.gamma!r} and most={decoder.most}, but {self.name} "
                f"gamma={self.gamma!r} and most={self.most}; write kgw:2{self._told_of_decoder()}"
            )

    def _told_of_decoder(self) -> str:
        gamma = "" if self.gamma == _GAMMA else f",gamma={self.gamma!r}"
        return gamma + (f",most={_MOST}" if self.selfhash else "")


@dataclass(frozen=True)
class HfKgw(BasePrf):
    """The lists of Transformers' WatermarkingConfig: texts of either are detected by the other.

    The list of a position is that of a seed. Left-hash: the key times the last token of the context, whatever
    its width. Self-hash: of the last `context_width` tokens, that of the position itself among them, the
    least product with the key. Tokens from the vocabulary's size on are on no list.

    Keys and tokens that give one seed have one list (`seeds`): left-hash after token 0 has the same list
    under every key; keys that differ by 2^32 have the same lists under left-hash, as far as their products
    with tokens stay below 2^64 - 1; self-hash of width 1 has one list per key, whatever the context.

    Args:
        settings: of the lists.
        key: `hashing_key`, 0 .. 2^64 - 1. Transformers' default is public.
        context_width: of the configuration, 1 to 64.

    Raises:
        ValueError: for a key or a width out of range.
    """

    settings: HfKgwSettings
    key: int | Hidden = field(repr=False)
    context_width: int = 1

    supplies: ClassVar[frozenset[Kind]] = HfKgwSettings.supplies
    streams: ClassVar[frozenset[Stream]] = HfKgwSettings.streams
    pads_contexts: ClassVar[bool] = False
    reads_prompt: ClassVar[bool] = True
    memory: ClassVar[int | None] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", hidden_integer(self.key, "key", self.name))
        check_width(self.context_width)

    @property
    def name(self) -> str:
        """See `HfKgwSettings.name`."""
        return self.settings.name

    @property
    def serves(self) -> str:  # type: ignore[override]
        """See `Prf.serves`."""
        return self.settings.serves

    @property
    def fingerprint(self) -> str:
        """16 hex digits that name the key."""
        return VllmPhilox(operator.index(self.key)).fingerprint

    @property
    def same_positions(self) -> Hashable:
        """Which seeds are the same depends on the key as well."""
        return self

    def seeds(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Low 32 bits of the seeds of lists, for contexts [t, context_width] and tokens [t, m]: [t, m] int64.

        Raises:
            ValueError: under left-hash, for a context that ends with an id of 2^32 or more.
        """
        if self.settings.selfhash:
            return self._self_seeds(contexts, tokens)
        last = contexts[:, -1].astype(np.int64)
        if last.size and last.max() > _WORD:
            raise ValueError(f"contexts hold {last.max()}; {self.name} has token ids below 2^32")
        key = operator.index(self.key)
        # Key times token is high 2^64 + low: modulo 2^64 - 1 that is high + low.
        ids = last.astype(np.uint64) & np.uint64(_WORD)
        upper, lower = np.uint64(key >> 32) * ids, np.uint64(key & _WORD) * ids
        low = (upper << np.uint64(32)) + lower
        high = (upper >> np.uint64(32)) + (low < lower)
        total = low + high
        total += total < low
        total[total == np.uint64((1 << 64) - 1)] = 0
        seeds = (total & np.uint64(_WORD)).astype(np.int64)
        return np.broadcast_to(seeds[:, None], tokens.shape)

    def _self_seeds(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        key = operator.index(self.key)
        before = contexts[:, 1:].astype(np.int64) % _TABLE
        own = tokens % _TABLE
        largest = max(int(before.max(initial=0)), int(own.max(initial=0)))
        # Fewer entries than all are made for the ids that there are, of which nearly always all are of the
        # vocabulary; others in powers of 2, so that few tables are made.
        n = self.settings.vocabulary
        length = min(n if largest < n else 1 << largest.bit_length(), _TABLE)
        table = _hash_table(key & _WORD, length)
        numbers = table[own] + 1
        times_key = numbers * np.array([key], dtype=np.uint64).view(np.int64)
        least = times_key * numbers
        for column in before.T:
            np.minimum(least, times_key * (table[column] + 1)[:, None], out=least)
        # Modulo 2^64 - 1 a negative number is one less in its low bits than in two's complement.
        return (least - (least < 0)) & _WORD

    def lists(self, stream: Stream, contexts: np.ndarray, tokens: Array, gamma: float) -> Array:
        """See `Prf.lists`. Raises ValueError for malformed arguments, another stream than SHARED, and
        another `gamma` than that of the settings."""
        contexts, tokens = check_contexts(contexts, self.context_width), check_tokens(tokens)
        if Stream(stream) not in self.streams:
            raise lacks(self, [f"a stream {Stream(stream).value!r}"])
        if gamma != self.settings.gamma:
            raise ValueError(f"gamma={gamma!r} is not that of {self.name}, {self.settings.gamma!r}")
        batch, n = contexts.shape[:-1], self.settings.vocabulary
        flat, ids = contexts.reshape(-1, self.context_width), to_numpy(tokens)
        lists = _lists_of(n, self.settings.size)
        if not self.settings.selfhash and ids.ndim == 1 and ids.size > 1:
            # All rows ask for the same tokens, which are those of a whole vocabulary.
            seeds = self.seeds(flat, np.zeros((len(flat), 1), dtype=np.int64))[:, 0]
            inside = np.minimum(ids, n - 1)
            green = np.array([lists.whole(seed)[inside] & (ids < n) for seed in seeds.tolist()], dtype=bool)
        else:
            every = np.broadcast_to(ids, (*batch, ids.shape[-1])).reshape(len(flat), ids.shape[-1])
            seeds = self.seeds(flat, every)
            which = every < n
            green = np.zeros(every.shape, dtype=bool)
            look = lists.answers if self.settings.selfhash else lists.members
            green[which] = look(seeds[which], every[which])
        return like(green.reshape(*batch, ids.shape[-1]), tokens)

    def check_vocabulary(self, tokens: int) -> None:
        """See `Prf.check_vocabulary`: lists of another size of the vocabulary are other lists."""
        if tokens != self.settings.vocabulary:
            name = replace(self.settings, vocabulary=tokens).name
            raise ValueError(
                f"prf={self.name!r} is not of this model, whose config.vocab_size={tokens}; use {name}"
            )

    def origins(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """See `Prf.origins`: the seed, and the token below it, of which all that are on no list are one."""
        seeds = self.seeds(contexts, tokens[:, None])[:, 0]
        return (seeds << _TOKEN_BITS) | np.minimum(tokens, self.settings.vocabulary)

    @staticmethod
    def seeds_of(origins: np.ndarray) -> np.ndarray:
        """The seeds in `origins`."""
        return origins >> _TOKEN_BITS


@register_prf(_KEYWORD, f"{_KEYWORD}:49152")
def _read(settings: str) -> HfKgwSettings:
    vocabulary, *others = settings.split(",")
    if not (vocabulary.isascii() and vocabulary.isdigit()):
        raise ValueError(
            f"prf={_KEYWORD + ':' + settings!r} does not begin with the size of the vocabulary, the model's "
            f"config.vocab_size; write {_KEYWORD}:49152 or {_KEYWORD}:49152,gamma=0.5,selfhash"
        )
    told: dict[str, Any] = {}
    for one in others:
        name, _, value = one.partition("=")
        kind = "selfhash" if one in ("selfhash", "lefthash") else name
        try:
            if kind in told or kind not in ("selfhash", "gamma"):
                raise ValueError
            told[kind] = one == "selfhash" if kind == "selfhash" else float(value)
        except ValueError:
            raise ValueError(
                f"prf={_KEYWORD + ':' + settings!r} has the setting {one!r}; it may have one gamma, and "
                f"lefthash or selfhash, as in {_KEYWORD}:49152,gamma=0.5,selfhash"
            ) from None
    return HfKgwSettings(int(vocabulary), **told)


class _Lists:
    """Which tokens are on the lists of seeds: `size` of `vocabulary`. What was asked for last is remembered.

    A list needs `size` draws of a generator that cannot be entered in the middle: the cost of a new seed.
    """

    def __init__(self, vocabulary: int, size: int):
        self._vocabulary, self._size = vocabulary, size
        self._steps = np.arange(size)
        self._short = self._steps.astype(np.uint32)
        self._left = (vocabulary - self._steps).astype(np.uint32)
        # Making one takes longer than seeding it anew.
        self._random = np.random.RandomState()
        self._most = max(64, _LISTS // -(-vocabulary // 8))
        # Lists, when they were asked for last, their seeds, and where those of seeds are.
        self._packed = np.empty((0, -(-vocabulary // 8)), dtype=np.uint8)
        self._used, self._seeds = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        self._slots: dict[int, int] = {}
        self._free: list[int] = []
        self._time = 0
        self._known: OrderedDict[int, bool] = OrderedDict()
        self._once: OrderedDict[int, None] = OrderedDict()
        self._lock = threading.Lock()

    def whole(self, seed: int) -> np.ndarray:
        """The list of a seed: [vocabulary] booleans."""
        with self._lock:
            slot = self._slot(seed)
            return np.unpackbits(self._packed[slot], count=self._vocabulary).view(bool)

    def members(self, seeds: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Whether tokens [t] are on the lists of seeds [t]: [t] booleans."""
        different, which, counts = np.unique(seeds, return_inverse=True, return_counts=True)
        names = different.tolist()
        with self._lock:
            slots = np.array([self._slots.get(seed, -1) for seed in names], dtype=np.int64)
            self._used[slots[slots >= 0]] = self._tick()
            missing, alone = np.flatnonzero(slots < 0).tolist(), []
            for i in missing:
                if counts[i] > _FEW or names[i] in self._once:
                    slots[i] = self._slot(names[i])
                else:
                    # Most seeds of a text are never met again, and their lists are not worth making.
                    self._once[names[i]] = None
                    alone.append(i)
            while len(self._once) > _ANSWERS:
                self._once.popitem(last=False)
            if missing:
                # Lists made last may have taken the places of others of this call.
                stale = (slots >= 0) & (self._seeds[slots] != different) if len(self._seeds) else slots >= 0
                alone += np.flatnonzero(stale).tolist()
            if len(alone) == len(names):
                found = np.zeros(len(seeds), dtype=bool)
            else:
                bit = 7 - (tokens & 7)
                found = (self._packed[slots[which], tokens >> 3] >> bit.astype(np.uint8)) & 1 != 0
            if alone:
                order, ends = np.argsort(which, kind="stable"), np.cumsum(counts)
                for i in alone:
                    some = order[ends[i] - counts[i] : ends[i]]
                    found[some] = self._followed(self._swaps(names[i]), tokens[some])
        return found

    def answers(self, seeds: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """As `members`, where few tokens share a seed: no lists are made."""
        pairs = ((seeds << _TOKEN_BITS) | tokens).tolist()
        with self._lock:
            missing = sorted({pair for pair in pairs if pair not in self._known})
            fresh: dict[int, bool] = {}
            for seed, group in groupby(missing, lambda pair: pair >> _TOKEN_BITS):
                some = list(group)
                below = np.array(some) & ((1 << _TOKEN_BITS) - 1)
                fresh.update(zip(some, self._followed(self._swaps(seed), below).tolist(), strict=True))
            found = [fresh[pair] if pair in fresh else self._known[pair] for pair in pairs]
            self._known.update(fresh)
            while len(self._known) > _ANSWERS:
                self._known.popitem(last=False)
        return np.array(found, dtype=bool)

    def _slot(self, seed: int) -> int:
        """Where the list of a seed is kept, a bit a token."""
        slot = self._slots.get(seed)
        if slot is None:
            if len(self._slots) == len(self._packed):
                self._make_room()
            slot = self._free.pop()
            self._packed[slot] = np.packbits(self._made(seed))
            self._slots[seed], self._seeds[slot] = slot, seed
        self._used[slot] = self._tick()
        return slot

    def _make_room(self) -> None:
        """Twice as many places, or those of the half that was not asked for for longest."""
        count = len(self._packed)
        if count < self._most:
            more = min(max(count, 64), self._most - count)
            self._packed = np.concatenate([self._packed, np.empty((more, self._packed.shape[1]), np.uint8)])
            self._used = np.append(self._used, np.zeros(more, dtype=np.int64))
            self._seeds = np.append(self._seeds, np.full(more, -1))
            self._free = list(range(count, count + more))
            return
        self._free = np.argsort(self._used, kind="stable")[: max(count // 2, 1)].tolist()
        for slot in self._free:
            del self._slots[int(self._seeds[slot])]
            self._seeds[slot] = -1

    def _tick(self) -> int:
        self._time += 1
        return self._time

    def _swaps(self, seed: int) -> np.ndarray:
        """z of step i, which exchanges places i and z: [size] uint32."""
        return _swaps(self._random, seed, self._short, self._left)

    def _made(self, seed: int) -> np.ndarray:
        """The list of a seed: [vocabulary] booleans, the first `size` places after as many steps."""
        swaps = self._swaps(seed).astype(np.int64)
        last, at_front = _traced(swaps, self._steps, self._vocabulary)
        # A place behind the front that was exchanged has given its own token, and holds in the end what was
        # at the front at the last of its exchanges.
        green: np.ndarray = last >= 0
        green[: self._size] = True
        behind = swaps[swaps >= self._size]
        green[at_front.take(last.take(behind))] = False
        return green

    def _followed(self, swaps: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Whether few tokens [m] end at the front: [m] booleans."""
        return np.array([self._moves_ahead(swaps, token) for token in tokens.tolist()], dtype=bool)

    def _moves_ahead(self, swaps: np.ndarray, token: int) -> bool:
        """Whether a token ends at the front: followed through its exchanges."""
        place, done = token, 0
        while place < self._size:
            # Exchanged with the place of a step before its own, it stays there.
            if (swaps[done : place + 1] == place).any():
                return True
            place, done = int(swaps[place]), place + 1
        return bool((swaps[done:] == place).any())


@lru_cache(maxsize=4)
def _lists_of(vocabulary: int, size: int) -> _Lists:
    return _Lists(vocabulary, size)


def _swaps(random: np.random.RandomState, seed: int, steps: np.ndarray, left: np.ndarray) -> np.ndarray:
    """z of steps i = 0, 1, ..., which exchange places i and z, of the permutation of a seed: [steps].

    The remainders of 32-bit draws, with their bias, are a part of the format.

    Args:
        random: seeded anew.
        seed: 0 .. 2^32 - 1.
        steps: i, [steps] uint32.
        left: how many places there are from i on, [steps] uint32.
    """
    random.seed(seed)
    swaps: np.ndarray = random.randint(0, 1 << 32, len(steps), dtype=np.uint32)
    np.remainder(swaps, left, out=swaps)
    swaps += steps
    return swaps


def _traced(swaps: np.ndarray, steps: np.ndarray, places: int) -> tuple[np.ndarray, np.ndarray]:
    """(the last step that exchanged a place with one before it, -1 for none [places]; what was at place i
    before step i [steps])."""
    last = np.full(places, -1)
    own = swaps == steps
    # Of equal indices the last one's value stays.
    if own.any():
        last[swaps[~own]] = steps[~own]
    else:
        last[swaps] = steps
    # At place i was what the last step that exchanged it found at its own place, and so on.
    found = np.where(last[: len(steps)] < 0, steps, last[: len(steps)])
    while True:
        further = found.take(found)
        if (further == found).all():
            return last, found
        found = further


@lru_cache(maxsize=8)
def _hash_table(seed: int, length: int) -> np.ndarray:
    """The first entries of the permutation of self-hashing: [length] int64."""
    steps = np.arange(min(length, _TABLE - 1))
    short, left = steps.astype(np.uint32), (_TABLE - steps).astype(np.uint32)
    swaps = _swaps(np.random.RandomState(), seed, short, left).astype(np.int64)
    _, at_place = _traced(swaps, steps, _TABLE)
    # Step i puts in place i what the last step before it with the same z left there, or z itself.
    order = np.argsort(swaps, kind="stable")
    again = np.flatnonzero(swaps[order][1:] == swaps[order][:-1]) + 1
    entries = swaps.copy()
    entries[order[again]] = at_place[order[again - 1]]
    # Of a place exchanged with itself, what was there.
    own = swaps == steps
    entries[own] = at_place[own]
    if length == _TABLE:
        entries = np.append(entries, _TABLE * (_TABLE - 1) // 2 - entries.sum())
    entries.flags.writeable = False
    return entries
