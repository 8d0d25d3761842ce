"""The texts of an experiment by workers: those of one process, under a key that is not sent."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from paper_repro import by_workers
from paper_repro.by_workers import CellRecipe, generate_by_workers
from paper_repro.experiment import run_experiment
from paper_repro.generate import experiment_key, generate_cells
from paper_repro.presets import load_preset
from tests.paper_repro.test_side_by_side import PRESET, tokens
from tradeoff.llm.models.pair import load_pair
from tradeoff.workers.messages import packed, unpacked


@pytest.fixture
def preset(tiny_folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "prompts.txt").write_text("the man\nan ant\nthe sea\n")
    path = tmp_path / "tiny.toml"
    path.write_text(PRESET.format(folder=tiny_folder, prompts=tmp_path / "prompts.txt"))
    return path


def test_workers_write_what_one_process_would(preset: Path, tmp_path: Path) -> None:
    loaded = load_preset(str(preset))
    pair = load_pair(loaded.target, loaded.draft, dtype=loaded.dtype, progress=False)
    apart, alone = tmp_path / "apart", tmp_path / "alone"
    generate_by_workers(loaded, loaded.cells(), apart, pair, workers=1)
    # Times are taken by the process that goes on, which finds all else there.
    assert not list(apart.rglob("*.ptt.jsonl"))
    generate_cells(loaded, loaded.cells(), alone, pair)
    assert tokens(apart, loaded) == tokens(alone, loaded)
    found = generate_cells(loaded, loaded.cells(), apart, pair)
    assert [len(texts.alone) for texts in found.values()] == [1, 1]


def test_recipes_of_cells_are_sent_without_their_key(preset: Path) -> None:
    loaded = load_preset(str(preset))
    recipe = CellRecipe(loaded, loaded.cells()[0])
    payload = packed(recipe)
    assert unpacked(payload) == (recipe,)
    assert experiment_key(loaded.seed).secret not in payload
    pair = load_pair(loaded.target, loaded.draft, dtype=loaded.dtype, progress=False)
    assert unpacked(payload)[0].settings(pair) == recipe.settings(pair)


def test_workers_with_several_gpus_spread_the_target_over_them(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, told = load_preset(str(preset)), []
    pair = load_pair(loaded.target, loaded.draft, dtype=loaded.dtype, progress=False)
    monkeypatch.setattr(by_workers, "executor_of", lambda *_: nullcontext())
    monkeypatch.setattr(by_workers, "generate_sharded", lambda _, runs, __: told.append(runs))
    for gpus in (None, 0.5, 2):
        generate_by_workers(loaded, loaded.cells(), tmp_path, pair, "ray", gpus)
    assert [{run.recipe.names.device_map for run in runs} for runs in told] == [{None}, {None}, {"auto"}]


def test_shares_of_gpus_need_workers(preset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gpus_per_worker=0\.5 is for"):
        run_experiment(str(preset), tmp_path, gpus_per_worker=0.5)
