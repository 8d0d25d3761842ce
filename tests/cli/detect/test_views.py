"""What `tradeoff detect` shows of every token: the page, the terminal, columns, JSON."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.detecting import PRF, detect, findings, flat, lines, marked, other, without_tokenizer
from tests.helpers.pages import read_page
from tradeoff.detection import Aaronson, Evidence, RaceBets, Switching
from tradeoff.keyed.prf import Stream


def test_page_is_escaped_and_complete(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_tokenizer(monkeypatch)
    ids = marked(40)
    name = "<script>alert('x')</script>&\x00\x1b[31m"
    path = lines(folder / "x.jsonl", {"id": name, "token_ids": ids})
    html = folder / "new" / "page.html"
    result = detect(folder, path, "--json", "--html", html)
    assert len(findings(result)) == 1
    assert "page.html" in flat(result.stderr)
    assert "tokens are shown as numbers" in flat(result.stderr)
    content = html.read_text(encoding="utf-8")
    page = read_page(html)
    titles = page.attributes["title"]
    for watermark in ("gumbel", "synthid:5", "simplexwater:4"):
        other_page = folder / "other.html"
        options = ["--method", "two-keys", "--watermark", watermark, "--html", other_page]
        assert detect(folder, path, *options).exit_code == 0
        titles += read_page(other_page).attributes["title"]
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "<script>alert('x')</script>&\\u0000\\u001b[31m" in page.words
    assert "http" not in content
    assert "prefers-color-scheme: dark" in content
    (text,) = re.findall(r'<p class="text">(.*?)</p>', content, flags=re.DOTALL)
    assert re.sub("<[^>]*>", "", text) == "".join(f"#{token} " for token in ids)
    assert len(titles) == 160
    assert sum(title.startswith("not scored") for title in titles) == 4 * PRF.context_width
    start, end = r"1 in [\d,]+(\.\d)?: score \d+\.\d\d, ", r", marked (over |under )?\d+%"
    assert re.fullmatch(start + r"uniform 0\.\d{4}" + end, titles[4])
    assert re.fullmatch(start + r"uniform draft 0\.\d{4}, target 0\.\d{4}" + end, titles[44])
    assert re.fullmatch(start + r"ones draft \d of 5, target \d of 5" + end, titles[84])
    assert re.fullmatch(start + r"f draft \d\.00, target \d\.00" + end, titles[124])
    uniforms = Evidence(ids, PRF).uniform(Stream.SHARED)
    for shade, (low, high) in enumerate(itertools.pairwise((0, 0.95, 0.99, 0.999, 1))):
        expected = ((low <= uniforms) & (uniforms < high)).sum()
        assert content.count(f'<span class="s{shade}" title=') == expected


def test_page_can_be_read_in_light_and_dark(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contrast of at least 4.5 between the ink and every shade (WCAG 2)."""
    without_tokenizer(monkeypatch)
    path = lines(folder / "x.jsonl", {"token_ids": other(9)})
    assert detect(folder, path, "--html", folder / "p.html").exit_code == 0
    style = (folder / "p.html").read_text(encoding="utf-8")
    hue = [int(x) for x in re.search(r"--hue: (\d+) (\d+) (\d+)", style).groups()]
    depths = [float(x) for x in re.findall(r"\.s\d \{ background: rgb\(var\(--hue\) / ([\d.]+)\)", style)]
    inks, papers, faints, links, parts = (
        re.findall(rf"--{n}: #(\w{{6}})", style) for n in ("ink", "paper", "faint", "link", "part")
    )
    assert len(depths) == 4
    assert len(inks) == len(papers) == len(faints) == len(links) == len(parts) == 2

    def luminance(colour: list[float]) -> float:
        linear = [c / 255 / 12.92 if c <= 10.3 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: list[float], b: list[float]) -> float:
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    for ink, paper, *others in zip(inks, papers, faints, links, parts, strict=True):
        ink, paper, *others = ([int(x[i : i + 2], 16) for i in (0, 2, 4)] for x in (ink, paper, *others))
        assert all(contrast(colour, paper) >= 4.5 for colour in others)
        for depth in depths:
            shade = [depth * h + (1 - depth) * p for h, p in zip(hue, paper, strict=True)]
            assert contrast(ink, shade) >= 4.5


def test_tokens_in_the_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_tokenizer(monkeypatch)
    monkeypatch.setenv("FORCE_COLOR", "1")
    ids = marked(40)
    path = lines(folder / "x.jsonl", {"id": "a\x1b[2J", "token_ids": ids})
    result = detect(folder, path, "--tokens")
    assert result.exit_code == 0
    assert "\x1b[2J" not in result.stdout
    assert "a\\u001b[2J: watermarked" in result.stdout
    # Dim where nothing is scored, bold on blue where it is rare.
    assert result.stdout.count("\x1b[2m#") == PRF.context_width
    rare = (Evidence(ids, PRF).uniform(Stream.SHARED) >= 0.999).sum()
    assert result.stdout.count("\x1b[1;37;44m#") == rare > 1
    assert result.stdout.count("1 in 1,000 without a watermark") == 1
    monkeypatch.setenv("NO_COLOR", "1")
    assert "position  token" in detect(folder, path, "--tokens").stdout


def test_tokens_without_colour(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns: nothing of the evidence is lost in a file."""
    without_tokenizer(monkeypatch)
    ids = marked(40)
    result = detect(folder, lines(folder / "x.jsonl", {"id": "a", "token_ids": ids}), "--tokens")
    assert result.exit_code == 0
    assert "a: watermarked\nposition  token" in result.stdout
    rows = [row.split() for row in result.stdout.splitlines() if re.match(r" +\d+  \"", row)]
    assert [int(row[0]) for row in rows] == list(range(40))
    assert [row[1].strip('"') for row in rows] == [f"#{token}" for token in ids]
    evidence = Evidence(ids, PRF)
    scored = [row for row in rows if row[-2:] != ["not", "scored"]]
    assert [int(row[0]) for row in scored] == evidence.index.tolist()
    uniforms = evidence.uniform(Stream.SHARED)
    # The score of Aaronson's test is -log(1 - U), so that one token of 1 / (1 - U) has as much.
    np.testing.assert_allclose([float(row[-2]) for row in scored], 1 / (1 - uniforms), rtol=0.01)
    np.testing.assert_allclose([float(row[-3]) for row in scored], -np.log(1 - uniforms), atol=0.01)
    shares = [float(row[-1].removesuffix("%")) / 100 for row in scored]
    np.testing.assert_allclose(shares, Switching(RaceBets()).read(evidence).share, atol=0.006)


def test_tokens_as_json(folder: Path) -> None:
    ids = marked(40)
    path = lines(folder / "x.jsonl", {"token_ids": ids})
    (found,) = findings(detect(folder, path, "--json", "--tokens"))
    expected = Aaronson().contributions(Evidence(ids, PRF))
    assert found["index"] == Evidence(ids, PRF).index.tolist()
    assert found["scores"] == expected.tolist()
    (bare,) = findings(detect(folder, path, "--json"))
    assert found["marked"] == pytest.approx(Switching(RaceBets()).read(Evidence(ids, PRF)).share)
    assert found == bare | {name: found[name] for name in ("index", "scores", "marked")}


def test_page_replaces_files_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link stays one, and a pipe or device such as /dev/null is no place for a page."""
    without_tokenizer(monkeypatch)
    path = lines(folder / "x.jsonl", {"token_ids": other(9)})
    (folder / "p.html").write_text("old")
    (folder / "link.html").symlink_to("p.html")
    assert detect(folder, path, "--html", folder / "link.html").exit_code == 0
    assert (folder / "link.html").is_symlink()
    assert "Watermark evidence" in (folder / "p.html").read_text(encoding="utf-8")
    os.mkfifo(folder / "pipe")
    result = detect(folder, path, "--html", folder / "pipe")
    assert result.exit_code == 2
    assert "pipe is no file that can be written anew; name another one" in flat(result.stderr)
    assert (folder / "pipe").is_fifo()


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["columns", "json"])
def test_page_is_whole_for_a_reader_who_stops_early(options: list[str], folder: Path) -> None:
    """As `| head` does. More is printed than a pipe holds, so that it is met while texts are read."""
    texts = [{"id": f"text {i}", "token_ids": marked(300, seed=i)} for i in range(40)]
    path, html = lines(folder / "x.jsonl", *texts), folder / "page.html"
    # Without a tokenizer, as in `without_tokenizer`.
    script = (
        "import sys; sys.modules['tradeoff.llm.models.words'] = None; from tradeoff.cli import main; main()"
    )
    command = [sys.executable, "-c", script, "detect", str(path), "--key-file", str(folder / "key")]
    command += ["--tokens", *options]
    statuses = []
    for also in ([], ["--html", str(html)]):
        with subprocess.Popen(
            [*command, *also], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.read(100)
            process.stdout.close()
            errors = process.stderr.read().decode()
        assert "Traceback" not in errors
        assert "Exception ignored" not in errors
        statuses.append(process.returncode)
    assert statuses == [1, 1]
    index = html.read_text(encoding="utf-8")
    assert index.count('<a href="page-pages-') == 40
    (beside,) = folder.glob("page-pages-*")
    pages = sorted(beside.iterdir())
    assert len(pages) == 40
    assert all(page.read_text(encoding="utf-8").endswith("</html>\n") for page in (html, *pages))


def test_page_of_a_failed_command_is_not_left(folder: Path) -> None:
    """Where no text can be read there is nothing to show."""
    (folder / "x.jsonl").write_text("broken\n")
    (folder / "p.html").write_text("old")
    assert detect(folder, folder / "x.jsonl", "--html", folder / "p.html").exit_code == 2
    assert (folder / "p.html").read_text() == "old"
    assert sorted(p.name for p in folder.iterdir()) == ["key", "p.html", "x.jsonl"]


def test_pages_of_several_texts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index, and a page of each; what was written is told, and no input lies where pages go."""
    without_tokenizer(monkeypatch)
    path = lines(
        folder / "x.jsonl", {"id": "a", "token_ids": other(40)}, {"id": "b", "token_ids": marked(40)}
    )
    html = folder / "p.html"
    result = detect(folder, path, "--html", html)
    assert result.exit_code == 0
    (pages,) = folder.glob("p-pages-*")
    assert f"wrote {html}, {pages}" in flat(result.stdout)
    links = [link for link in read_page(html).attributes["href"] if link and "/" in link]
    assert links == [f"{pages.name}/0002.html", f"{pages.name}/0001.html"]
    assert all((folder / link).is_file() for link in links)
    before = (pages / "0001.html").read_bytes()
    for read in (pages / "0001.html", pages):
        refused = detect(folder, path, read, "--html", html)
        assert refused.exit_code == 2
        assert "is a file to be read; write the page to another one" in flat(refused.stderr)
    assert (pages / "0001.html").read_bytes() == before
    (pages / "note.txt").write_text("mine")
    assert detect(folder, path, "--html", html).exit_code == 0
    assert (pages / "note.txt").read_text() == "mine"
    assert len(list(folder.glob("p-pages-*"))) == 2
