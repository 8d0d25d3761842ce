"""The commands whose outputs hold everything that this project computes, in steps that can be run alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sims.statements import STATEMENTS

__all__ = ["ENVIRONMENT", "PARTS", "STEPS", "Command", "Step", "chosen"]

#: Of every command: sums in one order, on any number of cores; and a key, which protects nothing.
ENVIRONMENT = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
    "CUDA_VISIBLE_DEVICES": "",
    "TRADEOFF_KEY": bytes(range(32)).hex(),
}
#: The same for vLLM's pseudorandom function.
_INTEGER_KEY = str(0xF0E1D2C3B4A59687)


@dataclass(frozen=True)
class Command:
    """`python -m MODULE ARGUMENTS`.

    Attributes:
        modules: names of the module, `MODULE:WORD` where a word comes before the arguments; of one that has
            moved the old name too. A checkout is asked for the first that it has.
        arguments: as in a shell, all paths relative to the folder of the step.
        into: file for standard output; it goes to the log if this is empty.
    """

    modules: tuple[str, ...]
    arguments: tuple[str, ...]
    into: str = ""


@dataclass(frozen=True)
class Step:
    """Commands that run one after the other in a folder of their own, whose files are their outputs.

    Attributes:
        name: part and name.
        commands: what is run.
        inputs: {file: content} that is there before.
        after: name of the step whose files are there before.
    """

    name: str
    commands: tuple[Command, ...]
    inputs: dict[str, str] = field(default_factory=dict)
    after: str = ""

    @property
    def part(self) -> str:
        """The part that it belongs to."""
        return self.name.partition("/")[0]

    def asked(self) -> dict[str, Any]:
        """What outputs must have been made by to be of this step: all but where modules lie."""
        commands = [{"arguments": list(c.arguments), "into": c.into} for c in self.commands]
        return asdict(self) | {"commands": commands, "environment": ENVIRONMENT}


#: Texts of 24 tokens, of three prompts.
_GENERATE = "generate --prompts builtin:continuation --limit 3 --max-tokens 24 --ignore-eos --seed 5"
_HEAVY = "heavywater:lognormal,k=256"
#: Every method, every watermark, and what else changes a text.
_TEXTS = {
    "basic": "--method basic --temperature 0.7 --top-k 50 --top-p 0.9",
    "basic-none": "--method basic --watermark none",
    "basic-simplexwater": "--method basic --watermark simplexwater:8",
    "basic-simplexwater-tilt": "--method basic --watermark simplexwater:8,tilt=2,head=20",
    "basic-heavywater": f"--method basic --watermark {_HEAVY}",
    "basic-heavywater-sinkhorn": "--method basic --watermark heavywater:gamma,k=256,sinkhorn=0.05",
    "standard": "--method standard",
    "keep-strength": "--method keep-strength",
    "keep-strength-synthid": "--method keep-strength --watermark synthid:30",
    "keep-efficiency": "--method keep-efficiency",
    "keep-efficiency-synthid-inf": "--method keep-efficiency --watermark synthid:inf",
    "target-only": "--method target-only",
    "two-keys": "--method two-keys --lookahead 5",
    "two-keys-simplexwater": "--method two-keys --watermark simplexwater:8",
    "two-keys-heavywater": f"--method two-keys --watermark {_HEAVY}",
    "dual-key": "--method dual-key --alpha 0.3",
    "algorithm-1": "--method algorithm-1 --context-width 2 --temperature 0.5",
    "algorithm-1-synthid": "--method algorithm-1 --watermark synthid:30",
    "algorithm-1-completed-synthid": "--method algorithm-1 --watermark completed:synthid:5 --measure",
    "algorithm-1-completed-simplexwater": "--method algorithm-1 --watermark completed:simplexwater:8",
    "algorithm-1-completed-heavywater": f"--method algorithm-1 --watermark completed:{_HEAVY}",
    "single-key": "--method single-key",
    "one-race": "--method one-race",
    "one-race-measured": "--method one-race --measure --temperature 0.8",
    "one-race-alone": "--method one-race --batch 1",
    "one-race-jump": "--method one-race --draft jump",
    "one-race-skip": "--method one-race --draft skip:14,16",
    "one-race-repeating": "--method one-race --context-width 1 --temperature 0.3",
    "one-race-tree": "--method one-race-tree --width 3",
    "joint-race": "--method joint-race",
    "joint-race-tree": "--method joint-race-tree --width 3",
    "joint-tournament": "--method joint-tournament --watermark synthid:30",
    "joint-tournament-completed": "--method joint-tournament --watermark completed:synthid:5",
    "joint-race-marked": "--method joint-race-marked --watermark completed:synthid:5",
    "joint-transport": "--method joint-transport --watermark simplexwater:8",
}
#: It has races only, so that it serves fewer methods.
_PHILOX_TEXTS = {
    "philox-basic": "--method basic",
    "philox-keep-strength": "--method keep-strength",
    "philox-two-keys": "--method two-keys",
    "philox-dual-key": "--method dual-key",
    "philox-one-race": "--method one-race --measure",
    "philox-one-race-tree": "--method one-race-tree",
    "philox-repeating": "--method one-race --context-width 1 --temperature 0.3",
}
#: Words of nobody's model, for tokenizers and for the absence of a watermark.
_HUMAN = """The harbour lay still that morning, and the boats came in one after the other, low in the water.
Nobody had counted on such a catch so late in the year; the ice ran out before noon, and the boys were sent \
to the next village for more – “quickly,” they were told, though it was seven miles.
"""


#: The figures that write tables, by the names of their steps; where a command has moved `NEW|OLD`.
_FIGURES = {
    name: f"figures:{name}|figures.{name}"
    for name in (
        "figure_1",
        "figure_1_real",
        "remaining_trade_off",
        "transport_curves",
        "transport_gaps",
        "transport_tilt",
        "distortion",
        "anchored_figure_1",
        "anchored_figure_2",
    )
}


def _command(line: str, into: str = "") -> Command:
    """From a line for a shell, without `python -m`; `NEW|OLD` names a command that has moved."""
    modules, *arguments = line.split()
    return Command(tuple(modules.split("|")), tuple(arguments), into)


def _sims() -> list[Step]:
    return [Step(f"sims/{name}", (_command(f"sims --only {name} --out ."),)) for name in STATEMENTS]


def _figures() -> list[Step]:
    options = {name: ["--out ."] for name in _FIGURES}
    options["figure_1"] += ["--out . --as-published"]
    options["figure_1_real"] = ["--out . --positions 24 --seeds 4 --processes 1"]
    options["remaining_trade_off"] = ["--out . --pairs next_token_pairs.npz --positions 4 --races 100"]
    options["transport_tilt"] = ["--out . --pairs next_token_pairs.npz --texts 6 --seeds 32"]
    options["distortion"] = ["--out . --paper-only"]
    # What is printed of references is in no table.
    for name in (
        "figure_1",
        "remaining_trade_off",
        "transport_gaps",
        "anchored_figure_1",
        "anchored_figure_2",
    ):
        options[name] += ["--check"]
    return [
        Step(
            f"figures/{name}",
            tuple(
                _command(f"{_FIGURES[name]} {words}", "references.txt" if words == "--check" else "")
                for words in lines
            ),
            after="figures/figure_1_real" if "--pairs" in lines[0] else "",
        )
        for name, lines in options.items()
    ]


def _paper_repro() -> list[Step]:
    preset = Path(__file__).with_name("unchanged.toml").read_text(encoding="utf-8")
    commands = (
        _command("paper_repro.experiment --preset preset.toml --out ."),
        _command("paper_repro.generate --preset preset.toml --out texts"),
        _command("paper_repro.generate --preset preset.toml --out texts --only one-race --prompts question"),
    )
    return [Step("paper_repro/experiment", commands, {"preset.toml": preset})]


def _texts() -> list[Step]:
    philox = f"--prf vllm-philox-v1 --key {_INTEGER_KEY}"
    settings = _TEXTS | {name: f"{words} {philox}" for name, words in _PHILOX_TEXTS.items()}
    steps = [
        Step(f"texts/{name}", (_command(f"tradeoff.cli {_GENERATE} --output texts.jsonl {words}"),))
        for name, words in settings.items()
    ]
    asked = "tradeoff.cli generate --prompts builtin:question --chat --limit 2 --max-tokens 30"
    named = "tradeoff.cli generate --prompts prompts.jsonl --max-tokens 20 --output texts.jsonl"
    prompts = '{"id": "a", "prompt": "It was"}\n{"id": "b", "prompt": "Übermorgen, “perhaps”"}\n'
    return [
        *steps,
        Step("texts/chat", (_command(f"{asked} --output texts.jsonl"),)),
        Step("texts/own-prompts", (_command(named),), {"prompts.jsonl": prompts}),
    ]


def _detect() -> list[Step]:
    steps = []
    for name in [*_TEXTS, *_PHILOX_TEXTS, "chat"]:
        key = f" --key {_INTEGER_KEY}" if name in _PHILOX_TEXTS else ""
        line = f"tradeoff.cli detect texts.jsonl --json --tokens{key}"
        commands = (_command(line, "plain.jsonl"), _command(f"{line} --sequential", "sequential.jsonl"))
        steps.append(Step(f"detect/{name}", commands, after=f"texts/{name}"))
    others = {
        "gumbel": "--method two-keys",
        "synthid": "--method algorithm-1 --watermark synthid:30",
        "simplexwater": "--method basic --watermark simplexwater:8",
        "heavywater": f"--method basic --watermark {_HEAVY}",
        "completed": "--method algorithm-1 --watermark completed:synthid:5",
    }
    human = [
        _command(f"tradeoff.cli detect human.txt --json --tokens {words} {how}", f"{name}{how}.jsonl")
        for name, words in others.items()
        for how in ("", "--sequential")
    ]
    again = [
        _command(f"tradeoff.cli detect texts.jsonl --json --tokens --retokenize {how}", f"again{how}.jsonl")
        for how in ("", "--sequential")
    ]
    return [
        *steps,
        Step("detect/human", tuple(human), {"human.txt": _HUMAN}),
        Step("detect/retokenized", tuple(again), after="texts/one-race"),
        Step(
            "detect/plan",
            (_command("tradeoff.cli plan texts.jsonl --json", "plan.json"),),
            after="texts/one-race-measured",
        ),
    ]


def _curve() -> list[Step]:
    lines = {
        "gumbel": "--paper",
        "synthid": "--paper --decoder synthid:3 --seeds 20000",
        "synthid-inf": "--paper --decoder synthid:inf",
        "mixed": "--paper --draft-decoder synthid:5 --seeds 20000",
        "simplexwater": "--paper --decoder simplexwater:4 --seeds 20000",
        "heavywater": "--paper --decoder heavywater:gamma,k=64 --seeds 20000",
        "completed": "--paper --decoder completed:synthid:3 --seeds 20000",
        "files": "p.json q.csv --normalise --points 11",
    }
    inputs = {"p.json": "[0.5, 0.3, 0.1, 0.05, 0.0499]", "q.csv": "0.2,0.2,0.2,0.2,0.2001\n"}
    return [
        Step(f"curve/{name}", (_command(f"tradeoff.cli curve {words} --output curve.csv"),), inputs)
        for name, words in lines.items()
    ]


_MAKERS = {
    "texts": _texts,
    "detect": _detect,
    "curve": _curve,
    "figures": _figures,
    "paper_repro": _paper_repro,
    "sims": _sims,
}
PARTS = tuple(_MAKERS)
#: By name, every step after the one whose files it needs.
STEPS: dict[str, Step] = {step.name: step for make in _MAKERS.values() for step in make()}


def chosen(only: Iterable[str], steps: dict[str, Step]) -> list[Step]:
    """The steps of these parts, or of these names, all of them if there is none, and those they need.

    Raises:
        ValueError: for an unknown one.
    """
    wanted = set(only)
    known = {name for step in steps.values() for name in (step.name, step.part)}
    if unknown := sorted(wanted - known):
        parts = dict.fromkeys(step.part for step in steps.values())
        raise ValueError(
            f"only={unknown[0]!r} is unknown; name parts ({', '.join(parts)}) or steps (PART/NAME: "
            f"{', '.join(list(steps)[:3])}, ...)"
        )
    taken = [step for step in steps.values() if not wanted or {step.name, step.part} & wanted]
    needed = {step.after for step in taken} | {step.name for step in taken}
    return [step for step in steps.values() if step.name in needed]
