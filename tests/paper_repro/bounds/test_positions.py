"""Texts of a tiny pair read back: what the key gives, and what is predicted, position by position."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from paper_repro.bounds.positions import _EXACT, read_cell, wrong_pair
from paper_repro.bounds.simulated import simulated_scores
from paper_repro.presets import Cell, PromptSet
from paper_repro.trials.fixed import evidence_of
from tests.helpers.support import ALPHA
from tests.helpers.tiny import VOCABULARY
from tradeoff.decoders import GumbelMax, SynthID, parse_decoder, simplex_water
from tradeoff.detection import default_detector, expected_race_score, race_score_variance
from tradeoff.kernels import make_method
from tradeoff.keyed import Key, KeyedPrf
from tradeoff.llm import EngineSettings, Sampling, encode_prompts, generate_texts
from tradeoff.optimal_transport import seeded_table

P = np.array([0.4, 0.3, 0.2, 0.1])
Q = np.array([0.1, 0.5, 0.15, 0.25])
PRF = KeyedPrf(Key(b"of texts that are read again"), 2)


@pytest.mark.parametrize("name", [name for name in _EXACT if name != "basic"])
def test_simulated_scores_have_the_exact_moments(name: str) -> None:
    method = make_method(name, GumbelMax())
    drawn = simulated_scores(
        method, default_detector(method), P, Q, np.arange(7, 11), 40_000, np.random.default_rng(1)
    )
    mean, variance = expected_race_score(name, P, Q), race_score_variance(name, P, Q)
    assert abs(drawn.mean() - mean) < stats.norm.isf(ALPHA / 2) * np.sqrt(variance / len(drawn))
    assert drawn.var() == pytest.approx(float(variance), rel=0.1)


def test_simulated_bonus_tokens_win_one_round() -> None:
    """A bit of the winner of one round of two is 1 with probability 1/2 + (1 - sum P^2)/4."""
    method = make_method("joint-tournament", SynthID(1))
    detector = default_detector(method)
    drawn = simulated_scores(method, detector, P, None, np.arange(4), 40_000, np.random.default_rng(2))
    ones = drawn == drawn.max()
    chance = 0.5 + (1 - (P**2).sum()) / 4
    assert stats.binomtest(int(ones.sum()), len(ones), chance).pvalue > ALPHA


@pytest.mark.parametrize("ids", [np.arange(4), np.array([2, 9, 11, 40])])
def test_simulated_tokens_of_a_transport_score_what_its_plan_gives(ids: np.ndarray) -> None:
    """Whatever ids its tokens have: the mean score is that of the optimal coupling, sum of pi f."""
    decoder = simplex_water(6)
    method = make_method("basic", decoder)
    whole = np.zeros(ids.max() + 1)
    whole[ids] = P
    tokens, plan = decoder.plan(whole)
    # All ids are words of the code, which no key draws.
    scores = decoder.scores.rows(tokens, seeded_table(0))
    expected = float((plan.laws * scores).sum(axis=0).mean())
    drawn = simulated_scores(method, default_detector(method), P, None, ids, 20_000, np.random.default_rng(3))
    assert stats.binomtest(int(drawn.sum()), len(drawn), expected).pvalue > ALPHA


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory, make_pair):
    """Records and entries of texts of a tiny pair, by method and watermark."""
    folder = tmp_path_factory.mktemp("read")
    pair = make_pair(len(VOCABULARY))
    wrong = wrong_pair(pair)
    prompts = encode_prompts(pair.tokenizer, [("1", "the man"), ("2", "an ant"), ("3", "and then")])

    def of(name: str, watermark: str, temperature: float = 1.5):
        method = make_method(name, parse_decoder(watermark))
        settings = EngineSettings(
            method=method, prf=PRF, sampling=Sampling(temperature), lookahead=3, max_tokens=24,
            ignore_eos=True, measure=True,
        )  # fmt: skip
        label = f"{name}-{watermark.replace(':', '-')}"
        run = generate_texts(pair, settings, prompts, folder / f"{label}.jsonl", batch=3)
        source = PromptSet(name="a", source="builtin:question")
        lookahead = 3 if method.drafts else 0
        cell = Cell(source, name, watermark, temperature, lookahead, 3, 24, True)
        texts = evidence_of(cell, run.records, PRF)
        path = folder / f"{label}.bounds.jsonl"
        return run.records, read_cell(texts, prompts, PRF, pair, wrong, 3, path)

    return of


@pytest.mark.parametrize("name", ["basic", "keep-strength", "algorithm-1", "single-key", "one-race",
                                  "joint-race", "one-race-tree", "joint-race-tree"])  # fmt: skip
def test_the_key_gives_every_token_of_a_determined_method(read, name: str) -> None:
    """Definition 3.1: of a degenerate watermark and a keyed coin the ratio is 1/P(token)."""
    records, entries = read(name, "gumbel")
    for record, entry in zip(records, entries, strict=True):
        np.testing.assert_allclose(entry["ratio"], entry["surprise"], atol=1e-4)
        np.testing.assert_allclose(entry["strength"], entry["entropy"], atol=1e-6)
        # Another key gives hardly any of them.
        assert sum(value is None for value in entry["wrong_ratio"]) > len(entry["wrong_ratio"]) / 2
        assert len(entry["score"]) == len(entry["mean"]) == len(entry["verified"]) >= 10
        assert any(entry["verified"]) == (name != "basic")
        assert len(entry["score"]) <= len(record.token_ids)


@pytest.mark.parametrize("name", ["two-keys", "keep-efficiency"])
def test_what_chance_leaves_of_the_key(read, name: str) -> None:
    """Given the key no token has no chance, and few are certain; the strength is less than Ent(P)."""
    _, entries = read(name, "gumbel")
    for entry in entries:
        ratio = np.array(entry["ratio"], dtype=float)
        assert np.isfinite(ratio).all()
        assert (np.exp(ratio) <= np.exp(np.array(entry["surprise"])) * (1 + 1e-4)).all()
        assert (np.array(entry["strength"]) <= np.array(entry["entropy"]) + 1e-6).all()


def test_acceptance_is_that_of_the_record(read) -> None:
    records, entries = read("joint-race", "gumbel")
    for record, entry in zip(records, entries, strict=True):
        told = [chance for chance in record.efficiency if chance is not None]
        # Positions with a repeated context do not count for the key.
        assert len(entry["efficiency"]) <= len(told)
        for chance in entry["efficiency"]:
            assert min(abs(chance - other) for other in told) < 1e-4
        assert entry["wrong_draft"] != entry["efficiency"]


def test_a_watermark_that_leaves_more_to_chance_has_no_strength(read) -> None:
    _, entries = read("joint-tournament", "synthid:5")
    assert all(entry["ratio"] == entry["strength"] == [] for entry in entries)


def test_what_was_read_is_not_read_again(read, monkeypatch: pytest.MonkeyPatch) -> None:
    _, before = read("one-race", "gumbel")
    monkeypatch.setattr("paper_repro.bounds.positions.position_laws", None)
    _, after = read("one-race", "gumbel")
    assert before == after


def test_the_wrong_draft_is_another(make_pair) -> None:
    pair = make_pair(len(VOCABULARY))
    wrong = wrong_pair(pair)
    assert wrong.target is pair.target
    assert wrong.draft_model.config.num_hidden_layers < pair.target.config.num_hidden_layers
