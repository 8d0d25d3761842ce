"""The page of `tradeoff serve` as a browser shows it: what a person sends gets its verdict without a script.

It needs what `tests.browser.test_evidence_pages` does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.browser.chromium import Chromium, chromium
from tests.browser.test_evidence_pages import MISSING, VIEWS
from tests.helpers.detecting import PRF, marked
from tests.serving.asking import Served
from tradeoff.llm import load_words

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"set {', '.join(MISSING)} to a file"),
]
LETTERS = [
    "sea",
    "night",
    "garden",
    "lamp",
    "door",
    "church",
    "quiet",
    "wide",
    "dark",
    "road",
    "house",
    "field",
]
PLAIN = (
    "The harbour was quiet when we arrived, and nobody came to meet us. We walked to the church, where the "
    "door was open, and waited there. Later somebody brought a lamp and asked what we wanted. "
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium(os.environ["TRADEOFF_CHROMIUM"]) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), ["--workers", "1"]) as server:
        yield server


def marked_words() -> str:
    """Words under the key that are split into the tokens that were drawn."""
    tokenizer = load_words("builtin")
    split = tokenizer([f" {word}" for word in LETTERS], add_special_tokens=False)["input_ids"]
    alphabet = np.array([ids[0] for ids in split if len(ids) == 1])
    return str(tokenizer.decode(marked(120, PRF, alphabet=alphabet), skip_special_tokens=False))


TEXTS = {
    "form": None,
    "not-detected": PLAIN * 2,
    "short": "Yes.",
    "refused": " ",
}


@cache
def texts() -> dict[str, str | None]:
    words = marked_words()
    return TEXTS | {"marked": words, "in-part": PLAIN * 8 + words + " " + PLAIN * 8}


def visit(browser: Chromium, served: Served, text: str | None, width: int, scheme: str = "light") -> None:
    """The page, or the answer to a text, as a person gets it: typed into the form, and sent by its button."""
    browser.visit(f"http://127.0.0.1:{served.port}/", width, scheme)
    if text is None:
        return
    browser.value(f"document.querySelector('textarea').value = {json.dumps(text)}")
    browser.leaving("document.querySelector('button').click()")


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_axe_finds_nothing(browser: Chromium, served: Served, width: int, scheme: str) -> None:
    axe = Path(os.environ["TRADEOFF_AXE"]).read_text(encoding="utf-8")
    found = []
    for name, text in texts().items():
        visit(browser, served, text, width, scheme)
        browser.value(axe)
        told = browser.value(
            "axe.run().then(run => run.violations.map(v => [v.impact, v.id, v.nodes[0].html]))"
        )
        found += [(name, *one) for one in told]
    assert found == []


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(browser: Chromium, served: Served, width: int) -> None:
    for name, text in texts().items():
        visit(browser, served, text, width)
        assert browser.value("document.documentElement.scrollWidth") <= width, name


def test_a_person_reads_the_verdict_and_sees_the_part(browser: Chromium, served: Served) -> None:
    told = texts()
    visit(browser, served, told["in-part"], 1280)
    assert "watermarked in part" in browser.value("document.title")
    assert "carries the watermark of the key “letters”" in browser.value(
        "document.querySelector('[role=status]').innerText"
    )
    assert browser.value("document.activeElement.id") == "verdict-1"
    shown = browser.value("document.querySelector('mark').innerText")
    assert shown in told["in-part"]
    inside = told["marked"].split()
    assert len(set(shown.split()) & set(inside)) > len(set(inside)) / 2
    visit(browser, served, told["not-detected"], 1280)
    assert browser.value("document.querySelector('mark')") is None
    visit(browser, served, told["refused"], 1280)
    assert "neither a text nor a file" in browser.value("document.querySelector('[role=alert]').innerText")


def test_keys_alone_reach_what_there_is(browser: Chromium, served: Served) -> None:
    visit(browser, served, None, 1280)
    stops = []
    for _ in range(6):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        stops.append(browser.value("document.activeElement.id || document.activeElement.className"))
        outlined = browser.value("getComputedStyle(document.activeElement).outlineStyle")
        assert outlined != "none", stops[-1]
    assert stops[:4] == ["skip", "text", "file", "fpr"]


def test_it_loads_nothing_from_elsewhere_and_keeps_to_its_policy(browser: Chromium, served: Served) -> None:
    visit(browser, served, PLAIN, 1280)
    loaded = browser.value("performance.getEntriesByType('resource').map(one => one.name)")
    assert loaded == [f"http://127.0.0.1:{served.port}/style.css"]
    assert browser.value("getComputedStyle(document.querySelector('.verdict')).fontWeight") == "600"


def test_pages_are_photographed(browser: Chromium, served: Served) -> None:
    folder = os.environ.get("TRADEOFF_SCREENSHOTS")
    if not folder:
        pytest.skip("set TRADEOFF_SCREENSHOTS to a folder for the pictures")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        for width, scheme in VIEWS:
            visit(browser, served, text, width, scheme)
            browser.screenshot(Path(folder) / f"served-{name}-{width}-{scheme}.png")
    assert len(list(Path(folder).glob("served-*.png"))) >= len(TEXTS) * len(VIEWS)
