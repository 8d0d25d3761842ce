"""Texts to verdicts: what `tradeoff detect` does with one text, under options and the text's own record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tradeoff.cli.finding import Finding, Reading
from tradeoff.cli.spelling import Speller, numbers
from tradeoff.cli.watermarks import NamedWatermarks, carrying_method, prospect, read_watermark, seen_by
from tradeoff.console import INSTALL_LLM
from tradeoff.decoders import WATERMARKS, Identity, SynthID, decoder_name, parse_decoder
from tradeoff.detection import Detector, Evidence, Result, default_detector, detect
from tradeoff.detection.choice import default_bets
from tradeoff.detection.json_texts import Claims, Text
from tradeoff.detection.sequential import Sequential, of_e_values
from tradeoff.errors import FileError
from tradeoff.kernels import METHODS, Basic, Method, OneRace, Standard
from tradeoff.keys import Key, KeyFormatError
from tradeoff.prf import Prf, check_width
from tradeoff.prf_names import PRF_NAMES, parse_prf

__all__ = ["Examiner", "Options"]

#: Tokens read at a time by sequential detection.
_STEP = 64
#: Characters that are kept of the piece before.
_LONGEST_WORD = 100
#: How many logits more or fewer than tokens a model may have, to be the tokenizer's own for all one knows.
_PADDING = 1024
#: What is made once for many texts: more than the texts of one user need, however many others bring.
_REMEMBERED = 64
#: Warnings that are told: every record may have one of its own.
_MOST_WARNINGS = 100


@dataclass(frozen=True)
class Options:
    """The options of `tradeoff detect`; None where a text's record, or else a default, decides.

    Args:
        method, watermark, prf, context_width: of generation.
        tokenizer: for texts without token ids; None is the built-in one.
        retokenize: tokenise the words even where token ids are known.
        detector: file of a fitted detector.
        fpr: false-positive rate, in (0, 1).
        sequential: bet on the tokens one by one, and stop reading once the verdict is certain.

    Raises:
        ValueError: for values that no text could make valid.
    """

    method: str | None = None
    watermark: str | None = None
    prf: str | None = None
    context_width: int | None = None
    tokenizer: str | None = None
    retokenize: bool = False
    detector: Path | None = None
    fpr: float = 0.01
    sequential: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr={self.fpr} must be between 0 and 1; 0.01 is usual")
        if self.prf is not None and self.prf not in PRF_NAMES:
            raise ValueError(f"prf={self.prf!r} is unknown; use one of {', '.join(PRF_NAMES)}")
        if self.context_width is not None:
            check_width(self.context_width)
        if isinstance(read_watermark(self.watermark or "gumbel"), Identity):
            raise ValueError(
                f"watermark={self.watermark!r} is no watermark to detect; pass the one to look for: "
                + WATERMARKS
            )
        if self.method is not None:
            default_detector(carrying_method(self.method, self.watermark or "gumbel"))
        if self.sequential and self.detector is not None:
            raise ValueError(
                f"detector={str(self.detector)!r} has a p-value for one length only; leave out --sequential "
                "or --detector"
            )


class Examiner:
    """Examines texts one by one; what texts have in common is made once.

    Args:
        options: of the command.
        key: gives the key for the pseudorandom function of that name.
        warn: called with what a record and the options disagree about, once each.
        note: called once with what is assumed of texts that say nothing, and once with what is not tested.

    Raises:
        ValueError: for a missing or unfit key if --prf says which one is needed; FileError for a detector
            that cannot be read.
    """

    def __init__(
        self,
        options: Options,
        key: Callable[[str], Key | int],
        warn: Callable[[str], None],
        note: Callable[[str], None],
    ):
        self._options, self._warn = options, warn
        # Of whatever text they speak first: every other one would say the same.
        self._note_assumed, self._note_unclaimed = _once(note), _once(note)
        remembered = lru_cache(maxsize=_REMEMBERED)
        self._prf = remembered(lambda name, width: parse_prf(name, key(name), width))
        self._method, self._named = remembered(carrying_method), NamedWatermarks()
        self._default_detector, self._bets = remembered(default_detector), remembered(default_bets)
        self._warned: set[str] = set()
        if options.prf is not None:
            self._prf(options.prf, options.context_width)
        self._fitted = None if options.detector is None else _fitted(options.detector)

    def examine(self, text: Text) -> Finding:
        """Score one text.

        Raises:
            FileError: if the text and its record cannot be read with these options, which names its place, or
                if a tokenizer is needed and not to be had.
            ValueError: for options or a key with which no such text can be read.
        """
        try:
            if self._claims_none(text.claims):
                self._note_unclaimed(
                    f"{text.place}: its record claims no watermark, so none is looked for; to use it as a "
                    f"control pass --method {OneRace.name}"
                )
                unmarked: Method = self._method(text.claims.method or Standard.name, "none")
                return self._finding(text, self._token_ids(text), unmarked, None)
            method, prf = self._method_of(text), self._prf_of(text)
            if self._options.sequential and method is not None:
                ids, reading = self._read_sequentially(text, Sequential(self._bets(method)), prf)
            else:
                detector, ids = self._detector_of(method), self._token_ids(text)
                evidence = Evidence(ids, prf)
                reading = Reading(prf, detector, evidence, detect(detector, evidence))
        except ValueError as error:
            if isinstance(error, FileError | KeyFormatError) or text.claims == Claims():
                raise
            raise FileError(f"{text.place}: {error}") from error
        if self._options.method is None and text.claims.method is None and method is not None:
            self._tell_assumed(text.claims, method, prf)
        return self._finding(text, ids, method, reading)

    def _finding(
        self, text: Text, ids: np.ndarray, method: Method | None, reading: Reading | None
    ) -> Finding:
        return Finding(text, ids, method, reading, self._options.fpr, self._options.sequential)

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
        result = Result(detector.name, float(log_e.sum()), log_p, len(index), index, log_e)
        return ids, Reading(prf, detector, Evidence(ids, prf), result, needed)

    def words(self, finding: Finding) -> list[str]:
        """The tokens of a text, spelled: [n]; as numbers where the tokenizer is not the text's own.

        Raises:
            FileError: if the tokenizer that --tokenizer names is not to be had.
        """
        spell = self._speller.words if self._spells(finding.text) else numbers
        return spell(finding.token_ids.tolist())

    def _prf_of(self, text: Text) -> Prf:
        options, claims = self._options, text.claims
        name = options.prf or claims.prf or PRF_NAMES[0]
        width = claims.context_width if options.context_width is None else options.context_width
        prf: Prf = self._prf(name, width)
        used = {"prf": prf.name, "context_width": prf.context_width, "key": prf.fingerprint}
        for what, value in used.items():
            told = getattr(claims, what)
            if told is not None and told != value:
                fingerprint = " (fingerprint)" if what == "key" else ""
                self._warn_once(
                    f"{text.source} holds texts of {what}{fingerprint} {told}, but {value} is looked for; "
                    "their watermark cannot be found this way"
                )
        return prf

    def _claims_none(self, claims: Claims) -> bool:
        """Whether the record says that there is no watermark, and no option says which one to look for."""
        options = self._options
        if options.method is not None or self._fitted is not None:
            return False
        return claims.method == Standard.name or (options.watermark or claims.watermark) == "none"

    def _method_of(self, text: Text) -> Method | None:
        """The method that generated the text; None if nobody told a fitted detector."""
        options, claims = self._options, text.claims
        name = options.method or claims.method
        if name is None and self._fitted is not None:
            return None
        watermark = options.watermark or claims.watermark
        if watermark is None or (options.method is not None and watermark == "none"):
            # The record of a text without a watermark does not say which one to look for.
            watermark = "gumbel" if self._fitted is None else f"synthid:{self._fitted.rounds}"
        elif options.watermark is None:
            self._named.check(watermark)
        method: Method = self._method(name, watermark)
        self._compare(text, method)
        return method

    def _compare(self, text: Text, method: Method) -> None:
        """Warn of a record of other streams or another decoder than are read."""
        claims = text.claims
        streams = METHODS[claims.method].detection.streams if claims.method in METHODS else frozenset()
        if streams and streams != method.detection.streams:
            self._warn_once(
                f"{text.source} holds texts of method {claims.method}, but {method.name} is looked for; "
                + prospect(not streams.isdisjoint(method.detection.streams))
            )
        try:
            told, read = parse_decoder(claims.watermark or "none"), method.decoder
        except ValueError:
            # The options say what to look for instead of a watermark that is unknown here.
            return
        if not isinstance(told, Identity) and default_detector(Basic(told)) != default_detector(Basic(read)):
            self._warn_once(
                f"{text.source} holds texts of watermark {claims.watermark}, but {decoder_name(read)} is "
                "looked for; " + prospect(seen_by(read, told))
            )

    def _tell_assumed(self, claims: Claims, method: Method, prf: Prf) -> None:
        """What neither the text nor an option says of its generation."""
        options = self._options
        assumed = {"method": method.name}
        if options.watermark is None and claims.watermark is None:
            assumed["watermark"] = decoder_name(method.decoder)
        if options.prf is None and claims.prf is None:
            assumed["prf"] = prf.name
        if options.context_width is None and claims.context_width is None:
            assumed["context width"] = str(prf.context_width)
        values = ", ".join(f"{what} {value}" for what, value in assumed.items())
        names = ", ".join("--" + what.replace(" ", "-") for what in assumed)
        self._note_assumed(f"assumed: {values}; the text names none: pass {names} as at generation")

    def _detector_of(self, method: Method | None) -> Detector:
        if self._fitted is None:
            chosen: Detector = self._default_detector(method)
            return chosen
        streams = frozenset(self._fitted.streams)
        if method is None or isinstance(method.decoder, Identity):
            return self._fitted
        if not isinstance(method.decoder, SynthID) or streams != method.detection.streams:
            raise ValueError(
                f"detector={str(self._options.detector)!r} reads SynthID bits of the streams "
                f"{_listed(streams)}, but {method.name} with {method.decoder.name} draws from "
                f"{_listed(method.detection.streams)}; use the detector that was fitted for it"
            )
        return self._fitted

    def _token_ids(self, text: Text) -> np.ndarray:
        blocks = list(self._token_blocks(text))
        return blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros(0, dtype=np.int64), *blocks])

    def _token_blocks(self, text: Text) -> Iterator[np.ndarray]:
        """The tokens, in the pieces that the words come in."""
        told = text.claims.vocabulary
        if text.token_ids is not None and not self._options.retokenize:
            ids = np.asarray(text.token_ids, dtype=np.int64)
            if told is not None and ids.size and ids.max() >= told:
                raise ValueError(
                    f"token_ids hold {ids.max()}, but run.vocabulary={told}; repair the record, or remove it"
                )
            yield ids
            return
        if text.pieces is None:
            raise FileError(f'{text.place} has no "text" to tokenise; leave --retokenize out')
        if not self._is_own(text):
            raise ValueError(
                f"the tokenizer {self._tokenizer_name} has {len(self._tokenizer)} tokens, but the text was "
                f"written with run.vocabulary={told}; pass that model's tokenizer with --tokenizer"
            )
        before = ""
        for piece in text.pieces:
            # Some tokenizers treat the start of what they are given in a way of their own: the last word of
            # the piece before goes in front, and its tokens are taken off again.
            ids = self._ids(before + piece)
            yield ids[len(self._ids(before)) :] if before else ids
            before = piece[max(piece.rfind(" "), len(piece) - _LONGEST_WORD, 0) :]

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
            from tradeoff.llm.loading import load_tokenizer

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
        if message in self._warned or len(self._warned) > _MOST_WARNINGS:
            return
        self._warned.add(message)
        if len(self._warned) > _MOST_WARNINGS:
            message = "texts and options disagree about more, which is not told"
        self._warn(message)


def _fitted(path: Path) -> Any:
    # Needs PyTorch, which nothing else here does.
    from tradeoff.detection.bayes import load_bayes

    return load_bayes(path)


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """`tell`, for its first message alone."""
    first = iter([tell])
    return lambda message: next(first, lambda _: None)(message)


def _listed(streams: frozenset) -> str:
    return ", ".join(sorted(map(str, streams))) or "none"
