"""What tells whether a change of the code changed anything that is computed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from figures.__main__ import FIGURES
from tests.revisions import outputs, unchanged
from tests.revisions.commands import PARTS, STEPS, Command, Step, chosen
from tests.revisions.comparison import changes
from tests.revisions.outputs import Code, Outputs
from tests.versions.lock import ROOT
from tradeoff.decoders import parse_decoder
from tradeoff.kernels import JOINT, METHODS
from tradeoff.keyed.formats import PRF_NAMES

APP = typer.Typer()
APP.command()(unchanged.main)

RECORD = {"id": "a", "token_ids": [5, 7], "text": 'he said "seconds": 3', "seconds": 1.25, "batch": 2}
FILES = {
    "table.csv": "name,value\na,0.1\nb,0.2\n",
    "texts.jsonl": json.dumps(RECORD) + "\n",
    "deep/summary.md": "| a | b |\n",
    "picture.png": "one",
}


@pytest.fixture
def sides(tmp_path: Path) -> Callable[..., list[str]]:
    """What is told of two folders: FILES, and FILES with some of them replaced, or removed if None."""

    def told(before: dict[str, str | bytes | None], now: dict[str, str | bytes | None]) -> list[str]:
        folders = tmp_path / "before", tmp_path / "now"
        for folder, files in zip(folders, (FILES | before, FILES | now), strict=True):
            for name, content in files.items():
                if content is not None:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return changes(*folders)

    return told


def test_equal_folders(sides: Callable[..., list[str]]) -> None:
    assert sides({}, {}) == []


@pytest.mark.parametrize(
    ("name", "content", "line", "shown"),
    [
        ("table.csv", "name,value\na,0.1\nb,0.3\n", 3, "'b,0.2\\n' before, 'b,0.3\\n' now"),
        ("table.csv", "name,value\na,0.10\nb,0.2\n", 2, "'a,0.1\\n' before, 'a,0.10\\n' now"),
        ("table.csv", "name,value\na,0.1\nb,0.2", 3, "'b,0.2\\n' before, 'b,0.2' now"),
        ("table.csv", "name,value\na,0.1\n", 3, "'b,0.2\\n' before, nothing now"),
        ("table.csv", "name,value\r\na,0.1\nb,0.2\n", 1, "'name,value\\n' before, 'name,value\\r\\n' now"),
        ("deep/summary.md", "| a | b |\n| c |\n", 2, "nothing before, '| c |\\n' now"),
    ],
)
def test_a_changed_byte(
    sides: Callable[..., list[str]], name: str, content: str, line: int, shown: str
) -> None:
    assert sides({}, {name: content}) == [f"{name} line {line}: {shown}"]


def test_a_missing_and_an_additional_file(sides: Callable[..., list[str]]) -> None:
    assert sides({}, {"table.csv": None, "deep/more.csv": "a\n"}) == [
        "deep/more.csv was not there before",
        "table.csv is missing now",
    ]


def test_a_file_of_numbers(sides: Callable[..., list[str]]) -> None:
    assert sides({"a.npz": b"12\x003"}, {"a.npz": b"12\x0045"}) == [
        "a.npz differs from byte 4 on (4 bytes before, 5 now)"
    ]


def test_of_long_lines_the_difference_is_shown(sides: Callable[..., list[str]]) -> None:
    (said,) = sides({"a.csv": "x" * 500 + "1" + "y" * 500}, {"a.csv": "x" * 500 + "2" + "y" * 500})
    assert "x1y" in said
    assert "x2y" in said
    assert len(said) < 300


@pytest.mark.parametrize("name", ["picture.png", "new.svg", "new.pdf", "report.html", "deep/NEW.PNG"])
def test_pictures_and_pages_do_not_count(sides: Callable[..., list[str]], name: str) -> None:
    assert sides({}, {"picture.png": None, name: "two"}) == []


@pytest.mark.parametrize("seconds", [0.125, 12, 1e-05, 0.0])
def test_the_time_of_a_text_does_not_count(sides: Callable[..., list[str]], seconds: float) -> None:
    assert sides({}, {"texts.jsonl": json.dumps(RECORD | {"seconds": seconds}) + "\n"}) == []


@pytest.mark.parametrize(
    "other",
    [
        {"token_ids": [5, 8]},
        {"token_ids": [5, 7, 7]},
        {"text": 'he said "seconds": 4'},
        {"batch": 3},
        {"id": "b"},
        {"seconds": None},
    ],
)
def test_two_texts_are_told_apart(sides: Callable[..., list[str]], other: dict) -> None:
    (said,) = sides({}, {"texts.jsonl": json.dumps(RECORD | other) + "\n"})
    assert said.startswith("texts.jsonl line 1: ")


def test_a_record_that_has_lost_its_time(sides: Callable[..., list[str]]) -> None:
    record = {name: value for name, value in RECORD.items() if name != "seconds"}
    assert len(sides({}, {"texts.jsonl": json.dumps(record) + "\n"})) == 1


def test_columns_of_times_do_not_count_and_all_others_do(sides: Callable[..., list[str]]) -> None:
    table = 'method,ptt_ms,ptt_ms_error,aatps\n"one, two",{},{},{}\n'
    before = {"speed.csv": table.format(41.5, 0.5, 1.75)}
    assert sides(before, {"speed.csv": table.format(39, "", 1.75)}) == []
    (said,) = sides(before, {"speed.csv": table.format(41.5, 0.5, 1.5)})
    assert said.startswith("speed.csv line 2: ")
    (said,) = sides(before, {"speed.csv": table.format(41.5, 0.5, "1.75,1")})
    assert said.startswith("speed.csv line 2: ")


def _option(step: Step, name: str, default: str) -> str:
    (command,) = step.commands
    words = dict(zip(command.arguments, command.arguments[1:], strict=False))
    return words.get(name, default)


def test_texts_of_every_method_function_and_kind_of_watermark() -> None:
    texts = [step for step in STEPS.values() if step.part == "texts"]
    assert {_option(step, "--method", JOINT) for step in texts} == {JOINT, *METHODS}
    assert {_option(step, "--prf", PRF_NAMES[0]) for step in texts} == set(PRF_NAMES)
    watermarks = [_option(step, "--watermark", "gumbel") for step in texts]
    kinds = {"Completed", "GumbelMax", "Identity", "SynthID", "Transport"}
    assert {type(parse_decoder(name)).__name__ for name in watermarks} == kinds
    assert {"synthid:30", "simplexwater:8", "completed:synthid:5"} <= set(watermarks)


def test_all_figures_with_tables_are_drawn() -> None:
    """Those that write none show what other commands write."""
    run = {name for step in STEPS.values() for command in step.commands for name in command.modules}
    writing = [path for path in (ROOT / "figures").rglob("*.py") if "write_table(" in path.read_text("utf-8")]
    assert len(writing) > 5
    modules = {".".join(path.relative_to(ROOT / "figures").with_suffix("").parts) for path in writing}
    assert modules <= {module for name, (module, _) in FIGURES.items() if f"figures:{name}" in run}


def test_steps_come_after_those_they_need() -> None:
    names = list(STEPS)
    assert all(names.index(step.after) < names.index(name) for name, step in STEPS.items() if step.after)
    assert {step.part for step in STEPS.values()} == set(PARTS)


def test_parts_and_steps_are_chosen_with_what_they_need() -> None:
    assert [step.name for step in chosen(["detect/plan"], STEPS)] == [
        "texts/one-race-measured",
        "detect/plan",
    ]
    assert {step.part for step in chosen(["curve", "sims/lemma_3_1"], STEPS)} == {"curve", "sims"}
    assert chosen([], STEPS) == list(STEPS.values())
    with pytest.raises(ValueError, match=r"only='curves' is unknown; name parts \(texts, "):
        chosen(["curves", "texts"], STEPS)


#: A command that writes a file of this name, and a line that tells that it was run.
WORK = """\
import sys
from pathlib import Path
name, *words = sys.argv[1:]
Path(name).write_text("value 1" + chr(10))
with open({log!r}, "a") as log:
    log.write(name + chr(10))
"""


class World:
    """A checkout of a few lines, two steps, and what was run."""

    def __init__(self, folder: Path):
        self.root, self._log = folder / "checkout", folder / "runs.txt"
        (self.root / "tradeoff").mkdir(parents=True)
        (self.root / "tradeoff/__init__.py").touch()
        self.work = self.root / "tradeoff/work.py"
        self.work.write_text(WORK.format(log=str(self._log)))
        self.steps = {step.name: step for step in (self.step("part/one"), self.step("part/two"))}

    def step(self, name: str) -> Step:
        return Step(name, (Command(("tradeoff.work",), (f"{name.rpartition('/')[2]}.csv",)),))

    def outputs(self, folder: Path) -> Outputs:
        return Outputs(folder, Code(self.root, "it"), self.steps)

    def runs(self) -> list[str]:
        """What was run since the last time."""
        said = self._log.read_text().split() if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return said


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_is_done_is_not_done_again(world: World, tmp_path: Path) -> None:
    step = world.steps["part/one"]
    for _ in range(2):
        kept = world.outputs(tmp_path / "out")
        assert kept.made(step).failed == ""
        assert (kept.files(step) / "one.csv").read_text() == "value 1\n"
    assert world.runs() == ["one.csv"]


def test_other_code_and_other_commands_are_run_again(world: World, tmp_path: Path) -> None:
    step = world.steps["part/one"]
    world.outputs(tmp_path / "out").made(step)
    world.work.write_text(world.work.read_text().replace("value 1", "value 2"))
    kept = world.outputs(tmp_path / "out")
    kept.made(step)
    assert (kept.files(step) / "one.csv").read_text() == "value 2\n"
    other = replace(step, commands=(Command(("tradeoff.work",), ("other.csv",)),))
    kept.made(other)
    assert [path.name for path in kept.files(step).iterdir()] == ["other.csv"]
    assert world.runs() == ["one.csv", "one.csv", "other.csv"]


def test_other_packages(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of one is another library to compute with; one more changes nothing."""
    step, out = world.steps["part/one"], tmp_path / "out"
    for versions in ({"numpy": "2.0.0"}, {"numpy": "2.0.0", "new": "1"}, {"numpy": "2.1.0"}):
        monkeypatch.setattr(outputs, "installed", lambda versions=versions: versions)
        if versions["numpy"] == "2.1.0":
            with pytest.raises(RuntimeError, match=r"made with numpy 2\.0\.0, and now it is 2\.1\.0; make"):
                Outputs(out, None, world.steps).made(step)
        world.outputs(out).made(step)
    assert world.runs() == ["one.csv", "one.csv"]


def test_results_in_a_checkout_are_no_code(world: World, tmp_path: Path) -> None:
    step = world.steps["part/one"]
    world.outputs(tmp_path / "out").made(step)
    (world.root / "sims/results").mkdir(parents=True)
    (world.root / "sims/results/table.csv").touch()
    world.outputs(tmp_path / "out").made(step)
    assert world.runs() == ["one.csv"]


def test_a_killed_run_goes_on(world: World, tmp_path: Path) -> None:
    """The second command kills its caller; the first step stays done, and nothing is left of the second."""
    deadly = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n"
    (world.root / "tradeoff/deadly.py").write_text(deadly)
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.revisions.commands import Command, Step\n"
        "from tests.revisions.outputs import Code, Outputs\nroot, out = map(Path, sys.argv[1:])\n"
        "outputs = Outputs(out, Code(root, 'it'), {})\n"
        "outputs.made(Step('part/one', (Command(('tradeoff.work',), ('one.csv',)),)))\n"
        "outputs.made(Step('part/two', (Command(('tradeoff.deadly',), ()),)))\n"
    )
    command = [sys.executable, "-c", script, str(world.root), str(tmp_path / "out")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    assert len(list((tmp_path / "out").iterdir())) > 1
    kept = world.outputs(tmp_path / "out")
    for step in world.steps.values():
        assert kept.made(step).failed == ""
    assert world.runs() == ["one.csv", "two.csv"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part"]


def test_a_module_that_has_moved(world: World, tmp_path: Path) -> None:
    """Its command stays the same, so that what was kept still serves."""
    step = world.steps["part/one"]
    moved = replace(
        step, commands=(replace(step.commands[0], modules=("tradeoff.room.it", "tradeoff.work")),)
    )
    world.outputs(tmp_path / "out").made(step)
    assert Outputs(tmp_path / "out", None, world.steps).made(moved).failed == ""
    (world.root / "tradeoff/room").mkdir()
    world.work.rename(world.root / "tradeoff/room/it.py")
    assert world.outputs(tmp_path / "out").made(moved).failed == ""
    assert world.runs() == ["one.csv", "one.csv"]


def test_a_command_that_has_become_a_word_of_another(world: World, tmp_path: Path) -> None:
    """`python -m rooms it` for `python -m work`; what both write is told by the same arguments."""
    (world.root / "tradeoff/rooms.py").write_text(
        "import runpy, sys\nassert sys.argv.pop(1) == 'it'\n"
        "runpy.run_module('tradeoff.work', run_name='__main__')\n"
    )
    step = world.steps["part/one"]
    moved = replace(
        step, commands=(replace(step.commands[0], modules=("tradeoff.rooms:it", "tradeoff.work")),)
    )
    old, new = world.outputs(tmp_path / "old"), world.outputs(tmp_path / "new")
    assert (old.made(step).failed, new.made(moved).failed) == ("", "")
    assert changes(old.files(step), new.files(moved)) == []
    assert old.made(step).asked == new.made(moved).asked


def test_the_code_must_lie_in_the_checkout(world: World, tmp_path: Path) -> None:
    (world.root / "tradeoff").rename(tmp_path / "elsewhere")
    (world.root / "tradeoff").symlink_to(tmp_path / "elsewhere")
    made = world.outputs(tmp_path / "out").made(world.steps["part/one"])
    assert f"tradeoff is imported from {world.root}" in made.failed
    assert world.runs() == []


def test_a_failure_is_told_and_tried_again(world: World, tmp_path: Path) -> None:
    good = world.work.read_text()
    world.work.write_text("import sys\nprint('much')\nsys.exit('no such thing')\n")
    step = world.steps["part/one"]
    made = world.outputs(tmp_path / "out").made(step)
    assert made.failed == "tradeoff.work one.csv ended with status 1: no such thing"
    world.work.write_text(good)
    assert world.outputs(tmp_path / "out").made(step).failed == ""


def test_code_that_changes_while_it_runs(world: World, tmp_path: Path) -> None:
    changing = f"from pathlib import Path\nPath({str(world.root / 'tradeoff/new.py')!r}).touch()\n"
    world.work.write_text(changing)
    with pytest.raises(RuntimeError, match=r"was changed while part/one ran; run the same command again"):
        world.outputs(tmp_path / "out").made(world.steps["part/one"])


def test_files_of_another_step_and_standard_output(world: World, tmp_path: Path) -> None:
    (world.root / "tradeoff/show.py").write_text("import os\nprint(*sorted(os.listdir()))\n")
    show = Command(("tradeoff.show",), (), "shown.txt")
    last = Step("other/last", (show,), {"given.toml": "x = 1\n"}, after="part/one")
    kept = world.outputs(tmp_path / "out")
    for step in (world.steps["part/one"], last):
        kept.made(step)
    assert (kept.files(last) / "shown.txt").read_text() == "given.toml one.csv shown.txt\n"


@pytest.fixture
def call(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, in a repository whose first commit, called `old`, is the world."""
    for words in ("init -q", "add .", "commit -qm it", "tag old"):
        who = ["-c", "user.name=it", "-c", "user.email=it@example.org"]
        subprocess.run(["git", *who, *words.split()], cwd=world.root, check=True)
    monkeypatch.setattr(unchanged, "ROOT", world.root)
    monkeypatch.setattr(unchanged, "STEPS", world.steps)

    def called(*words: object) -> Result:
        return CliRunner().invoke(APP, [str(word) for word in words])

    return called


def test_the_same_code(call: Callable[..., Result], world: World) -> None:
    done = call("--before", "old")
    assert done.exit_code == 0, done.output
    assert "unchanged: 2 steps, 2 files" in done.stdout
    assert str(world.root / ".git/unchanged/now") in done.stdout
    assert world.runs() == ["one.csv", "one.csv", "two.csv", "two.csv"]


def test_other_code(call: Callable[..., Result], world: World, tmp_path: Path) -> None:
    """Only what differs is told, as often as it is asked for; what is kept is not made again."""
    world.work.write_text(world.work.read_text().replace('"value 1"', '"value " + "12"[name == "two.csv"]'))
    kept = tmp_path / "kept"
    for words in (["--before", "old", "--kept", kept], ["--kept", kept]):
        done = call(*words, "--out", tmp_path / "now")
        assert done.exit_code == 1, done.output
        assert "  part/two: two.csv line 1: 'value 1\\n' before, 'value 2\\n' now\n" in done.stdout
        assert "part/one:" not in done.stdout
        assert "changed: 1 of 2 steps" in done.stdout
    assert world.runs() == ["one.csv", "one.csv", "two.csv", "two.csv"]
    assert call("--kept", kept, "--only", "part/one").exit_code == 0


def test_outputs_made_before_for_later(call: Callable[..., Result], world: World, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    done = call("--before", "old", "--kept", kept, "--before-only", "--only", "part/one")
    assert done.exit_code == 0, done.output
    assert "made: 1 steps, of which 0 failed" in done.stdout
    assert world.runs() == ["one.csv"]
    assert "unchanged: 1 steps, 1 files" in call("--kept", kept, "--only", "part/one").stdout
    assert world.runs() == ["one.csv"]
    done = call("--kept", kept)
    assert done.exit_code == 2
    assert "of part/two in" in done.stderr
    assert "cannot be used: there are none; make them with --before REVISION" in done.stderr
    assert world.runs() == []


def test_a_failing_command(call: Callable[..., Result], world: World) -> None:
    world.work.write_text("raise ValueError('it is broken')\n")
    done = call("--before", "old")
    assert done.exit_code == 1
    assert "part/one: failed now: tradeoff.work one.csv ended with status 1: ValueError: it is" in done.stdout
    assert "part/one: one.csv is missing now" in done.stdout


def test_outputs_of_several_versions(call: Callable[..., Result], world: World, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    world.outputs(kept).made(world.steps["part/one"])
    world.work.write_text(world.work.read_text() + "print()\n")
    world.outputs(kept).made(world.steps["part/two"])
    done = call("--kept", kept)
    assert done.exit_code == 2
    assert "holds outputs of several versions of the code" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "there is nothing to compare with; pass --before REVISION or --kept FOLDER"),
        (["--kept", ".", "--before-only"], "there is nothing to compare with"),
        (["--before", "no-such"], "no-such"),
        (["--before", "old", "--only", "all"], "only='all' is unknown"),
    ],
)
def test_what_cannot_be_compared(call: Callable[..., Result], words: list[str], said: str) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
