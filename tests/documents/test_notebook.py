"""The notebook is the page, its outputs are those of a run, and another run gives the same."""

from __future__ import annotations

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tests.documents.blocks import same
from tests.documents.notebook import NOTEBOOK, PAGE, executed, from_page, printed, shown_blocks

TEXT = PAGE.read_text(encoding="utf-8")


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Those that the page has, too."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"][1:]


def kinds(cell: nbformat.NotebookNode) -> list[str]:
    """Of its outputs: what it is, or as what it is shown."""
    return [kind for output in cell.outputs for kind in sorted(output.get("data", [output.output_type]))]


def test_it_is_the_page() -> None:
    committed, page = read(), from_page(TEXT)
    parts = [[(cell.cell_type, cell.source) for cell in one.cells] for one in (committed, page)]
    assert parts[0] == parts[1], "make it anew: python -m tests.documents.notebook"


def test_its_outputs_are_those_of_the_page() -> None:
    cells = code_cells(read())
    counts = [cell.execution_count for cell in read().cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    for cell, shown in zip(cells, shown_blocks(TEXT), strict=True):
        assert "error" not in kinds(cell)
        assert shown is None or same(shown.code, printed(cell)), cell.source
    assert "image/png" in [kind for cell in cells for kind in kinds(cell)]


@pytest.mark.slow
def test_another_run_gives_the_same(request: pytest.FixtureRequest) -> None:
    """To the digits, but where the model's words decide: those may differ with the processor."""
    try:
        committed, fresh = code_cells(read()), code_cells(executed(from_page(TEXT)))
    except CellExecutionError as error:
        if "the built-in model" in str(error):
            # Skips with the reason, where it cannot be fetched; two models at once would be much memory.
            request.getfixturevalue("builtin_pair")
        raise
    for was, now, shown in zip(committed, fresh, shown_blocks(TEXT), strict=True):
        assert kinds(now) == kinds(was), was.source
        if shown is not None and shown.is_example:
            assert printed(now).strip()
        else:
            assert same(printed(was), printed(now)), was.source
