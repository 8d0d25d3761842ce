"""What edits do to detection: TPR of every detector against the share of a text that was changed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from paper_repro.trials.fixed import FPR, CellEvidence, Fold, Limits
from tradeoff.detection import Evidence, Exactness, rate
from tradeoff.keyed import Prf
from tradeoff.texts import delete, insert, paste_into, substitute, truncate

__all__ = ["EDITS", "edit_table", "edited_text"]

_SHARES = (0.05, 0.1, 0.2, 0.3)
_WIDE_SHARES = (0.25, 0.5, 0.75)
#: Kinds of edits and the shares of a text that they change.
EDITS: dict[str, tuple[float, ...]] = {
    "none": (0.0,),
    "substitution": _SHARES,
    "insertion": _SHARES,
    "deletion": _SHARES,
    "truncation": _WIDE_SHARES,
    "pasted into human text": _WIDE_SHARES,
    "tokenised again": (1.0,),
    "lower case": (1.0,),
}


def edit_table(
    cells: Sequence[tuple[CellEvidence, Sequence[Fold]]],
    prf: Prf,
    human: Sequence[np.ndarray],
    tokenizer: Any,
    report: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """TPR at the nominal FPR after edits, prompts pooled: one row a method, detector, edit and share.

    Args:
        cells: texts with the detectors fitted on other texts, as from `fit_folds`; oracles are left out,
            since no record says where the tokens of an edited text come from.
        prf: the key of the texts.
        human: chunks of human text, each at least as long as the texts.
        tokenizer: of the models.
        report: called with a line of progress.
    """
    words = np.concatenate(list(human))
    hits: dict[tuple, list[bool]] = {}
    for texts, folds in cells:
        cell = texts.cell
        limits = {id(d): Limits(d) for fold in folds for d in fold.detectors}
        for edit, shares in EDITS.items():
            report(f"{cell.name}: {edit}")
            for share in shares:
                for fold in folds:
                    for i in fold.tested:
                        record = texts.records[i]
                        # The same edits for every method on a prompt, whatever else is run.
                        seed = zlib.crc32(f"{record.id} {edit} {share}".encode())
                        rng = np.random.default_rng(seed)
                        ids = np.array(record.token_ids, dtype=np.int64)
                        edited = Evidence(edited_text(ids, edit, share, words, human, tokenizer, rng), prf)
                        for detector in fold.detectors:
                            if detector.exactness is Exactness.ORACLE:
                                continue
                            total = float(detector.contributions(edited).sum())
                            limit = limits[id(detector)](np.array([len(edited)]))[0]
                            key = (
                                cell.temperature,
                                cell.watermark,
                                cell.label,
                                cell.lookahead,
                                detector.name,
                                edit,
                                share,
                            )
                            hits.setdefault(key, []).append(total >= limit)
    columns = ("temperature", "watermark", "method", "lookahead", "detector", "edit", "share")
    rows = []
    for key, found in hits.items():
        tpr = rate(np.array(found))
        rows.append(
            dict(zip(columns, key, strict=True))
            | {"tpr": tpr.value, "tpr_low": tpr.low, "tpr_high": tpr.high, "texts": tpr.texts, "fpr": FPR}
        )
    return pd.DataFrame(rows)


def edited_text(
    ids: np.ndarray,
    edit: str,
    share: float,
    words: np.ndarray,
    human: Sequence[np.ndarray],
    tokenizer: Any,
    rng: np.random.Generator,
) -> np.ndarray:
    """A text after an edit of `EDITS`: its tokens [n], other ones behind insertions and deletions.

    Args:
        ids: [n] tokens of the text.
        edit: its name.
        share: of the text that is changed.
        words: [k] tokens that replacements are drawn from.
        human: texts to paste into, each at least as long.
        tokenizer: of the tokens.
        rng: where, and by what.
    """
    if edit == "substitution":
        return substitute(ids, share, words, rng)
    if edit == "insertion":
        return insert(ids, share, words, rng)
    if edit == "deletion":
        return delete(ids, share, rng)
    if edit == "truncation":
        return truncate(ids, share)
    if edit == "pasted into human text":
        return paste_into(ids, share, human[int(rng.integers(len(human)))], rng)
    if edit in ("tokenised again", "lower case"):
        text = str(tokenizer.decode(ids.tolist(), skip_special_tokens=True))
        again = tokenizer(text.lower() if edit == "lower case" else text, add_special_tokens=False)
        return np.array(again["input_ids"], dtype=np.int64)
    return ids
