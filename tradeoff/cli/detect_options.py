"""`tradeoff detect`: options and help; what it does, `tradeoff.cli.detect`, is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradeoff.cli.help import AsJsonTexts, CorrectionName, Quiet, examples
from tradeoff.cli.looked_for import (
    Alpha,
    Configs,
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
    Vocabulary,
    Watermarks,
    Widths,
)
from tradeoff.display import exit_on_bad_input

__all__ = ["DETECT_EXAMPLES", "detect_command"]

#: Shown below its options.
DETECT_EXAMPLES = examples(
    "tradeoff detect letter.txt --key-file my.key",
    "tradeoff detect essays/ --key-file my.key --corpus bh",
    "cat letter.txt | tradeoff detect - --key-file my.key --json",
    "tradeoff detect letter.txt --key-file my.key --quiet --exit-code",
    "tradeoff detect letter.txt --config watermark.json --tokenizer model/",
)


def detect_command(
    sources: Sources,
    key_file: KeyFiles = None,
    key: IntegerKey = None,
    config: Configs = None,
    vocabulary: Vocabulary = None,
    written: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="Test only keys that were in use on this day."),
    ] = None,
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
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential",
            help="Read token by token, stop as soon as the verdict is certain, and tell how many it took.",
        ),
    ] = False,
    segments: InSegments = True,
    corpus: Annotated[
        CorrectionName | None,
        typer.Option(
            help="Judge all texts together: contexts that several have count once, and verdicts are "
            "corrected for the number of texts, by Holm (chance of any false alarm) or Benjamini-Hochberg "
            "(share of false alarms among those called)."
        ),
    ] = None,
    workers: Annotated[
        str,
        typer.Option(
            help="Processes that judge texts, or ray, ray:8 for actors of a Ray cluster; for many texts, "
            "without --tokens and --html."
        ),
    ] = "1",
    as_json: AsJsonTexts = False,
    tokens: Annotated[
        bool,
        typer.Option(
            "--tokens", help="Show what every token says; with --json, add index, scores and marked."
        ),
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write verdicts and what every token says to this page.")
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="End with status 1 if any text is watermarked, as a whole or in part, and 0 if none is.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Tell whether texts carry the watermark of a key, with exact p-values.

    It needs the key and the tokens, not the model. A line with token_ids is
    scored from them. Words are tokenised again, which may give other tokens
    than were generated; no watermark is seen around those. To tell what that
    costs, pass --retokenize.

    Keys, --method, --watermark, --prf and --context-width may be given
    several times: all combinations are tested, and what the key's profile
    says where no option does. A text's own record may add a setting, in what no
    option says, and takes none away. Words with no-break spaces, invisible
    characters or decomposed letters are read once more without them (not by
    --sequential). The p-value is corrected for all tests of a text (Holm), and for all parts
    that were looked at, whatever their number.

    Verdicts: watermarked (p <= fpr), watermarked in part (likewise, and less
    than 9 tokens in 10 lie in the parts that are told), not detected, and
    too short (fewer tokens count than a context has). The exit status is 0
    whatever the verdicts (but see --exit-code), and 2 for bad input; texts
    that can be read get theirs even then.

    Settings that all texts share stand above the table, others in columns of
    their own. Where there are more texts than lines on the screen, those that
    are watermarked come first, by their p-values, and the others follow in
    the order in which they were read; --json keeps that order throughout.
    With --quiet the table has what is watermarked alone.

    The p-value says how rarely a random key scores so high on this text, if
    its writer has seen no text of that key. A passage that was copied from a
    marked text is marked: the verdict is of the passage, not of who wrote
    the rest.

    Of many texts under one key, false alarms are to be expected at the
    false-positive rate, and several at once where texts share passages:
    --corpus corrects for both. `tradeoff decoys` shows what single keys do
    to texts of your own.

    With --sequential a text is bet on token by token. Its p-value holds at
    whatever token one stops, so reading ends where it falls to --fpr. A stream
    with no place to cut between tokens (neither white space nor punctuation)
    is judged at its end.
    """
    with exit_on_bad_input(quiet):
        from tradeoff.cli.detect import detect_sources
        from tradeoff.verdicts import Correction, Options

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
            sequential=sequential,
            segments=segments,
        )
        detect_sources(
            sources,
            options,
            key_files=key_file or [],
            key=key,
            configs=config or [],
            vocabulary=vocabulary,
            written=written,
            field=field,
            correction=None if corpus is None else Correction(corpus),
            workers=workers,
            as_json=as_json,
            tokens=tokens,
            html=html,
            exit_code=exit_code,
        )
