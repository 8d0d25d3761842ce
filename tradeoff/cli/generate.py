"""`tradeoff generate`: watermarked text from a draft/target pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeoff.cli.key import read_key
from tradeoff.cli.watermarks import carrying_method
from tradeoff.console import exit_on_bad_input, print_note, print_written, stdout
from tradeoff.decoders import WATERMARKS, Identity
from tradeoff.estimate import Estimate
from tradeoff.kernels import WIDEST, Method, Standard
from tradeoff.prf import Prf
from tradeoff.prf_names import PRF_NAMES, parse_prf

if TYPE_CHECKING:
    from tradeoff.llm.engine import EngineSettings
    from tradeoff.llm.rows import Prompt
    from tradeoff.llm.runs import Outcome

__all__ = ["generate_command"]

#: A text that ends before so many tokens is hardly one.
_SHORT = 5
_METHOD_HELP = (
    "one-race: the best default, Gumbel-max only; one-race-tree: more candidates a level; algorithm-1: any "
    "watermark, as in the paper; single-key: one race with a keyed coin; keep-strength, keep-efficiency, "
    "two-keys: earlier methods, to compare with; basic: no speculation; standard: no watermark. Default: "
    "one-race."
)


def generate_command(
    prompts: Annotated[
        str,
        typer.Option(
            help="Text file with one prompt a line, JSON lines with id and prompt, or builtin:question, "
            "builtin:continuation."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON lines to write, or to go on with.")],
    method: Annotated[str | None, typer.Option(help=_METHOD_HELP)] = None,
    watermark: Annotated[
        str | None,
        typer.Option(help=f"{WATERMARKS}, or none. Default: gumbel; none for the method standard."),
    ] = None,
    width: Annotated[
        int | None, typer.Option(help=f"Candidates a level of one-race-tree, up to {WIDEST}. Default: 2.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="Key file, as made by `tradeoff key new`. Default: the hex digits in TRADEOFF_KEY."
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Integer key, for --prf vllm-philox-v1 only.")] = None,
    prf: Annotated[str, typer.Option(help=f"One of {', '.join(PRF_NAMES)}.")] = PRF_NAMES[0],
    context_width: Annotated[int, typer.Option(help="Tokens before a position that seed it.")] = 4,
    target: Annotated[
        str, typer.Option(help="builtin, a folder, a .gguf file or a Hugging Face id.")
    ] = "builtin",
    draft: Annotated[
        str,
        typer.Option(
            help="The same; or skip:14,16, the target without these layers; or jump, a fast draft of the "
            "builtin target."
        ),
    ] = "builtin",
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps. Default: the best there is.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16. Default: by device.")
    ] = None,
    lookahead: Annotated[int, typer.Option(help="Draft tokens a step, K; fewer at the end of a text.")] = 3,
    temperature: Annotated[float, typer.Option(help="Sampling temperature, above 0.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Keep the k most probable tokens; 0 keeps all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Keep the most probable tokens up to this mass.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="Longest text.")] = 200,
    batch: Annotated[int, typer.Option(help="Texts at a time.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the true randomness.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Use only this many prompts.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Ask in the tokenizer's chat format.")] = False,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Always go on to --max-tokens.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Record 1 - TV, entropy and log P of every token.")
    ] = False,
    no_probe: Annotated[
        bool,
        typer.Option(
            "--no-probe",
            help="Do not check models outside the table of verified ones. It is not known then whether texts "
            "side by side, speculated, from trees, or beyond a window are drawn from the model's own law.",
        ),
    ] = False,
) -> None:
    """Generate text with a watermark under speculative decoding.

    Every finished text is appended to the output at once; the same command goes on after a kill.
    """
    with exit_on_bad_input():
        chosen = _method(method, watermark, width)
        # A run that cannot start should say so before models are loaded.
        function = _prf(chosen, key_file, key, prf, context_width)
        if limit is not None and limit < 1:
            raise ValueError(f"limit={limit} must be at least 1 prompt")
        from tradeoff.llm.engine import EngineSettings
        from tradeoff.llm.huggingface import has_chat_format
        from tradeoff.llm.models import load_pair
        from tradeoff.llm.prompts import encode_prompts, read_prompts
        from tradeoff.llm.records import check_output
        from tradeoff.llm.runs import generate_to_file
        from tradeoff.llm.sampling import Sampling

        settings = EngineSettings(
            chosen,
            function,
            Sampling(temperature, top_k, top_p),
            lookahead,
            max_tokens,
            seed,
            ignore_eos,
            measure,
        )
        if batch < 1:
            raise ValueError(f"batch={batch} must be at least 1 text")
        check_output(output)
        for path, held in ((Path(prompts), "prompts"), (key_file, "key")):
            if path is not None and path.resolve() == output.resolve():
                raise ValueError(f"{output} holds the {held}; write the texts to another file")
        named = read_prompts(prompts)[:limit]
        if limit is not None and len(named) < limit:
            print_note(f"{prompts} has {len(named)} prompts; using all")
        pair = load_pair(target, draft, device=device, dtype=dtype)
        encoded = encode_prompts(pair.tokenizer, named, chat=chat)
        if prompts == "builtin:question" and not chat and has_chat_format(pair.tokenizer):
            print_note(f"the questions of {prompts} are meant for --chat")
        _note_equal_prompts(encoded, settings)
        run = generate_to_file(pair, settings, encoded, output, batch=batch, probe=not no_probe)
        _print_summary(run, settings)
        if run.new:
            print_written(stdout(), [output])
        else:
            done = f"nothing to do: all {len(run.records)} texts are in {output}"
            stdout().print(done, soft_wrap=True)


def _method(name: str | None, watermark: str | None, width: int | None) -> Method:
    if watermark is None:
        watermark = "none" if name == Standard.name else "gumbel"
    return carrying_method(name, watermark, width, "a --method that carries it")


def _prf(method: Method, key_file: Path | None, key: str | None, prf: str, context_width: int) -> Prf | None:
    if isinstance(method.decoder, Identity):
        return None
    if prf not in PRF_NAMES:
        raise ValueError(f"prf={prf!r} is unknown; use one of {', '.join(PRF_NAMES)}")
    return parse_prf(prf, read_key(key_file, key, prf), context_width)


def _note_equal_prompts(prompts: Sequence[Prompt], settings: EngineSettings) -> None:
    equal = len(prompts) - len({prompt.token_ids for prompt in prompts})
    if not equal:
        return
    other = "another --seed, into another file, gives other texts"
    if not settings.seeded:
        other = (
            "with this method and --prf another --seed changes at most what follows a context that occurs "
            "again; another key, into another file, gives other texts"
        )
    print_note(
        f"{equal} of {len(prompts)} prompts are equal to earlier ones and get the same texts as those, since "
        "a text depends on nothing but its prompt, the key and the settings of the run; the summary counts "
        f"each once ({other})"
    )


def _print_summary(run: Outcome, settings: EngineSettings) -> None:
    from tradeoff.llm.measurements import (
        aatps,
        acceptance,
        distinct_texts,
        interval,
        log_perplexity,
        per_token_time,
    )

    out, records = stdout(), run.records
    distinct = len(distinct_texts(records))
    parts = [
        f"{len(records)} text{'s' * (len(records) != 1)}"
        + (f" ({distinct} distinct)" if distinct < len(records) else "")
    ]
    if run.new:
        parts.append(f"{run.new} new, {run.tokens} tokens in {run.seconds:.1f} s")
        parts.append(f"{run.tokens / run.seconds:.1f} tokens/s")
    if all(record.batch == 1 for record in records):
        time = per_token_time(records)
        parts.append(f"PTT {_with_error(time, 1)} ms")
    if settings.drafts:
        steps = aatps(records)
        low, high = interval(steps, distinct)
        low, high = max(low, 1.0), min(high, min(settings.lookahead, settings.max_tokens) + 1.0)
        parts.append(f"AATPS {steps.value:.3f} (95% interval {low:.3f} to {high:.3f})")
    sampled = log_perplexity(records)
    parts.append(f"LOGPPL {_with_error(sampled, 3)}")
    if not settings.sampling.plain:
        parts.append(f"at temperature 1 {log_perplexity(records, model=True).value:.3f}")
    out.print("   ".join(parts), soft_wrap=True)
    if settings.measure and settings.drafts and settings.method.width == 1:
        found = acceptance(records)
        theory = f"expected {found.expected:.4f} ± {found.standard_error:.4f} "
        if math.isnan(found.expected):
            theory = ""
        out.print(
            f"acceptance {found.rate:.4f}, {theory}({found.verified} drafts verified, "
            f"mean 1 - TV {found.overlap:.4f})",
            soft_wrap=True,
        )
    short = sum(record.finish == "eos" and len(record.token_ids) < _SHORT for record in records)
    if short:
        out.print(
            f"{short} of {len(records)} texts ended before {_SHORT} tokens; see --chat, --ignore-eos",
            soft_wrap=True,
        )


def _with_error(estimate: Estimate, digits: int) -> str:
    """A single text tells nothing of the error."""
    if not math.isfinite(estimate.standard_error):
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} ± {estimate.standard_error:.{digits}f}"
