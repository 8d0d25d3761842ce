"""`tradeoff serve`: verdicts for whoever asks over HTTP."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeoff.cli.help import Quiet, examples
from tradeoff.cli.looked_for import (
    Alpha,
    Configs,
    DetectorName,
    Fpr,
    InSegments,
    KeyFiles,
    Methods,
    Prfs,
    TokenizerName,
    Vocabulary,
    Watermarks,
    Widths,
)
from tradeoff.display import (
    exit_on_bad_input,
    is_quiet,
    print_error,
    print_note,
    print_warning,
    require_llm,
    stderr,
    visible,
)

if TYPE_CHECKING:
    from tradeoff.cli.workers import KeysToRead
    from tradeoff.serving import Writing
    from tradeoff.verdicts import Options

__all__ = ["SERVE_EXAMPLES", "serve_command"]

#: Shown below its options.
SERVE_EXAMPLES = examples(
    "tradeoff serve --key-file my.key",
    "tradeoff serve --key-file keys/ --port 9000 --workers 4 --rate 60",
    "tradeoff serve --key-file keys/ --host 0.0.0.0 --token-file token",
    "tradeoff serve --key-file my.key --generate",
)
#: Packages of the extra, by the names that they are imported by.
_PACKAGES = ("fastapi", "multipart", "prometheus_client", "python_multipart", "starlette", "uvicorn")
_TOKEN = "TRADEOFF_SERVE_TOKEN"
_LONGEST_TOKEN_FILE = 4096


def serve_command(
    key_file: KeyFiles = None,
    config: Configs = None,
    vocabulary: Vocabulary = None,
    method: Methods = None,
    watermark: Watermarks = None,
    prf: Prfs = None,
    context_width: Widths = None,
    alpha: Alpha = None,
    tokenizer: TokenizerName = None,
    detector: DetectorName = None,
    fpr: Fpr = 0.01,
    segments: InSegments = True,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at. Others than this machine reach any but a loopback address."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 is any that is free.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"File with a token that requests must show. Default: {_TOKEN}, if it is set."),
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open-to-all", help="Listen where others reach it without a token.")
    ] = False,
    host_name: Annotated[
        list[str] | None,
        typer.Option(help="Name by which a proxy in front asks for it; may be given several times."),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address of a proxy that names clients (X-Forwarded-For); several times if need be."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that judge texts. Default: as many as there are cores.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Requests a minute for each client address. Default: any number."),
    ] = None,
    queue: Annotated[int, typer.Option(help="Requests at work at a time, the waiting ones among them.")] = 64,
    timeout: Annotated[float, typer.Option(help="Seconds for a body to arrive, and for its answer.")] = 30.0,
    max_bytes: Annotated[int, typer.Option(help="Largest body, in bytes.")] = 4 << 20,
    max_characters: Annotated[int, typer.Option(help="Most characters of a request's texts.")] = 1_000_000,
    max_tokens: Annotated[int, typer.Option(help="Most token ids of a request.")] = 100_000,
    max_texts: Annotated[int, typer.Option(help="Most texts of a file.")] = 1_000,
    log: Annotated[
        bool,
        typer.Option(
            "--log", help="A line for every request: method, path, status, time; no address or text."
        ),
    ] = False,
    generate: Annotated[
        bool,
        typer.Option(
            "--generate", help="Generate marked text, too (POST /v1/generate), for whoever may ask."
        ),
    ] = False,
    generate_key: Annotated[
        str | None,
        typer.Option(help="Name or fingerprint of the key that marks. Default: the only one valid today."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="With --generate, as of `tradeoff generate`. Default: builtin.")
    ] = None,
    draft: Annotated[str | None, typer.Option(help="The same.")] = None,
    device: Annotated[str | None, typer.Option(help="The same. Default: the best there is.")] = None,
    dtype: Annotated[str | None, typer.Option(help="The same. Default: by device.")] = None,
    lookahead: Annotated[str | None, typer.Option(help="Draft tokens a step, K. Default: 3.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of a generated text. Default: 512.")
    ] = None,
    max_samples: Annotated[
        int | None, typer.Option(help="Most generated texts of a request. Default: 4.")
    ] = None,
    generate_queue: Annotated[
        int | None,
        typer.Option(help="Requests to generate at a time, of which one is at work. Default: 8."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Answer over HTTP whether texts carry the watermark of a key.

    POST /v1/detect takes a text, token ids or a file and answers as
    `tradeoff detect --json` prints; GET / is a page for people; GET /v1/keys
    names the keys, GET /metrics counts, /openapi.json describes it all.
    With --generate, POST /v1/generate takes a prompt and answers with marked
    text, by --method, --watermark and what the key's profile says.

    Keys stay here: they are read at the start, by every process that
    needs one, and a request that names one is refused. What is sent is judged and
    not kept. On SIGTERM what runs is finished first.
    """
    with exit_on_bad_input(quiet):
        try:
            from tradeoff.serving import Access, Limits, Reports, Setup, serve
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _PACKAGES:
                raise
            print_error(f"serving needs {error.name}; {_install()}")
            raise typer.Exit(2) from error
        from tradeoff.verdicts import Options

        options = Options(
            method=method,
            watermark=watermark,
            prf=prf,
            context_width=context_width,
            alpha=alpha,
            tokenizer=tokenizer,
            detector=detector,
            fpr=fpr,
            segments=segments,
        )
        access = Access(
            host=host,
            token=_token(token_file),
            names=tuple(name.lower() for name in host_name or ()),
            open_to_all=open_to_all,
        )
        limits = Limits(
            max_bytes=max_bytes,
            max_characters=max_characters,
            max_tokens=max_tokens,
            max_texts=max_texts,
            queue=queue,
            timeout=timeout,
            rate=rate,
        )
        if not access.loopback and access.token is None:
            print_warning(f"host {host} can be reached by others, and no token is asked for (--open-to-all)")
        keys = _keys(options, key_file or [], config or [], vocabulary)
        said = {
            "--generate-key": generate_key,
            "--target": target,
            "--draft": draft,
            "--device": device,
            "--dtype": dtype,
            "--lookahead": lookahead,
            "--max-new-tokens": max_new_tokens,
            "--max-samples": max_samples,
            "--generate-queue": generate_queue,
        }
        writing = _writing(options, keys, said) if generate else None
        if not generate:
            _refuse_alone(said)
        reports = Reports(
            started=_print_started,
            wrong=print_error,
            missing=print_warning,
            log=_print_line if log else None,
            noted=None if is_quiet() else print_note,
        )
        serve(
            Setup(options=options, read_keys=keys.read, limits=limits),
            access,
            reports,
            port=port,
            workers=(os.cpu_count() or 1) if workers is None else workers,
            proxies=tuple(proxy or ()),
            writing=writing,
        )
        if not is_quiet():
            print_note("stopped")


def _install() -> str:
    from tradeoff.display import INSTALL_LLM

    return INSTALL_LLM.replace("llm", "serve")


def _keys(
    options: Options, key_files: Sequence[Path], configs: Sequence[Path], vocabulary: int | None
) -> KeysToRead:
    """Where every process finds the keys, which are read once here for what is to be said of them."""
    from tradeoff.cli.detect import said_by_configs, vocabulary_of
    from tradeoff.cli.key import read_configs, read_keyring
    from tradeoff.cli.workers import KeysToRead, check_files
    from tradeoff.keyed import prf_type

    check_files([*key_files, *configs], "write it to one")
    known = vocabulary_of(options.tokenizer)
    if configs:
        read_configs(configs, vocabulary, said_by_configs(options, key_files, None), known)
    elif vocabulary is not None:
        raise ValueError(f"--vocabulary {vocabulary} is for --config; leave it out")
    else:
        read_keyring(key_files, None, options.prfs)
    integers = any(prf_type(prf).key_type is int for prf in options.prfs)
    asked = known() if vocabulary is None else vocabulary
    return KeysToRead(tuple(key_files), integers, None, tuple(configs), asked)


def _refuse_alone(said: Mapping[str, object]) -> None:
    """Refuse options of generation where nothing is generated."""
    for name, value in said.items():
        if value is not None:
            raise ValueError(f"{name} {value} is for --generate; pass both, or leave {name} out")


def _writing(options: Options, keys: KeysToRead, said: Mapping[str, Any]) -> Writing:
    """What is generated, of what options say."""
    from tradeoff.cli.writing.marking import writing_of

    require_llm()
    lookahead = said["--lookahead"]
    if lookahead is not None and not lookahead.isdecimal():
        raise ValueError(
            f"--lookahead {lookahead} is no number of draft tokens; `tradeoff generate --lookahead auto` "
            "tells the fastest for a pair"
        )
    told = {
        "lookahead": None if lookahead is None else int(lookahead),
        "queue": said["--generate-queue"],
        "target": said["--target"],
        "draft": said["--draft"],
        "device": said["--device"],
        "dtype": said["--dtype"],
        "max_new_tokens": said["--max-new-tokens"],
        "max_samples": said["--max-samples"],
        "progress": not is_quiet(),
    }
    if told["target"] is not None and options.tokenizer is None:
        print_note(
            f"texts in words are split as the keys' profiles say; pass --tokenizer {told['target']} if they "
            "do not name it"
        )
    given = {name: value for name, value in told.items() if value is not None}
    return writing_of(options, keys, said["--generate-key"], given)


def _token(path: Path | None) -> str | None:
    """The token of a file, or of the environment; nothing of it is shown."""
    if path is None:
        return os.environ.get(_TOKEN) or None
    from tradeoff.errors import FileError
    from tradeoff.files import read_at_most

    try:
        return read_at_most(path, _LONGEST_TOKEN_FILE).decode("latin-1").strip()
    except OSError as error:
        raise FileError(
            f"token file {path} cannot be read ({error.strerror or error}); check the path"
        ) from None


def _print_started(url: str) -> None:
    if not is_quiet():
        stderr().print(f"listening on {visible(url)} (end with Ctrl-C)", soft_wrap=True)


def _print_line(line: str) -> None:
    stderr().print(visible(line), soft_wrap=True)
