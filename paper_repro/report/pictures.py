"""Pictures in a report: as drawings where these are small, else in few colours: a page stays small."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from tradeoff.errors import FileError

__all__ = ["Picture", "data_uri", "pictures_named"]

#: A drawing of more bytes is embedded as an image.
_LARGEST_DRAWING = 95_000
#: Characters of a drawing that stand for themselves in its address.
_KEPT = " !$()*+,-./:;=?@_~\n"
#: Of an image: pixels across, and how many colours.
_WIDEST, _COLORS = 2000, 256


@dataclass(frozen=True)
class Picture:
    """A picture and its words.

    Attributes:
        path: of the PNG file; a drawing of the same name with the suffix .svg goes before it, if it is small.
        caption: under it.
        description: for who does not see it.
    """

    path: Path
    caption: str
    description: str


def pictures_named(paths: list[Path], start: str, caption: str, description: str) -> list[Picture]:
    """The PNG files among `paths` whose names start so, with the rest of the name in the caption."""
    found = []
    for path in paths:
        if path.suffix == ".png" and path.stem.startswith(start):
            rest = path.stem.removeprefix(start).strip("_").replace("both", "all prompts together")
            found.append(Picture(path, f"{caption}: {rest}" if rest else caption, description))
    return found


def data_uri(path: Path) -> str:
    """A picture as it is embedded.

    Raises:
        FileError: if it cannot be read.
    """
    drawing = path.with_suffix(".svg")
    try:
        if drawing.exists():
            content = drawing.read_bytes()
            if len(content) <= _LARGEST_DRAWING:
                # A third shorter than in base 64.
                return f"data:image/svg+xml,{quote(content, safe=_KEPT)}"
        return f"data:image/png;base64,{base64.b64encode(_in_few_colors(path)).decode('ascii')}"
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read ({error}); draw it again") from error


def _in_few_colors(path: Path) -> bytes:
    with Image.open(path) as image:
        image.load()
        picture = image.convert("RGB")
    if picture.width > _WIDEST:
        height = round(picture.height * _WIDEST / picture.width)
        picture = picture.resize((_WIDEST, height), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    # Of Pillow's ways the one that keeps the colours of thin lines.
    way = Image.Quantize.FASTOCTREE
    picture.quantize(_COLORS, way, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
    return written.getvalue()
