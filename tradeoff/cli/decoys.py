"""`tradeoff decoys`: what keys that wrote nothing do to texts of one's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from tradeoff.cli.help import Quiet, examples
from tradeoff.cli.key import read_keyring
from tradeoff.cli.looked_for import (
    Alpha,
    DetectorName,
    FieldName,
    Fpr,
    InSegments,
    IntegerKey,
    KeyFiles,
    Methods,
    Prfs,
    Retokenize,
    Sources,
    TokenizerName,
    Watermarks,
    Widths,
)
from tradeoff.display import Bar, exit_on_bad_input, print_note, print_warning, require_stdout, stdin, stdout

if TYPE_CHECKING:
    from tradeoff.verdicts import Decoys

__all__ = ["DECOYS_EXAMPLES", "decoys_command"]

#: Shown below its options.
DECOYS_EXAMPLES = examples(
    "tradeoff decoys essays/ --keys 200",
    "tradeoff decoys essays/ --key-file my.key --json",
)


def decoys_command(
    sources: Sources,
    keys: Annotated[int, typer.Option(help="How many decoy keys.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the decoys, which are no secrets.")] = 0,
    key_file: KeyFiles = None,
    key: IntegerKey = None,
    prf: Prfs = None,
    context_width: Widths = None,
    method: Methods = None,
    watermark: Watermarks = None,
    alpha: Alpha = None,
    tokenizer: TokenizerName = None,
    field: FieldName = None,
    retokenize: Retokenize = False,
    detector: DetectorName = None,
    fpr: Fpr = 0.01,
    segments: InSegments = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    quiet: Quiet = False,
) -> None:
    """Judge texts of your own under keys that nobody uses.

    A p-value is exact over keys; under the one key that is used, the share of
    texts that are called differs from key to key, and by more the more
    passages the texts share. Decoys tell by how much, before a key is put to
    use. With --key-file the real key is compared with them: the share of keys
    that call at least as many texts is a p-value of all texts together, exact
    whatever they share.
    """
    with exit_on_bad_input(quiet):
        from tradeoff.api import decoys
        from tradeoff.texts import read_texts
        from tradeoff.verdicts import Options

        require_stdout()
        options = Options(
            method=method,
            watermark=watermark,
            prf=prf,
            context_width=context_width,
            alpha=alpha,
            tokenizer=tokenizer,
            retokenize=retokenize,
            detector=detector,
            fpr=fpr,
            segments=segments,
        )
        real = None
        if key_file or key is not None:
            ring = read_keyring(key_file or [], key, prf or [])
            if len(ring) > 1:
                raise ValueError(f"--key-file names {len(ring)} keys; compare one with the decoys")
            (real,) = ring
        with Bar("decoy keys", keys) as bar:
            found = decoys(
                read_texts(sources, stdin(), print_warning, field=field, note=print_note),
                options,
                real,
                keys=keys,
                seed=seed,
                note=print_note,
                report=lambda done, _: bar.show(done),
            )
        if as_json:
            typer.echo(json.dumps(_facts(found), allow_nan=False))
        else:
            _print(found)


def _facts(found: Decoys) -> dict[str, object]:
    return {
        "texts": found.texts,
        "decoys": len(found.called),
        "fpr": found.fpr,
        "mean_share": found.mean,
        "standard_error": found.standard_error,
        "quantiles": {str(q): found.quantile(q) for q in (0.5, 0.9, 0.99, 1.0)},
        "real_share": None if found.real is None else found.real / found.texts,
        "p": found.p,
    }


def _print(found: Decoys) -> None:
    out = stdout()
    out.print(
        f"{found.texts:,} text{'s' * (found.texts != 1)}, {len(found.called):,} decoy keys: "
        f"{found.mean:.2%} called watermarked on average (± {found.standard_error:.2%}; "
        f"false-positive rate {found.fpr:g})",
        soft_wrap=True,
    )
    told = ", ".join(f"{found.quantile(q):.2%} ({name})" for q, name in _QUANTILES)
    out.print(f"by single keys: {told}", soft_wrap=True)
    if found.real is not None:
        out.print(
            f"the real key calls {found.real / found.texts:.2%}; p = {found.p:.3g} if it wrote none of them",
            soft_wrap=True,
        )


_QUANTILES = ((0.5, "half of them at most"), (0.9, "nine in ten at most"), (1.0, "the worst"))
