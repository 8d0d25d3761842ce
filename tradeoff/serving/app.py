"""The application: its paths, and the description of its interface."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from tradeoff.serving.asked import job_of_form, job_of_request, refuse_query
from tradeoff.serving.counters import Counters
from tradeoff.serving.described import as_json, description_of, refusals, responses, schema
from tradeoff.serving.guard import Guard
from tradeoff.serving.judges import Judges
from tradeoff.serving.judging import Job, Judged
from tradeoff.serving.limits import Access, Setup
from tradeoff.serving.piped import FAILED
from tradeoff.serving.refusals import Refusal, Refused, busy
from tradeoff.serving.schema import DetectAnswer, DetectRequest, FileForm, Health, KeysAnswer
from tradeoff.serving.site import answer_page, form_page, refusal_page, style
from tradeoff.serving.writing.route import GENERATE, add_generate
from tradeoff.serving.writing.turns import Turns

__all__ = ["make_app"]

DETECT, KEYS, HEALTH, METRICS, PAGE, STYLE = (
    "/v1/detect",
    "/v1/keys",
    "/healthz",
    "/metrics",
    "/",
    "/style.css",
)
OPENAPI = "/openapi.json"
PATHS = (DETECT, KEYS, HEALTH, METRICS, PAGE, STYLE, OPENAPI)
_DESCRIPTION = (
    "Tells whether texts carry the watermark of a key of this server, with exact p-values. The keys are the "
    "server's: a request that names one is refused. Verdicts are those of `tradeoff detect`, and so are "
    "their names. Nothing that is sent is kept."
)
_OF_ALL, _OF_DETECT = (401, 421, 422, 500), (400, 401, 408, 413, 415, 421, 422, 429, 500, 503)


def make_app(
    setup: Setup,
    access: Access,
    judges: Judges,
    report: Callable[[str], None],
    log: Callable[[str], None] | None = None,
    turns: Turns | None = None,
) -> ASGIApp:
    """The application behind its guard.

    Args:
        setup: what the judges were made with.
        access: who may ask.
        judges: started.
        report: called with what goes wrong, in a line without any text.
        log: called with a line for every request; None for none.
        turns: entered, where texts are generated; None where they are not.
    """
    app = FastAPI(title="tradeoff", docs_url=None, redoc_url=None, openapi_url=None)
    paths = PATHS if turns is None else (*PATHS, GENERATE)
    counters = Counters(paths)
    limits, fpr = setup.limits, setup.options.fpr

    async def judged(job: Job) -> Judged:
        found = await judges.judge(job, limits.timeout)
        if isinstance(found, Refusal):
            raise Refused(found)
        counters.judged(found.tokens, (one["verdict"] for one in found.results))
        return found

    @app.post(
        DETECT,
        summary="Judge a text or a file",
        description="A text in words or token ids, as JSON; or a file as a form, of which all are judged.",
        operation_id="detect",
        responses=responses(DetectAnswer, *_OF_DETECT),
        openapi_extra={"requestBody": _body()},
    )
    async def detect(request: Request) -> Response:
        found = await judged(await job_of_request(request, limits))
        return as_json(
            {
                "results": found.results,
                "unread": found.unread,
                "warnings": found.warnings,
                "notes": found.notes,
            }
        )

    @app.get(
        KEYS,
        summary="The keys of the server",
        description="Fingerprints, names, days of use, and what is tested under each; no secret.",
        operation_id="keys",
        responses=responses(KeysAnswer, *_OF_ALL),
    )
    async def keys(request: Request) -> Response:
        refuse_query(request)
        return as_json({"keys": judges.keys})

    @app.get(
        HEALTH,
        summary="Whether the server is there",
        operation_id="health",
        responses=responses(Health, 421, 500, 503),
    )
    async def health(_: Request) -> Response:
        if not judges.able:
            raise Refused(busy("no process that judges is left; restart the server", "unable"))
        return as_json({"status": "ok"})

    @app.get(
        METRICS,
        summary="Counts for Prometheus",
        operation_id="metrics",
        responses={
            200: {
                "description": "In Prometheus' text format.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **refusals(401, 421, 500),
        },
    )
    async def metrics(_: Request) -> Response:
        return Response(counters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get(PAGE, include_in_schema=False)
    async def page(_: Request) -> Response:
        return HTMLResponse(form_page(judges.keys, fpr))

    @app.post(PAGE, include_in_schema=False)
    async def answer(request: Request) -> Response:
        found = await judged(await job_of_form(request, limits))
        return HTMLResponse(answer_page(found, judges.keys, fpr))

    @app.get(STYLE, include_in_schema=False)
    async def style_sheet(_: Request) -> Response:
        return Response(style(), media_type="text/css")

    if turns is not None:
        add_generate(app, turns, limits, counters)
    described = description_of(app, _DESCRIPTION, (HEALTH,), access.token is not None)

    @app.get(OPENAPI, include_in_schema=False)
    async def openapi(_: Request) -> Response:
        return as_json(described)

    def render(refusal: Refusal, people: bool) -> tuple[bytes, str]:
        if people:
            page = refusal_page(refusal, judges.keys if refusal.status != 401 else [], fpr)
            return page.encode("utf-8", "replace"), "text/html; charset=utf-8"
        return json.dumps(refusal.to_json()).encode(), "application/json"

    def refused(request: Request, refusal: Refusal) -> Response:
        counters.refused(refusal.code)
        body, kind = render(refusal, request.url.path == PAGE)
        return Response(body, refusal.status, refusal.headers, kind)

    @app.exception_handler(Refused)
    async def on_refused(request: Request, error: Refused) -> Response:
        return refused(request, error.refusal)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        return refused(request, _of_http(error, request.url.path, turns is not None))

    @app.exception_handler(Exception)
    async def on_failure(request: Request, _: Exception) -> Response:
        # It is raised again behind this, and counted and told of by the guard.
        body, kind = render(FAILED, request.url.path == PAGE)
        return Response(body, FAILED.status, media_type=kind)

    return Guard(
        app=app,
        access=access,
        limits=limits,
        counters=counters,
        paths=paths,
        judged=(DETECT, PAGE, GENERATE),
        render=render,
        report=report,
        log=log,
    )


def _of_http(error: HTTPException, path: str, generates: bool) -> Refusal:
    """What routes say of paths and methods."""
    if error.status_code == 404 and path == GENERATE:
        return Refusal(
            status=404,
            code="not_found",
            argument="path",
            message="this server generates no text",
            remedy="have it started with --generate",
        )
    paths = (DETECT, KEYS, HEALTH, METRICS, *([GENERATE] if generates else []))
    code, argument, remedy = {
        404: ("not_found", "path", f"ask for one of {', '.join(paths)} or {PAGE}"),
        405: ("method_not_allowed", "method", "use the method that the header Allow names"),
    }.get(error.status_code, ("malformed_request", "request", "send it again as the documentation says"))
    message = {404: "there is no such path", 405: "the path does not take this method"}.get(
        error.status_code, "the request cannot be read"
    )
    return Refusal(
        status=error.status_code,
        code=code,
        argument=argument,
        message=message,
        remedy=remedy,
        headers=dict(error.headers or {}),
    )


def _body() -> dict[str, Any]:
    return {
        "required": True,
        "content": {
            "application/json": {"schema": schema(DetectRequest)},
            "multipart/form-data": {"schema": _without_null(schema(FileForm))},
        },
    }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """That of a form, which has words alone: what is not said is left out."""
    for told in schema["properties"].values():
        if told.pop("default", ...) is None:
            told |= next(one for one in told.pop("anyOf") if one != {"type": "null"})
    return schema
