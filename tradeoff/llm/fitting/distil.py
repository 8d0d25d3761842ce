"""Distillation of a target into its jump draft: texts with the target's states, ridge regression, training.

The numerical half of `tradeoff.llm.fitting.fit_jump`. Texts carry the target's final hidden states, so that
its next-token distributions are one matrix product away and the target need not run again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tradeoff.files import replacing
from tradeoff.llm.models.huggingface import (
    PreTrainedModel,
    final_states,
    growing_cache,
    output_projection,
    text_config,
)
from tradeoff.llm.models.jump import KEPT_LAYERS, adapter_parameters
from tradeoff.llm.models.layer_skip import layer_stack

__all__ = [
    "FIELDS",
    "Report",
    "Texts",
    "Training",
    "Vocabulary",
    "fit_map",
    "loss_gradient",
    "mean_overlap",
    "read_metadata",
    "sample_texts",
    "train",
    "training_step",
    "write_tensors",
]

#: Sampled or read texts: see `sample_texts`.
Texts = dict[str, torch.Tensor]
FIELDS = ("ids", "states", "first", "last")

#: Learning rates of parts of the adapter, relative to that of the others: the residual stream that the map
#: writes is large, and a column of A acts on all of it.
_RATES = {"affine": 0.3, "offset": 3.0, "outer": 5.0}
_WARM_UP = 0.05
#: The divergence learns fast where mass belongs; later, more weight on the overlap itself gains a little
#: (0.002, measured from one checkpoint over the rest of a run).
_SWITCH = 0.7
_ROWS_AT_ONCE = 8

Report = Callable[[int, int], None]


@torch.no_grad()
def sample_texts(
    target: PreTrainedModel,
    starts: Sequence[Sequence[int]],
    length: int,
    temperatures: np.ndarray,
    rng: np.random.Generator,
    end: int | None,
    report: Report = lambda *_: None,
) -> Texts:
    """Texts that the target samples, with its final hidden states.

    Args:
        target: the model.
        starts: prompts, of different lengths below `length`.
        length: tokens of a text, prompt included.
        temperatures: of the rows, [rows].
        rng: one uniform number is drawn from it a row and a token.
        end: the token that ends a text; None: only `length` does.
        report: called with (tokens done, of).

    Returns:
        ids: [rows, length], int32. states: what the output projection is applied to, [rows, length, hidden],
        float16. first, last: the sampled tokens of a row are predicted at positions first <= t < last,
        [rows], int32.
    """
    rows, shortest = len(starts), min(len(start) for start in starts)
    ids = torch.full((rows, length), -1, device=target.device)
    for row, start in enumerate(starts):
        ids[row, : len(start)] = torch.tensor(start)
    heat = torch.from_numpy(temperatures)[:, None].to(target.device)
    cache, states, done = growing_cache(target), [], 0
    for now in range(shortest, length + 1):
        hidden = final_states(target, ids[:, done:now], cache)
        states.append(hidden.half())
        done = now
        report(now, length)
        if now == length:
            break
        logits = output_projection(target)(hidden[:, -1])
        cumulative = torch.cumsum(torch.softmax(logits.double() / heat, dim=-1), dim=-1)
        u = torch.from_numpy(rng.random((rows, 1))).to(target.device) * cumulative[:, -1:]
        drawn = torch.searchsorted(cumulative, u, right=True).clamp_max(logits.shape[-1] - 1)[:, 0]
        # Rows whose prompt is longer are still reading it.
        ids[:, now] = torch.where(ids[:, now] < 0, drawn, ids[:, now])
    first = torch.tensor([len(start) - 1 for start in starts])
    last = torch.full((rows,), length - 1)
    for row in range(rows):
        ends = torch.eq(ids[row, first[row] + 1 :].cpu(), -1 if end is None else end).nonzero()
        if len(ends):
            last[row] = first[row] + 1 + ends[0, 0]
    return {
        "ids": ids.int().cpu(),
        "states": torch.cat(states, dim=1).cpu(),
        "first": first.int(),
        "last": last.int(),
    }


@torch.no_grad()
def fit_map(target: PreTrainedModel, draft: PreTrainedModel, texts: Texts, penalty: float) -> None:
    """Fit the affine part of the draft's map in closed form, in place; the gated part is left out.

    Weighted ridge regression of the residual stream before the first kept layer behind the gap on that
    behind the last one before it. A position weighs 1 / mean square of what is predicted there: the next
    layer normalises its input, so relative errors count, and the first token's stream is 30 times larger.

    Args:
        target, draft: float32 models; the draft is made by `new_jump`.
        texts: as from `sample_texts`.
        penalty: of the squared entries of A, in units of the mean weighted square of a coordinate of x.
    """
    layers = target.get_submodule(layer_stack(target)[0])
    assert isinstance(layers, torch.nn.ModuleList)
    count = len(layers)
    kept = sorted(index % count for index in KEPT_LAYERS)
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        layers[index].register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
        for name, index in (("x", kept[1] + 1), ("y", kept[2]))
    ]
    hidden = text_config(target).hidden_size
    gram = torch.zeros(hidden + 1, hidden + 1, dtype=torch.float64)
    moments = torch.zeros(hidden + 1, hidden, dtype=torch.float64)
    try:
        rows = torch.arange(len(texts["ids"]))
        for part in rows.split(_ROWS_AT_ONCE):
            ids = texts["ids"][part].long().to(target.device)
            final_states(target, ids)
            inside = torch.arange(ids.shape[1]) <= texts["last"][part][:, None]
            x, y = (seen[name][inside].double().cpu() for name in ("x", "y"))
            scale = y.pow(2).mean(dim=-1, keepdim=True).rsqrt()
            design = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1) * scale
            gram += design.T @ design
            moments += design.T @ ((y - x) * scale)
    finally:
        for hook in hooks:
            hook.remove()
    ridge = torch.full((hidden + 1,), penalty * float(gram.diagonal()[:-1].mean()), dtype=torch.float64)
    ridge[-1] = 0
    solved = torch.linalg.solve(gram + torch.diag(ridge), moments)
    own = adapter_parameters(draft)
    for ending, value in ((".affine", solved[:-1].T), (".offset", solved[-1])):
        next(p for name, p in own.items() if name.endswith(ending)).data.copy_(value)


@torch.no_grad()
def mean_overlap(
    target: PreTrainedModel,
    draft: PreTrainedModel,
    texts: Texts,
    temperature: float = 1.0,
    vocabulary: int | None = None,
    every: int = 1,
) -> tuple[float, float]:
    """Mean of sum_w min(P(w), Q(w)) over the sampled positions of `texts`, and its standard error.

    Texts, not positions, are the independent units: the error is that of a ratio of sums over texts.

    Args:
        target, draft: the pair; P comes from the stored states and the target's output projection.
        texts: as from `sample_texts`.
        temperature: of both distributions.
        vocabulary: tokens that count (None: all columns of the logits).
        every: look at every so-manieth position only.
    """
    sums, counts = [], []
    for ids, states, first, last in zip(*(texts[k] for k in FIELDS), strict=True):
        where = torch.arange(int(first), int(last), every)
        if not len(where):
            continue
        device = draft.device
        hidden = final_states(draft, ids[None, : int(last)].long().to(device))
        q = output_projection(draft)(hidden[0, where])
        p = output_projection(target)(states[where].to(target.device, target.dtype))
        both = [(z[:, :vocabulary].float() / temperature).softmax(dim=-1) for z in (p, q.to(p.device))]
        sums.append(float(torch.minimum(*both).sum()))
        counts.append(len(where))
    total, n = np.array(sums), np.array(counts)
    mean = total.sum() / n.sum()
    spread = (total - mean * n).std(ddof=1) if len(n) > 1 else np.nan
    return float(mean), float(spread * np.sqrt(len(n)) / n.sum())


def loss_gradient(p: torch.Tensor, q: torch.Tensor, overlap_weight: float) -> torch.Tensor:
    """Gradient in the draft's logits of (1 - w) KL(P || Q) + w TV(P, Q), for w = `overlap_weight`.

    p, q: [..., n] distributions -> [..., n]. With 1 - TV = sum min(P, Q), d TV / d logit_j is
    q_j (sum_i q_i [q_i < p_i] - [q_j < p_j]), and that of the divergence is q_j - p_j.
    """
    below = (q < p).to(q.dtype)
    variation = q * ((q * below).sum(dim=-1, keepdim=True) - below)
    return (1 - overlap_weight) * (q - p) + overlap_weight * variation


class Vocabulary:
    """A smaller vocabulary to train on: the common tokens, and a fresh weighted sample of the others.

    Every sampled token stands for |others| / |sample| of them in both softmaxes, so that the normalisers
    are unbiased: a fifth of the work of the whole vocabulary, whose rare tokens hold little mass.
    """

    def __init__(self, projection: torch.Tensor, states: torch.Tensor, common: int, rare: int) -> None:
        """projection: [n, hidden]; states: [positions, hidden], which tell common from rare."""
        mass = torch.zeros(len(projection))
        for part in states.split(256):
            mass += (part.to(projection.dtype) @ projection.T).float().softmax(dim=-1).sum(dim=0)
        order = mass.argsort(descending=True)
        self.projection, self.rare = projection, rare
        self.common, self.others = order[:common], order[common:]

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows of the projection [m, hidden], log weights [m])."""
        size = min(self.rare, len(self.others))
        if not size:
            return self.projection[self.common], torch.zeros(len(self.common))
        sample = self.others[torch.from_numpy(rng.choice(len(self.others), size, replace=False))]
        weight = torch.zeros(len(self.common) + size)
        weight[len(self.common) :] = np.log(len(self.others) / size)
        return self.projection[torch.cat([self.common, sample])], weight


def training_step(
    draft: PreTrainedModel,
    texts: Texts,
    rows: torch.Tensor,
    words: tuple[torch.Tensor, torch.Tensor],
    overlap_weight: float,
) -> float:
    """Add the loss gradient of some rows of `texts` to the adapter's; returns their mean overlap.

    The output projection is not trained, so its gradient enters at the hidden states and the logits need
    no graph.
    """
    first, last = texts["first"][rows], texts["last"][rows]
    longest = max(int(last.max()), 1)
    positions = torch.arange(longest)
    inside = (positions >= first[:, None]) & (positions < last[:, None])
    mine = final_states(draft, texts["ids"][rows, :longest].long())[inside]
    projection, weight = words
    with torch.no_grad():
        theirs = texts["states"][rows, :longest][inside].to(projection.dtype)
        p, q = ((h @ projection.T).float().add_(weight).softmax(dim=-1) for h in (theirs, mine))
        slope = loss_gradient(p, q, overlap_weight).to(projection.dtype) @ projection / len(p)
        overlap = float(torch.minimum(p, q).sum() / len(p))
    mine.backward(slope)
    return overlap


class Training:
    """Adapter, optimiser and best weights of one run, kept in a checkpoint so that a killed run goes on."""

    def __init__(
        self, draft: PreTrainedModel, rate: float, checkpoint: Path, settings: Mapping[str, object]
    ) -> None:
        """Start from `draft` as it is, or where `checkpoint` left off if it was written under `settings`."""
        self.own = adapter_parameters(draft)
        for parameter in self.own.values():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in self.own.items():
            groups.setdefault(rate * _RATES.get(name.rpartition(".")[2], 1.0), []).append(parameter)
        self.optimiser = torch.optim.AdamW(
            [{"params": parameters, "lr": lr, "top": lr} for lr, parameters in groups.items()],
            betas=(0.9, 0.98),
            weight_decay=0.01,
        )
        self.path, self.settings = checkpoint, json.dumps(settings, sort_keys=True)
        self.step, self.spent, self.best = 0, 0.0, -1.0
        # Copies: the live weights go on changing.
        self.best_weights = {name: p.detach().clone() for name, p in self.own.items()}
        self._resume()

    def set_rate(self, fraction: float) -> None:
        """Linear warm-up over the first part of the time, then a cosine to 0."""
        warm = min(1.0, fraction / _WARM_UP)
        scale = warm * 0.5 * (1 + np.cos(np.pi * min(1.0, fraction)))
        for group in self.optimiser.param_groups:
            group["lr"] = group["top"] * scale

    def keep_if_best(self, overlap: float) -> None:
        """Remember the present weights if `overlap` is the largest so far."""
        if overlap > self.best:
            self.best = overlap
            self.best_weights = {name: p.detach().clone() for name, p in self.own.items()}

    def save(self) -> None:
        """Write the checkpoint; it appears complete or not at all."""
        tensors = {f"now/{name}": p.detach() for name, p in self.own.items()}
        tensors |= {f"best/{name}": value for name, value in self.best_weights.items()}
        for name, parameter in self.own.items():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = value
        progress = {"step": self.step, "spent": self.spent, "best": self.best}
        write_tensors(self.path, tensors, {"settings": self.settings, "progress": json.dumps(progress)})

    def _resume(self) -> None:
        if not self.path.is_file() or read_metadata(self.path).get("settings") != self.settings:
            return
        tensors, progress = load_file(self.path), json.loads(read_metadata(self.path)["progress"])
        self.step, self.spent, self.best = progress["step"], progress["spent"], progress["best"]
        for name, parameter in self.own.items():
            parameter.data.copy_(tensors[f"now/{name}"])
            self.best_weights[name] = tensors[f"best/{name}"].clone()
            self.optimiser.state[parameter] = {
                key: tensors[f"{key}/{name}"].clone()
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{key}/{name}" in tensors
            }


def train(
    state: Training,
    draft: PreTrainedModel,
    texts: Texts,
    evaluate: Callable[[], float],
    *,
    seconds: float,
    seed: int,
    rows: int = 8,
    overlap_weights: tuple[float, float] = (0.5, 0.9),
    common: int = 6144,
    rare: int = 1536,
    every: float = 120.0,
    clock: Callable[[], float] = time.monotonic,
    report: Callable[[float, str], None] = lambda *_: None,
) -> None:
    """Train until `seconds` of training are spent, and leave the draft with the best weights seen.

    Args:
        state: the run, new or resumed.
        draft: the model that `state` was made of.
        texts: as from `sample_texts`.
        evaluate: mean overlap of the draft as it is, on texts that are held out.
        seconds: length of the schedule; the time of evaluations is not counted.
        seed: of the choice of rows and words, one stream a step.
        rows: texts a step.
        overlap_weights: see `loss_gradient`; before and after 70% of the time.
        common, rare: see `Vocabulary`.
        every: seconds of training between evaluations (and checkpoints).
        clock: seconds; a test's own clock makes a run reproducible.
        report: called with (seconds spent, a line on where training stands).
    """
    projection = output_projection(draft).weight.detach()
    sample = texts["states"][:: max(1, len(texts["ids"]) // 64), ::16].flatten(0, 1)
    vocabulary = Vocabulary(projection, sample, min(common, len(projection)), rare)
    since, recent = 0.0, []
    while state.spent < seconds:
        start = clock()
        rng = np.random.default_rng([seed, 2, state.step])
        chosen = torch.from_numpy(rng.choice(len(texts["ids"]), min(rows, len(texts["ids"])), replace=False))
        state.set_rate(state.spent / seconds)
        weight = overlap_weights[state.spent > _SWITCH * seconds]
        recent.append(training_step(draft, texts, chosen, vocabulary.draw(rng), weight))
        torch.nn.utils.clip_grad_norm_(state.own.values(), 1.0)
        state.optimiser.step()
        state.optimiser.zero_grad()
        state.step += 1
        passed = clock() - start
        state.spent += passed
        since += passed
        if since >= every or state.spent >= seconds:
            state.keep_if_best(evaluate())
            state.save()
            since = 0.0
        recent = recent[-50:]
        report(state.spent, f"step {state.step}, overlap {np.mean(recent):.3f}, held out {state.best:.3f}")
    for name, parameter in state.own.items():
        parameter.data.copy_(state.best_weights[name])
        parameter.requires_grad_(False)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    with replacing(path) as temporary:
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, metadata)


def read_metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as opened:
        return opened.metadata() or {}
