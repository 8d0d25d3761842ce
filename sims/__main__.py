"""`python -m sims`: check every statement of the paper, print the table, write sims/results.

    python -m sims                      all statements, about 8 minutes
    python -m sims --quick              the same with fewer seeds, under a minute
    python -m sims --only theorem_3_1   one statement; may be given several times

The exit status is 0 if all statements are green and all negative controls red, 1 if not, 2 on bad input. A
statement whose model is not to be had is named with the reason; the others decide the exit status.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TimeElapsedColumn

from sims.evaluation import Found, evaluated
from sims.report import LEVEL, judge, print_table, write_summary
from sims.statements import STATEMENTS, chosen
from sims.tools.rows import Row
from tradeoff.display import Words, exit_on_bad_input, print_written, stderr, stdout
from tradeoff.files import output_folder
from tradeoff.workers import parse_workers

__all__ = ["DEFAULT_SIZE", "QUICK_SIZE", "app", "main"]

RESULTS = Path("sims/results")
DEFAULT_SIZE = 400_000
QUICK_SIZE = 20_000

app = typer.Typer(add_completion=False)


@app.command()
def sims(
    quick: Annotated[bool, typer.Option("--quick", help=f"{QUICK_SIZE:,} seeds in place of more.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Statement to check: {', '.join(STATEMENTS)}.")
    ] = None,
    size: Annotated[int | None, typer.Option(help=f"Monte Carlo seeds [default: {DEFAULT_SIZE}].")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for tables and figures.")] = RESULTS,
    processes: Annotated[
        int | None, typer.Option(help="Worker processes [default: one a core].", min=1)
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(help="The same; or ray, ray:8 for actors of a Ray cluster whose nodes share --out."),
    ] = None,
) -> None:
    """Check every statement of the paper against simulations of this library's own code."""
    with exit_on_bad_input():
        if quick and size is not None:
            raise ValueError(f"--quick means --size {QUICK_SIZE}; give one of the two")
        if processes is not None and workers is not None:
            raise ValueError(
                f"--processes {processes} and --workers {workers} say the same; give one of the two"
            )
        who = workers or processes or os.cpu_count() or 1
        parse_workers(who)
        statements = chosen(only or [])
        seeds = QUICK_SIZE if quick else DEFAULT_SIZE if size is None else size
        output_folder(out)
        console, rows = stdout(), list[Row]()
        spent, missing = dict[str, float](), dict[str, str]()
        found: dict[str, Found] = {}
        columns = (BarColumn(), Words(), TimeElapsedColumn())
        with Progress(*columns, console=stderr(), transient=True) as progress:
            task = progress.add_task(", ".join(statements), total=len(statements))
            for name, part in evaluated(statements, seeds, seed, out, who):
                found[name] = part
                left = [other for other in statements if other not in found]
                progress.update(task, advance=1, description=", ".join(left))
        for name in statements:
            rows += found[name].rows
            spent[name] = found[name].seconds
            if found[name].missing:
                missing[name] = found[name].missing
        verdicts = judge(rows)
        print_table(console, verdicts)
        wrong = [v for v in verdicts if not v.as_expected]
        controls = sum(row.expected_red for row in rows)
        note = (
            f"{len(rows) - controls} predictions and {controls} negative controls, {len(wrong)} not as "
            f"expected; {seeds:,} seeds, seed {seed}, Holm at family-wise level {LEVEL:g}."
        )
        for name, reason in missing.items():
            note += f"\nNot evaluated: {name} ({reason})."
        console.print("seconds: " + ", ".join(f"{name} {s:.1f}" for name, s in spent.items()))
        console.print(note, soft_wrap=True)
        print_written(console, [*write_summary(verdicts, out, note), *sorted(out.glob("*.png"))])
        if wrong:
            raise typer.Exit(1)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
