"""What is told of a text in a line: all that leaves a worker process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tradeoff.verdicts.result import Outcome, Result

__all__ = ["Told"]


@dataclass(frozen=True)
class Told:
    """A finding without the key and the numbers behind it.

    Attributes:
        id, label: names of the text, alone and among those of other files.
        verdict: what is said of it.
        facts: as `Result.to_dict` gives them.
        remarks: lines for people: where the watermark is, and what was changed in the words.
        tested: every setting that was tested: what it reads, how it is called, and whether the text's record
            alone named it.
    """

    id: str
    label: str
    verdict: Outcome
    facts: dict[str, Any]
    remarks: tuple[str, ...]
    tested: tuple[tuple[str, str, bool], ...]

    @classmethod
    def of(cls, result: Result) -> Told:
        """What is told of a result."""
        remarks: Iterable[str] = [result.where] if result.verdict is Outcome.IN_PART else []
        if (normal := result.reading.form.normal) is not None:
            remarks = [*remarks, f"read without {', '.join(normal.changes)}"]
        settings = [one.reading.setting for one in result.tests]
        return cls(
            result.text.id,
            result.text.label,
            result.verdict,
            result.to_dict(),
            tuple(remarks),
            tuple((setting.identity, setting.label, setting.claimed) for setting in settings),
        )
