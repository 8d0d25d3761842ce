"""Documents of word processors and pages made for printing: .docx and .pdf files, each of them one text."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from tradeoff.display import INSTALL_DOCUMENTS
from tradeoff.errors import FileError
from tradeoff.texts.json_texts import Text

__all__ = ["refusing_damaged", "text_of_docx", "text_of_pdf"]

#: Bytes of a .docx file's parts once they are unpacked: of those with words, which take some ten times as
#: much when they are parsed, and of all with their pictures.
_MOST_XML, _MOST_UNPACKED = 32 << 20, 256 << 20
_PICTURES = ("word/media/", "word/embeddings/", "word/fonts/")
#: Bytes of the largest .pdf file, and characters of its text.
_LARGEST_PDF, _MOST_WORDS = 256 << 20, 64 << 20
#: How files begin that Word writes with a password, and that old versions of it wrote.
_COMPOUND = b"\xd0\xcf\x11\xe0"
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
#: The same content once more, for readers that do not know the first form.
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
#: What elements of a paragraph stand for.
_SIGNS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
#: Parts of a paragraph that are none of its words: its form (with tab stops), what was moved away, paragraphs
#: of text boxes, which are found by themselves.
_NO_WORDS = {f"{_W}pPr", f"{_W}rPr", f"{_W}del", f"{_W}moveFrom", f"{_W}p", _FALLBACK}


def text_of_docx(stream: BinaryIO, source: str, name: str) -> Iterator[Text]:
    """The text of a .docx file: paragraphs and table cells in the order of the document, a line each.

    Headers, footers, notes, comments and deleted words are left out. Nothing is yielded if it has no words.

    Args:
        stream: the file, at its beginning.
        source: its name, for messages.
        name: the text's.

    Raises:
        FileError: if it is damaged, protected, unpacks to more than 32 MiB of words or 256 MiB in all, or
            python-docx is not installed.
    """
    with refusing_damaged(source, "Word document", "python-docx"):
        # First, so that the remedy is told whatever the file holds.
        from docx import Document

        if stream.read(len(_COMPOUND)) == _COMPOUND:
            raise FileError(
                f"{source} is protected by a password, or of the old .doc format; save it as .docx without a "
                "password"
            )
        _check_unpacked(stream, source)
        stream.seek(0)
        body: Any = Document(stream).element.body
        paragraphs = [
            "".join(_words(paragraph))
            for paragraph in body.iter(f"{_W}p")
            if not any(above.tag == _FALLBACK for above in paragraph.iterancestors())
        ]
    words = "\n".join(paragraphs)
    if words.strip():
        yield Text(name, source, source, None, [words])


def text_of_pdf(stream: BinaryIO, source: str, name: str, warn: Callable[[str], None]) -> Iterator[Text]:
    """The text of a .pdf file: its pages, with a newline between two; lines end where they were printed.

    Args:
        stream: the file, at its beginning.
        source: its name, for messages.
        name: the text's.
        warn: called if the file has faults and is read all the same.

    Raises:
        FileError: if it is damaged, encrypted, larger than 256 MiB, has no words or more than 64 MiB of them,
            or pypdf is not installed.
    """
    with refusing_damaged(source, "PDF", "pypdf"), _complaints() as complaints:
        from pypdf import PdfReader

        if stream.seek(0, os.SEEK_END) > _LARGEST_PDF:
            raise FileError(f"{source} has more than {_LARGEST_PDF:,} bytes; pass its words as a .txt file")
        reader = PdfReader(stream)
        if reader.is_encrypted:
            raise FileError(
                f"{source} is encrypted; save it without encryption, for example with `qpdf --decrypt`"
            )
        pages, size = [], 0
        for page in reader.pages:
            pages.append(_whole(page.extract_text()))
            size += len(pages[-1])
            if size > _MOST_WORDS:
                raise FileError(f"{source} has more than {_MOST_WORDS:,} characters; pass a part of it")
    if not any(page.strip() for page in pages):
        raise FileError(
            f"{source} has no words, only pictures of pages perhaps; recognise them first, for example with "
            "`ocrmypdf`, or pass a .txt file"
        )
    if complaints:
        more = f", and {len(complaints) - 1} more" if len(complaints) > 1 else ""
        warn(f"{source} has faults and is read as far as it can be ({_short(complaints[0])}{more})")
    yield Text(name, source, source, None, ["\n".join(pages)])


@contextmanager
def refusing_damaged(source: str, what: str, package: str) -> Iterator[None]:
    """Errors of another package's reader, in a block that reads `source`, as ones that name file and remedy.

    Args:
        source: the file.
        what: it should be.
        package: that reads it, and may not be installed.

    Raises:
        FileError: for any error.
    """
    try:
        yield
    except FileError:
        raise
    except ImportError as error:
        raise FileError(
            f"{source}: reading a {what} needs {package} ({error}); {INSTALL_DOCUMENTS}"
        ) from error
    except Exception as error:  # such readers raise anything for a damaged file
        said = _short(str(error) or type(error).__name__)
        raise FileError(
            f"{source} is damaged, or no {what} ({said}); write it anew, or pass its words as a .txt file"
        ) from error


def _check_unpacked(stream: BinaryIO, source: str) -> None:
    # What is unpacked of a part is never more than the archive says.
    with zipfile.ZipFile(stream) as archive:
        sizes = [(part.filename, part.file_size) for part in archive.infolist()]
    everything = sum(size for _, size in sizes)
    words = sum(size for part, size in sizes if not part.startswith(_PICTURES))
    if words > _MOST_XML or everything > _MOST_UNPACKED:
        most, found = (_MOST_XML, words) if words > _MOST_XML else (_MOST_UNPACKED, everything)
        raise FileError(
            f"{source} unpacks to {found:,} bytes, more than {most:,}; pass its words as a .txt file"
        )


def _words(element: Any) -> Iterator[str]:
    """What a paragraph says, or a part of it."""
    for inner in element:
        if inner.tag == f"{_W}t":
            yield inner.text or ""
        elif inner.tag in _SIGNS:
            yield _SIGNS[inner.tag]
        elif inner.tag not in _NO_WORDS:
            yield from _words(inner)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What pypdf says of a file in a block, in place of its own output."""
    found: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger("pypdf"), Collecting(logging.WARNING)
    passed_on = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = passed_on


def _whole(words: str) -> str:
    """The words with halves of surrogate pairs joined, or replaced where there is no other half."""
    return words.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _short(said: str) -> str:
    """The first line of what another program says, cut to 200 characters."""
    return said.strip().partition("\n")[0][:200]
