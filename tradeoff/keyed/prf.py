"""Keyed pseudorandom functions of (stream, context, token): the randomness of a watermark.

A watermarked position reads its randomness from the key and the `context_width` tokens before it, so a
detector that holds the key recomputes it at the tokens it sees, at O(1) work per token. Values are
addressed by index: those of a whole vocabulary and those of single tokens agree bit for bit, and so do
the uniforms and bits of NumPy, torch CPU and torch CUDA (races differ in the last place where the
logarithms of the libraries do).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from array_api_compat import is_array_api_obj

from tradeoff._arrays import Array, namespace, on_host, to_numpy
from tradeoff.keyed.bits import minus_log

__all__ = [
    "DEFAULT_PRF",
    "PAD",
    "BasePrf",
    "Kind",
    "Prf",
    "Stream",
    "check_contexts",
    "check_gamma",
    "check_supplied",
    "check_tokens",
    "check_width",
    "lacks",
]

#: Name of the default function, which has all kinds of numbers.
DEFAULT_PRF = "blake2b-splitmix-v1"
#: Fills contexts near the start of a text.
PAD = -1
_WIDEST_CONTEXT = 64


class Stream(StrEnum):
    """Who draws; different streams are independent under one key and context."""

    #: The one race that draft and target share.
    SHARED = "shared"
    DRAFT = "draft"
    TARGET = "target"
    ACCEPTANCE = "acceptance"


class Kind(StrEnum):
    """What a function supplies, and a watermark needs."""

    RACE = "a race"
    COIN = "an acceptance coin"
    BITS = "tournament bits"
    SIDE_INFORMATION = "side information"
    BUCKETS = "buckets of tokens"
    #: Some of the tokens at every position.
    LISTS = "green lists"
    #: One number a position, beside those of tokens.
    POSITION = "a uniform of the position"


@runtime_checkable
class Prf(Hashable, Protocol):
    """A keyed pseudorandom function.

    In all methods `contexts: [..., context_width]` are NumPy integers, the token ids before the position,
    oldest first, and `tokens: [n]` or `[..., m]` are NumPy or torch integers >= 0 whose leading axes
    broadcast against the batch `[...]` of the contexts. Results `[..., m]` are in the library and on the
    device of `tokens`.
    """

    @property
    def name(self) -> str:
        """Name and version of the format."""

    @property
    def context_width(self) -> int:
        """How many tokens before the position a value depends on."""

    @property
    def pads_contexts(self) -> bool:
        """Whether positions with fewer than `context_width` generated tokens before them are watermarked.

        If so, with contexts padded on the left by PAD; otherwise they carry no watermark. The function
        only states this rule; generation and detection follow it.
        """

    @property
    def reads_prompt(self) -> bool:
        """Whether contexts of generation reach into the prompt, which detection does not know."""

    @property
    def memory(self) -> int | None:
        """For how many positions generation remembers a context, which it does not use again meanwhile: None
        for as long as the text is, 0 if it uses contexts as often as they come."""

    @property
    def masks_prompt(self) -> bool:
        """Whether generation leaves out the contexts that occur in the prompt."""

    @property
    def rounds(self) -> int | None:
        """How many tournament bits it has of a token, which are then those that a tournament must have; None
        for as many as are asked for."""

    @property
    def same_positions(self) -> Hashable:
        """Functions with equal ones score the same positions of a text."""

    @property
    def supplies(self) -> frozenset[Kind]:
        """The kinds of numbers that it has; asking for others is an error."""

    @property
    def streams(self) -> frozenset[Stream]:
        """Those that it has; asking for others is an error."""

    @property
    def serves(self) -> str:
        """What can be done with the numbers that it has, for messages."""

    @property
    def fingerprint(self) -> str:
        """A few hex digits that name the key and do not reveal it."""

    def uniform(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """U: `[..., m]` float64, uniform and strictly inside (0, 1)."""

    def race(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """E = -log U ~ Exp(1): `[..., m]` float64, finite and > 0; from the same U as `uniform`."""

    def coin(self, contexts: np.ndarray) -> np.ndarray:
        """The acceptance coin: `[...]` float64, uniform and strictly inside (0, 1)."""

    def bits(self, stream: Stream, contexts: np.ndarray, tokens: Array, word: int = 0) -> Array:
        """64 fair bits per token: `[..., m]` int64; `word` k holds rounds 64 k .. 64 k + 63."""

    def side_information(self, stream: Stream, contexts: np.ndarray, k: int) -> np.ndarray:
        """What transport watermarks read of a position: `[...]` int64, uniform on 0 .. k-1."""

    def score_uniforms(self, tokens: np.ndarray, k: int) -> np.ndarray:
        """A uniform for every token and value of the side information: `[m] -> [m, k]` float64 in (0, 1);
        a function of the key alone, so that the scores of a token are the same at all positions."""

    def buckets(self, tokens: Array, m: int) -> Array:
        """A hash of token ids `[...]` to 0 .. m-1, uniform and independent for different tokens: a function
        of the key alone."""

    def lists(self, stream: Stream, contexts: np.ndarray, tokens: Array, gamma: float) -> Array:
        """Whether tokens are on the green list of their position, which has the share `gamma` of all:
        `[..., m]` booleans."""

    def position(self, stream: Stream, contexts: np.ndarray) -> np.ndarray:
        """A uniform of the position, independent of those of tokens: `[...]` float64, strictly inside
        (0, 1)."""

    def check_vocabulary(self, tokens: int) -> None:
        """Raise ValueError if the numbers are of another model than one of so many tokens, padding among
        them: where they depend on it."""

    def origins(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray | None:
        """What a token's numbers depend on, for contexts [t, context_width] and tokens [t]: [t] int64, equal
        where they are the same numbers. None where that is the context and nothing else.

        Detection counts every one once. Generation, where it has a memory, masks the contexts that have those
        of a context before: they then depend on contexts alone."""


class BasePrf:
    """What functions have in common: a function of one's own derives from it, and says in `supplies` which of
    these it has. All others are errors that say so."""

    supplies: ClassVar[frozenset[Kind]]
    streams: ClassVar[frozenset[Stream]] = frozenset(Stream)
    serves: ClassVar[str] = "what needs none of it"
    #: As of decoders: what it has too much of for a stranger's record to name it; or None.
    excess: ClassVar[str | None] = None
    reads_prompt: ClassVar[bool] = False
    masks_prompt: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """See `Prf.name`."""
        raise NotImplementedError

    @property
    def memory(self) -> int | None:
        """See `Prf.memory`."""
        return None

    @property
    def rounds(self) -> int | None:
        """See `Prf.rounds`."""
        return None

    @classmethod
    def check_decoder(cls, decoder: Any) -> None:
        """Raise ValueError unless a decoder, whose kinds of numbers the function has, reads them as texts of
        its format have it."""

    @property
    def same_positions(self: Prf) -> Hashable:
        """See `Prf.same_positions`."""
        return self.pads_contexts, self.context_width

    def check_vocabulary(self, tokens: int) -> None:
        """See `Prf.check_vocabulary`."""

    def origins(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray | None:
        """See `Prf.origins`."""
        return None

    def uniform(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """See `Prf.uniform`."""
        raise self._lacks(Kind.RACE)

    def race(self, stream: Stream, contexts: np.ndarray, tokens: Array) -> Array:
        """See `Prf.race`."""
        return minus_log(self.uniform(stream, contexts, tokens))

    def coin(self, contexts: np.ndarray) -> np.ndarray:
        """See `Prf.coin`."""
        raise self._lacks(Kind.COIN)

    def bits(self, stream: Stream, contexts: np.ndarray, tokens: Array, word: int = 0) -> Array:
        """See `Prf.bits`."""
        raise self._lacks(Kind.BITS)

    def side_information(self, stream: Stream, contexts: np.ndarray, k: int) -> np.ndarray:
        """See `Prf.side_information`."""
        raise self._lacks(Kind.SIDE_INFORMATION)

    def score_uniforms(self, tokens: np.ndarray, k: int) -> np.ndarray:
        """See `Prf.score_uniforms`."""
        raise _lacks(self.name, ["scores"], self.serves)

    def buckets(self, tokens: Array, m: int) -> Array:
        """See `Prf.buckets`."""
        raise self._lacks(Kind.BUCKETS)

    def lists(self, stream: Stream, contexts: np.ndarray, tokens: Array, gamma: float) -> Array:
        """See `Prf.lists`."""
        raise self._lacks(Kind.LISTS)

    def position(self, stream: Stream, contexts: np.ndarray) -> np.ndarray:
        """See `Prf.position`."""
        raise self._lacks(Kind.POSITION)

    def _lacks(self, kind: Kind) -> ValueError:
        return _lacks(self.name, [kind], self.serves)


def check_supplied(prf: Prf, needs: Iterable[Kind], streams: Iterable[Stream] = ()) -> None:
    """Raise ValueError, naming them, if the function lacks kinds of numbers or streams that are needed, or if
    what is needed is no `Kind`."""
    unknown = [kind for kind in needs if not isinstance(kind, Kind)]
    if unknown:
        raise ValueError(
            f"needs hold {unknown[0]!r}, which is no Kind; write them as frozenset({{Kind.RACE}}), with "
            f"{', '.join(Kind.__members__)}"
        )
    wanted = [*(set(needs) - prf.supplies), *(f"a stream {s.value!r}" for s in set(streams) - prf.streams)]
    if wanted:
        raise lacks(prf, wanted)


def lacks(prf: Prf, what: Iterable[str]) -> ValueError:
    """The error for numbers that a function does not have."""
    return _lacks(prf.name, what, prf.serves)


def _lacks(name: str, what: Iterable[str], serves: str) -> ValueError:
    return ValueError(
        f"{name} does not define {' and '.join(sorted(what))}; with it use {serves}; the default prf "
        f"{DEFAULT_PRF} has all"
    )


def check_width(width: int) -> None:
    """Raise ValueError unless `width` is a whole number of 1 to 64."""
    if (
        isinstance(width, bool)
        or not isinstance(width, int | np.integer)
        or not 1 <= width <= _WIDEST_CONTEXT
    ):
        raise ValueError(
            f"context_width={width!r} must be a whole number of 1 to {_WIDEST_CONTEXT}; 2 and 4 are usual"
        )


def check_gamma(gamma: float) -> None:
    """Raise ValueError unless `gamma` is a share, above 0 and below 1."""
    if not isinstance(gamma, float) or not 0 < gamma < 1:
        raise ValueError(
            f"gamma={gamma!r} must be a share of the vocabulary above 0 and below 1; 0.25 is usual"
        )


def check_contexts(contexts: np.ndarray, width: int) -> np.ndarray:
    """`contexts` as an integer array `[..., width]`; ValueError otherwise."""
    contexts = np.asarray(contexts)
    if contexts.dtype.kind not in "iu":
        raise ValueError(f"contexts hold {contexts.dtype} values; pass integer token ids")
    if contexts.ndim < 1 or contexts.shape[-1] != width:
        raise ValueError(
            f"contexts have shape {contexts.shape}; the last axis must hold the {width} token ids before "
            "the position (context_width)"
        )
    return contexts


def check_tokens(tokens: Array) -> Array:
    """`tokens` as an int64 array `[..., m]` of ids >= 0; ValueError otherwise.

    Ids on an accelerator are not looked at: to wait for them would stall every generated token.
    """
    if not is_array_api_obj(tokens):
        raise ValueError(f"tokens are {type(tokens).__name__}; pass a NumPy or torch array of token ids")
    xp = namespace(tokens)
    if not xp.isdtype(tokens.dtype, "integral"):
        raise ValueError(f"tokens hold {tokens.dtype} values; pass integer token ids")
    if tokens.ndim < 1:
        raise ValueError("tokens have no axis; pass [m] token ids, as in tokens[..., None]")
    if on_host(tokens) and 0 not in tokens.shape and (lowest := int(to_numpy(tokens).min())) < 0:
        raise ValueError(f"tokens hold the id {lowest}; pass ids >= 0 and drop padding first")
    return xp.astype(tokens, xp.int64, copy=False)
