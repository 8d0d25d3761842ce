"""The figures of the papers and of the experiment.

python -m figures figure_1      pdf, png and csv in figures/results
python -m figures --help        all of them
"""

from __future__ import annotations

from importlib import import_module

import typer

__all__ = ["FIGURES", "app", "draw"]

#: Names, the module whose `draw` is run, and what it draws.
FIGURES = {
    "figure_1": ("curves.figure_1", "Figure 1: strength against efficiency, on the paper's P and Q."),
    "figure_1_real": ("curves.figure_1_real", "The same curves on a real pair of models."),
    "anchored_figure_1": ("anchored.growth", "Anchored E-Watermarking, Figure 1: the best worst case."),
    "anchored_figure_2": ("anchored.stopping", "Anchored E-Watermarking, Figure 2: tokens to detect."),
    "remaining_trade_off": (
        "joint.remaining_trade_off",
        "What is left of the trade-off, as a detector reads.",
    ),
    "distortion": ("curves.distortion", "Red and green lists: efficiency, strength and distortion."),
    "transport_curves": ("curves.transport_curves", "Curves of transport watermarks and completed ones."),
    "transport_gaps": ("transport.gaps", "Detection gaps of transport watermarks."),
    "transport_tilt": ("transport.tilt", "Detection against distortion, on a real model's laws."),
    "rates": ("experiment.rates", "The detection experiment, from its tables."),
    "shares": ("experiment.shares", "Texts found by the number of tokens read, from their table."),
    "watermarks": ("experiment.watermarks", "The same by watermark, from their table."),
    "bounds": ("experiment.bounds", "Predictions at the positions of texts, from their table."),
}

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Draw a figure, or check its values.")


def draw(context: typer.Context) -> None:
    """Run the `draw` of the figure that was asked for, with what stands behind its name."""
    name = str(context.info_name)
    # Figures of models import PyTorch, which the others do without.
    module = import_module(f"figures.{FIGURES[name][0]}")
    command = typer.Typer(add_completion=False)
    command.command()(module.draw)
    command(context.args, prog_name=f"python -m figures {name}")


for _name, (_, _about) in FIGURES.items():
    app.command(
        _name,
        help=_about,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(draw)


if __name__ == "__main__":
    app()
