"""`tradeoff key`: make a key, or name one without showing it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from tradeoff.display import exit_on_bad_input, print_warning, require_stdout, stdout, visible
from tradeoff.keyed import Key, prf_type, read_key_file

__all__ = ["key_app", "read_key"]

#: Keys of fewer bits are found from their fingerprint by trying all of them in days on one machine.
_GUESSED_BITS = 48

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
        stdout().print(f"wrote {visible(str(output))}, fingerprint {key.fingerprint}", soft_wrap=True)


@key_app.command("fingerprint")
def fingerprint_command(path: Annotated[Path, typer.Argument(metavar="FILE", help="Key file.")]) -> None:
    """Print the fingerprint by which records name a key."""
    with exit_on_bad_input():
        require_stdout()
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
    if key_file is not None:
        _warn_if_shared(key_file)
    if prf_type(prf).key_type is Key:
        if key is not None:
            raise ValueError(
                "--key takes the integer keys of --prf vllm-philox-v1; secret keys come from --key-file or "
                "TRADEOFF_KEY, so that they do not show in the list of processes"
            )
        return Key.from_environment() if key_file is None else Key.read(key_file)
    if key is None:
        if key_file is None:
            raise ValueError(f"--prf {prf} needs the integer key of vLLM: --key N, or --key-file FILE")
        key = read_key_file(key_file)
    try:
        number = int(key.strip(), 16 if key.strip().lower().startswith("0x") else 10)
    except ValueError:
        raise ValueError(f"the key of {prf} is not an integer; pass 0 to 2^64 - 1") from None
    if 0 <= number < 1 << _GUESSED_BITS:
        print_warning(
            f"the integer key is below 2^{_GUESSED_BITS}: whoever sees its fingerprint, which records hold, "
            "finds it by trying; use a random one of 64 bits"
        )
    return number


def _warn_if_shared(key_file: Path) -> None:
    """Warn of a key file that others can read or change; what it holds is not touched."""
    with suppress(OSError):
        if os.name != "nt" and key_file.is_file() and key_file.stat().st_mode & 0o077:
            print_warning(f"key file {key_file} is open to other users of this machine: chmod 600 {key_file}")
