"""The application without a network: what is answered, what is refused, and how that is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import jsonschema
import pytest

from tests.helpers.detecting import KEY, marked, other
from tests.serving.asking import JSON, App, form
from tradeoff.serving import Access, Limits
from tradeoff.serving.guard import HEADERS

SMALL = Limits(max_bytes=4_000, max_characters=1_000, max_tokens=400, max_texts=3, queue=2, timeout=0.3)
TOKEN = "a-token-of-this-server"
SECRET = KEY.secret.hex()


@pytest.fixture(scope="module")
def app() -> App:
    return App()


@pytest.fixture(scope="module")
def small() -> App:
    return App(limits=SMALL)


def schema_of(app: App, path: str, method: str, status: int) -> dict:
    """What the description of the interface says that an answer is."""
    described = app.ask("GET", "/openapi.json").json()
    told = described["paths"][path][method]["responses"][str(status)]["content"]["application/json"]["schema"]
    return {**told, "components": described["components"]}


@pytest.mark.parametrize(
    "told",
    [
        {"token_ids": marked(200)},
        {"token_ids": other(200), "id": "a"},
        {"token_ids": [*other(300), *marked(60), *other(250, seed=2)], "fpr": 1e-4},
        {"token_ids": marked(60), "segments": False},
        {
            "token_ids": marked(60),
            "run": {"method": "joint-race", "watermark": "gumbel", "key": KEY.fingerprint},
        },
        {"token_ids": marked(60), "run": {"method": 5}},
        {"token_ids": []},
        {"text": ""},
    ],
)
def test_answers_are_what_the_description_says(app: App, told: dict) -> None:
    answer = app.post(told)
    assert answer.status == 200
    jsonschema.validate(answer.json(), schema_of(app, "/v1/detect", "post", 200))
    described = app.ask("GET", "/openapi.json").json()
    request = described["paths"]["/v1/detect"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate(told, request)


def test_the_level_and_the_parts_are_the_callers(app: App) -> None:
    (found,) = app.post({"token_ids": marked(60), "fpr": 1e-9}).json()["results"]
    assert found["fpr"] == 1e-9
    (whole,) = app.post({"token_ids": marked(60), "segments": False}).json()["results"]
    assert whole["share"] is None
    assert whole["segments"] == []


def test_keys_are_told_without_their_secrets(app: App) -> None:
    answer = app.ask("GET", "/v1/keys")
    jsonschema.validate(answer.json(), schema_of(app, "/v1/keys", "get", 200))
    (key,) = answer.json()["keys"]
    assert (key["fingerprint"], key["name"]) == (KEY.fingerprint, "letters")
    assert key["settings"][0]["method"] == "joint-race"
    assert SECRET not in answer.body.decode()


def test_health(app: App) -> None:
    answer = app.ask("GET", "/healthz")
    assert answer.json() == {"status": "ok"}
    jsonschema.validate(answer.json(), schema_of(app, "/healthz", "get", 200))


def test_a_server_that_can_judge_nothing_says_so() -> None:
    app = App()
    app.judges.able = False
    answer = app.ask("GET", "/healthz")
    assert (answer.status, answer.error["code"]) == (503, "unable")
    jsonschema.validate(answer.json(), schema_of(app, "/healthz", "get", 503))


REFUSED = [
    (b"", 400, "malformed_json", "body"),
    (b"{", 400, "malformed_json", "body"),
    (b'{"text": "a"', 400, "malformed_json", "body"),
    (b'{"text": "\xff"}', 400, "malformed_json", "body"),
    (b"\x00", 400, "malformed_json", "body"),
    (b'{"text": "a", "fpr": NaN}', 400, "malformed_json", "body"),
    (b'{"text": "a", "fpr": ' + b"1" * 5_000 + b"}", 400, "malformed_json", "body"),
    (b"[" * 100_000, 400, "malformed_json", "body"),
    (b"[1, 2]", 422, "invalid_argument", "body"),
    (b"null", 422, "invalid_argument", "body"),
    (b'"text"', 422, "invalid_argument", "body"),
    (b"{}", 422, "missing_argument", "text"),
    (b'{"text": null}', 422, "missing_argument", "text"),
    (b'{"text": 5}', 422, "invalid_argument", "text"),
    (b'{"text": ["a"]}', 422, "invalid_argument", "text"),
    (b'{"text": "\\ud800"}', 422, "invalid_argument", "text"),
    (b'{"token_ids": "1 2"}', 422, "invalid_argument", "token_ids"),
    (b'{"token_ids": [1, -1]}', 422, "invalid_argument", "token_ids"),
    (b'{"token_ids": [1, 1.5]}', 422, "invalid_argument", "token_ids"),
    (b'{"token_ids": [true]}', 422, "invalid_argument", "token_ids"),
    (b'{"token_ids": [9223372036854775808]}', 422, "invalid_argument", "token_ids"),
    (b'{"text": "a", "fpr": 0}', 422, "invalid_argument", "fpr"),
    (b'{"text": "a", "fpr": 1}', 422, "invalid_argument", "fpr"),
    (b'{"text": "a", "fpr": "0.01"}', 422, "invalid_argument", "fpr"),
    (b'{"text": "a", "fpr": 1e999}', 422, "invalid_argument", "fpr"),
    (b'{"text": "a", "segments": 1}', 422, "invalid_argument", "segments"),
    (b'{"text": "a", "id": true}', 422, "invalid_argument", "id"),
    (b'{"text": "a", "id": "\\ud800"}', 422, "invalid_argument", "id"),
    (b'{"text": "a", "run": "basic"}', 422, "invalid_argument", "run"),
    (b'{"text": "a", "temperature": 1}', 422, "unknown_argument", "temperature"),
    (b'{"text": "a", "\\ud800": 1}', 422, "unknown_argument", "\\ud800"),
    (b'{"token_ids": [1], "retokenize": true}', 422, "unreadable", "request"),
]


@pytest.mark.parametrize(("body", "status", "code", "argument"), REFUSED)
def test_what_cannot_be_read_is_refused_by_name(
    app: App, body: bytes, status: int, code: str, argument: str
) -> None:
    answer = app.post(body)
    assert (answer.status, answer.error["code"], answer.error["argument"]) == (status, code, argument)
    assert answer.error["message"]
    assert answer.error["remedy"]
    jsonschema.validate(answer.json(), schema_of(app, "/v1/detect", "post", status))
    assert app.reports == []


@pytest.mark.parametrize(
    "name",
    ["key", "keys", "Key", "key_file", "key-file", "secret", "integer", "depth_keys", "keyring", "config"],
)
def test_a_request_that_names_a_key_is_refused_and_the_key_is_not_repeated(app: App, name: str) -> None:
    """In JSON, in a form, and in an address."""
    headers, body = form((name, None, SECRET.encode()), ("file", "a.txt", b"words"))
    answers = [
        app.post({"text": "a", name: SECRET}),
        app.ask("POST", "/v1/detect", headers, body),
        app.ask("POST", "/v1/detect", JSON, b'{"text": "a"}', query=f"{name}={SECRET}"),
        app.ask("GET", "/v1/keys", query=f"{name}={SECRET}"),
        app.ask("POST", "/", headers, body),
    ]
    for answer in answers:
        assert answer.status == 422
        assert SECRET not in answer.body.decode()
    assert {answer.error["code"] for answer in answers[:4]} == {"key_in_request"}
    assert {answer.error["argument"] for answer in answers[:4]} == {name}
    assert not any(SECRET in line for line in app.lines)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/v1/detect", 405, "method_not_allowed"),
        ("DELETE", "/v1/keys", 405, "method_not_allowed"),
    ],
)
def test_paths_and_methods_that_are_none(app: App, method: str, path: str, status: int, code: str) -> None:
    answer = app.ask(method, path)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "image/png"])
def test_other_types_are_refused(app: App, kind: str) -> None:
    answer = app.ask("POST", "/v1/detect", {"content-type": kind} if kind else {}, b"text=a")
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("parts", "status", "code", "argument"),
    [
        (
            [
                ("file", "a.txt", b"\xff\xfe"),
            ],
            422,
            "unreadable",
            "file",
        ),
        ([("file", "a.pdf", b"words")], 422, "unreadable", "file"),
        ([("file", "a.docx", b"PK\x03\x04")], 422, "unreadable", "file"),
        ([("file", "a.jsonl", b"{\n")], 422, "unreadable", "file"),
        ([("file", "a.txt", b"")], 422, "unreadable", "file"),
        ([("file", None, b"words")], 422, "missing_argument", "file"),
        ([], 422, "missing_argument", "file"),
        ([("file", "", b"words")], 422, "invalid_argument", "file"),
        ([("file", "-", b"words")], 422, "invalid_argument", "file"),
        ([("file", "..", b"words")], 422, "invalid_argument", "file"),
        ([("file", "a" * 300, b"words")], 422, "invalid_argument", "file"),
        ([("file", "a\x00b.txt", b"words")], 422, "invalid_argument", "file"),
        ([("file", "a.txt", b"words"), ("fpr", None, b"often")], 422, "invalid_argument", "fpr"),
        ([("file", "a.txt", b"words"), ("fpr", None, b"2")], 422, "invalid_argument", "fpr"),
        ([("file", "a.txt", b"words"), ("segments", None, b"perhaps")], 422, "invalid_argument", "segments"),
        ([("file", "a.txt", b"words"), ("text", None, b"words")], 422, "unknown_argument", "text"),
        ([("file", "a.txt", b"words"), ("file", "b.txt", b"words")], 400, "malformed_form", "body"),
    ],
)
def test_files_that_cannot_be_read_are_refused(
    app: App, parts: list, status: int, code: str, argument: str
) -> None:
    answer = app.ask("POST", "/v1/detect", *form(*parts))
    assert (answer.status, answer.error["code"], answer.error["argument"]) == (status, code, argument)
    assert app.reports == []


def test_a_form_without_a_limit_is_refused(app: App) -> None:
    answer = app.ask("POST", "/v1/detect", {"content-type": "multipart/form-data"}, b"words")
    assert (answer.status, answer.error["code"]) == (400, "malformed_form")


def test_of_a_file_what_can_be_read_is_judged(app: App) -> None:
    lines = "\n".join([json.dumps({"token_ids": marked(60)}), "{", json.dumps({"token_ids": other(60)})])
    answer = app.ask(
        "POST", "/v1/detect", *form(("file", "C:\\texts\\some.jsonl", lines.encode() + b"\n"))
    ).json()
    assert [one["verdict"] for one in answer["results"]] == ["watermarked", "not detected"]
    assert [one["source"] for one in answer["results"]] == ["some.jsonl"] * 2
    (why,) = answer["unread"]
    assert why.startswith("some.jsonl line 2 is not JSON")


@pytest.mark.parametrize(
    ("told", "code", "argument"),
    [
        ({"text": "a" * 1_001}, "too_many_characters", "text"),
        ({"token_ids": [1] * 401}, "too_many_tokens", "token_ids"),
        ({"text": "a" * 5_000}, "body_too_large", "body"),
    ],
)
def test_what_is_too_large_is_refused(small: App, told: dict, code: str, argument: str) -> None:
    answer = small.post(told)
    assert (answer.status, answer.error["code"], answer.error["argument"]) == (413, code, argument)
    jsonschema.validate(answer.json(), schema_of(small, "/v1/detect", "post", 413))


def test_what_is_just_not_too_large_is_judged(small: App) -> None:
    assert small.post({"token_ids": [1] * 400}).status == 200
    body = json.dumps({"token_ids": [1]}).encode()
    assert small.post(body + b" " * (4_000 - len(body))).status == 200
    assert small.post(body + b" " * (4_001 - len(body))).status == 413


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.jsonl", b'{"token_ids": [1]}\n' * 4, "too_many_texts"),
        ("a.txt", b"a" * 1_001, "too_many_characters"),
        ("a.json", json.dumps([{"token_ids": [1] * 201}] * 2).encode(), "too_many_tokens"),
    ],
)
def test_files_that_are_too_large_are_refused(small: App, name: str, content: bytes, code: str) -> None:
    answer = small.ask("POST", "/v1/detect", *form(("file", name, content)))
    assert (answer.status, answer.error["code"], answer.error["argument"]) == (413, code, "file")


def test_a_body_is_not_read_further_than_its_limit(small: App) -> None:
    """Neither where its length is told nor where it is not."""
    read: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(1_000)
            yield b" " * 1_000

    told = small.ask("POST", "/v1/detect", {**JSON, "content-length": "999999999999"}, endless())
    assert (told.status, read) == (413, [])
    untold = small.ask("POST", "/v1/detect", JSON, endless())
    assert (untold.status, untold.error["code"], sum(read)) == (413, "body_too_large", 5_000)


def test_a_body_that_does_not_come_is_not_waited_for(small: App) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(3600)

    answer = small.ask("POST", "/v1/detect", JSON, slow())
    assert (answer.status, answer.error["code"]) == (408, "body_too_slow")
    assert small.post({"token_ids": [1]}).status == 200


def test_more_requests_than_the_queue_holds_are_turned_away() -> None:
    app = App(limits=SMALL)

    async def many() -> list:
        app.judges.gate = asyncio.Event()
        told = JSON, json.dumps({"token_ids": [1]}).encode()
        waiting = [asyncio.create_task(app.asked("POST", "/v1/detect", *told)) for _ in range(2)]
        await asyncio.sleep(0.05)
        refused = await app.asked("POST", "/v1/detect", *told)
        others = await app.asked("GET", "/healthz")
        app.judges.gate.set()
        return [refused, others, *await asyncio.gather(*waiting)]

    refused, others, *judged = asyncio.run(many())
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (503, "busy", "1")
    assert [others.status, *(one.status for one in judged)] == [200, 200, 200]
    app.judges.gate = None
    assert app.post({"token_ids": [1]}).status == 200


def test_one_address_may_ask_so_often() -> None:
    app = App(limits=Limits(rate=3))
    answers = [app.post({"token_ids": [1]}) for _ in range(4)]
    assert [one.status for one in answers] == [200, 200, 200, 429]
    assert answers[-1].error["code"] == "rate_limited"
    assert 15 <= int(answers[-1].headers["retry-after"]) <= 20
    assert app.post({"token_ids": [1]}, client="192.0.2.7").status == 200
    assert app.ask("GET", "/healthz").status == 200


def test_a_token_is_asked_for() -> None:
    app = App(access=Access(host="0.0.0.0", token=TOKEN))
    assert app.ask("GET", "/healthz", {"host": "texts.example"}).status == 200
    for path in ("/v1/keys", "/metrics", "/openapi.json"):
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
            answer = app.ask("GET", path, header)
            assert (answer.status, answer.error["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer ")
            assert TOKEN not in answer.body.decode()
        assert app.ask("GET", path, {"authorization": f"Bearer {TOKEN}"}).status == 200
    assert app.post({"token_ids": [1]}).status == 401


def test_browsers_ask_for_the_token_as_a_password() -> None:
    app = App(access=Access(host="0.0.0.0", token=TOKEN))
    answer = app.ask("GET", "/")
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert KEY.fingerprint not in answer.body.decode()
    # base64 of "me:a-token-of-this-server".
    assert app.ask("GET", "/", {"authorization": "Basic bWU6YS10b2tlbi1vZi10aGlzLXNlcnZlcg=="}).status == 200


def test_a_page_of_another_site_cannot_use_its_own_name(app: App) -> None:
    """Its name may point to this machine; then the browser sends that name."""
    for name in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000", "127.8.8.8"):
        assert app.ask("GET", "/healthz", {"host": name}).status == 200
    for name in ("texts.example", "localhost.texts.example", ""):
        answer = app.ask("GET", "/healthz", {"host": name})
        assert (answer.status, answer.error["code"]) == (421, "unknown_host")
    named = App(access=Access(names=("texts.example",)))
    assert named.ask("GET", "/healthz", {"host": "texts.example"}).status == 200


def test_every_answer_has_the_headers_that_protect(app: App) -> None:
    answers = [
        app.ask("GET", "/"),
        app.ask("GET", "/style.css"),
        app.ask("GET", "/openapi.json"),
        app.ask("GET", "/nothing"),
        app.ask("GET", "/", {"host": "texts.example"}),
        app.post({"token_ids": [1]}),
        app.post(b"{"),
    ]
    for answer in answers:
        assert HEADERS.items() <= answer.headers.items()
    assert "'none'" in HEADERS["content-security-policy"]


def test_an_error_that_nobody_foresaw_says_nothing_of_the_text() -> None:
    app = App()
    app.judges.failing = KeyError("the sea at night")
    answer = app.post({"text": "the sea at night"})
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    jsonschema.validate(answer.json(), schema_of(app, "/v1/detect", "post", 500))
    (said,) = app.reports
    assert said.startswith("a request failed: KeyError in ")
    assert "sea" not in said + answer.body.decode() + "".join(app.lines)


def test_counts_are_those_of_what_was_asked() -> None:
    app = App()
    body = json.dumps({"token_ids": marked(60)}).encode()
    app.post(body)
    app.post({"token_ids": other(40)})
    app.post(b"{")
    app.ask("GET", "/nothing")
    told = app.ask("GET", "/metrics").body.decode().splitlines()
    assert 'tradeoff_requests_total{path="/v1/detect",status="200"} 2.0' in told
    assert 'tradeoff_requests_total{path="/v1/detect",status="400"} 1.0' in told
    assert 'tradeoff_requests_total{path="other",status="404"} 1.0' in told
    assert 'tradeoff_refusals_total{code="malformed_json"} 1.0' in told
    assert 'tradeoff_request_seconds_count{path="/v1/detect"} 3.0' in told
    assert 'tradeoff_texts_judged_total{verdict="watermarked"} 1.0' in told
    assert 'tradeoff_texts_judged_total{verdict="not detected"} 1.0' in told
    assert "tradeoff_tokens_judged_total 100.0" in told
    assert "tradeoff_requests_running 0.0" in told
    read = len(body) + len(json.dumps({"token_ids": other(40)})) + 1
    assert f"tradeoff_body_bytes_total {float(read)}" in told
    assert not [line for line in told if KEY.fingerprint in line]


def test_the_log_has_no_address_and_no_text(app: App) -> None:
    app.lines.clear()
    app.post({"token_ids": [1]}, client="192.0.2.7")
    app.ask("GET", "/a/secret/path", query="q=words")
    assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in app.lines] == [
        "POST /v1/detect 200",
        "GET another path 404",
    ]


def test_a_record_of_one_request_leaves_nothing_for_the_next(app: App) -> None:
    """Records may name sixteen watermarks to one examiner; every request has its own."""
    ids = marked(60)
    for rounds in range(2, 22):
        told = app.post(
            {"token_ids": ids, "run": {"method": "basic", "watermark": f"synthid:{rounds}"}}
        ).json()
        assert told["warnings"] == []
        assert f"synthid:{rounds}" in [one["watermark"] for one in told["results"][0]["tests"]]
