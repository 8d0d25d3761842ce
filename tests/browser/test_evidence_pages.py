"""Evidence pages as a browser shows them: axe-core finds nothing serious, and they fit a small screen.

Two environment variables name what no package of this project brings: TRADEOFF_CHROMIUM, the executable of
Chromium, and TRADEOFF_AXE, the file axe.min.js of axe-core. With TRADEOFF_SCREENSHOTS, a folder, every page
is photographed there for people to look at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import tradeoff as td
from tests.browser.chromium import Chromium, chromium
from tests.helpers.detecting import KEY, marked, other
from tradeoff.verdicts import EvidencePage

NEEDED = {"TRADEOFF_CHROMIUM": "the executable of Chromium", "TRADEOFF_AXE": "axe.min.js of axe-core"}
MISSING = [
    f"{name} ({what})" for name, what in NEEDED.items() if not Path(os.environ.get(name, "") or "?").is_file()
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"set {', '.join(MISSING)} to a file"),
]
SCHEME = td.Scheme.of("joint-race", "gumbel")
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
WORDS = ["the", "of", "a", "harbour", "quiet", "when", "we", "arrived", "nobody", "came", "church", "key"]
#: How a page is looked at: width, colours, medium.
VIEWS = [(360, "light"), (1280, "light"), (360, "dark"), (1280, "dark")]
TEXTS: dict[str, tuple[list[int], dict]] = {
    "marked": (marked(200), {}),
    "unmarked": (other(300), {}),
    "mixed": ([*other(300), *marked(60), *other(250, seed=2)], {}),
    "sequential": (marked(120), {"sequential": True}),
    "short": ([1], {}),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    spelling = [f" {WORDS[rng.integers(len(WORDS))]}" for _ in range(50)]
    with EvidencePage(folder / "many.html", NOW) as many:
        for name, (ids, how) in TEXTS.items():
            found = td.detect(ids, SCHEME, KEY, **how)
            words = [spelling[token] for token in found.token_ids]
            many.add(f"{name}.txt", found, words)
            with EvidencePage(folder / f"{name}.html", NOW) as page:
                page.add(f"{name}.txt", found, words)
    return sorted([*folder.glob("*.html"), *folder.glob("many-pages-*/0001.html")])


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium(os.environ["TRADEOFF_CHROMIUM"]) as opened:
        yield opened


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_axe_finds_nothing_serious(pages: list[Path], browser: Chromium, width: int, scheme: str) -> None:
    axe = Path(os.environ["TRADEOFF_AXE"]).read_text(encoding="utf-8")
    found = []
    for path in pages:
        browser.open(path, width, scheme)
        # What is closed is looked at as well.
        browser.value("document.querySelectorAll('details').forEach(one => { one.open = true })")
        browser.value(axe)
        told = browser.value(
            "axe.run().then(run => run.violations.map(v => [v.impact, v.id, v.nodes[0].html]))"
        )
        found += [(path.name, *one) for one in told if one[0] in ("serious", "critical")]
    assert found == []


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(pages: list[Path], browser: Chromium, width: int) -> None:
    for path in pages:
        browser.open(path, width)
        browser.value("document.querySelectorAll('details').forEach(one => { one.open = true })")
        assert browser.value("document.documentElement.scrollWidth") <= width, path.name


def test_paper_has_the_shades_and_the_numbers(pages: list[Path], browser: Chromium) -> None:
    """Tables of short texts are there though nobody opened them, and shades though printers leave out "
    "colour."""
    browser.open(next(path for path in pages if path.name == "marked.html"), 794, media="print")
    assert browser.value("document.querySelector('.numbers tbody tr').getBoundingClientRect().height") > 0
    style = "getComputedStyle(document.querySelector('.text .s3'))"
    assert browser.value(f"{style}.printColorAdjust") == "exact"
    assert "underline" in browser.value(f"{style}.textDecorationLine")


def test_keys_alone_reach_what_there_is(pages: list[Path], browser: Chromium) -> None:
    """The way past the header first, then the tables of numbers; tokens are no stops."""
    browser.open(next(path for path in pages if path.name == "mixed.html"), 1280)
    stops = []
    for _ in range(12):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        stops.append(browser.value("document.activeElement.tagName"))
    reached = [stop for stop in stops if stop != "BODY"]
    assert reached[:5] == ["A", "SUMMARY", "SUMMARY", "SUMMARY", "SUMMARY"]
    assert set(reached) == {"A", "SUMMARY"}


def test_pages_are_photographed(pages: list[Path], browser: Chromium) -> None:
    folder = os.environ.get("TRADEOFF_SCREENSHOTS")
    if not folder:
        pytest.skip("set TRADEOFF_SCREENSHOTS to a folder for the pictures")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path in pages:
        for width, scheme in VIEWS:
            browser.open(path, width, scheme)
            browser.screenshot(Path(folder) / f"{path.stem}-{width}-{scheme}.png")
        browser.open(path, 794, media="print")
        browser.screenshot(Path(folder) / f"{path.stem}-print.png")
        browser.printed(Path(folder) / f"{path.stem}.pdf")
        shutil.copy(path, folder)
    assert len(list(Path(folder).glob("*.png"))) >= 5 * len(pages)
