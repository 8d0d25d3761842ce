"""Runs of several workers: the records of one process, byte for byte but for times, whoever is killed."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tradeoff as td
from tests.workers.crews import Loopback
from tradeoff.kernels import Verify
from tradeoff.keyed.keys import Key
from tradeoff.llm.encoding import encode_prompts
from tradeoff.llm.generation.controls import Controls
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.models.loading import load_tokenizer
from tradeoff.llm.models.pair import load_pair
from tradeoff.llm.recipes import PairNames, SchemeRecipe
from tradeoff.llm.runs import generate_texts
from tradeoff.llm.sampling import Sampling
from tradeoff.llm.sharded import ShardedRun, generate_sharded, shards
from tradeoff.texts.prompts import Prompt
from tradeoff.texts.record_files import read_records
from tradeoff.workers import WorkersError
from tradeoff.workers.messages import packed, unpacked
from tradeoff.workers.scheduling import ATTEMPTS, Alone, Crewed

SECRET = bytes(range(100, 132))
COUNT = 14


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "my.key"
    Key(SECRET).write(path)
    return path


@pytest.fixture(scope="module")
def run_to(tiny_folder: Path, key_file: Path) -> Callable[..., ShardedRun]:
    """Runs in float32, where the batch moves the last digits of what is measured."""
    prompts = encode_prompts(
        load_tokenizer(tiny_folder, progress=False),
        [(f"{k}", f"the man and {k} the{'n' * (k % 5)}") for k in range(COUNT)],
    )

    def make(path: Path, **others) -> ShardedRun:
        further = {
            "max_tokens": 10,
            "lookahead": 2,
            "measure": True,
            "sampling": Sampling(0.9),
            "verify": Verify.TOKEN,
        }
        recipe = SchemeRecipe(
            PairNames(str(tiny_folder), "skip:1", dtype="float32"),
            td.Scheme.of("two-keys", "gumbel"),
            others.pop("read_key", functools.partial(Key.read, key_file)),
            further,
        )
        return ShardedRun(recipe, prompts, path, others.pop("batch", 3), others.pop("title", "texts"))

    return make


def lines(path: Path) -> list[bytes]:
    """The records, as they stand in the file, without the seconds."""
    found = []
    for line in path.read_bytes().splitlines():
        told = json.loads(line)
        seconds = json.dumps(told["seconds"]).encode()
        found.append(line.replace(b'"seconds": ' + seconds, b'"seconds": ?'))
    return found


@pytest.fixture(scope="module")
def alone(run_to: Callable[..., ShardedRun], tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("alone") / "alone.jsonl"
    generate_sharded(Alone(), [run_to(path)])
    assert len(lines(path)) == COUNT
    return lines(path)


@pytest.mark.parametrize(("size", "seed"), [(1, 0), (2, 1), (3, 2), (7, 3)])
def test_records_are_those_of_one_process_whoever_dies(
    run_to: Callable[..., ShardedRun], alone: list[bytes], tmp_path: Path, size: int, seed: int
) -> None:
    """Every measured number too, to its last digit."""
    told: list[str] = []
    crew = Loopback(size, seed, deaths=2)
    texts = generate_sharded(Crewed(crew, told.append), [run_to(tmp_path / "x.jsonl")], told.append)[0]
    assert lines(tmp_path / "x.jsonl") == alone
    assert (texts.new, len(texts), crew.deaths) == (COUNT, COUNT, 0)
    assert texts.tokens == sum(len(record.token_ids) for record in texts)
    assert all("begins again" in words for words in told)


class Killed(Exception):
    pass


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_driver_costs_nothing(
    run_to: Callable[..., ShardedRun], alone: list[bytes], tmp_path: Path, seed: int
) -> None:
    """In the middle of shards, whose other texts come out as they would have."""
    path, after = tmp_path / "x.jsonl", Random(seed).randrange(1, COUNT)
    with pytest.MonkeyPatch.context() as patch:
        from tradeoff.texts.record_files import RecordFile

        append, written = RecordFile.append, []

        def dying(self, record) -> None:
            append(self, record)
            written.append(record)
            if len(written) == after:
                raise Killed

        patch.setattr(RecordFile, "append", dying)
        with pytest.raises(Killed):
            generate_sharded(Crewed(Loopback(2, seed)), [run_to(path)])
    kept = set(lines(path))
    assert len(kept) == after
    with path.open("ab") as stream:
        stream.write(b'{"id": "1')
    told: list[str] = []
    texts = generate_sharded(Crewed(Loopback(3, seed)), [run_to(path)], told.append)[0]
    assert texts.new == COUNT - after
    assert lines(path) == alone
    assert kept <= set(alone)
    assert told == []


def test_a_finished_run_asks_for_no_text(
    run_to: Callable[..., ShardedRun], alone: list[bytes], tmp_path: Path
) -> None:
    crew, path = Loopback(2), tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join([*alone, b""]).replace(b'"seconds": ?', b'"seconds": 1.5'))
    assert generate_sharded(Crewed(crew), [run_to(path)])[0].new == 0
    # The models are asked what the run is called, and no more.
    assert len(crew.sent) == 1
    assert lines(path) == alone


def test_several_runs_share_the_workers(
    run_to: Callable[..., ShardedRun], alone: list[bytes], tmp_path: Path
) -> None:
    runs = [run_to(tmp_path / "a.jsonl", title="a"), run_to(tmp_path / "b.jsonl", batch=30, title="b")]
    found = generate_sharded(Crewed(Loopback(3, 5, deaths=1)), runs)
    assert lines(tmp_path / "a.jsonl") == alone
    assert [texts.new for texts in found] == [COUNT, COUNT]
    # A batch of more texts than there are is one of all of them; the tokens do not depend on it.
    assert {record.batch for record in found[1]} == {COUNT}
    assert [r.token_ids for r in found[0]] == [r.token_ids for r in found[1]]


def test_one_batch_is_what_a_run_without_workers_writes(
    run_to: Callable[..., ShardedRun], alone: list[bytes], tiny_folder: Path, tmp_path: Path
) -> None:
    """More of them fill slots up, so that measured numbers differ in their last digits; tokens do not."""
    pair = load_pair(tiny_folder, "skip:1", dtype="float32", progress=False)
    one = run_to(tmp_path / "one.jsonl", batch=COUNT)
    generate_sharded(Alone(), [one])
    settings = one.recipe.settings(pair)
    generate_texts(pair, settings, one.prompts, tmp_path / "plain.jsonl", batch=COUNT)
    assert lines(tmp_path / "plain.jsonl") == lines(tmp_path / "one.jsonl")
    filled = generate_texts(pair, settings, one.prompts, batch=3)
    assert [list(r.token_ids) for r in filled] == [json.loads(line)["token_ids"] for line in alone_ids(alone)]


def alone_ids(found: list[bytes]) -> list[bytes]:
    return [line.replace(b'"seconds": ?', b'"seconds": 0') for line in found]


@given(st.integers(1, 3000), st.integers(1, 70))
def test_shards_are_whole_batches(count: int, batch: int) -> None:
    """All prompts in order, in whole batches but for the last; at least 16 shards of as many batches."""
    prompts = [Prompt(str(k), "", (k,)) for k in range(count)]
    found = shards(prompts, batch)
    assert [prompt for shard in found for prompt in shard] == prompts
    size = len(found[0])
    assert all(len(shard) == size for shard in found[:-1])
    assert 0 < len(found[-1]) <= size
    assert size % batch == 0 or len(found) == 1
    batches = -(-count // batch)
    assert len(found) >= min(16, batches)
    assert size <= 8 * batch


def secrets_in(payload: bytes) -> list[bytes]:
    """In every spelling that a key has somewhere."""
    spelled = (SECRET, SECRET.hex().encode(), SECRET.hex().upper().encode(), base64.b64encode(SECRET))
    return [words for words in (*spelled, SECRET[:8], SECRET.hex()[:16].encode()) if words in payload]


def test_no_key_is_sent(
    run_to: Callable[..., ShardedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from a file nor from the environment; what is sent are names, and how to read."""
    monkeypatch.setenv("TRADEOFF_KEY", SECRET.hex())
    for read_key in (None, Key.from_environment):
        crew = Loopback(2)
        others = {} if read_key is None else {"read_key": read_key}
        generate_sharded(Crewed(crew), [run_to(tmp_path / f"{read_key is None}.jsonl", **others)])
        assert len(crew.sent) == 6
        assert [secrets_in(payload) for payload in crew.sent if secrets_in(payload)] == []
        assert b"read_key" in crew.sent[0]
    # The search finds what it looks for, and a key in place of how to read it goes nowhere.
    assert secrets_in(packed(SECRET)) == [SECRET, SECRET[:8]]
    with pytest.raises(TypeError, match="a key cannot be pickled"):
        generate_sharded(
            Crewed(Loopback(2)), [run_to(tmp_path / "z.jsonl", read_key=functools.partial(id, Key(SECRET)))]
        )


def test_workers_with_another_key_are_refused(run_to: Callable[..., ShardedRun], tmp_path: Path) -> None:
    """Nodes may have other files under one path: records would say of texts what is not so."""
    crew, key_file = Loopback(1), tmp_path / "other.key"
    Key(SECRET).write(key_file)
    run = run_to(tmp_path / "x.jsonl", read_key=functools.partial(Key.read, key_file))

    class Exchanging(Crewed):
        def run(self, work, tasks, ahead=None):
            yield from super().run(work, tasks, ahead)
            key_file.unlink(missing_ok=True)
            Key(SECRET[::-1]).write(key_file)

    with pytest.raises(ValueError, match="a worker has other settings than the first one"):
        generate_sharded(Exchanging(crew), [run])
    assert read_records(tmp_path / "x.jsonl") == []


def test_a_shard_that_loses_its_workers_is_named_and_its_texts_are_kept(
    run_to: Callable[..., ShardedRun], alone: list[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"

    class Deadly(Loopback):
        """Whoever gets the third shard dies after its first text."""

        def events(self):
            if len(lines(path) if path.exists() else []) >= 7:
                self.deaths = 9
                self._random.random = lambda: 0.0  # type: ignore[method-assign]
            return super().events()

    with pytest.raises(WorkersError, match=rf"texts, prompts 7 to 9, lost {ATTEMPTS} workers"):
        generate_sharded(Crewed(Deadly(1)), [run_to(path)])
    assert set(lines(path)) <= set(alone)
    assert len(lines(path)) == 7


def test_a_second_try_that_differs_is_told(run_to: Callable[..., ShardedRun], tmp_path: Path) -> None:
    """Another device may draw other tokens where sums round; texts of two kinds are not one run's."""
    path = tmp_path / "x.jsonl"
    generate_sharded(Alone(), [run_to(path)])
    found = path.read_text().splitlines()
    other = json.loads(found[0])
    other["token_ids"][0] += 1
    path.write_text("\n".join([json.dumps(other), *found[2:], ""]))
    told: list[str] = []
    texts = generate_sharded(Alone(), [run_to(path)], told.append)[0]
    assert texts.new == 1
    (words,) = told
    assert "the text of the prompt '0' comes out otherwise on a second try" in words
    assert list(texts[0].token_ids) == other["token_ids"]


def test_bad_prompts_are_refused_before_a_file_is_made(
    run_to: Callable[..., ShardedRun], tmp_path: Path
) -> None:
    run = run_to(tmp_path / "x.jsonl")
    bad = ShardedRun(run.recipe, [*run.prompts, Prompt("empty", "", ())], run.path, 3)
    with pytest.raises(ValueError, match="'empty' has no tokens"):
        generate_sharded(Crewed(Loopback(2)), [bad])
    assert not (tmp_path / "x.jsonl").exists()


def test_recipes_make_the_settings_they_are_made_of(key_file: Path, tiny_folder: Path) -> None:
    scheme = td.Scheme.of("joint-race", "gumbel")
    reader = functools.partial(Key.read, key_file)
    settings = EngineSettings(
        method=scheme.method,
        prf=scheme.function(Key(SECRET)),
        lookahead=5,
        max_tokens=7,
        seed=9,
        ignore_eos=True,
    )
    recipe = SchemeRecipe.of(PairNames("a", "b"), scheme, reader, settings)
    (sent,) = unpacked(packed(recipe))
    assert replace(sent, read_key=reader) == recipe
    assert sent.settings(load_pair(tiny_folder, "skip:1", progress=False)) == settings


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"workers": 2, "key": Key(SECRET)}, "a key is never sent to workers"),
        ({"workers": "ray", "key": Key(SECRET)}, "a key is never sent to workers"),
        ({"key": Key(SECRET), "read_key": Key.new}, "read_key is for workers"),
        (
            {"workers": 2, "read_key": Key.new, "lookahead": "auto"},
            "lookahead='auto' is for this process alone",
        ),
        ({"workers": 0, "read_key": Key.new}, "workers=0 must be at least 1"),
        ({"key": Key(SECRET), "gpus_per_worker": 0.5}, "gpus_per_worker=0.5 is for workers='ray'"),
        ({"workers": 2, "read_key": Key.new, "gpus_per_worker": 0.5}, "is for workers='ray', not workers=2"),
    ],
)
def test_what_does_not_go_together(tiny_folder: Path, others: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        td.generate(
            ["the man"], td.Scheme.of("joint-race"), target=str(tiny_folder), draft="skip:1", **others
        )


def test_one_worker_takes_a_key_as_it_is(tiny_folder: Path) -> None:
    """Nothing is sent then."""
    how = {"target": str(tiny_folder), "draft": "skip:1", "tokens": 5, "ignore_eos": True}
    scheme, prompts = td.Scheme.of("joint-race"), ["the man", "and then"]
    (one, two) = td.generate(prompts, scheme, Key(SECRET), workers=1, **how)
    plain = td.generate(prompts, scheme, Key(SECRET), **how)
    assert [one.token_ids, two.token_ids] == [record.token_ids for record in plain]


def test_rules_of_a_request_are_made_by_the_workers(tiny_folder: Path, key_file: Path) -> None:
    """What depends on the tokenizer is not sent, and the texts are those of one process."""
    scheme = td.Scheme.of("joint-race", "gumbel")
    reader = functools.partial(Key.read, key_file)
    controls = Controls(repetition_penalty=1.3, stop=("q",), min_tokens=3)
    given = {"tokens": 20, "controls": controls, "min_p": 0.01, "samples": 2, "batch": 2, "note": str}
    prompts = ["the man", "and then"]
    pair = load_pair(tiny_folder, "skip:1", dtype="float32", progress=False)
    plain = td.generate(prompts, scheme, reader(), pair=pair, **given)
    names = {"target": str(tiny_folder), "draft": "skip:1", "dtype": "float32"}
    shared = td.generate(prompts, scheme, read_key=reader, workers=1, **names, **given)
    assert [record.token_ids for record in shared] == [record.token_ids for record in plain]
    assert shared[0].run.controls == str(controls)
