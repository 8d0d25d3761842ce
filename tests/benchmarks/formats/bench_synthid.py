"""Transformers' SynthID detector of means beside the exact one, on one core, in one run.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.formats.bench_synthid [--out tests/benchmarks/results]

Theirs is g-values, both masks and their mean, which has no p-value; ours is positions, bits, weighted sum and
the exact p-value given the text. Both read the same texts in turn; medians of both, and of the ratio run by
run.
"""

from __future__ import annotations

import numpy as np
import torch
import typer
from rich.table import Table
from transformers import SynthIDTextWatermarkingConfig

from paper_repro.measuring import OutOption, Tables, seconds_of
from tradeoff.detection import Evidence, ShiftedBits, detect
from tradeoff.display.console import exit_on_bad_input, stdout
from tradeoff.keyed import DepthKeys, parse_prf

VOCABULARY = 49_152
RUNS = 3
#: Texts in a batch, and tokens of each.
SHAPES = [(1, 10_000), (64, 1_000), (1, 200_000)]


def main(out: OutOption = None) -> None:
    """Measure and print."""
    with exit_on_bad_input():
        measure(Tables(out))


def measure(tables: Tables) -> None:
    """Both detectors, for every shape."""
    torch.set_num_threads(1)
    keys = DepthKeys.new()
    processor = SynthIDTextWatermarkingConfig(5, list(keys.secret)).construct_processor(VOCABULARY, "cpu")
    prf, rng, rows = parse_prf("hf-synthid", keys), np.random.default_rng(0), []
    for texts, tokens in SHAPES:
        ids = rng.integers(0, VOCABULARY, (texts, tokens))
        batch = torch.tensor(ids)

        def theirs(batch: torch.Tensor = batch) -> torch.Tensor:
            values = processor.compute_g_values(batch)
            mask = processor.compute_context_repetition_mask(batch)
            mask = mask * processor.compute_eos_token_mask(batch, VOCABULARY)[:, 4:]
            weighed = values * mask[..., None]
            return weighed.sum(dim=(1, 2)) / (mask.sum(dim=1) * values.shape[-1])

        def ours(ids: np.ndarray = ids) -> list[float]:
            return [detect(ShiftedBits(30), Evidence(text, prf)).log_p for text in ids]

        theirs(), ours()
        pairs = [(seconds_of(theirs, 1)[0], seconds_of(ours, 1)[0]) for _ in range(RUNS)]
        there, here = (np.array(one) / ids.size for one in zip(*pairs, strict=True))
        rows.append(
            {
                "texts": texts,
                "tokens": tokens,
                "transformers_per_second": round(1 / np.median(there)),
                "exact_per_second": round(1 / np.median(here)),
                "ratio": round(float(np.median(there / here)), 2),
                "ratio_least": round(float((there / here).min()), 2),
                "ratio_most": round(float((there / here).max()), 2),
            }
        )
    table = Table("texts", "tokens each", "Transformers, tokens/s", "exact, tokens/s", "ratio (median)")
    for row in rows:
        table.add_row(
            f"{row['texts']:,}",
            f"{row['tokens']:,}",
            f"{row['transformers_per_second']:,}",
            f"{row['exact_per_second']:,}",
            f"{row['ratio']:.1f}",
        )
    stdout().print(table)
    tables.write("synthid_speed", rows)


if __name__ == "__main__":
    typer.run(main)
