"""The look-ahead that writes fastest, by what is accepted and what rounds take here."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from tradeoff.kernels import Verify
from tradeoff.llm.generation.engine import Engine, EngineSettings, out_of_memory
from tradeoff.llm.generation.rounds import Level, Speculator
from tradeoff.llm.generation.rows import Step
from tradeoff.llm.models.pair import ModelPair
from tradeoff.texts import Prompt

__all__ = ["Lookahead", "best_lookahead"]

#: The largest that is tried, and what is taken where nothing can be tried.
_MOST, _PLAIN = 8, 3
#: Steps of texts that are looked at, and rounds of either length at the least.
_STEPS, _ROUNDS = 64, 12
#: Tokens of a text for every draft of the most: three rounds must fit in it.
_ROOM = 4


@dataclass(frozen=True)
class Lookahead:
    """What was measured, for look-aheads 1, 2, ..., and the choice.

    Attributes:
        best: the one with most tokens a second.
        tokens: a step emits in the mean; empty if texts are too short to tell.
        seconds: a round takes.
    """

    best: int
    tokens: tuple[float, ...]
    seconds: tuple[float, ...]

    def describe(self) -> str:
        """One line."""
        k = self.best
        if not self.tokens:
            return f"lookahead {k}: texts of so few tokens leave nothing to measure"
        rate = self.tokens[k - 1] / self.seconds[k - 1]
        first = self.tokens[0] / self.seconds[0]
        return (
            f"lookahead {k}: {self.tokens[k - 1]:.2f} tokens a step of {1000 * self.seconds[k - 1]:.0f} ms, "
            f"{rate / first:.2f} times as fast as lookahead 1"
        )


class _Pilot(Speculator):
    """Expects of every step what each shorter look-ahead would accept of its drafts, [rows, K]."""

    def _expected(self, p: torch.Tensor, levels: list[Level], drafted: np.ndarray) -> np.ndarray:
        if not self.method.full_efficiency:
            return np.zeros((len(p), 0))
        if not levels:
            return np.zeros((len(p), self.lookahead))
        columns = []
        for k in range(1, self.lookahead + 1):
            found = self._means(p, levels[:k], np.minimum(drafted, k))
            columns.append(found.by_block if self.verify is Verify.BLOCK else found.by_token)
        return torch.stack(columns, dim=1).cpu().numpy()


def best_lookahead(
    pair: ModelPair,
    settings: EngineSettings,
    prompts: Sequence[Prompt],
    batch: int,
    *,
    probe: bool = True,
    report: Callable[[str], None] = lambda _: None,
) -> Lookahead:
    """Write the beginnings of some texts, and throw them away, with look-aheads of 1 and the most in turns.

    A round's mean time is taken for linear in between. How many tokens a step emits is the mean given drafts
    and laws where the method accepts min(1, P/Q), else what was seen; a shorter look-ahead accepts what of
    the longer one lies within it. Texts depend on the look-ahead, so that a run with another choice has
    others; a file keeps its own.

    Args:
        pair, settings, prompts, batch, probe, report: of the run; `settings.lookahead` is not looked at.

    Raises:
        ValueError: as `Engine` and `Engine.check`, or if nothing is drafted.
    """
    if not settings.drafts:
        raise ValueError(
            f"lookahead='auto' has nothing to choose, as {settings.method.name} drafts nothing; leave it out"
        )
    most = min(_MOST, settings.max_tokens // _ROOM)
    if most < 2:
        return Lookahead(min(_PLAIN, settings.max_tokens), (), ())
    # Equal prompts are one text.
    distinct = list({prompt.token_ids: prompt for prompt in prompts}.values())
    batch = min(batch, len(distinct))
    while True:
        engine = _fitting(pair, settings, distinct, most, Engine(pair, settings, batch, report, probe))
        failure = None
        try:
            return _measured(engine, distinct)
        except (RuntimeError, MemoryError) as error:
            if batch == 1 or not out_of_memory(error):
                raise
            failure = str(error)
        batch //= 2
        report(f"out of memory while choosing a lookahead: going on with {batch} texts at a time ({failure})")


def _fitting(
    pair: ModelPair, settings: EngineSettings, prompts: Sequence[Prompt], most: int, plain: Engine
) -> Engine:
    """With the largest look-ahead, up to `most`, whose other candidates fit into the context window."""
    for lookahead in range(most, 1, -1):
        engine = Engine(pair, replace(settings, lookahead=lookahead), plain.batch, probe=False)
        engine.limit = plain.limit
        try:
            engine.check(prompts)
        except ValueError:
            continue
        return engine
    plain.check(prompts)
    return plain


def _measured(engine: Engine, prompts: Sequence[Prompt]) -> Lookahead:
    """Each text is begun once, since again it would be the same."""
    engine.warm_up(prompts[0])
    longer = engine.speculator
    most = longer.lookahead
    shorter = replace(longer, lookahead=1)
    looks = _Pilot(**{each.name: getattr(longer, each.name) for each in fields(longer)} | {"measure": True})
    accepted: list[Sequence[float]] = []
    times: tuple[list[float], list[float]] = [], []
    for batch in _batches(prompts, engine.batch):
        rows = engine.begin(batch)
        while all(row.finish is None and row.wanted > 2 * most + 2 for row in rows):
            looks.round(rows)
            accepted += [_by_lookahead(row.last_step, most) for row in rows]
            for speculator, seconds in zip((shorter, longer), times, strict=True):
                if any(row.finish for row in rows):
                    break
                start = engine.now()
                speculator.round(rows)
                seconds.append(engine.now() - start)
            if len(accepted) >= _STEPS and len(times[1]) >= _ROUNDS:
                break
        if len(accepted) >= _STEPS and len(times[1]) >= _ROUNDS:
            break
    if not times[1]:
        return Lookahead(min(_PLAIN, most), (), ())
    tokens = 1 + np.mean(accepted, axis=0)
    # Means: where drafts are looked up, rounds without any are short, and most of them may be.
    ends = [statistics.fmean(seconds) for seconds in times]
    seconds_of = np.interp(np.arange(1, most + 1), [1, most], ends)
    best = int(np.argmax(tokens / seconds_of)) + 1
    return Lookahead(best, tuple(tokens.tolist()), tuple(seconds_of.tolist()))


def _batches(prompts: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    return (prompts[first : first + size] for first in range(0, len(prompts), size))


def _by_lookahead(step: Step, most: int) -> Sequence[float]:
    return step.expected or [float(min(step.accepted, k)) for k in range(1, most + 1)]
