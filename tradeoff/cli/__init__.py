"""Command line: `tradeoff curve | decoys | demo | detect | generate | key | plan | serve`, one module each.

Options and help are declared in modules that import no library; what a command does is imported when it runs,
so that help and completion are there at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tradeoff.cli.curve import CURVE_EXAMPLES, curve_command
from tradeoff.cli.decoys import DECOYS_EXAMPLES, decoys_command
from tradeoff.cli.demo import DEMO_EXAMPLES, demo_command
from tradeoff.cli.detect_options import DETECT_EXAMPLES, detect_command
from tradeoff.cli.generate import GENERATE_EXAMPLES, generate_command
from tradeoff.cli.help import examples
from tradeoff.cli.key import key_app
from tradeoff.cli.plan import PLAN_EXAMPLES, plan_command
from tradeoff.cli.serve import SERVE_EXAMPLES, serve_command

__all__ = ["app", "main"]

_EXAMPLES = examples(
    "tradeoff demo",
    "tradeoff key new -o my.key",
    'tradeoff generate "Write a letter" --key-file my.key -o texts.jsonl',
    "tradeoff detect texts.jsonl --key-file my.key",
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLES,
)
app.command("curve", epilog=CURVE_EXAMPLES)(curve_command)
app.command("decoys", epilog=DECOYS_EXAMPLES)(decoys_command)
app.command("demo", epilog=DEMO_EXAMPLES)(demo_command)
app.command("detect", epilog=DETECT_EXAMPLES)(detect_command)
app.command("generate", epilog=GENERATE_EXAMPLES)(generate_command)
app.command("plan", epilog=PLAN_EXAMPLES)(plan_command)
app.command("serve", epilog=SERVE_EXAMPLES)(serve_command)
app.add_typer(key_app, name="key")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"tradeoff {version('tradeoff')}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Watermarking language models under speculative decoding."""


def main() -> None:
    """Entry point of the console script."""
    app()
