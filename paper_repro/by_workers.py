"""The texts of an experiment by several workers, each with a pair of its own.

Texts that times are taken of are not among them: those are generated one at a time, on an idle machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from paper_repro.generate import cell_settings, prompts_of
from paper_repro.presets import Cell, Preset
from tradeoff.display import print_warning
from tradeoff.llm import EngineSettings, ModelPair, PairNames, ShardedRun, generate_sharded, spread_of
from tradeoff.workers import executor_of

__all__ = ["CellRecipe", "generate_by_workers"]


@dataclass(frozen=True)
class CellRecipe:
    """A cell of a preset; the key is that of the experiment, which everybody can make.

    Attributes:
        preset, cell: what to generate.
        device_map: how a worker spreads its target over devices; None for one device.
        probe: as of `tradeoff.llm.Engine`.
    """

    preset: Preset
    cell: Cell
    device_map: str | None = None
    probe: bool = True

    @property
    def names(self) -> PairNames:
        """The models of the preset."""
        preset = self.preset
        return PairNames(preset.target, preset.draft, dtype=preset.dtype, device_map=self.device_map)

    def settings(self, pair: ModelPair, tell: Callable[[str], None] = lambda _: None) -> EngineSettings:
        """Those of measured texts."""
        return cell_settings(self.preset, self.cell, measure=True)


def generate_by_workers(
    preset: Preset,
    cells: Sequence[Cell],
    folder: Path,
    pair: ModelPair,
    workers: int | str,
    gpus_per_worker: float | None = None,
) -> None:
    """Generate what is missing of all cells, except the texts that times are taken of.

    Args:
        preset, cells: the experiment.
        folder: of its texts.
        pair: the models, whose tokenizer encodes the prompts.
        workers, gpus_per_worker: as of `tradeoff.generate`.

    Raises:
        FileError, ValueError, WorkersError: as `tradeoff.llm.generate_sharded`.
    """
    prompts = prompts_of(cells, pair)
    spread = spread_of(None, None, workers, gpus_per_worker)
    runs = [
        ShardedRun(
            CellRecipe(preset, cell, spread),
            prompts[cell.prompts.name][: cell.texts],
            folder / f"{cell.name}.jsonl",
            preset.batch,
            cell.name,
        )
        for cell in cells
    ]
    with executor_of(workers, gpus_per_worker, print_warning) as executor:
        generate_sharded(executor, runs, print_warning)
