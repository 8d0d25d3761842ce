"""Figures belong to no window, and look alike: one style for all, one look for every scheme."""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tradeoff.curves import CLASSES
from tradeoff.decoders.names import _FAMILIES
from tradeoff.kernels import METHODS
from tradeoff.plotting import (
    CURVE_LOOKS,
    METHOD_LOOKS,
    TEST_LOOKS,
    WATERMARK_LOOKS,
    add_headline,
    add_note,
    curve_look,
    label_ends,
    labelled,
    legend_below,
    legend_beside,
    legend_instead,
    method_look,
    new_figure,
    watermark_look,
    whole_numbers,
)
from tradeoff.plotting import (
    test_look as look_of_test,
)

ROOT = Path(__file__).parents[1]
DOOR = ROOT / "tradeoff" / "plotting.py"
#: What Jupyter puts into the environment; it is not among the packages of this project.
INLINE = "module://matplotlib_inline.backend_inline"


def run(*arguments: str, backend: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": backend}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def imports(path: Path) -> set[str]:
    """Full names of what a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_one_module_imports_matplotlib_and_none_pyplot() -> None:
    """Pyplot looks for a backend, and keeps every figure until it is closed."""
    folders = ("tradeoff", "figures", "sims", "paper_repro", "tests")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    importers = {
        path: names for path in modules if (names := {n for n in imports(path) if "matplotlib" in n})
    }
    assert list(importers) == [DOOR]
    assert not [name for name in importers[DOOR] if "pyplot" in name]


@pytest.mark.parametrize("backend", [INLINE, "module://nowhere.at_all", "TkAgg"])
def test_a_command_draws_under_every_backend(backend: str, tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    arguments = ["curve", "--paper", "--points", "3", "--plot", str(picture)]
    done = run("-m", "tradeoff.cli", *arguments, backend=backend)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["figure_1", "anchored_figure_1"])
def test_a_figure_is_drawn_from_a_notebook(name: str, tmp_path: Path) -> None:
    options = ["--seeds", "4"] if name == "figure_1" else []
    done = run("-m", "figures", name, "--out", str(tmp_path), *options, backend=INLINE)
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes()[:4] for path in tmp_path.glob("*.png")] == [b"\x89PNG"]


@pytest.mark.parametrize(
    ("before", "backend", "after"),
    [
        ("", "svg", "svg"),
        ("import matplotlib; matplotlib.use('pdf'); ", "svg", "pdf"),
        ("", INLINE, None),
    ],
    ids=["named", "chosen before", "not there"],
)
def test_who_else_draws_keeps_the_backend(before: str, backend: str, after: str | None) -> None:
    """The environment stays as it was, and so does a choice that was made before."""
    asked = f"{before}import os, tradeoff.curves.drawing, matplotlib; print(os.environ['MPLBACKEND'])"
    shown = "" if after is None else "; print(matplotlib.rcParams['backend'])"
    done = run("-c", asked + shown, backend=backend)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [backend, *([] if after is None else [after])]


def test_a_grid_has_rows_and_columns() -> None:
    """Also where there is one of them; a vertical axis can be shared by all or by a row."""
    for rows, columns in ((1, 1), (1, 3), (2, 1), (2, 2)):
        figure, grid = new_figure(rows, columns, size=(4, 3))
        assert grid.shape == (rows, columns)
        assert figure.get_size_inches().tolist() == [4, 3]
    for shared, top in ((False, 1), ("row", 1), (True, 5)):
        _, [[left, right], [below, _]] = new_figure(2, 2, size=(4, 3), sharey=shared)
        left.set_ylim(0, 5)
        assert right.get_ylim()[1] == (5 if shared else 1)
        assert below.get_ylim()[1] == top


def test_every_scheme_of_this_library_has_a_look_of_its_own() -> None:
    """What an extension registers has none."""
    methods = {name for name, kind in METHODS.items() if kind.__module__.startswith("tradeoff.")}
    marks = {name for name, kind in _FAMILIES.items() if kind.read.__module__.startswith("tradeoff.")}
    assert methods
    assert methods <= set(METHOD_LOOKS)
    assert marks
    assert marks <= set(WATERMARK_LOOKS)
    assert set(CLASSES) == set(CURVE_LOOKS)


@pytest.mark.parametrize(
    "looks", [METHOD_LOOKS, WATERMARK_LOOKS, CURVE_LOOKS], ids=["methods", "marks", "curves"]
)
def test_schemes_can_be_told_apart_by_colour_alone_and_by_mark_alone(looks) -> None:
    for (one, first), (other, second) in itertools.combinations(looks.items(), 2):
        assert first.marker != second.marker, (one, other)
        assert first.color != second.color, (one, other)


def test_tests_of_one_panel_differ_in_colour_or_line() -> None:
    for (one, first), (other, second) in itertools.combinations(TEST_LOOKS.items(), 2):
        assert (first.color, first.line) != (second.color, second.line), (one, other)


def test_a_test_is_found_by_how_its_name_begins() -> None:
    assert look_of_test("race bets, two keys") == TEST_LOOKS["race bets"]
    assert look_of_test("e*, 4 buckets") == TEST_LOOKS["e*, 4 buckets"]
    assert look_of_test("likelihood ratio of ranks") == TEST_LOOKS["likelihood ratio of ranks"]
    assert look_of_test("likelihood ratio, two keys") == TEST_LOOKS["likelihood ratio"]


def test_a_watermark_is_found_by_its_name_in_records() -> None:
    for name in ("gumbel", "synthid:30", "synthid:inf", "simplexwater:8", "heavywater:lognormal", "none"):
        assert watermark_look(name) == WATERMARK_LOOKS[name.partition(":")[0]]
    assert watermark_look("heavywater:gamma,k=256") == WATERMARK_LOOKS["heavywater:gamma"]
    exact, soft = watermark_look("heavywater"), watermark_look("heavywater:lognormal,sinkhorn=0.05")
    assert soft.marker == exact.marker
    assert soft.line != exact.line
    assert soft.color != exact.color
    plain, completed = watermark_look("synthid:30"), watermark_look("completed:synthid:30")
    assert completed.marker == plain.marker
    assert completed.line == WATERMARK_LOOKS["completed"].line
    assert completed.color != plain.color


def test_blocks_have_the_mark_of_their_method_and_a_colour_of_their_own() -> None:
    for name, look in METHOD_LOOKS.items():
        blocks = method_look(f"{name}, blocks")
        assert blocks.marker == look.marker
        # Black stays black.
        assert (blocks.color != look.color) == (name != "basic")
        assert blocks.line != look.line
    assert method_look("of-mine, blocks").marker == method_look("of-mine").marker


def test_a_curve_is_found_by_its_class_and_by_its_name() -> None:
    assert curve_look("time sharing, SynthID (m = 30)") == curve_look("time-sharing")
    assert curve_look("Hu, Gumbel-max") == curve_look("hu")


@pytest.mark.parametrize("find", [method_look, watermark_look, curve_look])
def test_an_unknown_scheme_has_a_look_by_rule(find) -> None:
    """The same in every process, and never that of a scheme of this library."""
    code = f"from tradeoff.plotting import {find.__name__}; print({find.__name__}('of-mine'))"
    assert run("-c", code, backend="agg").stdout.strip() == str(find("of-mine"))
    known = {*METHOD_LOOKS.values(), *WATERMARK_LOOKS.values(), *CURVE_LOOKS.values()}
    looks = {find(f"mine-{number}") for number in range(40)}
    assert len(looks) > 20
    assert not {look.marker for look in looks} & {look.marker for look in known}


def test_shades_and_lines_keep_the_mark() -> None:
    look = method_look("one-race")
    assert look.mixed("white", 0.0) == look
    assert look.mixed("white", 1.0).color == "#FFFFFF"
    assert look.mixed("black", 0.5).marker == look.marker
    varied = look.varied(":", filled=False)
    assert (varied.color, varied.marker, varied.line) == (look.color, look.marker, ":")
    assert varied.both == {"color": look.color, "ls": ":", "marker": look.marker, "fillstyle": "none"}
    assert varied.points["ls"] == "none"


def style_set_by_hand(path: Path) -> list[str]:
    """Where a module sets what the style of all figures does: spines, grids, frames, sizes, colours."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(attr="spines" | "rcParams" as what):
                found.append(f"{path.name}:{node.lineno} {what}")
            case ast.Call(
                func=ast.Attribute(attr="grid" | "supxlabel" | "suptitle" | "tight_layout" as what)
            ):
                found.append(f"{path.name}:{node.lineno} {what}")
            case ast.keyword(arg="frameon" | "fontsize" | "layout" as what):
                found.append(f"{path.name}:{node.lineno} {what}")
            case ast.Constant(value=str() as text) if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
                found.append(f"{path.name}:{node.lineno} {text}")
    return found


def test_style_is_set_in_one_place() -> None:
    drawing = [
        path
        for folder in ("tradeoff", "figures", "sims", "paper_repro")
        for path in (ROOT / folder).rglob("*.py")
        if path != DOOR and "tradeoff.plotting" in path.read_text(encoding="utf-8")
    ]
    assert len(drawing) > 20
    assert [place for path in drawing for place in style_set_by_hand(path)] == []
    assert len(style_set_by_hand(DOOR)) > 5


def test_one_style_for_all_panels() -> None:
    figure, [[axes]] = new_figure(size=(4, 3))
    assert [name for name, spine in axes.spines.items() if spine.get_visible()] == ["left", "bottom"]
    assert all(line.get_visible() for line in axes.get_xgridlines())
    axes.plot([0, 1], label="line")
    axes.set(title="title")
    _, [[other]] = new_figure(size=(7, 6))
    other.set_title("other")
    assert axes.title.get_size() == other.title.get_size()
    axes.legend()
    assert not axes.get_legend().get_frame_on()
    add_note(figure, "note")
    add_headline(figure, "headline")
    assert [text.get_text() for text in figure.texts] == ["note", "headline"]


@pytest.mark.parametrize("place", [legend_beside, "below"])
def test_a_legend_beside_the_data_is_inside_the_picture(place) -> None:
    figure, [[axes]] = new_figure(size=(6, 4))
    (line,) = axes.plot([0, 1], label="a label of some length")
    if place == "below":
        legend_below(figure, {"a label of some length": line}, columns=1)
    else:
        place(axes)
    figure.draw_without_rendering()
    (legend,) = [*figure.legends, *([axes.get_legend()] if axes.get_legend() else [])]
    box, panel = legend.get_window_extent(), axes.get_window_extent()
    assert not box.overlaps(panel)
    assert figure.bbox.containsx(box.x0)
    assert figure.bbox.containsx(box.x1)
    assert figure.bbox.containsy(box.y0)
    assert figure.bbox.containsy(box.y1)


def test_names_at_the_ends_of_lines_keep_their_order_and_do_not_overlap() -> None:
    figure, [[axes]] = new_figure(size=(5, 3))
    ends = {"third": 0.52, "first": 0.1, "second": 0.5, "fourth": 0.53}
    axes.set_ylim(0, 1)
    label_ends(axes, [(y, name, "#000000") for name, y in ends.items()])
    figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    order = sorted(boxes, key=lambda name: boxes[name].y0)
    assert order == ["first", "second", "third", "fourth"]
    assert all(boxes[low].y1 <= boxes[high].y0 + 0.5 for low, high in itertools.pairwise(order))
    assert abs(boxes["first"].y0 + boxes["first"].y1 - 2 * axes.transData.transform((0, 0.1))[1]) < 4
    assert figure.bbox.containsx(max(box.x1 for box in boxes.values()))


def test_logarithmic_axes_have_no_raised_letters() -> None:
    figure, [[axes]] = new_figure(size=(5, 3))
    axes.semilogy([0, 1], [1e-7, 1e3])
    figure.draw_without_rendering()
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert "1e−05" in shown
    assert "1000" in shown
    assert not any("$" in label for label in shown)


def test_counts_have_whole_numbers_for_ticks() -> None:
    _, [[axes]] = new_figure(size=(5, 3))
    axes.set_xlim(0, 3)
    whole_numbers(axes)
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_a_legend_may_stand_in_a_panel_that_is_left_over() -> None:
    figure, [[left, middle, right]] = new_figure(1, 3, size=(6, 3))
    left.plot([0, 1], label="one")
    middle.plot([0, 1], label="one")
    middle.plot([1, 0], label="two")
    legend_instead(right, labelled(left, middle))
    figure.draw_without_rendering()
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["one", "two"]
    assert not right.axison


def test_settings_of_whoever_else_draws_stay(tmp_path: Path) -> None:
    code = (
        "import matplotlib; matplotlib.rcParams['axes.grid'] = True; before = dict(matplotlib.rcParams); "
        "from pathlib import Path; from tradeoff.plotting import add_note, new_figure, save_figure; "
        "figure, [[axes]] = new_figure(size=(4, 3)); axes.plot([0, 1], label='x'); axes.legend(); "
        f"add_note(figure, 'note'); save_figure(figure, [Path({str(tmp_path / 'x.png')!r})]); "
        "print(dict(matplotlib.rcParams) == before)"
    )
    done = run("-c", code, backend="agg")
    assert done.stdout.strip() == "True", done.stderr
