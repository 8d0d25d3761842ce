"""Which key marks a text, and how: what commands that generate make of options and profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from tradeoff.cli.workers import KeysToRead

if TYPE_CHECKING:
    from tradeoff.keyed import KeyFile, Keyring
    from tradeoff.scheme import Scheme
    from tradeoff.serving import Writing
    from tradeoff.verdicts import Options

__all__ = ["KeyToMark", "key_to_mark", "only", "scheme_under", "valid_today", "writing_of"]


def scheme_under(
    used: KeyFile,
    method: str | None,
    watermark: str | None,
    *,
    width: int | None = None,
    alpha: float | None,
    prf: str | None,
    context_width: int | None,
) -> Scheme:
    """How a key marks: what options leave open is as its profile says, else the default.

    Args:
        used: the key.
        method, watermark, width, alpha, prf, context_width: as of `Scheme.of`.

    Raises:
        ValueError: for names that are unknown or do not fit.
    """
    from tradeoff.keyed import prf_type, watermark_of
    from tradeoff.scheme import Scheme

    profile = used.profile
    if method is None and watermark is None:
        method = profile.method
    watermark = watermark or profile.watermark
    prf = prf or profile.prf or used.default_prf
    if prf_type(prf).key_type is used.kind:
        watermark = watermark or watermark_of(prf, used.key)
    context_width = profile.context_width if context_width is None else context_width
    if alpha is None and method == profile.method:
        alpha = profile.alpha
    return Scheme.of(method, watermark, width=width, alpha=alpha, prf=prf, context_width=context_width)


def valid_today(key: KeyFile) -> KeyFile:
    """A key that is in use.

    Raises:
        ValueError: for one whose days have not come, or are over.
    """
    today = date.today()
    if not key.valid_on(today):
        raise ValueError(
            f"key {key.name or key.fingerprint} is valid from {key.valid_from or 'ever'} until "
            f"{key.valid_until or 'further notice'}, and today is {today}; make a new key, or change its days"
        )
    return key


def key_to_mark(keyring: Keyring, named: str | None) -> KeyFile:
    """The key of several that marks.

    Args:
        keyring: all of them.
        named: by its name or fingerprint; None for the only one that is valid today.

    Raises:
        ValueError: for a name of none or of several, and where not exactly one is valid today.
    """
    if named is not None:
        found = [key for key in keyring if named in (key.name, key.fingerprint)]
        if len(found) != 1:
            count = f"{len(found)} keys have" if found else "no key has"
            raise ValueError(
                f"--generate-key {named}: {count} this name or fingerprint; see `tradeoff key list`"
            )
        return valid_today(found[0])
    if len(keyring) == 1:
        return valid_today(next(iter(keyring)))
    valid = keyring.on(date.today()).keys
    if len(valid) > 1:
        names = ", ".join(key.name or key.fingerprint for key in valid)
        raise ValueError(f"{len(valid)} keys are valid today: {names}; name one with --generate-key")
    return valid[0]


@dataclass(frozen=True)
class KeyToMark:
    """Where the key is that marks; the process that generates reads it itself.

    Attributes:
        keys: where it stands, with others.
        fingerprint: which of them it is.
    """

    keys: KeysToRead
    fingerprint: str

    def read(self) -> KeyFile:
        """The key.

        Raises:
            ValueError: if it cannot be read, or is not there any more.
        """
        for key in self.keys.read():
            if key.fingerprint == self.fingerprint:
                return key
        raise ValueError(f"no key {self.fingerprint} is left where it was read; restart the server")


def only(name: str, given: Any) -> Any:
    """What an option says that may be given several times, where one thing alone can be meant.

    Raises:
        ValueError: for several.
    """
    if given and len(given) > 1:
        raise ValueError(f"--generate writes by one {name}, and {len(given)} are given; pass one, or none")
    return given[0] if given else None


def writing_of(options: Options, keys: KeysToRead, named: str | None, said: Mapping[str, Any]) -> Writing:
    """What `tradeoff serve --generate` generates: as `tradeoff generate` does under the same options.

    Args:
        options: of verdicts, which say how texts are marked as well.
        keys: of the server.
        named: the key that marks; None for the only one that is valid today.
        said: of `Writing`, where an option says it.

    Raises:
        ValueError: for a key that is not valid, several methods or watermarks, or names that do not fit.
    """
    from tradeoff.serving import Writing

    used = key_to_mark(keys.read(), named)
    scheme = scheme_under(
        used,
        only("--method", options.method),
        only("--watermark", options.watermark),
        alpha=options.alpha,
        prf=only("--prf", options.prf),
        context_width=only("--context-width", options.context_width),
    )
    # Refuses a key of another kind before models are loaded.
    scheme.function(used.key)
    return Writing(scheme=scheme, read_key=KeyToMark(keys, used.fingerprint).read, **said)
