"""The path that generates: a request read, its turn waited for, and its text told at once or in events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tradeoff.serving.asked import JSON, at_fault, json_of, kind_of, other_type, refuse_halves, refuse_query
from tradeoff.serving.counters import Counters
from tradeoff.serving.described import as_json, responses, schema
from tradeoff.serving.limits import Limits, Writing
from tradeoff.serving.refusals import Refusal, Refused, too_large
from tradeoff.serving.schema import GenerateAnswer, GenerateRequest, PieceTold
from tradeoff.serving.writing.turns import Answer, Turn, Turns
from tradeoff.serving.writing.writer import Piece, Wish

__all__ = ["GENERATE", "add_generate"]

GENERATE = "/v1/generate"
_EVENTS = "text/event-stream"
#: Tokens of a text where a request does not say.
_USUAL = 200
_SAMPLED = ("temperature", "top_k", "top_p", "min_p")
_STATUSES = (400, 401, 408, 413, 415, 421, 422, 429, 500, 503)

Found = TypeVar("Found")


def add_generate(app: FastAPI, turns: Turns, limits: Limits, counters: Counters) -> None:
    """Let an application generate.

    Args:
        app: without this path.
        turns: entered.
        limits: of requests.
        counters: of the server.
    """
    counters.generating(lambda: turns.writing, lambda: turns.waiting)

    def over(turn: Turn) -> None:
        counters.generated(turn.outcome, turn.tokens, turn.seconds)

    @app.post(
        GENERATE,
        summary="Generate marked text",
        description="A prompt is continued, or answered, with the watermark of a key of the server.",
        operation_id="generate",
        responses=_described(),
        openapi_extra={
            "requestBody": {"required": True, "content": {JSON: {"schema": schema(GenerateRequest)}}}
        },
    )
    async def generate(request: Request) -> Response:
        wish, stream = await _wish_of(request, limits, turns.setup)
        turn = turns.take(wish, over)
        first: Answer | None = None
        try:
            first = await _while_there(request, turn.next() if stream else turn.last())
            if isinstance(first, Refusal):
                raise Refused(first)
        finally:
            if not isinstance(first, Piece):
                turn.leave()
        if isinstance(first, Piece):
            return _Events(turn, first, counters)
        return as_json(first.to_json())


def _described() -> dict[int | str, dict[str, Any]]:
    found = responses(GenerateAnswer, *_STATUSES)
    events = {
        "schema": {"type": "string", "contentMediaType": _EVENTS, "contentSchema": schema(PieceTold)},
        "example": _event({"sample": 0, "text": "The sea ", "token_ids": [504, 3927]}).decode(),
    }
    found[200]["content"] = {_EVENTS: events}
    return found


async def _wish_of(request: Request, limits: Limits, setup: Writing) -> tuple[Wish, bool]:
    """What is asked for, and whether as events.

    Raises:
        Refused: for what a request may not say.
    """
    refuse_query(request)
    kind = kind_of(request)
    if kind != JSON:
        raise other_type(kind, f"send {JSON} with a prompt")
    asked = json_of(await request.body(), GenerateRequest)
    most_tokens = min(_USUAL, setup.max_new_tokens) if asked.max_tokens is None else asked.max_tokens
    for name, value, most, what in (
        ("prompt", len(asked.prompt), limits.max_characters, "characters"),
        ("max_tokens", most_tokens, setup.max_new_tokens, "tokens"),
        ("samples", asked.samples, setup.max_samples, "texts"),
    ):
        if value > most:
            raise Refused(too_large(f"too_many_{what}", name, f"{value:,}", most, what))
    refuse_halves({"prompt": asked.prompt, "stop": "".join(asked.stop)})
    if not asked.prompt.strip():
        raise at_fault("prompt", "prompt is blank", "send the words that the text continues")
    told = asked.model_dump(exclude_none=True)
    wish = Wish(
        prompt=asked.prompt,
        max_tokens=most_tokens,
        sampling={name: told[name] for name in _SAMPLED if name in told},
        min_tokens=asked.min_tokens,
        stop=tuple(asked.stop),
        samples=asked.samples,
        seed=asked.seed,
        chat=asked.chat,
    )
    return wish, asked.stream


async def _while_there(request: Request, waiting: Coroutine[Any, Any, Found]) -> Found:
    """What is waited for, as long as whoever asked is there.

    Raises:
        Refused: if they leave.
    """
    answer, gone = asyncio.ensure_future(waiting), asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
    finally:
        answer.cancel()
        gone.cancel()
    raise Refused(
        Refusal(
            status=400,
            code="cut_off",
            message="the connection was closed before the answer",
            remedy="send it again",
        )
    )


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Events(StreamingResponse):
    """The rest of a turn, which is left when nobody reads it any more."""

    def __init__(self, turn: Turn, first: Piece, counters: Counters):
        # Proxies would wait for more than one event.
        headers = {"x-accel-buffering": "no"}
        super().__init__(_events(turn, first, counters), headers=headers, media_type=_EVENTS)
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As of `StreamingResponse`."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._turn.leave()


async def _events(turn: Turn, first: Piece, counters: Counters) -> AsyncIterator[bytes]:
    answer: Answer = first
    while isinstance(answer, Piece):
        yield _event({"sample": answer.sample, "text": answer.text, "token_ids": answer.token_ids})
        answer = await turn.next()
    if isinstance(answer, Refusal):
        counters.refused(answer.code)
        yield _event(answer.to_json(), "error")
        return
    yield _event(answer.to_json(), "end")


def _event(told: dict[str, Any], name: str | None = None) -> bytes:
    """One event as the standard has it (WHATWG HTML, server-sent events); JSON of ASCII has no line ends."""
    named = "" if name is None else f"event: {name}\n"
    return f"{named}data: {json.dumps(told, allow_nan=False)}\n\n".encode()
