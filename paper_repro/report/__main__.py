"""Write the reports of finished runs again, from their tables.

python -m paper_repro.report paper_repro/results/small
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from paper_repro.report.folder import report_of
from tradeoff.display import exit_on_bad_input, print_written, stdout


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders with the tables of a run and its run.json.")],
) -> None:
    """Draw the pictures and write report.html."""
    with exit_on_bad_input():
        for folder in folders:
            print_written(stdout(), report_of(folder))


if __name__ == "__main__":
    typer.run(main)
