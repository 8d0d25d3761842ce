"""Tokens per second of every method, what of a round is outside the models, acceptance, and a profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from tests.benchmarks import bench_engine, bench_round
from tests.benchmarks.bench_engine import LOOKAHEAD, PRF
from tests.benchmarks.gpu.results import Results, Step
from tradeoff.decoders import Identity, parse_decoder
from tradeoff.files import replacing
from tradeoff.kernels import METHODS, Method, make_method
from tradeoff.llm.encoding import encode_prompts
from tradeoff.llm.generation.engine import Engine, EngineSettings
from tradeoff.llm.models.pair import ModelPair
from tradeoff.texts.corpus import builtin_prompts
from tradeoff.texts.prompts import Prompt

__all__ = ["acceptance_of", "method_of", "profile_of", "steps_of"]

#: A method is measured with the first that it carries.
_WATERMARKS = ("gumbel", "synthid:30", "completed:kgw:2", "simplexwater")
#: What others are compared with: the target alone, without a watermark.
_PLAIN = "basic, no watermark"


def method_of(name: str) -> Method:
    """With a watermark that it carries, or without one where it carries none."""
    decoders = [parse_decoder(watermark) for watermark in _WATERMARKS]
    carried = [decoder for decoder in decoders if METHODS[name].carries(decoder)]
    return make_method(name, carried[0] if carried else Identity())


def prompts_of(pair: ModelPair, count: int) -> list[Prompt]:
    """So many of the built-in openings."""
    return encode_prompts(pair.tokenizer, builtin_prompts("continuation")[:count])


def steps_of(
    pair: ModelPair, names: Sequence[str], batches: Sequence[int], tokens: int, results: Results
) -> Iterator[Step]:
    """Speed of every method at every batch, the target alone first; then acceptance; then profiles."""
    for batch in batches:
        methods = [(_PLAIN, make_method("basic", Identity()))]
        methods += [(name, method_of(name)) for name in names]
        for name, method in methods:
            key = {"method": name, "watermark": method.decoder.name, "batch": batch}
            yield Step("speed", key, _speed(pair, method, batch, tokens, results))
    for name in names:
        method = method_of(name)
        if method.full_efficiency:
            key = {"method": name, "watermark": method.decoder.name, "batch": max(batches)}
            yield Step("acceptance", key, _acceptance(pair, method, max(batches), tokens))
    for batch in batches:
        out = results.out / f"gpu_profile_{pair.device.type}_{batch}.txt"
        yield Step("profile", {"batch": batch}, _profile(pair, batch, out))


def _speed(
    pair: ModelPair, method: Method, batch: int, tokens: int, results: Results
) -> Callable[[], dict[str, object]]:
    def measure() -> dict[str, object]:
        # What is timed is warm: `parts_of` runs first.
        parts = {
            str(row["part"]): float(str(row["ms"]))
            for row in bench_round.parts_of(pair, method, batch, tokens, 0)
        }
        run = bench_engine.timed(pair, method, batch, tokens, prompts_of(pair, batch))
        whole = parts[bench_round.ROUND]
        rate = run["tokens per second"]
        plain = results.value("speed", "tokens_per_second", method=_PLAIN, batch=batch)
        return {
            "tokens_per_second": rate,
            "times_plain": 1.0 if plain is None else rate / plain,
            "ms_per_round": run["ms per round"],
            # Waits at the borders of parts make a round longer, so that this is of another run.
            "ms_per_round_in_parts": whole,
            "outside_models": 1 - sum(parts.get(part, 0.0) for part in bench_round.PASSES) / whole,
        }

    return measure


def _acceptance(pair: ModelPair, method: Method, batch: int, tokens: int) -> Callable[[], dict[str, object]]:
    return lambda: acceptance_of(pair, method, batch, tokens)


def acceptance_of(pair: ModelPair, method: Method, batch: int, tokens: int) -> dict[str, object]:
    """Drafts that were accepted, beside the sum of 1 - TV(Q, P) of the laws that they were verified against.

    Given what was before, a draft is accepted with that probability: the difference is a martingale, and z
    its value in standard deviations.
    """
    settings = EngineSettings(
        method=method, prf=PRF, lookahead=LOOKAHEAD, max_tokens=tokens, ignore_eos=True, measure=True
    )
    accepted, expected, variance, verified = 0, 0.0, 0.0, 0
    for text in Engine(pair, settings, batch).generate(prompts_of(pair, batch)):
        assert text.overlap is not None
        for source, overlap in zip(text.sources, text.overlap, strict=True):
            if overlap is not None:
                accepted += source == "d"
                verified += 1
                expected += overlap
                variance += overlap * (1 - overlap)
    return {
        "verified": verified,
        "accepted": accepted,
        "expected": expected,
        "z": _z(accepted - expected, variance),
    }


def _z(difference: float, variance: float) -> float:
    """Infinite where something differs that cannot."""
    if variance > 0:
        return difference / math.sqrt(variance)
    return math.copysign(math.inf, difference) if difference else 0.0


def _profile(pair: ModelPair, batch: int, out: Path) -> Callable[[], dict[str, object]]:
    def measure() -> dict[str, object]:
        with replacing(out) as temporary:
            temporary.write_text(profile_of(pair, batch), encoding="utf-8")
        return {"file": out.name}

    return measure


def profile_of(pair: ModelPair, batch: int) -> str:
    """PyTorch's table of one round of the joint race, the third of a batch."""
    settings = EngineSettings(
        method=method_of("joint-race"), prf=PRF, lookahead=LOOKAHEAD, max_tokens=64, ignore_eos=True
    )
    engine = Engine(pair, settings, batch)
    rows = engine.begin(prompts_of(pair, batch))
    for _ in range(2):
        engine.speculator.round(rows)
    on_gpu = pair.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiled:
        engine.speculator.round(rows)
    order = "cuda_time_total" if on_gpu else "cpu_time_total"
    return str(profiled.key_averages().table(sort_by=order, row_limit=60))
