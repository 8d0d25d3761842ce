"""Real workers and a real driver, killed at random: the records are those of one process, byte for byte.

Local processes, and a Ray cluster of two nodes that is started here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.helpers.processes import descendants
from tests.versions.lock import ROOT
from tradeoff.keyed.keys import Key

pytestmark = pytest.mark.slow

COUNT = 60
#: How a worker shows in the list of processes, by who started it.
LOCAL, ACTOR = "multiprocessing.spawn", "ray::_Actor"
#: What differs from run to run.
SECONDS = re.compile(rb'"seconds": [0-9.e+-]+')


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a head and another node, with one core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
        started = Cluster(initialize_head=True, head_node_args=node)
        try:
            started.add_node(num_cpus=1, object_store_memory=100_000_000)
            yield started.address
        finally:
            started.shutdown()


@pytest.fixture(scope="module")
def command(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], list[str]]:
    folder = tmp_path_factory.mktemp("given")
    Key(bytes(range(32))).write(folder / "my.key")
    (folder / "prompts.txt").write_text("\n".join(f"the man and the {k} theatre" for k in range(COUNT)))

    def make(output: Path, workers: str) -> list[str]:
        options = (
            f"--prompts {folder / 'prompts.txt'} --key-file {folder / 'my.key'} -o {output} --draft skip:1"
        )
        sizes = f"--target {tiny_folder} --max-tokens 40 --batch 3 --measure --ignore-eos --method two-keys"
        how = [*options.split(), *sizes.split(), "--dtype", "float32", "--workers", workers]
        return [sys.executable, "-m", "tradeoff.cli", "generate", *how]

    return make


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def lines(path: Path) -> list[bytes]:
    """Whole lines of the file, without the seconds."""
    content = path.read_bytes() if path.exists() else b""
    return [SECONDS.sub(b'"seconds": ?', line) for line in content.split(b"\n")[:-1]]


@pytest.fixture(scope="module")
def alone(command: Callable[[Path, str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("alone") / "alone.jsonl"
    done = subprocess.run(command(path, "1"), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(lines(path)) == COUNT
    return lines(path)


def wait_for(path: Path, count: int, process: subprocess.Popen) -> None:
    """Until a file has so many records."""
    deadline = time.monotonic() + 300
    while len(lines(path)) < count:
        assert process.poll() is None, "the run ended before anything could be killed"
        assert time.monotonic() < deadline, f"{len(lines(path))} of {count} texts"
        time.sleep(0.02)


def kill_and_go_on(
    whole: list[str], path: Path, above: int | None, worker: str, env: dict[str, str], seed: int
) -> str:
    """A run of which first a worker dies, then the driver; and the same command again.

    Args:
        whole: the command.
        path: where it writes.
        above: whose descendants workers are; the driver's if None.
        worker: how they show.
        env: of the command.
        seed: of who dies, and when.

    Returns:
        What the driver that died had said on standard error.
    """
    random = Random(seed)
    first = random.randrange(3, COUNT // 3)
    second = random.randrange(first + 6, 2 * COUNT // 3)
    with subprocess.Popen(
        whole, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as driver:
        wait_for(path, first, driver)
        found = descendants(above or driver.pid)
        workers = sorted(one for one, words in found.items() if worker in words)
        assert len(workers) == 2, found
        os.kill(random.choice(workers), signal.SIGKILL)
        wait_for(path, second, driver)
        driver.kill()
        said = driver.stderr.read() if driver.stderr else ""
    kept = lines(path)
    assert second <= len(kept) < COUNT
    done = subprocess.run(whole, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"wrote {path}" in done.stdout
    assert set(kept) <= set(lines(path))
    return said


@pytest.mark.parametrize("seed", [0])
def test_local_processes(
    command: Callable[[Path, str], list[str]], alone: list[bytes], tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "x.jsonl"
    said = kill_and_go_on(command(path, "2"), path, None, LOCAL, environment(), seed)
    assert "was killed by SIGKILL" in " ".join(said.split())
    assert lines(path) == alone


@pytest.mark.parametrize("seed", [1])
def test_two_nodes(
    cluster: str, command: Callable[[Path, str], list[str]], alone: list[bytes], tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "x.jsonl"
    env = environment(RAY_ADDRESS=cluster)
    said = kill_and_go_on(command(path, "ray"), path, os.getpid(), ACTOR, env, seed)
    assert "begins again" in said
    assert lines(path) == alone


def test_more_actors_than_there_is_room_for(
    cluster: str, command: Callable[[Path, str], list[str]], tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    for options, words in (
        (["--workers", "ray:3"], "the cluster has room for 2"),
        (["--workers", "ray", "--gpus-per-worker", "0.5"], "the cluster has room for 0"),
    ):
        whole = [*command(path, "1"), *options]
        done = subprocess.run(whole, env=environment(RAY_ADDRESS=cluster), capture_output=True, text=True)
        assert done.returncode == 2
        assert words in " ".join(done.stderr.split())
    assert not path.exists()


def test_no_cluster(command: Callable[[Path, str], list[str]], tmp_path: Path) -> None:
    whole = command(tmp_path / "x.jsonl", "ray")
    env = environment(RAY_ADDRESS="127.0.0.1:1")
    done = subprocess.run(whole, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no Ray cluster answers at '127.0.0.1:1'" in " ".join(done.stderr.split())


def test_verdicts_and_statements(
    cluster: str, command: Callable[[Path, str], list[str]], tmp_path: Path
) -> None:
    """The other commands on the same cluster say what they say in one process."""
    texts, key = tmp_path / "x.jsonl", command(tmp_path, "1")[command(tmp_path, "1").index("--key-file") + 1]
    subprocess.run(command(texts, "2"), env=environment(), capture_output=True, check=True)

    def run(*words: str) -> str:
        env = environment(RAY_ADDRESS=cluster)
        done = subprocess.run(
            [sys.executable, "-m", *words], env=env, cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    judge = ("tradeoff.cli", "detect", str(texts), "--json", "--key-file", key)
    assert run(*judge, "--workers", "ray") == run(*judge)
    check = ("sims", "--quick", "--only", "lemma_3_1", "--only", "theorem_3_1")
    rows = []
    for workers in ("ray", "1"):
        out = tmp_path / workers.replace(":", "")
        run(*check, "--workers", workers, "--out", str(out))
        rows.append((out / "summary.csv").read_text())
        assert not list(out.glob(".workers-*"))
    assert rows[0] == rows[1]
    assert json.loads(texts.read_text().splitlines()[0])["run"]["method"] == "two-keys"
