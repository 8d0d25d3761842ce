"""What the engine records can be recomputed from the finished text, and tokens from the key."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy import stats

from tests.helpers.support import ALPHA
from tests.helpers.texts import (
    CASES,
    EOS,
    PRF,
    MakePair,
    N,
    contexts_of,
    every_case,
    full_logits,
    generate,
    some_prompts,
)
from tradeoff.decoders import Completed, GumbelMax, SideInformation, Transport
from tradeoff.decoders.completed import Completion
from tradeoff.decoders.synthid import TournamentBits
from tradeoff.kernels import (
    Algorithm1,
    Basic,
    KeepEfficiency,
    KeepStrength,
    Method,
    OneRace,
    OneRaceTree,
    SingleKey,
    TwoKeys,
)
from tradeoff.kernels.race_tree import one_race_tree
from tradeoff.keyed.keys import Key
from tradeoff.keyed.prf import Prf, Stream
from tradeoff.laws import acceptance_probability, entropy, excess, overlap
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.generation.rows import GeneratedText


@every_case
def test_records_can_be_recomputed_from_the_finished_text(case: tuple, make_pair: MakePair) -> None:
    """log P, entropy, overlap and efficiency are those of full passes; letters and counts fit together."""
    method, prf, sampling, lookahead = case
    pair = make_pair(N, eos=EOS, padding=(5, 3), seed=1)
    settings = EngineSettings(
        method=method, prf=prf, sampling=sampling, lookahead=lookahead, max_tokens=13, measure=True
    )
    for text in generate(pair, settings, some_prompts(5), batch=3).values():
        rows, tokens = np.arange(len(text.token_ids)), np.array(text.token_ids)
        logits = full_logits(pair.target, text)
        p = sampling.probabilities(logits).numpy()
        q = sampling.probabilities(full_logits(pair.draft, text)).numpy()
        plain = torch.log_softmax(logits, -1).numpy()
        np.testing.assert_allclose(text.log_p, np.log(p[rows, tokens]), atol=1e-9)
        np.testing.assert_allclose(text.log_p_model, plain[rows, tokens], atol=1e-5)
        np.testing.assert_allclose(text.entropy, entropy(p), atol=1e-9)
        # A draft was verified where a draft or its replacement came out.
        verified = np.array([source != "b" for source in text.sources])
        assert [value is not None for value in text.overlap] == verified.tolist()
        expected = method.efficiency(p, q)
        if expected is None:
            assert all(value is None for value in text.efficiency)
            expected, text = overlap(p, q), replace(text, efficiency=text.overlap)
        for recorded, reference in ((text.overlap, overlap(p, q)), (text.efficiency, expected)):
            np.testing.assert_allclose(
                [value for value in recorded if value is not None], reference[verified], atol=1e-9
            )
        check_letters(text, lookahead if settings.drafts else 0, method.width)
        if prf is None:
            assert text.unmarked == len(text.token_ids)
        else:
            assert text.unmarked == contexts_of(text.token_ids, prf)[1].sum()
        json.dumps(asdict(text))


def check_letters(text: GeneratedText, lookahead: int, width: int) -> None:
    """Every step is its accepted drafts and one token more: a bonus if nothing was rejected."""
    letters = ""
    for accepted in text.accepted:
        assert 0 <= accepted <= lookahead
        position = len(letters) + accepted
        ends = "b" if accepted == lookahead else "r"
        # Behind another candidate of a tree comes a bonus token as well.
        if width > 1 and accepted and position < len(text.sources) and text.sources[position] == "b":
            ends = "b"
        letters += "d" * accepted + ends
    assert letters[: len(text.sources)] == text.sources
    # The last step was begun because the text was not finished, and only that one may be cut.
    assert len(letters) - text.accepted[-1] - 1 < len(text.sources) <= len(letters)
    assert len(text.sources) == len(text.token_ids)


def keyed_zeta(prf: Prf, stream: Stream, contexts: np.ndarray, decoder: object) -> object:
    if isinstance(decoder, Completed):
        inner = keyed_zeta(prf, stream, contexts, decoder.decoder)
        return Completion(inner, keyed_zeta(prf, stream, contexts, GumbelMax()))
    if isinstance(decoder, Transport):
        side = prf.side_information(stream, contexts, decoder.scores.k)
        return SideInformation(side, prf)
    ids = np.arange(N)
    if isinstance(decoder, GumbelMax):
        return prf.race(stream, contexts, ids)
    return TournamentBits(lambda word: prf.bits(stream, contexts, ids, word))


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case[1] is not None and getattr(case[0].decoder, "degenerate", False)],
    ids=lambda c: f"{c[0].name}-{c[0].decoder.name}-{c[1].name}-K {c[3]}",
)
def test_unmasked_tokens_are_functions_of_the_key(case: tuple, make_pair: MakePair) -> None:
    """Each is what the table of methods makes of (P, Q, key, context), all taken from the finished text."""
    method, prf, sampling, lookahead = case
    pair = make_pair(N, seed=2)
    # A short look-ahead, so that enough steps end with a bonus token.
    settings = EngineSettings(
        method=method, prf=prf, sampling=sampling, lookahead=min(lookahead, 2), max_tokens=30, ignore_eos=True
    )
    decoder = method.decoder
    drafted = method.detection.drafted
    bonus = method.detection.bonus
    checked = dict.fromkeys("dbr", 0)
    for text in generate(pair, settings, some_prompts(20), batch=20).values():
        tokens, sources = np.array(text.token_ids), np.array(list(text.sources))
        contexts, masked = contexts_of(text.token_ids, prf)
        p = sampling.probabilities(full_logits(pair.target, text)).numpy()
        q = sampling.probabilities(full_logits(pair.draft, text)).numpy()
        for letter in "dbr":
            here = (sources == letter) & ~masked
            checked[letter] += here.sum()
            if not here.any():
                continue
            if letter == "b":
                zeta = keyed_zeta(prf, bonus, contexts[here], decoder)
                np.testing.assert_array_equal(decoder.token(p[here], zeta), tokens[here])
            else:
                check_verified(
                    method, prf, letter == "d", tokens[here], contexts[here], p[here], q[here], drafted
                )
    assert checked["b"] > 20
    assert not settings.drafts or min(checked.values()) > 20


def check_verified(
    method: Method,
    prf: Prf,
    accepted: bool,
    tokens: np.ndarray,
    contexts: np.ndarray,
    p: np.ndarray,
    q: np.ndarray,
    drafted: Stream,
) -> None:
    """Accepted drafts, or replacements, at positions where the watermark acts."""
    decoder, rows = method.decoder, np.arange(len(tokens))
    zeta = keyed_zeta(prf, drafted, contexts, decoder)
    if isinstance(method, OneRaceTree):
        verdict = one_race_tree(p, q, zeta, method.width)
        np.testing.assert_array_equal(verdict.token, tokens)
        np.testing.assert_array_equal(verdict.rank < method.width, accepted)
        return
    draft = decoder.token(q, zeta)
    ratio = acceptance_probability(p, q)[rows, draft]
    time = zeta[rows, draft] / q[rows, draft] if isinstance(zeta, np.ndarray) else None
    if method.name == "keep-strength":
        np.testing.assert_array_equal(decoder.token(p, zeta), tokens)
        np.testing.assert_array_equal(draft == tokens, accepted)
        return
    if method.detection.coin == "keyed":
        np.testing.assert_array_equal(prf.coin(contexts) < ratio, accepted)
    elif method.detection.coin == "winning time":
        np.testing.assert_array_equal(1 - np.exp(-time) < ratio, accepted)
    if accepted:
        np.testing.assert_array_equal(draft, tokens)
        return
    residual = excess(p, q)
    if method.name in ("single-key", "one-race"):
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient = np.where(residual > 0, (zeta - time[:, None] * q) / residual, np.inf)
        np.testing.assert_array_equal(quotient.argmin(axis=1), tokens)
    elif method.detection.replaced is not None:
        again = keyed_zeta(prf, method.detection.replaced, contexts, decoder)
        np.testing.assert_array_equal(decoder.token(residual, again), tokens)
    else:
        # Truly random: of the residual's support, and not all of them what the key would have chosen.
        assert (residual[rows, tokens] > 0).all()


@pytest.mark.parametrize(
    "method",
    [
        Basic(GumbelMax()),
        KeepStrength(GumbelMax()),
        SingleKey(),
        OneRace(),
        OneRaceTree(width=3),
        KeepEfficiency(GumbelMax()),
        TwoKeys(GumbelMax()),
        Algorithm1(GumbelMax()),
    ],
    ids=lambda method: method.name,
)
def test_a_detector_reads_the_watermark_from_token_ids(method: Method, make_pair: MakePair) -> None:
    """Under the right key and stream the mean race entry is far below 1, under another key it is not.

    The detector knows token ids alone. Streams are told apart by the letters: drafts, replacements, bonus
    tokens.
    """
    n = 30
    pair = make_pair(n, seed=4)
    settings = EngineSettings(method=method, prf=PRF, max_tokens=60, ignore_eos=True)
    prompts = some_prompts(12, n=n)
    entries: dict[tuple[Stream | None, Stream], dict[tuple, float]] = {}
    wrong: dict[tuple, float] = {}
    for text in generate(pair, settings, prompts, batch=12).values():
        contexts, masked = contexts_of(text.token_ids, PRF)
        for t in np.flatnonzero(~masked):
            # Pairs that several texts share count once, so that the entries are independent.
            at = (*contexts[t].tolist(), text.token_ids[t])
            ids = np.array(at[-1:])
            role = {"d": "drafted", "r": "replaced", "b": "bonus"}[text.sources[t]]
            drawn_by = getattr(method.detection, role)
            for stream in (Stream.SHARED, Stream.DRAFT, Stream.TARGET):
                entries.setdefault((drawn_by, stream), {})[at] = PRF.race(stream, contexts[t], ids)[0]
            other = replace(PRF, key=Key(b"another key altogether"))
            wrong[at] = other.race(Stream.SHARED, contexts[t], ids)[0]

    def p_value(values: dict[tuple, float]) -> float:
        assert len(values) > 20
        return stats.gamma(len(values)).cdf(sum(values.values()))

    for (drawn_by, stream), values in entries.items():
        if drawn_by is None and stream == method.detection.drafted:
            # A random replacement: it lost the race under the draft's stream, so its entries are larger
            # than those of the null law, if only a little.
            assert p_value(values) > ALPHA
        elif stream == drawn_by:
            assert p_value(values) < 1e-12
        else:
            # One-sided on purpose: tokens that another stream chose have entries of the null law there.
            assert ALPHA < p_value(values) < 1 - ALPHA
    assert ALPHA < p_value(wrong) < 1 - ALPHA
