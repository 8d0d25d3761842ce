"""`tradeoff curve` as a user runs it."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.helpers.support import P, Q
from tradeoff.cli import app
from tradeoff.curves.families import CLASSES
from tradeoff.decoders import GumbelMax, Identity, SynthID, Transport, parse_decoder

runner = CliRunner()


@pytest.fixture
def files(tmp_path):
    (tmp_path / "P.json").write_text(json.dumps(P.tolist()))
    np.save(tmp_path / "Q.npy", Q)
    return [str(tmp_path / "P.json"), str(tmp_path / "Q.npy")]


def test_paper_summary():
    result = runner.invoke(app, ["curve", "--paper"])
    assert result.exit_code == 0
    for number in ("0.700000", "2.146621", "0.625738", "1.448576", "1.921687", "exact"):
        assert number in result.output


def test_files_to_csv_and_picture(files, tmp_path):
    out, picture = tmp_path / "new" / "curve.csv", tmp_path / "new" / "curve.png"
    arguments = ["--class", "google", "--decoder", "gumbel", "-o", str(out), "--plot", str(picture)]
    result = runner.invoke(app, ["curve", *files, *arguments])
    assert result.exit_code == 0
    assert "curve.csv" in result.output.replace("\n", "")
    table = pd.read_csv(out)
    assert list(table.columns[:5]) == ["gamma", "theta", "efficiency", "strength", "frontier"]
    assert table["gamma"].iloc[[0, -1]].tolist() == [0, 1]
    assert table["strength"].iloc[0] == pytest.approx(1.9216865363805793, abs=1e-12)
    assert table["frontier"].dtype == bool
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_all_classes_share_one_file(files, tmp_path):
    out = tmp_path / "curves.csv"
    assert runner.invoke(app, ["curve", *files, "-o", str(out), "--points", "3"]).exit_code == 0
    table = pd.read_csv(out)
    assert table.groupby("class").size().to_dict() == {"linear": 3, "hu": 3, "google": 3, "time-sharing": 3}


def test_other_decoders(files):
    arguments = ["--decoder", "synthid:30", "--seeds", "2000", "--points", "2"]
    result = runner.invoke(app, ["curve", *files, *arguments])
    assert result.exit_code == 0
    assert "largest standard error" in result.output
    mixed = ["--decoder", "gumbel", "--draft-decoder", "synthid:inf", "--points", "2"]
    result = runner.invoke(app, ["curve", *files, *mixed])
    assert "Gumbel-max on target, SynthID (m = ∞) on draft" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--paper", "--class", "pareto"], ["class='pareto'", "choose one of linear", "or all"]),
        (["--paper", "--decoder", "synthid:0"], ["'synthid:0'", "M >= 1"]),
        (["--paper", "--decoder", "gumbel:3"], ["'gumbel:3'"]),
        (["--paper", "--points", "1"], ["points=1", "at least 2"]),
        (["--paper", "--decoder", "synthid:2", "--seeds", "1"], ["seeds=1", "at least 4"]),
        (["--paper", "P.json"], ["drop the files"]),
        ([], ["two files P and Q", "--paper"]),
        (["missing.json", "missing.json"], ["missing.json does not exist"]),
        (["--paper", "--plot", "curve.xyz"], ["curve.xyz", ".png or .pdf or .svg"]),
        (["--paper", "-o", "curve.json"], ["curve.json", ".csv"]),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["curve", *arguments])
    assert result.exit_code == 2
    for word in words:
        assert word in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("p", "q", "words"),
    [
        ("[0.5, 0.5]", "[0.2, 0.3, 0.5]", "P has 2 tokens and Q has 3"),
        ("[0.5, 0.6]", "[0.5, 0.5]", "P sums to 1.1"),
        ("[1.5, -0.5]", "[0.5, 0.5]", "P[1] = -0.5 is negative"),
        ("[0.5, 0.5]", "[NaN, 1.0]", "Q[0] = nan is not finite"),
        ("[]", "[]", "P is empty"),
    ],
)
def test_bad_distributions_name_argument_and_value(p, q, words, tmp_path):
    (tmp_path / "P.json").write_text(p)
    (tmp_path / "Q.json").write_text(q)
    result = runner.invoke(app, ["curve", str(tmp_path / "P.json"), str(tmp_path / "Q.json")])
    assert result.exit_code == 2
    assert words in result.output


def test_large_tilts_have_curves(files):
    """Not NaN; with an exact plan next to nothing is left to true randomness."""
    arguments = ["--decoder", "heavywater:lognormal,k=64,tilt=1000", "--points", "3"]
    result = runner.invoke(app, ["curve", *files, *arguments])
    assert result.exit_code == 0
    assert "nan" not in result.output.lower()
    assert "exact" in result.output


@pytest.mark.parametrize("family", [*CLASSES, "all"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_an_error_and_not_written(files, tmp_path, monkeypatch, family, value):
    monkeypatch.setattr(Transport, "__call__", lambda self, p, zeta: np.full((*zeta.s.shape, len(p)), value))
    arguments = ["--class", family, "--decoder", "heavywater:gamma,k=8", "-o", str(tmp_path / "curve.csv")]
    with np.errstate(all="ignore"):
        result = runner.invoke(app, ["curve", *files, *arguments])
    assert result.exit_code == 2
    assert "decoder gives no distributions" in result.output.replace("\n", " ")
    assert not (tmp_path / "curve.csv").exists()


@pytest.mark.parametrize(("p", "q"), [("[1]", "[1]"), ("[0.5, 0.5]", "[0.5, 0.5]"), ("[1, 0]", "[0, 1]")])
def test_corner_cases_print_a_curve(p, q, tmp_path):
    (tmp_path / "P.json").write_text(p)
    (tmp_path / "Q.json").write_text(q)
    result = runner.invoke(app, ["curve", str(tmp_path / "P.json"), str(tmp_path / "Q.json")])
    assert result.exit_code == 0
    assert "nan" not in result.output.lower()


def test_decoder_names():
    assert parse_decoder("Gumbel") == GumbelMax()
    assert parse_decoder("none") == Identity()
    assert parse_decoder("synthid") == SynthID(30)
    assert parse_decoder("synthid:inf").degenerate


def test_normalise(tmp_path):
    np.save(tmp_path / "P.npy", 3 * P)
    np.save(tmp_path / "Q.npy", Q.astype(np.float16))
    files = [str(tmp_path / "P.npy"), str(tmp_path / "Q.npy")]
    refused = runner.invoke(app, ["curve", *files])
    assert refused.exit_code == 2
    assert "P sums to 3" in refused.output
    assert "--normalise" in refused.output
    result = runner.invoke(app, ["curve", *files, "--normalise"])
    assert result.exit_code == 0
    assert "2.146621" in result.output
    np.save(tmp_path / "P.npy", np.zeros(10))
    result = runner.invoke(app, ["curve", *files, "--normalise"])
    assert result.exit_code == 2
    assert "P sums to 0 and cannot be normalised" in result.output


@pytest.mark.parametrize("first", ["1e308, 1e308", "Infinity", "-Infinity", "NaN", "-1"])
def test_what_has_no_sum_cannot_be_normalised(first, tmp_path):
    (tmp_path / "p.json").write_text(f"[{first}, 0.5]")
    (tmp_path / "q.json").write_text("[0.5, 0.5]")
    result = runner.invoke(app, ["curve", str(tmp_path / "p.json"), str(tmp_path / "q.json"), "--normalise"])
    assert result.exit_code == 2
    assert "cannot be normalised; pass probabilities or counts" in " ".join(result.stderr.split())


def test_a_certain_token_prints_no_negative_zero(tmp_path):
    (tmp_path / "P.json").write_text("[1, 0]")
    result = runner.invoke(app, ["curve", str(tmp_path / "P.json"), str(tmp_path / "P.json")])
    assert "-0.000000" not in result.output


def test_input_is_never_overwritten(tmp_path):
    """By its own name, by another spelling of it, or through a link."""
    for name, numbers in (("P", "0.5,0.5"), ("Q", "0.25,0.75")):
        (tmp_path / f"{name}.csv").write_text(numbers)
    (tmp_path / "link.csv").symlink_to(tmp_path / "Q.csv")
    for output, holds in (("P.csv", "P"), (f"../{tmp_path.name}/P.csv", "P"), ("link.csv", "Q")):
        arguments = [str(tmp_path / "P.csv"), str(tmp_path / "Q.csv"), "-o", str(tmp_path / output)]
        result = runner.invoke(app, ["curve", *arguments])
        assert result.exit_code == 2
        assert f"holds {holds}; write the curves to another file" in " ".join(result.output.split())
    assert (tmp_path / "P.csv").read_text() == "0.5,0.5"
    assert (tmp_path / "Q.csv").read_text() == "0.25,0.75"


def test_curves_for_programs(files, tmp_path):
    """An object a curve and nothing else, with the numbers of the table."""
    out = tmp_path / "curves.csv"
    result = runner.invoke(app, ["curve", *files, "--points", "3", "--json", "-o", str(out)])
    assert result.exit_code == 0
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["class"] for one in found] == list(CLASSES)
    table = pd.read_csv(out)
    for one in found:
        rows = table[table["class"] == one["class"]]
        for name in ("gamma", "theta", "efficiency", "strength", "efficiency_error", "strength_error"):
            np.testing.assert_allclose(one[name], rows[name], atol=1e-12)
        assert one["frontier"] == rows["frontier"].tolist()
        assert one["overlap"] == pytest.approx(np.minimum(P, Q).sum())
        assert one["entropy"] == pytest.approx(-(P * np.log(P)).sum())
