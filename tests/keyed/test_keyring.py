"""Several keys: files of one or more, folders of files, days of validity, integers of the other format."""

from __future__ import annotations

import pickle
from datetime import date
from pathlib import Path

import pytest

from tradeoff.keyed import Key, KeyFile, KeyFormatError, KeyProfile, Keyring, VllmPhilox

KEYS = [Key(bytes([n]) * 32) for n in range(1, 5)]
INTEGER = 0x9E3779B97F4A7C15


def ring_file(*files: KeyFile) -> str:
    """A file of several keys, made of those of one each."""
    tables = []
    for file in files:
        lines = [line for line in file._content().splitlines() if not line.startswith(("#", "format"))]
        tables.append("[[key]]\n" + "\n".join(lines).replace("[profile]", "[key.profile]"))
    return 'format = "tradeoff-keyring-1"\n' + "\n".join(tables) + "\n"


def test_files_folders_and_several_keys_in_one_file(tmp_path: Path) -> None:
    named = KeyFile(KEYS[1], "letters", date(2027, 1, 1), profile=KeyProfile("joint", "synthid:30"))
    folder = tmp_path / "keys"
    folder.mkdir()
    KEYS[0].write(folder / "b.key")
    (folder / "a.toml").write_text(ring_file(named, KeyFile(INTEGER, "servers")))
    (folder / "notes.txt").write_text("no key")
    KEYS[2].write(tmp_path / "one")
    found = Keyring.read([folder, tmp_path / "one"])
    assert [one.key for one in found] == [KEYS[1], INTEGER, KEYS[0], KEYS[2]]
    assert found.keys[0] == named
    assert found.secrets == (KEYS[1], INTEGER, KEYS[0], KEYS[2])
    assert str(INTEGER) not in repr(found)
    assert found.keys[1].fingerprint == VllmPhilox(INTEGER).fingerprint
    with pytest.raises(KeyFormatError, match="holds 2 keys; pass a file with the one to use"):
        KeyFile.read(folder / "a.toml")


def test_integers_of_the_other_format(tmp_path: Path) -> None:
    """A file of their own; hex digits after 0x; decimal digits only where they are looked for."""
    path = tmp_path / "key"
    KeyFile(INTEGER).write(path)
    assert KeyFile.read(path) == KeyFile(INTEGER)
    assert f'integer = "{INTEGER}"' in path.read_text()
    (tmp_path / "hex").write_text(f"{INTEGER:#x}\n")
    assert KeyFile.read(tmp_path / "hex").key == INTEGER
    (tmp_path / "decimal").write_text(f" {INTEGER}\n")
    assert KeyFile.read(tmp_path / "decimal", integer=True).key == INTEGER
    with pytest.raises(KeyFormatError, match="at least 16 are needed"):
        KeyFile.read(tmp_path / "decimal")
    with pytest.raises(KeyFormatError, match="holds an integer of vLLM's format"):
        Key.read(path)
    (tmp_path / "large").write_text("99999999999999999999")
    with pytest.raises(KeyFormatError, match="67 bits long"):
        KeyFile.read(tmp_path / "large", integer=True)


def test_days(tmp_path: Path) -> None:
    ring = Keyring(
        (
            KeyFile(KEYS[0], valid_until=date(2026, 12, 31)),
            KeyFile(KEYS[1], valid_from=date(2027, 1, 1), valid_until=date(2027, 6, 30)),
            KeyFile(KEYS[2]),
        )
    )
    for day, keys in (
        (date(2026, 12, 31), [0, 2]),
        (date(2027, 1, 1), [1, 2]),
        (date(2027, 6, 30), [1, 2]),
        (date(2027, 7, 1), [2]),
    ):
        assert [one.key for one in ring.on(day)] == [KEYS[n] for n in keys]
    with pytest.raises(KeyFormatError, match="no key is valid on 2028-01-01, of 1; pass another day"):
        Keyring(ring.keys[:1]).on(date(2028, 1, 1))


def test_what_keyrings_are_made_of() -> None:
    file = KeyFile(KEYS[0], "a")
    assert Keyring.of(file).keys == (file,)
    assert Keyring.of(KEYS[0]).secrets == (KEYS[0],)
    assert Keyring.of([KEYS[0], file, Keyring.of(KEYS[1]), INTEGER]).secrets == (
        *(KEYS[0], KEYS[0], KEYS[1]),
        INTEGER,
    )
    for wrong in ("key", b"x" * 32, 3.0, True, None):
        with pytest.raises(ValueError, match="pass a Key"):
            Keyring.of(wrong)
    with pytest.raises(KeyFormatError, match="holds no key"):
        Keyring.of([])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('format = "tradeoff-keyring-1"\n', r"holds tables \[\[key\]\] and nothing else"),
        ('format = "tradeoff-keyring-1"\nkey = 3\n', "holds tables"),
        ('format = "tradeoff-keyring-1"\nkey = [3]\n', "holds tables"),
        ('format = "tradeoff-keyring-1"\nname = "x"\n[[key]]\n', "holds tables"),
        ('format = "tradeoff-keyring-2"\n[[key]]\n', "not of the format"),
        ('format = "tradeoff-keyring-1"\n[[key]]\nname = "x"\n', "has no secret and may have been cut off"),
        ('format = "tradeoff-key-1"\ninteger = "x"\nfingerprint = "y"\n', "its integer is none of 0 to 2"),
        ('format = "tradeoff-key-1"\ninteger = "1"\nfingerprint = "y"\n', "does not have the fingerprint"),
        ('format = "tradeoff-key-1"\ninteger = "1"\nsecret = "ab"\n', "both a secret and an integer"),
    ],
)
def test_damaged_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(KeyFormatError, match=message):
        Keyring.read([tmp_path / "key"])


def test_folders_without_keys_and_no_path(tmp_path: Path) -> None:
    with pytest.raises(KeyFormatError, match=r"holds no key; put files .* end with \.key or \.toml"):
        Keyring.read([tmp_path])
    # A key in place of a path is not quoted.
    with pytest.raises(KeyFormatError) as raised:
        Keyring.read([KEYS[0].secret.hex() * 3])
    assert KEYS[0].secret.hex() not in str(raised.value)


@pytest.mark.parametrize("key", [KEYS[0], INTEGER])
def test_no_key_is_pickled(key: Key | int) -> None:
    for holds in (KeyFile(key), Keyring.of(key)):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(holds)
