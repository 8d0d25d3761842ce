"""The report: words of others as words, numbers to four digits, pictures inside, readable by any means."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError
from PIL import Image

from paper_repro.presets import load_preset
from paper_repro.report.decided import Claim, Unit
from paper_repro.report.folder import decidable, left_out, report_of
from paper_repro.report.origin import NO_CHECKOUT, Origin, commit_of, origin_now
from paper_repro.report.page import Report, Section, write_report
from paper_repro.report.pictures import Picture, data_uri
from tests.helpers.pages import HOSTILE, SHOWN, read_page
from tradeoff.display.html import environment
from tradeoff.errors import FileError

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "paper_repro" / "results"
#: A page is opened on telephones and sent by mail.
MOST_BYTES = 2_000_000
SEEN = Claim("more", Unit.TPR, 0.2, 0.1, 0.3)
CONTRADICTED = Claim("less", Unit.TPR, -0.2, -0.3, -0.1)
WIDE = Claim("perhaps", Unit.TPR, 0.05, -0.2, 0.3)
NARROW = Claim("hardly", Unit.TPR, 0.005, -0.012, 0.0221)


def report(*sections: Section, opening: Section | None = None, **values: object) -> Report:
    given = {
        "title": "title",
        "summary": "summary",
        "facts": [("date", "today")],
        "opening": opening or Section("first", "first"),
        "left_out": "",
        "sections": sections,
        "command": "run",
    }
    return Report(**given | values)  # type: ignore[arg-type]


def picture(path: Path) -> Picture:
    Image.new("RGB", (8, 4), "white").save(path)
    return Picture(path, "a caption", "a description")


def written(folder: Path, *sections: Section) -> list[str]:
    """The words between contents and footer."""
    write_report(folder / "report.html", report(*sections))
    words = [word.strip() for word in read_page(folder / "report.html").words if word.strip()]
    return words[words.index("Contents") + 1 + len(sections) : words.index("This run again:")]


def test_words_of_others_are_words(tmp_path: Path) -> None:
    """Wherever they stand: titles, facts, paragraphs, claims, captions, heads, cells, pictures, commands."""
    # A name of a file has no slash, no NUL and no half of a surrogate pair.
    name = HOSTILE.replace("/", "").replace("\x00", "")[:-1]
    claim = Claim(HOSTILE, Unit.TPR, 0.2, 0.1, 0.3, note=HOSTILE)
    shot = replace(picture(tmp_path / f"{name}.png"), caption=HOSTILE, description=HOSTILE)
    section = Section(
        HOSTILE,
        HOSTILE,
        paragraphs=[HOSTILE],
        # As objects: Arrow's strings, which pandas takes where it is installed, have no half of a pair.
        tables=[
            (HOSTILE, pd.DataFrame([[HOSTILE]], columns=pd.Index([HOSTILE], dtype=object), dtype=object))
        ],
        pictures=[shot],
        claims=[claim],
    )
    whole = {"title": HOSTILE, "summary": HOSTILE, "left_out": HOSTILE, "command": HOSTILE}
    write_report(tmp_path / "report.html", report(section, facts=[(HOSTILE, HOSTILE)], **whole))
    read = read_page(tmp_path / "report.html")
    assert " ".join(read.tags) == (
        "html head meta meta title style body a header h1 p p span main section h2 a p nav h2 a ol li a "
        "section h2 a p ul li strong span figure div img figcaption div p div table thead tr th tbody tr td "
        "footer p code"
    )
    # Both titles, summary, what is left out, contents, heading, paragraph, two captions, head, cell, command.
    assert read.words.count(SHOWN) == 12
    assert f"{SHOWN}: {SHOWN}" in read.words
    assert f": {SHOWN} " in read.words
    assert read.attributes["alt"] == [SHOWN]
    assert {"script", "link", "iframe"}.isdisjoint(read.tags)


def test_every_part_can_be_reached_and_named(tmp_path: Path) -> None:
    """Landmarks, one first heading, an anchor a heading, contents, and regions that the keyboard scrolls."""
    table = ("a table", pd.DataFrame({"tokens": [1]}))
    sections = [
        Section(name, name, tables=[table], pictures=[picture(tmp_path / "a.png")]) for name in ("x", "y")
    ]
    write_report(tmp_path / "report.html", report(*sections))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    read = read_page(tmp_path / "report.html")
    assert '<html lang="en">' in page
    assert [read.tags.count(tag) for tag in ("header", "nav", "main", "footer", "h1")] == [1] * 5
    headings = re.findall(r'<h2 id="([^"]+)">', page)
    assert len(headings) == read.tags.count("h2")
    anchors = read.attributes["id"]
    assert len(anchors) == len(set(anchors))
    links = [link.removeprefix("#") for link in read.attributes["href"] if link]
    assert links[0] == "main", "what is first reached leads past the head"
    assert set(links) <= set(anchors)
    assert set(links) >= {"x", "y"}
    regions = re.findall(r'<div [^>]*role="region"[^>]*>', page)
    assert len(regions) == 4
    for region in regions:
        assert 'tabindex="0"' in region
        (name,) = re.findall(r'aria-labelledby="([^"]+)"', region)
        assert name in anchors
    assert page.count("<th ") == page.count('<th scope="col"')
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page), "nothing is fetched"


def test_the_first_screen_comes_before_the_contents(tmp_path: Path) -> None:
    """A sentence, the picture and one table."""
    opening = Section(
        "first",
        "first",
        tables=[("found", pd.DataFrame({"share": ["90%"]}))],
        pictures=[picture(tmp_path / "a.png")],
    )
    write_report(tmp_path / "report.html", report(Section("one", "one"), opening=opening, left_out="rest"))
    words = [word.strip() for word in read_page(tmp_path / "report.html").words if word.strip()]
    head = words[words.index("summary") : words.index("Contents")]
    assert head == ["summary", "date: today", "first", "a caption", "found", "share", "90%", "rest"]


def test_tables_and_claims(tmp_path: Path) -> None:
    """Floats to four digits, nothing where there is no value, and columns of words to the left."""
    table = pd.DataFrame(
        {"test": ["sum", None], "power": [0.123456, np.nan], "texts": [12345, 2], "±": ["+1 ± 2", ""]}
    )
    section = Section("one", "one", tables=[("a table", table)], claims=[SEEN, CONTRADICTED, WIDE, NARROW])
    words = written(tmp_path, section)
    numbers = "(difference {} of mean TPR, 95% interval {} to {}{})"
    assert words == [
        "one",
        "✓ seen",
        ": more",
        numbers.format("+0.200", "+0.100", "+0.300", ""),
        "✗ contradicted",
        ": less",
        numbers.format("-0.200", "-0.300", "-0.100", ""),
        "– undecided",
        ": perhaps",
        numbers.format("+0.050", "-0.200", "+0.300", "; too few texts"),
        "– undecided",
        ": hardly",
        numbers.format("+0.005", "-0.012", "+0.022", "; no difference larger than 0.023"),
        "a table",
        *("test", "power", "texts", "±"),
        *("sum", "0.1235", "12345", "+1 ± 2", "2"),
    ]
    read = read_page(tmp_path / "report.html")
    assert read.attributes["class"].count("word") == 3
    assert read.tags.count("td") == 8


def test_long_tables_say_so(tmp_path: Path) -> None:
    """All rows are there, in a region that says how many."""
    words = written(tmp_path, Section("one", "one", tables=[("many", pd.DataFrame({"n": range(463)}))]))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<td") == 463
    assert words[:4] == ["one", "many (463 rows", ", all here: scroll within", ")"]


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert written(tmp_path, Section("one", "one")) == ["one"]
    assert not {"ul", "table", "img"} & set(read_page(tmp_path / "report.html").tags)


def test_small_drawings_are_embedded_and_large_ones_as_images(tmp_path: Path) -> None:
    shot = picture(tmp_path / "a.png")
    assert data_uri(shot.path).startswith("data:image/png;base64,")
    (tmp_path / "a.svg").write_text("<svg/>")
    kind, content = data_uri(shot.path).split(",")
    assert (kind, unquote(content)) == ("data:image/svg+xml", "<svg/>")
    (tmp_path / "a.svg").write_text("<svg>" + " " * 100_000 + "</svg>")
    assert data_uri(shot.path).startswith("data:image/png;base64,")


def test_a_report_without_its_pictures_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("before")
    with pytest.raises(FileError, match=r"lost\.png cannot be read \(.*\); draw it again"):
        written(tmp_path, Section("one", "one", pictures=[Picture(tmp_path / "lost.png", "", "")]))
    assert (tmp_path / "report.html").read_text() == "before"


def test_a_report_lacks_nothing_silently() -> None:
    template = environment("paper_repro").get_template("report.html")
    section = Section("", "", tables=[("", pd.DataFrame({"a": [1]}))], pictures=[Picture(Path("a"), "", "")])
    given = {
        "report": report(section),
        "rows": lambda table: [],
        "data_uri": str,
        "is_long": lambda table: False,
    }
    assert template.render(given)
    for name in given:
        with pytest.raises(UndefinedError, match=f"'{name}' is undefined"):
            template.render({key: value for key, value in given.items() if key != name})


# Where a run comes from, and what it is too small for.


def test_the_origin_of_a_run(tmp_path: Path) -> None:
    origin = origin_now("quick", "python -m paper_repro", 7)
    origin.write(tmp_path)
    assert Origin.read(tmp_path) == origin
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", origin.date)
    with pytest.raises(FileError, match=r"run\.json cannot be read .*; run the experiment again"):
        Origin.read(tmp_path / "none")


def test_the_commit_of_a_checkout_and_of_none(tmp_path: Path) -> None:
    """With a mark if a file was changed since; a folder within a checkout is none of it."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    assert commit_of(checkout) == NO_CHECKOUT
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")

    def git(*command: str) -> str:
        run = subprocess.run(
            ["git", "-C", str(checkout), *who, *command], check=True, capture_output=True, text=True
        )
        return run.stdout.strip()

    git("init", "-q")
    (checkout / "file").write_text("before")
    (checkout / "folder").mkdir()
    git("add", "file")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")
    assert commit_of(checkout) == head[:12]
    (checkout / "file").write_text("after")
    assert commit_of(checkout) == f"{head[:12]}+"
    assert commit_of(checkout / "folder") == NO_CHECKOUT


def test_a_small_preset_shows_what_it_decides_and_names_who_decides_the_rest() -> None:
    """What a wide interval leaves undecided is counted, not listed; without a larger preset all is shown."""
    quick, small, decided = load_preset("quick"), load_preset("small"), [SEEN, CONTRADICTED, WIDE, NARROW]
    assert decidable(quick, decided) == [SEEN, CONTRADICTED, NARROW]
    assert decidable(small, decided) == decided
    words = left_out(quick, decided, ["ROC curves"])
    assert "16 texts a method" in words
    assert "1 of 4 claims, ROC curves" in words
    assert words.endswith("python -m paper_repro --preset small")
    assert left_out(small, decided) == left_out(quick, [SEEN]) == ""


# The reports that are kept.


@pytest.mark.parametrize("run", ["small", "sequential"])
def test_a_kept_report_is_small_and_in_words(run: str) -> None:
    """Under 2 MB, with its date, version, commit and command, and no heading that is a name of code."""
    page = (RESULTS / run / "report.html").read_text(encoding="utf-8")
    assert (RESULTS / run / "report.html").stat().st_size < MOST_BYTES
    origin = Origin.read(RESULTS / run)
    for words in (origin.date, origin.version, origin.commit, origin.command):
        assert words in page
    heads = re.findall(r"<th [^>]*>([^<]*)</th>", page)
    assert len(heads) > 50
    assert not [head for head in heads if "_" in head]
    assert not {"aatps", "logppl", "tpr", "fpr", "alpha", "share", "high", "low", "lookahead"} & set(heads)


@pytest.mark.parametrize("run", ["small", "sequential"])
def test_a_kept_report_is_what_its_tables_say(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If not: `python -m paper_repro.report paper_repro/results/RUN`. Pictures are drawn anew."""
    folder = tmp_path / run
    folder.mkdir()
    for path in (RESULTS / run).iterdir():
        if path.suffix in (".csv", ".json"):
            (folder / path.name).write_bytes(path.read_bytes())
    kept = (RESULTS / run / "report.html").read_text(encoding="utf-8")
    picture(tmp_path / "figure_1.png")
    # A section of pictures alone is there for them.
    roc = picture(folder / "roc_both.png").path
    home = "paper_repro.report.folder"
    monkeypatch.setattr(f"{home}.draw_detection_figures", lambda *_: [roc])
    for name in ("sequential", "watermark"):
        monkeypatch.setattr(f"{home}.draw_{name}_figure", lambda *_: [])
    report_of(folder)
    now = (folder / "report.html").read_text(encoding="utf-8")
    figures = re.compile(r"\s*<figure>.*?</figure>", re.DOTALL)
    assert figures.sub("", now) == figures.sub("", kept)
