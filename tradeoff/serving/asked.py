"""A request, from its bytes to a job; whatever it may not say is refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tradeoff.display import shown
from tradeoff.serving.judging import Job
from tradeoff.serving.limits import Limits
from tradeoff.serving.refusals import Refusal, Refused, too_large, value_of
from tradeoff.serving.schema import DetectRequest
from tradeoff.texts import STDIN

__all__ = [
    "JSON",
    "at_fault",
    "job_of_form",
    "job_of_request",
    "json_of",
    "kind_of",
    "other_type",
    "refuse_halves",
    "refuse_query",
]

JSON, FORM, LINES = "application/json", "multipart/form-data", "application/x-www-form-urlencoded"
Model = TypeVar("Model", bound=BaseModel)

#: What would be a key, or name one.
_KEYS = re.compile(
    r"(secret|integer|depth)?[-_]?(keys?|keyrings?)([-_]?(files?|hex|integers?))?|secrets?|integers?|configs?"
)
#: What of a request is an option of the examiner.
_SAID = ("fpr", "segments", "retokenize")
_RECORD = ("id", "text", "token_ids", "run")
#: Fields of forms, which are words, and what they are read as.
_OF_FORMS = (*_SAID, "field")
_TRUE, _FALSE = ("true", "1", "on"), ("false", "0", "off")
#: A form has few fields, and none but the text of a page is long.
_MOST_FIELDS, _LONGEST_NAME = 8, 200


async def job_of_request(request: Request, limits: Limits) -> Job:
    """What `POST /v1/detect` asks for.

    Raises:
        Refused: for what it may not say.
    """
    refuse_query(request)
    kind = kind_of(request)
    if kind == JSON:
        return _job_of_json(await request.body(), limits)
    if kind == FORM:
        async with _Form(request, limits) as form:
            _refuse_unknown(form, ("file", *_OF_FORMS))
            return await _job_of_file(form, page=False)
    raise other_type(kind, f"send {JSON} with text or token_ids, or {FORM} with a file")


def kind_of(request: Request) -> str:
    """The type of a body, without what else is said of it."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def other_type(kind: str, remedy: str) -> Refused:
    """Why a body of such a type is not read."""
    return Refused(
        Refusal(
            status=415,
            code="unsupported_media_type",
            argument="content-type",
            message=f"content-type is {shown(kind)}" if kind else "there is no content-type",
            remedy=remedy,
        )
    )


async def job_of_form(request: Request, limits: Limits) -> Job:
    """What the form of the page asks for: a text or a file.

    Raises:
        Refused: for what it may not say.
    """
    refuse_query(request)
    kind = kind_of(request)
    if kind not in (FORM, LINES):
        raise Refused(
            Refusal(
                status=415,
                code="unsupported_media_type",
                argument="content-type",
                message="this is the page for people, and what was sent is no form",
                remedy="send forms here, and JSON to /v1/detect",
            )
        )
    async with _Form(request, limits) as form:
        _refuse_unknown(form, ("text", "file", *_OF_FORMS))
        # Browsers send a file without a name where none was chosen, and line ends as CR LF.
        text = str(form.get("text") or "").replace("\r\n", "\n").replace("\r", "\n")
        file = form.get("file")
        chosen = isinstance(file, UploadFile) and bool(file.filename)
        if bool(text.strip()) == chosen:
            raise at_fault(
                "text",
                "a text and a file were sent" if chosen else "there is neither a text nor a file",
                "send one of the two" if chosen else "paste a text, or choose a file",
                "missing_argument" if not chosen else "invalid_argument",
            )
        if chosen:
            return await _job_of_file(form, page=True)
        return _job_of_record({"text": text}, _said(form), page=True)


def refuse_query(request: Request) -> None:
    """Refuse what stands behind a question mark: addresses are logged on their way, and nothing reads it.

    Raises:
        Refused: for any.
    """
    _refuse_unknown(request.query_params, ())


class _Form:
    """The fields of a form, while it is open."""

    def __init__(self, request: Request, limits: Limits):
        self._context = request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=limits.max_bytes)

    async def __aenter__(self) -> FormData:
        try:
            return await self._context.__aenter__()
        except (HTTPException, ValueError, KeyError, AssertionError) as error:
            why = error.detail if isinstance(error, HTTPException) else "its parts cannot be told apart"
            raise Refused(
                Refusal(
                    status=400,
                    code="malformed_form",
                    argument="body",
                    message=f"the body is no form ({shown(why)})",
                    remedy="send it as a browser or `curl -F file=@letter.txt` does",
                )
            ) from None

    async def __aexit__(self, *error: Any) -> None:
        await self._context.__aexit__(*error)


def _job_of_json(body: bytes, limits: Limits) -> Job:
    asked = json_of(body, DetectRequest)
    if asked.text is None and asked.token_ids is None:
        raise at_fault(
            "text", "there is neither text nor token_ids", "send one of them, or both", "missing_argument"
        )
    _refuse_long(asked, limits)
    refuse_halves({"text": asked.text, "id": asked.id})
    given = asked.model_dump(exclude_none=True)
    return _job_of_record(
        {name: given[name] for name in _RECORD if name in given},
        {name: given[name] for name in _SAID if name in given},
        page=False,
    )


def json_of(body: bytes, model: type[Model]) -> Model:
    """What a body of JSON asks for.

    Args:
        body: all of it.
        model: its fields, with an example.

    Raises:
        Refused: for what it may not say.
    """
    example = json.dumps(model.model_json_schema()["examples"][0])
    try:
        told = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        # What stands there may be a text or a key, and is not quoted.
        where = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        if isinstance(error, json.JSONDecodeError):
            where = f" ({error.msg}, line {error.lineno}, column {error.colno})"
        raise Refused(
            Refusal(
                status=400,
                code="malformed_json",
                argument="body",
                message=f"the body is not JSON in UTF-8{where}",
                remedy=f"send an object such as {example}",
            )
        ) from None
    if not isinstance(told, dict):
        raise at_fault("body", f"the body is {value_of(told)}", f"send an object such as {example}")
    _refuse_unknown(told, tuple(model.model_fields))
    try:
        return model.model_validate(told)
    except ValidationError as error:
        raise _of_model(error, model) from None


def _job_of_record(record: dict[str, Any], said: dict[str, Any], page: bool) -> Job:
    # A record with anything before its text is a record and nothing else, whatever the text holds.
    return Job(name=STDIN, content=json.dumps(record).encode(), said=said, page=page)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _refuse_long(asked: DetectRequest, limits: Limits) -> None:
    for name, value, most, what in (
        ("text", asked.text, limits.max_characters, "characters"),
        ("token_ids", asked.token_ids, limits.max_tokens, "token ids"),
    ):
        if value is not None and len(value) > most:
            code = f"too_many_{what.split()[0]}" if name == "text" else "too_many_tokens"
            raise Refused(too_large(code, name, f"{len(value):,}", most, what))


def refuse_halves(given: Mapping[str, Any]) -> None:
    """Refuse values with halves of characters, by their names.

    Raises:
        Refused: for any.
    """
    for name, value in given.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise at_fault(
                name, f"{name} holds halves of characters (surrogates)", "send whole characters"
            ) from None


async def _job_of_file(form: FormData, page: bool) -> Job:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise at_fault(
            "file",
            "there is no file" if file is None else "file is words, and no file",
            "send a file with its name, as `curl -F file=@letter.txt` does",
            "missing_argument",
        )
    name = _name_of(file.filename or "")
    field = form.get("field")
    named = str(field) if field else None
    return Job(name=name, content=await file.read(), said=_said(form), field=named, page=page)


def _name_of(given: str) -> str:
    """Of a file its name without folders, which some browsers send.

    Raises:
        Refused: for what no file can be called.
    """
    name = given.replace("\\", "/").rpartition("/")[2]
    try:
        usable = name not in ("", ".", "..", STDIN) and len(name.encode()) <= _LONGEST_NAME
    except UnicodeEncodeError:
        usable = False
    if not usable or not name.isprintable():
        raise at_fault(
            "file",
            f"the name of the file is {shown(name)}",
            f"send one of up to {_LONGEST_NAME} bytes, all printable, with its ending, such as letter.txt",
        )
    return name


def _said(form: FormData) -> dict[str, Any]:
    """Options that stand in a form, as words."""
    said: dict[str, Any] = {}
    for name in _SAID:
        given = form.get(name)
        if given is None or given == "":
            continue
        value = str(given).strip().lower()
        if name == "fpr":
            try:
                said[name] = float(value)
            except ValueError:
                raise at_fault(name, f"fpr is {shown(value)}", "send a number, such as 0.01") from None
        elif value in (*_TRUE, *_FALSE):
            said[name] = value in _TRUE
        else:
            raise at_fault(name, f"{name} is {shown(value)}", "send true or false")
    return said


def _refuse_unknown(given: Mapping[str, Any] | Iterable[str], known: tuple[str, ...]) -> None:
    for name in given:
        if name in known:
            continue
        if _KEYS.fullmatch(name.lower()):
            raise at_fault(
                name,
                "the keys are the server's, and a request names none",
                "leave it out, and change a key that has been sent: others may have seen it on its way",
                "key_in_request",
            )
        # A name may be a value in the wrong place, and is shown to whoever sent it alone.
        raise at_fault(
            shown(name).strip('"'),
            "there is no such argument here",
            f"leave it out; known are {', '.join(known)}" if known else "leave it out, and send a body",
            "unknown_argument",
        )


def _of_model(error: ValidationError, model: type[BaseModel]) -> Refused:
    """The first thing that is wrong with a value."""
    first = error.errors(include_url=False, include_context=False)[0]
    argument = str(first["loc"][0]) if first["loc"] else "body"
    wanted = f"send what is meant: {model.model_fields[argument].description or ''}"[:300]
    if first["type"] == "missing":
        return at_fault(argument, f"there is no {argument}", wanted, "missing_argument")
    place = "".join(f"[{part}]" for part in first["loc"][1:] if isinstance(part, int))
    message = f"{argument}{place} is {value_of(first['input'])}"
    return at_fault(argument, f"{message}: {first['msg'].lower()}", wanted)


def at_fault(argument: str, message: str, remedy: str, code: str = "invalid_argument") -> Refused:
    """Why a request is refused that asks for what it may not."""
    return Refused(Refusal(status=422, code=code, argument=argument, message=message, remedy=remedy))
