"""Old import paths, which go on working for one version: they warn, and name the new place."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

__all__ = ["install"]

#: The version that knows them no more.
_GONE = "0.3"


#: Modules of version 0.1, and where their names are.
_MODULES = {
    "tradeoff.buckets": ("tradeoff.anchored.buckets",),
    "tradeoff.classes": ("tradeoff.curves.families",),
    "tradeoff.console": ("tradeoff.display.console",),
    "tradeoff.coupling": (
        "tradeoff.curves.pairs",
        "tradeoff.decoders.races",
    ),
    "tradeoff.detection.anchored": ("tradeoff.detection.with_models.draft_aware",),
    "tradeoff.detection.bayes": ("tradeoff.detection.fixed.bayes",),
    "tradeoff.detection.completed": ("tradeoff.detection.fixed.completed",),
    "tradeoff.detection.completed_bets": ("tradeoff.detection.bets.completed",),
    "tradeoff.detection.edits": ("tradeoff.texts.edits",),
    "tradeoff.detection.gumbel": ("tradeoff.detection.fixed.gumbel",),
    "tradeoff.detection.hits": ("tradeoff.detection.with_models.hits",),
    "tradeoff.detection.json_texts": ("tradeoff.texts.json_texts",),
    "tradeoff.detection.lattice": ("tradeoff.detection.fixed.lattice",),
    "tradeoff.detection.model_aware": ("tradeoff.detection.with_models.model_aware",),
    "tradeoff.detection.page": ("tradeoff.verdicts.pages.page",),
    "tradeoff.detection.power": ("tradeoff.detection.forecast",),
    "tradeoff.detection.simplex_water": ("tradeoff.detection.fixed.simplexwater",),
    "tradeoff.detection.simplex_water_bets": ("tradeoff.detection.bets.simplexwater",),
    "tradeoff.detection.synthid": ("tradeoff.detection.fixed.synthid",),
    "tradeoff.detection.table": ("tradeoff.detection.fixed.row_sums",),
    "tradeoff.detection.texts": ("tradeoff.texts.reading",),
    "tradeoff.detection.transport": (
        "tradeoff.detection.fixed.transport",
        "tradeoff.detection.fixed.simplexwater",
    ),
    "tradeoff.detection.transport_bets": ("tradeoff.detection.bets.transport",),
    "tradeoff.detection.views": ("tradeoff.verdicts.views",),
    "tradeoff.detection_gaps": ("tradeoff.optimal_transport.gaps",),
    "tradeoff.drawing": ("tradeoff.plotting",),
    "tradeoff.draws": ("tradeoff.laws",),
    "tradeoff.evalue_programme": (
        "tradeoff.anchored.programme",
        "tradeoff.anchored.coupling",
    ),
    "tradeoff.evalues": ("tradeoff.anchored.e_values",),
    "tradeoff.first_passage": ("tradeoff.anchored.first_passage",),
    "tradeoff.frontier": ("tradeoff.curves.frontier",),
    "tradeoff.html": ("tradeoff.display.html",),
    "tradeoff.keyed_randomness": ("tradeoff.kernels.keyed_randomness",),
    "tradeoff.keys": ("tradeoff.keyed.keys",),
    "tradeoff.llm.anchor": ("tradeoff.llm.readback.anchor",),
    "tradeoff.llm.builtin": ("tradeoff.llm.models.builtin",),
    "tradeoff.llm.configurations": ("tradeoff.llm.models.configurations",),
    "tradeoff.llm.engine": ("tradeoff.llm.generation.engine",),
    "tradeoff.llm.forced": ("tradeoff.llm.readback.replay",),
    "tradeoff.llm.huggingface": ("tradeoff.llm.models.huggingface",),
    "tradeoff.llm.jump": ("tradeoff.llm.models.jump",),
    "tradeoff.llm.keyed": ("tradeoff.llm.generation.vocabulary",),
    "tradeoff.llm.layer_skip": ("tradeoff.llm.models.layer_skip",),
    "tradeoff.llm.loading": ("tradeoff.llm.models.loading",),
    "tradeoff.llm.measurements": ("tradeoff.texts.metrics",),
    "tradeoff.llm.pairs": ("tradeoff.llm.readback.next_token",),
    "tradeoff.llm.probe": ("tradeoff.llm.models.probe",),
    "tradeoff.llm.prompts": (
        "tradeoff.texts.prompts",
        "tradeoff.llm.encoding",
    ),
    "tradeoff.llm.records": (
        "tradeoff.texts.record_files",
        "tradeoff.llm.run_records",
    ),
    "tradeoff.llm.rounds": ("tradeoff.llm.generation.rounds",),
    "tradeoff.llm.rows": (
        "tradeoff.llm.generation.rows",
        "tradeoff.texts.prompts",
    ),
    "tradeoff.llm.skinny": ("tradeoff.llm.generation.skinny",),
    "tradeoff.llm.slots": ("tradeoff.llm.generation.slots",),
    "tradeoff.llm.text": ("tradeoff.texts.corpus",),
    "tradeoff.measures": (
        "tradeoff.curves.pairs",
        "tradeoff.curves.measures",
    ),
    "tradeoff.paper": ("tradeoff.curves.example",),
    "tradeoff.pareto": ("tradeoff.curves.linear",),
    "tradeoff.philox": ("tradeoff.keyed.philox",),
    "tradeoff.plane": (
        "tradeoff.plotting",
        "tradeoff.curves.drawing",
    ),
    "tradeoff.prf": (
        "tradeoff.keyed.prf",
        "tradeoff.keyed.blake2",
        "tradeoff.keyed.formats",
    ),
    "tradeoff.prf_bits": ("tradeoff.keyed.bits",),
    "tradeoff.prf_names": ("tradeoff.keyed.formats",),
    "tradeoff.race_tree": ("tradeoff.kernels.race_tree",),
    "tradeoff.randomness": ("tradeoff.kernels.randomness",),
    "tradeoff.records": ("tradeoff.texts.records",),
    "tradeoff.scores": ("tradeoff.optimal_transport.scores",),
    "tradeoff.setting": ("tradeoff.curves.setting",),
    "tradeoff.simplex": ("tradeoff.laws",),
    "tradeoff.simulation": ("tradeoff.curves.monte_carlo",),
    "tradeoff.splicing": ("tradeoff.curves.splicing",),
    "tradeoff.supermartingales": ("tradeoff.anchored.supermartingales",),
    "tradeoff.transport": ("tradeoff.optimal_transport.solvers",),
    "tradeoff.visible": ("tradeoff.display.characters",),
}

#: Commands `python -m MODULE` of version 0.1: the module that is run now, and its first arguments.
_COMMANDS = {
    "figures.anchored_figure_1": ("figures", "anchored_figure_1"),
    "figures.anchored_figure_2": ("figures", "anchored_figure_2"),
    "figures.detection": ("figures", "rates"),
    "figures.figure_1": ("figures", "figure_1"),
    "figures.figure_1_real": ("figures", "figure_1_real"),
    "figures.sequential": ("figures", "shares"),
    "figures.transport_curves": ("figures", "transport_curves"),
    "figures.transport_gaps": ("figures", "transport_gaps"),
    "figures.transport_tilt": ("figures", "transport_tilt"),
    "figures.watermarks": ("figures", "watermarks"),
    "paper_repro.fit_jump": ("tradeoff.llm.fitting.fit_jump",),
}

_MODULE = """\
import warnings

warnings.warn({told!r}, DeprecationWarning, stacklevel=3)
"""
_COMMAND = """\
import runpy
import sys

if __name__ != "__main__":
    raise ImportError({told!r}, name=__name__)
print("note:", {told!r}, file=sys.stderr)
sys.argv[1:1] = {arguments!r}
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


class _Moved:
    """Finds and loads what has moved, where nothing else was found.

    Without the base classes of `importlib.abc`, which take longer to import than all of this package's face.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder.find_spec`."""
        known = fullname in _MODULES or fullname in _COMMANDS
        return ModuleSpec(fullname, cast("Loader", self), origin="moved") if known else None

    def create_module(self, spec: ModuleSpec) -> None:
        """See `importlib.abc.Loader.create_module`: an ordinary one."""

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader.exec_module`."""
        exec(self.get_code(module.__name__), vars(module))

    def get_code(self, fullname: str) -> CodeType:
        """See `importlib.abc.InspectLoader.get_code`, which `python -m` asks."""
        return compile(_source(fullname), f"<{fullname} has moved>", "exec")


def _source(name: str) -> str:
    """A module that warns and has the names of those that it moved to, or a command that runs the new one."""
    if name in _COMMANDS:
        module, *arguments = _COMMANDS[name]
        told = f"{name} has moved; the command is: python -m {' '.join(_COMMANDS[name])}"
        return _COMMAND.format(told=told, module=module, arguments=arguments)
    modules = _MODULES[name]
    rooms = dict.fromkeys(".".join(module.split(".")[:2]) for module in modules)
    told = (
        f"{name} has moved to {' and '.join(modules)}; what is public is in {' and '.join(rooms)} "
        f"(the old path goes in version {_GONE})"
    )
    return _MODULE.format(told=told) + "".join(f"from {module} import *\n" for module in modules)


def install() -> None:
    """Let old paths be found, once."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
