"""Next-token pairs (P, Q) of a draft/target pair at positions of real text, kept as full rows."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tradeoff.errors import FileError
from tradeoff.files import replacing
from tradeoff.llm.law_device import on_law_device
from tradeoff.llm.models.huggingface import growing_cache, next_logits
from tradeoff.llm.models.pair import ModelPair, logits_at, weights_fingerprint
from tradeoff.llm.models.placement import input_device
from tradeoff.texts import builtin_prompts, human_paragraphs

__all__ = ["NextTokenPairs", "collect_pairs", "load_pairs", "sample_continuations", "save_pairs"]

#: Tokens of every text: a prompt that is continued, or a paragraph that is cut.
PROMPT_TOKENS = 12
TEXT_TOKENS = 48
#: The first position that is looked at: everything before it is context.
FIRST_POSITION = 16
_BATCH = 25

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class NextTokenPairs:
    """Next-token log-probabilities of both models at temperature 1.

    Attributes:
        target, draft: log P and log Q, [positions, n], float32, whole vocabulary.
        source: "model" (the target's own samples) or "human" (prose), one a position.
        text, position: index of the text and of the token whose successor is predicted, [positions].
        settings: names of the models and how the texts were made; equal settings give equal pairs.
    """

    target: np.ndarray
    draft: np.ndarray
    source: np.ndarray
    text: np.ndarray
    position: np.ndarray
    settings: dict[str, object]

    def __len__(self) -> int:
        return len(self.target)

    def probabilities(self, k: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """P and Q at position k and a sampling temperature: float64 [n] each, both from one softmax.

        Raises:
            ValueError: unless the temperature is positive (at 0 there is no distribution to watermark).
        """
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be positive")
        return _softmax(self.target[k], temperature), _softmax(self.draft[k], temperature)


def _softmax(log_p: np.ndarray, temperature: float) -> np.ndarray:
    scaled = log_p.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    return weights / weights.sum()


def collect_pairs(
    models: ModelPair, *, positions: int = 200, seed: int = 0, report: Report = lambda *_: None
) -> NextTokenPairs:
    """Run both models over real text and keep full next-token rows.

    Half of the positions lie in continuations that the target samples itself at temperature 1 (nothing
    truncated), half in human prose; two positions a text, chosen by `seed`.

    Args:
        models: the pair.
        positions: how many, a multiple of 4.
        seed: of the sampling and of the choice of positions.
        report: called with (what, done, of) as it goes on.

    Raises:
        ValueError: if positions is not a positive multiple of 4, or there are too few texts for them.
    """
    if positions < 4 or positions % 4:
        raise ValueError(f"positions={positions} must be a positive multiple of 4 (two sources, two a text)")
    rng = np.random.default_rng(seed)
    count = positions // 4
    prompts = [text for _, text in builtin_prompts("continuation")]
    starts = _cut(models, prompts, PROMPT_TOKENS, count, "prompts")
    own = sample_continuations(models, starts, TEXT_TOKENS - PROMPT_TOKENS, rng, report)
    human = _cut(models, human_paragraphs(), TEXT_TOKENS, count, "human paragraphs")
    ids = np.concatenate([own, human])
    where = np.stack(
        [
            np.sort(rng.choice(np.arange(FIRST_POSITION, TEXT_TOKENS), 2, replace=False))
            for _ in range(len(ids))
        ]
    )
    rows: dict[str, list[np.ndarray]] = {"target": [], "draft": []}
    for start in range(0, len(ids), _BATCH):
        report("next-token distributions", start, len(ids))
        batch = slice(start, start + _BATCH)
        for name, model in (("target", models.target), ("draft", models.draft_model)):
            logits = logits_at(
                model,
                torch.from_numpy(ids[batch]),
                None,
                torch.from_numpy(where[batch]),
                models.vocabulary_size,
            )
            rows[name].append(torch.log_softmax(logits, dim=-1).flatten(0, 1).cpu().numpy())
    report("next-token distributions", len(ids), len(ids))
    return NextTokenPairs(
        np.concatenate(rows["target"]),
        np.concatenate(rows["draft"]),
        np.repeat(["model", "human"], 2 * count),
        np.repeat(np.arange(len(ids)), 2),
        where.ravel(),
        pair_settings(models, positions=positions, seed=seed),
    )


def pair_settings(models: ModelPair, *, positions: int, seed: int) -> dict[str, object]:
    """What determines the pairs, for telling whether saved ones can be used again."""
    return {
        "target": models.target_name,
        "draft": models.draft_name,
        "dtype": str(models.dtype),
        "vocabulary": models.vocabulary_size,
        "positions": positions,
        "seed": seed,
        "texts": [PROMPT_TOKENS, TEXT_TOKENS, FIRST_POSITION, _texts_fingerprint()],
        "weights": [weights_fingerprint(models.target), weights_fingerprint(models.draft_model)],
    }


def _texts_fingerprint() -> str:
    """The prose differs between Python versions."""
    texts = [*(text for _, text in builtin_prompts("continuation")), *human_paragraphs()]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


@torch.no_grad()
def sample_continuations(
    models: ModelPair,
    prompts: np.ndarray,
    tokens: int,
    rng: np.random.Generator,
    report: Report = lambda *_: None,
) -> np.ndarray:
    """The target's own samples at temperature 1, drawn by Gumbel-max from `rng`.

    Args:
        models: the pair; only the target is run.
        prompts: token ids [texts, length], one length for all.
        tokens: how many to draw.

    Returns:
        Prompts and continuations, [texts, length + tokens].
    """
    device = input_device(models.target)
    ids = torch.from_numpy(prompts).to(device)
    cache, new = growing_cache(models.target), ids
    for step in range(tokens):
        report("sampling text from the target", step, tokens)
        logits = next_logits(models.target, new, 1, cache=cache)
        scores = on_law_device(logits[:, -1, : models.vocabulary_size]).double()
        race = torch.from_numpy(rng.standard_exponential(tuple(scores.shape))).to(scores.device)
        new = torch.argmax(scores - torch.log(race), dim=-1, keepdim=True).to(device)
        ids = torch.cat([ids, new], dim=1)
    report("sampling text from the target", tokens, tokens)
    return ids.cpu().numpy()


def save_pairs(pairs: NextTokenPairs, path: Path) -> None:
    """Save to npz (float32, full rows: 8 n bytes a position). The file appears complete or not at all.

    Raises:
        FileError: if it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            target=pairs.target,
            draft=pairs.draft,
            source=pairs.source,
            text=pairs.text,
            position=pairs.position,
            settings=np.array(json.dumps(pairs.settings)),
        )


def load_pairs(path: Path) -> NextTokenPairs:
    """Load what `save_pairs` wrote.

    Raises:
        FileError: if the file is missing, is not such a file, or its rows are not log-probabilities.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            pairs = NextTokenPairs(
                data["target"],
                data["draft"],
                data["source"],
                data["text"],
                data["position"],
                json.loads(str(data["settings"])),
            )
    except FileNotFoundError as error:
        raise FileError(
            f"{path} does not exist; python -m figures figure_1_real (without --redraw) collects the pairs"
        ) from error
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise FileError(
            f"{path} is not a file of next-token pairs ({error}); delete it and collect again"
        ) from error
    if pairs.target.ndim != 2 or not len(pairs) or pairs.target.shape != pairs.draft.shape:
        raise FileError(
            f"{path}: target {pairs.target.shape} and draft {pairs.draft.shape} must be rows [positions, n] "
            "of one shape; collect again"
        )
    for name in ("target", "draft"):
        rows = getattr(pairs, name)
        totals = np.exp(rows.astype(np.float64)).sum(axis=-1)
        if not np.allclose(totals, 1, atol=1e-4):
            raise FileError(
                f"{path}: rows of {name} are not log-probabilities over a whole vocabulary "
                f"(worst sum {totals[np.argmax(np.abs(totals - 1))]:.6g}); collect again"
            )
    return pairs


def _cut(models: ModelPair, texts: Sequence[str], length: int, count: int, what: str) -> np.ndarray:
    """The first `count` texts of at least `length` tokens, cut to it: [count, length]."""
    rows = []
    for text in texts:
        ids = models.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) >= length:
            rows.append(ids[:length])
        if len(rows) == count:
            return np.array(rows, dtype=np.int64)
    raise ValueError(
        f"only {len(rows)} {what} have {length} tokens, {count} are needed; ask for at most "
        f"{4 * len(rows)} positions"
    )
