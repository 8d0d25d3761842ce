"""Records of generated texts: what a line of a file of texts says, and what it says of the run that wrote it.

They are read and written here alone; others ask a `Record` for its fields. What comes from files is checked
by one model (`tradeoff.texts._record_model`), what a program makes itself is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from tradeoff.display import shown
from tradeoff.errors import FileError

__all__ = ["Record", "Run", "no_record"]

#: Fields that are no keys of JSON.
_APART = ("further",)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The settings of a run: everything that determines the text of a prompt.

    Attributes:
        method, watermark: as `make_method` and `parse_decoder` read them.
        width: candidates a level of the method.
        alpha: how a detector weighs two keys, 1 - alpha and alpha; None for both alike, or one.
        lookahead: draft tokens a step; 0 without speculation.
        verify: "block" where the drafts of a step were verified together; None for one by one.
        prf, context_width, key: the keyed pseudorandom function, tokens of a context, and the fingerprint of
            the key; None without a watermark.
        temperature, top_k, top_p, min_p: the sampling; no min_p for none.
        controls: penalties and the like, as JSON; None for none.
        unmarked: tokens at the beginning of every text that were to be drawn truly at random; None for none.
        max_tokens: longest text.
        ignore_eos: whether texts went on behind their end.
        seed: of the true randomness.
        target, draft: names of the models; no draft without speculation.
        vocabulary: tokens that both models have; None in files of an earlier version.
        dtype: of the models' numbers.
        weights: fingerprints of the weights, the target's first; None in files of an earlier version.
        measured: whether records have one entry a token of what was measured.
        further: what other versions wrote beside these.
    """

    method: str
    watermark: str
    width: int
    alpha: float | None = None
    lookahead: int
    verify: str | None = None
    prf: str | None
    context_width: int | None
    key: str | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float | None = None
    controls: str | None = None
    unmarked: int | None = None
    max_tokens: int
    ignore_eos: bool
    seed: int
    target: str
    draft: str | None
    vocabulary: int | None = None
    dtype: str
    weights: tuple[str, ...] | None = None
    measured: bool
    further: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def of_json(cls, value: Any, place: str = "run") -> Run:
        """The settings that a JSON object tells.

        Args:
            value: the object.
            place: where it stands, for the message.

        Raises:
            FileError: if it lacks a setting, or has one of another kind.
        """
        from tradeoff.texts._record_model import fault_of_run

        if fault := fault_of_run(value):
            raise FileError(f"{place} does not hold the settings of a run ({fault}); repair or remove it")
        return cls._of(value)

    @classmethod
    def _of(cls, checked: dict[str, Any]) -> Run:
        return cls(**_arguments(cls, checked))

    def to_json(self) -> dict[str, Any]:
        """The settings as they stand in every record."""
        return _told(self)


@dataclass(frozen=True, kw_only=True, repr=False)
class Record:
    """One generated text, and how it came about.

    Attributes:
        id, prompt: name and words of what it continues.
        prompt_hash: of the prompt's token ids.
        prompt_tokens: their number.
        token_ids: [t] the generated tokens.
        text: their words.
        finish: "eos", "length" or "stop".
        accepted: [steps] accepted drafts of every step.
        sources: t letters: d (accepted draft), r (replacement of a rejected one), b (bonus, or no
            speculation).
        unmarked: tokens without a watermark.
        logppl: mean of -log P(token) as sampled, in nats.
        logppl_model: the same at temperature 1 with nothing cut.
        seconds: from admission to the last token.
        batch: how many texts shared the machine.
        log_p: [t] log P(token) as sampled; this and the following only if they were measured.
        entropy: [t] Ent(P).
        overlap: [t] 1 - TV(Q, P) wherever a draft was verified, else None.
        efficiency: [t] expected acceptance of the method there, None also where it has no formula, as in
            blocks.
        by_token, by_block: [steps] how many drafts are accepted in the mean, given these and laws, one by one
            and as a block; of methods that accept min(1, P/Q).
        run: the settings of the run.
        further: what other versions wrote beside these.
    """

    id: str
    prompt: str
    prompt_hash: str
    prompt_tokens: int
    token_ids: tuple[int, ...]
    text: str
    finish: str
    accepted: tuple[int, ...]
    sources: str
    unmarked: int
    logppl: float
    logppl_model: float
    seconds: float
    batch: int
    log_p: tuple[float, ...] | None = None
    entropy: tuple[float, ...] | None = None
    overlap: tuple[float | None, ...] | None = None
    efficiency: tuple[float | None, ...] | None = None
    by_token: tuple[float, ...] | None = None
    by_block: tuple[float, ...] | None = None
    run: Run
    further: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:
        words = f"{len(self.token_ids)} tokens, {self.run.method}, {shown(self.text)}"
        return f"Record({shown(self.id)}, {words})"

    @classmethod
    def of_json(cls, value: Any, place: str = "value") -> Record:
        """The record that a JSON object holds.

        Args:
            value: the object.
            place: where it stands, for the message: file and line.

        Raises:
            FileError: if it lacks a field, has one of another kind, or entries that do not belong to the
                tokens.
        """
        from tradeoff.texts._record_model import fault_of_record

        if fault := fault_of_record(value):
            raise no_record(place, str(fault))
        return cls(**_arguments(cls, value) | {"run": Run._of(value["run"])})

    def to_json(self) -> dict[str, Any]:
        """The record as one line of a file holds it; what was not measured is left out."""
        return _told(self) | {"run": self.run.to_json()}


def no_record(place: str, why: str) -> FileError:
    """The error for what stands at `place` instead of a record."""
    return FileError(
        f"{place} is not a record of a generated text ({why}); repair or remove it, or choose another file "
        "(nothing was changed)"
    )


def _arguments(kind: type[Record] | type[Run], checked: dict[str, Any]) -> dict[str, Any]:
    """Fields as they come from JSON: lists that stay as they are, and what has no field of its own."""
    names = {each.name for each in fields(kind)} - {"further"}
    known = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in checked.items()
        if name in names
    }
    return known | {"further": {name: value for name, value in checked.items() if name not in names}}


def _told(value: Record | Run) -> dict[str, Any]:
    """What JSON says of the fields, in their order, without optional ones that are not there."""
    told: dict[str, Any] = {}
    for each in fields(value):
        content = getattr(value, each.name)
        if each.name not in _APART and not (content is None and each.default is not MISSING):
            told[each.name] = list(content) if isinstance(content, tuple) else content
    return told | dict(value.further)
