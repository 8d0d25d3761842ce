"""Texts that a server generates: those of `td.generate`, one at a time, in events or at once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import jsonschema
import pytest

import tradeoff as td
from tests.helpers.detecting import KEY
from tests.serving.asking import JSON, Answer, App
from tests.serving.test_app import SECRET, schema_of
from tests.versions.lock import ROOT
from tradeoff.keyed import KeyFile
from tradeoff.llm import Controls
from tradeoff.llm.models.pair import ModelPair
from tradeoff.serving import Limits, Writing
from tradeoff.serving.piped import Process
from tradeoff.serving.refusals import Refusal
from tradeoff.serving.writing.turns import Turns
from tradeoff.serving.writing.writer import Piece, Wish, Writer, Written, answer_all, work

GENERATE = "/v1/generate"
#: Every byte is a token.
N = 262
PROMPT = "the sea at night"
SETUP = Writing(
    scheme=td.Scheme.of(),
    read_key=lambda: KeyFile(KEY, name="letters"),
    lookahead=1,
    max_new_tokens=150,
    max_samples=3,
    queue=2,
)

SAMPLINGS = ({"temperature": 0.7, "top_k": 40}, {"top_p": 0.9, "min_p": 0.02})


class Held(Writer):
    """Waits before a piece is shown, where it is told to, or fails there."""

    def __init__(self, setup: Writing, pair: ModelPair):
        super().__init__(setup, pair)
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.stopped = 0

    def write(self, wish: Wish, show: Callable[[Piece], None]) -> Written | Refusal:
        shown = 0

        def held(piece: Piece) -> None:
            nonlocal shown
            if shown:
                self.gate.wait(20)
                if self.error is not None:
                    raise self.error
            show(piece)
            shown += 1

        try:
            return super().write(wish, held)
        except Exception:
            self.stopped += 1
            raise


class Threaded(Process):
    """Stands for the process that generates: the same loop, in a thread, with models that are here."""

    def __init__(self, writer: Held):
        super().__init__(work, None, 60.0)
        self.writer = writer
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        self._pipe, theirs = Pipe()
        threading.Thread(target=self._answer, args=(theirs,), daemon=True).start()

    def _answer(self, pipe: Connection) -> None:
        with pipe:
            answer_all(pipe, self.writer)

    def wait(self) -> Any:
        return self.writer.key, []


@dataclass
class Serving:
    """A server that generates, without a network."""

    app: App
    turns: Turns
    process: Threaded

    @property
    def writer(self) -> Held:
        return self.process.writer

    def post(self, told: Any = None, **more: Any) -> Answer:
        return self.app.ask("POST", GENERATE, JSON, body(told, **more))

    def asked(self, gone: asyncio.Event | None = None, heard: Any = lambda _: None, **told: Any) -> Any:
        return self.app.asked("POST", GENERATE, JSON, body(None, **told), gone=gone, heard=heard)

    def run(self, story: Callable[[], Awaitable[Any]]) -> Any:
        """A story, after which nothing is at work."""

        async def told() -> Any:
            found = await story()
            async with asyncio.timeout(20):
                while self.turns._tasks:
                    await asyncio.sleep(0.005)
            return found

        return asyncio.run(told())

    def counted(self, name: str) -> float:
        lines = self.app.ask("GET", "/metrics").body.decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


def body(told: Any, **more: Any) -> bytes:
    if isinstance(told, bytes):
        return told
    return json.dumps({"prompt": PROMPT, "max_tokens": 40, **(told or {}), **more}).encode()


def events(answer: Answer) -> list[tuple[str, dict[str, Any]]]:
    """Names and data; "" for events without a name."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for event in answer.body.decode().removesuffix("\n\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in event.split("\n"))
        found.append((lines.get("event", ""), json.loads(lines["data"])))
    return found


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name != "seconds"} for one in records]


@pytest.fixture(scope="module")
def pair(make_pair: Callable[..., ModelPair]) -> ModelPair:
    return make_pair(N, eos=2)


@pytest.fixture
def opened(pair: ModelPair) -> Iterator[Callable[..., Serving]]:
    """Makes servers, which are closed at the end."""
    made: list[Turns] = []

    def make(limits: Limits | None = None, **changed: Any) -> Serving:
        setup = replace(SETUP, **changed)
        process, told = Threaded(Held(setup, pair)), limits or Limits()
        reports: list[str] = []
        turns = Turns(setup, told.timeout, reports.append, process).__enter__()
        made.append(turns)
        app = App(limits=told, turns=turns)
        app.reports = reports
        return Serving(app, turns, process)

    yield make
    for turns in made:
        turns.__exit__()


@pytest.fixture
def serving(opened: Callable[..., Serving]) -> Serving:
    return opened()


def generated(pair: ModelPair, scheme: td.Scheme = SETUP.scheme, **how: Any) -> list[dict[str, Any]]:
    """What `td.generate` gives."""
    told = {"tokens": 40, "lookahead": 1, "note": [].append, "warn": [].append} | how
    texts = td.generate([PROMPT], scheme, KEY, pair=pair, batch=told.get("samples", 1), **told)
    return timeless([record.to_json() for record in texts])


@pytest.mark.parametrize(
    ("told", "how"),
    [
        ({}, {}),
        *[({**sampling}, {**sampling}) for sampling in SAMPLINGS],
        ({"max_tokens": 25, "min_tokens": 20}, {"tokens": 25, "controls": Controls(min_tokens=20)}),
        ({"samples": 2, "seed": 7, "max_tokens": 30}, {"samples": 2, "seed": 7, "tokens": 30}),
    ],
)
def test_texts_are_those_of_generate(serving: Serving, pair: ModelPair, told: dict, how: dict) -> None:
    """Record for record, at once and in events."""
    wanted = generated(pair, **how)
    answer = serving.post(told)
    assert answer.status == 200, answer.body
    assert timeless(answer.json()["results"]) == wanted
    *pieces, (name, last) = events(serving.post(told, stream=True))
    assert (name, timeless(last["results"])) == ("end", wanted)
    assert {name for name, _ in pieces} == {""}
    for sample, record in enumerate(wanted):
        mine = [piece for _, piece in pieces if piece["sample"] == sample]
        assert "".join(piece["text"] for piece in mine) == record["text"]
        assert [token for piece in mine for token in piece["token_ids"]] == record["token_ids"]
        assert len(mine) > 1


@pytest.mark.parametrize("watermark", ["gumbel", "synthid:8"])
def test_detect_finds_what_was_generated(opened: Callable[..., Serving], watermark: str) -> None:
    serving = opened(scheme=td.Scheme.of("joint", watermark))
    (record,) = serving.post(max_tokens=150).json()["results"]
    asked = {name: record[name] for name in ("text", "token_ids", "run")}
    (found,) = serving.app.post(asked).json()["results"]
    assert (found["verdict"], found["watermark"], found["key"]) == ("watermarked", watermark, KEY.fingerprint)


def test_a_stop_string_ends_the_text_and_stands_in_one_event(serving: Serving, pair: ModelPair) -> None:
    """Its tokens come in several rounds of one or two tokens each."""
    (whole,) = generated(pair, tokens=150, controls=Controls(min_tokens=150))
    text = whole["text"]
    stop = next(
        text[at : at + 3]
        for at in range(8, len(text) - 3)
        if text[at : at + 3].isascii() and text.index(text[at : at + 3]) == at
    )
    (wanted,) = generated(pair, tokens=150, controls=Controls(min_tokens=150, stop=(stop,)))
    *pieces, (_, last) = events(serving.post(max_tokens=150, min_tokens=150, stop=[stop], stream=True))
    assert timeless(last["results"]) == [wanted]
    assert (wanted["finish"], wanted["text"][-3:]) == ("stop", stop)
    assert [stop in piece["text"] for _, piece in pieces].count(True) == 1
    assert len([piece for _, piece in pieces[:-1] if piece["token_ids"]]) > 1


def test_answers_are_what_the_description_says(serving: Serving) -> None:
    described = serving.app.ask("GET", "/openapi.json").json()
    asked = described["paths"][GENERATE]["post"]["requestBody"]["content"]["application/json"]["schema"]
    request = {"prompt": PROMPT, "max_tokens": 5, "stop": ["a"], "samples": 2, "stream": False}
    jsonschema.validate(request, {**asked, "components": described["components"]})
    answer = serving.post(request)
    jsonschema.validate(answer.json(), schema_of(serving.app, GENERATE, "post", 200))
    content = described["paths"][GENERATE]["post"]["responses"]["200"]["content"]
    piece = content["text/event-stream"]["schema"]["contentSchema"]
    for _, told in events(serving.post(request, stream=True))[:-1]:
        jsonschema.validate(told, piece)


def test_it_is_off_unless_it_is_asked_for() -> None:
    app = App()
    answer = app.ask("POST", GENERATE, JSON, body(None))
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert "--generate" in answer.error["remedy"]
    assert GENERATE not in app.ask("GET", "/openapi.json").json()["paths"]
    assert b"generation" not in app.ask("GET", "/metrics").body


def test_serving_imports_no_models() -> None:
    code = "import sys, tradeoff.serving; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("told", "status", "code", "argument"),
    [
        (b"{", 400, "malformed_json", "body"),
        (b"[]", 422, "invalid_argument", "body"),
        (b"{}", 422, "missing_argument", "prompt"),
        ({"prompt": ""}, 422, "invalid_argument", "prompt"),
        ({"prompt": " \n"}, 422, "invalid_argument", "prompt"),
        ({"prompt": ["a"]}, 422, "invalid_argument", "prompt"),
        ({"prompt": "\ud800"}, 422, "invalid_argument", "prompt"),
        ({"prompts": ["a"]}, 422, "unknown_argument", "prompts"),
        ({"logit_bias": {}}, 422, "unknown_argument", "logit_bias"),
        ({"method": "standard"}, 422, "unknown_argument", "method"),
        ({"max_tokens": 0}, 422, "invalid_argument", "max_tokens"),
        ({"max_tokens": 151}, 413, "too_many_tokens", "max_tokens"),
        ({"samples": 4}, 413, "too_many_texts", "samples"),
        ({"prompt": "a" * 1_001}, 413, "too_many_characters", "prompt"),
        ({"prompt": "a" * 200, "max_tokens": 150}, 422, "invalid_argument", "prompt"),
        ({"temperature": 0}, 422, "invalid_argument", "temperature"),
        ({"temperature": "1"}, 422, "invalid_argument", "temperature"),
        ({"top_p": 1.5}, 422, "invalid_argument", "top_p"),
        ({"top_k": -1}, 422, "invalid_argument", "top_k"),
        ({"min_p": 2}, 422, "invalid_argument", "min_p"),
        ({"stop": "a"}, 422, "invalid_argument", "stop"),
        ({"stop": [""]}, 422, "invalid_argument", "stop"),
        ({"seed": -1}, 422, "invalid_argument", "seed"),
        ({"chat": True}, 422, "invalid_argument", "chat"),
        ({"stream": 1}, 422, "invalid_argument", "stream"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_generated_is_refused_by_name(
    opened: Callable[..., Serving], told: Any, status: int, code: str, argument: str, stream: bool
) -> None:
    """Also where events were asked for: nothing has begun."""
    serving = opened(Limits(max_characters=1_000))
    sent = told if isinstance(told, bytes) or not stream else {"stream": True, **told}
    answer = serving.post(sent)
    assert (answer.status, answer.error["code"], answer.error["argument"]) == (status, code, argument)
    assert answer.error["message"]
    assert answer.error["remedy"]
    jsonschema.validate(answer.json(), schema_of(serving.app, GENERATE, "post", status))
    assert serving.app.reports == []


def test_other_types_and_queries_are_refused(serving: Serving) -> None:
    form = serving.app.ask("POST", GENERATE, {"content-type": "multipart/form-data"}, b"")
    assert (form.status, form.error["code"]) == (415, "unsupported_media_type")
    query = serving.app.ask("POST", GENERATE, JSON, body(None), query="stream=true")
    assert (query.status, query.error["code"]) == (422, "unknown_argument")
    got = serving.app.ask("GET", GENERATE)
    assert (got.status, got.error["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("name", ["key", "keys", "key_file", "secret", "config", "depth_keys"])
def test_a_key_in_a_request_is_refused_and_not_repeated(serving: Serving, name: str) -> None:
    answer = serving.post({name: SECRET})
    assert (answer.status, answer.error["code"], answer.error["argument"]) == (422, "key_in_request", name)
    assert SECRET not in answer.body.decode() + "".join(serving.app.lines)


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_leaves_ends_the_text_and_frees_the_turn(serving: Serving, stream: bool) -> None:
    serving.writer.gate.clear()

    async def story() -> None:
        gone, begun = asyncio.Event(), asyncio.Event()
        told = serving.asked(gone, lambda _: begun.set(), stream=stream, max_tokens=150)
        task = asyncio.create_task(told)
        if stream:
            await begun.wait()
        while not serving.turns.writing:
            await asyncio.sleep(0.005)
        gone.set()
        await task
        assert serving.turns.writing == 1
        serving.writer.gate.set()

    serving.run(story)
    assert serving.writer.stopped == 1
    assert serving.counted('tradeoff_generations_total{outcome="left"}') == 1
    assert serving.counted("tradeoff_tokens_generated_total") < 10
    assert serving.post().status == 200


def test_whoever_leaves_the_line_is_not_generated_for(serving: Serving) -> None:
    serving.writer.gate.clear()

    async def story() -> Answer:
        first, gone = asyncio.create_task(serving.asked()), asyncio.Event()
        second = asyncio.create_task(serving.asked(gone, stream=True))
        while (serving.turns.writing, serving.turns.waiting) != (1, 1):
            await asyncio.sleep(0.005)
        gone.set()
        await second
        while serving.turns.waiting:
            await asyncio.sleep(0.005)
        serving.writer.gate.set()
        return await first

    assert serving.run(story).status == 200
    assert serving.writer.stopped == 0
    assert serving.counted('tradeoff_generations_total{outcome="left"}') == 1


def test_more_than_the_line_holds_are_turned_away_and_others_are_judged(
    serving: Serving, pair: ModelPair
) -> None:
    serving.writer.gate.clear()

    async def story() -> list[Answer]:
        held = [asyncio.create_task(serving.asked(stream=number == 0)) for number in range(2)]
        while (serving.turns.writing, serving.turns.waiting) != (1, 1):
            await asyncio.sleep(0.005)
        refused = await serving.asked()
        judged = await serving.app.asked("POST", "/v1/detect", JSON, b'{"token_ids": [1]}')
        serving.writer.gate.set()
        return [refused, judged, *await asyncio.gather(*held)]

    refused, judged, first, second = serving.run(story)
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (503, "busy", "1")
    assert [one.status for one in (judged, first, second)] == [200] * 3
    # One after the other, they are as each alone.
    wanted = generated(pair)
    assert timeless(events(first)[-1][1]["results"]) == wanted
    assert timeless(second.json()["results"]) == wanted


def test_a_turn_that_does_not_come_is_not_waited_for(opened: Callable[..., Serving]) -> None:
    serving = opened(Limits(timeout=0.2))

    async def story() -> Answer:
        async with serving.turns._slot:
            return await serving.asked(stream=True)

    answer = serving.run(story)
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "busy", "1")
    assert serving.counted('tradeoff_generations_total{outcome="refused"}') == 1


def test_a_round_that_does_not_end_is_ended_with_its_process(opened: Callable[..., Serving]) -> None:
    serving = opened(Limits(timeout=1.0))
    serving.writer.gate.clear()
    *_, (name, told) = events(serving.run(lambda: serving.asked(stream=True)))
    assert (name, told["error"]["code"]) == ("error", "timeout")
    # Asked again it would take as long.
    assert "shorter prompt" in told["error"]["remedy"]
    assert serving.app.reports == ["a text took too long, and its process was ended"]
    serving.writer.gate.set()
    assert serving.post().status == 200
    assert serving.process.starts == 2


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_that_nobody_foresaw_says_nothing_of_the_text(serving: Serving, stream: bool) -> None:
    serving.writer.error = KeyError(PROMPT)
    answer = serving.post(stream=stream)
    told = events(answer)[-1][1] if stream else answer.json()
    assert (answer.status, told["error"]["code"]) == (200 if stream else 500, "internal_error")
    (said,) = serving.app.reports
    assert said.startswith("a text failed: KeyError in ")
    assert PROMPT not in said + "".join(serving.app.lines)
    assert serving.counted('tradeoff_generations_total{outcome="failed"}') == 1
    assert serving.counted('tradeoff_refusals_total{code="internal_error"}') == 1
    serving.writer.error = None
    assert serving.post().status == 200


def test_a_process_that_dies_is_replaced(serving: Serving) -> None:
    async def story() -> list[Answer]:
        serving.writer.error = EOFError()
        broken = await serving.asked(stream=True)
        serving.writer.error = None
        # Who asks meanwhile waits until there is another.
        return [broken, await serving.asked()]

    broken, whole = serving.run(story)
    assert events(broken)[-1][1]["error"]["code"] == "internal_error"
    assert serving.app.reports == ["a process that generated a text died"]
    assert whole.status == 200
    assert serving.process.starts == 2


def test_a_server_that_was_given_up_comes_back(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first process cannot be started, and that for the next in line can."""
    start, failures = serving.process.start, [OSError("no memory")]

    def started() -> None:
        if failures:
            raise failures.pop()
        start()

    monkeypatch.setattr(serving.process, "start", started)

    async def story() -> list[Answer]:
        serving.writer.error = EOFError()
        held = [asyncio.create_task(serving.asked(stream=number == 0)) for number in range(2)]
        found = await asyncio.gather(*held)
        serving.writer.error = None
        while serving.turns._tasks:
            await asyncio.sleep(0.005)
        return [*found, await serving.asked()]

    first, second, third = serving.run(story)
    assert events(first)[-1][1]["error"]["code"] == "internal_error"
    assert second.status == 500
    assert third.status == 200
    assert "cannot be started again" in "".join(serving.app.reports)


def test_a_key_whose_days_are_over_marks_nothing_more(opened: Callable[..., Serving]) -> None:
    over = KeyFile(KEY, valid_until=date.today() - timedelta(days=1))
    serving = opened(read_key=lambda: over)
    answer = serving.post()
    assert (answer.status, answer.error["code"]) == (503, "unable")
    assert "days of the key" in answer.error["message"]


def test_counts_are_those_of_what_was_generated(serving: Serving) -> None:
    tokens = sum(len(one["token_ids"]) for one in serving.post(samples=2).json()["results"])
    serving.post(chat=True)
    assert serving.counted("tradeoff_tokens_generated_total") == tokens
    assert serving.counted('tradeoff_generations_total{outcome="written"}') == 1
    assert serving.counted('tradeoff_generations_total{outcome="refused"}') == 1
    assert serving.counted("tradeoff_generation_seconds_count") == 2
    assert serving.counted("tradeoff_generations_running") == 0
    assert serving.counted("tradeoff_generations_waiting") == 0
    assert serving.counted('tradeoff_requests_total{path="/v1/generate",status="200"}') == 1


def test_several_texts_are_told_of_their_beginnings(serving: Serving) -> None:
    answer = serving.post(samples=2).json()
    assert any(
        note.startswith("the first 16 tokens of a text are drawn truly at random") for note in answer["notes"]
    )
    assert answer["results"][0]["token_ids"] != answer["results"][1]["token_ids"]


def test_folders_of_models_are_not_told(pair: ModelPair, tmp_path: Any) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    writer = Writer(SETUP, replace(pair, target_name=str(folder)))
    written = writer.write(Wish(prompt=PROMPT, max_tokens=3), lambda _: None)
    assert isinstance(written, Written)
    assert (written.results[0]["run"]["target"], str(tmp_path) in json.dumps(written.results)) == (
        "models",
        False,
    )


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"scheme": td.Scheme.of("standard")}, "writes no watermark"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_samples": 0}, "max_samples=0"),
        ({"queue": 0}, "queue=0"),
        ({"lookahead": 0}, "lookahead=0"),
    ],
)
def test_setups_that_generate_nothing(how: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(SETUP, **how)
