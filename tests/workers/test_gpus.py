"""Several GPUs for every actor, on a Ray cluster that was told of GPUs it has not: nothing is run on them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import tradeoff as td
from tests.workers.works import beside
from tradeoff.workers import Task, executor_of
from tradeoff.workers.ray_actors import _room


@pytest.mark.parametrize(
    ("cores", "cards", "each", "room"),
    [(8, 4, 2, 2), (8, 3, 2, 1), (8, 1, 2, 0), (1, 4, 2, 1), (8, 8, 4.0, 2), (8, 2, 0.5, 4), (8, 0, 2, 0)],
)
def test_room_of_a_node(cores: int, cards: int, each: float, room: int) -> None:
    """Whole cards of one node, and a core for every actor."""
    assert _room({"CPU": cores, "GPU": cards}, each) == room


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Nodes of four and of one GPU: the fifth makes no pair."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 2, "num_gpus": 4, "object_store_memory": 100_000_000, "include_dashboard": False}
        started = Cluster(initialize_head=True, head_node_args=node)
        try:
            started.add_node(num_cpus=2, num_gpus=1, object_store_memory=100_000_000)
            patch.setenv("RAY_ADDRESS", started.address)
            yield
        finally:
            started.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_actors_see_pairs_that_are_their_own(tmp_path: Path) -> None:
    with executor_of("ray", 2) as executor:
        assert executor.size == 2
        tasks = [Task(f"part {n}", (n, tmp_path, 1, "CUDA_VISIBLE_DEVICES")) for n in range(2)]
        seen = [set(value.split(",")) for _, value in executor.run(beside, tasks)]
    assert [len(cards) for cards in seen] == [2, 2]
    assert seen[0] | seen[1] == set("0123")


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_more_pairs_than_there_are() -> None:
    words = r"workers=ray:3 with 1 core and 2 GPU each do not fit: the cluster has room for 2"
    with pytest.raises(ValueError, match=words), executor_of("ray:3", 2):
        pass


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_texts_are_those_of_one_process(tiny_folder: Path, tmp_path: Path) -> None:
    """Where an actor finds no GPU, "auto" places everything on the CPU."""
    key = tmp_path / "my.key"
    td.Key(bytes(range(32))).write(key)
    settings = {"target": str(tiny_folder), "draft": "skip:1", "tokens": 12, "dtype": "float32", "batch": 2}
    prompts = [f"the man and the {k} theatre" for k in range(4)]
    found = [
        td.generate(
            prompts,
            td.Scheme.of("joint-race"),
            read_key=partial(td.Key.read, str(key)),
            ignore_eos=True,
            workers=workers,
            gpus_per_worker=gpus,
            **settings,
        )
        for workers, gpus in ((1, None), ("ray:2", 2))
    ]
    assert [text.token_ids for text in found[0]] == [text.token_ids for text in found[1]]
    assert [text.run for text in found[0]] == [text.run for text in found[1]]
