"""What was examined, with what, and when: the table of an evidence page. No secret stands in it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from tradeoff.verdicts.pages.sentences import key_name, level_in_words
from tradeoff.verdicts.result import Result, Tested

__all__ = ["Trial", "day_and_time", "facts", "installed_version", "tests_made"]


class Trial(NamedTuple):
    """One test for people: what was looked for, and the logarithms of its p-value."""

    label: str
    log10_p: str
    uncorrected: str


def installed_version() -> str:
    """Of this package: "tradeoff 0.2.0"."""
    try:
        return f"tradeoff {version('tradeoff')}"
    except PackageNotFoundError:
        return "tradeoff, not installed"


def day_and_time(now: datetime | None) -> str:
    """2026-11-30 09:15 UTC.

    Args:
        now: with its time zone; None is the present.
    """
    return f"{(now or datetime.now(UTC)).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def facts(result: Result, whole: Result | None, name: str, examined: str) -> Iterator[tuple[str, str]]:
    """What was examined, with what, and when: a name and a value each.

    Args:
        result: the finding.
        whole: by sequential detection, that of all tokens at one look, where they are there.
        name: of the text.
        examined: the day and time.
    """
    reading, setting, scheme = result.reading, result.reading.setting, result.scheme
    yield "text", name
    yield "examined", examined
    yield "by", installed_version()
    yield from _input(whole or result, complete=whole is not None or result.tokens_needed is None)
    yield "tokens", f"{len(result.token_ids):,} read, of which {result.tokens_scored:,} count"
    if result.sequential:
        needed = result.tokens_needed
        yield "tokens needed", "the level was never reached" if needed is None else f"{needed:,}"
    yield "verdict", str(result.verdict)
    if result.where:
        yield "where", result.where
    yield "key", key_name(setting)
    if scheme is not None:
        yield "method", scheme.method.name
        yield "watermark", scheme.watermark
        if (alpha := scheme.method.alpha) is not None:
            yield "weight of the second key", f"{alpha:g}"
    yield "pseudorandom function", f"{setting.prf.name}, context width {setting.prf.context_width}"
    yield "detector", f"{result.detector} (null law: {reading.detector.null}; {reading.detector.exactness})"
    yield "false-positive rate", f"{result.fpr:g} ({level_in_words(result.fpr)}), set before"
    yield "log10 p", f"{_truncated(result.log10_p)}, corrected for all that was looked at"
    yield "log10 p, had this test alone been made", _truncated(result.uncorrected_log10_p)
    if not result.sequential:
        yield "log10 p, had only the whole text been tested", _truncated(result.whole_log10_p)
    if result.over_texts is not None:
        told = result.to_dict()
        yield "log10 p without the correction for texts", _truncated(told["log10_p_of_text"])
        yield "contexts that texts before had", f"{told['share_of_contexts_seen']:.0%}, which count there"
    if (normal := reading.form.normal) is not None:
        yield "read without", ", ".join(normal.changes)
    for remark in result.remarks:
        yield "remark", remark


def tests_made(result: Result) -> list[Trial]:
    """All tests of a text, the most significant first."""
    return [_told(one) for one in sorted(result.tests, key=lambda one: one.log_p)]


def _told(tested: Tested) -> Trial:
    told = tested.to_dict()
    label = tested.reading.setting.label
    if told["named_by_record"]:
        label += ", named by the text's record"
    if told["without"]:
        label += f", read without {', '.join(told['without'])}"
    return Trial(label, _truncated(told["log10_p"]), _truncated(told["log10_p_uncorrected"]))


def _truncated(log10_p: float) -> str:
    """With two decimals, never stronger than it is."""
    return f"{math.trunc(100 * log10_p) / 100:.2f}"


def _input(result: Result, complete: bool) -> Iterator[tuple[str, str]]:
    """What was judged, so that others can tell whether they have the same."""
    form, tokenizer = result.reading.form, result.reading.setting.tokenizer
    if (place := Path(tokenizer).expanduser()).is_absolute() or place.exists():
        # Where somebody keeps files is nobody else's business.
        tokenizer = place.name
    if not form.tokenised:
        listed = ",".join(map(str, form.ids.tolist()))
        digest = hashlib.sha256(listed.encode()).hexdigest()
        read = "" if complete else "as far as they were read, "
        yield f"SHA-256 of the token ids ({read}decimal, with commas between)", digest
        vocabulary = result.reading.setting.key.profile.tokenizer_hash
        yield (
            "tokenizer",
            f"none was needed: token ids were given (words are shown by {tokenizer}, if at hand)",
        )
    else:
        # Of no words none is kept.
        nothing = hashlib.sha256().hexdigest() if form.length == 0 else None
        digest = form.digest or nothing or "none: the words were not read to their end"
        yield "SHA-256 of the words (UTF-8, line ends as LF)", digest
        vocabulary = result.vocabulary()
        yield "tokenizer", tokenizer
    if vocabulary is not None:
        yield "SHA-256 of its vocabulary", vocabulary
