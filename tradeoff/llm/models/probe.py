"""Does the engine draw from the law of this model? Asked before text is drawn from one that nobody tried.

The engine feeds rows of unequal lengths, takes tokens back, and verifies trees in one pass, in slots of
one cache or, where that cannot be rolled back, with a cache and copies of it for every row (`make_feeder`).
A model that counts slots of its cache for positions, looks at the other rows of a batch, or changes beyond
some length would answer with another law than its own, and nothing would tell. So each of these ways is
compared with plain passes over the same tokens; what differs beyond rounding is refused, with what still
works.

Two models are asked. A small one of the same configuration (few layers, few tokens, all lengths divided by
one factor, random weights in float32) tells about structure, and about texts beyond every length that the
configuration names. The model itself, in the dtype that it was loaded in, tells about the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from tradeoff.errors import FileError
from tradeoff.files import replacing
from tradeoff.llm.generation.slots import AnyFeeder, Feeder, make_feeder
from tradeoff.llm.law_device import on_law_device
from tradeoff.llm.models.builtin import cache_folder
from tradeoff.llm.models.configurations import model_features, named_lengths, small_model
from tradeoff.llm.models.huggingface import (
    PreTrainedModel,
    growing_cache,
    longest_context,
    next_logits,
    text_config,
    unrollable_layers,
)
from tradeoff.llm.models.placement import input_device
from tradeoff.llm.models.quantised import quantisation

__all__ = ["Findings", "findings", "probe"]

#: Largest allowed difference of a log-probability in float32, nats.
TOLERANCE = 1e-3
#: Log-probabilities below this are not compared: no token of such a probability is ever drawn.
_LEAST = -16.0
#: Rounding errors of a dtype that models with recurrent state or quantised weights are granted.
_ROUNDINGS = 8
#: Changed whenever more is asked, or the engine computes in another way: what was remembered is asked again.
_QUESTIONS = 3
#: Tokens of the longest text that is probed.
_LONGEST = 512
#: The smallest named length becomes this long in the small model.
_SHORTEST = 32


@dataclass(frozen=True)
class Findings:
    """What a model does right under the engine; each a reason why not, or None.

    Attributes:
        alone: why not even one text can be generated.
        back: why tokens cannot be taken back, as speculation does.
        rows: why texts of unequal lengths cannot be generated side by side.
        tree: why a tree of candidates cannot be verified in one pass.
        limit: positions up to which all of this holds; None: as far as the model itself goes.
    """

    alone: str | None = None
    back: str | None = None
    rows: str | None = None
    tree: str | None = None
    limit: int | None = None

    def check(self, name: str, *, batch: int, drafts: bool, width: int) -> None:
        """Refuse what the model does wrong.

        Args:
            name: of the model, for the message.
            batch: texts side by side.
            drafts: whether tokens are drafted, and taken back when they are not accepted.
            width: candidates a position.

        Raises:
            ValueError: with what differs, and what still works.
        """
        if self.alone is not None:
            raise ValueError(f"{name} cannot be run here: {self.alone}; use another model family")
        if self.back is not None and drafts:
            raise ValueError(f"{name} cannot be speculated with: {self.back}; use the method basic")
        if self.tree is not None and width > 1:
            raise ValueError(
                f"{name} cannot verify a tree of candidates: {self.tree}; use a method without a tree, such "
                "as joint-race"
            )
        if self.rows is not None and batch > 1:
            raise ValueError(f"{name} cannot generate {batch} texts side by side: {self.rows}; use --batch 1")


def findings(model: PreTrainedModel, report: Callable[[str], None] = lambda _: None) -> Findings:
    """What `probe` finds, asked once per configuration, dtype, device and versions.

    Nothing is asked of families and features in the table of verified ones (`docs/families.md`). What was
    found is remembered in the cache folder; where that cannot be written, it is asked again next time.

    Args:
        model: as for `probe`.
        report: called with a line for the user before a probe.

    Raises:
        ValueError: as `probe`.
    """
    if _identity(model) in _verified():
        return Findings()
    memory = cache_folder() / "probes" / f"{_key(model)}.json"
    remembered = _recall(memory)
    if remembered is None:
        report(f"checking {type(model).__name__}, which is not in the table of verified models (once) ...")
        remembered = probe(model)
        _remember(memory, remembered)
    return remembered


def probe(model: PreTrainedModel) -> Findings:
    """Run a model, and a small one of its configuration, in every way the engine does, against plain passes.

    Args:
        model: in evaluation mode, for which `selects_positions` holds.

    Raises:
        ValueError: if no small model of its configuration can be made.
    """
    try:
        small = small_model(model, _SHORTEST)
    except Exception as error:  # whatever a class makes of a configuration that is not its own
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{type(model).__name__} cannot be checked: no small model of its configuration can be made "
            f"({type(error).__name__}: {reason})"
        ) from error
    in_small, as_loaded = _Asked(small, TOLERANCE), _Asked(model, max(TOLERANCE, 8 * _noise(model)))
    reasons: dict[str, str | None] = {}
    for way in ("alone", "back", "rows", "tree"):
        reasons[way] = getattr(in_small, way)() or getattr(as_loaded, way)()
        if reasons["alone"] is not None:
            break
    return Findings(
        **reasons, limit=None if reasons["alone"] else _limit(model, in_small, reasons["rows"] is None)
    )


class _Asked:
    """One model, and the ways in which the engine uses it; each answers None, or why it is not to be had.

    Args:
        model: what is asked.
        tolerance: largest allowed difference of a log-probability, nats.
    """

    def __init__(self, model: PreTrainedModel, tolerance: float):
        self.model, self._tolerance = model, tolerance
        self._n = int(text_config(model).vocab_size)
        self._rng = np.random.default_rng(0)

    def alone(self) -> str | None:
        """One text, in pieces as prompts and drafts come; then one that begins with a single token."""
        return self._reason(lambda: max(self.pieces(12, (5, 1, 4, 2)), self.pieces(6, (1, 1, 4))))

    def back(self) -> str | None:
        """Tokens are taken back, and others put in their place."""

        def differs() -> float:
            feeder, text, other = self._feeder(1), self.text(9), self.text(3)
            self._feed(feeder, 0, text, 0)
            return self._off(self._feed(feeder, 0, other, 4), np.concatenate([text[:4], other]))

        return self._reason(differs)

    def rows(self) -> str | None:
        """Texts of unequal lengths side by side; one leaves, and the last takes its place."""

        def differs() -> float:
            texts = [self.text(length) for length in (3, 11, 6)]
            feeder, worst = self._together(texts)
            feeder.filled[:] = [len(text) for text in texts]
            feeder.move(2, 0)
            texts = [np.append(texts[2], self.text(1)), np.append(texts[1], self.text(1))]
            where = np.array([[len(text) - 1] for text in texts])
            logits = feeder.logits(0, np.array([text[-1:] for text in texts]), where, 1)
            return max(worst, *(self._off(logits[b], text) for b, text in enumerate(texts)))

        return self._reason(differs)

    def tree(self) -> str | None:
        """One level of candidates: the first two tokens of the main branch, and a sibling of the first."""
        if not isinstance(self._feeder(1), Feeder):
            return "it keeps state that cannot branch"

        def differs() -> float:
            feeder, text, new = self._feeder(1), self.text(6), self.text(3)
            self._feed(feeder, 0, text, 0)
            reads = np.zeros((1, 3, 9), dtype=bool)
            reads[0, :, :6] = True
            reads[0, [0, 1, 1, 2], [6, 6, 7, 8]] = True
            where, slots = np.array([[6, 7, 6]]), np.array([[6, 7, 8]])
            logits = feeder.logits(0, new[None], where, 3, slots=slots, reads=reads)[0]
            main = self._off(logits[:2], np.concatenate([text, new[:2]]))
            return max(main, self._off(logits[2:], np.append(text, new[2])))

        return self._reason(differs)

    def beyond(self, length: int, rows: bool) -> str | None:
        """A text that grows beyond `length` positions, and if `rows` a short one beside it."""

        def differs() -> float:
            worst = self.pieces(length + 6, (length - 4, 1, 4, 1, 3, 1))
            if rows:
                worst = max(worst, self._together([self.text(5), self.text(length + 2)])[1])
            return worst

        return self._reason(differs)

    def pieces(self, length: int, sizes: Sequence[int]) -> float:
        """How far a text that is fed in pieces is off."""
        feeder, text, start, worst = self._feeder(1), self.text(length), 0, 0.0
        for size in sizes:
            logits = self._feed(feeder, 0, text[start : start + size], start)
            start += size
            worst = max(worst, self._off(logits, text[:start]))
        return worst

    def text(self, length: int) -> np.ndarray:
        """Random tokens."""
        return self._rng.integers(3, self._n, length)

    def _together(self, texts: Sequence[np.ndarray]) -> tuple[AnyFeeder, float]:
        """Texts fed as the engine admits prompts, then their last tokens: the feeder, and how far off."""
        feeder = self._feeder(len(texts))
        counts = [len(text) - 1 for text in texts]
        tokens = np.zeros((len(texts), max(counts)), dtype=np.int64)
        for line, text, count in zip(tokens, texts, counts, strict=True):
            line[:count] = text[:-1]
        feeder.logits(0, tokens, np.broadcast_to(np.arange(max(counts)), tokens.shape).copy(), 1)
        feeder.filled[:] = counts
        logits = feeder.logits(0, np.array([text[-1:] for text in texts]), np.array(counts)[:, None], 1)
        return feeder, max(self._off(logits[b], text) for b, text in enumerate(texts))

    def _feeder(self, slots: int) -> AnyFeeder:
        return make_feeder(self.model, slots, self._n)

    def _feed(self, feeder: AnyFeeder, row: int, tokens: np.ndarray, start: int) -> torch.Tensor:
        """Logits after each of the tokens, which go to positions from `start` on: [tokens, n]."""
        feeder.filled[row] = start + len(tokens)
        where = np.arange(start, start + len(tokens))[None]
        return feeder.logits(row, tokens[None], where, len(tokens))[0]

    @torch.inference_mode()
    def _off(self, logits: torch.Tensor, text: np.ndarray) -> float:
        """Largest difference of the log-probabilities after the last tokens of a text from a plain pass."""
        ids = torch.from_numpy(text)[None].to(input_device(self.model))
        return _difference(logits, next_logits(self.model, ids, len(logits))[0, :, : self._n])

    def _reason(self, differs: Callable[[], float]) -> str | None:
        try:
            off = differs()
        except Exception as error:  # a forward pass that was written for other masks may raise anything
            reason = (str(error).splitlines() or [""])[0]
            return f"its forward pass fails ({type(error).__name__}: {reason})"
        # Not `off > tolerance`: a NaN is as wrong as can be.
        return None if off <= self._tolerance else f"log P is off by {off:.2g} nats"


def _identity(model: PreTrainedModel) -> tuple[str, ...]:
    return (str(text_config(model).model_type), *model_features(model))


@lru_cache
def _verified() -> frozenset[tuple[str, ...]]:
    """Families with their features for which every way was found right under this release of Transformers."""
    table = json.loads((files("tradeoff") / "data" / "families.json").read_text(encoding="utf-8"))
    release = ".".join(version("transformers").split(".")[:2])
    rows = [row for tested, rows in table.items() for row in rows if tested.startswith(f"{release}.")]
    return frozenset((row["family"], *row["features"]) for row in rows if not any(row["findings"].values()))


def _key(model: PreTrainedModel) -> str:
    settings = {name: str(value) for name, value in vars(text_config(model)).items()}
    settings.pop("_name_or_path", None)
    about = [_QUESTIONS, version("transformers"), version("torch"), type(model).__name__, settings]
    about += [model_features(model), str(model.dtype), input_device(model).type]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


def _recall(memory: Path) -> Findings | None:
    try:
        return Findings(**json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _remember(memory: Path, found: Findings) -> None:
    # A probe takes seconds: a cache that cannot be written costs them again, and nothing else.
    with suppress(OSError, FileError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        with replacing(memory) as temporary:
            temporary.write_text(json.dumps(asdict(found)), encoding="utf-8")


def _limit(model: PreTrainedModel, small: _Asked, rows: bool) -> int | None:
    """The shortest named length of `model` beyond which the small one is wrong, or which is out of reach."""
    reach = longest_context(small.model)
    lengths = named_lengths(text_config(model))
    for name, length in sorted(named_lengths(text_config(small.model)).items(), key=lambda item: item[1]):
        if reach is not None and length >= reach:
            break
        if length + 8 > _LONGEST or small.beyond(length, rows) is not None:
            return lengths[name]
    return None


@torch.inference_mode()
def _noise(model: PreTrainedModel) -> float:
    """What rounding alone does to log-probabilities: one pass against two with Transformers' own cache."""
    n = int(text_config(model).vocab_size)
    ids = torch.from_numpy(np.random.default_rng(1).integers(3, n, (1, 12))).to(input_device(model))
    if unrollable_layers(model) or quantisation(text_config(model)):
        # Such a cache need not go on rightly at all, and some quantised weights read other tokens along, so
        # that differences say nothing of rounding.
        return _ROUNDINGS * torch.finfo(model.dtype).eps
    try:
        cache = growing_cache(model)
        halves = [next_logits(model, part, 6, cache=cache) for part in (ids[:, :6], ids[:, 6:])]
        return _difference(torch.cat(halves, dim=1)[0], next_logits(model, ids, 12)[0])
    except Exception:  # what is amiss will be named by the questions that are asked
        return 0.0


def _difference(logits: torch.Tensor, reference: torch.Tensor) -> float:
    found, wanted = (torch.log_softmax(on_law_device(x).double(), dim=-1) for x in (logits, reference))
    return float((found - wanted).abs()[wanted >= _LEAST].max())
