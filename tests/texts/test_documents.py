"""Documents: the words of .docx and .pdf files in their order, and one line for whatever cannot be read."""

from __future__ import annotations

import io
import logging
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import pytest
from docx.oxml import parse_xml
from pypdf import PdfReader, PdfWriter

from tests.helpers.detecting import KEY, detect, findings, flat
from tradeoff.texts import Broken, documents, read_texts

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def read(path: Path, warn: Callable[[str], None] = pytest.fail) -> list[str]:
    """The words of every text, or why it cannot be read."""
    found = []
    for text in read_texts([str(path)], io.BytesIO(), warn):
        found.append(text.message if isinstance(text, Broken) else "".join(text.pieces or ()))
        assert isinstance(text, Broken) or (text.id, text.label) == (path.name, str(path))
    return found


def letter(path: Path, *paragraphs: str) -> Path:
    document = docx.Document()
    for words in paragraphs:
        document.add_paragraph(words)
    document.save(str(path))
    return path


def pdf(*pages: str) -> bytes:
    """A file with a line of every page's words, in Helvetica."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(pages)}/Kids[{kids}]>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for number, words in enumerate(pages):
        lines = " T* ".join(f"({line}) Tj" for line in words.split("\n"))
        drawn = f"BT /F1 12 Tf 14 TL 72 700 Td {lines} ET".encode("cp1252") if words else b""
        bodies.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents "
            + f"{5 + 2 * number} 0 R>>".encode()
        )
        bodies.append(f"<</Length {len(drawn)}>>stream\n".encode() + drawn + b"\nendstream")
    content, places = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        places.append(len(content))
        content += f"{number} 0 obj".encode() + body + b"endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    head = f"xref\n0 {len(bodies) + 1}\n0000000000 65535 f \n{table}"
    tail = f"trailer<</Size {len(bodies) + 1}/Root 1 0 R>>\nstartxref\n{len(content)}\n%%EOF\n"
    return content + (head + tail).encode()


def test_paragraphs_and_cells_in_order(tmp_path: Path) -> None:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "a header"
    document.sections[0].footer.paragraphs[0].text = "a footer"
    document.add_heading("Größe", 1)
    document.add_paragraph("one ").add_run("two").bold = True
    table = document.add_table(2, 2)
    for number, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"cell {number}"
    table.cell(0, 0).merge(table.cell(0, 1))
    document.add_paragraph("three\tfour\nfive")
    document.save(str(tmp_path / "x.docx"))
    assert read(tmp_path / "x.docx") == ["Größe\none two\ncell 0\ncell 1\ncell 2\ncell 3\nthree\tfour\nfive"]


def test_words_that_stand_deeper(tmp_path: Path) -> None:
    """Links, insertions, content controls and text boxes; not what was deleted, moved away or told twice."""
    document = docx.Document()
    body: Any = document.element.body
    markup = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    box = "<w:r><w:{0}><w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent></w:{0}></w:r>"
    for number, inner in enumerate(
        (
            "<w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:hyperlink><w:r><w:t>link</w:t></w:r></w:hyperlink>",
            "<w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>",
            "<w:moveFrom><w:r><w:t>away</w:t></w:r></w:moveFrom><w:r><w:t>co</w:t><w:noBreakHyphen/></w:r>",
            f'<mc:AlternateContent xmlns:mc="{markup}"><mc:Choice Requires="wps">{box.format("drawing")}'
            f"</mc:Choice><mc:Fallback>{box.format('pict')}</mc:Fallback></mc:AlternateContent><w:r><w:t>around</w:t></w:r>",
        )
    ):
        body.insert(number, parse_xml(f"<w:p {W}>{inner}</w:p>"))
    control = f"<w:sdt {W}><w:sdtContent><w:p><w:r><w:t>control</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    body.insert(4, parse_xml(control))
    document.save(str(tmp_path / "x.docx"))
    assert read(tmp_path / "x.docx") == ["link\nnew\nco-\naround\nbox\ncontrol"]


def test_a_document_without_words(tmp_path: Path) -> None:
    (said,) = read(letter(tmp_path / "x.docx", "", " "))
    assert "x.docx holds no text" in said


def test_damaged_word_documents_are_named(tmp_path: Path) -> None:
    """Cut anywhere, with bytes changed anywhere, and what is none: one line each."""
    path = letter(tmp_path / "x.docx", "one " * 50, "two")
    whole = path.read_bytes()
    contents = [b"", b"no document", *(whole[:cut] for cut in range(1, len(whole), 2503))]
    contents += [whole[:at] + b"\xff\xff" + whole[at + 2 :] for at in range(0, len(whole), 1009)]
    for content in contents:
        path.write_bytes(content)
        (said,) = read(path)
        assert "x.docx" in said or said.startswith("one ")
    path.write_bytes(whole[:-30])
    (said,) = read(path)
    assert said.startswith(f"{path} is damaged, or no Word document (")
    assert said.endswith("write it anew, or pass its words as a .txt file")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("words.txt", "no document")
    assert "x.docx is damaged, or no Word document" in read(path)[0]
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
    assert "x.docx is protected by a password, or of the old .doc format; save it as .docx" in read(path)[0]


def repacked(path: Path, part: str, size: int) -> Path:
    """The document with a part more, of zeros."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open(part, "w") as stream:
        for _ in range(size >> 20):
            stream.write(b"\0" * (1 << 20))
    return path


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = repacked(letter(tmp_path / "x.docx", "one"), "word/more.xml", 40 << 20)
    assert path.stat().st_size < 1 << 20
    (said,) = read(path)
    assert "x.docx unpacks to 42," in said
    assert "more than 33,554,432; pass its words as a .txt file" in said
    # Pictures may take more.
    monkeypatch.setattr(documents, "_MOST_XML", 1 << 20)
    monkeypatch.setattr(documents, "_MOST_UNPACKED", 8 << 20)
    path = repacked(letter(tmp_path / "y.docx", "one"), "word/media/image1.png", 4 << 20)
    assert read(path) == ["one"]
    (said,) = read(repacked(path, "word/media/image2.png", 6 << 20))
    assert "more than 8,388,608" in said


def test_pages_are_joined_by_newlines(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf("One page\nof two lines", "Größe"))
    assert read(path) == ["One page\nof two lines\nGröße"]


@pytest.mark.parametrize("pages", [("",), ("", " ", ""), ()])
def test_pages_without_words_are_refused(pages: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "scan.pdf"
    path.write_bytes(pdf(*pages))
    (said,) = read(path)
    assert "scan.pdf has no words, only pictures of pages perhaps; recognise them first" in said


@pytest.mark.parametrize("password", ["secret", ""])
def test_encrypted_pages_are_refused(password: str, tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf("one"))))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    writer.write(tmp_path / "x.pdf")
    (said,) = read(tmp_path / "x.pdf")
    assert "x.pdf is encrypted; save it without encryption, for example with `qpdf --decrypt`" in said


def test_damaged_pages_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Cut anywhere and with bytes changed anywhere: words, or one line, and nothing of pypdf's own."""
    path = tmp_path / "x.pdf"
    whole = pdf("one two three", "four")
    contents = [b"", b"no pages", b"%PDF-1.4\n", *(whole[:cut] for cut in range(1, len(whole), 53))]
    contents += [whole[:at] + b"\xff" + whole[at + 1 :] for at in range(0, len(whole), 17)]
    told: list[str] = []
    for content in contents:
        path.write_bytes(content)
        (said,) = read(path, told.append)
        assert "x.pdf" in said or "o" in said
    assert capfd.readouterr() == ("", "")
    assert told
    assert all("x.pdf has faults and is read as far as it can be (" in warning for warning in told)
    path.write_bytes(b"no pages")
    (said,) = read(path)
    assert said.startswith(f"{path} is damaged, or no PDF (")
    assert logging.getLogger("pypdf").handlers == []


def test_bounds_of_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf("one two three"))
    monkeypatch.setattr(documents, "_MOST_WORDS", 10)
    assert "x.pdf has more than 10 characters; pass a part of it" in read(path)[0]
    monkeypatch.setattr(documents, "_LARGEST_PDF", 100)
    assert "x.pdf has more than 100 bytes; pass its words as a .txt file" in read(path)[0]


def test_halves_of_characters_are_joined_or_replaced() -> None:
    assert documents._whole("a\ud83d\ude42b\ud83d") == "a🙂b\ufffd"


@pytest.mark.parametrize(
    ("package", "name", "what"), [("docx", "python-docx", "Word document"), ("pypdf", "pypdf", "PDF")]
)
def test_without_the_packages(
    package: str, name: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = letter(tmp_path / "x.docx", "one") if package == "docx" else tmp_path / "x.pdf"
    if package == "pypdf":
        path.write_bytes(pdf("one"))
    monkeypatch.setitem(sys.modules, package, None)
    (said,) = read(path)
    assert f"{path}: reading a {what} needs {name} (" in said
    assert "install it with pip install 'tradeoff[documents]'" in said


def test_the_command_reads_documents(tmp_path: Path) -> None:
    """Beside others, of which one is damaged."""
    KEY.write(tmp_path / "key")
    data = tmp_path / "data"
    data.mkdir()
    words = "The harbour was quiet when we arrived, and nobody came to meet us."
    letter(data / "a.docx", words)
    (data / "b.pdf").write_bytes(pdf(words))
    (data / "c.txt").write_text(words)
    found = findings(detect(tmp_path, data, "--json"))
    assert [Path(one["source"]).name for one in found] == ["a.docx", "b.pdf", "c.txt"]
    assert len({(one["tokens"], one["log10_p"]) for one in found}) == 1
    (data / "d.docx").write_bytes((data / "a.docx").read_bytes()[:-20])
    result = detect(tmp_path, data)
    assert result.exit_code == 2
    assert "d.docx is damaged, or no Word document" in flat(result.stderr)
    assert "3 texts:" in result.stdout
