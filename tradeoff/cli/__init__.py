"""Command line: `tradeoff curve | decoys | detect | generate | key | plan`, one module each."""

from __future__ import annotations

import typer

from tradeoff.cli.curve import curve_command
from tradeoff.cli.decoys import decoys_command
from tradeoff.cli.detect import detect_command
from tradeoff.cli.generate import generate_command
from tradeoff.cli.key import key_app
from tradeoff.cli.plan import plan_command

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Watermarking language models under speculative decoding.",
)
app.command("curve")(curve_command)
app.command("decoys")(decoys_command)
app.command("detect")(detect_command)
app.command("generate")(generate_command)
app.command("plan")(plan_command)
app.add_typer(key_app, name="key")


def main() -> None:
    """Entry point of the console script."""
    app()
