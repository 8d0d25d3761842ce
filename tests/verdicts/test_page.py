"""Evidence pages: words of others as words, whole or not at all, errors that name the page and the remedy."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import numpy as np
import pytest
from jinja2 import UndefinedError

import tradeoff as td
from tests.helpers.detecting import KEY, marked, other, without_tokenizer
from tests.helpers.pages import HOSTILE, SHOWN, read_page
from tradeoff.display.html import environment, parts
from tradeoff.errors import FileError
from tradeoff.verdicts import Result, evidence_html
from tradeoff.verdicts.pages import marks, page
from tradeoff.verdicts.pages.folders import pages_folders
from tradeoff.verdicts.pages.page import EvidencePage
from tradeoff.verdicts.views import SHADES

SCHEME = td.Scheme.of("joint-race", "gumbel")
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
#: A passage of 60 tokens among 900 others.
MIXED = [*other(500), *marked(60), *other(400, seed=2)]


def spelled(ids: list[int]) -> list[str]:
    return [f" w{token}" for token in ids]


def result(ids: list[int], **how: Any) -> Result:
    return td.detect(ids, SCHEME, KEY, **how)


MARKED, UNMARKED = result(marked(40)), result(other(40))
WORDS = {id(MARKED): spelled(marked(40)), id(UNMARKED): spelled(other(40))}


class Full:
    """A stream on a full disk."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, _: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def write(path: Path, *names: str, found: Result = MARKED) -> list[Path]:
    with EvidencePage(path, NOW) as written:
        for name in names:
            written.add(name, found, WORDS[id(found)])
    return written.written


def shown_text(content: str) -> str:
    """What stands in the text of a page, without its markup."""
    (text,) = re.findall(r'<p class="text">(.*?)</p>', content, flags=re.DOTALL)
    return re.sub("<[^>]*>", "", text)


def test_words_of_others_are_words(tmp_path: Path) -> None:
    """Wherever they stand: the name of a text, its tokens, and what is remarked of its record."""
    path = tmp_path / "page.html"
    hostile = replace(UNMARKED, remarks=(HOSTILE,))
    with EvidencePage(path) as written:
        written.add(HOSTILE, hostile, [HOSTILE] * 40)
    read = read_page(path)
    assert "script" not in read.tags
    assert read.tags.count("title") == 2, "of the page and of the picture"
    # Title, heading, fact, remark; tokens and their rows; the name of the table of numbers has only words.
    assert sum(SHOWN in word for word in read.words) >= 4 + 2 * 40
    assert not any("<script" in (value or "") for values in read.attributes.values() for value in values)


def test_a_text_is_its_tokens() -> None:
    """With their blanks and line ends, and none of the page's."""
    words = ["Two", "  words", " ", "\n\n", "\t", " b &", "", "."]
    found = result(other(8))
    content = evidence_html(found, words=words, now=NOW)
    assert shown_text(content).replace("&amp;", "&") == "".join(words)


def test_every_shade_has_a_style() -> None:
    content = evidence_html(MARKED, words=WORDS[id(MARKED)], now=NOW)
    (legend,) = re.findall(r'<p class="legend">(.*?)</p>', content)
    named = re.findall(r'<span class="(\w+)">', legend)
    assert named == [marks.class_of(shade) for shade in SHADES]
    assert all(f"\n.{mark} {{" in content for mark in named)


def test_a_page_lacks_nothing_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[tuple[str, str], dict[str, Any]] = {}

    def kept(template: Any, block: str, /, **values: Any) -> Any:
        values = {
            name: list(value) if hasattr(value, "__next__") else value for name, value in values.items()
        }
        if "tables" in values:
            values["tables"] = [table._replace(rows=list(table.rows)) for table in values["tables"]]
        given[template.name, block] = values
        return parts(template, block, **values)

    monkeypatch.setattr(page, "parts", kept)
    evidence_html(result(MIXED), words=spelled(MIXED), now=NOW)
    assert set(given) == {("evidence.html", "text"), ("evidence.html", "end")}
    for (name, block), values in given.items():
        template = environment("tradeoff").get_template(name)
        for missing in values:
            with pytest.raises(UndefinedError, match=f"'{missing}' is undefined"):
                list(
                    parts(template, block, **{key: value for key, value in values.items() if key != missing})
                )


def test_a_page_appears_when_it_is_whole(tmp_path: Path) -> None:
    """And its folder with it. What cannot be encoded is an escape."""
    path = tmp_path / "new" / "page.html"
    with EvidencePage(path) as written:
        written.add("a \ud800 b", MARKED, WORDS[id(MARKED)])
        assert not path.exists()
    content = path.read_text(encoding="utf-8")
    assert r"<h1>a \ud800 b</h1>" in content
    assert content.endswith("</html>\n")
    assert list(path.parent.iterdir()) == [path]
    assert written.written == [path]


def test_the_page_of_one_text_as_a_string(tmp_path: Path) -> None:
    """The same as the file, with the moment that was given."""
    path = tmp_path / "page.html"
    write(path, "letter")
    content = path.read_text(encoding="utf-8")
    assert content == evidence_html(MARKED, name="letter", words=WORDS[id(MARKED)], now=NOW)
    assert "<td>2026-01-02 03:04 UTC</td>" in content
    for fetched in ("http", "src=", "<script", "@import", "url(h"):
        assert fetched not in content
    assert KEY.secret.hex() not in content


def test_two_pages_at_once_do_not_meet(tmp_path: Path) -> None:
    """Also of one process, at one path: the last that ends stays."""
    path = tmp_path / "page.html"
    with EvidencePage(path) as written:
        written.add("first", MARKED, WORDS[id(MARKED)])
        write(path, "second")
        assert "second" in path.read_text(encoding="utf-8")
    content = path.read_text(encoding="utf-8")
    assert "first" in content
    assert "<h1>second" not in content
    assert content.endswith("</html>\n")
    assert list(tmp_path.iterdir()) == [path]


def test_pages_of_many_texts(tmp_path: Path) -> None:
    """An index whose links lead to pages, those that were found first, and back."""
    path = tmp_path / "all # one.html"
    with EvidencePage(path, NOW) as written:
        for name, found in (("plain", UNMARKED), ("letter", MARKED), ("other", UNMARKED)):
            written.add(name, found, WORDS[id(found)])
        assert list(tmp_path.glob("*.html")) == []
    (folder,) = pages_folders(path)
    assert written.written == [path, folder]
    assert re.fullmatch("all # one-pages-[0-9a-f]{6}", folder.name)
    assert sorted(file.name for file in folder.iterdir()) == ["0001.html", "0002.html", "0003.html"]
    index = read_page(path)
    links = [link for link in index.attributes["href"] if link and "-pages-" in link]
    assert links == [f"{quote(folder.name)}/000{number}.html" for number in (2, 1, 3)]
    assert "watermarked: strong evidence" in index.words
    assert index.words.index("Watermark found") < index.words.index("letter") < index.words.index("plain")
    second = read_page(folder / "0002.html")
    assert second.attributes["href"][1:] == ["../all%20%23%20one.html", "0001.html", "0003.html"]
    assert (folder / "0003.html").read_text(encoding="utf-8").endswith("</html>\n")
    # Fewer texts next time: none of those before stays under the index.
    write(path, "one", "two")
    (folder,) = pages_folders(path)
    assert sorted(file.name for file in folder.iterdir()) == ["0001.html", "0002.html"]
    assert "Text before: one" in read_page(folder / "0002.html").words


def test_pages_of_a_failed_run_are_not_left(tmp_path: Path) -> None:
    def fail() -> None:
        with EvidencePage(tmp_path / "page.html") as written:
            written.add("one", MARKED, WORDS[id(MARKED)])
            written.add("two", MARKED, WORDS[id(MARKED)])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_keep_their_folder(tmp_path: Path) -> None:
    """A former folder goes only if it holds nothing but pages of this index, and what systems put there."""
    path = tmp_path / "page.html"
    kept = []
    for name in ("mine.txt", ".notes", "0003.html", "0001"):
        write(path, "one", "two")
        (folder,) = (one for one in pages_folders(path) if one not in kept)
        (folder / name).write_text("<!DOCTYPE html>\nmine")
        kept.append(folder)
    write(tmp_path / "page.htm", "of", "another")
    kept += [one for one in pages_folders(path) if one not in kept]
    (tmp_path / "page-pages").mkdir()
    write(path, "one", "two")
    (folder,) = (one for one in pages_folders(path) if one not in kept)
    (folder / ".DS_Store").touch()
    assert write(path, "one") == [path]
    assert pages_folders(path) == sorted(kept)
    assert (kept[0] / "mine.txt").exists()
    assert (tmp_path / "page-pages").exists()
    assert [len(list(folder.iterdir())) for folder in kept] == [3, 3, 3, 3, 2]


def test_the_index_leads_to_whole_pages_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the run before are there until the new index is."""
    path = tmp_path / "page.html"
    write(path, "one", "two")
    (before,) = pages_folders(path)
    seen: list[list[Path]] = []
    replace_file = Path.replace

    def replaced(self: Path, target: Path) -> Path:
        if target == path:
            seen.append(pages_folders(path))
            assert f'href="{before.name}/0001.html"' in path.read_text(encoding="utf-8")
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", replaced)
    _, after = write(path, "one", "two", "three")
    assert seen == [sorted([before, after])]
    assert pages_folders(path) == [after]
    assert f'href="{after.name}/0001.html"' in path.read_text(encoding="utf-8")

    def refused(self: Path, target: Path) -> Path:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(FileError, match=r"page\.html cannot be written"):
        write(path, "one", "two")
    assert sorted(tmp_path.iterdir()) == [after, path]


@pytest.mark.parametrize("name", [b"page-0001.html", b"0001.html", b"pages", b"\xff.html", b"x" * 250])
def test_any_name_of_a_page(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    write(path, "one", "two")
    links = [link for link in read_page(path).attributes["href"] if link and "/" in link]
    assert all(os.path.exists(os.path.join(os.fsencode(tmp_path), unquote_to_bytes(link))) for link in links)
    assert len(links) == 2
    write(path, "one")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("when", ["text", "end"])
def test_a_full_disk_is_named(tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")

    def fill() -> None:
        with EvidencePage(path) as written:
            if when == "end":
                written.add("name", MARKED, WORDS[id(MARKED)])
                written._page = Full(written._page)
            else:
                opened = EvidencePage._open
                monkeypatch.setattr(EvidencePage, "_open", lambda *given: Full(opened(*given)))
                written.add("name", MARKED, WORDS[id(MARKED)])

    with pytest.raises(FileError, match=rf"page\.html cannot be written: the disk of {tmp_path} is full"):
        fill()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path, "is a folder; name a file in it"),
        (Path("/dev/null"), "is no file that can be written anew; name another one"),
        (tmp_path / "file" / "page.html", r"page\.html cannot be written \(.*\); choose another place"),
    ):
        with pytest.raises(FileError, match=why):
            EvidencePage(path)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_reader_without_eyes_or_mouse_finds_a_way(tmp_path: Path) -> None:
    """Landmarks, headings without a gap, ids that are one of a kind, names that exist, and a way past the
    header; numbers in tables that a key opens."""
    write(tmp_path / "page.html", "one", "two")
    (folder,) = pages_folders(tmp_path / "page.html")
    for path in (tmp_path / "page.html", *folder.iterdir()):
        read = read_page(path)
        for landmark in ("header", "main", "footer", "nav"):
            assert read.tags.count(landmark) == (0 if landmark == "nav" and path.name == "page.html" else 1)
        levels = [int(tag[1]) for tag in read.tags if re.fullmatch(r"h\d", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        ids = read.attributes["id"]
        assert len(ids) == len(set(ids))
        named = " ".join(value or "" for value in read.attributes["aria-labelledby"]).split()
        assert set(named) <= set(ids)
        assert read.attributes["href"][0] == "#main"
        assert "main" in ids
    assert read.tags.count("summary") == read.tags.count("details") == 1
    assert read.tags.count("tr") > 40


def test_a_marked_part_is_told_and_marked() -> None:
    found, words = result(MIXED), spelled(MIXED)
    content = evidence_html(found, words=words, now=NOW)
    (segment,) = found.segments
    assert f"<td>tokens {segment.start + 1} to {segment.end}: " in content
    quoted = "".join(words[segment.start : segment.end]).strip()
    assert f"<blockquote>{quoted}</blockquote>" in content
    # First what the part alone has, then the whole text.
    assert content.index("In the marked part alone: of ") < content.index("In the whole text: of ")
    assert ">part 1</text>" not in content
    text = shown_text(content)
    before, rest = text.split("marked part begins")
    inside, after = rest.split("marked part ends")
    assert before == "".join(words[: segment.start])
    assert inside == "".join(words[segment.start : segment.end])
    assert after == "".join(words[segment.end :])


def test_edges_are_shown_between_words() -> None:
    """Though tests count tokens, no number is split by a badge."""
    found = result(MIXED)
    words = spelled(MIXED)
    (segment,) = found.segments
    words[segment.start] = words[segment.start].strip()
    content = evidence_html(found, words=words, now=NOW)
    begins = "".join(words[: segment.start - 1]) + "marked part begins" + words[segment.start - 1]
    assert begins in shown_text(content)
    assert f"<blockquote>{(words[segment.start - 1] + words[segment.start]).strip()} " in content


def test_who_is_addressed_and_what_is_for_specialists() -> None:
    """What helps to remove a mark is said at the top, where one was found; commands stand below."""
    for found in (MARKED, UNMARKED):
        content = evidence_html(found, words=WORDS[id(found)], now=NOW)
        owner, specialists = content.index("To the owner of the key:"), content.index("For specialists")
        assert content.count("To the owner of the key:") == 1
        assert (owner < content.index("What this does not show")) == bool(found)
        assert specialists < content.index("tradeoff decoys")
        assert specialists < content.index("How it was examined")
        assert ("its shaded words are no evidence" in content) != bool(found)
        assert "not suspicious one by one" in content


def test_columns_that_are_equal_are_one() -> None:
    content = evidence_html(MARKED, words=WORDS[id(MARKED)], now=NOW)
    assert '<th scope="col">log10 p</th>' in content
    assert "not corrected</th>" not in content
    several = td.detect(marked(40), SCHEME, [KEY, td.Key(bytes(32))])
    content = evidence_html(several, words=spelled(marked(40)), now=NOW)
    assert '<th scope="col">log10 p, corrected</th><th scope="col">not corrected</th>' in content


def test_facts_claim_no_more_and_tell_no_folder(tmp_path: Path) -> None:
    setting = replace(MARKED.reading.setting, tokenizer=str(tmp_path / "mine" / "tok"))
    tested = replace(
        MARKED.best, log_p=-6.999 * math.log(10), reading=replace(MARKED.reading, setting=setting)
    )
    content = evidence_html(replace(MARKED, tests=(tested,)), words=WORDS[id(MARKED)], now=NOW)
    assert "<td>-6.99, corrected for all that was looked at</td>" in content
    assert "words are shown by tok, if at hand" in content
    assert str(tmp_path) not in content


def test_an_empty_text_was_read_to_its_end() -> None:
    setting = replace(UNMARKED.reading.setting, tokenizer="builtin")
    form = replace(UNMARKED.reading.form, ids=np.zeros(0, dtype=np.int64), length=0, tokenised=True)
    tested = replace(UNMARKED.best, reading=replace(UNMARKED.reading, setting=setting, form=form))
    told = dict(page.facts(replace(UNMARKED, tests=(tested,)), None, "empty", "today"))
    assert told["SHA-256 of the words (UTF-8, line ends as LF)"] == hashlib.sha256().hexdigest()


def test_where_reading_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the text stands there unread, and the verdict on all of it is no second verdict."""
    without_tokenizer(monkeypatch)
    ids = marked(200)
    found = result(ids, sequential=True)
    assert found.tokens_needed is not None
    whole = found.at_one_look()
    assert whole is not None
    assert whole.log_p == result(ids).log_p
    assert not whole.sequential
    with pytest.warns(UserWarning, match="tokens are shown as numbers"):
        content = evidence_html(found, words=spelled(ids)[: found.tokens_needed], now=NOW)
    before, rest = shown_text(content).split("reading stopped here")
    assert before == "".join(spelled(ids)[: found.tokens_needed])
    assert rest.count("#") == 200 - found.tokens_needed, "numbers, as no tokenizer was named"
    assert f"a single look at all 200 tokens would say: {whole.verdict}. Of keys" in content
    assert content.count("whose writer never saw text made with the key") == 2
    assert "Only this is the verdict." in content
    assert content.count("<tr><td>") - len(found.tests) == found.tokens_needed


def test_long_texts_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The marked part first, whatever its place."""
    monkeypatch.setattr(marks, "NUMBERED", 300)
    monkeypatch.setattr(marks, "SHOWN", 600)
    found, words = result(MIXED), spelled(MIXED)
    content = evidence_html(found, words=words, now=NOW)
    assert content.count("title=") == 300
    (segment,) = found.segments
    text = shown_text(content)
    assert "".join(words[segment.start : segment.end]) in text
    told = re.findall(r'<span class="edge gap">([\d,]+) tokens? left out here', content)
    assert sum(int(number) for number in told) == 960 - 600
    assert len(re.findall(r"<tr><td>\d", content)) == 300
