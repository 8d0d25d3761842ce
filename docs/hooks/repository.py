"""Pages link to files of the repository as they do on GitHub; the site holds copies of those files.

A link to a folder becomes its words alone, as a site has no listings. CHANGELOG.md is a page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[2]
#: A page of the site that lies beside `docs`.
_CHANGELOG = "CHANGELOG.md"
#: Where files from outside `docs` stand in the site.
_COPIES = "repository"
_LINK = re.compile(r"(?<!!)\[(?P<words>[^\]\n]*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig, **_: object) -> Files:
    """Add the page of changes."""
    uri = _CHANGELOG.lower()
    files.append(File.generated(config, uri, abs_src_path=str(_ROOT / _CHANGELOG)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files, **_: object) -> str:
    """Lead links that leave `docs` to copies in the site."""
    source, docs = Path(str(page.file.abs_src_path)).parent, Path(config.docs_dir).resolve()

    def led(found: re.Match[str]) -> str:
        target = (source / found["target"]).resolve()
        if not target.is_relative_to(_ROOT) or not target.exists():
            return found[0]
        if target.is_dir():
            return found["words"]
        if target.is_relative_to(docs):
            uri = target.relative_to(docs).as_posix()
        elif target == _ROOT / _CHANGELOG:
            uri = _CHANGELOG.lower()
        else:
            uri = f"{_COPIES}/{target.relative_to(_ROOT).as_posix()}"
            if files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, abs_src_path=str(target)))
        link = posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".")
        return f"[{found['words']}]({link}{found['anchor'] or ''})"

    return _LINK.sub(led, markdown)
