"""Keys: made, read and written; never shown, overwritten or pickled."""

from __future__ import annotations

import copy
import os
import pickle
import stat
from pathlib import Path

import pytest

from tradeoff.keyed.keys import Key, KeyFormatError

SECRET = bytes(range(100, 132))
REMEDY = "tradeoff key new"


def test_new_keys_are_long_and_distinct():
    keys = [Key.new() for _ in range(20)]
    assert {len(key.secret) for key in keys} == {32}
    assert len({key.secret for key in keys}) == len({key.fingerprint for key in keys}) == 20


@pytest.mark.parametrize("length", [0, 1, 15])
def test_short_keys_are_refused_with_the_length_and_the_remedy(length):
    with pytest.raises(KeyFormatError, match=rf"{length} bytes.*16.*{REMEDY}"):
        Key(b"x" * length)
    assert len(Key(b"x" * 16).secret) == 16


def test_text_is_not_a_key():
    with pytest.raises(KeyFormatError, match=f"str.*{REMEDY}"):
        Key("not bytes, though long enough")


def test_the_secret_is_never_shown():
    key = Key(SECRET)
    shown = f"{key!r} {key} {[key]} {key.fingerprint}"
    assert repr(key) == f"Key(fingerprint='{key.fingerprint}')"
    for form in (SECRET.hex(), repr(SECRET)[2:-1], SECRET.decode("latin-1")):
        for size in (8, len(form)):
            assert form[:size] not in shown
    assert not hasattr(key, "__dict__")


def test_the_fingerprint_is_a_function_of_the_secret():
    fingerprint = Key(SECRET).fingerprint
    assert fingerprint == Key(bytes(bytearray(SECRET))).fingerprint
    assert len(fingerprint) == 16
    assert set(fingerprint) <= set("0123456789abcdef")
    others = {Key(bytes([byte ^ bit]) + SECRET[1:]).fingerprint for byte in SECRET[:1] for bit in (1, 2, 4)}
    assert len(others | {fingerprint}) == 4


def test_equality_and_hash():
    key, same, other = Key(SECRET), Key(bytes(SECRET)), Key(SECRET[::-1])
    assert key == same
    assert hash(key) == hash(same)
    assert key != other
    assert key != Key(SECRET + b"\0")
    assert key != SECRET
    assert len({key, same, other}) == 2


def test_keys_are_immutable_and_stay_out_of_pickles():
    key = Key(SECRET)
    with pytest.raises(AttributeError):
        key._secret = b"y" * 32
    with pytest.raises(AttributeError):
        key.label = "mine"
    with pytest.raises(AttributeError):
        del key._secret
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(key, protocol)
    assert copy.copy(key) is key
    assert copy.deepcopy([key])[0] is key


def test_hex():
    assert Key.from_hex(SECRET.hex()).secret == SECRET
    assert Key.from_hex(f" {SECRET.hex().upper()}\n").secret == SECRET


@pytest.mark.parametrize("text", ["zz" * 16, "abc" * 11, "ab " * 16, "0x" + "ab" * 16, "١" * 32])
def test_text_that_is_not_hex_is_refused_and_not_shown(text):
    with pytest.raises(KeyFormatError, match=f"hex.*{REMEDY}") as caught:
        Key.from_hex(text)
    assert text not in str(caught.value)


def test_a_written_key_is_read_again_and_is_private(tmp_path):
    path = tmp_path / "key.hex"
    Key(SECRET).write(path)
    assert SECRET.hex() in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Key.read(path) == Key(SECRET)


def test_paths_may_be_text(tmp_path):
    path = str(tmp_path / "key.hex")
    Key(SECRET).write(path)
    assert Key.read(path) == Key(SECRET)
    with pytest.raises(KeyFormatError, match="exists"):
        Key.new().write(path)


def test_writing_is_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        Key(SECRET).write(tmp_path / "key.hex")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.hex").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "key.hex"
    Key(SECRET).write(path)
    with pytest.raises(KeyFormatError, match=r"key\.hex exists.*choose another path"):
        Key.new().write(path)
    assert Key.read(path) == Key(SECRET)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFormatError, match="exists"):
        Key.new().write(link)
    assert not (tmp_path / "elsewhere").exists()


def test_writing_to_a_missing_folder(tmp_path):
    with pytest.raises(KeyFormatError, match=r"missing.*choose another path"):
        Key(SECRET).write(tmp_path / "missing" / "key.hex")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_leaves_no_file_behind(tmp_path, monkeypatch):
    path = tmp_path / "key.hex"
    real_open = os.open

    def full(name, flags, mode=0o777):
        os.close(real_open(name, flags, mode))
        return real_open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(KeyFormatError, match=r"key\.hex cannot be written.*choose another path"):
        Key(SECRET).write(path)
    assert not path.exists()


def test_files_without_a_key(tmp_path):
    with pytest.raises(KeyFormatError, match=rf"absent.*does not exist.*{REMEDY}"):
        Key.read(tmp_path / "absent")
    with pytest.raises(KeyFormatError, match=rf"{tmp_path.name}.*cannot be read.*{REMEDY}"):
        Key.read(tmp_path)
    cases = {
        "words": (b"correct horse battery staple", "64 hex digits"),
        "binary": (bytes(range(200, 232)), "64 hex digits"),
        "half a digit": (b"ab" * 31 + b"a", "even number of hex digits"),
        "short": (b"0011223344\n", "5 bytes"),
        "empty": (b"", "0 bytes"),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(KeyFormatError, match=f"{name}.*{reason}.*{REMEDY}") as caught:
            Key.read(tmp_path / name)
        # Neither the message nor a chained error of a decoder may quote the file.
        assert caught.value.__suppress_context__
        if content:
            assert content.decode("latin-1").strip() not in str(caught.value)


def test_a_path_in_the_environment_is_told_from_a_key(tmp_path, monkeypatch):
    path = tmp_path / "my.key"
    Key(SECRET).write(path)
    monkeypatch.setenv("TRADEOFF_KEY", str(path))
    with pytest.raises(KeyFormatError, match=r"TRADEOFF_KEY holds the path of a file.*--key-file") as caught:
        Key.from_environment()
    assert "my.key" not in str(caught.value)
    monkeypatch.setenv("TRADEOFF_KEY", str(tmp_path / "absent"))
    with pytest.raises(KeyFormatError, match="hex"):
        Key.from_environment()


def test_the_environment(monkeypatch):
    monkeypatch.setenv("TRADEOFF_KEY", SECRET.hex())
    monkeypatch.setenv("OTHER_KEY", "not hex at all, but secret")
    assert Key.from_environment() == Key(SECRET)
    with pytest.raises(KeyFormatError, match=f"OTHER_KEY.*hex.*{REMEDY}") as caught:
        Key.from_environment("OTHER_KEY")
    assert "but secret" not in str(caught.value)
    for value in (None, "", "  "):
        monkeypatch.delenv("TRADEOFF_KEY", raising=False)
        if value is not None:
            monkeypatch.setenv("TRADEOFF_KEY", value)
        with pytest.raises(KeyFormatError, match=f"TRADEOFF_KEY.*--key-file FILE.*{REMEDY}.*hex digits"):
            Key.from_environment()


def test_no_more_than_a_key_is_read(tmp_path):
    path = tmp_path / "key"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    for large in [path, *(p for p in [Path("/dev/zero")] if p.exists())]:
        with pytest.raises(KeyFormatError, match=f"key file {large} holds more than 65,536 bytes"):
            Key.read(large)


@pytest.mark.parametrize(
    "secret", ["ab" * 32, "AB" * 16, "0x" + "12" * 16, "0xdeadbeefdeadbeef", "12345678901234567890"]
)
@pytest.mark.parametrize("folder", [False, True])
def test_a_key_in_place_of_a_path_is_not_shown(tmp_path, monkeypatch, secret, folder):
    monkeypatch.chdir(tmp_path)
    if folder:
        (tmp_path / secret).mkdir()
    with pytest.raises(KeyFormatError, match="looks like a key and is not shown") as caught:
        Key.read(secret)
    assert secret not in repr(caught.value)
    assert caught.value.__suppress_context__
    with pytest.raises(KeyFormatError, match=r"key file my\.key does not exist"):
        Key.read("my.key")
