"""One round of speculative decoding for a batch of rows: draft, verify in one pass, emit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch

from tradeoff.kernels import (
    ExpectedAccepted,
    KeyedRandomness,
    Method,
    Settled,
    Verify,
    block,
    expected_accepted,
    settle_block,
)
from tradeoff.keyed import Prf
from tradeoff.laws import entropy, overlap
from tradeoff.llm.generation.controls import processed
from tradeoff.llm.generation.rows import Row, Step, contexts_ahead
from tradeoff.llm.generation.slots import AnyFeeder
from tradeoff.llm.generation.vocabulary import vocabulary_ids
from tradeoff.llm.law_device import law_device, on_law_device
from tradeoff.llm.sampling import Sampling

__all__ = ["Level", "Speculator"]

#: Matrix products of 2 or 3 rows are slower than of 4 on CPUs (in bfloat16 by a factor of 2), so where one
#: token is not enough, at least this many in all rows are fed.
_FEWEST_FED = 4


@dataclass
class Level:
    """One position of the look-ahead, for all rows: draft law, candidates, randomness."""

    law: torch.Tensor
    candidates: torch.Tensor
    randomness: KeyedRandomness

    @property
    def draft(self) -> torch.Tensor:
        return self.candidates[:, 0]


@dataclass
class _Verdicts:
    """What became of the drafts.

    Attributes:
        targets: of every level, what the draft law is held against, [rows, n].
        settled: of every level, up to one behind which no row has a draft left.
        accepted: how many drafts of every row were, [rows].
    """

    targets: list[torch.Tensor]
    settled: list[Settled]
    accepted: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Speculator:
    """Runs rounds.

    Args:
        method: kernel and watermark.
        prf: keyed pseudorandom function, or None.
        verify: token by token, or a step's drafts as a block.
        sampling: from logits to laws, for both models.
        target, draft: the models and their slots; without a draft model drafts are looked up, in rows that
            have an index.
        lookahead: K, 0 without drafts; no more is drafted than the row that wants most tokens can use.
        vocabulary: number of tokens n.
        measure: whether to compute entropies, overlaps and expected acceptance.
        ruled: whether rows have rules of their own.
    """

    method: Method
    prf: Prf | None
    verify: Verify
    sampling: Sampling
    target: AnyFeeder
    draft: AnyFeeder | None
    lookahead: int
    vocabulary: int
    measure: bool
    ruled: bool = False

    @torch.inference_mode()
    def round(self, rows: Sequence[Row]) -> None:
        """One step of every row: rows[b] has slot b in both models."""
        levels, drafted = self._draft_levels(rows) if self.draft else self._look_up(rows)
        depth = len(levels)
        candidates = _host([level.candidates for level in levels], len(rows), self.method.width)
        drafts = candidates[:, :, 0]
        contexts, masked = _contexts(rows, drafts)
        logits = self._target_logits(rows, candidates)
        main = logits[:, : depth + 1]
        p = self._law(rows, main, drafts, 0)
        verdicts = self._verdicts(p, levels, drafted)
        count = verdicts.accepted
        last, rank = self._last_tokens(rows, p, levels, drafted, verdicts, contexts, masked)
        emitted = np.concatenate([drafts, last[:, None]], axis=1)
        emitted[np.arange(len(rows)), count] = last
        log_p = self._log_probabilities(p, main, emitted)
        measured = self._measures(p, levels, np.minimum(drafted, [row.wanted for row in rows]))
        for b, row in enumerate(rows):
            a = int(count[b])
            step = Step(
                tokens=[int(token) for token in emitted[b, : a + 1]],
                sources="d" * a + ("b" if a == drafted[b] else "r" if rank[b] < 0 else "d"),
                contexts=[context.tobytes() for context in contexts[b, : a + 1]],
                masked=masked[b, : a + 1].tolist(),
                spent=self._spent(contexts[b], int(drafted[b])),
                accepted=a,
                log_p=log_p[0][b, : a + 1].tolist(),
                log_p_model=log_p[1][b, : a + 1].tolist(),
                entropy=measured["entropy"][b, : a + 1].tolist(),
                overlap=_padded(measured["overlap"][b, : min(a + 1, drafted[b])], a + 1),
                efficiency=_padded(measured["efficiency"][b, : min(a + 1, drafted[b])], a + 1),
                expected=tuple(measured["expected"][b].tolist()),
            )
            if rank[b] >= 0:
                node = depth + 1 + a * (self.method.width - 1) + int(rank[b])
                step = self._after_sibling(row, b, step, logits[b : b + 1, node : node + 1])
            length = row.length
            row.emit(step)
            self.target.filled[b] = length + a
            if self.draft is not None:
                self.draft.filled[b] = length + min(a, depth - 1)

    def _law(self, rows: Sequence[Row], logits: torch.Tensor, drafts: np.ndarray, first: int) -> torch.Tensor:
        """Laws [rows, m, n] behind the texts and their first `first`, `first` + 1, ... drafts."""
        if self.ruled:
            behind = [line[: first + logits.shape[1] - 1] for line in drafts.tolist()]
            texts = [row.tokens for row in rows]
            logits = processed([row.rules for row in rows], texts, behind, rows[0].eos, logits)
        return self.sampling.probabilities(logits)

    def _draft_levels(self, rows: Sequence[Row]) -> tuple[list[Level], np.ndarray]:
        """Draft the look-ahead, one level at a time; and how many drafts every row has."""
        assert self.draft is not None
        levels: list[Level] = []
        drafts = np.zeros((len(rows), 0), dtype=np.int64)
        for level in range(min(self.lookahead, max(row.wanted for row in rows))):
            if level == 0:
                tokens, where = _unfed(rows, self.draft.filled)
            else:
                tokens, where = drafts[:, -1:], _places(rows, level)[:, -1:]
            # Laws of both are held against each other, where those of the target are.
            logits = self.draft.logits(0, tokens, where, 1).to(self.target.device)
            law = self._law(rows, logits, drafts, level)[:, 0]
            contexts, masked = _contexts(rows, drafts)
            randomness = self._randomness(rows, level, contexts[:, level], masked[:, level])
            candidates = self.method.candidates(law, randomness)
            levels.append(Level(law, candidates, randomness))
            drafts = np.concatenate([drafts, candidates[:, :1].cpu().numpy()], axis=1)
        drafted = np.full(len(rows), len(levels))
        if self.verify is Verify.BLOCK:
            # What a neighbour drafts beyond the end of this text must not decide about it.
            drafted = np.minimum(drafted, [row.wanted for row in rows])
        return levels, drafted

    def _look_up(self, rows: Sequence[Row]) -> tuple[list[Level], np.ndarray]:
        """The same with drafts that stood in the text before, of which rows may have none."""
        found = [
            row.index.following(min(self.lookahead, row.wanted)) if row.index is not None else ()
            for row in rows
        ]
        drafted = np.array([len(tokens) for tokens in found])
        depth, device = int(drafted.max()), law_device(self.target.device)
        # Where one row has fewer than another, any token: it is never looked at.
        drafts = np.zeros((len(rows), depth), dtype=np.int64)
        for line, tokens in zip(drafts, found, strict=True):
            line[: len(tokens)] = tokens
        levels = []
        contexts, masked = _contexts(rows, drafts)
        for level in range(depth):
            candidates = torch.from_numpy(drafts[:, level : level + 1]).to(device)
            law = torch.zeros((len(rows), self.vocabulary), dtype=torch.float64, device=device)
            law.scatter_(1, candidates, 1.0)
            randomness = self._randomness(rows, level, contexts[:, level], masked[:, level])
            levels.append(Level(law, candidates, randomness))
        return levels, drafted

    def _verdicts(self, p: torch.Tensor, levels: list[Level], drafted: np.ndarray) -> _Verdicts:
        """What becomes of the drafts of every level."""
        targets = [p[:, k] for k in range(len(levels))]
        if not levels:
            return _Verdicts(targets, [], np.zeros_like(drafted))
        depth = torch.from_numpy(drafted).to(p.device)
        if self.verify is Verify.BLOCK:
            laws, drafts = [level.law for level in levels], [level.draft for level in levels]
            targets = block(targets, laws, drafts, depth).targets
            numbers = [level.randomness for level in levels]
            accepted, settled = settle_block(self.method, targets, laws, drafts, numbers, depth)
            return _Verdicts(targets, settled, accepted.cpu().numpy())
        settled = []
        left = depth > 0
        for k, (target, level) in enumerate(zip(targets, levels, strict=True)):
            settled.append(self.method.settles(target, level.law, level.draft, level.randomness))
            left &= settled[-1].accepted & (depth > k + 1)
            # A device would have to be waited for to know.
            if left.device.type == "cpu" and not bool(left.any()):
                break
        passed = torch.stack([level.accepted for level in settled], 1).cumprod(1).sum(1)
        return _Verdicts(targets, settled, torch.minimum(passed, depth).cpu().numpy())

    def _spent(self, contexts: np.ndarray, depth: int) -> list[bytes]:
        """Contexts whose randomness has decided something, emitted or not: all of a block, where which prefix
        is emitted depends on what follows it."""
        return [c.tobytes() for c in contexts[:depth]] if self.verify is Verify.BLOCK else []

    def _target_logits(self, rows: Sequence[Row], candidates: np.ndarray) -> torch.Tensor:
        """Logits after the last token, after every draft, and after every other candidate of a tree.

        Returns [rows, 1 + k + k (width - 1), n] for k levels; the other candidates in order of level, then
        rank.
        """
        k, others = candidates.shape[1], self.method.width - 1
        places = _places(rows, k)
        old, old_where = _unfed(rows, self.target.filled)
        tokens = np.concatenate([old, candidates[:, :, 0]], axis=1)
        where = np.concatenate([old_where, places], axis=1)
        if others == 0:
            return self.target.logits(0, tokens, where, k + 1)
        # Side branches lie behind the main branch; each sees the text, the main branch before it, itself.
        level = np.repeat(np.arange(k), others)
        slots = np.concatenate([where, places[:, -1:] + 1 + np.arange(k * others)], axis=1)
        reads = np.arange(int(slots.max()) + 1) <= where[..., None]
        branch = (np.arange(reads.shape[-1]) < places[:, level, None]) | (
            np.arange(reads.shape[-1]) == slots[:, -k * others :, None]
        )
        return self.target.logits(
            0,
            np.concatenate([tokens, candidates[:, :, 1:].reshape(len(rows), -1)], axis=1),
            np.concatenate([where, places[:, level]], axis=1),
            1 + k + k * others,
            slots=slots,
            reads=np.concatenate([reads, branch], axis=1),
        )

    def _last_tokens(
        self,
        rows: Sequence[Row],
        p: torch.Tensor,
        levels: list[Level],
        drafted: np.ndarray,
        verdicts: _Verdicts,
        contexts: np.ndarray,
        masked: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The token after the accepted drafts, and which other candidate of a tree it is (-1 if none)."""
        last, rank = np.zeros(len(rows), dtype=np.int64), np.full(len(rows), -1)
        count, whole = verdicts.accepted, verdicts.accepted == drafted

        def some(values: torch.Tensor, here: np.ndarray) -> torch.Tensor:
            return values if len(here) == len(rows) else values[torch.from_numpy(here).to(p.device)]

        for k in np.unique(count[whole]).tolist():
            here = np.flatnonzero(whole & (count == k))
            randomness = self._randomness([rows[int(b)] for b in here], k, contexts[here, k], masked[here, k])
            last[here] = self.method.bonus(some(p[:, k], here), randomness).cpu().numpy()
        for k in np.unique(count[~whole]).tolist():
            here = np.flatnonzero(~whole & (count == k))
            replacement = verdicts.settled[k].replacement
            if replacement is not None:
                last[here] = some(replacement, here).cpu().numpy()
                continue
            level = levels[k]
            verdict = self.method.after_rejection(
                some(verdicts.targets[k], here),
                some(level.law, here),
                some(level.draft, here),
                level.randomness.take(here),
            )
            last[here] = verdict.token.cpu().numpy()
            chosen = verdict.rank.cpu().numpy()
            rank[here] = np.where(chosen < self.method.width, chosen - 1, -1)
        return last, rank

    def _after_sibling(self, row: Row, b: int, step: Step, logits: torch.Tensor) -> Step:
        """Another candidate of a tree was accepted: one more token from the target behind it."""
        tokens = np.array([step.tokens])
        p = self._law([row], logits, tokens, len(step.tokens))
        contexts, masked = _contexts([row], tokens)
        randomness = self._randomness([row], len(step.tokens), contexts[:, -1], masked[:, -1])
        token = self.method.bonus(p[:, 0], randomness).cpu().numpy()
        log_p, log_p_model = self._log_probabilities(p, logits, token[:, None])
        return Step(
            tokens=[*step.tokens, int(token[0])],
            sources=step.sources + "b",
            contexts=[*step.contexts, contexts[0, -1].tobytes()],
            masked=[*step.masked, bool(masked[0, -1])],
            spent=step.spent,
            accepted=step.accepted + 1,
            log_p=[*step.log_p, float(log_p[0, 0])],
            log_p_model=[*step.log_p_model, float(log_p_model[0, 0])],
            entropy=[*step.entropy, *(entropy(p)[0].tolist() if self.measure else [])],
            overlap=[*step.overlap, *([None] if self.measure else [])],
            efficiency=[*step.efficiency, *([None] if self.measure else [])],
        )

    def _randomness(
        self, rows: Sequence[Row], ahead: int, contexts: np.ndarray, masked: np.ndarray
    ) -> KeyedRandomness:
        """Random numbers of the positions that lie `ahead` tokens behind the texts."""
        # What a block decided at a position says something of its numbers, so that the next visit has others.
        blocks = self.verify is Verify.BLOCK
        sources = [
            cache(partial(row.randomness.at, len(row.tokens) + ahead, row.steps if blocks else 0))
            for row in rows
        ]
        device = law_device(self.target.device)
        return KeyedRandomness(self.prf, contexts, masked, sources, vocabulary_ids(self.vocabulary, device))

    def _log_probabilities(
        self, p: torch.Tensor, logits: torch.Tensor, tokens: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """log P(token) as sampled, and at temperature 1 with nothing cut: [rows, m] each."""
        index = torch.from_numpy(tokens).to(p.device)[..., None]
        sampled = torch.log(torch.gather(p, -1, index)[..., 0]).cpu().numpy()
        if self.sampling.plain and not self.ruled:
            return sampled, sampled
        logits = on_law_device(logits)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        plain = torch.gather(logits, -1, index)[..., 0] - torch.logsumexp(logits, dim=-1)
        return sampled, plain.double().cpu().numpy()

    def _measures(self, p: torch.Tensor, levels: list[Level], drafted: np.ndarray) -> dict[str, np.ndarray]:
        """Entropy [rows, K+1], overlap and expected acceptance [rows, K], and how many drafts are accepted in
        the mean, one by one and as a block, [rows, 2]; empty unless asked for."""
        none = np.zeros((len(p), 0))
        if not self.measure:
            return {"entropy": none, "overlap": none, "efficiency": none, "expected": none}
        overlaps, efficiencies = [], []
        for k, level in enumerate(levels):
            # A block accepts with probabilities of the whole.
            blocks = self.verify is Verify.BLOCK
            expected = None if blocks else self.method.efficiency(p[:, k], level.law)
            overlaps.append(overlap(p[:, k], level.law))
            efficiencies.append(torch.full_like(overlaps[-1], torch.nan) if expected is None else expected)
        return {
            "entropy": entropy(p).cpu().numpy(),
            "overlap": torch.stack(overlaps, 1).cpu().numpy() if levels else none,
            "efficiency": torch.stack(efficiencies, 1).cpu().numpy() if levels else none,
            "expected": self._expected(p, levels, drafted),
        }

    def _expected(self, p: torch.Tensor, levels: list[Level], drafted: np.ndarray) -> np.ndarray:
        """`expected_accepted`, [rows, 2]; [rows, 0] of trees and other methods that do not follow it."""
        if not self.method.full_efficiency:
            return np.zeros((len(p), 0))
        if not levels:
            return np.zeros((len(p), 2))
        return torch.stack([*self._means(p, levels, drafted)], dim=1).cpu().numpy()

    def _means(self, p: torch.Tensor, levels: list[Level], drafted: np.ndarray) -> ExpectedAccepted:
        """`expected_accepted` of these levels, one at least."""
        return expected_accepted(
            [p[:, k] for k in range(len(levels))],
            [level.law for level in levels],
            [level.draft for level in levels],
            torch.from_numpy(drafted).to(p.device),
        )


def _padded(values: np.ndarray, count: int) -> list[float | None]:
    """The values, None where there is none, and None for the bonus token that follows them."""
    return [None if math.isnan(v) else v for v in values.tolist()] + [None] * (count - len(values))


def _host(levels: list[torch.Tensor], rows: int, width: int) -> np.ndarray:
    """Candidates of all levels: [rows, K, width]."""
    if not levels:
        return np.zeros((rows, 0, width), dtype=np.int64)
    return torch.stack(levels, dim=1).cpu().numpy()


def _lengths(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row.length for row in rows])


def _places(rows: Sequence[Row], count: int) -> np.ndarray:
    """Positions of the next `count` tokens, [rows, count].

    A row that wants fewer than its neighbours stays at the last position of its longest text: what is drafted
    there is never used, and reaches beyond no context window.
    """
    ends = np.array([row.length + row.wanted for row in rows])
    return np.minimum(_lengths(rows)[:, None] + np.arange(count), ends[:, None] - 1)


def _unfed(rows: Sequence[Row], filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that a model has not seen yet, and their positions: [rows, m] each.

    m is what the row that lags most needs, or a little more; the others are fed their last tokens once
    more, which writes the same entries again.
    """
    lengths = _lengths(rows)
    m = int((lengths - filled[: len(rows)]).max())
    if m > 1 and len(rows) * m < _FEWEST_FED:
        m = _FEWEST_FED
    tokens = np.array([row.last(m) for row in rows], dtype=np.int64)
    return tokens, np.maximum(lengths[:, None] - m + np.arange(m), 0)


def _contexts(rows: Sequence[Row], drafts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contexts [rows, m + 1, width] of the next positions if drafts [rows, m] are emitted, and masks."""
    contexts = contexts_ahead([row.window for row in rows], drafts)
    return contexts, np.array([row.window.masked(c) for row, c in zip(rows, contexts, strict=True)])
