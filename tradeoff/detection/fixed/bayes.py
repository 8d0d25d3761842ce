"""Bayesian detectors of SynthID text: likelihoods of tournament bits, fitted to watermarked training texts.

The likelihood of the bits g_1 .. g_m of a watermarked token (Eq. 16-17, appendix E of the paper; Dathathri et
al. 2024): with psi_l the number of distinct candidates in round l,

    P(g_l | g_<l) = 1/2 (1 + (g_l - 1/2) P(psi_l = 2 | g_<l)),
    P(psi_l = 2 | g_<l) = sigmoid(beta_l + sum_{j < l} delta_lj g_j),

and 1/2 without a watermark. The score of a token is the logarithm of its likelihood ratio. What is fitted
maximises the likelihood of watermarked texts; ratios of the network's mixture are divided by their mean over
simulated fair bits, so that they have mean 1 without a watermark. Why: docs/theory/tournaments.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from tradeoff.decoders import SynthID
from tradeoff.detection.detector import Exactness, Readings, bit_readings
from tradeoff.detection.evidence import Evidence
from tradeoff.detection.tails import LatticeSum
from tradeoff.errors import FileError
from tradeoff.files import replacing
from tradeoff.kernels import Method
from tradeoff.keyed import Stream

__all__ = ["BayesDetector", "Mixing", "Training", "fit_bayes", "load_bayes", "save_bayes"]

#: How two streams are combined: "single" reads one, "layer" mixes every round (the paper's Bayes-Prior),
#: "token" mixes whole tokens (one source a token), "mlp" lets a network and the coin weigh the token, and
#: "oracle" reads the stream that drew the token, as a record tells: a bound, no detector.
Mixing = Literal["single", "layer", "token", "mlp", "oracle"]

_HIDDEN = 64
_NULL_TOKENS = 200_000
#: Simulated tokens over which the ratios of the network's mixture are normalised after every epoch.
_NORM_TOKENS = 50_000
_FORMAT = "tradeoff-bayes-v1"


@dataclass(frozen=True)
class Training:
    """How a detector is fitted.

    Args:
        seed: of the split, the initial weights and the order of batches.
        epochs: at most.
        patience: epochs without a better validation likelihood after which fitting stops; the best
            weights are restored.
        validation: share of the training texts that only decide when to stop.
        learning_rate, weight_decay: of Adam; the decay acts on delta and on the network.
        batch: tokens a step.
    """

    seed: int = 0
    epochs: int = 200
    patience: int = 15
    validation: float = 0.2
    learning_rate: float = 0.01
    weight_decay: float = 1e-3
    batch: int = 1024


class _Model(nn.Module):
    """beta [m], delta [m, m] below the diagonal, and how streams are mixed."""

    beta: nn.Parameter
    delta: nn.Parameter
    share: torch.Tensor
    log_norm: torch.Tensor | None

    def __init__(self, rounds: int, mixing: Mixing, share: float):
        super().__init__()
        self.mixing = mixing
        self.beta = nn.Parameter(torch.linspace(0.0, -3.0, rounds, dtype=torch.float64))
        self.delta = nn.Parameter(torch.zeros(rounds, rounds, dtype=torch.float64))
        self.register_buffer("share", torch.tensor(share, dtype=torch.float64))
        self.network = (
            nn.Sequential(
                nn.Linear(2 * rounds, _HIDDEN),
                nn.ReLU(),
                nn.Linear(_HIDDEN, _HIDDEN),
                nn.ReLU(),
                nn.Linear(_HIDDEN, 1),
            ).double()
            if mixing == "mlp"
            else None
        )
        self.scale = nn.Parameter(torch.tensor(4.0, dtype=torch.float64)) if mixing == "mlp" else None
        self.register_buffer("log_norm", torch.tensor(0.0, dtype=torch.float64) if mixing == "mlp" else None)

    def rounds_ratio(self, bits: torch.Tensor) -> torch.Tensor:
        """Likelihood ratio of every round: [t, m] -> [t, m]."""
        two = torch.sigmoid(self.beta + bits @ torch.tril(self.delta, -1).T)
        return 1 + (bits - 0.5) * two

    def forward(self, draft: torch.Tensor, target: torch.Tensor, coin: torch.Tensor) -> torch.Tensor:
        """log likelihood ratio of every token: [t]."""
        first = self.rounds_ratio(draft)
        if self.mixing in ("single", "oracle"):
            return first.log().sum(-1)
        second = self.rounds_ratio(target)
        if self.mixing == "layer":
            return (self.share * first + (1 - self.share) * second).log().sum(-1)
        both = torch.stack([first.log().sum(-1), second.log().sum(-1)])
        if self.network is None or self.scale is None or self.log_norm is None:
            weights = torch.stack([self.share.log(), torch.log1p(-self.share)])[:, None]
        else:
            # P(drafted) = sigmoid(a (MLP(g_D, g_T) - u)): a small coin was more likely accepted.
            opinion = self.network(torch.cat([draft, target], -1) - 0.5)[:, 0]
            odds = nn.functional.softplus(self.scale) * (opinion - coin)
            weights = torch.stack([nn.functional.logsigmoid(odds), nn.functional.logsigmoid(-odds)])
            weights = weights - self.log_norm
        return torch.logsumexp(both + weights, 0)


class BayesDetector:
    """A fitted detector; see `fit_bayes` and `load_bayes`.

    Attributes:
        mixing: how streams are combined.
        rounds: m.
        streams: one stream, or the draft's and the target's.
        history: validation log likelihood a token, one an epoch, as it was fitted; empty when loaded.
    """

    null = "simulated: 200,000 tokens with fair bits, n-fold convolution"

    def __init__(
        self, model: _Model, rounds: int, streams: tuple[Stream, ...], history: Sequence[float] = ()
    ):
        self._model = model.eval()
        self.mixing, self.rounds, self.streams = model.mixing, rounds, streams
        self.history = tuple(history)

    def __repr__(self) -> str:
        return f"BayesDetector({self.name}, {self.rounds} rounds, {', '.join(self.streams)})"

    @property
    def id(self) -> str:
        """See `Detector.id`."""
        return "oracle" if self.mixing == "oracle" else f"bayes-{self.mixing}"

    @property
    def exactness(self) -> Exactness:
        """See `Detector.exactness`."""
        return Exactness.ORACLE if self.mixing == "oracle" else Exactness.SIMULATED

    @property
    def watermark(self) -> str:
        """The name of the watermark that it reads."""
        return f"synthid:{self.rounds}"

    def check_reads(self, method: Method) -> None:
        """Raise ValueError unless it reads what a method writes; methods without a watermark are controls."""
        streams, written, decoder = frozenset(self.streams), method.detection.streams, method.decoder
        if decoder.marks and (SynthID().traces.isdisjoint(decoder.traces) or streams != written):
            raise ValueError(
                f"detector={self.name!r} reads SynthID bits of the streams {_listed(streams)}, but "
                f"{method.name} with {decoder.name} draws from {_listed(written)}; use the detector that was "
                "fitted for it"
            )

    def readings(self, evidence: Evidence) -> Readings:
        """See `Detector.readings`."""
        return bit_readings(evidence, self.streams, self.rounds)

    @property
    def name(self) -> str:
        """As in tables."""
        return {
            "single": "Bayes",
            "layer": "Bayes-Prior (per layer)",
            "token": "Bayes-Prior (per token)",
            "mlp": "Bayes-MLP",
            "oracle": "oracle",
        }[self.mixing]

    def contributions(self, evidence: Evidence) -> np.ndarray:
        """See `Detector.contributions`: log likelihood ratios."""
        return self._scores(*_tensors(evidence, self.rounds, self.streams, self.mixing))

    def log_p(self, statistic: float, count: int) -> float:
        """See `Detector.log_p`."""
        log_p = self._law.log_sf(statistic, count)
        # Beyond all that was simulated Markov's inequality holds: a likelihood ratio has mean 1.
        return log_p if log_p > -math.inf else -statistic

    def threshold(self, count: int, fpr: float) -> float:
        """See `Detector.threshold`."""
        return self._law.threshold(math.log(fpr), count)

    @cached_property
    def _law(self) -> LatticeSum:
        scores = self._scores(*_unmarked(_NULL_TOKENS, self.rounds, np.random.default_rng(0)))
        return LatticeSum(scores, np.ones(len(scores)))

    @torch.no_grad()
    def _scores(self, draft: torch.Tensor, target: torch.Tensor, coin: torch.Tensor) -> np.ndarray:
        return self._model(draft, target, coin).numpy()


def fit_bayes(
    training: Sequence[Evidence],
    rounds: int,
    mixing: Mixing,
    *,
    streams: tuple[Stream, ...] | None = None,
    share: float = 0.5,
    settings: Training | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> BayesDetector:
    """Fit a Bayesian detector to watermarked training texts.

    Args:
        training: texts under their key; at least 2.
        rounds: m of the watermark.
        mixing: see `Mixing`.
        streams: default: one shared stream for "single", draft and target otherwise.
        share: share of tokens that are accepted drafts, for "layer" and "token".
        settings: of the optimisation; the same settings and texts give the same detector.
        progress: called with (epoch, validation log likelihood a token).

    Raises:
        ValueError: for fewer than 2 texts, or arguments out of range.
    """
    settings = settings or Training()
    if mixing not in get_args(Mixing):
        raise ValueError(f"mixing={mixing!r} is unknown; use one of {', '.join(get_args(Mixing))}")
    if not 0 < share < 1:
        raise ValueError(f"share={share} must be between 0 and 1: the share of tokens that are drafts")
    filled = [evidence for evidence in training if len(evidence)]
    if len(filled) < 2:
        raise ValueError(
            f"training holds {len(filled)} texts with tokens that count; at least 2 are needed, hundreds "
            "are better"
        )
    if streams is None:
        streams = (Stream.SHARED,) if mixing == "single" else (Stream.DRAFT, Stream.TARGET)
    rng = np.random.default_rng(settings.seed)
    order = rng.permutation(len(filled))
    held = min(max(1, round(settings.validation * len(filled))), len(filled) - 1)
    tensors = [_tensors(evidence, rounds, streams, mixing) for evidence in filled]
    kept = [tensors[i] for i in order[:held]]
    used = [tensors[i] for i in order[held:]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = _Model(rounds, mixing, share)
    history = _optimise(model, _joined(used), _joined(kept), settings, rng, progress)
    return BayesDetector(model, rounds, streams, history)


def _optimise(
    model: _Model,
    used: tuple[torch.Tensor, ...],
    kept: tuple[torch.Tensor, ...],
    settings: Training,
    rng: np.random.Generator,
    progress: Callable[[int, float], None] | None,
) -> list[float]:
    """Adam with early stopping; leaves the best weights in the model."""
    shrunk = [model.delta, *(model.network.parameters() if model.network else [])]
    free = [model.beta, *([model.scale] if model.scale is not None else [])]
    groups: list[dict[str, Any]] = [
        {"params": shrunk, "weight_decay": settings.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate)
    # Numbers of their own, so that the order of batches is the same for every mixing.
    null_rng = np.random.default_rng([settings.seed, 1])
    rounds = len(model.beta)
    unmarked = _unmarked(_NORM_TOKENS, rounds, null_rng) if model.network else None

    def validate() -> float:
        with torch.no_grad():
            return float(model(*kept).mean() - (0.0 if unmarked is None else _log_mean(model(*unmarked))))

    best, since = validate(), 0
    # Copies: the state dictionary itself would go on changing with the weights.
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    history = [best]
    for epoch in range(settings.epochs):
        order = torch.from_numpy(rng.permutation(len(used[0])))
        for first in range(0, len(order), settings.batch):
            rows = order[first : first + settings.batch]
            loss = -model(*(tensor[rows] for tensor in used)).mean()
            if model.network:
                loss = loss + _log_mean(model(*_unmarked(settings.batch, rounds, null_rng)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        history.append(validate())
        if progress is not None:
            progress(epoch + 1, history[-1])
        if history[-1] > best:
            best, since = history[-1], 0
            weights = {name: value.clone() for name, value in model.state_dict().items()}
        else:
            since += 1
            if since >= settings.patience:
                break
    model.load_state_dict(weights)
    if unmarked is not None and model.log_norm is not None:
        with torch.no_grad():
            model.log_norm += _log_mean(model(*unmarked))
    return history


def _unmarked(tokens: int, rounds: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Bits of two streams [tokens, rounds] and coins [tokens] without a watermark."""
    draft, target = (torch.from_numpy(rng.integers(0, 2, (tokens, rounds)).astype(float)) for _ in range(2))
    return draft, target, torch.from_numpy(rng.random(tokens))


def _log_mean(log_ratios: torch.Tensor) -> torch.Tensor:
    """log of the mean of the ratios."""
    return torch.logsumexp(log_ratios, 0) - math.log(len(log_ratios))


def save_bayes(detector: BayesDetector, path: Path) -> None:
    """Write a fitted detector as safetensors.

    Raises:
        FileError: if the file cannot be written.
    """
    about = {
        "format": _FORMAT,
        "mixing": detector.mixing,
        "rounds": detector.rounds,
        "streams": [str(stream) for stream in detector.streams],
    }
    try:
        with replacing(path) as temporary:
            save_file(detector._model.state_dict(), temporary, {"tradeoff": json.dumps(about)})
    except SafetensorError as error:
        raise FileError(f"{path} cannot be written ({error}); choose another place") from error


def load_bayes(path: Path) -> BayesDetector:
    """Read a fitted detector.

    Raises:
        FileError: if the file is missing or holds something else.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["tradeoff"])
            if about["format"] != _FORMAT:
                raise ValueError(f"its format is {about['format']}")
            if about["mixing"] not in get_args(Mixing):
                raise ValueError(f"its mixing is {about['mixing']!r}")
            model = _Model(int(about["rounds"]), about["mixing"], 0.5)
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
            streams = tuple(Stream(name) for name in about["streams"])
            return BayesDetector(model, int(about["rounds"]), streams)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise FileError(
            f"{path} is not a fitted detector ({error}); fit one with `python -m paper_repro`"
        ) from error


def _tensors(
    evidence: Evidence, rounds: int, streams: tuple[Stream, ...], mixing: Mixing
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Bits of the first and of the last stream [t, m], and coins [t], as float64."""
    bits = [evidence.bits(stream, rounds) for stream in streams]
    if mixing == "oracle":
        bits = [np.where(evidence.drafted[:, None], bits[0], bits[-1])]
    first, last = (torch.from_numpy(part.astype(float)) for part in (bits[0], bits[-1]))
    coin = evidence.coin() if mixing == "mlp" else np.zeros(len(evidence))
    return first, last, torch.from_numpy(coin)


def _joined(texts: Sequence[tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.cat(parts) for parts in zip(*texts, strict=True))


def _listed(streams: frozenset[Stream]) -> str:
    return ", ".join(sorted(map(str, streams))) or "none"
