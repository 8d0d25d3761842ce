"""Old import paths, which go on working for one version: they warn, and name the new place."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

__all__ = ["install"]

#: The version that knows them no more.
_GONE = "0.3"


class _Place(NamedTuple):
    """Where the names of a module have gone, and the room that shows them to the world."""

    modules: tuple[str, ...]
    room: str


def _within(room: str, *files: str) -> _Place:
    return _Place(tuple(f"tradeoff.{room}.{file}" for file in files), f"tradeoff.{room}")


def _top(file: str) -> _Place:
    return _Place((f"tradeoff.{file}",), f"tradeoff.{file}")


#: Modules of version 0.1.
_MODULES = {
    "tradeoff.buckets": _within("anchored", "buckets"),
    "tradeoff.classes": _within("curves", "families"),
    "tradeoff.console": _within("display", "console"),
    "tradeoff.coupling": _Place(("tradeoff.decoders.races", "tradeoff.curves.pairs"), "tradeoff.curves"),
    "tradeoff.detection.anchored": _within("detection", "with_models.draft_aware"),
    "tradeoff.detection.bayes": _within("detection", "fixed.bayes"),
    "tradeoff.detection.edits": _within("texts", "edits"),
    "tradeoff.detection.gumbel": _within("detection", "fixed.gumbel"),
    "tradeoff.detection.hits": _within("detection", "with_models.hits"),
    "tradeoff.detection.model_aware": _within("detection", "with_models.model_aware"),
    "tradeoff.detection.power": _within("detection", "forecast"),
    "tradeoff.detection.synthid": _within("detection", "fixed.synthid"),
    "tradeoff.detection.table": _within("detection", "fixed.row_sums"),
    "tradeoff.detection.texts": _within("texts", "reading"),
    "tradeoff.detection.transport": _within("detection", "fixed.transport", "fixed.simplexwater"),
    "tradeoff.detection_gaps": _within("optimal_transport", "gaps"),
    "tradeoff.draws": _top("laws"),
    "tradeoff.evalue_programme": _within("anchored", "programme", "coupling"),
    "tradeoff.evalues": _within("anchored", "e_values"),
    "tradeoff.first_passage": _within("anchored", "first_passage"),
    "tradeoff.frontier": _within("curves", "frontier"),
    "tradeoff.keys": _within("keyed", "keys"),
    "tradeoff.llm.anchor": _within("llm", "readback.anchor"),
    "tradeoff.llm.engine": _within("llm", "generation.engine"),
    "tradeoff.llm.forced": _within("llm", "readback.replay"),
    "tradeoff.llm.measurements": _within("texts", "metrics"),
    "tradeoff.llm.pairs": _within("llm", "readback.next_token"),
    "tradeoff.llm.prompts": _Place(("tradeoff.texts.prompts", "tradeoff.llm.encoding"), "tradeoff.texts"),
    "tradeoff.llm.records": _within("texts", "record_files"),
    "tradeoff.measures": _within("curves", "measures"),
    "tradeoff.paper": _within("curves", "example"),
    "tradeoff.pareto": _within("curves", "linear"),
    "tradeoff.philox": _within("keyed", "philox"),
    "tradeoff.plane": _within("curves", "drawing"),
    "tradeoff.prf": _within("keyed", "prf", "blake2", "formats"),
    "tradeoff.race_tree": _within("kernels", "race_tree"),
    "tradeoff.randomness": _within("kernels", "randomness"),
    "tradeoff.scores": _within("optimal_transport", "scores"),
    "tradeoff.setting": _within("curves", "setting"),
    "tradeoff.simplex": _top("laws"),
    "tradeoff.simulation": _within("curves", "monte_carlo"),
    "tradeoff.splicing": _within("curves", "splicing"),
    "tradeoff.supermartingales": _within("anchored", "supermartingales"),
    "tradeoff.transport": _within("optimal_transport", "solvers"),
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

warnings.warn({told!r}, DeprecationWarning, stacklevel=2)
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
    place = _MODULES[name]
    told = f"{name} has moved; import from {place.room} (the old path goes in version {_GONE})"
    return _MODULE.format(told=told) + "".join(f"from {module} import *\n" for module in place.modules)


def install() -> None:
    """Let old paths be found, once."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
