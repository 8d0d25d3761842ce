"""The examples of `docs/extending.md`, and SimplexWater taken out and put back: what comes from outside works
on curves, under kernels, in the engine and in detection, like what is here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.blocks import parse
from tests.helpers.tiny import VOCABULARY, make_llama, make_tokenizer, tiny_folder

__all__ = ["make_llama", "make_tokenizer", "tiny_folder"]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
#: What an extension must do: run in a process of its own, as registering lasts.
TRIED = '''
import numpy as np
import tradeoff as td
from tradeoff.decoders import parse_decoder

def writes(method, watermark, tokens):
    """A text drawn by the method's bonus stream, and by the key."""
    scheme, rng, ids, seen = td.Scheme.of(method, watermark), np.random.default_rng(1), [], set()
    for position in range(tokens):
        context, law = tuple(ids[-scheme.context_width :]), rng.dirichlet(np.full(40, 0.3))
        marked = context not in seen
        ids.append(td.draw(law, scheme, KEY, context, rng=position, marked=marked))
        seen.add(context)
    return scheme, ids

KEY, OTHER = td.Key(bytes(range(32))), td.Key(bytes(32))

def is_found(method, watermark, tokens=150, detector=None):
    scheme, ids = writes(method, watermark, tokens)
    assert td.detect(ids, scheme, KEY, detector=detector).log10_p < -6
    assert td.detect(ids, scheme, OTHER, detector=detector).log10_p > -3
    assert td.Scheme.of_dict(scheme.to_dict()) == scheme
    if detector is None:
        assert td.detect(ids, scheme, KEY, sequential=True).verdict == "watermarked"
        assert td.detect(ids, scheme, OTHER, sequential=True).verdict == "not detected"

def is_unbiased(watermark, seeds=40_000):
    """The mean of P_zeta is P, within five standard errors of every token."""
    decoder, p = parse_decoder(watermark), np.random.default_rng(2).dirichlet(np.ones(6))
    laws = decoder(p[None], decoder.draw(np.random.default_rng(3), (seeds,), 6))
    assert (np.abs(laws.mean(axis=0) - p) < 5 * laws.std(axis=0) / np.sqrt(seeds) + 1e-12).all()
    return p

def is_on_curves(watermark):
    p, q = np.random.default_rng(4).dirichlet(np.ones(5), 2)
    entropy = -(p * np.log(p)).sum()
    strength, most = td.strength(p, watermark), 1e-9 + entropy
    assert 0.02 < strength.value <= most
    curve = td.curve("google", p, q, watermark=watermark, seeds=2_000)
    assert np.isfinite(curve.table().to_numpy(dtype=float)).all()
    kept = td.efficiency(p, q, "algorithm-1", watermark)
    assert abs(kept.value - np.minimum(p, q).sum()) < 1e-12
'''


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", path + TRIED + code], capture_output=True, text=True, cwd=ROOT
    )


def ends_well(code: str, folder: Path = EXAMPLES) -> None:
    done = run(code, folder)
    assert done.returncode == 0, done.stderr[-2000:]


def test_they_are_short():
    files = sorted(EXAMPLES.glob("*.py"))
    assert [file.stem for file in files] == ["decoder", "detector", "kernel", "named_detector"]
    for file in files:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 40, file.name


def test_they_stand_in_the_documentation_as_they_are():
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    shown = {block.file: block.code for block in parse(text, "docs/extending.md") if block.file}
    assert shown == {file.name: file.read_text(encoding="utf-8") for file in EXAMPLES.glob("*.py")}


def test_a_watermark_from_outside():
    ends_well("""
import decoder, detector
is_unbiased("uniform-tournament:4")
is_on_curves("uniform-tournament:4")
for method in ("basic", "keep-strength", "keep-efficiency", "two-keys", "algorithm-1"):
    is_found(method, "uniform-tournament")
is_found("algorithm-1", "completed:uniform-tournament:3")
""")


def test_a_method_from_outside():
    ends_well("""
import kernel
is_found("target-alone", "gumbel")
is_found("target-alone", "synthid:20")
assert "target-alone" in td.METHODS
p, q = np.random.default_rng(5).dirichlet(np.ones(4), 2)
assert abs(td.efficiency(p, q, "target-alone").value - np.minimum(p, q).sum()) < 1e-12
""")


def test_a_named_detector_from_outside():
    ends_well("""
import named_detector
is_found("basic", "gumbel", detector="high")
""")


@pytest.mark.slow
def test_the_engine_generates_with_them_and_the_command_line_finds_them(
    tiny_folder, make_llama, make_tokenizer, tmp_path
):
    """On tiny models: every method with the watermark from outside, and the method from outside."""
    draft = tmp_path / "draft"
    make_llama(seed=1, width=len(VOCABULARY) + 16).save_pretrained(draft)
    make_tokenizer().save_pretrained(draft)
    ends_well(
        f"""
import decoder, detector, kernel, named_detector
from pathlib import Path
from typer.testing import CliRunner
from tradeoff.cli import app

folder, model = Path({str(tmp_path)!r}), {str(tiny_folder)!r}
KEY.write(folder / "key")
pair = td.load_pair(model, {str(draft)!r}, device="cpu", dtype="float32")
detect = ["detect", "--key-file", str(folder / "key"), "--tokenizer", model, "--json"]
for method, watermark in (
    ("basic", "uniform-tournament"),
    ("keep-strength", "uniform-tournament"),
    ("two-keys", "uniform-tournament"),
    ("algorithm-1", "uniform-tournament"),
    ("target-alone", "uniform-tournament:5"),
    ("target-alone", "gumbel"),
):
    scheme, file = td.Scheme.of(method, watermark), folder / f"{{method}} {{watermark[:6]}}.jsonl"
    texts = td.generate(
        ["a", "b"], scheme, KEY, pair=pair, tokens=120, output=file, ignore_eos=True, probe=False
    )
    for text in texts:
        assert td.detect(text, None, KEY).log10_p < -4, (method, watermark)
    printed = CliRunner().invoke(app, [*detect, str(file)])
    assert printed.stdout.count('"verdict": "watermarked"') == 2, printed.output
named = CliRunner().invoke(app, [*detect, str(folder / "target-alone gumbel.jsonl"), "--detector", "high"])
assert named.stdout.count('"detector": "uniforms above 0.9"') == 2, named.output
"""
    )


def test_an_installed_package_is_found_by_its_entry_point(tmp_path):
    """Without an import of one's own: by the metadata that pip writes."""
    shutil.copy(EXAMPLES / "decoder.py", tmp_path / "decoder.py")
    metadata = tmp_path / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[tradeoff]\nmine = decoder\n")
    ends_well('assert parse_decoder("uniform-tournament:3").rounds == 3', tmp_path)
    (metadata / "entry_points.txt").write_text("[tradeoff]\nmine = no_such_module\n")
    failed = run('parse_decoder("uniform-tournament:3")', tmp_path)
    assert "the extension mine (no_such_module) cannot be loaded" in failed.stderr


# SimplexWater, taken out and put back

SIMPLEX_WATER = (
    "decoders/simplexwater.py",
    "detection/fixed/simplexwater.py",
    "detection/bets/simplexwater.py",
)


@pytest.fixture
def without(tmp_path: Path) -> Path:
    """The package without SimplexWater: its three files gone, and their lines in the two faces."""
    package = tmp_path / "tradeoff"
    shutil.copytree(ROOT / "tradeoff", package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in SIMPLEX_WATER:
        (package / file).unlink()
    named = re.compile(r".*\b(simplex_water|SimplexScores|SimplexSum|SimplexBets|value_log_bets)\b.*\n")
    for face in ("__init__.py", "decoders/__init__.py", "detection/__init__.py"):
        path = package / face
        left = path.read_text(encoding="utf-8").replace("heavy_water, simplex_water", "heavy_water")
        left = left.replace('"heavy_water", "simplex_water"', '"heavy_water"')
        path.write_text(named.sub("", left), encoding="utf-8")
    return tmp_path


def test_without_it_everything_else_works(without):
    ends_well(
        """
import tradeoff.detection
is_found("basic", "completed:heavywater:lognormal,k=64")
try:
    parse_decoder("simplexwater:4")
except ValueError as error:
    assert "is unknown" in str(error) and "simplexwater" not in str(error).split("use")[1]
else:
    raise AssertionError("SimplexWater is still there")
""",
        without,
    )


def test_put_back_as_three_files_of_another_package_it_is_what_it_was(without):
    extension = without / "simplex_extension"
    extension.mkdir()
    (extension / "__init__.py").write_text("from simplex_extension import simplex_water_bets\n")
    for file, name in zip(SIMPLEX_WATER, ("decoder", "detector", "simplex_water_bets"), strict=True):
        text = (ROOT / "tradeoff" / file).read_text(encoding="utf-8")
        text = text.replace(
            "from tradeoff.decoders import SimplexScores",
            "from simplex_extension.decoder import SimplexScores",
        )
        text = text.replace("tradeoff.detection.fixed.simplexwater", "simplex_extension.detector")
        (extension / f"{name}.py").write_text(text)
    code = """
is_on_curves("simplexwater:4")
for method in ("basic", "two-keys", "algorithm-1"):
    is_found(method, "simplexwater:6", 250)
is_found("algorithm-1", "completed:simplexwater:5,sinkhorn=0.05")
scheme, ids = writes("algorithm-1", "simplexwater:6", 100)
print(ids, td.detect(ids, scheme, KEY).log_p, td.detect(ids, scheme, KEY, sequential=True).log_p)
"""
    outside = run("import simplex_extension\n" + code, without)
    assert outside.returncode == 0, outside.stderr[-2000:]
    assert outside.stdout == run(code, ROOT).stdout
