"""Figure 1: every reference value, an independent computation to 1e-9, files, errors."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize
from typer.testing import CliRunner

from figures.curves import figure_1
from figures.curves.references import _sampled, published_curves, references
from figures.reference import Reference
from tests.helpers.support import P, Q
from tradeoff.curves.families import curve
from tradeoff.curves.setting import Setting
from tradeoff.estimate import Estimate

runner = CliRunner()


def app():
    import typer

    application = typer.Typer()
    application.command()(figure_1.draw)
    return application


@pytest.fixture(scope="module")
def computed():
    return references(seeds=50_000)


def test_every_reference_value_is_reproduced(computed):
    assert len(computed) == 30
    missed = [row for row in computed if not row.holds]
    assert not missed
    exact = [row for row in computed if row.tolerance <= 1e-9]
    assert len(exact) >= 7


def test_a_wrong_value_would_be_reported():
    from dataclasses import replace

    row = references(seeds=400)[0]
    assert row.holds
    assert not replace(row, value=row.value + 1e-8).holds


def h(mass):
    """Entropy in nats of a list of masses."""
    return -sum(m * math.log(m) for m in mass if m > 0)


@pytest.fixture(scope="module")
def joint():
    """pi of the paper's pair from their integral, by adaptive quadrature."""
    n = len(P)
    pi = np.zeros((n, n))
    for i in range(n):
        pi[i, i] = 1 / sum(max(P[k] / P[i], Q[k] / Q[i]) for k in range(n))
        for j in range(n):
            low, high = P[j] / P[i], Q[j] / Q[i]
            if i == j or low >= high:
                continue
            others = [k for k in range(n) if k not in (i, j)]

            def density(s, i=i, j=j, others=others):
                return 1 / (1 + s + sum(max(P[k] / P[i], s * Q[k] / Q[j]) for k in others)) ** 2

            breaks = sorted(P[k] / P[i] * Q[j] / Q[k] for k in others)
            cuts = [low, *(b for b in breaks if low < b < high), high]
            pieces = itertools.pairwise(cuts)
            pi[i, j] = sum(integrate.quad(density, a, b, epsabs=1e-14, epsrel=1e-13)[0] for a, b in pieces)
    assert pi.sum(axis=1) == pytest.approx(P, abs=1e-12)
    return pi


def test_exact_values_to_1e_9_by_an_independent_path(joint):
    """Plain loops over pi from quadrature, sharing no code with the library."""
    n = len(P)
    a = [min(1, P[j] / Q[j]) for j in range(n)]
    excess = [max(P[j] - Q[j], 0) / 0.3 for j in range(n)]
    setting = Setting(P, Q)
    gammas = [0.0, 0.2, 0.5, 0.8, 1.0]
    hu, google = curve("hu", setting, gammas), curve("google", setting, gammas)
    linear = curve("linear", setting, gammas)
    for k, gamma in enumerate(gammas):
        left_hu = left_google = left_linear = 0.0
        for i in range(n):
            left_linear += P[i] * h([(1 - gamma) * P[w] + gamma * (w == i) for w in range(n)])
            for j in range(n):
                c = 1 - gamma
                base = [gamma * (w == i) + c * a[j] * (w == j) for w in range(n)]
                left_hu += joint[i, j] * h([base[w] + c * (1 - a[j]) * excess[w] for w in range(n)])
                for r in range(n):
                    law = [base[w] + c * (1 - a[j]) * (w == r) for w in range(n)]
                    left_google += joint[i, j] * excess[r] * h(law)
        assert hu.strength[k] == pytest.approx(h(P) - left_hu, abs=1e-9)
        assert google.strength[k] == pytest.approx(h(P) - left_google, abs=1e-9)
        assert linear.strength[k] == pytest.approx(h(P) - left_linear, abs=1e-9)
        assert hu.efficiency[k] == pytest.approx((1 - gamma) * 0.7 + gamma * np.trace(joint), abs=1e-9)

        def loss(theta, gamma=gamma):
            total = 0.0
            for i in range(n):
                for j in range(n):
                    total += joint[i, j] * sum(
                        min(
                            (1 - gamma) * P[w] + gamma * (w == i),
                            (1 - theta) * Q[w] + theta * (w == j),
                        )
                        for w in range(n)
                    )
            return -total

        if gamma in (0.5, 0.8):
            best = optimize.minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-11})
            assert linear.efficiency[k] == pytest.approx(-best.fun, abs=1e-9)


def test_published_curves_reproduce_the_published_mistake():
    """1.73 and 1.64 with the residual unnormalised; 1.449 and 1.656 are right."""
    published = published_curves(np.array([0.0, 1.0]), seeds=20_000)
    assert published["hu"][1][0] == pytest.approx(1.73181, abs=5e-6)
    assert published["google"][1][0] == pytest.approx(1.64, abs=0.01)
    # At gamma = 1 there is no residual, and nothing to get wrong.
    assert published["hu"][1][1] == pytest.approx(2.1466205942281027, abs=1e-12)
    assert curve("hu", Setting(P, Q), [0]).strength[0] == pytest.approx(1.448576, abs=5e-7)


def test_files(tmp_path):
    result = runner.invoke(app(), ["--out", str(tmp_path / "new"), "--seeds", "2000", "--as-published"])
    assert result.exit_code == 0, result.output
    stem = tmp_path / "new" / "figure_1_as_published"
    assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(stem.with_suffix(".csv"))
    curves = table.groupby(["class", "decoder"]).size()
    assert (curves.loc[["linear", "hu", "google", "time-sharing"]] == 41).all()
    table = table[~table["class"].str.contains("published")]
    assert set(table["decoder"]) == {"gumbel", "synthid-inf", "synthid-30", "none", "any degenerate"}
    optimum = table[table["class"] == "optimum"].iloc[0]
    assert (optimum["efficiency"], optimum["strength"]) == pytest.approx((0.7, 2.1466205942281027))
    assert table.loc[table["decoder"] == "gumbel", "efficiency_error"].max() == 0


def test_equal_runs_give_equal_tables(tmp_path):
    for name in ("a", "b"):
        figure_1.draw_figure_1(tmp_path / name, seeds=2_000, seed=5)
    assert (tmp_path / "a" / "figure_1.csv").read_bytes() == (tmp_path / "b" / "figure_1.csv").read_bytes()


def test_standard_errors_at_the_default_size_are_below_1e_3(tmp_path):
    """They scale with 1/sqrt(seeds): 0.001 at 200,000 is 0.0063 at 5,000."""
    planes, _ = figure_1.compute(P, Q, seeds=5_000)
    worst = max(max(c.efficiency_error.max(), c.strength_error.max()) for c in planes.curves.values())
    assert 0 < worst < 0.001 * math.sqrt(200_000 / 5_000)


def test_unwritable_folder_is_an_error_with_exit_status_2(tmp_path):
    (tmp_path / "file").write_text("")
    result = runner.invoke(app(), ["--out", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "choose another" in result.output


def test_sampled_references_allow_four_standard_errors():
    row = _sampled("x", Estimate(1.0, 0.003), 1.0, 0.004)
    assert row.tolerance == pytest.approx(4 * 0.005)


@pytest.mark.parametrize(("off", "status"), [(0.0, 0), (1.0, 1)])
def test_check_exits_1_when_a_reference_is_missed(monkeypatch, off, status):
    monkeypatch.setattr(
        "figures.curves.references.references", lambda **_: [Reference("one value", 1.0 + off, 1.0, 1e-9)]
    )
    result = runner.invoke(app(), ["--check"])
    assert result.exit_code == status
    assert f"{1 - status} of 1 reference values" in result.output


def test_the_largest_error_is_the_largest():
    planes, _ = figure_1.compute(P, Q, seeds=400)
    errors = [e.max() for c in planes.curves.values() for e in (c.efficiency_error, c.strength_error)]
    assert figure_1._largest_error(planes) == max(errors) > min(errors)
