"""What the description of the interface says of paths, and the form of answers in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.responses import Response

from tradeoff.serving.schema import ErrorAnswer

__all__ = ["as_json", "description_of", "refusals", "responses", "schema"]

#: Why a request may be refused, by status.
_WHY = {
    400: "The body is not JSON, or no form.",
    401: "The token of the server is missing or wrong.",
    404: "There is no such path.",
    405: "The path does not take this method.",
    408: "The body did not come in time.",
    413: "The request asks for too much.",
    415: "The body is neither JSON nor a form.",
    421: "The server is not known by this name.",
    422: "An argument is wrong, unknown, missing, or a key.",
    429: "Too many requests came from this address; the header Retry-After tells how long to wait.",
    500: "The server failed.",
    503: "The server has too much to do, or the request took too long; see the header Retry-After.",
}


def as_json(told: Any) -> Response:
    """An answer."""
    # ASCII: what others wrote may hold halves of characters.
    return Response(json.dumps(told, allow_nan=False), media_type="application/json")


def responses(model: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answer of a path, and those of some statuses in its place."""
    return {200: {"model": model, "description": (model.__doc__ or "").strip()}, **refusals(*statuses)}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers that say why there is none."""
    return {status: {"model": ErrorAnswer, "description": _WHY[status]} for status in statuses}


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """A body."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


def description_of(app: FastAPI, said: str, open_paths: Iterable[str], locked: bool) -> dict[str, Any]:
    """All that there is to ask.

    Args:
        app: with its paths.
        said: of the whole.
        open_paths: those that are answered without a token.
        locked: whether others need one.
    """
    described = get_openapi(
        title="tradeoff", version=_version(), description=said, routes=app.routes, tags=[]
    )
    if not locked:
        return described
    described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, methods in described["paths"].items():
        if path not in open_paths:
            for operation in methods.values():
                operation["security"] = [{"token": []}]
    return described


def _version() -> str:
    try:
        return version("tradeoff")
    except PackageNotFoundError:
        return "0"
