"""Processes that judge: one that dies costs its request alone, and has the same keys when it is back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.detecting import KEY
from tradeoff.keyed import Key, KeyFile, Keyring
from tradeoff.serving import Limits, Setup
from tradeoff.serving.judges import Judges
from tradeoff.serving.judging import Job, Judged
from tradeoff.serving.piped import FAILED, place_of
from tradeoff.verdicts import Options


@dataclass(frozen=True)
class OfFile:
    """Reads the key of a file, in whatever process."""

    path: Path

    def read(self) -> Keyring:
        return Keyring.of(KeyFile.read(self.path))


def setup_of(path: Path) -> Setup:
    return Setup(options=Options(), read_keys=OfFile(path).read, limits=Limits())


JOB = Job(name="-", content=b'{"token_ids": [1, 2, 3, 4]}')


@pytest.mark.slow
def test_a_process_that_dies_is_replaced_and_one_with_other_keys_is_not(tmp_path: Path) -> None:
    path, said = tmp_path / "key", list[str]()
    KeyFile(KEY).write(path)

    async def lives(judges: Judges) -> None:
        assert isinstance(await judges.judge(JOB, 60), Judged)
        (process,) = judges._all
        process._process.kill()
        assert await judges.judge(JOB, 60) == FAILED
        # It waits for the process to be back.
        assert isinstance(await judges.judge(JOB, 60), Judged)
        path.unlink()
        KeyFile(Key.new()).write(path)
        process._process.kill()
        assert await judges.judge(JOB, 60) == FAILED
        await asyncio.gather(*judges._mending)
        assert not judges.able

    with Judges(setup_of(path), 1, said.append) as judges:
        assert [key["fingerprint"] for key in judges.keys] == [KEY.fingerprint]
        assert judges.able
        asyncio.run(lives(judges))
    assert said == [
        "a process that judged a request died",
        "a process that judged a request died",
        "a process that judges cannot be started again; restart the server",
    ]


def test_keys_that_cannot_be_read_are_told_at_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"key file .*nothing does not exist"),
        Judges(setup_of(tmp_path / "nothing"), 1, [].append),
    ):
        pass


def test_of_an_error_its_kind_and_place_are_told() -> None:
    try:
        raise KeyError("the sea at night")
    except KeyError as error:
        told = place_of(error)
    assert told.startswith("KeyError in test_judges.py, line ")
    assert "sea" not in told
