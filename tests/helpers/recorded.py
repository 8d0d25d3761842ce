"""A record of a generated text, and the settings of its run; tests replace what they are about."""

from __future__ import annotations

from tradeoff.texts.records import Record, Run

__all__ = ["RECORD", "RUN"]

RUN = Run(
    method="one-race",
    watermark="gumbel",
    width=1,
    lookahead=3,
    prf="blake2b-splitmix-v1",
    context_width=4,
    key="0123456789abcdef",
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    max_tokens=40,
    ignore_eos=False,
    seed=0,
    target="target",
    draft="draft",
    vocabulary=50,
    dtype="float32",
    weights=("fedcba9876543210", "fedcba9876543211"),
    measured=False,
)
RECORD = Record(
    id="q-1",
    prompt="the man",
    prompt_hash="0123456789abcdef",
    prompt_tokens=4,
    token_ids=(7, 8, 9),
    text="and — ü\u2028",
    finish="length",
    accepted=(1, 0),
    sources="drb",
    unmarked=1,
    logppl=0.5,
    logppl_model=1.0,
    seconds=0.25,
    batch=4,
    run=RUN,
)
