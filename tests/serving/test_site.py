"""The page for people: what it says of a text, without a script."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tests.helpers.detecting import KEY
from tests.serving.asking import Answer, App, form
from tradeoff.detection import Segment
from tradeoff.serving import Limits
from tradeoff.verdicts.pages.answer import Stretch, stretches


class Marked(HTMLParser):
    """What a page holds: its tags, and the words in and around <mark> within the text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def app() -> App:
    return App()


def send(app: App, *parts: tuple[str, str | None, bytes]) -> Answer:
    return app.ask("POST", "/", *form(*parts))


def test_a_person_finds_a_form(app: App) -> None:
    answer = app.ask("GET", "/")
    page = Marked(answer.body.decode())
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.of("html") == [{"lang": "en"}]
    (asked,) = page.of("form")
    assert (asked["method"], asked["enctype"]) == ("post", "multipart/form-data")
    labelled = {label["for"] for label in page.of("label")}
    fields = {one["id"] for tag in ("textarea", "input", "select") for one in page.of(tag)}
    assert fields == labelled == {"text", "file", "fpr"}
    assert KEY.fingerprint in answer.body.decode()
    assert "letters" in answer.body.decode()


def test_nothing_comes_from_elsewhere(app: App) -> None:
    for answer in (app.ask("GET", "/"), send(app, ("text", None, b"words"))):
        page = Marked(answer.body.decode())
        assert not page.of("script")
        assert not page.of("style")
        assert not [
            one for _, one in page.tags if "style" in one or any(name.startswith("on") for name in one)
        ]
        assert {one["href"] for one in page.of("link")} == {"data:,", "style.css"}
        assert not re.search(r"https?://", answer.body.decode())
    assert "url(" not in app.ask("GET", "/style.css").body.decode()


def test_a_text_gets_its_verdict_and_what_it_rests_on(app: App) -> None:
    words = "The sea at night is dark & <b>wide</b>.\r\nNobody swims there."
    answer = send(app, ("text", None, words.encode()), ("fpr", None, b"0.001"))
    told = answer.body.decode()
    assert answer.status == 200
    assert '<div role="status">' in told
    assert "No watermark of the key “letters”" in told
    assert "What it rests on" in told
    assert "the generator takes the word that wins" in told
    assert "from the key and the 2 tokens before" in told
    assert "1 in 1,000" in told
    # As it was pasted: escaped, with line ends as files have them.
    assert "dark &amp; &lt;b&gt;wide&lt;/b&gt;.\nNobody swims" in told
    assert "<b>" not in told


def test_line_ends_of_forms_are_those_of_files(app: App) -> None:
    """Browsers send CR LF, which other tokens spell."""
    alike = [app.post({"text": "Dark.\nWide.\n"}).json()["results"][0]["tokens"]]
    shown = send(app, ("text", None, b"Dark.\r\nWide.\r\n")).body.decode()
    assert f"<td>{alike[0]} read, of which" in shown


@pytest.mark.parametrize(
    ("parts", "status", "why"),
    [
        ([], 422, "Why: there is neither a text nor a file"),
        ([("text", None, b"  \r\n "), ("file", "", b"")], 422, "Why: there is neither a text nor a file"),
        ([("text", None, b"words"), ("file", "a.txt", b"words")], 422, "Why: a text and a file were sent"),
        ([("file", "a.pdf", b"words")], 422, "a.pdf"),
        ([("text", None, b"words"), ("key", None, b"5")], 422, "Why: the keys are the server"),
    ],
)
def test_people_are_told_what_is_wrong(app: App, parts: list, status: int, why: str) -> None:
    answer = send(app, *parts)
    assert answer.status == status
    assert answer.headers["content-type"].startswith("text/html")
    assert '<div class="error" role="alert">' in answer.body.decode()
    assert why in answer.body.decode()


def test_people_are_told_what_is_too_large() -> None:
    answer = send(App(limits=Limits(max_bytes=500)), ("text", None, b"a" * 500))
    assert answer.status == 413
    assert "at most 500 are taken" in answer.body.decode()


def test_forms_alone_are_for_the_page(app: App) -> None:
    answer = app.ask("POST", "/", {"content-type": "application/json"}, b'{"text": "a"}')
    assert (answer.status, "send forms here" in answer.body.decode()) == (415, True)


def test_a_file_of_many_texts_is_cut(app: App) -> None:
    told = send(app, ("file", "a.jsonl", b'{"text": "some words"}\n' * 22)).body.decode()
    assert told.count('role="status"') == 20
    assert "2 texts more of the file were judged and are not shown" in told
    assert "<title>22 texts: " in told
    names = re.findall(r' id="([^"]*)"', told)
    assert len(names) == len(set(names))
    assert told.count("autofocus") == 1


class Reading:
    """Stands for the reading of a text whose tokens are its words."""

    def __init__(self, words: list[str], known: bool):
        self._words, self._known = words, known
        self.form = self

    def characters(self, words: list[str], start: int, end: int) -> tuple[int, int] | None:
        lengths = [len(word) for word in words]
        return (sum(lengths[:start]), sum(lengths[:end])) if self._known else None


class Found:
    """Stands for a result with segments."""

    def __init__(self, segments: list[Segment], reading: Reading):
        self.segments, self.reading = segments, reading


@pytest.mark.parametrize("known", [True, False])
def test_marked_parts_stand_where_they_are_in_the_text(known: bool) -> None:
    words = ["One", " two", " th", "ree", " four", " five"]
    parts = [Segment(1, 4, 3, 9.0, -9.0, -9.0), Segment(5, 6, 1, 9.0, -9.0, -9.0)]
    found = stretches(Found(parts, Reading(words, known)), "".join(words), words)  # type: ignore[arg-type]
    assert found == [Stretch("One", 0), Stretch(" two three", 1), Stretch(" four", 0), Stretch(" five", 2)]
