"""What the caller says of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradeoff.decoders import watermarks
from tradeoff.detection import Detector
from tradeoff.kernels import Method
from tradeoff.keyed import check_width, prf_type
from tradeoff.scheme import Scheme, read_watermark

__all__ = ["Options"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the caller says of texts; None where the profile of a key, or else a default, decides.

    Several methods, watermarks, functions or widths are tested in all combinations, and paid for.

    Args:
        method: of generation, by name, or several; a `Method` holds its watermark as well.
        watermark, prf, context_width: of generation, by name, or several.
        alpha: weight of the second of two keys of Gumbel-max, above 0 and below 1: for the methods two-keys,
            dual-key and algorithm-1. None is a record's, else 0.1 for dual-key and both alike for others.
        tokenizer: for texts without token ids; None is that of the key's profile, else the built-in one.
        retokenize: tokenise the words even where token ids are known.
        detector: instead of the untrained one: a detector, the file of a fitted one, or a name given by
            `register_detector`.
        fpr: false-positive rate, in (0, 1).
        sequential: bet on the tokens one by one, and stop reading once the verdict is certain.
        segments: look for parts that are watermarked; else a text is judged as a whole, as it is in any case
            by detectors without exact p-values of parts. By sequential detection, whether half of the wealth
            is bet on parts that begin and end at any token.
        schemes: instead of method, watermark, prf, context_width and alpha: those to look for, whatever keys
            and records say.

    Raises:
        ValueError: for values that no text could make valid.
    """

    method: str | Method | Sequence[str | Method] | None = None
    watermark: str | Sequence[str] | None = None
    prf: str | Sequence[str] | None = None
    context_width: int | Sequence[int] | None = None
    alpha: float | None = None
    tokenizer: str | None = None
    retokenize: bool = False
    detector: Detector | Path | str | None = None
    fpr: float = 0.01
    sequential: bool = False
    segments: bool = True
    schemes: tuple[Scheme, ...] = ()

    def __post_init__(self) -> None:
        for name in ("method", "watermark", "prf", "context_width"):
            if isinstance(given := getattr(self, name), list):
                # As options are, which are compared and hashed.
                object.__setattr__(self, name, tuple(given))
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr={self.fpr} must be between 0 and 1; 0.01 is usual")
        for prf in self.prfs:
            prf_type(prf)
        for width in self.context_widths:
            check_width(width)
        for watermark in self.watermarks:
            if not read_watermark(watermark).marks:
                raise ValueError(
                    f"watermark={watermark!r} is no watermark to detect; pass the one to look for: "
                    + watermarks()
                )
        for method in self.methods:
            # The functions and widths that keys and records may name are checked with them.
            default = "gumbel" if isinstance(method, str) else None
            for carried in self.watermarks or (default,):
                Scheme.of(method, carried, alpha=self.alpha).detector()
        for scheme in self.schemes:
            scheme.detector()
        given = (self.methods, self.watermarks, self.prfs, self.context_widths)
        if self.schemes and (any(given) or self.alpha is not None):
            raise ValueError("schemes hold method, watermark, prf, context_width and alpha; leave these out")
        if self.sequential and self.detector is not None:
            raise ValueError(
                f"detector={str(self.detector)!r} has a p-value for one length only; leave out sequential or "
                "detector"
            )
        if self.detector is not None and not isinstance(self.detector, str | Path | Detector):
            raise ValueError(f"detector={self.detector!r} is no detector; pass one, a file, or a name")
        if isinstance(self.detector, type):
            name = self.detector.__name__
            raise ValueError(f"detector={name} is a class; pass an object, such as {name}()")

    @property
    def methods(self) -> tuple[str | Method, ...]:
        """Those that are named."""
        return _several(self.method)

    @property
    def watermarks(self) -> tuple[str, ...]:
        """Those that are named."""
        return _several(self.watermark)

    @property
    def prfs(self) -> tuple[str, ...]:
        """Those that are named."""
        return _several(self.prf)

    @property
    def context_widths(self) -> tuple[int, ...]:
        """Those that are named."""
        return _several(self.context_width)

    @classmethod
    def of(cls, schemes: Scheme | Sequence[Scheme], **others: Any) -> Options:
        """Those that look for one scheme or several, whatever keys and records say."""
        return cls(schemes=(schemes,) if isinstance(schemes, Scheme) else tuple(schemes), **others)


def _several(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    return tuple(given) if isinstance(given, list | tuple) else (given,)
