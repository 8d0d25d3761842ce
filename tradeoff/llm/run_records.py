"""What a run writes of its settings and of every text: records, without the key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tradeoff.decoders import decoder_name
from tradeoff.kernels import Verify
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.generation.rows import GeneratedText
from tradeoff.llm.models.pair import ModelPair, weights_fingerprint
from tradeoff.texts import Record, Run, prompt_hash

__all__ = ["run_settings", "text_record"]


def text_record(text: GeneratedText, run: Run, words: str, batch: int) -> Record:
    """One text as a record.

    Args:
        text: the generated text.
        run: settings of the run, as from `tradeoff.llm.run_records.run_settings`.
        words: the decoded token ids.
        batch: how many texts shared the machine.
    """
    return Record(
        id=text.prompt.id,
        prompt=text.prompt.text,
        prompt_hash=prompt_hash(text.prompt),
        prompt_tokens=len(text.prompt.token_ids),
        token_ids=tuple(text.token_ids),
        text=words,
        finish=text.finish,
        accepted=tuple(text.accepted),
        sources=text.sources,
        unmarked=text.unmarked,
        logppl=_rounded(-float(np.mean(text.log_p))),
        logppl_model=_rounded(-float(np.mean(text.log_p_model))),
        seconds=round(text.seconds, 3),
        batch=batch,
        # Beside the sum of what was sampled, only measured texts say it token by token.
        log_p=None if text.entropy is None else tuple(map(_rounded, text.log_p)),
        entropy=None if text.entropy is None else tuple(map(_rounded, text.entropy)),
        overlap=_column(text.overlap),
        efficiency=_column(text.efficiency),
        by_token=_column(text.by_token),
        by_block=_column(text.by_block),
        run=run,
    )


def _column(values: Sequence[float | None] | None) -> Any:
    return None if values is None else tuple(None if v is None else _rounded(v) for v in values)


def _rounded(value: float) -> float:
    """Seven digits: more than float32 models give."""
    return float(f"{value:.7g}")


def run_settings(pair: ModelPair, settings: EngineSettings) -> Run:
    """Everything that determines the text of a prompt, as it stands in every record.

    The key appears as its fingerprint only.
    """
    method, prf = settings.method, settings.prf if settings.marked else None
    models = [pair.target]
    if settings.drafts and not pair.lookup:
        models.append(pair.draft_model)
    return Run(
        method=method.name,
        watermark=decoder_name(method.decoder),
        width=method.width,
        alpha=method.alpha,
        lookahead=settings.lookahead if settings.drafts else 0,
        verify="block" if settings.drafts and settings.verify is Verify.BLOCK else None,
        prf=prf.name if prf else None,
        context_width=prf.context_width if prf else None,
        key=prf.fingerprint if prf else None,
        temperature=settings.sampling.temperature,
        top_k=settings.sampling.top_k,
        top_p=settings.sampling.top_p,
        min_p=settings.sampling.min_p or None,
        controls=str(settings.rules) if settings.rules is not None else None,
        unmarked=settings.unmarked or None,
        max_tokens=settings.max_tokens,
        ignore_eos=settings.ignore_eos,
        seed=settings.seed,
        target=pair.target_name,
        draft=pair.draft_name if settings.drafts else None,
        vocabulary=pair.vocabulary_size,
        dtype=str(pair.dtype).removeprefix("torch."),
        weights=tuple(map(weights_fingerprint, models)),
        measured=settings.measure,
    )
