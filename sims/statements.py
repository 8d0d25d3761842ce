"""The statements by name. To add one: a module with `run(size, seed, out) -> list[Row]`, and a line here.

A statement that cannot be looked at here, for want of a model, raises `NotEvaluatedError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sims.anchored import buckets as anchored_buckets
from sims.anchored import detectors as sequential_detectors
from sims.anchored import optimality as anchored_optimality
from sims.anchored import stopping as anchored_stopping
from sims.anchored import validity as anchored_validity
from sims.joint import blocks, limit, race, tournament
from sims.real_pair import statement as real_pair
from sims.tools.common import FEWEST
from sims.tools.rows import NotEvaluatedError, Row
from sims.trade_off import (
    biased,
    curves_3_2,
    definition_3_1,
    impossibility,
    lemma_3_1,
    sequences_4_1,
    theorem_3_1,
    theorem_3_2,
    theorem_3_3,
    theorem_4_1,
)
from sims.transport import completion as transport_completion
from sims.transport import gumbel as transport_gumbel
from sims.transport import minimax as transport_minimax
from sims.transport import solvers as transport_solvers
from sims.transport import tails as transport_tails
from sims.transport import two_atoms as transport_two_atoms
from tradeoff.errors import FileError

__all__ = ["STATEMENTS", "Statement", "chosen", "evaluate"]

#: (size, seed, output folder) -> rows. `size` is the number of Monte Carlo seeds.
Statement = Callable[[int, int, Path], list[Row]]

#: In the order of the papers.
STATEMENTS: dict[str, Statement] = {
    "impossibility": impossibility.run,
    "definition_3_1": definition_3_1.run,
    "theorem_3_1": theorem_3_1.run,
    "theorem_3_2": theorem_3_2.run,
    "theorem_3_3": theorem_3_3.run,
    "lemma_3_1": lemma_3_1.run,
    "curves_3_2": curves_3_2.run,
    "theorem_4_1": theorem_4_1.run,
    "sequences_4_1": sequences_4_1.run,
    "biased": biased.run,
    "joint_race": race.run,
    "joint_tournament": tournament.run,
    "keyed_blocks": blocks.run,
    "race_limit": limit.run,
    "anchored_validity": anchored_validity.run,
    "anchored_optimality": anchored_optimality.run,
    "anchored_stopping": anchored_stopping.run,
    "anchored_buckets": anchored_buckets.run,
    "sequential_detectors": sequential_detectors.run,
    "transport_two_atoms": transport_two_atoms.run,
    "transport_minimax": transport_minimax.run,
    "transport_gumbel": transport_gumbel.run,
    "transport_tails": transport_tails.run,
    "transport_solvers": transport_solvers.run,
    "transport_completion": transport_completion.run,
    "real_pair": real_pair.run,
}


def chosen(only: Sequence[str]) -> dict[str, Statement]:
    """The statements called `only`, all of them if it is empty.

    Raises:
        ValueError: for an unknown name.
    """
    for name in only:
        if name not in STATEMENTS:
            raise ValueError(f"statement {name!r} is unknown; use one of {', '.join(STATEMENTS)}")
    return {name: run for name, run in STATEMENTS.items() if not only or name in only}


def evaluate(name: str, run: Statement, size: int, seed: int, out: Path) -> list[Row]:
    """The rows of one statement.

    A library that is broken may not get as far as a wrong number: an error while a statement is evaluated
    is a red row, and the other statements are still looked at.

    Raises:
        FileError, OSError: if the results cannot be written.
        NotEvaluatedError: if what the statement needs is not to be had here.
        ValueError: for a size or seed that cannot be used.
    """
    if size < FEWEST:
        raise ValueError(f"size={size} is too small for the tests' approximations; use at least {FEWEST}")
    if seed < 0:
        raise ValueError(f"seed={seed} must be at least 0")
    try:
        return run(size, seed, out)
    except (FileError, OSError, NotEvaluatedError):
        raise
    except Exception as error:
        message = f"stopped by {type(error).__name__}: {error}"
        return [Row(name, message, 0.0, "=", float("nan"), 0.0, "not evaluated", float("nan"), 0.0)]
