"""Penalties, bans, least lengths and stop strings: formulas on small cases, and the texts of the engine."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from tests.helpers.texts import MakePair, generate, some_prompts
from tradeoff.decoders import GumbelMax
from tradeoff.kernels import Basic, JointRace, OneRaceTree, Standard, Verify
from tradeoff.keyed import Key, KeyedPrf, VllmPhilox
from tradeoff.llm.generation.controls import Controls, TextRules, processed
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.sampling import Sampling
from tradeoff.texts import Prompt, several

N = 24
PRF = KeyedPrf(Key(bytes(range(16))), 2)
#: All of them together.
EVERY = Controls(
    repetition_penalty=1.3,
    presence_penalty=0.4,
    frequency_penalty=0.7,
    logit_bias={3: -math.inf, 5: 2.0},
    min_tokens=6,
)


@pytest.fixture(scope="module")
def pair(make_pair: MakePair):
    return make_pair(N, eos=1)


def law_of(controls: Controls, prompt: list[int], text: list[int], logits: list[float]) -> np.ndarray:
    """The formulas of the docstring, one token at a time."""
    found = np.array(logits)
    for token in range(len(found)):
        value, times = found[token], text.count(token)
        penalty = controls.repetition_penalty or 1.0
        if token in prompt + text:
            value = value / penalty if value > 0 else value * penalty
        value -= controls.presence_penalty * (times > 0) + controls.frequency_penalty * times
        value += controls.logit_bias.get(token, 0.0)
        if token == 1 and len(text) < controls.min_tokens:
            value = -math.inf
        found[token] = value
    return found


@pytest.mark.parametrize("text", [[], [4], [4, 4, 7, 5, 4], [2] * 6])
@pytest.mark.parametrize(
    "controls",
    [
        Controls(repetition_penalty=1.3),
        Controls(repetition_penalty=0.5),
        Controls(presence_penalty=0.4),
        Controls(frequency_penalty=-0.7),
        Controls(logit_bias={0: 3.0, 7: -math.inf}),
        Controls(min_tokens=6),
        EVERY,
    ],
    ids=str,
)
def test_formulas(controls: Controls, text: list[int]) -> None:
    prompt = [2, 2, 7]
    logits = torch.linspace(-2, 3, N, dtype=torch.float64)[torch.randperm(N, generator=torch.Generator())]
    rules = controls.rules(N, frozenset([1]), str)
    assert rules is not None
    found = rules(Prompt("", "", tuple(prompt))).logits(text, logits)
    np.testing.assert_allclose(found.numpy(), law_of(controls, prompt, text, logits.tolist()), rtol=1e-12)


def test_repetition_is_that_of_transformers() -> None:
    logits = torch.randn(1, N, generator=torch.Generator().manual_seed(0))
    rules = Controls(repetition_penalty=1.3).rules(N, frozenset(), str)
    assert rules is not None
    found = rules(Prompt("", "", (2, 9))).logits([4, 4], logits[0])
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([[2, 9, 4, 4]]), logits.clone())
    torch.testing.assert_close(found, theirs[0])


@pytest.mark.parametrize("method", [Standard(), JointRace(), OneRaceTree(width=2), Basic(GumbelMax())])
def test_every_token_is_drawn_from_the_controlled_law(pair, method) -> None:
    """log P of every token is that of plain passes over the finished text and the formulas; and texts do not
    depend on the batch."""
    prompts = some_prompts(5, n=N)
    sampling = Sampling(0.9, min_p=0.01)
    rules = EVERY.rules(N, frozenset([1]), str)
    settings = EngineSettings(
        method=method, prf=PRF, sampling=sampling, max_tokens=30, lookahead=3, rules=rules, measure=True
    )
    texts = generate(pair, settings, prompts)
    alone = generate(pair, settings, prompts, batch=1)
    for prompt in prompts:
        text = texts[prompt.id]
        assert text.token_ids == alone[prompt.id].token_ids
        ids = [*prompt.token_ids, *text.token_ids]
        with torch.no_grad():
            logits = pair.target(torch.tensor([ids])).logits[0, len(prompt.token_ids) - 1 : -1]
        for t, token in enumerate(text.token_ids):
            controlled = law_of(EVERY, list(prompt.token_ids), text.token_ids[:t], logits[t].tolist())
            law = sampling.probabilities(torch.tensor(controlled))
            assert math.isclose(text.log_p[t], math.log(law[token]), rel_tol=1e-9, abs_tol=1e-9)
            plain = torch.log_softmax(logits[t], -1)[token]
            assert math.isclose(text.log_p_model[t], float(plain), rel_tol=1e-9, abs_tol=1e-9)
        assert 3 not in text.token_ids
        assert 1 not in text.token_ids[:6]
    if method.drafts:
        assert any("d" in text.sources for text in texts.values())


@pytest.mark.parametrize("verify", list(Verify))
def test_the_controls_that_change_nothing_leave_texts_alone(pair, verify: Verify) -> None:
    assert Controls().rules(N, frozenset([1]), str) is None
    assert Controls(repetition_penalty=1.0).rules(N, frozenset([1]), str) is None
    prompts = some_prompts(4, n=N)
    given = {"method": JointRace(), "prf": PRF, "max_tokens": 20, "verify": verify}
    free = generate(pair, EngineSettings(**given), prompts)
    idle = Controls(logit_bias={4: 0.0}).rules(N, frozenset([1]), str)
    ruled = generate(pair, EngineSettings(**given, rules=idle), prompts)
    for prompt in prompts:
        assert free[prompt.id].token_ids == ruled[prompt.id].token_ids


def test_a_text_ends_with_the_token_that_completes_a_string(pair) -> None:
    """Letters for tokens: also where a step went on behind it."""

    def decode(tokens: list[int]) -> str:
        return "".join(chr(ord("a") + token) for token in tokens)

    prompts = some_prompts(12, n=N)
    given = {"method": JointRace(), "prf": PRF, "max_tokens": 60, "lookahead": 4, "ignore_eos": True}
    free = generate(pair, EngineSettings(**given), prompts)
    spelled = {name: decode(text.token_ids) for name, text in free.items()}
    stop = (spelled[prompts[0].id][7:9], spelled[prompts[1].id][11:14])
    rules = Controls(stop=stop).rules(N, frozenset(), decode)
    for name, text in generate(pair, EngineSettings(**given, rules=rules), prompts).items():
        ends = [spelled[name].find(one) + len(one) for one in stop if one in spelled[name]]
        assert len(text.token_ids) == min(ends, default=60)
        assert text.token_ids == free[name].token_ids[: len(text.token_ids)]
        assert text.finish == ("stop" if ends else "length")


@pytest.mark.parametrize("method", [JointRace(), Basic(GumbelMax())])
def test_unmarked_beginnings_are_drawn_truly_at_random(pair, method) -> None:
    """Several texts of one prompt differ from the first tokens on; behind them the key decides, and the first
    text is that of the prompt alone."""
    prompts = some_prompts(2, n=N)
    given = {"method": method, "prf": PRF, "max_tokens": 40, "ignore_eos": True}
    settings = EngineSettings(**given, unmarked=6)
    texts = generate(pair, settings, several(prompts, 5))
    assert sorted(texts) == sorted(f"{prompt.id}#{i}" for prompt in prompts for i in range(1, 6))
    for prompt in prompts:
        own = [texts[f"{prompt.id}#{i}"] for i in range(1, 6)]
        assert len({tuple(text.token_ids) for text in own}) == 5
        assert all(text.unmarked >= 6 for text in own)
        alone = generate(pair, settings, [prompt])[prompt.id]
        assert alone.token_ids == own[0].token_ids
    # Behind contexts that are equal the key alone decides.
    padding = VllmPhilox(7)
    assert padding.pads_contexts
    keyed = EngineSettings(**given | {"prf": padding})
    equal = generate(pair, keyed, several(prompts, 5))
    assert len({tuple(text.token_ids[:6]) for text in equal.values()}) == len(prompts)
    assert not keyed.seeded
    assert EngineSettings(**given | {"prf": padding}, unmarked=6).seeded


def test_emitted_tokens_are_told_as_they_come(pair) -> None:
    from tradeoff.llm.generation.engine import Engine

    told: dict[str, list[int]] = {}
    prompts = some_prompts(6, n=N)
    settings = EngineSettings(method=JointRace(), prf=PRF, max_tokens=20)
    engine = Engine(pair, settings, 4)
    for text in engine.generate(
        prompts, lambda prompt, tokens: told.setdefault(prompt.id, []).extend(tokens)
    ):
        assert told[text.prompt.id] == text.token_ids


def test_rules_of_some_rows_leave_the_others() -> None:
    logits = torch.randn(2, 3, N)
    half = TextRules((1,), (lambda ids, scores: scores + ids.shape[1],))
    found = processed([None, half], [[], []], [[1, 2], [1, 2]], (), logits)
    torch.testing.assert_close(found[0], logits[0])
    torch.testing.assert_close(found[1], logits[1] + torch.tensor([1.0, 2.0, 3.0])[:, None])
    # Behind the first two of three drafts, and behind the third.
    later = processed([half], [[5]], [[1, 2, 3]], (), logits[:1, :2])
    torch.testing.assert_close(later[0], logits[0, :2] + torch.tensor([4.0, 5.0])[:, None])


def test_nothing_is_asked_behind_an_end_or_a_forbidden_draft() -> None:
    asked: list[list[int]] = []

    def ban(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        asked.append(ids[0].tolist())
        return scores.index_fill(1, torch.tensor([4]), -torch.inf)

    logits = torch.randn(1, 3, N)
    rules = [TextRules((9,), (ban,))]
    processed(rules, [[]], [[4, 2]], (), logits)
    assert asked == [[9]]
    asked.clear()
    processed(rules, [[]], [[2, 1]], (1,), logits)
    assert asked == [[9], [9, 2]]
    asked.clear()
    processed(rules, [[]], [[1, 2]], (1,), logits[:, :1])
    assert asked == []


def test_a_law_without_tokens_is_told_by_its_reason(pair) -> None:
    banned = Controls(logit_bias=dict.fromkeys(range(N), -math.inf)).rules(N, frozenset(), str)
    settings = EngineSettings(method=JointRace(), prf=PRF, max_tokens=4, rules=banned)
    with pytest.raises(ValueError, match="leave no token that may come next"):
        generate(pair, settings, some_prompts(1, n=N))


@pytest.mark.parametrize(
    "rules",
    [
        TextRules((1,), (lambda ids, scores: scores.expand(3, -1),)),
        TextRules((1,), (), (lambda ids, _: torch.tensor([True, False]),)),
    ],
)
def test_rules_that_look_at_other_rows_are_refused(rules: TextRules) -> None:
    ask = (lambda: rules.logits([], torch.zeros(N))) if rules.processors else (lambda: rules.end([]))
    with pytest.raises(ValueError, match="must not look at other rows"):
        ask()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0"),
        ({"repetition_penalty": math.inf}, "repetition_penalty=inf"),
        ({"presence_penalty": math.nan}, "presence_penalty=nan"),
        ({"frequency_penalty": math.inf}, "frequency_penalty=inf"),
        ({"logit_bias": {-1: 1.0}}, "logit_bias names the token -1"),
        ({"logit_bias": {2: math.inf}}, "logit_bias of token 2"),
        ({"logit_bias": {2: math.nan}}, "logit_bias of token 2"),
        ({"min_tokens": -1}, "min_tokens=-1"),
        ({"min_tokens": 1.5}, "min_tokens=1.5"),
        ({"stop": "end"}, "stop='end'"),
        ({"stop": ["end"]}, "stop=\\['end'\\] must be a tuple"),
        ({"stop": None}, "stop=None"),
        ({"repetition_penalty": "2"}, "repetition_penalty=2"),
        ({"presence_penalty": None}, "presence_penalty=None"),
        ({"logit_bias": None}, "logit_bias=None"),
        ({"logit_bias": {1: "2"}}, "logit_bias of token 1"),
        ({"stop": ("",)}, "stop="),
    ],
)
def test_numbers_out_of_range(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Controls(**arguments)


def test_a_bias_beyond_the_vocabulary() -> None:
    with pytest.raises(ValueError, match=r"token 24, and the vocabulary has tokens 0 \.\. 23"):
        Controls(logit_bias={24: 1.0}).rules(N, frozenset(), str)


def test_records_spell_controls_in_one_way() -> None:
    one = Controls(logit_bias={7: 1.0, 3: -math.inf}, stop=("\n",), repetition_penalty=1.0)
    other = Controls(logit_bias={3: -math.inf, 7: 1.0}, stop=("\n",))
    assert str(one) == str(other) == '{"logit_bias": {"3": -Infinity, "7": 1.0}, "stop": ["\\n"]}'
    assert str(Controls()) == ""
