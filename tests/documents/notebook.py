"""docs/quickstart.ipynb is docs/quickstart.md, run: `python -m tests.documents.notebook` makes it anew."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.documents.blocks import MOST_SECONDS, Block, parse, readers_environment, with_outputs

__all__ = ["NOTEBOOK", "PAGE", "executed", "from_page", "printed", "shown_blocks"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "quickstart.md"
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
#: The only cell that the page does not have.
FIRST = """\
# In Colab, or wherever the library is missing, install it from where you have it: %pip install '...[llm]'
%matplotlib inline"""
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def from_page(text: str) -> nbformat.NotebookNode:
    """A notebook of a page: its words, and its Python blocks as cells; what they print is left to a run."""
    lines, at = text.splitlines(), 0
    found: list[tuple[str, str]] = [("code", FIRST)]
    for block in parse(text, PAGE.name):
        found.append(("markdown", "\n".join(lines[at : block.line - 2]).strip()))
        if block.language == "python":
            found.append(("code", block.code.strip()))
        at = block.line + len(block.code.splitlines())
    found.append(("markdown", "\n".join(lines[at:]).strip()))
    cells = []
    for kind, source in found:
        if source:
            make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
            cells.append(make(source, id=f"cell-{len(cells)}"))
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": _KERNEL})


def executed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook after a run in a fresh kernel and an empty folder, without what went to standard error.

    Raises:
        nbclient.exceptions.CellExecutionError: for a cell that fails.
    """
    environment = readers_environment()
    # The picture belongs into the notebook.
    del environment["MPLBACKEND"]
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=MOST_SECONDS, record_timing=False, resources={"metadata": {"path": folder}}
        )
        done: nbformat.NotebookNode = client.execute(env=environment)
    for cell in done.cells:
        if cell.cell_type == "code":
            cell.outputs = _whole(cell.outputs)
    done.metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    return done


def _whole(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs without standard error; what is printed is one, in however many parts it came."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def printed(cell: Any) -> str:
    """What a cell printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def shown_blocks(text: str) -> list[Block | None]:
    """For every Python block of a page, the block of what it prints; None where it has none."""
    pairs = with_outputs(parse(text, PAGE.name))
    return [shown for block, shown in pairs if block.language == "python"]


if __name__ == "__main__":
    nbformat.write(executed(from_page(PAGE.read_text(encoding="utf-8"))), NOTEBOOK)
