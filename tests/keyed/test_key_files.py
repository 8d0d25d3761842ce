"""Files of keys: what was written comes back, and whatever is cut or changed is refused, unquoted."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeoff.keyed import Key, KeyFile, KeyFormatError, KeyProfile

SECRET = bytes(range(100, 132))
KEY = Key(SECRET)
PROFILE = KeyProfile("joint-race", "gumbel", "blake2b-splitmix-v1", 2, "builtin", "ab" * 32)
WHOLE = KeyFile(KEY, "letters of 2027", date(2027, 1, 1), date(2027, 12, 31), PROFILE)
#: Names as people may give them, quotation marks and control characters among them.
NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@pytest.mark.parametrize("file", [WHOLE, KeyFile(KEY), KeyFile(Key(b"x" * 16), profile=PROFILE)])
def test_what_was_written_comes_back(file: KeyFile, tmp_path: Path) -> None:
    file.write(tmp_path / "key")
    assert KeyFile.read(tmp_path / "key") == file
    assert Key.read(tmp_path / "key") == file.key
    told = tomllib.loads((tmp_path / "key").read_text(encoding="utf-8"))
    assert (told["format"], told["fingerprint"]) == ("tradeoff-key-1", file.key.fingerprint)


@given(name=NAMES, tokenizer=NAMES, width=st.integers(1, 64))
def test_any_words_come_back(name: str, tokenizer: str, width: int, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("key") / "key"
    file = KeyFile(KEY, name, profile=KeyProfile(tokenizer=tokenizer, context_width=width))
    file.write(path)
    assert KeyFile.read(path) == file


def test_a_key_that_writes_itself_has_no_profile(tmp_path: Path) -> None:
    KEY.write(tmp_path / "key")
    assert KeyFile.read(tmp_path / "key") == KeyFile(KEY)


def test_a_file_of_the_version_before(tmp_path: Path) -> None:
    """64 hex digits, no more and no fewer."""
    (tmp_path / "key").write_text(SECRET.hex() + "\n")
    assert KeyFile.read(tmp_path / "key") == KeyFile(KEY)
    for digits in (60, 32, 66):
        (tmp_path / "key").write_text((SECRET.hex() * 2)[:digits])
        with pytest.raises(KeyFormatError, match=rf"{digits} hex digits; without a fingerprint a key has 64"):
            Key.read(tmp_path / "key")


@pytest.mark.parametrize("file", [WHOLE, KeyFile(KEY)])
def test_no_part_of_a_file_is_taken_for_a_key(file: KeyFile, tmp_path: Path) -> None:
    """Cut anywhere, it is refused, or is the same key, if what is lost stood behind the secret."""
    path = tmp_path / "key"
    file.write(path)
    content = path.read_bytes()
    secret = content.index(SECRET.hex().encode())
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with suppress(KeyFormatError):
            assert Key.read(path) == KEY
            assert end > secret + 64


def test_any_changed_letter_of_the_secret_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    KEY.write(path)
    content = path.read_text()
    secret = content.index(SECRET.hex())
    for place in range(secret, secret + 64):
        changed = "0" if content[place] != "0" else "1"
        path.write_text(content[:place] + changed + content[place + 1 :])
        with pytest.raises(KeyFormatError, match="does not have the fingerprint that it tells"):
            Key.read(path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('format = "tradeoff-key-2"', "not of the format tradeoff-key-1"),
        ("colour = 3", "the field 'colour', unknown to this version"),
        ("name = 3", "its name is not str"),
        ('valid_from = "2027-01-01"', "valid_from is not a day"),
        ("valid_until = 2027-01-01T10:00:00", "valid_until is not a day"),
        ("valid_from = 2027-02-01\nvalid_until = 2027-01-01", "is before valid_from"),
        ("[profile]\ncontext_width = true", "context_width of its profile is not int"),
        ('[profile]\nmethods = "basic"', "its profile has 'methods'"),
        ('[profile]\nwatermark = ["gumbel"]', "watermark of its profile is not str"),
    ],
)
def test_what_is_wrong_is_named(line: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    KEY.write(path)
    content = path.read_text()
    if line.startswith("format"):
        content = content.replace('format = "tradeoff-key-1"', line)
    else:
        content += line + "\n"
    path.write_text(content)
    with pytest.raises(KeyFormatError, match=says) as caught:
        KeyFile.read(path)
    assert "key file" in str(caught.value)
    assert SECRET.hex()[:8] not in str(caught.value)


def test_a_key_is_never_overwritten_by_a_file_either(tmp_path: Path) -> None:
    WHOLE.write(tmp_path / "key")
    with pytest.raises(KeyFormatError, match="never overwritten"):
        KeyFile(Key.new()).write(tmp_path / "key")
    assert KeyFile.read(tmp_path / "key") == WHOLE
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
