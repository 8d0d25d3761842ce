"""What is tested of a text: keys with the schemes that options, keyring and record name.

The options and the keyring decide. A record is a witness: it may add a setting of its own, for which the
correction pays, and can take none away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tradeoff.decoders import Decoder, parse_decoder
from tradeoff.detection import Detector, Evidence, detector_called
from tradeoff.kernels import METHODS, Method, Standard
from tradeoff.keyed import (
    DEFAULT_PRF,
    KeyFile,
    Keyring,
    Prf,
    parse_prf,
    prf_type,
    reader_of,
    watermark_of,
)
from tradeoff.scheme import Scheme, Sight, read_watermark
from tradeoff.texts import Claims, Text
from tradeoff.verdicts.options import Options

if TYPE_CHECKING:
    from tradeoff.detection import BayesDetector, Bets, TokenAware

__all__ = ["Setting", "Settings"]

#: What becomes of texts of another scheme than is looked for.
_PROSPECTS = {
    Sight.PART: "their watermark is read in part, and harder to find this way",
    Sight.NOTHING: "their watermark cannot be found this way",
}
#: What is made once for many texts: more than the texts of one user need, however many others bring.
_REMEMBERED = 64
#: How many watermarks, and how many functions, the records of one examiner may name.
_MOST_NAMED = 16
#: The tokenizer of texts of which nobody says another.
_BUILTIN = "builtin"


@dataclass(frozen=True)
class Setting:
    """One test: a key, and how texts under it are read.

    Attributes:
        prf: the function under the key.
        detector: what reads its numbers.
        tokenizer: of words.
        bets: of sequential detection; None without it.
        key: with its name.
        scheme: by which the text would be generated; None if a fitted detector was told nothing.
        claimed: whether a text's record alone names it.
    """

    prf: Prf
    detector: Detector
    tokenizer: str
    bets: Bets | None
    key: KeyFile = field(compare=False)
    scheme: Scheme | None = field(compare=False)
    claimed: bool = field(default=False, compare=False)

    @cached_property
    def identity(self) -> str:
        """The same for settings that are the same test, in whatever process."""
        prf = self.prf
        reads = f"{self.detector!r} {self.bets!r} {self.tokenizer}"
        return f"{reads} {prf.name} {prf.context_width} {prf.fingerprint}"

    @cached_property
    def label(self) -> str:
        """For people: "joint-race with Gumbel-max, context width 4, key 7c3d... (letters)"."""
        what = self.detector.name if self.scheme is None else self.scheme.label
        name = f" ({self.key.name})" if self.key.name else ""
        prf = "" if self.prf.name == DEFAULT_PRF else f", {self.prf.name}"
        return f"{what}{prf}, context width {self.prf.context_width}, key {self.prf.fingerprint}{name}"


class Settings:
    """The settings of every text.

    Args:
        options: what the caller says.
        keyring: the keys to look for.

    Attributes:
        own: what options and keyring say: one or more, whatever the text.

    Raises:
        ValueError: for keys that do not fit the options, or profiles that cannot be tested; FileError for a
            detector that cannot be read.
    """

    def __init__(self, options: Options, keyring: Keyring):
        self._options, self._keyring = options, keyring
        self._named: set[Decoder] = set()
        self._functions: set[str] = set()
        self._function = lru_cache(maxsize=_REMEMBERED)(_function)
        self._scheme = lru_cache(maxsize=_REMEMBERED)(_scheme_of)
        self._of_claims = lru_cache(maxsize=_REMEMBERED)(self._with_claims)
        self._fitted: BayesDetector | TokenAware | None = None
        self._called: Callable[[Method], Detector] | None = None
        if isinstance(options.detector, str | Path):
            if _is_file(options.detector):
                self._fitted = _loaded(Path(options.detector))
            else:
                self._called = lru_cache(maxsize=_REMEMBERED)(detector_called(str(options.detector)))
        self._partly: dict[str, None] = {}
        self._check_keys()
        # Those that read the same are one test.
        self.own = tuple(dict.fromkeys(self._combined(None)))

    def of(self, text: Text) -> tuple[tuple[Setting, ...], list[str]]:
        """What is tested of a text, and what its record and the options disagree about."""
        settings, faults = self._of_claims(text.claims)
        remarks = [f"{text.place}: {fault}" for fault in faults] or self._differences(text, settings)
        return settings, [*self._partly, *remarks]

    def assumed(self, claims: Claims) -> dict[str, str]:
        """What nobody says of how such texts are generated, by the names of options; empty if a method is
        named."""
        options, profiles = self._options, [key.profile for key in self._keyring]
        if options.schemes or options.methods or claims.method is not None or self._fitted is not None:
            return {}
        if any(profile.method is not None for profile in profiles):
            return {}
        first = self.own[0]
        assert first.scheme is not None
        assumed = {"method": first.scheme.method.name}
        for name, given in (
            ("watermark", options.watermarks),
            ("prf", options.prfs),
            ("context_width", options.context_widths),
        ):
            # One profile says nothing of the texts of another key.
            silent = [key for key in self._keyring if getattr(key.profile, name) is None]
            if not given and getattr(claims, name) is None and silent:
                assumed[name] = str(getattr(next(iter(self._schemes(silent[0], None))), name))
        return assumed

    def _check_keys(self) -> None:
        """Keys of a kind that none of the named functions takes are told, with the remedy."""
        options = self._options
        prfs = [scheme.prf for scheme in options.schemes] or list(options.prfs)
        for key in self._keyring:
            wanted = prfs or [_prf_of_profile(key) or key.default_prf]
            if all(prf_type(prf).key_type is not key.kind for prf in wanted):
                # The function says what it takes.
                parse_prf(wanted[0], key.key)

    def _with_claims(self, claims: Claims) -> tuple[tuple[Setting, ...], tuple[str, ...]]:
        """The settings of texts with a record, and why one that it names is not among them."""
        if claims.fault is not None:
            return self.own, (f"its record is of no use ({claims.fault}), and is passed over",)
        if self._options.schemes or not _claims_any(claims):
            return self.own, ()
        try:
            if claims.watermark is not None and not self._options.watermarks:
                self._check_named(claims.watermark)
            if claims.prf is not None and not self._options.prfs:
                self._check_function(claims.prf)
            if self._fitted is not None:
                self._fitted.check_reads(
                    self._scheme(claims.method, claims.watermark, None, None, None).method
                )
            return self._and_own(self._combined(claims)), ()
        except ValueError as error:
            return self.own, (f"what its record names is not tested: {error}",)

    def _and_own(self, claimed: Iterable[Setting]) -> tuple[Setting, ...]:
        """The settings that options and keyring say, and those of a record that read anything else."""
        found = {one: one for one in self.own}
        for one in claimed:
            same = found.setdefault(one, one)
            if same is not one and not self._options.methods:
                # The same test: what generated the text is as its record says.
                found[one] = replace(same, scheme=one.scheme)
        return tuple(found.values())

    def _combined(self, claims: Claims | None) -> Iterator[Setting]:
        """All combinations of keys and schemes, as a record says where options do not; None for none."""
        for key in self._keyring:
            if claims is not None and claims.key is not None and claims.key != key.fingerprint:
                continue
            for scheme in self._schemes(key, claims) if claims else self._of_profile(key):
                if prf_type(scheme.prf).key_type is not key.kind:
                    continue
                prf = scheme.reads(self._function(key, scheme))
                yield Setting(
                    prf,
                    self._detector_of(scheme, prf),
                    self._options.tokenizer or key.profile.tokenizer or _BUILTIN,
                    scheme.bets() if self._options.sequential else None,
                    key,
                    scheme if self._told else None,
                    claims is not None,
                )

    def _of_profile(self, key: KeyFile) -> Iterable[Scheme]:
        """The schemes of a key without a record.

        Raises:
            ValueError: for those that nothing can be detected by; it names a key with a profile.
        """
        try:
            schemes = list(self._schemes(key, None))
            for scheme in schemes:
                scheme.detector()
        except ValueError as error:
            raise _of_profile_of(key, error) from None
        return schemes

    @property
    def _told(self) -> bool:
        """Whether the scheme is known or assumed: not where a fitted detector alone says what to read."""
        return self._fitted is None or bool(self._options.methods or self._options.schemes)

    def _schemes(self, key: KeyFile, claims: Claims | None) -> Iterable[Scheme]:
        options, profile = self._options, key.profile
        if options.schemes:
            return options.schemes
        told = Claims() if claims is None else claims
        method, watermark, prf, width = (
            getattr(profile, name) if getattr(told, name) is None else getattr(told, name)
            for name in ("method", "watermark", "prf", "context_width")
        )
        if self._fitted is not None:
            # Whatever the method, the fitted detector reads; any that carries its watermark will do.
            method, watermark = "basic", self._fitted.watermark
        combinations = product(
            options.methods or (method,),
            options.watermarks or (watermark,),
            options.prfs or (prf or key.default_prf,),
            options.context_widths or (width,),
        )
        # The weights that a profile or a record names are of the method that it names.
        claimed = {} if profile.method is None else {profile.method: profile.alpha}
        claimed |= {} if told.method is None else {told.method: told.alpha}
        return [
            self._scheme(
                how,
                what or _usual_watermark(key, how, function),
                function,
                tokens,
                claimed.get(how) if options.alpha is None else options.alpha,
            )
            for how, what, function, tokens in combinations
        ]

    def _check_named(self, watermark: str) -> None:
        """Records name few watermarks, and none that takes long to read, as anybody may write records."""
        decoder = read_watermark(watermark)
        # As it is spelled here: what stands in a record may be meant for the shell.
        name = decoder.spelling
        remedy = f"pass --watermark {name} to look for it all the same"
        if decoder.excess is not None:
            raise ValueError(f"watermark={name!r} has {decoder.excess}; {remedy}")
        if decoder not in self._named and len(self._named) == _MOST_NAMED:
            raise ValueError(
                f"watermark={name!r} is one more than the {_MOST_NAMED} that records may name; {remedy}"
            )
        self._named.add(decoder)

    def _check_function(self, prf: str) -> None:
        """Records name few pseudorandom functions, and none that takes long, as anybody may write records."""
        function = prf_type(prf)
        remedy = f"pass --prf {function.name} to look for it all the same"
        if function.excess is not None:
            raise ValueError(f"prf={function.name!r} has {function.excess}; {remedy}")
        if function.name not in self._functions and len(self._functions) == _MOST_NAMED:
            raise ValueError(
                f"prf={function.name!r} is one more than the {_MOST_NAMED} that records may name; {remedy}"
            )
        self._functions.add(function.name)

    def _detector_of(self, scheme: Scheme, prf: Prf) -> Detector:
        if self._fitted is not None:
            if self._told:
                self._fitted.check_reads(scheme.method)
            return self._fitted
        if self._called is not None:
            return self._called(scheme.method)
        if not isinstance(self._options.detector, Detector):
            return scheme.detector()
        self._check_streams(self._options.detector, scheme, prf)
        return self._options.detector

    def _check_streams(self, detector: Detector, scheme: Scheme, prf: Prf) -> None:
        """A detector of the caller's reads what the scheme writes, at least in part."""
        read = detector.readings(Evidence(np.zeros(0, dtype=np.int64), prf)).columns.keys()
        written = scheme.method.detection.streams
        if written.isdisjoint(read):
            raise ValueError(
                f"detector={detector.name!r} reads the streams {', '.join(sorted(read))}, but "
                f"{scheme.method.name} draws from {', '.join(sorted(written)) or 'none'}; pass another "
                "detector, or the scheme that generated the text"
            )
        if written != frozenset(read):
            self._partly.setdefault(
                f"detector {detector.name} reads the streams {', '.join(sorted(read))}, but "
                f"{scheme.method.name} draws from {', '.join(sorted(written))}; " + _PROSPECTS[Sight.PART]
            )

    def _differences(self, text: Text, settings: tuple[Setting, ...]) -> Iterator[str]:
        """What a record says of other numbers, streams or another watermark than are read."""
        claims = text.claims
        for what, named, used in (
            ("prf", _reader(claims.prf), [one.prf.name for one in settings]),
            ("context_width", claims.context_width, [one.prf.context_width for one in settings]),
            ("key (fingerprint)", claims.key, [one.prf.fingerprint for one in settings]),
        ):
            if named is not None and named not in used:
                yield (
                    f"{text.source} holds texts of {what} {named}, but {_listed(used)} looked for; "
                    + _PROSPECTS[Sight.NOTHING]
                )
        schemes = [one.scheme for one in settings if one.scheme is not None]
        written = METHODS.get(claims.method or "")
        if schemes and written is not None and written.detection.streams:
            told = written.detection
            yield from _seen(
                f"{text.source} holds texts of method {claims.method}",
                [(scheme.method.name, scheme.sees_streams(told)) for scheme in schemes],
            )
        try:
            decoder = parse_decoder(claims.watermark or "none")
        except ValueError:
            # What is looked for was said by others than the record.
            return
        if schemes and decoder.marks:
            yield from _seen(
                f"{text.source} holds texts of watermark {claims.watermark}",
                [(scheme.watermark, scheme.sees_watermark(decoder)) for scheme in schemes],
            )


def _seen(what: str, sights: list[tuple[str, Sight]]) -> Iterator[str]:
    """A warning, unless some scheme sees all of it."""
    found = {sight for _, sight in sights}
    if Sight.WHOLE not in found:
        best = Sight.PART if Sight.PART in found else Sight.NOTHING
        yield f"{what}, but {_listed(name for name, _ in sights)} looked for; {_PROSPECTS[best]}"


def _reader(prf: str | None) -> str | None:
    """The function that reads texts of one, of whatever name."""
    try:
        return prf if prf is None else reader_of(prf)
    except ValueError:
        return prf


def _listed(names: Iterable[object]) -> str:
    """ "4 is", or "2, 4 are"."""
    different = list(dict.fromkeys(map(str, names)))
    return f"{', '.join(different)} {'is' if len(different) == 1 else 'are'}"


def _claims_any(claims: Claims) -> bool:
    """Whether a record names a watermark to look for: one that says there is none takes no test away."""
    named = (claims.method, claims.watermark, claims.prf, claims.context_width)
    return any(one is not None for one in named) and not (
        claims.method == Standard.name or claims.watermark == "none"
    )


def _prf_of_profile(key: KeyFile) -> str | None:
    """The function that a profile names, if it is one."""
    if key.profile.prf is not None:
        try:
            prf_type(key.profile.prf)
        except ValueError as error:
            raise _of_profile_of(key, error) from None
    return key.profile.prf


def _of_profile_of(key: KeyFile, error: ValueError) -> ValueError:
    """The error with the name of the key, if its profile says what others do not."""
    profile = key.profile
    width = prf_type(key.default_prf).context_width
    if (profile.method or profile.watermark or profile.prf) is None and profile.context_width in (
        None,
        width,
    ):
        return error
    return ValueError(f"key {key.name or key.fingerprint}, with its profile: {error}")


def _function(key: KeyFile, scheme: Scheme) -> Prf:
    return scheme.reading_function(key.key)


def _scheme_of(
    method: str | Method | None,
    watermark: str | None,
    prf: str | None,
    context_width: int | None,
    alpha: float | None,
) -> Scheme:
    return Scheme.of(method, watermark, alpha=alpha, prf=prf, context_width=context_width)


def _usual_watermark(key: KeyFile, method: str | Method | None, prf: str) -> str | None:
    """That of a function, where the key decides which; None where `Scheme.of` knows."""
    known = isinstance(method, Method) or method == Standard.name or prf_type(prf).key_type is not key.kind
    return None if known else watermark_of(prf, key.key)


def _is_file(detector: str | Path) -> bool:
    """Whether a detector is named by a file: unless it looks like none and is none."""
    path = Path(detector)
    return isinstance(detector, Path) or path.exists() or bool(path.suffix) or len(path.parts) > 1


def _loaded(path: Path) -> BayesDetector | TokenAware:
    from tradeoff import detection

    try:
        with path.open("rb") as file:
            # As safetensors that would be a header of more than 2^56 bytes.
            is_json = file.read(8) == b'{"format'
    except OSError:
        # What reads it says why not.
        is_json = False
    # Bayesian ones need PyTorch, which nothing else here does.
    return detection.load_token_aware(path) if is_json else detection.load_bayes(path)
