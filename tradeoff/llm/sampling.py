"""From logits to probabilities: one function for draft, target, acceptance ratio and residual."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tradeoff.llm.law_device import on_law_device

__all__ = ["Sampling"]


@dataclass(frozen=True)
class Sampling:
    """Temperature, top-k, top-p and min-p, applied in this order.

    Args:
        temperature: > 0; logits are divided by it.
        top_k: keep the k most probable tokens (those that tie with the k-th stay too); 0 keeps all.
        top_p: keep the smallest set of most probable tokens whose mass reaches it; 1 keeps all.
        min_p: keep the tokens that are at least this times as probable as the most probable one; 0 keeps all.

    Raises:
        ValueError: for values out of range. At temperature 0 the text is a function of the prompt: there is
            no choice left in which a watermark could hide.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if self.temperature == 0:
            raise ValueError(
                "temperature=0 is greedy decoding, which leaves no entropy to carry a watermark; "
                "use a temperature above 0 (0.3 is already close to greedy)"
            )
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature} must be a positive number")
        if not isinstance(self.top_k, int) or self.top_k < 0:
            raise ValueError(f"top_k={self.top_k} must be a whole number of tokens, or 0 to keep all")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} must be above 0 and at most 1 (1 keeps all tokens)")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p={self.min_p} must be between 0 and 1 (0 keeps all tokens)")

    @property
    def plain(self) -> bool:
        """Whether this is the model's own distribution: temperature 1, nothing cut."""
        return self == Sampling()

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Next-token laws in float64: `[..., n] -> [..., n]`; on the CPU if the logits' device has none.

        The acceptance rule is exact for what this returns, so it must be applied to both models alike.

        Raises:
            RuntimeError: for logits that are not finite.
        """
        scaled = on_law_device(logits).double()
        if self.temperature != 1:
            # Differences first: a tiny temperature may overflow the logits, but not their order.
            scaled = (scaled - scaled.amax(dim=-1, keepdim=True)) / self.temperature
        if 0 < self.top_k < scaled.shape[-1]:
            least = torch.topk(scaled, self.top_k, dim=-1).values[..., -1:]
            scaled = scaled.masked_fill(scaled < least, -torch.inf)
        p = torch.softmax(scaled, dim=-1)
        # One NaN or +inf among the logits makes the whole row NaN.
        if bool(torch.isnan(p[..., 0]).any()):
            raise RuntimeError(
                "the model gives logits that are not finite; load it in float32 or bfloat16 (float16 "
                "overflows easily), or check its weights"
            )
        if self.top_p < 1:
            ordered, order = torch.sort(p, dim=-1, descending=True, stable=True)
            before = torch.cumsum(ordered, dim=-1) - ordered
            ordered = ordered.masked_fill(before >= self.top_p, 0.0)
            p = torch.zeros_like(p).scatter_(-1, order, ordered)
            p = p / p.sum(dim=-1, keepdim=True)
        if self.min_p > 0:
            p = p.masked_fill(p < self.min_p * p.amax(dim=-1, keepdim=True), 0.0)
            p = p / p.sum(dim=-1, keepdim=True)
        return p
