"""Presets: those that ship are valid and say what the paper did; errors name the entry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from paper_repro import experiment, generate
from paper_repro.generate import experiment_function
from paper_repro.presets import Arm, Preset, PromptSet, counted_tokens, load_preset, preset_names
from tradeoff.errors import FileError
from tradeoff.keyed import KeyedPrf
from tradeoff.texts.corpus import builtin_prompts

SMALLEST = """
title = "t"
[models]
target = "builtin"
draft = "builtin"
[[prompts]]
name = "a"
source = "builtin:question"
[[arms]]
watermark = "gumbel"
temperature = 1.0
methods = ["basic", "one-race"]
"""


def test_shipped_presets_load() -> None:
    assert preset_names() == [
        "blocks",
        "builtin",
        "gemma",
        "joint",
        "joint_long",
        "llama",
        "papers",
        "quick",
        "sequential",
        "small",
        "transport",
    ]
    for name in preset_names():
        preset = load_preset(name)
        cells = preset.cells()
        assert len({cell.name for cell in cells}) == len(cells)
        lookaheads = {
            "blocks": {2, 3, 4, 6},
            "joint": {0, 3},
            "joint_long": {0, 3},
            "quick": {0, 3},
            "sequential": {0, 3},
            "transport": {0, 3},
        }.get(name, {0, 2, 3, 4})
        assert {cell.lookahead for cell in cells} == lookaheads


@pytest.mark.parametrize("name", preset_names())
def test_shipped_presets_state_the_context_width_of_their_tables(name: str) -> None:
    """The default may change, and has."""
    preset = load_preset(name)
    assert "context_width" in preset.model_fields_set
    assert experiment_function(preset).context_width == preset.context_width


def test_without_a_context_width_the_function_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SMALLEST)
    assert experiment_function(load_preset(str(path))).context_width == KeyedPrf.context_width


@pytest.mark.parametrize(
    ("name", "target", "draft"),
    [
        ("llama", "huggyllama/llama-7b", "JackFram/llama-68m"),
        ("gemma", "google/gemma-7b", "google/gemma-2b"),
    ],
)
def test_paper_presets_follow_section_5(name: str, target: str, draft: str) -> None:
    """Lookahead 2, 3, 4; temperature 0.5 for Gumbel-max and 0.7 for SynthID; 2,000 texts of 200 tokens."""
    preset = load_preset(name)
    assert (preset.target, preset.draft) == (target, draft)
    assert (preset.lookahead, preset.texts, preset.max_tokens) == ((2, 3, 4), 2000, 200)
    assert {p.name for p in preset.prompts} == {"eli5", "c4"}
    temperatures = {(arm.watermark, arm.temperature) for arm in preset.arms}
    assert temperatures == {("gumbel", 0.5), ("none", 0.5), ("synthid:30", 0.7), ("none", 0.7)}
    assert all("algorithm-1" in arm.methods for arm in preset.arms if arm.watermark != "none")


def test_steps_compare_where_every_cell_drafts_all_of_its_lookahead(tmp_path: Path) -> None:
    """The last 3 of 40 tokens are drafted less far at K = 4; a text shorter than K has its first step."""
    path = tmp_path / "mine.toml"
    path.write_text(SMALLEST)
    basic, *speculative = Preset(**dict(load_preset(str(path))) | {"max_tokens": 40}).cells()
    assert {cell.lookahead for cell in speculative} == {2, 3, 4}
    assert counted_tokens([basic, *speculative]) == 37
    assert counted_tokens([basic]) == 40
    assert counted_tokens([replace(speculative[0], lookahead=9, max_tokens=6)]) == 1
    assert counted_tokens([]) == 0


def test_cells_multiply_lookaheads_only_where_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SMALLEST)
    names = [cell.name for cell in load_preset(str(path)).cells()]
    assert names == [
        "a/basic-gumbel-T1.0",
        "a/one-race-gumbel-T1.0-K2",
        "a/one-race-gumbel-T1.0-K3",
        "a/one-race-gumbel-T1.0-K4",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "t"', "", "title is missing; add it"),
        ('draft = "builtin"', "", "draft is missing; add it"),
        ('methods = ["basic", "one-race"]', "", r"arms\[0\]: methods is missing; add it"),
        ('title = "t"', 'title = "t"\nsize = 3', "size=3 is unknown; known are title, target, .*, edits"),
        ('draft = "builtin"', 'draught = "builtin"', "models.draught='builtin' is unknown; .* draft,"),
        ("[models]", "[modles]", r"modles={.*} is unknown; known are .*\[models\], \[generation\]"),
        ('source = "builtin:question"', "", "need one of source, dataset and option"),
        ('source = "builtin:question"', 'dataset = "x"', "name the field"),
        (
            'source = "builtin:question"',
            'source = "a"\ncolour = "red"',
            r"prompts\[0\]: colour='red' is unknown; known are name, ",
        ),
        ('"one-race"]', '"one-rice"]', "'one-rice' is unknown"),
        ('watermark = "gumbel"', 'watermark = "synthid:30"', "needs Gumbel-max"),
        ("[[arms]]", "[[legs]]", "legs=.* is unknown; known are .* arms,"),
        ("temperature = 1.0", "temperature = 0.0", "temperature=0 is greedy"),
        ("temperature = 1.0", 'temperature = "hot"', r"arms\[0\]: temperature='hot' must be a number"),
        ("temperature = 1.0", "temperature = true", "temperature=True must be a number"),
        (
            "temperature = 1.0",
            "temperature = 1.0\nlookahead = [2, 0]",
            r"lookahead\[1\]=0 must be at least 1",
        ),
        ("temperature = 1.0", "temperature = 1.0\nlookahead = [true]", "=True must be a whole number"),
        (
            "temperature = 1.0",
            'temperature = 1.0\ntexts = "3"',
            r"arms\[0\]: texts='3' must be a whole number",
        ),
        ("temperature = 1.0", "temperature = 1.0\ndetect = 1", "detect=1 must be true or false"),
        ('"basic", "one-race"', '"basic", 3', r"methods\[1\]=3 must be text in quotes"),
        (
            "[[prompts]]",
            "[generation]\ntexts = 3.0\n[[prompts]]",
            "generation.texts=3.0 must be a whole number",
        ),
        ('title = "t"', "title = 1979-05-27", "title=datetime.* must be text in quotes"),
        ('title = "t"', f"title = [{'1, ' * 100}]", r"title=\[.{,40}\] must be text in quotes"),
        ("[models]", "[models]\nprompts = 3", "models.prompts=3 must be a list"),
        ("[models]", "[models]\narms = [3]", r"models.arms\[0\]=3 must be a table"),
        (
            "temperature = 1.0",
            "temperature = 1.0\nlookahead = 3",
            "lookahead=3 must be a list in square brackets",
        ),
        (
            'methods = ["basic", "one-race"]',
            'methods = ["one-race"]\nverify = ["blocks"]',
            r"arms\[0\]: verify\[0\]='blocks' must be 'token' or 'block'",
        ),
        (
            'methods = ["basic", "one-race"]',
            'methods = ["basic", "keep-strength"]\nverify = ["block"]',
            "verify='block' is for methods .* which keep-strength does not",
        ),
        ("[[prompts]]", "[generation]\ntexts = -1\n[[prompts]]", "generation.texts=-1 must be at least 1"),
        ("[[prompts]]", "[generation]\nseed = -1\n[[prompts]]", "seed=-1 must be at least 0"),
        (
            "[[prompts]]",
            "[generation]\ncontext_width = 0\n[[prompts]]",
            "context_width=0 must be a whole number of 1 to 64",
        ),
        ("[[prompts]]", "[generation]\ncontext_width = true\n[[prompts]]", "must be a whole number"),
        ('name = "a"', 'name = "../a"', "is no file name"),
        ('"basic", "one-race"', '"basic", "basic"', "generated twice"),
        (
            "temperature = 1.0",
            "temperature = 1.0\ntexts = -2",
            r"arms\[0\]: texts=-2 must be at least 0",
        ),
        ("temperature = 1.0", "temperature = 1.0\ndetect = true", "several lookaheads"),
        ("temperature = 1.0", "temperature = 1.0\ndetect = true\ntexts = 3", "texts=3 .* at least 4"),
        ("temperature = 1.0", "temperature = 1.0\ndetect = true\nmax_tokens = 9", "at least 10"),
        (
            "temperature = 1.0",
            "temperature = 1.0\ndetect = true\nlookahead = [2]\nmax_tokens = 40",
            "roc_tokens=50 .* 10, 20, 30, 40$",
        ),
        (
            '[[prompts]]\nname = "a"',
            '[generation]\nlookahead = [2]\n[[arms]]\nwatermark = "gumbel"\ntemperature = 0.5\n'
            'methods = ["basic"]\ndetect = true\n[[prompts]]\nname = "both"',
            "rename",
        ),
        (
            'watermark = "gumbel"\ntemperature = 1.0\nmethods = ["basic", "one-race"]',
            'watermark = "none"\ntemperature = 1.0\nmethods = ["basic"]\ndetect = true',
            "nothing to detect",
        ),
        ("[models]", "[models", "cannot be read"),
    ],
)
def test_mistakes_name_the_entry(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SMALLEST.replace(old, new))
    with pytest.raises(FileError, match=message):
        load_preset(str(path))


def test_unknown_presets_list_the_known() -> None:
    names = "blocks, builtin, gemma, joint, joint_long, llama, papers, quick, sequential, small, transport"
    with pytest.raises(FileError, match=f"'large' does not exist; use one of {names}"):
        load_preset("large")


def test_prompt_sets_cut_and_count() -> None:
    first = builtin_prompts("continuation")[:2]
    prompts = PromptSet(name="a", source="builtin:continuation")
    assert prompts.read(2) == first
    cut = prompts.model_copy(update={"words": 3}).read(2)
    assert [text.split() for _, text in cut] == [text.split()[:3] for _, text in first]


def test_equal_prompts_are_read_once(tmp_path: Path) -> None:
    """Equal ones get equal texts: others take their places, also where cutting makes them equal."""
    path = tmp_path / "p.txt"
    path.write_text("one two\none three\none two\nfour\nfive\n")
    prompts = PromptSet(name="a", source=str(path))
    assert prompts.read(3) == [("1", "one two"), ("2", "one three"), ("4", "four")]
    assert prompts.model_copy(update={"words": 1}).read(10) == [("1", "one"), ("4", "four"), ("5", "five")]


def test_passages_of_documents(tmp_path: Path) -> None:
    """Whole ones only, first those at the start of every text, then those further on."""
    path = tmp_path / "d.jsonl"
    texts = {"a": "1 2 3 4 5 6 7 8", "b": "x y z", "c": "p q r s t"}
    path.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in texts.items()))
    prompts = PromptSet(name="a", source=str(path), field="text", words=2, every=3)
    found = [("a-1", "1 2"), ("b-1", "x y"), ("c-1", "p q"), ("a-2", "4 5"), ("c-2", "s t"), ("a-3", "7 8")]
    assert prompts.read(10) == found
    assert prompts.read(4) == found[:4]
    with pytest.raises(ValueError, match=r"every=3 needs words of 1 \.\. 3"):
        PromptSet(name="a", source=str(path), words=4, every=3)


def test_prompts_of_an_option_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"prompt": "why?"}\n')
    preset = tmp_path / "mine.toml"
    preset.write_text(SMALLEST.replace('source = "builtin:question"', 'option = "questions"'))
    with pytest.raises(ValueError, match="pass --questions FILE"):
        load_preset(str(preset)).prompts[0].read(1)
    asked = load_preset(str(preset), {"questions": path, "documents": None})
    assert asked.prompts[0].read(9) == [("1", "why?")]
    # All else is as it stands in the file.
    assert asked.arms == load_preset(str(preset)).arms
    with pytest.raises(ValueError, match=f"documents={path} is of no use to preset="):
        load_preset(str(preset), {"questions": path, "documents": path})
    with pytest.raises(ValueError, match="option='answers' is unknown; use questions or documents"):
        PromptSet(name="a", option="answers")


@pytest.mark.parametrize("run", [experiment.main, generate.main], ids=["experiment", "generate"])
def test_what_an_option_did_not_give_is_said_before_models_are_loaded(run, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(run)
    result = CliRunner().invoke(app, ["--preset", "papers", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "pass --questions FILE" in " ".join(result.output.split())
    assert not list(tmp_path.rglob("*.jsonl"))


def test_datasets_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only as many rows are read as are needed; empty and equal ones are left out."""
    import sys
    import types

    asked: list[tuple] = []
    rows = iter([{"q": " one "}, {"q": ""}, {"q": "one"}, {"q": "two"}, {"q": "three"}])

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return rows

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    found = PromptSet(name="eli5", dataset="d", config="c", split="s", field="q").read(2)
    assert found == [("eli5-0", "one"), ("eli5-3", "two")]
    assert asked == [(("d", "c"), {"split": "s", "streaming": True})]
    assert next(rows) == {"q": "three"}


def test_missing_field_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    rows = types.SimpleNamespace(load_dataset=lambda *_, **__: [{"title": "a", "body": "b"}])
    monkeypatch.setitem(sys.modules, "datasets", rows)
    with pytest.raises(ValueError, match=r"has no field 'q', it has 'title', 'body'"):
        PromptSet(name="eli5", dataset="d", field="q").read(1)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install -c constraints\.txt -e '\.\[paper\]'"):
        PromptSet(name="eli5", dataset="d", field="q").read(1)


def test_blocks_are_cells_of_their_own() -> None:
    """With a name and a label; without speculation there are none."""
    cells = load_preset("blocks").cells()
    assert [cell.name for cell in cells[:2]] == [
        "question/joint-race-gumbel-T0.5-K2",
        "question/joint-race-gumbel-T0.5-K3",
    ]
    assert {cell.name for cell in cells} >= {"question/joint-race-gumbel-T0.5-K2-block"}
    assert {cell.label for cell in cells} >= {"joint-race", "joint-race, blocks"}
    arm = Arm(watermark="gumbel", temperature=1.0, methods=["basic", "one-race"], verify=["token", "block"])
    preset = replace_arms(load_preset("quick"), arm)
    assert [cell.label for cell in preset.cells()[:3]] == ["basic", "one-race", "one-race, blocks"]


def replace_arms(preset: Preset, arm: Arm) -> Preset:
    return Preset(**dict(preset) | {"arms": [arm]})
