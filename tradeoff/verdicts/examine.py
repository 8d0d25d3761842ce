"""One text at a time: its tokens, what it is taken to be, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeoff.decoders import Decoder, parse_decoder, watermarks
from tradeoff.detection import (
    Detector,
    Evidence,
    Score,
    SegmentSearch,
    Sequential,
    detect,
    detector_called,
    of_e_values,
)
from tradeoff.display import INSTALL_LLM
from tradeoff.errors import FileError
from tradeoff.kernels import JOINT, METHODS, Method, Standard
from tradeoff.keyed import Key, KeyFormatError, Prf, check_width, prf_type
from tradeoff.scheme import Scheme, Sight, read_watermark
from tradeoff.texts import Claims, Text
from tradeoff.verdicts.result import Reading, Result
from tradeoff.verdicts.spelling import Speller, numbers

if TYPE_CHECKING:
    from tradeoff.detection import BayesDetector

__all__ = ["Examiner", "Options"]

#: Tokens read at a time by sequential detection.
_STEP = 64
_SEARCH = SegmentSearch()
#: What becomes of texts of another scheme than is looked for.
_PROSPECTS = {
    Sight.PART: "their watermark is read in part, and harder to find this way",
    Sight.NOTHING: "their watermark cannot be found this way",
}
#: Characters that are kept of the piece before.
_LONGEST_WORD = 100
#: How many logits more or fewer than tokens a model may have, to be the tokenizer's own for all one knows.
_PADDING = 1024
#: What is made once for many texts: more than the texts of one user need, however many others bring.
_REMEMBERED = 64
#: Warnings that are told: every record may have one of its own.
_MOST_WARNINGS = 100


#: How many watermarks the records of one examiner may name.
_MOST_NAMED = 16


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the caller says of texts; None where a text's record, or else a default, decides.

    Args:
        method: of generation, by name; a `Method` holds its watermark as well.
        watermark, prf, context_width: of generation, by name.
        tokenizer: for texts without token ids; None is the built-in one.
        retokenize: tokenise the words even where token ids are known.
        detector: instead of the untrained one: a detector, the file of a fitted one, or a name given by
            `register_detector`.
        fpr: false-positive rate, in (0, 1).
        sequential: bet on the tokens one by one, and stop reading once the verdict is certain.
        segments: look for parts that are watermarked; else a text is judged as a whole, as it is in any case
            by detectors without exact p-values of parts.

    Raises:
        ValueError: for values that no text could make valid.
    """

    method: str | Method | None = None
    watermark: str | None = None
    prf: str | None = None
    context_width: int | None = None
    tokenizer: str | None = None
    retokenize: bool = False
    detector: Detector | Path | str | None = None
    fpr: float = 0.01
    sequential: bool = False
    segments: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr={self.fpr} must be between 0 and 1; 0.01 is usual")
        if self.prf is not None:
            prf_type(self.prf)
        if self.context_width is not None:
            check_width(self.context_width)
        if self.watermark is not None and not read_watermark(self.watermark).marks:
            raise ValueError(
                f"watermark={self.watermark!r} is no watermark to detect; pass the one to look for: "
                + watermarks()
            )
        if self.method is not None:
            # The functions and widths that records may name are checked with them.
            named = isinstance(self.method, str) and self.watermark is None
            Scheme.of(self.method, "gumbel" if named else self.watermark).detector()
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

    @classmethod
    def of(cls, scheme: Scheme, **others: Any) -> Options:
        """Those that look for one scheme, whatever records say."""
        return cls(method=scheme.method, prf=scheme.prf, context_width=scheme.context_width, **others)


class Examiner:
    """Examines texts one by one; what texts have in common is made once.

    Args:
        options: what the caller says.
        key: gives the key for the pseudorandom function of that name.
        warn: called with what a record and the options disagree about, once each.
        note: called once with what is assumed of texts that say nothing, and once with what is not tested.

    Raises:
        ValueError: for a missing or unfit key if the options say which one is needed; FileError for a
            detector that cannot be read.
    """

    def __init__(
        self,
        options: Options,
        key: Callable[[str], Key | int],
        warn: Callable[[str], None],
        note: Callable[[str], None],
    ):
        self._options, self._warn, self._note = options, warn, note
        # Of whatever text they speak first: every other one would say the same.
        self._noted_assumed = self._noted_unclaimed = False
        self._warned: set[str] = set()
        self._remarks: list[str] = []
        self._length: int | None = None
        self._named: set[Decoder] = set()
        # The key is asked for once a function, however many widths records name.
        self._key = lru_cache(maxsize=None)(key)
        self._function = lru_cache(maxsize=_REMEMBERED)(lambda scheme: scheme.function(self._key(scheme.prf)))
        self._scheme = lru_cache(maxsize=_REMEMBERED)(_scheme_of)
        if options.prf is not None:
            self._key(options.prf)
        self._fitted: BayesDetector | None = None
        self._called: Callable[[Method], Detector] | None = None
        if isinstance(options.detector, str | Path):
            if _is_file(options.detector):
                self._fitted = _fitted(Path(options.detector))
            else:
                self._called = lru_cache(maxsize=_REMEMBERED)(detector_called(str(options.detector)))

    def examine(self, text: Text) -> Result:
        """Score one text.

        Raises:
            FileError: if the text and its record cannot be read with these options, which names its place, or
                if a tokenizer is needed and not to be had.
            ValueError: for options or a key with which no such text can be read.
        """
        claims, self._remarks = text.claims, []
        try:
            if self._claims_none(claims):
                self._tell_unclaimed(text)
                unmarked = Scheme.of(claims.method or Standard.name, "none")
                return self._result(text, self._token_ids(text), unmarked, None)
            scheme = self._looked_for(claims)
            prf = self._function(scheme)
            told = self._told(claims)
            self._compare(text, scheme, prf, told)
            if self._options.sequential:
                ids, reading = self._read_sequentially(text, Sequential(scheme.bets()), prf)
            else:
                detector, ids = self._detector_of(scheme, prf, told), self._token_ids(text)
                reading = self._read(detector, Evidence(ids, prf), prf)
        except ValueError as error:
            if isinstance(error, FileError | KeyFormatError) or claims == Claims():
                raise
            raise FileError(f"{text.place}: {error}") from error
        if self._options.method is None and claims.method is None and told:
            self._tell_assumed(claims, scheme)
        return self._result(text, ids, scheme if told else None, reading)

    def _result(self, text: Text, ids: np.ndarray, scheme: Scheme | None, reading: Reading | None) -> Result:
        return Result(
            text=text,
            token_ids=ids,
            scheme=scheme,
            reading=reading,
            fpr=self._options.fpr,
            sequential=self._options.sequential,
            spell=self.words,
            length=self._length,
            tokenised=self._tokenised(text),
            remarks=tuple(self._remarks),
        )

    def _read(self, detector: Detector, evidence: Evidence, prf: Prf) -> Reading:
        """What the tokens say, and where."""
        score, segments = detect(detector, evidence), None
        if self._options.segments and detector.exactness.of_parts:
            segments = _SEARCH.search(detector, score, self._options.fpr)
        return Reading(prf, detector, evidence, score, segments)

    def _read_sequentially(self, text: Text, detector: Sequential, prf: Prf) -> tuple[np.ndarray, Reading]:
        """The tokens until the verdict is certain, and what they say."""
        stream, read = detector.stream(prf, self._options.fpr), [np.zeros(0, dtype=np.int64)]
        for ids in self._token_blocks(text):
            for first in range(0, len(ids), _STEP):
                if stream.tokens_needed is None:
                    read.append(ids[first : first + _STEP])
                    stream.feed(read[-1])
            if stream.tokens_needed is not None:
                break
        needed = stream.tokens_needed
        ids = np.concatenate(read)[:needed]
        index, log_e = np.array(stream.index, dtype=np.int64), np.array(stream.log_e)
        index, log_e = index[index < len(ids)], log_e[index < len(ids)]
        log_p = float(of_e_values(detector.name, log_e, index).log_p[-1]) if len(index) else 0.0
        score = Score(detector.name, float(log_e.sum()), log_p, len(index), index, log_e)
        return ids, Reading(prf, detector, Evidence(ids, prf), score, tokens_needed=needed)

    def words(self, result: Result) -> list[str]:
        """The tokens of a text, spelled: [n]; as numbers where the tokenizer is not the text's own.

        Raises:
            FileError: if the tokenizer that the options name is not to be had.
        """
        spell = self._speller.words if self._spells(result.text) else numbers
        return spell(result.token_ids.tolist())

    def _claims_none(self, claims: Claims) -> bool:
        """Whether the record says that there is no watermark, and nobody says which one to look for."""
        options = self._options
        if options.method is not None or self._fitted is not None:
            return False
        return claims.method == Standard.name or (options.watermark or claims.watermark) == "none"

    def _told(self, claims: Claims) -> bool:
        """Whether the scheme is known or assumed: not where a fitted detector alone says what to read."""
        return self._fitted is None or (self._options.method or claims.method) is not None

    def _looked_for(self, claims: Claims) -> Scheme:
        """The scheme of the text: as the options say, else its record, else the defaults."""
        options = self._options
        watermark = options.watermark
        if self._fitted is not None and not self._told(claims):
            watermark = self._fitted.watermark
        elif watermark is None and not isinstance(options.method, Method):
            watermark = claims.watermark
            if watermark is None or (options.method is not None and watermark == "none"):
                # The record of a text without a watermark does not say which one to look for.
                watermark = "gumbel" if self._fitted is None else self._fitted.watermark
            else:
                self._check_named(watermark)
        method = options.method or claims.method
        if method is None and self._fitted is not None:
            # Whatever the method, the fitted detector reads; any that carries its watermark will do.
            method = "basic"
        return self._scheme(
            method,
            watermark,
            options.prf or claims.prf,
            claims.context_width if options.context_width is None else options.context_width,
        )

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

    def _compare(self, text: Text, scheme: Scheme, prf: Prf, told: bool) -> None:
        """Warn of a record of other numbers, streams or another watermark than are read."""
        claims = text.claims
        for what, named, used in (
            ("prf", claims.prf, prf.name),
            ("context_width", claims.context_width, prf.context_width),
            ("key (fingerprint)", claims.key, prf.fingerprint),
        ):
            if named is not None and named != used:
                self._warn_once(
                    f"{text.source} holds texts of {what} {named}, but {used} is looked for; "
                    + _PROSPECTS[Sight.NOTHING]
                )
        if not told:
            return
        written = METHODS.get(claims.method or "")
        if written is not None and written.detection.streams:
            sight = scheme.sees_streams(written.detection)
            if sight is not Sight.WHOLE:
                self._warn_once(
                    f"{text.source} holds texts of method {claims.method}, but {scheme.method.name} is "
                    f"looked for; {_PROSPECTS[sight]}"
                )
        try:
            decoder = parse_decoder(claims.watermark or "none")
        except ValueError:
            # The options say what to look for instead of a watermark that is unknown here.
            return
        sight = scheme.sees_watermark(decoder) if decoder.marks else Sight.WHOLE
        if sight is not Sight.WHOLE:
            self._warn_once(
                f"{text.source} holds texts of watermark {claims.watermark}, but "
                f"{scheme.watermark} is looked for; {_PROSPECTS[sight]}"
            )

    def _tell_unclaimed(self, text: Text) -> None:
        if not self._noted_unclaimed:
            self._noted_unclaimed = True
            self._note(
                f"{text.place}: its record claims no watermark, so none is looked for; to use it as a "
                f"control pass --method {JOINT}"
            )

    def _tell_assumed(self, claims: Claims, scheme: Scheme) -> None:
        """What neither the text nor an option says of its generation."""
        if self._noted_assumed:
            return
        self._noted_assumed = True
        options = self._options
        assumed = {"method": scheme.method.name}
        if options.watermark is None and claims.watermark is None:
            assumed["watermark"] = scheme.watermark
        if options.prf is None and claims.prf is None:
            assumed["prf"] = scheme.prf
        if options.context_width is None and claims.context_width is None:
            assumed["context width"] = str(scheme.context_width)
        values = ", ".join(f"{what} {value}" for what, value in assumed.items())
        names = ", ".join("--" + what.replace(" ", "-") for what in assumed)
        self._note(f"assumed: {values}; the text names none: pass {names} as at generation")

    def _detector_of(self, scheme: Scheme, prf: Prf, told: bool) -> Detector:
        if self._fitted is not None:
            if told:
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
            self._warn_once(
                f"detector {detector.name} reads the streams {', '.join(sorted(read))}, but "
                f"{scheme.method.name} draws from {', '.join(sorted(written))}; " + _PROSPECTS[Sight.PART]
            )

    def _token_ids(self, text: Text) -> np.ndarray:
        blocks = list(self._token_blocks(text))
        return blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros(0, dtype=np.int64), *blocks])

    def _token_blocks(self, text: Text) -> Iterator[np.ndarray]:
        """The tokens, in the pieces that the words come in."""
        told = text.claims.vocabulary
        if text.token_ids is not None and not self._tokenised(text):
            self._length = None if text.pieces is None else sum(map(len, text.pieces))
            ids = np.asarray(text.token_ids, dtype=np.int64)
            if told is not None and ids.size and ids.max() >= told:
                raise ValueError(
                    f"token_ids hold {ids.max()}, but run.vocabulary={told}; repair the record, or remove it"
                )
            yield ids
            return
        if text.pieces is None:
            raise FileError(f'{text.place} has no "text" to tokenise; leave retokenize out')
        if not self._is_own(text):
            raise ValueError(
                f"the tokenizer {self._tokenizer_name} has {len(self._tokenizer)} tokens, but the text was "
                f"written with run.vocabulary={told}; pass that model's tokenizer with --tokenizer"
            )
        before, self._length = "", 0
        for piece in text.pieces:
            self._length += len(piece)
            # Some tokenizers treat the start of what they are given in a way of their own: the last word of
            # the piece before goes in front, and its tokens are taken off again.
            ids = self._ids(before + piece)
            yield ids[len(self._ids(before)) :] if before else ids
            before = piece[max(piece.rfind(" "), len(piece) - _LONGEST_WORD, 0) :]

    def _tokenised(self, text: Text) -> bool:
        return text.token_ids is None or self._options.retokenize

    def _ids(self, words: str) -> np.ndarray:
        # Special tokens at the start are no part of what was generated.
        spelled = self._tokenizer(words, add_special_tokens=False, verbose=False)
        return np.array(spelled["input_ids"], dtype=np.int64)

    @property
    def _tokenizer_name(self) -> str:
        return self._options.tokenizer or "builtin"

    @property
    def _tokenizer(self) -> Any:
        tokenizer, why = self._tokenizer_or_why
        if tokenizer is None:
            # It is no text's own fault: the same words each time, so that they need be told only once.
            raise FileError(f"words cannot be tokenised: {why}")
        return tokenizer

    @cached_property
    def _tokenizer_or_why(self) -> tuple[Any, str]:
        """(tokenizer, ""), or (None, why there is none): asked for once, as a download takes its time."""
        try:
            # Only texts without token ids, and views, pay for importing Transformers.
            from tradeoff.llm import load_tokenizer

            return load_tokenizer(self._tokenizer_name), ""
        except ModuleNotFoundError as error:
            return None, f"{error}; {INSTALL_LLM}"
        except RuntimeError as error:
            return None, str(error)

    @cached_property
    def _speller(self) -> Speller:
        return Speller(self._tokenizer)

    def _spells(self, text: Text) -> bool:
        """Whether the tokenizer is there, and as far as is known this text's own."""
        tokenizer, why = self._tokenizer_or_why
        if tokenizer is None:
            if self._options.tokenizer is not None:
                raise FileError(f"tokens are shown as numbers: {why}")
            self._warn_once(f"tokens are shown as numbers, because no tokenizer was named and {why}")
            return False
        if not self._is_own(text):
            self._warn_once(
                f"tokens of {text.source} are shown as numbers: run.vocabulary={text.claims.vocabulary}, but "
                f"the tokenizer {self._tokenizer_name} has {len(tokenizer)} tokens; name the text's own with "
                "--tokenizer"
            )
            return False
        return True

    def _is_own(self, text: Text) -> bool:
        """Whether, as far as is known, the tokenizer is that of the model that wrote the text.

        Models often have a few logits more than their tokenizer has tokens, padding, or fewer, where tokens
        were added. Of a text that is there in both forms its own tokens tell.
        """
        told = text.claims.vocabulary
        if told is None or told == len(self._tokenizer):
            return True
        if text.pieces is not None and text.token_ids is not None:
            ids, words = list(map(int, text.token_ids)), "".join(text.pieces)
            return any(
                self._tokenizer.decode(ids, skip_special_tokens=skip) == words for skip in (True, False)
            )
        return abs(told - len(self._tokenizer)) <= _PADDING

    def _warn_once(self, message: str) -> None:
        self._remarks.append(message)
        if message in self._warned or len(self._warned) > _MOST_WARNINGS:
            return
        self._warned.add(message)
        if len(self._warned) > _MOST_WARNINGS:
            message = "texts and options disagree about more, which is not told"
        self._warn(message)


def _is_file(detector: str | Path) -> bool:
    """Whether a detector is named by a file: unless it looks like none and is none."""
    path = Path(detector)
    return isinstance(detector, Path) or path.exists() or bool(path.suffix) or len(path.parts) > 1


def _fitted(path: Path) -> BayesDetector:
    # Needs PyTorch, which nothing else here does.
    from tradeoff.detection import load_bayes

    return load_bayes(path)


def _scheme_of(
    method: str | Method | None, watermark: str | None, prf: str | None, context_width: int | None
) -> Scheme:
    return Scheme.of(method, watermark, prf=prf, context_width=context_width)
