"""What a server accepts, of whom, and how much of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field

from tradeoff.keyed import KeyFile, Keyring
from tradeoff.scheme import Scheme
from tradeoff.verdicts import Options

__all__ = ["Access", "Limits", "Setup", "Writing", "is_loopback"]

#: The shortest token that is no word.
_SHORTEST_TOKEN = 16


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one may ask for.

    Args:
        max_bytes: of the body of a request.
        max_characters: of the texts of a request together.
        max_tokens: of the token ids of a request together.
        max_texts: in a file.
        queue: requests that are read, wait or are judged at a time.
        timeout: seconds in which the body of a request must be there, and those in which its answer must be.
        rate: requests a minute for each client address, of which a whole minute's may come at once; None for
            any number.

    Raises:
        ValueError: for what lets nothing through.
    """

    max_bytes: int = 4 << 20
    max_characters: int = 1_000_000
    max_tokens: int = 100_000
    max_texts: int = 1_000
    queue: int = 64
    timeout: float = 30.0
    rate: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_characters", "max_tokens", "max_texts", "queue"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name}={value} lets nothing through; pass 1 or more")
        if not 0 < self.timeout <= 3600:
            raise ValueError(f"timeout={self.timeout} must be above 0 and at most 3600 seconds; 30 is usual")
        if self.rate is not None and not 0 < self.rate <= 1e6:
            raise ValueError(
                f"rate={self.rate} must be above 0 and at most a million requests a minute; leave it out for "
                "any number"
            )


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask.

    Args:
        host: the address to listen at.
        token: that requests must show; None for none.
        names: host names, beside those of this machine, by which a server that listens at a loopback address
            may be asked for, as a proxy in front of it is.
        open_to_all: whether to listen at an address that others reach without a token.

    Raises:
        ValueError: for such an address without a token, or a token that is too short.
    """

    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    open_to_all: bool = False

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < _SHORTEST_TOKEN or not _is_plain(self.token)):
            raise ValueError(
                f"the token is none of {_SHORTEST_TOKEN} or more printable ASCII characters without blanks; "
                "make one, for example with `openssl rand -hex 32`"
            )
        if not self.loopback and self.token is None and not self.open_to_all:
            raise ValueError(
                f"host={self.host!r} can be reached by others, and anybody who asks could try texts against "
                "the keys; set TRADEOFF_SERVE_TOKEN, or pass --token-file; or --open-to-all where something "
                "in front of it tells who may ask"
            )

    @property
    def loopback(self) -> bool:
        """Whether this machine alone reaches it."""
        return is_loopback(self.host)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every process that judges is started with. No key is in it, as keys are not handed around.

    Attributes:
        options: what is looked for.
        read_keys: reads the keys; a function that can be pickled, or a method of what can.
        limits: of a request.
    """

    options: Options
    read_keys: Callable[[], Keyring]
    limits: Limits


@dataclass(frozen=True, kw_only=True)
class Writing:
    """What the process that generates is started with, and how much one may ask it for. No key is in it.

    Args:
        scheme: how to watermark.
        read_key: reads the key that marks; a function that can be pickled, or a method of what can.
        target, draft, device, dtype: as of `tradeoff.llm.load_pair`.
        lookahead: K, draft tokens a step.
        max_new_tokens: of a text.
        max_samples: texts of a request.
        queue: requests that are written or wait to be.
        progress: whether it is shown on standard error how models are loaded.

    Raises:
        ValueError: for a scheme without a watermark, or limits that let nothing through.
    """

    scheme: Scheme
    read_key: Callable[[], KeyFile]
    target: str = "builtin"
    draft: str = "builtin"
    device: str | None = None
    dtype: str | None = None
    lookahead: int = 3
    max_new_tokens: int = 512
    max_samples: int = 4
    queue: int = 8
    progress: bool = True

    def __post_init__(self) -> None:
        if not self.scheme.marks:
            raise ValueError(
                f"scheme={self.scheme.label!r} writes no watermark, and a server marks its texts; leave the "
                "method out, or name another"
            )
        for name in ("lookahead", "max_new_tokens", "max_samples", "queue"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name}={value} lets nothing through; pass 1 or more")


def is_loopback(host: str) -> bool:
    """Whether an address or name is one of this machine, for itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_plain(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token
