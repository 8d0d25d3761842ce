"""`tradeoff key`: make a key, and name keys without showing them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeoff.cli.help import PRF_NAMES, Quiet, examples
from tradeoff.display import exit_on_bad_input, print_warning, require_stdout, stdout, visible

if TYPE_CHECKING:
    from tradeoff.keyed import AnyKey, KeyFile, Keyring

__all__ = ["KEY_EXAMPLES", "day_of", "key_app", "read_configs", "read_key", "read_keyring"]

#: Shown below the options of every command, by its name.
KEY_EXAMPLES = {
    "new": examples(
        "tradeoff key new -o my.key",
        'tradeoff key new -o 2027.key --name "letters 2027" --valid-from 2027-01-01',
    ),
    "fingerprint": examples("tradeoff key fingerprint my.key"),
    "list": examples("tradeoff key list my.key", "tradeoff key list keys/"),
}

#: Keys of fewer bits are found from their fingerprint by trying all of them in days on one machine.
_GUESSED_BITS = 48

key_app = typer.Typer(no_args_is_help=True, help="Watermark keys.")


@key_app.command("new", epilog=KEY_EXAMPLES["new"])
def new_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; never overwritten.")] = Path(
        "tradeoff.key"
    ),
    name: Annotated[str, typer.Option(help="Of the key, for people; it stands beside verdicts.")] = "",
    valid_from: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="First day of its use.")
    ] = None,
    valid_until: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Last day of its use.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="What it is used for: method of generation.")] = None,
    watermark: Annotated[str | None, typer.Option(help="The same: watermark.")] = None,
    prf: Annotated[
        str | None,
        typer.Option(help=f"The same: one of {', '.join(PRF_NAMES)}, whose keys are of different kinds."),
    ] = None,
    context_width: Annotated[int | None, typer.Option(help="The same: tokens that seed a position.")] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Of the model that writes: builtin, a folder, a tokenizer.json or a Hugging Face id."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make a new secret key in a file that only its owner can read.

    What it is used for stands in its file as a profile, by which `generate`
    and `detect` go where no option says otherwise.
    """
    with exit_on_bad_input(quiet):
        from tradeoff.keyed import DepthKeys, Key, KeyFile, KeyProfile, prf_type
        from tradeoff.scheme import Scheme

        scheme = Scheme.of(method, watermark, prf=prf, context_width=context_width)
        if any(told is not None for told in (method, watermark, prf, context_width)):
            # Refuses what nothing could be detected by.
            scheme.detector()
        # The width is told always: the default has changed once.
        profile = KeyProfile(method, watermark, prf, scheme.context_width, tokenizer, _hash_of(tokenizer))
        kind = prf_type(PRF_NAMES[0] if prf is None else prf).key_type
        if kind is DepthKeys:
            key: AnyKey = DepthKeys.new(scheme.method.decoder.tournament or 0)
        else:
            key = Key.new() if kind is Key else secrets.randbits(64)
        made = KeyFile(
            key, name, day_of("valid-from", valid_from), day_of("valid-until", valid_until), profile
        )
        made.write(output)
        if not quiet:
            stdout().print(f"wrote {visible(str(output))}, fingerprint {made.fingerprint}", soft_wrap=True)


@key_app.command("fingerprint", epilog=KEY_EXAMPLES["fingerprint"])
def fingerprint_command(path: Annotated[Path, typer.Argument(metavar="FILE", help="Key file.")]) -> None:
    """Print the fingerprint by which records name a key."""
    with exit_on_bad_input():
        from tradeoff.keyed import KeyFile

        require_stdout()
        stdout().print(KeyFile.read(path).fingerprint)


@key_app.command("list", epilog=KEY_EXAMPLES["list"])
def list_command(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Key files, or folders of .key and .toml files.")
    ],
) -> None:
    """Tell names, fingerprints, dates and profiles of keys; no secret is shown."""
    with exit_on_bad_input():
        from rich.table import Table

        from tradeoff.keyed import Keyring

        require_stdout()
        table = Table("name", "fingerprint", "valid from", "until", "profile")
        for key in Keyring.read(paths):
            profile = ", ".join(
                f"{what.replace('_', ' ')} {value}"
                for what, value in vars(key.profile).items()
                if value is not None and what != "tokenizer_hash"
            )
            days = (str(key.valid_from or "-"), str(key.valid_until or "-"))
            table.add_row(visible(key.name) or "-", key.fingerprint, *days, visible(profile) or "-")
        stdout().print(table)


def day_of(name: str, told: str | None) -> date | None:
    """The day that an option names.

    Raises:
        ValueError: for what is none.
    """
    if told is None:
        return None
    try:
        return date.fromisoformat(told)
    except ValueError:
        raise ValueError(f"--{name} {told} is no day; write it as 2027-01-31") from None


def read_key(key_file: Path | None, key: str | None, prf: str | None) -> KeyFile:
    """The one key that the options of `generate` name.

    Args, raises: as `read_keyring`.
    """
    keys = read_keyring([] if key_file is None else [key_file], key, [] if prf is None else [prf]).keys
    if len(keys) > 1:
        raise ValueError(f"--key-file {key_file} holds {len(keys)} keys; name a file with the one to use")
    return keys[0]


def read_keyring(key_files: Sequence[Path], key: str | None, prfs: Sequence[str]) -> Keyring:
    """The keys that the options name, or that of the environment.

    Args:
        key_files: files and folders.
        key: integer of vLLM's format, or several with commas between them, depth keys of hf-synthid.
        prfs: names of the pseudorandom functions that the options name.

    Raises:
        ValueError: if there is no key, or one of the wrong kind.
    """
    from tradeoff.keyed import DepthKeys, Key, Keyring, files_of_keys, prf_type

    kinds = [prf_type(prf).key_type for prf in prfs]
    if key is not None and key_files:
        raise ValueError("--key and --key-file name two keys; write the integer to a file of its own")
    if key is not None:
        if kinds and int not in kinds and DepthKeys not in kinds:
            raise ValueError(
                "--key takes the integer keys of --prf vllm-philox-v1; secret keys come from --key-file or "
                "TRADEOFF_KEY, so that they do not show in the list of processes"
            )
        integers = [_integer(one) for one in key.split(",")]
        if len(integers) > 1 or (kinds and int not in kinds):
            return _checked(Keyring.of(DepthKeys(integers)))
        return _checked(Keyring.of(integers[0]))
    if key_files:
        for file in key_files:
            for path in files_of_keys(file):
                _warn_if_shared(path)
        return _checked(Keyring.read(key_files, integers=int in kinds))
    if kinds and set(kinds) == {DepthKeys}:
        raise ValueError(f"--prf {prfs[0]} needs depth keys: --key N,N,..., or --key-file FILE")
    if kinds and Key not in kinds:
        raise ValueError(f"--prf {prfs[0]} needs the integer key of vLLM: --key N, or --key-file FILE")
    return Keyring.of(Key.from_environment())


def read_configs(
    configs: Sequence[Path],
    vocabulary: int | None,
    others: Mapping[str, object],
    known: Callable[[], int | None] | None = None,
) -> Keyring:
    """The keys of configurations of other software, each with what it says as its profile.

    Args:
        configs: files.
        vocabulary: of the model.
        others: options that say what configurations say, by their names.
        known: tells the vocabulary where neither option nor file does.

    Raises:
        ValueError: for an option beside configurations, or what is no configuration.
    """
    from tradeoff.keyed import Keyring
    from tradeoff.verdicts import ForeignConfig

    for name, value in others.items():
        if value not in (None, [], ()):
            raise ValueError(
                f"--config says what {name} does: it holds the key and all that is drawn by it; leave {name} "
                "out, or --config"
            )
    for path in configs:
        _warn_if_shared(path)
    told = known if vocabulary is None else vocabulary
    return _checked(Keyring(tuple(ForeignConfig.read(path, told).key for path in configs)))


def _integer(key: str) -> int:
    try:
        return int(key.strip(), 16 if key.strip().lower().startswith("0x") else 10)
    except ValueError:
        raise ValueError(
            "--key is not an integer; pass 0 to 2^64 - 1, or depth keys with commas between them"
        ) from None


def _checked(keyring: Keyring) -> Keyring:
    from tradeoff.keyed import DepthKeys

    secrets_ = keyring.secrets
    if any(isinstance(key, DepthKeys) and _bits(key.secret) < _GUESSED_BITS for key in secrets_):
        print_warning(
            f"the depth keys have fewer than {_GUESSED_BITS} bits together: whoever sees their fingerprint, "
            "which records hold, finds them by trying; use random ones of `tradeoff key new --prf hf-synthid`"
        )
    if any(isinstance(key, int) and key < 1 << _GUESSED_BITS for key in secrets_):
        print_warning(
            f"the integer key is below 2^{_GUESSED_BITS}: whoever sees its fingerprint, which records hold, "
            "finds it by trying; use a random one of 64 bits"
        )
    return keyring


def _bits(integers: Sequence[int]) -> int:
    """How many they have together."""
    return sum(integer.bit_length() for integer in integers)


def _hash_of(tokenizer: str | None) -> str | None:
    if tokenizer is None:
        return None
    # Only this one needs the extra `llm`.
    from tradeoff.llm import load_words
    from tradeoff.verdicts import vocabulary_hash

    return vocabulary_hash(load_words(tokenizer))


def _warn_if_shared(key_file: Path) -> None:
    """Warn of a key file that others can read or change; what it holds is not touched."""
    with suppress(OSError):
        if os.name != "nt" and key_file.is_file() and key_file.stat().st_mode & 0o077:
            print_warning(
                f"{key_file}, which holds a key, is open to other users of this machine: chmod 600 {key_file}"
            )
