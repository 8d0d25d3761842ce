"""Laws of models on a device without float64 are computed on the host; a device that has none is played."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.texts import PRF, MakePair, N, generate, some_prompts
from tradeoff.kernels import JointRace, OneRace, OneRaceTree
from tradeoff.llm import law_device as module
from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.generation.slots import Feeder
from tradeoff.llm.law_device import law_device, on_law_device
from tradeoff.llm.readback import anchor, replay
from tradeoff.llm.sampling import Sampling


class OnDevice(torch.Tensor):
    """A tensor of a device without float64: only a copy on the host can be converted."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.double, torch.Tensor.type):
            raise TypeError("this device has no float64")
        found = super().__torch_function__(func, types, args, kwargs or {})
        if func is torch.Tensor.to and torch.float64 in (*args, *(kwargs or {}).values()):
            raise TypeError("this device has no float64")
        return found.as_subclass(torch.Tensor) if func is torch.Tensor.to else found


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models answer from a device without float64."""
    plain = Feeder.logits
    monkeypatch.setattr(
        Feeder, "logits", lambda self, *args, **named: plain(self, *args, **named).as_subclass(OnDevice)
    )
    for room in (anchor, replay):
        read = room.next_logits
        monkeypatch.setattr(
            room,
            "next_logits",
            lambda *args, _read=read, **named: _read(*args, **named).as_subclass(OnDevice),
        )
    monkeypatch.setattr(module, "_WITHOUT_FLOAT64", frozenset(["cpu", "mps"]))


@pytest.mark.parametrize(("device", "laws"), [("mps", "cpu"), ("cpu", "cpu"), ("cuda:1", "cuda:1")])
def test_where_laws_are_computed(device: str, laws: str) -> None:
    assert law_device(torch.device(device)) == torch.device(laws)


def test_what_stays_is_not_copied() -> None:
    logits = torch.ones(3)
    assert on_law_device(logits) is logits


def test_the_played_device_has_no_float64() -> None:
    """So that the tests below can fail."""
    logits = torch.ones(3).as_subclass(OnDevice)
    for attempt in (logits.double, lambda: logits.to(torch.float64), lambda: logits.to(dtype=torch.float64)):
        with pytest.raises(TypeError, match="no float64"):
            attempt()
    with pytest.raises(TypeError, match="no float64"):
        (logits + 1)[None].double()
    assert logits.to("cpu").double().dtype == torch.float64


@pytest.mark.parametrize("method", [JointRace(), OneRaceTree(width=2)], ids=lambda method: method.name)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.1, 7, 0.99)], ids=["plain", "cut"])
def test_texts_are_the_same(
    make_pair: MakePair, request: pytest.FixtureRequest, method: Any, sampling: Sampling
) -> None:
    """Token for token, with all that is recorded of them."""
    pair = make_pair(N)
    pair.target.float(), pair.draft.float()
    settings = EngineSettings(
        method=method, prf=PRF, sampling=sampling, max_tokens=12, ignore_eos=True, measure=True
    )
    wanted = generate(pair, settings, some_prompts(3))
    request.getfixturevalue("played")
    found = generate(pair, settings, some_prompts(3))
    for name, text in wanted.items():
        assert found[name].token_ids == text.token_ids
        assert found[name].log_p == text.log_p
        assert found[name].log_p_model == text.log_p_model
        assert found[name].overlap == text.overlap


def test_texts_read_again_are_the_same(make_pair: MakePair, request: pytest.FixtureRequest) -> None:
    """By the models, and by the draft alone."""
    pair = make_pair(N)
    pair.target.float(), pair.draft.float()
    tokens = [int(token) for token in np.random.default_rng(0).integers(0, N, 20)]

    def read() -> list[np.ndarray]:
        whole = replay.replay(pair, OneRace(), PRF, Sampling(), [1, 2], tokens)
        part = anchor.read_anchor(pair.draft_model, N, OneRace(), PRF, Sampling(), [1, 2], tokens)
        return [whole.hits, whole.probability, whole.entropy, part.token_mass]

    wanted = read()
    request.getfixturevalue("played")
    for one, other in zip(wanted, read(), strict=True):
        np.testing.assert_array_equal(one, other)
