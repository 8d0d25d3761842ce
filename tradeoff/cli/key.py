"""`tradeoff key`: make a key, or name one without showing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradeoff.console import exit_on_bad_input, stdout
from tradeoff.keys import Key

__all__ = ["key_app", "read_key"]

key_app = typer.Typer(no_args_is_help=True, help="Watermark keys.")


@key_app.command("new")
def new_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; never overwritten.")] = Path(
        "tradeoff.key"
    ),
) -> None:
    """Make a new secret key in a file that only its owner can read."""
    with exit_on_bad_input():
        key = Key.new()
        key.write(output)
        stdout().print(f"wrote {output}, fingerprint {key.fingerprint}", soft_wrap=True, markup=False)


@key_app.command("fingerprint")
def fingerprint_command(path: Annotated[Path, typer.Argument(metavar="FILE", help="Key file.")]) -> None:
    """Print the fingerprint by which records name a key."""
    with exit_on_bad_input():
        stdout().print(Key.read(path).fingerprint)


def read_key(key_file: Path | None, key: str | None, prf: str) -> Key | int:
    """The key that the options name: an integer for vLLM's format, secret bytes for the default.

    Args:
        key_file: file with hex digits (an integer for vLLM's format).
        key: integer of vLLM's format.
        prf: name of the pseudorandom function.

    Raises:
        ValueError: if there is no key, more than one, or one of the wrong kind.
    """
    if key is not None and key_file is not None:
        raise ValueError("--key and --key-file name two keys; pass one of them")
    if prf != "vllm-philox-v1":
        if key is not None:
            raise ValueError(
                "--key takes the integer keys of --prf vllm-philox-v1; secret keys come from --key-file or "
                "TRADEOFF_KEY, so that they do not show in the list of processes"
            )
        return Key.from_environment() if key_file is None else Key.read(key_file)
    if key is None:
        if key_file is None:
            raise ValueError(
                "--prf vllm-philox-v1 needs the integer key of vLLM: --key N, or --key-file FILE"
            )
        try:
            key = key_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"key file {key_file} cannot be read; pass a file with one integer") from error
    try:
        return int(key.strip(), 16 if key.strip().lower().startswith("0x") else 10)
    except ValueError:
        raise ValueError("the key of vllm-philox-v1 is not an integer; pass 0 to 2^64 - 1") from None
