"""The functions of the front door: the numbers of what they are made of, and errors with names."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tradeoff as td
from tests.helpers.support import ALPHA, P, Q
from tradeoff.api import detect_all
from tradeoff.curves.measures import watermark_strength
from tradeoff.detection import (
    Evidence,
    SegmentSearch,
    default_detector,
    predicted_power,
    race_score_law,
    register_detector,
)
from tradeoff.detection.sequential import Sequential
from tradeoff.kernels import METHODS, Algorithm1
from tradeoff.kernels.keyed_randomness import KeyedRandomness
from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import Stream
from tradeoff.texts.json_texts import Broken
from tradeoff.verdicts import Options, Outcome

KEY, OTHER = td.Key(bytes(range(32))), td.Key(bytes(32))
SCHEME = td.Scheme.of()


def text(scheme: td.Scheme, tokens: int = 120, seed: int = 0) -> list[int]:
    """Tokens of flat laws, drawn by the scheme's bonus stream."""
    rng, ids, seen = np.random.default_rng(seed), [], set()
    for position in range(tokens):
        context = tuple(ids[-scheme.context_width :])
        law = rng.dirichlet(np.full(50, 0.5))
        ids.append(td.draw(law, scheme, KEY, context, marked=context not in seen, rng=position))
        seen.add(context)
    return ids


IDS = text(SCHEME)


# Drawing


@given(st.integers(0, 2**32 - 1))
def test_a_draw_of_a_race_is_the_token_with_the_smallest_time(seed):
    rng = np.random.default_rng(seed)
    p, context = rng.dirichlet(np.ones(7)), rng.integers(0, 99, SCHEME.context_width)
    race = KeyedPrf(KEY).race(Stream.SHARED, context, np.arange(7))
    assert td.draw(p, SCHEME, KEY, context) == int(np.argmin(race / p))


def test_a_batch_is_drawn_as_its_rows_are():
    rng = np.random.default_rng(1)
    laws, contexts = rng.dirichlet(np.ones(5), (2, 3)), rng.integers(0, 9, (2, 3, 6))
    together = td.draw(laws, SCHEME, KEY, contexts)
    assert together.shape == (2, 3)
    for row in np.ndindex(2, 3):
        assert td.draw(laws[row], SCHEME, KEY, contexts[row][-SCHEME.context_width :]) == together[row]


@pytest.mark.parametrize(
    "watermark", ["gumbel", "synthid:3", "simplexwater:3", "completed:heavywater:gamma,k=8"]
)
def test_over_contexts_the_tokens_have_the_law(watermark):
    """Unbiased: a chi-square test of 4,000 contexts under one key."""
    from scipy import stats

    scheme, p = td.Scheme.of("basic", watermark), np.array([0.5, 0.3, 0.15, 0.05])
    contexts = np.arange(16_000).reshape(4_000, 4)
    tokens = td.draw(np.broadcast_to(p, (4_000, 4)), scheme, KEY, contexts, rng=0)
    assert stats.chisquare(np.bincount(tokens, minlength=4), 4_000 * p).pvalue > ALPHA


def test_what_the_key_does_not_decide_is_truly_random():
    scheme, flat = td.Scheme.of(), np.full(1000, 1e-3)
    assert len({td.draw(flat, scheme, KEY, [1, 2, 3, 4], rng=seed) for seed in range(9)}) == 1
    unmarked = {td.draw(flat, scheme, KEY, [1, 2, 3, 4], marked=False, rng=seed) for seed in range(9)}
    assert len(unmarked) > 5
    # Without two tokens before it, the default function marks nothing, and vLLM's pads them.
    assert len({td.draw(flat, scheme, KEY, [1], rng=seed) for seed in range(9)}) > 5
    vllm = td.Scheme.of(prf=VllmPhilox.name)
    assert len({td.draw(flat, vllm, 1 << 50, [1], rng=seed) for seed in range(9)}) == 1


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(td.DistributionError, match="sum"):
        td.draw([0.5, 0.4], SCHEME, KEY, [1])
    with pytest.raises(ValueError, match=r"context has shape \(1, 4\)"):
        td.draw([0.5, 0.5], SCHEME, KEY, [[1, 2, 3, 4]])


# Detection


def test_a_verdict_is_that_of_the_detector_on_the_evidence():
    found = td.detect(IDS, SCHEME, KEY)
    expected = td.detection.detect(default_detector(SCHEME.method), Evidence(IDS, KeyedPrf(KEY)))
    assert found.tokens_scored == expected.tokens_scored
    assert found.whole_log10_p == pytest.approx(expected.log10_p)
    search = SegmentSearch()
    whole, _ = search.weights(len(search.lengths(expected.tokens_scored)))
    assert found.log_p == pytest.approx(expected.log_p - math.log(whole)), "what looking for parts costs"
    assert td.detect(IDS, SCHEME, KEY, segments=False).log_p == expected.log_p
    assert found.contributions.tolist() == expected.contributions.tolist()
    assert found.log10_p == pytest.approx(found.log_p / math.log(10))
    assert found.verdict is Outcome.WATERMARKED
    assert found.detector == expected.detector
    assert td.detect(IDS, SCHEME, OTHER).verdict == "not detected"
    assert td.detect(IDS[:3], SCHEME, KEY).verdict == "too short"


def test_many_texts_are_judged_one_by_one_and_what_is_none_is_told():
    good, bad, other = detect_all([IDS, [1, -2], text(SCHEME, seed=3)], SCHEME, KEY)
    assert good.verdict == other.verdict == "watermarked"
    assert isinstance(bad, Broken)
    assert "token_ids hold -2" in bad.message
    with pytest.raises(ValueError, match="token_ids hold -2"):
        td.detect([1, -2], SCHEME, KEY)


def test_without_a_scheme_the_defaults_are_assumed_aloud():
    with pytest.warns(UserWarning, match="assumed: method joint-race"):
        assert td.detect(IDS, None, KEY).scheme == SCHEME


def test_with_a_scheme_nothing_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        td.detect(IDS, SCHEME, KEY)
        td.detect(np.array(IDS), SCHEME, KEY, sequential=True)


def test_the_key_of_the_environment(monkeypatch):
    monkeypatch.setenv("TRADEOFF_KEY", bytes(range(32)).hex())
    assert td.detect(IDS, SCHEME).log_p == td.detect(IDS, SCHEME, KEY).log_p
    with pytest.raises(ValueError, match="needs an integer key"):
        td.detect(IDS, td.Scheme.of(prf=VllmPhilox.name))


def test_a_key_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="not an integer"):
        td.detect(IDS, SCHEME, 12)


@pytest.mark.parametrize("sequential", [False, True])
def test_the_evidence_along_a_text(sequential):
    """At its end that of the whole text; one more token of a shorter text ends there."""
    found = td.detect(IDS, SCHEME, OTHER, sequential=sequential)
    tokens, log10_p = found.over_time()
    assert tokens[-1] == found.index[-1] + 1
    assert log10_p[-1] == pytest.approx(found.whole_log10_p)
    middle = len(tokens) // 2
    shorter = td.detect(IDS[: tokens[middle]], SCHEME, OTHER, sequential=sequential)
    assert log10_p[middle] == pytest.approx(shorter.whole_log10_p)
    empty = td.detect(IDS[:2], SCHEME, KEY)
    assert [len(part) for part in empty.over_time()] == [0, 0]


def test_a_verdict_is_shown_in_words_and_tables_and_pictures(tmp_path):
    found = td.detect(IDS, SCHEME, KEY)
    assert repr(found).startswith("<Result: watermarked, log10 p = -")
    assert f"{found.tokens_scored} of 120 tokens scored, joint-race with Gumbel-max" in repr(found)
    assert KEY.fingerprint in found._repr_html_()
    found.plot().savefig(tmp_path / "evidence.png")
    assert (tmp_path / "evidence.png").stat().st_size > 5_000


@register_detector("half-of-the-scores")
def _half(method):
    return default_detector(method)


def test_a_detector_of_ones_own():
    own = td.detection.Aaronson()
    assert td.detect(IDS, SCHEME, KEY, detector=own).log_p == td.detect(IDS, SCHEME, KEY).log_p
    assert td.detect(IDS, SCHEME, KEY, detector="half-of-the-scores").log_p == found_log_p()
    with pytest.raises(ValueError, match="detector='none-such' is unknown"):
        td.detect(IDS, SCHEME, KEY, detector="none-such")
    with pytest.raises(ValueError, match="for one length only"):
        td.detect(IDS, SCHEME, KEY, detector=own, sequential=True)


def found_log_p() -> float:
    return td.detect(IDS, SCHEME, KEY).log_p


def test_options_that_no_text_could_make_valid():
    for arguments, words in (
        ({"fpr": 1.0}, "fpr=1.0"),
        ({"method": "standard"}, "carries no watermark"),
        ({"watermark": "none"}, "no watermark to detect"),
        ({"method": "one-race", "watermark": "synthid:3"}, "carries gumbel only"),
        ({"context_width": 99}, "context_width=99"),
    ):
        with pytest.raises(ValueError, match=words):
            Options(**arguments)


# Watching


def test_watching_gives_the_numbers_of_the_whole_text_and_stops_when_it_may():
    steps = list(td.watch(IDS, SCHEME, KEY))
    whole = Sequential(SCHEME.bets()).test(Evidence(IDS, KeyedPrf(KEY)))
    assert steps[-1].log_e == pytest.approx(float(whole.log_wealth[-1]))
    assert steps[-1].log_p == pytest.approx(float(whole.log_p[-1]))
    needed = whole.tokens_needed(0.01)
    assert [step.detected for step in steps].index(True) + 1 == needed == steps[-1].tokens_needed
    assert [step.tokens for step in steps] == list(range(1, 121))


def test_watching_in_parts_and_with_other_keys():
    parts = [IDS[:10], np.array(IDS[10:50]), IDS[50], IDS[51:]]
    last = list(td.watch(parts, SCHEME, KEY))[-1]
    assert last.log10_p == pytest.approx(list(td.watch(IDS, SCHEME, KEY))[-1].log10_p)
    assert not any(step.detected for step in td.watch(IDS, SCHEME, OTHER))
    with pytest.raises(ValueError, match="alpha=2"):
        td.watch(IDS, SCHEME, KEY, alpha=2)


# Forecasts


def test_a_forecast_is_what_the_power_of_the_test_says():
    needed = td.tokens_needed(SCHEME, entropy=1.0, fpr=1e-4, power=0.9)
    forecast = td.forecast(SCHEME, entropy=1.0, fpr=1e-4)
    assert needed is not None
    assert forecast.power(needed) >= 0.9 > forecast.power(needed - 1)
    assert td.tokens_needed(SCHEME, log_p=[-1.0], fpr=1e-4, power=0.9) == needed
    assert td.tokens_needed(SCHEME, log_p=[[-1.0], [-1.0, -1.0]], fpr=1e-4, power=0.9) == needed
    assert td.tokens_needed(SCHEME, entropy=0.0) is None


@pytest.mark.parametrize("method", ["joint", "two-keys", "algorithm-1", "keep-efficiency", "basic"])
def test_a_forecast_from_laws_is_that_of_the_method(method):
    """One text or several; what is told of the laws that are read is all of them, in order."""
    scheme, told = td.Scheme.of(method, "gumbel"), []
    other = np.full(len(P), 1 / len(P))
    forecast = td.forecast(
        scheme, laws=[[(P, Q)], [(P, Q), (P, other)]], report=lambda *done: told.append(done)
    )
    laws = [race_score_law(scheme.method.name, P, q) for q in (Q, other)]
    each = [predicted_power([laws[0]], 20), predicted_power(laws, 20)]
    assert forecast.power(20) == pytest.approx(np.mean(each))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert td.forecast(scheme, laws=[(P, Q), (P, other)]).power(20) == pytest.approx(each[1])
    needed = td.tokens_needed(scheme, laws=[(P, Q)], power=0.9)
    assert needed is not None
    assert predicted_power([laws[0]], needed) >= 0.9 > predicted_power([laws[0]], needed - 1)


@pytest.mark.parametrize("laws", [[], [[]], [P, Q], [(P, Q, P)], [[(P, Q)], [P]], 3, "ab", {"p": P}])
def test_what_are_no_laws_is_refused(laws):
    with pytest.raises(ValueError, match="laws must be pairs"):
        td.forecast(SCHEME, laws=laws)


def test_laws_of_what_has_no_forecast_are_refused():
    for name, watermark in (("basic", "synthid:3"), ("standard", None), ("joint-race-tree", "gumbel")):
        with pytest.raises(ValueError, match=r"no forecast|no known score law"):
            td.forecast(td.Scheme.of(name, watermark), laws=[(P, Q)])
    with pytest.raises(td.DistributionError, match=r"laws\[1\]: Q sums to 2"):
        td.forecast(SCHEME, laws=[(P, Q), (P, 2 * Q)])
    with pytest.raises(td.DistributionError, match=r"laws\[0\]\[1\]: Q sums to 2"):
        td.forecast(SCHEME, laws=[[(P, Q), (P, 2 * Q)], [(P, Q)]])
    with pytest.raises(ValueError, match="at least one position"):
        td.forecast(SCHEME, laws=[[(P, Q)], []])


def test_what_has_no_forecast_is_refused():
    for arguments, words in (
        ({}, "either log_p, entropy or laws"),
        ({"log_p": [-1.0], "entropy": 1.0}, "either log_p, entropy or laws"),
        ({"laws": [(P, Q)], "entropy": 1.0}, "either log_p, entropy or laws"),
        ({"entropy": -1.0}, "entropy=-1.0"),
        ({"log_p": [0.5]}, "log_p holds 0.5"),
    ):
        with pytest.raises(ValueError, match=words):
            td.forecast(SCHEME, **arguments)
    with pytest.raises(ValueError, match="has no forecast"):
        td.forecast(td.Scheme.of("two-keys"), entropy=1.0)


# Theory


def test_strength_and_efficiency_of_the_papers_pair():
    assert td.strength(P, "gumbel").value == pytest.approx(-(P * np.log(P)).sum())
    assert td.strength(P, "none").value == 0
    found = td.strength(P, "synthid:3", seeds=4_000, seed=1)
    assert found.value == watermark_strength(P, td.SynthID(3), seeds=4_000, rng=1).value
    kept = np.minimum(P, Q).sum()
    for name in METHODS:
        if METHODS[name].full_efficiency:
            watermark = {"joint-transport": "simplexwater:4", "joint-tournament": "synthid:3"}.get(name)
            assert td.efficiency(P, Q, name, watermark).value == pytest.approx(kept)


def test_efficiency_without_a_closed_form_is_simulated():
    """Keeping strength with SynthID: the sampling efficiency of the same decoder on both sides."""
    from tradeoff.curves.measures import sampling_efficiency

    found = td.efficiency(P, Q, "keep-strength", "synthid:3", seeds=40_000)
    expected = sampling_efficiency(P, Q, td.SynthID(3))
    assert found.standard_error > 0
    assert abs(found.value - expected.value) < 5 * math.hypot(found.standard_error, expected.standard_error)
    tree = td.efficiency(P, Q, td.Scheme.of("one-race-tree", width=3).method, seeds=20_000)
    assert tree.value > np.minimum(P, Q).sum() + 5 * tree.standard_error
    with pytest.raises(ValueError, match="drafts nothing"):
        td.efficiency(P, Q, "basic")


def test_curves_and_optima_are_those_of_the_modules():
    curve = td.curve("google", P, Q)
    setting = td.Setting(P, Q)
    assert curve.table().equals(td.curves.curve("google", setting).table())
    assert td.curve("google", setting).table().equals(curve.table())
    assert td.strongest(P, Q, efficiency=0.5) == td.curves.strongest(setting, 0.5)
    assert td.most_efficient(P, Q, strength=0.5) == td.curves.most_efficient(setting, 0.5)
    mixed = td.curve("hu", P, Q, draft_watermark="synthid:inf", seeds=500)
    assert "on draft" in mixed.name


def test_a_curve_is_shown_in_words_and_tables_and_pictures(tmp_path):
    curve = td.curve("linear", P, Q)
    assert repr(curve).startswith("<Curve: linear, Gumbel-max, 41 points")
    assert "<table" in curve._repr_html_()
    curve.plot().savefig(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5_000


def test_methods_with_settings_of_their_own():
    scheme = td.Scheme.of(Algorithm1(td.simplex_water(4, seed=2)), context_width=2)
    found = td.detect(text(scheme, 200), scheme, KEY)
    assert found.to_dict()["watermark"] == "SimplexWater (r = 4)"
    assert found.verdict == "watermarked"


def test_masked_positions_read_no_key():
    """A context that is not marked draws from the true randomness alone."""
    randomness = KeyedRandomness(
        KeyedPrf(KEY),
        np.zeros((1, SCHEME.context_width), dtype=np.int64),
        np.array([True]),
        [lambda: np.random.default_rng(5)],
        np.arange(3),
    )
    expected = int(SCHEME.method.bonus(np.array([[0.2, 0.3, 0.5]]), randomness)[0])
    assert td.draw([0.2, 0.3, 0.5], SCHEME, KEY, [0, 0, 0, 0], marked=False, rng=5) == expected


# What is none is refused, and named


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1.5, 2, 3], "holds 1.5; token ids are whole numbers"),
        (np.array([0.1, 0.9]), "type float64"),
        ([True, False], "holds True"),
        (["1", "2"], "holds '1'"),
        ([2**70], "token_ids"),
        (None, "is NoneType; pass token ids"),
        ({"token_ids": [1]}, "is dict; pass token ids, words, or a Record"),
        (b"words", "is bytes"),
    ],
)
def test_what_is_no_text_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        td.detect(given, SCHEME, KEY)


def test_a_file_is_not_read_as_its_name(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("words")
    with pytest.raises(ValueError, match=r"is the name of a file, .*; pass what it holds"):
        td.detect(str(path), SCHEME, KEY)


def test_words_on_one_line_are_no_name_that_is_too_long():
    """Of 256 letters to 1,000 an operating system refuses to look."""
    words = "a text of one line, " * 20
    assert 255 < len(words) < 1000
    assert td.detect(words, SCHEME, KEY).verdict == "not detected"


def test_contexts_that_are_none_are_refused():
    for context in ([1.7, 2, 3, 4], [-1, 2, 3, 4]):
        with pytest.raises(ValueError, match="must hold token ids"):
            td.draw([0.5, 0.5], SCHEME, KEY, context)


def test_contexts_of_a_batch_are_marked_row_by_row():
    laws, contexts = np.full((2, 1000), 1e-3), np.arange(8).reshape(2, 4)
    drawn = {
        tuple(td.draw(laws, SCHEME, KEY, contexts, marked=np.array([True, False]), rng=k)) for k in range(9)
    }
    assert len({first for first, _ in drawn}) == 1
    assert len({second for _, second in drawn}) > 5


@pytest.mark.parametrize(
    "call",
    [
        lambda: td.detect(IDS, "one-race", KEY),
        lambda: td.detect(IDS, KEY, SCHEME),
        lambda: td.watch(IDS, KEY),
        lambda: td.draw([0.5, 0.5], "gumbel", KEY, [1]),
        lambda: td.forecast("one-race", entropy=1.0),
        lambda: td.generate(["a"], "one-race", KEY),
    ],
)
def test_what_is_no_scheme_is_named(call):
    with pytest.raises(ValueError, match="is no Scheme; make one"):
        call()


@pytest.mark.parametrize("key", ["my.key", b"x" * 32, 1.5])
def test_what_is_no_key_is_named(key):
    with pytest.raises(ValueError, match=r"key is \w+; pass a Key"):
        td.detect(IDS, SCHEME, key)


def test_a_forecast_is_only_for_texts_that_one_stream_draws_whole():
    for method in ("keep-efficiency", "two-keys", "algorithm-1"):
        with pytest.raises(ValueError, match="has no forecast"):
            td.tokens_needed(td.Scheme.of(method), entropy=1.0)
    with pytest.raises(ValueError, match="power=1"):
        td.tokens_needed(SCHEME, entropy=1.0, power=1)


def test_a_setting_holds_all_that_goes_with_it():
    setting = td.Setting(P, Q)
    for arguments in ({"watermark": "synthid:3"}, {"seeds": 100}, {"seed": 0}, {"draft_watermark": "none"}):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))} is given beside a Setting"):
            td.curve("hu", setting, **arguments)
    with pytest.raises(ValueError, match="q is missing"):
        td.strongest(P, efficiency=0.5)


def test_seeds_that_are_none_are_refused():
    for seeds in (0, 1, -5, 2.5):
        with pytest.raises(ValueError, match="seeds="):
            td.efficiency(P, Q, "keep-strength", "synthid:3", seeds=seeds)


def test_a_detector_of_other_streams_is_refused_or_warned_of():
    with pytest.raises(ValueError, match="reads the streams shared, but two-keys draws from draft, target"):
        td.detect(IDS, td.Scheme.of("two-keys"), KEY, detector=td.detection.Aaronson())
    with pytest.warns(UserWarning, match="read in part"):
        found = td.detect(IDS, td.Scheme.of("two-keys"), KEY, detector=td.detection.Aaronson(Stream.DRAFT))
    assert "read in part" in found.remarks[0]
    for detector, words in (
        (td.detection.Aaronson, "is a class"),
        (5, "is no detector"),
        ("x.safetensors", "x.saf"),
    ):
        with pytest.raises(ValueError, match=words):
            td.detect(IDS, SCHEME, KEY, detector=detector)


def test_a_verdict_is_true_if_the_text_is_watermarked():
    assert td.detect(IDS, SCHEME, KEY)
    assert not td.detect(IDS, SCHEME, OTHER)
    assert not td.detect(IDS, SCHEME, OTHER).detected
