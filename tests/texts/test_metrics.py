"""Measurements: right values on records made by hand, right error bars on simulated ones."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.recorded import RECORD, RUN
from tests.helpers.support import Z
from tradeoff.estimate import Estimate
from tradeoff.texts.metrics import (
    aatps,
    acceptance,
    counted_steps,
    distinct_texts,
    excess_surprise,
    interval,
    log_perplexity,
    paired_log_perplexity,
    per_token_time,
)
from tradeoff.texts.records import Record

_NUMBERS = itertools.count()


def text(**changes: Any) -> Record:
    """A text of a prompt of its own."""
    return replace(RECORD, prompt_hash=f"{next(_NUMBERS):016x}", **changes)


def stepped(accepted: list[int], lookahead: int = 3, max_tokens: int = 40) -> Record:
    run = replace(RUN, lookahead=lookahead, max_tokens=max_tokens)
    return text(accepted=tuple(accepted), run=run)


def test_aatps_counts_every_step_with_its_last_token() -> None:
    records = [stepped([3, 0, 1]), stepped([2])]
    estimate = aatps(records)
    assert estimate.value == pytest.approx((3 + 0 + 1 + 2) / 4 + 1)
    # Ratio estimator by hand: residuals tokens - ratio * steps of the two texts.
    residuals = np.array([7 - 2.5 * 3, 3 - 2.5 * 1])
    expected = residuals.std(ddof=1) / math.sqrt(2) / 2
    assert estimate.standard_error == pytest.approx(expected)
    assert aatps([stepped([1])]).standard_error == math.inf


def test_aatps_of_the_first_tokens_counts_the_steps_that_begin_there() -> None:
    records = [stepped([3, 0, 1]), stepped([2, 2])]
    assert aatps(records, 4).value == pytest.approx((4 + 3 + 3) / 3)
    assert aatps(records, 5).value == pytest.approx((4 + 1 + 3 + 3) / 4)
    assert aatps(records, 6) == aatps(records)
    assert aatps(records, 1).value == pytest.approx((4 + 3) / 2)


def test_aatps_error_covers_the_truth() -> None:
    """Texts of one kind each: the error must see that steps within a text are alike."""
    rng = np.random.default_rng(0)
    z = []
    for _ in range(300):
        kinds = rng.random(60)
        records = [stepped(rng.binomial(3, p, rng.integers(5, 30)).tolist(), max_tokens=1000) for p in kinds]
        estimate = aatps(records)
        z.append((estimate.value - 2.5) / estimate.standard_error)
    # A mean of 300 standardised deviations, and their spread: 1 up to sampling and small-sample bias.
    assert abs(np.mean(z)) < 0.4
    assert 0.75 < np.std(z) < 1.3


def test_steps_without_room_for_all_drafts_do_not_count() -> None:
    """Whatever became of them: only whether it was cut would favour short steps."""
    # Begin at 0, 4, 5, 7 and 8 of 10 tokens; behind 7 there is no room for 3 drafts.
    assert counted_steps([3, 0, 1, 0, 1], 3, 10).tolist() == [4, 1, 2, 1]
    assert counted_steps([3, 0, 1, 0, 0, 0], 3, 10).tolist() == [4, 1, 2, 1]
    # A look-ahead beyond the text is one as long as the text.
    assert counted_steps([2, 1, 0], 1000, 6).tolist() == [3]
    assert counted_steps([2, 1, 0], 6, 6).tolist() == [3]
    # Without speculation nothing is cut.
    assert counted_steps([0, 0, 0], 0, 3).tolist() == [1, 1, 1]


def test_aatps_does_not_see_where_texts_are_cut() -> None:
    """Drafts that are accepted with probability 0.8 each, up to 5 or to the end of 12 tokens: 3.69 a step."""
    rng = np.random.default_rng(3)
    records = []
    for _ in range(2000):
        accepted, left = [], 12
        while left > 0:
            run = int(np.append(rng.random(5) < 0.8, False).argmin())
            accepted.append(min(run, left))
            left -= run + 1
        records.append(stepped(accepted, 5, 12))
    estimate = aatps(records)
    truth = sum(0.8**k for k in range(6))
    assert abs(estimate.value - truth) < Z * estimate.standard_error
    every = np.concatenate([np.array(record.accepted) + 1 for record in records])
    assert every.mean() < truth - Z * estimate.standard_error


def measured(sources: str, efficiency: list, overlap: list) -> Record:
    return text(sources=sources, efficiency=tuple(efficiency), overlap=tuple(overlap))


def test_acceptance_by_hand() -> None:
    found = acceptance(
        [
            measured("drb", [0.5, 0.25, None], [0.6, 0.3, None]),
            measured("d", [1.0], [1.0]),
        ]
    )
    assert found.rate == pytest.approx(2 / 3)
    assert found.expected == pytest.approx(1.75 / 3)
    assert found.overlap == pytest.approx(1.9 / 3)
    assert found.verified == 3
    assert found.standard_error == pytest.approx(math.sqrt(0.25 + 0.1875) / 3)
    assert found.z == pytest.approx((2 / 3 - 1.75 / 3) / found.standard_error)


def test_acceptance_without_a_formula_is_not_compared() -> None:
    found = acceptance([measured("dr", [None, None], [0.5, 0.5])])
    assert found.rate == 0.5
    assert found.overlap == 0.5
    assert math.isnan(found.expected)
    assert math.isnan(found.z)


def test_acceptance_that_is_certain_has_no_z() -> None:
    found = acceptance([measured("ddd", [1.0, 1.0000001, 1.0], [1.0] * 3)])
    assert (found.rate, found.standard_error) == (1.0, 0.0)
    assert math.isnan(found.z)


def test_acceptance_is_a_fair_test() -> None:
    """With coins of the expected probability, z is standard normal; with worse coins it is not."""
    rng = np.random.default_rng(1)

    def z(bias: float, count: int = 20_000) -> float:
        p = rng.uniform(0.1, 0.9, count)
        sources = "".join(np.where(rng.random(len(p)) < p + bias, "d", "r"))
        return acceptance([measured(sources, p.tolist(), p.tolist())]).z

    assert abs(z(0.0)) < Z
    assert z(-0.05) < -Z
    # The spread of 400 of them is 1 to within seven of its standard errors.
    assert abs(np.std([z(0.0, 500) for _ in range(400)]) - 1) < 7 / math.sqrt(800)


def test_log_perplexity_and_its_pairs() -> None:
    values = {"a": 1.0, "b": 2.0, "c": 6.0}
    ours = [text(id=k, prompt=k, logppl=v, logppl_model=2 * v) for k, v in values.items()]
    theirs = [text(id=k, prompt=k, logppl=v) for k, v in (("b", 1.0), ("a", 3.0), ("x", 9.0))]
    theirs.append(text(id="c", prompt="another prompt", logppl=5.0))
    assert log_perplexity(ours).value == pytest.approx(3.0)
    assert log_perplexity(ours, model=True).value == pytest.approx(6.0)
    assert log_perplexity(ours).standard_error == pytest.approx(np.std([1, 2, 6], ddof=1) / math.sqrt(3))
    difference = paired_log_perplexity(ours, theirs)
    assert difference.value == pytest.approx((1 - 3 + 2 - 1) / 2)
    assert difference.standard_error == pytest.approx(np.std([-2, 1], ddof=1) / math.sqrt(2))


def test_excess_surprise_is_zero_for_the_model_itself() -> None:
    rng = np.random.default_rng(2)

    def sampled(power: float) -> Record:
        laws = rng.dirichlet(np.ones(6), 400)
        bent = laws**power / (laws**power).sum(axis=1, keepdims=True)
        tokens = (bent.cumsum(axis=1) < rng.random((400, 1))).sum(axis=1)
        log_p = np.log(laws[np.arange(400), tokens])
        entropies = -(laws * np.log(laws)).sum(axis=1)
        return text(log_p=tuple(log_p), entropy=tuple(entropies))

    fair, peaked = (
        excess_surprise([sampled(1.0) for _ in range(40)]),
        excess_surprise([sampled(1.1) for _ in range(40)]),
    )
    assert abs(fair.value) < Z * fair.standard_error
    assert peaked.value < -Z * peaked.standard_error
    by_hand = excess_surprise([text(log_p=(-1.0, -2.0), entropy=(0.5, 0.5))])
    assert (by_hand.value, by_hand.standard_error) == (1.0, 0.5)
    with pytest.raises(ValueError, match="no entropies"):
        excess_surprise([text(log_p=(-1.0,))])


def test_per_token_time_is_in_milliseconds() -> None:
    records = [text(seconds=s, token_ids=(0,) * 10, batch=1) for s in (2.0, 1.0)]
    assert per_token_time(records).value == pytest.approx(150.0)
    with pytest.raises(ValueError, match="batches of 8"):
        per_token_time([records[0], replace(records[1], batch=8)])


def record(prompt: str, logppl: float, seed: int = 0) -> Record:
    """A record of two steps, two verified drafts and two tokens that all follow from `logppl`."""
    return replace(
        measured("dr" if logppl > 2 else "rr", [0.5, 0.25], [0.5, 0.25]),
        id=f"{prompt} {logppl}",
        prompt=prompt,
        prompt_hash=prompt,
        token_ids=(1, 2),
        accepted=(round(logppl) % 3, 1),
        logppl=logppl,
        log_p=(-logppl, -logppl),
        entropy=(1.0, 2.0),
        seconds=logppl,
        batch=1,
        run=replace(RUN, seed=seed),
    )


@pytest.mark.parametrize(
    "function", [aatps, acceptance, excess_surprise, log_perplexity, per_token_time], ids=lambda f: f.__name__
)
def test_equal_prompts_of_one_run_count_once(function) -> None:
    """Value and error are those of the different texts; those of another seed are texts apart."""
    texts = [record("a", 1.0), record("b", 2.0), record("c", 6.0)]
    assert function([*texts, record("a", 1.0), record("a", 1.0), record("c", 6.0)]) == function(texts)
    more = [*texts, record("a", 5.0, seed=1)]
    assert distinct_texts([*more, record("a", 1.0)]) == more
    assert function(more) != function(texts)


def test_equal_prompts_are_one_pair() -> None:
    """Also where only the second of them has a partner."""

    def named(name: str, prompt: str, logppl: float) -> Record:
        return replace(record(prompt, logppl), id=name)

    ours = [named("1", "a", 1.0), named("2", "a", 1.0), named("3", "a", 1.0), named("4", "b", 4.0)]
    theirs = [named("2", "a", 3.0), named("3", "a", 3.0), named("4", "b", 4.0)]
    difference = paired_log_perplexity(ours, theirs)
    assert difference.value == -1.0
    assert difference.standard_error == pytest.approx(np.std([-2, 0], ddof=1) / math.sqrt(2))


def test_intervals_are_those_of_student() -> None:
    low, high = interval(Estimate(2.0, 0.5), 3)
    # The 97.5% point of Student's t with two degrees of freedom.
    assert (low, high) == pytest.approx((2 - 0.5 * 4.302652729911275, 2 + 0.5 * 4.302652729911275))
    assert interval(Estimate(2.0, math.inf), 1) == (-math.inf, math.inf)


@pytest.mark.parametrize("function", [aatps, acceptance, log_perplexity, per_token_time])
def test_no_records_is_an_error(function) -> None:
    with pytest.raises(ValueError, match="there are no records"):
        function([])


def test_unfit_records_are_named() -> None:
    with pytest.raises(ValueError, match=r"measure=True"):
        acceptance([RECORD])
    with pytest.raises(ValueError, match="no draft was verified"):
        acceptance([measured("b", [None], [None])])
    with pytest.raises(ValueError, match="no prompt in common"):
        paired_log_perplexity([text(id="a")], [text(id="b")])
