"""What a record of a file must be: one model, from which all refusals of records come.

Importing it imports pydantic, so whoever reads no records does not. The model judges and nothing more: its
copies are thrown away, and numbers stay as they were written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from tradeoff.display import shown

__all__ = ["Fault", "fault_of_claims", "fault_of_log_p", "fault_of_record", "fault_of_run"]

#: Characters of the longest claim: three times those of any that is true.
_LONGEST_CLAIM = 256
#: What 64 bits hold.
_MOST = (1 << 63) - 1
#: By how much log P may exceed 0: models compute it in float32, and records have 7 digits.
_ROUNDING = 1e-6
#: In place of the model's own words: what a value is, or is not.
_WHY = {
    "model_type": "is no object",
    "string_type": "is no str",
    "int_type": "is no int",
    "bool_type": "is no bool",
    "float_type": "is no number",
    "literal_error": "is not {expected}",
    "finite_number": "is no finite number",
    "list_type": "is no list",
    "too_short": "is empty",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "greater_than": "is not more than {gt}",
    "less_than": "is not less than {lt}",
}
_STRICT = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

Claimed = TypeVar("Claimed", str, int)
T = TypeVar("T")


def _short(value: Claimed) -> Claimed:
    if len(str(value)) > _LONGEST_CLAIM:
        raise PydanticCustomError("claim", "is too long to be true")
    return value


# Claims are told, compared and remembered.
Name = Annotated[str, AfterValidator(_short)]
Size = Annotated[int, AfterValidator(_short)]
Count = Annotated[int, Field(ge=0, le=_MOST)]
Positive = Annotated[int, Field(ge=1, le=_MOST)]
#: Which fault comes first is told; of a long list there may be many.
Several = Annotated[list[T], FailFast(), Field(min_length=1)]
Column = Annotated[list[T], FailFast()]
LogP = Column[Annotated[float, Field(le=_ROUNDING)]]


class RunModel(BaseModel):
    """See `tradeoff.texts.Run`."""

    model_config = _STRICT

    method: Name
    watermark: Name
    width: Positive
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    lookahead: Count
    verify: Literal["block"] | None = None
    prf: Name | None
    context_width: Size | None
    key: Name | None
    temperature: float
    top_k: Count
    top_p: float
    min_p: float | None = None
    controls: str | None = None
    unmarked: Count | None = None
    max_tokens: Positive
    ignore_eos: bool
    seed: Count
    target: str
    draft: str | None
    vocabulary: Size | None = None
    dtype: str
    weights: Column[str] = []
    measured: bool


class RecordModel(BaseModel):
    """See `tradeoff.texts.Record`."""

    model_config = _STRICT

    id: str
    prompt: str
    prompt_hash: str
    prompt_tokens: Count
    token_ids: Several[Count]
    text: str
    finish: str
    accepted: Several[Count]
    sources: str
    unmarked: Count
    logppl: float
    logppl_model: float
    seconds: float
    batch: Positive
    # Not there, or with one entry a token.
    log_p: LogP = []
    entropy: Column[float] = []
    overlap: Column[float | None] = []
    efficiency: Column[float | None] = []
    # Not there, or with one entry a step.
    by_token: Column[float] = []
    by_block: Column[float] = []
    run: RunModel

    @field_validator("sources", "log_p", "entropy", "overlap", "efficiency")
    @classmethod
    def _one_a_token(cls, value: Any, info: ValidationInfo) -> Any:
        return _of_length(value, len(info.data.get("token_ids", value)), "tokens")

    @field_validator("by_token", "by_block")
    @classmethod
    def _one_a_step(cls, value: Any, info: ValidationInfo) -> Any:
        return _of_length(value, len(info.data.get("accepted", value)), "steps")


def _of_length(column: Any, count: int, what: str) -> Any:
    """The column, if it has so many entries."""
    if len(column) != count:
        told = {"length": len(column), "count": count, "what": what}
        raise PydanticCustomError("column", "has length {length}, but there are {count} {what}", told)
    return column


@dataclass(frozen=True)
class Fault:
    """Why something is refused.

    Attributes:
        value: what is wrong.
        words: its place, its beginning, and what is wrong with it.
    """

    value: Any
    words: str

    def __str__(self) -> str:
        return self.words


def fault_of_record(value: Any) -> Fault | None:
    """The first fault of what should be a record."""
    return _first_fault(RecordModel.model_validate, value)


def fault_of_run(value: Any) -> Fault | None:
    """The first fault of what should be the settings of a run."""
    return _first_fault(RunModel.model_validate, value)


def fault_of_claims(told: dict[str, Any]) -> Fault | None:
    """The first fault of settings of a run of which any may be missing."""
    return _first_fault(RunModel.model_validate, told, partial=True)


def fault_of_log_p(value: Any) -> Fault | None:
    """The first fault of what should be log-probabilities of tokens."""
    return _first_fault(TypeAdapter(LogP, config=_STRICT).validate_python, value)


def _first_fault(check: Callable[[Any], object], value: Any, partial: bool = False) -> Fault | None:
    try:
        check(value)
    except ValidationError as error:
        for found in error.errors(include_url=False):
            if found["type"] != "missing":
                return Fault(found["input"], _words(found))
            if not partial:
                return Fault(None, f"{_name(found)} is missing")
    return None


def _words(found: ErrorDetails) -> str:
    why = _WHY.get(found["type"], found["msg"]).format(**found.get("ctx", {}))
    name = _name(found)
    return f"{name}={shown(found['input'])}, which {why}" if name else f"it {why}"


def _name(found: ErrorDetails) -> str:
    """Of the field, with the place in it: run.weights[1]; empty for the whole."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in found["loc"])
    return "".join(parts).removeprefix(".")
