"""Laws from logits on a CUDA device that is simulated: temperature, cuts, penalties, vocabularies.

What waits for the device are checks of what models and rules gave, named in `test_checks_wait`; the fake
device answers them that nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.devices.simulated import CUDA, WAITS, fake_device, needs_simulation, on_device, played_device
from tradeoff.llm.generation.controls import Controls, TextRules, processed
from tradeoff.llm.generation.vocabulary import vocabulary_ids
from tradeoff.llm.law_device import law_device, on_law_device
from tradeoff.llm.sampling import Sampling
from tradeoff.texts import Prompt

pytestmark = needs_simulation
N, EOS = 12, 2
LOGITS = np.random.default_rng(0).normal(size=(2, 3, N)).astype(np.float32)
SAMPLINGS = {
    "plain": Sampling(),
    "temperature": Sampling(0.7),
    "top-k": Sampling(top_k=4),
    "top-p": Sampling(top_p=0.8),
    "min-p": Sampling(min_p=0.1),
    "all": Sampling(1.3, 6, 0.9, 0.05),
}
CONTROLS = {
    "repetition": Controls(repetition_penalty=1.3),
    "counts": Controls(presence_penalty=0.4, frequency_penalty=0.2),
    "bias": Controls(logit_bias={1: 2.0, 5: -float("inf")}),
    "not yet": Controls(min_tokens=9),
}


def rules_of(controls: Controls) -> TextRules:
    rules = controls.rules(N, frozenset([EOS]), lambda ids: "")
    assert rules is not None
    return rules(Prompt("p", "", (1, 2, 3)))


def ruled(controls: Controls, logits: torch.Tensor) -> torch.Tensor:
    """The second of two rows has rules; two drafts behind the texts."""
    return processed([None, rules_of(controls)], [[4], [4, 5, 5]], [[6, 7], [7, 8]], [EOS], logits)


#: From logits to what is compared.
STEPS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    **{name: sampling.probabilities for name, sampling in SAMPLINGS.items()},
    **{name: lambda logits, told=told: ruled(told, logits) for name, told in CONTROLS.items()},
    "where laws are": on_law_device,
}


@pytest.mark.parametrize("step", STEPS)
def test_laws_stay_on_the_device(step: str) -> None:
    """Fake and played; with the type and the shape that they have on the host, and played with the values."""
    wanted = STEPS[step](torch.from_numpy(LOGITS))
    with fake_device(answers=False):
        found = STEPS[step](on_device(LOGITS))
        assert (found.device, found.dtype, found.shape) == (CUDA, wanted.dtype, wanted.shape)
    with played_device():
        played = STEPS[step](on_device(LOGITS))
        assert played.device == CUDA
        assert torch.equal(played.cpu(), wanted)


@pytest.mark.parametrize("step", STEPS)
def test_checks_wait(step: str) -> None:
    """Logits that are not finite are an error before a token is drawn from them, and so are rules that leave
    no token: the device is waited for once a law. Nothing else is."""
    waits = step in SAMPLINGS or step in CONTROLS
    with fake_device():
        logits = on_device(LOGITS)
        if waits:
            with pytest.raises(WAITS):
                STEPS[step](logits)
        else:
            STEPS[step](logits)


def test_what_the_checks_find() -> None:
    """On the played device as on the host."""
    broken = LOGITS.copy()
    broken[0, 1, 0] = np.nan
    with played_device(), pytest.raises(RuntimeError, match="not finite"):
        Sampling().probabilities(on_device(broken))
    nothing = Controls(logit_bias=dict.fromkeys(range(N), -float("inf")))
    with played_device(), pytest.raises(ValueError, match="leave no token"):
        ruled(nothing, on_device(LOGITS))


def test_vocabularies_are_on_the_device() -> None:
    """Made there; CUDA has float64, so that laws stay."""
    assert law_device(CUDA) == CUDA
    with fake_device():
        # Without the memory of what was made, in which nothing fake may stay.
        ids = vocabulary_ids.__wrapped__(N, CUDA)
        assert (ids.device, ids.dtype, ids.shape) == (CUDA, torch.int64, (N,))
