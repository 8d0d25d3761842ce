"""Texts to verdicts: their tokens, the tests that are made of them, and what those say together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial

import numpy as np

from tradeoff.detection import (
    Evidence,
    Exactness,
    Score,
    SegmentSearch,
    Sequential,
    detect,
    for_parts,
    holm,
    of_e_values,
)
from tradeoff.errors import FileError
from tradeoff.keyed import KeyFormatError, Keyring
from tradeoff.texts import STDIN, Broken, Claims, Text
from tradeoff.verdicts.options import Options
from tradeoff.verdicts.result import Reading, Result, Tested
from tradeoff.verdicts.seen import SeenContexts
from tradeoff.verdicts.settings import Setting, Settings
from tradeoff.verdicts.spelling import numbers
from tradeoff.verdicts.tokens import Digested, Form, Tokens

__all__ = ["TOGETHER", "Examiner"]

#: Tokens read at a time by sequential detection.
_STEP = 64
_SEARCH = SegmentSearch()
#: Warnings that are told: every record may have one of its own.
_MOST_WARNINGS = 100
#: Texts that are judged together, at most.
TOGETHER = 512
#: And their tokens or characters.
_LONG = 1 << 18


@dataclass
class _Case:
    """A text on its way to a verdict."""

    text: Text
    settings: tuple[Setting, ...]
    remarks: list[str]
    forms: dict[str, list[Form]] = field(default_factory=dict)
    tests: list[tuple[Setting, Form]] = field(default_factory=list)
    # Of every test, which positions count, where texts share contexts.
    new: list[np.ndarray] = field(default_factory=list)
    readings: dict[int, Reading] = field(default_factory=dict)


class Examiner:
    """Judges texts; what they have in common is made once.

    Args:
        options: what the caller says.
        keyring: the keys to look for.
        warn: called with what keys, records and the options disagree about, once each.
        note: called once with what is assumed of texts that say nothing.
        seen: contexts of the texts before, which do not count again; None if every text counts by itself.
        tokens: gives tokenizers by their names, as another examiner of the same keys has loaded them.

    Raises:
        ValueError: for keys that do not fit the options; FileError for a detector that cannot be read.
    """

    def __init__(
        self,
        options: Options,
        keyring: Keyring,
        warn: Callable[[str], None],
        note: Callable[[str], None],
        seen: SeenContexts | None = None,
        tokens: Callable[[str], Tokens] | None = None,
    ):
        self._keyring = keyring
        self._options, self._warn, self._note, self._seen = options, warn, note, seen
        # Of whatever text it speaks first: every other one would say the same.
        self._noted = False
        self._warned: set[str] = set()
        self._settings = Settings(options, keyring)
        self._check_tokenizers(keyring)
        self._tokens = tokens or lru_cache(maxsize=None)(
            lambda name: Tokens(name, [one.key for one in self._settings.own if one.tokenizer == name])
        )

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What is tested of every text; its record may add one more for every key."""
        return self._settings.own

    def anew(self, options: Options, warn: Callable[[str], None], note: Callable[[str], None]) -> Examiner:
        """An examiner of the same keys that knows nothing of the texts before, and loads no tokenizer again.

        Args:
            options: of the same tokenizer.
            warn, note: as of the class.

        Raises:
            ValueError: as of the class, and for another tokenizer.
        """
        if options.tokenizer != self._options.tokenizer:
            raise ValueError(
                f"tokenizer={options.tokenizer!r} is not {self._options.tokenizer!r}, which is loaded; make "
                "another Examiner"
            )
        return Examiner(options, self._keyring, warn, note, tokens=self._tokens)

    def examine(self, text: Text) -> Result:
        """Judge one text.

        Raises:
            FileError: if the text cannot be read with these options, which names its place, or if a
                tokenizer is needed and not to be had.
            ValueError: for options or a key with which no such text can be read.
        """
        case = self._case(text)
        if self._options.sequential:
            readings, at_one_look = self._in_sequence(case)
            return replace(self._result(case, readings), at_one_look=at_one_look)
        (found,) = self._judge([case])
        if isinstance(found, ValueError):
            raise found
        return found

    def examine_all(
        self, texts: Iterable[Text | Broken], together: int = TOGETHER
    ) -> Iterator[Result | Broken]:
        """Judge texts in order, several at a time.

        Args:
            texts: as they come; what cannot be read is passed on.
            together: how many are waited for at most, until they are judged.
        """
        waiting: list[Text | Broken] = []
        held = 0
        for text in texts:
            long = isinstance(text, Text) and _size(text) is None
            if long or self._options.sequential:
                # Its words come straight from a file, and only until the next text is asked for.
                yield from self._all(waiting)
                waiting, held = [], 0
                yield self._or_broken(text)
                continue
            waiting.append(text)
            held += (_size(text) or 0) if isinstance(text, Text) else 0
            if len(waiting) >= together or held >= _LONG:
                yield from self._all(waiting)
                waiting, held = [], 0
        yield from self._all(waiting)

    def _or_broken(self, text: Text | Broken) -> Result | Broken:
        if isinstance(text, Broken):
            return text
        try:
            return self.examine(text)
        except ValueError as error:
            return Broken(text.source, str(error))

    def _all(self, texts: Sequence[Text | Broken]) -> Iterator[Result | Broken]:
        cases = [self._case(text) if isinstance(text, Text) else None for text in texts]
        judged = iter(self._judge([case for case in cases if case is not None]))
        for text, case in zip(texts, cases, strict=True):
            if case is None:
                assert isinstance(text, Broken)
                yield text
                continue
            found = next(judged)
            yield Broken(text.source, str(found)) if isinstance(found, ValueError) else found

    def _case(self, text: Text) -> _Case:
        settings, remarks = self._settings.of(text)
        for remark in remarks:
            self._warn_once(remark)
        return _Case(text, settings, remarks)

    def _judge(self, cases: Sequence[_Case]) -> list[Result | ValueError]:
        """Of every text the verdict, or why there is none."""
        failed: dict[int, ValueError] = {}
        self._tokenise(cases, failed)
        groups: dict[Setting, list[tuple[int, int]]] = defaultdict(list)
        for number, case in enumerate(cases):
            if number not in failed:
                case.tests = _different(case)
                if self._seen is not None:
                    case.new = self._new_positions(case, self._seen)
                for place, (setting, _) in enumerate(case.tests):
                    groups[setting].append((number, place))
        # Those with the same positions stand side by side: what they share is made once.
        shared: dict[object, tuple[Evidence, np.ndarray]] = {}
        for setting, members in groups.items():
            try:
                self._read(setting, [cases[number] for number, _ in members], [p for _, p in members], shared)
            except ValueError:
                # Some text is at fault, which is found out one by one.
                for number, place in members:
                    try:
                        self._read(setting, [cases[number]], [place], {})
                    except ValueError as error:
                        failed.setdefault(number, self._of_text(error, cases[number].text))
        return [
            failed[number]
            if number in failed
            else self._result(case, [case.readings[place] for place in range(len(case.tests))])
            for number, case in enumerate(cases)
        ]

    def _read(
        self,
        setting: Setting,
        cases: Sequence[_Case],
        places: Sequence[int],
        shared: dict[object, tuple[Evidence, np.ndarray]],
    ) -> None:
        """One test of several texts; `places` are those of the test among all of each text."""
        forms = [case.tests[place][1] for case, place in zip(cases, places, strict=True)]
        new = [case.new[place] for case, place in zip(cases, places, strict=True) if case.new]
        detector, prf = setting.detector, setting.prf
        if len(forms) == 1 or detector.exactness is Exactness.GIVEN_TEXT:
            texts = [Evidence(form.ids, prf) for form in forms]
            if new:
                texts = [evidence.restricted(kept) for evidence, kept in zip(texts, new, strict=True)]
            scores = [detect(detector, evidence) for evidence in texts]
        else:
            scores = self._scores(setting, forms, new, shared)
        parts = for_parts(detector)
        by_count: dict[int, list[int]] = defaultdict(list)
        for i, case in enumerate(cases):
            by_count[len(case.tests)].append(i)
        for count, members in by_count.items():
            level = self._options.fpr / count
            some = [scores[i] for i in members]
            found = (
                _SEARCH.search_all(parts, some, level)
                if self._options.segments and parts is not None
                else [None] * len(some)
            )
            for i, score, segments in zip(members, some, found, strict=True):
                corrected = None if segments is None else segments.corrected(count)
                log_p = score.log_p if segments is None else segments.log_p
                # Equal settings may stand for different methods, as records say.
                own = cases[i].tests[places[i]][0]
                cases[i].readings[places[i]] = Reading(own, forms[i], score, log_p, corrected)

    def _scores(
        self,
        setting: Setting,
        forms: Sequence[Form],
        new: Sequence[np.ndarray],
        shared: dict[object, tuple[Evidence, np.ndarray]],
    ) -> list[Score]:
        detector, prf = setting.detector, setting.prf
        which = (prf.same_positions, tuple(id(form) for form in forms))
        if which not in shared:
            joined, limits = Evidence.of_texts([form.ids for form in forms], prf)
            if new:
                kept = np.concatenate(new)
                joined, limits = joined.restricted(kept), np.append(0, np.cumsum(kept))[limits]
            shared[which] = joined, limits
        evidence, bounds = shared[which][0].under(prf), shared[which][1]
        contributions = detector.contributions(evidence)
        # Positions are counted in a row of all texts, each with padding before it.
        before = (
            np.cumsum([0, *(len(form.ids) + prf.context_width for form in forms[:-1])]) + prf.context_width
        )
        scores = []
        for i, offset in enumerate(before):
            here = slice(bounds[i], bounds[i + 1])
            own = contributions[here]
            statistic = float(own.sum())
            log_p = detector.log_p(statistic, len(own)) if len(own) else 0.0
            scores.append(
                Score(detector.name, statistic, log_p, len(own), evidence.index[here] - offset, own)
            )
        return scores

    def _new_positions(self, case: _Case, seen: SeenContexts) -> list[np.ndarray]:
        """Of every test, which positions have contexts that no text before had: [t] each."""
        forms = {id(form): form for _, form in case.tests}
        prfs = {one.prf.same_positions: one.prf for one, _ in case.tests}
        masks = {
            (kind, name): mask
            for kind, prf in prfs.items()
            for name, mask in zip(forms, seen.new(list(forms.values()), prf), strict=True)
        }
        return [masks[one.prf.same_positions, id(form)] for one, form in case.tests]

    def _in_sequence(self, case: _Case) -> tuple[list[Reading], Callable[[], Result | None]]:
        """The tokens until the verdict is certain, and what they say under every setting; and what gives
        the same of all tokens at one look."""
        names = {setting.tokenizer for setting in case.settings}
        text, known = case.text, self._known_form(case.text)
        if known is None and len(names) > 1:
            raise ValueError(
                f"tokenizers {', '.join(sorted(names))} are named by profiles, and sequential detection "
                "reads words once; name one with --tokenizer, or leave sequential out"
            )
        pieces = Digested(text.pieces or ())
        try:
            blocks = iter([known.ids]) if known is not None else self._token_blocks(text, pieces, names.pop())
            level = self._options.fpr / len(case.settings)
            late = self._options.segments
            bets = [Sequential(one.bets, late=late) for one in case.settings if one.bets is not None]
            streams = [bet.stream(one.prf, level) for bet, one in zip(bets, case.settings, strict=True)]
            read, needed = [np.zeros(0, dtype=np.int64)], None
            for block in blocks:
                read.append(block)
                for first in range(0, len(block), _STEP):
                    if needed is None:
                        for stream in streams:
                            stream.feed(block[first : first + _STEP])
                        found = [s.tokens_needed for s in streams if s.tokens_needed is not None]
                        needed = min(found, default=None)
                if needed is not None:
                    break
        except ValueError as error:
            raise self._of_text(error, text) from error
        ids = np.concatenate(read)[:needed]
        digest = pieces.digest if known is None else None
        form = Form(ids, None if known is None else known.length, known is None, None, digest)
        readings = []
        for setting, bet, stream in zip(case.settings, bets, streams, strict=True):
            index, log_e = np.array(stream.index, dtype=np.int64), np.array(stream.log_e)
            index, log_e = index[index < len(ids)], log_e[index < len(ids)]
            log_p = float(of_e_values(bet.name, log_e, index).log_p[-1]) if len(index) else 0.0
            score = Score(bet.name, float(log_e.sum()), log_p, len(index), index, log_e)
            readings.append(
                Reading(setting, form, score, log_p, bets=bet, tokens_needed=stream.tokens_needed)
            )

        # Once, as words can be read once.
        @cache
        def at_one_look() -> Result | None:
            if needed is not None and known is None and text.source == STDIN and pieces.arriving:
                return None
            try:
                everything = np.concatenate([*read, *blocks])
            except ValueError:
                # What comes later is no part of the verdict, and may be malformed, or closed.
                return None
            return self._at_one_look(
                case, replace(form, ids=everything, digest=pieces.digest if known is None else None)
            )

        return readings, at_one_look

    def _at_one_look(self, case: _Case, form: Form) -> Result:
        """What the fixed-length tests of a case's settings say of tokens."""
        whole = _Case(case.text, case.settings, case.remarks)
        whole.forms = {setting.tokenizer: [form] for setting in case.settings}
        whole.tests = _different(whole)
        for place, (setting, _) in enumerate(whole.tests):
            self._read(setting, [whole], [place], {})
        readings = [whole.readings[place] for place in range(len(whole.tests))]
        return replace(self._result(whole, readings), sequential=False)

    def _result(self, case: _Case, readings: Sequence[Reading]) -> Result:
        log_p = [reading.log_p for reading in readings]
        # One test needs no correction, whose arrays would take as long as the rest of a verdict.
        corrected = holm(np.array(log_p)).tolist() if len(log_p) > 1 else log_p
        tests = tuple(map(Tested, readings, corrected))
        self._tell_assumed(case, tests[0].reading)
        best = min(range(len(readings)), key=lambda i: readings[i].log_p)
        shared = int((~case.new[best]).sum()) if case.new else 0
        return Result(
            text=case.text,
            tests=tests,
            fpr=self._options.fpr,
            sequential=self._options.sequential,
            spell=self.words,
            shared=shared,
            remarks=tuple(case.remarks),
            vocabulary=partial(self._vocabulary, case.text, readings[best].setting.tokenizer),
        )

    def words(self, result: Result) -> list[str]:
        """The tokens of a text, spelled: [n]; as numbers where the tokenizer is not the text's own.

        Raises:
            FileError: if the tokenizer that the options name is not to be had.
        """
        tokens = self._tokens(result.reading.setting.tokenizer)
        ids = result.token_ids
        return tokens.words(ids) if self._spells(result.text, tokens) else numbers(ids.tolist())

    def _tokenise(self, cases: Sequence[_Case], failed: dict[int, ValueError]) -> None:
        """Give every text its forms, or the reason why it has none."""
        worded: dict[str, list[int]] = defaultdict(list)
        for number, case in enumerate(cases):
            known = self._known_form(case.text)
            told = case.text.claims.vocabulary
            if known is not None and told is not None and known.ids.max(initial=0) >= told:
                self._remark(
                    case, f"{case.text.place}: token_ids hold {known.ids.max()}, but run.vocabulary={told}"
                )
            if known is None and case.text.pieces == []:
                known = Form(np.zeros(0, dtype=np.int64), 0, True)
            for name in {setting.tokenizer for setting in case.settings}:
                if known is not None:
                    case.forms[name] = [known]
                else:
                    worded[name].append(number)
        for name, members in worded.items():
            tokens = self._tokens(name)
            short = [n for n in members if _is_short(cases[n].text)]
            if len(worded) > 1:
                # Words that come only once are kept for the next tokenizer.
                for n in set(members) - set(short):
                    cases[n].text = replace(cases[n].text, pieces=list(cases[n].text.pieces or ()))
            try:
                for n, forms in zip(short, tokens.forms_of_all([cases[n].text for n in short]), strict=True):
                    cases[n].forms[name] = forms
            except FileError as error:
                failed |= {n: error for n in short if n not in failed}
            for n in sorted(set(members) - set(short)):
                try:
                    cases[n].forms[name] = tokens.forms(cases[n].text)
                except FileError as error:
                    failed.setdefault(n, error)
            for n in members:
                if n not in failed:
                    self._tell_other_vocabulary(cases[n], tokens)

    def _known_form(self, text: Text) -> Form | None:
        """Of a text whose tokens are known, unless they are to be made of its words."""
        if text.token_ids is None or self._options.retokenize:
            return None
        length = sum(map(len, text.pieces)) if isinstance(text.pieces, list) else None
        return Form(np.asarray(text.token_ids, dtype=np.int64), length)

    def _token_blocks(self, text: Text, pieces: Iterable[str], name: str) -> Iterator[np.ndarray]:
        if text.pieces is None:
            raise FileError(f'{text.place} has no "text" to tokenise; leave retokenize out')
        return self._tokens(name).blocks(pieces)

    def _vocabulary(self, text: Text, name: str) -> str | None:
        """The hash of the vocabulary that a text's tokens are numbers of, as far as is known."""
        tokens = self._tokens(name)
        return tokens.vocabulary if not tokens.why_not and tokens.is_own(text) else None

    def _tell_other_vocabulary(self, case: _Case, tokens: Tokens) -> None:
        if not tokens.is_own(case.text):
            self._remark(
                case,
                f"{case.text.source} holds texts written with run.vocabulary={case.text.claims.vocabulary}"
                f", but the tokenizer {tokens.name} has {len(tokens)} tokens: if that is true, no watermark "
                "can be found this way; pass that model's tokenizer with --tokenizer",
            )

    def _tell_assumed(self, case: _Case, reading: Reading) -> None:
        """What nobody says of a text's generation."""
        if self._noted:
            return
        assumed = self._settings.assumed(case.text.claims)
        if not assumed:
            return
        self._noted = True
        named = self._options.tokenizer is not None or reading.setting.key.profile.tokenizer is not None
        if reading.form.tokenised and not named:
            assumed["tokenizer"] = reading.setting.tokenizer
        values = ", ".join(f"{what.replace('_', ' ')} {value}" for what, value in assumed.items())
        names = ", ".join("--" + what.replace("_", "-") for what in assumed)
        self._note(f"assumed: {values}; the text names none: pass {names} as at generation")

    def _check_tokenizers(self, keyring: Keyring) -> None:
        """A tokenizer that is named is the one of every profile that names one, or shares its hash."""
        named = self._options.tokenizer
        for key in keyring:
            meant = key.profile.tokenizer
            if named is not None and meant not in (None, named) and key.profile.tokenizer_hash is None:
                raise ValueError(
                    f"tokenizer={named!r} is not that of key {key.name or key.fingerprint}, whose profile "
                    f"has tokenizer={meant!r}; leave --tokenizer out, or change the profile"
                )

    def _spells(self, text: Text, tokens: Tokens) -> bool:
        """Whether the tokenizer is there, and as far as is known this text's own."""
        if tokens.why_not:
            if self._options.tokenizer is not None:
                raise FileError(f"tokens are shown as numbers: {tokens.why_not}")
            self._warn_once(
                f"tokens are shown as numbers, because no tokenizer was named and {tokens.why_not}"
            )
            return False
        if not tokens.is_own(text):
            self._warn_once(
                f"tokens of {text.source} are shown as numbers: run.vocabulary={text.claims.vocabulary}, but "
                f"the tokenizer {tokens.name} has {len(tokens)} tokens; name the text's own with --tokenizer"
            )
            return False
        return True

    def _of_text(self, error: ValueError, text: Text) -> ValueError:
        """The error with the place of the text, unless it is of no text."""
        if isinstance(error, FileError | KeyFormatError) or text.claims == Claims():
            return error
        return FileError(f"{text.place}: {error}")

    def _remark(self, case: _Case, message: str) -> None:
        case.remarks.append(message)
        self._warn_once(message)

    def _warn_once(self, message: str) -> None:
        if message in self._warned or len(self._warned) > _MOST_WARNINGS:
            return
        self._warned.add(message)
        if len(self._warned) > _MOST_WARNINGS:
            message = "texts and options disagree about more, which is not told"
        self._warn(message)


def _different(case: _Case) -> list[tuple[Setting, Form]]:
    """The tests of a text; those of the same tokens that differ in the tokenizer alone are one."""
    forms: list[Form] = []
    tests: dict[object, tuple[Setting, Form]] = {}
    for setting in case.settings:
        for form in case.forms[setting.tokenizer]:
            which = next((i for i, one in enumerate(forms) if np.array_equal(one.ids, form.ids)), len(forms))
            if which == len(forms):
                forms.append(form)
            tests.setdefault((setting.prf, setting.detector, which), (setting, forms[which]))
    return list(tests.values())


def _size(text: Text) -> int | None:
    """Tokens or characters of a text that is here; None if it is read as it is tokenised."""
    if text.token_ids is not None:
        return len(text.token_ids)
    return sum(map(len, text.pieces)) if isinstance(text.pieces, list) else None


def _is_short(text: Text) -> bool:
    """Whether its words are here, and few enough to be tokenised with others."""
    return isinstance(text.pieces, list) and (_size(text) or 0) < _LONG
