"""`tradeoff generate`: watermarked text from a draft/target pair."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeoff.cli.help import PRF_NAMES, WATERMARKS, WIDEST, AsJsonTexts, Quiet, examples
from tradeoff.cli.key import read_configs, read_key
from tradeoff.display import (
    exit_on_bad_input,
    print_note,
    print_warning,
    print_written,
    require_stdout,
    stderr,
    stdin,
    stdout,
    visible,
)

if TYPE_CHECKING:
    from rich.console import Console

    from tradeoff.estimate import Estimate
    from tradeoff.keyed import KeyProfile
    from tradeoff.llm import Texts

__all__ = ["GENERATE_EXAMPLES", "generate_command"]

#: Shown below its options.
GENERATE_EXAMPLES = examples(
    'tradeoff generate "Write a letter" --key-file my.key',
    "echo Write a letter | tradeoff generate - --key-file my.key -o texts.jsonl",
    "tradeoff generate --prompts builtin:continuation --limit 2 -o texts.jsonl",
    "tradeoff generate --prompts prompts.txt --method standard --json",
)

#: The prompt that stands for standard input.
_STDIN = "-"
#: The only method without a watermark.
_STANDARD = "standard"
#: `tradeoff.texts.UNMARKED`, which would be imported for the help.
_UNMARKED = 16
#: A text that ends before so many tokens is hardly one.
_SHORT = 5
_METHOD_HELP = (
    "joint: the best of the watermark's, whose name records hold. joint-race: gumbel; joint-race-tree: the "
    "same with more candidates a level; joint-tournament: synthid:M, completed or not; joint-transport: "
    "simplexwater, heavywater; joint-race-marked: completed ones, biased too; algorithm-1: any unbiased "
    "watermark, as in the paper. one-race, one-race-tree, single-key, keep-strength, keep-efficiency, "
    "two-keys, target-only: to compare with; basic: no "
    "speculation; dual-key: the same for gumbel, under two keys as in vLLM; standard: no watermark. Default: "
    "joint."
)


def generate_command(
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT", help="What the text continues, or - for standard input.", show_default=False
        ),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="Instead of one prompt: text file with one prompt a line, JSON lines with id and prompt, or "
            "builtin:question, builtin:continuation."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="JSON lines to write, or to go on with. Without it the text is shown."
        ),
    ] = None,
    method: Annotated[str | None, typer.Option(help=_METHOD_HELP)] = None,
    watermark: Annotated[
        str | None,
        typer.Option(help=f"{WATERMARKS}, or none. Default: gumbel; none for the method standard."),
    ] = None,
    width: Annotated[
        int | None, typer.Option(help=f"Candidates a level of a tree, up to {WIDEST}. Default: 2.")
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Weight of the second of two keys of gumbel; dual-key draws that part of tokens with it. "
            "Default: 0.1 for dual-key; both alike for two-keys and algorithm-1."
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="Key file, as made by `tradeoff key new`. Default: the hex digits in TRADEOFF_KEY."
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Integer key of --prf vllm-philox-v1, or depth keys N,N,... of hf-synthid."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Configuration of vLLM or Transformers, as it is, in place of --key-file, --watermark, "
            "--prf, --context-width and --alpha; as `tradeoff detect` reads them."
        ),
    ] = None,
    vocabulary: Annotated[
        int | None,
        typer.Option(help="vocab_size of the model, for --config with green lists. Default: the target's."),
    ] = None,
    prf: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(PRF_NAMES)}. Default: the first.")
    ] = None,
    context_width: Annotated[
        int | None,
        typer.Option(help="Tokens before a position that seed it. Default: 2; 4 of vllm-philox-v1."),
    ] = None,
    target: Annotated[
        str, typer.Option(help="builtin, a folder, a .gguf file or a Hugging Face id.")
    ] = "builtin",
    draft: Annotated[
        str,
        typer.Option(
            help="The same; or skip:14,16, the target without these layers; or jump, a fast draft of the "
            "builtin target; or ngram, ngram:3, no model but what followed the last tokens before."
        ),
    ] = "builtin",
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps. Default: the best there is.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16. Default: by device.")
    ] = None,
    device_map: Annotated[
        str | None,
        typer.Option(
            help="Instead of --device: spread the target over all GPUs, by auto, balanced or sequential.",
            show_default=False,
        ),
    ] = None,
    lookahead: Annotated[
        str,
        typer.Option(
            help="Draft tokens a step, K; fewer at the end of a text. Or auto: the fastest, by what is "
            "accepted and how long rounds take here."
        ),
    ] = "3",
    verify: Annotated[
        str,
        typer.Option(
            help="token: drafts one by one; block: a step's drafts together, of which more are accepted. Not "
            "for trees, keep-strength, basic, ngram."
        ),
    ] = "token",
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature, above 0. Default: the model's own, else 1.")
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(help="Keep the k most probable tokens; 0 keeps all. Default: the model's own, or 0."),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Keep the most probable tokens up to this mass. Default: the model's own, or 1."),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            help="Keep tokens at least this times as probable as the first. Default: the model's own, or 0."
        ),
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        typer.Option(help="Of tokens in prompt or text; 1 is none. Default: the model's own, or 1."),
    ] = None,
    presence_penalty: Annotated[
        float, typer.Option(help="Taken off the logits of tokens that the text has.")
    ] = 0.0,
    frequency_penalty: Annotated[float, typer.Option(help="The same for every time that it has them.")] = 0.0,
    logit_bias: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=BIAS", help="Added to the logit of a token; -inf bans it. Repeatable."),
    ] = None,
    min_tokens: Annotated[int, typer.Option(help="No end-of-text token before so many.")] = 0,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="The text ends with the token that completes this string. Repeatable."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Texts for every prompt.")] = 1,
    unmarked: Annotated[
        int | None,
        typer.Option(
            help="Tokens at the beginning of every text that are drawn truly at random, without a watermark. "
            f"Default: {_UNMARKED} for several samples, else none."
        ),
    ] = None,
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
    workers: Annotated[
        str | None,
        typer.Option(
            help="Generate in parts: 4 by so many processes; ray, or ray:8, by actors of a Ray cluster. 1 "
            "writes what any number writes. Each loads the models, and reads the key file.",
            show_default=False,
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            help="Share of a GPU that an actor of Ray takes, such as 0.5, or several GPUs that the target is "
            "spread over, such as 2. Default: 1 where there is any.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJsonTexts = False,
    quiet: Quiet = False,
) -> None:
    """Generate text with a watermark under speculative decoding.

    The text of one PROMPT is shown on standard output, and what is known of
    it on standard error. With --output texts are written to a file: every
    finished one is appended at once, and the same command goes on after a
    kill.

    What the profile of a key says comes before the defaults, and options
    before the profile.
    """
    with exit_on_bad_input(quiet):
        from tradeoff.api import generate
        from tradeoff.cli.workers import KeysToRead, check_key_files
        from tradeoff.cli.writing.marking import scheme_under, valid_today
        from tradeoff.kernels import method_type
        from tradeoff.keyed import prf_type
        from tradeoff.llm import Controls
        from tradeoff.scheme import Scheme

        given = {
            "--method": method,
            "--watermark": watermark,
            "--alpha": alpha,
            "--prf": prf,
            "--context-width": context_width,
            "--tokenizer": None if target == "builtin" else target,
        }
        if as_json or output is None:
            require_stdout()
        secret = key_file or config
        if workers is not None:
            check_key_files([] if secret is None else [secret], key)
        asked = _prompts(prompt, prompts)
        used, told_prf = None, prf
        if config is not None:
            said: dict[str, object] = {
                "--key-file": key_file,
                "--key": key,
                "--watermark": watermark,
                "--prf": prf,
            }
            said |= {"--context-width": context_width, "--alpha": alpha}
            known = partial(_vocabulary_of, target)
            used = valid_today(read_configs([config], vocabulary, said, known).keys[0])
            profile = used.profile
            if method is None or method == profile.method:
                method, alpha = profile.method, profile.alpha
            else:
                _check_read_alike(method, profile)
                alpha = profile.alpha if method_type(method).weighed else None
            watermark, prf, context_width = profile.watermark, profile.prf, profile.context_width
        elif vocabulary is not None:
            raise ValueError(f"--vocabulary {vocabulary} is for --config; leave it out")
        elif watermark != "none" and (watermark is not None or method != _STANDARD):
            used = valid_today(read_key(key_file, key, prf or (None if key is None else PRF_NAMES[0])))
            if method is None and watermark is not None and used.profile.method is not None:
                # Else `detect` would take that of the profile.
                given["--method"] = "joint"
        asks: dict[str, Any] = {"width": width, "alpha": alpha, "prf": prf, "context_width": context_width}
        if used is None or config is not None:
            scheme = Scheme.of(method, watermark, **asks)
        else:
            scheme = scheme_under(used, method, watermark, **asks)
        if secret is not None and output is not None and secret.resolve() == output.resolve():
            raise ValueError(f"{output} holds the key; write the texts to another file")
        marking = used if scheme.marks else None
        reader = None
        if marking is not None and workers is not None:
            reader = KeysToRead(
                () if key_file is None else (key_file,),
                told_prf is not None and prf_type(told_prf).key_type is int,
                None,
                () if config is None else (config,),
                vocabulary if config is None or vocabulary is not None else _vocabulary_of(target),
                (marking.fingerprint,),
            ).read_one
        texts = generate(
            asked,
            scheme,
            marking.key if marking is not None and reader is None else None,
            target=target,
            draft=draft,
            tokens=max_tokens,
            lookahead=int(lookahead) if lookahead.removeprefix("-").isdecimal() else lookahead,
            verify=verify,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            controls=Controls(
                repetition_penalty=repetition_penalty,
                presence_penalty=presence_penalty,
                frequency_penalty=frequency_penalty,
                logit_bias=_biases(logit_bias or []),
                min_tokens=min_tokens,
                stop=tuple(stop or ()),
            ),
            samples=samples,
            unmarked=unmarked,
            batch=batch,
            seed=seed,
            chat=chat,
            ignore_eos=ignore_eos,
            measure=measure,
            limit=limit,
            output=output,
            device=device,
            dtype=dtype,
            device_map=device_map,
            probe=not no_probe,
            workers=workers,
            gpus_per_worker=gpus_per_worker,
            read_key=reader,
            warn=print_warning,
            note=print_note,
        )
        if as_json:
            for record in texts.records:
                typer.echo(json.dumps(record.to_json(), allow_nan=False))
            return
        shown = prompt is not None or output is None
        if shown:
            _print_texts(texts)
        if quiet:
            return
        # Beside a text on standard output, which a file or `tradeoff detect -` may be waiting for.
        out = stderr() if shown else stdout()
        if shown:
            out.print()
        _print_summary(out, texts)
        if shown and scheme.marks:
            out.print(_told_detection(given, key_file, key, config, output), soft_wrap=True)
        if output is None:
            return
        if texts.new:
            print_written(out, [output])
        else:
            done = f"nothing to do: all {len(texts)} texts are in {output}"
            out.print(done, soft_wrap=True)


def _biases(given: Sequence[str]) -> dict[int, float]:
    """Of options ID=BIAS."""
    found: dict[int, float] = {}
    for one in given:
        token, _, bias = one.partition("=")
        try:
            found[int(token)] = float(bias)
        except ValueError:
            raise ValueError(f"--logit-bias {one} is not ID=BIAS, such as 13=-inf or 50=2.5") from None
    return found


def _prompts(prompt: str | None, prompts: str | None) -> str | list[str]:
    """What is asked for: the one prompt, or a name of several."""
    if (prompt is None) == (prompts is None):
        both = "not both" if prompt is not None else "such as tradeoff generate 'Write a letter'"
        raise ValueError(f"give either a PROMPT, - for standard input, or --prompts FILE, {both}")
    if prompts is not None:
        return prompts
    assert prompt is not None
    words = prompt
    if prompt == _STDIN:
        try:
            words = stdin().read().decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"the prompt on standard input is not UTF-8 ({error}); convert it first"
            ) from None
    if not words.strip():
        raise ValueError(
            "PROMPT is empty; write what the text continues, such as tradeoff generate 'Write a letter'"
        )
    return [words]


def _print_texts(texts: Texts) -> None:
    """The words on standard output: as they are for files and pipes, harmless for people."""
    out = stdout()
    for record in texts.records:
        if len(texts) > 1:
            out.print(f"{record.id}:", style="bold", soft_wrap=True)
        if out.is_terminal:
            out.print(visible(record.text, keep="\n"))
        else:
            typer.echo(record.text)


def _told_detection(
    given: Mapping[str, object],
    key_file: Path | None,
    key: str | None,
    config: Path | None,
    output: Path | None,
) -> str:
    """The command by which the text is detected; an integer key is not repeated."""
    words = ["tradeoff", "detect", "letter.txt" if output is None else str(output)]
    if key_file is not None:
        words += ["--key-file", str(key_file)]
    elif key is not None:
        words += ["--key", "N"]
    elif config is not None:
        words += ["--config", str(config)]
        # What generated it is told by its record, and read alike.
        given = {name: value for name, value in given.items() if name != "--method"}
    for name, value in given.items():
        if value is not None:
            words += [name, str(value)]
    saved = "with the text in letter.txt, " if output is None else ""
    return f"to detect it: {saved}{visible(shlex.join(words))}"


def _vocabulary_of(target: str) -> int | None:
    """That of a model whose folder is here."""
    from tradeoff.verdicts import vocabulary_beside

    if target == "builtin":
        from tradeoff.llm import builtin_target_folder

        return vocabulary_beside(builtin_target_folder())
    return vocabulary_beside(target) if Path(target).is_dir() else None


def _check_read_alike(method: str, profile: KeyProfile) -> None:
    """A method writes what a configuration means if whoever reads that reads it whole."""
    from tradeoff.scheme import Scheme, Sight

    prf, width = profile.prf, profile.context_width
    meant = Scheme.of(profile.method, profile.watermark, alpha=profile.alpha, prf=prf, context_width=width)
    asked = Scheme.of(method, profile.watermark, prf=prf, context_width=width)
    if meant.sees(asked) is not Sight.WHOLE:
        raise ValueError(
            f"--method {method} draws under other streams of the key than --config says, so that its own "
            f"software would not find the text; leave --method out, which is {profile.method} then"
        )


def _print_summary(out: Console, texts: Texts) -> None:
    from tradeoff.llm import Sampling
    from tradeoff.texts import aatps, acceptance, distinct_texts, interval, log_perplexity, per_token_time

    records = texts.records
    run = records[0].run
    distinct = len(distinct_texts(records))
    parts = [
        f"{len(records)} text{'s' * (len(records) != 1)}"
        + (f" ({distinct} distinct)" if distinct < len(records) else "")
    ]
    if texts.new:
        parts.append(f"{texts.new} new, {texts.tokens} tokens in {texts.seconds:.1f} s")
        parts.append(f"{texts.tokens / texts.seconds:.1f} tokens/s")
    if all(record.batch == 1 for record in records):
        time = per_token_time(records)
        parts.append(f"PTT {_with_error(time, 1)} ms")
    if run.lookahead:
        steps = aatps(records)
        low, high = interval(steps, distinct)
        low, high = max(low, 1.0), min(high, min(run.lookahead, run.max_tokens) + 1.0)
        parts.append(f"AATPS {steps.value:.3f} (95% interval {low:.3f} to {high:.3f})")
    sampled = log_perplexity(records)
    parts.append(f"LOGPPL {_with_error(sampled, 3)}")
    if run.controls or not Sampling(run.temperature, run.top_k, run.top_p, run.min_p or 0.0).plain:
        parts.append(f"at temperature 1 {log_perplexity(records, model=True).value:.3f}")
    out.print("   ".join(parts), soft_wrap=True)
    if run.measured and run.lookahead and run.width == 1 and run.verify is None:
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
