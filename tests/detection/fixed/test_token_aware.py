"""The likelihood ratio that knows which token it is: its priors, its law given the text, its file."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from tests.helpers.support import ALPHA
from tradeoff.decoders import GumbelMax, SynthID
from tradeoff.detection import (
    Aaronson,
    Evidence,
    RacePrior,
    TokenAware,
    TokenPriors,
    detect,
    given_text,
    load_token_aware,
    save_token_aware,
)
from tradeoff.detection.fixed import token_aware
from tradeoff.detection.fixed.row_sums import RowSum
from tradeoff.errors import FileError
from tradeoff.kernels import Basic, Standard, TwoKeys
from tradeoff.keyed import Key, Stream
from tradeoff.keyed.blake2 import KeyedPrf

#: Token 0 is certain when it is drawn, 1 never is, 2 is either; 3 and 4 are rare, and all others unseen.
IDS = np.repeat([0, 1, 2, 3, 4], [400, 400, 400, 1, 2])
P = np.concatenate([np.full(400, 0.999), np.full(400, 0.05), np.tile([0.999, 0.05], 200), [0.01, 0.2, 0.01]])
FITTED = TokenAware.fit(IDS, P)


def function(number: int) -> KeyedPrf:
    return KeyedPrf(Key(number.to_bytes(16, "big")), 2)


def test_scores_are_log_likelihood_ratios_of_the_priors():
    """In every cell of E: between the densities' ratio at its two ends, but for rounding."""
    tokens = np.array([0, 1, 2, 3, 99])
    weights, scores = FITTED.priors.weights(tokens), FITTED.priors.scores(tokens)
    assert weights.sum(axis=1) == pytest.approx(np.ones(5))
    edges = token_aware._EDGES
    for weight, row in zip(weights, scores, strict=True):
        at_edges = RacePrior(token_aware._GRID, weight).log_ratio(np.exp(-edges[:-1]))
        # The ratio falls as E grows.
        assert (row <= 100 * at_edges + 1e-6).all()
        assert (row[:-1] >= 100 * at_edges[1:] - 1 - 1e-6).all()


def test_cells_have_the_mass_of_an_exponential():
    for p in (1.0, 0.3, 1e-4):
        mass = token_aware._cells(np.array([p]))[0]
        assert mass.sum() == pytest.approx(1)
        for cell in (0, 5, 150, 280):
            low, high = token_aware._EDGES[cell : cell + 2]
            expected = integrate.quad(lambda e, p=p: math.exp(-e / p) / p, low, high)[0]
            assert mass[cell] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_priors_are_what_was_seen_drawn_towards_that_of_rare_tokens():
    """Frequencies where a token is common, and for one that was never seen those of the rare ones."""
    common, unseen = FITTED.priors.weights(np.array([1, 12_345]))
    near = np.argmin(abs(np.log(token_aware._GRID / 0.05)))
    assert common[near] > 0.95
    rare = np.argmin(abs(np.log(token_aware._GRID / 0.01)))
    assert unseen[rare] > common[rare]
    assert (FITTED.priors.weights(np.array([12_345])) == FITTED.priors.weights(np.array([77]))).all()


def test_a_certain_token_tells_nothing_and_an_uncertain_one_much():
    scores = FITTED.priors.scores(np.array([0, 1]))
    certain, uncertain = scores[:, token_aware._EDGES[:-1] < 0.05]
    assert (abs(certain[1:]) < abs(uncertain[1:])).mean() > 0.8
    assert uncertain[0] > 250 > 100 > certain[-1]


def test_exp_of_a_score_has_mean_at_most_one_without_a_watermark():
    """So that exp(-sum), the bound for any text, is Markov's."""
    scores = FITTED.priors.scores(np.array([0, 1, 2, 3, 4, 99]))
    means = np.exp(scores / 100) @ token_aware._NULL
    assert (means <= 1).all()
    assert (means > 0.98).all()
    assert FITTED.log_p(500.0, 3) == pytest.approx(-5)
    assert FITTED.log_p(-20.0, 3) == 0.0
    assert FITTED.log_p(FITTED.threshold(3, 0.01), 3) <= math.log(0.01)


@pytest.mark.parametrize("tokens", [[0, 1], [1, 1, 2], [99, 0]], ids=str)
def test_null_law_of_a_text_by_enumeration(tokens, monkeypatch):
    """Over all cells of E at every token: few cells, of unequal probability."""
    edges = np.array([0.0, 1e-3, 0.02, 0.3, 1.0, np.inf])
    monkeypatch.setattr(token_aware, "_EDGES", edges)
    null = token_aware._cells(np.ones(1))[0]
    monkeypatch.setattr(token_aware, "_NULL", null)
    monkeypatch.setattr(token_aware, "_MARKED", token_aware._cells(token_aware._GRID))
    assert null == pytest.approx(-np.diff(np.exp(-edges)))
    detector = given_text(TokenAware.fit(IDS, P), Evidence([7, 8, *tokens], function(0)))
    rows = detector.priors.scores(np.array(tokens))
    found: dict[int, float] = {}
    for cells in itertools.product(range(len(null)), repeat=len(tokens)):
        total = int(sum(row[cell] for row, cell in zip(rows, cells, strict=True)))
        found[total] = found.get(total, 0.0) + math.prod(null[list(cells)])
    # The first two tokens have no context of their own, and do not count.
    assert detector.text.tolist() == tokens
    for total in found:
        expected = sum(mass for other, mass in found.items() if other >= total)
        assert detector.log_p(total, len(tokens)) == pytest.approx(math.log(expected), rel=1e-9, abs=1e-9)
    for fpr in (0.3, 0.01):
        least = detector.threshold(len(tokens), fpr)
        assert detector.log_p(least, len(tokens)) <= math.log(fpr) < detector.log_p(least - 1, len(tokens))


def test_rows_of_unequal_mass_are_those_of_repeated_entries():
    """Weights 1, 2, 3 say the same as an entry, another twice, a third three times."""
    rows, counts = np.array([[0, 7, -3], [5, 2, 11]]), np.array([2, 3])
    weighed = RowSum(rows, counts, np.array([1.0, 2.0, 3.0]))
    repeated = RowSum(np.repeat(rows, [1, 2, 3], axis=1), counts)
    for total in range(-8, 50):
        assert weighed.log_sf(total) == pytest.approx(repeated.log_sf(total), rel=1e-9, abs=1e-12)


def test_p_values_are_uniform_under_keys():
    """For fixed texts and random keys, wherever their tokens repeat: as exact as cells are fine."""
    rng, log_p = np.random.default_rng(3), []
    for _ in range(5):
        ids = rng.choice([0, 1, 2, 3, 4, 99], 30)
        evidence = Evidence(ids, function(0))
        detector = given_text(FITTED, evidence)
        for number in range(80):
            under = evidence.under(function(1_000 + number))
            log_p.append(detector.log_p(float(detector.contributions(under).sum()), len(under)))
    assert stats.kstest(np.exp(log_p), "uniform").pvalue > ALPHA
    below = int((np.array(log_p) <= math.log(0.05)).sum())
    assert stats.binomtest(below, len(log_p), 0.05).pvalue > ALPHA


def test_the_verdict_on_a_text_is_that_of_its_own_law():
    evidence = Evidence(np.array([0, 1, 2, 99, 1, 1, 0, 2]), function(5))
    detector = given_text(FITTED, evidence)
    score = detect(FITTED, evidence)
    assert score.log_p == detector.log_p(score.statistic, len(evidence))
    assert score.log_p != FITTED.log_p(score.statistic, len(evidence))
    # Others are of any text already.
    assert given_text(Aaronson(), evidence) == Aaronson()


def test_it_finds_more_than_the_sum_where_tokens_tell_their_probability():
    """Tokens 0 are certain, the few tokens 1 are not: at 0 there is only noise, which the priors silence."""
    rng, told = np.random.default_rng(0), []
    ids = np.repeat([0, 1], [37, 3])
    detector, scores = TokenAware(FITTED.priors, text=ids), FITTED.priors.scores(ids)
    for _ in range(150):
        race = np.where(ids == 0, 0.999, 0.05) * rng.exponential(size=40)
        cell = np.searchsorted(token_aware._EDGES, race, side="right") - 1
        aware = detector.log_p(float(scores[np.arange(40), cell].sum()), 40)
        told.append((aware, Aaronson().log_p(float(-np.log1p(-np.exp(-race)).sum()), 40)))
    aware, other = (np.array(told) <= math.log(0.01)).T
    alone = int((aware & ~other).sum())
    assert stats.binomtest(alone, int((aware != other).sum()), 0.5, "greater").pvalue < 1e-6


def test_a_file_holds_all_of_it(tmp_path: Path):
    path = tmp_path / "table.json"
    save_token_aware(TokenAware.fit(IDS, P, Stream.DRAFT), path)
    again = load_token_aware(path)
    assert again.stream == Stream.DRAFT
    assert (again.priors.tokens == FITTED.priors.tokens).all()
    assert (again.priors.counts == FITTED.priors.counts).all()
    assert repr(again) == repr(TokenAware.fit(IDS, P, Stream.DRAFT))
    assert repr(again) != repr(FITTED)


GOOD = {"format": "tradeoff-token-aware-v1", "stream": "shared", "counts": {"3": {"0": 2}, "5": {"40": 1}}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "other"},
        {"stream": "none such"},
        {"counts": {}},
        {"counts": {"5": {"0": 1}, "3": {"0": 1}}},
        {"counts": {"-3": {"0": 1}}},
        {"counts": {"3": {}}},
        {"counts": {"3": {"41": 1}}},
        {"counts": {"3": {"-1": 1}}},
        {"counts": {"3": {"0": 0}}},
        {"counts": {"3": {"0": 1.5}}},
        {"counts": {"3": {"0": True}}},
        {"counts": {"3": {"0": 1 << 70}}},
        {"counts": {str(1 << 70): {"0": 1}}},
        {"counts": [1, 2]},
    ],
    ids=str,
)
def test_a_file_with_something_else_is_refused(tmp_path: Path, wrong: dict):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(GOOD))
    assert load_token_aware(path).priors.counts.sum() == 3
    path.write_text(json.dumps(GOOD | wrong))
    with pytest.raises(FileError, match="not a fitted token-aware detector"):
        load_token_aware(path)


def test_a_file_that_is_missing_or_no_json_is_refused(tmp_path: Path):
    with pytest.raises(FileError, match=r"gone\.json is not a fitted token-aware detector"):
        load_token_aware(tmp_path / "gone.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe no json")
    with pytest.raises(FileError, match="fit one with TokenAware"):
        load_token_aware(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("tokens", "p", "message"),
    [
        ([], [], "at least 1"),
        ([1, 2], [0.5], "one length"),
        ([[1]], [[0.5]], "one length"),
        ([0.5], [0.5], "whole numbers"),
        ([-1], [0.5], "whole numbers"),
        ([1], [0.0], "not logarithms"),
        ([1], [-0.7], "not logarithms"),
        ([1], [1.1], "not logarithms"),
        ([1], [math.nan], "not logarithms"),
    ],
)
def test_what_it_cannot_be_fitted_to(tokens, p, message):
    with pytest.raises(ValueError, match=message):
        TokenPriors.fit(np.array(tokens), np.array(p))


def test_it_reads_one_stream_of_gumbel_max():
    FITTED.check_reads(Basic(GumbelMax()))
    FITTED.check_reads(Standard())
    for method in (TwoKeys(GumbelMax()), Basic(SynthID(5))):
        with pytest.raises(ValueError, match="reads races of the stream shared"):
            FITTED.check_reads(method)
