"""`python -m tradeoff.llm.fitting.fit_jump`: texts, options, and that it goes on where it was killed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from tests.helpers.jumps import Killed
from tests.helpers.logits import full_logits, random_ids
from tradeoff.llm.fitting import fit_jump
from tradeoff.llm.models.jump import adapter_metadata, jump_draft
from tradeoff.llm.models.pair import ModelPair, load_pair

command = typer.Typer()
command.command()(fit_jump.fit)


@pytest.fixture
def tiny_pair(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelPair:
    monkeypatch.setattr(fit_jump, "ROWS", 3)
    monkeypatch.setattr(fit_jump, "_PROSE_TOKENS", 6)
    for prompts in ("builtin_prompts", "human_paragraphs"):
        whole = getattr(fit_jump, prompts)
        monkeypatch.setattr(fit_jump, prompts, lambda *args, whole=whole: shortened(whole(*args)))
    return load_pair(tiny_folder, "skip:1", device="cpu", progress=False)


def shortened(texts: list) -> list:
    return [(text[0], text[1][:9]) if isinstance(text, tuple) else text[:9] for text in texts[:10]]


def test_killed_sampling_goes_on_to_the_same_files(tiny_pair: ModelPair, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("whole", "broken")]
    for folder in folders:
        folder.mkdir()
    whole = fit_jump.training_texts(tiny_pair, folders[0], 3, 0, length=16)

    def kill(done: int, of: int) -> None:
        if done > of // 2:
            raise Killed

    with pytest.raises(Killed):
        fit_jump.training_texts(tiny_pair, folders[1], 3, 0, length=16, report=kill)
    assert [path.name for path in folders[1].iterdir()] == ["texts-00000.safetensors"]
    again = fit_jump.training_texts(tiny_pair, folders[1], 3, 0, length=16)
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    with pytest.raises(ValueError, match=r'"seed": 0.*not .*"seed": 1.*choose another --work folder'):
        fit_jump.training_texts(tiny_pair, folders[1], 3, 1, length=16)


def test_command_fits_an_adapter_from_nothing(
    tiny_pair: ModelPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LENGTH", 16), ("_HELD_OUT_ROWS", 3), ("load_pair", lambda **_: tiny_pair)):
        monkeypatch.setattr(fit_jump, name, value)
    out = tmp_path / "new" / "jump.safetensors"
    arguments = ["--minutes", "0.005", "--texts", "2", "--work", str(tmp_path / "work"), "--out", str(out)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("map alone, in closed form: mean overlap 0.")
    assert lines[-1] == f"wrote {out}"
    assert (adapter_metadata(out)["rank"], adapter_metadata(out)["width"]) == ("16", "256")
    assert torch.isfinite(full_logits(jump_draft(tiny_pair.target, out), random_ids(1, 5))).all()
    # A finished run does nothing again.
    assert CliRunner().invoke(command, arguments).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "minutes=0.0 must be positive"),
        (["--minutes", "inf"], "minutes=inf must be positive and finite"),
        (["--texts", "0"], "texts=0 must be at least 1"),
        (["--seed", "-1"], "seed=-1 must not be negative"),
        (["--threads", "0"], "threads=0 must be at least 1; leave it out"),
        (["--out", "jump.bin"], "out='jump.bin' must end in .safetensors"),
    ],
)
def test_bad_options_are_named(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert (result.exit_code, message in result.stderr) == (2, True)


def test_held_out_prompts_are_not_trained_on(builtin_pair: ModelPair) -> None:
    training, held_out = (fit_jump.prompts(builtin_pair.tokenizer, held_out=flag) for flag in (False, True))
    for kind, texts in held_out.items():
        assert len(texts) >= 20
        assert not {tuple(ids) for ids in texts} & {tuple(ids) for ids in training[kind]}
